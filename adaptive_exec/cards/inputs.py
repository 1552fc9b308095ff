"""What a card's tasks are: records of a table, files, numbers, what a generator yields; and axes.

Opening checks files, columns and expressions; the tasks themselves are read lazily, and only the
columns that are asked for go on to the workers. A record that cannot be read, or for which the
expression fails, is the error of its own task.
"""

import ast
import builtins
import functools
import glob
import importlib.util
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import CodeType
from typing import Any, Final

from adaptive_exec.cards.card_file import CardFile, InputPart, SweepPart
from adaptive_exec.cards.cells import unchanged
from adaptive_exec.cards.nearest import nearest
from adaptive_exec.cards.row_batches import (
    DecodeRecords,
    count_batches,
    decode_arrow,
    grouped,
    read_arrow,
)
from adaptive_exec.cards.tables import Table, decode_line, is_parquet, open_table

STANDARD_INPUT: Final = "-"
"""The file's name that means standard input."""
IN_WHERE: Final = ("abs", "bool", "float", "int", "len", "max", "min", "round", "str")
"""Functions that an expression over the columns may call."""


@dataclass(frozen=True, slots=True)
class BadRecord:
    """Stands in the place of a record that could not be read.

    Attributes:
        why: The error's text.
    """

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenInput:
    """An input that was checked.

    Attributes:
        records: Opens it and yields records.
        decode: Turns a record into the task's argument, in the worker.
        count: How many there are; None where it is not known.
        said: What it is, for people.
        names: Columns of a record; None where records have none.
        are_batches: Whether a task is a DataFrame of several records.
    """

    records: Callable[[], Iterator[object]]
    decode: Callable[[object], object]
    count: int | None
    said: str
    names: tuple[str, ...] | None = None
    are_batches: bool = False


def open_input(
    card: CardFile, load: Callable[[str], Any], *, limit: int | None = None
) -> OpenInput:
    """Check where a card's tasks come from.

    Args:
        card: The card.
        load: Imports what a reference names.
        limit: Rows at most where tasks are batches of them; None is all.

    Returns:
        The input; points of the axes outside, where there are any.

    Raises:
        ValueError: Something is not there, or says what cannot be.
    """
    opened = _open_source(card, load)
    if card.input.batch_size is not None:
        opened = _in_batches(card, opened, card.input.batch_size, limit)
    if not card.sweep.axes:
        return opened
    return _over(card.sweep, opened)


def points(sweep: SweepPart) -> list[dict[str, object]]:
    """Return the points of axes, the first axis the outermost.

    >>> points(SweepPart(axes={"a": (1, 2), "b": (3, 4)}, is_zip=True))
    [{'a': 1, 'b': 3}, {'a': 2, 'b': 4}]
    """
    values = sweep.axes.values()
    tuples = zip(*values, strict=True) if sweep.is_zip else itertools.product(*values)
    return [dict(zip(sweep.axes, one, strict=True)) for one in tuples]


def take_record(record: object) -> object:
    """Return a record, or fail in the place of one that could not be read."""
    if isinstance(record, BadRecord):
        raise ValueError(record.why)  # noqa: TRY004  # it is the file that is wrong, not a type
    return record


@dataclass(frozen=True, slots=True)
class DecodePoint:
    """Makes one dictionary of a point and a record.

    Args:
        decode: Turns the record into a dictionary or a value.
    """

    decode: Callable[[object], object]

    def __call__(self, task: object) -> object:
        """Return the function's argument."""
        assert isinstance(task, tuple)
        point, packed = task
        record = self.decode(packed)
        inner = record if isinstance(record, Mapping) else {"value": record}
        return {**inner, **point}


def _open_source(card: CardFile, load: Callable[[str], Any]) -> OpenInput:
    part = card.input
    if part.numbers is not None:
        span = range(*part.numbers)
        return _listed(span, f"{len(span)} numbers")
    if part.files is not None:
        return _open_files(card.folder, part.files)
    if part.generator is not None:
        return _open_generator(part.generator, load)
    if part.file is not None:
        return _open_records(card, part)
    return _listed([{}], "one record")


def _listed(tasks: Sequence[object], said: str) -> OpenInput:
    return OpenInput(records=lambda: iter(tasks), decode=unchanged, count=len(tasks), said=said)


def _open_files(folder: Path, pattern: str) -> OpenInput:
    found = sorted(glob.glob(str(folder / pattern), recursive=True))  # noqa: PTH207  # patterns may be absolute
    files = [name for name in found if Path(name).is_file()]
    if not files:
        message = f"input.files finds none, got {pattern!r} in {str(folder)!r}; mend the pattern"
        raise ValueError(message)
    return _listed(files, f"{len(files)} files of {pattern}")


def _open_generator(reference: str, load: Callable[[str], Any]) -> OpenInput:
    make = load(reference)

    def records() -> Iterator[object]:
        return iter(make())

    return OpenInput(records=records, decode=unchanged, count=None, said=f"what {reference} yields")


def _open_records(card: CardFile, part: InputPart) -> OpenInput:
    if part.file == STANDARD_INPUT:
        return _open_standard_input(part)
    assert part.file is not None
    test = None if part.where is None else part.where
    path = card.folder / part.file
    names = _names_in(test) if test is not None else ()
    wanted = tuple(dict.fromkeys((*part.columns, *names))) if part.columns else ()
    if part.column is not None and test is not None:
        wanted = tuple(dict.fromkeys((part.column, *names)))
    whole = None if test is not None else part.column
    table = open_table(path, whole, columns=wanted or None, form=part.form)
    if test is not None:
        _check_where(test, names, table)
    many = "uncounted" if table.count is None else str(table.count)
    said = f"{many} records ({table.form}) from {path}"
    if whole is not None or table.form == "lines":
        return OpenInput(records=table.records, decode=table.decode, count=table.count, said=said)
    chosen = part.columns or tuple(table.names)
    count = table.count if test is None else None
    if test is None and not part.columns:
        return OpenInput(
            records=table.records, decode=table.decode, count=count, said=said, names=chosen
        )
    loaded = f"Loaded columns: {list(wanted or chosen)}"
    records = functools.partial(_chosen, table, wanted or chosen, chosen, part.column, test)
    names_left = None if part.column is not None else chosen
    said = f"{said}; {loaded}" + (f", where {test}" if test else "")
    return OpenInput(records=records, decode=take_record, count=count, said=said, names=names_left)


def _in_batches(card: CardFile, opened: OpenInput, size: int, limit: int | None) -> OpenInput:
    """Return an input whose tasks are DataFrames."""
    part = card.input
    if card.sweep.axes or part.column is not None or opened.names is None or part.sample:
        message = (
            f"input.batch_size needs a table, and neither column, sample nor [sweep], got {size}; "
            "leave it out"
        )
        raise ValueError(message)
    for library in ("pandas", "pyarrow"):
        if importlib.util.find_spec(library) is None:
            message = f"batches need {library}, got {size}; install adaptive-exec[tables]"
            raise ValueError(message)
    assert part.file is not None
    path = card.folder / part.file
    rows = count_batches(opened.count, size, limit)
    said = f"{opened.said}, in batches of {size}"
    if part.where is None and is_parquet(path, part.form):
        columns = part.columns or None
        return replace(
            opened,
            records=lambda: read_arrow(path, columns, size, limit),
            decode=decode_arrow,
            count=rows,
            said=said,
            are_batches=True,
        )
    return replace(
        opened,
        records=lambda: grouped(opened.records, size, limit),
        decode=DecodeRecords(opened.decode),
        count=rows,
        said=said,
        are_batches=True,
    )


def _open_standard_input(part: InputPart) -> OpenInput:
    for name, value in (
        ("column", part.column),
        ("columns", part.columns or None),
        ("where", part.where),
        ("sample", part.sample),
    ):
        if value is not None:
            message = f"input.{name} needs a file, got {value!r} for standard input; leave it out"
            raise ValueError(message)
    return OpenInput(records=_standard_lines, decode=decode_line, count=None, said="standard input")


def _standard_lines() -> Iterator[bytes]:
    for line in sys.stdin.buffer:
        if line.strip():
            yield line.rstrip(b"\r\n")


def _chosen(
    table: Table, read: Sequence[str], chosen: Sequence[str], column: str | None, where: str | None
) -> Iterator[object]:
    """Yield records, cut to the columns that are wanted, where the expression is true."""
    code = None if where is None else _compiled(where)
    for raw in table.records():
        try:
            record = table.decode(raw)
            row = _cut(record, read)
            if code is not None and not _holds(code, row):
                continue
        except Exception as error:  # noqa: BLE001  # a damaged record, or the user's expression
            yield BadRecord(f"{type(error).__name__}: {error}")
            continue
        yield row[column] if column is not None else {name: row[name] for name in chosen}


def _cut(record: object, names: Sequence[str]) -> dict[str, object]:
    if not isinstance(record, Mapping):
        message = f"record must have columns, got {str(record)[:80]!r}; mend the file"
        raise TypeError(message)
    missing = [name for name in names if name not in record]
    if missing:
        message = f"record has no column {missing[0]!r}, got {str(record)[:80]!r}; mend the file"
        raise ValueError(message)
    return {name: record[name] for name in names}


def _holds(code: CodeType, row: dict[str, object]) -> bool:
    calls = {name: getattr(builtins, name) for name in IN_WHERE}
    return bool(eval(code, {"__builtins__": {}, **calls}, row))  # noqa: S307  # the card's own author wrote it, as the function


def _names_in(where: str) -> tuple[str, ...]:
    """Return the columns that an expression speaks of."""
    try:
        tree = ast.parse(where, mode="eval")
    except SyntaxError as error:
        message = f"input.where is no expression, got {where!r} ({error.msg}); write it like a < 3"
        raise ValueError(message) from error
    names = (node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    return tuple(dict.fromkeys(name for name in names if name not in IN_WHERE))


def _check_where(where: str, names: Sequence[str], table: Table) -> None:
    if not table.names and table.count != 0:
        message = f"input.where needs columns, got {where!r} for {table.form}; leave it out"
        raise ValueError(message)
    for name in names:
        if table.names and name not in table.names:
            message = f"input.where has no column, got {name!r}; {nearest(name, table.names)}"
            raise ValueError(message)


@functools.lru_cache(maxsize=1)
def _compiled(where: str) -> CodeType:
    return compile(where, "<where>", "eval")


def _over(sweep: SweepPart, inner: OpenInput) -> OpenInput:
    """Return each point with each record, the points outside."""
    outer = points(sweep)
    names = inner.names if inner.names is not None else ("value",)
    is_alone = inner.count == 1 and inner.said == "one record"

    def records() -> Iterator[object]:
        for point in outer:
            for record in inner.records():
                yield point, record

    said = f"{len(outer)} points of {' x '.join(sweep.axes)}"
    return OpenInput(
        records=(lambda: iter(outer)) if is_alone else records,
        decode=unchanged if is_alone else DecodePoint(inner.decode),
        count=None if inner.count is None else inner.count * len(outer),
        said=said if is_alone else f"{said}, each over {inner.said}",
        names=tuple(sweep.axes) if is_alone else (*names, *sweep.axes),
    )
