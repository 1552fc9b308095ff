"""The zygote: a fresh interpreter that loads the function once and forks workers on request.

Watches its workers and reports how each ended, and ends everything when its parent is gone. Runs in
a process of its own, started by `levels/zygote`; imports little. Never decides how many workers
there are.
"""

import _signal as signal  # type: ignore[import-not-found]  # `signal` imports `enum`: 6 ms
import _socket as socket_module
import errno
import gc
import os
import select
import sys

from adaptive_exec.levels.forks import end_child
from adaptive_exec.levels.frames import read_message, read_rights, write_message
from adaptive_exec.levels.inner import insist_on_threads, limit_here
from adaptive_exec.levels.left_open import find_left_open, list_open
from adaptive_exec.levels.originals import make_plain_poll, open_socket
from adaptive_exec.levels.ring import name_spill
from adaptive_exec.levels.slate import Slate
from adaptive_exec.levels.worker import Worker, describe_traceback, serve_to_the_end
from adaptive_exec.program.anew import begin_anew
from adaptive_exec.program.applied import Applied
from adaptive_exec.program.c_pickle import loads
from adaptive_exec.program.ending import Inheritance
from adaptive_exec.program.family import adopt, adopt_tools
from adaptive_exec.program.generators import find_generators, reseed
from adaptive_exec.program.hashes import keep_hash_seed
from adaptive_exec.program.relay import relay
from adaptive_exec.program.spaces import HERE, start_as
from adaptive_exec.system.processes import (
    PR_SET_CHILD_SUBREAPER,
    PR_SET_DUMPABLE,
    PR_SET_PDEATHSIG,
    kill_group,
    open_pidfd,
    prctl,
)
from adaptive_exec.system.stdio import fill_standard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

FORK, KILL, QUIT, FORGET = 1, 2, 3, 4
"""Requests: `(FORK, worker, key, identity)` with the worker's descriptors, `(KILL, worker)`,
`(QUIT,)`, `(FORGET, function)`."""
LOADED, FORKED, REFUSED, ENDED, BECAME, BOOTED = 11, 12, 13, 14, 15, 16
"""Answers: `(BOOTED, threads)`, `(LOADED, functions, threads, left open, company, error)`,
`(FORKED, worker, pid)`, `(REFUSED, worker, errno, text)`, `(ENDED, worker, status, peak bytes)`,
`(BECAME, worker, pid)`.

BOOTED names the threads that were there before anything was loaded."""
MESSAGE_BYTES = 64 * 1024
"""Bytes of the longest message; all are far shorter."""
ERROR_CHARACTERS_MAX, THREADS_TOLD = 8 * 1024, 100
"""What is told of a function that could not be loaded, so that the message is not too long."""
UNFIT = 3
"""Exit code of a zygote that must not fork: loading the function has started threads in it, or left
something open of which each worker is to have its own."""
ORPHAN_SCORE = b"1000"
"""oom_score_adj of a worker.

With 500 the kernel still killed a 240 MB parent instead of a 90 MB worker.
"""
ZYGOTE_SCORE = b"900"
"""oom_score_adj of a zygote: after its workers and before the parent.

Without it the kernel killed the parent in 9 of 23 runs, when the worker that it had chosen was not
gone yet; with it in 0 of 16.
"""
QUIET_THREADS = frozenset({"jemalloc_bg_thd"})
"""Threads that may stand idle while we fork: pyarrow's and pandas' jemalloc (200 forks tried)."""
_KNOWN_COMPANY = ("__main__", "adaptive_exec", "__editable__", "_distutils_hack", "_virtualenv")
"""Modules in an interpreter that loads nothing: ours, and those of installers' `.pth` files."""
_STDLIB = os.path.dirname(os.__file__) + os.sep
DESCRIPTORS_MAX = 4096
"""Descriptors that a fresh interpreter can have open at most; it has a dozen."""
_WATCH_SECONDS = 0.25
"""Seconds between looks for the parent where the kernel has no pidfd."""
_WAIT_MILLISECONDS = 5000
"""Milliseconds; the longest wait in the loop. Every wait has a bound."""


def main(descriptor: int, settings: "dict[str, Any]") -> None:
    """Load, then serve until QUIT or the parent's end.

    Args:
        descriptor: Our end of the control socket.
        settings: What the parent said, see `levels/zygote`.
    """
    take_streams(settings["stderr"])
    # A program that ignores it hands that down, and nobody here could wait for a child.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for name in settings["hidden"]:  # ours alone: what a task starts is not to inherit it
        os.environ.pop(name, None)
    keep_hash_seed(settings["hash_seed"])
    watch_parent = open_pidfd(settings["parent"])
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    be_expendable(ZYGOTE_SCORE)
    if os.getppid() != settings["parent"]:
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    zygote = Zygote(descriptor, watch_parent, settings)
    zygote.boot()
    watcher = watch_loading(settings["parent"], watch_parent)
    try:
        zygote.load()
    finally:
        relay.unmute()
    if watcher:
        os.kill(watcher, signal.SIGKILL)
        os.waitpid(watcher, 0)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    if watch_parent >= 0:
        prctl(
            PR_SET_PDEATHSIG, 0
        )  # it fires when the thread that started us ends; from here on the pidfd tells
    zygote.serve()


def main_of_snapshot(
    descriptor: int,
    settings: "dict[str, Any]",
    first: "tuple[Any, tuple[Any, ...]] | None",
    functions: "dict[int, Any]",
) -> "NoReturn":
    """Serve, in a process that was just forked from the caller, until QUIT or the parent's end.

    Args:
        descriptor: As in `main`.
        settings: As in `main`.
        first: The initializer with its arguments, None for none.
        functions: The functions that workers have from their birth.
    """
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != settings["parent"]:
        os._exit(1)
    _set_group(0)
    kept = [descriptor, settings["family"]["tracker"], *settings.pop("kept")]
    if settings["relayed"] is not None:
        kept.append(settings["relayed"][0])
    begin_anew(kept)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watch_parent = open_pidfd(settings["parent"])
    be_expendable(ZYGOTE_SCORE)
    settings["self"] = os.getpid()
    zygote = Zygote(descriptor, watch_parent, settings)
    zygote.take_over(first, functions)
    relay.unmute()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    if watch_parent >= 0:
        prctl(PR_SET_PDEATHSIG, 0)  # as in `main`
    zygote.serve()
    os._exit(0)


class Zygote:
    """Forks workers on request and reports their ends."""

    def __init__(self, descriptor: int, watch_parent: int, settings: "dict[str, Any]") -> None:
        os.set_inheritable(descriptor, False)  # noqa: FBT003  # what loading starts must not hold it
        self._control = open_socket(descriptor)
        self._watch_parent = watch_parent
        self._settings = settings
        self._functions: dict[int, Any] = {}
        self._generators: list[Any] = []
        self._first: tuple[Any, tuple[Any, ...]] | None = None
        self._pids: dict[int, int] = {}
        self._workers: dict[int, tuple[int, int]] = {}
        self._poll = make_plain_poll()
        self._quitting = False
        self._keys: dict[int, bytes] = {}
        self._identity: tuple[int, ...] = (0,)
        self._inheritance = Inheritance()
        self._program = Applied()

    def boot(self) -> None:
        """Say that we are there; end where something has started a thread in us already."""
        threads = other_threads()
        self._answer((BOOTED, threads[:THREADS_TOLD]))
        if threads:
            os._exit(UNFIT)

    def load(self) -> None:
        """Load the initializer and the first function, and say how it went."""
        error = ""
        self._enter_family()
        if self._settings["authkey"] is not None:
            adopt_authkey(self._settings["authkey"])
        before = list_open()
        self._program.take_early(loads(self._settings.pop("program")))
        main, names = self._settings["main"], self._settings.pop("names")
        self._program.load(lambda: start_as(main, names))
        self._load_first()
        try:
            for number, payload in self._settings.pop("functions").items():
                self._functions[number] = loads(payload)
        except BaseException as raised:  # noqa: BLE001  # the user's modules run here and may raise anything
            error = describe_traceback(raised)
        self._program.take_late()
        gc.unfreeze()  # what a module has set aside would not be found
        arguments = self._first and self._first[1], HERE.shared()
        self._generators = find_generators(spare=arguments)
        gc.collect()
        self._inheritance.gather()
        threads, left = other_threads(), find_left_open(before)
        gc.freeze()
        if os.getpid() != self._settings["self"]:
            end_child()  # what was loaded forked, and goes on here as well
        told = error[-ERROR_CHARACTERS_MAX:]
        company = int(not self._settings["is_bare"] or has_company())
        self._answer((LOADED, list(self._functions), threads[:THREADS_TOLD], left, company, told))
        if threads or left:
            os._exit(UNFIT)  # the next one loads no function, its workers load it themselves

    def take_over(
        self, first: "tuple[Any, tuple[Any, ...]] | None", functions: "dict[int, Any]"
    ) -> None:
        """Begin with all that the caller has, from whom this process was forked."""
        settings = self._settings
        self._first, self._functions = first, functions
        self._enter_family()
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            util._run_after_forkers()  # noqa: SLF001  # as each process that it forks
        self._program.begin_here(loads(settings.pop("program")))
        HERE.begin_here(settings.pop("versions"), settings.pop("inherited"))
        limit_here(settings["inner_threads"])
        for name in settings["capped"]:
            os.environ[name] = str(settings["inner_threads"])
        settings["inner_threads"] = 1  # there is nothing to be widened any more
        self._generators = _find_all(settings.pop("generators"), spare=(first and first[1]))
        gc.freeze()  # what the caller has is not ours to collect
        gc.enable()
        self._answer((LOADED, list(functions), [], [], 1, ""))

    def _load_first(self) -> None:
        """Load the initializer, or let each worker do it."""
        first = self._settings.pop("first")
        try:
            if first is not None:
                is_bare = self._settings["is_bare"]
                self._first = (_load_and_run, (first,)) if is_bare else loads(first)
        except BaseException as raised:  # noqa: BLE001  # the user's modules run here and may raise anything
            self._first = (_fail, (describe_traceback(raised),))

    def _enter_family(self) -> None:
        """Be a child of the parent, so that what is loaded sees that it is not the main process."""
        family = self._settings["family"]
        if family["tracker"] >= 0:
            os.set_inheritable(family["tracker"], False)  # noqa: FBT003  # as the control socket
        adopt(family, self._identity)
        adopt_tools(family)
        if self._settings["relayed"] is None:
            return
        bell = self._settings["relayed"][0]
        if bell >= 0:
            os.set_inheritable(bell, False)  # noqa: FBT003  # as above
        relay.install()
        relay.mute()

    def serve(self) -> None:
        """Take requests and watch workers, until QUIT or the parent's end."""
        self._poll.register(self._control.fileno(), select.POLLIN)
        if self._watch_parent >= 0:
            self._poll.register(self._watch_parent, select.POLLIN)
        while not (self._quitting and not self._workers):
            wait = _WAIT_MILLISECONDS if self._all_watched() else 50
            for descriptor, _ in self._poll.poll(wait):
                self._react(descriptor)
            if not self._all_watched():
                self._look_for_ended()
        self._sweep()
        os._exit(0)  # the parent ends what is left of our group

    def _react(self, descriptor: int) -> None:
        if descriptor == self._watch_parent:
            self._end_all()
        elif descriptor == self._control.fileno():
            self._take_request()
        else:
            worker = next(key for key, (_, pidfd) in self._workers.items() if pidfd == descriptor)
            self._bury(worker)

    def _take_request(self) -> None:
        try:
            message, ancillary, flags, _ = self._control.recvmsg(
                MESSAGE_BYTES, socket_module.CMSG_SPACE(8), socket_module.MSG_CMSG_CLOEXEC
            )
        except OSError:
            self._end_all()
        if not message:
            self._end_all()
        request = read_message(self._settings["key"], message)
        if request[0] == FORK:
            self._keys[request[1]] = request[2]
            self._identity = request[3]
            self._fork(
                request[1], read_rights(ancillary), lost=bool(flags & socket_module.MSG_CTRUNC)
            )
            self._keys.clear()  # the next worker is not to have it
        elif request[0] == KILL:
            self._kill(request[1])
        elif request[0] == FORGET:
            self._functions.pop(request[1], None)
        elif request[0] == QUIT:
            self._quitting = True

    def _fork(self, worker: int, descriptors: "list[int]", *, lost: bool) -> None:
        if lost or not descriptors:
            for descriptor in descriptors:
                os.close(descriptor)
            self._answer((
                REFUSED,
                worker,
                errno.EMFILE,
                "OSError: [Errno 24] Too many open files in the zygote",
            ))
            return
        for stream in (sys.stdout, sys.stderr):
            _flush(stream)
        self._inheritance.before_fork()
        try:
            pid = os.fork()
        except OSError as error:
            self._inheritance.after_fork()
            self._on_refused(worker, descriptors, error)
            return
        if pid == 0:
            self._become_worker(worker, descriptors)
        self._inheritance.after_fork()
        for descriptor in descriptors:
            os.close(descriptor)
        _set_group(pid)
        pidfd = open_pidfd(pid)
        self._workers[worker] = (pid, pidfd)
        if pidfd >= 0:
            self._poll.register(pidfd, select.POLLIN)
        self._answer((FORKED, worker, pid))

    def _on_refused(self, worker: int, descriptors: "list[int]", error: OSError) -> None:
        if self._workers or error.errno not in (errno.EAGAIN, errno.ENOMEM):
            for descriptor in descriptors:
                os.close(descriptor)
            text = f"OSError: [Errno {error.errno}] {os.strerror(error.errno or 0)}"
            self._answer((REFUSED, worker, error.errno, text))
            return
        self._answer((BECAME, worker, os.getpid()))
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        self._work(worker, descriptors)

    def _become_worker(self, worker: int, descriptors: "list[int]") -> None:
        try:
            _set_group(0)
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != self._settings["self"]:
                os._exit(1)
            self._control.close()
            for descriptor in [self._watch_parent, *(pidfd for _, pidfd in self._workers.values())]:
                if descriptor >= 0:
                    os.close(descriptor)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._work(worker, descriptors)
        finally:
            os._exit(1)

    def _work(self, number: int, descriptors: "list[int]") -> None:
        """Serve as a worker; does not return."""
        adopt(self._settings["family"], self._identity)
        be_expendable()
        reseed(self._generators)
        if self._settings["inner_threads"] != 1:  # the zygote has none but its own
            insist_on_threads(self._settings["inner_threads"], self._settings["capped"])
        link = open_socket(descriptors[0])
        slate, slate_file = None, -1
        if len(descriptors) > 1:
            slate_file = descriptors[1]
            slate = Slate(slate_file, self._settings["slate_bytes"])
        bounds = self._settings["publish_seconds"], self._settings["arena_bytes"]
        key = self._keys[number]
        bell, spill_path = -1, ""
        if self._settings["relayed"] is not None:
            bell, folder = self._settings["relayed"]
            spill_path = name_spill(folder, self._settings["parent"], key)
        worker = Worker(
            link,
            slate,
            self._functions,
            *bounds,
            key=key,
            left_work_seconds=self._settings["left_work_seconds"],
            slate_file=slate_file,
            program=self._program,
            bell=bell,
            spill_path=spill_path,
        )
        relay.unmute()
        inherited = self._inheritance.files()
        serve_to_the_end(worker, self._first, greets=False, inherited=inherited)

    def _kill(self, worker: int) -> None:
        if worker in self._workers:
            kill_group(self._workers[worker][0])

    def _bury(self, worker: int) -> None:
        """Reap a worker that has ended, with all that it left behind in its group, and report."""
        pid, pidfd = self._workers.pop(worker)
        kill_group(pid)
        try:
            _, status, usage = os.wait4(pid, 0)
            peak_bytes = usage.ru_maxrss * 1024
        except ChildProcessError:
            status, peak_bytes = 0, None
        if pidfd >= 0:
            self._poll.unregister(pidfd)
            os.close(pidfd)
        self._answer((ENDED, worker, status, peak_bytes))
        self._sweep()

    def _look_for_ended(self) -> None:
        for worker, (pid, _) in list(self._workers.items()):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
                self._bury(worker)

    def _sweep(self) -> None:
        """Reap what dead workers' children became when they were handed to us."""
        own = {pid for pid, _ in self._workers.values()}
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            except ChildProcessError:
                return
            if found is None or found.si_pid in own:
                return
            os.waitpid(found.si_pid, os.WNOHANG)

    def _end_all(self) -> "NoReturn":
        """The parent is gone: nothing may run on."""
        for pid, _ in self._workers.values():
            kill_group(pid)
        if leads_group():
            os.killpg(0, signal.SIGKILL)  # with us all that loading had started
        os._exit(0)

    def _all_watched(self) -> bool:
        return all(pidfd >= 0 for _, pidfd in self._workers.values())

    def _answer(self, message: "tuple[Any, ...]") -> None:
        try:
            self._control.send(write_message(self._settings["key"], message))
        except OSError:
            self._end_all()


def watch_loading(parent: int, parent_fd: int) -> int:
    """See to it that what loading starts ends with the parent; the kernel ends the zygote alone.

    Args:
        parent: Its pid.
        parent_fd: Its pidfd, -1 where there is none.

    Returns:
        The pid of the watcher, a member of our group; 0 where no process is to be had.
    """
    if not leads_group():
        return 0
    try:
        watcher = os.fork()
    except OSError:
        return 0
    if watcher == 0:
        try:
            watch(parent, parent_fd)
        finally:
            os.killpg(0, signal.SIGKILL)
    return watcher


def watch(parent: int, parent_fd: int) -> None:
    """Come back when a parent has gone; holds nothing else open meanwhile."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if parent_fd < 0:
        os.closerange(0, DESCRIPTORS_MAX)
        while _is_there(parent):
            select.select([], [], [], _WATCH_SECONDS)
        return
    os.dup2(parent_fd, 0)
    os.closerange(1, DESCRIPTORS_MAX)
    select.select([0], [], [])


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def leads_group() -> bool:
    """Say whether our group is our own, as the parent starts us, so that it may be killed."""
    return os.getpgrp() == os.getpid()


def take_streams(stderr: int) -> None:
    """Write to the parent's standard error; what was said until now went into a file of its own."""
    try:
        fill_standard()
        if stderr >= 0:
            os.dup2(stderr, 2)
            os.close(stderr)
    except OSError:
        return  # no descriptor is left, and none was closed


def _find_all(known: "list[Any] | None", *, spare: object) -> "list[Any]":
    """Find the generators that the caller had, here where it could not do so itself.

    To look through what it has would copy it: 80 ms more with scikit-learn loaded.
    """
    if known is not None:  # no garbage was collected since: what is new is among the youngest
        return [*known, *find_generators(spare=spare, generation=0)]
    gc.unfreeze()  # what the caller has set aside would not be found
    return find_generators(spare=spare)


def _load_and_run(packed: bytes) -> None:
    """Load the initializer in the worker itself, and run it."""
    function, arguments = loads(packed)
    function(*arguments)


def _fail(text: str) -> None:
    """Stand in for an initializer that could not be loaded."""
    raise RuntimeError(text)


def adopt_authkey(key: bytes) -> None:
    """Be trusted by the managers of the parent, as its own child processes are."""
    from multiprocessing.process import current_process

    current_process().authkey = key


def has_company() -> bool:
    """Say whether more is loaded than the standard library, this package and `.pth` files."""
    return any(map(_is_company, list(sys.modules.values())))


def _is_company(module: "Any") -> bool:
    name, file = getattr(module, "__name__", ""), getattr(module, "__file__", None)
    if not isinstance(name, str) or not isinstance(file, str) or name.startswith(_KNOWN_COMPANY):
        return False
    is_installed = "site-packages" in file or "dist-packages" in file
    return is_installed or not file.startswith(_STDLIB)


def other_threads() -> "list[str]":
    """Name the threads beside this one that make forking unsafe."""
    names, known = [], _python_threads()
    try:
        threads = os.listdir("/proc/self/task")
        own = os.path.basename(os.readlink("/proc/self"))  # another space may have mounted it
    except OSError:
        return []
    for thread in threads:
        if thread == own:
            continue
        if int(thread) in known:
            names.append(known[int(thread)])
            continue
        try:
            with open(f"/proc/self/task/{thread}/comm") as file:  # pathlib costs 5 ms
                names.append(file.read().strip())
        except OSError:
            continue  # it has just ended
    return [name for name in names if name not in QUIET_THREADS]


def _python_threads() -> "dict[int, str]":
    """Return the names of threads that Python knows, by the kernel's number."""
    threading = sys.modules.get("threading")
    threads = [] if threading is None else threading.enumerate()
    return {one.native_id: str(one.name) for one in threads if one.native_id is not None}


def _set_group(pid: int) -> None:
    try:
        os.setpgid(pid, pid)
    except OSError:
        return  # it has set it itself, or is gone


def _flush(stream: "Any") -> None:
    try:
        stream.flush()
    except (AttributeError, OSError, ValueError):
        return


def be_expendable(score: bytes = ORPHAN_SCORE) -> None:
    """Have the kernel's out-of-memory killer take this process before its parent."""
    prctl(PR_SET_DUMPABLE, 1)
    try:
        descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    except OSError:
        return
    try:
        os.write(descriptor, score)
    except OSError:
        pass  # not allowed here; the kernel then goes by size alone
    finally:
        os.close(descriptor)
