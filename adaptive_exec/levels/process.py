"""The process level: workers in processes of their own, supervised one by one.

One socket per worker, no queue threads; the driver's thread reads and writes, and never blocks. A
dead worker costs that worker: what it had finished is kept, what ran at its death is known. Does
not decide who runs again.
"""

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from adaptive_exec.config import Config
from adaptive_exec.core.events import (
    ChunkDone,
    ChunkProgressed,
    FunctionRefused,
    GroupsMade,
    InitializerFailed,
    LevelClosed,
    StartRefused,
    TasksUnbegun,
    Usage,
    WorkerLost,
    WorkerReady,
    WorkLeft,
)
from adaptive_exec.core.lifecycle import BIRTH, LINE, STAY, LineEvent, after
from adaptive_exec.core.quarantine import OUTGROWN, WALLED
from adaptive_exec.core.starts import Setback
from adaptive_exec.levels.arena import ARENA_BYTES_MAX, IDLE_SECONDS, Arena
from adaptive_exec.levels.base import (
    CLOSE_SECONDS,
    FULL,
    STOPPED_LOOK_SECONDS,
    TICK_SECONDS,
    CannotStartError,
    ChunkOrder,
    Failure,
    Outlet,
    Work,
)
from adaptive_exec.levels.exchange import is_harmless, pack_items, take_results
from adaptive_exec.levels.frames import Frame, NoMessageError, read_frames, refuse
from adaptive_exec.levels.functions import PackedFunction, Shelf
from adaptive_exec.levels.heads import Outcomes, check_kind, read_outcomes
from adaptive_exec.levels.hearing import Hearing
from adaptive_exec.levels.interpreter import is_refusal
from adaptive_exec.levels.lookout import Lookout
from adaptive_exec.levels.member import (
    Member,
    describe,
    has_hit_wall,
    has_outgrown,
    is_sigkill,
    last_words,
    look_at_offspring,
    most_of,
    put_function,
    put_settings,
    put_wall,
    shift_wall,
    watch_offspring,
)
from adaptive_exec.levels.own_groups import OwnGroup, OwnGroups
from adaptive_exec.levels.processor import read_used_seconds
from adaptive_exec.levels.slate import Slate
from adaptive_exec.levels.starter import Starter
from adaptive_exec.levels.waiter import Waiter
from adaptive_exec.levels.ways import LEFT_WORK_SECONDS, LEVEL, Ways
from adaptive_exec.levels.wire import CHUNK, END, ENDING, FORGET, HELLO, RESULTS, TRIM, Packed
from adaptive_exec.levels.worker import LINK_LOST
from adaptive_exec.program.inherited import NOTHING, Inherited
from adaptive_exec.program.last_words import read_stack
from adaptive_exec.program.names import Entry
from adaptive_exec.program.settings import newest_settings
from adaptive_exec.program.spaces import Key

LEFT_NAMES_CHARACTERS_MAX = 500
"""Characters that are said of threads which did not come to an end."""


class ProcessRunner:
    """Runs chunks in worker processes.

    Args:
        outlet: Where events go.
        waiter: Where descriptors are watched.
        config: Uses start, initializer, initargs, inner_threads, max_workers.
        cores: Usable cores, for the share of inner threads.
        preload: Says which packed functions, by batch, a zygote is to load before it forks.
        inherited: What workers have from a fork, for those who pack; kept up here.
        groups: Makes a control group for each worker; None where they have none.
    """

    def __init__(
        self,
        outlet: Outlet,
        waiter: Waiter,
        config: Config,
        cores: int,
        preload: Callable[[], Mapping[int, PackedFunction]],
        *,
        inherited: Inherited | None = None,
        groups: OwnGroups | None = None,
    ) -> None:
        self._groups, self._has_groups = groups, False
        self._inherited = Inherited() if inherited is None else inherited
        self._outlet = outlet
        self._waiter = waiter
        self._config = config
        self._members: dict[int, Member] = {}
        self._starter: Starter | None = None
        self._has_results = False
        self._is_closing = False
        self._arena = Arena(ARENA_BYTES_MAX)
        self._shelf = Shelf(self._inherited)
        self._hearing = Hearing(
            outlet, waiter, self._members, guard=self._guard, condemn=self._condemn
        )
        self._lookout = Lookout(LEVEL, outlet, condemn=self._condemn, kill=self.kill)
        self._ways = Ways(
            self,
            outlet,
            waiter,
            config,
            cores=cores,
            preload=preload,
            inherited=self._inherited,
            open_bell=self._hearing.open if config.relay else lambda: None,
        )

    def take_snapshot(
        self,
        workers: int,
        room_bytes: int,
        functions: Mapping[int, tuple[Callable[..., Any], PackedFunction]],
        wanted: Inherited = NOTHING,
        *,
        is_expected: bool = False,
    ) -> None:
        """Fork the caller for its workers where that is safe, see `Ways.take_snapshot`."""
        if self._starter is None:
            self._starter = self._ways.take_snapshot(
                workers, room_bytes, functions, wanted, is_expected=is_expected
            )
            if self._starter is None:
                self._hearing.close()

    # orders

    def start(self, workers: Sequence[int]) -> None:
        """Start workers; each answers with WorkerReady or StartRefused."""
        self._is_closing = False
        starter = self._starter = self._starter or self._ways.find_starter(len(workers))
        self._open_groups()
        for worker in workers:
            try:
                seat = starter.start(worker)
                group = self._make_group()
                member = self._members[worker] = Member(worker, seat, self._arena, group)
                self._settle(member)
                self._hearing.listen(member, seat, self._ways.relayed)
                self._waiter.watch(seat.link.fileno(), partial(self._on_ready, member))
            except (OSError, MemoryError, RuntimeError) as error:
                text = f"{type(error).__name__}: {error}"
                self._refuse(worker, text, is_passing=is_refusal(error))

    def _open_groups(self) -> None:
        """Once, before there are workers: see whether they can have control groups of their own."""
        groups = self._groups
        if groups is None or self._has_groups:
            return
        error = ""
        try:
            groups.open()
            self._has_groups = True
        except OSError as refusal:
            error = str(refusal)
            self._groups = None
        self._outlet.post(GroupsMade(time.monotonic(), LEVEL, groups.source, error))

    def _finish_groups(self) -> None:
        if self._groups is not None:
            self._groups.finish()

    def _make_group(self) -> OwnGroup | None:
        try:
            return None if self._groups is None else self._groups.make()
        except OSError:
            return None  # its wall is a soft one

    def _refuse(self, worker: int, error: str, *, is_passing: bool) -> None:
        """A worker cannot be had; the same twice, which will not pass, is for good."""
        answer = self._ways.heed(Setback("launch", error, is_passing))
        self.on_refused(worker, error + self._ways.why_changed, lasting=answer == "none")

    def _settle(self, member: Member) -> None:
        """Tell a new worker what the program has set, where its initializer is to find it."""
        member.settings = self._ways.born_with
        if self._config.initializer is not None:
            put_settings(member, newest_settings())
            self._flush(member)

    def send(self, order: ChunkOrder) -> None:
        """Give a chunk to an idle worker.

        Of submitted calls that cannot be taken back only the first goes, of others those for which
        the program was set alike; the rest never begins.
        """
        member = self._members.get(order.worker)
        if member is None:
            return  # its WorkerLost is under way and brings the chunk back
        before = time.perf_counter()
        member.wanted, count = order.settings()
        if member.wanted is not None and member.wanted is not self._ways.looked_at:
            self._ways.tell_copied(member.wanted)
        if order.work.style == FULL and len(order.items) > 1:
            count = 1 if member.slate is None else count
            if count < len(order.items):
                order = order._replace(items=order.items[:count])
                self._outlet.post(TasksUnbegun(time.monotonic(), order.chunk, order.start + count))
        member.order = order
        member.next = order.start
        member.half ^= 1
        if member.slate is not None:
            member.slate.clear(member.half)
            member.slate.set_wall(order.wall_bytes or 0)
        if member.group is not None:
            put_wall(member, member.group, order.wall_bytes)
        member.read_bytes = member.result_bytes = 0
        member.is_overdue = False
        member.sent_at = time.monotonic()
        member.cut_at, member.told_stop = None, 0
        member.look_at = member.sent_at + STOPPED_LOOK_SECONDS
        member.refused, member.uses = {}, set()
        if is_harmless(order, self._asker(order.work)):
            self._guard(member, partial(self._pack_here, order, before=before))
        else:
            self._outlet.pack_apart(partial(self._pack_apart, member, order))

    def _pack_apart(self, member: Member, order: ChunkOrder) -> None:
        """Pack what runs the user's code, in a thread that may be held up; the driver sends it."""
        before = time.perf_counter()
        packed = pack_items(order, self._shortener(member.uses, order.work), self._inherited)
        send = partial(self._send_packed, order, packed, before=before)
        self._outlet.in_turn(partial(self._guard, member, send))

    def _pack_here(self, order: ChunkOrder, member: Member, *, before: float) -> None:
        packed = pack_items(order, self._shortener(member.uses, order.work), self._inherited)
        self._send_packed(order, packed, member, before=before)

    def _send_packed(
        self,
        order: ChunkOrder,
        items: tuple[Packed, dict[int, Failure], dict[Key, Entry]],
        member: Member,
        *,
        before: float,
    ) -> None:
        if member.order is not order or self._members.get(member.worker) is not member:
            return  # it was lost meanwhile, and what it had goes elsewhere
        packed, member.refused, names = items
        work = order.work
        if member.wanted is not None and member.wanted is not member.settings:
            put_settings(member, member.wanted)
        functions = [self._shelf.packed(number) for number in member.uses]
        if work.style != FULL:
            assert work.packed is not None, "only portable batches come to processes"
            functions.append(work.packed)
        needs = [one for one in (*(one.names for one in functions), names) if one]
        laid = [laid for one in functions for laid in one.laid]
        member.names.tell(member.channel, needs, laid)
        for number in member.uses - member.functions.keys():
            put_function(member, number, self._shelf.packed(number))
            self._clear_shelf()
        if work.style != FULL and work.batch not in member.functions:
            put_function(member, work.batch, functions[-1])
        timed = work.timeout_seconds is not None
        head = (
            CHUNK, order.chunk, work.batch, work.style, work.detailed, order.start, timed,
            len(order.items),
            packed.lengths, packed.counts, work.state_folder, order.names, order.attempt,
            work.stream,
        )  # fmt: skip
        member.channel.put(head, packed)
        member.sent_bytes = packed.size
        self._flush(member)
        member.transport_seconds = time.perf_counter() - before

    def _shortener(self, uses: set[int], work: Work) -> Callable[[Any, int], object]:
        """Say how a submitted call's function travels; which are used is added to `uses`."""
        if work.entered is None:
            return lambda function, _: function
        return partial(self._shelf.shorten, uses, work.entered)

    def _asker(self, work: Work) -> Callable[[Any, int], bool]:
        """Say whether a submitted call's function is ready to travel."""
        if work.entered is None:
            return lambda _, __: False
        return partial(self._shelf.is_ready, work.entered)

    def _clear_shelf(self) -> float | None:
        """Let go of large functions that no submitted call uses; return when to look again."""
        if not self._shelf:
            return None
        now = time.monotonic()
        busy = [one.uses for one in self._members.values() if one.order is not None]
        for number in self._shelf.drop(busy, now):
            self.forget(number)
        return now + IDLE_SECONDS if self._shelf else None

    def retire(self, worker: int) -> None:
        """Let an idle worker end."""
        member = self._members.get(worker)
        if member is None:
            return
        member.stay = after(STAY, member.stay, "told to end")
        member.retired_at = time.monotonic()
        member.channel.put((END,))
        self._flush(member)

    def kill(self, worker: int) -> None:
        """Kill a worker with all it has started; WorkerLost answers."""
        if self._starter is not None and worker in self._members:
            member = self._members[worker]
            member.stay = after(STAY, member.stay, "killed")
            offspring = member.offspring
            is_there = offspring is not None and offspring.is_there()
            self._starter.kill(worker, is_there=is_there)

    def move_walls(self, walls: Sequence[tuple[int, int]]) -> None:
        """Let workers take so many bytes more than they had when their chunk came."""
        for worker, size in walls:
            member = self._members.get(worker)
            if member is not None and member.order is not None:
                shift_wall(member, size)

    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Return what each worker has in RAM as `(worker, bytes)`, where it can be read.

        What its tasks have started belongs to it.
        """
        now = time.monotonic()
        sizes = ((one.worker, self._size(one, now)) for one in self._members.values())
        return tuple((worker, size) for worker, size in sizes if size is not None)

    def _size(self, member: Member, now: float) -> int | None:
        if member.offspring is None:
            return None
        size = self._own_part(member.offspring.resident_bytes())
        if size is None or member.order is None or not look_at_offspring(member, now):
            return size
        return size + member.offspring.bytes

    def _own_part(self, size: int | None) -> int | None:
        """Return a worker's size without what it shares with a caller that it was forked from."""
        inherited = 0 if self._starter is None else self._starter.inherited_bytes
        return None if size is None else max(0, size - inherited)

    def times(self) -> tuple[tuple[int, float], ...]:
        """Return the processor time of each worker with a chunk, as `(worker, seconds)`."""
        busy = (one for one in self._members.values() if one.pid and one.order is not None)
        times = ((one.worker, read_used_seconds(one.pid)) for one in busy)
        return tuple((worker, seconds) for worker, seconds in times if seconds is not None)

    def trim(self) -> None:
        """Have every worker give free memory back, once it is idle."""
        for member in self._members.values():
            if member.pid and not member.is_to_end:
                member.channel.put((TRIM,))
                self._flush(member)

    def forget(self, batch: int) -> None:
        """Have zygote and workers let go of a batch's function, with the next word they get."""
        if self._starter is not None:
            self._starter.forget(batch)
        for member in self._members.values():
            if batch in member.functions or member.birth == "ordered":  # it may be born with it
                is_large = member.functions.pop(batch, False)
                member.channel.put((FORGET, batch))
                member.has_words = True
                if is_large:
                    self._flush(member)
        self._let_names_go()

    def _let_names_go(self) -> float | None:
        """Have workers let go of large values that nobody needs; say when to look again."""
        again, now = None, time.monotonic()
        for member in self._members.values():
            if member.names.has_leaving:
                again = now + IDLE_SECONDS
                member.names.pass_by(now)
                if member.order is None:
                    member.names.rest(now)
                if member.names.tell_gone(member.channel):
                    self._flush(member)
        return again

    def close(self) -> None:
        """End all workers; LevelClosed answers."""
        self._is_closing = True
        for worker in list(self._members):
            self.retire(worker)
        if self._starter is None:
            self.on_closed()
        else:
            self._starter.quit()

    def abandon(self) -> None:
        """Kill everything at once, without a word."""
        for member in self._members.values():
            self._release(member)
        self._members.clear()
        self._arena.close()
        self._hearing.close()
        self._shelf.clear()
        if self._starter is not None:
            self._starter.abandon()
            self._starter = None
        self._finish_groups()

    def strike(self) -> None:
        """Kill all workers, beside a driver that is stuck: change nothing, wait for nothing."""
        starter = self._starter
        if starter is not None:
            starter.strike()

    def let_go(self) -> None:
        """In a forked child: close the descriptors, touch nothing else."""
        if not self._ways.is_forking:
            self._hearing.let_go()
        for member in self._members.values():
            member.link.close()
            if member.group is not None:
                member.group.close()
            if member.offspring is not None:
                member.offspring.close()
        if self._starter is not None:
            self._starter.let_go()

    def tick(self, now: float) -> float | None:
        """Read what was published, look for overdue tasks, and keep the bounds."""
        again = [self._arena.trim(now), self._clear_shelf(), self._let_names_go()]
        if self._groups is not None and self._groups.tidy():
            again.append(now + TICK_SECONDS)
        if self._starter is not None:
            again.append(self._starter.tick(now))
        for member in list(self._members.values()):
            self._guard(member, lambda one: again.append(self._look_after(one, now)))
        return min((at for at in again if at is not None), default=None)

    def _look_after(self, member: Member, now: float) -> float:
        """Do for a worker what comes by itself; return when to look again."""
        again = [now + STOPPED_LOOK_SECONDS]
        if member.ear is not None and member.ear.has_something():
            self._hearing.hear(member, wholly=False)
            if member.ear.has_something():
                again.append(now + TICK_SECONDS)
        if member.line == "open" and (member.channel.tell_released() or member.has_words):
            self._flush(member)
        if member.order is not None and member.line != "foul":
            self._read_slate(member)
            self._lookout.find_overdue(member)
            again.append(self._lookout.look_again_at(member, now))
            again.append(watch_offspring(member, now))
        self._lookout.find_stopped(member, now)
        if member.line != "open":
            again.append(self._lookout.wait_for_end(member, now))
        elif member.is_to_end and not self._is_closing:
            again.append(self._lookout.hurry(member, now))
        return min(again)

    # what the starter reports

    def on_started(self, worker: int, pid: int) -> None:
        """A worker is there; with an initializer it says hello itself."""
        member = self._members.get(worker)
        if member is None:
            return
        member.name_process(pid)
        member.birth = after(BIRTH, member.birth, "reported")
        if self._starter is not None:
            member.functions |= dict.fromkeys(self._starter.functions, False)
            member.names.was_born_with(self._starter.names)
        self._ways.note_started()
        if self._config.initializer is None:
            self._post_ready(member)

    def _post_ready(self, member: Member) -> None:
        now = time.monotonic()
        size = self._size(member, now)
        took = 0.0 if self._ways.has_zygote else now - member.ordered_at  # the zygote was new
        self._outlet.post(WorkerReady(now, LEVEL, member.worker, size, took))

    def on_refused(self, worker: int, error: str, *, lasting: bool = False) -> None:
        """A worker that was ordered cannot be had."""
        member = self._members.pop(worker, None)
        if member is not None:
            self._release(member)
        self._outlet.post(StartRefused(time.monotonic(), LEVEL, worker, error, lasting))

    def on_ended(self, worker: int, status: int | None, peak_bytes: int | None) -> None:
        """A worker has ended: keep what it finished, name what it ran, report."""
        member = self._members.pop(worker, None)
        if member is None:
            return
        peak_bytes = self._own_part(peak_bytes)
        self._read_last(member)
        if status is not None and os.waitstatus_to_exitcode(status) == LINK_LOST:
            member.fault = member.fault or "its socket was taken from it"
            self._leave_line(member, "condemned")
        running, known = member.running(), member.slate is not None
        is_foul = member.line == "foul" and not member.is_killed
        if not (self._has_results or member.is_killed):
            self._doubt_way(member, status)
        is_outgrown = has_outgrown(member, status)
        is_walled = is_outgrown or has_hit_wall(member, status)
        cause = WALLED if is_walled else describe(status) + last_words(member, status)
        if is_outgrown:
            cause, peak_bytes = OUTGROWN, most_of(member, peak_bytes)
        self._note_stack(member, running, status, is_walled=is_walled)
        self._release(member)
        if member.is_to_end and member.order is None:
            return
        if member.birth == "ordered":
            error = f"the worker ended by {cause}"
            self._refuse(worker, error, is_passing=status is None or os.WIFSIGNALED(status))
            return
        self._outlet.post(
            WorkerLost(
                time.monotonic(),
                LEVEL,
                worker,
                member.fault or cause,
                running=running,
                known=member.order is None or (known and not (is_foul and running is None)),
                blameless=member.is_killed,
                foul=is_foul,
                memory=is_walled,
                walled=is_walled,
                unexplained=is_sigkill(status) and not (member.is_killed or is_foul or is_outgrown),
                peak_bytes=peak_bytes,
            )
        )

    def _doubt_way(self, member: Member, status: int | None) -> None:
        """Where workers die before any of them has had a result, think of how they were started."""
        if member.order is None or member.birth == "ordered" or not self._config.retries:
            return
        if has_hit_wall(member, status):
            return
        if status is None or is_sigkill(status) or not self._has_company():
            return
        busy = [other.sent_at for other in self._members.values() if other.order is not None]
        setback = self._ways.doubt(describe(status), min(busy, default=None))
        if setback is not None:
            self._outlet.in_turn(partial(self._leave_way, self._starter, setback))

    def _has_company(self) -> bool:
        """Say whether workers are copies of a process in which more was loaded than is ours."""
        return self._starter is not None and self._starter.has_company

    def _leave_way(self, starter: Starter | None, setback: Setback) -> None:
        """Go another way to start workers; whoever there is begins again."""
        if starter is None or starter is not self._starter or self._is_closing:
            return
        self._ways.note_left()
        starter.abandon()
        self._lose_all(setback.error, setback)

    def _note_stack(
        self, member: Member, running: int | None, status: int | None, *, is_walled: bool
    ) -> None:
        """Hand in where in its code a task was that crashed."""
        if running is None or member.order is None or member.slate is None:
            return
        if is_walled or (status is not None and os.WIFSIGNALED(status)):
            stack = read_stack(member.slate.stack)
            if stack:
                self._outlet.note_stack(member.order.work.batch, running, stack)

    def on_lost(self, cause: str) -> None:
        """The zygote is gone, and its workers with it: nobody's fault."""
        starter = self._starter
        setback = None if starter is None or self._is_closing else starter.setback(cause)
        self._lose_all(cause, setback)

    def _lose_all(self, cause: str, setback: Setback | None) -> None:
        """Report all workers as lost with their starter; have those started that were not yet."""
        self._starter = None
        members, self._members = self._members, {}
        answer = "again" if setback is None else self._ways.heed(setback)
        error = f"the starter of workers ended by {cause}" if setback is None else setback.error
        ordered = []
        for worker, member in members.items():
            self._read_last(member)
            running = member.running()
            known = member.slate is not None or member.order is None
            self._release(member)
            now = time.monotonic()
            if member.birth != "ordered":
                text = f"its starter was lost ({cause})"
                self._outlet.post(
                    WorkerLost(
                        now,
                        LEVEL,
                        worker,
                        text,
                        running=running,
                        known=known,
                        blameless=True,
                        starter=True,
                    )
                )
            elif answer == "other":
                ordered.append(worker)
            else:
                self._outlet.post(StartRefused(now, LEVEL, worker, error, answer == "none"))
        if ordered:
            self._start_again(ordered)
        if self._is_closing:
            self.on_closed()

    def _start_again(self, workers: Sequence[int]) -> None:
        """Have workers that were ordered already started another way."""
        try:
            self.start(workers)
        except Exception as error:  # noqa: BLE001  # by origin: all that a start raises is a refused start
            text, is_lasting = (
                f"{type(error).__name__}: {error}",
                isinstance(error, CannotStartError),
            )
            for worker in workers:
                self.on_refused(worker, text, lasting=is_lasting)

    def on_closed(self) -> None:
        """The starter has ended as it was told."""
        self._starter = None
        for member in self._members.values():
            self._release(member)
        self._members.clear()
        self._arena.close()
        self._hearing.close()
        self._shelf.clear()
        self._finish_groups()
        self._outlet.post(LevelClosed(time.monotonic(), LEVEL))

    # reading: what a worker sends is foreign, and any error in it is that worker's loss

    def _on_ready(self, member: Member, bits: int) -> None:
        del bits
        if member.worker in self._members:
            self._guard(member, self._read_all)
            self._flush(member)

    def _guard(self, member: Member, step: Callable[[Member], None]) -> None:
        """Do what concerns one worker; an error in it ends that worker and touches no other."""
        try:
            step(member)
        except NoMessageError as error:
            self._condemn(member, f"it sent what is no message ({error})")
        except Exception as error:  # noqa: BLE001  # a bug of ours, no memory: it must stay one worker's
            self._condemn(member, f"it could not be served ({type(error).__name__}: {error})")

    def _condemn(self, member: Member, fault: str) -> None:
        """Listen to a worker no more and end it, through its own fault; WorkerLost answers."""
        member.fault = member.fault or fault
        self._leave_line(member, "condemned")
        if self._starter is not None:
            self._starter.kill(member.worker)

    def _leave_line(self, member: Member, event: LineEvent) -> None:
        """Listen to a worker no more."""
        if member.line == "open":
            member.closed_at = time.monotonic()
            self._waiter.forget(member.link.fileno())
        member.line = after(LINE, member.line, event)

    def _read_all(self, member: Member) -> None:
        if member.line != "open":
            return
        frames, is_closed = member.channel.read()
        for frame in frames:
            self._on_frame(member, frame)
        self._read_slate(member)
        if member.channel.fault is not None:
            raise member.channel.fault
        if is_closed:
            self._leave_line(member, "closed")

    def _read_last(self, member: Member) -> None:
        """Take in what a worker has left that has ended; nonsense is of no use any more."""
        for step in (self._read_all, self._read_slate):
            with contextlib.suppress(Exception):  # as in `_guard`: what is lost runs again
                step(member)

    def _read_slate(self, member: Member) -> None:
        """Take in what the worker has published of its present chunk."""
        order, slate = member.order, member.slate
        if order is None or slate is None:
            return
        filled = slate.filled(member.half)
        if filled == member.read_bytes:
            return
        self._hearing.hear(member)
        if filled < member.read_bytes:
            refuse("results in shared memory that were there are there no more")
        count = 0
        frames = self._read_published(member, slate, filled)
        member.read_bytes = filled
        for frame in frames:
            if check_kind(frame) != RESULTS:
                refuse("other than results in shared memory")
            count += self._take_results(member, frame, self._check_place(member, frame))
        if count:
            self._has_results = True
            self._outlet.post(ChunkProgressed(time.monotonic(), order.chunk, count))

    @staticmethod
    def _read_published(member: Member, slate: Slate, filled: int) -> list[Frame]:
        """Read frames in shared memory; once more at once, if a processor shows new bytes late."""
        count = member.stamp.count
        try:
            return list(
                read_frames(slate.read(member.half, member.read_bytes, filled), member.stamp)
            )
        except NoMessageError:
            member.stamp.count = count
        return list(read_frames(slate.read(member.half, member.read_bytes, filled), member.stamp))

    def _on_frame(self, member: Member, frame: Frame) -> None:
        kind = check_kind(frame)
        if kind == RESULTS:
            self._on_results(member, frame)
        elif kind == HELLO:
            self._on_hello(member, frame)
        elif kind == ENDING:
            self._on_ending(member, frame)
        else:
            order = member.order
            if order is None or frame.head[1] != order.chunk:
                refuse("a chunk is refused that it does not have")
            member.order = None
            self._outlet.post(FunctionRefused(time.monotonic(), order.chunk, frame.head[2]))

    def _on_hello(self, member: Member, frame: Frame) -> None:
        self._hearing.hear(member)
        _, pid, error = frame.head
        if member.birth == "greeted" or pid <= 1 or member.pid not in (0, pid):
            refuse(f"a greeting of process {pid}")
        member.name_process(pid)
        member.birth = after(BIRTH, member.birth, "greets")
        now = time.monotonic()
        if error:
            member.stay = after(STAY, member.stay, "told to end")  # it ends by itself
            self._outlet.post(InitializerFailed(now, LEVEL, member.worker, error))
        else:
            self._post_ready(member)

    def _on_ending(self, member: Member, frame: Frame) -> None:
        """A worker that is to end has something left to do, or could not do all of it in time."""
        _, is_over, names = frame.head
        if not member.is_to_end:
            refuse("the end of a worker that nobody has told to end")
        if is_over:
            text = names[:LEFT_NAMES_CHARACTERS_MAX]
            seconds = LEFT_WORK_SECONDS
            self._outlet.post(WorkLeft(time.monotonic(), LEVEL, member.worker, seconds, text))
            return
        member.left_until = time.monotonic() + LEFT_WORK_SECONDS + CLOSE_SECONDS
        if self._starter is not None:
            self._starter.wait_until(member.left_until)

    @staticmethod
    def _check_place(member: Member, frame: Frame) -> Outcomes:
        """Read the head of results, which must be the next ones of the worker's chunk."""
        told, order = read_outcomes(frame), member.order
        if order is None or told.chunk != order.chunk or told.start != member.next:
            refuse("results that are not the next ones")
        if told.start + told.tasks > member.stop:
            refuse(f"{told.tasks} results of {member.stop - told.start} tasks")
        return told

    def _on_results(self, member: Member, frame: Frame) -> None:
        self._read_slate(member)
        self._hearing.hear(member)
        told, order = self._check_place(member, frame), member.order
        assert order is not None, "looked at just now"
        count = self._take_results(member, frame, told)
        self._has_results |= count > 0
        usage = told.usage
        if usage is None:
            self._outlet.post(ChunkProgressed(time.monotonic(), order.chunk, count))
            return
        if member.next != member.stop and member.cut_at is None:
            refuse(f"results of {member.next} tasks in place of {member.stop}")
        member.order = None
        if member.offspring is not None:
            member.offspring.end()
        refused = sum(index < member.next for index in member.refused)  # others wait for their turn
        self._outlet.post(
            ChunkDone(
                time.monotonic(),
                order.chunk,
                count,
                Usage(
                    tasks=usage.tasks + refused,
                    wall_seconds=usage.wall_seconds,
                    cpu_seconds=usage.cpu_seconds,
                    transport_seconds=member.transport_seconds + usage.transport_seconds,
                    sent_bytes=member.sent_bytes,
                    result_bytes=member.result_bytes,
                    peak_bytes=usage.memory[0],
                    failed_tasks=usage.failed_tasks + refused,
                    span_bytes=usage.memory[1],
                    kept_bytes=usage.memory[2],
                    birth_bytes=self._own_part(usage.memory[3]),
                ),
            )
        )

    def _take_results(self, member: Member, frame: Frame, told: Outcomes) -> int:
        """Hand the outcomes in a frame in; return how many they are."""
        before = time.perf_counter()
        results = take_results(frame, told, member.refused)
        self._outlet.put_results(told.chunk, results)
        member.next += told.tasks
        member.result_bytes += len(frame.body) + sum(map(len, frame.buffers))
        member.transport_seconds += time.perf_counter() - before
        return told.tasks

    # hearing

    def _flush(self, member: Member) -> None:
        if member.line != "open":
            return
        member.has_words = False
        try:
            is_sent = member.channel.flush()
        except OSError:
            return  # it is gone; its end is reported by the starter
        if member.wants_write == is_sent:
            member.wants_write = not is_sent
            self._waiter.want_write(member.link.fileno(), wanted=not is_sent)

    def _release(self, member: Member) -> None:
        if member.line == "open":
            self._waiter.forget(member.link.fileno())
        member.link.close()
        member.channel.close()
        if member.ear is not None:
            with contextlib.suppress(NoMessageError):
                self._hearing.hear(member)
            if member.ear.close():
                self._outlet.hear(None, member.ear.forget)
        if member.group is not None and self._groups is not None:
            self._groups.drop(member.group)
            member.group = None
        if member.slate is not None:
            member.slate.close()
            member.slate = None
        if member.offspring is not None:
            member.offspring.close()
