"""The working folder is read as `os.getcwd` reads it, however often."""

import os
from pathlib import Path

from adaptive_exec.program.table import FOLDER_BYTES_MAX, READINGS_MANY, _FolderReader


def test_the_folder_is_the_one_of_the_moment_however_often_it_is_read(tmp_path, monkeypatch):
    read = _FolderReader()
    names = ["plain", "mit Umlaut ä", os.fsdecode(b"no \xff text")]
    for name in names * READINGS_MANY:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        assert read() == str(Path.cwd()) == str(folder)


def test_a_folder_that_is_gone_or_has_a_very_long_name_is_read_as_well(tmp_path, monkeypatch):
    read = _FolderReader()
    for _ in range(READINGS_MANY):
        read()
    monkeypatch.chdir(tmp_path)
    while len(str(Path.cwd())) <= FOLDER_BYTES_MAX:
        name = "x" * 200
        Path(name).mkdir()
        os.chdir(name)
    assert read() == str(Path.cwd())
    gone = Path("gone")
    gone.mkdir()
    os.chdir(gone)
    Path(f"../{gone}").rmdir()
    assert read() == ""
