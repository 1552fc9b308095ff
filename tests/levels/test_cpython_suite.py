"""CPython's own tests of executors, run against ours at the levels that stand beside its pools.

Imports the suite that comes with this interpreter: a package since 3.12, one file before. It is
absent in many distributions; `CPYTHON_EXECUTOR_TESTS` then names a folder or file of another one.
Tests of what is private to CPython's classes are left out, each with its reason.
"""

import importlib
import os
import sys
import unittest
from pathlib import Path
from types import ModuleType

import pytest

from adaptive_exec import AdaptiveExecutor
from tests.levels.ladder import TRAITS, settings_at
from tests.levels.leaks import watch_for_leaks

PRIVATE = "reads private attributes of CPython's pools"
REPLACED = "says that one dead worker breaks the pool; here it costs one worker (tests/faults)"
OTHER_PARAMETERS = "uses parameters of CPython's constructors that have another name here"
NAMED_CLASS = "starts a script that imports CPython's class; tests/levels/test_exit.py has ours"
OWN_WORDS = "asserts CPython's words; tests/core/test_config.py has ours"

LEFT_OUT = {
    "test_max_workers_negative": OWN_WORDS,
    "test_max_workers_too_large": OWN_WORDS,
    "test_killed_child": REPLACED,
    "test_traceback": "asserts a private type of cause; tests/levels/test_contract.py has ours",
    "test_ressources_gced_in_workers": "needs a multiprocessing context of the pool",
    "test_saturation": PRIVATE,
    "test_idle_thread_reuse": PRIVATE,
    "test_idle_process_reuse_one": PRIVATE,
    "test_idle_process_reuse_multiple": PRIVATE,
    "test_max_tasks_per_child": OTHER_PARAMETERS,
    "test_max_tasks_per_child_defaults_to_spawn_context": OTHER_PARAMETERS,
    "test_max_tasks_early_shutdown": OTHER_PARAMETERS,
    "test_python_finalization_error": "replaces private functions of threading",
    "test_default_workers": PRIVATE,
    "test_threads_terminate": PRIVATE,
    "test_processes_terminate": PRIVATE,
    "test_context_manager_shutdown": PRIVATE,
    "test_del_shutdown": PRIVATE,
    "test_shutdown_no_wait": PRIVATE,
    "test_thread_names_assigned": OTHER_PARAMETERS,
    "test_thread_names_default": "asserts CPython's names of threads",
    "test_interpreter_shutdown": NAMED_CLASS,
    "test_submit_after_interpreter_shutdown": NAMED_CLASS,
    "test_cancel_futures": "expects a call to have begun in submit; our workers start beside it",
    "test_hang_gh83386": NAMED_CLASS,
    "test_hang_issue39205": NAMED_CLASS,
    "test_cancel_futures_wait_false": NAMED_CLASS,
    "test_hang_global_shutdown_lock": "is about a lock of CPython's module",
}
"""Tests left out by name, and why."""

SHARING_ONLY = {
    "test_pending_calls_race": "submits a closure over an event",
    "test_map_submits_without_iteration": "appends to a list of the caller",
    "test_executor_map_current_future_cancel": "appends to a list of the caller",
}
"""Tests that only a level with shared memory can pass, and why."""


def import_suite() -> dict[str, type]:
    """Return the mixins of the suite by name, or skip."""
    return {
        name: value
        for module in _modules()
        for name, value in vars(module).items()
        if isinstance(value, type) and name in MIXINS
    }


MIXINS = (
    "ExecutorTest",
    "WaitTests",
    "AsCompletedTests",
    "ExecutorShutdownTest",
    "InitializerMixin",
    "ProcessPoolExecutorTest",
    "ThreadPoolExecutorTest",
    "ThreadPoolWaitTests",
)


def _modules():
    place = os.environ.get("CPYTHON_EXECUTOR_TESTS")
    if place is None:
        yield from _modules_of(_import("test.test_concurrent_futures"))
        return
    path = Path(place)
    sys.path.append(str(path.parent))  # so that workers can import it, too
    yield from _modules_of(_import(path.stem))


def _modules_of(module: ModuleType):
    yield module
    if not hasattr(module, "__path__"):
        return
    for name in ("executor", "test_wait", "test_as_completed", "test_shutdown", "test_init"):
        yield _import(f"{module.__name__}.{name}")
    for name in ("test_process_pool", "test_thread_pool"):
        yield _import(f"{module.__name__}.{name}")


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (ImportError, unittest.SkipTest) as error:
        pytest.skip(f"needs CPython's tests of executors, got {error}", allow_module_level=True)


def _at(level: str):
    def executor_type(max_workers=None, **settings):
        return AdaptiveExecutor(max_workers=max_workers, **settings_at(level), **settings)

    return staticmethod(executor_type)


class _Base(unittest.TestCase):
    worker_count = 5

    def setUp(self):
        super().setUp()
        self._leaks = watch_for_leaks()
        self._leaks.__enter__()
        kwargs = getattr(self, "executor_kwargs", {})
        self.executor = self.executor_type(max_workers=self.worker_count, **kwargs)

    def tearDown(self):
        self.executor.shutdown(wait=True)
        self.executor = None
        self._leaks.__exit__(None, None, None)
        super().tearDown()


def _make_cases() -> None:
    suite = import_suite()
    for level in ("process", "loky", "thread"):
        for name, mixin in suite.items():
            case = _make_case(level, name, mixin)
            globals()[case.__name__] = case


def _make_case(level: str, name: str, mixin: type) -> type:
    left_out = LEFT_OUT if TRAITS[level].shares_memory else LEFT_OUT | SHARING_ONLY
    body = {
        key: unittest.skip(reason)(_stub) for key, reason in left_out.items() if hasattr(mixin, key)
    }
    body |= {"executor_type": _at(level), "__module__": __name__}
    tests = _plain(mixin)
    if name == "InitializerMixin":
        tests["setUp"] = _with_initializer(mixin)
    return type(f"Test{level.capitalize()}{name}", (_Base,), {**tests, **body})


def _plain(mixin: type) -> dict[str, object]:
    """Return the tests of a mixin without its own ways to make an executor."""
    kept = {}
    for kind in reversed(mixin.__mro__):
        if kind.__name__ in {"object", "TestCase", "BaseTestCase", "ExecutorMixin"}:
            continue
        if kind.__name__.endswith("Mixin") and kind is not mixin:
            continue
        kept |= {key: value for key, value in vars(kind).items() if _is_ours(key)}
    return kept


def _is_ours(key: str) -> bool:
    return key not in {"setUp", "tearDown", "__dict__", "__weakref__", "__doc__", "executor_type"}


def _with_initializer(mixin: type):
    init = sys.modules[mixin.__module__].init

    def set_up(self):
        self.executor_kwargs = {"initializer": init, "initargs": ("initialized",)}
        _Base.setUp(self)

    return set_up


def _stub(self):
    raise NotImplementedError


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="needs a Unix system"),
]
_make_cases()
