"""A live view of all instances of this user on this host, from what they enter in the ledger.

Reads, decides nothing, and holds nobody up: an instance does not know that it is watched.
"""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from adaptive_exec.cli.exits import ALL_HAVE_VALUES, say
from adaptive_exec.display import size_text
from adaptive_exec.ledger.leases import read_ledger
from adaptive_exec.ledger.record import LeaseRecord

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

REFRESH_SECONDS: Final = 1.0
"""Seconds between two looks; instances enter themselves twice a second."""
REFRESH_SECONDS_MIN: Final = 0.1
"""Seconds; a look takes a millisecond for each ten instances."""
WIDE_LETTERS: Final = 120
"""Letters of a line from which memory is told with its limit and marks."""
PROGRAM_LETTERS: Final = 40
"""Letters of a command line that the table shows."""


_WEIGHTS: Final = (
    *("pid", "done", "level", "memory", "ETA"),
    *("workers", "rate", "program", "out", "peak"),
)
"""The columns, those that matter most first: on a narrow terminal the last ones are left out."""
_EDGE: Final = 3
"""Letters between two cells."""
_COLUMNS: Final = (
    *("pid", "program", "level", "workers", "out"),
    *("done", "rate", "ETA", "peak", "memory"),
)


@dataclass(frozen=True, slots=True)
class WatchRow:
    """One instance as it stands.

    Attributes:
        name: Its name in the ledger.
        pid: Its process.
        program: Its command line.
        level: Where its tasks run, `""` while it rests.
        workers: Workers there are.
        in_flight: Chunks out.
        done: Tasks with an outcome, of the batches that are not over.
        total: Tasks of these batches, None where unknown.
        rate: Tasks per second since the last look, since its start at the first; None where
            nothing was finished.
        eta_seconds: Seconds until all are done at this rate, None where unknown.
        slots: Workers it was granted.
        place: Its place in line while it waits for memory, else 0.
        held_bytes: Memory it was promised beside others, 0 where none was shared out.
        peak_bytes: Highest growth of one task, 0 where unknown.
        memory_used_bytes: Memory in use under its limit, by whomever.
        memory_limit_bytes: That limit.
        memory_warn_bytes: Use from which it takes on no more, 0 where unknown.
        memory_critical_bytes: Use from which it stops workers, 0 where unknown.
        pressure: How tight memory is.
        seconds: Since its start.
        decisions: Its last decisions, oldest first.
    """

    name: str
    pid: int
    program: str
    level: str
    workers: int
    in_flight: int
    done: int
    total: int | None
    rate: float | None
    eta_seconds: float | None
    slots: int
    place: int
    held_bytes: int
    peak_bytes: int
    memory_used_bytes: int
    memory_limit_bytes: int
    memory_warn_bytes: int
    memory_critical_bytes: int
    pressure: str
    seconds: float
    decisions: tuple[str, ...]


class Watcher:
    """Looks again and again, and knows from the last look how fast things go."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[float, int, float | None]] = {}

    def look(self, now: float | None = None) -> list[WatchRow]:
        """Return every instance as it stands, oldest first.

        Args:
            now: Seconds since 1970; None asks the clock.
        """
        moment = time.time() if now is None else now
        records = read_ledger()
        rows = [self._row(record, moment) for record in records]
        self._before = {
            row.name: self._remember(row, record) for row, record in zip(rows, records, strict=True)
        }
        return rows

    def _remember(self, row: WatchRow, record: LeaseRecord) -> tuple[float, int, float | None]:
        return record.updated_at, row.done, row.rate

    def _row(self, record: LeaseRecord, now: float) -> WatchRow:
        claim, standing = record.claim, record.standing
        rate = self._rate(record, now)
        left = None if standing.total is None else max(0, standing.total - standing.done)
        return WatchRow(
            name=claim.name,
            pid=record.pid,
            program=record.program,
            level=standing.level,
            workers=standing.workers,
            in_flight=standing.in_flight,
            done=standing.done,
            total=standing.total,
            rate=rate,
            eta_seconds=round(left / rate, 1) if left is not None and rate else None,
            slots=claim.held_slots,
            place=standing.place,
            held_bytes=claim.held_bytes,
            peak_bytes=record.peak_bytes,
            memory_used_bytes=record.memory_used_bytes,
            memory_limit_bytes=record.memory_limit_bytes,
            memory_warn_bytes=record.memory_warn_bytes,
            memory_critical_bytes=record.memory_critical_bytes,
            pressure=standing.pressure,
            seconds=round(max(0.0, now - record.since), 3),
            decisions=record.decisions,
        )

    def _rate(self, record: LeaseRecord, now: float) -> float | None:
        before = self._before.get(record.claim.name)
        done = record.standing.done
        if before is None:
            seconds = now - record.since
            return round(done / seconds, 3) if done and seconds > 0 else None
        at, done_before, rate = before
        if record.updated_at <= at:
            return rate  # nothing new was entered
        if done < done_before:  # another batch has begun
            return None
        return round((done - done_before) / (record.updated_at - at), 3)


def watch(*, refresh: float = REFRESH_SECONDS, seconds: float | None = None) -> None:
    """Show all instances of this user on this host, live, on a terminal or in a notebook.

    Ends by Ctrl-C (in a notebook: interrupt) or after a time.

    Args:
        refresh: Seconds between two looks, 0.1 or more.
        seconds: Seconds until the end; None goes on until it is stopped.

    Raises:
        ValueError: `refresh` is too small.
    """
    if refresh < REFRESH_SECONDS_MIN:
        message = f"refresh must be {REFRESH_SECONDS_MIN} s or more, got {refresh} s; leave it out"
        raise ValueError(message)
    watcher = Watcher()
    with contextlib.suppress(KeyboardInterrupt), _screen() as show:
        end = None if seconds is None else time.monotonic() + seconds
        show(watcher.look())
        while end is None or time.monotonic() < end:
            time.sleep(refresh)
            show(watcher.look())


@contextlib.contextmanager
def _screen() -> Iterator[Callable[[Sequence[WatchRow]], None]]:
    """Give what shows a table in the place of the last one, or below it where that cannot be."""
    from rich.console import Console
    from rich.live import Live

    console = Console()
    if console.is_jupyter:
        yield partial(_show_in_notebook, console)
    elif console.is_terminal and not console.is_dumb_terminal:
        with Live(console=console, auto_refresh=False) as live:
            yield lambda rows: live.update(draw(rows, console.width), refresh=True)
    else:
        yield lambda rows: console.print(draw(rows, console.width))


def _show_in_notebook(console: "Console", rows: Sequence[WatchRow]) -> None:
    from IPython.display import clear_output  # type: ignore[import-not-found]  # a notebook has it

    clear_output(wait=True)
    console.print(draw(rows, console.width))


def run_watch(*, once: bool, as_json: bool, refresh: float) -> int:
    """Carry the command out.

    Args:
        once: One look, then the end.
        as_json: A line of JSON for each look instead of a table.
        refresh: Seconds between two looks.

    Returns:
        The exit code.
    """
    if not (once or as_json):
        watch(refresh=refresh)
        return ALL_HAVE_VALUES
    watcher = Watcher()
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            _say(watcher.look(), as_json=as_json)
            if once:
                break
            time.sleep(max(REFRESH_SECONDS_MIN, refresh))
    return ALL_HAVE_VALUES


def _say(rows: Sequence[WatchRow], *, as_json: bool) -> None:
    if as_json:
        say(json.dumps({"at": time.time(), "instances": [asdict(row) for row in rows]}))
        return
    from rich.console import Console

    console = Console(file=sys.stdout)
    console.print(draw(rows, console.width))


def draw(rows: Sequence[WatchRow], width: int) -> "RenderableType":
    """Draw instances as a table, and under it what each decided last.

    Args:
        rows: The instances.
        width: Letters of a line; what does not fit in is left out by columns, the least first.

    Returns:
        What rich can print.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return Text("no instance of this user is at work on this host")
    table = Table(title=_title(rows), title_justify="left", expand=False)
    cells = [_cells(row, is_brief=width < WIDE_LETTERS) for row in rows]
    shown = _fitting(cells, width)
    for name in shown:
        is_text = name in {"program", "level", "memory"}
        table.add_column(name, justify="left" if is_text else "right", overflow="ellipsis")
    for row in cells:
        table.add_row(*(row[_COLUMNS.index(name)] for name in shown))
    lines = [
        Text(f"{row.pid}  {line}", overflow="ellipsis", no_wrap=True)
        for row in rows
        for line in row.decisions
    ]
    return Group(table, *lines)


def _fitting(cells: Sequence[tuple[str, ...]], width: int) -> list[str]:
    """Return the columns for which there is room, in their order."""
    room, kept = width - 1, set[str]()
    for name in _WEIGHTS:
        at = _COLUMNS.index(name)
        room -= max(len(name), *(len(row[at]) for row in cells)) + _EDGE
        if room < 0 and kept:
            break
        kept.add(name)
    return [name for name in _COLUMNS if name in kept]


def _title(rows: Sequence[WatchRow]) -> str:
    done = sum(row.done for row in rows)
    rate = sum(row.rate or 0.0 for row in rows)
    workers = sum(row.workers for row in rows)
    return f"{len(rows)} instances, {workers} workers, {done} tasks done, {rate:.1f}/s"


def _cells(row: WatchRow, *, is_brief: bool) -> tuple[str, ...]:
    total = "?" if row.total is None else str(row.total)
    level = f"waits, place {row.place}" if row.place else row.level or "rests"
    return (
        str(row.pid),
        row.program[:PROGRAM_LETTERS],
        level,
        f"{row.workers}/{row.slots}",
        str(row.in_flight),
        f"{row.done}/{total}",
        "" if row.rate is None else f"{row.rate:.1f}/s",
        "" if row.eta_seconds is None else f"{row.eta_seconds:.0f} s",
        size_text(row.peak_bytes) if row.peak_bytes else "",
        _memory(row, is_brief=is_brief),
    )


def _memory(row: WatchRow, *, is_brief: bool) -> str:
    limit = row.memory_limit_bytes
    marks = [
        f"{name} {100 * mark / limit:.0f}%"
        for name, mark in (("warn", row.memory_warn_bytes), ("critical", row.memory_critical_bytes))
        if mark and limit
    ]
    used = f"{100 * row.memory_used_bytes / limit:.0f}%" if limit else "?"
    if is_brief:
        return f"{used} {row.pressure}"
    more = f" ({', '.join(marks)})" if marks else ""
    return f"{used} of {size_text(limit)}{more} {row.pressure}"
