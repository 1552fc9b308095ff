"""The levels: one row each, best first. Who decides asks the row, never the name.

What a level can do is told here and nowhere else; how it does it is its runner's matter.
"""

from typing import Final, NamedTuple


class LevelSpec(NamedTuple):
    """What a level can do.

    Attributes:
        name: As settings, decisions and reports have it.
        isolates: A task that ends its worker does not end the caller; a running one can be killed,
            and what it takes of this host's memory is measured.
        runs_inline: Chunks run in their callers' own threads, so that none is with a worker.
        shares_memory: Arguments and results are not copied.
        is_beside: It is no step of the ladder: an engine's workers elsewhere, which take a share of
            each batch beside the level that the ladder has chosen, for as long as they are there.
    """

    name: str
    isolates: bool
    runs_inline: bool
    shares_memory: bool
    is_beside: bool = False


SPECS: Final = (
    LevelSpec("cluster", isolates=False, runs_inline=False, shares_memory=False, is_beside=True),
    LevelSpec("process", isolates=True, runs_inline=False, shares_memory=False),
    LevelSpec("thread", isolates=False, runs_inline=False, shares_memory=True),
    LevelSpec("sequential", isolates=False, runs_inline=True, shares_memory=True),
)
LEVELS: Final = tuple(spec.name for spec in SPECS if not spec.is_beside)
"""The names of the ladder's levels, best first."""
BESIDE: Final = next(spec.name for spec in SPECS if spec.is_beside)
"""The level that helps whichever of them has been chosen."""
ISOLATED: Final = next(spec.name for spec in SPECS if spec.isolates)
"""The level at which a suspect may run, and whose workers are weighed."""
SHARED: Final = next(spec.name for spec in SPECS if spec.shares_memory and not spec.runs_inline)
"""The best level with workers whose tasks run in the caller's process."""
INLINE: Final = next(spec.name for spec in SPECS if spec.runs_inline)
"""The level that needs nothing of the host."""
is_isolated: Final = frozenset(spec.name for spec in SPECS if spec.isolates).__contains__
"""Says whether a task at a level can die without taking the caller with it."""
is_inline: Final = frozenset(spec.name for spec in SPECS if spec.runs_inline).__contains__
"""Says whether chunks of a level run in their callers' own threads."""
is_counted: Final = frozenset(
    spec.name for spec in SPECS if not (spec.runs_inline or spec.is_beside)
).__contains__
"""Says whether chunks of a level are with workers on this host, whose room and cores they take."""
is_beside: Final = frozenset(spec.name for spec in SPECS if spec.is_beside).__contains__
"""Says whether a level helps beside the ladder."""
