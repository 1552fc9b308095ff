"""What the tasks of a simulated run take of memory, and how much that was at most.

A chunk takes all it ever takes at once, and gives it back at its end.
"""

from adaptive_exec.core import events as ev
from adaptive_exec.core.instructions import SendChunk
from adaptive_exec.sim.machine import SimHost


class SimMemory:
    """Keeps account of a simulated host's memory.

    Attributes:
        taken_bytes: What the running chunks take.
        most_bytes: The most that they and others took at once.
        deaths: Chunks for which there was not enough.
    """

    def __init__(self, host: SimHost) -> None:
        self._host = host
        self._by_worker: dict[int, int] = {}
        self._workers: dict[int, int] = {}
        self.taken_bytes = 0
        self.most_bytes = 0
        self.deaths = 0

    def take(self, order: SendChunk, needed: int, at: float) -> bool:
        """Let a chunk take so many bytes; return whether there was enough."""
        room = self._host.room_bytes(at)
        self._workers[order.chunk] = order.worker
        self._by_worker[order.worker] = needed
        self.taken_bytes += needed
        others = self._host.memory_bytes - room
        self.most_bytes = max(self.most_bytes, self.taken_bytes + others)
        fits = self.taken_bytes <= room
        self.deaths += not fits
        return fits

    def see(self, event: ev.Event) -> None:
        """Take back what belongs to a chunk that is over."""
        if isinstance(event, ev.ChunkDone):
            self._release(self._workers.pop(event.chunk, None))
        elif isinstance(event, ev.WorkerLost):
            self._release(event.worker)

    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Return what each worker has, as `(worker, bytes)`."""
        return tuple(self._by_worker.items())

    def _release(self, worker: int | None) -> None:
        if worker is not None:
            self.taken_bytes -= self._by_worker.pop(worker, 0)
