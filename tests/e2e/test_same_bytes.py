"""The rows of the default card are the same bytes at every level, worker count and hash order."""

import hashlib
from pathlib import Path

import pytest

from tests.e2e.shell import folders, run

WAYS = [
    ("process", "1", "0"),
    ("process", "2", "1"),
    ("process", "4", "2"),
    ("thread", "1", "3"),
    ("thread", "4", "4"),
    ("sequential", "1", "5"),
]


def digests(folder: Path, count: int, ways: list[tuple[str, str, str]]) -> list[dict[str, str]]:
    found = []
    for level, workers, hash_seed in ways:
        ended = run(
            folder, "run", "-o", "-c", f"{-count}", "--seed", "11", "--levels", level,
            "--max-workers", workers, PYTHONHASHSEED=hash_seed,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        (place,) = folders(ended.stdout)
        found.append({
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(place.glob("results.*"))
        })
    return found


@pytest.mark.slow
def test_a_sample_gives_the_same_bytes_with_processes_threads_and_one_by_one(tmp_path: Path):
    for level in ("process", "thread", "sequential"):
        ended = run(
            tmp_path, "run", "-c", "-12", "--seed", "11", "--levels", level,
            "--output", f"{level}.csv", PYTHONHASHSEED=str(len(level)),
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr

    written = {path.read_bytes() for path in tmp_path.glob("*.csv")}
    assert len(list(tmp_path.glob("*.csv"))) == 3
    assert len(written) == 1


@pytest.mark.slow
def test_a_sample_gives_the_same_bytes_every_way(tmp_path: Path):
    found = digests(tmp_path, 60, WAYS)

    assert found == [found[0]] * len(WAYS)


@pytest.mark.slow
def test_the_whole_card_gives_the_same_bytes(tmp_path: Path):
    found = digests(tmp_path, 10_000, [WAYS[1], WAYS[4], WAYS[0]])

    assert found == [found[0]] * 3
