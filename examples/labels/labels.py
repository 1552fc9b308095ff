"""Fits a plane curve to each geometry and names its class; makes the table to try it on."""

import sys

import numpy as np
from scipy.optimize import minimize

CLASSES = ("flat", "tilted", "steep")
PARTS = 20


def label(record: dict[str, float]) -> dict[str, object]:
    """Return the class of one row, which is given by two of the table's columns."""
    slope, bend = record["slope"], record["bend"]

    def energy(point: np.ndarray) -> float:
        x, y = point
        return (x - slope) ** 2 + 4 * (y - x * bend) ** 2

    found = minimize(energy, np.zeros(2), method="Nelder-Mead", options={"maxiter": 100})
    steepness = min(2, int(abs(found.x[0])))
    return {"class": CLASSES[steepness], "energy": round(float(found.fun), 6), "ok": found.success}


def make_table(path: str, rows: int = 20_000, columns: int = 200) -> None:
    """Write a table of many columns, two of which matter, a part of the rows at a time."""
    import pyarrow as pa
    from pyarrow import parquet

    random = np.random.default_rng(7)
    names = ["slope", "bend", *(f"feature_{number}" for number in range(columns - 2))]
    schema = pa.schema([(name, pa.float64()) for name in names])
    with parquet.ParquetWriter(path, schema) as file:
        for _ in range(PARTS):
            part = random.normal(size=(columns, rows // PARTS))
            file.write_table(pa.table(dict(zip(names, part, strict=True)), schema=schema))


if __name__ == "__main__":
    make_table(sys.argv[1])
