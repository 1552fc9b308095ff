"""The parts of the page that tell and count: verdict, tasks, failures, decisions, settings.

Decides nothing.
"""

from collections.abc import Callable, Sequence
from html import escape
from typing import Final, NamedTuple

from adaptive_exec.core.account import USES
from adaptive_exec.core.meanings import MEANINGS
from adaptive_exec.core.report import FailureKind, RunReport, advise, describe, explain_account
from adaptive_exec.core.timeline import Span
from adaptive_exec.drawing.charts import (
    Histogram,
    bin_numbers,
    draw_histogram,
    draw_parts,
    draw_points,
    figure,
    legend,
)
from adaptive_exec.drawing.markup import Markup, bytes_words, folded, seconds_words, table

DECISIONS_SHOWN: Final = 300
"""Decisions that the page lists, the newest ones; how often each was taken stands above them."""
TASKS_SHOWN: Final = 10
"""Slowest tasks that are listed, and as many of the largest."""
POINTS_SHOWN: Final = 500
"""Tasks in the picture of memory against size."""

KINDS: Final = {
    "compute": "ran",
    "transport": "carried",
    "lost": "lost",
    "start": "start",
    "memory": "wait",
    "cores": "cores",
    "input": "input",
    "caller": "failed",
    "suspect": "lost",
    "max_in_flight": "cores",
    "idle": "idle",
}
"""The class of each use of a worker's second."""


class KnownTask(NamedTuple):
    """A task as a journal knows it.

    Attributes:
        name: What it is called: its number, or its key.
        status: `"done"`, `"failed"`, or `"not kept"`.
        seconds: Duration, None where unknown.
        peak_bytes: Growth of memory, None where unknown.
        cause: Type and message of its failure, `""` where it has none.
        level: Where it ran.
        worker: Which worker there.
        attempt: The how-manieth execution it was.
        arguments: What it was given, in short; `""` where that is not known.
    """

    name: str
    status: str
    seconds: float | None
    peak_bytes: int | None
    cause: str
    level: str
    worker: int
    attempt: int
    arguments: str = ""


class PageFacts(NamedTuple):
    """What a page shows beside a report.

    Attributes:
        title: What was run.
        source: Where that is known from.
        tasks: The tasks that a journal knows; empty without one.
        failures: Failures by type, where they are known better than the report does.
        again: The command that goes on with the run, `""` for none.
        state: `"finished"`, `"running"`, `"not finished"`.
        notes: More that is to be said.
        other: A report to compare with, and its name.
    """

    title: str = "adaptive_exec"
    source: str = ""
    tasks: Sequence[KnownTask] = ()
    failures: Sequence[FailureKind] = ()
    again: str = ""
    state: str = ""
    notes: Sequence[str] = ()
    other: tuple[str, RunReport] | None = None


def say_verdict(report: RunReport, about: PageFacts) -> str:
    """Say how fast it went, what held it back, what would help, and the numbers."""
    lines = [line for line in explain_account(report) if not line.startswith("what would help")]
    lines += [f"What would help: {line}" for line in advise(report)]
    if not lines:
        lines = ["Of the run as a whole nothing was kept; what follows is known of its tasks."]
    said = "".join(f"<p>{escape(line)}</p>" for line in [*lines, *about.notes])
    return f'<div class="verdict">{said}</div>' + _key_numbers(report, about)


def _key_numbers(report: RunReport, about: PageFacts) -> str:
    failed = sum(one.status == "failed" for one in about.tasks)
    peaks = [one.peak_bytes for one in about.tasks if one.peak_bytes is not None]
    peak = max(peaks, default=report.peak_task_bytes)
    rows = [
        ("state", about.state),
        ("tasks in the journal", f"{len(about.tasks)}, {failed} of them failed"),
        ("tasks run here", f"{report.tasks}, {report.failed_tasks} of them failed"),
        ("lost", str(report.lost_tasks or "")),
        ("from the journal", str(report.recalled_tasks or "")),
        ("wall", seconds_words(report.wall_seconds)),
        ("rate", f"{report.tasks_per_second:.4g} tasks/s"),
        ("highest memory of a task", "unknown" if peak is None else bytes_words(peak)),
        ("levels", " → ".join(report.levels)),
        ("most workers", str(report.workers or "")),
        ("degrades, restores", f"{report.degrades}, {report.restores}"),
        ("go on with", about.again),
    ]
    if not about.tasks:
        rows = [row for row in rows if row[0] != "tasks in the journal"]
    if not report.tasks:
        rows = [row for row in rows if row[0] not in {"tasks run here", "rate", "wall"}]
    terms = "".join(
        f"<dt>{escape(name)}</dt><dd>{_code(value) if name == 'go on with' else escape(value)}</dd>"
        for name, value in rows
        if value
    )
    return f'<dl class="facts">{terms}</dl>'


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def show_uses(report: RunReport) -> str:
    """Show what the seconds of all workers were spent on."""
    spent = [(use, part) for use, part in report.worker_seconds if part > 0]
    total = sum(part for _, part in spent)
    if not total:
        return ""
    text = ", ".join(f"{USES[use]} {part / total:.0%}" for use, part in spent)
    body = draw_parts([(KINDS[use], part) for use, part in spent])
    drawn = figure("uses", "Where the seconds of all workers went", text, 34, body)
    keys = legend((KINDS[use], USES[use]) for use, part in spent if part >= total / 100)
    return drawn + keys + use_table(report)


def use_table(report: RunReport, *, with_bars: bool = False) -> str:
    """Return the same as a table."""
    total = sum(part for _, part in report.worker_seconds) or 1.0
    rows: list[tuple[object, ...]] = []
    for use, part in report.worker_seconds:
        if part > 0:
            row = (USES[use], seconds_words(part), f"{part / total:.1%}")
            rows.append((*row, _bar(part / total)) if with_bars else row)
    heads = ["what", "seconds", "share", *([""] if with_bars else [])]
    whole = ("all", seconds_words(total), "100.0%", *([""] if with_bars else []))
    return table("Seconds of all workers while there was work", heads, [*rows, whole])


def _bar(share: float) -> Markup:
    width = f"{200 * share:.0f}px"
    return Markup(f"<div style='background:#4c78a8;height:.8em;width:{width}'></div>")


def _weighed(report: RunReport, about: PageFacts) -> tuple[list[tuple[float, float]], str]:
    """Return durations with their weights, and what they are of."""
    if about.tasks:
        known = [(one.seconds, 1.0) for one in about.tasks if one.seconds is not None]
        return known, "each task in the journal"
    spans = [(one.task_seconds, float(one.tasks)) for one in report.spans if one.tasks]
    return spans, "tasks, by the mean of their message"


def show_durations(report: RunReport, about: PageFacts) -> str:
    """Show how many tasks took how long."""
    numbers, what = _weighed(report, about)
    found = bin_numbers(numbers)
    if found is None:
        return ""
    longest = max(value for value, _ in numbers)
    text = f"Of {what}; the longest took {seconds_words(longest)}."
    drawn = figure(
        "spread", "How many tasks took how long", text, 160, draw_histogram(found, seconds_words)
    )
    return _with_counts(text, drawn, found, seconds_words, "Tasks by duration")


def _with_counts(
    text: str, drawn: str, found: Histogram, words: Callable[[float], str], caption: str
) -> str:
    """Return a histogram between what it says and the same as a table."""
    edges = zip(found.edges, found.edges[1:], found.counts, strict=False)
    rows = [(words(low), words(high), int(count)) for low, high, count in edges]
    counted = [row for row in rows if row[2]]
    return f"<p>{escape(text)}</p>{drawn}" + folded(
        "The same as a table", table(caption, ["from", "to", "tasks"], counted)
    )


def show_peaks(report: RunReport, about: PageFacts) -> str:
    """Show how many tasks took how much memory."""
    if about.tasks:
        numbers = [(float(one.peak_bytes), 1.0) for one in about.tasks if one.peak_bytes]
    else:
        numbers = [(float(one.peak_bytes), one.tasks) for one in report.spans if one.peak_bytes]
    found = bin_numbers(numbers)
    if found is None:
        return ""
    text = f"The largest took {bytes_words(max(value for value, _ in numbers))}."
    body = draw_histogram(found, bytes_words)
    drawn = figure("weights", "How many tasks took how much memory", text, 160, body)
    return _with_counts(text, drawn, found, bytes_words, "Tasks by memory")


def show_sizes(report: RunReport) -> str:
    """Show memory against what was known of a task's size, with the line that fits."""
    known = [one for one in report.spans if one.size and one.peak_bytes]
    points = [(one.size or 0.0, float(one.peak_bytes or 0)) for one in known]
    step = max(1, len(points) // POINTS_SHOWN)
    points = points[::step]
    if len({size for size, _ in points}) < 3:  # noqa: PLR2004  # two make a line always
        return ""
    body, line = draw_points(points, bytes_words)
    text = f"{len(points)} messages."
    if line is not None:
        text += f" The line: {bytes_words(line[0])} and {bytes_words(line[1])} for each unit."
    drawn = figure("fits", "Memory against size", text, 240, body)
    rows = [(size, bytes_words(peak)) for size, peak in sorted(points)[-TASKS_SHOWN:]]
    return f"<p>{escape(text)}</p>{drawn}" + folded(
        "The largest as a table", table("Memory by size", ["size", "memory"], rows)
    )


def list_failures(report: RunReport, about: PageFacts) -> str:
    """List what tasks failed with, each kind with the whole story of one."""
    kinds = list(about.failures or report.failures)
    deaths: dict[str, list[Span]] = {}
    for one in report.deaths:
        deaths.setdefault(one.cause, []).append(one)
    if not (kinds or deaths):
        return ""
    rows = [(one.count, one.kind, one.text) for one in sorted(kinds, key=lambda one: -one.count)]
    parts = [table("Exceptions of tasks", ["tasks", "type", "the first"], rows)]
    parts += [
        folded(f"Traceback of the first {one.kind}", f'<pre tabindex="0">{escape(one.story)}</pre>')
        for one in kinds
        if one.story
    ]
    dead = [(len(those), cause, _tasks_of(those)) for cause, those in deaths.items()]
    parts.append(table("Deaths of workers", ["deaths", "cause", "tasks that ran"], dead))
    return "".join(parts)


def _tasks_of(spans: Sequence[Span]) -> str:
    names = [f"{one.first} {one.arguments}".strip() for one in spans[:TASKS_SHOWN]]
    return "; ".join(names) + (" ..." if len(spans) > TASKS_SHOWN else "")


def list_notable(report: RunReport, about: PageFacts) -> str:
    """List the slowest and the largest tasks."""
    heads = ["task", "given", "took", "memory", "level", "worker", "attempt"]
    if about.tasks:
        slow = sorted(about.tasks, key=lambda one: -(one.seconds or 0.0))[:TASKS_SHOWN]
        large = sorted(about.tasks, key=lambda one: -(one.peak_bytes or 0))[:TASKS_SHOWN]
        rows = [[_known_row(one) for one in those] for those in (slow, large)]
    else:
        rows = [[_span_row(one) for one in those] for those in (report.slowest, report.largest)]
    return table("Slowest", heads, rows[0]) + table("Largest", heads, rows[1])


def _known_row(one: KnownTask) -> tuple[object, ...]:
    took = "unknown" if one.seconds is None else seconds_words(one.seconds)
    peak = "unknown" if one.peak_bytes is None else bytes_words(one.peak_bytes)
    return one.name, one.arguments, took, peak, one.level, one.worker, one.attempt


def _span_row(one: Span) -> tuple[object, ...]:
    last = one.first + one.tasks - 1
    name = str(one.first) if one.tasks <= 1 else f"{one.first}-{last}"
    peak = "unknown" if one.peak_bytes is None else bytes_words(one.peak_bytes)
    took = seconds_words(one.task_seconds) + (" each" if one.tasks > 1 else "")
    return name, one.arguments, took, peak, one.level, one.worker, one.attempt


def list_decisions(report: RunReport) -> str:
    """List what was decided and why, in time; first how often each."""
    if not report.decisions:
        return ""
    began = report.began_at
    counted = [
        (
            one.count,
            one.event,
            _link(str(one.code)),
            seconds_words(one.first_at - began),
            seconds_words(one.last_at - began),
        )
        for one in sorted(report.tallies, key=lambda one: one.first_at)
    ]
    shown = report.decisions[-DECISIONS_SHOWN:]
    rows = [
        (f"{one.at - began:.3f} s", one.severity, _link(str(one.reason.code)), describe(one))
        for one in shown
    ]
    heads = ["times", "decision", "reason", "first at", "last at"]
    return table("How often what was decided", heads, counted) + folded(
        f"{len(shown)} decisions in time",
        table("Decisions in time", ["at", "severity", "reason", "in full"], rows),
    )


def _link(code: str) -> Markup:
    return Markup(f'<a href="#reason-{escape(code)}">{escape(code)}</a>')


def list_reasons(report: RunReport) -> str:
    """Say what the reasons of this run mean; `docs/reasons.md` has all of them."""
    codes = dict.fromkeys(one.code for one in report.tallies)
    rows = "".join(
        f'<h3 id="reason-{code}">{code}</h3><p>{escape(MEANINGS[code].cause)} '
        f"{escape(MEANINGS[code].did)}"
        + (
            f" <strong>You can:</strong> {escape(MEANINGS[code].help)}"
            if MEANINGS[code].help
            else ""
        )
        + "</p>"
        for code in codes
    )
    return f'<p class="soft">All codes stand in docs/reasons.md.</p>{rows}' if rows else ""


def list_settings(report: RunReport) -> str:
    """List the settings that differ from their defaults, and what was found on the host."""
    settings = table("Settings that differ from their defaults", ["name", "value"], report.settings)
    host = table("The host", ["what", "found"], report.host)
    if host and not settings:
        settings = "<p>All settings are as they come.</p>"
    return settings + host


def compare(report: RunReport, about: PageFacts) -> str:
    """Show the numbers of another run beside those of this one."""
    if about.other is None:
        return ""
    name, other = about.other
    rows: list[tuple[object, ...]] = [
        ("tasks", report.tasks, other.tasks),
        ("failed", report.failed_tasks, other.failed_tasks),
        ("wall", seconds_words(report.wall_seconds), seconds_words(other.wall_seconds)),
        ("tasks per second", report.tasks_per_second, other.tasks_per_second),
        ("most workers", report.workers, other.workers),
        ("degrades", report.degrades, other.degrades),
    ]
    spent, others = dict(report.worker_seconds), dict(other.worker_seconds)
    rows += [
        (words, seconds_words(spent.get(use, 0.0)), seconds_words(others.get(use, 0.0)))
        for use, words in USES.items()
        if spent.get(use) or others.get(use)
    ]
    return table("This run beside the other", ["what", "this", name], rows)
