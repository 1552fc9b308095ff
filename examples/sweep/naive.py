"""The same as it was written first: all results are kept, and saved once, at the end."""

import csv
import pathlib
import sys

import numpy as np
from sweep import evolve


def main(output: str) -> None:
    """Sweep over all points."""
    results = [
        (weight, beta, *evolve(weight, beta))
        for weight in np.linspace(0.1, 1.0, 10)
        for beta in np.linspace(1.0, 10.0, 10)
    ]
    with pathlib.Path(output).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["lambda", "beta", "minimum", "tried"])
        writer.writerows([w, b, found.fun, len(history)] for w, b, found, history in results)


if __name__ == "__main__":
    main(sys.argv[1])
