"""Functions and objects that the tests of levels and faults send to workers.

Importable, since a worker loads a function by reference where it can. Waits here are waits for a
file that the test makes, with a bound; nothing asserts.
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

PATIENCE_SECONDS: Final = 120.0
"""Seconds a task waits for the file that lets it go on; then it fails."""
POLL_SECONDS: Final = 0.002
"""Seconds between two looks at that file."""


def same(item):
    return item


def square(number):
    return number * number


def add(left, right):
    return left + right


def keywords(*args, **kwargs):
    return args, kwargs


def invert(number):
    return 1 / number


def pid_of(_item):
    return os.getpid()


def note(path, item):
    """Write a line about an execution; whole lines of several processes never mix."""
    with Path(path).open("a") as file:
        file.write(f"{item} {os.getpid()}\n")
    return item


def executions(path, item=None):
    """Count the lines that `note` wrote, all or one item's."""
    lines = Path(path).read_text().splitlines() if Path(path).exists() else []
    return sum(1 for line in lines if item is None or line.split()[0] == str(item))


def pids_of_executions(path):
    """Return the processes that `note` wrote of."""
    lines = Path(path).read_text().splitlines() if Path(path).exists() else []
    return {int(line.split()[1]) for line in lines}


def wait_for(path):
    """Wait until a file is there; return how many seconds it took."""
    begun = time.monotonic()
    while not Path(path).exists():
        if time.monotonic() - begun > PATIENCE_SECONDS:
            message = f"{path} was never made"
            raise TimeoutError(message)
        time.sleep(POLL_SECONDS)
    return time.monotonic() - begun


def note_and_wait(started, gate):
    """Say that this has begun, then wait for the gate."""
    note(started, "begun")
    wait_for(gate)
    return "through"


def raise_noted(path, error):
    """Note an execution, then raise what was given."""
    note(path, type(error).__name__)
    raise error


def raise_deep(number):
    """Raise from a second frame, so that there is a traceback worth having."""
    return _fail(number)


def _fail(number):
    message = f"the task failed on {number}"
    raise LookupError(message)


def raise_kind(kind):
    """Raise one of the exceptions below by name."""
    raise KINDS[kind]


class TwoArgumentsError(Exception):
    """Pickles, but cannot be unpickled: its `args` do not fit its `__init__`."""

    def __init__(self, name="two", number=2):
        super().__init__(f"{name} is not {number}")
        self.name = name

    def __reduce__(self):
        return TwoArgumentsError._rebuild, ("only one",)

    @staticmethod
    def _rebuild(name, number):
        return TwoArgumentsError(name, number)


class UnpicklableError(Exception):
    """Cannot be pickled."""

    def __init__(self, text="will not be pickled"):
        super().__init__(text)

    def __reduce__(self):
        raise TypeError("this __reduce__ fails")


class ExitingError(Exception):
    """Ends the process that unpickles it, if that lets it."""

    def __init__(self, text="exits when unpickled"):
        super().__init__(text)

    def __reduce__(self):
        return sys.exit, (7,)


class LockHolderError(Exception):
    """Holds something that no pickle takes."""

    def __init__(self):
        super().__init__("holds a lock")
        import threading

        self.lock = threading.Lock()


class SilentError(Exception):
    """Its message cannot be read, and it cannot be pickled."""

    def __str__(self):
        raise ValueError("no text")

    def __reduce__(self):
        raise TypeError("this __reduce__ fails")


KINDS: Final = {
    kind.__name__: kind
    for kind in (TwoArgumentsError, UnpicklableError, ExitingError, LockHolderError, SilentError)
}


class RefusesPickling:
    """Raises when it is pickled."""

    def __reduce__(self):
        raise TypeError("this object is not to be pickled")


class RefusesUnpickling:
    """Raises when it is unpickled."""

    def __reduce__(self):
        return _refuse, ()


class ExitsAtUnpickling:
    """Calls sys.exit when it is unpickled."""

    def __reduce__(self):
        return sys.exit, (9,)


class ExitsAtPickling:
    """Calls sys.exit when it is pickled."""

    def __reduce__(self):
        sys.exit(9)


def _refuse():
    raise ValueError("this object is not to be unpickled")


def make(kind):
    """Return one of the objects above by name."""
    return globals()[kind]()


def make_or_same(item):
    """Return the object that a name of a class above stands for, and anything else as it is."""
    return make(item) if isinstance(item, str) else item


class Tracked:
    """Can be weakly referenced, and pickled."""

    def method(self):
        return "called"


class TrackedError(Exception):
    """Can be weakly referenced, pickled, and carries a number."""

    def __init__(self, number):
        super().__init__(number)
        self.number = number


def raise_tracked(number):
    raise TrackedError(number)


def make_tracked(_item):
    return Tracked()


STATE: Final = {"initialized": None}


def initialize(value):
    STATE["initialized"] = value


def initialized(_item=None):
    return STATE["initialized"]


def fail_to_initialize(text):
    raise RuntimeError(text)


def exit_in_initializer():
    sys.exit(3)


def die_in_initializer():
    os._exit(3)


def map_inside(count):
    """Run a batch in an executor of its own."""
    from adaptive_exec import adaptive_executor

    with adaptive_executor(max_workers=2) as executor:
        return sum(executor.map(square, range(count)))


def map_inside_with(settings, count):
    """Run a batch in an executor of its own."""
    from adaptive_exec import adaptive_executor

    with adaptive_executor(**{"max_workers": 2, **settings}) as executor:
        return sum(executor.map(square, range(count)))


def checksum(array):
    return array.shape, array.dtype.str, float(array.sum())


def double(array):
    return array * 2


def slow_pid(_):
    """Name this process, after a while."""
    time.sleep(0.1)
    return os.getpid()


_kept = []


def keep(size):
    """Keep so many bytes for good; say how many pieces there are by now."""
    _kept.append(bytearray(b"x") * size)
    return len(_kept)


def refuse_to_end(folder):
    """Make this process hang at its end, and only note a SIGTERM."""
    from multiprocessing import util

    def note(*_):
        (Path(folder) / str(os.getpid())).write_text("SIGTERM")

    signal.signal(signal.SIGTERM, note)
    util.Finalize(None, time.sleep, (600,), exitpriority=1)
    return os.getpid()


def environment_of(names):
    """Return what these variables say in this process."""
    return {name: os.environ.get(name) for name in names}
