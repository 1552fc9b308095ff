"""Batches whose tasks take so and so much memory, in a program of their own under a real limit."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from tests.cgroups import memory_group

SCRIPT: Final = Path(__file__).with_name("scripts") / "memory_batch.py"
MIB: Final = 1024 * 1024
LIMIT_BYTES: Final = 500 * MIB
BOUND_SECONDS: Final = 150


def run_batch(kind: str, tasks: list[Any], **settings: Any) -> tuple[dict[str, Any], int, str]:
    """Run tasks of one kind by at most 8 workers.

    Args:
        kind: What they do, as the script names it.
        tasks: `(megabytes, seconds)` of each.
        **settings: Of the executor.

    Returns:
        What the program said at its end, the kernel's kills, and its log.
    """
    words = [str(SCRIPT), kind, json.dumps(tasks), json.dumps({"max_workers": 8, **settings})]
    with memory_group(LIMIT_BYTES) as group:
        ran = subprocess.run(
            group.command([sys.executable, "-B", *words]),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BOUND_SECONDS,
            check=False,
        )
        kills = group.kernel_kills()
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1]), kills, ran.stderr
