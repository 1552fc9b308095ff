"""What an executor did so far and why, for people and for programs.

Filled by `trace`. Says in words how fast it went, what held it back most and what would help, each
with the number behind it. Decides nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from adaptive_exec.core.account import USES, Use
from adaptive_exec.core.reason import Code, Decision, Fact
from adaptive_exec.core.timeline import Moment, Span

MIB = 1024 * 1024
"""Bytes."""
LINES_PRINTED: Final = 200
"""Decisions that are printed, the newest ones. Source: own choice, a few screens."""
HELD_BACK_SHOWN: Final = 3
"""Causes that are named of those that held a run back."""
HELD_BACK_SHARE: Final = 0.01
"""Share of the workers' time below which a cause is not named. Source: own choice."""
TOLD_FROM: Final = 0.1
"""Share from which something against it is advised. Source: own choice."""
ADVICE_SECONDS: Final = 1.0
"""Workers' seconds below which nothing is advised. Source: own choice; there is nothing to win."""
FEW_SHARE: Final = 0.75
"""Share of the most workers there were, below which it is said that there were fewer in the mean.
Source: own choice, three quarters."""
ADVICE: Final[Mapping[Use, str]] = {
    "transport": "more work in each task, or `inline=True` where tasks may run in this process",
    "lost": "a look at why workers died, in the decisions below",
    "start": "one executor for several batches, so that its workers start once",
    "memory": "smaller tasks or more memory; `task_memory=` where a task's need is known",
    "cores": "waiting: neighbours give cores back as they end",
    "input": "a faster iterator: what it computes could be done by the tasks",
    "caller": "taking results sooner, or `map_unordered`",
    "max_in_flight": "a higher `max_in_flight`",
    "idle": "more and shorter tasks, the longest first",
}


class FailureKind(NamedTuple):
    """Tasks that ended in an exception of one type, as far as somebody has taken their results.

    Attributes:
        kind: The name of the type.
        count: How many they are.
        text: The message of the first.
        story: The traceback of the first, its end.
    """

    kind: str
    count: int  # type: ignore[assignment]  # hides a method of tuples that nobody calls
    text: str
    story: str


class CodeCount(NamedTuple):
    """How often something was decided for one reason.

    Attributes:
        event: What was decided.
        code: Why.
        severity: As the decisions have it.
        count: How often.
        first_at: Monotonic seconds of the first time.
        last_at: Of the last.
    """

    event: str
    code: Code
    severity: str
    count: int  # type: ignore[assignment]  # hides a method of tuples that nobody calls
    first_at: float
    last_at: float


class RunReport(NamedTuple):
    """What an executor did so far and why; print it.

    Attributes:
        levels: The levels that ran tasks, in the order in which they came into use.
        workers: Most workers there were at once.
        window: Most chunks that were in flight at once.
        tasks: Tasks finished.
        failed_tasks: Those of them that ended in an exception of their own.
        lost_tasks: Tasks that ended in an error of this package's: poison, over their time limit,
            without a worker; not among those. Cancelled ones are not counted.
        recalled_tasks: Tasks whose result came from the journal; not among those.
        chunks: Messages sent to workers.
        degrades: Steps to a safer level after a failure.
        restores: Steps back.
        compute_seconds: Sum of the tasks' durations.
        transport_seconds: Packing and unpacking of arguments and results.
        start_seconds: Sum of the waits for ordered workers.
        memory_wait_seconds: Time under memory pressure.
        peak_task_bytes: Highest growth of memory measured in a task, None when unknown.
        wall_seconds: Time while there was work: something ran, waited, or was awaited.
        worker_seconds: What each second of each worker over that time was spent on, by the names
            of `core/account`; their sum is that of all workers.
        decisions: What was decided, oldest first: of a long run the begin, what people were
            warned of, and the newest TRACE_LENGTH.
        tallies: How often what was decided, and why; all of it.
        moments: Readings over time, thinned.
        spans: Chunks in the order of their ends, neighbours put together.
        slowest: The chunks with the longest tasks.
        largest: The chunks with the highest memory.
        deaths: The chunks whose worker died.
        failures: Tasks that raised, by type.
        settings: Settings that differ from their defaults, with their values as text.
        host: What was found on the host, by name.
        epoch_seconds: What added to monotonic seconds gives those since 1970; 0 where unknown.
    """

    levels: tuple[str, ...] = ()
    workers: int = 0
    window: int = 0
    tasks: int = 0
    failed_tasks: int = 0
    lost_tasks: int = 0
    recalled_tasks: int = 0
    chunks: int = 0
    degrades: int = 0
    restores: int = 0
    compute_seconds: float = 0.0
    transport_seconds: float = 0.0
    start_seconds: float = 0.0
    memory_wait_seconds: float = 0.0
    peak_task_bytes: int | None = None
    wall_seconds: float = 0.0
    worker_seconds: tuple[tuple[Use, float], ...] = ()
    decisions: tuple[Decision, ...] = ()
    tallies: tuple[CodeCount, ...] = ()
    moments: tuple[Moment, ...] = ()
    spans: tuple[Span, ...] = ()
    slowest: tuple[Span, ...] = ()
    largest: tuple[Span, ...] = ()
    deaths: tuple[Span, ...] = ()
    failures: tuple[FailureKind, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    host: tuple[tuple[str, str], ...] = ()
    epoch_seconds: float = 0.0

    @property
    def began_at(self) -> float:
        """Monotonic seconds of the first thing that is known; 0 where nothing is."""
        firsts = [one.at for one in self.moments[:1]]
        firsts += [one.at for one in self.decisions[:1]] + [one.at for one in self.spans]
        return min(firsts, default=0.0)

    @property
    def ended_at(self) -> float:
        """Monotonic seconds of the last thing that is known."""
        lasts = [one.until for one in self.spans[-1:]]
        lasts += [one.at for one in self.decisions[-1:]] + [one.at for one in self.moments[-1:]]
        return max(lasts, default=0.0)

    @property
    def tasks_per_second(self) -> float:
        """Tasks that ended here per second of `wall_seconds`; 0 before any time has passed."""
        return self.tasks / self.wall_seconds if self.wall_seconds else 0.0

    def as_dict(self) -> dict[str, object]:
        """Return the sums as plain values, fit for JSON; decisions as lines."""
        fields = {name: value for name, value in self._asdict().items() if name not in _PICTURE}
        fields["levels"] = list(self.levels)
        fields["worker_seconds"] = dict(self.worker_seconds)
        fields["tasks_per_second"] = self.tasks_per_second
        fields["settings"], fields["host"] = dict(self.settings), dict(self.host)
        fields["verdict"] = list(explain_account(self))
        fields["decisions"] = [
            {"at": decision.at, "line": describe(decision)} for decision in self.decisions
        ]
        return fields

    def __str__(self) -> str:
        peak = (
            "unknown" if self.peak_task_bytes is None else f"{self.peak_task_bytes / MIB:.1f} MiB"
        )
        levels = " -> ".join(self.levels) or "none"
        seconds = {
            "compute": self.compute_seconds,
            "transport": self.transport_seconds,
            "start": self.start_seconds,
            "waiting for memory": dict(self.worker_seconds).get("memory", 0.0),
        }
        times = ", ".join(f"{name} {value:.3f} s" for name, value in seconds.items())
        tasks = f"{self.tasks} tasks, {self.failed_tasks} of them failed, in {self.chunks} chunks"
        if self.lost_tasks:
            tasks += f", {self.lost_tasks} more lost"
        if self.recalled_tasks:
            tasks += f", {self.recalled_tasks} from the journal"
        lines = [
            tasks,
            *explain_account(self),
            f"levels {levels}, at most {self.workers} workers, window {self.window} chunks",
            f"{self.degrades} degrades, {self.restores} restores",
            f"time: {times}",
            f"highest memory of a task: {peak}",
            "decisions:",
        ]
        first = self.decisions[0].at if self.decisions else 0.0
        if len(self.decisions) > LINES_PRINTED:
            lines.append(f"  {len(self.decisions) - LINES_PRINTED} earlier ones in `.decisions`")
        lines += [
            f"  {decision.at - first:9.3f} s  {describe(decision)}"
            for decision in self.decisions[-LINES_PRINTED:]
        ]
        return "\n".join(lines)


_PICTURE: Final = frozenset({
    *("tallies", "moments", "spans", "slowest", "largest", "deaths", "failures")
})
"""Fields that `core/saved` writes as they are."""


def explain_account(report: RunReport) -> Iterator[str]:
    """Say in words how fast it went, what held it back most, and what would help."""
    wall, spent = report.wall_seconds, dict(report.worker_seconds)
    total = sum(spent.values())
    if not (wall and total):
        return
    ran = spent.get("compute", 0.0)
    rate = f"{wall:.3g} s, {report.tasks_per_second:.4g} tasks/s"
    yield f"{rate}: {ran / wall:.2f} times a loop, {ran / total:.0%} of the workers' time in tasks"
    others = [(use, part) for use, part in spent.items() if use != "compute"]
    worst = sorted(others, key=lambda one: one[1], reverse=True)[:HELD_BACK_SHOWN]
    shown = [(use, part) for use, part in worst if part >= HELD_BACK_SHARE * total]
    if shown:
        yield "held back by: " + ", ".join(
            f"{USES[use]} {part:.3g} s ({part / total:.0%})" for use, part in shown
        )
    yield from _say_few_workers(report, total / wall)
    advice = list(advise(report))
    if advice:
        yield "what would help: " + "; ".join(advice)


def _say_few_workers(report: RunReport, mean: float) -> Iterator[str]:
    """Say that most of the time fewer workers were there than at the best, and why."""
    if mean >= FEW_SHARE * report.workers:
        return
    counts = {one.code: one.count for one in report.tallies}
    whys = [
        f"{text} {counts[code]} times" for code, text in _TAKES_WORKERS.items() if code in counts
    ]
    yield f"{mean:.1f} of {report.workers} workers were there in the mean" + (
        f": {', '.join(whys)}" if whys else ""
    )


_TAKES_WORKERS: Final[Mapping[Code, str]] = {
    Code.MEMORY_WARN: "memory was short",
    Code.MEMORY_CRITICAL: "memory was critical",
    Code.BRAKE: "workers were stopped for memory",
    Code.SHARE_SHRUNK: "neighbours took cores",
    Code.WORKERS_MISSING: "starts were refused",
    Code.WORKER_DIED: "workers died",
}
"""What takes workers away, in words."""


def advise(report: RunReport) -> Iterator[str]:
    """Say what would help, at most HELD_BACK_SHOWN pieces, each with what it would save at most."""
    wall, total = report.wall_seconds, sum(part for _, part in report.worker_seconds)
    if not (wall and total >= ADVICE_SECONDS):
        return
    ranked = sorted(report.worker_seconds, key=lambda one: one[1], reverse=True)
    useful = [(use, part) for use, part in ranked if use in ADVICE and part >= TOLD_FROM * total]
    for use, part in useful[:HELD_BACK_SHOWN]:
        yield f"{ADVICE[use]} (at most {wall * part / total:.3g} s of {wall:.3g} s)"


def describe(decision: Decision) -> str:
    """Write a decision as one line.

    Returns:
        `<event>: <subject> <from> -> <to> reason=<code> <name>=<value> ...`.
    """
    change = " -> ".join(part for part in (decision.old, decision.new) if part)
    head = f"{decision.event}: {decision.subject}" + (f" {change}" if change else "")
    return f"{head} reason={decision.reason.code}{_facts(decision.reason.facts)}"


def _facts(facts: tuple[tuple[str, Fact], ...]) -> str:
    return "".join(f" {name}={_text(name, value)}" for name, value in facts if value is not None)


_BYTES = frozenset({
    "available",
    "limit",
    "warn",
    "critical",
    "peak",
    "payload",
    "needed",
    "memory",
    "kept",
    "leak",
    "size",
    "room",
    "each",
})
_SECONDS = frozenset({"wait", "ran", "task_seconds", "transport_seconds", "grace", "age"})


def _text(name: str, value: Fact) -> str:
    if name in _BYTES and isinstance(value, int) and value >= MIB:
        return f"{value / MIB:.1f}MiB"
    if name in _SECONDS:
        return f"{value}s"
    return f'"{value}"' if isinstance(value, str) and " " in value else str(value)
