"""Runs of a million chunks: no number that is learned runs to nothing, to infinity or out of its
range, and what a run keeps does not grow."""

import sys
from collections import deque
from enum import Enum
from math import exp, log
from random import Random

import pytest

from adaptive_exec.config import MIB, Config
from adaptive_exec.core import events as ev
from adaptive_exec.core import instructions as ins
from adaptive_exec.core.events import Usage
from tests.core.feeder import Feeder

CHUNKS = 1_000_000
FEWER_CHUNKS = 200_000
SLOWEST_SECONDS = 10_000.0
FASTEST_SECONDS = 1e-7
MOST_BYTES = 1 << 45


def usage(order: ins.SendChunk, *, seconds: float, size_bytes: int) -> Usage:
    tasks = order.stop - order.start
    return Usage(
        tasks,
        seconds,
        seconds / 2,
        transport_seconds=seconds / 10,
        sent_bytes=size_bytes,
        result_bytes=size_bytes,
        peak_bytes=size_bytes,
        span_bytes=size_bytes,
        kept_bytes=size_bytes,
        birth_bytes=10 * MIB,
    )


def constant(number: int, order: ins.SendChunk) -> Usage:
    return usage(order, seconds=0.05, size_bytes=0 if number else 100 * MIB)


def growing(number: int, order: ins.SendChunk) -> Usage:
    return _between(number / FEWER_CHUNKS, order)


def vanishing(number: int, order: ins.SendChunk) -> Usage:
    if number > CHUNKS // 2:
        return usage(order, seconds=0.0, size_bytes=0)
    return _between(1.0 - number / (CHUNKS // 2), order)


def _between(part: float, order: ins.SendChunk) -> Usage:
    seconds = FASTEST_SECONDS * exp(part * log(SLOWEST_SECONDS / FASTEST_SECONDS))
    return usage(order, seconds=seconds, size_bytes=int(exp(part * log(MOST_BYTES))))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("measure", "chunks"),
    [(constant, FEWER_CHUNKS), (growing, FEWER_CHUNKS), (vanishing, CHUNKS)],
    ids=lambda one: getattr(one, "__name__", str(one)),
)
def test_up_to_a_million_chunks_leave_every_number_in_its_range(measure, chunks):
    feeder = Feeder(Config(levels="process"))
    feeder.open(1)

    feeder.feed(chunks, measure)

    assert feeder.chunks == chunks
    assert list(feeder.run.check()) == []


@pytest.mark.parametrize("measure", [constant, growing, vanishing], ids=lambda one: one.__name__)
def test_some_thousand_chunks_leave_every_number_in_its_range(measure):
    feeder = Feeder(Config(levels="process"))
    feeder.open(1)

    feeder.feed(5000, measure, check_every=50)

    assert feeder.chunks == 5000


class Struck(Feeder):
    """A feeder whose workers die and are refused, so that levels go down and come back."""

    def __init__(self, config: Config, seed: int) -> None:
        super().__init__(config)
        self.random = Random(seed)
        self.trace.decisions = deque(maxlen=100)  # it is bounded, and full at once

    def obey(self, order: ins.Instruction) -> None:
        if isinstance(order, ins.StartWorkers | ins.OpenLevel) and order.level == "process":
            for worker in order.workers:
                self.told.append(self.any_start(order.level, worker))
            return
        if isinstance(order, ins.KillWorker):
            lost = ev.WorkerLost(self.at, order.level, order.worker, "killed", blameless=True)
            self.told.append(lost)
            self.out = deque(one for one in self.out if one.worker != order.worker)
        super().obey(order)

    def any_start(self, level: str, worker: int) -> ev.Event:
        match self.random.choices(["ready", "refused", "lost", "broken"], [60, 20, 10, 10])[0]:
            case "refused":
                return ev.StartRefused(self.at, level, worker, f"OSError: no. {worker}")
            case "lost":
                return ev.WorkerLost(self.at, level, worker, "signal 9", blameless=True)
            case "broken":
                return ev.WorkerLost(self.at, level, worker, f"exit {worker}")
            case _:
                return ev.WorkerReady(self.at, level, worker, 10**7)

    def end_chunk(self, order: ins.SendChunk) -> None:
        """End the next chunk: well, or with its worker's death."""
        self.at += 0.05
        if order.level == "process" and self.random.random() < 0.1:
            how = self.random.choice([{}, {"memory": True}, {"unexplained": True}])
            running = self.random.choice([None, *range(order.start, order.stop)])
            known = self.random.random() < 0.8
            lost = ev.WorkerLost(
                self.at, order.level, order.worker, "signal 9", running, known, **how
            )
            self.tell(lost)
        else:
            tasks = order.stop - order.start
            self.tell(
                ev.ChunkDone(
                    self.at, order.chunk, tasks, usage(order, seconds=0.05, size_bytes=MIB)
                )
            )
        self.chunks += 1

    def finish(self, batch: int) -> None:
        while batch in self.run.batches:
            order = self._next_chunk()
            if order is not None:
                self.end_chunk(order)
            else:  # no more starts for its suspect were allowed: it ended while time passed
                assert batch not in self.run.batches, "nothing is out, and nothing is due"


def deep_size(thing: object, seen: set[int]) -> int:
    """Count the bytes of a thing and of all that it holds."""
    if id(thing) in seen or isinstance(thing, (type, Enum)):
        return 0
    seen.add(id(thing))
    size = sys.getsizeof(thing)
    if isinstance(thing, dict):
        return size + sum(deep_size(part, seen) for pair in thing.items() for part in pair)
    if isinstance(thing, (tuple, list, set, frozenset, deque)):
        return size + sum(deep_size(part, seen) for part in thing)
    parts = [getattr(thing, name, None) for name in getattr(type(thing), "__slots__", ())]
    return size + sum(deep_size(part, seen) for part in [*parts, vars_of(thing)])


def vars_of(thing: object) -> object:
    return getattr(thing, "__dict__", None)


@pytest.mark.slow
def test_what_a_run_keeps_does_not_grow_with_its_batches_its_workers_and_their_deaths():
    feeder = Struck(Config(retries=1, max_tasks_per_worker=30), seed=1)
    sizes = []
    for number in range(1, 2001):
        feeder.at += 100.0 * (number % 10 == 0)  # so that levels are tried again
        feeder.open(number, tasks=20, kind=number)
        feeder.finish(number)
        if number % 10 == 0:
            assert list(feeder.run.check()) == []
            sizes.append(deep_size([feeder.run, feeder.trace], set()))

    early, late = max(sizes[15:40]), max(sizes[-25:])
    assert late <= 1.1 * early, sizes
    assert feeder.trace.degrades >= 3
    assert feeder.trace.restores >= 3
