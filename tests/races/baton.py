"""One thread runs at a time, and a schedule says which: races are searched, not hoped for.

Inside `play` the modules of the package (and `concurrent.futures`) see locks, events, conditions,
queues, threads and a clock of ours. Each operation on one of them is a *point* at which the thread
that has the baton may have to hand it on; `lines_of` makes every line of given modules one too. A
schedule is a dict: at the how-manieth point at which there is a choice, which of the others goes on
(0 is who runs already). All else is fixed, so a schedule replays what it found.

Time is made: it passes when no thread can run, up to the next moment for which one waits. A run
that deadlocks, takes too many points or too much of that time does not end, and fails.
"""

import gc
import itertools
import os
import queue
import random
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, ModuleType, SimpleNamespace
from typing import Any

Schedule = dict[int, int]
"""Which of the threads that can run goes on, where it is not the first of them, by point."""

REAL_SECONDS_MAX = 120.0
"""Seconds of the real clock that a run may take; most take some milliseconds, on a busy host each
change of threads may wait for as many."""
POINTS_MAX = 20_000
"""Points in a run, all counted; those here have some hundred."""
MADE_SECONDS_MAX = 120.0
"""Seconds of the made clock in a run: well above all bounds of ours together."""
TOLD_POINTS = 40
"""Last points that a failure tells of."""


class AbandonedError(BaseException):
    """The run is over; its threads are to end."""


class NeverEndsError(AssertionError):
    """A run that does not end, with the schedule that shows it."""


class Player:
    """A thread that takes part."""

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        self.turn = threading.Lock()
        self.turn.acquire()
        self.ready: Callable[[], bool] | None = None
        self.deadline: float | None = None
        self.is_done = False
        self.what = ""
        self.thread: threading.Thread | None = None
        self.face: Any = None


class Baton:
    """Hands the turn from thread to thread.

    Args:
        schedule: Where to hand it on.
        dice: Draws more such places at random; None for none.
        share: How often they do so.
        files: Source files each line of which is a point.
    """

    def __init__(
        self,
        schedule: Schedule,
        *,
        dice: random.Random | None = None,
        share: float = 0.0,
        files: frozenset[str] = frozenset(),
    ) -> None:
        self.now = 1000.0
        self.points = 0
        self.choices: list[int] = []
        self.taken: Schedule = {}
        self.failure: BaseException | None = None
        self._pid = os.getpid()
        self._schedule = schedule
        self._dice = dice
        self._share = share
        self._files = files
        self._players: list[Player] = []
        self._mine = threading.local()
        self._over = threading.Event()
        self._is_dead = False
        self._told: deque[str] = deque(maxlen=TOLD_POINTS)
        self._names = itertools.count(1)

    # for the threads

    def me(self) -> Player | None:
        """Return who runs; None for a thread that takes no part."""
        return getattr(self._mine, "player", None)

    def point(self, what: str) -> None:
        """Perhaps let another thread go on first."""
        me = self.me()
        if me is None:
            return
        self._count(me, what)
        chosen = self._choose(self._runnable(me))
        if chosen is not me:
            self._hand_on(me, chosen)

    def block(self, what: str, ready: Callable[[], bool], seconds: float | None) -> bool:
        """Wait until something is so; return False when the time was over before."""
        me = self.me()
        if me is None:
            return ready()
        end = None if seconds is None else self.now + max(0.0, seconds)
        while not ready():
            if end is not None and self.now >= end:
                return False
            self._count(me, what)
            me.ready, me.deadline = ready, end
            chosen = self._choose(self._runnable(me) or self._let_time_pass(me))
            if chosen is not me:
                self._hand_on(me, chosen)
            me.ready = me.deadline = None
        return True

    def begin(self, player: Player, target: Callable[[], None]) -> None:
        """Have a new thread take part."""
        self._players.append(player)
        player.thread = threading.Thread(target=self._play, args=(player, target), daemon=True)
        player.thread.start()

    def number(self) -> int:
        """Return a new thread's number."""
        return next(self._names)

    @property
    def is_child(self) -> bool:
        """True in a forked child, where the other threads are not."""
        return os.getpid() != self._pid

    # for the test

    def run(self, target: Callable[[], None]) -> None:
        """Run a scene to its end.

        Raises:
            BaseException: What went wrong in it.
        """
        player = Player(0, "scene")
        player.face = SimpleNamespace(name="scene")
        self.begin(player, target)
        player.turn.release()
        if not self._over.wait(REAL_SECONDS_MAX):
            self._note(self._explain("a thread spins, or waits for something that is not ours"))
        self._is_dead = True
        for one in self._players:
            with suppress(RuntimeError):
                one.turn.release()
        for one in self._players:
            if one.thread is not None:
                one.thread.join(10.0)
        if self.failure is not None:
            raise self.failure

    # turns

    def _count(self, me: Player, what: str) -> None:
        if self._is_dead:
            raise AbandonedError
        if self.is_child:
            self._players = [me]
        me.what = what
        self.points += 1
        self._told.append(f"{me.name}: {what}")
        if self.points > POINTS_MAX:
            self._fail(f"takes more than {POINTS_MAX} points")

    def _runnable(self, me: Player) -> list[Player]:
        """Return who can run, who has the baton first, then those after him in a round."""
        count = len(self._players)
        here = self._players.index(me)
        turn = [self._players[(here + step) % count] for step in range(count)]
        return [one for one in turn if not one.is_done and (one.ready is None or one.ready())]

    def _let_time_pass(self, me: Player) -> list[Player]:
        waiting = [one for one in self._players if not one.is_done and one.deadline is not None]
        if not waiting:
            self._fail("deadlock")
        self.now = max(self.now, min(one.deadline for one in waiting))
        if self.now > 1000.0 + MADE_SECONDS_MAX:
            self._fail(f"takes more than {MADE_SECONDS_MAX} seconds")
        return [one for one in waiting if one.deadline <= self.now]

    def _choose(self, those: list[Player]) -> Player:
        if len(those) == 1:
            return those[0]
        at = len(self.choices)
        self.choices.append(len(those))
        pick = self._schedule.get(at, 0)
        if not pick and self._dice is not None and self._dice.random() < self._share:
            pick = self._dice.randrange(len(those))
        pick %= len(those)
        if pick:
            self.taken[at] = pick
        return those[pick]

    def _hand_on(self, me: Player, chosen: Player) -> None:
        chosen.turn.release()
        me.turn.acquire()
        if self._is_dead:
            raise AbandonedError

    def _play(self, player: Player, target: Callable[[], None]) -> None:
        player.turn.acquire()
        self._mine.player = player
        try:
            if self._is_dead:
                return
            if self._files:
                sys.settrace(self._trace)
            target()
        except AbandonedError:
            pass
        except BaseException as error:
            self._note(error)
        finally:
            sys.settrace(None)
            player.is_done = True
            with suppress(AbandonedError):
                self._leave(player)

    def _leave(self, player: Player) -> None:
        if all(one.is_done for one in self._players) or self._is_dead:
            self._over.set()
            return
        those = self._runnable(player) or self._let_time_pass(player)
        self._choose(those).turn.release()

    def _trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        return self._trace_line if frame.f_code.co_filename in self._files else None

    def _trace_line(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            self.point(f"{frame.f_code.co_name}:{frame.f_lineno}")
        return self._trace_line

    # failures

    def _note(self, error: BaseException) -> None:
        if self.is_child:
            traceback.print_exception(error)
            os._exit(3)
        self.failure = self.failure or error
        self.failure.add_note(self._describe())
        self._is_dead = True
        self._over.set()

    def _fail(self, why: str) -> None:
        self._note(self._explain(why))
        raise AbandonedError

    def _explain(self, why: str) -> NeverEndsError:
        """Say where each thread is."""
        error = NeverEndsError(why)
        frames = sys._current_frames()
        for one in self._players:
            frame = frames.get(one.thread.ident) if one.thread is not None else None
            if frame is not None and not one.is_done:
                error.add_note(f"-- {one.name} at {one.what!r}")
                error.add_note("".join(traceback.format_stack(frame)[-8:]))
        return error

    def _describe(self) -> str:
        told = "\n  ".join(self._told)
        return f"schedule {self.taken} of {len(self.choices)} choices; last points:\n  {told}"


# what the modules see in place of the real things


def make_threading(baton: Baton) -> SimpleNamespace:
    """Make what stands in for `threading`."""

    class Lock:
        def __init__(self) -> None:
            self._owner: Any = None
            self._depth = 0

        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
            baton.point("acquire")
            if self._depth and blocking and timeout != 0:
                free = lambda: not self._depth  # noqa: E731
                baton.block("acquire", free, None if timeout < 0 else timeout)
            if self._depth:
                return False
            self._owner, self._depth = get_ident(), 1
            return True

        def release(self) -> None:
            baton.point("release")
            if not self._depth:
                raise RuntimeError("release unlocked lock")
            self._depth -= 1

        def locked(self) -> bool:
            return bool(self._depth)

        def __enter__(self) -> bool:
            return self.acquire()

        def __exit__(self, *_: object) -> None:
            self.release()

    class RLock(Lock):
        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
            if self._depth and self._owner == get_ident():
                self._depth += 1
                return True
            return super().acquire(blocking, timeout)

    class Event:
        def __init__(self) -> None:
            self._is_set = False

        def is_set(self) -> bool:
            baton.point("is_set")
            return self._is_set

        def set(self) -> None:
            baton.point("set")
            self._is_set = True

        def clear(self) -> None:
            self._is_set = False

        def wait(self, timeout: float | None = None) -> bool:
            baton.point("wait for event")
            return baton.block("wait for event", lambda: self._is_set, timeout)

    class Condition:
        def __init__(self, lock: Any = None) -> None:
            self._lock = lock or RLock()
            self._waiting: list[list[bool]] = []
            self.acquire, self.release = self._lock.acquire, self._lock.release

        def __enter__(self) -> bool:
            return self._lock.acquire()

        def __exit__(self, *_: object) -> None:
            self._lock.release()

        def wait(self, timeout: float | None = None) -> bool:
            rung = [False]
            self._waiting.append(rung)
            depth, self._lock._depth = self._lock._depth, 0
            came = baton.block("wait for condition", lambda: rung[0], timeout)
            self._lock.acquire()
            self._lock._depth = depth
            if not came:
                self._waiting = [one for one in self._waiting if one is not rung]
            return came

        def notify(self, n: int = 1) -> None:
            for rung in self._waiting[:n]:
                rung[0] = True
            del self._waiting[:n]

        def notify_all(self) -> None:
            self.notify(len(self._waiting))

    class Thread:
        def __init__(
            self,
            group: None = None,
            target: Any = None,
            name: str = "",
            args: tuple[Any, ...] = (),
            kwargs: Any = None,
            *,
            daemon: bool = False,
        ) -> None:
            self._player = Player(baton.number(), name or getattr(target, "__name__", "thread"))
            self._player.face = self
            self._has_begun = False
            self._call = lambda: target(*args, **(kwargs or {}))
            self.name, self.daemon, self.ident = self._player.name, daemon, self._player.number

        def start(self) -> None:
            self._has_begun = True
            baton.begin(self._player, self._call)
            baton.point("start a thread")

        def join(self, timeout: float | None = None) -> None:
            baton.block(f"join {self.name}", lambda: self._player.is_done, timeout)

        def is_alive(self) -> bool:
            return self._has_begun and not self._player.is_done

    def current_thread() -> Any:
        me = baton.me()
        return threading.current_thread() if me is None else me.face

    def get_ident() -> int:
        me = baton.me()
        return -1 if me is None else me.number + 1

    ours = {name: one for name, one in locals().items() if name not in {"baton", "ours"}}
    return _stand_in(threading, ours)


def make_time(baton: Baton) -> SimpleNamespace:
    """Make what stands in for `time`."""

    def read() -> float:
        baton.now += 1e-7
        return baton.now

    def read_ns() -> int:
        return int(read() * 1e9)

    def sleep(seconds: float) -> None:
        baton.block("sleep", lambda: False, seconds)

    names = ("monotonic", "perf_counter", "thread_time", "process_time")
    ours = {"sleep": sleep, **dict.fromkeys(names, read)}
    return _stand_in(time, {**ours, **{f"{name}_ns": read_ns for name in names}})


def make_queue(baton: Baton) -> SimpleNamespace:
    """Make what stands in for `queue`."""

    class SimpleQueue:
        def __init__(self) -> None:
            self._items: deque[Any] = deque()

        def put(self, item: Any) -> None:
            baton.point("put")
            self._items.append(item)

        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            baton.point("get")
            if not baton.block("get", lambda: bool(self._items), timeout if block else 0):
                raise queue.Empty
            return self._items.popleft()

        def get_nowait(self) -> Any:
            return self.get(block=False)

        def empty(self) -> bool:
            return not self._items

        def qsize(self) -> int:
            return len(self._items)

        def __class_getitem__(cls, _item: object) -> type:
            return cls

    return _stand_in(queue, {"SimpleQueue": SimpleQueue, "Queue": SimpleQueue})


def _stand_in(real: ModuleType, ours: dict[str, Any]) -> SimpleNamespace:
    return SimpleNamespace(**{**vars(real), **ours})


@contextmanager
def stage(baton: Baton) -> Iterator[SimpleNamespace]:
    """Have the package's modules see what is made; yield what stands in for `threading`."""
    stands = {threading: make_threading(baton), time: make_time(baton), queue: make_queue(baton)}
    put_back = []
    for name, module in list(sys.modules.items()):
        if not (name.startswith("adaptive_exec") or name == "concurrent.futures._base"):
            continue
        for attribute, value in list(vars(module).items()):
            if isinstance(value, ModuleType) and value in stands:
                put_back.append((module, attribute, value))
                setattr(module, attribute, stands[value])
    try:
        yield stands[threading]
    finally:
        for module, attribute, value in put_back:
            setattr(module, attribute, value)


Scene = Callable[[SimpleNamespace, Baton], None]
"""What is played: gets what stands in for `threading`, and the baton."""


def play(scene: Scene, schedule: Schedule | None = None, **how: Any) -> Baton:
    """Play a scene once.

    Args:
        scene: What is played.
        schedule: By which schedule; None for the first in line always.
        **how: As for `Baton`.

    Raises:
        BaseException: What went wrong, with the schedule that shows it again.
    """
    baton = Baton(schedule or {}, **how)
    with stage(baton) as threads:
        baton.run(lambda: scene(threads, baton))
    return baton


def search(
    scene: Scene,
    *,
    runs: int,
    deviations: int = 2,
    seed: int = 0,
    lines_of: tuple[ModuleType, ...] = (),
) -> int:
    """Play a scene by many schedules, those that deviate least first; the rest at random.

    Args:
        scene: What is played.
        runs: Schedules at most.
        deviations: Places at most at which a schedule tried in order deviates.
        seed: Of the random ones, which are half of all.
        lines_of: Modules each line of which is a point.

    Returns:
        How many were played.

    Raises:
        BaseException: What went wrong, with the schedule that shows it again.
    """
    files = frozenset(str(module.__file__) for module in lines_of)
    with no_collection():
        return _search(scene, files, runs=runs, deviations=deviations, seed=seed)


def _search(scene: Scene, files: frozenset[str], *, runs: int, deviations: int, seed: int) -> int:
    done = 0
    waiting: deque[Schedule] = deque([{}])
    while waiting and done < runs // 2:
        schedule = waiting.popleft()
        baton = play(scene, schedule, files=files)
        done += 1
        if len(schedule) < deviations:
            waiting.extend(_longer(schedule, baton.choices, seed))
    dice = random.Random(seed)
    while waiting and done < runs:
        play(scene, {}, files=files, dice=dice, share=dice.choice([0.02, 0.1, 0.4]))
        done += 1
    return done


@contextmanager
def no_collection() -> Iterator[None]:
    """Have garbage collected before and after: finalizers would run at other points each time."""
    gc.collect()
    gc.freeze()  # what a whole ring has made by now would take a second each time
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _longer(schedule: Schedule, choices: list[int], seed: int) -> list[Schedule]:
    """Return the schedules with one deviation more, mixed, since not all of them will be tried."""
    first = max(schedule, default=-1) + 1
    more = [
        {**schedule, at: pick}
        for at in range(first, len(choices))
        for pick in range(1, choices[at])
    ]
    random.Random(seed).shuffle(more)
    return more
