"""Whether the caller may be forked for its workers here and now, and the fork itself.

A fork copies one thread. Whatever another one holds at that moment is held for ever in the copy, so
the default asks for proof that there is none, or none but idle ones of libraries that end them
before a fork. Asked in the caller's own thread. Does not know what workers do.
"""

import contextlib
import gc
import importlib
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final, NamedTuple, NoReturn

from adaptive_exec.levels.zygote_main import QUIET_THREADS, other_threads
from adaptive_exec.program.anew import reset_signals
from adaptive_exec.program.ending import flush_streams
from adaptive_exec.program.spaces import HERE

ROOM_SHARE: Final = 4
"""What the workers' copies of the caller's memory may take of the room: a quarter. A fork copies
what is written to, and objects of Python's are written to when they are read."""
THREADS_GONE_SECONDS: Final = 0.005
"""Seconds that a thread which was ended for a fork may still be seen; 20 us were measured."""
UNFIT: Final = {
    "libcuda.so": "CUDA", "/dev/nvidia": "CUDA", "libamdhip64": "ROCm", "libhsa-runtime": "ROCm",
    "cygrpc": "gRPC", "libgrpc": "gRPC", "libmpi.so": "MPI", "libmpi_": "MPI", "libmpich": "MPI",
    "libpmix": "MPI", "jaxlib": "XLA", "libtensorflow": "TensorFlow", "libjvm.so": "Java",
}  # fmt: skip
"""What mapped files' names contain, of runtimes that do not outlive a fork with one thread either.
Source: their own manuals, which allow no use after a fork; not tried here. Those that only do not
outlive it with threads (OpenMP, TBB) are known by their threads."""
ENDS_ITS_THREADS: Final = "openblas"
"""The library that ends its threads before a fork. Source: OpenBLAS, driver/others/blas_server.c,
`pthread_atfork`."""
GREEN: Final = {"gevent.monkey": "saved", "eventlet.patcher": "already_patched"}
"""Modules of green threads, and where each notes what it has patched."""
_WAITS: Final = {
    "threading.py": {"wait", "_wait_for_tstate_lock", "join"},
    "queue.py": {"get"},
    "connection.py": {"_recv", "_poll", "wait"},
    "selectors.py": {"select"},
    "socket.py": {"accept"},
    "popen_fork.py": {"poll"},
}
"""Functions of the standard library in which a thread waits, by file."""
_STDLIB: Final = os.path.dirname(os.__file__) + os.sep
_LOADED_BY_ALL: Final = ("_ctypes", "faulthandler")
"""Modules that each zygote and worker loads; loaded before the fork they cost once what they cost
each time: 1.5 ms a fork."""


class Obstacle(NamedTuple):
    """Why the caller is not forked.

    Attributes:
        text: In a few words.
        is_firm: True where `start="snapshot"` does not overrule it.
        is_parked: True where all that stands against it is threads of Python that wait.
    """

    text: str
    is_firm: bool = False
    is_parked: bool = False


def find_obstacle(
    workers: int, room_bytes: int, known: "set[int]", *, is_expected: bool = False
) -> Obstacle | None:
    """Say what stands against a fork; None where it is safe.

    Args:
        workers: How many workers there may be.
        room_bytes: Memory that they may have.
        known: Descriptors that are ours, or are handed on.
        is_expected: True for a caller who expects a fork, as of the standard pool: threads that
            wait and open files are no obstacle then.
    """
    return (
        _platform_obstacle()
        or _unless(_thread_obstacle(), is_expected=is_expected)
        or _tool_obstacle()
        or _runtime_obstacle()
        or _memory_obstacle(workers, room_bytes)
        or (None if is_expected else _descriptor_obstacle(known))
    )


def _unless(obstacle: Obstacle | None, *, is_expected: bool) -> Obstacle | None:
    return None if obstacle is not None and obstacle.is_parked and is_expected else obstacle


def _platform_obstacle() -> Obstacle | None:
    if sys.platform != "linux" or not hasattr(os, "fork") or not os.path.isdir("/proc/self/fd"):
        return Obstacle(f"there is no such fork on {sys.platform}", is_firm=True)
    if HERE.is_worker:
        return Obstacle("this process is a worker itself", is_firm=True)
    for module, name in GREEN.items():
        if getattr(sys.modules.get(module), name, None):
            text = f"{module.partition('.')[0]} has patched the program"
            return Obstacle(text, is_firm=True)
    return None


def _thread_obstacle() -> Obstacle | None:
    own = threading.get_ident()
    frames = {key: one for key, one in sys._current_frames().items() if key != own}  # noqa: SLF001  # for debuggers, and this is one
    if frames:
        names = {one.ident: one.name for one in threading.enumerate()}
        told = ", ".join(sorted(str(names.get(key, "a thread of C's")) for key in frames))
        is_parked = all(map(_is_waiting, frames.values()))
        return Obstacle(f"other threads run: {told[:200]}", is_parked=is_parked)
    native = other_threads()
    if not native or _is_mapped(ENDS_ITS_THREADS):
        return None
    end = time.monotonic() + THREADS_GONE_SECONDS
    while native and time.monotonic() < end:  # those that Python knows no more may be gone soon
        time.sleep(THREADS_GONE_SECONDS / 10)
        native = other_threads()
    return Obstacle(f"other threads run: {', '.join(native)[:200]}") if native else None


def _is_waiting(frame: FrameType) -> bool:
    """Say whether a thread waits in the standard library, whence it comes back by itself alone."""
    folder, _, file = frame.f_code.co_filename.rpartition(os.sep)
    if not f"{folder}{os.sep}".startswith(_STDLIB) or "site-packages" in folder:
        return False
    return frame.f_code.co_name in _WAITS.get(file, ())


def _tool_obstacle() -> Obstacle | None:
    monitoring = getattr(sys, "monitoring", None)
    tools = () if monitoring is None else filter(None, map(monitoring.get_tool, range(6)))
    if sys.gettrace() or sys.getprofile() or any(tools):
        return Obstacle("a debugger, profiler or coverage tool watches the program")
    return None


def _runtime_obstacle() -> Obstacle | None:
    maps = _read_maps()
    for mark, name in UNFIT.items():
        if mark.encode() in maps:
            return Obstacle(f"{name} is loaded, which does not outlive a fork")
    return None


def _is_mapped(mark: str) -> bool:
    return mark.encode() in _read_maps()


def _read_maps() -> bytes:
    try:
        with open("/proc/self/maps", "rb", buffering=0) as file:
            return file.readall()
    except OSError:
        return b""


def _memory_obstacle(workers: int, room_bytes: int) -> Obstacle | None:
    own_bytes = read_own_bytes()
    if own_bytes * workers * ROOM_SHARE <= room_bytes:
        return None
    own, room = own_bytes >> 20, room_bytes >> 20
    return Obstacle(f"{workers} copies of {own} MiB may take more than a quarter of {room} MiB")


def read_own_bytes() -> int:
    """Return how much memory of its own this process has in RAM; 0 where it cannot be read."""
    try:
        with open("/proc/self/statm", "rb", buffering=0) as file:
            _, resident, shared, *_ = map(int, file.read(256).split())
    except (OSError, ValueError):
        return 0
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


# descriptors


def _descriptor_obstacle(known: "set[int]") -> Obstacle | None:
    """Find a descriptor that a task may come by and that is not its own to use.

    What the program keeps in variables of its script, or hands to its log, does not reach tasks
    otherwise than by being sent, which is refused; what a module keeps does.
    """
    unknown = {one: text for one, text in _open_files() if one not in known}
    for one in _reachable_by_caller_alone() if unknown else ():
        unknown.pop(one, None)
    if not unknown:
        return None
    told = ", ".join(sorted(set(unknown.values())))
    return Obstacle(f"files or connections are open: {told[:200]}")


def _open_files() -> Iterator[tuple[int, str]]:
    for number in map(int, os.listdir("/proc/self/fd")):
        if number <= 2:  # noqa: PLR2004  # standard streams
            continue
        try:
            if os.get_inheritable(number):
                continue  # handed down by whoever started us; Python's own are not inherited
            text = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
        if not text.startswith(("/dev/", "/proc/", "/sys/", "anon_inode:", "/memfd:adaptive-exec")):
            yield number, text


def _reachable_by_caller_alone() -> Iterator[int]:
    frame: FrameType | None = sys._getframe()  # noqa: SLF001  # there is no other way
    while frame is not None:
        yield from _numbers_in(list(frame.f_locals.values()))
        frame = frame.f_back
    main = sys.modules.get("__main__")
    if main is not None:
        yield from _numbers_in(list(vars(main).values()))
    logging = sys.modules.get("logging")
    if logging is not None:
        handlers = [one() for one in list(logging._handlerList)]  # noqa: SLF001  # there is no public way
        yield from _numbers_in([getattr(one, "stream", None) for one in handlers])


def _numbers_in(values: list[Any]) -> Iterator[int]:
    import _io
    import _socket

    kinds = (_io._IOBase, _socket.socket)  # noqa: SLF001  # `io` has an abstract class, which runs code of others
    for one in values:
        if issubclass(type(one), kinds) and not getattr(one, "closed", False):
            try:
                yield one.fileno()
            except (OSError, ValueError, AttributeError):
                continue


# the fork


class ForkedProcess:
    """A child of this process, with what `subprocess.Popen` has of it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return its exit code, as `Popen` has it; None while it runs."""
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # somebody else has waited for it, or all are ignored
                self.returncode = 0
            else:
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def kill(self) -> None:
        """Send SIGKILL, unless it was waited for."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: It has not come in so many seconds.
        """
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() >= end:
                raise subprocess.TimeoutExpired([], timeout)
            time.sleep(0.001)
        assert self.returncode is not None, "looked at just now"
        return self.returncode


class ThreadsLeftError(Exception):
    """The fork was made beside other threads after all; the child has been ended."""


def fork_caller(live: Callable[[], NoReturn], *, may_have_threads: bool) -> ForkedProcess:
    """Fork this process.

    Args:
        live: What the child does; it never comes back.
        may_have_threads: True where other threads were looked at and are put up with.

    Raises:
        OSError: The fork was refused.
        ThreadsLeftError: A thread is there that was not ended for the fork.
    """
    for name in _LOADED_BY_ALL:
        with contextlib.suppress(ImportError):  # some Pythons are built without it
            importlib.import_module(name)
    flush_streams()
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None and not stream.closed:
            stream.flush()
    was_on = gc.isenabled()
    gc.disable()  # nothing of the caller's is to be finalized in the child
    held = signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    try:
        pid = _fork()
        if pid == 0:
            _live(live, held)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        if was_on:
            gc.enable()
    process = ForkedProcess(pid)
    with contextlib.suppress(OSError):  # it has set it itself
        os.setpgid(pid, pid)
    if not may_have_threads and not _is_alone():
        process.kill()
        process.wait(THREADS_GONE_SECONDS + 2.0)
        raise ThreadsLeftError
    return process


def _fork() -> int:
    if len(os.listdir("/proc/self/task")) == 1:
        return os.fork()
    with warnings.catch_warnings():  # since 3.12 it warns of threads, which were looked at
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _live(live: Callable[[], NoReturn], held: Any) -> NoReturn:
    try:
        reset_signals()
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        live()
    except BaseException:  # noqa: BLE001  # nothing comes back from here; the parent learns of the end
        _complain()
    finally:
        os._exit(1)


def _complain() -> None:
    import traceback

    text = traceback.format_exc()
    os.write(2, f"adaptive_exec: the snapshot zygote failed\n{text}".encode())


def _is_alone() -> bool:
    """Say whether this process has one thread, after what libraries have ended for the fork."""
    end = time.monotonic() + THREADS_GONE_SECONDS
    while True:
        try:
            left = len(os.listdir("/proc/self/task"))
        except OSError:
            return False
        if left == 1 or left - 1 == len(_quiet_threads()):
            return True
        if time.monotonic() >= end:
            return False


def _quiet_threads() -> list[str]:
    names = []
    for thread in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{thread}/comm") as file:
                names.append(file.read().strip())
        except OSError:
            continue
    return [name for name in names if name in QUIET_THREADS]
