"""What each reason code means: its cause, what the program did, what one can do.

One row for every code; `docs/reasons.md` is drawn from here, and so are the words of `why` and of
the page. Decides nothing.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from adaptive_exec.core.reason import Code


class Meaning(NamedTuple):
    """A reason in words.

    Attributes:
        cause: What led to it.
        did: What the program did.
        help: What one can do; `""` where there is nothing to be done.
    """

    cause: str
    did: str
    help: str = ""


_PLAN: Final[Mapping[Code, Meaning]] = {
    Code.BATCH_SMALL: Meaning(
        "The executor was told that fewer than 4 tasks come, and as few came.",
        "They run on threads of the calling process, which starts nothing.",
        '`isolate=True` or `levels="process"` where they should have workers.',
    ),
    Code.BATCH_LARGE: Meaning(
        "The batch has 4 tasks or more.",
        "It runs in worker processes, as many as there are cores and memory for.",
    ),
    Code.BATCH_UNSIZED: Meaning(
        "The input has no known length.",
        "It runs in worker processes; input is taken as results are.",
        "Give a list, or `adaptive_executor(tasks=N)`, for a bar and a better plan.",
    ),
    Code.BATCH_UNANNOUNCED: Meaning(
        "The batch has fewer than 4 tasks, and nobody had announced so few.",
        "It runs in worker processes.",
        "`adaptive_executor(tasks)` with the same few tasks asks for threads.",
    ),
    Code.ISOLATION_ASKED: Meaning(
        "`isolate=True`, or a card, asks for worker processes.",
        "The batch runs in workers, however small it is.",
    ),
    Code.TIMEOUT_ASKED: Meaning(
        "`task_timeout` is set, and only a process can be stopped.",
        "The batch runs in workers, however small it is.",
    ),
    Code.WORKERS_ASKED: Meaning(
        "A setting is about workers: `initializer`, `start`, `max_tasks_per_worker`.",
        "The batch runs in workers, however small it is.",
    ),
    Code.LEVEL_ASKED: Meaning(
        "`levels` names where the batch may run.", "It runs there.", "Change `levels`."
    ),
    Code.LEVEL_OPEN: Meaning(
        "Workers are there already, from an earlier batch.", "The batch uses them."
    ),
    Code.LEVEL_SHUT: Meaning(
        "The process level has failed before and rests.",
        "The batch runs one level lower until the level is tried again.",
        "Look for the `degraded` decision before this one: its error says what failed.",
    ),
    Code.MEMORY_SHORT: Meaning(
        "There is not even memory for one worker process.",
        "It waited a few seconds for room, then began one level lower.",
        "Free memory, or raise the container's limit.",
    ),
    Code.FUNCTION_NOT_PORTABLE: Meaning(
        "The function, or something that it refers to, cannot be sent to a process.",
        'Its tasks end with `UnsendableError`, or run in threads with `fallback="thread"`.',
        "The error names the part: make it inside the task, or in an `initializer`.",
    ),
}
_WORKERS: Final[Mapping[Code, Meaning]] = {
    Code.START_REFUSED: Meaning(
        "The system refused to start a worker (memory, processes, descriptors).",
        "After several tries the level was given up for the next one.",
        "`adaptive-exec doctor` names the limit; raise it, or lower `max_workers`.",
    ),
    Code.START_RETRIED: Meaning(
        "The system refused to start a worker just now.",
        "It is tried again, with growing pauses, while the other workers go on.",
    ),
    Code.WORKERS_MISSING: Meaning(
        "Some workers could not be started, others could.",
        "The run goes on with those that started; more are tried later, one by one.",
        "`adaptive-exec doctor` names the limit.",
    ),
    Code.WORKER_DIED: Meaning(
        "A worker ended by itself: a crash, an exit, or a kill from outside.",
        "Its finished results are kept; the task that ran is tried again alone, the others go on.",
        "The cause stands in the line; `signal 11` is a crash in native code, see the stack.",
    ),
    Code.STARTER_CHOSEN: Meaning(
        "Before the first worker it is decided how workers are started.",
        "They are forked from the program (`snapshot`) or from a fresh interpreter (`zygote`).",
        "`start=` asks for one way; the line says what spoke against the other.",
    ),
    Code.STARTER_LOST: Meaning(
        "The process that starts workers, or a worker of ours by no fault of its task, was lost.",
        "Another one was started; tasks that ran then run again, and none is blamed.",
    ),
    Code.STARTER_UNFIT: Meaning(
        "One way to start workers does not work here.",
        "Workers are started another way from now on.",
        "The error in the line says why; mostly it can be left so.",
    ),
    Code.OBJECTS_COPIED: Meaning(
        "Workers were not forked from the program, and modules hold locks, queues or the like.",
        "Each worker has its own copies, which are not shared with yours.",
        'Pass them in the `initializer`, or say `start="snapshot"`.',
    ),
    Code.HASHES_DIFFER: Meaning(
        "Workers that came later hash texts otherwise than those before.",
        "The run goes on; the order of sets of texts may differ between workers.",
        "Set PYTHONHASHSEED where results depend on it.",
    ),
    Code.WORKER_STALLED: Meaning(
        "A worker stood still: somebody had stopped it by a signal.",
        "It was killed; its task runs elsewhere and is not blamed.",
    ),
    Code.WORK_LEFT: Meaning(
        "A worker was to end, and its tasks had left threads or exit handlers behind that went on.",
        "It was cut off after its time.",
        "Join threads before the task returns.",
    ),
    Code.TASKS_SERVED: Meaning(
        "`max_tasks_per_worker` was reached.", "The worker was replaced between two chunks."
    ),
    Code.WORKER_OLD: Meaning(
        "`max_worker_age` was reached.", "The worker was replaced between two chunks."
    ),
    Code.WORKER_LARGE: Meaning(
        "A worker holds more memory between tasks than its part.",
        "It was replaced between two chunks.",
        "`max_worker_memory` sets the bound; caches of the function are lost with the worker.",
    ),
    Code.TASKS_LEAK: Meaning(
        "Several workers in a row grew with every task until they were too large.",
        "They are replaced as often as needed, and it was said once.",
        "Look for what the function keeps: module caches, open figures, native libraries.",
    ),
    Code.NO_PROGRESS: Meaning(
        "Several workers in a row died before their first result.",
        "The level was given up for the next one; suspects go nowhere without isolation.",
        "The causes of the deaths stand before this line.",
    ),
}
_MOVES: Final[Mapping[Code, Meaning]] = {
    Code.TASKS_TINY: Meaning(
        "Measured in a worker, the tasks take less time than sending them (`inline=True`).",
        "The rest runs in the calling process.",
        "Leave `inline` out to keep every task in a worker.",
    ),
    Code.TASKS_GREW: Meaning(
        "Tasks that ran in the calling process turned out to be long.",
        "The batch moved to workers.",
    ),
    Code.TASKS_WAIT: Meaning(
        "The tasks use little processor time: they wait for a network, a disk, a device.",
        "More workers than cores were started.",
        "`max_workers` bounds them.",
    ),
    Code.PAYLOAD_LARGE: Meaning(
        "Arguments and results are large beside the work (`inline=True`).",
        "The rest runs in the calling process.",
        "Pass a path or a `share`d object in the place of a large argument.",
    ),
    Code.CALM: Meaning(
        "A level that had failed has rested, and nothing is short now.",
        "It is tried with one worker and one chunk.",
    ),
    Code.TRIAL_PASSED: Meaning(
        "A level that had failed works again.", "Batches go back to it, one worker at a time."
    ),
    Code.TRIAL_FAILED: Meaning(
        "A level that was tried again failed again.", "It rests twice as long as before."
    ),
    Code.NO_LEVEL_LEFT: Meaning(
        "No level that the settings allow works here.",
        "The tasks end with `LevelUnavailableError`, which names the cause.",
        "Allow more `levels`, or mend what the error names.",
    ),
}
_TASKS: Final[Mapping[Code, Meaning]] = {
    Code.SUSPECT: Meaning(
        "The task was running when its worker died.",
        "It goes to the end of the line and runs again alone, in a worker of its own.",
        "`retries` says how often; 0 never runs anything twice.",
    ),
    Code.POISON: Meaning(
        "The task killed its worker each time it was allowed to run.",
        "It ended with `PoisonTaskError`, with cause, peak and limit; all others went on.",
        "Run it alone under a debugger; for memory, give more or make the task smaller.",
    ),
    Code.TASK_OVERDUE: Meaning(
        "The task ran longer than `task_timeout`.",
        "Its worker was killed, the task ended with `TaskTimeoutError`, others run elsewhere.",
        "Raise `task_timeout` if the task was merely slow.",
    ),
    Code.TASK_UNWANTED: Meaning(
        "Nobody waits for a submitted call any more.",
        "What runs of it is ended, what has not begun never does.",
    ),
    Code.NOT_ENFORCED: Meaning(
        "`task_timeout` is set, and tasks run where nothing can be stopped (threads).",
        "The limit is not kept for this batch.",
        "Let it run in processes: see why it does not in the line before.",
    ),
    Code.RETRIES_SPENT: Meaning(
        "With `retries=0` a task that may have begun is not run again.",
        "It ended with `WorkerLostError`.",
        "Set `retries` where running twice does no harm.",
    ),
    Code.NO_ISOLATION: Meaning(
        "A task that killed a worker is to run alone in another, and there is none to be had.",
        "It ended with an error instead of running in your process.",
        "See why the process level is not to be had.",
    ),
    Code.INITIALIZER_FAILED: Meaning(
        "The `initializer` raised in a worker.",
        "The tasks end with `InitializerError`, which has its text.",
        "Mend the initializer.",
    ),
}
_MEMORY: Final[Mapping[Code, Meaning]] = {
    Code.MEMORY_NORMAL: Meaning("There is room again.", "Chunks go out as the window allows."),
    Code.MEMORY_WARN: Meaning(
        "Less memory is left than the warn mark, by whomever it is used.",
        "No new chunk goes out, the window is halved, idle workers go, garbage is collected.",
        "`warn_memory` sets the mark; see on the page who uses the memory.",
    ),
    Code.MEMORY_CRITICAL: Meaning(
        "Less memory is left than the critical mark.",
        "A second look follows at once; if it is as bad, the youngest worker is stopped.",
        "Fewer workers, smaller tasks, or more memory; `critical_memory` sets the mark.",
    ),
    Code.MEMORY_UNBOUND: Meaning(
        "Nothing is known of what chunks take.", "Memory sets no bound but by its pressure."
    ),
    Code.MEMORY_FITS: Meaning(
        "What chunks were measured to take fits so many times.",
        "The window lets out so many chunks.",
        "`task_memory=` where a task's need is known; more memory for more at once.",
    ),
    Code.WINDOW_GROWS: Meaning(
        "The window was halved or has only begun.", "It grows step by step up to what fits."
    ),
    Code.WINDOW_HALVED: Meaning(
        "Memory was short, or a worker died for memory.", "The window was halved; it grows again."
    ),
    Code.ROOM_AWAITED: Meaning(
        "Memory is critical and something waits to be sent.",
        "It waits some seconds for room, then one chunk goes out all the same.",
        "Free memory: others on the host may hold it.",
    ),
    Code.MEMORY_BY_BYTES: Meaning(
        "Tasks differ in size, and each reserves what tasks of its size took.",
        "As many chunks are out as their reserves fit.",
    ),
    Code.SIZE_TELLS: Meaning(
        "What tasks take was found to follow a number among their arguments.",
        "Each task reserves what one of its size takes.",
    ),
    Code.SIZE_SILENT: Meaning(
        "The size of arguments does not tell any more what tasks take.",
        "All tasks reserve alike.",
        "`size=` or `task_memory=` with a function says it better.",
    ),
    Code.BRAKE: Meaning(
        "Memory was critical at two looks, and the kernel's killer would have come next.",
        "The youngest chunk's worker was stopped; its task runs again and is not blamed.",
        "Fewer `max_workers`, a `task_memory`, or more memory.",
    ),
    Code.THROTTLED: Meaning(
        "The kernel has held all tasks up at the group's `memory.high` for long.",
        "The chunk that held most was stopped.",
        "Raise `memory.high` or `memory.max`, or lower `max_workers`.",
    ),
    Code.KILL_SPREADS: Meaning(
        "A kernel's kill for memory here would end this whole program.",
        "Tasks run behind walls, and the brake stops the last chunk, too.",
        "The remedy stands in the line, for example `OOMPolicy=continue`.",
    ),
    Code.LIMIT_HIDDEN: Meaning(
        "The kernel killed for memory below every limit that can be seen.",
        "What was in use then counts as the limit from now on, for a day.",
        "Ask who runs the host for the limit; `target_memory` in bytes sets your own.",
    ),
    Code.GROUP_EACH: Meaning(
        "This control group was handed over.",
        "Each worker has a group of its own, whose limit is its wall.",
    ),
    Code.GROUPS_REFUSED: Meaning(
        "Control groups for workers cannot be made here.",
        "Walls bound what a worker asks for, not what it uses.",
        "`adaptive-exec doctor` says where groups are handed over.",
    ),
    Code.MEMORY_UNTOUCHED: Meaning(
        "A task reserves more memory than it uses, and ran into its wall for that.",
        "Tasks of this function run without a wall.",
    ),
}
_COPIES: Final[Mapping[Code, Meaning]] = {
    Code.START_ORDERED: Meaning("A copy of a supervised command is due.", "It was started."),
    Code.COPY_HEALTHY: Meaning("A copy runs within its bounds.", "It was left alone."),
    Code.COPY_DONE: Meaning("A copy ended with exit code 0.", "It is not started again."),
    Code.COPY_FAILED: Meaning(
        "A copy ended with an exit code of its own.",
        "It is not started again, unless `--restart-failed` was given.",
        "See what it wrote.",
    ),
    Code.COPY_SIGNALLED: Meaning(
        "A copy was ended by a signal that was not ours.", "It was started again, after a pause."
    ),
    Code.COPY_OLD: Meaning("A copy reached `--max-age`.", "It was replaced."),
    Code.COPY_LARGE: Meaning(
        "A copy, with all it started, reached `--max-memory`.", "It was replaced."
    ),
    Code.HOST_LOW: Meaning(
        "Less memory is left on the host than `--min-available`.",
        "The largest copy was replaced, or a start waits.",
    ),
    Code.GRACE_OVER: Meaning("A copy did not end within `--grace` of SIGTERM.", "It was killed."),
    Code.RESTARTS_SPENT: Meaning(
        "A copy ended soon after its start too often.", "It is not started again.", "See its log."
    ),
}
_SHARES: Final[Mapping[Code, Meaning]] = {
    Code.SHARE_ALONE: Meaning(
        "No other instance is on this host.", "All cores and all memory are to be had."
    ),
    Code.SHARE_FAIR: Meaning(
        "Other instances of the same user are on this host.",
        "Cores and memory are shared out, at least one worker for each.",
        "`adaptive-exec watch` shows who; `share_host=False` shares nothing.",
    ),
    Code.SHARE_AWAITED: Meaning(
        "The memory that one task needs is promised to other instances.",
        "The run waits for its turn, first come first served.",
        "`adaptive-exec watch` shows the line.",
    ),
    Code.SHARE_SPENT: Meaning(
        "The wait for a share of memory took too long.", "The run goes on with one task at a time."
    ),
    Code.SHARE_SHRUNK: Meaning(
        "Another instance came, so that fewer cores are left.",
        "An idle worker was let go; those at work finish their chunk first.",
    ),
    Code.CORE_UNUSED: Meaning(
        "A task used next to no processor time for a second.",
        "It counts as holding no core, and another worker begins beside it.",
    ),
    Code.LEDGER_UNUSABLE: Meaning(
        "The ledger in which instances find each other cannot be used.",
        "The run goes by what it sees of the host, and tries again later.",
        "The error in the line names the folder.",
    ),
    Code.LEDGER_ODD: Meaning(
        "A record of another instance could not be read.", "It was passed over."
    ),
}
_OTHERS: Final[Mapping[Code, Meaning]] = {
    Code.JOURNAL_OPENED: Meaning(
        "A journal was asked for.", "It is open; results that it has are not computed again."
    ),
    Code.NETWORK_FILE_SYSTEM: Meaning(
        "The journal is on a network file system.",
        "It does without a shared log; results are on the disk before they are handed on.",
        "A local disk is faster.",
    ),
    Code.JOURNAL_FAILED: Meaning(
        "The journal cannot be written any more: a full disk, a lost mount.",
        "The run goes on and delivers results; what was journaled is kept.",
        "Make room; `--resume` runs what is missing.",
    ),
    Code.NO_KEY: Meaning(
        "Arguments have no content that a key could be made of.",
        "Such tasks run and are not journaled.",
        "`key=` says what a task is known by.",
    ),
    Code.HANDOVER_FULL: Meaning(
        "Finished results wait in number for a disk or for code of yours that unpacks them.",
        "No more are sent until half of them are through.",
        "A faster disk, or lighter results.",
    ),
    Code.STOP_ASKED: Meaning(
        "The caller shut down, cancelled, or dropped the batch.", "What had not begun never does."
    ),
}
_CLUSTER: Final[Mapping[Code, Meaning]] = {
    Code.HELP_FOUND: Meaning(
        "The cluster that was named has answered, and its Python and modules fit.",
        "Chunks go to its workers beside those here.",
    ),
    Code.HELP_LOST: Meaning(
        "The cluster was lost, closed or has no workers, or does not fit; the line says which.",
        "What was out there runs here or on what is left of it; it is tried again after calm, and "
        "twice as long after each failure.",
        "Look at its scheduler and workers; with an address it is connected again by itself.",
    ),
    Code.CHUNK_OVERDUE: Meaning(
        "A chunk at the cluster took many times as long as its like, at least 30 s.",
        "It runs here; what still comes of it is dropped. After several in a row the cluster is "
        "given up for a while.",
        "Look whether its workers are stopped or cut off.",
    ),
}
MEANINGS: Final[Mapping[Code, Meaning]] = {
    **_PLAN,
    **_WORKERS,
    **_MOVES,
    **_TASKS,
    **_MEMORY,
    **_COPIES,
    **_SHARES,
    **_CLUSTER,
    **_OTHERS,
}
"""All of them, in the order of the codes."""
SECTIONS: Final[Mapping[str, Mapping[Code, Meaning]]] = {
    "Where a batch begins": _PLAN,
    "Workers": _WORKERS,
    "Moves between levels": _MOVES,
    "Tasks": _TASKS,
    "Memory": _MEMORY,
    "Copies of a supervised command": _COPIES,
    "Other instances on the host": _SHARES,
    "A cluster beside": _CLUSTER,
    "Journal, results, the end": _OTHERS,
}
"""The same, by what they are about."""
