"""The same as it was written first: the whole table, every row a dictionary."""

import sys
from multiprocessing import Pool

import pandas as pd
from labels import label


def main(table: str, output: str, limit: int) -> None:
    """Label the first so many rows, all of which are loaded."""
    frame = pd.read_parquet(table)
    rows = frame.to_dict("records")
    with Pool(2) as pool:
        labels = pool.map(label, rows[:limit])
    pd.DataFrame(labels).to_csv(output)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
