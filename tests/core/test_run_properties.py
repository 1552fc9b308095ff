"""A Run in any order of legal events: nothing is lost, doubled, stalled or out of place."""

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from adaptive_exec.config import Config
from adaptive_exec.core import events as ev
from tests.core.world import GIB, World, make_host

LEVEL_CHOICES = ["auto", ("process",), ("process", "sequential"), ("thread", "sequential")]
PRESSURES = st.sampled_from([32 * GIB, 32 * GIB, 3 * GIB, GIB])
pick = st.integers(0, 1000)


def configs():
    return st.builds(
        dict,
        levels=st.sampled_from(LEVEL_CHOICES),
        retries=st.integers(0, 2),
        max_in_flight=st.sampled_from([None, None, 1, 3]),
        max_workers=st.sampled_from([None, 1, 3]),
        max_tasks_per_worker=st.sampled_from([None, None, 1, 5]),
        task_timeout=st.sampled_from([None, None, 1.0]),
    )


class AnyOrder(RuleBasedStateMachine):
    @initialize(settings=configs(), isolate=st.booleans(), available=PRESSURES)
    def begin(self, settings, isolate, available):
        levels = settings["levels"]
        settings["isolate"] = isolate and (levels == "auto" or "process" in levels)
        note(str(settings))
        self.world = World(Config(**settings), make_host(available=available))

    def one(self, things, which):
        things = list(things)
        return things[which % len(things)]

    def some(self, what):
        return self.world is not None and bool(what)

    # callers

    @precondition(lambda self: not self.world.is_stopped and len(self.world.books) < 4)
    @rule(
        tasks=st.sampled_from([None, 1, 3, 4, 40]),
        chunk=st.sampled_from([None, None, 1, 4]),
        buffer=st.sampled_from([None, None, 1, 5]),
        portable=st.sampled_from([True, True, True, False]),
    )
    def open_map(self, tasks, chunk, buffer, portable):
        self.world.open(tasks=tasks, chunk_tasks=chunk, buffer_tasks=buffer, portable=portable)

    @precondition(lambda self: not self.world.is_stopped and len(self.world.books) < 4)
    @rule(tasks=st.sampled_from([None, 2, 8]))
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

    @precondition(lambda self: self.pulls)
    @rule(which=pick, count=st.integers(1, 40), is_end=st.booleans())
    def answer_pull(self, which, count, is_end):
        batch = self.one(self.pulls, which)
        books = self.world.books[batch]
        count = min(count, books.asked)
        self.world.arrive(batch, count)
        if is_end and not books.finished:
            self.world.exhaust(batch)

    @precondition(lambda self: self.pulls)
    @rule(which=pick)
    def end_input(self, which):
        self.world.exhaust(self.one(self.pulls, which))

    @precondition(lambda self: self.submits and not self.world.is_stopped)
    @rule(which=pick, count=st.integers(1, 5))
    def submit(self, which, count):
        self.world.arrive(self.one(self.submits, which), count)

    @precondition(lambda self: self.submits)
    @rule(which=pick)
    def end_submits(self, which):
        self.world.exhaust(self.one(self.submits, which))

    @precondition(lambda self: any(books.takeable for books in self.world.books.values()))
    @rule(which=pick, count=pick)
    def take_results(self, which, count):
        books = self.world.books
        batch = self.one([number for number, one in books.items() if one.takeable], which)
        self.world.take(batch, 1 + count % books[batch].takeable)

    @precondition(lambda self: self.world.books)
    @rule(which=pick, really=st.integers(0, 3))
    def drop_batch(self, which, really):
        if really == 0:
            self.world.drop(self.one(self.world.books, which))

    @rule(really=st.integers(0, 9), cancel=st.booleans())
    def stop(self, really, cancel):
        if really == 0:
            self.world.stop(cancel=cancel)

    # workers

    @precondition(lambda self: self.world.starting)
    @rule(which=pick)
    def start_succeeds(self, which):
        self.world.ready(self.one(self.world.starting, which))

    @precondition(lambda self: self.world.starting)
    @rule()
    def all_starts_succeed(self):
        for worker in list(self.world.starting):
            if worker in self.world.starting:
                self.world.ready(worker)

    @precondition(lambda self: self.world.starting)
    @rule(which=pick, lasting=st.booleans())
    def start_is_refused(self, which, lasting):
        self.world.refuse(self.one(self.world.starting, which), lasting=lasting)

    @precondition(lambda self: self.world.starting)
    @rule(lasting=st.booleans())
    def all_starts_are_refused(self, lasting):
        for worker in list(self.world.starting):
            if worker in self.world.starting:
                self.world.refuse(worker, lasting=lasting)

    @precondition(lambda self: self.world.starting)
    @rule(which=pick, really=st.integers(0, 9))
    def initializer_fails(self, which, really):
        if really:
            return
        worker = self.one(self.world.starting, which)
        level = self.world.starting.pop(worker)
        self.world.say(ev.InitializerFailed(self.world.at, level, worker, "ValueError"))

    @precondition(lambda self: self.world.chunks)
    @rule(which=pick, count=pick)
    def chunk_progresses(self, which, count):
        chunk = self.one(self.world.chunks, which)
        self.world.progress(chunk, count % (1 + self.world.chunks[chunk].left))

    @precondition(lambda self: self.world.chunks)
    @rule(
        which=pick,
        wall=st.sampled_from([0.0, 1e-6, 0.01, 5.0]),
        cpu=st.sampled_from([None, 0.0, 0.01]),
    )
    def chunk_ends(self, which, wall, cpu):
        chunk = self.one(self.world.chunks, which)
        self.world.done(chunk, wall=wall, transport_seconds=0.001, cpu_seconds=cpu)

    @precondition(lambda self: self.world.chunks)
    @rule(wall=st.sampled_from([1e-6, 0.01]))
    def all_chunks_end(self, wall):
        for chunk in list(self.world.chunks):
            if chunk in self.world.chunks:
                self.world.done(chunk, wall=wall, transport_seconds=0.001)

    @precondition(lambda self: self.world.chunks)
    @rule(which=pick, count=pick, wall=st.sampled_from([1e-6, 0.01]))
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

    @precondition(lambda self: self.process_workers)
    @rule(
        which=pick,
        offset=st.one_of(st.none(), st.integers(0, 5)),
        how=st.sampled_from([{}, {}, {"blameless": True}, {"memory": True}, {"unexplained": True}]),
        known=st.sampled_from([True, True, True, False]),
    )
    def worker_is_lost(self, which, offset, how, known):
        worker = self.one(self.process_workers, which)
        if worker in self.world.doomed:
            how, known = {"blameless": True}, True
        self.world.unknown_losses += not known
        cause = "out of memory (confirmed)" if how.get("memory") else "signal 9"
        self.world.lose(worker, offset=offset, known=known, cause=cause, **how)

    @precondition(lambda self: self.process_chunks)
    @rule(which=pick, how=st.sampled_from([{}, {"memory": True}, {"unexplained": True}]))
    def task_kills(self, which, how):
        chunk = self.world.chunks[self.one(self.process_chunks, which)]
        if chunk.left and chunk.order.worker not in self.world.doomed:
            self.world.lose(chunk.order.worker, offset=0, **how)

    @precondition(lambda self: self.process_chunks)
    @rule(which=pick)
    def function_is_refused(self, which):
        chunk = self.one(self.process_chunks, which)
        if self.world.chunks[chunk].next == self.world.chunks[chunk].order.start:
            del self.world.chunks[chunk]
            self.world.say(ev.FunctionRefused(self.world.at, chunk, "ImportError: no module"))

    @precondition(lambda self: self.process_chunks and self.world.config.task_timeout)
    @rule(which=pick)
    def task_is_overdue(self, which):
        chunk = self.world.chunks[self.one(self.process_chunks, which)]
        if chunk.left:
            event = ev.TaskOverdue(self.world.at, chunk.order.chunk, chunk.next, 1.5)
            self.world.say(event)

    @precondition(lambda self: self.process_workers)
    @rule(which=pick)
    def worker_stalls(self, which):
        worker = self.one(self.process_workers, which)
        self.world.say(ev.WorkerStalled(self.world.at, "process", worker, "stopped"))

    @precondition(lambda self: "closing" in self.world.levels.values())
    @rule()
    def level_closes(self):
        levels = self.world.levels.items()
        self.world.close_level(next(level for level, state in levels if state == "closing"))

    # the world

    @rule(available=PRESSURES)
    def host_is_sampled(self, available):
        self.world.sample(available)

    @rule(seconds=st.sampled_from([0.0, 0.05, 0.5, 5.0, 40.0, 700.0]))
    def time_passes(self, seconds):
        self.world.wait(seconds)

    @rule(
        level=st.sampled_from(["process", "thread"]),
        kind=st.sampled_from([ev.WorkerReady, ev.StartRefused, ev.WorkerLost, ev.WorkerStalled]),
    )
    def a_stranger_is_heard_of(self, level, kind):
        fields = (
            {} if kind is ev.WorkerReady else {"error" if kind is ev.StartRefused else "cause": "?"}
        )
        orders = self.world.say(kind(self.world.at, level, 10**6, **fields))
        assert orders == []

    @precondition(lambda self: self.world.retired)
    @rule(which=pick)
    def a_retired_worker_ends(self, which):
        worker = self.one(self.world.retired, which)
        self.world.say(ev.WorkerLost(self.world.at, "process", worker, "exit 0"))

    @rule()
    def a_timer_fires_too_early(self):
        self.world.timer = None
        self.world.say(ev.TimerFired(self.world.at))

    def teardown(self):
        if hasattr(self, "world") and not self.world.is_wrecked:
            self.world.settle()
            self.world.replay()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(
    settings.default,
    stateful_step_count=60,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],  # explaining is slow here
    suppress_health_check=list(HealthCheck),
)
