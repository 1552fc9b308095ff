"""In the guest: one task of many needs more than there is; says what came of all."""

import sys
import time

from adaptive_exec import adaptive_executor

MB = 1 << 20


def task(number):
    block = b"x" * ((800 if number == 17 else 20) * MB)
    time.sleep(0.05)
    return number + len(block) - len(block)


if __name__ == "__main__":
    values, errors = 0, []
    with adaptive_executor(range(60)) as executor:
        for one in executor.outcomes(task, range(60)):
            values += one.value == one.index
            if one.error is not None:
                errors.append((one.index, type(one.error).__name__))
    sys.stdout.write(f"END {values} {errors}\n")
