"""Tasks that an unprivileged interpreter can import by name."""

import os
import time


def nap(number):
    time.sleep(0.002)
    return number


class UnforkableAtLoading:
    """A function that is loaded by importing a module after which the loader cannot fork."""

    def __call__(self, number):
        return nap(number)

    def __reduce__(self):
        return import_unforkable, ()


def import_unforkable():
    import unforkable

    return unforkable.nap


def pid_of(number):
    time.sleep(0.002)
    return os.getpid()
