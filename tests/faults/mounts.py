"""Run a command with mounts of its own, which nobody else sees and which end with it.

Skips where this process may not make a mount namespace (it needs root).
"""

import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.faults.unprivileged import ROOT, listen_to

SCRIPTS: Final = Path(__file__).with_name("scripts")
DEVICES: Final = "null zero full random urandom tty"
_PRIVATE: Final = "mount --make-rprivate /"
SHARED_MEMORY: Final = {
    "read-only": "mount -t tmpfs -o ro tmpfs /dev/shm",
    "12 KB large": "mount -t tmpfs -o size=12k tmpfs /dev/shm",
    "full": "mount -t tmpfs -o size=4k tmpfs /dev/shm && head -c 4096 /dev/zero > /dev/shm/full",
    "missing": f"""
        new=$(mktemp -d) && mount -t tmpfs tmpfs "$new" && ln -s /proc/self/fd "$new/fd"
        for device in {DEVICES}; do cp -a "/dev/$device" "$new/" || true; done
        mount --move "$new" /dev && rmdir "$new" && test ! -e /dev/shm
    """,
}
"""What /dev/shm is to be, and the shell commands that make it so."""


def full_disk(folder):
    """Return the commands that make a folder a file system without any room."""
    return (
        f"mount -t tmpfs -o size=4k tmpfs {folder} && head -c 4096 /dev/zero > {folder}/full "
        f"&& ! sh -c 'echo more > {folder}/more' 2>/dev/null"
    )


def run_with(mounts, script, *arguments, **environment):
    """Run a script where these mounts are made.

    Args:
        mounts: Shell commands.
        script: Name of a script in `tests/faults/scripts`.
        *arguments: For the script.
        **environment: Variables beside ours.

    Returns:
        What it reported.
    """
    _probe()
    shell = f'set -e\n{_PRIVATE}\n{mounts}\nexec "$@"'
    program = [sys.executable, "-B", str(SCRIPTS / script), *map(str, arguments)]
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", shell, "sh", *program],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return listen_to(process)


@functools.cache
def _probe():
    try:
        command = ["unshare", "--mount", "sh", "-c", f"{_PRIVATE} && mount -t tmpfs tmpfs /mnt"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"needs a mount namespace of its own, got {error}")
