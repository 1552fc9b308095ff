"""Context variables that are set before the batch, and in it."""

import contextvars

from ways import go

USER = contextvars.ContextVar("USER", default="nobody")
DEPTH = contextvars.ContextVar("DEPTH")
USER.set("ada")


def task(index):
    token = DEPTH.set(index)
    try:
        return USER.get(), DEPTH.get(), contextvars.copy_context()[USER]
    finally:
        DEPTH.reset(token)


def main(each):
    first = each(task)
    USER.set("bob")
    return first, each(task)


if __name__ == "__main__":
    go(main)
