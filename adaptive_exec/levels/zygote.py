"""The parent's side of the zygote: start it, ask it for workers, hear how they ended.

One of the two starters behind the process level (the other is `levels/loky`). Does not know of
chunks.
"""

import _socket
import contextlib
import errno
import marshal
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple, NoReturn

from adaptive_exec.core.starts import Setback
from adaptive_exec.levels.base import (
    CLOSE_SECONDS,
    START_SECONDS,
    STOPPED_LOOK_SECONDS,
    TICK_SECONDS,
)
from adaptive_exec.levels.boot import Boot
from adaptive_exec.levels.frames import (
    KEY_BYTES,
    NoMessageError,
    check_head,
    read_message,
    refuse,
    write_message,
)
from adaptive_exec.levels.functions import PROGRAM
from adaptive_exec.levels.inner import unset_variables
from adaptive_exec.levels.interpreter import find_interpreter
from adaptive_exec.levels.offspring import HOUSEHOLD
from adaptive_exec.levels.originals import lift, make_pair, send_with
from adaptive_exec.levels.pages import ask_for_huge_pages
from adaptive_exec.levels.processor import read_used_seconds
from adaptive_exec.levels.slate import SLATE_BYTES, make_memory_file
from adaptive_exec.levels.snapshots import ForkedProcess, fork_caller, read_own_bytes
from adaptive_exec.levels.starter import (
    Seat,
    StarterEvents,
    Terms,
    cap_inner_threads,
    make_slate,
    versions_of,
)
from adaptive_exec.levels.threads import wait_aside
from adaptive_exec.levels.waiter import Waiter
from adaptive_exec.levels.zygote_main import (
    BECAME,
    BOOTED,
    ENDED,
    FORGET,
    FORK,
    FORKED,
    KILL,
    LOADED,
    MESSAGE_BYTES,
    QUIT,
    REFUSED,
    main_of_snapshot,
)
from adaptive_exec.program.family import number_worker, read_family
from adaptive_exec.program.hashes import set_hash_seed
from adaptive_exec.program.spaces import Key
from adaptive_exec.system.files import KeptFile
from adaptive_exec.system.processes import (
    STATUS_BYTES,
    kill_group,
    open_pidfd,
    says_stopped,
    started_ticks,
)

LOADING_SHARE = 0.02
"""Share of the processor above which a zygote that loads for long is at work, and waited for."""
END_POLL_SECONDS = 0.005
"""Seconds between looks for the end of a zygote where the kernel has no pidfd."""
_ANSWERS: dict[int, list[tuple[type, ...]]] = {
    BOOTED: [(int, list)],
    LOADED: [(int, list, list, list, int, str)],
    FORKED: [(int, int, int)],
    BECAME: [(int, int, int)],
    REFUSED: [(int, int, int, str), (int, int, type(None), str)],
    ENDED: [(int, int, int, int), (int, int, int, type(None))],
}
"""The types of the fields of each answer; see `levels/zygote_main` for their kinds."""
_BOOT = (
    "import sys,os,marshal;"
    "f=os.fdopen({file},'rb');s=marshal.load(f);f.close();"
    "sys.path[:]=s['path'];sys.argv[:]=s['argv'];"
    "s['self']=os.getpid();s['stderr']={stderr};"
    "from adaptive_exec.levels.zygote_main import main;main({control},s)"
)


class ZygoteStarter:
    """Owns one zygote process.

    Args:
        events: Whom to tell.
        waiter: Where the control socket is watched.
        functions: Packed functions to load before the first fork, by id.
        terms: What every worker is started with.
        is_bare: True to load nothing beforehand: each worker does so for itself.
        origin: What is to be forked, this process; None for a fresh interpreter.

    Raises:
        CannotStartError: There is no interpreter to start.
        OSError: The process, a descriptor or memory was refused.
        ThreadsLeftError: This process has other threads, after all.
    """

    def __init__(  # noqa: PLR0915  # a line for each part
        self,
        events: StarterEvents,
        waiter: Waiter,
        functions: Mapping[int, bytes],
        terms: Terms,
        *,
        is_bare: bool = False,
        origin: "Origin | None" = None,
    ) -> None:
        executable = find_interpreter() if origin is None else ""
        self.functions: set[int] = set()
        self.names = versions_of(terms)
        self.should_be_bare = bool(functions)
        self.has_company = not is_bare
        self.inherited_bytes = 0 if origin is None else read_own_bytes()
        self._wanted = set(functions if origin is None else origin.functions)
        self._events = events
        self._waiter = waiter
        self._places: dict[int, _Place] = {}
        self._key = os.urandom(KEY_BYTES)
        self._deadline: float | None = time.monotonic() + START_SECONDS
        self._look_at = time.monotonic() + STOPPED_LOOK_SECONDS
        self._quitting = False
        self._patient_until = 0.0
        self._fault = ""
        self._boot = Boot(has_words=origin is None)
        self._used_seconds = 0.0
        self._became: int | None = None
        self._ending: _Ending | None = None
        self._room = memoryview(bytearray(MESSAGE_BYTES))  # made while there is memory for it
        self._control, theirs = make_pair(_socket.SOCK_SEQPACKET)
        try:
            family = read_family()
            settings = _settings(functions, terms, self._key, family, is_bare=is_bare)
            bell = -1 if terms.relayed is None else terms.relayed.bell
            self._process: subprocess.Popen[bytes] | ForkedProcess
            if origin is None:
                passed = _Passed(theirs.fileno(), self._boot.words, family["tracker"], bell)
                packed = marshal.dumps(settings)
                self._process = _launch(executable, passed, packed, terms.hash_seed)
            else:
                live = partial(_live_on, theirs, settings, self.names, origin)
                threads = origin.may_have_threads
                self._process = fork_caller(live, may_have_threads=threads)
            waiter.watch(self._control.fileno(), self._on_control)
            HOUSEHOLD.add(self._process.pid)
            self._status = KeptFile(f"/proc/{self._process.pid}/status", STATUS_BYTES)
            self._status.open()
        except BaseException:
            self._control.close()
            self._boot.drop()
            raise
        finally:
            theirs.close()

    def start(self, worker: int) -> Seat:
        """Order a worker; on_started or on_refused answers."""
        ours, theirs = make_pair(_socket.SOCK_STREAM)
        slate_file, key = -1, os.urandom(KEY_BYTES)
        try:
            slate_file, slate = make_slate()
            rights = [theirs.fileno()] + ([slate_file] if slate is not None else [])
            request = write_message(self._key, (FORK, worker, key, number_worker()))
            send_with(self._control, request, rights)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            if slate_file >= 0:
                os.close(slate_file)
        return Seat(ours, slate, key)

    def kill(self, worker: int, *, is_there: bool = False) -> None:
        """Kill a worker with all it has started; on_ended answers.

        Args:
            worker: Which.
            is_there: True where it is known that its process is there, so that nothing need be
                opened to make sure of it while memory is short.
        """
        if worker == self._became:
            self._process.kill()
            return
        place = self._places.get(worker)
        if place is None or not place.started_ticks:
            self._request((KILL, worker))  # it was not forked yet, or /proc cannot be read
        elif is_there or started_ticks(place.pid) == place.started_ticks:
            kill_group(place.pid)  # here and now: the zygote may stand still, or be swapped out

    def wait_until(self, at: float) -> None:
        """Have patience with the end: a worker has something left to do."""
        self._patient_until = max(self._patient_until, at)

    def setback(self, cause: str) -> Setback | None:
        """Say why it never was of use, once it is lost; None where it was."""
        if self._fault or self._became is not None:
            return None
        return self._boot.setback(cause, may_load_less=self.should_be_bare)

    def forget(self, number: int) -> None:
        """Have no worker that is started from now on begin with this function."""
        if number in self._wanted:
            self._wanted.discard(number)
            self.functions -= {number}
            self._request((FORGET, number))

    def quit(self) -> None:
        """End once the last worker has ended; on_closed answers."""
        self._quitting = True
        self._deadline = time.monotonic() + CLOSE_SECONDS
        if self._became is None:
            self._request((QUIT,))

    def abandon(self) -> None:
        """Kill everything at once, without a word."""
        self._status.close()
        if self._ending is None:
            self._waiter.forget(self._control.fileno())
            self._control.close()
        else:
            self._stop_watching(self._ending)
        self._boot.drop()
        self._kill_workers()
        kill_group(self._process.pid)
        HOUSEHOLD.discard(self._process.pid)
        try:
            self._process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:  # it stands in the kernel, or waits for a core
            wait_aside(self._process.poll)

    def _kill_workers(self) -> None:
        for pid, started in list(self._places.values()):
            if started_ticks(pid) == started:  # else it is gone, and the pid perhaps another's
                kill_group(pid)

    def strike(self) -> None:
        """Kill everything, from any thread: change nothing, wait for nothing."""
        self._kill_workers()
        with contextlib.suppress(ProcessLookupError):  # not by Popen, which would reap it here
            os.kill(self._process.pid, signal.SIGKILL)

    def let_go(self) -> None:
        """In a forked child: close the descriptor, touch nothing else."""
        self._control.close()
        self._status.close()
        self._boot.drop()
        self._process.returncode = 0  # it is not this process's child

    def tick(self, now: float) -> float | None:
        """Kill a zygote that is past its bound or was stopped by a signal."""
        if self._ending is not None:
            return self._look_for_end(self._ending, now)
        if self._deadline is not None and now >= max(self._deadline, self._patient_until):
            self._deadline = now + START_SECONDS if self._is_working() else None
            if self._deadline is None:
                self._process.kill()
        if now >= self._look_at:
            self._look_at = now + STOPPED_LOOK_SECONDS
            if self._process.poll() is not None:
                self._on_control(0)  # a child that loading forked may hold the other end open
            elif says_stopped(self._status.read()):
                self._process.kill()
        return min(self._look_at, max(self._deadline or self._look_at, self._patient_until))

    def _is_working(self) -> bool:
        """Say whether what it loads has used the processor since this was asked last."""
        if self._quitting or self._ending is not None:
            return False
        used_before = self._used_seconds
        self._used_seconds = read_used_seconds(self._process.pid) or 0.0
        return self._used_seconds >= used_before + START_SECONDS * LOADING_SHARE

    def _request(self, message: tuple[Any, ...]) -> None:
        try:
            self._control.send(write_message(self._key, message))
        except OSError:
            self._process.kill()  # it takes no requests; the control socket tells of its end

    def _on_control(self, bits: int) -> None:
        del bits
        while self._control.fileno() >= 0:  # else it was abandoned since the poll
            try:
                count = self._control.recv_into(self._room)
                message = bytes(self._room[:count])
            except BlockingIOError:
                if self._process.returncode is None:
                    return
                message = b""
            except ConnectionResetError:  # it has not read all, which is said before what it sent
                continue
            except OSError:
                message = b""
            if not message:
                self._on_end()
                return
            try:
                answer = self._read(message)
            except NoMessageError as error:
                self._condemn(error)
                return
            self._on_answer(answer)

    def _read(self, message: bytes) -> tuple[Any, ...]:
        """Read an answer.

        Raises:
            NoMessageError: It is none; what was loaded runs in the zygote, and may do anything.
        """
        answer = read_message(self._key, message)
        types = _ANSWERS.get(answer[0])
        if types is None:
            refuse(f"an answer of kind {answer[0]}")
        check_head(answer, types)
        is_start = answer[0] in (FORKED, BECAME)
        if is_start and (answer[2] <= 1 or answer[2] == os.getpid()):
            refuse(f"a worker with pid {answer[2]}")
        return answer

    def _condemn(self, error: NoMessageError) -> None:
        """End a zygote that speaks nonsense, and with it its workers."""
        self._fault = f"what it sent, which is no message: {error}"
        self._process.kill()
        self._on_end()

    def _on_answer(self, answer: tuple[Any, ...]) -> None:
        kind = answer[0]
        if kind == BOOTED:
            self._boot.note_booted(answer[1])
        elif kind == LOADED:
            self._deadline = None
            self._boot.note_loaded(answer[2], answer[3])
            self.should_be_bare = bool(answer[2] or answer[3])
            self.has_company = bool(answer[4])
            self.functions = self._wanted & frozenset(answer[1])
        elif kind in (FORKED, BECAME):
            self._places[answer[1]] = _Place(answer[2], started_ticks(answer[2]))
            self._became = answer[1] if kind == BECAME else self._became
            self._events.on_started(answer[1], answer[2])
        elif kind == REFUSED:
            self._events.on_refused(answer[1], answer[3])
        elif kind == ENDED:
            _, worker, status, peak_bytes = answer
            self._places.pop(worker, None)
            self._events.on_ended(worker, status, peak_bytes)

    def _on_end(self) -> None:
        """The zygote has closed its end, and ends; its process is not waited for here.

        It was told to, it became a worker that ended, or it is lost.
        """
        self._waiter.forget(self._control.fileno())
        self._control.close()
        self._status.close()
        now = time.monotonic()
        self._ending = _Ending(now, open_pidfd(self._process.pid))
        if self._ending.pidfd >= 0:
            self._waiter.watch(self._ending.pidfd, self._on_process_end)
        self._look_for_end(self._ending, now)

    def _on_process_end(self, bits: int) -> None:
        del bits
        if self._ending is not None and self._ending.pidfd >= 0:
            self._look_for_end(self._ending, time.monotonic())

    def _look_for_end(self, ending: "_Ending", now: float) -> float | None:
        """Conclude once the process has ended; return when to look again, None for never."""
        code = self._process.poll()
        if code is None and now < ending.since + 2 * CLOSE_SECONDS:
            if now >= ending.since + CLOSE_SECONDS:
                self._process.kill()
            return now + (TICK_SECONDS if ending.pidfd >= 0 else END_POLL_SECONDS)
        self._stop_watching(ending)
        if code is None:  # it stands in the kernel
            wait_aside(self._process.poll)
        self._conclude(-signal.SIGKILL if code is None else code)
        return None

    def _stop_watching(self, ending: "_Ending") -> None:
        if ending.pidfd >= 0:
            self._waiter.forget(ending.pidfd)
            os.close(ending.pidfd)
        self._ending = _Ending(ending.since, -1)

    def _conclude(self, code: int) -> None:
        HOUSEHOLD.discard(self._process.pid)
        with contextlib.suppress(OSError):  # none is left of what loading had started
            os.killpg(self._process.pid, signal.SIGKILL)
        self._deadline = None
        if self._became is not None:
            self._events.on_ended(self._became, code << 8 if code >= 0 else -code, None)
        self._kill_workers()
        if self._quitting:
            self._boot.drop()
            self._events.on_closed()
            return
        self._events.on_lost(self._fault or (f"signal {-code}" if code < 0 else f"exit {code}"))
        self._boot.drop()


class Origin(NamedTuple):
    """What a snapshot zygote has from its birth, and how it is forked.

    Attributes:
        first: The initializer with its arguments, None for none.
        functions: Functions of batches, by id.
        kept: Descriptors that it keeps as they are.
        inherited: Objects that are sent to it by their numbers.
        generators: Of random numbers, all that are there; None where it is to find them itself.
        may_have_threads: True where other threads were looked at and are put up with.
    """

    first: tuple[Any, tuple[Any, ...]] | None
    functions: dict[int, Any]
    kept: set[int]
    inherited: dict[int, Any]
    generators: list[Any] | None
    may_have_threads: bool


def _live_on(
    control: _socket.socket, settings: dict[str, Any], versions: dict[Key, int], origin: Origin
) -> NoReturn:
    """Be the zygote, in the process that was forked."""
    PROGRAM.begin_anew()
    settings["versions"] = versions
    settings["kept"] = origin.kept
    settings["inherited"] = origin.inherited
    settings["generators"] = origin.generators
    settings["family"]["tools"] = None  # they are here
    main_of_snapshot(control.detach(), settings, origin.first, origin.functions)


class _Ending(NamedTuple):
    """Since when the end of the zygote's process is awaited, and by which descriptor it is seen."""

    since: float
    pidfd: int


class _Place(NamedTuple):
    """Which process a worker is; its pid alone may be another's by the time it is killed."""

    pid: int
    started_ticks: int


class _Passed(NamedTuple):
    """Descriptors that a zygote is handed: socket, first words', the tracker's, the bell."""

    control: int
    words: int
    tracker: int
    bell: int


def _launch(
    executable: str, passed: _Passed, settings: bytes, hash_seed: int | None
) -> "subprocess.Popen[bytes]":
    settings_file = lift(make_memory_file(0))
    stderr = _copy_stderr() if passed.words >= 0 else -1
    try:
        with open(settings_file, "wb", closefd=False) as file:
            file.write(settings)
        os.lseek(settings_file, 0, os.SEEK_SET)
        boot = _BOOT.format(file=settings_file, control=passed.control, stderr=stderr)
        descriptors = (passed.control, settings_file, stderr, passed.tracker, passed.bell)
        return subprocess.Popen(  # our own interpreter with our own code
            [executable, *_interpreter_flags(), "-c", boot],
            stdin=subprocess.DEVNULL,
            stderr=passed.words if passed.words >= 0 else None,
            pass_fds=tuple(one for one in descriptors if one >= 0),
            env={
                **os.environ,
                **cap_inner_threads(1),
                **ask_for_huge_pages(),
                **set_hash_seed(hash_seed),
            },
            process_group=0,
        )
    finally:
        os.close(settings_file)
        if stderr >= 0:
            os.close(stderr)


def _copy_stderr() -> int:
    """Return a descriptor of standard error, of nothing where the program has closed it.

    Raises:
        OSError: No descriptor is left.
    """
    try:
        return lift(os.dup(2))
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
        return lift(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC))


def _settings(
    functions: Mapping[int, bytes],
    terms: Terms,
    key: bytes,
    family: dict[str, Any],
    *,
    is_bare: bool,
) -> dict[str, Any]:
    return {
        "key": key,
        "path": search_path(),
        "argv": _words(),
        "parent": os.getpid(),
        "functions": dict(functions),
        "first": terms.first,
        "main": terms.main,
        "names": terms.names,
        "is_bare": is_bare,
        "inner_threads": terms.inner_threads,
        "capped": unset_variables(),
        "hidden": list(ask_for_huge_pages()),
        "hash_seed": terms.hash_seed,
        "program": terms.settings,
        "slate_bytes": SLATE_BYTES,
        "publish_seconds": terms.publish_seconds,
        "authkey": _authkey(),
        "arena_bytes": terms.arena_bytes,
        "left_work_seconds": terms.left_work_seconds,
        "family": family,
        "relayed": None if terms.relayed is None else tuple(terms.relayed),
    }


def search_path() -> list[str]:
    """Return `sys.path` as plain texts, as `marshal` takes them; what is no path is left out."""
    entries: list[object] = list(sys.path)
    paths = [one for one in entries if isinstance(one, str | bytes | os.PathLike)]
    return ["".join(os.fsdecode(one)) for one in paths]


def _words() -> list[str]:
    """Return the program's own arguments, `[""]` where a host of Python has made none of them."""
    words = getattr(sys, "argv", None)
    return ["".join(str(word)) for word in words] if isinstance(words, list) else [""]


def _authkey() -> bytes | None:
    """Return the key of this process's managers, so that workers may use what they hand out.

    None where none can have been made: in the zygote the key costs an import of `multiprocessing`.
    """
    if "multiprocessing.managers" not in sys.modules:
        return None
    return bytes(sys.modules["multiprocessing.process"].current_process().authkey)


def _interpreter_flags() -> list[str]:
    """Return the flags that the parent itself was started with, as multiprocessing does."""
    read = getattr(subprocess, "_args_from_interpreter_flags", list)
    return list(read())
