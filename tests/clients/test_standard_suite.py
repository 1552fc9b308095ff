"""CPython's own tests of its executors, run with our classes in their pools' place.

Needs the package `test.test_concurrent_futures` (Python 3.12 and newer, absent in many
distributions). What looks into CPython's classes is left out, each with its reason.
"""

import concurrent.futures
import importlib
import sys
import unittest
from unittest import mock

import pytest

from adaptive_exec import ProcessPoolExecutor, ThreadPoolExecutor

PACKAGE = "test.test_concurrent_futures"
MODULES = (
    "test_as_completed", "test_deadlock", "test_init", "test_process_pool", "test_shutdown",
    "test_thread_pool", "test_wait",
)  # fmt: skip

PRIVATE = "looks into CPython's classes"
NAMED_CLASS = "starts a script that imports CPython's class; tests/levels/test_exit.py has ours"
REPLACED = "says that one dead worker breaks the pool; here it costs one worker (tests/faults)"
LOADED = "says that what cannot be loaded breaks the pool; here its own error ends its task"
EVENTS_BESIDE = "expects a call to have begun in submit; our workers start beside it"

LEFT_OUT = {
    "test_cancel_futures_wait_false": NAMED_CLASS,
    "test_hang_gh83386": NAMED_CLASS,
    "test_interpreter_shutdown": NAMED_CLASS,
    "test_submit_after_interpreter_shutdown": NAMED_CLASS,
    "test_killed_child": REPLACED,
    "test_context_manager_shutdown": PRIVATE,
    "test_del_shutdown": PRIVATE,
    "test_shutdown_no_wait": PRIVATE,
    "test_max_tasks_per_child": PRIVATE,
    "test_error_at_task_unpickle": LOADED,
    "test_exit_at_task_unpickle": LOADED,
    "test_error_during_result_unpickle_in_result_handler": LOADED,
    "test_exit_during_result_unpickle_in_result_handler": LOADED,
    "test_saturation": EVENTS_BESIDE,
    "test_threads_terminate": EVENTS_BESIDE,
    "test_processes_terminate": PRIVATE,
    "test_idle_process_reuse_one": PRIVATE,
    "test_idle_process_reuse_multiple": PRIVATE,
    "test_max_tasks_per_child_defaults_to_spawn_context": PRIVATE,
    "test_python_finalization_error": "replaces private functions of threading",
    "test_shutdown_deadlock_pickle": PRIVATE,
    "test_gh105829_should_not_deadlock_if_wakeup_pipe_full": PRIVATE,
}
"""Tests left out by name, and why."""


def _cases() -> list[type[unittest.TestCase]]:
    try:
        modules = [importlib.import_module(f"{PACKAGE}.{name}") for name in MODULES]
    except (ImportError, unittest.SkipTest) as error:
        pytest.skip(f"needs CPython's tests of executors, got {error}", allow_module_level=True)
    return [
        _with_ours(value)
        for module in modules
        for value in list(vars(module).values())
        if isinstance(value, type)
        and issubclass(value, unittest.TestCase)
        and value.__module__ == module.__name__
        and hasattr(value, "executor_type")
    ]


def _with_ours(case: type[unittest.TestCase]) -> type[unittest.TestCase]:
    ours = ProcessPoolExecutor if hasattr(case, "ctx") else ThreadPoolExecutor
    left_out = {
        name: unittest.skip(reason)(_stub)
        for name, reason in LEFT_OUT.items()
        if hasattr(case, name) and (reason is not PRIVATE or hasattr(case, "ctx"))
    }

    def set_up(self):
        patch = mock.patch.multiple(
            concurrent.futures,
            ProcessPoolExecutor=ProcessPoolExecutor,
            ThreadPoolExecutor=ThreadPoolExecutor,
        )
        patch.start()
        self.addCleanup(patch.stop)
        case.setUp(self)

    body = {"executor_type": ours, "setUp": set_up, "__module__": __name__, **left_out}
    name = f"Test{case.__name__}"
    return type(name, (case,), body)


def _stub(self):
    raise NotImplementedError


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="needs a Unix system"),
]
globals().update({case.__name__: case for case in _cases()})
