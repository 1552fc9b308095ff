"""A report in the trace format of Chrome: a list of events with times in microseconds."""

from collections.abc import Iterator
from typing import Any, Final

from adaptive_exec.core.report import RunReport, describe
from adaptive_exec.core.timeline import Moment, Span

_MICRO: Final = 1e6
"""Microseconds of a second."""
_PID: Final = 1
"""The one process that a trace tells of."""


def trace_events(report: RunReport) -> list[dict[str, Any]]:
    """Return the events: chunks by worker, decisions as marks, memory and workers as counters.

    Args:
        report: What is drawn.
    """
    began = report.began_at
    spans = [*report.spans, *report.deaths]
    workers = {one.worker: one.level for one in spans}
    return [
        {"name": "process_name", "ph": "M", "pid": _PID, "args": {"name": "adaptive_exec"}},
        *(_named(worker, level) for worker, level in sorted(workers.items())),
        *(_slice(one, began) for one in spans),
        *_marks(report, began),
        *(event for one in report.moments for event in _counters(one, began)),
    ]


def _named(worker: int, level: str) -> dict[str, Any]:
    name = f"{level} worker {worker}"
    return {"name": "thread_name", "ph": "M", "pid": _PID, "tid": worker, "args": {"name": name}}


def _slice(span: Span, began: float) -> dict[str, Any]:
    last = span.first + max(1, span.tasks) - 1
    name = f"task {span.first}" if last == span.first else f"tasks {span.first}-{last}"
    facts = {name: value for name, value in span._asdict().items() if value not in (None, "")}
    return {
        "name": name if not span.cause else f"{name}: {span.cause}",
        "cat": span.level,
        "ph": "X",
        "ts": (span.at - began) * _MICRO,
        "dur": max(0.0, span.until - span.at) * _MICRO,
        "pid": _PID,
        "tid": span.worker,
        "args": facts,
    }


def _marks(report: RunReport, began: float) -> Iterator[dict[str, Any]]:
    for decision in report.decisions:
        yield {
            "name": f"{decision.event} {decision.subject}",
            "cat": decision.severity,
            "ph": "i",
            "s": "p",
            "ts": (decision.at - began) * _MICRO,
            "pid": _PID,
            "tid": 0,
            "args": {"line": describe(decision), **dict(decision.reason.facts)},
        }


def _counters(moment: Moment, began: float) -> Iterator[dict[str, Any]]:
    common = {"ph": "C", "ts": (moment.at - began) * _MICRO, "pid": _PID}
    memory = {"used": moment.used_high_bytes, "ours": moment.ours_bytes}
    yield {"name": "memory", **common, "args": memory}
    yield {"name": "workers", **common, "args": dict(moment.workers) or {"none": 0}}
    yield {"name": "chunks out", **common, "args": {"out": moment.out}}
