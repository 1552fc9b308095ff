"""What a card file, or a command after `--`, adds to a run: options, and printing in order."""

import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from adaptive_exec.cards.card_file import CardFile, make_card
from adaptive_exec.cards.cells import Row, RowTask
from adaptive_exec.cards.commands import CommandTask, fill
from adaptive_exec.cards.prepared import CardBatch
from adaptive_exec.cards.spool import Spool
from adaptive_exec.cards.value_shares import Shares
from adaptive_exec.cards.writers import LivePart
from adaptive_exec.cli import exits
from adaptive_exec.cli.exits import say
from adaptive_exec.cli.options import RunOptions
from adaptive_exec.display import note


def card_of_command(options: RunOptions) -> CardFile:
    """Return the card that a command line with `-- COMMAND` stands for.

    Args:
        options: What was asked for.

    Returns:
        A card whose folder is the one that the command was given in.

    Raises:
        ValueError: What was asked for cannot be.
    """
    given = {"file": str(options.table), "column": options.column}
    sections: dict[str, dict[str, object]] = {
        "task": {"command": list(options.command)},
        "input": {name: value for name, value in given.items() if value is not None},
    }
    card = make_card(Path.cwd() / options.name, sections)
    if options.changes:
        message = f"--set is for card files, got {options.changes[0]!r}; leave it out"
        raise ValueError(message)
    return card


def with_card(options: RunOptions, card: CardFile) -> RunOptions:
    """Return the options with what the card says where they say nothing.

    Args:
        options: What was asked for.
        card: The card.
    """
    count = options.count
    if count is None:
        count = card.input.limit if card.input.sample is None else -card.input.sample
    output = options.output
    if output is None and card.output.file is not None:
        output = card.folder / card.output.file
    is_forced = options.is_forced or card.output.is_replaced
    return replace(options, count=count, output=output, is_forced=is_forced)


class Printer:
    """Prints what commands print: as they end, or in the order of the input.

    Args:
        spool: Where their rows are kept.
        keeps_order: Wait for those before.
    """

    def __init__(self, spool: Spool, *, keeps_order: bool) -> None:
        self._spool = spool
        self._keeps_order = keeps_order
        self._next = 0

    def print_task(self, number: int) -> None:
        """Print what a command that has ended printed, and those that waited for it."""
        if not self._keeps_order:
            self._print(number)
            return
        while self._print(self._next):
            self._next += 1

    def _print(self, number: int) -> bool:
        row = self._spool.rows_of(number)
        if not isinstance(row, dict):
            return False
        out, err = (str(row.get(name) or "") for name in ("stdout", "stderr"))
        if out:
            say(out.removesuffix("\n"))
        if err:
            sys.stderr.write(err if err.endswith("\n") else f"{err}\n")
        return True


@dataclass(slots=True)
class RowSinks:
    """Where a row goes as it comes.

    Attributes:
        spool: Keeps it until all are there.
        part: Shows it meanwhile.
        printer: Prints what a command printed.
        shares: Counts values, where that is asked for.
    """

    spool: Spool
    part: LivePart | None = None
    printer: Printer | None = None
    shares: Shares | None = None

    def add(self, number: int, row: Row | list[Row]) -> None:
        """Take a task's row or rows."""
        self.spool.add(number, row)
        for one in row if isinstance(row, list) else [row]:
            if self.part is not None:
                self.part.add(one)
            if self.shares is not None:
                self.shares.add(one)
        if self.printer is not None:
            self.printer.print_task(number)


def print_commands(batch: CardBatch) -> int:
    """Print the command of each task, ready for a shell.

    Args:
        batch: The batch.

    Returns:
        The exit code.
    """
    task = batch.function
    assert isinstance(task, RowTask)
    command = task.function
    if not isinstance(command, CommandTask):
        note(f"{batch.name}: has a function, no commands; see adaptive-exec card check")
        return exits.USAGE
    for _, one in batch.tasks():
        try:
            words = fill(command.arguments, task.decode(one))
        except Exception as error:  # noqa: BLE001  # a damaged record is the error of its own task
            note(f"{batch.name}: {type(error).__name__}: {error}")
        else:
            say(shlex.join(words))
    return exits.ALL_HAVE_VALUES
