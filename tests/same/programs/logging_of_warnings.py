"""`logging.captureWarnings`: warnings become records."""

import logging
import warnings

from ways import go

logging.basicConfig(level=logging.WARNING, format="%(name)s %(levelname)s %(message)s")
logging.captureWarnings(True)
warnings.simplefilter("always")


def task(index):
    warnings.warn_explicit(f"task {index}", UserWarning, "shop.py", 7)
    return index


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main)
