"""A soft wall in a worker: a bound for its data, so that memory is refused before a kill.

A task that runs into it finds a MemoryError in its own code. The bound (RLIMIT_DATA) counts what is
asked for, not what is used: it is out of the way while modules are imported and programs started.
How far away it is, the caller writes into the shared piece. Imports little, since every worker
imports it. Decides nothing.

Source: man 2 setrlimit; RLIMIT_DATA counts private writable memory since Linux 4.7.
"""

import os
import sys

from adaptive_exec.levels.meter import read_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from adaptive_exec.levels.slate import Slate

WALLED = 75
"""Exit code of a worker that ends for its wall. Source: EX_TEMPFAIL, sysexits.h."""
CHAIN_MAX = 8
"""Exceptions that are looked at behind the one that a task has raised."""
_NO_MEMORY = 12
"""Source: errno.ENOMEM of Linux."""
_NO_THREAD = "can't start new thread"
"""What CPython says where a thread's stack is refused."""
_SPAWNING = frozenset({"subprocess.Popen", "os.posix_spawn", "os.system", "os.exec"})
"""Audit events of starting a program, which gets the bounds of who starts it."""


class WallHitError(BaseException):
    """A task ran into the wall, and its worker ends."""


class Wall:
    """Puts up and takes away the bound of this process's data.

    Args:
        slate: Memory shared with the parent, which writes how far away the wall is to be; None
            where there is none, and so no wall.
    """

    def __init__(self, slate: "Slate | None") -> None:
        self._slate = slate
        self._is_up = self._is_open = False
        self._imports = 0
        self._base = self._opened_at = 0
        self._status = -1
        self._resource: Any = None
        self._soft = self._hard = -1

    def put_up(self) -> None:
        """Put up the wall for what comes where there is to be one."""
        slate = self._slate
        if slate is None or not slate.wall_bytes():
            return
        try:
            if self._resource is None:
                self._prepare()
            self._base = self._data_bytes()
        except (ImportError, AttributeError, OSError, ValueError):
            self._slate = None  # no such bound is to be had here
            return
        self._is_up, self._is_open = True, False
        self._place(slate)

    def take_away(self) -> None:
        """Let this process have what it could have before."""
        if self._is_up:
            self._is_up = False
            self._lift()

    def leave(self) -> None:
        """In a child that was forked: have no part in what is shared."""
        self._slate = None

    def is_hit(self, error: BaseException) -> bool:
        """Say whether an exception comes of memory that was refused while the wall was up.

        One that Python code has raised by itself is the task's own.
        """
        if not self._is_up:
            return False
        one: BaseException | None = error
        for _ in range(CHAIN_MAX):
            if one is None:
                return False
            if _is_refusal(one) and not _was_raised(one):
                return True
            one = one.__cause__ or one.__context__
        return False

    def _prepare(self) -> None:
        import builtins
        import resource

        self._soft, self._hard = resource.getrlimit(resource.RLIMIT_DATA)
        self._status = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
        before = builtins.__import__

        def import_freely(*names: "Any", **more: "Any") -> "Any":
            self._imports += 1
            try:
                return before(*names, **more)
            finally:
                self._imports -= 1
                if self._is_open and not self._imports:
                    self._close()

        builtins.__import__ = import_freely
        sys.addaudithook(self._on_audit)
        self._resource = resource

    def _on_audit(self, event: str, _: "Any") -> None:
        """Open the wall where a module is loaded or a program started, close it after that."""
        if not self._is_up:
            return
        if event == "import" or event in _SPAWNING:
            if not self._is_open:
                self._is_open = True
                self._opened_at = self._data_bytes()
                self._lift()
        elif self._is_open and not self._imports:
            self._close()

    def _close(self) -> None:
        """Put the wall up again; what came meanwhile is not the task's."""
        self._is_open = False
        slate = self._slate
        if self._is_up and slate is not None:
            self._base += max(0, self._data_bytes() - self._opened_at)
            self._place(slate)

    def _lift(self) -> None:
        if self._slate is not None:
            self._slate.note_wall_base(0)
        self._set(self._soft)

    def _place(self, slate: "Slate") -> None:
        """Have the bound where the parent wants it, who may move it meanwhile."""
        told = 0
        while told != slate.wall_bytes():
            told = slate.wall_bytes()
            self._set(self._base + told)
            slate.note_wall_base(self._base)

    def _set(self, size: int) -> None:
        infinite = self._resource.RLIM_INFINITY
        bounds = [one for one in (size, self._soft, self._hard) if one not in (infinite, -1)]
        soft = min(bounds) if bounds else infinite
        try:
            self._resource.setrlimit(self._resource.RLIMIT_DATA, (soft, self._hard))
        except (OSError, ValueError):  # somebody else has lowered it
            return

    def _data_bytes(self) -> int:
        return read_field(self._status, b"VmData:")


def _is_refusal(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno == _NO_MEMORY
    if type(error) is RuntimeError:
        return error.args == (_NO_THREAD,)
    return isinstance(error, MemoryError)


def _was_raised(error: BaseException) -> bool:
    """Say whether a `raise` in Python code made an exception, not a call that failed."""
    import opcode

    trace = error.__traceback__
    if trace is None:
        return True
    while trace.tb_next is not None:
        trace = trace.tb_next
    code, at = trace.tb_frame.f_code.co_code, trace.tb_lasti
    return 0 <= at < len(code) and code[at] == opcode.opmap["RAISE_VARARGS"]
