"""A run can be looked at: its report, its account, and why things are as they are."""

import json
import os
import signal
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from adaptive_exec import adaptive_executor
from adaptive_exec.core.report import RunReport
from adaptive_exec.drawing.shown import pack_report, unpack_report


def nap_or_raise(number):
    if number % 10 == 7:
        raise ValueError(f"bad {number}")
    time.sleep(0.01)
    return number


def die_once(path, number):
    time.sleep(0.05)
    if number == 3:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return number
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def wait_for_file(path, _):
    while not Path(path).exists():
        time.sleep(0.01)


def take_all(results) -> int:
    failed = 0
    while True:
        try:
            next(results)
        except StopIteration:
            return failed
        except ValueError:
            failed += 1


@pytest.fixture(scope="module")
def seen():
    with adaptive_executor(max_workers=2, isolate=True) as executor:
        assert take_all(executor.map(nap_or_raise, range(40), chunksize=1)) == 4
        return executor.report


class Counted:
    """Adds up, beside the trace of an executor, workers times seconds while there was work."""

    def __init__(self, executor) -> None:
        self.driver = executor._driver
        self.see = self.driver.trace.see
        self.driver.trace.see = self.look
        self.worker_seconds, self.before = 0.0, None

    def look(self, event, orders, state) -> None:
        if self.before is not None:
            at, workers = self.before
            self.worker_seconds += workers * max(0.0, event.at - at)
        self.see(event, orders, state)
        workers = sum(roster.size for roster in state.levels.rosters.values())
        self.before = (event.at, workers) if state.batches else None


@pytest.mark.parametrize("settings", [{"levels": "process"}, {"levels": "thread"}], ids=str)
def test_each_second_of_each_worker_is_accounted_for(settings):
    with adaptive_executor(max_workers=2, **settings) as executor:
        counted = Counted(executor)
        take_all(executor.map(nap_or_raise, range(60)))
        report = executor.report

    assert counted.worker_seconds > 0
    spent = sum(seconds for _, seconds in report.worker_seconds)
    assert spent == pytest.approx(counted.worker_seconds, rel=0.01)


def test_each_second_is_accounted_for_though_a_worker_dies(tmp_path):
    with adaptive_executor(max_workers=2, isolate=True) as executor:
        counted = Counted(executor)
        work = partial(die_once, str(tmp_path / "died"))
        assert list(executor.map(work, range(8), chunksize=1)) == list(range(8))
        report = executor.report

    spent = dict(report.worker_seconds)
    assert sum(spent.values()) == pytest.approx(counted.worker_seconds, rel=0.01)
    assert spent["lost"] > 0
    (death,) = report.deaths
    assert (death.first, death.arguments) == (3, "3")
    assert "signal 9" in death.cause or "memory" in death.cause


def test_failures_are_counted_by_type_with_one_traceback(seen):
    (kind,) = seen.failures

    assert (kind.kind, kind.count) == ("ValueError", 4)
    assert kind.text.startswith("bad ")
    assert 'raise ValueError(f"bad {number}")' in kind.story


def test_failures_of_submitted_calls_are_counted_too():
    with adaptive_executor(max_workers=1, isolate=True) as executor:
        futures = [executor.submit(nap_or_raise, 7) for _ in range(3)]
        assert all(isinstance(one.exception(30), ValueError) for one in futures)
    (kind,) = executor.report.failures

    assert (kind.kind, kind.count, kind.text) == ("ValueError", 3, "bad 7")


def test_a_report_survives_the_way_through_json(seen):
    back = unpack_report(pack_report(seen))

    assert back == seen
    assert isinstance(back, RunReport)
    assert json.loads(seen.to_json())["tasks"] == 40


@pytest.mark.parametrize("plain", [b"", b"x", pack_report(RunReport())[:-9]])
def test_a_damaged_report_is_refused(plain):
    with pytest.raises(ValueError, match="report is damaged"):
        unpack_report(plain)


def test_a_trace_has_slices_marks_and_counters(seen, tmp_path):
    path = seen.to_trace(tmp_path / "trace.json")

    events = json.loads(path.read_text())["traceEvents"]
    kinds = {one["ph"] for one in events}
    slices = [one for one in events if one["ph"] == "X"]
    assert kinds == {"M", "X", "i", "C"}
    assert sum(one["args"]["tasks"] for one in slices) == 40
    assert all(one["dur"] >= 0 and one["ts"] >= 0 for one in slices)


def test_tasks_come_as_a_table(seen):
    rows = seen.task_table(as_frame=False)

    assert sum(row["tasks"] for row in rows) == 40
    assert {row["level"] for row in rows} == {"process"}
    assert all(0 <= row["at"] <= row["until"] for row in rows)


def test_tasks_come_as_a_frame(seen):
    pytest.importorskip("pandas")
    frame = seen.task_table()

    assert frame["tasks"].sum() == 40
    assert {"at", "until", "worker", "wait_for", "peak_bytes"} <= set(frame.columns)


def test_a_report_says_what_it_was_made_under(seen):
    assert dict(seen.settings) == {"isolate": "True", "max_workers": "2"}
    assert {"memory", "cores"} <= {name for name, _ in seen.host}
    assert seen.epoch_seconds + seen.began_at == pytest.approx(time.time(), abs=3600)


# why?


def test_a_task_that_runs_and_one_that_waits_say_why(tmp_path):
    go = tmp_path / "go"
    with adaptive_executor(max_workers=1, isolate=True) as executor:
        results = executor.map(partial(wait_for_file, str(go)), range(30), chunksize=1)
        wait_until(lambda: "runs in worker" in executor.why(0))
        wait_until(lambda: "task 1 waits" in executor.why(1))
        running, waiting, later, beyond = (executor.why(at) for at in (0, 1, 29, 99))
        go.touch()
        list(results)
        done = executor.why(5)

    assert "at the process level" in running
    assert "task 1 waits; 0 tasks before it, 1 message with workers" in waiting
    assert "1 at work" in waiting
    assert "task 29 was not taken from the input yet" in later
    assert "there is no task 99: the input has 30" in beyond
    assert done.startswith("task 5 ended")


def test_a_call_says_why_by_its_future(tmp_path):
    go = tmp_path / "go"
    with adaptive_executor(max_workers=1, isolate=True) as executor:
        future = executor.submit(wait_for_file, str(go), 0)
        wait_until(lambda: "runs in worker" in executor.why(future))
        go.touch()
        future.result(60)
        assert executor.why(future).startswith("this call is over")


def test_a_task_that_failed_says_so():
    with adaptive_executor(max_workers=1, isolate=True, share_host=False) as ex:
        (found,) = ex.outcomes(int, ["no number"], timeout=60)
        assert isinstance(found.error, ValueError)
        said = ex.why(0)

    assert "it ended in an exception of the task's own" in said


def test_a_task_that_killed_its_worker_says_why_it_ran_alone(tmp_path):
    with adaptive_executor(max_workers=2, isolate=True) as executor:
        work = partial(die_once, str(tmp_path / "died"))
        list(executor.map(work, range(8), chunksize=1))
        told, worker = executor.why(3), executor.why(f"worker {executor.report.deaths[0].worker}")

    assert "died while task 3 ran in it" in told
    assert "reason=suspect" in told
    assert "runs again alone" in told
    assert "it died" in worker


@pytest.mark.parametrize(
    ("what", "head"), [("level", "levels: process"), ("now", "1"), ("", ""), ("worker 999", "noth")]
)
def test_topics_are_answered(what, head):
    with adaptive_executor(max_workers=2, isolate=True) as executor:
        list(executor.map(abs, range(20)))
        answer = executor.why(what)

    assert answer
    if head.isalpha() or ":" in head:
        assert answer.startswith(head)


def test_what_is_no_topic_is_refused():
    with adaptive_executor() as executor:
        with pytest.raises(ValueError, match="must be a task's number"):
            executor.why("the weather")
        with pytest.raises(TypeError, match="name a task"):
            executor.why(1.5)


def test_a_run_that_goes_on_can_be_looked_at_all_the_time():
    errors = []
    with adaptive_executor(max_workers=2, isolate=True) as executor:
        results = executor.map(abs, range(20_000))

        def look():
            try:
                for index in range(0, 20_000, 400):
                    executor.why(index)
                    executor.report.to_json()
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=look)
        thread.start()
        assert sum(1 for _ in results) == 20_000
        thread.join(60)

    assert errors == []
    assert not thread.is_alive()


def wait_until(is_so, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)
