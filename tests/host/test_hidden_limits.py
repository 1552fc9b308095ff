"""A limit that cannot be seen, once it is known, counts like any other, also for later starts."""

import time
from pathlib import Path

import pytest

from adaptive_exec.config import GIB, MIB
from adaptive_exec.core.snapshot import LEARNED
from adaptive_exec.host import hidden
from adaptive_exec.host.hidden import KEPT_SECONDS, SUFFIX, Learned, keep_limit, recall_limit
from adaptive_exec.host.survey import HostProbe
from adaptive_exec.system.folder import PLACE_VARIABLE, open_folder

GROUP = "cgroup 31:4711"


@pytest.fixture(autouse=True)
def _own_place(tmp_path, monkeypatch):
    monkeypatch.setenv(PLACE_VARIABLE, str(tmp_path))


def written() -> list[Path]:
    return [one for one in Path(open_folder()).iterdir() if one.name.endswith(SUFFIX)]


def test_what_was_kept_is_there_for_the_next_start_in_the_same_group():
    keep_limit(Learned(GROUP, 512 * MIB))
    keep_limit(Learned(GROUP, 400 * MIB))

    assert recall_limit(GROUP) == Learned(GROUP, 400 * MIB)
    assert recall_limit("cgroup 31:4712") is None
    assert recall_limit("") is None


def test_after_a_day_it_is_learned_anew_and_the_file_goes(monkeypatch):
    keep_limit(Learned(GROUP, 512 * MIB))
    later = time.time() + KEPT_SECONDS + 1
    monkeypatch.setattr(hidden.time, "time", lambda: later)

    assert recall_limit(GROUP) is None
    keep_limit(Learned("cgroup 31:4712", 512 * MIB))
    assert len(written()) == 1


@pytest.mark.parametrize("text", [b"", b"512", b"x y", b"-5 9999999999", b"\0" * 100])
def test_a_file_that_says_nonsense_is_no_limit(text):
    keep_limit(Learned(GROUP, 512 * MIB))
    written()[0].write_bytes(text)

    assert recall_limit(GROUP) is None


def test_a_file_that_others_may_write_is_no_limit():
    keep_limit(Learned(GROUP, 512 * MIB))
    written()[0].chmod(0o666)

    assert recall_limit(GROUP) is None


def test_a_limit_that_is_believed_is_the_smallest_and_leaves_what_is_not_used(tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    folder = tmp_path / "sys/fs/cgroup"
    folder.mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    (tmp_path / "proc/meminfo").write_text("MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\n")
    files = {"memory.max": "max", "memory.current": str(300 * MIB), "memory.peak": str(500 * MIB)}
    for name, text in files.items():
        (folder / name).write_text(text + "\n")
    (folder / "memory.stat").write_text(f"inactive_file {100 * MIB}\nactive_file 0\n")
    probe = HostProbe(str(tmp_path))
    before = probe.take(0.0)
    probe.believe_limit(500 * MIB)
    after = probe.take(0.0)

    assert (before.limit_bytes, before.most_bytes, before.is_learned) == (8 * GIB, 500 * MIB, False)
    assert (after.limit_bytes, after.available_bytes) == (500 * MIB, 300 * MIB)
    assert after.is_learned
    assert LEARNED in after.available_source
    assert after.memory_domain == probe.take(0.0).memory_domain != before.memory_domain
