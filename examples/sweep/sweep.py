"""Finds the minimum of a rough landscape for one pair of lambda and beta."""

import numpy as np
from scipy.optimize import OptimizeResult, differential_evolution

from adaptive_exec import adaptive_executor

HISTORY_ROWS = 250_000
"""What an evolution goes through, as rows of eight numbers: 16 MB for each point."""


def evolve(weight: float, beta: float) -> tuple[OptimizeResult, np.ndarray]:
    """Return the best point, and all that was tried on the way."""

    def cost(x: np.ndarray) -> float:
        return float(np.sum(x**2) + weight * np.sum(np.abs(np.sin(beta * x))))

    with adaptive_executor(max_workers=2, levels=("thread", "sequential")) as ex:  # a cost is tiny
        found = differential_evolution(
            cost,
            [(-3, 3)] * 2,
            rng=1,
            maxiter=20,
            popsize=5,
            tol=0,
            workers=ex.map,
            updating="deferred",
        )
    history = np.tile(np.array([*found.x, found.fun, weight, beta, 0, 0, 0]), (HISTORY_ROWS, 1))
    return found, history


def point(record: dict[str, float]) -> dict[str, object]:
    """Return the row of a point; its history is looked at and let go."""
    found, history = evolve(record["lambda"], record["beta"])
    return {
        "x": round(float(found.x[0]), 9),
        "y": round(float(found.x[1]), 9),
        "minimum": round(float(found.fun), 9),
        "tried": len(history),
    }
