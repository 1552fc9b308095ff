"""The parts of the page that go over time: workers, memory, rate and window. Decides nothing."""

from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise
from typing import Final, TypeVar

from adaptive_exec.core.report import RunReport, describe
from adaptive_exec.core.timeline import Moment, Span
from adaptive_exec.drawing.charts import Bar, Curve, Notch, draw_lines, draw_rows, figure, legend
from adaptive_exec.drawing.markup import bytes_words, folded, seconds_words, table

ROWS_SHOWN: Final = 64
"""Workers in the timeline; of more those that ran longest."""
MOMENTS_SHOWN: Final = 20
"""Readings in the table beside the pictures over time."""

MARKS: Final = {
    "killed": "bad",
    "lost": "bad",
    "degraded": "bad",
    "quarantined": "bad",
    "reduced": "warn",
    "recycled": "warn",
    "pressure": "warn",
    "restored": "good",
}
"""Decisions that are marked in the timeline, and how."""
CLOSE_UP: Final = 2.5
"""Ratio to the most that was in use, above which marks are told and not drawn: a picture in which
the use is a line at its foot shows nothing."""
GAUGES: Final = (
    ("", "in use, the most", "used_high_bytes"),
    ("low", "in use, the least", "used_low_bytes"),
    ("ours", "grown in tasks of this run", "ours_bytes"),
    ("reserved", "expected of running chunks", "reserved_bytes"),
    ("target", "target", "target_bytes"),
    ("warn", "warn", "warn_bytes"),
    ("critical", "critical", "critical_bytes"),
    ("limit", "limit", "limit_bytes"),
)
"""What is drawn of memory: its class, its name, its field."""
T = TypeVar("T")


def draw_timeline(report: RunReport) -> str:
    """Draw what each worker did, with the kills, moves and replacements."""
    spans = [*report.spans, *report.deaths]
    if not spans:
        return ""
    began, seconds = report.began_at, max(1e-6, report.ended_at - report.began_at)
    ran: dict[int, float] = {}
    for one in spans:
        ran[one.worker] = ran.get(one.worker, 0.0) + one.until - one.at
    kept = sorted(sorted(ran, key=lambda worker: -ran[worker])[:ROWS_SHOWN])
    rows = {worker: row for row, worker in enumerate(kept)}
    bars = [
        Bar(rows[one.worker], one.at - began, one.until - began, _kind_of(one))
        for one in spans
        if one.worker in rows
    ]
    marks = [
        Notch(one.at - began, MARKS[one.event], describe(one))
        for one in report.decisions
        if one.event in MARKS and one.severity != "debug"
    ]
    body, height = draw_rows([str(one) for one in kept], bars, marks, seconds, seconds_words)
    text = f"{len(kept)} of {len(ran)} workers over {seconds_words(seconds)}, {len(marks)} marks"
    drawn = figure("spans", "What each worker did", text, height, body)
    keys = [("ran", "tasks ran"), ("failed", "some of them failed"), ("lost", "worker died")]
    keys += [("bad", "kill, degrade, quarantine"), ("warn", "recycle, pressure, fewer workers")]
    keys.append(("good", "restore"))
    return drawn + legend(keys) + folded("The same as a table", _worker_table(spans, began))


def _kind_of(span: Span) -> str:
    if span.cause:
        return "lost"
    return "failed" if span.failed else "ran"


def _worker_table(spans: Sequence[Span], began: float) -> str:
    heads = ["worker", "level", "first begin", "last end", "tasks", "failed", "work", "end"]
    rows = []
    for worker in sorted({one.worker for one in spans})[: 2 * ROWS_SHOWN]:
        mine = sorted((one for one in spans if one.worker == worker), key=lambda one: one.at)
        times = seconds_words(mine[0].at - began), seconds_words(mine[-1].until - began)
        work = seconds_words(sum(one.compute_seconds for one in mine))
        counts = sum(one.tasks for one in mine), sum(one.failed for one in mine)
        rows.append((worker, mine[0].level, *times, *counts, work, mine[-1].cause))
    return table("Workers", heads, rows)


def draw_memory(report: RunReport) -> str:
    """Draw memory in use against its limit and marks."""
    moments, began = report.moments, report.began_at
    if not moments:
        return ""
    most = max(one.used_high_bytes for one in moments)
    top = max(float(most), 1.0) * CLOSE_UP
    values = {field: [getattr(one, field) for one in moments] for _, _, field in GAUGES}
    inside = [one for one in GAUGES if min(values[one[2]]) <= top]
    above = [one for one in GAUGES if one not in inside]
    lines = [
        Curve(
            name,
            kind,
            [(one.at - began, min(top, value)) for one, value in _pairs(moments, values[field])],
            bool(kind),
        )
        for kind, name, field in inside
    ]
    seconds = max(1e-6, report.ended_at - began)
    limit = bytes_words(moments[-1].limit_bytes)
    text = f"At most {bytes_words(most)} of {limit} were in use, by whomever."
    if above:
        marks = ", ".join(f"{name} {bytes_words(values[field][-1])}" for _, name, field in above)
        text += f" Above the picture: {marks}."
    body = draw_lines(lines, seconds, bytes_words, seconds_words, is_bytes=True)
    drawn = figure("bytes", "Memory in use against its limit and marks", text, 220, body)
    keys = legend((kind or "ran", name) for kind, name, _ in inside if kind != "low")
    rows = [
        (seconds_words(one.at - began), *(bytes_words(getattr(one, name)) for _, _, name in GAUGES))
        for one in _some(moments)
    ]
    heads = ["at", *(name for _, name, _ in GAUGES)]
    return f"<p>{escape(text)}</p>{drawn}{keys}" + folded(
        "The same as a table", table("Memory over time", heads, rows)
    )


def _pairs(moments: Sequence[Moment], values: Sequence[int]) -> Iterator[tuple[Moment, int]]:
    return zip(moments, values, strict=True)


def _some(items: Sequence[T], most: int = MOMENTS_SHOWN) -> Sequence[T]:
    return items[:: max(1, -(-len(items) // most))]


def draw_gauges(report: RunReport) -> str:
    """Draw how fast tasks ended, how many chunks were let out, and how many workers there were."""
    moments, began = report.moments, report.began_at
    if len(moments) < 2:  # noqa: PLR2004  # a rate needs two
        return ""
    seconds = max(1e-6, report.ended_at - began)
    at = [one.at - began for one in moments]
    rates = [0.0, *(_rate(*pair) for pair in pairwise(moments))]
    rate = [Curve("tasks per second", "", list(zip(at, rates, strict=True)), is_stepped=True)]
    workers = [float(sum(count for _, count in one.workers)) for one in moments]
    widths = [
        Curve("workers", "", list(zip(at, workers, strict=True)), is_stepped=True),
        Curve("out", "warn", [(one.at - began, one.out) for one in moments], is_stepped=True),
        Curve("window", "target", _windows(moments, began, 2 * max(workers)), is_stepped=True),
    ]
    words = "{:.3g}".format
    first = figure(
        "rates",
        "Tasks that ended per second",
        f"At most {max(rates):.3g} tasks/s.",
        160,
        draw_lines(rate, seconds, words, seconds_words, height=160),
    )
    most = max(workers, default=0.0)
    second = figure(
        "widths",
        "Workers, chunks out, and the window that memory allows",
        f"At most {most:.0f} workers.",
        160,
        draw_lines(widths, seconds, words, seconds_words, height=160),
    )
    rows = [
        (seconds_words(one.at - began), round(rates[place], 3), _levels(one), one.out, one.window)
        for place, one in _some(list(enumerate(moments)))
    ]
    heads = ["at", "tasks/s", "workers", "chunks out", "window (0: no bound)"]
    keys = legend([
        ("ran", "workers"),
        ("warn", "chunks out"),
        ("target", "window, cut at twice the workers"),
    ])
    return f"<h3>Tasks per second</h3>{first}<h3>Workers and chunks</h3>{second}{keys}" + folded(
        "The same as a table", table("Rate, workers, window", heads, rows)
    )


def _rate(first: Moment, second: Moment) -> float:
    passed = second.at - first.at
    return (second.done - first.done) / passed if passed > 0 else 0.0


def _windows(moments: Sequence[Moment], began: float, most: float) -> list[tuple[float, float]]:
    """Return the window over time, cut where it is wider than matters."""
    return [(one.at - began, min(most, float(one.window))) for one in moments if one.window]


def _levels(moment: Moment) -> str:
    return ", ".join(f"{count} {level}" for level, count in moment.workers) or "0"
