"""Calls of different functions through `submit`, taken as they finish.

Run it with `python examples/as_they_finish.py`.
"""

import time
import zlib
from concurrent.futures import as_completed

from adaptive_exec import adaptive_executor


def wait(seconds: float) -> str:
    time.sleep(seconds)
    return f"waited {seconds} s"


def compress(text: bytes, level: int = 6) -> str:
    return f"{len(text)} bytes became {len(zlib.compress(text, level))}"


with adaptive_executor(max_workers=3) as executor:
    futures = {
        executor.submit(wait, 0.3): "the slow one",
        executor.submit(wait, 0.1): "the quick one",
        executor.submit(compress, b"again and " * 1000, level=9): "the busy one",
    }
    for future in as_completed(futures, timeout=30):
        print(f"{futures[future]}: {future.result()}")
