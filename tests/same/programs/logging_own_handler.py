"""A handler of the program's own gathers records in a list."""

import logging

from ways import go


class Gather(logging.Handler):
    def __init__(self):
        super().__init__()
        self.seen = []

    def emit(self, record):
        self.seen.append((record.name, record.getMessage(), record.key))


gather = Gather()
logging.getLogger("shop").addHandler(gather)
logging.getLogger("shop").setLevel("INFO")


def task(index):
    logging.getLogger("shop.till").info("sold %s", index, extra={"key": f"k{index}"})
    return index


def main(each):
    return each(task), sorted(gather.seen)


if __name__ == "__main__":
    go(main)
