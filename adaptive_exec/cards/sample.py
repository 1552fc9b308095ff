"""Which tasks of a batch run: the first so many, or a random sample, in the order of the input.

Pure but for the seed that is drawn when none is given; the seed is told, so that any sample can be
had again.
"""

import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

Numbered = tuple[int, object]


@dataclass(frozen=True, slots=True)
class SampleChoice:
    """Which tasks of a batch run.

    Attributes:
        count: How many; negative is a random sample of that many; None is all.
        seed: What the sample is drawn from.
    """

    count: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count == 0:
            message = (
                "count must not be 0, got 0; give -c 3 for the first three, -c -3 for a "
                "random sample"
            )
            raise ValueError(message)

    @property
    def is_sample(self) -> bool:
        """Whether chance has a part in it."""
        return self.count is not None and self.count < 0


def draw_seed() -> int:
    """Draw a seed from the system's entropy, short enough to be typed."""
    return random.SystemRandom().randrange(1_000_000)


def choose(
    choice: SampleChoice, total: int | None, tasks: Callable[[], Iterable[object]]
) -> tuple[int | None, Callable[[], Iterator[Numbered]]]:
    """Choose tasks, keeping the order of the input.

    Args:
        choice: How many, and how.
        total: How many tasks there are; None where it is not known.
        tasks: Opens the input.

    Returns:
        How many were chosen, None where it is not known; and what yields them, each with its place
        in the input.
    """
    if choice.count is None:
        return total, lambda: iter(enumerate(tasks()))
    if choice.count > 0:
        most = choice.count
        fewer = None if total is None else min(most, total)
        return fewer, lambda: itertools.islice(enumerate(tasks()), most)
    known = sum(1 for _ in tasks()) if total is None else total
    places = draw(choice, known)
    return len(places), lambda: _at(places, tasks())


def draw(choice: SampleChoice, total: int) -> list[int]:
    """Draw a sample of places.

    Args:
        choice: A negative count, and the seed.
        total: How many places there are.

    Returns:
        Places from 0, ascending, none twice; all of them where fewer are there than asked for.
    """
    wanted = min(-(choice.count or 0), total)
    return sorted(random.Random(choice.seed).sample(range(total), wanted))


def _at(places: list[int], tasks: Iterable[object]) -> Iterator[Numbered]:
    wanted = iter(places)
    place = next(wanted, None)
    for number, task in enumerate(tasks):
        if place is None:
            return
        if number == place:
            yield number, task
            place = next(wanted, None)
