"""What each of several instances did: written by itself to a file, read by who started them.

The file is rewritten after every pass and when a run is stopped, so that of a killed instance the
passes before stand there. Decides nothing.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from adaptive_exec.cli.tally import Tally
from adaptive_exec.core.report import RunReport
from adaptive_exec.display import size_text

SUMMARY_VARIABLE: Final = "ADAPTIVE_EXEC_SUMMARY"
"""Environment variable that names the file to write, where somebody wants one."""
_KILLS: Final = frozenset({"killed", "lost"})
"""Decisions that tell of a worker's violent end, by us or by somebody else."""
_COLUMNS: Final = (
    *("instance", "levels", "tasks", "timeouts", "degrades"),
    *("wall", "peak memory", "kills", "exit"),
)


@dataclass(slots=True)
class Summary:
    """What one instance did, over all its passes.

    Attributes:
        done: Tasks with an outcome.
        recalled: Those of them that came from the journal: run earlier, or by another instance.
        total: Tasks there were, as far as known.
        timeouts: Tasks that ran out of time.
        without_outcome: Tasks of which nobody knows whether they ran to their end.
        degrades: Steps to a safer level.
        kills: Workers that were killed or died.
        wall_seconds: Time of all passes.
        levels: Levels that ran tasks, in the order of their first use.
    """

    done: int = 0
    recalled: int = 0
    total: int = 0
    timeouts: int = 0
    without_outcome: int = 0
    degrades: int = 0
    kills: int = 0
    wall_seconds: float = 0.0
    levels: list[str] = field(default_factory=list)

    def add(self, tally: Tally, total: int | None, report: RunReport) -> None:
        """Take in a pass."""
        self.done += tally.done
        self.recalled += report.recalled_tasks
        self.total += tally.done if total is None else total
        self.timeouts += tally.timeouts
        self.without_outcome += tally.without_outcome
        self.degrades += report.degrades
        self.kills += sum(one.count for one in report.tallies if one.event in _KILLS)
        self.wall_seconds += tally.wall_seconds
        self.levels += [level for level in report.levels if level not in self.levels]

    def write(self) -> None:
        """Write the file, where one is wanted; a disk that is full must not end the run."""
        path = os.environ.get(SUMMARY_VARIABLE)
        if path is None:
            return
        part = Path(f"{path}.part")
        try:
            part.write_text(json.dumps(asdict(self)), encoding="utf-8")
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)


def read_summary(path: Path) -> Summary | None:
    """Read what an instance wrote, None where it wrote nothing."""
    try:
        return Summary(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


@dataclass(frozen=True, slots=True)
class Line:
    """One instance in the table.

    Attributes:
        number: Its number, from 1.
        summary: What it wrote, None where it wrote nothing.
        peak_bytes: The most memory that it and its workers were seen to hold.
        ending: Its exit code, or the signal that ended it.
    """

    number: int
    summary: Summary | None
    peak_bytes: int
    ending: str


def table(lines: Sequence[Line]) -> list[str]:
    """Write instances as the lines of a plain table, and a line of sums."""
    rows = [_COLUMNS, *(_cells(line) for line in lines), _sums(lines)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_COLUMNS))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _cells(line: Line) -> tuple[str, ...]:
    one, peak = line.summary, size_text(line.peak_bytes) if line.peak_bytes else "?"
    if one is None:
        return (str(line.number), *["?"] * 5, peak, "?", line.ending)
    return (
        str(line.number),
        "+".join(one.levels) or "none",
        f"{one.done - one.recalled}/{one.total}",
        str(one.timeouts),
        str(one.degrades),
        f"{one.wall_seconds:.2f} s",
        peak,
        str(one.kills),
        line.ending,
    )


def _sums(lines: Sequence[Line]) -> tuple[str, ...]:
    known = [line.summary for line in lines if line.summary is not None]
    totals = [one.total for one in known]
    is_split = any(one.recalled for one in known)
    total = max(totals) if is_split else sum(totals)
    return (
        "all",
        "",
        f"{sum(one.done - one.recalled for one in known)}/{total}",
        str(sum(one.timeouts for one in known)),
        str(sum(one.degrades for one in known)),
        f"{max((one.wall_seconds for one in known), default=0.0):.2f} s",
        "",
        str(sum(one.kills for one in known)),
        "",
    )
