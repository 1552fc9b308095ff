"""The examples beside how they were written first, where the first ones do not fit."""

import csv
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cgroups import RealGroup, memory_group
from tests.e2e.shell import MAIN, ROOT, count_results, wait_for

pytestmark = pytest.mark.faults
MIB = 2**20
RUN_SECONDS = 400
"""Seconds; a busy host takes ten times as long as an idle one."""


def copied(name: str, tmp_path: Path) -> Path:
    for library in ("scipy", "pandas", "pyarrow"):
        pytest.importorskip(library)
    return shutil.copytree(ROOT / "examples" / name, tmp_path / name)


def started(group: RealGroup, folder: Path, *command: str) -> "subprocess.Popen[bytes]":
    with (folder / "said.txt").open("ab") as said:
        return subprocess.Popen(
            group.command(command),
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )


def said(folder: Path) -> str:
    return (folder / "said.txt").read_text(errors="replace")


def assert_naive_is_killed(limit_bytes: int, folder: Path, *arguments: str) -> None:
    """Run the first version until the kernel has killed one of its processes."""
    with memory_group(limit_bytes) as group:
        naive = started(group, folder, sys.executable, "naive.py", *arguments)
        try:
            wait_for(
                lambda: group.kernel_kills() > 0 or naive.poll() is not None, seconds=RUN_SECONDS
            )
            assert group.kernel_kills() > 0, said(folder)
        finally:
            naive.kill()  # a pool whose worker was killed waits for ever
            naive.wait(timeout=RUN_SECONDS)


def assert_card_delivers(limit_bytes: int, folder: Path, *arguments: str) -> None:
    with memory_group(limit_bytes) as group:
        card = started(group, folder, *MAIN, "run", *arguments)
        try:
            code = card.wait(timeout=RUN_SECONDS)
        finally:
            card.kill()
            card.wait(timeout=RUN_SECONDS)
        assert code == 0, said(folder)
        assert group.kernel_kills() == 0, said(folder)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_labels_read_what_they_need_where_the_whole_table_is_too_much(tmp_path: Path):
    folder = copied("labels", tmp_path)
    subprocess.run(
        [sys.executable, "labels.py", "geometries.parquet"],
        cwd=folder,
        check=True,
        timeout=RUN_SECONDS,
    )

    assert_naive_is_killed(LABELS_BYTES, folder, "geometries.parquet", "out.csv", "2000")
    assert_card_delivers(LABELS_BYTES, folder, "labels.toml", "--n-limit", "2000")

    found = rows(folder / "labels.csv")
    assert [row["index"] for row in found] == [str(number) for number in range(2000)]
    assert {row["error"] for row in found} == {""}


def test_a_sweep_saves_each_point_and_a_killed_one_ends_as_if_nothing_had_been(tmp_path: Path):
    folder = copied("sweep", tmp_path)

    def saved_rows() -> list[dict[str, str]]:
        part = folder / "sweep.csv.part"
        return rows(part) if part.exists() else []

    assert_naive_is_killed(SWEEP_BYTES, folder, "out.csv")
    assert_card_delivers(SWEEP_BYTES, folder, "sweep.toml", "--set", "output.file=whole.csv")
    with memory_group(SWEEP_BYTES) as group:
        card = started(group, folder, *MAIN, "run", "sweep.toml", "--flush-interval", "20ms")
        wait_for(
            lambda: count_results(folder / "sweep.csv.journal") >= 40 and len(saved_rows()) > 0,
            seconds=RUN_SECONDS,
        )
        card.send_signal(signal.SIGKILL)
        card.wait(timeout=RUN_SECONDS)
    saved = len(saved_rows())
    assert_card_delivers(SWEEP_BYTES, folder, "sweep.toml", "--resume")

    assert 0 < saved < 100
    assert not (folder / "out.csv").exists()
    assert (folder / "sweep.csv").read_text() == (folder / "whole.csv").read_text()
    assert len(rows(folder / "sweep.csv")) == 100


def test_a_transform_takes_as_many_batches_as_fit(tmp_path: Path):
    folder = copied("transform", tmp_path)

    assert_naive_is_killed(TRANSFORM_BYTES, folder, "out.csv")
    assert_card_delivers(TRANSFORM_BYTES, folder, "transform.toml")

    found = rows(folder / "transformed.csv")
    assert [row["batch"] for row in found] == [str(number) for number in range(40)]


LABELS_BYTES = 320 * MIB
SWEEP_BYTES = 512 * MIB
TRANSFORM_BYTES = 448 * MIB
