"""A worker is a whole Python process: it ends as one, and `multiprocessing` knows it as one."""

import atexit
import gzip
import os
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import current_process, parent_process
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import pytest

from adaptive_exec import PoisonTaskError, WorkerLostError, adaptive_executor
from adaptive_exec.levels import process, ways

START = [pytest.param(None, id="zygote"), pytest.param("loky", id="loky", marks=pytest.mark.slow)]
KEPT = {}


@pytest.fixture(params=START)
def start(request):
    if request.param == "loky":
        pytest.importorskip("loky")
    return request.param


def run(function, items, **settings):
    settings = {"max_workers": 2, "share_host": False, "isolate": True, **settings}
    with adaptive_executor(**settings) as executor:
        return list(executor.map(function, items, chunksize=1))


def touch(path):
    time.sleep(0.1)
    path.touch()


def leave_to_thread(path):
    threading.Thread(target=touch, args=(path,)).start()


def leave_to_pool(path):
    pool = KEPT.setdefault("pool", ThreadPoolExecutor(2))
    pool.submit(touch, path)


def leave_to_exit_handler(path):
    atexit.register(touch, path)


def leave_in_a_file(path):
    KEPT[path] = path.open("w")
    KEPT[path].write("all of it")


def leave_in_a_compressed_file(path):
    KEPT[path] = gzip.open(path, "wt")  # noqa: SIM115  # left open on purpose
    KEPT[path].write("all of it")


def leave_in_an_archive(path):
    KEPT[path] = zipfile.ZipFile(path, "w")
    KEPT[path].writestr("member", "all of it")


@pytest.mark.parametrize("leave", [leave_to_thread, leave_to_pool, leave_to_exit_handler])
@pytest.mark.parametrize("recycled", [None, 2])
def test_what_a_task_left_to_be_done_is_done_before_its_worker_ends(
    start, leave, recycled, tmp_path
):
    paths = [tmp_path / str(number) for number in range(6)]

    run(leave, paths, start=start, max_tasks_per_worker=recycled)

    assert [path.exists() for path in paths] == [True] * 6


def test_what_a_task_wrote_into_a_file_is_in_it_once_the_executor_has_ended(start, tmp_path):
    paths = [tmp_path / str(number) for number in range(4)]
    packed, archive = tmp_path / "packed.gz", tmp_path / "archive.zip"

    run(leave_in_a_file, paths, start=start)
    run(leave_in_a_compressed_file, [packed], start=start)
    run(leave_in_an_archive, [archive], start=start)

    assert [path.read_text() for path in paths] == ["all of it"] * 4
    assert gzip.decompress(packed.read_bytes()) == b"all of it"
    assert zipfile.ZipFile(archive).read("member") == b"all of it"


def make_temporary_folder(_):
    KEPT["folder"] = tempfile.TemporaryDirectory()
    return KEPT["folder"].name


def test_a_temporary_folder_of_a_worker_goes_with_it(start):
    folders = run(make_temporary_folder, range(2), start=start)

    assert [Path(folder).exists() for folder in folders] == [False, False]


def sleep_in_thread(seconds):
    threading.Thread(target=time.sleep, args=(seconds,), name="sleepy").start()


def test_a_thread_that_does_not_end_is_named_when_its_time_is_over(start, monkeypatch):
    monkeypatch.setattr(process, "LEFT_WORK_SECONDS", 0.3)
    monkeypatch.setattr(ways, "LEFT_WORK_SECONDS", 0.3)
    events = []
    begun = time.monotonic()

    run(sleep_in_thread, [300], start=start, on_event=events.append)

    assert time.monotonic() - begun < 100
    told = [event for event in events if event["reason"] == "work_left"]
    assert [event["facts"]["threads"] for event in told] == ["sleepy"]


def test_an_executor_that_is_killed_waits_for_nothing_that_tasks_left(start):
    executor = adaptive_executor(max_workers=1, share_host=False, isolate=True, start=start)
    executor.submit(sleep_in_thread, 300).result()
    begun = time.monotonic()

    executor.kill_workers()

    assert time.monotonic() - begun < 50, "LEFT_WORK_SECONDS are 60"


def test_what_the_caller_registered_for_its_exit_runs_in_the_caller_alone(tmp_path, start):
    program = f"""
        import atexit, os
        from adaptive_exec import adaptive_executor
        atexit.register(lambda: print("bye from", os.getpid(), flush=True))
        with adaptive_executor(max_workers=2, isolate=True, start={start!r}) as executor:
            list(executor.map(abs, range(8)))
        print("caller", os.getpid(), flush=True)
    """
    lines = run_program(tmp_path, program).splitlines()

    assert [line.split()[-1] for line in lines] == [lines[0].split()[-1]] * 2


def who_am_i(_):
    time.sleep(0.02)
    me, parent = current_process(), parent_process()
    return me.name, me._identity, me.pid == os.getpid(), parent.pid, parent.is_alive()


def test_workers_have_numbers_and_names_of_their_own_and_a_parent(start):
    found = set(run(who_am_i, range(12), start=start, max_tasks_per_worker=3))

    assert len({name for name, *_ in found}) == len({one[1] for one in found}) == len(found) > 2
    assert all(one[1] for one in found)
    assert {one[2:] for one in found} == {(True, os.getpid(), True)}


def test_no_two_workers_of_two_executors_have_the_same_number():
    first, second = (set(run(who_am_i, range(4))) for _ in range(2))

    assert not {one[1] for one in first} & {one[1] for one in second}


def attach(name):
    memory = SharedMemory(name=name)
    value = memory.buf[0]
    memory.close()
    return value


def make_memory(number):
    memory = SharedMemory(create=True, size=16)
    memory.buf[0] = number
    memory.close()
    return memory.name


SHARED = """
    from multiprocessing.shared_memory import SharedMemory
    from adaptive_exec import adaptive_executor
    def attach(name):
        memory = SharedMemory(name=name)
        value = memory.buf[0]
        memory.close()
        return value
    def make(number):
        memory = SharedMemory(create=True, size=16)
        memory.buf[0] = number
        memory.close()
        return memory.name
    settings = dict(max_workers=2, isolate=True, start={start!r}, max_tasks_per_worker=2)
    with adaptive_executor(**settings) as executor:
        names = list(executor.map(make, range(6)))
    mine = SharedMemory(create=True, size=16)
    with adaptive_executor(**settings) as executor:
        assert list(executor.map(attach, [mine.name] * 20)) == [0] * 20
    mine.close(); mine.unlink()
    for number, name in enumerate(names):
        memory = SharedMemory(name=name)
        assert memory.buf[0] == number
        memory.close(); memory.unlink()
    print("through")
"""


def test_shared_memory_outlives_workers_and_is_the_callers_to_remove(start, tmp_path):
    assert run_program(tmp_path, SHARED.format(start=start)) == "through\n"


def run_program(folder, text, *before, environment=None):
    path = folder / "program.py"
    path.write_text(textwrap.dedent(text))
    ran = subprocess.run(
        [sys.executable, *before, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=folder,
        env=environment,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


def crash_of_memory(_):
    import ctypes

    ctypes.string_at(0)


def give_up(_):
    os.abort()


@pytest.mark.faults
@pytest.mark.parametrize("crash", [crash_of_memory, give_up])
@pytest.mark.parametrize("retries", [0, 1])
def test_the_error_of_a_task_that_crashed_says_where_it_was(start, crash, retries):
    settings = {"max_workers": 2, "retries": retries, "isolate": True, "start": start}
    with adaptive_executor(**settings) as executor:
        error = executor.submit(crash, 1).exception()

    assert isinstance(error, WorkerLostError if retries == 0 else PoisonTaskError)
    assert f"in {crash.__name__}" in error.stack
    assert f"in {crash.__name__}" in str(error)


COVERED = """
    import multiprocessing, os
    from adaptive_exec import adaptive_executor
    import work_of_mine
    with adaptive_executor(max_workers=2, isolate=True, start={start!r}) as executor:
        list(executor.map(work_of_mine.measured, range(8)))
"""


MEASURED = """\
import time
def measured(x):
    time.sleep(0.1)
    return x + 1
"""


@pytest.mark.slow
def test_coverage_measures_what_tasks_run(start, tmp_path):
    coverage = pytest.importorskip("coverage")
    (tmp_path / "work_of_mine.py").write_text(MEASURED)
    (tmp_path / ".coveragerc").write_text(
        "[run]\nconcurrency = multiprocessing\nparallel = true\nsource = .\nsigterm = true\n"
    )
    run_program(tmp_path, COVERED.format(start=start), "-m", "coverage", "run")

    here = coverage.Coverage(data_file=str(tmp_path / ".coverage"))
    here.combine([str(tmp_path)])
    assert set(here.get_data().lines(str(tmp_path / "work_of_mine.py"))) >= {1, 2, 3, 4}
