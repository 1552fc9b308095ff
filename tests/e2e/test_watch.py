"""What those who watch see of instances at work."""

import json
import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import adaptive_exec
from adaptive_exec.cli import watch as watch_module
from adaptive_exec.cli.watch import Watcher
from adaptive_exec.core.instructions import Standing, TradeShare
from adaptive_exec.core.sharing.share import Claim
from adaptive_exec.ledger.leases import Ledger
from tests.core.world import make_host
from tests.e2e.shell import MAIN, WAIT_SECONDS, WORK, run, start, stop, wait_for


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    folder = tmp_path / "runtime"
    folder.mkdir()
    monkeypatch.setenv("ADAPTIVE_EXEC_LEDGER", str(folder))


def standing(done: int, total: int | None = 100) -> TradeShare:
    claim = Claim("", 0.0, wanted_slots=2, held_slots=2)
    return TradeShare(claim, 4, 0, Standing("process", 2, 2, done, total, "normal"))


def test_the_rate_is_that_between_two_looks_and_tells_when_all_is_done():
    clock = [10.0]
    ledger = Ledger("job", clock=lambda: clock[0])
    watcher = Watcher()

    ledger.trade(standing(10), make_host())
    watcher.look()
    clock[0] = 12.0
    ledger.trade(standing(30), make_host())
    (row,) = watcher.look()
    ledger.close()

    assert row.rate == 10.0
    assert row.eta_seconds == 7.0
    assert (row.done, row.total, row.level, row.workers) == (30, 100, "process", 2)


def test_a_new_batch_begins_a_new_rate():
    clock = [10.0]
    ledger = Ledger("job", clock=lambda: clock[0])
    watcher = Watcher()

    ledger.trade(standing(30), make_host())
    watcher.look()
    clock[0] = 12.0
    ledger.trade(standing(5, None), make_host())
    (row,) = watcher.look()
    ledger.close()

    assert (row.rate, row.eta_seconds) == (None, None)


def test_scripts_get_json_of_every_instance(tmp_path: Path):
    (tmp_path / "work.py").write_text(WORK)
    (tmp_path / "naps.txt").write_text("0.05\n" * 10_000)
    words = ["run", "--function", "work:nap", "--input", "naps.txt", "--max-workers", "2"]
    process = start(tmp_path, *words, "--levels", "process")
    found = {}

    def is_at_work() -> bool:
        ended = run(tmp_path, "watch", "--once", "--json")
        assert ended.returncode == 0, ended.stderr
        found.update(json.loads(ended.stdout))
        return any(row["done"] and row["workers"] == 2 for row in found["instances"])

    try:
        wait_for(is_at_work)
    finally:
        stop(process, signal.SIGINT)

    (row,) = found["instances"]
    assert row["pid"] == process.pid
    assert row["level"] == "process"
    assert (row["total"], row["workers"]) == (10_000, 2)
    assert row["rate"] > 0
    assert 0 < row["memory_used_bytes"] < row["memory_limit_bytes"]
    assert row["memory_warn_bytes"] < row["memory_critical_bytes"] < row["memory_limit_bytes"]
    assert any(line.startswith("planned: ") for line in row["decisions"])
    assert json.loads(run(tmp_path, "watch", "--once", "--json").stdout)["instances"] == []


def test_people_get_a_table_or_are_told_that_there_is_nothing(tmp_path: Path):
    nothing = run(tmp_path, "watch", "--once")
    ledger = Ledger("card.py --all")
    ledger.trade(standing(10), make_host())
    ended = run(tmp_path, "watch", "--once")
    ledger.close()

    assert "no instance" in nothing.stdout
    assert "card.py --all" in ended.stdout
    assert "10/100" in ended.stdout


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_a_narrow_terminal_leaves_out_what_matters_least(columns: int, tmp_path: Path):
    ledger = Ledger("card.py --all")
    ledger.trade(standing(10), make_host())
    ended = run(tmp_path, "watch", "--once", COLUMNS=str(columns))
    ledger.close()

    assert "10/100" in ended.stdout
    assert str(os.getpid()) in ended.stdout
    assert all(len(line) <= columns for line in ended.stdout.splitlines())


def test_a_bad_refresh_is_one_line(tmp_path: Path):
    ended = run(tmp_path, "watch", "--refresh", "soon")

    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_notebook_can_watch_for_a_while(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    clock = [0.0]
    moves = {
        "monotonic": lambda: clock[0],
        "sleep": lambda seconds: clock.append(clock.pop() + seconds),
    }
    monkeypatch.setattr(watch_module, "time", SimpleNamespace(time=time.time, **moves))
    ledger = Ledger("a notebook")
    ledger.trade(standing(10), make_host())

    adaptive_exec.watch(refresh=0.5, seconds=2.0)
    ledger.close()

    assert capsys.readouterr().out.count("a notebook") == 1 + 4
    with pytest.raises(ValueError, match="refresh must be"):
        adaptive_exec.watch(refresh=0.0)


def read_some(terminal: int) -> bytes:
    if not select.select([terminal], [], [], 0.2)[0]:
        return b""
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux: the other side is closed
        return b""


def test_a_terminal_is_kept_up_to_date_until_ctrl_c(tmp_path: Path):
    ledger = Ledger("a live job")
    ledger.trade(standing(10), make_host())
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "160", "LINES": "40"}
    process = subprocess.Popen(
        [*MAIN, "watch", "--refresh", "0.1"], env=environment, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    written, end = b"", time.monotonic() + WAIT_SECONDS
    while b"77/100" not in written and time.monotonic() < end:
        written += read_some(ours)
        if b"10/100" in written:
            ledger.trade(standing(77), make_host())
    process.send_signal(signal.SIGINT)
    while process.poll() is None and time.monotonic() < end:
        read_some(ours)  # else it waits for room to write its last lines
    code = process.wait(timeout=WAIT_SECONDS)
    os.close(ours)
    ledger.close()

    assert b"77/100" in written
    assert code == 0
