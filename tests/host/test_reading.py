"""Reading files and numbers: what is not understood is None, nothing raises."""

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adaptive_exec.host import reading
from adaptive_exec.host.memory_limits import _average
from adaptive_exec.host.own_limits import OwnLimits
from adaptive_exec.host.reading import number_after, read_file, whole
from adaptive_exec.host.survey import HostProbe

TREES = Path(__file__).parent / "trees"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        pytest.param(b"9223372036854771712\n", 9223372036854771712, id="the kernel's unlimited"),
        pytest.param(b"0\n", 0, id="nothing is a number"),
        pytest.param(b"max\n", None, id="max is none"),
        pytest.param(b"-1\n", None, id="minus one is none"),
        pytest.param(b"", None, id="an empty file is none"),
        pytest.param(None, None, id="a missing file is none"),
        pytest.param(b"9" * 40, None, id="a number too long for the kernel is none"),
        pytest.param(b"9" * 9000, None, id="a number too long for Python is none"),
    ],
)
def test_a_whole_number_is_read_from(text, number):
    assert whole(text) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        pytest.param(b"dirty 3\n", 3, id="the first line"),
        pytest.param(b"a 1\ndirty 3", 3, id="the last line without an end"),
        pytest.param(b"total_dirty 4\nfile_dirty 5\n", None, id="not the end of another key"),
        pytest.param(b"dirty \n", None, id="a key without a number"),
        pytest.param(b"dirty x\n", None, id="a key with a word"),
        pytest.param(None, None, id="a missing file"),
    ],
)
def test_a_number_after_a_key_is_read_from(text, number):
    assert number_after(text, b"dirty ") == number


@pytest.mark.parametrize(
    ("text", "percent"),
    [
        pytest.param(
            b"some avg10=12.50 avg60=0.00 avg300=0.00 total=1\n", 12.5, id="the kernel's line"
        ),
        pytest.param(b"full avg10=12.50\n", None, id="the wrong line"),
        pytest.param(b"some avg10=nan", None, id="not a number"),
        pytest.param(b"some avg10=101.0", None, id="more than all"),
        pytest.param(b"some", None, id="a line cut short"),
        pytest.param(b"", None, id="an empty file"),
    ],
)
def test_the_stall_is_read_from(text, percent):
    assert _average(text) == percent


@pytest.mark.parametrize("path", ["/proc/no/such/file", "/", "/proc/self/mem", "bad\0name"])
def test_a_file_that_cannot_be_read_is_none(path):
    assert read_file(path) is None


def test_a_file_longer_than_one_read_is_read_whole(tmp_path):
    (tmp_path / "long").write_bytes(b"x" * 100_000)

    assert read_file(str(tmp_path / "long")) == b"x" * 100_000


@pytest.fixture(scope="module", params=["docker_v1", "nested_v2"])
def spoilt_tree(request, tmp_path_factory):
    return Path(shutil.copytree(TREES / request.param, tmp_path_factory.mktemp("trees") / "tree"))


GARBAGE = st.one_of(st.binary(max_size=200), st.from_regex(rb"[0-9a-z =.:/\n-]{0,80}"))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(case=st.data())
def test_no_content_of_any_file_makes_a_snapshot_fail(spoilt_tree, case):
    files = sorted(path for path in spoilt_tree.rglob("*") if path.is_file())
    path = case.draw(st.sampled_from(files))
    kept = path.read_bytes()
    cut = case.draw(st.integers(0, len(kept)))
    path.write_bytes(kept[:cut] + case.draw(GARBAGE))
    try:
        snapshot = HostProbe(str(spoilt_tree), own=OwnLimits(address_space_bytes=2**34)).take(0.0)
    finally:
        path.write_bytes(kept)

    assert snapshot.usable_cores >= 1
    assert 0 <= snapshot.available_bytes <= snapshot.limit_bytes
    assert snapshot.limit_bytes > 0


def test_without_memory_to_read_with_the_reading_before_counts_and_nothing_is_left(monkeypatch):
    probe = HostProbe()
    before = probe.take(1.0)

    def refuse(_):
        raise MemoryError

    monkeypatch.setattr(reading, "_read_all", refuse)
    assert probe.take(2.0) == before._replace(taken_at=2.0, available_bytes=0)
    with pytest.raises(MemoryError):
        HostProbe().take()
