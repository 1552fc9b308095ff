"""The bounded record of a run: its decisions with their reasons, and where the time went.

Sums up to a RunReport. Fed by the driver with each event and what came of it. However long the run,
it takes less than 2 MB: of decisions the first, the newest and the grave ones are kept, of all
others how often each was taken. Decides nothing.
"""

from collections import deque
from itertools import islice
from typing import Final

from adaptive_exec.core.account import Account
from adaptive_exec.core.costs import believe
from adaptive_exec.core.events import (
    ChunkDone,
    Event,
    HostSampled,
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
from adaptive_exec.core.reason import Code, Decision, Fact
from adaptive_exec.core.report import CodeCount, FailureKind, RunReport, describe
from adaptive_exec.core.state import State
from adaptive_exec.core.timeline import Chart, Gauges

TRACE_LENGTH: Final = 500
"""Decisions kept for the report, the newest ones; half a megabyte."""
KEPT_LENGTH: Final = 300
"""Older ones that are kept beside: the first FIRST_KEPT, and those that people were warned of."""
FIRST_KEPT: Final = 100
"""Decisions that are kept of the run's begin."""
FACT_LETTERS: Final = 300
"""Letters of a fact that are kept; an error's text may be long."""
KINDS_MAX: Final = 50
"""Kinds of failures of which one is kept whole; of more, each counts as one of these."""
STORY_LETTERS: Final = 4_000
"""Letters of a traceback that are kept, its end."""
LINES_SHOWN = 3
"""Decisions that others are shown of an instance."""
LINES_LOOKED_AT = 30
"""Decisions among which these are looked for."""
LINE_LETTERS = 200
"""Letters of such a line at most."""

_TRACED = frozenset({Deliver, Recall, FailTasks, OpenLevel, StartWorkers, Explain})
"""Instructions that a report counts; most say nothing to it, and a set is asked in 40 ns."""
_WorkerEvent = WorkerReady | StartRefused | WorkerLost | InitializerFailed | LevelClosed
_OF_WORKERS = (WorkerReady, StartRefused, WorkerLost, InitializerFailed, LevelClosed)


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
        self.chart = Chart()
        self.gauges = Gauges()
        self.failures: dict[str, FailureKind] = {}
        self._kept: list[Decision] = []
        self._counts: dict[tuple[str, Code], CodeCount] = {}
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
        if isinstance(event, ChunkDone):
            self._see_done(event)
        elif isinstance(event, _OF_WORKERS):
            self._see_worker(event, state)
        for instruction in instructions:
            if isinstance(instruction, SendChunk):
                self._see_sent(event.at, instruction, state)
            elif instruction.__class__ in _TRACED:
                self._see_instruction(event.at, instruction)
        self._account.see(event.at, state)
        if event.at >= self.gauges.next_at or isinstance(event, HostSampled):
            self.gauges.note(event.at, state, self.tasks)
            self.chart.forget_gone(state)

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
            decisions=(*self._kept, *self.decisions),
            tallies=tuple(self._counts.values()),
            moments=tuple(self.gauges.moments),
            spans=tuple(self.chart.spans),
            slowest=tuple(self.chart.slowest),
            largest=tuple(self.chart.largest),
            deaths=tuple(self.chart.deaths),
            failures=tuple(self.failures.values()),
        )

    def note_failure(self, kind: str, text: str, story: str) -> None:
        """Count a task's own exception; from any thread.

        Args:
            kind: The name of its type.
            text: Its message.
            story: Its traceback, of the first of a kind.
        """
        known = self.failures.get(kind)
        if known is not None:
            self.failures[kind] = known._replace(count=known.count + 1)
        elif len(self.failures) < KINDS_MAX:
            story = story[-STORY_LETTERS:]
            self.failures[kind] = FailureKind(kind, 1, text[:FACT_LETTERS], story)

    def last_lines(self) -> tuple[str, ...]:
        """Return the last few decisions that people want to see, as lines, oldest first."""
        recent = islice(reversed(self.decisions), LINES_LOOKED_AT)
        lines = [describe(decision) for decision in recent if decision.severity != "debug"]
        return tuple(line[:LINE_LETTERS] for line in reversed(lines[:LINES_SHOWN]))

    def _see_worker(self, event: _WorkerEvent, state: State) -> None:
        """Count how long a worker was waited for, whatever came of it; note its begin and end."""
        if isinstance(event, LevelClosed):
            self._forget_level(event.level)
            return
        ordered = self._ordered_at.pop(event.worker, None)
        if ordered is not None:
            self.start_seconds += event.at - ordered[1]
        if isinstance(event, WorkerReady):  # there may be more
            workers = sum(roster.size for roster in state.levels.rosters.values())
            self.workers = max(self.workers, workers)
            self.chart.free(event.worker, event.at)
        elif isinstance(event, WorkerLost):
            self.chart.lose(event)

    def _forget_level(self, level: str) -> None:
        """Forget the workers that a level was still waiting for when it was closed."""
        ordered = self._ordered_at.items()
        self._ordered_at = {worker: one for worker, one in ordered if one[0] != level}

    def _see_done(self, event: ChunkDone) -> None:
        usage = believe(event.usage)
        self._account.end(event.chunk, event.at, usage.wall_seconds)
        self.chart.end(event, usage)
        self.failed_tasks += usage.failed_tasks
        self.compute_seconds += usage.wall_seconds
        self.transport_seconds += usage.transport_seconds
        if usage.peak_bytes is not None:
            self.peak_task_bytes = max(self.peak_task_bytes or 0, usage.peak_bytes)

    def _see_sent(self, at: float, order: SendChunk, state: State) -> None:
        self.chunks += 1
        self._account.begin(order.chunk, at)
        self.chart.begin(order, at, self._account.waits_for, state.flights.get(order.chunk))
        if order.level not in self.levels:
            self.levels.append(order.level)

    def _see_instruction(self, at: float, instruction: Instruction) -> None:
        match instruction:
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
        if len(self.decisions) == self.decisions.maxlen:
            self._keep_if_notable(self.decisions[0])
        self.decisions.append(_clipped(decision))
        key = decision.event, decision.reason.code
        known = self._counts.get(key) or CodeCount(
            *key, decision.severity, 0, decision.at, decision.at
        )
        self._counts[key] = known._replace(count=known.count + 1, last_at=decision.at)
        self.degrades += decision.event == "degraded"
        self.restores += decision.event == "restored"
        if decision.event != "pressure":
            return
        if self._tight_since is not None:
            self.memory_wait_seconds += decision.at - self._tight_since
        self._tight_since = None if decision.new == "normal" else decision.at

    def _keep_if_notable(self, oldest: Decision) -> None:
        """Keep a decision that is about to be forgotten; the newest of many grave ones go first."""
        if len(self._kept) >= FIRST_KEPT and oldest.severity not in _GRAVE:
            return
        self._kept.append(oldest)
        if len(self._kept) > KEPT_LENGTH:
            del self._kept[FIRST_KEPT::2]


def _clipped(decision: Decision) -> Decision:
    """Return a decision whose texts are not longer than people read."""
    facts = decision.reason.facts
    if not any(isinstance(value, str) and len(value) > FACT_LETTERS for _, value in facts):
        return decision
    short = tuple((name, _clip(value)) for name, value in facts)
    return decision._replace(reason=decision.reason._replace(facts=short))


def _clip(value: Fact) -> Fact:
    return value[:FACT_LETTERS] if isinstance(value, str) else value


_GRAVE = ("warning", "error")
