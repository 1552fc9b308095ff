"""Trades with the ledger as the run orders it; what cannot be had is said once. Decides nothing."""

import time
from collections.abc import Callable
from functools import partial

from adaptive_exec.core.events import ShareChanged
from adaptive_exec.core.instructions import TradeShare
from adaptive_exec.core.run import Run
from adaptive_exec.core.sharing.share import within_task
from adaptive_exec.core.snapshot import HostSnapshot
from adaptive_exec.core.trace import Trace
from adaptive_exec.engine import lanes as lane
from adaptive_exec.engine.ports import Hands, LedgerBook
from adaptive_exec.ledger.facts import Facts
from adaptive_exec.program.spaces import HERE


class Sharing:
    """This instance's place in the ledger.

    Args:
        hands: The loop.
        open_book: How to get at the ledger; asked when there is something to write in it.
    """

    def __init__(self, hands: Hands, open_book: Callable[[], LedgerBook]) -> None:
        self.has_traded = False
        self._hands = hands
        self._open_book = open_book
        self._book: LedgerBook | None = None
        self._error = ""

    def trade(self, order: TradeShare, run: Run, trace: Trace) -> None:
        """Trade with the ledger; while chunks are out, apart, since its disk may be slow."""
        self.has_traded = True
        trade = partial(self._trade_or_go_alone, order, run.host, _facts(run, trace))
        if run.flights:
            self._hands.apart(lane.TRADE, lambda: self._hands.post(trade()))
        else:
            self._hands.put(trade())

    def _trade_or_go_alone(
        self, order: TradeShare, host: HostSnapshot, facts: Facts
    ) -> ShareChanged:
        """Trade, or go on alone where it fails in any way; that is said once."""
        try:
            if self._book is None:
                self._book = self._open_book()
            share, trouble = self._book.trade(order, host, facts)
        except Exception as error:  # noqa: BLE001  # by origin: no memory for it, for one
            said, self._error = self._error, f"{type(error).__name__}: {error}"
            return ShareChanged(time.monotonic(), None, "" if said else self._error)
        if share is not None and HERE.is_worker:
            share = within_task(share)
        return ShareChanged(time.monotonic(), share, trouble)

    def close(self) -> None:
        """End the lease."""
        if self._book is not None:
            self._book.close()

    def let_go(self) -> None:
        """In a forked child: close the descriptors."""
        if self._book is not None:
            self._book.let_go()


def _facts(run: Run, trace: Trace) -> Facts:
    limit = run.host.limit_bytes
    marks = dict(run.verdict.reason.facts)
    return Facts(
        peak_bytes=trace.peak_task_bytes or 0,
        warn_bytes=limit - int(marks.get("warn") or limit),
        critical_bytes=limit - int(marks.get("critical") or limit),
        decisions=trace.last_lines(),
    )
