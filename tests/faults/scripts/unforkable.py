"""A module that makes whoever imports it unable to fork: ENOMEM. No page of memory is touched.

Under the kernel's heuristic overcommit one mapping larger than all memory is refused. Two adjacent
ones, each smaller, become one, and the copy that a fork makes of it is refused.
"""

import errno
import mmap
import os
import time


def map_too_much():
    size = int(os.sysconf("SC_PHYS_PAGES") * 0.6) * os.sysconf("SC_PAGE_SIZE")
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    return [mmap.mmap(-1, size, flags=flags) for _ in range(2)]


def check_that_no_fork_is_to_be_had():
    try:
        pid = os.fork()
    except OSError as error:
        if error.errno == errno.ENOMEM:
            return
        raise
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    raise RuntimeError("this process can fork all the same")


def nap(number):
    time.sleep(0.002)
    return number


HELD = map_too_much()
check_that_no_fork_is_to_be_had()
