"""Print the seconds from before an executor is made to its first result: `... HOW WHERE`.

HOW is adaptive, spawn, fork, forkserver or loky; WHERE is module or main, where the function lives.
Two numbers: the first executor of the process, with the imports that it brings on, and the second,
which finds them done.
"""

import sys
import time

from tasks import identity as module_function


def main_function(value):
    return value


def open_adaptive(workers):
    from adaptive_exec import adaptive_executor

    return adaptive_executor(
        isolate=True, max_workers=workers, inner_threads=1
    )  # as with a worker per core


def open_standard(how, workers):
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context(how))


def open_loky(workers):
    import loky

    return loky.ProcessPoolExecutor(workers)


def open_executor(how, workers):
    if how == "adaptive":
        return open_adaptive(workers)
    return open_loky(workers) if how == "loky" else open_standard(how, workers)


def measure(how, function):
    before = time.perf_counter()
    with open_executor(how, 2) as executor:
        assert executor.submit(function, 7).result() == 7
        return time.perf_counter() - before


if __name__ == "__main__":
    _, how, where = sys.argv
    function = module_function if where == "module" else main_function
    print(measure(how, function), measure(how, function))
