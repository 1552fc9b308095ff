"""Turns a batch of rows into sums over a large intermediate table."""

import numpy as np

ROWS = 10_000
COLUMNS = 1_000


def transform(number: int) -> dict[str, object]:
    """Return the sums of one batch, which grows to 80 MB on the way."""
    rows = np.random.default_rng(number).normal(size=(ROWS, 1))
    table = rows * np.arange(1, COLUMNS + 1)
    return {
        "batch": number,
        "rows": ROWS,
        "total": round(float(table.sum()), 3),
        "largest": round(float(table.max()), 6),
    }
