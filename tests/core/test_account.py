"""Each second of each worker is counted once, under the name of what it was spent on."""

import pytest

from adaptive_exec.config import Config
from adaptive_exec.core import events as ev
from adaptive_exec.core.account import USES
from adaptive_exec.core.reason import Code
from adaptive_exec.core.report import CodeCount, RunReport, advise, explain_account
from adaptive_exec.core.run import Run
from adaptive_exec.core.trace import Trace
from tests.core.feeder import Feeder
from tests.core.world import make_host


class Counting(Feeder):
    """Adds up, beside the account, how many workers there were while there was work."""

    def __init__(self, config: Config, *, cores: int = 4) -> None:
        super().__init__(config, cores=cores)
        self.worker_seconds = self.wall_seconds = 0.0
        self.last: tuple[float, int] | None = None

    def tell(self, event: ev.Event) -> None:
        if self.last is not None:
            at, workers = self.last
            self.wall_seconds += self.at - at
            self.worker_seconds += workers * (self.at - at)
        super().tell(event)
        is_at_work = bool(self.run.batches)
        workers = sum(roster.size for roster in self.run.rosters.values())
        self.last = (self.at, workers) if is_at_work else None


def half_in_tasks(number, order):
    return ev.Usage(order.stop - order.start, 0.05 + 0.01 * (number % 7), 0.05)


@pytest.mark.parametrize("tasks", [3, 50, 400])
@pytest.mark.parametrize("settings", [{}, {"levels": ("thread",)}, {"max_workers": 2}], ids=str)
def test_the_parts_are_the_whole(settings, tasks):
    feeder = Counting(Config(**settings))

    feeder.open(1, tasks=tasks)
    feeder.feed(tasks, half_in_tasks)

    report = feeder.trace.report()
    assert report.tasks == tasks
    assert report.wall_seconds == pytest.approx(feeder.wall_seconds)
    assert sum(dict(report.worker_seconds).values()) == pytest.approx(feeder.worker_seconds)
    assert all(seconds >= 0 for _, seconds in report.worker_seconds)


class Told:
    """A run and its trace, told one event after the other."""

    def __init__(self, **settings) -> None:
        self.run = Run(Config(share_host=False, max_workers=2, **settings), make_host())
        self.trace = Trace()
        self.orders = []

    def tell(self, event: ev.Event) -> list:
        orders = self.run.handle(event)
        self.trace.see(event, orders, self.run.state)
        self.orders += orders
        return orders

    def begin(self, tasks: int, **fields) -> list[int]:
        """Open a batch, have workers ready after a second; return the chunks that went out."""
        self.tell(ev.BatchOpened(0.0, 1, None, **fields))
        self.tell(ev.TasksArrived(0.0, 1, tasks, is_last=False))
        for worker in sorted(self.run.rosters["process"].starting):
            self.tell(ev.WorkerReady(1.0, "process", worker))
        return sorted(self.run.flights)

    @property
    def report(self) -> RunReport:
        return self.trace.report()

    def spent(self) -> dict[str, float]:
        return {use: round(seconds, 6) for use, seconds in self.report.worker_seconds if seconds}


def test_what_waits_for_the_callers_iterator_is_told_from_what_waits_for_the_caller():
    told = Told()
    chunks = told.begin(2, buffer_tasks=2)
    for chunk in chunks:
        told.tell(ev.ChunkDone(2.0, chunk, 1, ev.Usage(1, 0.75, 0.7)))
    told.tell(ev.ResultsTaken(5.0, 1, 1))
    told.tell(ev.TasksArrived(8.0, 1, 1, is_last=True))

    assert len(chunks) == 2
    assert told.spent() == {
        "start": 2.0, "compute": 1.5, "transport": 0.5, "caller": 6.0, "input": 6.0
    }  # fmt: skip


def test_what_ran_in_a_worker_that_died_is_lost():
    told = Told()
    told.begin(2)
    flight = next(iter(told.run.flights.values()))

    told.tell(ev.WorkerLost(3.5, "process", flight.worker, running=flight.start, cause="signal 11"))

    assert told.spent()["lost"] == 2.5


def test_time_without_work_does_not_count():
    told = Told()
    (first,) = told.begin(1, single=True)
    told.tell(ev.ChunkDone(2.0, first, 1, ev.Usage(1, 1.0, 1.0)))
    told.tell(ev.TasksArrived(10.0, 1, 1, is_last=False))
    (second,) = told.run.flights
    told.tell(ev.ChunkDone(11.0, second, 1, ev.Usage(1, 1.0, 1.0)))
    told.tell(ev.TimerFired(20.0))

    assert told.report.wall_seconds == 3.0
    assert told.spent()["compute"] == 2.0


def test_a_report_says_in_words_what_held_it_back():
    spent = dict.fromkeys(USES, 0.0) | {"compute": 6.0, "input": 13.0, "transport": 1.0}
    report = RunReport(tasks=40, wall_seconds=10.0, worker_seconds=tuple(spent.items()))

    first, second, third = explain_account(report)

    assert first == "10 s, 4 tasks/s: 0.60 times a loop, 30% of the workers' time in tasks"
    assert second.startswith("held back by: waiting for the caller's iterator 13 s (65%), chunks")
    assert third.startswith("what would help: a faster iterator")
    assert report.as_dict()["verdict"] == [first, second, third]


def test_a_report_says_that_most_of_the_time_few_workers_were_there():
    spent = dict.fromkeys(USES, 0.0) | {"compute": 11.0}
    short = CodeCount("pressure", Code.MEMORY_WARN, "warning", 7, 0.0, 9.0)
    report = RunReport(
        tasks=40,
        workers=4,
        wall_seconds=10.0,
        worker_seconds=tuple(spent.items()),
        tallies=(short,),
    )

    _, second = explain_account(report)

    assert second == "1.1 of 4 workers were there in the mean: memory was short 7 times"


def test_each_piece_of_advice_has_its_number_and_there_are_three_at_most():
    spent = dict.fromkeys(USES, 10.0)
    report = RunReport(tasks=40, wall_seconds=30.0, worker_seconds=tuple(spent.items()))

    advice = list(advise(report))

    assert len(advice) == 0  # each is less than a tenth of the whole
    spent |= {"input": 100.0, "memory": 60.0, "start": 50.0, "transport": 40.0}
    advice = list(advise(report._replace(worker_seconds=tuple(spent.items()))))
    assert len(advice) == 3
    assert all("(at most " in line for line in advice)
    assert "9.38 s of 30 s" in advice[0]


def test_a_report_of_nothing_says_nothing():
    assert list(explain_account(RunReport())) == []
