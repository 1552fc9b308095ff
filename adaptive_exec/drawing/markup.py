"""Numbers as words, and tables: what all parts of the page write alike. Decides nothing."""

from collections.abc import Iterable, Sequence
from html import escape

from adaptive_exec.core.report import MIB


def seconds_words(value: float) -> str:
    """Write seconds.

    >>> seconds_words(0.0004), seconds_words(75), seconds_words(7300)
    ('0.4 ms', '75 s', '2.03 h')
    """
    if value <= 0:
        return "0 s"
    if value < 1:
        return f"{value * 1e3:.3g} ms"
    if value < 600:  # noqa: PLR2004  # ten minutes
        return f"{value:.3g} s"
    return f"{value / 60:.3g} min" if value < 7200 else f"{value / 3600:.3g} h"  # noqa: PLR2004  # two hours


def bytes_words(value: float) -> str:
    """Write bytes.

    >>> bytes_words(3 * 2**20), bytes_words(2**31)
    ('3 MiB', '2 GiB')
    """
    if value < MIB:
        return f"{value / 1024:.3g} KiB"
    return f"{value / MIB:.3g} MiB" if value < 1024 * MIB else f"{value / MIB / 1024:.3g} GiB"


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; numbers stand to the right."""
    lines = [
        "".join(
            f'<td class="n">{_cell(cell)}</td>'
            if isinstance(cell, (int, float))
            else f'<td class="w">{_cell(cell)}</td>'
            for cell in row
        )
        for row in rows
    ]
    if not lines:
        return ""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    name = escape(caption, quote=True)
    return (
        f'<div class="scroll" role="group" tabindex="0" aria-label="{name}">'
        f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def _cell(value: object) -> str:
    if isinstance(value, Markup):
        return str(value)
    return escape(f"{value:.4g}" if isinstance(value, float) else str(value))


def folded(summary: str, body: str) -> str:
    """Return what is shown once it is asked for; nothing where there is nothing."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>" if body else ""
