"""Going on with a run: which one, what it was asked for, and what it says of itself meanwhile.

A run in a folder of its own has its journal there; one with an output has it beside that.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

from adaptive_exec.cards.folders import ASIDE, find_folders
from adaptive_exec.cli.options import RunOptions, resume_command, whole
from adaptive_exec.errors import JournalError
from adaptive_exec.journal.about import About, read_about
from adaptive_exec.journal.checks import look_at

JOURNAL_NAME: Final = "run.journal"
"""The journal in the folder of a run."""
CSV_NAME: Final = "results.csv"
PARQUET_NAME: Final = "results.parquet"
PARTIAL_NAME: Final = "partial.csv"
REPORT_NAME: Final = "report.txt"
PAGE_NAME: Final = "report.html"
"""The page that `adaptive-exec report` makes of it."""
OUTPUT_NAMES: Final = (CSV_NAME, PARQUET_NAME, REPORT_NAME, PAGE_NAME)
"""What a finished pass leaves in its folder for the user."""
JOURNAL_SUFFIX: Final = ".journal"
"""What the name of an output's journal ends in."""


def journal_beside(output: Path) -> Path:
    """Return where the journal of a run with an output lies."""
    output = output.resolve()
    return output.with_name(output.name + JOURNAL_SUFFIX)


def take_up(options: RunOptions) -> RunOptions:
    """Find the run that is to be gone on with; take over which tasks it was asked for.

    Args:
        options: What was asked for; `resumed` is `""` for the latest run.

    Returns:
        The options with the run's folder in `resumed`, and its count and seed where none are given.

    Raises:
        ValueError: There is no such run.
        JournalError: Its journal cannot be read.
    """
    if options.resumed is None:
        return options
    if options.output is not None:
        path = journal_beside(options.output)
        if not look_at(path):
            message = f"no run is there to go on with, got no {path}; leave --resume out"
            raise ValueError(message)
    else:
        folder = _find_folder(options)
        path = folder / JOURNAL_NAME
        options = replace(options, resumed=str(folder))
    about = read_about(path)
    count = options.count if options.count is not None else whole("count", about.count or None)
    seed = (
        options.seed if options.seed is not None else whole("seed", about.seed or None, most=None)
    )
    return replace(options, count=count, seed=seed)


def check_free(options: RunOptions) -> None:
    """Refuse a new run with an output whose last run can still be gone on with.

    Raises:
        ValueError: There is one.
        JournalError: What lies in the journal's place is none.
    """
    if options.output is None or options.resumed is not None or not options.has_journal:
        return
    path = journal_beside(options.output)
    if not look_at(path) or options.is_afresh or read_about(path).finished_at is not None:
        return
    command = read_about(path).command
    message = f"a run is not finished, got {path}; go on with: {command}, or start afresh with -i"
    raise ValueError(message)


def about_run(options: RunOptions, card: str, seed: int, run: str) -> About:
    """Return what the journal of a run says of it.

    Args:
        options: What was asked for.
        card: Name of the card.
        seed: What its sample was drawn from.
        run: Name of its folder; `""` for one with an output.
    """
    is_sample = options.count is not None and options.count < 0
    command = resume_command(options, seed if is_sample else None, run)
    count = "" if options.count is None else str(options.count)
    return About(card, command, count, str(seed) if is_sample else "")


def unfinished_run(runs: Path, card: str) -> tuple[Path, About] | None:
    """Return a card's latest run where it is not finished, and nobody is at it."""
    for folder in find_folders(runs, card)[:1]:
        about = _about(folder)
        if about is not None and about.finished_at is None:
            return folder, about
    return None


def _find_folder(options: RunOptions) -> Path:
    assert options.resumed is not None, "asked only where a run is to be gone on with"
    card = options.name
    if options.resumed:
        named = Path(options.resumed)
        place = options.runs / card
        places = (named, place / named.name, place / ASIDE / named.name)
        return next((path for path in places if path.is_dir()), places[1]).absolute()
    for folder in find_folders(options.runs, card):
        about = _about(folder)
        if about is None:
            continue
        if about.finished_at is None or (options.retries_failed and about.failed):
            return folder
    what = "unfinished or with failures" if options.retries_failed else "unfinished"
    message = f"no run of {card} is {what}, got folder {str(options.runs)!r}; leave --resume out"
    raise ValueError(message)


def _about(folder: Path) -> About | None:
    try:
        return read_about(folder / JOURNAL_NAME)
    except JournalError:
        return None
