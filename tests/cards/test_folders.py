"""Every pass has a folder of its own; starting afresh never moves what a live one owns."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from adaptive_exec.cards.folders import (
    FolderError,
    find_aside,
    open_folder,
    remove_files,
    set_folders_aside,
)

HOLDER = """
import sys, time
from pathlib import Path
from adaptive_exec.cards.folders import open_folder
folder = open_folder(Path(sys.argv[1]), "card")
print(folder.path, flush=True)
sys.stdin.read()
"""


def start_holder(runs: Path) -> tuple["subprocess.Popen[str]", Path]:
    root = Path(__file__).parents[2]
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(runs)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
    )
    assert holder.stdout is not None
    return holder, Path(holder.stdout.readline().strip())


def end(holder: "subprocess.Popen[str]", number: signal.Signals) -> None:
    holder.send_signal(number)
    holder.communicate(timeout=60)


def test_many_folders_made_at_once_are_all_different(tmp_path: Path):
    found: list[Path] = []

    def make() -> None:
        folder = open_folder(tmp_path, "card")
        found.append(folder.path)
        folder.release()

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert len(set(found)) == 8
    assert all(str(os.getpid()) in path.name and path.is_dir() for path in found)


def test_finished_folders_are_set_aside_whole_and_strangers_are_kept(tmp_path: Path):
    folder = open_folder(tmp_path, "card")
    folder.release()
    (folder.path / "mine.txt").write_text("mine")
    strange = tmp_path / "card" / "notes"
    strange.mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "card" / "20250101T000000-1").symlink_to(outside)

    assert set_folders_aside(tmp_path, "card") == 1

    assert not folder.path.exists()
    (aside,) = find_aside(tmp_path, "card")
    assert (aside / "mine.txt").read_text() == "mine"
    assert strange.is_dir()
    assert outside.is_dir()


def test_a_live_run_keeps_its_folder_and_a_killed_one_loses_it(tmp_path: Path):
    holder, path = start_holder(tmp_path)
    try:
        assert set_folders_aside(tmp_path, "card") == 0
        assert path.is_dir()
    finally:
        end(holder, signal.SIGKILL)

    assert set_folders_aside(tmp_path, "card") == 1
    assert not path.exists()


def test_a_live_run_keeps_its_earlier_passes_too(tmp_path: Path):
    holder, path = start_holder(tmp_path)
    earlier = path.with_name(f"20250101T000000-{holder.pid}")
    earlier.mkdir()
    try:
        assert set_folders_aside(tmp_path, "card") == 0
        assert earlier.is_dir()
    finally:
        end(holder, signal.SIGTERM)

    assert set_folders_aside(tmp_path, "card") == 2


def test_a_folder_of_runs_that_cannot_be_made_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()

    with pytest.raises(FolderError, match=r"folder of runs cannot be used, got .*--runs"):
        open_folder(tmp_path / "file", "card")


def test_a_folder_loses_the_files_that_are_named_and_goes_only_when_nothing_else_is_in_it(
    tmp_path: Path,
):
    folder = open_folder(tmp_path, "card")
    folder.release()
    for name in ("ours.txt", "mine.txt"):
        (folder.path / name).touch()

    remove_files(folder.path, {"ours.txt", "absent.txt"})
    assert (folder.path / "mine.txt").is_file()
    assert not (folder.path / "ours.txt").exists()

    remove_files(folder.path, {"mine.txt"})
    assert not folder.path.exists()
