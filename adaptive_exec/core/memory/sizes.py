"""What a task of a function takes, by what its arguments show of its size.

A task's measure is a few numbers: lengths, bytes, sizes of files, numbers among its arguments.
Which of them tells, and how, is found by trying: the highest of those nearest in size, a line with
a high residual added, and a line with a high ratio to it, are each credited after every task with
what they would have spared beside one reserve for all, and charged with what they would have wasted
or missed, the newest most. The best one speaks once that is worth it. Decides nothing: who is let
out with it is `core/memory/admission`.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from typing import Final, Literal, NamedTuple

from adaptive_exec.config import MIB
from adaptive_exec.core.bounds import BYTES, PLENTY, SECONDS, SIZE, SUM, bound

NUMBERS_MAX = 4
"""Numbers of a task that are tried. Source: own choice; each costs 3 us a chunk."""
SAMPLES_KEPT = 64
"""Tasks of a function among which those nearest in size are looked for. Source: as `peaks`."""
RESIDUALS_KEPT = 32
"""Tasks by which the line is known to be missed; the highest miss is added to it, or the highest
ratio to it taken of it. Source: own choice, half of SAMPLES_KEPT."""
NEAR = 1.25
"""Ratio of sizes up to which two are near. Source: own choice, a quarter."""
NEVER_SEEN = 2.0
"""Ratio of sizes from which a task is larger than any seen before, so that nothing is known.
Source: own choice, twice."""
REFUTED = 4.0
"""Ratio of sizes that took about the same, so that this number says nothing of memory. Source: own
choice, NEVER_SEEN twice."""
DISCOUNT = 0.95
"""Weight of what was before the newest task: twenty tasks count. Source: 1 / (1 - 0.95) = 20."""
MISS_PRICE = 2.0
"""Times what a task takes that it costs to reserve too little: it is run again, alone. Source: own
choice; one run in vain and one alone."""
WORTH = 0.1
"""Share of all that was used which a form must spare in order to speak; it falls silent at half of
it. Source: own choice, a tenth."""
NEARLY = 0.9
"""Share of the best one's gain from which another form is nearly as good. Source: own choice."""
SURE_VOTES = 20
"""Tasks after which the best one speaks alone. Source: so many count, see DISCOUNT."""
VOTES_MIN = 2
"""Tasks for which a form must have had a word before it speaks. Source: own choice."""
SLACK = 1.05
"""Factor by which more is reserved than a form says. Source: own choice."""
SLACK_BYTES = 2 * MIB
"""Bytes that are reserved beyond what a form says: a page more is no miss. Source: own choice."""
ALIKE = 1.25
"""Ratio up to which two tasks take about the same. Source: as NEAR."""
ALIKE_BYTES = 8 * MIB
"""Bytes that two tasks may differ by and still take about the same. Source: own choice, twice
`admission.SIZED_BYTES`."""
GUESS_RATIO_MAX = 64.0
"""Most that a reserve for what was never seen is scaled by. Source: own choice."""


Form = Literal["the nearest", "a line", "a scaled line"]
FORMS: Final[tuple[Form, ...]] = ("the nearest", "a line", "a scaled line")
"""What is tried, as people are told."""


class Measure(NamedTuple):
    """What is known of a task before it runs.

    Attributes:
        kind: The number of its function, 0 where nothing is known of it.
        numbers: What its arguments show of its size, at most NUMBERS_MAX.
        told_bytes: What it takes as the user says, None where he does not.
    """

    kind: int
    numbers: tuple[float, ...] = ()
    told_bytes: int | None = None


class Expected(NamedTuple):
    """What a task is expected to take.

    Attributes:
        bytes: So many, 0 where nothing speaks.
        is_known: False where it is larger than any task before it.
    """

    bytes: int
    is_known: bool = True


NOTHING = Expected(0)


def join(one: Measure | None, other: Measure | None) -> Measure | None:
    """Return the measure of a chunk that has both tasks: the larger of each number."""
    if one is None or other is None or one == other:
        return one or other
    numbers = tuple(map(max, one.numbers, other.numbers))
    told = [each.told_bytes for each in (one, other) if each.told_bytes is not None]
    return Measure(one.kind, numbers, max(told, default=None))


class Sizing:
    """What the tasks of one function were measured to take, by their sizes.

    Attributes:
        numbers: What was learned of each number.
        used: Byte-seconds that the tasks took, the newest most.
        speaker: Which number speaks, and by which form; None while none is worth it.
        chorus: All that are nearly as good; the highest word of them counts. Later the best alone.
        highest_bytes: The most that one of the newest took.
        tasks: Chunks learned from.
        waste: Share of what the newest took by which what was said of them has been off.
        told_ratio: The most by which one of the newest exceeded what was told of it, at least 1.
    """

    __slots__ = (
        "_needed",
        "_off",
        "_ratios",
        "chorus",
        "highest_bytes",
        "numbers",
        "speaker",
        "tasks",
        "told_ratio",
        "used",
        "waste",
    )

    def __init__(self) -> None:
        self.numbers: list[Number] = []
        self.used = 0.0
        self.speaker: tuple[int, Form] | None = None
        self.chorus: tuple[tuple[int, Form], ...] = ()
        self.highest_bytes = 0
        self.tasks = 0
        self.told_ratio = 1.0
        self.waste = 1.0
        self._off = self._needed = 0.0
        self._ratios: deque[float] = deque(maxlen=RESIDUALS_KEPT)

    def learn(
        self, measure: Measure, need_bytes: int, seconds: float, *, index: int, flat_bytes: float
    ) -> None:
        """Take a finished chunk in.

        Args:
            measure: What was known of it.
            index: The place of its last task in the batch.
            need_bytes: By how much its worker was at most larger than before its first task.
            seconds: How long.
            flat_bytes: What is reserved where sizes are not looked at.
        """
        need, weight = bound(need_bytes, BYTES), max(1e-3, bound(seconds, SECONDS))
        if measure.told_bytes is not None:
            self._ratios.append(bound(need / max(1, measure.told_bytes), SIZE))
            self.told_ratio = max(1.0, *self._ratios)
        self.used = bound(DISCOUNT * self.used + need * weight, PLENTY)
        said = self.expect(measure.numbers, index).bytes if self.speaker else 0
        off = min(float(need), _charge(said, need)[0]) if said else float(need)
        self._off = bound(DISCOUNT * self._off + off, SUM)
        self._needed = bound(DISCOUNT * self._needed + need, SUM)
        self.waste = self._off / max(1.0, self._needed)
        while len(self.numbers) < len(measure.numbers):
            self.numbers.append(Number())
        flat = _charge(flat_bytes, need)
        for number, size in zip(self.numbers, measure.numbers, strict=False):
            size = bound(size, SIZE)  # noqa: PLW2901  # as the user's objects say
            number.count(size - index)
            number.learn(size, need, weight, flat)
        self.tasks = min(self.tasks + 1, SAMPLES_KEPT)
        self.highest_bytes = max(need, int(DISCOUNT * self.highest_bytes))
        self._choose()

    def _choose(self) -> None:
        ranked = [
            (gain, place, form)
            for place, number in enumerate(self.numbers)
            for form, gain in zip(FORMS, number.gains, strict=True)
            if number.votes >= VOTES_MIN
        ]
        gain, place, form = max(ranked, default=(0.0, 0, FORMS[0]))
        worth = WORTH * self.used * (0.5 if self.speaker else 1.0)
        self.speaker = (place, form) if gain > worth else None
        is_sure = bool(self.speaker) and self.numbers[place].votes >= SURE_VOTES
        good = gain if is_sure else NEARLY * gain
        self.chorus = tuple(one[1:] for one in ranked if one[0] >= good) if self.speaker else ()

    def expect(self, numbers: tuple[float, ...], index: int) -> Expected:
        """Say what the task at a place of the batch is expected to take, by its numbers."""
        if not self.tasks:
            return NOTHING
        ratio = self._growth(numbers, index)
        if ratio > 1.0:
            guess = self.highest_bytes * min(ratio, GUESS_RATIO_MAX)
            return Expected(bound(int(guess), BYTES), is_known=False)
        words = [self._word(numbers, *form) for form in self.chorus if form[0] < len(numbers)]
        if not words:
            return NOTHING
        return Expected(bound(int(SLACK * max(words)) + SLACK_BYTES, BYTES))

    def _growth(self, numbers: tuple[float, ...], index: int) -> float:
        """Say how many times larger than any before a task is, 1 where nothing says that."""
        ratio = 1.0
        for place, number in enumerate(self.numbers[: len(numbers)]):
            size = bound(numbers[place], SIZE)
            if size <= NEVER_SEEN * number.highest or number.counted == size - index:
                continue
            if self._may_matter(place, number):
                ratio = max(ratio, size / max(1.0, number.highest))
        return ratio

    def _word(self, numbers: tuple[float, ...], place: int, form: Form) -> int:
        word = self.numbers[place].say(bound(numbers[place], SIZE), form)
        return self.highest_bytes if word is None else word

    def _may_matter(self, place: int, number: "Number") -> bool:
        """Say whether more of a number may take more, which nothing has spoken against so far."""
        if self.speaker is not None:
            return self.speaker[0] == place  # else another one explains it
        return not number.is_refuted

    @property
    def spared(self) -> float:
        """Share of what was used that what speaks has spared."""
        if self.speaker is None:
            return 0.0
        place, form = self.speaker
        return self.numbers[place].gains[FORMS.index(form)] / max(1.0, self.used)

    @property
    def name(self) -> str:
        """What speaks, for people."""
        if self.speaker is None:
            return "nothing"
        place, form = self.speaker
        return f"{form} by size {place + 1}"


class Number:
    """One of the numbers of a function's tasks, and what the forms say by it.

    Attributes:
        gains: Byte-seconds that each form would have spared.
        votes: Tasks for which the nearest had a word.
        highest: The largest number seen.
        lowest: The smallest.
        is_refuted: True while numbers far apart took about the same.
        counted: What it exceeds the task's place in the batch by, where that is always the same:
            it numbers the tasks, and is no size.
    """

    __slots__ = (
        "_covered", "_mean", "_mean_bytes", "_needs", "_order", "_ratios", "_residuals", "_sizes",
        "_spread", "_weight", "counted", "gains", "has_counted", "highest", "is_refuted", "lowest",
        "votes",
    )  # fmt: skip

    def __init__(self) -> None:
        self.gains = [0.0] * len(FORMS)
        self.votes = 0
        self.lowest, self.highest = float(SIZE.most), 0.0
        self.is_refuted = False
        self.has_counted = False
        self.counted: float | None = None
        self._sizes: list[float] = []
        self._needs: list[int] = []
        self._order: deque[tuple[float, int]] = deque()
        self._residuals: deque[float] = deque(maxlen=RESIDUALS_KEPT)
        self._ratios: deque[float] = deque(maxlen=RESIDUALS_KEPT)
        self._weight = self._mean = self._mean_bytes = self._spread = self._covered = 0.0

    def count(self, offset: float) -> None:
        """Take in by how much the number of a task exceeds its place."""
        if not self.has_counted:
            self.has_counted, self.counted = True, offset
        elif self.counted != offset:
            self.counted = None

    def learn(self, size: float, need: int, weight: float, flat: tuple[float, bool]) -> None:
        """Take a task in: credit the forms, then learn from it."""
        near, centre = self._nearest(size), None
        is_new = size > NEVER_SEEN * self.highest
        if near is not None:
            self.votes = min(self.votes + 1, SAMPLES_KEPT)
        if self.lowest < self.highest or (is_new and self.votes):
            centre = self._centre(size)
            for place, said in enumerate((near, self._line(centre), self._scaled(centre))):
                gain = weight * _gain(said, need, flat, is_new)
                self.gains[place] = DISCOUNT * self.gains[place] + gain
        if centre is not None:
            self._residuals.append(need - centre)
            self._ratios.append(min(GUESS_RATIO_MAX, need / max(1.0, centre)))
        self._enter(size, need)
        self._fit(size, need)
        small, large = self._sizes[0], self._sizes[-1]
        is_wide = large >= REFUTED * max(1.0, small)
        low, high = self._needs[0], self._needs[-1]
        self.is_refuted = is_wide and high <= ALIKE * low + ALIKE_BYTES

    def say(self, size: float, form: Form) -> int | None:
        """Return what a form says of a size; another one's word where it has none."""
        near = self._nearest(size) if form == FORMS[0] else None
        if near is not None:
            return near
        centre = self._centre(size)
        said = self._scaled(centre) if form == FORMS[2] else self._line(centre)
        return self._nearest(size) if said is None else said

    def _nearest(self, size: float) -> int | None:
        low = bisect_left(self._sizes, size / NEAR)
        high = bisect_right(self._sizes, size * NEAR)
        if low == high:
            return None
        highest = max(self._needs[low:high])
        return highest if size <= self.highest else int(highest * size / max(1.0, self.highest))

    def _line(self, centre: float | None) -> int | None:
        if centre is None:
            return None
        return max(0, int(centre + max(0.0, max(self._residuals, default=0.0))))

    def _scaled(self, centre: float | None) -> int | None:
        if centre is None or not self._ratios:
            return None
        return max(0, int(centre * max(1.0, *self._ratios)))

    def _centre(self, size: float) -> float | None:
        if self._weight < 2.0 or self._spread <= 1e-6 * self._mean * self._mean:  # noqa: PLR2004  # two points
            return None
        return self._mean_bytes + self._covered / self._spread * (size - self._mean)

    def _enter(self, size: float, need: int) -> None:
        self.highest, self.lowest = max(self.highest, size), min(self.lowest, size)
        if len(self._order) >= SAMPLES_KEPT:
            oldest, took = self._order.popleft()
            at = self._needs.index(took, bisect_left(self._sizes, oldest))
            del self._sizes[at], self._needs[at]
        self._order.append((size, need))
        at = bisect_right(self._sizes, size)
        self._sizes.insert(at, size)
        self._needs.insert(at, need)

    def _fit(self, size: float, need: int) -> None:
        """Discounted mean, variance and covariance, without differences of large sums."""
        self._weight = DISCOUNT * self._weight + 1.0
        off = size - self._mean
        self._mean += off / self._weight
        self._mean_bytes += (need - self._mean_bytes) / self._weight
        self._spread = DISCOUNT * self._spread + off * (size - self._mean)
        self._covered = DISCOUNT * self._covered + off * (need - self._mean_bytes)


def _charge(said: float, need: int) -> tuple[float, bool]:
    """Return what a reserve costs for each second: waste or miss; and whether it was a miss."""
    if need > ALIKE * said + ALIKE_BYTES:
        return MISS_PRICE * need, True
    off = SLACK * said - need
    return (off if off >= 0.0 else -MISS_PRICE * off), False


def _gain(said: int | None, need: int, flat: tuple[float, bool], is_new: bool) -> float:  # noqa: FBT001  # once a number
    """Say what a form spares; what it has never seen it would have had tried by itself."""
    cost, is_miss = flat
    if said is None or is_new:
        return cost if is_miss and is_new else 0.0
    return cost - _charge(said, need)[0]
