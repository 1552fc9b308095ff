"""How much of the host is one instance's beside the others."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_exec.config import MIB
from adaptive_exec.core.reason import Code, because
from adaptive_exec.core.sharing.share import (
    Claim,
    Pool,
    Share,
    apportion,
    level_out,
    promise,
    steady,
    within_task,
)

UNIT = 60 * MIB


def claim(name="own", at=0.0, *, wanted=8, held=0, unit=0, want_bytes=0, held_bytes=0, used=0):
    return Claim(name, at, wanted, held, unit, want_bytes, held_bytes, used)


def crowd(count, **fields):
    return [claim(f"other {number}", -1.0 - number, **fields) for number in range(count)]


@pytest.mark.parametrize(
    ("cores", "own", "others", "slots"),
    [
        pytest.param(4, claim(), [], 8, id="alone, its own plan says how many"),
        pytest.param(4, claim(held=4), crowd(1, held=0), 2, id="a newcomer halves the older"),
        pytest.param(4, claim(), crowd(1, held=4), 1, id="who comes waits until the older let go"),
        pytest.param(4, claim(), crowd(1, held=2), 2, id="and takes what is free"),
        pytest.param(8, claim(), crowd(1, wanted=2, held=2), 6, id="what others do not want"),
        pytest.param(8, claim(wanted=3), crowd(1, held=2), 3, id="no more than it wants"),
        pytest.param(2, claim(held=1), crowd(7, held=1), 1, id="at least one beside many"),
        pytest.param(2, claim(held=0), crowd(7, held=1), 1, id="also for the last of them"),
        pytest.param(4, claim(held=2), crowd(3, wanted=0), 8, id="those who rest do not count"),
        pytest.param(3, claim(at=-9.0, held=3), crowd(1), 2, id="the odd core is the older's"),
        pytest.param(3, claim(held=3), crowd(1), 1, id="and not the younger's"),
    ],
)
def test_slots_follow_the_instances_that_want_some(cores, own, others, slots):
    assert apportion(own, others, cores=cores, room_bytes=0).slots == slots


def test_a_core_that_cannot_be_divided_goes_round():
    older, newer = claim("older", 0.0, held=1), claim("newer", 1.0, held=1)

    def share(own, other, now):
        return apportion(own, [other], cores=3, room_bytes=0, now=now).slots

    turns = [(share(older, newer, at), share(newer, older, at)) for at in (0.0, 29.9, 30.0, 60.0)]

    assert turns == [(2, 1), (2, 1), (1, 2), (2, 1)]


@pytest.mark.parametrize(
    ("room", "own", "others", "share", "place"),
    [
        pytest.param(100, claim(unit=60, want_bytes=600), [], None, 0, id="alone, what is read"),
        pytest.param(
            600,
            claim(unit=60, want_bytes=600),
            crowd(1, unit=60, want_bytes=600),
            300,
            0,
            id="one who holds nothing yet counts with what it wants",
        ),
        pytest.param(
            600,
            claim(unit=60, want_bytes=600),
            crowd(1, unit=60, want_bytes=600, held_bytes=600),
            0,
            1,
            id="what is promised and not used is not there",
        ),
        pytest.param(
            100,
            claim(unit=60, want_bytes=600),
            crowd(1, unit=60, want_bytes=600, held_bytes=500, used=500),
            100,
            0,
            id="what is used is read from the host already",
        ),
        pytest.param(
            0,
            claim(unit=60, want_bytes=600, held_bytes=600, used=600),
            crowd(1, unit=60, want_bytes=600),
            300,
            0,
            id="the older makes room",
        ),
        pytest.param(
            100,
            claim(unit=60, want_bytes=60),
            crowd(2, unit=60, want_bytes=60),
            0,
            3,
            id="a place in line behind all who came before and hold nothing yet",
        ),
        pytest.param(
            600,
            claim(unit=60, want_bytes=60),
            crowd(1, unit=60, want_bytes=60),
            300,
            0,
            id="a fair part of what nobody wants, since wants are estimates",
        ),
    ],
)
def test_bytes_are_promised_once(room, own, others, share, place):
    found = apportion(own, others, cores=1, room_bytes=room)

    assert (found.slot_bytes, found.place) == (share, place)
    assert (found.reason.code == Code.SHARE_AWAITED) == bool(place)


def test_within_a_task_nobody_waits_for_memory_that_was_promised_to_the_task():
    others = [claim(name, -1.0, unit=60, want_bytes=60, held_bytes=60) for name in "ab"]
    waits = apportion(claim(unit=60, want_bytes=60), others, cores=1, room_bytes=100)
    assert (waits.slot_bytes, waits.place) == (0, 1)

    found = within_task(waits)

    assert (found.slot_bytes, found.place) == (0, 0)
    assert found.reason.code == Code.SHARE_FAIR
    free = apportion(claim(unit=60, want_bytes=60), others, cores=1, room_bytes=600)
    assert within_task(free) == free


def test_an_instance_under_another_limit_does_not_count_for_memory():
    other = claim("other", want_bytes=600, held_bytes=600)._replace(shares_memory=False)

    found = apportion(claim(unit=60, want_bytes=600), [other], cores=4, room_bytes=600)

    assert found.slot_bytes is None
    assert found.instances == 2


def test_an_instance_on_other_cores_does_not_count_for_slots():
    other = claim("other", held=4)._replace(shares_cores=False)

    assert apportion(claim(), [other], cores=4, room_bytes=0).instances == 1


amounts = st.integers(0, 50)


@given(total=amounts, wants=st.lists(amounts, min_size=1, max_size=12))
def test_nobody_gets_more_than_it_wants_and_nothing_is_left_that_is_wanted(total, wants):
    parts = level_out(total, wants)

    assert all(0 <= part <= want for part, want in zip(parts, wants, strict=True))
    assert sum(parts) == min(total, sum(wants))


@given(total=amounts, wants=st.lists(amounts, min_size=1, max_size=12))
def test_who_gets_less_than_it_wants_gets_as_much_as_any_but_for_one(total, wants):
    parts = level_out(total, wants)

    for part, want in zip(parts, wants, strict=True):
        assert part == want or part >= max(parts) - 1


def claims_of():
    return st.lists(
        st.tuples(
            st.floats(0, 10),
            st.integers(0, 8),
            st.integers(1, 5),
            st.integers(0, 40),
            st.booleans(),
        ),
        min_size=1,
        max_size=10,
    ).map(
        lambda rows: [
            Claim(f"i{number}", at, wanted, 0, unit, max(unit, want_bytes) * is_greedy)
            for number, (at, wanted, unit, want_bytes, is_greedy) in enumerate(rows)
        ]
    )


def trade_all(claims: list[Claim], cores: int, memory: int) -> list[Claim]:
    """Let each trade once, one after the other, each seeing what those before were granted."""
    claims = list(claims)
    for number, own in enumerate(claims):
        others = [other for other in claims if other is not own]
        room = memory - sum(one.used_bytes for one in claims)
        share = apportion(own, others, cores=cores, room_bytes=room)
        most = own.held_bytes if share.slot_bytes is None else share.slot_bytes
        kept = own._replace(  # what is beyond the share is let go before the next trades
            held_slots=min(own.held_slots, share.slots), held_bytes=min(own.held_bytes, most)
        )
        claims[number] = promise(kept, share, room_bytes=room)
    return claims


@given(claims=claims_of(), cores=st.integers(1, 16), memory=st.integers(0, 100))
def test_those_who_come_in_the_same_instant_are_not_promised_the_same_memory(claims, cores, memory):
    for _ in range(3):
        claims = trade_all(claims, cores, memory)

        assert sum(claim.held_bytes for claim in claims) <= memory


@given(claims=claims_of(), cores=st.integers(1, 16), memory=st.integers(0, 100))
def test_slots_are_at_most_the_cores_but_for_one_each(claims, cores, memory):
    for _ in range(3):
        claims = trade_all(claims, cores, memory)

    active = [claim for claim in claims if claim.wanted_slots]
    if len(active) > 1:
        assert sum(claim.held_slots for claim in claims) <= max(cores, len(active))


@given(claims=claims_of(), cores=st.integers(1, 16), memory=st.integers(0, 100))
def test_shares_settle_within_a_few_trades_of_each(claims, cores, memory):
    states = [claims]
    for _ in range(6):
        states.append(trade_all(states[-1], cores, memory))

    assert any(before == after for before, after in pairwise(states))


@given(claims=claims_of(), memory=st.integers(0, 100))
def test_who_waits_is_told_a_place_and_no_two_the_same(claims, memory):
    settled = claims
    for _ in range(6):
        settled = trade_all(settled, 4, memory)
    places = []
    for own in settled:
        others = [other for other in settled if other is not own]
        places.append(apportion(own, others, cores=4, room_bytes=memory).place)

    waiting = sorted(place for place in places if place)
    assert waiting == sorted(set(waiting))


@pytest.mark.parametrize(
    ("own", "others", "kin"),
    [
        pytest.param((7, True), [(7, False, 6), (7, False, 9), (8, False, 10)], 9, id="the most"),
        pytest.param((7, True), [(7, True, 60), (8, False, 60)], 0, id="guesses do not count"),
        pytest.param((0, True), [(0, False, 60)], 0, id="no function in particular"),
    ],
)
def test_what_others_measured_of_the_same_function_is_told(own, others, kin):
    kind, is_guess = own
    beside = [
        Claim(f"other {number}", -1.0, 1, 1, size, size, size, kind=kind, is_guess=is_guess)
        for number, (kind, is_guess, size) in enumerate(others)
    ]
    mine = Claim("own", 0.0, 1, 0, 199, 199, kind=kind, is_guess=is_guess)

    assert apportion(mine, beside, cores=2, room_bytes=10**6).kin_bytes == kin


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        pytest.param((2, 1000, 0), (2, 1100, 0), 1000, id="hardly another"),
        pytest.param((2, 1000, 0), (2, 1300, 0), 1300, id="another"),
        pytest.param((2, 1000, 0), (3, 1100, 0), 1100, id="others share it"),
        pytest.param((2, 1000, 0), (2, 590, 0), 590, id="not enough any more"),
        pytest.param((2, 590, 0), (2, 610, 0), 610, id="enough at last"),
        pytest.param((2, None, 0), (2, 1000, 0), 1000, id="not alone any more"),
        pytest.param((2, 1000, 0), (2, None, 0), None, id="alone again"),
        pytest.param((2, 1000, 0), (2, 900, 1), 900, id="in line"),
    ],
)
def test_a_share_of_memory_stays_while_it_is_enough_and_hardly_another(before, after, kept):
    old, new = (
        Share(4, size, instances, place, because(Code.SHARE_FAIR))
        for instances, size, place in (before, after)
    )

    assert steady(old, new, 600).slot_bytes == kept


@given(
    room=st.integers(0, 10**6),
    unit=st.integers(1, 1000),
    others=st.lists(
        st.tuples(st.integers(1, 1000), st.integers(1, 5), st.integers(0, 5)),
        min_size=1,
        max_size=5,
    ),
)
def test_who_need_not_wait_has_at_least_what_one_chunk_needs(room, unit, others):
    own = Claim("own", 0.0, 1, 0, unit, unit)
    beside = [
        Claim(f"o{number}", -1.0, 1, 1, size, wanted * size, min(wanted, held) * size)
        for number, (size, wanted, held) in enumerate(others)
    ]

    share = apportion(own, beside, cores=2, room_bytes=room)

    assert share.place or share.slot_bytes >= unit


def crowd(used_bytes: int) -> list[Claim]:
    """Four instances, each with one task of 60 MB."""
    return [
        Claim(f"{number}", float(number), 2, 1, 60 * MIB, 60 * MIB, 60 * MIB, used_bytes)
        for number in range(4)
    ]


NEWCOMER = Claim("new", 9.0, 2, 0, 60 * MIB, 60 * MIB)


def test_tasks_that_have_just_ended_leave_no_room_for_more_than_before():
    pool = Pool()
    told = crowd(60 * MIB)
    for look in range(4):
        assert pool.believe(NEWCOMER, told, -60 * MIB, look * 0.05) == -60 * MIB

    room = pool.believe(NEWCOMER, told, 180 * MIB, 0.2)  # all have ended, and nobody has said so

    assert apportion(NEWCOMER, told, cores=2, room_bytes=180 * MIB).place == 0
    assert room == -60 * MIB
    assert apportion(NEWCOMER, told, cores=2, room_bytes=room).place == 1


def test_room_that_stays_is_believed_after_a_few_looks():
    pool = Pool()
    for look in range(8):
        pool.believe(NEWCOMER, crowd(60 * MIB), -60 * MIB, look * 0.05)

    believed = [
        pool.believe(NEWCOMER, crowd(60 * MIB), 180 * MIB, 0.4 + look * 0.05) for look in range(8)
    ]

    assert believed[0] == -60 * MIB
    assert believed[-1] == 180 * MIB


def test_less_room_than_before_is_believed_at_once_and_that_of_one_who_is_alone_always():
    pool = Pool()
    pool.believe(NEWCOMER, crowd(0), 500 * MIB, 0.0)

    assert pool.believe(NEWCOMER, crowd(0), 100 * MIB, 0.05) == 100 * MIB
    assert pool.believe(NEWCOMER, [], 900 * MIB, 0.1) == 900 * MIB
