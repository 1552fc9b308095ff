"""Tasks print to both streams, in pieces, lines and bytes."""

import sys

from ways import go


def task(index):
    print("task", index, end=" ... ")
    print("done", flush=index % 2 == 0)
    print(f"careful {index}", file=sys.stderr)
    sys.stdout.buffer.write(b"bytes \xc3\xa9\n")
    sys.stdout.write("a\nb\n")
    return index


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main)
