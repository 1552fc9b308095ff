"""Which way workers come to be: forked from the caller, from a zygote, or by loky.

Chosen at the first batch and again where one fails for good; says why. Packs what workers are
started with. Does not serve workers: that is `levels/process`.
"""

import gc
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from adaptive_exec.config import Config
from adaptive_exec.core.events import HashesDiffer, ObjectsCopied, StarterChanged, StarterChosen
from adaptive_exec.core.starts import Answer, Setback, judge
from adaptive_exec.levels.arena import ARENA_BYTES_MAX
from adaptive_exec.levels.base import FULL, CannotStartError, Outlet
from adaptive_exec.levels.functions import PackedFunction, pack_first
from adaptive_exec.levels.interpreter import is_frozen, is_refusal
from adaptive_exec.levels.left_open import (
    connection_kinds,
    numbers_of_connections,
    numbers_of_trackers,
)
from adaptive_exec.levels.loky import LokyStarter, load_context
from adaptive_exec.levels.snapshots import Obstacle, find_obstacle
from adaptive_exec.levels.starter import Relayed, Starter, StarterEvents, Terms
from adaptive_exec.levels.unsendable import explain_item
from adaptive_exec.levels.waiter import Waiter
from adaptive_exec.levels.zygote import Origin, ZygoteStarter
from adaptive_exec.program.generators import choose_generators, find_instances, generator_kinds
from adaptive_exec.program.hashes import choose_hash_seed, note_workers
from adaptive_exec.program.inherited import NOTHING, Inherited
from adaptive_exec.program.kept import Kept, find_all_kept, find_inherited
from adaptive_exec.program.names import Entry
from adaptive_exec.program.settings import Settings, newest_settings
from adaptive_exec.program.spaces import Key, main_facts

PUBLISH_SECONDS: Final = 0.0005
"""Seconds of finished results that a worker may hold back, so at most these are lost with it."""
LEFT_WORK_SECONDS: Final = 60.0
"""Seconds that what tasks have left in threads, pools and exit handlers of a worker gets, once the
worker is to end; an interpreter waits without bound, twice START_SECONDS is enough to upload."""

LEVEL = "process"
SNAPSHOT, ZYGOTE, BARE_ZYGOTE, LOKY = "snapshot", "zygote", "bare zygote", "loky"
"""Ways to start workers, in the order in which they are tried; the first only at the beginning."""
EARLY_DEATHS, FRESH_SECONDS = 2, 0.1
"""Deaths before any result that speak against a way to start workers while others are busy, and for
how long these may have been."""
FROZEN_BY_PYTHON = 1_000
"""Objects set aside for the garbage collector that are Python's own: 375 in Python 3.12. A program
that does so sets aside all that it has, 4,000 objects before its first line."""
COPIED_TOLD = 10
"""Objects that are named in one line, of those that are not shared with the caller."""


class Ways:
    """Opens the starter of a process level's workers.

    Args:
        reports: Hears of what the starter does.
        outlet: Where events go.
        waiter: Where descriptors are watched.
        config: Uses start, initializer, initargs, inner_threads, max_workers, retries.
        cores: Usable cores, for the share of inner threads.
        preload: Says which packed functions, by batch, a zygote is to load before it forks.
        inherited: What workers have from a fork, for those who pack; kept up here.
        open_bell: Makes what workers wake us by.

    Attributes:
        relayed: How what tasks say comes to us, by what the present workers were started with.
        born_with: What the program had set when they were.
        looked_at: The settings of which copied objects were last told.
        why_changed: What is to be added to why a worker cannot be had.
        is_forking: True while the caller is forked: the child is to have the bell.
    """

    def __init__(
        self,
        reports: StarterEvents,
        outlet: Outlet,
        waiter: Waiter,
        config: Config,
        *,
        cores: int,
        preload: Callable[[], Mapping[int, PackedFunction]],
        inherited: Inherited,
        open_bell: Callable[[], Relayed | None],
    ) -> None:
        self._reports = reports
        self._outlet = outlet
        self._waiter = waiter
        self._config = config
        self._cores = cores
        self._preload = preload
        self._inherited = inherited
        self._open_bell = open_bell
        is_loky = config.start == "loky" or (config.start is None and sys.platform != "linux")
        self._ways = [LOKY] if is_loky else [ZYGOTE, BARE_ZYGOTE, LOKY]
        self._setback: Setback | None = None
        self._carried: frozenset[Kept] = frozenset()
        self._told: set[str] = set()
        self._early_deaths, self._has_left_one = 0, False
        self._noted: list[str] = []
        self._has_told_hashes = False
        self.relayed: Relayed | None = None
        self.born_with: Settings | None = None
        self.looked_at: Settings | None = None
        self.why_changed = ""
        self.is_forking = False
        if is_loky and not is_frozen():
            load_context()  # here and now: the first worker may be ordered as the interpreter ends

    @property
    def has_zygote(self) -> bool:
        """Whether workers are forked; else each start takes what an interpreter does."""
        return self._ways[0] != LOKY

    def take_snapshot(
        self,
        workers: int,
        room_bytes: int,
        functions: Mapping[int, tuple[Callable[..., Any], PackedFunction]],
        wanted: Inherited = NOTHING,
        *,
        is_expected: bool = False,
    ) -> Starter | None:
        """Fork the caller for its workers where that is safe, or was asked for.

        In the caller's own thread, before there is one of ours.

        Args:
            workers: How many there may be.
            room_bytes: Memory that they may have.
            functions: What tasks call, by batch, and the same as it travels.
            wanted: What they need that is to be had by a fork only.
            is_expected: True for a caller who expects a fork, as of the standard pool.

        Returns:
            The starter; None where it is another way, or failed.
        """
        if self._ways[0] != ZYGOTE:
            return None
        with _collecting_nothing():
            return self._take_snapshot(
                workers, room_bytes, functions, wanted, is_expected=is_expected
            )

    def _take_snapshot(
        self,
        workers: int,
        room_bytes: int,
        functions: Mapping[int, tuple[Callable[..., Any], PackedFunction]],
        wanted: Inherited,
        *,
        is_expected: bool,
    ) -> Starter | None:
        found = find_instances(generator_kinds() | connection_kinds())
        inherited = {*numbers_of_trackers(), *numbers_of_connections(found)}
        known = self._waiter.descriptors() | inherited
        obstacle = find_obstacle(workers, room_bytes, known, is_expected=is_expected)
        first = self._pack_first_if_it_can()
        kept = find_all_kept()
        objects = find_inherited() | wanted.objects
        is_needed = bool(kept or objects)
        if obstacle is not None and not self._may_overrule(obstacle, first, is_needed=is_needed):
            self._say_way(ZYGOTE, obstacle.text)
            return None
        packed = [first, *(one for _, one in functions.values())]
        names = {key: entry for one in packed if one for key, entry in one.names.items()}
        origin = Origin(
            self._first_call(),
            {number: function for number, (function, _) in functions.items()},
            inherited,
            objects,
            self._choose_generators(found),
            may_have_threads=is_expected or obstacle is not None,
        )
        self._ways.insert(0, SNAPSHOT)
        try:
            starter = self._fork(workers, names, origin)
        except Exception as error:  # noqa: BLE001  # by origin: all that a start raises is a refused start
            self._ways.pop(0)
            self._say_way(ZYGOTE, f"the fork failed ({type(error).__name__}: {error})")
            return None
        self._carried = kept
        self._inherited.objects.update(objects)
        why = "" if obstacle is None else f"asked for, although {obstacle.text}"
        self._say_way(SNAPSHOT, why)
        return starter

    def find_starter(self, workers: int) -> Starter:
        """Open a starter; where one way is closed for good, the next.

        Args:
            workers: How many workers are wanted of it.

        Raises:
            CannotStartError: None can be had, now or later.
            OSError: Something was refused.
            MemoryError: There is no memory.
        """
        while True:
            try:
                return self._open_starter(workers)
            except CannotStartError:
                raise
            except Exception as error:
                text = f"{type(error).__name__}: {error}"
                answer = self.heed(Setback("launch", text, is_refusal(error), is_certain=True))
                if answer == "none":
                    raise CannotStartError(text) from error
                if answer == "again":
                    raise

    def heed(self, setback: Setback) -> Answer:
        """Take in that a way of starting workers failed, and go another where that is to be."""
        answer = judge(self._setback, setback, has_other=len(self._ways) > 1)
        self._setback = setback
        if answer == "other":
            old = self._ways.pop(0)
            if setback.skips_bare and self._ways[0] == BARE_ZYGOTE:
                self._ways.pop(0)
            self._setback = None
            self.why_changed = f"; no {old}: {setback.error}"
            now = time.monotonic()
            self._outlet.post(StarterChanged(now, LEVEL, old, self._ways[0], setback.error))
        return answer

    def doubt(self, how: str, busy_since: float | None) -> Setback | None:
        """Take in that a worker has died before any had a result.

        What was loaded once and forked (a library's threads, a device, a connection) may be dead in
        all of them: from then on each worker loads for itself. Nobody is taken away from a task
        that has run for a while.

        Args:
            how: How it has ended.
            busy_since: When the first of the others began what it does; None where none is busy.

        Returns:
            Why this way is to be left; None where that is not shown yet.
        """
        self._early_deaths += 1
        now = time.monotonic()
        since = now if busy_since is None else busy_since
        is_enough = busy_since is None or self._early_deaths >= EARLY_DEATHS
        if not is_enough or now - since > FRESH_SECONDS:
            return None
        self._early_deaths = 0
        error = f"workers died before any had a result, the last by {how}"
        # A task by itself has few lives: the surest way is tried while it has one.
        skips_bare = busy_since is None and self._has_left_one
        return Setback("work", error, is_certain=True, skips_bare=skips_bare)

    def note_started(self) -> None:
        """Say, once, where a text has another hash than in other workers of the program."""
        way = self._ways[0]
        if way in self._noted:
            return
        is_midway = SNAPSHOT in self._noted and way != SNAPSHOT
        self._noted.append(way)
        if note_workers(are_forked=way == SNAPSHOT) and not self._has_told_hashes:
            self._has_told_hashes = True
            old = ZYGOTE if way == SNAPSHOT else SNAPSHOT
            self._outlet.post(HashesDiffer(time.monotonic(), LEVEL, old, way, is_midway))

    def note_left(self) -> None:
        """Take in that a way is left for how its workers died."""
        self._has_left_one = True

    def tell_copied(self, settings: Settings) -> None:
        """Say once of each object that is to be shared that workers have another one."""
        self.looked_at = settings
        copied = [one for one in settings.kept - self._carried if one.path not in self._told]
        if copied:
            self._told.update(one.path for one in copied)
            names = ", ".join(sorted(f"{one.path} ({one.kind})" for one in copied)[:COPIED_TOLD])
            self._outlet.post(ObjectsCopied(time.monotonic(), LEVEL, names, self._ways[0]))

    def _may_overrule(
        self, obstacle: Obstacle, first: PackedFunction | None, *, is_needed: bool
    ) -> bool:
        """Say whether the caller is forked all the same: asked for, or there is no other way."""
        if obstacle.is_firm or self._config.start == "snapshot":
            return not obstacle.is_firm
        is_needed = is_needed or (first is None and self._config.initializer is not None)
        return obstacle.is_parked and is_needed

    def _say_way(self, way: str, why: str) -> None:
        self._outlet.post(StarterChosen(time.monotonic(), LEVEL, way, why))

    def _fork(self, workers: int, names: Mapping[Key, Entry], origin: Origin) -> Starter:
        known: list[tuple[Entry, list[bytes]]] = [(entry, []) for entry in names.values()]
        terms = self._make_terms(workers, None, known)
        self.is_forking = True
        try:
            return ZygoteStarter(self._reports, self._waiter, {}, terms, origin=origin)
        finally:
            self.is_forking = False

    def _first_call(self) -> tuple[Callable[..., Any], tuple[Any, ...]] | None:
        config = self._config
        return None if config.initializer is None else (config.initializer, config.initargs)

    def _choose_generators(self, found: list[Any]) -> list[Any] | None:
        """Choose those that workers are to have anew; None where some may not have been found."""
        if gc.get_freeze_count() > FROZEN_BY_PYTHON:
            return None
        return choose_generators(found, spare=self._config.initargs)

    def _pack_first_if_it_can(self) -> PackedFunction | None:
        """Pack the initializer for what names it needs; forked, it need not travel."""
        try:
            return self._pack_initializer()
        except CannotStartError:
            return None

    def _open_starter(self, workers: int) -> Starter:
        if self._ways[0] == SNAPSHOT:
            self._ways.pop(0)  # the caller has threads by now, and has changed
        has_lost_objects = bool(self._inherited.objects)
        self._inherited.objects.clear()
        first = self._pack_initializer()
        is_bare = self._ways[0] != ZYGOTE
        # What may need an object that went with the snapshot is to be packed anew, and refused.
        functions = {} if is_bare or has_lost_objects else self._preload()
        names = {} if first is None else dict(first.names)
        for function in functions.values():
            names.update(function.names)
        told = [(entry, entry.parts()) for entry in names.values()]
        terms = self._make_terms(workers, None if first is None else first.body, told)
        self._carried = frozenset()
        if self.born_with is not None:
            self.tell_copied(self.born_with)
        if self._ways[0] == LOKY:
            return LokyStarter(self._reports, self._waiter, terms)
        bodies = {number: function.body for number, function in functions.items()}
        return ZygoteStarter(self._reports, self._waiter, bodies, terms, is_bare=is_bare)

    def _make_terms(
        self, workers: int, first: bytes | None, names: list[tuple[Entry, list[bytes]]]
    ) -> Terms:
        self.relayed = self._open_bell()
        most = max(workers, min(self._config.max_workers or self._cores, self._cores))
        inner_threads = self._config.inner_threads or max(1, self._cores // most)
        self.born_with = newest_settings()
        return Terms(
            first=first,
            main=main_facts(),
            names=[(entry.facts, parts) for entry, parts in names],
            inner_threads=inner_threads,
            publish_seconds=PUBLISH_SECONDS if self._config.retries else 0.0,
            arena_bytes=ARENA_BYTES_MAX,
            hash_seed=choose_hash_seed(),
            left_work_seconds=LEFT_WORK_SECONDS,
            settings=self.born_with.body,
            relayed=self.relayed,
        )

    def _pack_initializer(self) -> PackedFunction | None:
        if self._config.initializer is None:
            return None
        call = self._first_call()
        assert call is not None, "looked at just now"
        try:
            return pack_first(*call)
        except Exception as error:  # noqa: BLE001  # its own pickling may raise anything
            unsendable = explain_item(FULL, (*call, {}), error, arguments="initargs")
            message = "the initializer cannot be had in workers"
            raise CannotStartError(message) from unsendable


@contextmanager
def _collecting_nothing() -> Iterator[None]:
    """Collect no garbage: what is made meanwhile is among the youngest objects."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
