"""Which tasks another instance has taken on, so that two on one journal never run the same task.

A claim is written before its tasks run and names its run; it counts for as long as that run lives.
Who is proved to be gone frees what it had claimed at once. Decides nothing else.
"""

import time
from collections.abc import Callable
from typing import Final

from adaptive_exec.journal.lives import Lives
from adaptive_exec.journal.store import Store

ALIVE_SECONDS: Final = 0.2
"""Seconds for which an instance seen alive is not looked at again."""


class Claims:
    """The claims of others, followed as they are written.

    Args:
        store: The journal's file.
        clock: Monotonic seconds.
    """

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._lives = Lives(store.path, has_locks=store.has_locks, clock=clock)
        self._holders: dict[bytes, int] = {}
        self._last = 0
        self._claimants: set[int] = set()
        self._alive: set[int] = set()
        self._look_at = 0.0
        self._gone: list[int] = []

    def follow(self, key_bytes: int) -> None:
        """Take in the claims that were written since the last time, and look at runs anew."""
        self._look()
        for number, run, keys in self._store.claims_after(self._last):
            self._last = number
            if run not in self._gone:
                self._claimants.add(run)
                for at in range(0, len(keys), key_bytes):
                    self._holders[keys[at : at + key_bytes]] = run

    def is_held(self, key: bytes) -> bool:
        """Say whether another living run has claimed a task."""
        run = self._holders.get(key)
        if run is None:
            return False
        if run not in self._alive or self._clock() >= self._look_at:
            self._look()
        return key in self._holders

    def forget(self, keys: bytes, key_bytes: int) -> None:
        """Let go of claims whose tasks are done."""
        if self._holders:
            for at in range(0, len(keys), key_bytes):
                self._holders.pop(keys[at : at + key_bytes], None)

    def clear_gone(self) -> None:
        """Remove from the journal what runs had claimed that were seen to be gone."""
        gone, self._gone = self._gone, []
        if gone:
            self._store.end_runs(gone)

    def _look(self) -> None:
        """Look which runs live, and let go of the claims of those that do not."""
        self._look_at = self._clock() + ALIVE_SECONDS
        runs = self._store.open_runs()
        self._gone = self._lives.find_gone(runs)
        self._alive = runs.keys() - set(self._gone)
        if over := self._claimants - self._alive:
            self._claimants -= over
            self._holders = {key: run for key, run in self._holders.items() if run not in over}
