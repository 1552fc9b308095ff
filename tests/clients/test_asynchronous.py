"""An executor in an event loop: order, back-pressure, cancellation, and a loop that goes on."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from adaptive_exec import ThreadPoolExecutor, adaptive_executor

WAIT_SECONDS = 120


def cube(number):
    return number**3


def in_process(_):
    return os.getpid()


def hang(path):
    Path(path).write_text(str(os.getpid()), encoding="utf-8")
    threading.Event().wait()


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


def test_wrong_arguments_are_refused_at_once():
    with adaptive_executor() as ex:
        with pytest.raises(TypeError):
            ex.amap(3, [])
        with pytest.raises(ValueError, match="buffersize"):
            ex.amap(cube, [], buffersize=0)
