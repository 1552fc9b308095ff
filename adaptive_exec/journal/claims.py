"""Which tasks another instance has taken on, so that two on one journal never run the same task.

A claim is written before its tasks run and names its run; it counts for as long as that run's
process lives. Who is gone frees what it had claimed at once. Decides nothing else.
"""

import time

from adaptive_exec.config import ALIVE_SECONDS
from adaptive_exec.journal.owners import Owner, is_alive
from adaptive_exec.journal.store import Store


class Claims:
    """The claims of others, followed as they are written.

    Args:
        store: The journal's file.
        here: This process.
    """

    def __init__(self, store: Store, here: Owner) -> None:
        self._store = store
        self._here = here
        self._holders: dict[bytes, int] = {}
        self._last = 0
        self._alive: dict[int, float] = {}
        self._over: set[int] = set()

    def follow(self, key_bytes: int) -> None:
        """Take in the claims that were written since the last time, and look at runs anew."""
        self._alive.clear()
        for number, run, keys in self._store.claims_after(self._last):
            self._last = number
            if run not in self._over:
                for at in range(0, len(keys), key_bytes):
                    self._holders[keys[at : at + key_bytes]] = run

    def is_held(self, key: bytes) -> bool:
        """Say whether another living run has claimed a task."""
        run = self._holders.get(key)
        if run is None:
            return False
        if run not in self._over and time.monotonic() >= self._alive.get(run, 0.0):
            self._look()
        if run in self._over:
            del self._holders[key]
            return False
        return True

    def forget(self, keys: bytes, key_bytes: int) -> None:
        """Let go of claims whose tasks are done."""
        if self._holders:
            for at in range(0, len(keys), key_bytes):
                self._holders.pop(keys[at : at + key_bytes], None)

    def finished_runs(self) -> list[int]:
        """Return the runs that were seen to be over; their claims can be removed."""
        return list(self._over)

    def _look(self) -> None:
        """Look which runs are over."""
        now, until = time.time(), time.monotonic() + ALIVE_SECONDS
        for run, (owner, seen, ended) in self._store.runs().items():
            if run == self._store.run or run in self._over:
                continue
            if ended is None and is_alive(owner, self._here, silent_seconds=now - seen):
                self._alive[run] = until
            else:
                self._over.add(run)
