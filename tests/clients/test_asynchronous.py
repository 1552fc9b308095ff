"""An executor in an event loop: order, back-pressure, cancellation, and a loop that goes on."""

import asyncio
import contextlib
import os
import signal
import threading
import time
from concurrent.futures import BrokenExecutor
from pathlib import Path

import pytest

from adaptive_exec import ThreadPoolExecutor, adaptive_executor

WAIT_SECONDS = 120
TURN_SECONDS = 0.001
STALL_SECONDS = 0.05  # five times what is promised
ROUNDS = 30


def cube(number):
    return number**3


def in_process(_):
    return os.getpid()


def hang(path):
    Path(path).write_text(str(os.getpid()), encoding="utf-8")
    threading.Event().wait()


def wait_or_hang(item):
    path, what = item
    return hang(path) if what == "hang" else wait_for(path)


def wait_for(path):
    while not path.exists():
        threading.Event().wait(0.01)
    return "went"


def die():
    os.kill(os.getpid(), signal.SIGKILL)


async def until(is_so):
    while not is_so():  # noqa: ASYNC110  # what happens in a worker has no event here
        await asyncio.sleep(0.01)


async def longest_stall():
    """Return by how much a turn of the loop was late at most, once it is cancelled."""
    longest, now = 0.0, time.perf_counter()
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            await asyncio.sleep(TURN_SECONDS)
            before, now = now, time.perf_counter()
            longest = max(longest, now - before - TURN_SECONDS)
    return longest


async def later(numbers):
    for number in numbers:
        await asyncio.sleep(0)
        yield number


@pytest.mark.parametrize("make", [list, iter, later])
def test_results_come_in_the_order_of_an_input_of_either_kind(make):
    async def main():
        async with ThreadPoolExecutor(2) as ex:
            return [result async for result in ex.amap(cube, make(range(30)))]

    assert asyncio.run(main()) == [k**3 for k in range(30)]


def test_processes_do_the_same():
    async def main():
        async with adaptive_executor(max_workers=1, isolate=True) as ex:
            return [result async for result in ex.amap(in_process, [1, 2])]

    assert os.getpid() not in asyncio.run(main())


def test_no_more_input_is_taken_than_is_on_its_way():
    taken = []

    def numbers():
        for number in range(1000):
            taken.append(number)
            yield number

    async def main():
        async with ThreadPoolExecutor(2) as ex:
            results = ex.amap(cube, numbers(), buffersize=3)
            assert await anext(results) == 0
            most = len(taken)
            await results.aclose()
            return most

    assert asyncio.run(main()) <= 4


def test_a_result_comes_while_the_input_waits():
    async def numbers(gate):
        yield 1
        await gate.wait()
        yield 2

    async def main():
        gate = asyncio.Event()
        async with ThreadPoolExecutor(2) as ex:
            results = ex.amap(cube, numbers(gate))
            assert await anext(results) == 1
            gate.set()
            return [result async for result in results]

    assert asyncio.run(asyncio.wait_for(main(), WAIT_SECONDS)) == [8]


def test_an_error_of_a_task_or_of_the_input_comes_at_its_place():
    async def some():
        yield 2
        raise KeyError("input")

    async def take(results):
        found = []
        try:
            async for result in results:
                found.append(result)  # noqa: PERF401  # what came before the error counts
        except (TypeError, KeyError) as error:
            found.append(type(error))
        return found

    async def main():
        async with ThreadPoolExecutor(2) as ex:
            return [await take(ex.amap(cube, [1, "2", 3])), await take(ex.amap(cube, some()))]

    assert asyncio.run(main()) == [[1, TypeError], [8, KeyError]]


@pytest.mark.faults
def test_a_block_that_is_cancelled_stops_its_workers(tmp_path):
    path = tmp_path / "pid"

    async def work():
        async with adaptive_executor(max_workers=1, isolate=True) as ex:
            async for _ in ex.amap(hang, [path]):
                pass

    async def main():
        task = asyncio.create_task(work())
        while not (path.exists() and path.read_text()):  # noqa: ASYNC110  # a file has no event
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(main(), WAIT_SECONDS))
    pid = int(path.read_text())
    end = threading.Event()
    for _ in range(WAIT_SECONDS * 10):
        if not Path(f"/proc/{pid}").exists():
            break
        end.wait(0.1)
    else:
        pytest.fail("the worker lives on")


@pytest.mark.faults
@pytest.mark.parametrize("end", ["cancel", "close"])
def test_what_runs_for_nobody_ends_and_the_executor_goes_on(tmp_path, end):
    path = tmp_path / "pid"

    async def work(ex):
        results = ex.amap(wait_or_hang, [(path, "wait"), (path, "hang")])
        assert await anext(results) == "went"
        if end == "cancel":
            await anext(results)
        await results.aclose()

    async def main():
        settings = {"max_workers": 3, "isolate": True, "share_host": False}
        async with adaptive_executor(**settings) as ex:
            beside = asyncio.wrap_future(ex.submit(wait_for, tmp_path / "go"))
            task = asyncio.create_task(work(ex))
            await until(lambda: path.exists() and path.read_text())
            if end == "cancel":
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            else:
                await task
            await until(lambda: not Path(f"/proc/{path.read_text()}").exists())
            (tmp_path / "go").touch()
            assert await beside == "went"
            return await asyncio.wrap_future(ex.submit(cube, 3)), ex.report.lost_tasks

    assert asyncio.run(asyncio.wait_for(main(), WAIT_SECONDS)) == (27, 0)


@pytest.mark.faults
def test_the_loop_is_not_held_up_while_a_worker_dies():
    """A busy host holds up any loop now and then, but not each time."""

    async def work():
        settings = {"isolate": True, "share_host": False, "retries": 0}
        async with adaptive_executor(max_workers=2, **settings) as ex:
            assert [one async for one in ex.amap(cube, range(4))] == [0, 1, 8, 27]
            for _ in range(ROUNDS):
                watch = asyncio.create_task(longest_stall())
                died = asyncio.wrap_future(ex.submit(die))
                assert [one async for one in ex.amap(cube, range(20))] == [k**3 for k in range(20)]
                with pytest.raises(BrokenExecutor):
                    await died
                assert await asyncio.wrap_future(ex.submit(cube, 2)) == 8  # it was replaced
                watch.cancel()
                if await watch < STALL_SECONDS:
                    return
        pytest.fail("each death of a worker held the loop up")

    asyncio.run(asyncio.wait_for(work(), WAIT_SECONDS))


def test_wrong_arguments_are_refused_at_once():
    with adaptive_executor() as ex:
        with pytest.raises(TypeError):
            ex.amap(3, [])
        with pytest.raises(ValueError, match="buffersize"):
            ex.amap(cube, [], buffersize=0)
