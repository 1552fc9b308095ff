"""Puzzles on grids, made up by number; a sample is scored by which small programs solve it."""

import random
from collections.abc import Callable, Iterator
from itertools import chain

Grid = tuple[tuple[int, ...], ...]
SIDE = 18
"""Cells of a side."""
TASKS = 400
SAMPLES = ("demo[0]", "demo[1]", "demo[2]", "demo[3]", "test[0]", "test[1]")


def turn(grid: Grid) -> Grid:
    """Turn a grid to the right."""
    return tuple(zip(*grid[::-1], strict=True))


def flip(grid: Grid) -> Grid:
    """Turn it upside down."""
    return grid[::-1]


def mirror(grid: Grid) -> Grid:
    """Swap left and right."""
    return tuple(row[::-1] for row in grid)


def fade(grid: Grid) -> Grid:
    """Give each colour the next one's place."""
    return tuple(tuple((cell + 1) % 10 for cell in row) for row in grid)


def fall(grid: Grid) -> Grid:
    """Let what is coloured fall to the ground."""
    columns = (sorted(column, key=bool) for column in zip(*grid, strict=True))
    return tuple(zip(*columns, strict=True))


def frame(grid: Grid) -> Grid:
    """Draw a frame."""
    line = (8,) * len(grid[0])
    return (line, *((8, *row[1:-1], 8) for row in grid[1:-1]), line)


STEPS: tuple[Callable[[Grid], Grid], ...] = (turn, flip, mirror, fade, fall, frame)
LENGTH = 4
"""Steps of the longest program."""
SCALE = 70
"""Points of a cell in the picture that is kept of each program's result: 35 MB for a sample."""


def puzzle(number: int) -> Iterator[tuple[str, Grid, Grid]]:
    """Yield the samples of a task: its name, what is given, and what is wanted."""
    source = random.Random(number)
    steps = [source.choice(STEPS) for _ in range(LENGTH)]
    for name in SAMPLES:
        given = tuple(tuple(source.choices(range(10), k=SIDE)) for _ in range(SIDE))
        wanted = given
        for step in steps:
            wanted = step(wanted)
        yield name, given, wanted


def score_sample(sample: tuple[str, Grid, Grid]) -> dict[str, object]:
    """Try all programs at once, each a step longer than those before, and count those that fit."""
    name, given, wanted = sample
    reached, right, pictures = [given], 0, []
    for _ in range(LENGTH):
        reached = [step(grid) for grid in reached for step in STEPS]
        right += sum(grid == wanted for grid in reached)
        pictures += [bytes(chain.from_iterable(grid)) * SCALE for grid in reached]
    return {"sample": name, "programs": right, "picture_bytes": sum(map(len, pictures))}


def score(number: int) -> dict[str, object]:
    """Score all samples of a task, and say so in a line for each."""
    scored = [score_sample(sample) for sample in puzzle(number)]
    for one in scored:
        print(f"{one['sample']} - task_{number:03} - {one['programs']}")
    return {"task": f"task_{number:03}", "solved": min(int(str(one["programs"])) for one in scored)}
