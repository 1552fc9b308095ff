"""`logging.config.dictConfig` with filters, a child logger that does not propagate, extra fields."""

import logging
import logging.config

from ways import go


class Only(logging.Filter):
    def filter(self, record):
        record.shown = record.args[0] % 3
        return record.shown != 1


logging.config.dictConfig({
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"only": {"()": Only}},
    "formatters": {"plain": {"format": "%(name)s %(shown)d %(message)s"}},
    "handlers": {
        "out": {
            "class": "logging.StreamHandler", "stream": "ext://sys.stdout",
            "formatter": "plain", "filters": ["only"],
        }
    },
    "loggers": {"a.b": {"level": "DEBUG", "handlers": ["out"], "propagate": False}},
})  # fmt: skip


def task(index):
    logging.getLogger("a.b").debug("deep %d", index)
    logging.getLogger("a.b.c").info("deeper %d", index)
    return logging.getLogger("a.b").getEffectiveLevel()


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main)
