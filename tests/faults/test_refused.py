"""Where the host refuses processes, threads, descriptors or memory every batch still completes."""

import json

import pytest

from tests.faults.unprivileged import run_unprivileged

PROCESS_FAILED = "-- ProcessPoolExecutor failed ("
THREAD_FAILED = "-- ThreadPoolExecutor also failed ("
TRY_THREADS = "), trying ThreadPoolExecutor "
USE_CALLER = "), using sequential processing "

NO_PROCESS = "BlockingIOError: [Errno 11] Resource temporarily unavailable"
NO_THREAD = "RuntimeError: can't start new thread"


def warnings_of(ran):
    return [line.removeprefix("WARNING ") for line in ran.log if line.startswith("WARNING ")]


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
def test_with_few_processes_allowed_every_result_comes(tmp_path, way, most, level, errors):
    ran = run_unprivileged(tmp_path, "batch.py", way, "{}", 40, 0, limits={"NPROC": most})
    assert ran.code == 0, ran.log
    assert ran.said["right"]
    assert ran.said["levels"] == [level]
    assert ran.exit_seconds < 1.0
    lines = warnings_of(ran)
    if errors:
        first, second = lines
        assert first.startswith(PROCESS_FAILED + errors[0] + TRY_THREADS)
        assert second.startswith(THREAD_FAILED + errors[1] + USE_CALLER)
    else:
        assert not [line for line in lines if line.startswith("-- ")]


@pytest.mark.parametrize("way", ["map", "submit"])
@pytest.mark.parametrize("most", [8, 10, 16, 32], ids=lambda most: f"{most} descriptors")
def test_with_few_descriptors_allowed_every_result_comes(tmp_path, way, most):
    settings = json.dumps({"max_workers": 8})
    ran = run_unprivileged(tmp_path, "batch.py", way, settings, 60, 0, limits={"NOFILE": most})
    assert ran.code == 0, ran.log
    assert ran.said["right"]
    assert ran.exit_seconds < 1.0
    for line in warnings_of(ran):
        assert line.startswith((PROCESS_FAILED, "reduced: process")), line
        assert "[Errno 24]" in line
    if most >= 16:
        assert ran.said["levels"] == ["process"]


@pytest.mark.parametrize("way", ["map", "submit"])
@pytest.mark.parametrize("levels", ["auto", ["thread", "sequential"]], ids=["auto", "threads"])
@pytest.mark.parametrize("megabytes", [1, 4, 24], ids=lambda size: f"{size} MB left")
def test_with_little_address_space_left_every_result_comes(tmp_path, way, levels, megabytes):
    settings = {"levels": levels, "max_workers": 2}
    arguments = (way, json.dumps(settings), 40, megabytes)
    ran = run_unprivileged(tmp_path, "batch.py", *arguments, limits={})
    assert ran.code == 0, ran.log
    assert ran.said["right"]
    assert ran.exit_seconds < 1.0
    for line in warnings_of(ran):
        assert line.startswith(("-- ", "pressure: memory", "reduced: ")), line


@pytest.mark.parametrize("megabytes", [1, 4, 24], ids=lambda size: f"{size} MB left")
def test_with_isolation_asked_every_task_ends_in_a_process_or_in_a_clear_error(tmp_path, megabytes):
    settings = json.dumps({"isolate": True, "max_workers": 2})
    ran = run_unprivileged(tmp_path, "batch.py", "outcomes", settings, 40, megabytes, limits={})
    assert ran.code == 0, ran.log
    assert ran.said["right"] or ran.said["errors"] == ["LevelUnavailableError"] * 40
    assert set(ran.said["levels"]) <= {"process"}
    assert ran.exit_seconds < 1.0
