"""With `seed=` each task has a random stream of its own, told by the seed and the task's number.

So it is the same at every level, in any worker, order, attempt and resumed run. `random` and
NumPy's global generator are set from it before the task begins. Imports little, since every worker
imports it.
"""

import sys

from adaptive_exec.program.awaited import Arrivals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

Stream = tuple[int, int]
"""The seed, and the how-manieth batch of its executor it is, from 0."""
_SEED_BYTES = 16
"""Bytes of a task's seed: 128 bits, as numpy's SeedSequence has."""
_STATE_BYTES = 64
"""Bytes of which the seeds of the global generators are made."""
_NUMPY = "numpy.random"


class Seeder:
    """Sets this process's global generators, task by task."""

    def __init__(self) -> None:
        self._arrivals = Arrivals()
        self._words: list[int] = []

    def set(self, stream: Stream, task: int) -> None:
        """Set `random` and NumPy's global generator for a task; 20 us."""
        import random

        state = _digest(stream, task, b"global", _STATE_BYTES)
        random.seed(int.from_bytes(state[:32], "little"))
        self._words = [
            int.from_bytes(state[at : at + 4], "little") for at in range(32, _STATE_BYTES, 4)
        ]
        if _NUMPY in sys.modules:
            self._set_numpy()
        else:
            self._arrivals.await_module(_NUMPY, "seed", self._set_numpy)  # it may import it

    def forget(self) -> None:
        """Wait for nothing any more."""
        self._arrivals.forget()

    def _set_numpy(self) -> None:
        seed = getattr(sys.modules[_NUMPY], "seed", None)
        if seed is not None:
            seed(self._words)


in_worker = Seeder()
"""The one of a worker process, whose generators belong to its tasks."""


class Lent:
    """Global generators of the caller's process, lent to tasks and given back as they were."""

    def __init__(self) -> None:
        import random

        self._seeder = Seeder()
        self._random = random
        self._state = random.getstate()
        self._numpy = sys.modules.get(_NUMPY)
        self._numpy_state = None if self._numpy is None else self._numpy.get_state()

    def set(self, stream: Stream, task: int) -> None:
        """Set them for a task."""
        self._seeder.set(stream, task)

    def give_back(self) -> None:
        """Have the caller's own code go on where it was."""
        self._seeder.forget()
        self._random.setstate(self._state)
        if self._numpy is not None:
            self._numpy.set_state(self._numpy_state)


def seed_of(stream: Stream, task: int) -> int:
    """Return a number below 2^128 that only this task has."""
    return int.from_bytes(_digest(stream, task, b"seed", _SEED_BYTES), "little")


def generator_of(stream: Stream | None, task: int) -> "Any":
    """Make a NumPy Generator of a task's own stream; without a seed of one that nobody knows.

    Raises:
        ModuleNotFoundError: NumPy is not installed.
    """
    import numpy as np

    if stream is None:
        return np.random.default_rng()
    child = np.random.SeedSequence(stream[0], spawn_key=spawn_key(stream, task))
    return np.random.default_rng(child)


def spawn_key(stream: Stream, task: int) -> tuple[int, ...]:
    """Return the key of a task's SeedSequence; in the first batch it is the seed's child."""
    return (task,) if not stream[1] else (task, stream[1])


def _digest(stream: Stream, task: int, use: bytes, count: int) -> bytes:
    """Hash seed and task: as good as random, and the same wherever it is done."""
    blake2b: Callable[..., Any]
    try:
        from _blake2 import blake2b
    except ImportError:
        from hashlib import blake2b
    text = f"adaptive_exec {stream[0]} {spawn_key(stream, task)}".encode()
    digest: bytes = blake2b(text, digest_size=count, person=use).digest()
    return digest
