"""What this host affords and why: limits with their sources, starts tried for real, plans.

Reads and tries, decides nothing: the plans are the executor's own for batches of a few sizes.
"""

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from adaptive_exec.cli.exits import ALL_HAVE_VALUES, say
from adaptive_exec.config import Config
from adaptive_exec.core.memory.walls import find_remedy
from adaptive_exec.core.plan import BatchShape, make_plan
from adaptive_exec.core.reason import Code
from adaptive_exec.core.report import RunReport
from adaptive_exec.core.snapshot import HostSnapshot, Limit
from adaptive_exec.display import size_text
from adaptive_exec.executor import adaptive_executor
from adaptive_exec.host.delegated import find_place
from adaptive_exec.host.survey import take_snapshot
from adaptive_exec.ledger.leases import read_ledger
from adaptive_exec.ledger.record import LeaseRecord
from adaptive_exec.specs import LEVELS, is_isolated
from adaptive_exec.system.folder import PLACE_VARIABLE, find_folder, open_folder
from adaptive_exec.system.identity import is_same_running

PLAN_TASKS: Final = (1, 3, 10, 1000)
"""Sizes of the batches that plans are shown for: below and above the small batch, and many."""
BY_ITSELF: Final = "by itself"
STARTS: Final = (BY_ITSELF, "snapshot", "fresh", "loky")
"""Ways to start process workers, and what is chosen where none is asked for."""
_IN_BYTES: Final = frozenset({"memory", "address space"})


@dataclass(frozen=True, slots=True)
class StartTry:
    """What came of starting a worker and running one task on it.

    Attributes:
        level: The level.
        start: How its workers start, `""` where there is only one way.
        works: Whether the task came back.
        seconds: From opening to closing.
        error: Why it did not, `""` if it did.
        way: The way that was chosen, and what stood against another one; `""` where there was none.
    """

    level: str
    start: str
    works: bool
    seconds: float
    error: str
    way: str = ""


def examine(*, as_json: bool) -> int:
    """Print what this host affords.

    Args:
        as_json: One JSON object instead of text.

    Returns:
        The exit code.
    """
    snapshot = take_snapshot()
    place, trouble = _ledger_place()
    seen = read_ledger()  # before we are here ourselves
    tries = list(_try_starts())
    plans = plan_rows(snapshot, Config())
    if as_json:
        found = {
            "snapshot": {
                **snapshot._asdict(),
                "limits": [limit._asdict() for limit in snapshot.limits],
            },
            "ledger": {
                "folder": place,
                "trouble": trouble,
                "instances": [_as_seen(record) for record in seen],
            },
            "starts": [asdict(one) for one in tries],
            "plans": plans,
        }
        say(json.dumps(found, indent=2, default=str))
        return ALL_HAVE_VALUES
    parts = (
        _host_lines(snapshot),
        _ledger_lines(place, trouble, seen),
        _start_lines(tries),
        _plan_lines(plans),
    )
    say("\n\n".join("\n".join(lines) for lines in parts))
    return ALL_HAVE_VALUES


def plan_rows(snapshot: HostSnapshot, config: Config) -> list[dict[str, object]]:
    """Return the plan for batches of a few sizes.

    Args:
        snapshot: What the host affords.
        config: The settings.

    Returns:
        Rows of tasks, level, workers, reason and the facts behind it.
    """
    rows: list[dict[str, object]] = []
    for tasks in PLAN_TASKS:
        plan = make_plan(BatchShape(tasks), snapshot, config)
        reason = plan.reason
        rows.append({
            "tasks": tasks,
            "level": plan.level,
            "workers": plan.workers,
            "reason": str(reason.code),
            "facts": dict(reason.facts),
        })
    return rows


def _try_starts() -> Iterator[StartTry]:
    logging.getLogger("adaptive_exec").setLevel(
        logging.CRITICAL + 1
    )  # what fails is shown in its row
    for level in LEVELS:
        for start in STARTS if is_isolated(level) else ("",):
            yield _try_start(level, start)


def _try_start(level: str, start: str) -> StartTry:
    began = time.monotonic()
    error, way = "", ""
    settings: dict[str, Any] = {"levels": level, "max_workers": 1}
    if start not in ("", BY_ITSELF):
        settings["start"] = start
    try:
        with adaptive_executor(tasks=1, **settings) as executor:
            for outcome in executor.outcomes(abs, [-1]):
                error = "" if outcome.error is None else _one_line(outcome.error)
            way = _way_of(executor.report)
    except Exception as failure:  # noqa: BLE001  # a start may fail in any way; that is what is asked
        error = _one_line(failure)
    return StartTry(level, start, not error, time.monotonic() - began, error, way)


def _way_of(report: RunReport) -> str:
    """Say how workers were started, and why not otherwise."""
    chosen = [one for one in report.decisions if one.reason.code is Code.STARTER_CHOSEN]
    return ", ".join(f"{one.new}: {one.reason.fact('why') or 'safe'}" for one in chosen)


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _host_lines(snapshot: HostSnapshot) -> list[str]:
    facts = [
        ("memory limit", size_text(snapshot.limit_bytes), snapshot.limit_source),
        ("memory available", size_text(snapshot.available_bytes), snapshot.available_source),
        ("usable cores", str(snapshot.usable_cores), snapshot.cores_source),
        ("free processes", _count_text(snapshot.free_processes), ""),
        ("free descriptors", _count_text(snapshot.free_descriptors), ""),
        ("out-of-memory kills", _count_text(snapshot.oom_kills), ""),
        ("swap left", size_text(snapshot.swap_bytes), "room only with count_swap=True"),
        ("a kernel kill ends", *_kill_text(snapshot)),
        ("a group for each worker", *_group_text()),
    ]
    limits = [(limit.name, _limit_text(limit), limit.source) for limit in snapshot.limits]
    return ["This host affords", *_table(facts), "", "Limits that were found", *_table(limits)]


def _kill_text(snapshot: HostSnapshot) -> tuple[str, str]:
    """Say what a kill of the kernel's for memory ends, and why, with the way out."""
    if not snapshot.wide_kill:
        return "one process", ""
    ended = "nobody; all are held up" if snapshot.is_throttling else "all of the group"
    return ended, f"{snapshot.wide_kill}; {find_remedy(snapshot)}"


def _group_text() -> tuple[str, str]:
    """Say whether each worker has a control group of its own, and by whose leave."""
    place = find_place()
    return ("no", "") if place is None else ("yes", place.source)


def _ledger_place() -> tuple[str, str]:
    """Return the ledger's folder, and why there is none; one of the two is `""`."""
    try:
        return find_folder() or open_folder(), ""
    except OSError as error:
        return "", _one_line(error)


def _as_seen(record: LeaseRecord) -> dict[str, object]:
    """Return what of another instance tells whether it is the one that was looked for."""
    return {
        "pid": record.pid,
        "program": record.program,
        "cores": record.claim.held_slots,
        "promised_bytes": record.claim.held_bytes,
        "elsewhere": not is_same_running(record.process),
    }


def _ledger_lines(place: str, trouble: str, seen: list[LeaseRecord]) -> list[str]:
    """Say where instances of this user meet, and which of them are there."""
    head = f"Other instances that are counted, of those that use {place}"
    if trouble:
        return [f"Other instances cannot be counted: {trouble}; set {PLACE_VARIABLE}"]
    rows = [
        (
            f"pid {record.pid}" + ("" if is_same_running(record.process) else " elsewhere"),
            f"{record.claim.held_slots} cores, {size_text(record.claim.held_bytes)} promised",
            record.program,
        )
        for record in seen
    ]
    return [head, *(_table(rows) if rows else ["  none"])]


def _start_lines(tries: list[StartTry]) -> list[str]:
    rows = [
        (
            f"{one.level} ({one.start})" if one.start else one.level,
            f"works, {one.seconds:.2f} s" if one.works else "fails",
            one.error or one.way,
        )
        for one in tries
    ]
    return ["Levels, tried with one task", *_table(rows)]


def _plan_lines(plans: list[dict[str, object]]) -> list[str]:
    rows = [
        (
            f"{plan['tasks']} tasks",
            f"{plan['level']}, workers={plan['workers']}",
            f"{plan['reason']}",
        )
        for plan in plans
    ]
    return ["Plans, with the settings' defaults", *_table(rows)]


def _table(rows: list[tuple[str, str, str]]) -> list[str]:
    widths = [max((len(row[place]) for row in rows), default=0) for place in (0, 1)]
    return [f"  {a:<{widths[0]}}  {b:<{widths[1]}}  {c}".rstrip() for a, b, c in rows]


def _count_text(number: int | None) -> str:
    return "unlimited or unknown" if number is None else str(number)


def _limit_text(limit: Limit) -> str:
    return size_text(limit.value) if limit.name in _IN_BYTES else f"{limit.value:g}"
