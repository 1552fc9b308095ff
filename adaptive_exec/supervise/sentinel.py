"""Ends what a supervisor leaves behind: waits for the supervisor's end, then ends its copies.

Run as a file by the supervisor, whose pipe is our standard input: a line `+123` is a process group
that lives, `-123` one that has ended. The pipe closes when the supervisor is gone, however that
came. Loads nothing of the package.
"""

import os
import signal
import sys
import time

POLL_SECONDS = 0.02
"""Seconds between two looks at whether all groups are gone."""


def main(grace_seconds: float) -> None:
    """Follow the supervisor to its end, and then end its groups.

    Args:
        grace_seconds: Seconds from SIGTERM to SIGKILL.
    """
    groups: set[int] = set()
    for line in sys.stdin.buffer:
        group = int(line[1:])
        if line.startswith(b"+"):
            groups.add(group)
        else:
            groups.discard(group)
    end_groups(groups, grace_seconds)


def end_groups(groups: set[int], grace_seconds: float) -> None:
    """End process groups: SIGTERM, a while, SIGKILL."""
    for group in groups:
        send(group, signal.SIGTERM)
        send(group, signal.SIGCONT)  # a stopped process takes no SIGTERM
    end = time.monotonic() + grace_seconds
    while time.monotonic() < end and any(send(group, 0) for group in groups):
        time.sleep(POLL_SECONDS)
    for group in groups:
        send(group, signal.SIGKILL)


def send(group: int, number: int) -> bool:
    """Send a signal to a process group; return whether it is there."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # macOS says the latter of a zombie
        return False
    return True


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    main(float(sys.argv[1]))
