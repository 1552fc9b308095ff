"""The options of `run`, from text to checked values; a mistake is one line naming the value."""

import os
import re
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from adaptive_exec.cards.card import DEFAULT_CARD
from adaptive_exec.cards.card_file import card_name, is_card_file
from adaptive_exec.cards.durations import duration, number_of
from adaptive_exec.cards.folders import is_run_name
from adaptive_exec.cards.prepared import folder_name
from adaptive_exec.config import parse_size

INSTANCES_MAX: Final = 256
"""Instances that one command starts; more is most likely a slip."""
GRACE_SECONDS: Final = 8.0
"""Seconds that running tasks get after the deadline or SIGTERM. Source: Docker waits 10 s after
SIGTERM; two are left to write what is done."""
JOB_END_VARIABLE: Final = "SLURM_JOB_END_TIME"
"""Environment variable with the end of the surrounding job, in seconds since 1970. Source:
sbatch(1), Slurm 22.05."""
JOB_SECONDS_MIN: Final = 0.5
"""Seconds that tasks are begun in a job that is about to end."""
JOB_SECONDS_MAX: Final = 366 * 86_400.0
"""Seconds; a job whose end is farther away has none."""
SIZE_BYTES_MAX: Final = 2**52
"""Bytes; 4 PiB, the most that a machine can address. Source: x86-64, physical addresses."""
COUNT_MAX: Final = 10**12
"""The largest number of tasks, workers, chunks or tries that is no slip."""
SHARED_VARIABLE: Final = "ADAPTIVE_EXEC_SHARED"
"""Environment variable that names the journal over which instances split their tasks."""
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
        is_shared: The instances split the tasks among them.
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
        resumed: The run to go on with; `""` for the latest that is not finished; None for a new
            one.
        retries_failed: Run again what failed in the run that is gone on with.
        accepts_changed: Use its results although the function's source has changed.
        has_journal: Keep finished results in a journal.
        settings: Settings of the executor, by name.
        changes: What of a card file is set otherwise, as `section.key=value`.
        command: A program and its arguments, with `{column}` places; empty is none.
        results: A folder for all that commands print.
        halt_after: Failures after which no task is begun; None is never.
        keeps_order: What commands print is printed in the order of the input.
        is_dry: Commands are printed, not run.
        ends_with_job: The deadline is that of the surrounding job.
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
    is_shared: bool
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
    resumed: str | None
    retries_failed: bool
    accepts_changed: bool
    has_journal: bool
    settings: Mapping[str, object]
    changes: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    results: Path | None = None
    halt_after: int | None = None
    keeps_order: bool = False
    is_dry: bool = False
    ends_with_job: bool = False
    arguments: tuple[str, ...]

    @property
    def name(self) -> str:
        """What its runs are called, which is the name of their folder."""
        if self.command:
            return Path(self.command[0]).name.strip(".") or "command"
        if self.function is not None:
            return folder_name(self.function)
        if self.card is not None and is_card_file(self.card):
            return card_name(Path(self.card))
        return self.card or DEFAULT_CARD


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
    command = _command(arguments)
    is_whole = (
        command or "function" in texts or "output" in texts or is_card_file(texts.get("card"))
    )
    grace_seconds = seconds("--grace", texts.get("grace")) or GRACE_SECONDS
    of_job = None if "deadline" in texts else _job_seconds(grace_seconds)
    options = RunOptions(
        card=texts.get("card"),
        count=whole("--count", texts.get("count")),
        seed=_seed("--seed", texts.get("seed")),
        is_once=flags["once"] or flags["shared"] or bool(is_whole),
        is_afresh=flags["afresh"],
        has_timings=flags["timings"],
        instances=_instances(texts.get("instances")),
        instance=whole("--instance", texts.get("instance"), least=1),
        is_shared=flags["shared"],
        function=texts.get("function"),
        table=_path(texts.get("table")),
        column=texts.get("column"),
        output=_path(texts.get("output")),
        is_forced=flags["force"],
        runs=Path(texts["runs"]),
        events=_path(texts.get("events")),
        deadline_seconds=seconds("--deadline", texts.get("deadline")) or of_job,
        grace_seconds=grace_seconds,
        ends_with_job=of_job is not None,
        is_verbose=flags["verbose"],
        resumed=_resumed(texts.get("resume"), retries_failed=flags["retry_failed"]),
        retries_failed=flags["retry_failed"],
        accepts_changed=flags["accept_changed"],
        has_journal=not flags["no_journal"],
        settings=settings_from(texts, [name for name in _SWITCHES if flags[name]]),
        changes=_changes(given.get("changes"), texts),
        command=command,
        results=_path(texts.get("results")),
        halt_after=whole("--halt-after", texts.get("halt_after"), least=1),
        keeps_order=flags["keep_order"],
        is_dry=flags["dry_run"],
        arguments=arguments,
    )
    check_together(options)
    return options


def _job_seconds(grace_seconds: float) -> float | None:
    """Return for how long tasks are begun, so that the grace ends before the surrounding job does.

    An end that has passed is that of a job which this command has outlived.
    """
    try:
        left = float(os.environ.get(JOB_END_VARIABLE, "")) - time.time()
    except ValueError:
        return None
    return max(left - grace_seconds, JOB_SECONDS_MIN) if 0 < left < JOB_SECONDS_MAX else None


def _command(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Return what follows `--`."""
    own, command = split_command(arguments)
    if len(own) < len(arguments) and not command:
        message = "-- needs a command, got nothing after it; write it like -- wc -l {path}"
        raise ValueError(message)
    return tuple(command)


def split_command(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split a command line at `--`.

    >>> split_command(["--input", "x.csv", "--", "wc", "--", "a"])
    (['--input', 'x.csv'], ['wc', '--', 'a'])
    """
    at = list(words).index("--") if "--" in words else len(words)
    return list(words[:at]), list(words[at + 1 :])


def join_command(own: Iterable[str], command: Sequence[str]) -> list[str]:
    """Join what `split_command` has split."""
    return [*own, "--", *command] if command else [*own]


def _changes(given: object, texts: Mapping[str, str]) -> tuple[str, ...]:
    """Return what of a card is set otherwise, also that with options of its own."""
    named = {"batch_size": "input.batch_size", "flush_interval": "output.flush_interval"}
    changes = [str(change) for change in given] if isinstance(given, list) else []
    more = [f"{key}={texts[name]}" for name, key in named.items() if name in texts]
    return (*changes, *more)


def check_together(options: RunOptions) -> None:
    """Refuse options that contradict each other.

    Raises:
        ValueError: They do; the message names both.
    """
    _check_function(options)
    _check_commands(options)
    if options.instances > 1 and options.output is not None:
        message = (
            f"--output would be written {options.instances} times, got {str(options.output)!r} "
            f"with --instances {options.instances}; leave one of them out"
        )
        raise ValueError(message)
    if options.instances > 1 and os.name == "nt":
        message = f"--instances needs POSIX, got {options.instances}; start them by hand"
        raise ValueError(message)
    _check_resumed(options)
    _check_shared(options)
    if options.is_forced and options.output is None and not is_card_file(options.card):
        message = "--force has nothing to replace, got no --output; leave it out"
        raise ValueError(message)


def _check_commands(options: RunOptions) -> None:
    if options.changes and not (options.command or is_card_file(options.card)):
        message = (
            f"a change needs a card file, got {options.changes[0]!r}; name a card like mine.toml, "
            "or leave it out"
        )
        raise ValueError(message)
    if options.instances > 1 and str(options.table) == "-":
        message = f"standard input is read once, got --instances {options.instances}; give a file"
        raise ValueError(message)
    if options.command or is_card_file(options.card):
        return
    for name, is_given in (
        ("--results", options.results is not None),
        ("--keep-order", options.keeps_order),
        ("--dry-run", options.is_dry),
    ):
        if is_given:
            message = f"{name} needs a command, got none; add -- COMMAND at the end"
            raise ValueError(message)


def _check_shared(options: RunOptions) -> None:
    if not options.is_shared:
        return
    if options.instances < 2 and options.instance is None:  # noqa: PLR2004  # several
        message = f"--shared needs several instances, got {options.instances}; add -n 8"
        raise ValueError(message)
    if not options.has_journal:
        message = (
            "--shared splits tasks over a journal, got --no-journal too; leave one of them out"
        )
        raise ValueError(message)


def _check_resumed(options: RunOptions) -> None:
    if options.resumed is None:
        return
    for name, is_given in (
        ("--afresh", options.is_afresh),
        ("--no-journal", not options.has_journal),
        ("--instances", options.instances > 1),
    ):
        if is_given:
            message = f"--resume goes on with one run, got {name} too; leave one of them out"
            raise ValueError(message)
    if options.resumed and options.output is not None:
        message = (
            f"a run with --output is gone on with by that, got --resume {options.resumed!r} too; "
            "give --resume without a name"
        )
        raise ValueError(message)


def _resumed(text: str | None, *, retries_failed: bool) -> str | None:
    return "" if text is None and retries_failed else text


def join_resume(arguments: Sequence[str]) -> list[str]:
    """Join `--resume` with the run that follows it, if one does: it may stand alone.

    >>> join_resume(["--resume", "stdlib"])
    ['--resume=', 'stdlib']
    >>> join_resume(["stdlib", "--resume", "20240229T120000-4711", "-o"])
    ['stdlib', '--resume=20240229T120000-4711', '-o']
    """
    words: list[str] = []
    own, _ = split_command(arguments)
    for word in own:
        if words and words[-1] == "--resume=" and is_run_name(word):
            words[-1] += word
        else:
            words.append("--resume=" if word == "--resume" else word)
    return [*words, *arguments[len(own) :]]


def _check_function(options: RunOptions) -> None:
    if options.command:
        _check_command(options)
        return
    if options.function is None:
        for name, value in (("--input", options.table), ("--column", options.column)):
            if value is not None:
                message = (
                    f"{name} needs --function, got {str(value)!r}; add --function mymodule:work, "
                    "or -- COMMAND"
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


def _check_command(options: RunOptions) -> None:
    for name, value in (("card", options.card), ("--function", options.function)):
        if value is not None:
            message = f"a command stands alone, got {name} {value!r} too; leave one of them out"
            raise ValueError(message)
    if options.table is None:
        message = (
            f"a command needs --input, got {options.command[0]!r}; add --input FILE, or "
            "--input - for standard input"
        )
        raise ValueError(message)


def whole(
    name: str, text: str | None, *, least: int | None = None, most: int | None = COUNT_MAX
) -> int | None:
    """Read a whole number.

    Args:
        name: The option, for the message.
        text: What was given; None stays None.
        least: The smallest number allowed; None allows all.
        most: The largest; None allows all.

    Returns:
        The number.

    Raises:
        ValueError: It is not a whole number, or out of range.
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
    if most is not None and abs(number) > most:
        message = f"{name} must be {most} or less, got {number}; leave it out for the default"
        raise ValueError(message)
    return number


def seconds(name: str, text: str | None) -> float | None:
    """Read a time above 0, as `duration`; None stays None."""
    return None if text is None else duration(name, text, what="a number of seconds")


def settings_from(texts: Mapping[str, str], switches: Iterable[str]) -> dict[str, object]:
    """Read the settings of the executor that were given as text.

    Args:
        texts: Text by the option's name; options that are no settings are left alone.
        switches: Names of the settings that were switched on.

    Returns:
        Values by name, for `make_config` to check.

    Raises:
        ValueError: A number is none.
    """
    settings: dict[str, object] = dict.fromkeys(switches, True)
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
    given = options.arguments[2:] if options.instance is not None else options.arguments
    own, command = split_command(given)
    return f"{program()} {shlex.join(join_command([*own, *added], command))}".rstrip()


def resume_command(options: RunOptions, seed: int | None, run: str) -> str:
    """Return the command that goes on with a run.

    Args:
        options: The options.
        seed: The seed that was drawn, where one was.
        run: Name of the run's folder; `""` where the output says which it is.
    """
    words = start_again(options, seed).removeprefix(program()).strip()
    given, command = split_command(shlex.split(words))
    own = _without_instances(_without_afresh(given))
    kept = [word for word in own if word.partition("=")[0] != "--resume"]
    kept.append(f"--resume={run}" if run else "--resume")
    return f"{program()} {shlex.join(join_command(kept, command))}"


def _without_afresh(words: list[str]) -> Iterator[str]:
    """Leave out what would remove the run that is to be gone on with."""
    for word in words:
        if word in {"-i", "--afresh"}:
            continue
        is_bundle = re.fullmatch(r"-[oiTv]*[cnt]?", word) is not None and "i" in word
        yield word.replace("i", "") if is_bundle else word


def _without_instances(words: Iterator[str]) -> Iterator[str]:
    """Leave out how many instances there were: each has a run of its own."""
    for word in words:
        if word in {"-n", "--instances"}:
            next(words, None)
        elif not re.match(r"-n\d|--instances=", word):
            yield word


def _levels(_name: str, text: str) -> object:
    if text.strip() == "auto":
        return "auto"
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _seed(name: str, text: str | None) -> int | None:
    return whole(name, text, least=0, most=None)


def _size(name: str, text: str) -> object:
    """Read a number as a number: `70` is a percentage, as in Python; with a unit it stays text."""
    number = number_of(text)
    setting = name.removeprefix("--").replace("-", "_")
    if number is not None and 1 < number < 2:  # noqa: PLR2004  # what 100 % and 200 % are as fractions
        message = (
            f"{setting} would be {number:g} % of the limit, got {text!r}; "
            f"write {number:g}% for that, a fraction up to 1, or a size like 2GiB"
        )
        raise ValueError(message)
    value = text if number is None else number
    if parse_size(setting, value, limit_bytes=1) > SIZE_BYTES_MAX:
        message = f"{setting} is beyond what a machine can have, got {text!r}; write it like 2GiB"
        raise ValueError(message)
    return value


def _text(_name: str, text: str) -> object:
    return text


def _text_or_none(_name: str, text: str) -> object:
    return None if text == "none" else text


_SWITCHES: Final = ("count_swap", "inline", "isolate")
"""Settings that an option without a value switches on."""
_READERS: Final[Mapping[str, Callable[[str, str], object]]] = {
    "levels": _levels,
    "max_workers": whole,
    "max_in_flight": whole,
    "retries": whole,
    "max_tasks_per_worker": whole,
    "inner_threads": whole,
    "seed": _seed,
    "task_timeout": seconds,
    "target_memory": _size,
    "warn_memory": _size,
    "critical_memory": _size,
    "task_memory": _size,
    "wall": _text_or_none,
    "max_worker_age": seconds,
    "max_worker_memory": _size,
    "start": _text,
    "fallback": _text,
    "order": _text,
    "cluster": _text,
    "cluster_wait": seconds,
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
