"""Run a batch of which some tasks are odd, as if a kernel's kill would end this program as well.

Arguments: what the odd ones do, settings as JSON. Says as JSON what became of all.
"""

import json
import sys
import time

from adaptive_exec import PoisonTaskError, adaptive_executor
from adaptive_exec.host import survey

MB = 1 << 20
ODD = {17, 31}
TASKS = 48


def at_one_stroke():
    return len(b"x" * (800 * MB))


def little_by_little():
    return len([bytes(MB) for _ in range(800)])


def behind_an_import():
    import wave  # some module that nobody has loaded

    return len(b"x" * (800 * MB)) + len(wave.__name__)


def wrapped():
    try:
        return at_one_stroke()
    except MemoryError as error:
        raise RuntimeError("there is no room for it") from error


def caught():
    try:
        return at_one_stroke()
    except MemoryError:
        return -1


def raised():
    raise MemoryError("this is what it says")


def reserved():
    import mmap

    held = mmap.mmap(-1, 200 * MB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    held[0] = 1
    time.sleep(0.01)
    held.close()
    return -2


def threads():
    import threading

    stop = threading.Event()
    some = [threading.Thread(target=stop.wait) for _ in range(20)]
    for one in some:
        one.start()
    stop.set()
    for one in some:
        one.join()
    return -3


def large():
    block = bytearray(b"x") * (150 * MB)
    time.sleep(0.05)
    return len(block)


def sleeping():
    time.sleep(60)
    return -4


KINDS = {
    one.__name__: one
    for one in (
        *(at_one_stroke, little_by_little, behind_an_import, wrapped, caught, raised, reserved),
        *(threads, large, sleeping),
    )
}


def task(number, odd):
    if number in ODD:
        return KINDS[odd]()
    block = b"x" * (10 * MB)
    time.sleep(0.02)
    return number + len(block) - 10 * MB


if __name__ == "__main__":
    odd, settings = sys.argv[1], json.loads(sys.argv[2])
    if settings.pop("wide", True):
        survey.read_wide_kill = lambda *_: "as it is said"
    said = {"right": [], "odd": {}}
    with adaptive_executor(range(TASKS), **settings) as executor:
        for one in executor.outcomes(task, range(TASKS), [odd] * TASKS):
            if one.index not in ODD:
                said["right"] += [one.index] * (one.value == one.index)
            elif one.error is None:
                said["odd"][one.index] = one.value
            else:
                error = one.error
                cause = error.cause if isinstance(error, PoisonTaskError) else str(error)
                said["odd"][one.index] = [type(error).__name__, cause, getattr(error, "stack", "")]
    print(json.dumps(said))
