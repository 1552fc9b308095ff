"""Run a batch of Python calls on the best level that the host affords right now: processes, threads or the caller.

The public face: names, nothing else. Each is loaded when it is first used.
"""

import importlib

__version__ = "0.1.0"

_HOMES = {
    "AdaptiveExecError": "errors",
    "AdaptiveExecutor": "executor",
    "Config": "config",
    "DriverError": "errors",
    "HostSnapshot": "core.snapshot",
    "InitializerError": "errors",
    "LevelUnavailableError": "errors",
    "Outcome": "outcomes",
    "PoisonTaskError": "errors",
    "Progress": "executor",
    "RunReport": "core.trace",
    "TaskError": "errors",
    "TaskTimeoutError": "errors",
    "WorkerLostError": "errors",
    "adaptive_executor": "executor",
    "take_snapshot": "host.snapshot",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        message = f"module 'adaptive_exec' has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(importlib.import_module(f"adaptive_exec.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
