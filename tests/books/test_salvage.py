"""What dead workers left beside a journal is taken up once, whole, and from nobody else."""

import os
from binascii import crc32
from pathlib import Path

import pytest

from adaptive_exec import adaptive_executor
from adaptive_exec.journal.book import KNOWN, RUN, Book
from adaptive_exec.journal.checks import remove_journal
from adaptive_exec.journal.section import Section
from adaptive_exec.levels import remains as remains_module
from adaptive_exec.levels.current import Place
from adaptive_exec.levels.remains import Remains, read_records
from adaptive_exec.levels.wire import Packed
from adaptive_exec.levels.worker import pack_error
from adaptive_exec.salvage import take_up
from tests.books.test_book import admit


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.journal"


def leave(path: Path, tasks, values, statuses=None, *, details=None) -> Remains:
    """Leave results as a worker does."""
    book = Book(path)
    names = b"".join(admit(Section(book), tasks).keys)
    book.close()
    packed = Packed()
    for value in values:
        packed.add(value)
    remains = Remains()
    place = Place(f"{path}.tasks", names, 1, 10, 2)
    remains.add(place, range(10, 10 + len(tasks)), packed, (statuses, details))
    return remains


def die(remains: Remains) -> None:
    for file in remains._files:
        os.close(file)


def left(path: Path) -> list[Path]:
    return list(path.parent.glob("run.journal-left-*"))


def test_what_was_left_is_known_and_its_file_gone(path: Path):
    details = [(0.5, 0.25, 7), (0.5, 0.25, 8), (0.5, 0.25, 9)]
    die(leave(path, [1, 2, 3], ["a", pack_error(ValueError("bad"))[1], {3}], b"\0\1\0",
              details=details))  # fmt: skip
    assert len(left(path)) == 2

    book = Book(path)
    take_up(book)
    admitted = admit(Section(book), [1, 2, 3, 4])

    assert admitted.fates == [KNOWN] * 3 + [RUN]
    assert admitted.found[0].value == "a"
    assert repr(admitted.found[1].error) == "ValueError('bad')"
    assert admitted.found[2].value == {3}
    assert (admitted.found[0].detail, admitted.found[0].attempt) == (details[0], 2)
    assert left(path) == []
    book.close()


def test_what_a_living_worker_writes_is_left_to_it(path: Path):
    remains = leave(path, [1], ["a"])
    book = Book(path)
    take_up(book)

    assert admit(Section(book), [1]).fates == [RUN]
    assert len(left(path)) == 2
    remains.remove()
    assert left(path) == []
    book.close()


def test_a_record_that_was_being_written_is_left_out(path: Path):
    remains = leave(path, [1], ["a"])
    die(remains)
    (file,) = [one for one in left(path) if one.stat().st_size]
    whole = file.read_bytes()
    assert len(list(read_records(whole))) == 1

    for size in range(len(whole)):
        assert list(read_records(whole[:size])) == []
    assert len(list(read_records(whole + whole[:-1]))) == 1
    assert len(list(read_records(whole + b"\0" * 100))) == 1


def test_a_record_with_a_wrong_byte_is_left_out(path: Path):
    die(leave(path, [1], ["a"]))
    (file,) = [one for one in left(path) if one.stat().st_size]
    whole = file.read_bytes()

    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        assert list(read_records(bytes(damaged))) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file away")
def test_what_somebody_else_has_put_there_is_not_read(path: Path):
    die(leave(path, [1], ["a"]))
    for one in left(path):
        os.chown(one, 12345, -1)

    book = Book(path)
    take_up(book)

    assert admit(Section(book), [1]).fates == [RUN]
    book.close()


def test_what_cannot_be_unpacked_here_is_run_again(path: Path):
    remains = leave(path, [1, 2], ["a", "b"])
    (file,) = [one for one in left(path) if one.stat().st_size]
    content = file.read_bytes().replace(b"\x8c\x01a", b"\xff\x01a")  # as of a class that is gone
    file.write_bytes(content[:8] + crc32(content[12:]).to_bytes(4, "little") + content[12:])
    die(remains)

    book = Book(path)
    take_up(book)

    assert admit(Section(book), [1, 2]).fates == [RUN, KNOWN]
    book.close()


def test_files_take_turns_so_that_they_do_not_grow(path: Path, monkeypatch):
    monkeypatch.setattr(remains_module, "TURN_SECONDS", 0.0)
    remains, packed = Remains(), Packed.of_plain(["x" * 100_000])
    place = Place(f"{path}.tasks", bytes(16), 1, 0, 1)
    for _ in range(50):
        remains.add(place, range(1), packed, (None, None))

    sizes = [one.stat().st_size for one in left(path)]
    assert max(sizes) <= remains_module.TURN_BYTES + 200_000
    remains.remove()


def test_what_a_task_forked_leaves_nothing(path: Path):
    remains = leave(path, [1], ["a"])
    before = [one.stat().st_size for one in left(path)]
    pid = os.fork()
    if not pid:
        place = Place(f"{path}.tasks", bytes(16), 1, 0, 1)
        remains.add(place, range(1), Packed.of_plain([1]), (None, None))
        os._exit(0)
    os.waitpid(pid, 0)

    assert [one.stat().st_size for one in left(path)] == before
    remains.remove()


def crash_once(item):
    path, number = item
    if number == 3 and not Path(path).exists():
        Path(path).touch()
        os._exit(1)
    return number


def test_a_worker_that_died_leaves_nothing_beside_a_closed_journal(path: Path, tmp_path: Path):
    with adaptive_executor(levels="process", journal=path) as ex:
        assert list(ex.map(crash_once, [(tmp_path / "died", n) for n in range(6)])) == list(
            range(6)
        )

    assert sorted(one.name for one in tmp_path.iterdir()) == ["died", "run.journal"]


def test_a_journal_is_removed_with_what_lies_beside_it(path: Path):
    die(leave(path, [1], ["a"]))

    remove_journal(path)

    assert list(path.parent.iterdir()) == []
