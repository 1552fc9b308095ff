"""The settings of an executor, each with its unit, and how sizes are said.

`Config` is frozen and checked when it is made: a wrong value never reaches a worker. This file
decides nothing while a batch runs; policies get a `Config` as an argument.
"""

import math
import operator
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Final, NamedTuple, Self, SupportsIndex

from adaptive_exec.specs import ISOLATED, LEVELS, SHARED

KIB: Final = 1024
"""Bytes."""
MIB: Final = 1024 * KIB
"""Bytes."""
GIB: Final = 1024 * MIB
"""Bytes."""

NOT_YET: Final = ("reuse", "retry_on")
"""Settings whose rooms are not built yet: checked, and refused when set."""

SIZE_BYTES_MIN: Final = 4096
"""Bytes; a bare number between 100 and this is a slip, no size. Source: the smallest page."""

Size = int | float | str
"""A size: a number up to 1 is a fraction of the limit, above 1 to 100 a percentage, else bytes.

Text is the same number, or one with a unit: `"150MB"` counts in 10^6, `"150MiB"` in 2^20, `"70%"`
is a percentage.
"""


class Journal(NamedTuple):
    """A journal with what to do about what it holds; a mere path stands for one with the defaults.

    Attributes:
        path: The file; made if it is not there.
        retry_failed: Run again what failed in earlier runs.
        accept_changed: Use the results of functions whose source has changed since.
    """

    path: str
    retry_failed: bool = False
    accept_changed: bool = False


class _Settings(NamedTuple):
    levels: str | tuple[str, ...] = "auto"
    inline: bool = False
    fallback: str | None = None
    max_workers: int | None = None
    max_in_flight: int | None = None
    target_memory: Size | None = None
    warn_memory: Size | None = None
    critical_memory: Size | None = None
    task_memory: Size | Callable[..., Size] | None = None
    size: Callable[..., float] | None = None
    order: str | None = None
    wall: str | None = "auto"
    count_swap: bool = False
    task_timeout: float | None = None
    retries: int = 2
    retry_on: tuple[type[BaseException], ...] = ()
    seed: int | None = None
    isolate: bool = False
    max_tasks_per_worker: int | None = None
    max_worker_age: float | None = None
    max_worker_memory: Size | None = None
    inner_threads: int | None = None
    initializer: Callable[..., object] | None = None
    initargs: tuple[object, ...] = ()
    start: str | None = None
    journal: str | Journal | None = None
    key: Callable[..., object] | None = None
    share_host: bool = True
    progress: bool = False
    on_event: Callable[[dict[str, object]], object] | None = None
    relay: bool = True
    capture: bool = False
    reuse: bool = False
    cluster: object = None
    cluster_wait: float = 10.0


class Config(_Settings):
    """The settings of one executor.

    Args:
        levels: `"auto"`, one level's name, or a tuple of names out of process, thread, sequential.
        inline: Let tiny tasks, and such as are dwarfed by their payload, move into the caller's
            process in the midst of a batch, where that was measured to be faster.
        fallback: Where a batch goes whose function cannot be sent to a process: `"thread"`, or None
            to have its tasks end with an error that names what cannot be sent.
        max_workers: Most workers at once; None means as many as the host affords.
        max_in_flight: Most chunks that are with workers at once; None means as many as there are
            workers and memory admits.
        target_memory: Size of use up to which chunks are let out; None means 70 %, and up to the
            warn mark once what chunks take was measured and spreads little.
        warn_memory: Size of what is left below which no more work is taken on; None means the
            smaller of 4 GiB and 20 %.
        critical_memory: Size of what is left below which workers are stopped; None means the
            smaller of 2 GiB and 8 %.
        task_memory: Size that one task takes, or a function of its arguments that returns it; None
            means it is measured.
        size: Function of a task's arguments that returns a number by which tasks that take much
            differ from others; None means that it is looked for among these.
        order: `"largest"` has the largest tasks of an input with a length begin first, so that a
            long one does not begin when all others are done; None means the order of the input.
        wall: Where a process worker is refused more memory than its part of the room: `"auto"`
            where a kill of the kernel's would end the caller as well, at `task_memory` where that
            is given, and where a control group was handed over, which each worker then has one of
            its own below; `"soft"` always, by what is asked for; `"hard"` as auto, with a group for
            each worker wherever that can be made; None never.
        count_swap: What can be swapped out counts as memory that can be taken.
        task_timeout: Seconds for one task; None means no limit.
        retries: Executions after a worker's death, 0 or more.
        retry_on: Exception types of the task itself that make it run again.
        seed: Gives each task a random stream of its own, the same in each run; None means that no
            two processes draw the same. With it threads run one task at a time.
        isolate: Never run a task in the caller's process, small batches included.
        max_tasks_per_worker: Tasks after which a worker is replaced.
        max_worker_age: Seconds after which a worker is replaced.
        max_worker_memory: Size at which a worker is replaced; None means once it has kept a fair
            part of the room for tasks.
        inner_threads: Threads that BLAS and OpenMP may use in each worker; None means
            cores // workers, at least 1.
        initializer: Called once in each worker; in the caller's process only where `levels` leaves
            processes out.
        initargs: Its arguments.
        start: How process workers start: `"snapshot"` forks the caller, at the first use and in its
            own thread; `"fresh"` forks a new interpreter that has loaded what tasks need; `"loky"`
            starts one for each. None means a snapshot where that is safe, else a fresh one.
        journal: File of finished results, read back when their batch is run again: its path, or a
            `Journal`.
        key: Function of a task's arguments that returns what its key in the journal is made of;
            None means all of its arguments.
        share_host: Share the host fairly with other instances.
        progress: Show a progress bar.
        on_event: Called with each decision, a dictionary.
        relay: Have what tasks print and log, and their warnings, come through the caller's streams,
            loggers and filters; else workers write to the raw descriptors.
        capture: Keep what each task prints and logs in its `Outcome` and in the journal as well; of
            processes.
        reuse: Keep the workers for the next executor.
        cluster: What helps from elsewhere, beside the workers here: a client of Dask's, the address
            of its scheduler, as `"tcp://host:8786"`, or any `concurrent.futures.Executor`; it stays
            its owner's.
        cluster_wait: Seconds to wait for its first answer.

    Raises:
        ValueError: A value is out of range; the message names it and the way out.
        TypeError: A value has the wrong type, or a setting is unknown.
    """

    __slots__ = ()

    def __new__(cls, **settings: object) -> Self:
        """Check every value, and bring it into one form."""
        self = super().__new__(cls, **_settle({**cls._field_defaults, **settings}))
        _check_built(self)
        _check_marks(self)
        _check_isolate(self)
        _check_fallback(self)
        return self

    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, object]]:
        """Be pickled by names, as it is made."""
        return (), self._asdict()

    @classmethod
    def _make(cls, iterable: Iterable[Any]) -> Self:  # type: ignore[override]  # narrower than a tuple's
        return cls(**dict(zip(cls._fields, iterable, strict=True)))  # so `_replace` checks as well

    @property
    def ladder(self) -> tuple[str, ...]:
        """The levels this executor may use, best first."""
        return LEVELS if isinstance(self.levels, str) else self.levels

    @property
    def keeps_out(self) -> bool:
        """True where no task may run in the caller's process, whatever becomes of processes."""
        return self.isolate or (self.initializer is not None and ISOLATED in self.ladder)


def make_config(settings: Mapping[str, object]) -> Config:
    """Make a `Config` from settings by name.

    Args:
        settings: Values by the names of `Config`'s fields.

    Returns:
        The checked configuration.

    Raises:
        TypeError: A name is unknown; the message names the nearest known one.
        ValueError: A value is out of range.
    """
    known = sorted(Config._fields)
    for name in settings:
        if name not in known:
            raise TypeError(_unknown("setting", name, known))
    return Config(**settings)


def settings_text(*, indent: int = 0) -> str:
    """Return the settings as `help` shows them: name and default, meaning and unit.

    Args:
        indent: Spaces before each line.
    """
    told = (Config.__doc__ or "").partition("Args:\n")[2].partition("\n\n")[0]
    lines = []
    for line in told.splitlines():
        name, colon, meaning = line.strip().partition(": ")
        if colon and name in Config._fields:
            line = f"{name}={Config._field_defaults[name]!r}: {meaning}"  # noqa: PLW2901  # rewritten
            lines.append(" " * indent + line)
        else:
            lines.append(" " * (indent + 4) + line.strip())
    return "\n".join(lines)


MEANT: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("n_jobs", "jobs", "workers", "n_workers", "num_workers", "processes"), "max_workers"
    ),
    **dict.fromkeys(
        ("mp_context", "start_method", "context", "fork", "spawn", "forkserver"), "start"
    ),
    **dict.fromkeys(("timeout", "time_limit"), "task_timeout"),
    **dict.fromkeys(("max_tasks_per_child", "maxtasksperchild"), "max_tasks_per_worker"),
    "memory_limit": "target_memory",
    "n_threads": "inner_threads",
    **dict.fromkeys(("threads", "threading"), SHARED),
    "multiprocessing": ISOLATED,
}
"""What is called otherwise elsewhere: in `concurrent.futures`, `multiprocessing`, joblib."""


def check_levels(levels: object) -> str | tuple[str, ...]:
    """Check and order a choice of levels.

    Args:
        levels: `"auto"`, a name, or a collection of names.

    Returns:
        `"auto"` or the names in the order of the ladder, each once.

    Raises:
        ValueError: A level is unknown or none is given.
        TypeError: It is neither text nor a collection of text.
    """
    if levels == "auto":
        return "auto"
    if isinstance(levels, str) and levels not in LEVELS:
        raise ValueError(_unknown("level", levels, ["auto", *LEVELS]))
    names = (levels,) if isinstance(levels, str) else levels
    if not isinstance(names, (tuple, list, set, frozenset)):
        message = f"levels must be 'auto' or names of levels, got {levels!r}; choose from {_LADDER}"
        raise TypeError(message)
    for name in names:
        if name not in LEVELS:
            raise ValueError(_unknown("level", name, LEVELS))
    if not names:
        message = f"levels must name at least one level, got {levels!r}; choose from {_LADDER}"
        raise ValueError(message)
    return tuple(name for name in LEVELS if name in names)


_LADDER: Final = ", ".join(LEVELS)
_SIZE_FORMS: Final = "give a fraction up to 1, a percentage up to 100, bytes, or text like '2GiB'"
_PERCENT: Final = 100
"""Of the limit, which is all of it."""
_UNITS: Final[Mapping[str, int]] = {"b": 1} | {
    prefix.lower() + unit: base**power
    for power, prefix in enumerate("KMGT", start=1)
    for unit, base in (("", 1000), ("b", 1000), ("i", 1024), ("ib", 1024))
}


def parse_size(name: str, value: object, *, limit_bytes: int) -> int:
    """Turn a size setting into bytes.

    Args:
        name: The setting's name, for the error message.
        value: A number up to 1 is a fraction of the limit, above 1 to 100 a percentage, else bytes;
            or text: such a number, or one with a unit, as `"150MB"`, `"150MiB"`, `"70%"`.
        limit_bytes: The limit that fractions and percentages refer to.

    Returns:
        Bytes, at least 1.

    Raises:
        ValueError: The value is not above 0, not finite, not a known form, or neither a percentage
            nor as large as a page.
        TypeError: The value is neither number nor text.

    >>> parse_size("task_memory", "150MB", limit_bytes=0)
    150000000
    >>> parse_size("target_memory", 70.0, limit_bytes=1000)
    700
    >>> parse_size("target_memory", "0.7", limit_bytes=1000)
    700
    """
    if isinstance(value, bool) or not isinstance(value, (Real, str)):
        message = f"{name} must be a size, got {value!r}; {_SIZE_FORMS}"
        raise TypeError(message)
    amount, unit = _split(name, value) if isinstance(value, str) else (_number(value), "")
    if not 0 < amount < math.inf:
        message = f"{name} must be a size above 0, got {value!r}; {_SIZE_FORMS}"
        raise ValueError(message)
    if _is_slip(amount, unit):
        message = (
            f"{name} must be a percentage up to 100, or bytes from {SIZE_BYTES_MIN}, "
            f"got {value!r}; {_SIZE_FORMS}"
        )
        raise ValueError(message)
    return max(1, round(_scale(amount, unit, limit_bytes)))


def _split(name: str, text: str) -> tuple[float, str]:
    match = re.fullmatch(r"\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*([a-zA-Z]*|%)\s*", text)
    unit = match[2].lower() if match else ""
    if match is None or unit not in {"", "%", *_UNITS}:
        message = f"{name} must be a size, got {text!r}; {_SIZE_FORMS}"
        raise ValueError(message)
    whole = match[1].isdecimal()
    return (int(match[1]) if whole else float(match[1])), unit


def _number(value: Real) -> float:
    if isinstance(value, Integral):
        return int(value)
    return float(value)


def _is_slip(amount: float, unit: str) -> bool:
    return amount > _PERCENT and (unit == "%" or (not unit and amount < SIZE_BYTES_MIN))


def _scale(amount: float, unit: str, limit_bytes: int) -> float:
    if unit in _UNITS:
        return amount * _UNITS[unit]
    if unit == "%" or 1 < amount <= _PERCENT:
        whole = int(amount) if amount == int(amount) else amount  # 72 and 72.0 are the same bytes
        return whole * limit_bytes / _PERCENT
    return amount * limit_bytes if amount <= 1 else amount


def _check_count(name: str, value: object, *, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        message = f"{name} must be a whole number, got {value!r}; give {least} or more"
        raise TypeError(message)
    count = operator.index(value)
    if count < least:
        message = f"{name} must be {least} or more, got {count}; leave it out for the default"
        raise ValueError(message)
    return count


def _check_seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        message = f"{name} must be a number of seconds, got {value!r}; leave it out for no limit"
        raise TypeError(message)
    seconds = float(value)
    if not 0 < seconds < math.inf:
        message = f"{name} must be above 0 seconds, got {value!r}; leave it out for no limit"
        raise ValueError(message)
    return seconds


def _check_size(name: str, value: object) -> object:
    parse_size(name, value, limit_bytes=GIB)
    return value


def _check_flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        message = f"{name} must be True or False, got {value!r}; leave it out for the default"
        raise TypeError(message)


def _check_task_memory(name: str, value: object) -> object:
    return value if callable(value) else _check_size(name, value)


def _check_callable(name: str, value: object) -> object:
    if not callable(value):
        message = f"{name} must be callable, got {value!r}; leave it out for none"
        raise TypeError(message)
    return value


def _check_wall(name: str, value: object) -> object:
    if value not in _WALLS:
        raise ValueError(_unknown(name, value, _WALLS))
    return value


def _check_order(name: str, value: object) -> object:
    if value not in _ORDERS:
        raise ValueError(_unknown(name, value, _ORDERS))
    return value


def _check_start(name: str, value: object) -> object:
    if value not in _STARTS:
        raise ValueError(_unknown(name, value, _STARTS))
    return value


def _check_journal(name: str, value: object) -> Journal:
    journal = value if isinstance(value, Journal) else Journal(value)  # type: ignore[arg-type]  # checked below
    path: object = journal.path
    if isinstance(path, os.PathLike):
        path = os.fspath(path)
    if not isinstance(path, str) or not path:
        message = (
            f"{name} must be the path of a file, got {journal.path!r}; name one or leave it out"
        )
        raise TypeError(message)
    _check_flag("retry_failed", journal.retry_failed)
    _check_flag("accept_changed", journal.accept_changed)
    return journal._replace(path=os.path.abspath(path))  # noqa: PTH100  # pathlib is slow to import


def _check_initargs(value: object) -> tuple[object, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        message = f"initargs must be a tuple, got {value!r}; write ({value!r},) for one argument"
        raise TypeError(message)
    return tuple(value)


def _check_cluster(name: str, value: object) -> object:
    if isinstance(value, str):
        if not re.fullmatch(r"[a-z]+://\S+", value):
            message = f"{name} must be an address with its protocol, got {value!r}; {_CLUSTERS}"
            raise ValueError(message)
    elif isinstance(value, type) or not callable(getattr(value, "submit", None)):
        message = f"{name} must be a client, an address or an executor, got {value!r}; {_CLUSTERS}"
        raise TypeError(message)
    return value


def _check_way_out(name: str, value: object) -> object:
    if value not in _FALLBACKS:
        raise ValueError(_unknown(name, value, _FALLBACKS))
    return value


_CLUSTERS: Final = "give a client, 'tcp://host:8786', or what has a submit; leave it out for none"
_WALLS: Final = ("auto", "soft", "hard")
_ORDERS: Final = ("largest",)
_STARTS: Final = ("snapshot", "fresh", "loky", "zygote")
"""The last is an older name of the second."""
_FALLBACKS: Final = (SHARED,)
_FLAGS: Final = (
    "count_swap", "inline", "isolate", "share_host", "progress", "relay", "capture", "reuse",
)  # fmt: skip
_OPTIONAL: Final[Mapping[str, Callable[[str, object], object]]] = {
    "max_workers": _check_count,
    "max_in_flight": _check_count,
    "max_tasks_per_worker": _check_count,
    "inner_threads": _check_count,
    "seed": lambda name, value: _check_count(name, value, least=0),
    "task_timeout": _check_seconds,
    "max_worker_age": _check_seconds,
    "target_memory": _check_size,
    "warn_memory": _check_size,
    "critical_memory": _check_size,
    "task_memory": _check_task_memory,
    "size": _check_callable,
    "max_worker_memory": _check_size,
    "initializer": _check_callable,
    "on_event": _check_callable,
    "key": _check_callable,
    "journal": _check_journal,
    "start": _check_start,
    "fallback": _check_way_out,
    "cluster": _check_cluster,
    "wall": _check_wall,
    "order": _check_order,
}
"""Settings that may be None, and the check of any other value."""


def _settle(given: dict[str, Any]) -> dict[str, Any]:
    """Check values one by one; return them in one form."""
    settled = dict(given)
    settled["levels"] = check_levels(given["levels"])
    settled["retries"] = _check_count("retries", given["retries"], least=0)
    settled["cluster_wait"] = _check_seconds("cluster_wait", given["cluster_wait"])
    settled["initargs"] = _check_initargs(given["initargs"])
    for name in _FLAGS:
        _check_flag(name, given[name])
    for name, check in _OPTIONAL.items():
        if given[name] is not None:
            settled[name] = check(name, given[name])
    return settled


def _check_built(config: Config) -> None:
    for name, default in config._field_defaults.items():
        value = getattr(config, name)
        if name in NOT_YET and value is not default:
            message = f"{name} is not built yet, got {value!r}; leave it out in this version"
            raise ValueError(message)


def _check_marks(config: Config) -> None:
    if config.warn_memory is None or config.critical_memory is None:
        return
    # Against two limits far apart, since only sizes of one kind can be compared without the host.
    for limit_bytes in (GIB, 1024 * GIB):
        warn = parse_size("warn_memory", config.warn_memory, limit_bytes=limit_bytes)
        if warn > parse_size("critical_memory", config.critical_memory, limit_bytes=limit_bytes):
            return
    message = (
        f"warn_memory must be above critical_memory, got {config.warn_memory!r} and "
        f"{config.critical_memory!r}; both are sizes of memory that is left"
    )
    raise ValueError(message)


def _check_isolate(config: Config) -> None:
    if config.isolate and ISOLATED not in config.ladder:
        message = (
            f"isolate=True needs the {ISOLATED} level, got levels={config.levels!r}; "
            f"add {ISOLATED!r} or leave isolate out"
        )
        raise ValueError(message)


def _check_fallback(config: Config) -> None:
    if config.isolate and (config.inline or config.fallback is not None):
        name = "inline" if config.inline else "fallback"
        message = (
            f"{name} cannot be had with isolate=True, got {name}={getattr(config, name)!r}; "
            f"leave one of them out"
        )
        raise ValueError(message)


def _unknown(what: str, name: object, known: Sequence[str]) -> str:
    import difflib  # 4 ms, only where something is wrong

    meant = MEANT.get(str(name).lower(), "")
    near = (
        [meant]
        if meant in known
        else difflib.get_close_matches(str(name).lower(), known, n=1, cutoff=0.0)
    )
    return f"unknown {what}, got {name!r}; did you mean {near[0]!r}? known are {', '.join(known)}"
