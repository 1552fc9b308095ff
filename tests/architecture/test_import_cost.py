"""What `import adaptive_exec` may not bring along."""

import subprocess
import sys

import pytest

from tests.architecture.house import ROOT

HEAVY = (
    "numpy", "pandas", "pyarrow", "joblib", "rich", "typer", "psutil", "loky", "cloudpickle",
    "threadpoolctl", "filelock", "sqlite3", "multiprocessing", "asyncio", "subprocess",
    "concurrent.futures.process",
)  # fmt: skip


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_loads_nothing_heavy():
    loaded = run("import sys, adaptive_exec; print(*sys.modules)").split()

    assert [name for name in HEAVY if name in loaded] == []


def test_the_first_executor_loads_no_module_that_takes_code_apart():
    code = """
import sys
from adaptive_exec import adaptive_executor
with adaptive_executor() as executor:
    assert list(executor.map(abs, range(20))) == list(range(20))
print(*sys.modules)
"""
    loaded = run(code).split()

    assert {"dataclasses", "inspect", "ast", "dis"} & set(loaded) == set()


@pytest.mark.parametrize("absent", ["psutil", "loky", "cloudpickle", "psutil loky cloudpickle"])
def test_the_face_is_whole_without_optional_packages(absent: str):
    code = f"""
import sys
sys.modules.update(dict.fromkeys({absent.split()!r}))  # None makes an import fail
import adaptive_exec
for name in getattr(adaptive_exec, "__all__", ()):
    getattr(adaptive_exec, name)
"""
    run(code)


def test_a_zygote_loads_nothing_that_only_its_parent_needs():
    code = "import sys, adaptive_exec.levels.zygote_main; print(*sys.modules)"
    loaded = run(code).split()

    assert {"typing", "dataclasses", "adaptive_exec.config"} & set(loaded) == set()
    assert [name for name in loaded if name.startswith("adaptive_exec.core")] == []
