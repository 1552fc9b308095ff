"""What the program has set is there in its workers: at the first task, and after each change."""

import csv
import decimal
import importlib
import io
import locale
import logging
import os
import socket
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from adaptive_exec import adaptive_executor, register_setting
from adaptive_exec.program import settings
from adaptive_exec.program.table import ROWS
from tests.levels.ladder import ISOLATED, settings_at
from tests.program import of_mine


class OurWarning(Warning):
    """A category of the program's own."""


def read_dialect(_item=None):
    text = io.StringIO()
    try:
        csv.writer(text, "ours").writerow([1, "a"])
    except csv.Error:
        return "unknown"
    return text.getvalue()


def read_umask(_item=None):
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def read_decimal(_item=None):
    context = decimal.getcontext()
    return str(decimal.Decimal(1) / 7), context.rounding, context.traps[decimal.Inexact]


def read_default(_item=None):
    return decimal.DefaultContext.prec


def read_filters(_item=None):
    with warnings.catch_warnings(record=True) as caught:
        try:
            warnings.warn("ours", OurWarning, stacklevel=1)
        except OurWarning:
            return "error"
    return len(caught)


def read_logging(_item=None):
    logger = logging.getLogger("of.the.program")
    return logger.level, logger.propagate, logging.root.level, logging.root.manager.disable


def read_errstate(_item=None):
    try:
        return str(np.float64(1) / np.float64(0))
    except FloatingPointError:
        return "raised"


def read_print(_item=None):
    return str(np.array([1.23456789, 2]))


def read_pandas(_item=None):
    return pd.get_option("display.max_rows"), pd.get_option("display.precision")


def read_environment(_item=None):
    return os.environ.get("ADAPTIVE_OF_THE_PROGRAM"), os.getenv("HOME")


def read_folder(_item=None):
    return str(Path.cwd())


def read_path(_item=None):
    return [entry for entry in sys.path if isinstance(entry, str)]


def read_locale(_item=None):
    return locale.setlocale(locale.LC_ALL)


def read_limit(_item=None):
    return sys.getrecursionlimit()


def read_timeout(_item=None):
    return socket.getdefaulttimeout()


def set_logging():
    logger = logging.getLogger("of.the.program")
    logger.setLevel(11)
    logger.propagate = False
    logging.root.setLevel(17)
    logging.disable(7)


def unset_logging(root):
    logger = logging.getLogger("of.the.program")
    logger.setLevel(0)
    logger.propagate = True
    logging.root.setLevel(root)
    logging.disable(0)


def set_decimal(context):
    context.prec, context.rounding = 5, decimal.ROUND_UP


CASES = {
    "environment": (
        read_environment,
        lambda _: os.environ.update(ADAPTIVE_OF_THE_PROGRAM="set"),
        lambda _: os.environ.pop("ADAPTIVE_OF_THE_PROGRAM"),
    ),
    "folder": (read_folder, os.chdir, lambda _: os.chdir(HERE)),
    "path": (
        read_path,
        lambda folder: sys.path.append(str(folder)),
        lambda folder: sys.path.remove(str(folder)),
    ),
    "umask": (read_umask, lambda _: os.umask(0o027), lambda _: os.umask(MASK)),
    "locale": (
        read_locale,
        lambda _: locale.setlocale(locale.LC_NUMERIC, "C.UTF-8"),
        lambda _: locale.setlocale(locale.LC_ALL, LOCALE),
    ),
    "recursion limit": (
        read_limit,
        lambda _: sys.setrecursionlimit(LIMIT + 234),
        lambda _: sys.setrecursionlimit(LIMIT),
    ),
    "digits of numbers": (
        lambda _=None: sys.get_int_max_str_digits(),
        lambda _: sys.set_int_max_str_digits(0),
        lambda _: sys.set_int_max_str_digits(DIGITS),
    ),
    "names of log levels": (
        lambda _=None: (logging.getLevelName(25), logging.getLevelName(10)),
        lambda _: [logging.addLevelName(25, "NOTICE"), logging.addLevelName(10, "FINE")],
        lambda _: [logging.addLevelName(25, "Level 25"), logging.addLevelName(10, "DEBUG")],
    ),
    "dialects of CSV": (
        read_dialect,
        lambda _: csv.register_dialect("ours", delimiter=";", quoting=csv.QUOTE_ALL),
        lambda _: csv.unregister_dialect("ours"),
    ),
    "socket timeout": (
        read_timeout,
        lambda _: socket.setdefaulttimeout(12.5),
        lambda _: socket.setdefaulttimeout(None),
    ),
    "decimal": (
        read_decimal,
        lambda _: set_decimal(decimal.getcontext()),
        lambda _: decimal.setcontext(decimal.Context()),
    ),
    "decimal of new threads": (
        read_default,
        lambda _: setattr(decimal.DefaultContext, "prec", 9),
        lambda _: setattr(decimal.DefaultContext, "prec", 28),
    ),
    "context variables": (
        of_mine.tell_variable,
        lambda _: of_mine.VARIABLE.set("somebody"),
        lambda _: of_mine.VARIABLE.set("nobody again"),
    ),
    "warning filters": (
        read_filters,
        lambda _: warnings.simplefilter("ignore", OurWarning),
        lambda _: warnings.simplefilter("error", OurWarning),
    ),
    "logging": (read_logging, lambda _: set_logging(), lambda _: unset_logging(ROOT_LEVEL)),
    "NumPy errstate": (
        read_errstate,
        lambda _: np.seterr(divide="raise"),
        lambda _: np.seterr(divide="ignore"),
    ),
    "NumPy print options": (
        read_print,
        lambda _: np.set_printoptions(precision=2),
        lambda _: np.set_printoptions(precision=8),
    ),
    "pandas options": (
        read_pandas,
        lambda _: pd.set_option("display.max_rows", 7),
        lambda _: pd.reset_option("display.max_rows"),
    ),
}
DIGITS = sys.get_int_max_str_digits()
HERE, MASK, LIMIT = Path.cwd(), read_umask(), sys.getrecursionlimit()
LOCALE, ROOT_LEVEL = locale.setlocale(locale.LC_ALL), logging.root.level


@pytest.fixture(scope="module")
def one_worker():
    with adaptive_executor(levels="process", max_workers=1, share_host=False) as ex:
        yield ex


@pytest.fixture(autouse=True)
def numpy_is_quiet():
    np.seterr(divide="ignore")
    yield
    np.seterr(divide="warn")


@pytest.mark.parametrize("row", [name for name in ROWS if name in CASES])
def test_a_setting_follows_each_change(row, tmp_path, one_worker):
    read, change, restore = CASES[row]
    usual = read()
    change(tmp_path)
    try:
        wanted, first = read(), list(one_worker.map(read, range(3)))
        restore(tmp_path)
        restored, later = read(), list(one_worker.map(read, range(3)))
        change(tmp_path)
        again = list(one_worker.map(read, range(3)))
    finally:
        restore(tmp_path)

    assert wanted != usual
    assert first == [wanted] * 3
    assert later == [restored] * 3
    assert again == [wanted] * 3


def test_each_row_but_that_of_a_package_that_may_be_missing_has_its_case():
    assert ROWS.keys() - CASES.keys() == {"Matplotlib rcParams", "scikit-learn configuration"}


@pytest.mark.slow
@pytest.mark.parametrize("level", ISOLATED)
@pytest.mark.parametrize("row", list(CASES))
def test_each_way_to_start_workers_begins_with_what_is_set(level, row, tmp_path):
    read, change, restore = CASES[row]
    change(tmp_path)
    try:
        wanted = read()
        with adaptive_executor(**settings_at(level), max_workers=1) as ex:
            assert list(ex.map(read, range(2))) == [wanted] * 2
    finally:
        restore(tmp_path)


def test_parameters_of_figures_travel(tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    with adaptive_executor(levels="process", max_workers=1, share_host=False) as ex:
        with matplotlib.rc_context({"lines.linewidth": 7.5, "figure.dpi": 33}):
            inside = ex.submit(read_figures, None).result(60)
        outside = ex.submit(read_figures, None).result(60)

    assert inside == (7.5, 33)
    assert outside == read_figures(None)


SCALES = """
import pandas as pd, sklearn
from sklearn.preprocessing import StandardScaler
from adaptive_exec import adaptive_executor

def scale(_item):
    return type(StandardScaler().fit_transform(pd.DataFrame({"a": [1.0, 2.0]}))).__name__

if __name__ == "__main__":
    with adaptive_executor(levels="process", max_workers=1, share_host=False) as ex:
        with sklearn.config_context(transform_output="pandas"):
            inside = ex.submit(scale, None).result(60)
        print(inside, ex.submit(scale, None).result(60))
"""


@pytest.mark.skipif(find_spec("sklearn") is None, reason="needs scikit-learn")
def test_the_configuration_of_scikit_learn_travels(tmp_path):
    (tmp_path / "program.py").write_text(SCALES)  # loaded here it would bring OpenMP to all tests

    done = subprocess.run(
        [sys.executable, "program.py"],
        capture_output=True, text=True, timeout=200, check=False, cwd=tmp_path,
    )  # fmt: skip

    assert done.stdout.split() == ["DataFrame", "ndarray"], done.stderr


def read_figures(_item):
    import matplotlib as mpl

    return mpl.rcParams["lines.linewidth"], mpl.rcParams["figure.dpi"]


@pytest.fixture
def mine(monkeypatch):
    """Have a module of the user's, as it is when it was imported."""
    kept = dict(vars(of_mine))
    options, names = dict(of_mine.OPTIONS), list(of_mine.NAMES)
    yield of_mine
    vars(of_mine).update(kept)
    of_mine.OPTIONS.clear()
    of_mine.OPTIONS.update(options)
    of_mine.NAMES[:] = names


def test_what_the_program_sets_in_its_own_modules_is_there(mine, one_worker):
    one_worker.submit(mine.set_scale, 1).result(60)
    before = one_worker.submit(mine.look, None).result(60)
    mine.SCALE, mine.NAME, mine.FLAG, mine.NOTHING = 10, "set", True, 0
    mine.PAIR, mine.MODE, mine.FOLDER = (2, None), mine.Mode.FAST, Path("set")
    mine.OPTIONS["deep"], mine.OPTIONS["new"] = {"left": 2}, None
    mine.NAMES.append("b")
    mapped = list(one_worker.map(mine.look, range(3)))
    mine.SCALE = 11
    submitted = one_worker.submit(mine.scaled, 2).result(60)

    assert before[0] == 1
    assert mapped == [(10, "set", True, 0, (2, None), mine.OPTIONS, ["a", "b"], mine.Mode.FAST,
                       Path("set"))] * 3  # fmt: skip
    assert submitted == 22


def test_what_the_program_sets_in_classes_and_objects_of_its_modules_is_there(one_worker):
    fresh = (1, {"a": 1}, 1, ["a"], 1, True)
    assert one_worker.submit(of_mine.look_into).result(60) == fresh
    of_mine.Options.level, of_mine.STATE.level, of_mine.SPACE.rate = 5, 6, 7
    of_mine.Options.table["a"] = 2
    of_mine.STATE.words.append("b")
    try:
        mapped = list(one_worker.map(of_mine.look_into, range(3)))
        one_worker.submit(of_mine.set_level, 9).result(60)
        kept = one_worker.submit(of_mine.look_into).result(60)
        of_mine.Options.level = 4
        again = [one_worker.submit(of_mine.look_into) for _ in range(20)]
        assert {one.result(60)[0] for one in again} == {4}
    finally:
        of_mine.Options.level = of_mine.Options.table["a"] = 1
        of_mine.STATE.level = of_mine.SPACE.rate = 1
        del of_mine.STATE.words[1:]

    assert mapped == [(5, {"a": 2}, 6, ["a", "b"], 7, True)] * 3
    assert kept == (9, {"a": 2}, 6, ["a", "b"], 7, True)
    assert one_worker.submit(of_mine.look_into).result(60) == fresh


def test_what_a_class_or_an_object_has_with_what_cannot_travel_stays_away(one_worker):
    of_mine.open_link()
    try:
        assert one_worker.submit(of_mine.look_into).result(60)[-1]
    finally:
        of_mine.Link.is_open, of_mine.Link.link = False, None
        of_mine.LINKED.level = 1
        del of_mine.LINKED.link


def test_a_collection_is_changed_in_its_place(mine, one_worker):
    mine.OPTIONS["deep"] = 5
    mine.NAMES[:] = []

    assert one_worker.submit(hold, mine).result(60) == ({"deep": 5, "right": [1, 2]}, [], True)


def hold(_module):
    from tests.program.of_mine import NAMES, OPTIONS

    return OPTIONS, NAMES, OPTIONS is sys.modules["tests.program.of_mine"].OPTIONS


def test_what_a_task_or_an_initializer_sets_stays_until_the_program_changes_it(mine):
    with adaptive_executor(
        levels="process", max_workers=1, share_host=False, initializer=mine.set_scale, initargs=(7,)
    ) as ex:
        first = ex.submit(mine.scaled, 1).result(60)
        ex.submit(mine.set_scale, 8).result(60)
        second = ex.submit(mine.scaled, 1).result(60)
        mine.NAME = "something else"
        third = ex.submit(mine.scaled, 1).result(60)
        mine.SCALE = 9
        fourth = ex.submit(mine.scaled, 1).result(60)

    assert (first, second, third, fourth) == (7, 8, 8, 9)


def test_an_initializer_finds_the_newest_settings_in_every_worker(mine):
    with adaptive_executor(
        levels="process",
        max_workers=1,
        share_host=False,
        max_tasks_per_worker=1,
        initializer=times_two,
    ) as ex:
        first = ex.submit(mine.scaled, 1).result(60)
        mine.SCALE = 50
        second = ex.submit(mine.scaled, 1).result(60)
        third = ex.submit(mine.scaled, 1).result(60)

    assert first == 2
    assert second in (50, 100)  # its worker may have been there already
    assert third == 100


def times_two():
    of_mine.SCALE *= 2


def test_state_that_cannot_travel_as_a_whole_stays_away(mine, one_worker):
    mine.connect()
    mine.SCALE = 3

    assert mine.is_usable()
    assert one_worker.submit(mine.is_usable).result(60)
    assert one_worker.submit(mine.scaled, 1).result(60) == 3


def test_numbers_of_a_process_are_its_own(mine, one_worker):
    assert one_worker.submit(mine.pid_of_import).result(60) != mine.PID == os.getpid()
    assert os.getpid() not in one_worker.submit(mine.makers).result(60)


def test_what_tasks_count_in_their_worker_is_not_reset(one_worker):
    assert list(one_worker.map(of_mine.count, range(3))) == [1, 2, 3]
    assert list(one_worker.map(of_mine.count, range(3))) == [4, 5, 6]


def test_a_module_that_is_imported_in_a_task_has_what_is_set(tmp_path):
    (tmp_path / "late_of_mine.py").write_text("SCALE = 1")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        late = importlib.import_module("late_of_mine")
        late.SCALE = 21
        with adaptive_executor(levels="process", max_workers=1, share_host=False) as ex:
            assert ex.submit(import_late, "late_of_mine").result(60) == (False, 21)
    del sys.modules["late_of_mine"]


def import_late(name):
    was_there = name in sys.modules
    return was_there, importlib.import_module(name).SCALE


def test_calls_find_what_was_set_when_they_were_submitted(mine, one_worker):
    list(one_worker.map(mine.scaled, range(3)))
    futures = []
    for number in range(60):
        mine.SCALE = number
        futures.append(one_worker.submit(mine.scaled, 1))

    assert [one.result(60) for one in futures] == list(range(60))


def test_modules_load_as_in_the_program_though_it_makes_errors_of_warnings_now(tmp_path):
    (tmp_path / "warns_of_mine.py").write_text(
        "import warnings\nwarnings.warn('old', DeprecationWarning)\n"
        "def tell(_): \n"
        "    try: warnings.warn('new', DeprecationWarning)\n"
        "    except DeprecationWarning: return 'raised'\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import warns_of_mine
        with (
            adaptive_executor(levels="process", max_workers=1, share_host=False) as ex,
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("error")
            first = list(ex.map(len, ["a"]))
            second = list(ex.map(warns_of_mine.tell, range(2)))
    del sys.modules["warns_of_mine"]

    assert (first, second) == ([1], ["raised"] * 2)


def test_the_programs_socket_timeout_does_not_end_a_worker_that_waits(one_worker):
    socket.setdefaulttimeout(0.2)
    try:
        pid = one_worker.submit(os.getpid).result(60)
        assert one_worker.submit(wait_longer, 0.5).result(60) == (pid, 0.2)
    finally:
        socket.setdefaulttimeout(None)


def wait_longer(seconds):
    import time

    time.sleep(seconds)
    return os.getpid(), socket.getdefaulttimeout()


VALUE = ["fresh"]


def read_value():
    return VALUE[0]


def apply_value(value):
    os.environ["ADAPTIVE_REGISTERED"] = value


def read_registered(_item):
    return os.environ.get("ADAPTIVE_REGISTERED")


def test_a_registered_setting_travels(one_worker):
    register_setting("value", read_value, apply_value)
    try:
        first = list(one_worker.map(read_registered, range(2)))
        VALUE[0] = "changed"
        second = list(one_worker.map(read_registered, range(2)))
    finally:
        VALUE[0] = "fresh"
        settings.forget_setting("value")

    assert (first, second) == (["fresh"] * 2, ["changed"] * 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((3, print, print), "name must be a text, got 3"),
        (("x", 3, print), "read must be callable, got 3"),
        (("x", print, None), "apply must be callable, got None"),
    ],
)
def test_what_cannot_be_registered_is_refused(arguments, words):
    with pytest.raises(TypeError, match=words):
        register_setting(*arguments)


def test_nothing_is_sent_where_nothing_has_changed():
    one = settings.read_settings()

    assert settings.read_settings() is one
    assert settings.read_for_call(is_alone=True) is settings.read_for_call(is_alone=False) is one
    os.environ["ADAPTIVE_OF_THE_PROGRAM"] = "x"
    try:
        assert settings.read_for_call(is_alone=False).number > one.number
    finally:
        del os.environ["ADAPTIVE_OF_THE_PROGRAM"]
