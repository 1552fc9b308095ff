"""What tasks print, log and warn of is said in the caller, as from a loop."""

import contextlib
import io
import logging
import logging.handlers
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import pytest

from adaptive_exec import adaptive_executor
from adaptive_exec.journal.contents import Contents

START = [pytest.param(None, id="zygote"), pytest.param("loky", id="loky", marks=pytest.mark.slow)]
LOG = logging.getLogger("tests.program.relay")


@pytest.fixture(params=START)
def start(request):
    if request.param == "loky":
        pytest.importorskip("loky")
    return request.param


@pytest.fixture
def executor(start):
    settings = {"max_workers": 1, "share_host": False, "isolate": True, "start": start}
    with adaptive_executor(**settings) as executor:
        yield executor


def make(**settings):
    return adaptive_executor(**{"max_workers": 2, "share_host": False, "isolate": True, **settings})


@contextlib.contextmanager
def hear():
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield out, err


def talk(number):
    print("task", number)
    print("begun", end=" ")
    print("and ended", number, end="")
    sys.stdout.write("\n")
    sys.stderr.write(f"error {number}\n")
    sys.stdout.buffer.write(b"bytes\n")
    sys.stdout.flush()
    return number


@pytest.mark.parametrize("count", [4, 50])
def test_what_tasks_print_is_what_a_loop_prints(executor, count):
    with hear() as (out, err):
        assert list(executor.map(talk, range(count))) == list(range(count))
    with hear() as (out_of_loop, err_of_loop):
        for number in range(count):
            with contextlib.suppress(AttributeError):  # such a stream has no bytes below it
                talk(number)
            print("bytes")

    assert out.getvalue() == out_of_loop.getvalue()
    assert err.getvalue() == err_of_loop.getvalue()


def test_a_result_is_seen_after_what_its_task_said(executor):
    with hear() as (out, _):
        for number in executor.map(talk, range(40), chunksize=1):
            assert f"and ended {number}\n" in out.getvalue()
        for number in range(10):
            assert executor.submit(talk, 1000 + number).result() == 1000 + number
            assert f"and ended {1000 + number}\n" in out.getvalue()


class Keep(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)


@pytest.fixture
def kept():
    handler = Keep()
    LOG.addHandler(handler)
    LOG.setLevel(logging.WARNING)
    yield handler
    LOG.removeHandler(handler)
    LOG.setLevel(logging.NOTSET)


class OddError(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


def log(number):
    LOG.warning("number %d %s", number, {"a": number})
    LOG.error("odd: %s", OddError(1, 2))
    LOG.error("lock: %s", threading.Lock())
    try:
        raise OddError(number, "x")
    except OddError:
        LOG.exception("failed", extra={"shape": (number, 2)})


def test_log_records_come_through_the_callers_handlers_and_filters(executor, kept):
    kept.addFilter(lambda record: "lock" not in str(record.msg))

    list(executor.map(log, range(4)))

    assert [record.getMessage() for record in kept.records[:3]] == [
        "number 0 {'a': 0}",
        "odd: 1 2",
        "failed",
    ]
    assert [one.adaptive_task for one in kept.records] == [number // 3 for number in range(12)]
    assert kept.records[0].args == (0, {"a": 0})
    last = kept.records[-1]
    assert last.shape == (3, 2)
    assert "raise OddError(number" in logging.Formatter().format(last)


def log_by_functions(number):
    logging.warning("root %d", number)  # noqa: LOG015  # which gives the root a handler if it has none
    LOG.warning("named %d", number)


def test_what_is_logged_by_the_functions_of_logging_is_said_once(executor, caplog, capfd):
    list(executor.map(log_by_functions, range(4)))

    said = [f"{kind} {number}" for number in range(4) for kind in ("root", "named")]
    heard = [one.getMessage() for one in caplog.records if one.name in {"root", LOG.name}]
    assert heard == said
    assert not [line for line in capfd.readouterr().err.splitlines() if line.startswith("WARNING:")]


def warn(number):
    warnings.warn(f"careful {number % 2}", UserWarning, stacklevel=1)


def test_warnings_come_through_the_callers_filters_each_once(start):
    with make(start=start) as executor, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        list(executor.map(warn, range(40), chunksize=1))

    assert sorted(str(one.message) for one in caught) == ["careful 0", "careful 1"]
    assert {one.filename for one in caught} == {__file__}


def put_into_queue(queue):
    logging.getLogger().addHandler(logging.handlers.QueueHandler(queue))


def log_once(number):
    LOG.warning("number %d", number)


def test_records_that_an_initializer_sends_elsewhere_are_not_said_twice(start, kept):
    with multiprocessing.Manager() as manager:
        queue = manager.Queue()
        with make(start=start, initializer=put_into_queue, initargs=(queue,)) as executor:
            list(executor.map(log_once, range(20)))
        assert queue.qsize() == 20
    assert kept.records == []


def speak_and_die(path):
    print("last words")
    if not pathlib.Path(path).exists():
        pathlib.Path(path).open("w").close()
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.faults
def test_what_was_said_before_a_worker_is_killed_is_heard(executor, tmp_path):
    with hear() as (out, _):
        executor.submit(speak_and_die, tmp_path / "mark").result()

    assert out.getvalue() == "last words\n" * 2


def speak_and_wait(path):
    print("I wait")
    while not pathlib.Path(path).exists():
        time.sleep(0.01)


def test_what_a_long_task_says_is_heard_while_it_runs(executor, tmp_path):
    executor.submit(abs, 1).result()
    with hear() as (out, _):
        future = executor.submit(speak_and_wait, tmp_path / "mark")
        end = time.monotonic() + 60
        while not out.getvalue() and time.monotonic() < end:
            time.sleep(0.01)
        assert out.getvalue() == "I wait\n"
        assert not future.done()
        (tmp_path / "mark").touch()
        future.result()


def print_much(count):
    line = "x" * 1000
    for number in range(count):
        print(number, line)


class Slow(io.StringIO):
    def __init__(self):
        super().__init__()
        self.goes_on = threading.Event()

    def write(self, text):
        self.goes_on.wait(150)
        return super().write(text)


@pytest.mark.faults
def test_a_stream_that_hangs_holds_up_neither_the_task_nor_another_batch(start):
    slow = Slow()
    with contextlib.redirect_stdout(slow), make(start=start) as executor:
        try:
            loud = executor.submit(print_much, 30_000)
            assert list(executor.map(abs, range(20))) == list(range(20))
            end = time.monotonic() + 120
            while executor.report.tasks < 21 and time.monotonic() < end:
                time.sleep(0.05)
            assert executor.report.tasks == 21
            assert not loud.done()
        finally:
            slow.goes_on.set()
        loud.result()

    lines = slow.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == [str(number) for number in range(30_000)]


def say_by_many_threads(number):
    def say():
        for turn in range(50):
            sys.stdout.write(f"{number} {turn}\n")

    threads = [threading.Thread(target=say) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()


def test_threads_of_a_task_say_whole_lines(executor):
    with hear() as (out, _):
        list(executor.map(say_by_many_threads, range(4)))

    expected = [f"{number} {turn}" for number in range(4) for turn in range(50)] * 8
    assert sorted(out.getvalue().splitlines()) == sorted(expected)


PROGRAM = """
    import os, sys
    from adaptive_exec import adaptive_executor
    import said_by_me
    with adaptive_executor(max_workers=1, isolate=True, start={start!r}, relay={relay}) as executor:
        list(executor.map(said_by_me.say, range(2)))
    print("through")
"""
MODULE = """
    import os, subprocess, sys
    print("imported")
    def say(number):
        print("say", number, flush=True)
        line = f"import sys; sys.stdout.write('child {number}\\\\n')"  # whole: others write, too
        subprocess.run([sys.executable, "-c", line])
        pid = os.fork()
        if not pid:
            sys.stdout.write(f"fork {number}\\n")
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(pid, 0)
"""


@pytest.mark.parametrize("relay", [True, False])
def test_what_modules_say_when_they_are_loaded_is_said_once(start, relay, tmp_path):
    (tmp_path / "said_by_me.py").write_text(textwrap.dedent(MODULE))
    (tmp_path / "main.py").write_text(textwrap.dedent(PROGRAM.format(start=start, relay=relay)))

    ran = subprocess.run(
        [sys.executable, "main.py"], capture_output=True, text=True, cwd=tmp_path, check=False
    )

    assert ran.stderr == ""
    lines = sorted(ran.stdout.splitlines())
    said = [f"{word} {number}" for word in ("child", "fork", "say") for number in (0, 1)]
    if relay:
        assert lines == sorted([*said, "imported", "through"])
    else:
        assert set(lines) == {*said, "imported", "through"}


def talk_and_log(number):
    print("out", number)
    sys.stderr.write(f"err {number}\n")
    LOG.warning("log %d", number)
    if number == 3:
        os._exit(1)
    return number


@pytest.mark.faults
def test_what_each_task_says_is_kept_in_its_outcome_where_that_is_asked_for(start, kept):
    with hear() as (out, _), make(start=start, capture=True, retries=0) as executor:
        outcomes = sorted(executor.outcomes(talk_and_log, range(6), chunksize=1))

    assert [one.stdout for one in outcomes] == [f"out {number}\n" for number in range(6)]
    assert [one.stderr for one in outcomes] == [f"err {number}\n" for number in range(6)]
    said = [[record.getMessage() for record in one.log] for one in outcomes]
    assert said == [[f"log {number}"] for number in range(6)]
    assert sorted(out.getvalue().split()) == sorted("".join(one.stdout for one in outcomes).split())


def speak_and_log(number):
    if number == 0:
        return number
    print("out", number)
    print("err", number, file=sys.stderr)
    LOG.warning("log %d", number)
    if number == 4:
        message = "four"
        raise ValueError(message)
    return number


SAID = [
    ("", "", []) if number == 0 else (f"out {number}\n", f"err {number}\n", [f"log {number}"])
    for number in range(6)
]


def read_said(outcomes):
    return [
        (one.stdout, one.stderr, [record.getMessage() for record in one.log])
        for one in sorted(outcomes, key=lambda one: one.index)
    ]


@pytest.mark.parametrize(("way", "chunksize"), [("outcomes", 1), ("map", 6)])
def test_what_each_task_says_is_kept_in_the_journal_where_that_is_asked_for(
    start, tmp_path, way, chunksize
):
    path = tmp_path / "journal"
    with hear(), make(start=start, capture=True, journal=path) as executor:
        if way == "outcomes":
            first = list(executor.outcomes(speak_and_log, range(6), chunksize=chunksize))
            assert read_said(first) == SAID
        else:
            results = executor.map(speak_and_log, range(6), chunksize=chunksize)
            assert [next(results) for _ in range(4)] == [0, 1, 2, 3]
            with pytest.raises(ValueError, match="four"):
                next(results)
            assert list(results) == [5]

    with hear() as (out, _), make(start=start, capture=True, journal=path) as executor:
        again = list(executor.outcomes(speak_and_log, range(6), chunksize=chunksize))
    assert all(one.is_recalled for one in again)
    assert read_said(again) == SAID
    assert out.getvalue() == "", "it was said when it ran"

    with make(start=start, journal=path) as executor:
        again = list(executor.outcomes(speak_and_log, range(6)))
    assert {(one.stdout, one.stderr, one.log) for one in again} == {(None, None, None)}

    contents = Contents(path)
    entries = {one.stdout: one for one in contents.entries(with_values=True)}
    contents.close()
    assert entries["out 4\n"].status == "failed"
    assert (entries["out 5\n"].stderr, entries["out 5\n"].log) == ("err 5\n", "log 5")


def test_of_what_was_journaled_without_it_nobody_knows_what_it_said(start, tmp_path):
    path = tmp_path / "journal"
    with hear(), make(start=start, journal=path) as executor:
        assert list(executor.map(speak_and_log, range(3))) == [0, 1, 2]
    with hear(), make(start=start, capture=True, journal=path) as executor:
        outcomes = sorted(executor.outcomes(speak_and_log, [*range(3), 5]))
    assert [one.stdout for one in outcomes] == [None, None, None, "out 5\n"]


def test_what_many_tasks_say_does_not_pile_up_where_only_the_journal_wants_it(start, tmp_path):
    path = tmp_path / "journal"
    with hear(), make(start=start, capture=True, journal=path) as executor:
        results = executor.map(speak_and_log, [5] * 100, chunksize=10)
        assert sum(results) == 500
        captured = results._owner.calls.captured
        assert (captured._texts, captured._records, captured._counts) == ({}, {}, {})


def test_what_tasks_say_is_not_kept_where_nobody_asks(start):
    with hear(), make(start=start) as executor:
        (outcome,) = executor.outcomes(talk, [1])

    assert (outcome.stdout, outcome.stderr, outcome.log) == (None, None, None)
