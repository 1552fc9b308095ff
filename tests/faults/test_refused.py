"""Where the host refuses processes, threads, descriptors, memory or room every batch completes."""

import json
import re
from pathlib import Path

import pytest

from tests.faults.doom import WAYS
from tests.faults.mounts import SHARED_MEMORY, full_disk, run_with
from tests.faults.unprivileged import run_unprivileged

PROCESS_FAILED = "-- ProcessPoolExecutor failed ("
THREAD_FAILED = "-- ThreadPoolExecutor also failed ("
TRY_THREADS = "), trying ThreadPoolExecutor "
USE_CALLER = "), using sequential processing "

NO_PROCESS = "BlockingIOError: [Errno 11] Resource temporarily unavailable"
NO_THREAD = "RuntimeError: can't start new thread"
PATIENCE = ["0.1s", "0.2s", "0.4s", "0.8s", "1.6s"]
"""What is waited after each refused start."""
STARTS = ["fresh", "snapshot", pytest.param("loky", marks=pytest.mark.slow)]
EXIT_SECONDS = 10.0
"""Seconds the interpreter may take to end by itself: one is asked, this host may be busy."""


def warnings_of(ran):
    return [line.removeprefix("WARNING ") for line in ran.log if line.startswith("WARNING ")]


def waits_of(ran):
    """Return how long was waited after each refused start of a process."""
    lines = [line for line in ran.log if "waiting: process reason=start_retried" in line]
    return [re.search(r" wait=(\S+)", line)[1] for line in lines]


@pytest.mark.parametrize(
    ("way", "most", "level", "errors"),
    [
        ("map", 1, "sequential", (NO_THREAD, NO_THREAD)),
        ("submit", 1, "sequential", (NO_THREAD, NO_THREAD)),
        ("outcomes", 1, "sequential", (NO_THREAD, NO_THREAD)),
        ("map", 2, "sequential", (NO_PROCESS, NO_THREAD)),
        ("submit", 2, "sequential", (NO_PROCESS, NO_THREAD)),
        ("map", 3, "process", ()),
        ("submit", 3, "process", ()),
        ("map", 4, "process", ()),
        ("map", 5, "process", ()),
        ("submit", 6, "process", ()),
    ],
    ids=lambda value: str(value) if isinstance(value, (int, str)) else "",
)
def test_with_few_processes_allowed_every_result_comes(way, most, level, errors):
    ran = run_unprivileged("batch.py", way, "{}", 40, 0, "nobody", limits={"NPROC": most})
    assert ran.code == 0, ran.log
    assert ran.said["right"]
    assert ran.said["levels"] == [level]
    assert ran.exit_seconds < EXIT_SECONDS
    lines = warnings_of(ran)
    if errors:
        first, second = lines
        assert first.startswith(PROCESS_FAILED + errors[0] + TRY_THREADS)
        assert second.startswith(THREAD_FAILED + errors[1] + USE_CALLER)
    else:
        assert not [line for line in lines if line.startswith("-- ")]


@pytest.mark.parametrize("way", ["map", "submit"])
@pytest.mark.parametrize("most", [8, 10, 16, 32], ids=lambda most: f"{most} descriptors")
def test_with_few_descriptors_allowed_every_result_comes(way, most):
    settings = json.dumps({"max_workers": 8})
    ran = run_unprivileged("batch.py", way, settings, 60, 0, "nobody", limits={"NOFILE": most})
    assert ran.code == 0, ran.log
    assert ran.said["right"]
    assert ran.exit_seconds < EXIT_SECONDS
    for line in warnings_of(ran):
        assert line.startswith((PROCESS_FAILED, "reduced: process", "replaced: process")), line
        assert "[Errno 24]" in line or "No usable temporary directory" in line  # as `tempfile` says
    if most >= 16:
        assert ran.said["levels"] == ["process"]


@pytest.mark.parametrize("way", ["map", "submit"])
@pytest.mark.parametrize("levels", ["auto", ["thread", "sequential"]], ids=["auto", "threads"])
@pytest.mark.parametrize("megabytes", [1, 4, 24], ids=lambda size: f"{size} MB left")
def test_with_little_address_space_left_every_result_comes(way, levels, megabytes):
    settings = {"levels": levels, "max_workers": 2}
    arguments = (way, json.dumps(settings), 40, megabytes, "nobody")
    ran = run_unprivileged("batch.py", *arguments, limits={})
    assert ran.code == 0, ran.log
    assert ran.said["right"]
    assert ran.exit_seconds < EXIT_SECONDS
    for line in warnings_of(ran):
        assert line.startswith(("-- ", "pressure: memory", "reduced: ")), line


# With 1 MB left CPython 3.11 itself fails in the start of a process: SystemError, or a segfault.
@pytest.mark.parametrize("megabytes", [4, 24], ids=lambda size: f"{size} MB left")
def test_with_isolation_asked_every_task_ends_in_a_process_or_in_a_clear_error(megabytes):
    settings = json.dumps({"isolate": True, "max_workers": 2})
    arguments = ("outcomes", settings, 40, megabytes, "nobody")
    # Not compiled, our modules take what is left, and it is chance which line finds no memory.
    ran = run_unprivileged("batch.py", *arguments, limits={}, is_compiled=True)
    assert ran.code == 0, ran.log
    assert ran.said["right"] or ran.said["errors"] == ["LevelUnavailableError"] * 40
    assert set(ran.said["levels"]) <= {"process"}
    assert ran.exit_seconds < EXIT_SECONDS


def needs_heuristic_overcommit():
    mode = Path("/proc/sys/vm/overcommit_memory")
    if not mode.exists() or mode.read_text().strip() != "0":
        pytest.skip("needs the kernel's heuristic overcommit (vm.overcommit_memory=0)")


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("way", WAYS)
def test_a_parent_that_cannot_fork_for_memory_has_its_workers_all_the_same(way, start):
    needs_heuristic_overcommit()
    settings = json.dumps({"max_workers": 2, "start": start})
    ran = run_with("", "batch.py", way, settings, 40, 0, "parent")
    assert ran.code == 0, ran.log
    assert ran.said["right"]
    assert (ran.said["levels"], ran.said["workers"]) == (["process"], 2)
    assert warnings_of(ran) == []
    assert ran.exit_seconds < EXIT_SECONDS


@pytest.mark.parametrize("way", ["map", "map_unordered", "outcomes"])
def test_a_zygote_that_cannot_fork_for_memory_becomes_the_worker(way):
    needs_heuristic_overcommit()
    settings = json.dumps({"levels": ["process"], "max_workers": 2})
    ran = run_with("", "batch.py", way, settings, 40, 0, "zygote")
    assert ran.code == 0, ran.log
    assert ran.said["right"]
    assert (ran.said["levels"], ran.said["errors"]) == (["process"], [])
    assert ran.exit_seconds < EXIT_SECONDS


def test_refused_starts_are_retried_with_patience_while_the_workers_there_are_go_on():
    settings = json.dumps({"max_workers": 8})
    limits = {"NPROC": 6}
    ran = run_unprivileged("batch.py", "map", settings, 4000, 0, "nobody", limits=limits)
    assert ran.code == 0, ran.log
    assert ran.said["right"]
    assert ran.said["levels"] == ["process"]
    assert 2 <= ran.said["workers"] <= 8
    waits = waits_of(ran)
    assert waits == PATIENCE[: len(waits)]
    assert waits
    # Work went on beside the waiting: 4000 tasks of 2 ms on 3 workers, and 3.1 s of patience; ten
    # times what that takes on an idle host.
    assert ran.said["seconds"] < 10 * 4.4


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("way", ["map", "submit"])
@pytest.mark.parametrize("kind", SHARED_MEMORY)
def test_without_usable_shared_memory_every_result_comes_from_processes(kind, way, start):
    settings = json.dumps({"max_workers": 2, "start": start})
    ran = run_with(SHARED_MEMORY[kind], "batch.py", way, settings, 60, 0, "nobody")
    assert ran.code == 0, ran.log
    assert ran.said["right"]
    assert ran.said["levels"] == ["process"]
    assert warnings_of(ran) == []
    assert ran.exit_seconds < EXIT_SECONDS


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("way", ["map", "submit"])
def test_with_a_full_disk_for_temporary_files_every_result_comes_from_processes(
    tmp_path, way, start
):
    settings = json.dumps({"max_workers": 2, "start": start})
    full = tmp_path / "temporary"
    full.mkdir()
    arguments = (way, settings, 60, 0, "nobody")
    ran = run_with(full_disk(full), "batch.py", *arguments, TMPDIR=str(full))
    assert ran.code == 0, ran.log
    assert ran.said["right"]
    assert ran.said["levels"] == ["process"]
    assert warnings_of(ran) == []
    assert ran.exit_seconds < EXIT_SECONDS
