"""An event loop of each task's own."""

import asyncio
import contextvars

from ways import go

NAME = contextvars.ContextVar("NAME", default="x")


async def fetch(number):
    NAME.set(str(number))
    await asyncio.sleep(0)
    return number * 2, NAME.get()


async def gather(index):
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(fetch(index + number)) for number in range(3)]
    return [task.result() for task in tasks]


def task(index):
    return asyncio.run(gather(index)), NAME.get()


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main, many=50)
