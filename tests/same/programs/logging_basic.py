"""`logging.basicConfig`: levels, formats, exceptions."""

import logging

from ways import go

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(funcName)s %(message)s")
log = logging.getLogger("mine")


def task(index):
    log.info("task %d", index)
    log.debug("not asked for")
    try:
        1 / (index % 2)
    except ZeroDivisionError as error:
        log.warning("it failed: %r", error)
    return log.isEnabledFor(logging.DEBUG)


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main)
