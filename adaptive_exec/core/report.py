"""What an executor did so far and why, for people and for programs.

Filled by `trace`. Says in words how fast it went, what held it back most and what would help, each
with the number behind it. Decides nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from adaptive_exec.core.account import USES, Use
from adaptive_exec.core.reason import Decision, Fact

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
        decisions: Every decision, oldest first; at most TRACE_LENGTH.
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

    @property
    def tasks_per_second(self) -> float:
        """Tasks that ended here per second of `wall_seconds`; 0 before any time has passed."""
        return self.tasks / self.wall_seconds if self.wall_seconds else 0.0

    def as_dict(self) -> dict[str, object]:
        """Return all of it as plain values, fit for JSON; decisions as lines."""
        fields = self._asdict()
        fields["levels"] = list(self.levels)
        fields["worker_seconds"] = dict(self.worker_seconds)
        fields["tasks_per_second"] = self.tasks_per_second
        fields["verdict"] = list(explain_account(self))
        fields["decisions"] = [
            {"at": decision.at, "line": describe(decision)} for decision in self.decisions
        ]
        return fields

    def _repr_html_(self) -> str:
        """What a notebook shows: the account as bars, the decisions folded."""
        total = sum(seconds for _, seconds in self.worker_seconds) or 1.0
        rows = "".join(
            f"<tr><td>{_escape(USES[use])}</td><td>{seconds:.3f} s</td><td><div style='background:"
            f"#4c78a8;height:.8em;width:{200 * seconds / total:.0f}px'></div></td></tr>"
            for use, seconds in self.worker_seconds
            if seconds
        )
        head, _, decisions = str(self).partition("decisions:\n")
        return (
            f"<div><pre>{_escape(head)}</pre><table><caption>seconds of all workers</caption>{rows}"
            f"</table><details><summary>{len(self.decisions)} decisions</summary>"
            f"<pre>{_escape(decisions)}</pre></details></div>"
        )

    def __str__(self) -> str:
        peak = (
            "unknown" if self.peak_task_bytes is None else f"{self.peak_task_bytes / MIB:.1f} MiB"
        )
        levels = " -> ".join(self.levels) or "none"
        seconds = {
            "compute": self.compute_seconds,
            "transport": self.transport_seconds,
            "start": self.start_seconds,
            "waiting for memory": self.memory_wait_seconds,
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


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


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
    if not shown:
        return
    yield "held back by: " + ", ".join(
        f"{USES[use]} {part:.3g} s ({part / total:.0%})" for use, part in shown
    )
    advice = [ADVICE[use] for use, part in shown if use in ADVICE and part >= TOLD_FROM * total]
    if advice and total >= ADVICE_SECONDS:
        yield "what would help: " + "; ".join(advice)


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
