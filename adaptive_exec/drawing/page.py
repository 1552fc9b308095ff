"""The page of a run: one file of HTML that opens from the disk, without script and network.

Every picture has its numbers in a table beside it. Drawn from a report, from what a journal knows
of each task where there is one, or from both. Decides nothing.
"""

from html import escape

from adaptive_exec.core.report import RunReport
from adaptive_exec.drawing.looks import STYLE
from adaptive_exec.drawing.over_time import draw_gauges, draw_memory, draw_timeline
from adaptive_exec.drawing.sections import (
    PageFacts,
    compare,
    list_decisions,
    list_failures,
    list_notable,
    list_reasons,
    list_settings,
    say_verdict,
    show_durations,
    show_peaks,
    show_sizes,
    show_uses,
    use_table,
)


def draw_page(report: RunReport, facts: PageFacts | None = None) -> str:
    """Return the page.

    Args:
        report: What is known of the run as a whole.
        facts: What is known beside it.
    """
    about = facts or PageFacts()
    sections = [
        ("verdict", "Verdict", say_verdict(report, about)),
        ("time", "Where the time went", show_uses(report)),
        ("workers", "Workers over time", draw_timeline(report)),
        ("memory", "Memory over time", draw_memory(report)),
        ("rate", "Rate, window, workers", draw_gauges(report)),
        ("durations", "How long tasks took", show_durations(report, about)),
        ("peaks", "What memory tasks took", show_peaks(report, about)),
        ("sizes", "Memory against size", show_sizes(report)),
        ("failures", "Failures by cause", list_failures(report, about)),
        ("notable", "Slowest and largest tasks", list_notable(report, about)),
        ("decisions", "Decisions", list_decisions(report)),
        ("reasons", "What the reasons mean", list_reasons(report)),
        ("settings", "Settings and host", list_settings(report)),
        ("compare", "Compared", compare(report, about)),
    ]
    shown = [one for one in sections if one[2]]
    links = " · ".join(f'<a href="#{name}">{escape(title)}</a>' for name, title, _ in shown)
    body = "".join(
        f'<section id="{name}" aria-labelledby="{name}-h"><h2 id="{name}-h">{escape(title)}</h2>'
        f"{text}</section>"
        for name, title, text in shown
    )
    title = escape(about.title)
    return _clean(
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width,initial-scale=1"><title>{title}: report</title>'
        f"<style>{STYLE}</style></head><body>"
        '<a class="skip" href="#verdict">To the verdict</a>'
        f'<header><h1>{title}</h1><nav aria-label="Sections">{links}</nav></header>'
        f'<main>{body}</main><footer><p class="soft">{escape(about.source)}</p></footer>'
        "</body></html>\n"
    )


def _clean(page: str) -> str:
    """Write what no file can hold, or no page may, as its escape."""
    return page.replace("\0", "\\0").encode(errors="backslashreplace").decode()


def draw_cell(report: RunReport) -> str:
    """Return what a notebook shows: the verdict, where the time went, the decisions folded."""
    head, _, decisions = str(report).partition("decisions:\n")
    return (
        f"<div><pre>{escape(head)}</pre>{use_table(report, with_bars=True)}"
        f"<details><summary>{len(report.decisions)} decisions</summary>"
        f"<pre>{escape(decisions)}</pre></details></div>"
    )
