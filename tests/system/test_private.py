"""What lies under a name that others can foresee is used only if it is ours alone."""

import os
from pathlib import Path

import pytest

from adaptive_exec.system.locks import is_at, make_locked, try_lock, wait_for_lock
from adaptive_exec.system.private import NotOursError, check_folder, make_folder, open_file

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")
OTHER = 12345


def test_a_folder_is_made_for_us_alone_and_found_again(tmp_path: Path):
    path = tmp_path / "mine"
    make_folder(str(path))
    make_folder(str(path))

    assert path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path, mode):
    path = tmp_path / "mine"
    path.mkdir()
    path.chmod(mode)

    with pytest.raises(NotOursError, match="writable by others"):
        make_folder(str(path))


def test_a_link_and_a_file_are_no_folder(tmp_path: Path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").touch()

    for name in ("link", "file"):
        with pytest.raises(NotOursError, match="not a folder"):
            make_folder(str(tmp_path / name))


@needs_root
def test_a_folder_of_somebody_else_is_refused_unless_what_we_trust_is_his_too(tmp_path: Path):
    path, journal = tmp_path / "mine", tmp_path / "run.journal"
    path.mkdir(mode=0o700)
    journal.touch(mode=0o600)
    os.chown(path, OTHER, -1)

    with pytest.raises(NotOursError, match=f"user {OTHER}"):
        check_folder(str(path), like=str(journal))
    os.chown(journal, OTHER, -1)
    check_folder(str(path), like=str(journal))
    path.chmod(0o777)
    with pytest.raises(NotOursError, match="writable"):
        check_folder(str(path), like=str(journal))


def test_a_file_is_made_for_us_alone(tmp_path: Path):
    path = tmp_path / "mine"
    os.close(open_file(str(path), os.O_RDWR | os.O_CREAT))

    assert path.stat().st_mode & 0o777 == 0o600
    os.close(open_file(str(path), os.O_RDWR))


def link(path: Path) -> None:
    target = path.with_name("target")
    target.touch(mode=0o600)
    path.symlink_to(target)


def second_name(path: Path) -> None:
    path.touch(mode=0o600)
    path.with_name("other").hardlink_to(path)


def open_to_all(path: Path) -> None:
    path.touch()
    path.chmod(0o666)


def give_away(path: Path) -> None:
    path.touch(mode=0o600)
    os.chown(path, OTHER, -1)


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        pytest.param(link, "a link", id="link"),
        pytest.param(second_name, "2 names", id="second name"),
        pytest.param(os.mkfifo, "not a file", id="fifo"),
        pytest.param(open_to_all, "writable by others", id="open to all"),
        pytest.param(give_away, "not ours", id="somebody else's", marks=needs_root),
    ],
)
def test_a_file_that_is_not_ours_alone_is_refused(tmp_path: Path, spoil, what):
    spoil(tmp_path / "mine")

    with pytest.raises(NotOursError, match=what):
        open_file(str(tmp_path / "mine"), os.O_RDWR | os.O_CREAT)


def test_a_file_is_locked_before_it_has_a_name(tmp_path: Path):
    path = str(tmp_path / "lease")
    file = make_locked(path)
    if file < 0:
        pytest.skip("needs O_TMPFILE")

    other = open_file(path, os.O_RDONLY)

    assert not try_lock(other, shared=True)
    assert make_locked(path) == -1, "there is one"
    assert Path(path).stat().st_mode & 0o777 == 0o600
    os.close(file)
    assert try_lock(other, shared=True)
    os.close(other)


def test_a_lock_is_held_until_its_last_descriptor_is_closed(tmp_path: Path):
    path = str(tmp_path / "lock")
    first, second = (open_file(path, os.O_RDWR | os.O_CREAT) for _ in range(2))
    assert try_lock(first)
    copy = os.dup(first)
    os.close(first)

    assert not wait_for_lock(second, seconds=0.01)
    os.close(copy)
    assert wait_for_lock(second, seconds=60)
    assert is_at(path, second)
    Path(path).unlink()
    assert not is_at(path, second)
    os.close(second)
