"""The program's own words, name, file and documentation, in tasks."""

import inspect
import sys

from ways import go

LEVEL = "info" if "--quiet" not in sys.argv else "error"


def task(index):
    import __main__

    where = __main__.__file__ == __file__, __name__, __main__.LEVEL
    return sys.argv[1:], where, __doc__, inspect.getsource(task).count("\n"), index


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main)
