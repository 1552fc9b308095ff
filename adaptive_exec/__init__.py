"""Run a batch of Python calls on the best level that the host affords right now.

The public face: names, nothing else. Each is loaded when it is first used.
"""

import importlib

TYPE_CHECKING = False
if TYPE_CHECKING:  # for type checkers; at run time each name is loaded when it is first used
    from adaptive_exec.cli.watch import watch as watch
    from adaptive_exec.clients.bars import process_map as process_map
    from adaptive_exec.clients.bars import thread_map as thread_map
    from adaptive_exec.clients.multiprocessing import Pool as Pool
    from adaptive_exec.clients.standard import ProcessPoolExecutor as ProcessPoolExecutor
    from adaptive_exec.clients.standard import ThreadPoolExecutor as ThreadPoolExecutor
    from adaptive_exec.config import Config as Config
    from adaptive_exec.config import Journal as Journal
    from adaptive_exec.core.report import RunReport as RunReport
    from adaptive_exec.core.snapshot import HostSnapshot as HostSnapshot
    from adaptive_exec.errors import AdaptiveExecError as AdaptiveExecError
    from adaptive_exec.errors import DriverError as DriverError
    from adaptive_exec.errors import InitializerError as InitializerError
    from adaptive_exec.errors import JournalError as JournalError
    from adaptive_exec.errors import LevelUnavailableError as LevelUnavailableError
    from adaptive_exec.errors import MemoryPressureError as MemoryPressureError
    from adaptive_exec.errors import PoisonTaskError as PoisonTaskError
    from adaptive_exec.errors import TaskError as TaskError
    from adaptive_exec.errors import TaskTimeoutError as TaskTimeoutError
    from adaptive_exec.errors import UnsendableError as UnsendableError
    from adaptive_exec.errors import WorkerLostError as WorkerLostError
    from adaptive_exec.executor import AdaptiveExecutor as AdaptiveExecutor
    from adaptive_exec.executor import Progress as Progress
    from adaptive_exec.executor import adaptive_executor as adaptive_executor
    from adaptive_exec.guard import MemoryGuard as MemoryGuard
    from adaptive_exec.host.survey import take_snapshot as take_snapshot
    from adaptive_exec.levels.current import CurrentTask as CurrentTask
    from adaptive_exec.levels.current import current_task as current_task
    from adaptive_exec.outcomes import Outcome as Outcome
    from adaptive_exec.program.settings import register_setting as register_setting

__version__ = "0.1.0"

_HOMES = {
    "AdaptiveExecError": "errors",
    "AdaptiveExecutor": "executor",
    "Config": "config",
    "CurrentTask": "levels.current",
    "DriverError": "errors",
    "HostSnapshot": "core.snapshot",
    "InitializerError": "errors",
    "Journal": "config",
    "JournalError": "errors",
    "LevelUnavailableError": "errors",
    "MemoryGuard": "guard",
    "MemoryPressureError": "errors",
    "Outcome": "outcomes",
    "PoisonTaskError": "errors",
    "Pool": "clients.multiprocessing",
    "ProcessPoolExecutor": "clients.standard",
    "Progress": "executor",
    "RunReport": "core.report",
    "TaskError": "errors",
    "TaskTimeoutError": "errors",
    "ThreadPoolExecutor": "clients.standard",
    "UnsendableError": "errors",
    "WorkerLostError": "errors",
    "adaptive_executor": "executor",
    "current_task": "levels.current",
    "process_map": "clients.bars",
    "register_setting": "program.settings",
    "take_snapshot": "host.survey",
    "thread_map": "clients.bars",
    "watch": "cli.watch",
}

__all__ = [
    "AdaptiveExecError",
    "AdaptiveExecutor",
    "Config",
    "CurrentTask",
    "DriverError",
    "HostSnapshot",
    "InitializerError",
    "Journal",
    "JournalError",
    "LevelUnavailableError",
    "MemoryGuard",
    "MemoryPressureError",
    "Outcome",
    "PoisonTaskError",
    "Pool",
    "ProcessPoolExecutor",
    "Progress",
    "RunReport",
    "TaskError",
    "TaskTimeoutError",
    "ThreadPoolExecutor",
    "UnsendableError",
    "WorkerLostError",
    "__version__",
    "adaptive_executor",
    "current_task",
    "process_map",
    "register_setting",
    "take_snapshot",
    "thread_map",
    "watch",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        message = f"module 'adaptive_exec' has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(importlib.import_module(f"adaptive_exec.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
