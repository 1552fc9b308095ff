"""Many instances on one simulated host: each a Run of its own, with one ledger and one clock.

They arrive and are killed when they are told to; what each gets done is noted by the second. The
shares are those of the real policy over the real claims.
"""

import heapq
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from adaptive_exec.config import Config
from adaptive_exec.core import instructions as ins
from adaptive_exec.core.sharing.share import Claim, Pool, Share
from adaptive_exec.sim.driver import SimDriver
from adaptive_exec.sim.machine import SimHost


@dataclass(frozen=True, slots=True)
class Stay:
    """One instance's time on the host.

    Attributes:
        arrives: Seconds.
        tasks: Seconds of each of its tasks.
        killed: Seconds at which it is killed; None when it ends by itself.
    """

    arrives: float
    tasks: Sequence[float]
    killed: float | None = None


@dataclass(slots=True)
class CrowdResult:
    """What became of it.

    Attributes:
        work: Seconds of work that each instance finished, by instance and by second of the clock.
        running: Tasks that ran at once over all instances, by second, the highest in each.
        shares: What each instance may have, and from when on, by instance.
        ended: When each instance was done, by instance; those killed are missing.
    """

    work: dict[int, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    running: dict[int, int] = field(default_factory=dict)
    shares: dict[int, list[tuple[float, Share]]] = field(default_factory=lambda: defaultdict(list))
    ended: dict[int, float] = field(default_factory=dict)


def simulate_crowd(
    config: Config, host: SimHost, stays: Sequence[Stay], *, until: float
) -> CrowdResult:
    """Run instances beside each other on a simulated host.

    Args:
        config: The settings of each.
        host: The host that they share.
        stays: The instances.
        until: Seconds at which to stop.

    Returns:
        What each got done; the same for the same arguments.
    """
    return _Crowd(config, host, stays).run(until)


class _Crowd:
    def __init__(self, config: Config, host: SimHost, stays: Sequence[Stay]) -> None:
        self._config = config
        self._host = host
        self._stays = stays
        self._claims: dict[int, Claim] = {}
        self._pools: dict[int, Pool] = {}
        self._drivers: dict[int, SimDriver] = {}
        self._heap: list[tuple[float, int, int]] = []
        self._order = count()
        self._now = 0.0
        self._running = self._elsewhere = 0
        self._result = CrowdResult()

    def run(self, until: float) -> CrowdResult:
        """Let time pass."""
        for number, stay in enumerate(self._stays):
            self._push(stay.arrives, number)
            if stay.killed is not None:
                self._push(stay.killed, number)
        while self._heap and self._heap[0][0] <= until:
            self._now, _, number = heapq.heappop(self._heap)
            self._step(number)
        return self._result

    def _push(self, at: float, number: int) -> None:
        heapq.heappush(self._heap, (at, next(self._order), number))

    def _step(self, number: int) -> None:
        stay = self._stays[number]
        if stay.killed is not None and self._now >= stay.killed:
            self._forget(number)
            return
        if number in self._result.ended:
            return
        driver = self._drivers.get(number) or self._arrive(number)
        before, done = driver.running, driver.trace.compute_seconds
        self._elsewhere = self._running - before
        while not driver.is_finished and driver.next_at <= self._now:
            driver.step()
            self._note_share(number, driver.share)
        self._running = self._elsewhere + driver.running
        self._note(number, driver.trace.compute_seconds - done)
        if driver.is_finished:
            self._result.ended[number] = self._now
            self._forget(number)
        else:
            self._push(driver.next_at, number)

    def _arrive(self, number: int) -> SimDriver:
        driver = self._drivers[number] = SimDriver(
            self._config,
            replace(self._host, neighbour=lambda _: self._elsewhere * self._host.task_bytes),
            trade=lambda order: self._trade(number, order),
            beside=lambda: self._elsewhere,
        )
        driver.clock.skip_to(self._now)
        driver.begin([self._stays[number].tasks])
        return driver

    def _forget(self, number: int) -> None:
        driver = self._drivers.pop(number, None)
        self._claims.pop(number, None)
        self._pools.pop(number, None)
        if driver is not None:
            self._running -= driver.running

    def _note(self, number: int, seconds: float) -> None:
        second = int(self._now)
        mine = self._result.work[number]
        mine[second] = mine.get(second, 0.0) + seconds
        self._result.running[second] = max(self._result.running.get(second, 0), self._running)

    def _note_share(self, number: int, share: Share | None) -> None:
        told = self._result.shares[number]
        if share is not None and (not told or told[-1][1] is not share):
            told.append((self._now, share))

    def _trade(self, number: int, order: ins.TradeShare) -> Share:
        arrived = self._stays[number].arrives
        own = order.claim._replace(name=f"{number:06}", arrived_at=arrived)
        others = [claim for other, claim in self._claims.items() if other != number]
        pool = self._pools.setdefault(number, Pool())
        share, self._claims[number] = pool.deal(
            own, others, cores=order.cores, room_bytes=order.room_bytes, now=self._now
        )
        return share
