"""Charts as SVG in text: no script, no network, colours by class, so that a style says them.

Each has a title and a description for those who do not see it. Decides nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from html import escape
from math import ceil, floor, log10
from typing import Final, NamedTuple

WIDE: Final = 960
"""Units of a chart's width; the page scales it."""
LEFT: Final = 70
"""Units for the words of the vertical axis."""
BELOW: Final = 22
"""Units for the words of the horizontal axis."""
ABOVE: Final = 8
"""Units above what is drawn."""
ROW_UNITS: Final = 18.0
"""Units of a row's height, and ROWS_UNITS of all rows together where they are many."""
ROWS_UNITS: Final = 300.0
"""Units of the height of many rows."""
DOT: Final = 0.5
"""Units of the least that can be seen."""
LINES_AIMED: Final = 5
"""Lines across a chart, about."""
BINS: Final = 30
"""Columns of a histogram."""

Words = Callable[[float], str]
"""How a number is written."""


class Curve(NamedTuple):
    """A line over time.

    Attributes:
        name: What it is.
        kind: Its class.
        points: Seconds and value.
        is_stepped: True where it stays until the next point.
    """

    name: str
    kind: str
    points: Sequence[tuple[float, float]]
    is_stepped: bool = False


class Notch(NamedTuple):
    """A moment that is marked.

    Attributes:
        at: Seconds.
        kind: Its class.
        text: What it was.
    """

    at: float
    kind: str
    text: str


class Bar(NamedTuple):
    """A stretch of time in a row.

    Attributes:
        row: Which row.
        at: Its begin, seconds.
        until: Its end.
        kind: Its class.
    """

    row: int
    at: float
    until: float
    kind: str


def figure(name: str, title: str, text: str, height: float, body: str) -> str:
    """Return an image with its name and description.

    Args:
        name: Short, its own on the page.
        title: What it shows.
        text: The same for those who do not see it.
        height: Units.
        body: What is drawn.
    """
    return (
        f'<svg role="img" viewBox="0 0 {WIDE} {height:.0f}" aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(text)}</desc>'
        f"{body}</svg>"
    )


def legend(lines: Iterable[tuple[str, str]]) -> str:
    """Return what the colours mean, as a list of class and name."""
    items = "".join(
        f'<li><span class="key {kind}" aria-hidden="true"></span>{escape(name)}</li>'
        for kind, name in lines
    )
    return f'<ul class="legend">{items}</ul>'


def nice_steps(most: float, count: int = LINES_AIMED) -> list[float]:
    """Return round numbers from 0 to about `most`.

    >>> nice_steps(9.0)
    [0.0, 2.0, 4.0, 6.0, 8.0]
    """
    if not most > 0:
        return [0.0]
    rough = most / count
    scale = 10.0 ** floor(log10(rough))
    step = next(scale * factor for factor in (1, 2, 5, 10) if scale * factor >= rough * 0.999)
    return [step * number for number in range(floor(most / step + 1e-9) + 1)]


def binary_unit(most: float) -> float:
    """Return the unit of bytes in which round numbers are round: 1, KiB, MiB, ...

    >>> binary_unit(5 * 2**20) == 2**20, binary_unit(100)
    (True, 1.0)
    """
    return 1024.0 ** floor(log10(most) / log10(1024)) if most >= 1024 else 1.0  # noqa: PLR2004  # a KiB


class _Frame:
    """Where a number lies in a chart."""

    def __init__(self, seconds: float, most: float, height: float, unit: float = 1.0) -> None:
        self.seconds, self.most = max(seconds, 1e-9), max(most, 1e-9)
        self.height, self.unit = height, unit

    def x(self, at: float) -> float:
        return LEFT + (WIDE - LEFT - 10) * min(1.0, max(0.0, at / self.seconds))

    def y(self, value: float) -> float:
        return ABOVE + (self.height - ABOVE - BELOW) * (1 - min(1.0, max(0.0, value / self.most)))

    def axes(self, words: Words, time_words: Words) -> str:
        parts = []
        for value in (step * self.unit for step in nice_steps(self.most / self.unit)):
            y = self.y(value)
            parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDE - 10}"/>')
            parts.append(_label(LEFT - 6, y + 4, words(value), "end"))
        return "".join(parts) + self.below(time_words)

    def below(self, words: Words) -> str:
        base = self.height - 6
        steps = nice_steps(self.seconds, 8)
        return "".join(_label(self.x(at), base, words(at), "middle") for at in steps)


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'


def draw_lines(
    lines: Sequence[Curve],
    seconds: float,
    words: Words,
    time_words: Words,
    *,
    height: float = 220,
    is_bytes: bool = False,
) -> str:
    """Draw lines over time.

    Args:
        lines: What to draw.
        seconds: How long the time is.
        words: How a value is written.
        time_words: How seconds are.
        height: Units.
        is_bytes: True where values are bytes.
    """
    most = max((value for line in lines for _, value in line.points), default=0.0)
    frame = _Frame(seconds, most * 1.05, height, binary_unit(most) if is_bytes else 1.0)
    drawn = "".join(
        f'<path class="line {line.kind}" d="{_path(frame, line)}"/>'
        for line in lines
        if line.points
    )
    return frame.axes(words, time_words) + drawn


def _path(frame: _Frame, line: Curve) -> str:
    parts: list[str] = []
    last = 0.0
    for number, (at, value) in enumerate(line.points):
        x, y = frame.x(at), frame.y(value)
        if not number:
            parts.append(f"M{x:.1f} {y:.1f}")
        elif line.is_stepped:
            parts.append(f"H{x:.1f}V{y:.1f}" if y != last else f"H{x:.1f}")
        else:
            parts.append(f"L{x:.1f} {y:.1f}")
        last = y
    return "".join(parts)


def draw_rows(
    names: Sequence[str], bars: Sequence[Bar], marks: Sequence[Notch], seconds: float, words: Words
) -> tuple[str, float]:
    """Draw what each row did, and what happened; return the body and its height.

    Args:
        names: Of the rows, from above.
        bars: What they did.
        marks: Moments, across all rows.
        seconds: How long the time is.
        words: How seconds are written.
    """
    each = min(ROW_UNITS, max(3.0, ROWS_UNITS / max(1, len(names))))
    height = ABOVE + each * max(1, len(names)) + BELOW
    frame = _Frame(seconds, 1.0, height)
    paths: dict[str, list[str]] = {}
    for bar in bars:
        x, y = frame.x(bar.at), ABOVE + each * bar.row + each * 0.1
        width = max(0.5, frame.x(bar.until) - x)
        box = f"M{x:.1f} {y:.1f}h{width:.1f}v{each * 0.8:.1f}h-{width:.1f}z"
        paths.setdefault(bar.kind, []).append(box)
    drawn = "".join(f'<path class="{kind}" d="{"".join(d)}"/>' for kind, d in paths.items())
    shown = range(0, len(names), max(1, ceil(12.0 / each)))
    labels = "".join(
        _label(LEFT - 6, ABOVE + each * (row + 0.5) + 4, names[row], "end") for row in shown
    )
    ticks = "".join(
        f'<path class="mark {mark.kind}" d="M{frame.x(mark.at):.1f} {ABOVE}V{height - BELOW:.0f}">'
        f"<title>{escape(mark.text)}</title></path>"
        for mark in marks
    )
    return drawn + labels + ticks + frame.below(words), height


def draw_parts(parts: Sequence[tuple[str, float]], *, height: float = 34) -> str:
    """Draw shares of one whole as a bar; each part is a class and a number."""
    total = sum(value for _, value in parts) or 1.0
    x, drawn = 0.0, ""
    for kind, value in parts:
        width = WIDE * value / total
        if width >= DOT:
            box = f'x="{x:.1f}" y="2" width="{width:.1f}" height="{height - 4:.0f}"'
            drawn += f'<rect class="{kind}" {box}/>'
        x += width
    return drawn


class Histogram(NamedTuple):
    """Numbers in bins, each as wide as the others on a scale of logarithms.

    Attributes:
        edges: Of the bins, one more than there are.
        counts: How many are in each.
    """

    edges: tuple[float, ...]
    counts: tuple[float, ...]


def bin_numbers(numbers: Iterable[tuple[float, float]]) -> Histogram | None:
    """Put numbers with their weights into bins; None where there are none above 0.

    >>> bin_numbers([(1.0, 2.0), (1.0, 1.0)]).counts
    (3.0,)
    """
    known = [(value, weight) for value, weight in numbers if value > 0]
    if not known:
        return None
    low, high = min(value for value, _ in known), max(value for value, _ in known)
    if high <= low * 1.0001:
        return Histogram((low, high), (sum(weight for _, weight in known),))
    scale = (log10(high) - log10(low)) / BINS
    counts = [0.0] * BINS
    for value, weight in known:
        place = int((log10(value) - log10(low)) / scale)
        counts[min(BINS - 1, place)] += weight
    edges = tuple(10 ** (log10(low) + scale * place) for place in range(BINS + 1))
    return Histogram(edges, tuple(counts))


def draw_histogram(found: Histogram, words: Words, *, height: float = 160) -> str:
    """Draw bins as columns; the height of one is the number of tasks in it."""
    most = max(found.counts)
    frame = _Frame(1.0, most * 1.05, height)
    width = (WIDE - LEFT - 10) / len(found.counts)
    boxes = []
    for place, count in enumerate(found.counts):
        if count:
            x, y = LEFT + place * width, frame.y(count)
            box = (
                f"M{x + 0.5:.1f} {height - BELOW:.1f}V{y:.1f}h{width - 1:.1f}V{height - BELOW:.1f}z"
            )
            boxes.append(box)
    lines = "".join(
        f'<path class="grid" d="M{LEFT} {frame.y(value):.1f}H{WIDE - 10}"/>'
        + _label(LEFT - 6, frame.y(value) + 4, f"{value:g}", "end")
        for value in nice_steps(most, 3)
    )
    every = max(1, len(found.counts) // 6)
    labels = "".join(
        _label(LEFT + place * width, height - 6, words(found.edges[place]), "middle")
        for place in range(0, len(found.edges), every)
    )
    return f'{lines}<path class="ran" d="{"".join(boxes)}"/>{labels}'


def draw_points(
    points: Sequence[tuple[float, float]], words: Words, *, height: float = 240
) -> tuple[str, tuple[float, float] | None]:
    """Draw value against size, and the line that fits; return the body and the line.

    Args:
        points: Size and value.
        words: How a value is written.
        height: Units.

    Returns:
        The body, and the line's value at size 0 and what each unit of size adds; None where it
        cannot be told.
    """
    widest, most = max(x for x, _ in points), max(y for _, y in points)
    frame = _Frame(widest, most * 1.05, height, binary_unit(most))
    dots = "".join(
        f'<circle cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="3"/>' for x, y in points
    )
    line = fit_line(points)
    drawn = ""
    if line is not None:
        ends = f"M{frame.x(0):.1f} {frame.y(line[0]):.1f}"
        ends += f"L{frame.x(widest):.1f} {frame.y(line[0] + line[1] * widest):.1f}"
        drawn = f'<path class="line warn" d="{ends}"/>'
    return frame.axes(
        words, lambda size: f"{size:.3g}"
    ) + f'<g class="dots">{dots}</g>' + drawn, line


def fit_line(points: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Return the line of least squares as its value at 0 and its slope; None where all are alike.

    >>> fit_line([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)])
    (1.0, 2.0)
    """
    count = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if spread <= 0:
        return None
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    return mean_y - slope * mean_x, slope
