"""A module as users have them: settings, state, and things that mean something here only."""

import contextvars
import enum
import os
from pathlib import Path
from types import SimpleNamespace


class Mode(enum.Enum):
    SLOW = 1
    FAST = 2


SCALE = 1
NAME = "fresh"
FLAG = False
NOTHING = None
PAIR = (1, "a")
OPTIONS = {"deep": {"left": 1}, "right": [1, 2]}
NAMES = ["a"]
MODE = Mode.SLOW
FOLDER = Path("fresh")
PID = MAKER = os.getpid()
VARIABLE = contextvars.ContextVar("VARIABLE", default="nobody")
ABSENT = object()
READY = False
_connection = None
CALLS = 0


class Options:
    level = 1
    table = {"a": 1}  # noqa: RUF012  # as users do

    def tell(self):
        return self.level


class Link:
    is_open = False
    link = None


class State:
    def __init__(self):
        self.level = 1
        self.words = ["a"]


STATE, SPACE, LINKED = State(), SimpleNamespace(rate=1), State()


def open_link():
    Link.is_open, Link.link = True, object()
    LINKED.level, LINKED.link = 2, object()


def look_into(_item=None):
    linked = Link.is_open == (Link.link is not None) and LINKED.level == 1 + hasattr(LINKED, "link")
    return Options().tell(), Options.table, STATE.level, STATE.words, SPACE.rate, linked


def set_level(number):
    Options.level = number


def connect():
    global READY, _connection
    READY, _connection = True, object()


def is_usable():
    return (_connection is not None) == READY


def scaled(number):
    return number * SCALE


def look(_item):
    return SCALE, NAME, FLAG, NOTHING, PAIR, OPTIONS, NAMES, MODE, FOLDER


def tell_variable(_item=None):
    return VARIABLE.get()


class Made:
    maker = os.getpid()


def pid_of_import():
    return PID


def makers():
    return MAKER, Made.maker


def set_scale(number):
    global SCALE  # noqa: PLW0603  # as users do
    SCALE = number


def count(_item):
    global CALLS  # noqa: PLW0603  # as users do
    CALLS += 1
    return CALLS
