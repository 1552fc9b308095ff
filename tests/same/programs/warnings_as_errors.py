"""Warnings of one kind are errors, others are ignored."""

import warnings

from ways import go

warnings.simplefilter("ignore")
warnings.filterwarnings("error", message="old.*", category=DeprecationWarning)


def task(index):
    try:
        warnings.warn("young", DeprecationWarning, stacklevel=1)
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)
    except DeprecationWarning as error:
        return index, str(error)
    return index, "nothing"


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main)
