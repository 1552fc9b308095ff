"""A batch that is ready to run: a card, or a function and a table, once everything was checked.

Making one imports the function, opens the input and draws the sample; a mistake of the caller's
shows here, before any worker starts.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from adaptive_exec.cards.card import Card, load_function
from adaptive_exec.cards.cells import Row, RowTask, unchanged
from adaptive_exec.cards.sample import Numbered, SampleChoice, choose
from adaptive_exec.cards.tables import open_table


def keep_none(_task: object) -> Row:
    """Keep nothing of the input."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class CardBatch:
    """Tasks, the function, and how a row is made of an outcome.

    Attributes:
        name: For people, and for the folder of its runs.
        function: Runs in the workers, on one task, and returns a row, or rows.
        tasks: Yields the chosen tasks, each with its place in the input; may be called again.
        total: How many there are; None where it is not known.
        label: Names a task, by its place and itself.
        loaded: Says what was loaded and to what it was limited.
        key: The column that holds a task's label.
        columns: The columns, where they are known beforehand; the last one is the error.
        settings: Settings of the executor that the batch brings along.
        unique: Columns that make a row's key; of rows with one key the first is written.
        shares: Columns of which the end says how often each value came.
        kept: Returns what a row has of the input, by the task.
    """

    name: str
    function: Callable[[object], Row | list[Row]]
    tasks: Callable[[], Iterator[Numbered]]
    total: int | None
    label: Callable[[int, object], str]
    loaded: str
    key: str
    columns: tuple[str, ...] | None
    settings: Mapping[str, object]
    unique: tuple[str, ...] = ()
    shares: tuple[str, ...] = ()
    kept: Callable[[object], Row] = keep_none


def batch_of_card(card: Card, choice: SampleChoice) -> CardBatch:
    """Make a batch of a card.

    Args:
        card: The card.
        choice: Which of its tasks.

    Returns:
        The batch.

    Raises:
        ValueError: The card's input or function is not there.
    """
    found = load_function(card.tasks)()
    assert isinstance(found, list)
    name_of = load_function(card.label)
    source = load_function(card.source)()
    total, tasks = choose(choice, len(found), lambda: found)
    return CardBatch(
        name=card.name,
        function=RowTask(load_function(card.function), unchanged),
        tasks=tasks,
        total=total,
        label=lambda _, task: str(name_of(task)),
        loaded=f"{len(found)} {card.unit} from {source}{limited(choice, total)}",
        key=card.columns[0],
        columns=card.columns,
        settings=card.settings,
    )


def folder_name(reference: str) -> str:
    """Return the name under which runs of a user's function lie."""
    return re.sub(r"[^\w.-]", ".", reference)


def batch_of_table(
    reference: str, path: Path, column: str | None, choice: SampleChoice
) -> CardBatch:
    """Make a batch of the user's function over a table.

    Args:
        reference: `package.module:function`.
        path: The table.
        column: The column whose cell is the argument; None passes the whole record.
        choice: Which records.

    Returns:
        The batch.

    Raises:
        ValueError: The function, the file or the column is not there.
        TypeError: The function cannot be called.
    """
    table = open_table(path, column)
    function = load_function(reference)
    total, tasks = choose(choice, table.count, table.records)
    many = "uncounted" if table.count is None else str(table.count)
    return CardBatch(
        name=folder_name(reference),
        function=RowTask(function, table.decode),
        tasks=tasks,
        total=total,
        label=lambda place, _: str(place),
        loaded=f"{many} records ({table.form}) from {path}{limited(choice, total)}",
        key="index",
        columns=None,
        settings={},
    )


def limited(choice: SampleChoice, total: int | None) -> str:
    """Say to what a choice limits a batch; begins with a comma, or is empty."""
    if choice.count is None:
        return ""
    if choice.is_sample:
        return f", limited to a random sample of {total} (seed {choice.seed})"
    return f", Limited to {choice.count if total is None else total}, the first"
