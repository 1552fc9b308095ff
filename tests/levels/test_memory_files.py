"""Memory that a worker shares with its parent, also where the call for it is missing or refused."""

import logging
import os

import pytest

from adaptive_exec import adaptive_executor
from adaptive_exec.levels import slate
from tests.levels.leaks import eventually

pytestmark = pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="needs files without a name")


def refuse(error):
    def memfd_create(*_):
        raise OSError(error, "refused")

    return memfd_create


@pytest.fixture(params=["missing", "unknown", "forbidden"])
def without_the_call(request, monkeypatch):
    if request.param == "missing":
        monkeypatch.delattr(os, "memfd_create")
    else:
        errors = {"unknown": 38, "forbidden": 1}
        monkeypatch.setattr(os, "memfd_create", refuse(errors[request.param]))


@pytest.mark.usefixtures("without_the_call")
def test_without_the_call_it_is_a_file_without_a_name():
    descriptor = slate.make_memory_file(slate.SLATE_BYTES)
    try:
        facts = os.fstat(descriptor)
        assert (facts.st_size, facts.st_nlink) == (slate.SLATE_BYTES, 0)
        assert not os.get_inheritable(descriptor)
        one, other = (slate.Slate(descriptor, slate.SLATE_BYTES) for _ in range(2))
        one.numbers[3] = 7
        assert other.numbers[3] == 7
        one.close()
        other.close()
    finally:
        os.close(descriptor)


def test_what_is_refused_for_want_of_descriptors_stays_refused(monkeypatch):
    monkeypatch.setattr(os, "memfd_create", refuse(24))
    with pytest.raises(OSError, match="refused"):
        slate.make_memory_file(0)


@pytest.mark.usefixtures("without_the_call")
def test_where_no_folder_takes_it_it_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(slate, "_MEMORY_FOLDERS", (str(tmp_path / "absent"),))
    with pytest.raises(OSError, match="not implemented"):
        slate.make_memory_file(0)


def say(number):
    print("said", number)
    logging.getLogger("tests.levels.memory_files").warning("logged %d", number)
    return number


@pytest.mark.usefixtures("without_the_call")
def test_what_tasks_say_comes_also_without_the_call(capsys, caplog):
    with adaptive_executor(levels="process", max_workers=2, start="fresh") as executor:
        assert list(executor.map(say, range(8))) == list(range(8))
        assert eventually(lambda: len(caplog.messages) == 8)
    said = capsys.readouterr().out.splitlines()
    assert sorted(said) == [f"said {number}" for number in range(8)]
    assert sorted(caplog.messages) == [f"logged {number}" for number in range(8)]
