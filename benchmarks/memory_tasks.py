"""Tasks that take memory in known ways, importable from any process. They decide nothing."""

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
    """Hold a batch while it is worked on and, two thirds of the time, waited for."""
    megabytes, rounds = task
    block = bytearray(b"x") * (megabytes * MB)
    for _ in range(rounds):
        compute(1)
        time.sleep(0.02)
    return len(block)


def wait(task):
    """Hold so many MB and do nothing for so many seconds."""
    megabytes, seconds = task
    block = bytearray(b"x") * (megabytes * MB)
    time.sleep(seconds)
    return len(block)


def compute(rounds):
    """Work in Python; a round takes about 10 ms of an idle core."""
    for _ in range(rounds):
        sum(range(400_000))
