"""What runs inside a worker process: take a chunk, run its tasks one after the other, report.

Publishes finished results every half millisecond in memory shared with the parent, and the index of
the task that runs. A task's own exception is a result. Imports little; never decides what runs
next.
"""

import os
import sys
from time import monotonic_ns, perf_counter, process_time

from adaptive_exec.errors import UNSENDABLE_RESULT
from adaptive_exec.levels.arena import FROM_BYTES, Arena
from adaptive_exec.levels.channel import Channel
from adaptive_exec.levels.current import Place, in_process
from adaptive_exec.levels.forks import end_child, in_child, watch_forks
from adaptive_exec.levels.frames import IN_SLATE, Frame, NoMessageError, Stamp, frame_parts
from adaptive_exec.levels.meter import PEAK_TASK_SECONDS, MemoryMeter, collect_and_trim
from adaptive_exec.levels.remade import Remade, with_causes
from adaptive_exec.levels.remains import Remains
from adaptive_exec.levels.ring import Mouth
from adaptive_exec.levels.slate import CUT
from adaptive_exec.levels.wall import WALLED, Wall, WallHitError
from adaptive_exec.levels.wire import (
    CHUNK,
    END,
    ENDING,
    ERROR,
    FORGET,
    FUNCTION,
    HELLO,
    NAMES,
    PART,
    PLAIN,
    RESULTS,
    SETTINGS,
    SKIPPED,
    STAND_IN,
    TRIM,
    UNLOADED,
    UNNAME,
    VALUE,
    Packed,
    Unpacker,
)
from adaptive_exec.program.applied import Applied
from adaptive_exec.program.c_pickle import dumps, loads
from adaptive_exec.program.ending import finish
from adaptive_exec.program.family import live
from adaptive_exec.program.generators import load_afresh
from adaptive_exec.program.last_words import LastWords
from adaptive_exec.program.relay import relay
from adaptive_exec.program.seeds import in_worker
from adaptive_exec.program.spaces import HERE, read_entries
from adaptive_exec.system.pickles import PROTOCOL

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterable, Sequence
    from typing import Any, NoReturn

    from adaptive_exec.levels.frames import Buffer
    from adaptive_exec.levels.slate import Slate

FULL, ONE = 2, 0
"""Styles of calling, as in `levels/base`, which a worker does not import."""
UNPACK_GRACE_NS = 30 * 10**9
"""Nanoseconds that unpacking may take beyond `task_timeout`: the first task of a function that came
by `submit` imports its module, as heavy as START_SECONDS allows a start to be."""
LARGE_BYTES = 1024 * 1024
"""Bytes of a packed function from which its memory is given back at once when it goes, which takes
milliseconds."""
LINK_LOST = 74
"""Exit code of a worker that cannot speak to its parent any more. Source: EX_IOERR, sysexits.h."""
ORPHANED_SECONDS = 0.5
"""Seconds that what tasks have left gets where the parent is gone; the zygote kills sooner."""
TEXT_CHARACTERS_MAX = 1 << 20
"""Characters of a traceback that a worker sends in a head."""
NOTHING = object()
"""Stands for arguments that are not there."""


class Worker:
    """Serves one parent until it says END or is gone.

    Args:
        link: Blocking socket to the parent.
        slate: Memory shared with the parent, None where there is none.
        functions: Functions that are loaded already, by id.
        publish_seconds: How long finished results may be held back.
        arena_bytes: The most bytes of shared memory that large results may have.
        key: What only this worker and its parent know.
        left_work_seconds: How long what tasks have left in threads is waited for at the end.
        slate_file: The slate's descriptor, to keep; -1 where there is none.
        program: What it has of the program's settings.
        bell: A descriptor by which the parent is woken to hear what tasks say.
        spill_path: The file for what it does not hear in time; `""` where nothing is relayed.
    """

    def __init__(
        self,
        link: "_socket.socket",
        slate: "Slate | None",
        functions: "dict[int, Any]",
        publish_seconds: float,
        arena_bytes: int,
        *,
        key: bytes,
        left_work_seconds: float,
        slate_file: int,
        program: Applied | None = None,
        bell: int = -1,
        spill_path: str = "",
    ) -> None:
        self.left_work_seconds = left_work_seconds
        self._link = link
        self._program = program or Applied()
        self._channel = Channel(link, Arena(arena_bytes), key, is_worker=True)
        self._slate = slate
        self._stamp = Stamp(key, IN_SLATE)
        self._pid = os.getpid()
        self._unsent = 0
        self._functions = functions
        self._unloaded: dict[int, str] = {}
        self._large: set[int] = set()
        self._parts: list[Buffer] = []  # of the function that comes next
        self._publish_seconds = publish_seconds
        self._half = 0
        self._overflowed = False
        self._is_eager = False
        self.meter = MemoryMeter(self._channel.mapped_bytes, slate)
        self.wall = Wall(slate)
        self._core_time = CoreTime()
        self._remains = Remains()
        self._silenced: Slate | None = None
        self._last_words: LastWords | None = None
        self._mouth: Mouth | None = None
        if slate is not None:
            slate.keep_from_children()
            self._last_words = LastWords(slate_file, slate.stack_offset)
            if spill_path:
                self._mouth = Mouth(slate, key, bell, spill_path)
                relay.begin(self._mouth.say, in_process.where)
        watch_forks(self._fall_silent)

    def take_settings(self) -> None:
        """Take what the program has set, which comes first where there is an initializer."""
        frame = self._channel.receive()
        if frame is not None:
            self._react(frame)

    def greet(self, first: "tuple[Any, tuple[Any, ...]] | None") -> bool:
        """Run the user's initializer and say hello; False when it failed."""
        text = ""
        if first is not None:
            try:
                first[0](*first[1])
            except BaseException as error:  # noqa: BLE001  # whatever the user's code raises breaks the level
                text = describe_traceback(error)
            relay.note_handlers(own=True)
            relay.commit()
        self._send((HELLO, os.getpid(), text[-TEXT_CHARACTERS_MAX:]))
        return not text

    def serve(self) -> bool:
        """Take frames until END, or the end of the parent, of which it returns False."""
        while True:
            self._stay_the_worker()
            frame = self._channel.receive()
            if frame is None:
                return False
            if frame.head[0] == END:
                self._remains.remove()
                return True
            self._react(frame)
            del frame
            if self._channel.tell_released():
                self._channel.flush()

    def _react(self, frame: Frame) -> None:
        kind = frame.head[0]
        if kind in (FUNCTION, PART):
            self._take_function(frame)
        elif kind == CHUNK:
            self._run(frame)
        elif kind == NAMES:
            self._take_names(frame)
        elif kind == FORGET:
            self._forget(frame.head[1])
        elif kind == UNNAME:
            HERE.forget(frame.head[1])
            collect_and_trim()  # a function and its globals are in a circle
        elif kind == TRIM:
            collect_and_trim()
        elif kind == SETTINGS:
            self._program.take(loads(frame.body))

    def _take_names(self, frame: Frame) -> None:
        """Install what functions look up; generators in it are new, but for what was shared."""
        relay.mute()
        try:
            entries = read_entries(frame.head[1], frame.buffers)
            load_afresh(lambda: self._program.load(lambda: HERE.take(entries)), spare=HERE.shared)
        finally:
            relay.unmute()
            relay.note_handlers()

    def _take_function(self, frame: Frame) -> None:
        if frame.head[0] == PART:
            self._parts += frame.buffers
        else:
            self._load(frame)

    def _load(self, frame: Frame) -> None:
        _, number, needed, beside, apart = frame.head
        pickle, buffers = beside or frame.body, list(frame.buffers)
        for at, part in zip(apart, self._parts, strict=True):  # in order: each finds its place
            buffers.insert(at, part)
        self._parts.clear()
        if len(pickle) + sum(map(len, buffers)) >= LARGE_BYTES:
            self._large.add(number)
        relay.mute()
        try:
            HERE.check(needed)
            self._functions[number] = load_afresh(
                lambda: self._program.load(lambda: loads(pickle, buffers=buffers))
            )
        except BaseException as error:  # noqa: BLE001  # the user's modules run here and may raise anything
            self._unloaded[number] = describe_traceback(error)[-TEXT_CHARACTERS_MAX:]
            if number < 0:
                self._functions[number] = _Unloaded(error)
        finally:
            relay.unmute()
            relay.note_handlers()

    def _forget(self, number: int) -> None:
        """Let go of a function that no task will call any more."""
        self._functions.pop(number, None)
        self._unloaded.pop(number, None)
        if number in self._large:
            self._large.discard(number)
            collect_and_trim()  # one that calls another by value is in a circle with its globals

    def _run(self, frame: Frame) -> None:
        _, chunk, number, style, detailed, start, timed, count, _, _, *more = frame.head
        in_process.place = Place(more[0], more[1], number, start, more[2], more[3])
        self._half ^= 1
        self._overflowed = False
        if style != FULL and number not in self._functions:
            why = self._unloaded.get(number, "the function did not arrive")
            self._send((UNLOADED, chunk, why))
            return
        self._is_eager = style == FULL and count > 1
        report = _Report(self, chunk, range(start, start + count), detailed=detailed)
        cpu_before = self._core_time.read()
        place = in_process.place
        if place.names:
            self._remains.begin(place)
        self.wall.put_up()
        self._run_tasks(report, frame)
        self.wall.take_away()
        self._mark_end(report.stop(), timed=timed)
        arguments_bytes = 0 if frame.lengths else len(frame.body) + sum(map(len, frame.buffers))
        report.weigh(arguments_bytes)
        frame.let_go()  # so that word of it goes along with the last results
        report.finish(self._core_time.read() - cpu_before)
        if place.names:
            self._remains.end(place)
        self._unsent = 0
        self._mark(0, timed=False)

    def _run_tasks(self, report: "_Report", frame: Frame) -> None:
        _, _, number, style, _, start, timed, _, lengths, counts, *_ = frame.head
        function = self._functions.get(number)
        if lengths is None:
            self._run_light(report, function, frame)
            return
        unpacker = Unpacker(lengths, counts, frame)
        for index, length in enumerate(lengths, start + 1):
            may_begin = self._mark(index, timed=timed, grace_ns=UNPACK_GRACE_NS)
            if not may_begin and index > start + 1:  # the first begins always: a chunk gets on
                return
            item = report.unpack(unpacker, length)
            if item is not NOTHING:
                if style == FULL and item[0].__class__ is int:  # a large function, sent by itself
                    item = (self._functions[item[0]], *item[1:])
                self._mark(index, timed=timed)
                report.run_one(function, style, item)
            del item

    def _run_light(self, report: "_Report", function: "Any", frame: Frame) -> None:
        """Run tasks whose arguments came as one pickle."""
        _, _, _, style, detailed, start, timed, *_ = frame.head
        items = loads(frame.body)
        if not (timed or detailed or report.is_seeded or self._slate is None):
            report.run_plain(function, items, self._slate)
            return
        for index, item in enumerate(items, start + 1):
            if not self._mark(index, timed=timed) and index > start + 1:
                return
            report.run_one(function, style, item)

    def _mark_end(self, last: int, *, timed: bool) -> None:
        """Say that nothing runs; where nothing may run twice, the last task until it is sent."""
        self._unsent = last
        if self._publish_seconds:
            self._mark(0, timed=False)
        else:
            self._mark(last, timed=timed, grace_ns=UNPACK_GRACE_NS)

    def _mark(self, number: int, *, timed: bool, grace_ns: int = 0) -> bool:
        """Write down which task begins, 0 for none; return whether it may: none in a cut chunk."""
        in_process.index = number - 1
        slate = self._slate
        if slate is None:
            return True
        if timed:
            slate.numbers[1] = monotonic_ns() + grace_ns
        slate.numbers[0] = number
        return not slate.is_cut()

    def publish(self, head: "tuple[Any, ...]", packed: Packed, *, in_slate: bool) -> None:
        """Make finished results known: in shared memory, else over the socket."""
        self._stay_the_worker()
        if in_slate and not self._overflowed and self._slate is not None:
            parts = frame_parts(self._stamp, head, b"".join(packed.pieces))
            if self._slate.publish(self._half, parts):
                return
            self._stamp.count -= 1
        # The parent reads the slate first: what comes after must not overtake this.
        self._overflowed = True
        if packed.size >= FROM_BYTES:
            self._channel.look()
        self._channel.put(head, packed)
        self._channel.flush()

    def keep(self, span: range, packed: Packed, facts: "tuple[Any, ...]") -> None:
        """Leave finished results on the disk where the batch has a journal."""
        place = in_process.place
        if place is not None and place.names:
            self._remains.add(place, span, packed, facts)

    def hold_seconds(self) -> float:
        """Return how long finished results may be held back; those of submitted calls never."""
        return 0.0 if self._is_eager else self._publish_seconds

    def leave_nothing(self) -> None:
        """Leave no file of what was said behind, as the parent is gone."""
        if self._mouth is not None:
            self._mouth.leave()

    def say_whose_results_are_lost(self) -> None:
        """Write down, before the end, the last task of those whose results cannot be sent."""
        if self._slate is not None and self._unsent and not self._slate.numbers[0]:
            self._slate.numbers[0] = self._unsent

    def say_what_was_refused(self, error: BaseException) -> None:
        """Write down, before the end, that the running task ran into its wall."""
        self.wall.take_away()
        trace = error.__traceback__
        if trace is not None and trace.tb_next is not None:
            error = error.with_traceback(trace.tb_next)  # without our own frame
        if self._slate is not None:
            self._slate.note_hit(describe_traceback(error))

    def say_last_words(self, error: BaseException) -> None:
        """Write down what ends this worker beside its tasks: an error of this package."""
        if self._slate is not None and not in_child[0]:
            self._slate.note_stack(describe_traceback(error))

    def tell_of_end(self, names: str, is_over: int) -> None:
        """Say that something is left to be done, or with 1 that the time for it is over."""
        self._send((ENDING, is_over, names[:TEXT_CHARACTERS_MAX]))

    def _send(self, head: "tuple[Any, ...]") -> None:
        self._stay_the_worker()
        self._channel.put(head)
        self._channel.flush()

    def _stay_the_worker(self) -> None:
        """End a child that came back from a task's code, however it was forked."""
        if os.getpid() != self._pid:
            end_child()

    def _fall_silent(self) -> None:
        """In a child: lose the socket and what is shared, which is not unmapped but not there."""
        self._silenced, self._slate = self._slate, None
        self.wall.leave()
        self._link.close()
        relay.fall_silent()
        if self._last_words is not None:
            self._last_words.leave()


class _Unloaded:
    """Stands for a function of submitted calls that could not be loaded; each of them says so."""

    def __init__(self, error: BaseException) -> None:
        self._error = error.with_traceback(None)

    def __call__(self, *_: object, **__: object) -> "NoReturn":
        raise self._error.with_traceback(None)  # else each call would add to it


class _Report:
    """Gathers the outcomes of one chunk and publishes them in groups."""

    def __init__(self, worker: Worker, chunk: int, tasks: range, *, detailed: bool) -> None:
        self._worker = worker
        self._meter = worker.meter
        self._chunk = chunk
        self._next = tasks.start
        self._total = len(tasks)
        self._publish_at = 1  # then at 2, 4, 8: what is held is never more than what was published
        self._detailed = detailed
        self._stream = None if in_process.place is None else in_process.place.stream
        self.is_seeded = self._stream is not None
        self._hold_seconds = worker.hold_seconds()
        self._count = 0
        self._failed = 0
        self._wall = 0.0
        self._transport = 0.0
        self._peak: int | None = None
        self._memory: tuple[int | None, ...] = (None, None, None, None)
        self._is_measuring = self._was_measured = False
        self._now = self._last = perf_counter()
        self._group = _Group()

    def stop(self) -> int:
        """Return the number of the task after the last one that has an outcome."""
        return self._next + len(self._group.statuses or self._group.plain or ())

    def unpack(self, unpacker: Unpacker, length: int) -> "Any":
        """Unpack the next task's arguments; NOTHING where there are none, which is its outcome."""
        if length < 0:
            unpacker.skip()
            self._add(SKIPPED, None)
            self._note_lack()
            return NOTHING
        loaded = len(sys.modules)
        relay.mute()
        try:
            item = unpacker.take()
        except BaseException as error:  # noqa: BLE001  # an argument's own unpickling may raise anything
            self._add_error(error)
            self._count += 1
            self._note_lack()
            return NOTHING
        finally:
            relay.unmute()
            if len(sys.modules) != loaded:
                relay.note_handlers()
        now = perf_counter()
        self._transport += now - self._now
        self._now = now
        return item

    def _note_lack(self) -> None:
        """Publish the outcome of a task without arguments, which waits for no other either."""
        self._group.details.append((0.0, None, None))
        self._publish_group()

    def run_one(self, function: "Any", style: int, item: "Any") -> None:  # noqa: C901, PLR0912  # no call more for each task
        """Run the next task and keep its outcome."""
        if not self._is_measuring and self._meter.begin():
            self._is_measuring = self._was_measured = True
            self._now = perf_counter()
        if self._stream is not None:
            in_worker.set(self._stream, in_process.index)
            self._now = perf_counter()
        cpu_before = process_time() if self._detailed else 0.0
        begun = self._now
        try:
            if style == ONE:
                value = function(item)
            elif style == FULL:
                value = item[0](*item[1], **item[2])
            else:
                value = function(*item)
        except BaseException as error:  # noqa: BLE001  # whatever the task raises is its result
            ended = perf_counter()
            if in_child[0]:
                end_child(error)
            self._add_error(error)
        else:
            ended = perf_counter()
            if in_child[0]:
                end_child()
            self._add_value(value)
            del value
        del item
        self._note(ended - begun, ended, process_time() - cpu_before if self._detailed else None)

    def run_plain(  # noqa: C901, PLR0912, PLR0915  # no call more for each task
        self, function: "Any", items: "Iterable[Any]", slate: "Slate"
    ) -> None:
        """Run tasks with plain arguments, as `run_one` does, with 0.2 us and not 1.2 between two.

        What need not be done after each is done when a group of them is published.

        Args:
            function: What to call.
            items: The arguments.
            slate: Where the number of the task that runs is written down.
        """
        numbers = slate.numbers
        values, last = self._begin_group(), self._now
        count, publish_at, publish_by = self._count, self._publish_at, self._publish_by()
        for number, item in enumerate(items, self._next + 1):
            in_process.index = number - 1
            numbers[0] = number
            if numbers[CUT] and count:
                break
            try:
                value = function(item)
            except BaseException as error:  # noqa: BLE001  # whatever the task raises is its result
                if in_child[0]:
                    end_child(error)
                self._add_error(error)
                values = None
            else:
                if in_child[0]:
                    end_child()
                if values is not None and value.__class__ in PLAIN:
                    values.append(value)
                else:
                    last += self._pack_value(value)
                    value, values = None, None
            ended = perf_counter()
            count += 1
            if count < publish_at and ended < publish_by and not relay.has_spoken:
                last = ended
                continue
            self._end_group(count, ended, ended - last)
            values, last = self._begin_group(), self._now
            publish_at, publish_by = self._publish_at, self._publish_by()
        self._wall += last - self._now
        self._count, self._now = count, last

    def _pack_value(self, value: object) -> float:
        """Keep a result that has to be packed; return how long that took, which is no work."""
        before = perf_counter()
        self._add_value(value)
        seconds = perf_counter() - before
        self._transport += seconds
        self._now += seconds
        return seconds

    def _publish_by(self) -> float:
        return self._last + self._hold_seconds

    def _begin_group(self) -> "list[Any] | None":
        """Measure memory from here where that is due; return where plain results go.

        Behind the last task nothing would be measured, and said to be what it took.
        """
        if self._count < self._total and not self._is_measuring and self._meter.begin():
            self._is_measuring = self._was_measured = True
            self._now = perf_counter()
        return self._group.plain

    def _end_group(self, count: int, ended: float, last_seconds: float) -> None:
        """Note what some tasks took, the last of them so long, and publish them."""
        self._count = count
        self._wall += ended - self._now
        self._now = ended
        if last_seconds >= PEAK_TASK_SECONDS:
            if self._is_measuring:
                self._note_peak()
            self._meter.expect()
        self._publish_group()

    def _publish_group(self) -> None:
        """Publish what is held, unless the chunk ends here anyway."""
        self._publish_at = 2 * self._count
        if self._count < self._total:
            self._publish(None)
            self._now = self._last = perf_counter()

    def weigh(self, arguments_bytes: int) -> None:
        """Measure for the last time, while the arguments are still here.

        Args:
            arguments_bytes: What they take of this process's own memory.
        """
        if self._is_measuring:
            self._note_peak()
        self._memory = (self._peak, None, None, None)
        if self._was_measured:
            held_bytes = arguments_bytes + self._group.packed.size
            self._memory = (self._peak, *self._meter.sum_up(held_bytes))

    def finish(self, cpu_seconds: float) -> None:
        """Publish what is left and say that the chunk is done."""
        counts = (self._count, self._wall, cpu_seconds, self._transport, self._failed)
        usage = (*counts, self._memory)
        self._publish(usage)

    def _note_peak(self) -> int | None:
        self._is_measuring = False
        peak = self._meter.read()
        if peak is not None:
            self._peak = max(peak, self._peak or 0)
        return peak

    def _note(self, wall_seconds: float, ended: float, cpu_seconds: float | None) -> None:
        peak = None
        if wall_seconds >= PEAK_TASK_SECONDS:
            peak = self._note_peak() if self._is_measuring else None
            self._meter.expect()
        if self._detailed:
            self._group.details.append((wall_seconds, cpu_seconds, peak))
        self._count += 1
        self._wall += wall_seconds
        self._now = now = perf_counter()
        self._transport += now - ended
        is_due = self._count >= self._publish_at or now - self._last >= self._hold_seconds
        if is_due or relay.has_spoken:  # what is said once is not to be said again by a second run
            self._publish_group()

    def _add_value(self, value: object) -> None:
        if self._group.plain is not None and value.__class__ in PLAIN:
            self._group.plain.append(value)
            return
        try:
            self._add(VALUE, value)
        except BaseException as error:  # noqa: BLE001  # a result's own pickling may raise anything
            kind = type(value)
            error.add_note(f"{UNSENDABLE_RESULT}{kind.__module__}.{kind.__qualname__}")
            self._add_error(error)

    def _add_error(self, error: BaseException) -> None:
        if self._worker.wall.is_hit(error):
            self._worker.say_what_was_refused(error)
            if self._group.statuses or self._group.plain:
                self._publish(None)
            raise WallHitError
        self._failed += 1
        self._add(*pack_error(error))

    def _add(self, status: int, value: object) -> None:
        if self._group.plain is not None:
            plain, self._group.plain = self._group.plain, None
            for earlier in plain:
                self._add(VALUE, earlier)
        if status == SKIPPED:
            self._group.packed.skip()
        else:
            self._group.packed.add(value)
        self._group.statuses.append(status)

    def _publish(self, usage: "tuple[Any, ...] | None") -> None:
        relay.commit()
        relay.has_spoken = False
        group, self._group = self._group, _Group()
        packed = group.packed if group.plain is None else Packed.of_plain(group.plain)
        count = len(group.statuses) if group.plain is None else len(group.plain)
        statuses = bytes(group.statuses) if any(group.statuses) else None
        details = group.details if self._detailed else None
        facts = (packed.lengths, packed.counts, statuses, details, usage)
        head = (RESULTS, self._chunk, self._next, count, *facts)
        self._worker.keep(range(self._next, self._next + count), packed, (statuses, details))
        in_slate = usage is None and not packed.buffers and packed.size < FROM_BYTES
        self._worker.publish(head, packed, in_slate=in_slate)
        self._next += count


class _Group:
    """Outcomes that are finished and not yet published."""

    def __init__(self) -> None:
        self.plain: list[Any] | None = []
        self.packed = Packed()
        self.statuses = bytearray()
        self.details: list[tuple[float, float | None, int | None]] = []


class CoreTime:
    """Reads the time that this process spent on a core or in want of one.

    On a busy host a task that computes gets a part of a core only; without its time in the run
    queue it would look like one that waits, and get company that takes even more of it.

    Source: kernel Documentation/scheduler/sched-stats.rst, /proc/<pid>/schedstat; 1.5 us a reading.
    """

    def __init__(self) -> None:
        try:
            self._file = os.open("/proc/self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._file = -1

    def read(self) -> float:
        """Return seconds since some moment."""
        return process_time() + self._queued_seconds()

    def _queued_seconds(self) -> float:
        if self._file < 0:
            return 0.0
        try:
            return int(os.pread(self._file, 100, 0).split()[1]) / 1e9
        except (OSError, IndexError, ValueError):
            self._file = -1
            return 0.0


def pack_error(error: BaseException) -> "tuple[int, object]":
    """Make of an exception what can travel.

    That is itself with its causes and its traceback, as its own pickling has it or made anew, else
    a stand-in's facts.

    Returns:
        ERROR and bytes, or STAND_IN and `(type name, message, traceback)`.
    """
    text = describe_traceback(error)
    for traveller in (error, Remade(error)):
        try:
            return ERROR, _pack_error(with_causes(error, traveller), text)
        except BaseException:  # noqa: BLE001, S112  # its own pickling or unpickling may raise anything, SystemExit too
            continue
    return STAND_IN, (type_name(error), _text(error), text)


def _pack_error(traveller: object, text: str) -> bytes:
    packed = Packed()
    packed.add((traveller, text))
    piece = dumps((traveller, text), PROTOCOL) if packed.buffers else b"".join(packed.pieces)
    arrived, _ = loads(piece)
    if not isinstance(arrived, BaseException):  # as its own __reduce__ made it
        message = f"an exception became {type(arrived).__name__} on its way"
        raise TypeError(message)
    return piece


def describe_traceback(error: BaseException) -> str:
    """Write an exception with its traceback as text; never raises."""
    try:
        import traceback  # 5 ms, only where a task failed

        return "".join(traceback.format_exception(error))
    except BaseException:  # noqa: BLE001  # a __str__ of the user's, or no memory
        return type_name(error)


def type_name(error: BaseException) -> str:
    """Return the qualified name of an exception's type."""
    kind = type(error)
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # noqa: BLE001  # a __str__ of the user's
        return "its message cannot be read"


def serve_to_the_end(
    worker: Worker,
    first: "tuple[Any, tuple[Any, ...]] | None",
    *,
    greets: bool,
    inherited: "Sequence[Any]" = (),
) -> "NoReturn":
    """Be a worker until its end.

    Args:
        worker: The worker.
        first: The user's initializer with its arguments, None for none.
        greets: Say hello also where there is no initializer.
        inherited: Files that were open before this process became a worker.
    """
    codes = [0]
    live(lambda: codes.append(_serve(worker, first, greets=greets, inherited=inherited)))
    os._exit(codes[-1])


def _serve(
    worker: Worker,
    first: "tuple[Any, tuple[Any, ...]] | None",
    *,
    greets: bool,
    inherited: "Sequence[Any]",
) -> int:
    code, was_told = 0, False
    try:
        if first is not None:
            worker.take_settings()
        if not (greets or first is not None) or worker.greet(first):
            was_told = worker.serve()
        else:
            was_told = True  # its initializer failed, which its parent knows by now
    except (OSError, NoMessageError):  # the parent is gone, or a task took the socket away
        worker.say_whose_results_are_lost()
        code = LINK_LOST
    except WallHitError:
        code = WALLED
    except BaseException as error:
        worker.say_last_words(error)
        raise
    if in_child[0]:
        end_child()
    if not was_told:
        worker.leave_nothing()
    bound_seconds = worker.left_work_seconds if was_told else ORPHANED_SECONDS
    tell = _tell_nobody if code == WALLED else worker.tell_of_end
    finish(list(inherited), bound_seconds=bound_seconds, tell=tell, code=code)
    return code


def _tell_nobody(names: str, is_over: int) -> None:
    """Stand for telling the parent of an end that it does not wait for."""
    del names, is_over
