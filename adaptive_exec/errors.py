"""The exceptions of this package, by whose fault they are.

A caller's mistake is a `ValueError` or `TypeError`; what is here tells of trouble in the world: a
task that cannot be finished, a level that cannot be had. Each keeps its facts as attributes and
survives pickling. What a task itself raises is never wrapped: it is the task's result.
"""

from concurrent.futures import BrokenExecutor

try:
    from _pickle import PicklingError  # `pickle` also imports `re`, 4 ms
except ImportError:  # Pythons without the C half
    from pickle import PicklingError

UNSENDABLE_RESULT = "adaptive_exec: what the task returned cannot be sent back, got "
"""A note of the error that packing a result raised in its worker; the type's name follows."""


class AdaptiveExecError(Exception):
    """The root of every error that this package raises about the world."""

    def __reduce__(self) -> tuple[object, ...]:
        """Carry message, attributes and notes, whatever the arguments of the subclass are."""
        return _rebuild, (type(self), self.args), self.__dict__


class PoisonTaskError(AdaptiveExecError, BrokenExecutor):
    """A task killed its worker on every execution that it was allowed.

    Attributes:
        index: Position of the task in its batch, from 0.
        cause: What ended the workers: `"signal 9"`, `"exit 3"`, `"out of memory"`, `"timeout"`.
        attempts: How many executions were tried.
        peak_bytes: Highest memory measured for the task, None where it is unknown.
        limit_bytes: The memory limit in force, None where there is none.
        stack: Where in its code the task was at the last crash, `""` where it left no word.
    """

    def __init__(
        self,
        index: int,
        cause: str,
        *,
        attempts: int,
        peak_bytes: int | None = None,
        limit_bytes: int | None = None,
        stack: str = "",
    ) -> None:
        self.index = index
        self.cause = cause
        self.attempts = attempts
        self.peak_bytes = peak_bytes
        self.limit_bytes = limit_bytes
        self.stack = stack
        peak = "unknown" if peak_bytes is None else f"{peak_bytes} bytes"
        limit = "none" if limit_bytes is None else f"{limit_bytes} bytes"
        super().__init__(
            f"task {index} ended its worker ({cause}) in each of {attempts} executions, "
            f"peak {peak}, limit {limit}; {_advise(cause, stack)}{_tell(stack)}"
        )


def _advise(cause: str, stack: str) -> str:
    """Say what the user can do about what ended the workers of a task."""
    if "memory" in cause:
        return "give it more memory, or smaller parts of the work"
    if cause == "timeout":
        return "give it more time, or smaller parts of the work"
    return "its stack shows where it was" if stack else "call it in a program of its own to see why"


class WorkerLostError(AdaptiveExecError, BrokenExecutor):
    """A task's worker was lost and the task may not, or can not, run again.

    Attributes:
        index: Position of the task in its batch, from 0.
        cause: What ended the worker, or why no isolated level could run the task.
        stack: Where in its code the task was when it crashed, `""` where it left no word.
    """

    def __init__(self, index: int, cause: str, *, stack: str = "") -> None:
        self.index = index
        self.cause = cause
        self.stack = stack
        super().__init__(
            f"task {index} was lost with its worker ({cause}) and may not run again here; "
            f"allow more with retries= or more memory{_tell(stack)}"
        )


class TaskTimeoutError(AdaptiveExecError, TimeoutError):
    """A task ran longer than `task_timeout`.

    Attributes:
        index: Position of the task in its batch, from 0.
        limit_seconds: The `task_timeout` in force.
    """

    def __init__(self, index: int, limit_seconds: float) -> None:
        self.index = index
        self.limit_seconds = limit_seconds
        super().__init__(
            f"task {index} ran longer than task_timeout, got more than {limit_seconds:g} s; "
            f"raise task_timeout= or split the task"
        )


class TaskError(AdaptiveExecError):
    """Stand-in for an exception, argument or result that could not be carried between processes.

    Attributes:
        type_name: Qualified name of what could not be carried, e.g. `"mymod.MyError"`.
        text: Its message.
        traceback_text: The worker's traceback, `""` when there is none.
    """

    def __init__(self, type_name: str, text: str, traceback_text: str = "") -> None:
        self.type_name = type_name
        self.text = text
        self.traceback_text = traceback_text
        super().__init__(f"{type_name}: {text}")


_INHERITED = (
    "multiprocessing.synchronize.", "multiprocessing.sharedctypes.", "multiprocessing.queues.",
)  # fmt: skip
_OF_A_FORK = (
    "hand it over in initargs with start='snapshot', since only a process that is forked from the "
    "program has it, too; or take one of a multiprocessing.Manager"
)


class UnsendableError(AdaptiveExecError, PicklingError, TypeError):
    """A function or an argument cannot be sent to a worker process.

    Attributes:
        path: Where what cannot be sent is, `"f.__globals__['FILE']"` or `"args[0].handle"`.
        type_name: Qualified name of its type, `"_io.TextIOWrapper"`.
        text: What pickling it says.
    """

    def __init__(self, path: str, type_name: str, text: str) -> None:
        self.path = path
        self.type_name = type_name
        self.text = text
        is_inherited = type_name.startswith(_INHERITED)
        super().__init__(
            f"{path} cannot be sent to a worker process, got {type_name} ({text}); "
            f"{_OF_A_FORK if is_inherited else 'make or open it in the task'}, or run in this "
            f"process with levels=('thread', 'sequential')"
        )


class WorkerTraceback(AdaptiveExecError):  # noqa: N818  # it carries a text, no error
    """Carries the traceback of the worker, as the first cause of a task's exception.

    That is its `__cause__`, where the task has raised it from no other.

    Attributes:
        text: The traceback as the worker printed it.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(f'\n"""\n{text}"""')


CAUSES_MAX = 100
"""Causes of causes that are gone through; a chain may be a ring."""


def add_traceback(error: BaseException, text: str) -> None:
    """Put a worker's traceback behind all causes of a task's exception."""
    _first_cause(error).__cause__ = WorkerTraceback(text)


def message_of(error: BaseException) -> str:
    """Return an exception's message; never raises."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001  # a __str__ of the user's
        return "its message cannot be read"


def traceback_of(error: BaseException) -> str:
    """Return the worker's traceback of a task's exception, `""` where it has none."""
    first = _first_cause(error)
    return first.text if isinstance(first, WorkerTraceback) else ""


def _first_cause(error: BaseException) -> BaseException:
    for _ in range(CAUSES_MAX):
        if error.__cause__ is None:
            break
        error = error.__cause__
    return error


class MemoryPressureError(MemoryError, AdaptiveExecError):  # in the other order it has no __new__
    """So little memory is left that going on would endanger the host.

    Attributes:
        where: What the caller was doing, `""` where that was not said.
        available_bytes: Memory that could still be taken.
        critical_bytes: The mark that this is below.
        limit_bytes: The memory limit in force.
        source: Where `available_bytes` was read.
        needed_bytes: Memory that a wait was for, None where it was a mere check.
    """

    def __init__(
        self,
        where: str,
        *,
        available_bytes: int,
        critical_bytes: int,
        limit_bytes: int,
        source: str = "",
        needed_bytes: int | None = None,
    ) -> None:
        self.where = where
        self.available_bytes = available_bytes
        self.critical_bytes = critical_bytes
        self.limit_bytes = limit_bytes
        self.source = source
        self.needed_bytes = needed_bytes
        at = f" at {where}" if where else ""
        wanted = "" if needed_bytes is None else f" and {needed_bytes} bytes wanted"
        super().__init__(
            f"memory is running out{at}, got {available_bytes} bytes available of {limit_bytes} "
            f"({source or 'source unknown'}), mark {critical_bytes}{wanted}; "
            f"let memory go, or run less at once"
        )


class LevelUnavailableError(AdaptiveExecError, BrokenExecutor):
    """No level that the settings allow can run the task now.

    Attributes:
        level: The last level that was tried.
        cause: What it failed with.
    """

    def __init__(self, level: str, cause: str) -> None:
        self.level = level
        self.cause = cause
        super().__init__(
            f"no level is left to run on, {level} failed ({cause}); "
            f"allow more with levels=, fallback='thread' or isolate=False"
        )


class DriverError(AdaptiveExecError, BrokenExecutor):
    """The loop that drives the executor failed; every open task ends with this, cause chained."""


class InitializerError(AdaptiveExecError, BrokenExecutor):
    """The user's `initializer` failed in a worker, so no task can run.

    Attributes:
        text: The initializer's traceback.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(f"the initializer failed in a worker; mend it or leave it out:\n{text}")


class JournalError(AdaptiveExecError):
    """A journal cannot be used; nothing in it was changed.

    Attributes:
        kind: Why: `"foreign"`, `"other card"`, `"truncated"`, `"damaged"`, `"newer"`, `"changed"`,
            `"read-only"`, `"full"`, `"busy"`, `"absent"` or `"unusable"`.
        path: The file.
        text: What was found.
    """

    def __init__(self, path: str, kind: str, text: str) -> None:
        self.kind = kind
        self.path = path
        self.text = text
        super().__init__(f"journal {kind}, got {path} ({text}); {_JOURNAL_ADVICE[kind]}")


_JOURNAL_ADVICE = {
    "foreign": "it is left as it is, name another file",
    "other card": "it is left as it is, name the journal of this card or another file",
    "truncated": "it is left as it is, restore it from a copy or name another file",
    "damaged": "it is left as it is, restore it from a copy or name another file",
    "newer": "it is left as it is, use the version that wrote it or name another file",
    "changed": "accept its results with Journal(path, accept_changed=True) or --accept-changed, or "
    "start afresh with another file or -i",
    "read-only": "make file and folder writable or name another file",
    "full": "make room on its disk or name another file",
    "busy": "another instance holds it for long, try again or name another file",
    "absent": "name the file of a run",
    "unusable": "name another file",
}


STACK_CHARACTERS_MAX = 4_000
"""Characters of a crashed task's stack that a message shows; the attribute has all."""


def _tell(stack: str) -> str:
    if not stack:
        return ""
    return f"\n{stack[:STACK_CHARACTERS_MAX]}"


def _rebuild(kind: type[AdaptiveExecError], args: tuple[object, ...]) -> AdaptiveExecError:
    error = kind.__new__(kind)
    error.args = args
    return error
