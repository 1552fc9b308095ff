"""Card files: TOML in, checked facts out; every mistake is found here, before anything runs.

A card has the sections `[task]`, `[input]`, `[output]`, `[run]` and `[sweep]`. Paths in it are
relative to its own folder. What stands on the command line as `--set section.key=value` wins over
the file. Neither input nor function is opened here.
"""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from adaptive_exec.cards.durations import duration
from adaptive_exec.cards.nearest import nearest
from adaptive_exec.config import Config

CARD_SUFFIX: Final = ".toml"
"""What the name of a card file ends in."""
FLUSH_SECONDS: Final = 1.0
"""Seconds that a row may wait in memory before it is written to the part of an output: what a kill
costs a reader of it."""
FORM_NAMES: Final[Mapping[str, str]] = {
    "csv": "CSV",
    "tsv": "TSV",
    "jsonl": "JSON lines",
    "parquet": "Parquet",
    "lines": "lines",
}
"""Forms of an input, as a card calls them."""
REFERENCES: Final = ("initializer", "key", "on_event", "size", "task_memory")
"""Settings that are functions: named in a card as `file.py:name` or `package.module:name`."""
TIMES: Final = ("task_timeout", "max_worker_age", "cluster_wait")
"""Settings that are times, which may have units."""
NOT_IN_CARDS: Final = ("journal", "initargs", "cluster", "retry_on", "reuse")
"""Settings that a card has no words for; the command keeps its own journal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPart:
    """What runs on each task.

    Attributes:
        function: Reference of a function; None with a command.
        command: A program and its arguments, with `{column}` places.
        has_keywords: The columns of a record are keyword arguments, instead of one dictionary.
    """

    function: str | None = None
    command: tuple[str, ...] = ()
    has_keywords: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InputPart:
    """Where tasks come from: exactly one of `file`, `files`, `numbers`, `generator`, or none.

    Attributes:
        file: A table or a list of lines; `-` is standard input, as lines.
        form: Its form, whatever its suffix says.
        files: A pattern; each file that it finds is a task.
        numbers: Start, stop and step of a range.
        generator: Reference of a function without arguments that yields tasks.
        column: The column whose cell is the argument.
        columns: The columns that are read; empty is all.
        limit: The first so many.
        sample: A random sample of so many.
        where: An expression over the columns; records for which it is false are left out.
        batch_size: Rows of a task; None is one record for each.
    """

    file: str | None = None
    form: str | None = None
    files: str | None = None
    numbers: tuple[int, int, int] | None = None
    generator: str | None = None
    column: str | None = None
    columns: tuple[str, ...] = ()
    limit: int | None = None
    sample: int | None = None
    where: str | None = None
    batch_size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputPart:
    """Where rows go.

    Attributes:
        file: The table; None is the folder of the run.
        keep: Columns of the input that stand in the row, too; True is all that are read.
        is_replaced: A file that is there is replaced.
        unique: Columns that make a row's key; of rows with one key the first is written.
        shares: Columns of which the end of a run says how often each value came.
        flush_seconds: How long a row may wait before it is in the file's part.
    """

    file: str | None = None
    keep: bool | tuple[str, ...] = False
    is_replaced: bool = False
    unique: tuple[str, ...] = ()
    shares: tuple[str, ...] = ()
    flush_seconds: float = FLUSH_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPart:
    """Named axes, whose points are tasks.

    Attributes:
        axes: Values by name, the outermost first.
        is_zip: Values of the same place belong together, instead of each with each.
    """

    axes: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    is_zip: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFile:
    """A card as it stands in its file.

    Attributes:
        path: The file; for a card of the command line, a name in the folder it was given in.
        task: What runs.
        input: On what.
        output: Where rows go.
        run: Settings of the executor, by name.
        sweep: Axes.
    """

    path: Path
    task: TaskPart
    input: InputPart = InputPart()
    output: OutputPart = OutputPart()
    run: Mapping[str, object] = field(default_factory=dict)
    sweep: SweepPart = SweepPart()

    @property
    def name(self) -> str:
        """What the card is called: its file's name."""
        return card_name(self.path)

    @property
    def folder(self) -> Path:
        """What its paths are relative to."""
        return self.path.parent


def is_card_file(name: str | None) -> bool:
    """Tell whether a card's name is that of a file."""
    return name is not None and name.endswith(CARD_SUFFIX)


def card_name(path: Path) -> str:
    """Return what a card file's runs are called."""
    return path.name.removesuffix(CARD_SUFFIX)


def read_card(path: Path, changes: Iterable[str] = ()) -> CardFile:
    """Read and check a card file.

    Args:
        path: The file.
        changes: What is set otherwise, each as `section.key=value`.

    Returns:
        The card.

    Raises:
        ValueError: It is not there, no TOML, or says what cannot be; the message names the nearest
            known key and the way out.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        message = (
            f"card cannot be read, got {str(path)!r} ({error}); adaptive-exec card new makes one"
        )
        raise ValueError(message) from error
    try:
        sections: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = f"card is no TOML, got {str(path)!r} ({error}); mend that line"
        raise ValueError(message) from error
    for change in changes:
        _change(sections, change)
    return make_card(path, sections)


def make_card(path: Path, sections: Mapping[str, object]) -> CardFile:
    """Check the sections of a card.

    Args:
        path: What its paths are relative to, and its name.
        sections: Keys and values by section.

    Returns:
        The card.

    Raises:
        ValueError: A key is unknown, or a value cannot be.
    """
    _check_names("section", sections, list(_SECTIONS), "")
    parts = {name: _section(name, sections.get(name, {})) for name in _SECTIONS}
    sweep = parts["sweep"]
    is_zip = sweep.pop("mode", False)
    card = CardFile(
        path=path,
        task=TaskPart(**parts["task"]),
        input=InputPart(**parts["input"]),
        output=OutputPart(**parts["output"]),
        run=parts["run"],
        sweep=SweepPart(axes=sweep, is_zip=bool(is_zip)),
    )
    _check_task(card)
    _check_input(card)
    _check_sweep(card.sweep)
    return card


def _change(sections: dict[str, Any], change: str) -> None:
    """Set one value, which is TOML, or text that needs no quotes."""
    name, equals, text = change.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot and section and key):
        message = (
            f"--set must be section.key=value, got {change!r}; write it like run.max_workers=2"
        )
        raise ValueError(message)
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    keys = sections.setdefault(section, {})
    if isinstance(keys, dict):
        keys[key] = value


def _section(name: str, keys: object) -> dict[str, Any]:
    if not isinstance(keys, dict):
        message = f"[{name}] must be a section, got {keys!r}; write [{name}] and its keys below"
        raise ValueError(message)  # noqa: TRY004  # it is the file that is wrong, not a type
    if name == "sweep":
        return {key: _axis_or_mode(key, value) for key, value in keys.items()}
    known = _SECTIONS[name]
    _check_names("key", keys, list(known), f"{name}.")
    read = (known[key](f"{name}.{key}", value) for key, value in keys.items())
    return {_FIELDS.get(f"{name}.{key}", key): value for key, value in zip(keys, read, strict=True)}


def _check_names(what: str, given: Iterable[str], known: list[str], where: str) -> None:
    for name in given:
        if name not in known:
            message = f"unknown {what}, got {where + name!r}; {nearest(name, known)}"
            raise ValueError(message)


def _check_task(card: CardFile) -> None:
    task = card.task
    if (task.function is None) == (not task.command):
        both = "both" if task.command else "none"
        message = f"[task] needs function or command, got {both}; give one of them"
        raise ValueError(message)
    if task.command and task.has_keywords:
        message = "[task] keywords is for functions, got a command; leave it out"
        raise ValueError(message)


def _check_input(card: CardFile) -> None:
    one = card.input
    sources = {
        "file": one.file,
        "files": one.files,
        "range": one.numbers,
        "generator": one.generator,
    }
    given = [name for name, value in sources.items() if value is not None]
    if len(given) > 1:
        message = f"[input] needs one source, got {' and '.join(given)}; leave one of them out"
        raise ValueError(message)
    if not given and not card.sweep.axes:
        message = (
            f"card has no tasks, got neither [input] nor [sweep]; add file = ... in {card.path}"
        )
        raise ValueError(message)
    if one.limit is not None and one.sample is not None:
        message = f"[input] has limit and sample, got {one.limit} and {one.sample}; leave one out"
        raise ValueError(message)
    if one.column is not None and one.columns:
        message = f"[input] has column and columns, got {one.column!r} too; leave one of them out"
        raise ValueError(message)
    if one.file is None:
        for name, value in (
            ("column", one.column),
            ("columns", one.columns or None),
            ("where", one.where),
            ("format", one.form),
            ("batch_size", one.batch_size),
        ):
            if value is not None:
                message = (
                    f"input.{name} needs a table, got {value!r} without input.file; leave it out"
                )
                raise ValueError(message)


def _check_sweep(sweep: SweepPart) -> None:
    lengths = {len(values) for values in sweep.axes.values()}
    if sweep.is_zip and len(lengths) > 1:
        long = ", ".join(f"{name}: {len(values)}" for name, values in sweep.axes.items())
        message = f"axes of a zip must be of one length, got {long}; make them equal"
        raise ValueError(message)


def _refuse(name: str, value: object, what: str, how: str) -> ValueError:
    return ValueError(f"{name} must be {what}, got {value!r}; write it like {how}")


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _refuse(name, value, "text", f'{name.rpartition(".")[2]} = "..."')
    return value


def _texts(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise _refuse(name, value, "a list of text", '["one", "two"]')
    return tuple(value)


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _refuse(name, value, "true or false", "true")
    return value


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _refuse(name, value, "a whole number of 1 or more", "100")
    return value


def _keep(name: str, value: object) -> bool | tuple[str, ...]:
    return value if isinstance(value, bool) else _texts(name, value)


def _form(name: str, value: object) -> str:
    if not isinstance(value, str) or value not in FORM_NAMES:
        message = f"unknown form, got {name} = {value!r}; {nearest(str(value), list(FORM_NAMES))}"
        raise ValueError(message)
    return FORM_NAMES[value]


def _numbers(name: str, value: object) -> tuple[int, int, int]:
    numbers = value if isinstance(value, list) else [value]
    is_whole = all(isinstance(one, int) and not isinstance(one, bool) for one in numbers)
    if not is_whole or not 1 <= len(numbers) <= 3 or (len(numbers) == 3 and not numbers[2]):  # noqa: PLR2004  # start, stop and step
        raise _refuse(name, value, "a whole number, or start, stop and step", "[0, 100, 2]")
    span = range(*numbers)
    return span.start, span.stop, span.step


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _refuse(name, value, "a time", '"10s"')
    return duration(name, str(value))


def _setting(name: str, value: object) -> object:
    """Bring a setting into a form that `make_config` checks."""
    setting = name.removeprefix("run.")
    if setting in NOT_IN_CARDS:
        message = f"{name} cannot stand in a card, got {value!r}; leave it out"
        raise ValueError(message)
    if setting in TIMES:
        return _seconds(name, value)
    return tuple(value) if isinstance(value, list) else value


def _axis_or_mode(name: str, value: object) -> object:
    if name == "mode":
        if value not in ("product", "zip"):
            where = f"sweep.{name}"
            raise _refuse(where, value, "product or zip", 'mode = "product"')
        return value == "zip"
    return _axis(f"sweep.{name}", value)


def _axis(name: str, value: object) -> tuple[object, ...]:
    if isinstance(value, list) and value:
        return tuple(value)
    if isinstance(value, dict):
        _check_names("key", value, ["from", "to", "count", "scale"], f"{name}.")
        return tuple(_spaced(name, value))
    raise _refuse(name, value, "a list of values", "[0.1, 0.2] or {from = 0, to = 1, count = 5}")


def _spaced(name: str, value: Mapping[str, object]) -> list[float]:
    """Return values of equal distance, or of equal ratio, both ends included."""
    low, high, count = value.get("from"), value.get("to"), value.get("count")
    is_log = value.get("scale", "linear") == "log"
    is_known = value.get("scale", "linear") in ("linear", "log")
    if not (isinstance(low, int | float) and isinstance(high, int | float) and is_known):
        raise _refuse(name, dict(value), "from, to, count and perhaps scale", "{from = 1, to = 9}")
    many = _count(f"{name}.count", count)
    if is_log and not (low > 0 and high > 0):
        raise _refuse(name, dict(value), "above 0 for scale log", "{from = 0.1, to = 10}")
    parts = [place / (many - 1) if many > 1 else 0.0 for place in range(many)]
    if is_log:
        return [float(low * (high / low) ** part) for part in parts]
    return [float(low + (high - low) * part) for part in parts]


_Reader = Callable[[str, object], object]
_SECTIONS: Final[Mapping[str, Mapping[str, _Reader]]] = {
    "task": {"function": _text, "command": _texts, "keywords": _flag},
    "input": {
        "file": _text,
        "format": _form,
        "files": _text,
        "range": _numbers,
        "generator": _text,
        "column": _text,
        "columns": _texts,
        "limit": _count,
        "sample": _count,
        "where": _text,
        "batch_size": _count,
    },
    "output": {
        "file": _text,
        "keep": _keep,
        "replace": _flag,
        "unique": _texts,
        "shares": _texts,
        "flush_interval": _seconds,
    },
    "run": dict.fromkeys(sorted(Config._fields), _setting),
    "sweep": {},
}
"""Which keys there are, and how each is checked."""
_FIELDS: Final = {
    "task.keywords": "has_keywords",
    "input.format": "form",
    "input.range": "numbers",
    "output.replace": "is_replaced",
    "output.flush_interval": "flush_seconds",
}
"""Keys whose field has another name."""
