"""A Run in any order of legal events: nothing is lost, doubled, stalled or out of place."""

import copy
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from adaptive_exec.config import Config
from adaptive_exec.core import events as ev
from adaptive_exec.core import instructions as ins
from adaptive_exec.core.sharing.share import Claim
from tests.core.world import GIB, World, make_host

LEVEL_CHOICES = [
    "auto",
    "auto",
    "auto",
    ("process",),
    ("process", "sequential"),
    ("thread", "sequential"),
]
PRESSURES = [32 * GIB] * 4 + [3 * GIB, GIB]
OUTSIDE = [
    {"unexplained": True},
    {"unexplained": True, "is_counted": True},
    {"unexplained": True, "is_counted": True, "peak_bytes": 31 * GIB},
    {"unexplained": True, "peak_bytes": 31 * GIB},
]
"""Kills by another hand: whether the kernel counted one for memory, and the size of the worker."""
RARELY = [False] * 7 + [True]
PICK = range(1000)
ACTIONS: dict[str, "Action"] = {}


FEW_COMPARED = 12
"""Tasks of which the largest is looked for, without a buffer of the caller's; usually 10,000."""


@dataclass
class Action:
    method: Callable[..., None]
    weight: int
    when: Callable[["AnyOrder"], bool]
    choices: dict[str, Sequence]


def action(weight=1, when=bool, **choices):
    """Make a rule of a method, and keep it for walks at random."""

    def keep(method):
        ACTIONS[method.__name__] = Action(method, weight, when, choices)
        strategies = {name: st.sampled_from(those) for name, those in choices.items()}
        return precondition(when)(rule(**strategies)(method))

    return keep


START = {
    "levels": LEVEL_CHOICES,
    "retries": [0, 1, 2],
    "max_in_flight": [None, None, 1, 3],
    "max_workers": [None, None, 1, 3],
    "max_tasks_per_worker": [None, None, 1, 5],
    "task_timeout": [None, None, 1.0],
    "isolate": RARELY,
    "share_host": [False, False, False, True],
    "available": PRESSURES,
    "first": [
        {"tasks": None},
        {"tasks": 40, "chunk_tasks": 4},
        {"single": True},
        {"tasks": FEW_COMPARED, "sized": True, "largest_first": True},
    ],
    "is_staffed": [True, True, False],
}


class AnyOrder(RuleBasedStateMachine):
    @initialize(**{name: st.sampled_from(those) for name, those in START.items()})
    def begin(self, available, first, is_staffed, isolate, **settings):
        levels = settings["levels"]
        settings["isolate"] = isolate and (levels == "auto" or "process" in levels)
        self.world = World(Config(**settings), make_host(available=available))
        self.world.open(**{"tasks": None} | first)
        self.feed()
        if is_staffed:
            self.all_starts_succeed()

    def feed(self):
        for batch in self.pulls:
            self.world.arrive(batch, min(100, self.world.books[batch].asked))
        for batch in self.submits:
            self.world.arrive(batch, 4)

    def one(self, things, which):
        things = list(things)
        return things[which % len(things)]

    # callers

    @action(
        2,
        when=lambda self: not self.world.is_stopped and len(self.world.books) < 4,
        tasks=[None, 1, 3, 4, 40],
        chunk=[None, None, 1, 4],
        buffer=[None, None, 1, 5],
        portable=[True, True, True, False],
        recorded=[True, False],
        largest=[False, False, True],
    )
    def open_map(self, tasks, chunk, buffer, portable, recorded, largest):
        sizes = {"chunk_tasks": chunk, "buffer_tasks": buffer}
        if largest:  # of which as many are asked for as may be compared, and all are walked here
            sizes |= {"sized": True, "largest_first": True, "buffer_tasks": buffer or FEW_COMPARED}
        self.world.open(tasks=tasks, **sizes, portable=portable, recorded=recorded)

    @action(
        when=lambda self: not self.world.is_stopped and len(self.world.books) < 4,
        tasks=[None, 2, 8],
    )
    def open_submits(self, tasks):
        self.world.open(tasks=tasks, single=True)

    @property
    def pulls(self):
        books = self.world.books.items()
        return [batch for batch, one in books if one.asked and not one.exhausted]

    @property
    def submits(self):
        books = self.world.books.items()
        return [batch for batch, one in books if one.opened.single and not one.exhausted]

    @action(3, when=lambda self: self.pulls, which=PICK, count=range(1, 41), is_end=[True, False])
    def answer_pull(self, which, count, is_end):
        batch = self.one(self.pulls, which)
        books = self.world.books[batch]
        count = min(count, books.asked)
        self.world.arrive(batch, count)
        if is_end and not books.finished:
            self.world.exhaust(batch)

    @action(2, when=lambda self: self.pulls, which=PICK, count=range(1, 41), recalled=PICK)
    def the_journal_knows_some(self, which, count, recalled):
        batch = self.one(self.pulls, which)
        books = self.world.books[batch]
        start, count = books.arrived, min(count, books.asked)
        self.world.set_aside(batch, count)
        recalled %= count + 1
        if recalled and start in books.aside:
            self.world.recall(batch, start, start + recalled, result_bytes=recalled * 1000)

    @property
    def asides(self):
        return [batch for batch, one in self.world.books.items() if one.aside]

    @action(2, when=lambda self: self.asides, which=PICK, is_done=[True, False])
    def another_instance_ends_a_task_or_itself(self, which, is_done):
        batch = self.one(self.asides, which)
        start = min(self.world.books[batch].aside)
        (self.world.recall if is_done else self.world.free)(batch, start, start + 1)

    @action(really=RARELY)
    def the_journal_fails(self, really):
        if really:
            self.world.is_unrecorded = True
            self.world.say(ev.JournalFailed(self.world.at, "database or disk is full"))

    @action(6, when=lambda self: not self.world.is_stopped)
    def feed_all(self):
        self.feed()

    @action(when=lambda self: self.pulls, which=PICK)
    def end_input(self, which):
        self.world.exhaust(self.one(self.pulls, which))

    @action(
        when=lambda self: self.submits and not self.world.is_stopped, which=PICK, count=range(1, 6)
    )
    def submit(self, which, count):
        self.world.arrive(self.one(self.submits, which), count)

    @action(when=lambda self: self.submits, which=PICK)
    def end_submits(self, which):
        self.world.exhaust(self.one(self.submits, which))

    @action(
        3,
        when=lambda self: any(books.takeable for books in self.world.books.values()),
        which=PICK,
        count=PICK,
    )
    def take_results(self, which, count):
        books = self.world.books
        batch = self.one([number for number, one in books.items() if one.takeable], which)
        self.world.take(batch, 1 + count % books[batch].takeable)

    @action(when=lambda self: self.world.books, which=PICK, really=RARELY)
    def drop_batch(self, which, really):
        if really:
            self.world.drop(self.one(self.world.books, which))

    @action(really=RARELY, cancel=[True, False])
    def stop(self, really, cancel):
        if really:
            self.world.stop(cancel=cancel)

    # workers

    @action(4, when=lambda self: self.world.starting, which=PICK)
    def start_succeeds(self, which):
        self.world.ready(self.one(self.world.starting, which))

    @action(4, when=lambda self: self.world.starting)
    def all_starts_succeed(self):
        for worker in list(self.world.starting):
            if worker in self.world.starting:
                self.world.ready(worker)

    @action(when=lambda self: self.world.starting, which=PICK, lasting=[True, False])
    def start_is_refused(self, which, lasting):
        self.world.refuse(self.one(self.world.starting, which), lasting=lasting)

    @action(when=lambda self: self.world.starting, lasting=[True, False])
    def all_starts_are_refused(self, lasting):
        for worker in list(self.world.starting):
            if worker in self.world.starting:
                self.world.refuse(worker, lasting=lasting)

    @action(when=lambda self: self.world.starting, which=PICK, really=RARELY)
    def initializer_fails(self, which, really):
        if not really:
            return
        worker = self.one(self.world.starting, which)
        level = self.world.starting.pop(worker)
        self.world.say(ev.InitializerFailed(self.world.at, level, worker, "ValueError"))

    @action(3, when=lambda self: self.world.chunks, which=PICK, count=PICK)
    def chunk_progresses(self, which, count):
        chunk = self.one(self.world.chunks, which)
        self.world.progress(chunk, count % (1 + self.world.chunks[chunk].left))

    @action(
        6,
        when=lambda self: self.world.chunks,
        which=PICK,
        wall=[0.0, 1e-6, 0.01, 5.0],
        cpu=[None, 0.0, 0.01],
        memory=[{}, {}, {"span_bytes": GIB, "kept_bytes": 0}, {"span_bytes": 0, "kept_bytes": GIB}],
        result=[0, 0, 50_000_000],
    )
    def chunk_ends(self, which, wall, cpu, memory, result):
        chunk = self.one(self.world.chunks, which)
        usage = {"transport_seconds": 0.001, "cpu_seconds": cpu, "result_bytes": result} | memory
        self.world.done(chunk, wall=wall, **usage)

    @action(2, when=lambda self: self.long_chunks, which=PICK)
    def what_stands_behind_a_long_task_is_taken_back(self, which):
        self.world.take_back(self.one(self.long_chunks, which))

    @property
    def long_chunks(self):
        return [n for n, one in self.world.chunks.items() if one.left > 1]

    @action(6, when=lambda self: self.world.chunks, wall=[1e-6, 0.01], rounds=range(1, 5))
    def all_chunks_end(self, wall, rounds):
        for _ in range(rounds):
            for chunk in list(self.world.chunks):
                if chunk in self.world.chunks:
                    self.world.done(chunk, wall=wall, transport_seconds=0.001)
            if not self.world.is_stopped:
                self.feed()

    @action(when=lambda self: self.world.chunks, which=PICK, count=PICK, wall=[1e-6, 0.01])
    def chunk_comes_back_early(self, which, count, wall):
        chunk = self.one(self.world.chunks, which)
        self.world.done(chunk, count % (1 + self.world.chunks[chunk].left), wall=wall)

    @property
    def process_workers(self):
        mine = {**self.world.starting, **self.world.workers, **self.world.doomed}
        return [worker for worker, level in mine.items() if level == "process"]

    @property
    def process_chunks(self):
        chunks = self.world.chunks.items()
        return [number for number, chunk in chunks if chunk.order.level == "process"]

    @action(
        2,
        when=lambda self: self.process_workers,
        which=PICK,
        offset=[None, *range(6)],
        how=[{}, {}, {"blameless": True}, {"memory": True}, *OUTSIDE],
        known=[True, True, True, False],
    )
    def worker_is_lost(self, which, offset, how, known):
        worker = self.one(self.process_workers, which)
        if worker in self.world.doomed:
            how, known = {"blameless": True}, True
        self.world.unknown_losses += not known
        cause = "out of memory (confirmed)" if how.get("memory") else "signal 9"
        self.world.lose(worker, offset=offset, known=known, cause=cause, **how)

    @action(
        2,
        when=lambda self: self.process_chunks,
        which=PICK,
        how=[{}, {"memory": True}, {"foul": True}, *OUTSIDE],
    )
    def task_kills(self, which, how):
        chunk = self.world.chunks[self.one(self.process_chunks, which)]
        if chunk.left and chunk.order.worker not in self.world.doomed:
            self.world.lose(chunk.order.worker, offset=0, **how)

    @action(when=lambda self: self.process_chunks, which=PICK, really=RARELY)
    def function_is_refused(self, which, really):
        if not really:
            return
        chunk = self.one(self.process_chunks, which)
        if self.world.chunks[chunk].next == self.world.chunks[chunk].order.start:
            del self.world.chunks[chunk]
            self.world.say(ev.FunctionRefused(self.world.at, chunk, "ImportError: no module"))

    @action(when=lambda self: self.process_chunks and self.world.config.task_timeout, which=PICK)
    def task_is_overdue(self, which):
        chunk = self.world.chunks[self.one(self.process_chunks, which)]
        if chunk.left:
            event = ev.TaskOverdue(self.world.at, chunk.order.chunk, chunk.next, 1.5)
            self.world.say(event)

    @action(when=lambda self: self.process_chunks, which=PICK, ahead=PICK, really=RARELY)
    def task_is_unwanted(self, which, ahead, really):
        chunk = self.world.chunks[self.one(self.process_chunks, which)]
        if really and chunk.left:
            index = chunk.next + ahead % chunk.left
            self.world.say(ev.TaskUnwanted(self.world.at, chunk.order.batch, index))

    @action(when=lambda self: self.process_workers, which=PICK, really=RARELY)
    def worker_stalls(self, which, really):
        if not really:
            return
        worker = self.one(self.process_workers, which)
        self.world.say(ev.WorkerStalled(self.world.at, "process", worker, "stopped"))

    @action(4, when=lambda self: "closing" in self.world.levels.values())
    def level_closes(self):
        levels = self.world.levels.items()
        self.world.close_level(next(level for level, state in levels if state == "closing"))

    # the world

    @action(available=PRESSURES)
    def host_is_sampled(self, available):
        self.world.sample(available)

    @action(count=[0, 0, 1, 3, 20], slots=[1, 4], held=[0, 4], size=[0, GIB, 8 * GIB])
    def neighbours_come_and_go(self, count, slots, held, size):
        self.world.neighbours = [
            Claim(f"other {number}", -1.0, slots, held, size, size * slots, size * held)
            for number in range(count)
        ]

    @action(really=RARELY)
    def the_ledger_breaks(self, really):
        self.world.is_ledger_usable = not really

    @action(seconds=[0.0, 0.05, 0.5, 5.0, 40.0, 700.0])
    def time_passes(self, seconds):
        self.world.wait(seconds)

    @action(
        level=["process", "thread"],
        kind=[ev.WorkerReady, ev.StartRefused, ev.WorkerLost, ev.WorkerStalled],
    )
    def a_stranger_is_heard_of(self, level, kind):
        fields = (
            {} if kind is ev.WorkerReady else {"error" if kind is ev.StartRefused else "cause": "?"}
        )
        due_anyway = copy.deepcopy(self.world.run).handle(ev.TimerFired(self.world.at))
        orders = self.world.say(kind(self.world.at, level, 10**6, **fields))
        orders = [order for order in orders if not isinstance(order, ins.SetTimer)]
        assert all(order in due_anyway for order in orders)

    @action(when=lambda self: self.world.retired, which=PICK)
    def a_retired_worker_ends(self, which):
        worker = self.one(self.world.retired, which)
        self.world.say(ev.WorkerLost(self.world.at, "process", worker, "exit 0"))

    @action()
    def a_timer_fires_too_early(self):
        self.world.timer = None
        self.world.say(ev.TimerFired(self.world.at))

    def teardown(self):
        if hasattr(self, "world") and not self.world.is_wrecked:
            self.world.settle()
            self.world.replay()


TestAnyOrder = AnyOrder.TestCase


WALKS = 300 if os.environ.get("HYPOTHESIS_PROFILE") == "ci" else 30
STEPS = 250


@pytest.mark.parametrize("seed", range(WALKS))
def test_a_long_walk_at_random_breaks_no_rule(seed: int):
    """Hypothesis finds the short stories and shrinks them; these are the long ones."""
    random = Random(seed)
    machine = AnyOrder()
    machine.begin(**draw(random, START))
    weights = [one.weight for one in ACTIONS.values()]

    for one in random.choices(list(ACTIONS.values()), weights, k=STEPS):
        if one.when(machine):
            one.method(machine, **draw(random, one.choices))

    machine.teardown()


def draw(random: Random, choices: dict) -> dict:
    return {name: random.choice(those) for name, those in choices.items()}


def test_refused_starts_of_a_level_that_is_closing_change_nothing():
    machine = AnyOrder()
    machine.begin(
        levels="auto", retries=0, max_in_flight=None, max_workers=None, max_tasks_per_worker=1,
        task_timeout=None, isolate=False, share_host=False, available=32 * 2**30,
        first={"tasks": None}, is_staffed=True,
    )  # fmt: skip
    machine.all_chunks_end(rounds=1, wall=1e-06)
    machine.start_is_refused(lasting=True, which=0)
    machine.start_is_refused(lasting=True, which=0)
    machine.stop(cancel=True, really=True)
    machine.initializer_fails(really=True, which=0)

    machine.worker_is_lost(how={}, known=True, offset=None, which=0)

    machine.teardown()


TestAnyOrder.settings = settings(
    settings.default,
    stateful_step_count=120,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],  # explaining is slow here
    suppress_health_check=list(HealthCheck),
)
