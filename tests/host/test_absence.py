"""What is left where psutil, loky, /proc or a call is missing, each in a fresh interpreter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

CHILD_SECONDS = 120
EMPTY = str(Path(__file__).parent / "trees" / "no_proc")
PROJECT = str(Path(__file__).parents[2])

PRELUDE = """
import json, sys
sys.path.insert(0, sys.argv[1])
missing = set(sys.argv[2].split(","))

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in missing:
            raise ImportError(f"{name} is missing in this test")

sys.meta_path.insert(0, Blocker())
"""

WITHOUT_FILES = """
from adaptive_exec.host.memory_elsewhere import read_elsewhere
from adaptive_exec.host.survey import HostProbe
snapshot = HostProbe(sys.argv[3], elsewhere=read_elsewhere).take()
print(json.dumps([snapshot.limit_source, snapshot.available_source]))
"""

CORES = """
from adaptive_exec.host.cpu import own_cores
print(json.dumps([own_cores()[0].source, int(own_cores()[0].value)]))
"""


def run_child(code: str, *, missing: str = "", without: str = "") -> list:
    removal = "".join(
        f"import os\nif hasattr(os, {name!r}): del os.{name}\n" for name in without.split()
    )
    child = subprocess.run(
        [sys.executable, "-c", PRELUDE + removal + code, PROJECT, missing, EMPTY],
        capture_output=True,
        text=True,
        timeout=CHILD_SECONDS,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout)


def test_a_snapshot_needs_neither_psutil_nor_loky_nor_resource():
    limit_bytes, cores = run_child(
        """
from adaptive_exec.host import process_groups
from adaptive_exec.host.survey import take_snapshot
snapshot = take_snapshot()
print(json.dumps([snapshot.limit_bytes, snapshot.usable_cores]))
""",
        missing="psutil,loky,resource",
    )

    assert limit_bytes > 0
    assert cores >= 1


@pytest.mark.skipif(sys.platform != "linux", reason="needs files that tell")
def test_what_is_slow_to_import_stays_out_where_the_files_tell():
    loaded = run_child("""
from adaptive_exec.host import process_groups
from adaptive_exec.host.survey import take_snapshot
before = {"psutil", "loky", "subprocess", "multiprocessing", "logging"} & set(sys.modules)
take_snapshot()
after = {"psutil", "loky", "subprocess", "multiprocessing", "logging"} & set(sys.modules)
print(json.dumps(sorted(before | after)))
""")

    assert loaded == []


def test_without_files_psutil_tells():
    sources = run_child(WITHOUT_FILES)

    assert sources == ["psutil virtual_memory total", "psutil virtual_memory available"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs sysconf")
def test_without_files_and_psutil_sysconf_tells():
    assert run_child(WITHOUT_FILES, missing="psutil")[0] == "sysconf SC_PHYS_PAGES"


def test_without_everything_the_figures_are_assumed():
    sources = run_child(WITHOUT_FILES, missing="psutil", without="sysconf")

    assert sources == ["assumed", "assumed, half of the limit"]


def test_without_affinity_loky_counts_the_cores():
    source, cores = run_child(CORES, without="sched_getaffinity process_cpu_count")

    assert source == "loky cpu_count"
    assert cores >= 1


def test_without_affinity_and_loky_the_host_is_counted():
    source, cores = run_child(CORES, missing="loky", without="sched_getaffinity process_cpu_count")

    assert source == "cpu_count"
    assert cores >= 1
