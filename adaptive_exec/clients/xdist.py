"""pytest's plugin for `pytest -n auto`: as many workers as this host affords beside its neighbours.

Asked for by `-p adaptive_exec.clients.xdist`; the package's own parts are loaded where xdist asks.
The answer is a share in the ledger like any executor's, kept while the tests run: several suites,
and executors beside them, get a part each. pytest-xdist itself counts the host's cores, whatever
else runs there.
"""

import os
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from adaptive_exec.core.sharing.share import Share
    from adaptive_exec.core.snapshot import HostSnapshot

WORKER_MEMORY: Final = "256MiB"
"""What a worker of pytest is reckoned to take. Source: own choice; pytest itself takes 40 MB, with
NumPy and pandas 130 MB, and tests come on top."""
MEMORY_OPTION: Final = "adaptive_worker_memory"
XDISTS_OWN: Final = "PYTEST_XDIST_AUTO_NUM_WORKERS"
"""A variable by which users tell xdist the number; it is left to do what it does."""


class _Tenancy:
    """A place in the ledger for workers that are not ours.

    Args:
        memory: What one is reckoned to take, a size.
    """

    def __init__(self, memory: str) -> None:
        from adaptive_exec.config import parse_size
        from adaptive_exec.host.survey import take_snapshot
        from adaptive_exec.ledger.leases import Ledger

        self._host = take_snapshot()
        self._each = parse_size(MEMORY_OPTION, memory, limit_bytes=self._host.limit_bytes)
        self._ledger = Ledger("pytest -n auto")
        share = self._trade(self._host.usable_cores, held=0)
        self.count = fitting(share, self._host, room_bytes=self._room_bytes(), each=self._each)
        self._trade(self.count, held=self.count)
        self.why = self._tell(share)

    def close(self) -> None:
        """Give the place back."""
        self._ledger.close()

    def _trade(self, wanted: int, *, held: int) -> "Share | None":
        from adaptive_exec.core.instructions import Standing, TradeShare
        from adaptive_exec.core.sharing.share import Claim

        claim = Claim(
            "",
            0.0,
            wanted_slots=wanted,
            held_slots=held,
            unit_bytes=self._each,
            wanted_bytes=wanted * self._each,
            held_bytes=held * self._each,
        )
        standing = Standing("process", held, held, 0, None, "normal")
        order = TradeShare(claim, self._host.usable_cores, self._room_bytes(), standing)
        return self._ledger.trade(order, self._host).share

    def _room_bytes(self) -> int:
        from adaptive_exec.config import Config
        from adaptive_exec.core.memory.governor import set_marks

        return max(0, set_marks(self._host, Config()).most_bytes - self._host.used_bytes)

    def _tell(self, share: "Share | None") -> str:
        beside = "" if share is None else f", other instances {share.instances - 1}"
        room = self._room_bytes() / 2**20
        return (
            f"adaptive_exec: {self.count} workers; {self._host.usable_cores} cores{beside}, "
            f"room for {room:.0f} MiB, {self._each / 2**20:.0f} MiB for each"
        )


_TENANCY: Final = pytest.StashKey[_Tenancy]()


def fitting(share: "Share | None", host: "HostSnapshot", *, room_bytes: int, each: int) -> int:
    """Say how many workers fit.

    Args:
        share: What the ledger leaves, None without one.
        host: Its cores.
        room_bytes: Memory that can still be taken.
        each: Bytes that one takes.

    Returns:
        1 or more.
    """
    slots = host.usable_cores if share is None else share.slots
    if share is not None and share.slot_bytes is not None:
        room_bytes = min(room_bytes, share.slot_bytes)
    return max(1, min(slots, room_bytes // each))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a suite say what its workers take."""
    text = "memory that a worker of `-n auto` is reckoned to take, such as 1GiB"
    parser.addini(MEMORY_OPTION, text, default=WORKER_MEMORY)


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Answer xdist from cores, memory and the ledger."""
    if os.environ.get(XDISTS_OWN):
        return None
    tenancy = config.stash[_TENANCY] = _Tenancy(config.getini(MEMORY_OPTION))
    return tenancy.count


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what was answered, and why."""
    tenancy = config.stash.get(_TENANCY, None)
    return [] if tenancy is None else [tenancy.why]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave the ledger."""
    tenancy = config.stash.get(_TENANCY, None)
    if tenancy is not None:
        tenancy.close()
