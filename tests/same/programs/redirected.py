"""`redirect_stdout` and `redirect_stderr` around the batch, and inside tasks."""

import contextlib
import io
import sys

from ways import go


def task(index):
    print("outside", index)
    held = io.StringIO()
    with contextlib.redirect_stdout(held):
        print("inside", index)
    print("to stderr", index, file=sys.stderr)
    return held.getvalue()


def main(each):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        given = each(task)
    print("after")
    return given, sorted(out.getvalue().splitlines()), sorted(err.getvalue().splitlines())


if __name__ == "__main__":
    go(main)
