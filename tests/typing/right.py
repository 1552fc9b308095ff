"""What type checkers must find right, with the types that they must find."""

from collections.abc import AsyncIterator
from concurrent.futures import Executor, Future
from typing import assert_type

from adaptive_exec import AdaptiveExecutor, Journal, Outcome, adaptive_executor
from adaptive_exec.results import ResultIterator


def square(number: int) -> int:
    return number * number


def label(name: str, count: int, *, loud: bool = False) -> str:
    return name * count + "!" * loud


with adaptive_executor(
    [1, 2, 3],
    max_workers=2,
    levels=("process", "thread"),
    target_memory="70%",
    task_memory=lambda _: "1GiB",
    journal=Journal("runs.journal", retry_failed=True),
    retries=0,
    start="fresh",
    order="largest",
) as executor:
    assert_type(executor, AdaptiveExecutor)
    assert_type(executor.submit(square, 2), Future[int])
    assert_type(executor.submit(label, "a", count=2, loud=True), Future[str])
    assert_type(executor.map(square, [1, 2]), ResultIterator[int])
    assert_type(list(executor.map(label, ["a"], range(2), chunksize=4)), list[str])
    assert_type(list(executor.map_unordered(square, {1, 2}, timeout=3)), list[int])
    assert_type([one.value for one in executor.outcomes(square, [1])], list[int | None])
    assert_type(next(executor.outcomes(label, ["a"], [2])), Outcome[str])
    assert_type(executor.amap(square, [1, 2], buffersize=2), AsyncIterator[int])
    assert_type(executor.share([1]).value, list[int])
    assert_type(executor.with_options(task_memory="2GiB").submit(square, 2), Future[int])

anything: Executor = adaptive_executor(tasks=3)
