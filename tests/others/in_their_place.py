"""Puts our pools in the place of the standard ones, as a plugin of pytest: `-p in_their_place`.

Before anything of the suite is imported, so that `from concurrent.futures import ...` finds ours.
"""

import concurrent.futures
import concurrent.futures.process
import concurrent.futures.thread
import multiprocessing.context
import multiprocessing.pool

from adaptive_exec import ProcessPoolExecutor, ThreadPoolExecutor
from adaptive_exec.clients.multiprocessing import ProcessPool, ThreadPool


def _pool(context, processes=None, initializer=None, initargs=(), maxtasksperchild=None):
    return ProcessPool(
        processes, initializer, initargs, maxtasksperchild, context=context.get_context()
    )


concurrent.futures.ProcessPoolExecutor = ProcessPoolExecutor
concurrent.futures.process.ProcessPoolExecutor = ProcessPoolExecutor
concurrent.futures.ThreadPoolExecutor = ThreadPoolExecutor
concurrent.futures.thread.ThreadPoolExecutor = ThreadPoolExecutor
multiprocessing.context.BaseContext.Pool = _pool
multiprocessing.Pool = multiprocessing.get_context().Pool
multiprocessing.pool.ThreadPool = ThreadPool
