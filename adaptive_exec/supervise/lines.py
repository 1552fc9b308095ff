"""The supervisor's log lines: the phrases of the trials system, else the form of all our lines."""

from adaptive_exec.core.reason import Code, Decision
from adaptive_exec.core.report import describe

GB = 10**9
"""Bytes."""


def line_of(decision: Decision) -> str:
    """Write a decision of the supervision as one line.

    Args:
        decision: The decision; its subject is `worker <number>`.

    Returns:
        The line.
    """
    if decision.event == "checked":
        return _check_line(decision)
    if decision.event == "stopping" and decision.reason.code is Code.COPY_LARGE:
        facts = describe(decision).partition(" reason=")[2]
        return f"{_name(decision)} memory leak detected - restarting reason={facts}"
    return describe(decision)


def _check_line(decision: Decision) -> str:
    fact = decision.reason.fact
    if decision.new == "waiting" and decision.reason.code is Code.HOST_LOW:
        return f"{_name(decision)} waiting for memory (available: {_gigabytes(fact('available'))})"
    if decision.new == "waiting":
        return f"{_name(decision)} waiting (restart in {_seconds(fact('due'))})"
    age, most = fact("age"), fact("max_age")
    parts = [f"age: {_seconds(age)}" + (f"/{_seconds(most)}" if most is not None else "")]
    parts.append(f"mem: {_gigabytes(fact('memory'))}")
    if decision.new == "stopping":
        parts.append(f"kill in {_seconds(fact('due'))}")
    elif isinstance(age, (int, float)) and isinstance(most, (int, float)):
        parts.append(f"restart in {_seconds(max(0.0, most - int(age)))}")
    state = "healthy" if decision.new == "running" else decision.new
    return f"{_name(decision)} PID {fact('pid')} {state} ({', '.join(parts)})"


def _name(decision: Decision) -> str:
    return decision.subject.capitalize()


def _seconds(value: object) -> str:
    return f"{int(value)}s" if isinstance(value, (int, float)) else "unknown"


def _gigabytes(value: object) -> str:
    return f"{value / GB:.2f}GB" if isinstance(value, (int, float)) else "unknown"
