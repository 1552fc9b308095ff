"""Tasks that take memory in known ways, importable from any process. They decide nothing."""

import os
import pathlib
import time

MB = 10**6
_kept = []


def hold(task):
    """Take so many MB at once, work on for a while, give them back."""
    megabytes, rounds = task
    block = bytearray(b"x") * (megabytes * MB)
    compute(rounds)
    return len(block)


def leak(task):
    """Keep so many MB for good."""
    megabytes, rounds = task
    _kept.append(bytearray(b"x") * (megabytes * MB))
    compute(rounds)
    return megabytes


def outgrow(task):
    """Take more and more memory, 8 MB at a time, up to so many MB."""
    megabytes, rounds = task
    blocks = [bytearray(b"x") * (8 * MB) for _ in range(max(1, megabytes // 8))]
    compute(rounds)
    return len(blocks)


def transform(task):
    """Hold a batch while it is worked on and, half of the time, waited for."""
    megabytes, seconds = task
    block = bytearray(b"x") * (megabytes * MB)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        compute(1)
        time.sleep(0.02)
    return len(block)


def compute(rounds):
    """Work in Python; a round takes about 10 ms of an idle core."""
    for _ in range(rounds):
        sum(range(400_000))


def stamp(task):
    """As `hold`, and say when it was finished."""
    hold(task)
    return time.monotonic()


def peak_of(pid):
    with pathlib.Path(f"/proc/{pid}/status").open(encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))


def own_pid(_=None):
    return os.getpid()
