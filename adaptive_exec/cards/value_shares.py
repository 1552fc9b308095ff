"""How often each value of a column came, of a run's rows: what a card's `shares` asks for.

Keeps a bounded number of values a column; what comes beyond them counts together.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from adaptive_exec.cards.cells import Row

VALUES_MAX: Final = 20
"""Values of a column that are told apart; a column with more is no class."""
OTHERS: Final = "others"
"""What values beyond those are called."""
MISSING: Final = "none"
"""What a row without the column counts as: that of a task that failed."""


class Shares:
    """Counts the values of some columns.

    Args:
        columns: Their names.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._counts: dict[str, Counter[str]] = {column: Counter() for column in columns}

    def add(self, row: Row) -> None:
        """Count a row."""
        for column, counts in self._counts.items():
            cell = row.get(column)
            value = MISSING if cell is None else str(cell)
            counts[value if value in counts or len(counts) < VALUES_MAX else OTHERS] += 1

    def lines(self) -> list[str]:
        """Return a line for each column, the most frequent value first.

        >>> shares = Shares(["class"])
        >>> for name in ("flat", "steep", "flat"):
        ...     shares.add({"class": name})
        >>> shares.lines()
        ['class: flat 66.7 % (2), steep 33.3 % (1)']
        """
        return [
            f"{column}: {', '.join(_share(*one, counts.total()) for one in counts.most_common())}"
            for column, counts in self._counts.items()
            if counts
        ]


def _share(value: str, count: int, total: int) -> str:
    return f"{value} {100 * count / total:.1f} % ({count})"
