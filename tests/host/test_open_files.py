"""Who takes many snapshots opens the kernel's files once, and sees what is new all the same."""

import gc
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from adaptive_exec import MemoryGuard
from adaptive_exec.host.reading import READ_BYTES, OpenFiles, read_file
from adaptive_exec.host.survey import HostProbe
from adaptive_exec.system import files
from adaptive_exec.system.files import KeptFile
from tests.cgroups import memory_group
from tests.levels.ladder import executor_at
from tests.levels.leaks import eventually

MIB = 1024 * 1024
opened: list[tuple[int, str]] = []
hooked: list[bool] = []

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def _note(event, arguments):
    if event == "open":
        opened.append((threading.get_ident(), str(arguments[0])))


def descriptors():
    return {one.name for one in Path(f"/proc/{os.getpid()}/fd").iterdir()}


@pytest.fixture
def opens():
    """Yield a function that says what this thread has opened since it was asked last."""
    if not hooked:
        hooked.append(True)
        sys.addaudithook(_note)
    me = threading.get_ident()

    def ask():
        found = [path for thread, path in opened if thread == me]
        opened.clear()
        return found

    ask()
    return ask


@pytest.fixture
def kept():
    files = OpenFiles()
    yield files
    files.close()


def test_the_second_snapshot_opens_nothing(opens, kept):
    probe = HostProbe()
    with kept:
        probe.take()
        assert opens()
        second = probe.take()
        assert opens() == []
    plain = probe.take()
    assert opens()
    assert second.limits == plain.limits
    assert second.limit_source == plain.limit_source


def test_what_has_changed_is_seen(kept):
    with memory_group(256 * MIB) as group, kept:
        path = group.folder / ("memory.limit_in_bytes" if group.version == 1 else "memory.max")
        assert read_file(str(path)) == b"%d\n" % (256 * MIB)
        path.write_text(str(128 * MIB))
        assert read_file(str(path)) == b"%d\n" % (128 * MIB)


def test_a_group_that_is_gone_cannot_be_read(kept):
    with memory_group(256 * MIB) as group:
        path = group.folder / ("memory.limit_in_bytes" if group.version == 1 else "memory.max")
        with kept:
            assert read_file(str(path))
    with kept:
        assert read_file(str(path)) is None


def test_what_is_kept_is_closed_at_the_end():
    before = descriptors()
    files = OpenFiles()
    with files:
        HostProbe().take()
    assert len(descriptors()) > len(before)
    files.close()
    assert descriptors() <= before


def test_where_descriptors_are_scarce_none_is_kept(monkeypatch, kept):
    monkeypatch.setattr(files, "_scarce_from", lambda: 0)
    before = descriptors()
    with kept:
        assert HostProbe().take().limits
        assert read_file("/proc/meminfo")
    assert descriptors() <= before


def test_a_descriptor_that_somebody_else_has_by_now_is_not_closed(tmp_path):
    path = tmp_path / "theirs"
    path.write_text("theirs")
    kept = KeptFile("/proc/meminfo", 4096)
    assert kept.read()
    number = kept._file
    os.close(number)
    theirs = os.open(path, os.O_RDONLY)
    if theirs != number:
        os.dup2(theirs, number)
        os.close(theirs)
    kept.close()
    assert os.read(number, 10) == b"theirs"
    os.close(number)


def test_a_file_longer_than_one_reading_is_read_whole(tmp_path, kept):
    plain = read_file("/proc/self/smaps")
    with kept:
        assert len(read_file("/proc/self/smaps")) > len(plain) / 2 > READ_BYTES
        assert read_file(str(tmp_path / "none")) is None


def test_the_second_look_of_a_guard_opens_nothing_and_its_files_go_with_it(opens):
    before = descriptors()
    guard = MemoryGuard("2MiB", "1MiB")
    guard.check()
    assert opens()
    guard.check()
    assert opens() == []
    assert len(descriptors()) > len(before)
    del guard
    gc.collect()
    assert descriptors() <= before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_guard_in_a_forked_child_reads_with_files_of_its_own():
    guard = MemoryGuard("2MiB", "1MiB")
    guard.check()
    pid = os.fork()
    if not pid:
        is_right = False
        try:
            guard.check()
            own = [one._file for one in guard._files._files.values() if "/proc/self/" in one._path]
            found = {str(Path(f"/proc/self/fd/{file}").readlink().parent) for file in own}
            is_right = found == {f"/proc/{os.getpid()}"}
        finally:
            os._exit(not is_right)
    assert os.waitpid(pid, 0)[1] == 0


def take(item):
    time.sleep(0.3)
    return os.getpid()


@pytest.mark.slow
def test_the_thread_that_brakes_opens_nothing_for_its_readings():
    with executor_at("process") as executor:
        # A worker that is new has files that are opened once, and may come late on a busy host.
        assert eventually(lambda: len(set(executor.map(take, range(4), chunksize=1))) == 2)
        if not hooked:
            hooked.append(True)
            sys.addaudithook(_note)
        driver = executor._driver._thread.ident
        opened.clear()
        assert len(list(executor.map(take, range(8)))) == 8
        found = [path for thread, path in opened if thread == driver]
    asked = ("/sys/", "/proc/meminfo", "/proc/self/cgroup")
    assert [one for one in found if one.startswith(asked) or one.endswith("/statm")] == []
