"""What the others on a host are told of the memory that running chunks take: as it is, and in time.

Who waits for a share reckons with what is used of promises beside what is left of the host. Were
that half a second old, four tasks of 60 MB that have just ended would leave room for four more.
"""

from adaptive_exec.config import Config
from adaptive_exec.core import events as ev
from adaptive_exec.core.sharing.share import Claim
from adaptive_exec.core.sharing.tenancy import SHARE_LOOK_SECONDS, SHARE_SECONDS
from tests.core.world import World, make_host

MIB = 2**20
GIB = 2**30
TASK = 60 * MIB
OTHER = Claim("other", -1.0, 2, 1, TASK, 2 * TASK, TASK, TASK)


def begin() -> World:
    """Beside a neighbour one chunk is out, of a function whose tasks take 60 MB."""
    world = World(Config(levels="process", max_workers=1), make_host(available=GIB, limit=GIB))
    world.neighbours = [OTHER]
    world.open(tasks=50, chunk_tasks=1)
    world.arrive(1, 50)
    for _ in range(3):
        staff(world)
        world.done(next(iter(world.chunks)), span_bytes=TASK, peak_bytes=TASK, kept_bytes=0)
        look(world, 0)
        world.wait(0.05)
    world.wait(SHARE_SECONDS)
    look(world, 0)
    assert len(world.chunks) == 1
    assert world.offers[-1].claim.used_bytes == 0
    return world


def staff(world: World) -> None:
    for worker in list(world.starting):
        world.ready(worker, size_bytes=10 * MIB)


def look(world: World, grown: int) -> None:
    """Answer the readings that were asked for: workers with a chunk have grown by so much."""
    while world.reads:
        world.reads = 0
        roster = world.run.rosters["process"]
        sizes = tuple(
            (worker, 10 * MIB + grown * (worker in roster.busy)) for worker in world.workers
        )
        host = make_host(available=700 * MIB - grown, limit=GIB, at=world.at)
        world.say(ev.HostSampled(world.at, host, sizes))


def test_a_chunk_that_is_over_is_told_at_once():
    world = begin()
    world.wait(SHARE_SECONDS)
    look(world, TASK)
    world.wait(SHARE_LOOK_SECONDS)
    look(world, TASK)
    assert world.offers[-1].claim.used_bytes == TASK
    (chunk,) = world.chunks
    world.wait(0.01)

    world.done(chunk, span_bytes=TASK, peak_bytes=TASK, kept_bytes=0)
    look(world, 0)

    claim = world.offers[-1].claim
    assert claim.used_bytes == 0
    assert claim.held_bytes >= TASK
    assert world.at < world.timer


def test_a_chunk_that_has_grown_is_told_after_a_moment():
    world = begin()
    before = len(world.offers)

    for _ in range(3):
        world.wait(SHARE_LOOK_SECONDS)
        look(world, TASK)

    assert len(world.offers) == before + 1
    assert world.offers[-1].claim.used_bytes == TASK


def test_little_that_chunks_take_more_or_less_is_told_with_the_next_trade_only():
    world = begin()
    before = len(world.offers)

    for step in range(5):
        world.wait(SHARE_LOOK_SECONDS)
        look(world, (step % 2) * 5 * MIB)

    assert len(world.offers) == before


def test_a_trade_that_is_due_goes_by_a_reading_of_that_moment():
    world = begin()
    world.wait(0.1)
    look(world, TASK)
    for _ in range(20):
        before = len(world.offers)
        world.wait(0.05)
        assert len(world.offers) == before, "traded by an old reading"
        look(world, TASK)

    traded = [event for event, _ in world.history if isinstance(event, ev.ShareChanged)]
    readings = [event.at for event, _ in world.history if isinstance(event, ev.HostSampled)]
    assert {event.at for event in traded[2:]} <= set(readings)


def test_one_that_was_alone_and_lets_more_out_says_so_soon():
    world = World(Config(levels="process", max_workers=4), make_host())
    world.open(tasks=50, chunk_tasks=1)
    world.arrive(1, 50)
    staff(world)
    assert len(world.chunks) == 4

    world.wait(SHARE_LOOK_SECONDS)
    look(world, 0)
    world.wait(SHARE_LOOK_SECONDS)
    look(world, 0)

    claims = [order.claim for order in world.offers]
    assert [claim.held_slots for claim in claims] == [0, 4]
    assert claims[1].held_bytes == 4 * claims[1].unit_bytes > claims[0].held_bytes


def test_in_a_crowd_what_tasks_have_freed_is_told_less_often():
    world = begin()
    world.neighbours = [
        OTHER._replace(name=f"other {number}", held_bytes=0) for number in range(64)
    ]
    for _ in range(30):
        world.wait(SHARE_LOOK_SECONDS)
        look(world, TASK)
    before = len(world.offers)

    for _ in range(40):  # tasks of 25 ms
        world.wait(0.025)
        look(world, TASK)
        world.done(next(iter(world.chunks)), span_bytes=TASK, peak_bytes=TASK, kept_bytes=0)
        look(world, 0)

    assert len(world.offers) - before <= 1.0 / (4 * SHARE_LOOK_SECONDS) + 1


def test_an_input_that_lets_wait_promises_nothing_until_it_goes_on():
    world = World(Config(levels="process", max_workers=2), make_host())
    world.neighbours = [OTHER]
    world.open(chunk_tasks=1)
    staff(world)
    assert world.offers[-1].claim.wanted_bytes > 0

    for _ in range(6):
        world.wait(SHARE_SECONDS)
        look(world, 0)
    claim = world.offers[-1].claim
    assert (claim.unit_bytes, claim.wanted_bytes, claim.held_bytes) == (0, 0, 0)
    before = len(world.offers)

    world.arrive(1, 2)
    staff(world)
    look(world, 0)

    assert len(world.offers) == before + 1
    assert world.offers[-1].claim.wanted_bytes > 0
    assert world.chunks
