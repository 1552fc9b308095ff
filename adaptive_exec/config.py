"""The settings of an executor and every bound of the program, each with its unit and its source.

`Config` is frozen and checked when it is made: a wrong value never reaches a worker. This file decides nothing
while a batch runs; policies get a `Config` as an argument.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Final

LEVELS: Final = ("process", "thread", "sequential")
"""The ladder, best first; a step down is a step to the right."""

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

SMALL_BATCH_TASKS: Final = 4
"""Tasks; a smaller batch starts on threads. Source: the score system's rule (docs/sources.md)."""
SMALL_BATCH_WORKERS: Final = 3
"""Workers; the most threads for a small batch. Source: the score system's rule."""
DEGRADED_THREADS: Final = 2
"""Workers; threads after the process level failed. Source: the score system's rule."""
START_PATIENCE_SECONDS: Final = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds between tries of a refused start. Source: the score system's submit retries."""
CALM_SECONDS: Final = 30.0
"""Seconds of quiet before a restore is tried. Source: circuit breakers' usual half-open delay."""
CALM_SECONDS_MAX: Final = 600.0
"""Seconds; the longest wait between restore trials, doubling from CALM_SECONDS."""
CHUNK_SECONDS: Final = 0.1
"""Seconds of work in a full chunk, the middle of 50-200 ms; joblib aims at 0.2-2 s, which idles workers longer."""
CHUNK_SECONDS_MAX: Final = 0.2
"""Seconds; joblib's MIN_IDEAL_BATCH_DURATION. A chunk measured longer makes the next one smaller."""
CHUNK_TASKS_MAX: Final = 65_536
"""Tasks; a chunk is never longer, so that progress is seen and a lost worker costs little."""
INLINE_SECONDS: Final = 0.02
"""Seconds the caller's thread works between two looks at the world at the sequential level."""
TINY_TASK_SECONDS: Final = 0.001
"""Seconds; only tasks whose isolated sample is below this may move into the caller's process."""
TINY_TASK_BYTES: Final = 4 * MIB
"""Bytes of payload or peak above which a task is not tiny."""
INLINE_TASK_SECONDS: Final = 0.3e-6
"""Seconds that the caller's own loop adds to a task. Source: benchmarks/README.md."""
TRANSPORT_TASK_SECONDS: Final = 3e-6
"""Seconds of parent work to send one small task and take its result, before it is measured. Source: benchmarks."""
SAMPLE_TASKS: Final = 3
"""Tasks that must have run isolated before the cost model speaks."""
GAIN_TO_MOVE: Final = 0.8
"""Ratio; a move needs an estimate below this share of the present one (hysteresis)."""
HELD_TASKS_MAX: Final = 10_000
"""Finished results held for a caller who is slow to take them."""
HELD_BYTES_MAX: Final = 64 * MIB
"""Bytes of finished results held for such a caller, where bytes are known."""
PULL_TASKS_MAX: Final = 65_536
"""Tasks asked for in one Pull."""
WORKER_BYTES: Final = 32 * MIB
"""Bytes counted for a worker of which nothing is known: interpreter, modules, a modest task (measured 8-30 MB)."""
THREAD_BYTES: Final = 8 * MIB
"""Bytes counted for a thread of which nothing is known: its stack and a modest task."""
TARGET_MEMORY: Final = 0.70
"""Fraction of the limit up to which workers are added. Source: dask's and the transform system's target."""
WARN_BYTES: Final = 4 * GIB
"""Bytes available below which pressure is warn, or 20 % of the limit where that is smaller. Source: the trials system."""
WARN_FRACTION: Final = 0.20
CRITICAL_BYTES: Final = 2 * GIB
"""Bytes available below which pressure is critical, or 8 % of the limit. Source: the trials system."""
CRITICAL_FRACTION: Final = 0.08
IDLE_WAIT_SECONDS: Final = 5.0
"""Seconds; the longest the driver sleeps with nothing to do. Every wait has a bound."""
TICK_SECONDS: Final = 0.05
"""Seconds between looks at published results while chunks are out."""
PUBLISH_SECONDS: Final = 0.0005
"""Seconds of finished results that a worker may hold back, so at most these are lost with it."""
START_SECONDS: Final = 30.0
"""Seconds a worker or zygote may take to report for work; a heavy import takes 10 s on a cold disk."""
CLOSE_SECONDS: Final = 2.0
"""Seconds a worker gets to end by itself before it is killed."""
STRIKES_MAX: Final = 5
"""Workers in a row that may die before their first result; then the level makes no progress."""
TRACE_LENGTH: Final = 10_000
"""Decisions kept for the report; older ones are counted only."""
SLATE_BYTES: Final = 256 * KIB
"""Bytes of shared memory per worker for published results."""
THREAD_STACK_BYTES: Final = 256 * KIB
"""Bytes of stack for a thread when the usual size was refused."""
SEND_BYTES_MAX: Final = 1 * MIB
"""Bytes of small tasks put into one message before the chunk is cut."""
NOT_YET: Final = (
    "journal", "key", "share_host", "cluster", "reuse", "max_worker_age", "max_worker_memory", "retry_on",
)
"""Settings whose rooms are not built yet: checked, and refused when set."""

Size = int | float | str
"""A size: a number up to 1 is a fraction of the limit, above 1 to 100 a percentage, else bytes; or text with a unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of one executor.

    Args:
        levels: `"auto"`, one level's name, or a tuple of names out of process, thread, sequential.
        max_workers: Most workers at once; None means as many as the host affords.
        max_in_flight: Most chunks that are with workers at once; None means the window of the plan.
        target_memory: Size up to which workers are added.
        warn_memory: Size of use at which no more work is taken on; None means the smaller of 4 GiB and 20 % left.
        critical_memory: Size of use at which workers are stopped; None means the smaller of 2 GiB and 8 % left.
        task_memory: Size that one task takes; None means it is measured.
        task_timeout: Seconds for one task; None means no limit.
        retries: Executions after a worker's death, 0 or more.
        retry_on: Exception types of the task itself that make it run again.
        isolate: Never run a task in the caller's process.
        max_tasks_per_worker: Tasks after which a worker is replaced.
        max_worker_age: Seconds after which a worker is replaced.
        max_worker_memory: Size at which a worker is replaced.
        inner_threads: Threads that BLAS and OpenMP may use in each worker; None means cores // workers, at least 1.
        initializer: Called once in each worker.
        initargs: Its arguments.
        start: How process workers start: `"zygote"`, `"loky"` or None for the best that works here.
        journal: Path of the file of finished results.
        key: Function from a task to its key in the journal.
        share_host: Share the host fairly with other instances.
        progress: Show a progress bar.
        on_event: Called with each decision, a dictionary.
        reuse: Keep the workers for the next executor.
        cluster: An executor of an existing cluster.

    Raises:
        ValueError: A value is out of range; the message names it and the way out.
        TypeError: A value has the wrong type, or a setting is unknown.
    """

    levels: str | tuple[str, ...] = "auto"
    max_workers: int | None = None
    max_in_flight: int | None = None
    target_memory: Size = TARGET_MEMORY
    warn_memory: Size | None = None
    critical_memory: Size | None = None
    task_memory: Size | None = None
    task_timeout: float | None = None
    retries: int = 2
    retry_on: tuple[type[BaseException], ...] = ()
    isolate: bool = False
    max_tasks_per_worker: int | None = None
    max_worker_age: float | None = None
    max_worker_memory: Size | None = None
    inner_threads: int | None = None
    initializer: Callable[..., object] | None = None
    initargs: tuple[object, ...] = ()
    start: str | None = None
    journal: object = None
    key: Callable[..., object] | None = None
    share_host: bool = False
    progress: bool = False
    on_event: Callable[[dict[str, object]], object] | None = None
    reuse: bool = False
    cluster: object = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", check_levels(self.levels))
        for name in ("max_workers", "max_in_flight", "max_tasks_per_worker", "inner_threads"):
            _check_count(name, getattr(self, name), least=1)
        _check_count("retries", self.retries, least=0)
        for name in ("task_timeout", "max_worker_age"):
            _check_seconds(name, getattr(self, name))
        for name in ("target_memory", "warn_memory", "critical_memory", "task_memory", "max_worker_memory"):
            if getattr(self, name) is not None:
                parse_size(name, getattr(self, name), limit_bytes=GIB)
        for name in ("isolate", "share_host", "progress", "reuse"):
            _check_flag(name, getattr(self, name))
        for name in ("initializer", "on_event", "key"):
            _check_callable(name, getattr(self, name))
        if not isinstance(self.initargs, tuple):
            object.__setattr__(self, "initargs", tuple(self.initargs))
        if self.start not in (None, "zygote", "loky"):
            message = f"start must be 'zygote', 'loky' or None, got {self.start!r}; leave it out for the best that works"
            raise ValueError(message)
        _check_built(self)

    @property
    def ladder(self) -> tuple[str, ...]:
        """The levels this executor may use, best first."""
        return LEVELS if self.levels == "auto" else tuple(self.levels)


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
    known = [field.name for field in fields(Config)]
    for name in settings:
        if name not in known:
            raise TypeError(_unknown("setting", name, known))
    return Config(**settings)  # type: ignore[arg-type]  # every value is checked in __post_init__


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
    names = (levels,) if isinstance(levels, str) else levels
    if not isinstance(names, (tuple, list, set, frozenset)):
        message = f"levels must be 'auto' or names of levels, got {levels!r}; choose from {', '.join(LEVELS)}"
        raise TypeError(message)
    for name in names:
        if name not in LEVELS:
            raise ValueError(_unknown("level", name, [*LEVELS, "auto"]))
    if not names:
        message = f"levels must name at least one level, got {levels!r}; choose from {', '.join(LEVELS)}"
        raise ValueError(message)
    return tuple(name for name in LEVELS if name in names)


_UNITS: Final = {
    "": 1, "b": 1,
    "k": 1000, "kb": 1000, "kib": KIB,
    "m": 1000**2, "mb": 1000**2, "mib": MIB,
    "g": 1000**3, "gb": 1000**3, "gib": GIB,
    "t": 1000**4, "tb": 1000**4, "tib": 1024 * GIB,
}
_PERCENT: Final = 100


def parse_size(name: str, value: object, *, limit_bytes: int) -> int:
    """Turn a size setting into bytes.

    Args:
        name: The setting's name, for the error message.
        value: A number up to 1 is a fraction of the limit, above 1 to 100 a percentage, else bytes; text like
            `"150MB"` (10^6), `"150MiB"` (2^20) or `"70%"`.
        limit_bytes: The limit that fractions and percentages refer to.

    Returns:
        Bytes, at least 1.

    Raises:
        ValueError: The value is not above 0, not finite, or not a known form.
        TypeError: The value is neither number nor text.

    >>> parse_size("task_memory", "150MB", limit_bytes=0)
    150000000
    >>> parse_size("target_memory", 70.0, limit_bytes=1000)
    700
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        message = f"{name} must be a size, got {value!r}; give a fraction, a percentage, bytes or text like '2GiB'"
        raise TypeError(message)
    number = _parse_text(name, value, limit_bytes) if isinstance(value, str) else _scale(value, limit_bytes)
    if not 0 < number < float("inf"):
        message = f"{name} must be a size above 0, got {value!r}; give a fraction, a percentage, bytes or text like '2GiB'"
        raise ValueError(message)
    return max(1, int(number))


def _scale(value: float, limit_bytes: int) -> float:
    if value <= 1:
        return value * limit_bytes
    if value <= _PERCENT:
        return value / _PERCENT * limit_bytes
    return value


def _parse_text(name: str, text: str, limit_bytes: int) -> float:
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zA-Z]*|%)\s*", text)
    if match and match[2] == "%" and 0 < float(match[1]) <= _PERCENT:
        return float(match[1]) / _PERCENT * limit_bytes
    if match is None or match[2].lower() not in _UNITS:
        message = f"{name} must be a size, got {text!r}; write it like '150MB', '2GiB' or '70%'"
        raise ValueError(message)
    return float(match[1]) * _UNITS[match[2].lower()]


def _check_count(name: str, value: object, *, least: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        message = f"{name} must be a whole number, got {value!r}; give {least} or more"
        raise TypeError(message)
    if value.__index__() < least:
        message = f"{name} must be {least} or more, got {value!r}; leave it out for the default"
        raise ValueError(message)


def _check_seconds(name: str, value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        message = f"{name} must be a number of seconds, got {value!r}; leave it out for no limit"
        raise TypeError(message)
    if not 0 < value < float("inf"):
        message = f"{name} must be above 0 seconds, got {value!r}; leave it out for no limit"
        raise ValueError(message)


def _check_flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        message = f"{name} must be True or False, got {value!r}; leave it out for the default"
        raise TypeError(message)


def _check_callable(name: str, value: object) -> None:
    if value is not None and not callable(value):
        message = f"{name} must be callable, got {value!r}; leave it out for none"
        raise TypeError(message)


def _check_built(config: Config) -> None:
    for name in NOT_YET:
        if getattr(config, name) not in (None, False, ()):
            message = f"{name} is not built yet, got {getattr(config, name)!r}; leave it out in this version"
            raise ValueError(message)


def _unknown(what: str, name: object, known: list[str]) -> str:
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.0)
    return f"unknown {what}, got {name!r}; did you mean {near[0]!r}? known are {', '.join(sorted(known))}"
