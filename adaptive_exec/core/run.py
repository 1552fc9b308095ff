"""One batch of calls on its way through: events go in, instructions come out, each instruction has a reason.

This file holds the state and says when each policy is asked; what the policies answer is in `plan`, `chunks`,
`ladder`, `governor` and `quarantine`. The rules kept here: a level closes before the one that replaces it opens,
results are delivered before their room is filled again, and silence (no Pull) is the only back-pressure.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import assert_never

from adaptive_exec.config import CALM_SECONDS, LEVELS, STRIKES_MAX, Config
from adaptive_exec.core.batch import Batch
from adaptive_exec.core.chunks import chunk_tasks, holds_too_much, pull_tasks, target_seconds
from adaptive_exec.core.costs import learn
from adaptive_exec.core.events import (
    BatchDropped,
    BatchOpened,
    ChunkDone,
    ChunkProgressed,
    Event,
    HostSampled,
    InitializerFailed,
    InputExhausted,
    LevelClosed,
    ResultsTaken,
    StartRefused,
    StopRequested,
    TaskOverdue,
    TasksArrived,
    TimerFired,
    WorkerLost,
    WorkerReady,
)
from adaptive_exec.core.governor import CALM, judge_memory
from adaptive_exec.core.instructions import (
    CloseLevel,
    Deliver,
    Explain,
    FailTasks,
    Finish,
    FinishBatch,
    Instruction,
    KillWorker,
    OpenLevel,
    Pull,
    ReadHost,
    RetireWorker,
    SendChunk,
    SetTimer,
    StartWorkers,
)
from adaptive_exec.core.ladder import Move, next_level, refuse, shut, suggest_move
from adaptive_exec.core.plan import BatchShape, count_workers, is_isolated, make_plan, usable_levels
from adaptive_exec.core.quarantine import Suspect, accuse, is_poison
from adaptive_exec.core.reason import Code, Decision, Fact, Reason, because
from adaptive_exec.core.roster import Flight, Roster
from adaptive_exec.core.snapshot import HostSnapshot

SUSPECT_WAIT_SECONDS = 10.0
"""Seconds after which a suspect gets its turn although the line behind which it waits has not ended."""
FOREVER = float("inf")


class Run:
    """The state machine of one executor. Pure, owned by one driver, needs no lock.

    Args:
        config: The settings.
        host: What the host affords at the start.
    """

    def __init__(self, config: Config, host: HostSnapshot) -> None:
        self.config = config
        self.host = host
        self.verdict = CALM
        self.batches: dict[int, Batch] = {}
        self.rosters = {level: Roster(level) for level in LEVELS}
        self.flights: dict[int, Flight] = {}
        self.finished = False
        self._records: dict[tuple[int, int], Suspect] = {}
        self._line: deque[tuple[int, int]] = deque()
        self._solo: int | None = None
        self._broken: Reason | None = None
        self._stopping = False
        self._next_chunk = 1
        self._next_worker = 1
        self._next_look = 0.0
        self._timer_at: float | None = None
        self._now = 0.0
        self._out: list[Instruction] = []

    def handle(self, event: Event) -> list[Instruction]:
        """Take an event in.

        Args:
            event: What happened; its time is not before that of the last one.

        Returns:
            What the driver must do now, in this order.
        """
        self._now = event.at
        self._out = out = []
        self._take_in(event)
        if not self.finished:
            self._advance()
        return out

    def _take_in(self, event: Event) -> None:  # noqa: C901, PLR0912  # one arm for each event there is
        match event:
            case ChunkDone():
                self._on_done(event)
            case TasksArrived():
                self._on_arrived(event)
            case ResultsTaken():
                if batch := self.batches.get(event.batch):
                    batch.taken += event.count
            case ChunkProgressed():
                if flight := self.flights.get(event.chunk):
                    self._deliver(flight, event.count)
            case BatchOpened():
                self._on_opened(event)
            case InputExhausted():
                if batch := self.batches.get(event.batch):
                    batch.exhausted = True
            case BatchDropped():
                self._on_dropped(event)
            case WorkerReady():
                self._on_ready(event)
            case StartRefused():
                self._on_refused(event)
            case InitializerFailed():
                self._on_initializer_failed(event)
            case TaskOverdue():
                self._on_overdue(event)
            case WorkerLost():
                self._on_lost(event)
            case LevelClosed():
                self._on_closed(event)
            case HostSampled():
                self._on_sampled(event)
            case TimerFired():
                self._timer_at = None
            case StopRequested():
                self._on_stop(event)
            case _:
                assert_never(event)

    # what each event changes

    def _on_opened(self, event: BatchOpened) -> None:
        shape = BatchShape(event.tasks, event.portable)
        plan = make_plan(shape, self.host, self.config, shut=self._shut_levels())
        level, workers, reason = plan.level, plan.workers, plan.reason
        if level != "process" and self.rosters["process"].size and event.portable:
            level, reason = "process", because(Code.LEVEL_OPEN, tasks=event.tasks)
            workers = count_workers(level, event.tasks, self.host, self.config)
        batch = self.batches[event.batch] = Batch(event, level)
        self.rosters[level].cap = max(workers, self._cap_in_use(level))
        self._explain("planned", "info", f"batch {event.batch}", reason, new=level, workers=workers)
        if self.config.task_timeout is not None and not is_isolated(level):
            self._tell_unenforced(batch)

    def _on_arrived(self, event: TasksArrived) -> None:
        batch = self.batches.get(event.batch)
        if batch is None:
            return
        batch.arrive(event.count)
        if batch.dropped:
            batch.drop()

    def _on_dropped(self, event: BatchDropped) -> None:
        batch = self.batches.get(event.batch)
        if batch is None:
            return
        batch.drop()
        for key in [key for key in self._line if key[0] == event.batch]:
            self._line.remove(key)
            self._records.pop(key)
            batch.suspects -= 1
            batch.finished += 1

    def _on_ready(self, event: WorkerReady) -> None:
        roster = self.rosters[event.level]
        roster.ready(event.worker)
        roster.breaker = replace(roster.breaker, tries=0)

    def _on_refused(self, event: StartRefused) -> None:
        roster = self.rosters[event.level]
        roster.remove(event.worker)
        if roster.is_leaving or self._now < roster.start_after:
            return
        roster.breaker, wait = refuse(roster.breaker, event.error)
        if roster.on_trial:
            self._degrade(roster, Code.TRIAL_FAILED)
        elif wait is not None and not event.lasting:
            roster.start_after = self._now + wait
            reason = because(Code.START_RETRIED, error=event.error, wait=wait, tries=roster.breaker.tries)
            self._explain("waiting", "info", roster.level, reason)
        elif roster.size:
            self._keep_those_that_started(roster, event.error)
        else:
            self._degrade(roster, Code.START_REFUSED)

    def _keep_those_that_started(self, roster: Roster, error: str) -> None:
        reason = because(Code.WORKERS_MISSING, error=error, wanted=roster.cap, workers=roster.size)
        self._explain("reduced", "warning", roster.level, reason)
        roster.cap = roster.size
        roster.start_after = self._now + CALM_SECONDS
        roster.breaker = replace(roster.breaker, tries=0)

    def _on_initializer_failed(self, event: InitializerFailed) -> None:
        self.rosters[event.level].remove(event.worker)
        if self._broken is None:
            self._broken = because(Code.INITIALIZER_FAILED, error=event.error)
            self._explain("broken", "error", event.level, self._broken)

    def _on_done(self, event: ChunkDone) -> None:
        flight = self.flights.get(event.chunk)
        if flight is None:
            return
        self._deliver(flight, event.count)
        self._land(flight)
        roster = self.rosters[flight.level]
        roster.release(flight.worker, event.usage.tasks)
        roster.strikes = 0
        batch = self.batches[flight.batch]
        self._give_back(batch, flight.next, flight.stop)
        batch.costs = learn(batch.costs, event.usage, isolated=is_isolated(flight.level))
        self._recycle(roster, flight.worker)
        if roster.on_trial:
            self._trial_passed(roster, batch)
        elif not flight.suspect and batch.moving_to is None:
            self._consider_move(batch)

    def _on_overdue(self, event: TaskOverdue) -> None:
        flight = self.flights.get(event.chunk)
        if flight is None or flight.overdue is not None:
            return
        flight.overdue = event.index
        reason = because(Code.TASK_OVERDUE, task=event.index, ran=round(event.ran_seconds, 3), limit=self.config.task_timeout)
        self._out.append(KillWorker(flight.level, flight.worker, reason))
        self._explain("killed", "warning", f"worker {flight.worker}", reason)

    def _on_lost(self, event: WorkerLost) -> None:
        roster = self.rosters[event.level]
        flight = roster.remove(event.worker)
        began = flight is not None and (event.running is not None or not event.known)
        if not event.blameless and not began:
            roster.strikes += 1
        self._explain_loss(event, flight)
        if flight is not None:
            self._land(flight)
            self._rerun(flight, event)
        if roster.strikes >= STRIKES_MAX and not roster.is_leaving:
            roster.breaker = replace(roster.breaker, error=f"{STRIKES_MAX} workers died at their start, the last by {event.cause}")
            self._degrade(roster, Code.NO_PROGRESS)

    def _on_closed(self, event: LevelClosed) -> None:
        roster = self.rosters[event.level]
        roster.clear()
        roster.state = "closed"

    def _on_sampled(self, event: HostSampled) -> None:
        self.host = event.snapshot
        before, self.verdict = self.verdict, judge_memory(self.verdict, event.snapshot, self.config)
        self._next_look = self._now + self.verdict.look_again_seconds
        if before.pressure != self.verdict.pressure:
            severity = "info" if self.verdict.pressure == "normal" else "warning"
            new = self.verdict.pressure
            self._explain("pressure", severity, "memory", self.verdict.reason, old=before.pressure, new=new)

    def _on_stop(self, event: StopRequested) -> None:
        self._stopping = True
        for batch in self.batches.values():
            if event.cancel:
                self._on_dropped(BatchDropped(event.at, batch.id))
            elif batch.buffer_tasks is not None:
                batch.exhausted = True

    # what follows from the state, after every event

    def _advance(self) -> None:
        self._settle()
        if self._broken is not None:
            self._fail_everything(self._broken)
        if self._now >= self._next_look and self.flights:
            self._next_look = FOREVER
            self._out.append(ReadHost())
        for level in self.config.ladder:
            roster = self.rosters[level]
            if roster.breaker.shut_until is not None:
                self._maybe_restore(roster)
            self._staff(roster)
            if roster.idle and roster.state == "open":
                self._dispatch(roster)
        for batch in list(self.batches.values()):
            if batch.pending and batch.moving_to is None:
                self._fail_if_stranded(batch)
            self._pull(batch)
            if batch.is_finished and not batch.out:
                del self.batches[batch.id]
                self._out.append(FinishBatch(batch.id))
        if self._stopping and not self.batches:
            self._close_all()
        self._set_timer()

    def _settle(self) -> None:
        """Close levels that have drained, and move batches whose old level is out of the way."""
        for roster in self.rosters.values():
            if roster.state == "draining" and not roster.busy:
                roster.state = "closing"
                self._out.append(CloseLevel(roster.level))
        for batch in self.batches.values():
            if batch.moving_to is None or self.rosters[batch.level].is_leaving or batch.out.get(batch.level):
                continue
            batch.level, batch.moving_to = batch.moving_to, None
            roster = self.rosters[batch.level]
            workers = count_workers(batch.level, batch.left, self.host, self.config)
            roster.cap = max(workers, self._cap_in_use(batch.level))

    def _staff(self, roster: Roster) -> None:
        """Order the workers that are wanted and missing."""
        if roster.breaker.shut_until is not None or self._now < roster.start_after:
            return
        if self._level_change_under_way():
            return
        missing = self._wanted_workers(roster) - roster.size
        if missing <= 0:
            return
        if roster.breaker.tries:
            missing = 1
        workers = tuple(range(self._next_worker, self._next_worker + missing))
        self._next_worker += missing
        roster.starting.update(workers)
        if roster.state == "closed":
            roster.state = "open"
            self._out.append(OpenLevel(roster.level, workers))
        else:
            self._out.append(StartWorkers(roster.level, workers))

    def _wanted_workers(self, roster: Roster) -> int:
        users = [batch for batch in self.batches.values() if roster.level in (batch.level, batch.trial)]
        if roster.level == "sequential":
            return sum(1 for batch in users if batch.out or self._wanted_by(batch))
        wanted = len(roster.busy) + sum(self._wanted_by(batch) for batch in users)
        if roster.level == "process":
            wanted += len(self._line)
        return min(wanted, roster.cap)

    def _wanted_by(self, batch: Batch) -> int:
        if batch.single or batch.buffer_tasks is not None or batch.moving_to is not None:
            return batch.pending
        left = batch.left
        return self.rosters[batch.level].cap if left is None else left

    def _dispatch(self, roster: Roster) -> None:
        while roster.idle and self._may_send():
            if roster.level == "process" and self._line and self._suspect_is_due(roster):
                if not self._send_suspect(roster):
                    return
                continue
            batch = self._next_batch(roster)
            if batch is None:
                return
            self._send(roster, batch)

    def _may_send(self) -> bool:
        if self._solo is not None:
            return False
        if not self.flights:
            return True
        if self.verdict.pressure != "normal":
            return False
        return self.config.max_in_flight is None or len(self.flights) < self.config.max_in_flight

    def _next_batch(self, roster: Roster) -> Batch | None:
        """Pick a batch with something to send, and put it behind the others."""
        for batch in self.batches.values():
            if not batch.pending:
                continue
            if batch.level == roster.level:
                if batch.moving_to is not None or (roster.level == "sequential" and batch.out):
                    continue
            elif batch.trial != roster.level or batch.out.get(roster.level):
                continue
            if len(self.batches) > 1:
                self.batches[batch.id] = self.batches.pop(batch.id)
            return batch
        return None

    def _send(self, roster: Roster, batch: Batch) -> None:
        start, stop = batch.take(self._chunk_size(batch, roster))
        self._launch(roster, batch, start, stop)

    def _chunk_size(self, batch: Batch, roster: Roster) -> int:
        if roster.on_trial:
            return 1
        if batch.chunk_tasks is not None:
            return batch.chunk_tasks
        left = batch.pending if batch.single else batch.left
        seconds = target_seconds(roster.level, single=batch.single)
        count = chunk_tasks(batch.costs, left, roster.cap, seconds=seconds)
        return min(count, self.config.max_tasks_per_worker or count)

    def _launch(
        self, roster: Roster, batch: Batch, start: int, stop: int, *, record: Suspect | None = None
    ) -> None:
        flight = Flight(
            chunk=self._next_chunk,
            batch=batch.id,
            level=roster.level,
            worker=roster.idle[-1],
            start=start,
            stop=stop,
            next=start,
            sent_at=self._now,
            suspect=record is not None,
            alone=not self.flights,
        )
        self._next_chunk += 1
        self.flights[flight.chunk] = flight
        roster.assign(flight)
        batch.send(roster.level, stop - start)
        attempt = 1 if record is None else record.executions + 1
        self._out.append(
            SendChunk(flight.chunk, roster.level, flight.worker, batch.id, start, stop, attempt)
        )

    def _pull(self, batch: Batch) -> None:
        if batch.exhausted or batch.single or batch.moving_to is not None:
            return
        if not self._stopping and holds_too_much(batch.held, batch.costs.result_bytes):
            return
        roster = self.rosters[batch.level]
        count = pull_tasks(
            chunk=self._chunk_size(batch, roster),
            workers=roster.cap if batch.level != "sequential" else 1,
            pending=batch.pending,
            asked=batch.asked,
            outstanding=batch.arrived - batch.taken,
            buffer_tasks=batch.buffer_tasks,
        )
        if count:
            batch.asked += count
            self._out.append(Pull(batch.id, count))

    def _set_timer(self) -> None:
        at = FOREVER
        if self.flights:
            at = self._next_look
        for roster in self.rosters.values():
            if roster.breaker.shut_until is not None and self.batches:
                at = min(at, roster.breaker.shut_until)
            if roster.start_after > self._now and self._wanted_workers(roster) > roster.size:
                at = min(at, roster.start_after)
        if self._line:
            since = self._records[self._line[0]].since
            at = min(at, since + SUSPECT_WAIT_SECONDS) if since + SUSPECT_WAIT_SECONDS > self._now else at
        wanted = None if at == FOREVER else max(at, self._now)
        if wanted != self._timer_at:
            self._timer_at = wanted
            self._out.append(SetTimer(wanted))

    def _close_all(self) -> None:
        for roster in self.rosters.values():
            if roster.state == "open":
                roster.state = "draining"
        self._settle()
        if all(roster.state == "closed" for roster in self.rosters.values()):
            self.finished = True
            self._out.append(Finish())

    # moves between levels

    def _degrade(self, roster: Roster, code: Code) -> None:
        """Leave a level that failed: nothing more is sent, it drains, closes, and the next one opens."""
        was_trial = roster.on_trial
        roster.on_trial = False
        roster.strikes = 0
        roster.breaker = shut(roster.breaker, self._now)
        roster.state = "draining"
        shut_levels = self._shut_levels()
        facts: dict[str, Fact] = {"error": roster.breaker.error, "workers": roster.size}
        news: set[str] = set()
        for batch in self.batches.values():
            if batch.trial == roster.level:
                batch.trial = None
            if roster.level in (batch.level, batch.moving_to):
                new = next_level(roster.level, self.config, portable=batch.portable, shut_levels=shut_levels)
                self._step_down(batch, roster.level, new)
                news.add(new or "")
        severity = "info" if was_trial else "warning"
        new = max(news, default="", key=lambda name: LEVELS.index(name) if name else -1)
        if not news and not was_trial:
            new = next_level(roster.level, self.config, portable=True, shut_levels=shut_levels) or ""
        self._explain("degraded", severity, "run", because(code, **facts), old=roster.level, new=new)
        if roster.level == "process":
            self._fail_line(because(Code.NO_ISOLATION, error=roster.breaker.error))

    def _step_down(self, batch: Batch, old: str, new: str | None) -> None:
        if new is None:
            return
        if batch.level == old:
            batch.moving_to = new
        elif batch.moving_to == old:
            batch.moving_to = new if new != batch.level else None
        if self.config.task_timeout is not None:
            self._tell_unenforced(batch)

    def _maybe_restore(self, roster: Roster) -> None:
        """Try a shut level again with one worker and one chunk, once it has been calm for long enough."""
        until = roster.breaker.shut_until
        if until is None or self._now < until or roster.state != "closed":
            return
        candidates = [batch for batch in self.batches.values() if self._could_use(batch, roster.level)]
        if not candidates:
            roster.breaker = replace(roster.breaker, shut_until=None)
            return
        if self.verdict.pressure != "normal":
            roster.breaker = replace(roster.breaker, shut_until=self._now + CALM_SECONDS)
            return
        batch = candidates[0]
        batch.trial = roster.level
        roster.on_trial = True
        roster.cap = 1
        roster.start_after = self._now
        roster.breaker = replace(roster.breaker, shut_until=None)
        self._explain("trying", "info", "run", because(Code.CALM), old=batch.level, new=roster.level)

    def _could_use(self, batch: Batch, level: str) -> bool:
        better = LEVELS.index(level) < LEVELS.index(batch.level)
        wants = LEVELS.index(level) >= LEVELS.index(batch.home)
        return better and wants and batch.moving_to is None and batch.left != 0 and level in usable_levels(
            self.config, portable=batch.portable, shut=frozenset()
        )

    def _trial_passed(self, roster: Roster, batch: Batch) -> None:
        roster.on_trial = False
        roster.breaker = replace(roster.breaker, calm_seconds=CALM_SECONDS)
        self._explain("restored", "info", "run", because(Code.TRIAL_PASSED), old=batch.level, new=roster.level)
        for other in self.batches.values():
            if other.trial == roster.level or self._could_use(other, roster.level):
                other.trial = None
                other.moving_to = roster.level

    def _consider_move(self, batch: Batch) -> None:
        if batch.moves >= 2 or not self._may_move(batch):  # noqa: PLR2004  # explore once, then commit
            return
        workers = max(1, self.rosters["process"].cap)
        move = suggest_move(
            batch.level, batch.costs, self.config, workers=workers, left=batch.left, single=batch.single
        )
        if move is None or move.level in self._shut_levels():
            return
        self._move(batch, move)

    def _may_move(self, batch: Batch) -> bool:
        return batch.suspects == 0 and batch.trial is None and (batch.portable or batch.level != "sequential")

    def _move(self, batch: Batch, move: Move) -> None:
        batch.moves += 1
        batch.moving_to = move.level
        self._explain("moved", "info", f"batch {batch.id}", move.reason, old=batch.level, new=move.level)

    # suspects

    def _rerun(self, flight: Flight, lost: WorkerLost) -> None:
        """Put the unfinished tasks of a dead worker where they belong."""
        batch = self.batches[flight.batch]
        running = lost.running
        if flight.overdue is not None and flight.next <= flight.overdue < flight.stop:
            reason = because(Code.TASK_OVERDUE, task=flight.overdue, limit=self.config.task_timeout)
            self._fail(batch, flight.overdue, flight.overdue + 1, reason)
            self._give_back_around(batch, flight, flight.overdue)
        elif lost.known and (running is None or not flight.next <= running < flight.stop):
            self._put_back(batch, flight)
        elif lost.blameless and self.config.retries > 0:
            self._put_back(batch, flight)
        elif lost.known and running is not None:
            self._accuse(batch, flight, lost, running)
            self._give_back_around(batch, flight, running)
        else:
            for index in range(flight.next, flight.stop):
                self._accuse(batch, flight, lost, index)

    def _put_back(self, batch: Batch, flight: Flight) -> None:
        if flight.suspect:
            self._line.append((flight.batch, flight.start))
            batch.suspects += 1
        else:
            self._give_back(batch, flight.next, flight.stop)

    def _give_back_around(self, batch: Batch, flight: Flight, index: int) -> None:
        self._give_back(batch, index + 1, flight.stop)
        self._give_back(batch, flight.next, index)

    def _give_back(self, batch: Batch, start: int, stop: int) -> None:
        if start >= stop:
            return
        batch.sent -= stop - start
        batch.give_back(start, stop)
        if batch.dropped:
            batch.drop()

    def _accuse(self, batch: Batch, flight: Flight, lost: WorkerLost, index: int) -> None:
        key = (batch.id, index)
        record = accuse(self._records.get(key), lost, batch=batch.id, index=index, alone=flight.alone)
        self._records[key] = record
        facts: dict[str, Fact] = {"task": index, "cause": record.cause, "executions": record.executions}
        facts |= {"peak": record.peak_bytes, "limit": self.host.limit_bytes}
        if self.config.retries == 0:
            self._fail(batch, index, index + 1, because(Code.RETRIES_SPENT, **facts))
        elif is_poison(record, self.config.retries):
            reason = because(Code.POISON, **facts)
            self._explain("quarantined", "warning", f"task {index}", reason)
            self._fail(batch, index, index + 1, reason)
        elif self.rosters["process"].is_leaving:
            self._fail(batch, index, index + 1, because(Code.NO_ISOLATION, **facts))
        elif batch.dropped:
            batch.finished += 1
        else:
            self._line.append(key)
            batch.suspects += 1
            return
        self._records.pop(key, None)

    def _suspect_is_due(self, roster: Roster) -> bool:
        """A suspect's turn comes when nothing unsuspected is left to send, or when it has waited for long."""
        record = self._records[self._line[0]]
        if self._now - record.since >= SUSPECT_WAIT_SECONDS:
            return True
        return not any(batch.pending and batch.level == roster.level for batch in self.batches.values())

    def _send_suspect(self, roster: Roster) -> bool:
        """Send the first suspect by itself; one that died for memory waits until nothing else is out."""
        key = self._line[0]
        record = self._records[key]
        for_memory = "memory" in record.cause
        if for_memory and self.flights:
            return False
        self._line.popleft()
        batch = self.batches[key[0]]
        batch.suspects -= 1
        self._launch(roster, batch, key[1], key[1] + 1, record=record)
        if for_memory:
            self._solo = self._next_chunk - 1
        return True

    def _fail_line(self, reason: Reason) -> None:
        while self._line:
            key = self._line.popleft()
            batch = self.batches[key[0]]
            batch.suspects -= 1
            self._records.pop(key, None)
            self._fail(batch, key[1], key[1] + 1, reason)

    # small steps

    def _deliver(self, flight: Flight, count: int) -> None:
        if count == 0:
            return
        batch = self.batches[flight.batch]
        start = flight.next
        flight.next += count
        batch.finished += count
        if flight.suspect:
            self._records.pop((flight.batch, start), None)
        self._out.append(Deliver(flight.chunk, flight.batch, start, flight.next))

    def _land(self, flight: Flight) -> None:
        del self.flights[flight.chunk]
        batch = self.batches[flight.batch]
        batch.out[flight.level] -= 1
        if not batch.out[flight.level]:
            del batch.out[flight.level]
        if self._solo == flight.chunk:
            self._solo = None

    def _fail(self, batch: Batch, start: int, stop: int, reason: Reason) -> None:
        batch.finished += stop - start
        self._out.append(FailTasks(batch.id, start, stop, reason))

    def _fail_pending(self, batch: Batch, reason: Reason) -> None:
        while batch.pending:
            start, stop = batch.take(batch.pending)
            self._fail(batch, start, stop, reason)

    def _fail_if_stranded(self, batch: Batch) -> None:
        """End what waits at a level that failed and has no safer one below it: an error, never a wait."""
        breaker = self.rosters[batch.level].breaker
        if breaker.shut_until is not None:
            self._fail_pending(batch, because(Code.NO_LEVEL_LEFT, level=batch.level, error=breaker.error))

    def _fail_everything(self, reason: Reason) -> None:
        self._fail_line(reason)
        for batch in self.batches.values():
            self._fail_pending(batch, reason)
            if not batch.single:
                batch.exhausted = True

    def _recycle(self, roster: Roster, worker: int) -> None:
        limit = self.config.max_tasks_per_worker
        if limit is None or roster.served[worker] < limit or roster.level != "process":
            return
        reason = because(Code.TASKS_SERVED, tasks=roster.served[worker], limit=limit)
        roster.remove(worker)
        self._out.append(RetireWorker(roster.level, worker))
        self._explain("recycled", "debug", f"worker {worker}", reason)

    def _shut_levels(self) -> frozenset[str]:
        return frozenset(name for name, roster in self.rosters.items() if roster.breaker.shut_until is not None)

    def _level_change_under_way(self) -> bool:
        return any(roster.is_leaving for roster in self.rosters.values())

    def _cap_in_use(self, level: str) -> int:
        return self.rosters[level].cap if self.rosters[level].size else 1

    def _tell_unenforced(self, batch: Batch) -> None:
        reason = because(Code.NOT_ENFORCED, limit=self.config.task_timeout)
        self._explain("unenforced", "warning", f"batch {batch.id}", reason)

    def _explain_loss(self, event: WorkerLost, flight: Flight | None) -> None:
        code = Code.STARTER_LOST if event.blameless else Code.WORKER_DIED
        unfinished = 0 if flight is None else flight.stop - flight.next
        facts: dict[str, Fact] = {"cause": event.cause, "task": event.running, "unfinished": unfinished}
        self._explain("lost", "warning", f"worker {event.worker}", because(code, **facts))

    def _explain(
        self, event: str, severity: str, subject: str, reason: Reason, *, old: str = "", new: str = "", **more: Fact
    ) -> None:
        if more:
            reason = Reason(reason.code, reason.facts + tuple(more.items()))
        self._out.append(Explain(Decision(self._now, event, severity, subject, reason, old, new)))

    def check(self) -> Iterable[str]:
        """Name every invariant that does not hold now; tests and the simulator ask after each event."""
        for batch in self.batches.values():
            out = [flight for flight in self.flights.values() if flight.batch == batch.id]
            unfinished = sum(flight.stop - flight.next for flight in out)
            if batch.finished + batch.pending + batch.suspects + unfinished != batch.arrived:
                yield f"batch {batch.id} does not add up"
            if len(out) != batch.in_flight:
                yield f"batch {batch.id} counts {batch.in_flight} chunks out, there are {len(out)}"
        limit = self.config.max_in_flight
        if limit is not None and len(self.flights) > limit:
            yield f"{len(self.flights)} chunks in flight, {limit} allowed"
        for roster in self.rosters.values():
            if roster.level != "sequential" and len(roster.busy) > max(roster.cap, 1) + len(self._records):
                yield f"level {roster.level} has {len(roster.busy)} busy workers, cap {roster.cap}"
