"""The options of `run`, from text to checked values; a mistake is one line naming the value."""

import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

INSTANCES_MAX: Final = 256
"""Instances that one command starts; more is most likely a slip."""
GRACE_SECONDS: Final = 10.0
"""Seconds that running tasks get after the deadline. Source: as Docker waits after SIGTERM."""
PROGRAM_VARIABLE: Final = "ADAPTIVE_EXEC_PROGRAM"
"""Environment variable by which run_card.sh says how it was called, for the lines that tell how to
start again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What `run` was asked for.

    Attributes:
        card: Name of the card; None with a function.
        count: How many tasks; negative is a random sample; None is all.
        seed: What the sample is drawn from; None draws one.
        is_once: One pass, then the end.
        is_afresh: Remove what earlier runs left.
        has_timings: A line per task, and a summary.
        instances: How many run at once.
        instance: Which of several this one is, from 1; None when it is alone.
        function: Reference of the user's function.
        table: The user's input.
        column: The column that is the function's argument.
        output: Where the rows go, instead of the run's folder.
        is_forced: Replace an output that is there.
        runs: Folder of all runs.
        events: File that gets a line of JSON per decision.
        deadline_seconds: Seconds until nothing more is begun.
        grace_seconds: Seconds from then for what runs.
        is_verbose: Show what the library logs at INFO.
        settings: Settings of the executor, by name.
        arguments: The command line after `run`.
    """

    card: str | None
    count: int | None
    seed: int | None
    is_once: bool
    is_afresh: bool
    has_timings: bool
    instances: int
    instance: int | None
    function: str | None
    table: Path | None
    column: str | None
    output: Path | None
    is_forced: bool
    runs: Path
    events: Path | None
    deadline_seconds: float | None
    grace_seconds: float
    is_verbose: bool
    settings: Mapping[str, object]
    arguments: tuple[str, ...]


def make_options(given: Mapping[str, object], arguments: tuple[str, ...]) -> RunOptions:
    """Read and check what the command line gave.

    Args:
        given: Texts and flags by the names of the command's parameters; None is not given.
        arguments: The command line after `run`.

    Returns:
        The options.

    Raises:
        ValueError: A text is no number, a number is out of range, or two options contradict each
            other.
    """
    texts = {name: value for name, value in given.items() if isinstance(value, str)}
    flags = {name: value for name, value in given.items() if isinstance(value, bool)}
    options = RunOptions(
        card=texts.get("card"),
        count=whole("--count", texts.get("count")),
        seed=whole("--seed", texts.get("seed"), least=0),
        is_once=flags["once"] or "function" in texts or "output" in texts,
        is_afresh=flags["afresh"],
        has_timings=flags["timings"],
        instances=_instances(texts.get("instances")),
        instance=whole("--instance", texts.get("instance"), least=1),
        function=texts.get("function"),
        table=_path(texts.get("table")),
        column=texts.get("column"),
        output=_path(texts.get("output")),
        is_forced=flags["force"],
        runs=Path(texts["runs"]),
        events=_path(texts.get("events")),
        deadline_seconds=seconds("--deadline", texts.get("deadline")),
        grace_seconds=seconds("--grace", texts.get("grace")) or GRACE_SECONDS,
        is_verbose=flags["verbose"],
        settings=settings_from(texts, isolate=flags["isolate"]),
        arguments=arguments,
    )
    _check_together(options)
    return options


def _check_together(options: RunOptions) -> None:
    _check_function(options)
    if options.instances > 1 and options.output is not None:
        message = (
            f"--output would be written {options.instances} times, got {str(options.output)!r} "
            f"with --instances {options.instances}; leave one of them out"
        )
        raise ValueError(message)
    if options.instances > 1 and os.name == "nt":
        message = f"--instances needs POSIX, got {options.instances}; start them by hand"
        raise ValueError(message)
    if options.is_forced and options.output is None:
        message = "--force has nothing to replace, got no --output; leave it out"
        raise ValueError(message)


def _check_function(options: RunOptions) -> None:
    if options.function is None:
        for name, value in (("--input", options.table), ("--column", options.column)):
            if value is not None:
                message = (
                    f"{name} needs --function, got {str(value)!r}; add --function mymodule:work"
                )
                raise ValueError(message)
        return
    if options.table is None:
        message = f"--function needs --input, got {options.function!r}; add --input FILE"
        raise ValueError(message)
    if options.card is not None:
        message = (
            f"a card has its own function, got card {options.card!r} and --function "
            f"{options.function!r}; leave one out"
        )
        raise ValueError(message)


def whole(name: str, text: str | None, *, least: int | None = None) -> int | None:
    """Read a whole number.

    Args:
        name: The option, for the message.
        text: What was given; None stays None.
        least: The smallest number allowed; None allows all.

    Returns:
        The number.

    Raises:
        ValueError: It is not a whole number, or too small.
    """
    if text is None:
        return None
    try:
        number = int(text)
    except ValueError:
        message = f"{name} must be a whole number, got {text!r}; write it like {name} 3"
        raise ValueError(message) from None
    if least is not None and number < least:
        message = f"{name} must be {least} or more, got {number}; leave it out for the default"
        raise ValueError(message)
    return number


def seconds(name: str, text: str | None) -> float | None:
    """Read seconds above 0.

    Args:
        name: The option, for the message.
        text: What was given; None stays None.

    Returns:
        Seconds.

    Raises:
        ValueError: It is not a number above 0.
    """
    if text is None:
        return None
    number = _number(text)
    if number is None or not 0 < number < float("inf"):
        message = (
            f"{name} must be a number of seconds above 0, got {text!r}; write it like {name} 2.5"
        )
        raise ValueError(message)
    return number


def settings_from(texts: Mapping[str, str], *, isolate: bool) -> dict[str, object]:
    """Read the settings of the executor that were given as text.

    Args:
        texts: Text by the option's name; options that are no settings are left alone.
        isolate: Whether `--isolate` was given.

    Returns:
        Values by name, for `make_config` to check.

    Raises:
        ValueError: A number is none.
    """
    settings: dict[str, object] = {"isolate": True} if isolate else {}
    for name in texts.keys() & _READERS.keys():
        settings[name] = _READERS[name](f"--{name.replace('_', '-')}", texts[name])
    return settings


def program() -> str:
    """Return how this program was called, as far as `run`."""
    return os.environ.get(PROGRAM_VARIABLE, "adaptive-exec run")


def start_again(options: RunOptions, seed: int | None) -> str:
    """Return the command that starts the same run again.

    Args:
        options: The options.
        seed: The seed that was drawn, where one was.
    """
    added = [] if seed is None or options.seed is not None else ["--seed", str(seed)]
    own = options.arguments[2:] if options.instance is not None else options.arguments
    return f"{program()} {shlex.join([*own, *added])}".rstrip()


def _levels(_name: str, text: str) -> object:
    if text.strip() == "auto":
        return "auto"
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _size(_name: str, text: str) -> object:
    """Read a number as a number: `70` is a percentage, as in Python; with a unit it stays text."""
    number = _number(text)
    return text if number is None else number


def _text(_name: str, text: str) -> object:
    return text


_READERS: Final[Mapping[str, Callable[[str, str], object]]] = {
    "levels": _levels,
    "max_workers": whole,
    "max_in_flight": whole,
    "retries": whole,
    "max_tasks_per_worker": whole,
    "inner_threads": whole,
    "task_timeout": seconds,
    "target_memory": _size,
    "warn_memory": _size,
    "critical_memory": _size,
    "task_memory": _size,
    "max_worker_age": seconds,
    "max_worker_memory": _size,
    "start": _text,
}
"""How the text of each setting is read; checking the values is left to `make_config`."""


def _instances(text: str | None) -> int:
    number = whole("--instances", text, least=1)
    if number is None:
        return 1
    if number > INSTANCES_MAX:
        message = f"--instances must be {INSTANCES_MAX} or less, got {number}; start more by hand"
        raise ValueError(message)
    return number


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
