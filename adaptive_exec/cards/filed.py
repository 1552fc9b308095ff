"""A batch of a card file: function or command, input, and settings put together.

Functions of a file are imported from the card's folder, as modules, so that workers find them.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from adaptive_exec.cards.card import load_function
from adaptive_exec.cards.card_file import REFERENCES, CardFile
from adaptive_exec.cards.cells import Row, RowTask, make_cell
from adaptive_exec.cards.commands import CommandTask, with_places
from adaptive_exec.cards.inputs import OpenInput, open_input
from adaptive_exec.cards.nearest import nearest
from adaptive_exec.cards.prepared import CardBatch, keep_none, limited
from adaptive_exec.cards.row_batches import RowsTask
from adaptive_exec.cards.sample import SampleChoice, choose
from adaptive_exec.specs import ISOLATED, LEVELS

_FILE: Final = ".py"


@dataclass(frozen=True, slots=True)
class KeywordCall:
    """Calls a function with a record's columns as keyword arguments.

    Args:
        function: The user's function.
    """

    function: Callable[..., object]

    def __call__(self, record: object) -> object:
        """Call it."""
        if not isinstance(record, Mapping):
            message = f"keywords need a record with columns, got {str(record)[:80]!r}; leave it out"
            raise TypeError(message)
        return self.function(**record)


@dataclass(frozen=True, slots=True)
class KeepCells:
    """Returns the cells that a row has of the input.

    Args:
        decode: Turns a task into the function's argument.
        names: Which columns; None is all.
    """

    decode: Callable[[object], object]
    names: tuple[str, ...] | None

    def __call__(self, task: object) -> Row:
        """Return them; none of a record that cannot be read."""
        try:
            record = self.decode(task)
            if not isinstance(record, Mapping):
                return {"input": make_cell(record)}
            names = list(record) if self.names is None else self.names
            return {name: make_cell(record[name]) for name in names if name in record}
        except Exception:  # noqa: BLE001  # a damaged record is the error of its own task
            return {}


def batch_of_file(
    card: CardFile, choice: SampleChoice, *, results: Path | None = None
) -> CardBatch:
    """Make a batch of a card file.

    Args:
        card: The card.
        choice: Which tasks; where it chooses none, the card's own limit or sample does.
        results: A folder for all that commands print.

    Returns:
        The batch.

    Raises:
        ValueError: The function, the input, a column or a place is not there.
        TypeError: The function cannot be called.
    """
    choice = _choice(card, choice)
    has_batches = card.input.batch_size is not None
    if has_batches and choice.is_sample:
        message = f"a sample is of single records, got {choice.count} with batches; give a limit"
        raise ValueError(message)
    opened = open_input(
        card,
        lambda reference: load_reference(card.folder, reference),
        limit=choice.count if has_batches else None,
    )
    of_tasks = SampleChoice() if has_batches else choice
    total, tasks = choose(of_tasks, opened.count, opened.records)
    is_numbered = bool(card.task.command) and results is not None
    kept = _keeper(card, opened)
    return CardBatch(
        name=card.name,
        function=_function(card, opened, results),
        tasks=_numbered(tasks) if is_numbered else tasks,
        total=total,
        label=lambda place, _: str(place),
        loaded=f"{opened.said}{limited(choice, choice.count if has_batches else total)}",
        key="index",
        columns=None,
        settings=settings_of(card),
        unique=card.output.unique,
        shares=card.output.shares,
        kept=(lambda task: kept(task[1])) if is_numbered else kept,  # type: ignore[index]  # numbered
    )


def load_reference(folder: Path, reference: str) -> Any:
    """Import what a card names.

    Args:
        folder: The card's folder.
        reference: `file.py:name`, `package.module:name` or `package.module.name`.

    Returns:
        What can be called.

    Raises:
        ValueError: It is not there.
        TypeError: It cannot be called.
    """
    module, colon, name = reference.partition(":")
    if module.endswith(_FILE):
        return _from_file(folder / module, name, reference)
    _search(folder)
    if not colon and "." in reference:
        module, _, name = reference.rpartition(".")
        reference = f"{module}:{name}"
    return load_function(reference)


def settings_of(card: CardFile) -> dict[str, object]:
    """Return the settings of a card: what it names is imported, and it runs isolated.

    Args:
        card: The card.

    Returns:
        Settings by name, for `make_config` to check.
    """
    settings = dict(card.run)
    for name in REFERENCES:
        value = settings.get(name)
        if isinstance(value, str) and (":" in value or name != "task_memory"):
            settings[name] = load_reference(card.folder, value)
    return settings


def isolated(settings: Mapping[str, object]) -> dict[str, object]:
    """Add isolation to settings that leave room for it.

    >>> isolated({"max_workers": 2}), isolated({"levels": "thread"})
    ({'max_workers': 2, 'isolate': True}, {'levels': 'thread'})
    """
    levels = settings.get("levels", "auto")
    ladder = LEVELS if levels == "auto" else (levels if isinstance(levels, tuple) else (levels,))
    is_free = ISOLATED in ladder and not settings.get("inline") and not settings.get("fallback")
    return {**settings, "isolate": True} if is_free and "isolate" not in settings else {**settings}


def _function(
    card: CardFile, opened: OpenInput, results: Path | None
) -> Callable[[object], Row | list[Row]]:
    task = card.task
    if opened.are_batches and (task.command or task.has_keywords):
        message = (
            f"batches of rows are DataFrames, got {card.input.batch_size} with a command or "
            "keywords; leave input.batch_size out"
        )
        raise ValueError(message)
    if task.command:
        arguments = with_places(task.command, opened.names)
        folder = str(card.folder.absolute())
        kept_in = None if results is None else str(results.absolute())
        decode = opened.decode if results is None else _DecodeNumbered(opened.decode)
        return RowTask(CommandTask(arguments, folder, kept_in), decode)
    assert task.function is not None
    function = load_reference(card.folder, task.function)
    if task.has_keywords and opened.names is None:
        message = "task.keywords needs columns, got an input without; leave it out"
        raise ValueError(message)
    if opened.are_batches:
        return RowsTask(function, opened.decode)
    return RowTask(KeywordCall(function) if task.has_keywords else function, opened.decode)


@dataclass(frozen=True, slots=True)
class _DecodeNumbered:
    decode: Callable[[object], object]

    def __call__(self, task: object) -> object:
        assert isinstance(task, tuple)
        return task[0], self.decode(task[1])


def _numbered(tasks: Callable[[], Any]) -> Callable[[], Any]:
    def numbered() -> Any:
        for place, task in tasks():
            yield place, (place, task)

    return numbered


def _keeper(card: CardFile, opened: OpenInput) -> Callable[[object], Row]:
    keep = card.output.keep
    if opened.are_batches and keep:
        message = f"output.keep is for single records, got {keep!r} with batches; leave it out"
        raise ValueError(message)
    if isinstance(keep, tuple):
        known = opened.names or ("input",)
        for name in keep:
            if name not in known:
                message = f"output.keep has no column, got {name!r}; {nearest(name, known)}"
                raise ValueError(message)
        return KeepCells(opened.decode, keep)
    if keep:
        return KeepCells(opened.decode, None)
    if card.sweep.axes:
        return KeepCells(opened.decode, tuple(card.sweep.axes))
    return keep_none


def _choice(card: CardFile, choice: SampleChoice) -> SampleChoice:
    if choice.count is not None:
        return choice
    if card.input.sample is not None:
        return SampleChoice(-card.input.sample, choice.seed)
    return SampleChoice(card.input.limit, choice.seed)


def _search(folder: Path) -> None:
    """Have modules found that lie beside the card."""
    place = str(folder.absolute())
    if place not in sys.path:
        sys.path.insert(0, place)


def _from_file(path: Path, name: str, reference: str) -> Any:
    if not path.is_file():
        message = f"file of the function is not there, got {reference!r}; it is searched at {path}"
        raise ValueError(message)
    if not name:
        message = f"function must be file.py:name, got {reference!r}; add :name"
        raise ValueError(message)
    _search(path.parent)
    importlib.invalidate_caches()
    found = load_function(f"{path.stem}:{name}")
    module: Any = sys.modules[path.stem]
    if Path(getattr(module, "__file__", None) or "").resolve() != path.resolve():
        message = (
            f"another module has that name, got {reference!r}, which finds "
            f"{getattr(module, '__file__', path.stem)}; rename the file"
        )
        raise ValueError(message)
    return found
