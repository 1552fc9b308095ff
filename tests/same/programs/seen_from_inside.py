"""What tasks see of the interpreter: flags, encodings, the path, what is imported."""

import sys

from ways import go

sys.path.insert(0, "/nowhere/of/mine")
sys.setswitchinterval(0.01)


def task(index):
    streams = [(one.encoding, one.errors) for one in (sys.stdout, sys.stderr)]
    return tuple(sys.flags), sys.path[0], streams, sys.getdefaultencoding(), sys.executable, index


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main)
