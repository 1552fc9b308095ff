"""The command `journal`: what is inside, all of it as a table, and the end of old runs."""

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from adaptive_exec.cards.folders import FolderError, find_cards, find_folders, remove_folder
from adaptive_exec.cards.outputs import check_output, write_table
from adaptive_exec.cards.rows import Row, make_cell
from adaptive_exec.cards.spool import Spool
from adaptive_exec.cli.exits import ALL_HAVE_VALUES, NO_OUTCOME, say
from adaptive_exec.cli.resume import JOURNAL_NAME
from adaptive_exec.cli.supervise import duration
from adaptive_exec.display import note, size_text
from adaptive_exec.errors import JournalError
from adaptive_exec.journal.about import About, read_about
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


def prune_runs(runs: Path, age: str) -> int:
    """Remove finished runs that are older than an age.

    Args:
        runs: Folder of all runs.
        age: A number with a unit: `7d`, `12h`, `30min`.

    Returns:
        The exit code.

    Raises:
        ValueError: The age is none.
    """
    seconds = duration("--prune", age)
    removed, code = 0, ALL_HAVE_VALUES
    for card in find_cards(runs):
        for folder in find_folders(runs, card):
            if not _is_older(folder, seconds):
                continue
            try:
                remove_folder(folder)
                removed += 1
            except FolderError as error:
                note(f"adaptive-exec journal: {error}")
                code = NO_OUTCOME
    say(f"{removed} runs removed from {runs}/")
    return code


def _is_older(folder: Path, seconds: float) -> bool:
    """Say whether a run has been finished for that long; one that is not finished never is."""
    try:
        about = read_about(folder / JOURNAL_NAME)
    except JournalError:
        return False
    return about.finished_at is not None and time.time() - about.finished_at > seconds


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
