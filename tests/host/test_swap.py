"""What can be swapped out, and how often groups were held up, read from saved trees."""

import pytest

from adaptive_exec.config import KIB
from adaptive_exec.host.cgroup import ControlGroup
from adaptive_exec.host.swap import read_swap, read_throttles

FREE_BYTES = 1000 * KIB


def make_group(folder, version=2, **files):
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name.replace("_", ".", 2 if name.count("_") == 2 else 1)).write_text(text)
    return ControlGroup(version, "/", str(folder))


def swap_of(free, *groups):
    return read_swap(f"MemTotal: 9 kB\nSwapFree: {free} kB\n".encode(), groups)


@pytest.mark.parametrize(
    ("free", "files", "expected"),
    [
        pytest.param(0, {"memory_swap_max": "max"}, 0, id="a host without swap"),
        pytest.param(1000, {"memory_swap_max": "max"}, FREE_BYTES, id="a group without a bound"),
        pytest.param(1000, {"memory_swap_max": "0"}, 0, id="a group that may not"),
        pytest.param(
            1000, {"memory_swap_max": "5000", "memory_swap_current": "2000"}, 3000, id="the rest"
        ),
    ],
)
def test_what_can_be_swapped_is_the_least_of_host_and_group(tmp_path, free, files, expected):
    group = make_group(tmp_path / "group", **files)

    assert swap_of(free, group) == expected


def test_a_group_of_version_1_counts_memory_and_swap_together(tmp_path):
    folder = tmp_path / "group"
    group = make_group(folder, 1)
    (folder / "memory.limit_in_bytes").write_text("1000")
    (folder / "memory.memsw.limit_in_bytes").write_text("1800")
    (folder / "memory.stat").write_text("total_swap 300\n")

    assert swap_of(1000, group) == 500


def test_held_up_are_only_groups_with_a_high_mark(tmp_path):
    events = "low 0\nhigh 7\nmax 3\n"
    free = make_group(tmp_path / "a", memory_high="max", memory_events=events)
    held = make_group(tmp_path / "b", memory_high="1000", memory_events=events)

    assert read_throttles([free]) is None
    assert read_throttles([free, held]) == 7
