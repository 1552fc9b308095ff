"""Arrays that are kept for long, in workers, in the parent, and in children that these forked.

Every array is filled with one number, which is kept beside it, so that any change is seen.
"""

import os
import random
import time
from pathlib import Path

import numpy as np

from adaptive_exec.levels import arena
from tests.levels import work

ELEMENTS = 1 << 15
"""Elements of an array; a quarter of a megabyte."""
KEPT = 10
"""Most arrays that a process keeps."""
CHECK_SECONDS = 0.02
"""Seconds between two looks of a child."""
_chooser = random.Random(3)
_kept = []
_sent, _made = [0], [0]


def filled(number):
    return np.full(ELEMENTS, number, np.int64)


def changed(kept):
    """Return the numbers whose arrays do not show them any more."""
    return [number for number, array in kept if not (array == number).all()]


def thin_out(kept):
    """Let go of some that are kept, any of them."""
    while len(kept) > KEPT or (kept and _chooser.random() < 0.5):
        kept.pop(_chooser.randrange(len(kept)))


def keep(item):
    """Keep the argument and let go of others.

    Args:
        item: `(number, array, path)`; with a path this process forks a child that looks after all
            that is kept now, and lets go of it, or dies at once if the path says so.

    Returns:
        This process, the numbers that have changed, and an array of the number's own.
    """
    number, array, path = item
    array[:1024] = number  # these pages are ours now; the others are still those of the file
    _kept.append((number, array))
    wrong = changed(_kept)
    if path is not None and not Path(f"{path}.begun").exists():
        fork_keeper(_kept, path)
        work.wait_for(f"{path}.begun")
        _kept.clear()
        if path.endswith("dies"):
            os._exit(3)
    thin_out(_kept)
    return os.getpid(), wrong, filled(number)


def fork_keeper(kept, path):
    """Fork a child that looks after arrays until the test is over; return its process."""
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()  # out of the worker's group, which ends with the worker
        Path(f"{path}.begun").touch()
        wrong = []
        end = time.monotonic() + 2 * work.PATIENCE_SECONDS
        while not Path(path).with_name("over").exists() and time.monotonic() < end:
            wrong += changed(kept)
            time.sleep(CHECK_SECONDS)
        wrong += changed(kept)
        Path(f"{path}.part").write_text(f"{len(kept)} kept, changed {sorted(set(wrong))}")
        Path(f"{path}.part").rename(path)
    finally:
        os._exit(0)


def count_pieces():
    """Count the payloads that this process sends in pieces, and the pieces that it makes."""
    write, make = arena.Arena.write, arena.make_piece

    def counted_write(*arguments):
        piece = write(*arguments)
        _sent[0] += piece is not None
        return piece

    def counted_make(*arguments):
        _made[0] += 1
        return make(*arguments)

    _sent[0] = _made[0] = 0
    arena.Arena.write, arena.make_piece = counted_write, counted_make
    return write, make


def counts(_item=None):
    """Return how many payloads were sent in pieces, and how many pieces were made for them."""
    return _sent[0], _made[0]
