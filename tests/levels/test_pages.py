"""Large blocks of tasks lie in huge pages, where the kernel lets them, and nothing else changes."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from adaptive_exec import adaptive_executor
from adaptive_exec.levels.pages import HUGE_PAGES, TUNABLES

SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
MB = 10**6


def huge_pages_of(size: int) -> int:
    """Fill a block and say how many bytes of this process lie in huge pages then."""
    block = b"x" * size
    text = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    found = re.search(r"AnonHugePages:\s+(\d+) kB", text)
    return int(found[1]) * 1024 if found and len(block) == size else -1


def tunables_of_a_child(_: int) -> tuple[str | None, str]:
    """Say what a task sees, and what it hands on."""
    code = f"import os; print(os.environ.get({TUNABLES!r}))"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return os.environ.get(TUNABLES), seen.stdout.strip()


def in_a_worker(function, argument):
    with adaptive_executor(levels=("process",), max_workers=1) as executor:
        return executor.submit(function, argument).result(timeout=60)


def glibc_version() -> tuple[int, ...]:
    name, version = platform.libc_ver()
    return tuple(int(part) for part in version.split(".")) if name == "glibc" else (0,)


def test_a_large_block_lies_in_huge_pages(monkeypatch):
    if glibc_version() < (2, 35):
        pytest.skip("needs glibc 2.35 or later")
    if not SETTING.exists() or "[never]" in SETTING.read_text():
        pytest.skip(f"the kernel gives none ({SETTING})")
    monkeypatch.delenv(TUNABLES, raising=False)

    assert in_a_worker(huge_pages_of, 64 * MB) > 32 * MB


def test_what_a_task_starts_does_not_inherit_the_wish(monkeypatch):
    monkeypatch.delenv(TUNABLES, raising=False)

    assert in_a_worker(tunables_of_a_child, 0) == (None, "None")


@pytest.mark.parametrize("own", ["glibc.malloc.hugetlb=0", HUGE_PAGES])
def test_what_the_user_has_set_is_kept(own, monkeypatch):
    monkeypatch.setenv(TUNABLES, own)

    assert in_a_worker(tunables_of_a_child, 0) == (own, own)
    if own != HUGE_PAGES and "[always]" not in SETTING.read_text():
        assert in_a_worker(huge_pages_of, 64 * MB) == 0
