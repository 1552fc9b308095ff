"""Runs the program that imports this one way after the other, each in a fork of its own.

A program sets itself up, as it would for a loop, and calls `go(main)`; `main(each)` computes with
`each(task)`, a list of what the task gives for 0, 1, ... The process was set up once, so all ways
begin alike; what one prints, logs and gives goes into files named after it.
"""

import json
import logging
import os
import signal
import sys
import traceback
from contextlib import contextmanager
from functools import partial

PLAIN = {"loop", "pool-fork", "pool-spawn"}
KILLED, RECYCLED = "killed", "recycled"
SOME, MANY = 6, 300
"""Tasks of ways in which workers are killed or replaced; the most of any other."""


def settings_of(way):
    """Return how many tasks a way has, and the settings of its executor; None for none."""
    level, _, kind = way.partition(" ")
    tasks = SOME if kind in (KILLED, RECYCLED) else int(kind)
    common = {"share_host": False, "max_workers": 1, "retries": 3}
    if level == "loop" or "pool" in level:
        return tasks, None
    if level in ("thread", "sequential"):
        return tasks, {**common, "levels": (level,)}
    if kind == RECYCLED:
        common["max_tasks_per_worker"] = 2
    if level == "workers":
        return tasks, {**common, "max_workers": 2}
    return tasks, {**common, "isolate": True, "start": None if level == "process" else level}


def first_time(path):
    """Say whether nobody has asked this before."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    return True


def doomed(task, at, path, index):
    """End the worker of one task the first time it runs, then be that task."""
    if index == at and first_time(path):
        os.kill(os.getpid(), signal.SIGKILL)
    return task(index)


@contextmanager
def opened(way, *, seed=None, many=MANY, **more):
    """Give `each`, which runs a task for 0, 1, ... in the way that is named."""
    tasks, settings = settings_of(way)
    tasks = min(tasks, many)
    level, _, kind = way.partition(" ")
    if level == "loop" and seed is not None:  # seeded draws are the caller's own thread's
        settings = {**settings_of("sequential 3")[1]}
    if settings is None and level == "loop":
        yield lambda task: [task(index) for index in range(tasks)]
        return
    if settings is None:
        with _pool(level) as pool:
            yield lambda task: list(pool.map(task, range(tasks)))
        return
    from adaptive_exec import adaptive_executor

    logging.getLogger("adaptive_exec").setLevel(logging.CRITICAL)  # what it says is no task's
    counter = iter(range(1000))
    with adaptive_executor(**settings, seed=seed, **more) as executor:

        def each(task):
            if kind == KILLED:
                mark = os.path.join(os.environ["SAME_FOLDER"], f"{level}-{next(counter)}")
                task = partial(doomed, task, tasks // 2, mark)
            return list(executor.map(task, range(tasks)))

        yield each


def _pool(level):
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    return ProcessPoolExecutor(1, mp_context=get_context(level.removeprefix("pool-")))


def go(main, **settings):
    """Be the program, in each of the ways that the environment names."""
    folder = os.environ["SAME_FOLDER"]
    for way in json.loads(os.environ["SAME_WAYS"]):
        if way.partition(" ")[0] not in PLAIN:
            import adaptive_exec.executor
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        child = os.fork()
        if child == 0:
            _run(main, way, folder, settings)
            return  # and end as a program does
        os.waitpid(child, 0)
    os._exit(0)


def _run(main, way, folder, settings):
    for descriptor, name in ((1, "out"), (2, "err")):
        path = os.path.join(folder, f"{way}.{name}")
        file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(file, descriptor)
        os.close(file)
    try:
        with opened(way, **settings) as each:
            given = repr(main(each))
    except BaseException:
        given = traceback.format_exc()
    with open(os.path.join(folder, f"{way}.given"), "w", encoding="utf-8") as file:
        file.write(given)
