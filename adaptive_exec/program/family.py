"""A worker as `multiprocessing` knows processes: a name, a number, a parent, a resource tracker.

Tasks choose their card, port or seed by `current_process()`, attach to shared memory of the caller,
and tools (coverage, for one) wrap what a child process runs. All of it is done when a worker uses
`multiprocessing`, not before, since that takes milliseconds to import. Imports little: every worker
imports it.
"""

import os
import sys

from adaptive_exec.program.arrivals import when_imported
from adaptive_exec.system.processes import open_pidfd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Facts = dict[str, Any]

NAME = "AdaptiveProcess"
"""What names of workers begin with, followed by their number."""
_PREPARED = frozenset({
    "log_to_stderr", "authkey", "name", "sys_path", "sys_argv", "orig_dir", "dir", "start_method",
    "log_level", "main_path", "init_main_from_path", "init_main_from_name",
})  # fmt: skip
"""What `multiprocessing` itself tells a child that it spawns; all else was added by a tool."""
_last_number = [0]


# in the parent


def number_worker() -> "tuple[int, ...]":
    """Return the identity of the next worker, which no other child of this process has."""
    process = sys.modules.get("multiprocessing.process")
    if process is None:
        _last_number[0] += 1
        return (_last_number[0],)
    number = next(process._process_counter)  # noqa: SLF001  # as each process that it makes
    while number <= _last_number[0]:
        number = next(process._process_counter)  # noqa: SLF001  # as above
    _last_number[0] = number
    return (*process.current_process()._identity, number)  # noqa: SLF001  # as above


def read_family() -> "Facts":
    """Return what workers are told of this process."""
    process = sys.modules.get("multiprocessing.process")
    return {
        "pid": os.getpid(),
        "name": "MainProcess" if process is None else str(process.current_process().name),
        "tracker": _tracker_descriptor(),
        "tools": _pack_tools(),
    }


def _tracker_descriptor() -> int:
    """Return where this process's resource tracker listens; -1 where it has none and wants none."""
    module = sys.modules.get("multiprocessing.resource_tracker")
    if module is None and "multiprocessing.shared_memory" not in sys.modules:
        return -1
    try:
        from multiprocessing import resource_tracker

        tracker: Any = resource_tracker._resource_tracker  # noqa: SLF001  # as spawn does
        if "multiprocessing.shared_memory" in sys.modules:
            tracker.ensure_running()
        return -1 if tracker._fd is None else int(tracker._fd)  # noqa: SLF001  # not to start it
    except (ImportError, AttributeError, OSError):
        return -1


def _pack_tools() -> "bytes | None":
    """Pack what tools have added to what children are told, as coverage does."""
    spawn = sys.modules.get("multiprocessing.spawn")
    prepare = getattr(spawn, "get_preparation_data", None)
    if prepare is None or prepare.__module__ == "multiprocessing.spawn":
        return None
    try:
        from pickle import dumps

        told = prepare(NAME)
        return dumps({name: told[name] for name in told.keys() - _PREPARED})
    except Exception:  # noqa: BLE001  # a tool's code; without it tasks run unwatched
        return None


# in a worker, or in what forks workers


def adopt(facts: "Facts", identity: "tuple[int, ...]") -> None:
    """Be a child of the parent from now on, for all that asks `multiprocessing`.

    Args:
        facts: What the parent said of itself.
        identity: Our number, behind our ancestors'; `(0,)` is of what forks workers.
    """
    when_imported("multiprocessing.process", lambda module: _enter(module, facts, identity))
    if facts["tracker"] >= 0:
        when_imported(
            "multiprocessing.resource_tracker", lambda module: _share_tracker(module, facts)
        )
    util = sys.modules.get("multiprocessing.util")
    if util is not None and any(identity):
        util._finalizer_registry.clear()  # noqa: SLF001  # what the zygote would do at its end
        util._run_after_forkers()  # noqa: SLF001  # as each process that it forks


def adopt_tools(facts: "Facts") -> None:
    """Let tools of the parent's enter, which wrap what a process runs."""
    if facts["tools"] is not None:
        from pickle import loads

        try:
            loads(facts["tools"])
        except Exception:  # noqa: BLE001  # a tool's code, which cannot be told from here
            return


def live(run: "Callable[[], None]") -> None:
    """Run a worker's life, within what tools have wrapped a process's life in."""
    process = sys.modules.get("multiprocessing.process")
    wrap = getattr(getattr(process, "BaseProcess", None), "_bootstrap", None)
    if process is None or wrap is None or wrap.__module__ == "multiprocessing.process":
        run()
        return
    me = process.current_process()
    me.run = run
    me._start_method = None  # noqa: SLF001  # read by what is called next
    me._bootstrap(_open_sentinel(me._parent_pid))  # noqa: SLF001  # as in processes that it spawns


def tell_of_parent(pid: int) -> None:
    """Have `parent_process()` of a worker of loky's know whether it is alive."""
    process = sys.modules["multiprocessing.process"]
    parent = process.parent_process()
    if parent is not None and parent._sentinel is None:  # noqa: SLF001  # loky tells of none
        parent._sentinel = _open_sentinel(pid)  # noqa: SLF001  # as above


def _enter(process: "Any", facts: "Facts", identity: "tuple[int, ...]") -> None:
    """Become a process of its own in `multiprocessing.process`."""
    me = process.BaseProcess()
    me._identity = identity  # noqa: SLF001  # there is no public way
    me._name = f"{NAME}-{':'.join(map(str, identity))}"  # noqa: SLF001  # as above
    me._parent_pid, me._parent_name = facts["pid"], facts["name"]  # noqa: SLF001  # as above
    parent = process._ParentProcess(facts["name"], facts["pid"], _open_sentinel(facts["pid"]))  # noqa: SLF001  # as above
    process._current_process, process._parent_process = me, parent  # noqa: SLF001  # as above
    process._process_counter = process.itertools.count(1)  # noqa: SLF001  # as above
    process._children = set()  # noqa: SLF001  # as above


def _open_sentinel(pid: int) -> "int | None":
    """Return a descriptor that is readable once a process has ended; None where there is none."""
    descriptor = open_pidfd(pid)
    return None if descriptor < 0 else descriptor


def _share_tracker(module: "Any", facts: "Facts") -> None:
    """Tell of shared memory and semaphores to the parent's tracker; ours would remove them."""
    module._resource_tracker._fd = facts["tracker"]  # noqa: SLF001  # as spawn does
