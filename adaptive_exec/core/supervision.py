"""Decides about the copies of a command: who is restarted, when, and who is given up.

Pure: what happened goes in, orders come out. Knows copies by number, pids, bytes and seconds; never
starts, signals or reads anything. Memory of the host is judged by `core/memory/governor`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, assert_never

from adaptive_exec.config import Config
from adaptive_exec.core.memory.governor import CALM, LOOK_MIN_SECONDS, judge_memory
from adaptive_exec.core.reason import Code, Decision, Reason, because
from adaptive_exec.core.snapshot import HostSnapshot

RESTART_SECONDS: Final = 1.0
"""Seconds before a supervised copy is restarted; doubled for each life in a row that was short."""
RESTART_SECONDS_MAX: Final = 300.0
"""Seconds; the longest such wait. Source: kubelet's back-off for crashing containers."""
RESTART_CALM_SECONDS: Final = 60.0
"""Seconds; a life of a supervised copy below this is short."""
RESTARTS_MAX: Final = 10
"""Short lives in a row after which a supervised copy is given up, about nine minutes."""
HOST_SETTLE_SECONDS: Final = 1.0
"""Seconds after a copy's end before the host is judged again. Source: freeing 30 GB takes one."""
UNKILLABLE_SECONDS: Final = 5.0
"""Seconds that the end waits for what even SIGKILL does not end."""
SIGNALS_MAX: Final = 64
"""The highest number of a signal on Linux."""

SHELL_SIGNAL = 128
"""Exit codes above this are a shell's way to say by which signal its last command ended."""
DONE, FAILED, GIVEN_UP = 0, 1, 3
"""How all copies together ended: as the exit codes of every command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyTerms:
    """What was asked for.

    Attributes:
        copies: How many run at once, 1 or more.
        max_age_seconds: Age at which a copy is replaced; None is never.
        max_memory_bytes: Memory of a copy and all it started at which it is replaced; None is
            never.
        min_available_bytes: Memory the host must have left; below it the largest copy is replaced
            and none is started. None means the smaller of 2 GiB and 8 % of the limit.
        check_seconds: Seconds between two checks, each a line per copy.
        grace_seconds: Seconds from SIGTERM to SIGKILL.
        is_failure_restarted: Whether a copy that ends with an exit code of its own but 0 is
            started again.
        restart_seconds: Seconds before the first restart; doubled from copy to copy that ends
            within a minute.
    """

    copies: int
    max_age_seconds: float | None = None
    max_memory_bytes: int | None = None
    min_available_bytes: int | None = None
    check_seconds: float = 60.0
    grace_seconds: float = 120.0
    is_failure_restarted: bool = False
    restart_seconds: float = RESTART_SECONDS


class Tick(NamedTuple):
    """Time has passed."""

    at: float


class CopyStarted(NamedTuple):
    """A copy that was ordered runs."""

    at: float
    number: int
    pid: int


class CopyRefused(NamedTuple):
    """A copy that was ordered could not be started."""

    at: float
    number: int
    error: str


class CopyEnded(NamedTuple):
    """A copy has ended; `status` is its exit code, or a signal's number below 0."""

    at: float
    number: int
    status: int


class CopiesMeasured(NamedTuple):
    """The memory of each running copy by its number, as `Measure` asked; None is unknown."""

    at: float
    memory: dict[int, int | None]
    is_check: bool


class HostSeen(NamedTuple):
    """The host, as `LookAtHost` asked."""

    at: float
    host: HostSnapshot


class StopAsked(NamedTuple):
    """All copies shall end, and `code` be the exit code."""

    at: float
    code: int


Happening = Tick | CopyStarted | CopyRefused | CopyEnded | CopiesMeasured | HostSeen | StopAsked


class Start(NamedTuple):
    """Start a copy; answer with `CopyStarted` or `CopyRefused`."""

    number: int


class Terminate(NamedTuple):
    """Send SIGTERM to a copy's process group."""

    number: int


class Kill(NamedTuple):
    """Send SIGKILL to a copy's process group."""

    number: int


class CopyMeasure(NamedTuple):
    """Measure the running copies; answer with `CopiesMeasured`."""

    is_check: bool


class LookAtHost(NamedTuple):
    """Read the host; answer with `HostSeen`."""


class Say(NamedTuple):
    """Tell people."""

    decision: Decision


class EndSupervision(NamedTuple):
    """Everything has ended; this is the exit code."""

    code: int


Order = Start | Terminate | Kill | CopyMeasure | LookAtHost | Say | EndSupervision


_STOP_ASKED = because(Code.STOP_ASKED)


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of the command.

    Attributes:
        number: From 1.
        phase: `"waiting"`, `"starting"`, `"running"`, `"stopping"`, or how it came to its end:
            `"done"`, `"failed"`, `"given up"`, `"stopped"`.
        since: Monotonic seconds at which the phase began; of a stopping copy, its start.
        start_at: When a waiting copy is due.
        kill_at: When a stopping copy gets SIGKILL; None once it has.
        pid: Its leader.
        memory_bytes: What it held at the last measurement.
        strikes: Lives in a row that were short.
        cause: Why it is being stopped.
    """

    number: int
    phase: str = "waiting"
    since: float = 0.0
    start_at: float = 0.0
    kill_at: float | None = None
    pid: int = 0
    memory_bytes: int | None = None
    strikes: int = 0
    cause: Reason = _STOP_ASKED


FINAL = frozenset({"done", "failed", "given up", "stopped"})


class Supervision:
    """The copies of one command, from the first start to the last end.

    Args:
        terms: What was asked for.
        at: Monotonic seconds.
    """

    def __init__(self, terms: CopyTerms, at: float) -> None:
        self._terms = terms
        self._copies = {
            number: Copy(number, since=at, start_at=at) for number in range(1, terms.copies + 1)
        }
        self._verdict = CALM
        self._next_look = at
        self._next_check = at + terms.check_seconds
        self._low_looks = 0
        self._settled_at = at
        self._seen_at = float("-inf")
        self._stop: StopAsked | None = None

    @property
    def wake_at(self) -> float:
        """When the next event is due at the latest, monotonic seconds."""
        return min(self._times())

    def handle(self, event: Happening) -> list[Order]:
        """Take in what happened.

        Args:
            event: What happened, with its time.

        Returns:
            What to do now, in this order.
        """
        orders = list(self._take(event))
        orders += self._advance(event.at)
        if self._is_over(event.at):
            orders.append(EndSupervision(self._code()))
        return orders

    def _take(self, event: Happening) -> Iterator[Order]:
        match event:
            case Tick():
                pass
            case CopyStarted():
                yield from self._on_started(event)
            case CopyRefused():
                reason = because(Code.START_REFUSED, error=event.error)
                yield from self._after(event.at, event.number, reason)
            case CopyEnded():
                yield from self._on_ended(event)
            case CopiesMeasured():
                yield from self._on_measured(event)
            case HostSeen():
                yield from self._on_host(event)
            case StopAsked():
                yield from self._on_stop(event)
            case _:
                assert_never(event)

    # what happened

    def _on_started(self, event: CopyStarted) -> Iterator[Order]:
        self._put(event.number, phase="running", since=event.at, pid=event.pid)
        started = because(Code.START_ORDERED, pid=event.pid)
        yield self._say(event.at, "started", "info", event.number, started)
        if self._stop is not None:
            yield from self._terminate(event.at, event.number, _STOP_ASKED)

    def _on_ended(self, event: CopyEnded) -> Iterator[Order]:
        copy = self._copies[event.number]
        if copy.phase == "stopping":
            self._settled_at = event.at + HOST_SETTLE_SECONDS
            self._low_looks = 0
            yield from self._after(event.at, event.number, copy.cause)
            return
        yield from self._after(event.at, event.number, _why_ended(event.status))

    def _after(self, at: float, number: int, reason: Reason) -> Iterator[Order]:
        """Decide what follows the end of a copy."""
        copy = self._copies[number]
        phase = self._final_phase(reason)
        if phase:
            self._put(number, phase=phase, since=at)
            severity = "info" if phase in {"done", "stopped"} else "error"
            yield self._say(at, phase, severity, number, reason)
            return
        strikes = self._count_strikes(copy, at, reason)
        if strikes > RESTARTS_MAX and reason.code is not Code.HOST_LOW:
            spent = because(
                Code.RESTARTS_SPENT,
                restarts=RESTARTS_MAX,
                last=str(reason.code),
                **dict(reason.facts),
            )
            self._put(number, phase="given up", since=at)
            yield self._say(at, "given up", "error", number, spent)
            return
        wait = min(RESTART_SECONDS_MAX, self._terms.restart_seconds * 2 ** max(0, strikes - 1))
        self._put(number, phase="waiting", since=at, start_at=at + wait, strikes=strikes)
        facts = {**dict(reason.facts), "wait": wait, "strikes": strikes}
        severity = "info" if reason.code is Code.COPY_OLD else "warning"
        yield self._say(at, "ended", severity, number, because(reason.code, **facts))

    def _final_phase(self, reason: Reason) -> str:
        if reason.code is Code.COPY_DONE:
            return "done"
        if self._stop is not None:
            return "stopped"
        is_failed = reason.code is Code.COPY_FAILED and not self._terms.is_failure_restarted
        return "failed" if is_failed else ""

    def _count_strikes(self, copy: Copy, at: float, reason: Reason) -> int:
        is_short = at - copy.since < RESTART_CALM_SECONDS
        is_fault = reason.code is not Code.COPY_OLD
        return min(copy.strikes + 1, SIGNALS_MAX) if is_short and is_fault else 0

    def _on_measured(self, event: CopiesMeasured) -> Iterator[Order]:
        for number, memory_bytes in event.memory.items():
            if self._copies[number].phase in {"running", "stopping"}:
                self._put(number, memory_bytes=memory_bytes)
        if event.is_check:
            for copy in list(self._copies.values()):
                yield from self._check(event.at, copy)
        elif self._verdict.pressure == "critical" and not self._in_phase("stopping"):
            yield from self._relieve(event.at)

    def _check(self, at: float, copy: Copy) -> Iterator[Order]:
        most = self._terms.max_memory_bytes
        memory = copy.memory_bytes
        if copy.phase == "running" and most is not None and memory is not None and memory > most:
            reason = because(Code.COPY_LARGE, pid=copy.pid, memory=memory, limit=most)
            yield from self._terminate(at, copy.number, reason)
        elif copy.phase not in FINAL:
            yield self._report(at, copy)

    def _report(self, at: float, copy: Copy) -> Order:
        due = {"waiting": copy.start_at, "stopping": copy.kill_at}.get(copy.phase)
        is_held = copy.phase == "waiting" and self._verdict.pressure == "critical"
        reason = because(
            Code.HOST_LOW if is_held else Code.COPY_HEALTHY,
            pid=copy.pid,
            age=at - copy.since,
            max_age=self._terms.max_age_seconds,
            memory=copy.memory_bytes,
            due=None if due is None else max(0.0, due - at),
            available=self._verdict.reason.fact("available"),
        )
        return Say(Decision(at, "checked", "info", f"worker {copy.number}", reason, new=copy.phase))

    def _on_host(self, event: HostSeen) -> Iterator[Order]:
        self._seen_at = event.at
        config = _marks(self._terms)
        self._verdict = judge_memory(self._verdict, event.host, config)
        self._next_look = event.at + self._verdict.look_again_seconds
        if self._verdict.pressure != "critical":
            self._low_looks = 0
            return
        if self._in_phase("stopping"):
            yield from self._hurry(event)
        elif event.at >= self._settled_at:
            self._low_looks += 1
            if self._low_looks > 1:  # the second look: what follows cannot be undone
                yield CopyMeasure(is_check=False)

    def _hurry(self, event: HostSeen) -> Iterator[Order]:
        """Kill at once a copy that was told to end, when half of what should be left is gone."""
        critical = self._verdict.reason.fact("critical")
        assert isinstance(critical, int)
        if event.host.available_bytes >= critical // 2:
            return
        facts = {"available": event.host.available_bytes, "critical": critical}
        for copy in self._stoppable():
            yield from self._kill(event.at, copy, because(Code.HOST_LOW, **facts))

    def _relieve(self, at: float) -> Iterator[Order]:
        """Stop the largest copy, since the host runs low."""
        running = self._in_phase("running")
        if not running:
            return
        largest = max(running, key=lambda copy: copy.memory_bytes or 0)
        facts = dict(self._verdict.reason.facts)
        reason = because(
            Code.HOST_LOW,
            pid=largest.pid,
            memory=largest.memory_bytes,
            available=facts["available"],
            critical=facts["critical"],
        )
        yield from self._terminate(at, largest.number, reason)

    def _on_stop(self, event: StopAsked) -> Iterator[Order]:
        if self._stop is not None:
            for copy in self._stoppable():
                yield from self._kill(event.at, copy, _STOP_ASKED)
            return
        self._stop = event
        for copy in self._in_phase("waiting"):
            self._put(copy.number, phase="stopped", since=event.at)
        for copy in self._in_phase("stopping"):
            self._put(copy.number, cause=_STOP_ASKED)
        for copy in self._in_phase("running"):
            yield from self._terminate(event.at, copy.number, _STOP_ASKED)

    # what time brings

    def _advance(self, at: float) -> Iterator[Order]:
        for copy in self._stoppable():
            if at >= (copy.kill_at or 0.0):
                seconds = self._terms.grace_seconds
                yield from self._kill(at, copy, because(Code.GRACE_OVER, grace=seconds))
        most = self._terms.max_age_seconds
        for copy in self._in_phase("running"):
            if most is not None and at >= copy.since + most:
                reason = because(
                    Code.COPY_OLD, pid=copy.pid, age=round(at - copy.since, 1), max_age=most
                )
                yield from self._terminate(at, copy.number, reason)
        yield from self._look_and_start(at)

    def _look_and_start(self, at: float) -> Iterator[Order]:
        due = [copy for copy in self._in_phase("waiting") if at >= copy.start_at]
        is_seen = at - self._seen_at <= LOOK_MIN_SECONDS  # nobody is started on old news
        if at >= self._next_look or (due and not is_seen):
            self._next_look = at + self._verdict.look_again_seconds
            yield LookAtHost()
        if at >= self._next_check:
            self._next_check = at + self._terms.check_seconds
            yield CopyMeasure(is_check=True)
        if is_seen and self._verdict.pressure != "critical":
            for copy in due:
                self._put(copy.number, phase="starting", since=at, memory_bytes=None, pid=0)
                yield Start(copy.number)

    def _times(self) -> Iterator[float]:
        yield min(self._next_look, self._next_check)
        most = self._terms.max_age_seconds
        for copy in self._copies.values():
            if copy.phase == "stopping" and copy.kill_at is not None:
                yield copy.kill_at
            if copy.phase == "running" and most is not None:
                yield copy.since + most
            if copy.phase == "waiting" and self._verdict.pressure != "critical":
                yield copy.start_at

    # the books

    def _terminate(self, at: float, number: int, reason: Reason) -> Iterator[Order]:
        self._put(number, phase="stopping", kill_at=at + self._terms.grace_seconds, cause=reason)
        severity = "info" if reason.code in {Code.STOP_ASKED, Code.COPY_OLD} else "warning"
        yield self._say(at, "stopping", severity, number, reason)
        yield Terminate(number)

    def _kill(self, at: float, copy: Copy, reason: Reason) -> Iterator[Order]:
        self._put(copy.number, kill_at=None)
        yield self._say(at, "killed", "warning", copy.number, reason)
        yield Kill(copy.number)

    def _put(self, number: int, **changes: object) -> None:
        self._copies[number] = replace(self._copies[number], **changes)  # type: ignore[arg-type]

    def _in_phase(self, phase: str) -> list[Copy]:
        return [copy for copy in self._copies.values() if copy.phase == phase]

    def _stoppable(self) -> list[Copy]:
        """Return the copies that were told to end and may still be killed."""
        return [copy for copy in self._in_phase("stopping") if copy.kill_at is not None]

    def _is_over(self, at: float) -> bool:
        left = [copy for copy in self._copies.values() if copy.phase not in FINAL]
        if self._stop is None or not left:
            return not left
        # A process that even SIGKILL does not end (stuck in the kernel) is not waited for for ever.
        most = self._stop.at + self._terms.grace_seconds + UNKILLABLE_SECONDS
        return at >= most and all(copy.phase == "stopping" for copy in left)

    def _code(self) -> int:
        if self._stop is not None:
            return self._stop.code
        phases = {copy.phase for copy in self._copies.values()}
        if "given up" in phases:
            return GIVEN_UP
        return FAILED if "failed" in phases else DONE

    def _say(self, at: float, event: str, severity: str, number: int, reason: Reason) -> Order:
        return Say(Decision(at, event, severity, f"worker {number}", reason))


def _why_ended(status: int) -> Reason:
    """Say what the exit status of a copy means that nobody told to end."""
    number = -status if status < 0 else status - SHELL_SIGNAL
    if status < 0 or 0 < number <= SIGNALS_MAX:
        return because(Code.COPY_SIGNALLED, signal=number)
    return because(Code.COPY_FAILED, exit=status) if status else because(Code.COPY_DONE)


def _marks(terms: CopyTerms) -> Config:
    if terms.min_available_bytes is None:
        return Config()
    return Config(critical_memory=f"{max(1, terms.min_available_bytes)}B")
