"""What a journal says of the run that it belongs to: whose it is, how to go on, whether it is done.

For the command; the executor needs none of it.
"""

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from adaptive_exec.errors import JournalError
from adaptive_exec.journal.checks import explain, look_at
from adaptive_exec.journal.store import Store


class About(NamedTuple):
    """A run, as its journal tells of it.

    Attributes:
        card: What was run.
        command: What goes on with it.
        count: How many tasks were asked for, as text; `""` for all.
        seed: What the sample was drawn from, as text; `""` where there was none.
        finished_at: Unix seconds at which every task had its outcome; None before.
        failed: How many of them had failed by then.
    """

    card: str = ""
    command: str = ""
    count: str = ""  # type: ignore[assignment]  # hides a method of tuples that nobody calls
    seed: str = ""
    finished_at: float | None = None
    failed: int = 0


def read_about(path: Path) -> About:
    """Read what a journal says of its run.

    Raises:
        JournalError: There is no journal, or it cannot be read.
    """
    with _opened(path, is_reader=True) as store:
        facts = store.about()
    finished = facts.get("finished_at")
    return About(
        facts.get("card", ""),
        facts.get("command", ""),
        facts.get("count", ""),
        facts.get("seed", ""),
        None if finished is None else float(finished),
        int(facts.get("failed", "0")),
    )


def begin(path: Path, about: About) -> None:
    """Make a journal for a run, or take up the one that is there.

    Raises:
        JournalError: It cannot be used, or belongs to another card.
    """
    if look_at(path):
        card = read_about(path).card
        if card not in {"", about.card}:
            raise JournalError(str(path), "other card", f"it is of {card}, this is {about.card}")
    texts = about._asdict() | {"finished_at": None, "failed": None}
    _write(path, {name: None if value is None else str(value) for name, value in texts.items()})


def end(path: Path, failed: int) -> None:
    """Note that every task has its outcome.

    Args:
        path: The journal.
        failed: How many of them failed.

    Raises:
        JournalError: It cannot be written.
    """
    _write(path, {"finished_at": str(time.time()), "failed": str(failed)})


def _write(path: Path, facts: Mapping[str, str | None]) -> None:
    with _opened(path, is_reader=False) as store:
        for name, value in facts.items():
            store.set_about(name, None if value is None else _as_text(value))


def _as_text(value: str) -> str:
    """Write bytes of a file's name as the text that they are, as escapes where they are none."""
    return value.encode(errors="surrogateescape").decode(errors="backslashreplace")


@contextmanager
def _opened(path: Path, *, is_reader: bool) -> Iterator[Store]:
    store = Store(path, None, is_reader=is_reader)
    try:
        yield store
    except sqlite3.Error as error:
        raise explain(path, error) from error
    finally:
        store.close()
