"""Times as people write them: `90`, `10s`, `5m`, `1h30m`; in options and in cards."""

import re
from typing import Final

SECONDS_MAX: Final = 1e9
"""Seconds; 31 years, the longest time that an option takes. Source: what a wait can be told."""
UNITS: Final = {
    **dict.fromkeys(("s", "sec"), 1.0),
    **dict.fromkeys(("m", "min"), 60.0),
    "ms": 0.001,
    "h": 3600.0,
    "d": 86400.0,
}
"""Seconds in each unit of time that an option may have."""
_PART: Final = r"(\d+\.?\d*|\.\d+)\s*(ms|min|sec|[smhd])"


def duration(name: str, text: str, *, what: str = "a time", needs_unit: bool = False) -> float:
    """Read a time.

    Args:
        name: The option, for the message.
        text: A number of seconds, or numbers with units: `90`, `60s`, `60min`, `1h30m`, `1.5d`.
        what: What it is called in the message.
        needs_unit: Refuse a bare number: where seconds are not what one thinks of.

    Returns:
        Seconds.

    Raises:
        ValueError: It is no time, not above 0, or beyond what can be.

    >>> duration("--max-age", "60min"), duration("--max-age", "1h30m")
    (3600.0, 5400.0)
    """
    number = number_of(text)
    bare = number is not None
    parts = [] if bare else re.findall(_PART, text.strip().lower())
    if not bare and "".join(f"{amount}{unit}" for amount, unit in parts) == re.sub(
        r"\s", "", text.lower()
    ):
        number = sum(float(amount) * UNITS[unit] for amount, unit in parts)
    if number is None or not 0 < number <= SECONDS_MAX or (bare and needs_unit):
        how = "30d, 12h or 1h30m" if needs_unit else "2.5, 90s, 5m or 1h30m"
        what = "a time with a unit" if needs_unit else what
        most = f" and at most {SECONDS_MAX:.0f} s" if number and number > SECONDS_MAX else ""
        message = f"{name} must be {what} above 0{most}, got {text!r}; write it like {name} {how}"
        raise ValueError(message)
    return number


def number_of(text: str) -> float | None:
    """Return the number that a text is, None where it is none."""
    try:
        return float(text)
    except ValueError:
        return None
