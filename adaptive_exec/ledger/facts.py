"""What goes into a trade with the ledger beside the claim, and what comes out. Decides nothing."""

from typing import NamedTuple

from adaptive_exec.core.sharing.share import Share


class Facts(NamedTuple):
    """What the driver adds to a claim: measured, or for people to read.

    Attributes:
        peak_bytes: Highest growth measured in one of its tasks, 0 where unknown.
        warn_bytes: Use of memory at which it takes on no more, 0 where unknown.
        critical_bytes: Use of memory at which it stops workers, 0 where unknown.
        decisions: Its last decisions as lines, oldest first.
    """

    peak_bytes: int = 0
    warn_bytes: int = 0
    critical_bytes: int = 0
    decisions: tuple[str, ...] = ()


class Traded(NamedTuple):
    """What a trade brought.

    Attributes:
        share: What this instance may have; None where the ledger cannot be used.
        trouble: What was wrong, said once; else `""`.
    """

    share: Share | None
    trouble: str = ""
