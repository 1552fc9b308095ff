"""One command `run`: check everything, then pass after pass, each into its own folder.

`prepare` finds every mistake of the caller's before any worker starts; `run_prepared` does the work
and says how it ended. Which level runs what is the executor's business.
"""

import logging
import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from adaptive_exec.cards.card import DEFAULT_CARD, find_card
from adaptive_exec.cards.card_file import FLUSH_SECONDS, CardFile, is_card_file, read_card
from adaptive_exec.cards.filed import batch_of_file, isolated
from adaptive_exec.cards.folders import (
    ASIDE,
    FolderError,
    open_folder,
    reopen_folder,
    set_folders_aside,
)
from adaptive_exec.cards.outputs import can_write_parquet, check_output, write_csv, write_table
from adaptive_exec.cards.prepared import CardBatch, batch_of_card, batch_of_table
from adaptive_exec.cards.sample import SampleChoice, draw_seed
from adaptive_exec.cards.spool import Spool
from adaptive_exec.cards.value_shares import Shares
from adaptive_exec.cards.writers import LivePart, part_of
from adaptive_exec.cli import exits
from adaptive_exec.cli.carded import Printer, RowSinks, card_of_command, print_commands, with_card
from adaptive_exec.cli.event_lines import check_events, events_to
from adaptive_exec.cli.exits import say
from adaptive_exec.cli.log_lines import logging_to_stderr
from adaptive_exec.cli.options import (
    JOB_END_VARIABLE,
    PROGRAM_VARIABLE,
    SHARED_VARIABLE,
    RunOptions,
    check_together,
    join_command,
    program,
    split_command,
    start_again,
)
from adaptive_exec.cli.resume import (
    CSV_NAME,
    JOURNAL_NAME,
    PARQUET_NAME,
    PARTIAL_NAME,
    REPORT_NAME,
    about_run,
    check_free,
    journal_beside,
    take_up,
    unfinished_run,
)
from adaptive_exec.cli.summary import Summary
from adaptive_exec.cli.tally import Feed, Tally, TallyLine, end_lines, row_of, timing_line
from adaptive_exec.config import Journal, make_config
from adaptive_exec.core.report import RunReport
from adaptive_exec.display import Display, note, time_text
from adaptive_exec.errors import AdaptiveExecError, JournalError
from adaptive_exec.executor import AdaptiveExecutor, adaptive_executor
from adaptive_exec.journal.about import begin, end
from adaptive_exec.journal.checks import look_at, remove_journal
from adaptive_exec.journal.contents import count_kept
from adaptive_exec.journal.mounts import file_system_of, is_network

PASS_SECONDS_MIN: Final = 1.0
"""Seconds from one pass to the next, so that a card of a few quick tasks does not fill the disk
with folders."""
CLOSE_SECONDS: Final = 0.8
"""Seconds a stopped pass gives its workers to end; what then still runs ends with this process."""
PARTIAL_SECONDS: Final = 0.5
"""Seconds of writing the rows of a stopped pass: with all else a stop must take less than two."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A command that was checked.

    Attributes:
        options: What was asked for.
        batch: The first pass's batch.
        seed: What its sample was drawn from.
        card: The card file, or what stands for one; None without.
    """

    options: RunOptions
    batch: CardBatch
    seed: int
    card: CardFile | None = None


@dataclass(frozen=True, slots=True)
class RunPlace:
    """Where a pass writes.

    Attributes:
        folder: On the disk that the tables will be on.
        tables: The files to write.
        is_own: Whether the folder belongs to this pass alone.
        journal: Where finished results are kept; None for nowhere.
    """

    folder: Path
    tables: tuple[Path, ...]
    is_own: bool
    journal: Path | None


@dataclass(slots=True)
class Pass:
    """One pass over a batch, and what has become of it so far.

    Attributes:
        options: What was asked for.
        batch: What is run.
        seed: What its sample was drawn from.
        deadline: When nothing more is to be begun.
        summary: Where all passes are summed up.
        tally: The counts of this one.
        report: What the executor says of it.
        is_cut_off: Whether the deadline left tasks without a begin.
        is_halting: Whether so many have failed that no task is begun.
        flush_seconds: How long a row may wait before it is in the output's part.
        again: The command that goes on with it, or starts it again where nothing is kept.
        shares: Counts values of columns, where the card asks for that.
    """

    options: RunOptions
    batch: CardBatch
    seed: int
    deadline: exits.Deadline
    summary: Summary
    tally: Tally
    report: RunReport = field(default_factory=RunReport)
    is_cut_off: bool = False
    is_halting: bool = False
    flush_seconds: float = FLUSH_SECONDS
    again: str = ""
    shares: Shares | None = None

    def tell(self, line: str) -> None:
        """Say something of the run; where commands print, not among what they print."""
        (note if self.options.command else say)(line)

    def until_cut_off(self, outcomes: Iterator[TallyLine]) -> Iterator[TallyLine]:
        """Yield outcomes to the end, or until the deadline has left nothing that runs."""
        try:
            yield from outcomes
        except CancelledError:
            if not (self.deadline.is_over or self.is_halting):
                raise
            self.is_cut_off = True

    def keep_report(self, executor: AdaptiveExecutor) -> None:
        """Take over what the executor has to say at its end."""
        self.report = executor.report

    @property
    def code(self) -> int:
        """The exit code where tasks were left without a begin, else 0."""
        if not self.is_cut_off:
            return 0
        return exits.SOME_FAILED if self.is_halting else self.deadline.code

    def forget_deadline(self) -> None:
        """Leave nothing to be let finish."""
        self.deadline.let_finish = None

    def sum_up(self) -> None:
        """Enter this pass in the summary of all."""
        if not self.tally.wall_seconds:
            self.tally.stop()
        self.summary.add(self.tally, self.batch.total, self.report)
        self.summary.write()


def prepare(options: RunOptions) -> Prepared:
    """Check everything that can be checked before any work.

    Args:
        options: What was asked for.

    Returns:
        The command, ready to run.

    Raises:
        ValueError: A mistake of the caller's; the message names it and the way out.
        TypeError: The same, of the wrong kind.
    """
    if options.function is not None:
        sys.path.insert(0, str(Path.cwd()))  # the user's module lies where the user is
    card = _card_of(options)
    if card is not None:
        options = with_card(options, card)
        check_together(options)
    else:
        make_config(options.settings)
    if options.output is not None:
        check_output(options.output, force=options.is_forced)
    options = take_up(options)
    check_free(options)
    if options.events is not None:
        check_events(options.events)
    seed = draw_seed() if options.seed is None else options.seed
    batch = _make_batch(options, seed, card)
    if card is not None:
        make_config(isolated({**batch.settings, **options.settings}))
    return Prepared(options, batch, seed, card)


def _card_of(options: RunOptions) -> CardFile | None:
    if options.command:
        return card_of_command(options)
    if options.card is not None and is_card_file(options.card):
        return read_card(Path(options.card), options.changes)
    return None


def run_prepared(prepared: Prepared) -> int:
    """Run a checked command to its end.

    Args:
        prepared: The command.

    Returns:
        The exit code.
    """
    options = prepared.options
    if options.is_dry:
        return print_commands(prepared.batch)
    if options.instance is not None:
        from adaptive_exec.cli.instances import end_with_parent

        end_with_parent()
    severity = logging.INFO if options.is_verbose else logging.WARNING
    with logging_to_stderr(severity), _stops(options) as deadline:
        try:
            if options.is_afresh and options.instance is None:
                _start_afresh(options, prepared.batch.name)
            if options.instances > 1 and options.instance is None:
                return _run_crowd(prepared)
            code = _run_passes(prepared, deadline)
            _say_more(options)
            return code
        except exits.Stopped as stop:  # between two passes; within one it is said how far it came
            note(f"stopped; start again with: {start_again(options, None)}")
            return stop.code
        except (FolderError, AdaptiveExecError, OSError) as error:
            note(f"adaptive-exec: {error}")
            is_usage = isinstance(error, FolderError | JournalError)
            return exits.USAGE if is_usage else exits.NO_OUTCOME


def _say_more(options: RunOptions) -> None:
    """Say where the command is, to whom run_card.sh has spared to install it."""
    command = Path(sys.executable).with_name("adaptive-exec")
    if PROGRAM_VARIABLE in os.environ and options.instance is None:
        path = command if command.exists() else program()
        note(f"more: {path} watch | doctor | journal FILE")


def _start_afresh(options: RunOptions, card: str) -> None:
    moved = set_folders_aside(options.runs, card)
    if moved:
        note(f"{card}: {moved} earlier runs set aside in {options.runs / card / ASIDE}/")


def _run_crowd(prepared: Prepared) -> int:
    """Start several instances; where they are to split the tasks, over one sample and journal."""
    from adaptive_exec.cli.instances import run_instances

    options, card = prepared.options, prepared.batch.name
    if not options.is_shared:
        return run_instances(options)
    with ExitStack() as stack:
        folder = open_folder(options.runs, card)
        stack.callback(folder.release)
        journal = folder.path / JOURNAL_NAME
        begin(journal, about_run(options, card, prepared.seed, folder.path.name))
        own, command = split_command(options.arguments)
        if "--seed" not in own:
            own += ["--seed", str(prepared.seed)]
        arguments = tuple(join_command(own, command))
        code = run_instances(replace(options, arguments=arguments), {SHARED_VARIABLE: str(journal)})
        if code in {exits.ALL_HAVE_VALUES, exits.SOME_FAILED}:
            end(journal, int(code == exits.SOME_FAILED))
    return code


def _stops(options: RunOptions) -> AbstractContextManager[exits.Deadline]:
    """Watch for signals and the deadline; that of several instances is each one's own business."""
    has_crowd = options.instances > 1 and options.instance is None
    if options.ends_with_job and options.instance is None:
        left = time_text(options.deadline_seconds or 0.0)
        note(f"{JOB_END_VARIABLE} is the deadline: in {left} no more tasks are begun")
    return exits.stops(None if has_crowd else options.deadline_seconds, options.grace_seconds)


def _run_passes(prepared: Prepared, deadline: exits.Deadline) -> int:
    options, batch, seed = prepared.options, prepared.batch, prepared.seed
    summary = Summary()
    while True:
        began = time.monotonic()
        now = Pass(options, batch, seed, deadline, summary, Tally())
        if prepared.card is not None:
            now.flush_seconds = prepared.card.output.flush_seconds
        now.shares = Shares(batch.shares) if batch.shares else None
        code = _run_pass(now)
        if options.is_once or deadline.is_over:
            return code
        time.sleep(max(0.0, began + PASS_SECONDS_MIN - time.monotonic()))
        options = replace(options, resumed=None)
        seed = draw_seed() if options.seed is None else options.seed
        batch = _make_batch(options, seed, prepared.card)


def _run_pass(now: Pass) -> int:
    batch = now.batch
    with ExitStack() as stack:
        place = _open_place(now, stack)
        spool = stack.enter_context(Spool(place.folder, batch.unique))
        _say_begin(now, place)
        try:
            _work(now, spool, place)
        except KeyboardInterrupt as stop:
            code = stop.code if isinstance(stop, exits.Stopped) else exits.INTERRUPT
        except JournalError:
            raise  # it says itself how to go on
        except Exception:
            _say_stopped(now)
            raise
        else:
            code = now.code
        now.sum_up()
        if code:
            _say_stopped(now)
            _say_part(place, batch)
            _write_partial(place, batch, spool, seconds=None if now.is_cut_off else PARTIAL_SECONDS)
            exits.leave(code)
        try:
            _write(place, batch, spool, now.report)
        except OSError:
            _say_stopped(now)
            raise
        _note_end(now, place)
        return _say_end(now, place)


def _say_begin(now: Pass, place: RunPlace) -> None:
    note(f"{now.batch.name}: loaded {now.batch.loaded}")
    if now.batch.total is not None:
        note(f"{now.batch.name}: {_remaining(now, place, now.batch.total)}")


def _remaining(now: Pass, place: RunPlace, total: int) -> str:
    """Say how many tasks are to be run, and on how many workers at most where that is given."""
    is_kept = now.options.resumed is not None and place.journal is not None
    known = count_kept(place.journal) if is_kept and place.journal else 0
    most = {**now.batch.settings, **now.options.settings}.get("max_workers")
    workers = "" if most is None else f", Using {most} parallel workers"
    return f"Processing {max(0, total - known)} remaining{workers}"


def _open_place(now: Pass, stack: ExitStack) -> RunPlace:
    options, batch = now.options, now.batch
    if options.output is not None:
        target = options.output.resolve()
        journal = _open_journal(now, journal_beside(target), "")
        return RunPlace(folder=target.parent, tables=(target,), is_own=False, journal=journal)
    if options.resumed is None:
        _tell_of_unfinished(options, batch.name)
        folder = open_folder(options.runs, batch.name)
    else:
        folder = reopen_folder(Path(options.resumed))
    stack.callback(folder.release)
    now.tell(f"run folder: {folder.path}/")
    journal = _open_journal(now, folder.path / JOURNAL_NAME, folder.path.name)
    names = (CSV_NAME, PARQUET_NAME) if can_write_parquet() else (CSV_NAME,)
    tables = tuple(folder.path / name for name in names)
    return RunPlace(folder.path, tables, is_own=True, journal=journal)


def _tell_of_unfinished(options: RunOptions, card: str) -> None:
    """Say how to go on with what broke off without a word: killed, or the host went down."""
    if not options.has_journal or options.instance is not None:
        return
    found = unfinished_run(options.runs, card)
    if found is not None:
        folder, about = found
        note(f"{card}: {folder.name} was not finished; resume with: {about.command}")


def _open_journal(now: Pass, path: Path, run: str) -> Path | None:
    """Make or take up the journal of a pass."""
    options, is_sample = now.options, (now.options.count or 0) < 0
    now.again = f"start again with: {start_again(options, now.seed if is_sample else None)}"
    if not options.has_journal:
        return None
    if options.is_shared:  # made and ended by who started the instances
        return Path(os.environ[SHARED_VARIABLE])
    if options.resumed is None and look_at(path):  # of a finished run, or to be begun afresh
        remove_journal(path)
    about = about_run(options, now.batch.name, now.seed, run)
    begin(path, about)
    kind = file_system_of(path.parent)
    if is_network(kind):
        note(f"{now.batch.name}: {path.parent} is on {kind}, the journal does without a shared log")
    now.again = f"resume with: {about.command}"
    return path


def _note_end(now: Pass, place: RunPlace) -> None:
    """Note in the journal that nothing is left to go on with."""
    total, tally = now.batch.total, now.tally
    is_whole = total is None or tally.done >= total
    if place.journal is None or tally.broken is not None or not is_whole or now.options.is_shared:
        return
    if place.is_own:
        (place.folder / PARTIAL_NAME).unlink(missing_ok=True)
    with suppress(JournalError):  # the rows are written; a later resume finds all results
        end(place.journal, tally.failed)


def _journal_setting(options: RunOptions, path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    return {"journal": Journal(str(path), options.retries_failed, options.accepts_changed)}


def _work(now: Pass, spool: Spool, place: RunPlace) -> None:
    """Run the batch; every outcome becomes a row as it comes."""
    options, batch, tally = now.options, now.batch, now.tally
    settings = _settings(now, place)
    feed = Feed(batch)
    with ExitStack() as stack:
        rows = RowSinks(spool, shares=now.shares)
        if options.command:
            rows.printer = Printer(spool, keeps_order=options.keeps_order)
        if not place.is_own:
            part = LivePart(place.tables[0], batch.key, now.flush_seconds)
            rows.part = stack.enter_context(part)
        if options.events is not None:
            settings["on_event"] = stack.enter_context(events_to(options.events))
        executor = adaptive_executor(tasks=batch.total, **settings)
        stack.callback(now.keep_report, executor)
        stack.push(_closing(executor))
        outcomes = executor.outcomes(batch.function, feed)
        display = stack.enter_context(Display(batch.name, batch.total, executor.progress_now))
        now.deadline.let_finish = partial(executor.shutdown, wait=False, cancel_futures=True)
        stack.callback(now.forget_deadline)
        for outcome in now.until_cut_off(outcomes):
            number, label, kept = feed.close_task(outcome.index)
            tally.add(outcome, label)
            rows.add(outcome.index, row_of(batch, number, label, kept, outcome))
            if options.has_timings:
                now.tell(timing_line(batch, number, label, outcome))
            display.outcome()
            _halt_if_due(now)
    tally.stop()
    tally.broken = feed.broken


def _settings(now: Pass, place: RunPlace) -> dict[str, Any]:
    options = now.options
    own = _journal_setting(options, place.journal)
    settings = {**own, **now.batch.settings, **options.settings}
    is_card = options.command or is_card_file(options.card)
    return isolated(settings) if is_card else settings


def _halt_if_due(now: Pass) -> None:
    """Begin no more tasks after so many failures; those that run come to their ends."""
    most = now.options.halt_after
    if most is None or now.tally.failed < most or now.is_halting:
        return
    now.is_halting = True
    note(f"{now.batch.name}: {now.tally.failed} failed, no more are begun")
    if now.deadline.let_finish is not None:
        now.deadline.let_finish()


def _closing(executor: AdaptiveExecutor) -> Callable[..., None]:
    """Return what closes the executor: with its work done, or in a moment if it was stopped."""

    def close(kind: type[BaseException] | None, _error: object, _trace: object) -> None:
        if kind is None or not issubclass(kind, KeyboardInterrupt):
            executor.shutdown(cancel_futures=kind is not None)
            return
        executor.shutdown(wait=False, cancel_futures=True)
        closer = threading.Thread(target=executor.shutdown, daemon=True)
        with suppress(RuntimeError, MemoryError):  # no thread to be had, so nothing to wait with
            closer.start()
            closer.join(CLOSE_SECONDS)

    return close


def _write(place: RunPlace, batch: CardBatch, spool: Spool, report: RunReport) -> None:
    columns = _columns(batch, spool)
    for path in place.tables:
        try:
            write_table(spool, path, columns)
        except (ImportError, MemoryError, BlockingIOError) as error:  # needs 100 MB and threads
            if path.name != PARQUET_NAME:
                raise
            note(f"{batch.name}: Parquet was not written ({type(error).__name__}: {error})")
    if not place.is_own:
        part_of(place.tables[0]).unlink(missing_ok=True)
    else:
        (place.folder / REPORT_NAME).write_text(
            f"{report}\n", encoding="utf-8", errors="surrogateescape"
        )


def _say_part(place: RunPlace, batch: CardBatch) -> None:
    if not place.is_own:
        note(f"{batch.name}: rows so far in {part_of(place.tables[0])}")


def _write_partial(
    place: RunPlace, batch: CardBatch, spool: Spool, *, seconds: float | None
) -> None:
    """Keep the rows of a stopped pass, as many as can be written in that time."""
    if not place.is_own:
        return
    path = place.folder / PARTIAL_NAME
    write_csv(spool.rows(), path, _columns(batch, spool), seconds=seconds)
    note(f"{batch.name}: rows so far in {path}")


def _columns(batch: CardBatch, spool: Spool) -> list[str]:
    """Return the columns in an order that does not depend on who was first."""
    if batch.columns is not None:
        return list(batch.columns)
    seen = [name for name in spool.columns if name not in {batch.key, "error"}]
    return [batch.key, *seen, "error"]


def _say_stopped(now: Pass) -> None:
    total = "an unknown number" if now.batch.total is None else str(now.batch.total)
    note(f"{now.tally.done} of {total} done; {now.again}")


def _say_end(now: Pass, place: RunPlace) -> int:
    options, batch, tally, report, say = now.options, now.batch, now.tally, now.report, now.tell
    if tally.failed:
        note(f"{batch.name}: {tally.failed} of {tally.done} failed, the first: {tally.first_error}")
    if tally.broken is not None:
        note(
            f"{batch.name}: input broke off after {tally.done} tasks ({tally.broken}); mend "
            "the file"
        )
    if options.has_timings:
        for line in tally.timing_lines():
            say(line)
    say(f"output: {place.tables[0]}")
    if tally.failed:
        say(f"why tasks failed: column error of it{_or_journal(place)}")
    for line in (*(now.shares.lines() if now.shares else ()), *end_lines(tally, report)):
        say(line)
    return tally.exit_code(batch.total)


def _or_journal(place: RunPlace) -> str:
    if place.journal is None:
        return ""
    return f", or {program().removesuffix(' run')} journal {shlex.quote(str(place.journal))}"


def _make_batch(options: RunOptions, seed: int, card: CardFile | None) -> CardBatch:
    choice = SampleChoice(options.count, seed)
    if card is not None:
        return batch_of_file(card, choice, results=None if options.is_dry else options.results)
    if options.function is not None:
        assert options.table is not None
        return batch_of_table(options.function, options.table, options.column, choice)
    return batch_of_card(find_card(options.card or DEFAULT_CARD), choice)
