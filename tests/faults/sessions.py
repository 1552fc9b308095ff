"""Wait for the end of all that a killed program had started in a session of its own."""

import os
from pathlib import Path

from adaptive_exec.system.processes import STATE, read_stat
from tests.levels.leaks import eventually

SESSION = 3
"""Position of the session among what `read_stat` returns. Source: man 5 proc_pid_stat."""


def wait_for_session(leader: int) -> None:
    """Wait until no process of a session runs any more; what is reaped by others may be there."""
    assert eventually(lambda: not members_of(leader)), members_of(leader)


def members_of(leader: int) -> list[int]:
    """Return the processes of a session that run."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    stats = [(pid, read_stat(pid)) for pid in pids if pid != os.getpid()]
    return [
        pid
        for pid, words in stats
        if len(words) > SESSION
        and int(words[SESSION]) == leader
        and words[STATE] not in {b"Z", b"X"}
    ]
