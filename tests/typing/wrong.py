"""What type checkers must find wrong: each line with the mark is an error, and no other is."""

from adaptive_exec import adaptive_executor


def square(number: int) -> int:
    return number * number


adaptive_executor(max_worker=3)  # wrong
adaptive_executor(retries="many")  # wrong
adaptive_executor(levels="fast")  # wrong
adaptive_executor(start="fork")  # wrong
adaptive_executor(order="smallest")  # wrong
adaptive_executor(isolate="yes")  # wrong
adaptive_executor(max_workers=2.5)  # wrong

with adaptive_executor(tasks=3) as executor:
    executor.submit(square, "x")  # wrong
    executor.submit(square, number="x")  # wrong
    executor.submit(square)  # wrong
    executor.submit(square, 1, 2)  # wrong
    executor.map(square, ["x"])  # wrong
    executor.map(square, [1], [2])  # wrong
    executor.map(square)  # wrong
    executor.map(square, [1], chunksize="8")  # wrong
    executor.map_unordered(square, "text")  # wrong
    executor.outcomes(square, [None])  # wrong
    executor.amap(square, ["x"])  # wrong
    text: str = executor.submit(square, 1).result()  # wrong
