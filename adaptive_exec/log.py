"""Decisions become log lines: one line, only on change, repeats rate-limited and counted.

The phrases that people already grep for begin the lines of a degrade; all other lines follow one
form. Each ends with its reason code in brackets, whose meaning is in `core/meanings`. The library
never configures logging. Decides nothing about the run.
"""

import logging

from adaptive_exec.core.reason import Code, Decision
from adaptive_exec.core.report import describe

LOGGER = logging.getLogger("adaptive_exec")
REPEAT_SECONDS = 5.0
"""Seconds in which lines of the same event and reason are written once.

The next says how many were held back.
"""
REPEAT_FREE = 5
"""Lines of the same event.

Reason that are written in such a span before the others are held back.
"""

_SEVERITIES = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_POOLS = {"process": "ProcessPoolExecutor", "thread": "ThreadPoolExecutor"}
_NEXT = {
    "thread": "trying ThreadPoolExecutor",
    "sequential": "using sequential processing",
    "": "no level is left",
}

_PHRASES = {
    Code.BRAKE: "EMERGENCY BRAKE ACTIVATED [{}]",
    Code.TASKS_LEAK: "{} memory leak detected - restarting",
}
"""How lines begin that people already look for; the subject stands in them."""


class DecisionLog:
    """Writes the decisions of one executor.

    Args:
        run: Short name of the executor, in every line.
    """

    def __init__(self, run: str) -> None:
        self.run = run
        self._fell_from_process = False
        self._counts: dict[tuple[str, Code], list[float]] = {}

    @staticmethod
    def is_wanted(decision: Decision) -> bool:
        """Say whether anybody reads lines of a decision's severity."""
        return LOGGER.isEnabledFor(_SEVERITIES[decision.severity])

    def write(self, decision: Decision) -> None:
        """Write a decision as one line, unless too many like it were just written."""
        severity = _SEVERITIES[decision.severity]
        if not LOGGER.isEnabledFor(severity):
            return
        held = self._held_back(decision)
        if held is None:
            return
        more = f" held_back={held}" if held else ""
        facts = {
            "event": decision.event,
            "code": str(decision.reason.code),
            **dict(decision.reason.facts),
        }
        line = f"{self._line(decision)} run={self.run}{more} [{decision.reason.code}]"
        line = _named(line)
        LOGGER.log(severity, "%s", line, extra={"adaptive_exec": facts})

    def _line(self, decision: Decision) -> str:
        if decision.reason.code in _PHRASES and decision.severity == "warning":
            return _phrase(decision)
        if decision.event != "degraded" or decision.old not in _POOLS:
            return describe(decision)
        error = decision.reason.fact("error") or decision.reason.code
        also = "also " if decision.old == "thread" and self._fell_from_process else ""
        self._fell_from_process |= decision.old == "process"
        phrase = f"-- {_POOLS[decision.old]} {also}failed ({error}), {_NEXT[decision.new]}"
        return f"{phrase} reason={decision.reason.code} workers={decision.reason.fact('workers')}"

    def _held_back(self, decision: Decision) -> int | None:
        """Count a line; return how many like it were held back before, None when this one is."""
        key = (decision.event, decision.reason.code)
        since, written, held = self._counts.get(key, [decision.at, 0.0, 0.0])
        if decision.at - since > REPEAT_SECONDS:
            since, written = decision.at, 0.0
        if written >= REPEAT_FREE:
            self._counts[key] = [since, written, held + 1]
            return None
        self._counts[key] = [since, written + 1, 0.0]
        return int(held)


def _named(line: str) -> str:
    """Say whose a line is where a program has set up no logging, which would say so."""
    return line if LOGGER.hasHandlers() else f"adaptive_exec: {line}"


def _phrase(decision: Decision) -> str:
    subject = decision.subject.capitalize()
    if decision.reason.code is Code.BRAKE:
        subject = decision.subject
    facts = describe(decision).partition(" reason=")[2]
    return f"{_PHRASES[decision.reason.code].format(subject)} reason={facts}"


def as_event(decision: Decision) -> dict[str, object]:
    """Write a decision as the dictionary that `on_event` and `--events` get.

    Returns:
        `at` (monotonic seconds), `event`, `severity`, `subject`, `old`, `new`, `reason` (the code)
        and its facts under `facts`.
    """
    return {
        "at": decision.at,
        "event": decision.event,
        "severity": decision.severity,
        "subject": decision.subject,
        "old": decision.old,
        "new": decision.new,
        "reason": str(decision.reason.code),
        "facts": dict(decision.reason.facts),
    }
