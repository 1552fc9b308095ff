"""The command `card`: check a card without running it, write a new one, list what is at hand."""

import re
import tomllib
from contextlib import closing
from pathlib import Path
from typing import Final

from adaptive_exec.cards.card import DEFAULT_CARD
from adaptive_exec.cards.card_file import CARD_SUFFIX, CardFile, read_card
from adaptive_exec.cards.filed import batch_of_file, isolated
from adaptive_exec.cards.folders import find_folders
from adaptive_exec.cards.nearest import nearest
from adaptive_exec.cards.outputs import check_output
from adaptive_exec.cards.prepared import CardBatch
from adaptive_exec.cards.sample import SampleChoice
from adaptive_exec.cli.exits import ALL_HAVE_VALUES, SOME_FAILED, say
from adaptive_exec.cli.resume import JOURNAL_NAME, journal_beside
from adaptive_exec.config import Config, make_config
from adaptive_exec.core.plan import BatchShape, Plan, make_plan
from adaptive_exec.display import size_text
from adaptive_exec.errors import JournalError
from adaptive_exec.host.survey import take_snapshot
from adaptive_exec.journal.checks import look_at
from adaptive_exec.journal.contents import Contents, JournalSummary

ACTIONS: Final = ("check", "new", "list")
NEW_CARD: Final = "card.toml"
"""The card that `card new` writes where none is named."""
SEED_OF_CHECKS: Final = 0
"""What a sample is drawn from where it is only counted."""
_CARD: Final = """# What runs, on what, and where the rows go. Paths are relative to this file.
# Try it:    adaptive-exec card check {card}
# Run it:    adaptive-exec run {card}
# Go on:     adaptive-exec run {card} --resume

[task]
function = "{module}:work"  # file.py:name, package.module:name
# command = ["fit", "--rate={{rate}}"]     # or a program; {{column}} is a place
# keywords = true                        # work(**record) instead of work(record)

[input]                                  # one of file, files, range, generator
range = 10
# file = "table.parquet"                 # .csv .tsv .jsonl .parquet, or lines; also .gz, .zst
# columns = ["id", "rate"]               # only these are read
# column = "rate"                        # or this cell alone is the argument
# where = "float(rate) < 0.5"            # records for which it is true
# limit = 2000                           # or sample = 100

[output]                                 # left out: a folder of its own below runs/
file = "{name}.csv"                      # .csv, .jsonl or .parquet
replace = true                           # also where it is there
# keep = ["id"]                          # columns of the input in each row
# flush_interval = "5s"                  # rows are in {name}.csv.part after that

[run]                                    # every setting of the executor
# max_workers = 2
# task_timeout = "10s"
# target_memory = "70%"

# [sweep]                                # each point is a task, or meets each record
# mode = "product"                       # or "zip"
# rate = [0.1, 0.2]
# depth = {{from = 1, to = 9, count = 3}}
"""
_FUNCTION: Final = '''"""What runs for each task of {card}."""


def work(number):
    """Return the columns of a row."""
    return {{"square": number * number}}
'''


def run_card_command(
    action: str, file: str | None, changes: list[str], *, runs: Path, force: bool
) -> int:
    """Do what was asked for with a card.

    Args:
        action: `check`, `new` or `list`.
        file: The card file.
        changes: What is set otherwise.
        runs: Folder of all runs.
        force: Replace a file that is there.

    Returns:
        The exit code.

    Raises:
        ValueError: A mistake of the caller's.
        TypeError: The same, of the wrong kind.
        JournalError: A journal cannot be read.
    """
    match action:
        case "check":
            if file is None:
                message = "card check needs a file, got none; name one like mine.toml"
                raise ValueError(message)
            return check_card(Path(file), changes, runs)
        case "new":
            return write_card(Path(file or NEW_CARD), force=force)
        case "list":
            return list_cards(Path(file or "."))
        case _:
            message = f"unknown action, got {action!r}; {nearest(action, ACTIONS)}"
            raise ValueError(message)


def check_card(path: Path, changes: list[str], runs: Path) -> int:
    """Check a card as a run would, and say what it comes to."""
    card = read_card(path, changes)
    limit, sample = card.input.limit, card.input.sample
    choice = SampleChoice(limit if sample is None else -sample, SEED_OF_CHECKS)
    batch = batch_of_file(card, choice)
    config = make_config(isolated(batch.settings))
    output = None if card.output.file is None else card.folder / card.output.file
    if output is not None:
        check_output(output, force=card.output.is_replaced)
    plan = make_plan(BatchShape(batch.total), take_snapshot(), config)
    what = card.task.function or " ".join(card.task.command)
    tasks = "as many as come" if batch.total is None else str(batch.total)
    rows = [
        ("card", str(path)),
        ("task", what),
        ("input", batch.loaded),
        ("tasks", tasks),
        ("output", str(output or f"{runs / card.name}/")),
        ("settings", ", ".join(f"{key}={value!r}" for key, value in sorted(card.run.items()))),
        ("plan", f"{plan.level}, workers={plan.workers}, reason={plan.reason.code}"),
        ("estimate", _estimate(card, batch, config, plan, runs)),
    ]
    for name, text in rows:
        say(f"{name:<9} {text or 'defaults'}")
    return ALL_HAVE_VALUES


def write_card(path: Path, *, force: bool) -> int:
    """Write a card with a comment on every line, and the function that it runs."""
    if path.suffix != CARD_SUFFIX:
        message = f"card must end in {CARD_SUFFIX}, got {str(path)!r}; rename it"
        raise ValueError(message)
    stem = re.sub(r"\W", "_", path.stem)
    module = path.with_name(f"{stem}_work.py")
    if path.exists() and not force:
        message = f"card is there, got {str(path)!r}; give another name, or --force to replace it"
        raise ValueError(message)
    try:
        path.write_text(
            _CARD.format(card=path.name, module=module.name, name=stem), encoding="utf-8"
        )
        if not module.exists():
            module.write_text(_FUNCTION.format(card=path.name), encoding="utf-8")
    except OSError as error:
        message = f"card cannot be written, got {str(path)!r} ({error}); give another place"
        raise ValueError(message) from error
    say(f"{path} and {module}; run it: adaptive-exec run {path}")
    return ALL_HAVE_VALUES


def list_cards(folder: Path) -> int:
    """List the cards of a folder, and those that come along."""
    if not folder.is_dir():
        message = f"folder is not there, got {str(folder)!r}; name the one that holds cards"
        raise ValueError(message)
    say(f"{DEFAULT_CARD}  source files of the standard library (comes along)")
    code = ALL_HAVE_VALUES
    for path in sorted(folder.glob(f"*{CARD_SUFFIX}")):
        if not _looks_like_card(path):
            continue
        try:
            card = read_card(path)
        except ValueError as error:
            say(f"{path}  cannot run: {error}")
            code = SOME_FAILED
        else:
            say(f"{path}  {card.task.function or ' '.join(card.task.command)}")
    return code


def _looks_like_card(path: Path) -> bool:
    """Tell cards from other TOML, as pyproject.toml is."""
    try:
        return "task" in tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def _estimate(card: CardFile, batch: CardBatch, config: Config, plan: Plan, runs: Path) -> str:
    """Say what the run will take, as far as an earlier one or the card knows."""
    before = _last_run(card, runs)
    if before is None or not before.wall_seconds:
        told = config.task_memory
        each = "measured as it runs" if told is None or callable(told) else f"{told} as told"
        return f"nothing ran yet; memory of a task: {each}"
    count = before.statuses.total()
    mean = before.wall_seconds / count
    text = f"{mean:.3g} s a task, as {count} took before"
    if batch.total is not None:
        text += f"; {batch.total * mean / max(1, plan.workers):.3g} s in all"
    if before.peak_bytes is not None:
        text += f"; at most {size_text(before.peak_bytes)} a task"
    return text


def _last_run(card: CardFile, runs: Path) -> JournalSummary | None:
    places = [folder / JOURNAL_NAME for folder in find_folders(runs, card.name)[:1]]
    if card.output.file is not None:
        places = [journal_beside(card.folder / card.output.file)]
    return next((found for path in places if (found := _summary(path)) is not None), None)


def _summary(path: Path) -> JournalSummary | None:
    try:
        if not look_at(path):
            return None
        with closing(Contents(path)) as contents:
            return contents.summary()
    except JournalError:
        return None
