"""Why a decision was taken: a code from a closed set, and the numbers behind it.

Tests and scripts read the code; people read the sentence that `log` and `report` make of it.
Decides nothing.
"""

from enum import StrEnum
from typing import NamedTuple

Fact = int | float | str | None


class Code(StrEnum):
    """Every reason there is. A branch of a policy without a code here does not exist."""

    # plan: where a batch starts
    BATCH_SMALL = "batch_small"
    BATCH_LARGE = "batch_large"
    BATCH_UNSIZED = "batch_unsized"
    BATCH_UNANNOUNCED = "batch_unannounced"
    ISOLATION_ASKED = "isolation_asked"
    TIMEOUT_ASKED = "timeout_asked"
    WORKERS_ASKED = "workers_asked"
    LEVEL_ASKED = "level_asked"
    LEVEL_OPEN = "level_open"
    LEVEL_SHUT = "level_shut"
    MEMORY_SHORT = "memory_short"
    FUNCTION_NOT_PORTABLE = "function_not_portable"
    # workers: how many, and what became of them
    START_REFUSED = "start_refused"
    START_RETRIED = "start_retried"
    WORKERS_MISSING = "workers_missing"
    WORKER_DIED = "worker_died"
    STARTER_CHOSEN = "starter_chosen"
    STARTER_LOST = "starter_lost"
    STARTER_UNFIT = "starter_unfit"
    OBJECTS_COPIED = "objects_copied"
    HASHES_DIFFER = "hashes_differ"
    WORKER_STALLED = "worker_stalled"
    WORK_LEFT = "work_left"
    TASKS_SERVED = "tasks_served"
    WORKER_OLD = "worker_old"
    WORKER_LARGE = "worker_large"
    TASKS_LEAK = "tasks_leak"
    NO_PROGRESS = "no_progress"
    # moves: degrade, restore, and what measuring suggests
    TASKS_TINY = "tasks_tiny"
    TASKS_GREW = "tasks_grew"
    TASKS_WAIT = "tasks_wait"
    PAYLOAD_LARGE = "payload_large"
    CALM = "calm"
    TRIAL_PASSED = "trial_passed"
    TRIAL_FAILED = "trial_failed"
    NO_LEVEL_LEFT = "no_level_left"
    # the level beside: an engine's workers elsewhere
    HELP_FOUND = "help_found"
    HELP_LOST = "help_lost"
    CHUNK_OVERDUE = "chunk_overdue"
    # tasks
    SUSPECT = "suspect"
    POISON = "poison"
    TASK_OVERDUE = "task_overdue"
    TASK_UNWANTED = "task_unwanted"
    NOT_ENFORCED = "not_enforced"
    RETRIES_SPENT = "retries_spent"
    NO_ISOLATION = "no_isolation"
    INITIALIZER_FAILED = "initializer_failed"
    # memory
    MEMORY_NORMAL = "memory_normal"
    MEMORY_WARN = "memory_warn"
    MEMORY_CRITICAL = "memory_critical"
    MEMORY_UNBOUND = "memory_unbound"
    MEMORY_FITS = "memory_fits"
    WINDOW_GROWS = "window_grows"
    WINDOW_HALVED = "window_halved"
    ROOM_AWAITED = "room_awaited"
    MEMORY_BY_BYTES = "memory_by_bytes"
    SIZE_TELLS = "size_tells"
    SIZE_SILENT = "size_silent"
    BRAKE = "brake"
    THROTTLED = "throttled"
    KILL_SPREADS = "kill_spreads"
    LIMIT_HIDDEN = "limit_hidden"
    GROUP_EACH = "group_each"
    GROUPS_REFUSED = "groups_refused"
    MEMORY_UNTOUCHED = "memory_untouched"
    # copies of a supervised command
    START_ORDERED = "start_ordered"
    COPY_HEALTHY = "copy_healthy"
    COPY_DONE = "copy_done"
    COPY_FAILED = "copy_failed"
    COPY_SIGNALLED = "copy_signalled"
    COPY_OLD = "copy_old"
    COPY_LARGE = "copy_large"
    HOST_LOW = "host_low"
    GRACE_OVER = "grace_over"
    RESTARTS_SPENT = "restarts_spent"
    # neighbours: how much of the host is ours
    SHARE_ALONE = "share_alone"
    SHARE_FAIR = "share_fair"
    SHARE_AWAITED = "share_awaited"
    SHARE_SPENT = "share_spent"
    SHARE_SHRUNK = "share_shrunk"
    CORE_UNUSED = "core_unused"
    LEDGER_UNUSABLE = "ledger_unusable"
    LEDGER_ODD = "ledger_odd"
    # the journal
    JOURNAL_OPENED = "journal_opened"
    NETWORK_FILE_SYSTEM = "network_file_system"
    JOURNAL_FAILED = "journal_failed"
    NO_KEY = "no_key"
    # handing results over
    HANDOVER_FULL = "handover_full"
    # the end
    STOP_ASKED = "stop_asked"


class Reason(NamedTuple):
    """A code and the facts that led to it, in the order in which people should read them."""

    code: Code
    facts: tuple[tuple[str, Fact], ...] = ()

    def fact(self, name: str) -> Fact:
        """Return the fact of that name, None when there is none."""
        return dict(self.facts).get(name)


def because(code: Code, **facts: Fact) -> Reason:
    """Make a reason.

    >>> because(Code.BATCH_SMALL, tasks=3).fact("tasks")
    3
    """
    return Reason(code, tuple(facts.items()))


class Decision(NamedTuple):
    """Something that was decided, for the log, the events and the report.

    Attributes:
        at: Monotonic seconds.
        event: What was decided, a past participle: `"planned"`, `"degraded"`, `"restored"`.
        severity: `"debug"`, `"info"`, `"warning"` or `"error"`.
        subject: What it is about: a level, a worker, a task.
        reason: Why.
        old: State before, `""` where it has none.
        new: State after, `""` where it has none.
    """

    at: float
    event: str
    severity: str
    subject: str
    reason: Reason
    old: str = ""
    new: str = ""
