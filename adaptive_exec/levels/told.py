"""Which names of the caller's modules a worker has, and in which version.

Sends what it lacks, and word of what nobody needs any more. Does not decide what a task needs.
"""

from collections.abc import Mapping, Sequence
from operator import is_
from time import monotonic

from adaptive_exec.levels.arena import IDLE_SECONDS, SharedPiece
from adaptive_exec.levels.channel import Channel
from adaptive_exec.levels.functions import PROGRAM
from adaptive_exec.levels.laid import Laid
from adaptive_exec.levels.wire import NAMES, UNNAME, Packed
from adaptive_exec.program.names import Entry
from adaptive_exec.program.spaces import SHARED, Key


class ToldNames:
    """The names of one worker."""

    def __init__(self) -> None:
        self._versions: dict[Key, int] = {}
        self._leaving: dict[Key, int] = {}
        self._last: Mapping[Key, Entry] | None = None
        self._needs: Sequence[Mapping[Key, Entry]] = ()
        self._laid: Sequence[Laid] = ()
        self._held_until: float | None = None
        self._past: dict[Key | int, tuple[object, float]] = {}

    @property
    def has_leaving(self) -> bool:
        """Whether it has some that go when nobody needs them."""
        return bool(self._leaving or self._laid or self._past)

    def was_born_with(self, versions: Mapping[Key, int]) -> None:
        """Note what its starter gave it."""
        self._versions = {**versions, **self._versions}

    def tell(
        self, channel: Channel, needs: Sequence[Mapping[Key, Entry]], laid: Sequence[Laid] = ()
    ) -> None:
        """Put what it lacks of these into its channel.

        They are held, as is what its functions carry, for a moment beyond its last task that needs
        them: in a loop of several maps the next but one may.
        """
        if not _are_same(laid, self._laid) or (self._leaving and not _are_same(needs, self._needs)):
            self._leave_behind()
        self._needs, self._laid, self._held_until = needs, laid, None
        for names in needs:
            if names is not self._last:
                self._last = names
                self._put(channel, names)

    def _put(self, channel: Channel, names: Mapping[Key, Entry]) -> None:
        lacking = [one for key, one in names.items() if self._versions.get(key) != one.version]
        if not lacking:
            return
        wanted = {entry.version for entry in lacking}
        groups = {id(entry.group): entry.group for entry in lacking if entry.group is not None}
        for group in groups.values():
            facts = [(*one, one[1] in wanted) for one in group.entries]
            assert isinstance(group.memory, SharedPiece), "as it was laid there"
            channel.put_shared((NAMES, facts), group.lengths, group.memory)
        small = [entry for entry in lacking if entry.content is not None]
        if small:
            parts = [part for entry in small for part in entry.parts()]
            channel.put((NAMES, [(*entry.facts, True) for entry in small]), Packed.of_parts(parts))
        for entry in lacking:
            self._past.pop(entry.key, None)  # the same name has another value now
            self._versions[entry.key] = entry.version
            if entry.leaves:
                self._leaving[entry.key] = entry.version

    def _leave_behind(self) -> None:
        """Hold what the last task has needed for a moment; what was shared goes with its handle."""
        until = monotonic() + IDLE_SECONDS
        for names in self._needs:
            for key, entry in names.items():
                if entry.leaves and key[0] != SHARED:
                    self._past[key] = entry, until
        for one in self._laid:
            self._past[id(one)] = one, until

    def pass_by(self, now: float) -> None:
        """Hold what a task needed a moment ago no longer."""
        for key in [key for key, (_, until) in self._past.items() if until <= now]:
            del self._past[key]

    def rest(self, now: float) -> None:
        """Hold nothing for its tasks any more, a moment after the last: the next may need it."""
        if self._held_until is None:
            self._held_until = now + IDLE_SECONDS
        if now >= self._held_until:
            self._needs = self._laid = ()
            self._last = None

    def tell_gone(self, channel: Channel) -> bool:
        """Put word of what nobody needs any more into its channel; return whether there is any."""
        gone = [key for key, version in self._leaving.items() if not PROGRAM.is_alive(version)]
        if not gone:
            return False
        for key in gone:
            del self._leaving[key]
            self._versions.pop(key, None)
        self._last = None
        channel.put((UNNAME, gone))
        return True


def _are_same(some: Sequence[object], others: Sequence[object]) -> bool:
    return len(some) == len(others) and all(map(is_, some, others))
