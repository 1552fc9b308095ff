"""The command `journal`: what is inside, all of it as a table, and the end of old runs."""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adaptive_exec.cards.cells import Row, make_cell
from adaptive_exec.cards.durations import duration
from adaptive_exec.cards.folders import (
    FolderError,
    find_aside,
    find_cards,
    find_folders,
    remove_files,
)
from adaptive_exec.cards.outputs import check_output, write_table
from adaptive_exec.cards.spool import Spool
from adaptive_exec.cli.exits import ALL_HAVE_VALUES, NO_OUTCOME, USAGE, say
from adaptive_exec.cli.resume import CSV_NAME, JOURNAL_NAME, OUTPUT_NAMES, PARTIAL_NAME
from adaptive_exec.display import note, size_text, time_text
from adaptive_exec.errors import JournalError
from adaptive_exec.journal.about import About, read_about
from adaptive_exec.journal.checks import remove_journal
from adaptive_exec.journal.contents import ContentEntry, Contents, JournalSummary


def show_journal(file: Path) -> int:
    """Print what a journal holds.

    Args:
        file: The journal, or the folder of a run.

    Returns:
        The exit code.

    Raises:
        JournalError: There is no journal, or it cannot be read.
    """
    path = _find(file)
    about = read_about(path)
    with closing(Contents(path)) as contents:
        summary = contents.summary()
    for line in _lines(path, about, summary):
        say(line)
    return ALL_HAVE_VALUES


def export_journal(file: Path, output: Path, *, force: bool) -> int:
    """Write the tasks of a journal to a table.

    Args:
        file: The journal, or the folder of a run.
        output: `.csv`, `.parquet`, or `.jsonl`.
        force: Replace a file that is there.

    Returns:
        The exit code.

    Raises:
        JournalError: There is no journal, or it cannot be read.
        ValueError: The output cannot be written.
    """
    path = _find(file)
    is_lines = output.suffix.lower() == ".jsonl"
    check = _check_lines if is_lines else check_output
    check(output, force=force)
    with closing(Contents(path)) as contents:
        entries = contents.entries(with_values=True)
        count = _write_lines(entries, output) if is_lines else _write_rows(entries, output)
    say(f"{count} tasks in {output}")
    return ALL_HAVE_VALUES


@dataclass(frozen=True, slots=True)
class _Finished:
    """A run that may be pruned.

    Attributes:
        folder: Its folder.
        age_seconds: Since its end.
        names: Files of ours in it that would go.
    """

    folder: Path
    age_seconds: float
    names: tuple[str, ...]


def prune_runs(runs: Path, age: str, *, with_outputs: bool, is_sure: bool) -> int:
    """Remove the journals of finished runs that are older than an age, once that was agreed to.

    Args:
        runs: Folder of all runs.
        age: A number with a unit: `7d`, `12h`, `30min`.
        with_outputs: Remove tables and reports as well.
        is_sure: Do not ask.

    Returns:
        The exit code.

    Raises:
        ValueError: The age is none.
    """
    seconds = duration("--prune", age, needs_unit=True)
    found = [one for one in _finished(runs, with_outputs=with_outputs) if one.age_seconds > seconds]
    for one in found:
        say(f"{one.folder}: finished {time_text(one.age_seconds)} ago: {', '.join(one.names)}")
    if found and not is_sure and not _agrees(f"remove these files of {len(found)} runs? [y/N] "):
        note(f"adaptive-exec journal: nothing was removed of {len(found)} runs; add --yes")
        return USAGE
    code = ALL_HAVE_VALUES
    for one in found:
        try:
            _remove(one)
        except (FolderError, JournalError) as error:
            note(f"adaptive-exec journal: {error}")
            code = NO_OUTCOME
    kept = "" if with_outputs or not found else "; their outputs are kept, --outputs removes them"
    say(f"{len(found)} runs removed from {runs}/{kept}")
    return code


def _finished(runs: Path, *, with_outputs: bool) -> Iterator[_Finished]:
    """Yield the runs that are finished and have files of ours that may go."""
    for card in find_cards(runs):
        for folder in [*find_folders(runs, card), *find_aside(runs, card)]:
            ended = _ended_at(folder, with_outputs=with_outputs)
            names = _ours_in(folder, with_outputs=with_outputs)
            if ended is not None and names:
                yield _Finished(folder, max(0.0, time.time() - ended), names)


def _ended_at(folder: Path, *, with_outputs: bool) -> float | None:
    """Return when a run was finished, None where it is not, or where nobody knows."""
    try:
        return read_about(folder / JOURNAL_NAME).finished_at
    except JournalError as error:
        if error.kind != "absent":
            return None
    try:  # without a journal the table tells: it is there once all rows are
        return (folder / CSV_NAME).stat().st_mtime if with_outputs else None
    except OSError:
        return None


def _ours_in(folder: Path, *, with_outputs: bool) -> tuple[str, ...]:
    names = (JOURNAL_NAME, PARTIAL_NAME, *(OUTPUT_NAMES if with_outputs else ()))
    return tuple(name for name in names if (folder / name).is_file())


def _remove(one: _Finished) -> None:
    if JOURNAL_NAME in one.names:
        remove_journal(one.folder / JOURNAL_NAME)
    remove_files(one.folder, set(one.names) - {JOURNAL_NAME})


def _agrees(question: str) -> bool:
    """Ask the user; where nobody can be asked the answer is no."""
    if not sys.stdin.isatty():
        return False
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _find(file: Path) -> Path:
    return file / JOURNAL_NAME if file.is_dir() else file


def _lines(path: Path, about: About, summary: JournalSummary) -> Iterator[str]:
    if about.card:
        state = "not finished" if about.finished_at is None else "finished"
        yield f"{path}: {about.card}, {state}"
    else:
        yield f"{path}:"
    counts = summary.statuses
    tasks = f"{counts.total()} tasks: {counts['done']} done, {counts['failed']} failed"
    yield tasks + (f", {counts['not kept']} not kept" if counts["not kept"] else "")
    for cause, count in summary.causes.most_common():
        yield f"  {count} {cause}"
    for name, count in summary.functions.most_common():
        yield f"function {name}: {count}"
    mean = summary.wall_seconds / max(1, counts.total())
    longest = summary.longest_seconds
    yield f"work {summary.wall_seconds:.2f} s, mean {mean:.3f} s, longest {longest:.3f} s"
    peak = "unknown" if summary.peak_bytes is None else size_text(summary.peak_bytes)
    yield f"highest memory of a task: {peak}"
    levels = ", ".join(f"{level} {count}" for level, count in summary.levels.most_common())
    yield f"levels: {levels or 'none'}; runs: {summary.runs}, {summary.live_runs} of them live"
    if about.card and about.finished_at is None and about.command and not summary.live_runs:
        yield f"resume with: {about.command}"


def _facts(entry: ContentEntry) -> dict[str, Any]:
    facts = {name: getattr(entry, name) for name in ContentEntry.__slots__ if name != "value"}
    return {"key": facts.pop("key"), "status": facts.pop("status"), **facts}


def _row(entry: ContentEntry) -> Row:
    row: Row = {name: make_cell(value) for name, value in _facts(entry).items()}
    if isinstance(entry.value, dict):
        cells = {f"value.{name}": make_cell(cell) for name, cell in entry.value.items()}
        return {**row, **cells}
    return {**row, "value": make_cell(entry.value)}


def _write_rows(entries: Iterator[ContentEntry], output: Path) -> int:
    count = 0
    with (
        tempfile.TemporaryDirectory(dir=output.resolve().parent) as folder,
        Spool(Path(folder)) as spool,
    ):
        for number, entry in enumerate(entries):
            spool.add(number, _row(entry))
            count += 1
        write_table(spool, output, spool.columns)
    return count


def _write_lines(entries: Iterator[ContentEntry], output: Path) -> int:
    count = 0
    part = output.with_name(f".{output.name}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            for entry in entries:
                facts = {**_facts(entry), "value": entry.value}
                file.write(json.dumps(facts, default=str) + "\n")
                count += 1
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)
    return count


def _check_lines(output: Path, *, force: bool) -> None:
    if output.exists() and not force:
        message = f"output exists, got {str(output)!r}; give another name, or --force to replace it"
        raise ValueError(message)
    if not output.resolve().parent.is_dir():
        message = f"output folder is not there, got {str(output.parent)!r}; make it"
        raise ValueError(message)
