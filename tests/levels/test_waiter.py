"""Where the driver sleeps: who wakes it, and who comes while another thread waits there."""

import os
import threading
import time

from adaptive_exec.levels.waiter import Waiter
from tests.levels.leaks import eventually

LONG_SECONDS = 150.0


def test_who_comes_while_another_waits_takes_nothing_and_the_other_is_woken_all_the_same():
    waiter, read_end, write_end, due = Waiter(), *os.pipe(), []
    waiter.watch(read_end, print)
    waiter.wait(0.0)
    first = threading.Thread(target=lambda: due.extend(waiter.wait(LONG_SECONDS)))
    first.start()
    try:
        assert eventually(lambda: waiter._asleep)
        time.sleep(0.05)  # until it stands in the kernel
        began = time.monotonic()
        assert [waiter.wait(LONG_SECONDS) for _ in range(3)] == [[], [], []]
        assert time.monotonic() - began < LONG_SECONDS / 5
        os.write(write_end, b"x")
        first.join(LONG_SECONDS / 3)
        assert [handler for handler, _ in due] == [print]
        os.read(read_end, 1)

        second = threading.Thread(target=waiter.wait, args=(LONG_SECONDS,))
        second.start()
        assert eventually(lambda: waiter._asleep)
        waiter.wait(LONG_SECONDS)
        waiter.wake()
        second.join(LONG_SECONDS / 3)
        assert not second.is_alive()
    finally:
        waiter.wake()
        first.join(LONG_SECONDS)
        waiter.close()
        os.close(read_end)
        os.close(write_end)
