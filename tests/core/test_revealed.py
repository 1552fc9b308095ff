"""A kernel's kill while all known limits leave room shows one that cannot be seen."""

import pytest

from adaptive_exec.config import GIB, MIB, Config
from adaptive_exec.core import events as ev
from adaptive_exec.core.memory.revealed import LOWER_SHARE, SETTLED_SECONDS
from adaptive_exec.core.reason import Code
from adaptive_exec.core.snapshot import LEARNED
from tests.core.world import World, make_host

LIMIT_BYTES = 16 * GIB
HIDDEN_BYTES = 512 * MIB


def begin(*, available=LIMIT_BYTES, limit=LIMIT_BYTES, source="test") -> World:
    host = make_host(available=available, limit=limit)._replace(limit_source=source)
    world = World(Config(max_workers=4), host)
    world.open(tasks=8, chunk_tasks=1)
    world.arrive(1, 8)
    for worker in list(world.starting):
        world.ready(worker, 10**7)
    world.say(ev.HostSampled(world.at, host))
    return world


def kill(world: World, *, left=LIMIT_BYTES, most=HIDDEN_BYTES, peak=100 * MIB, counted=True):
    worker = next(iter(world.chunks.values())).order.worker
    facts = {"left_bytes": left, "most_bytes": most, "peak_bytes": peak}
    world.lose(worker, offset=0, is_counted=counted, unexplained=True, **facts)


def revealed(world: World) -> list[Code]:
    return [one.code for one in world.told if one.code is Code.LIMIT_HIDDEN]


def test_what_had_been_used_is_taken_for_the_limit():
    world = begin()
    reads = world.reads
    kill(world)

    assert world.believed == [HIDDEN_BYTES]
    assert len(revealed(world)) == 1
    assert world.reads > reads


@pytest.mark.parametrize(
    ("begun", "killed"),
    [
        pytest.param({}, {"counted": False}, id="it was not the kernel"),
        pytest.param({"available": GIB}, {}, id="there was little room at the last look"),
        pytest.param({}, {"left": GIB, "peak": GIB}, id="there is room only since it is dead"),
        pytest.param({"limit": HIDDEN_BYTES}, {}, id="the known limit was all used"),
        pytest.param({}, {"most": None}, id="nothing tells what was used"),
        pytest.param({}, {"left": None}, id="the host could not be read"),
    ],
)
def test_a_kill_that_known_limits_explain_shows_nothing(begun, killed):
    begun = {"available": begun["limit"]} | begun if "limit" in begun else begun
    world = begin(**begun)
    kill(world, **killed)

    assert world.believed == []
    assert revealed(world) == []


def test_several_kills_in_one_moment_show_one_limit():
    world = begin()
    kill(world)
    kill(world, most=HIDDEN_BYTES + MIB)

    assert world.believed == [HIDDEN_BYTES]


def test_another_kill_below_a_limit_that_was_learned_lowers_it():
    world = begin(limit=HIDDEN_BYTES, available=HIDDEN_BYTES, source=f"cgroup {LEARNED} at /")
    world.at += SETTLED_SECONDS
    kill(world, left=HIDDEN_BYTES)

    assert world.believed == [int(LOWER_SHARE * HIDDEN_BYTES)]
