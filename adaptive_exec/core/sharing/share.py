"""How much of the host is one instance's, when several that know nothing of each other run there.

Pure: (own claim, the others' claims, what there is) -> share with a reason. Every instance asks the
same question over the same claims, so that nobody has to hand out. A share shrinks at once and
grows only into what no other holds, and what is promised counts like what is used: those who start
in the same instant do not all see the same free memory. What a run does with it is `tenancy`.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from adaptive_exec.core.bounds import BYTES, COUNT, MOMENT, WORKERS, bound
from adaptive_exec.core.reason import Code, Reason, because

SHARE_TURN_SECONDS: Final = 30.0
"""Seconds for which one instance keeps a core that cannot be divided; then it is another's turn: a
share changes twice a minute at most while nobody comes or goes, and over minutes all get alike. A
worker more or less costs milliseconds, but an initializer may take seconds and fill a cache."""
SHARE_WAIT_SECONDS: Final = 30.0
"""Seconds an instance waits for its share of memory at most, as long as CALM_SECONDS; then it goes
on, one task at a time."""

STEADY_SHARE = 0.25
"""Share by which what is free may change before a share that is enough follows it. Source: own
choice; the host itself is read before anything is let out."""

POOL_SECONDS: Final = 0.4
"""Seconds of which what tasks may have together is remembered. Source: own choice, eight looks of
an instance that waits; on a busy host a task's end is told after 40 ms."""


class Claim(NamedTuple):
    """What one instance says of itself.

    Attributes:
        name: It is the instance's alone on this host.
        arrived_at: Monotonic seconds of its first claim; who came first stands first in line.
        wanted_slots: Workers it has work for; 0 when it rests.
        held_slots: Workers it has, or was granted and has not started yet.
        unit_bytes: The least it can work with: one task and what runs it.
        wanted_bytes: What all its wanted workers would take; 0 where memory is not shared out.
        held_bytes: What it was promised, used or not.
        used_bytes: How much of that is in use.
        shares_cores: Whether it counts against the same cores as the one who asks.
        shares_memory: Whether it counts against the same memory limit.
        kind: A number that batches of one function share, 0 where nothing is known of it.
        is_guess: Whether `unit_bytes` is a guess, since nothing of its tasks was measured yet.
    """

    name: str
    arrived_at: float
    wanted_slots: int = 0
    held_slots: int = 0
    unit_bytes: int = 0
    wanted_bytes: int = 0
    held_bytes: int = 0
    used_bytes: int = 0
    shares_cores: bool = True
    shares_memory: bool = True
    kind: int = 0
    is_guess: bool = False


NO_CLAIM = Claim("", 0.0)
"""What an instance claims that has nothing to do."""


class Share(NamedTuple):
    """What an instance may have now.

    Attributes:
        slots: Workers, at least 1.
        slot_bytes: Memory for its tasks and what runs them; None where it is alone, so that what is
            read of the host is all there is to know.
        instances: How many share, itself included.
        place: Its place in the line of those who wait for memory, 0 while it need not wait.
        reason: Why.
        kin_bytes: What others measured a chunk of the same function to take, 0 where none did.
    """

    slots: int
    slot_bytes: int | None
    instances: int
    place: int
    reason: Reason
    kin_bytes: int = 0


class Pool:
    """What the tasks of all instances may have together, as it was seen of late.

    It is what is left and what tasks are told to use. The two are of different instants: where
    several tasks end at once, their memory is free already while it counts as used still, and the
    pool looks larger by that for a moment. So the middle one of the last looks is believed, where
    it is smaller than the last.
    """

    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = []

    def believe(self, own: Claim, others: Sequence[Claim], room_bytes: int, now: float) -> int:
        """Return the room that is to be believed in.

        Args:
            own: Its own claim.
            others: Those of all other instances on this host.
            room_bytes: Memory that can still be taken up to the mark, as read from the host.
            now: Monotonic seconds.
        """
        beside = [other for other in others if other.shares_memory and _counts(other)]
        if not beside:
            self._seen = []
            return room_bytes
        used = sum(claim.used_bytes for claim in (own, *beside))
        self._seen = [seen for seen in self._seen if seen[0] > now - POOL_SECONDS]
        self._seen.append((now, room_bytes + used))
        pools = sorted(pool for _, pool in self._seen)
        return min(room_bytes, pools[(len(pools) - 1) // 2] - used)

    def deal(
        self, own: Claim, others: Sequence[Claim], *, cores: int, room_bytes: int, now: float
    ) -> tuple[Share, Claim]:
        """Return the share by the room that is believed in, and the claim as others shall see it.

        Args:
            own: Its own claim.
            others: Those of all other instances on this host.
            cores: Usable cores, 1 or more.
            room_bytes: As it was read from the host.
            now: Monotonic seconds.
        """
        room = self.believe(own, others, room_bytes, now)
        share = apportion(own, others, cores=cores, room_bytes=room, now=now)
        return share, promise(own, share, room_bytes=room)


def apportion(
    own: Claim, others: Sequence[Claim], *, cores: int, room_bytes: int, now: float = 0.0
) -> Share:
    """Say what an instance may have beside the others.

    Args:
        own: Its own claim, with what it holds at this moment.
        others: The claims of all other instances on this host.
        cores: Usable cores, 1 or more.
        room_bytes: Memory that can still be taken up to the mark, as read from the host.
        now: Monotonic seconds; cores that cannot be divided go round in turn.

    Returns:
        Its share. Where everybody holds no more than their share, all shares together are at most
        what there is, but for the one slot that each has at least.

    Source:
        Max-min fairness: Bertsekas and Gallager, Data Networks, section 6.5. See docs/sources.md.
    """
    near = [other for other in others if other.shares_cores and other.wanted_slots]
    beside = [other for other in others if other.shares_memory and _counts(other)]
    instances = 1 + len({other.name for other in (*near, *beside)})
    slots = _slots(own, near, cores, turn=int(now / SHARE_TURN_SECONDS))
    slot_bytes, place = _bytes(own, beside, room_bytes, turn=int(now / SHARE_TURN_SECONDS))
    if slot_bytes is not None:  # of claims at the end of their range it may be a byte beyond
        slot_bytes = bound(slot_bytes, BYTES)
    code = Code.SHARE_ALONE if instances == 1 else Code.SHARE_FAIR
    if place:
        code = Code.SHARE_AWAITED
    reason = because(code, instances=instances, slots=slots, cores=cores, share=slot_bytes)
    return Share(slots, slot_bytes, instances, place, reason, _kin_bytes(own, others))


def within_task(share: Share) -> Share:
    """Return what an executor may have that a task of another one has made.

    It waits for nobody: what it takes was promised to that task, which ends only when it is
    through. Where others hold the rest it has one task at a time.

    Args:
        share: What would be its share beside all others.
    """
    if not share.place:
        return share
    return share._replace(place=0, reason=share.reason._replace(code=Code.SHARE_FAIR))


def promise(own: Claim, share: Share, *, room_bytes: int) -> Claim:
    """Return a claim as the others shall see it: what was granted counts from now on.

    Args:
        own: The claim that was made.
        share: What came of it.
        room_bytes: As it was for that share.
    """
    most = room_bytes if share.slot_bytes is None else share.slot_bytes
    return own._replace(
        held_slots=max(own.held_slots, min(share.slots, own.wanted_slots)),
        held_bytes=max(own.held_bytes, min(most, own.wanted_bytes)),
    )


def believe_claim(claim: Claim) -> Claim:
    """Bring the numbers of a claim into their ranges, whoever wrote them down."""
    return claim._replace(
        arrived_at=bound(float(claim.arrived_at), MOMENT),
        wanted_slots=bound(claim.wanted_slots, WORKERS),
        held_slots=bound(claim.held_slots, WORKERS),
        unit_bytes=bound(claim.unit_bytes, BYTES),
        wanted_bytes=bound(claim.wanted_bytes, BYTES),
        held_bytes=bound(claim.held_bytes, BYTES),
        used_bytes=bound(claim.used_bytes, BYTES),
        kind=bound(claim.kind, COUNT),
    )


def level_out(total: int, wants: Sequence[int]) -> list[int]:
    """Deal a total out in max-min fairness: who wants less than an equal part leaves the rest.

    Args:
        total: What there is, 0 or more.
        wants: What each wants; what cannot be divided goes to who wants most, then to the first.

    Returns:
        What each gets, never more than it wants.

    >>> level_out(10, [1, 9, 9])
    [1, 5, 4]
    """
    parts, left = [0] * len(wants), max(0, total)
    by_want = sorted(range(len(wants)), key=lambda index: (wants[index], -index))
    for done, index in enumerate(by_want):
        parts[index] = min(wants[index], left // (len(wants) - done))
        left -= parts[index]
    return parts


def steady(before: Share | None, after: Share, wanted_bytes: int) -> Share:
    """Keep a share of memory as it was where the new one is hardly another.

    What is free on a host changes with every page. As long as the same instances share it, both
    are enough, and the new one is within a quarter of the old, the old one stands.

    Args:
        before: The share so far, None for none.
        after: The new one.
        wanted_bytes: What was claimed.

    Returns:
        The new one, with the memory of the old where that stands.
    """
    if before is None or before.slot_bytes is None or after.slot_bytes is None:
        return after
    old, new = before.slot_bytes, after.slot_bytes
    is_like = abs(new - old) <= STEADY_SHARE * old and min(old, new) >= wanted_bytes
    if before.instances != after.instances or after.place or not is_like:
        return after
    return after._replace(slot_bytes=old)


def _counts(claim: Claim) -> bool:
    return bool(claim.wanted_bytes or claim.held_bytes)


def _kin_bytes(own: Claim, others: Iterable[Claim]) -> int:
    kin = (other for other in others if other.kind == own.kind and not other.is_guess)
    return max((other.unit_bytes for other in kin), default=0) if own.kind else 0


def _in_line(own: Claim, others: Iterable[Claim]) -> list[Claim]:
    return sorted((own, *others), key=lambda claim: (claim.arrived_at, claim.name))


def _slots(own: Claim, others: Sequence[Claim], cores: int, *, turn: int) -> int:
    if not others:
        return max(cores, own.wanted_slots)  # alone: the run's own plan says how many
    if len(others) >= cores:
        return 1
    line = _in_line(own, others)
    first = turn * (cores % len(line)) % len(line)
    line = line[first:] + line[:first]
    fair = level_out(cores, [claim.wanted_slots for claim in line])[line.index(own)]
    free = cores - sum(other.held_slots for other in others)
    return max(1, min(fair, max(own.held_slots, free)))


def _bytes(
    own: Claim, others: Sequence[Claim], room_bytes: int, *, turn: int
) -> tuple[int | None, int]:
    """Return the share of memory, and the place in line where it is less than one unit."""
    if not others or not own.wanted_bytes:
        return None, 0
    line = _in_line(own, others)
    pledged = sum(max(0, claim.held_bytes - claim.used_bytes) for claim in line)
    free = room_bytes - pledged
    pool = free + sum(max(claim.held_bytes, claim.used_bytes) for claim in line)
    parts = _deal(line, pool, turn)
    fair, most = parts[line.index(own)], max(own.held_bytes, own.used_bytes) + max(0, free)
    granted = max(0, min(fair, most))
    if own.held_bytes and fair >= own.unit_bytes:  # it goes on: what a task takes is an estimate
        granted = max(granted, own.unit_bytes)
    if granted >= own.unit_bytes:
        # What nobody wants is everybody's alike: wants are estimates, of small tasks poor ones.
        unwanted = max(0, pool - sum(parts)) // len(line)
        return max(granted, min(granted + unwanted, most)), 0
    waiting = [claim for claim in line if claim is own or claim.held_bytes < claim.unit_bytes]
    return granted, 1 + waiting.index(own)


def _deal(line: Sequence[Claim], pool: int, turn: int) -> list[int]:
    """Give each its unit, who came first first, then level out what is left, in whole units."""
    left, units = max(0, pool), []
    for claim in line:
        unit = claim.unit_bytes if claim.unit_bytes <= left else 0
        units.append(unit)
        left -= unit
    more = [
        max(0, claim.wanted_bytes - unit) if unit >= claim.unit_bytes else 0
        for claim, unit in zip(line, units, strict=True)
    ]
    parts = [
        part - part % max(1, claim.unit_bytes)
        for claim, part in zip(line, level_out(left, more), strict=True)
    ]
    left -= sum(parts)
    for step in range(len(line)):
        index = (turn + step) % len(line)
        unit = line[index].unit_bytes
        if unit <= left and parts[index] + unit <= more[index]:
            parts[index] += unit
            left -= unit
    return [unit + part for unit, part in zip(units, parts, strict=True)]
