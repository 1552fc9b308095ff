"""How tight memory is and when to look again.

Pure: (verdict before, snapshot, config) -> verdict with a reason. Pressure rises at once and
falls only above a higher mark (hysteresis). What is done about it is `core/run`.
"""

from typing import NamedTuple

from adaptive_exec.config import (
    CRITICAL_BYTES,
    CRITICAL_FRACTION,
    WARN_BYTES,
    WARN_FRACTION,
    Config,
    Size,
    parse_size,
)
from adaptive_exec.core.reason import Code, Reason, because
from adaptive_exec.core.snapshot import HostSnapshot

HYSTERESIS = 1.25
"""Ratio; pressure falls only when this much more than the mark is available. Source: own choice,
one quarter."""
LOOK_MIN_SECONDS = 0.05
"""Seconds between two looks when memory may be gone at once."""
LOOK_MAX_SECONDS = 1.0
"""Seconds between two looks when there is plenty. Source: earlyoom sleeps 0.1 to 1 s."""
FILL_BYTES_PER_SECOND = 6 * 10**9
"""Bytes per second; the fastest that memory was seen to fill. Source: earlyoom's 6000 MiB/s."""

_CODES = {"normal": Code.MEMORY_NORMAL, "warn": Code.MEMORY_WARN, "critical": Code.MEMORY_CRITICAL}
_ORDER = ("normal", "warn", "critical")


class Verdict(NamedTuple):
    """How tight memory is.

    Attributes:
        pressure: `"normal"`, `"warn"` or `"critical"`.
        look_again_seconds: When the next snapshot is due.
        reason: The numbers behind it.
    """

    pressure: str
    look_again_seconds: float
    reason: Reason


CALM = Verdict("normal", LOOK_MAX_SECONDS, because(Code.MEMORY_NORMAL))


def judge_memory(before: Verdict, host: HostSnapshot, config: Config) -> Verdict:
    """Say how tight memory is.

    Args:
        before: The last verdict; the first call gets `CALM`.
        host: Facts at one instant.
        config: Uses warn_memory and critical_memory, sizes of use.

    Returns:
        The new verdict. `look_again_seconds` is headroom to the critical mark divided by the
        fastest fill rate.

    Source:
        Marks as in the trials system, interval as in earlyoom. See docs/sources.md.
    """
    warn_bytes = _mark(config.warn_memory, "warn_memory", host, WARN_BYTES, WARN_FRACTION)
    critical_bytes = _mark(
        config.critical_memory, "critical_memory", host, CRITICAL_BYTES, CRITICAL_FRACTION
    )
    if config.critical_memory is None:
        critical_bytes = min(critical_bytes, warn_bytes)
    else:
        warn_bytes = max(critical_bytes, warn_bytes)  # a default gives way to what was asked for
    pressure = _pressure(host.available_bytes, warn_bytes, critical_bytes)
    if _ORDER.index(pressure) < _ORDER.index(before.pressure):
        eased = _pressure(host.available_bytes / HYSTERESIS, warn_bytes, critical_bytes)
        pressure = min(before.pressure, eased, key=_ORDER.index)
    headroom = max(0, host.available_bytes - critical_bytes)
    look = min(LOOK_MAX_SECONDS, max(LOOK_MIN_SECONDS, headroom / FILL_BYTES_PER_SECOND))
    reason = because(
        _CODES[pressure],
        available=host.available_bytes,
        warn=warn_bytes,
        critical=critical_bytes,
        limit=host.limit_bytes,
    )
    return Verdict(pressure, look, reason)


def _pressure(available_bytes: float, warn_bytes: int, critical_bytes: int) -> str:
    if available_bytes < critical_bytes:
        return "critical"
    return "warn" if available_bytes < warn_bytes else "normal"


def _mark(asked: Size | None, name: str, host: HostSnapshot, most: int, fraction: float) -> int:
    if asked is None:
        return int(min(most, fraction * host.limit_bytes))
    used = parse_size(name, asked, limit_bytes=host.limit_bytes)
    return max(0, host.limit_bytes - used)
