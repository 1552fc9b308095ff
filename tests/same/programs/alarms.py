"""Signals in tasks: a time-out by SIGALRM, and a handler of the program's."""

import signal

from ways import go


class TooLongError(Exception):
    pass


def on_alarm(*_):
    raise TooLongError


def task(index):
    before = signal.signal(signal.SIGALRM, on_alarm)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        while index >= 0:
            pass
    except TooLongError:
        return "too long", signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main, many=12)
