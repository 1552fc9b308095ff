"""Where ProcessPoolExecutor stood: the same calls, and no `if __name__` guard.

Run it with `python examples/drop_in.py`.
"""

import math

from adaptive_exec import adaptive_executor

NUMBERS = [112272535095293, 112582705942171, 115280095190773, 115797848077099, 1099726899285419]


def is_prime(number: int) -> bool:
    if number % 2 == 0:
        return number == 2
    return all(number % divisor for divisor in range(3, math.isqrt(number) + 1, 2))


with adaptive_executor(NUMBERS) as executor:  # was: ProcessPoolExecutor()
    for number, prime in zip(NUMBERS, executor.map(is_prime, NUMBERS), strict=True):
        print(f"{number} is {'a prime' if prime else 'no prime'}")

print(f"ran in: {' -> '.join(executor.report.levels)}")
