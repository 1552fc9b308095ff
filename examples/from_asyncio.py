"""Heavy calls from an asyncio program, whose loop goes on meanwhile.

Run it with `python examples/from_asyncio.py`.
"""

import asyncio

from adaptive_exec import adaptive_executor


def count_bits(power: int) -> int:
    return int.bit_length(3**power)


async def count_turns() -> int:
    turns = 0
    try:
        while True:
            await asyncio.sleep(0.005)
            turns += 1
    except asyncio.CancelledError:
        return turns


async def main() -> None:
    loop = asyncio.get_running_loop()
    counting = asyncio.create_task(count_turns())
    with adaptive_executor() as executor:
        calls = [loop.run_in_executor(executor, count_bits, power) for power in (400_000, 800_000)]
        print("bits:", await asyncio.gather(*calls))
    counting.cancel()
    print(f"meanwhile the loop went round {await counting} times")


asyncio.run(main())
