"""How a worker ends by itself: as an interpreter does, with all that its tasks have left done.

Threads and pools of threads are joined, `atexit` and `multiprocessing` have their say, files and
standard streams are written out. All of that within a bound: what is not done by then is named to
whoever asked, what can still be done is done, and the process ends. Imports little: every worker
imports it.
"""

import _thread
import atexit
import os
import stat
import sys
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Step = Callable[[], object]

NAMES_MAX = 10
"""Threads that are named at most."""
_CLOSED_FIRST = (("zipfile", "ZipFile"), ("shelve", "Shelf"), ("tempfile", "_TemporaryFileCloser"))
"""Classes of the standard library whose finalizers write or remove something, and that hold files
which are closed after them."""
_NO_FILES = ("/memfd:", "/proc/")
"""What the names of shared memory and of the kernel's figures begin with."""


class Inheritance:
    """What was there before this process became a worker, and is not its own to end.

    Made in the process that forks workers; `part` is called in each of them.
    """

    def __init__(self) -> None:
        self._files: list[Any] = []
        self._is_parting = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def gather(self) -> None:
        """Find files that loading has opened, and write out what is held back in them."""
        self._files = find_files() if has_open_files() else []
        for file in self._files:
            _try(file.flush)

    def before_fork(self) -> None:
        """Say that what is forked next is a worker."""
        self._is_parting = True

    def after_fork(self) -> None:
        """Say so no longer (in the process that forked it)."""
        self._is_parting = False

    def files(self) -> "list[Any]":
        """Return files that were open before; the collector does not see them any more."""
        return self._files

    def _forget(self) -> None:
        """Have what was registered for the end not run here, before anything new is registered."""
        if not self._is_parting:
            return
        self._is_parting = False
        forget_endings()


def forget_endings() -> None:
    """Have what was registered for the end elsewhere not run in this process."""
    atexit._clear()  # noqa: SLF001  # what was registered elsewhere is not the worker's to run
    weak = sys.modules.get("weakref")
    if weak is not None:  # a folder that was made while loading is not one worker's to remove
        for one in list(weak.finalize._registry):  # noqa: SLF001  # there is no public way
            one.atexit = False
        weak.finalize._registered_with_atexit = False  # noqa: SLF001  # as above
    for name, function in (("multiprocessing.util", "_exit_function"), ("logging", "shutdown")):
        module = sys.modules.get(name)
        if module is not None:
            atexit.register(getattr(module, function))


def finish(
    inherited: "list[Any]",
    *,
    bound_seconds: float,
    tell: "Callable[[str, int], None]",
    code: int = 0,
) -> None:
    """Do what is left to be done; past its bound the process ends here.

    Args:
        inherited: Files that the collector does not see.
        bound_seconds: How long that may take.
        tell: Called with the names of threads that run, and 0 where there is something to do, then
            with 1 where the bound is over.
        code: Exit code past the bound.
    """
    steps: deque[Step] = deque([flush_streams])
    has_files = has_open_files()
    if has_files:
        steps.appendleft(lambda: _close_files(inherited))
    names = thread_names()
    if not (has_files or names or _has_callbacks()):
        flush_streams()
        return
    steps.extendleft((atexit._run_exitfuncs, _join_threads))  # noqa: SLF001  # so in CPython's own processes
    _try(lambda: tell(names, 0))
    lock = _thread.allocate_lock()
    lock.acquire()

    def watch() -> None:
        if lock.acquire(timeout=bound_seconds):
            return
        _try(lambda: tell(thread_names(), 1))
        _work_off(steps)
        os._exit(code)

    try:  # noqa: SIM105  # contextlib costs a worker 1 ms
        _thread.start_new_thread(watch, ())
    except RuntimeError:  # no thread is to be had: whoever asked us to end keeps the bound
        pass
    _work_off(steps)
    lock.release()


def _work_off(steps: "deque[Step]") -> None:
    while steps:
        try:
            step = steps.popleft()
        except IndexError:  # the other thread took the last
            return
        _try(step)


def _try(step: "Step") -> None:
    try:  # noqa: SIM105  # as above
        step()
    except BaseException:  # noqa: BLE001, S110  # the user's own, closed streams: nobody is left to tell
        pass


def _join_threads() -> None:
    threading = sys.modules.get("threading")
    if threading is not None:
        threading._shutdown()  # noqa: SLF001  # what an interpreter calls at its end


def _has_callbacks() -> bool:
    """Say whether anything is registered for the end."""
    threading = sys.modules.get("threading")
    later = getattr(threading, "_threading_atexits", ())
    return bool(atexit._ncallbacks() or later)  # noqa: SLF001  # there is no public way


def thread_names() -> str:
    """Name the threads that an interpreter would wait for."""
    threading = sys.modules.get("threading")
    if threading is None:
        return ""
    current, main = threading.get_ident(), threading.main_thread().ident
    names = [
        str(one.name)
        for one in threading.enumerate()
        if not one.daemon and one.ident not in (current, main)
    ]
    more = f" and {len(names) - NAMES_MAX} more" if len(names) > NAMES_MAX else ""
    return ", ".join(names[:NAMES_MAX]) + more


def flush_streams() -> None:
    """Write out what standard streams hold back."""
    for stream in (sys.stdout, sys.stderr):
        _try(getattr(stream, "flush", _do_nothing))


def _do_nothing() -> None:
    """Stand for the flush of a stream that is none."""


# files


def has_open_files() -> bool:
    """Say whether a file or pipe beside the standard streams is open for writing."""
    try:
        import fcntl

        descriptors = [int(name) for name in os.listdir("/proc/self/fd")]  # pathlib costs 5 ms
    except (ImportError, OSError):
        return True  # it cannot be known
    return any(_is_written(fcntl.fcntl, one) for one in descriptors if one > 2)  # noqa: PLR2004  # standard streams


def _is_written(control: "Any", descriptor: int) -> bool:
    try:
        if control(descriptor, 3) & os.O_ACCMODE == os.O_RDONLY:  # F_GETFL
            return False
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            name = os.readlink(f"/proc/self/fd/{descriptor}")  # as above
            return not name.startswith(_NO_FILES)
        return stat.S_ISFIFO(status.st_mode)
    except OSError:
        return False


def find_files() -> "list[Any]":
    """Return all files that may hold something back, and what must be closed before them."""
    import _io
    import gc

    kinds = [
        getattr(sys.modules[name], kind) for name, kind in _CLOSED_FIRST if name in sys.modules
    ]
    found: list[list[Any]] = [[], [], [], []]
    for one in gc.get_objects():
        kind = type(one)
        if issubclass(kind, _io._IOBase):  # noqa: SLF001  # `io` has an abstract class, which runs code of others
            rank = _rank(_io, kind)
            if rank:
                found[rank].append(one)
        elif kinds and issubclass(kind, tuple(kinds)):
            found[0].append(one)
    return [one for some in found for one in some]


def _rank(io: "Any", kind: type) -> int:
    """Order files so that each is closed before what it writes to; 0 where nothing is held."""
    if issubclass(kind, (io.StringIO, io.BytesIO, io.BufferedReader, io._RawIOBase)):  # noqa: SLF001  # as above
        return 0
    if issubclass(kind, (io.BufferedWriter, io.BufferedRandom, io.BufferedRWPair)):
        return 3
    return 1 if issubclass(kind, io._TextIOBase) else 2  # noqa: SLF001  # as above


def _close_files(inherited: "list[Any]") -> None:
    """Close what is open as the interpreter's end does, except the standard streams."""
    flush_streams()
    standard = {id(one) for one in _standard_streams()}
    for file in [*find_files(), *inherited]:
        if id(file) not in standard:
            _try(file.close)


def _standard_streams() -> "list[Any]":
    streams = [sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__]
    return [*streams, *(getattr(one, "buffer", None) for one in streams)]
