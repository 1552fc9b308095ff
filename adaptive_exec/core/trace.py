"""The bounded record of a run: every decision with its reason, and where the time went.

Sums up to a RunReport. Fed by the driver with each event and what came of it. Decides nothing.
"""

from collections import deque
from itertools import islice
from typing import Final

from adaptive_exec.core.account import Account
from adaptive_exec.core.costs import believe
from adaptive_exec.core.events import (
    ChunkDone,
    Event,
    InitializerFailed,
    LevelClosed,
    StartRefused,
    WorkerLost,
    WorkerReady,
)
from adaptive_exec.core.instructions import (
    Deliver,
    Explain,
    FailTasks,
    Instruction,
    OpenLevel,
    Recall,
    SendChunk,
    StartWorkers,
)
from adaptive_exec.core.reason import Code, Decision
from adaptive_exec.core.report import RunReport, describe
from adaptive_exec.core.state import State

TRACE_LENGTH: Final = 10_000
"""Decisions kept for the report; older ones are counted only."""
LINES_SHOWN = 3
"""Decisions that others are shown of an instance."""
LINES_LOOKED_AT = 30
"""Decisions among which these are looked for."""
LINE_LETTERS = 200
"""Letters of such a line at most."""

_TRACED = (SendChunk, Deliver, Recall, FailTasks, OpenLevel, StartWorkers, Explain)
"""Instructions that a report counts; most say nothing to it."""


class Trace:
    """Collects what a report needs, event by event."""

    def __init__(self) -> None:
        self.levels: list[str] = []
        self.workers = 0
        self.window = 0
        self.tasks = 0
        self.failed_tasks = 0
        self.lost_tasks = 0
        self.recalled_tasks = 0
        self.chunks = 0
        self.degrades = 0
        self.restores = 0
        self.compute_seconds = 0.0
        self.transport_seconds = 0.0
        self.start_seconds = 0.0
        self.memory_wait_seconds = 0.0
        self.peak_task_bytes: int | None = None
        self.decisions: deque[Decision] = deque(maxlen=TRACE_LENGTH)
        self._ordered_at: dict[int, tuple[str, float]] = {}
        self._tight_since: float | None = None
        self._account = Account()

    def see(self, event: Event, instructions: list[Instruction], state: State) -> None:
        """Take in an event and what came of it.

        Args:
            event: What happened.
            instructions: What the run ordered.
            state: How things stand after it.
        """
        self.window = max(self.window, len(state.flights))
        if isinstance(event, WorkerReady):  # there may be more
            workers = sum(roster.size for roster in state.levels.rosters.values())
            self.workers = max(self.workers, workers)
        match event:
            case ChunkDone():
                self._see_done(event)
            case WorkerReady() | StartRefused() | WorkerLost() | InitializerFailed():
                self._see_start(event.worker, event.at)
            case LevelClosed():
                self._forget_level(event.level)
            case _:
                pass
        for instruction in instructions:
            if isinstance(instruction, _TRACED):
                self._see_instruction(event.at, instruction)
        self._account.see(event.at, state)

    def report(self) -> RunReport:
        """Sum up."""
        return RunReport(
            levels=tuple(self.levels),
            workers=self.workers,
            window=self.window,
            tasks=self.tasks,
            failed_tasks=self.failed_tasks,
            lost_tasks=self.lost_tasks,
            recalled_tasks=self.recalled_tasks,
            chunks=self.chunks,
            degrades=self.degrades,
            restores=self.restores,
            compute_seconds=self.compute_seconds,
            transport_seconds=self.transport_seconds,
            start_seconds=self.start_seconds,
            memory_wait_seconds=self.memory_wait_seconds,
            peak_task_bytes=self.peak_task_bytes,
            wall_seconds=self._account.wall_seconds,
            worker_seconds=tuple(self._account.seconds.items()),
            decisions=tuple(self.decisions),
        )

    def last_lines(self) -> tuple[str, ...]:
        """Return the last few decisions that people want to see, as lines, oldest first."""
        recent = islice(reversed(self.decisions), LINES_LOOKED_AT)
        lines = [describe(decision) for decision in recent if decision.severity != "debug"]
        return tuple(line[:LINE_LETTERS] for line in reversed(lines[:LINES_SHOWN]))

    def _see_start(self, worker: int, at: float) -> None:
        """Count how long a worker was waited for, whatever came of it."""
        ordered = self._ordered_at.pop(worker, None)
        if ordered is not None:
            self.start_seconds += at - ordered[1]

    def _forget_level(self, level: str) -> None:
        """Forget the workers that a level was still waiting for when it was closed."""
        ordered = self._ordered_at.items()
        self._ordered_at = {worker: one for worker, one in ordered if one[0] != level}

    def _see_done(self, event: ChunkDone) -> None:
        usage = believe(event.usage)
        self._account.end(event.chunk, event.at, usage.wall_seconds)
        self.failed_tasks += usage.failed_tasks
        self.compute_seconds += usage.wall_seconds
        self.transport_seconds += usage.transport_seconds
        if usage.peak_bytes is not None:
            self.peak_task_bytes = max(self.peak_task_bytes or 0, usage.peak_bytes)

    def _see_instruction(self, at: float, instruction: Instruction) -> None:
        match instruction:
            case SendChunk():
                self.chunks += 1
                self._account.begin(instruction.chunk, at)
                if instruction.level not in self.levels:
                    self.levels.append(instruction.level)
            case Deliver() | Recall() | FailTasks():
                self._see_outcome(instruction)
            case OpenLevel() | StartWorkers():
                ordered = (instruction.level, at)
                self._ordered_at.update(dict.fromkeys(instruction.workers, ordered))
            case Explain():
                self._see_decision(instruction.decision)
            case _:
                pass

    def _see_outcome(self, outcome: Deliver | Recall | FailTasks) -> None:
        """Count tasks that ended, those that a worker had finished before it died among them."""
        count = outcome.stop - outcome.start
        match outcome:
            case Deliver():
                self.tasks += count
            case Recall():
                self.recalled_tasks += count
            case FailTasks():
                if outcome.reason.code not in {Code.STOP_ASKED, Code.TASK_UNWANTED}:
                    self.lost_tasks += count

    def _see_decision(self, decision: Decision) -> None:
        self.decisions.append(decision)
        self.degrades += decision.event == "degraded"
        self.restores += decision.event == "restored"
        if decision.event != "pressure":
            return
        if self._tight_since is not None:
            self.memory_wait_seconds += decision.at - self._tight_since
        self._tight_since = None if decision.new == "normal" else decision.at
