"""The level beside the ladder: its share, what becomes of what is lost there, and its return."""

import random

import pytest

from adaptive_exec.config import Config
from adaptive_exec.core import events as ev
from adaptive_exec.core import instructions as ins
from adaptive_exec.core.beside import LATE_MAX, OVERDUE_SECONDS_MIN
from adaptive_exec.core.ladder import CALM_SECONDS
from adaptive_exec.core.reason import Code
from adaptive_exec.core.run import Run
from adaptive_exec.specs import BESIDE, ISOLATED, is_isolated
from tests.core.world import make_host

CHECK_EVERY = 5
"""Events between two looks at all rules, which take most of the time."""


class Two:
    """A run with workers here and an engine beside; every answer is the test's to give."""

    def __init__(self, **settings) -> None:
        engine = type("Engine", (), {"submit": len})()
        settings = {"share_host": False, **settings}
        self.run = Run(Config(cluster=engine, **settings), make_host(cores=2))
        self.at, self.timer = 0.0, None
        self.starting: dict[int, str] = {}
        self.out: dict[int, ins.SendChunk] = {}
        self.killed: list[ins.KillWorker] = []
        self.closing: set[str] = set()
        self.ended: dict[int, str] = {}
        self.begun: dict[int, int] = {}
        self.deaths: dict[int, int] = {}
        self.told: list[tuple[str, Code, str]] = []
        self.wanted = self.said = 0
        self.is_read = self.is_waiting = False
        self.is_finished = False

    def say(self, event: ev.Event) -> None:
        orders = self.run.handle(event)
        for order in orders:
            self.obey(order)
        self.said += 1
        if self.said % CHECK_EVERY == 0:
            assert not list(self.run.check())
        self.is_read |= any(isinstance(order, ins.ReadHost) for order in orders)
        if self.is_read and not self.is_waiting:
            self.is_read = False
            self.say(ev.HostSampled(self.at, make_host(cores=2, at=self.at)))

    def obey(self, order: ins.Instruction) -> None:
        match order:
            case ins.OpenLevel() | ins.StartWorkers():
                assert order.level not in self.closing
                self.starting.update(dict.fromkeys(order.workers, order.level))
            case ins.CloseLevel():
                assert order.level not in {one.level for one in self.out.values()}
                self.closing.add(order.level)
            case ins.KillWorker():
                self.killed.append(order)
            case ins.Pull():
                self.wanted += order.count
            case ins.SendChunk():
                self._send(order)
            case ins.Deliver():
                self._end(range(order.start, order.stop), "value")
            case ins.FailTasks():
                self._end(range(order.start, order.stop), str(order.reason.code))
            case ins.FinishBatch():
                self.is_finished = True
            case ins.Explain():
                decision = order.decision
                self.told.append((decision.event, decision.reason.code, decision.severity))
            case ins.SetTimer():
                assert order.at is None or order.at > self.at
                self.timer = order.at
            case _:
                pass

    def _send(self, order: ins.SendChunk) -> None:
        tasks = range(order.start, order.stop)
        assert not {*tasks} & {*self.ended}
        assert not any({*tasks} & {*range(o.start, o.stop)} for o in self.out.values())
        if order.level != BESIDE and not is_isolated(order.level):
            assert not {*tasks} & {*self.deaths}, "what may have killed runs in the caller"
        for task in tasks:
            assert self.deaths.get(task, 0) < 2 or is_isolated(order.level)
        self.out[order.chunk] = order

    def _end(self, tasks: range, how: str) -> None:
        for task in tasks:
            assert task not in self.ended, f"task {task} ended twice"
            self.ended[task] = how

    # what happens

    def open(self, tasks: int, **fields) -> None:
        self.say(ev.BatchOpened(self.at, 1, tasks, **fields))
        self.say(ev.TasksArrived(self.at, 1, tasks, is_last=True))

    def answer(self, level: str, places: int = 4) -> None:
        """All that was ordered at a level is there."""
        if level == BESIDE and any(one == BESIDE for one in self.starting.values()):
            self.say(ev.PlacesCounted(self.at, BESIDE, places, 0.001))
        while any(one == level for one in self.starting.values()):
            worker = next(w for w, one in self.starting.items() if one == level)
            del self.starting[worker]
            self.say(ev.WorkerReady(self.at, level, worker))

    def done(self, chunk: int, wall: float = 0.01) -> None:
        order = self.out.pop(chunk)
        count = order.stop - order.start
        for task in range(order.start, order.stop):
            self.begun[task] = self.begun.get(task, 0) + 1
        self.say(ev.ChunkDone(self.at, chunk, count, ev.Usage(count, wall * count)))

    def lose(self, chunk: int, *, has_begun: bool = True, blameless: bool = False) -> None:
        order = self.out.pop(chunk)
        for task in range(order.start, order.stop) if has_begun else ():
            self.begun[task] = self.begun.get(task, 0) + 1
            if not blameless:
                self.deaths[task] = self.deaths.get(task, 0) + 1
        self.say(
            ev.WorkerLost(
                self.at, order.level, order.worker, "gone",
                known=not has_begun, blameless=blameless,
            )
        )  # fmt: skip

    def close(self) -> None:
        for level in list(self.closing):
            self.closing.discard(level)
            self.starting = {w: one for w, one in self.starting.items() if one != level}
            self.say(ev.LevelClosed(self.at, level))

    def wait(self, seconds: float) -> None:
        end = self.at + seconds
        self.is_waiting = True  # the host is read once, at the end
        while self.timer is not None and self.timer <= end:
            self.at, self.timer = self.timer, None
            self.say(ev.TimerFired(self.at))
        self.at, self.is_waiting = end, False
        self.say(ev.TimerFired(self.at))

    def at_level(self, level: str) -> list[int]:
        return [chunk for chunk, order in self.out.items() if order.level == level]

    def events(self) -> list[str]:
        return [event for event, _, _ in self.told]


def both(tasks: int = 100, places: int = 4, **settings) -> Two:
    two = Two(**settings)
    two.open(tasks)
    two.answer(ISOLATED)
    two.answer(BESIDE, places)
    two.answer(BESIDE, places)
    return two


def test_both_have_chunks_out_at_once():
    two = both()

    assert len(two.at_level(ISOLATED)) == 2
    assert len(two.at_level(BESIDE)) == 4


def test_the_first_place_opens_it_and_asks_what_there_is():
    two = Two()
    two.open(100)

    assert list(two.starting.values()).count(BESIDE) == 1


def test_a_small_batch_stays_here():
    two = Two()
    two.open(3)

    assert BESIDE not in two.starting.values()


def test_its_chunks_are_longer_than_those_of_one_task_once_it_is_known_what_they_take():
    two = both(10_000)
    for _ in range(6):
        for chunk in two.at_level(BESIDE):
            two.done(chunk, wall=0.001)

    assert max(o.stop - o.start for o in two.out.values() if o.level == BESIDE) >= 32


def test_chunks_there_count_as_in_flight_and_take_no_room_of_this_host():
    two = both(max_in_flight=3)

    assert len(two.out) == 3
    assert two.run.state.out == len(two.at_level(ISOLATED))


def test_an_engine_that_cannot_be_had_is_said_once_and_tried_again_after_calm():
    two = Two()
    two.open(100)
    two.answer(ISOLATED)
    worker = next(w for w, level in two.starting.items() if level == BESIDE)
    del two.starting[worker]
    two.say(ev.StartRefused(0.0, BESIDE, worker, "OSError: nobody listens", lasting=True))

    assert ("degraded", Code.START_REFUSED, "warning") in two.told
    assert BESIDE not in two.starting.values()
    two.close()
    two.wait(CALM_SECONDS + 1)
    assert "trying" in two.events()
    assert list(two.starting.values()).count(BESIDE) == 1


def lose_all(two: Two, *, blameless: bool = True) -> None:
    two.say(ev.LevelLost(two.at, BESIDE, "ConnectionError: scheduler gone"))
    for chunk in two.at_level(BESIDE):
        two.lose(chunk, blameless=blameless)
    two.close()


def test_when_it_is_lost_nothing_is_and_the_rest_runs_here():
    two = both(20)
    lose_all(two)
    while two.out:
        two.done(next(iter(two.out)))

    assert two.is_finished
    assert two.ended == dict.fromkeys(range(20), "value")
    assert ("degraded", Code.HELP_LOST, "warning") in two.told


def test_with_no_retries_what_may_have_begun_there_ends_and_the_rest_runs():
    two = both(20, retries=0)
    lost = [o for o in two.out.values() if o.level == BESIDE]
    two.lose(lost[0].chunk, has_begun=False)
    lose_all(two)
    while two.out:
        two.done(next(iter(two.out)))

    failed = {task for task, how in two.ended.items() if how == str(Code.RETRIES_SPENT)}
    assert failed == {task for o in lost[1:] for task in range(o.start, o.stop)}
    assert max(two.begun.values()) == 1
    assert len(two.ended) == 20


def test_the_way_back_is_one_task_and_then_twice_as_many_with_each_chunk():
    two = both(10_000, places=16)
    for chunk in two.at_level(BESIDE):
        two.done(chunk)
    lose_all(two)
    two.wait(CALM_SECONDS + 1)
    two.answer(BESIDE, 16)
    [probe] = two.at_level(BESIDE)
    assert two.out[probe].stop - two.out[probe].start == 1

    sizes = []
    for _ in range(4):
        two.done(two.at_level(BESIDE)[0])
        two.answer(BESIDE, 16)
        sizes.append(len(two.at_level(BESIDE)))

    assert sizes == [2, 4, 8, 16]
    assert ("restored", Code.TRIAL_PASSED, "info") in two.told


def test_patience_doubles_with_each_trial_that_fails():
    two = both(50)
    lose_all(two)
    waits = []
    for _ in range(7):
        before = two.at
        while BESIDE not in two.starting.values():
            two.wait(10)
        waits.append(two.at - before)
        worker = next(w for w, level in two.starting.items() if level == BESIDE)
        del two.starting[worker]
        two.say(ev.StartRefused(two.at, BESIDE, worker, "OSError: nobody"))
        two.close()

    assert [round(wait, -1) for wait in waits] == [30, 60, 120, 240, 480, 600, 600]


def test_what_was_with_a_dead_worker_goes_there_one_by_one_and_home_as_it_comes():
    two = both(1000)
    for _ in range(4):
        for chunk in two.at_level(BESIDE):
            two.done(chunk, wall=0.001)
    long = max(two.at_level(BESIDE), key=lambda one: two.out[one].stop - two.out[one].start)
    lost = two.out[long]
    assert lost.stop - lost.start > 1
    two.lose(long)
    two.answer(BESIDE)

    again = [o for o in two.out.values() if o.level == BESIDE and o.start == lost.start]
    assert [(o.stop - o.start, o.attempt) for o in again] == [(1, 2)]


def test_who_sees_two_deaths_is_a_suspect_and_runs_alone_here():
    two = both(6, places=2)
    first = two.at_level(BESIDE)[0]
    task = two.out[first].start
    two.lose(first)
    two.answer(BESIDE, 2)
    [second] = [o.chunk for o in two.out.values() if o.level == BESIDE and o.start == task]
    two.lose(second)
    for _ in range(20):
        for chunk in [c for c, o in two.out.items() if o.start != task]:
            two.done(chunk)

    assert [(o.level, o.start, o.stop) for o in two.out.values()] == [(ISOLATED, task, task + 1)]


def test_a_chunk_past_its_time_goes_elsewhere_and_its_answer_is_nobodys():
    two = both(20)
    late = two.at_level(BESIDE)[0]
    for _ in range(3):
        for chunk in two.at_level(ISOLATED):
            two.done(chunk)
    two.wait(OVERDUE_SECONDS_MIN + 1)

    killed = {order.worker for order in two.killed if order.level == BESIDE}
    assert two.out[late].worker in killed
    for chunk in [c for c, o in two.out.items() if o.worker in killed]:
        two.lose(chunk, blameless=True)
    two.say(ev.ChunkDone(two.at, late, 1, ev.Usage(1, 0.01)))
    two.close()
    for _ in range(20):
        two.answer(BESIDE)
        for chunk in list(two.out):
            two.done(chunk)

    assert two.ended == dict.fromkeys(range(20), "value")


def test_when_nothing_comes_back_any_more_it_is_left():
    two = both(100, places=LATE_MAX)
    for chunk in two.at_level(ISOLATED):
        two.done(chunk, wall=1.0)
    two.wait(OVERDUE_SECONDS_MIN + 1)

    assert ("degraded", Code.CHUNK_OVERDUE, "warning") in two.told


def test_with_no_retries_no_chunk_is_past_its_time():
    two = both(100, retries=0)
    for chunk in two.at_level(ISOLATED):
        two.done(chunk)
    two.wait(100 * OVERDUE_SECONDS_MIN)

    assert not two.killed


def test_a_function_that_cannot_go_there_keeps_its_batch_here():
    two = both(20)
    refused = two.at_level(BESIDE)[0]
    two.out.pop(refused)
    two.say(ev.FunctionRefused(two.at, refused, "module x is not there"))
    for chunk in two.at_level(BESIDE):
        two.done(chunk)

    assert two.at_level(BESIDE) == []
    assert ("refused", Code.FUNCTION_NOT_PORTABLE, "warning") in two.told


def test_a_time_out_is_said_to_be_not_held_there():
    two = both(20, task_timeout=5.0)

    assert two.told.count(("unenforced", Code.NOT_ENFORCED, "warning")) == 1


def test_what_is_dropped_ends_with_what_is_out():
    two = both(1000)
    two.say(ev.BatchDropped(two.at, 1))
    for chunk in list(two.out):
        two.lose(chunk) if two.out[chunk].level == BESIDE else two.done(chunk)

    assert two.is_finished


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_each_task_has_one_end(seed: int):
    chance = random.Random(seed)
    levels = chance.choice(["auto", "auto", ("thread",), ("sequential", "process")])
    two = Two(retries=chance.choice([0, 1, 2]), levels=levels)
    tasks = chance.choice([1, 5, 60, 400])
    two.open(tasks, recorded=chance.random() < 0.2)
    for _ in range(400):
        if two.is_finished:
            break
        step(two, chance)
    for _ in range(40):
        for level in {*two.starting.values()}:
            two.answer(level, 2)
        for chunk in list(two.out):
            two.done(chunk)
        two.close()
        two.wait(5.0)
    assert two.is_finished
    assert {*two.ended} == {*range(tasks)}
    if not two.run.state.config.retries:
        assert max(two.begun.values()) == 1


def step(two: Two, chance: random.Random) -> None:
    what, here = chance.random(), two.at_level(BESIDE)
    if what < 0.3 and two.starting:
        two.answer(chance.choice([*two.starting.values()]), chance.randint(0, 6))
    elif what < 0.6 and two.out:
        two.done(chance.choice([*two.out]), chance.choice([0.0001, 0.01, 1.0]))
    elif what < 0.7 and here:
        blameless = chance.random() < 0.3
        two.lose(chance.choice(here), has_begun=chance.random() < 0.7, blameless=blameless)
    elif what < 0.73:
        lose_all(two, blameless=chance.random() < 0.7)
    elif what < 0.76:
        two.say(ev.PlacesCounted(two.at, BESIDE, chance.randint(0, 6), 0.001))
    elif what < 0.8 and here:
        chunk = chance.choice(here)
        two.out.pop(chunk)
        two.say(ev.FunctionRefused(two.at, chunk, "no"))
    elif what < 0.9:
        two.wait(chance.choice([0.1, 10.0, 700.0]))
        for order in [o for o in two.killed if o.level == BESIDE]:
            for chunk in [c for c, o in two.out.items() if o.worker == order.worker]:
                two.lose(chunk, has_begun=chance.random() < 0.5, blameless=True)
        two.killed.clear()
    else:
        two.close()
