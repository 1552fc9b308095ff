"""How tight memory is and when to look again.

Pure: (verdict before, snapshot, config) -> verdict with a reason. Pressure rises at once and
falls only above a higher mark (hysteresis). What is done about it is `readings`.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from adaptive_exec.config import GIB, Config, Size, parse_size
from adaptive_exec.core.reason import Code, Reason, because
from adaptive_exec.core.snapshot import HostSnapshot

TARGET_MEMORY: Final = 0.70
"""Fraction of the limit up to which workers are added. Source: the transform system's target."""
WARN_BYTES: Final = 4 * GIB
"""Bytes available below which pressure is warn. Source: the trials system's warning."""
WARN_FRACTION: Final = 0.20
"""Fraction of the limit that takes the place of WARN_BYTES where it is smaller. Source: own choice,
so that a host of less than 20 GiB has room for work."""
CRITICAL_BYTES: Final = 2 * GIB
"""Bytes available below which pressure is critical. Source: the trials system's emergency brake."""
CRITICAL_FRACTION: Final = 0.08
"""Fraction of the limit that takes the place of CRITICAL_BYTES where it is smaller. Source: own
choice, the same for one of less than 25 GiB."""
CRAWL_SECONDS: Final = 10.0
"""Seconds that tasks may be held up at a group's `memory.high` with no room left until the one that
holds most is stopped: as long as the kernel averages stalls over. Source: the kernel's avg10."""
CRAWL_PERCENT: Final = 50.0
"""Share of the time in which tasks must have stalled for that. Source: own choice, five times
STALL_PERCENT: more of the time lost than used."""

HYSTERESIS = 1.25
"""Ratio; pressure falls only when this much more than the mark is available. Source: own choice,
one quarter."""
LOOK_MIN_SECONDS = 0.05
"""Seconds between two looks when memory may be gone at once. Source: own choice; a look takes 0.1
ms."""
LOOK_MAX_SECONDS = 1.0
"""Seconds between two looks when there is plenty. Source: earlyoom sleeps 0.1 to 1 s."""
FILL_BYTES_PER_SECOND = 6 * 10**9
"""Bytes per second; the fastest that memory was seen to fill. Source: earlyoom's 6000 MiB/s."""
FILL_BYTES_PER_CORE = 2.7 * 10**9
"""Bytes per second that one core fills; of many cores all together are faster than the former.
Source: measured, 60 MB of fresh pages in 22 ms."""

_CODES = {"normal": Code.MEMORY_NORMAL, "warn": Code.MEMORY_WARN, "critical": Code.MEMORY_CRITICAL}
_ORDER = ("normal", "warn", "critical")


STALL_PERCENT = 10.0
"""Share of the last 10 s in which tasks stalled on memory, from which the kernel's pressure stall
information counts as a second witness. Source: systemd-oomd's and Meta's oomd's usual 5-60 %."""
MARGIN_FRACTION = 0.02
"""Fraction of the limit by which the window stays below the warn mark, so that it is not touched
all the time. Source: own choice."""

FUTILE_SHARE = 0.125
"""Share of the memory wanted back below which no worker is worth killing: somebody else took it.
Source: own choice, an eighth."""


class Verdict(NamedTuple):
    """How tight memory is.

    Attributes:
        pressure: `"normal"`, `"warn"` or `"critical"`.
        look_again_seconds: When the next snapshot is due.
        reason: The numbers behind it.
        at: When the snapshot was taken, monotonic seconds; None before the first.
        available_bytes: What was available then.
    """

    pressure: str
    look_again_seconds: float
    reason: Reason
    at: float | None = None
    available_bytes: int = 0


class Marks(NamedTuple):
    """The marks in bytes.

    Attributes:
        target_bytes: Memory in use up to which the window grows.
        most_bytes: Memory in use up to which it grows where little is uncertain.
        warn_bytes: Available memory below which pressure is warn.
        critical_bytes: Available memory below which pressure is critical.
    """

    target_bytes: int
    most_bytes: int
    warn_bytes: int
    critical_bytes: int


def set_marks(host: HostSnapshot, config: Config) -> Marks:
    """Say where the marks lie on a host.

    Args:
        host: Its limit.
        config: Uses target_memory, a size of use, and warn_memory and critical_memory, sizes of
            what is left.

    Returns:
        The marks; a default gives way to what was asked for.

    Source:
        Marks as in the trials system, the target as in the transform system. See docs/sources.md.
    """
    limit = host.limit_bytes
    warn = _mark(config.warn_memory, "warn_memory", host, WARN_BYTES, WARN_FRACTION)
    critical = _mark(
        config.critical_memory, "critical_memory", host, CRITICAL_BYTES, CRITICAL_FRACTION
    )
    if config.critical_memory is None:
        critical = min(critical, warn)
    else:
        warn = max(critical, warn)
    most = limit - warn - int(MARGIN_FRACTION * limit)
    if config.target_memory is None:
        return Marks(min(most, int(TARGET_MEMORY * limit)), most, warn, critical)
    target = parse_size("target_memory", config.target_memory, limit_bytes=limit)
    target = min(target, limit)
    return Marks(target, target, warn, critical)


CALM = Verdict("normal", LOOK_MAX_SECONDS, because(Code.MEMORY_NORMAL))


def judge_memory(before: Verdict, host: HostSnapshot, config: Config) -> Verdict:
    """Say how tight memory is.

    Args:
        before: The last verdict; the first call gets `CALM`.
        host: Facts at one instant.
        config: Uses warn_memory and critical_memory, sizes of what is left.

    Returns:
        The new verdict. `look_again_seconds` is headroom to the critical mark divided by the
        fastest fill rate.

    Source:
        Interval as in earlyoom. See docs/sources.md.
    """
    marks = set_marks(host, config)
    available = float(host.available_bytes)
    if (host.stall_percent or 0.0) >= STALL_PERCENT:
        available /= HYSTERESIS
    pressure = _pressure(available, marks)
    if _ORDER.index(pressure) < _ORDER.index(before.pressure):
        eased = _pressure(available / HYSTERESIS, marks)
        pressure = min(before.pressure, eased, key=_ORDER.index)
    headroom = max(0, host.available_bytes - marks.critical_bytes)
    rate = max(FILL_BYTES_PER_SECOND, host.usable_cores * FILL_BYTES_PER_CORE)
    look = min(LOOK_MAX_SECONDS, max(LOOK_MIN_SECONDS, headroom / rate))
    reason = because(
        _CODES[pressure],
        available=host.available_bytes,
        warn=marks.warn_bytes,
        critical=marks.critical_bytes,
        limit=host.limit_bytes,
        stall=host.stall_percent,
    )
    return Verdict(pressure, look, reason, host.taken_at, host.available_bytes)


def foresee(before: Verdict, verdict: Verdict) -> Verdict:
    """Call critical what is only warn, where memory would be gone before the next look.

    Args:
        before: The verdict before, of the same host.
        verdict: The new one.

    Returns:
        The new one, critical where memory goes on to shrink at the rate since the last look and
        would then be gone.
    """
    if before.at is None or verdict.at is None or verdict.pressure != "warn":
        return verdict
    seconds = max(verdict.at - before.at, LOOK_MIN_SECONDS)
    rate = (before.available_bytes - verdict.available_bytes) / seconds
    if rate * verdict.look_again_seconds <= verdict.available_bytes:
        return verdict
    reason = Reason(Code.MEMORY_CRITICAL, (*verdict.reason.facts, ("rate", int(rate))))
    return verdict._replace(pressure="critical", reason=reason)


def _pressure(available_bytes: float, marks: Marks) -> str:
    if available_bytes < marks.critical_bytes:
        return "critical"
    return "warn" if available_bytes < marks.warn_bytes else "normal"


def _mark(asked: Size | None, name: str, host: HostSnapshot, most: int, fraction: float) -> int:
    if asked is None:
        return int(min(most, fraction * host.limit_bytes))
    return min(parse_size(name, asked, limit_bytes=host.limit_bytes), host.limit_bytes)


class Candidate(NamedTuple):
    """A chunk whose worker could be stopped, and what it holds; None where that is unknown."""

    chunk: int
    bytes: int | None


class Taken(NamedTuple):
    """The chunk whose worker goes, and what comes back of it."""

    chunk: int
    bytes: int


def choose_victim(candidates: Sequence[Candidate], wanted_bytes: int) -> Taken | None:
    """Choose whose worker is killed so that memory comes back.

    Args:
        candidates: Those there are, youngest first.
        wanted_bytes: How much should come back.

    Returns:
        The youngest whose memory is enough; where none is, the largest; None where there is
        nobody, or all together hold too little to be the trouble.

    >>> choose_victim([Candidate(3, 10), Candidate(2, 90), Candidate(1, 99)], 50).chunk
    2
    """
    if not candidates:
        return None
    if all(one.bytes is None for one in candidates):
        return Taken(candidates[0].chunk, 0)
    for chunk, held in candidates:
        if held is not None and held >= wanted_bytes:
            return Taken(chunk, held)
    largest = max(candidates, key=lambda one: one.bytes or 0)
    if (largest.bytes or 0) < FUTILE_SHARE * wanted_bytes:
        return None
    return Taken(largest.chunk, largest.bytes or 0)


class Crawl(NamedTuple):
    """Tasks are held up at a group's `memory.high`, with no room left.

    Attributes:
        since: Monotonic seconds of the first reading that said so.
        throttles: How often they had been held up by then.
        bytes: What the largest of them had by then.
    """

    since: float
    throttles: int
    bytes: int = 0


def watch_crawl(
    before: Crawl | None, verdict: Verdict, host: HostSnapshot, now: float, *, largest_bytes: int
) -> Crawl | None:
    """Say since when tasks are held up without room, None while they are not.

    A kernel without pressure stall information does not tell how long they stall; there that the
    largest grows and is held up is the witness (`is_crawl`).
    """
    is_stalled = host.stall_percent is None or host.stall_percent >= CRAWL_PERCENT
    if host.throttles is None or not is_stalled or verdict.pressure != "critical":
        return None
    return before or Crawl(now, host.throttles, largest_bytes)


def is_crawl(crawl: Crawl, host: HostSnapshot, *, largest_bytes: int) -> bool:
    """Say whether what was watched is a crawl: held up again and again, and out for more."""
    is_held_up = (host.throttles or 0) > crawl.throttles
    return is_held_up and (host.stall_percent is not None or largest_bytes > crawl.bytes)


class Victim(NamedTuple):
    """A worker that was killed so that memory comes back.

    Attributes:
        worker: Its id.
        bytes: What it held.
        available_bytes: What was available then.
        killed_at: Monotonic seconds.
        lost_at: When it was gone, None while it is not.
    """

    worker: int
    bytes: int
    available_bytes: int
    killed_at: float
    lost_at: float | None = None
