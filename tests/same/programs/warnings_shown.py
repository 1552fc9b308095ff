"""A warning is shown once for its line."""

import warnings

from ways import go


def task(index):
    warnings.warn("careful", UserWarning, stacklevel=1)
    return index


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main)
