"""What a card is, which there are, and how `package.module:function` becomes a function.

A card describes a batch: where its tasks come from, the function, the columns of a row, the
settings of the run. Cards know nothing of levels or workers.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Final

from adaptive_exec.cards.nearest import nearest

DEFAULT_CARD: Final = "stdlib"
"""Name of the card that runs when none is named; every Python machine has its input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A batch, described.

    Args:
        name: What the command line calls it, and the name of its folder under the runs.
        function: Reference `package.module:function` of what runs on one task and returns one row.
        tasks: Reference of a function without arguments that returns the list of tasks.
        label: Reference of a function that names a task for people and for its row.
        source: Reference of a function without arguments that says where the tasks come from.
        unit: What a task is called, in the plural.
        columns: Columns of a row, in order; the first one holds the task's label, the last one its
            error.
        settings: Settings of the executor, by name; options of the command line win over them.
    """

    name: str
    function: str
    tasks: str
    label: str
    source: str
    unit: str
    columns: tuple[str, ...]
    settings: Mapping[str, object] = field(default_factory=dict)


_CARDS: Final[Mapping[str, str]] = {DEFAULT_CARD: "adaptive_exec.cards.stdlib:CARD"}


def find_card(name: str) -> Card:
    """Find a card by its name.

    Args:
        name: The card's name.

    Returns:
        The card.

    Raises:
        ValueError: There is no such card; the message names the nearest one.
    """
    if name not in _CARDS:
        message = f"unknown card, got {name!r}; {nearest(name, list(_CARDS))}"
        raise ValueError(message)
    card = load_object(_CARDS[name])
    assert isinstance(card, Card)
    return card


def load_function(reference: str) -> Callable[..., object]:
    """Import the function that a reference names.

    Args:
        reference: `package.module:function`; the part after the colon may have dots.

    Returns:
        The function.

    Raises:
        ValueError: The reference is malformed, cannot be imported or names nothing.
        TypeError: It names something that cannot be called.
    """
    function = load_object(reference)
    if not callable(function):
        message = (
            f"function must be callable, got {reference!r}, which is "
            f"{type(function).__name__}; name a function"
        )
        raise TypeError(message)
    return function


def load_object(reference: str) -> object:
    """Import the module of a reference and look up the rest in it.

    Args:
        reference: `package.module:name`.

    Returns:
        What the reference names.

    Raises:
        ValueError: The reference is malformed, cannot be imported or names nothing.
    """
    module_name, colon, path = reference.partition(":")
    if not (colon and module_name and path) or module_name.startswith("."):
        message = (
            f"function must be package.module:function, got {reference!r}; write it like "
            "'mymodule:work'"
        )
        raise ValueError(message)
    found: object = _load_module(module_name, reference)
    for name in path.split("."):
        if not hasattr(found, name):
            near = nearest(name, [other for other in dir(found) if not other.startswith("_")])
            message = f"{module_name} has no {path!r}, got {reference!r}; {near}"
            raise ValueError(message)
        found = getattr(found, name)
    return found


def _load_module(module_name: str, reference: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # the user's module runs here and may raise anything
        cause = f"{type(error).__name__}: {error}".splitlines()[0]
        message = (
            f"cannot import {module_name!r} ({cause}), got function {reference!r}; "
            f"start from the folder that holds it ({Path.cwd()} is searched) or install it"
        )
        raise ValueError(message) from error
