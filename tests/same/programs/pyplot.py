"""pyplot with rcParams and a backend that were chosen."""

import hashlib
import io

import matplotlib as mpl
import matplotlib.pyplot as plt
from ways import go

mpl.use("svg")
plt.rcParams["figure.figsize"] = (2, 1)
plt.rcParams["lines.linewidth"] = 3
plt.rcParams["svg.hashsalt"] = "same"


def task(index):
    figure, axes = plt.subplots()
    axes.plot([index, 1, 2])
    held = io.StringIO()
    figure.savefig(held, metadata={"Date": None})
    plt.close(figure)
    drawn = hashlib.sha256(held.getvalue().encode()).hexdigest()
    return drawn, tuple(figure.get_size_inches()), plt.get_backend().lower(), plt.get_fignums()


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main, many=12)
