"""Whatever is ordinary about a program, its workers start, live on, and are heard.

Each parent is a program of its own; it says on a file of its own, since its streams may be closed.
"""

import json
import os
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest

from adaptive_exec.core.ladder import START_PATIENCE_SECONDS
from adaptive_exec.core.reason import Code
from tests.levels.ladder import rows_of

PROGRAM = """
import json, logging, os, sys, time
{parent}
from adaptive_exec import adaptive_executor

def where(item):
    {task}
    return os.getpid()

if __name__ == "__main__":
    events, report = [], {{}}
    logging.basicConfig(level=logging.INFO)
    with adaptive_executor(
        **{{"max_workers": 2, "share_host": False, "on_event": events.append}} | {settings}
    ) as executor:
        found = set(executor.map(where, range(12)))
        found |= {{executor.submit(where, item).result(60) for item in range(3)}}
        found |= {{outcome.value for outcome in executor.outcomes(where, range(6))}}
        levels = executor.report.levels
    report["levels"] = levels
    report["is_here"] = os.getpid() in found
    report["all"] = [event["reason"] for event in events]
    report["reasons"] = [event["reason"] for event in events if event["severity"] == "warning"]
    report["facts"] = [event["facts"] for event in events if event["severity"] == "warning"]
    with open(REPORT, "w") as file:
        json.dump(report, file)
"""


def run_parent(
    folder: Path,
    parent: str,
    *,
    settings: str = "{}",
    task: str = "time.sleep(0.01)",
    where: str = "",
    **options,
):
    """Run a program; return what it reports and what it wrote to its streams."""
    report, script = folder / "report.json", folder / "program.py"
    text = PROGRAM.format(parent=textwrap.dedent(parent), settings=settings, task=task)
    text = text.replace("if __name__", f"where = {where}\nif __name__") if where else text
    script.write_text(f"REPORT = {str(report)!r}\n{text}")
    done = subprocess.run(
        [sys.executable, *options.pop("flags", ()), str(script)],
        capture_output=True, text=True, timeout=100, check=False, cwd=folder, **options,
    )  # fmt: skip
    assert report.exists(), done.stderr
    return json.loads(report.read_text()), done.stderr


PARENTS = {
    "time-out": "import socket; socket.setdefaulttimeout(0.05)",
    "path": "import pathlib; sys.path[:0] = [pathlib.Path('/tmp'), b'/tmp', None, 3]",
    "arguments": "import pathlib; sys.argv = [pathlib.Path('x'), None, 3]",
    "no arguments": "del sys.argv",
    "closed streams": "sys.stdin.close(); sys.stdout.close(); sys.stderr.close()",
    "odd streams": "import io; sys.stdout, sys.stderr = io.StringIO(), io.BytesIO()",
    "no streams": "sys.stdin = sys.stdout = sys.stderr = None",
    "no sockets": """
        import socket
        class Refused(socket.socket):
            def __init__(self, *_, **__):
                raise OSError("no sockets in tests")
        socket.socket = Refused
    """,
    "no folder": "import tempfile; os.chdir(folder := tempfile.mkdtemp()); os.rmdir(folder)",
    "no hook": "import threading; threading.excepthook = None",
    "no words": "del sys.argv",
    "tracing": "sys.settrace(lambda *_: None); sys.setprofile(lambda *_: None)",
    "warnings": "import warnings; warnings.simplefilter('error')",
}


QUICK = {"time-out", "path", "closed streams", "no sockets"}
ROWS = [
    pytest.param(parent, id=name, marks=() if name in QUICK else pytest.mark.slow)
    for name, parent in PARENTS.items()
]


@pytest.mark.parametrize("parent", ROWS)
def test_an_ordinary_parent_has_workers_that_live_on(parent: str, tmp_path: Path):
    found, words = run_parent(tmp_path, parent)
    assert found["levels"] == ["process"], words
    assert not found["is_here"]
    assert found["reasons"] == []


OF_LOKY = ["time-out", "path", "closed streams", "no streams", "no hook", "no words"]


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_LOKY)
def test_an_ordinary_parent_has_workers_of_loky_where_it_asks_for_them(name: str, tmp_path: Path):
    found, words = run_parent(tmp_path, PARENTS[name], settings="{'start': 'loky'}")
    assert (found["levels"], found["is_here"], found["reasons"]) == (["process"], False, []), words


SAYS = """
subprocess.run(["echo", "from a child"], check=True)
    print("from a task", flush=True)
    assert {os.readlink(f"/proc/self/fd/{number}") for number in (0, 1, 2)} == {os.devnull}
    os.write(1, b"from the library of C")"""


@pytest.mark.parametrize("start", ["snapshot", "fresh"])
def test_a_program_without_streams_has_none_of_ours_in_their_place(start: str, tmp_path: Path):
    parent = """
    import subprocess
    for number in (0, 1, 2):
        os.close(number)
    """
    settings = f"{{'start': {start!r}, 'isolate': True}}"

    report, *_ = run_parent(tmp_path, parent, settings=settings, task=SAYS.lstrip())

    assert report["levels"] == ["process"]
    assert report["reasons"] == []


@pytest.mark.parametrize("start", rows_of(["zygote", "loky"]))
def test_a_task_may_set_the_time_out_of_new_sockets(start: str, tmp_path: Path):
    task = "import socket; socket.setdefaulttimeout(0.01); time.sleep(0.05)"
    found, words = run_parent(tmp_path, "", settings=f"dict(start={start!r})", task=task)
    assert (found["levels"], found["reasons"]) == (["process"], []), words


@pytest.mark.parametrize("start", rows_of(["zygote", "loky"]))
@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_a_program_of_green_threads_has_workers(start: str, library: str, tmp_path: Path):
    if find_spec(library) is None:  # not imported here: it changes what forks of the suite do
        pytest.skip(f"{library} is not installed")
    patch = {
        "gevent": "from gevent import monkey; monkey.patch_all()",
        "eventlet": "import eventlet; eventlet.monkey_patch()",
    }
    found, words = run_parent(tmp_path, patch[library], settings=f"dict(start={start!r})")
    assert (found["levels"], found["reasons"]) == (["process"], []), words


THREAD = """
import threading, time
threading.Thread(target=time.sleep, args=(1000,), daemon=True, name="tracer-of-mine").start()
"""


def in_every_interpreter(folder: Path, code: str) -> dict[str, str]:
    """Return an environment in which each interpreter runs some code as it starts."""
    (folder / "sitecustomize.py").write_text(textwrap.dedent(code))
    return {**os.environ, "PYTHONPATH": str(folder)}


@pytest.mark.parametrize(
    "settings", [pytest.param("{}", marks=pytest.mark.slow), "dict(isolate=True)"]
)
def test_a_thread_in_every_interpreter_is_named_and_workers_start_the_other_way(
    settings: str, tmp_path: Path
):
    environment = in_every_interpreter(tmp_path, THREAD)
    found, words = run_parent(tmp_path, "", settings=settings, env=environment)
    assert found["levels"] == ["process"]
    assert not found["is_here"]
    assert found["reasons"] == ["starter_unfit"]
    assert "tracer-of-mine" in words


@pytest.mark.slow
def test_what_every_interpreter_says_at_its_start_is_not_said_again_by_workers(tmp_path: Path):
    environment = in_every_interpreter(tmp_path, "import sys; print('hello', file=sys.stderr)")
    found, words = run_parent(tmp_path, "", env=environment)
    assert (found["levels"], found["reasons"]) == (["process"], [])
    assert words.count("hello") == 1


def test_an_interpreter_that_refuses_is_quoted_and_no_time_is_lost(tmp_path: Path):
    refuse = f"""
        import os, sys
        if os.getppid() != {os.getpid()}:
            sys.exit("no second interpreter here")
    """
    environment = in_every_interpreter(tmp_path, refuse)
    found, words = run_parent(tmp_path, "", settings="dict(start='fresh')", env=environment)
    assert found["levels"] == ["thread"]
    assert found["reasons"] == ["starter_unfit", "start_refused"]
    assert "no second interpreter here" in words
    retries = found["all"].count(Code.START_RETRIED)
    assert retries < len(START_PATIENCE_SECONDS) / 2, "refused starts are tried again for 3.1 s"


@pytest.mark.parametrize("mark", ["frozen", pytest.param("oxidized", marks=pytest.mark.slow)])
def test_a_frozen_program_is_never_started_again(mark: str, tmp_path: Path):
    starts, executable = tmp_path / "starts", tmp_path / "program"
    executable.write_text(f"#!/bin/sh\necho started >> {starts}\n")
    executable.chmod(0o700)
    parent = f"sys.{mark}, sys.executable = True, {str(executable)!r}"
    for settings in ("dict(start='fresh')", "dict(start='loky')"):
        found, words = run_parent(tmp_path, parent, settings=settings)
        assert (found["levels"], found["reasons"]) == (["thread"], ["start_refused"]), words
        assert "is frozen into one executable" in words
    assert not starts.exists()


@pytest.mark.slow
@pytest.mark.parametrize("executable", ["/bin/true", "/nowhere/python", "", None])
def test_a_host_of_python_has_the_workers_of_a_python_beside_it(executable, tmp_path: Path):
    found, words = run_parent(tmp_path, f"sys.executable = {executable!r}")
    assert (found["levels"], found["reasons"]) == (["process"], []), words


INITIALIZER = """
import threading, time
THREAD = threading.Thread(target=time.sleep, args=(1000,), daemon=True, name="pool-of-mine")
THREAD.start()

def begin():
    pass
"""


def test_a_module_that_starts_a_thread_is_loaded_by_each_worker(tmp_path: Path):
    (tmp_path / "pooled.py").write_text(INITIALIZER)
    parent = "sys.path.insert(0, os.getcwd()); import pooled"
    found, words = run_parent(tmp_path, parent, settings="dict(initializer=pooled.begin)")
    assert (found["levels"], found["reasons"]) == (["process"], []), words
    assert "pool-of-mine" in words


UNFORKABLE = """
import os

class Library:
    process = os.getpid()

def where(item):
    if os.getpid() != Library.process:  # as a native library dies that was used before a fork
        os.abort()
    return os.getpid()
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_module_that_dies_in_forked_workers_is_loaded_by_each(workers: int, tmp_path: Path):
    (tmp_path / "unforkable.py").write_text(UNFORKABLE)
    parent = """
        import resource
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sys.path.insert(0, os.getcwd())
        import unforkable
    """
    settings = f"dict(max_workers={workers})"
    found, words = run_parent(tmp_path, parent, settings=settings, where="unforkable.where")
    assert found["levels"] == ["process"], words
    assert "poison" not in found["reasons"]
    assert "starter_unfit" in words
