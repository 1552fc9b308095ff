"""What the program has set, as it stands at the start of a batch, on its way to workers.

Read in the caller's own thread, since some of it is a thread's own, and packed only where something
has changed. No lock: what was read is replaced as a whole, so that two threads may read at once,
and a finalizer within. Does not know of workers.
"""

import itertools
import logging
import sys
from collections.abc import Callable
from contextvars import Context
from time import monotonic
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from adaptive_exec.program.kept import Kept, find_kept
from adaptive_exec.program.modules import Glimpse, Watched, is_same_space, own_modules
from adaptive_exec.program.table import NOT_READ, ROWS, Row
from adaptive_exec.system.pickles import dump, dump_plain

if TYPE_CHECKING:
    from adaptive_exec.program.modules import Space

SLOW_SECONDS = 0.01
"""Seconds for which what takes longer to read (the umask, what users have registered) is not read
again for a submitted call; a map reads all."""
QUICK_SECONDS = 0.001
"""Seconds for which the rest is not read again for a call among others that are open: a read per
call would take a tenth of what a tiny one takes."""
REGISTERED, MODULE, GUESTS = "registered ", "module ", "functions in module "
"""Beginnings of the names of settings that are not in the table."""
_LOGGER = logging.getLogger("adaptive_exec")
_SLOW_ROWS = {name: row for name, row in ROWS.items() if row.is_slow}
_numbers = itertools.count(1)


class Settings(NamedTuple):
    """One state of the program's settings.

    Attributes:
        number: Tells it from others; a later one has a higher number.
        packed: Each setting's packed value by its name.
        body: All of it as it travels.
        kept: What cannot travel of the user's modules, and is shared by a fork alone.
    """

    number: int
    packed: dict[str, bytes]
    body: bytes
    kept: frozenset[Kept] = frozenset()


class Surroundings(NamedTuple):
    """What a task finds as its caller had it.

    Attributes:
        settings: What the program had set, None where no process will ask.
        context: The context variables.
    """

    settings: Settings | None
    context: Context


_Look = tuple[Callable[[], Any], Callable[[Any, Any], Any], Any]


class _State(NamedTuple):
    """What was read last, and how to see at a glance that it has not changed.

    Attributes:
        settings: What came of it.
        copies: What each row had.
        watched: What each of the user's modules had.
        looks: How to read each row that is quick, how to compare, and what to compare with.
        sharp: Those of them that are read for each call.
        spaces: Each of the user's modules' names, their values' identities, and its collections.
        glimpses: What sees at less cost whether any but code has changed in them.
        module_count: How many modules were loaded.
        looked_at: Monotonic seconds at which the quick rows were read.
        slow_at: The same of the slow ones.
    """

    settings: Settings
    copies: dict[str, Any]
    watched: dict[str, Watched]
    looks: list[_Look]
    sharp: list[_Look]
    spaces: list["Space"]
    glimpses: list[Glimpse]
    module_count: int
    looked_at: float
    slow_at: float


class _Registered(NamedTuple):
    read: Callable[[], Any]
    apply: Callable[[Any], object]


_state = _State(Settings(0, {}, b""), {}, {}, [], [], [], [], -1, float("-inf"), float("-inf"))
_registered: dict[str, _Registered] = {}


def register_setting(name: str, read: Callable[[], Any], apply: Callable[[Any], object]) -> None:
    """Have a setting of the program's own travel to workers, too.

    Args:
        name: Names it; a second one of that name takes the first one's place.
        read: Returns its value, which can be pickled. Called in the caller's thread at the start of
            each batch, so it has to be quick.
        apply: Called in each worker with the value, before its first task and whenever the value
            has changed; it has to be such that it can be pickled, as a function of a module is.

    Raises:
        TypeError: The name is no text, or one of the functions cannot be called.

    >>> import locale
    >>> register_setting("my numbers", locale.localeconv, print)
    >>> forget_setting("my numbers")
    """
    _check_registered(name, read=read, apply=apply)
    _registered[name] = _Registered(read, apply)
    _forget_slow()


def _check_registered(name: object, **functions: object) -> None:
    if not isinstance(name, str):
        message = f"name must be a text, got {name!r}; name what is set"
        raise TypeError(message)
    for role, function in functions.items():
        if not callable(function):
            message = f"{role} must be callable, got {function!r}; pass the function itself"
            raise TypeError(message)


def forget_setting(name: str) -> None:
    """Have a registered setting travel no more; workers keep what they have.

    Args:
        name: As it was registered; an unknown one is passed over.
    """
    _registered.pop(name, None)
    _forget_slow()


def _forget_slow() -> None:
    global _state  # noqa: PLW0603  # the one owner of what was read
    _state = _state._replace(slow_at=float("-inf"))


def newest_settings() -> Settings:
    """Return what was read last, or read it."""
    return _state.settings if _state.settings.number else read_settings()


def read_settings() -> Settings:
    """Read what the program has set; the same object as before where nothing has changed.

    Raises:
        Exception: Whatever a registered `read` raises.
    """
    return _look(_state, is_slow=True)


def read_for_call(*, is_alone: bool) -> Settings:
    """Read what the program has set, for one of many calls: 4 us, and 2 for one among others.

    What is set from call to call (the folder, the environment, decimal's context, modules of the
    user's own) is read each time, the rest for a call among others once in a while.

    Args:
        is_alone: Whether no other call is open.

    Raises:
        Exception: Whatever a registered `read` raises.
    """
    state = _state
    now = monotonic()
    if not is_alone and now < state.looked_at + QUICK_SECONDS and _are_same_at_a_glance(state):
        return state.settings
    return _look(state, is_slow=now > state.slow_at + SLOW_SECONDS)


def _look(state: _State, *, is_slow: bool) -> Settings:
    global _state  # noqa: PLW0603  # the one owner of what was read
    now = monotonic()
    asked = _ask_registered(state) if is_slow else {}
    is_same = not asked and _are_same(state, state.looks)
    if not is_same or (is_slow and _changed_rows(state, _SLOW_ROWS)):
        return _read(state, now, asked)
    _state = state._replace(looked_at=now, slow_at=now if is_slow else state.slow_at)
    return state.settings


def _are_same(state: _State, looks: "list[_Look]") -> bool:
    """Say whether rows and the user's modules are as they were."""
    return _are_rows_same(state, looks) and _are_modules_same(state)


def _are_same_at_a_glance(state: _State) -> bool:
    """Say the same of what is set from call to call, but for functions, classes and imports."""
    if not _are_rows_same(state, state.sharp):
        return False
    try:
        return all(map(Glimpse.is_same, state.glimpses))
    except Exception:  # noqa: BLE001  # as in `_are_modules_same`
        return False


def _are_rows_same(state: _State, looks: "list[_Look]") -> bool:
    if len(sys.modules) != state.module_count:
        return False
    try:
        for read, same, copy in looks:
            if not same(read(), copy):
                return False
    except Exception:  # noqa: BLE001  # another thread changes it, or it cannot be compared
        return False
    return True


def _are_modules_same(state: _State) -> bool:
    try:
        return all(itertools.starmap(is_same_space, state.spaces))
    except Exception:  # noqa: BLE001  # another thread changes it, or it cannot be compared
        return False


def _read(state: _State, now: float, asked: dict[str, bytes]) -> Settings:
    global _state  # noqa: PLW0603  # the one owner of what was read
    modules = dict(own_modules())
    changed = _changed_rows(state, ROWS)
    watched = _changed_modules(state, modules)
    packed = {**state.settings.packed, **asked}
    _pack_rows(packed, changed)
    _pack_modules(packed, watched)
    settings = state.settings
    copies = {**state.copies, **changed}
    watched = {**state.watched, **watched}
    kept = frozenset(one for name in modules if name in watched for one in watched[name].kept)
    if packed != settings.packed or kept != settings.kept or not settings.number:
        settings = Settings(next(_numbers), packed, dump_plain(packed), kept)
    quick = {name: copy for name, copy in copies.items() if not ROWS[name].is_slow}
    _state = _State(
        settings,
        copies,
        watched,
        _looks_at(quick),
        _looks_at({name: copy for name, copy in quick.items() if ROWS[name].is_sharp}),
        [space for name in modules if name in watched for space in watched[name].spaces],
        [one for name in modules if name in watched for one in watched[name].glimpses],
        len(sys.modules),
        now,
        now,
    )
    return settings


def _looks_at(copies: dict[str, Any]) -> list[_Look]:
    return [(ROWS[name].read, ROWS[name].same, copy) for name, copy in copies.items()]


def _changed_rows(state: _State, rows: dict[str, Row]) -> dict[str, Any]:
    changed = {}
    for name, row in rows.items():
        if row.package and row.package not in sys.modules:
            continue
        try:
            value = row.read()
            if not row.same(value, state.copies.get(name, NOT_READ)):
                changed[name] = row.copy(value)
        except Exception:  # a package of another version, or half imported by another thread
            _LOGGER.debug("settings: cannot read the %s", name, exc_info=True)
    return changed


def _changed_modules(state: _State, modules: dict[str, ModuleType]) -> dict[str, Watched]:
    watched = {}
    for name, module in modules.items():
        known = state.watched.get(name)
        try:
            if known is None or not known.is_same(module):
                seen = Watched(module)
                seen.kept = find_kept(name, vars(module))
                watched[name] = seen
        except Exception:  # a thread changes it meanwhile; the next batch looks again
            _LOGGER.debug("settings: cannot read module %s", name, exc_info=True)
    return watched


def _pack_rows(packed: dict[str, bytes], changed: dict[str, Any]) -> None:
    for name, value in changed.items():
        try:
            told = ROWS[name].pack(value)
            if told is not None or name in packed:
                packed[name] = dump(told) if ROWS[name].is_rich else dump_plain(told)
        except Exception:  # it holds what cannot be pickled; the rest travels all the same
            _LOGGER.warning("settings: the %s cannot travel to workers", name, exc_info=True)


def _pack_modules(packed: dict[str, bytes], watched: dict[str, Watched]) -> None:
    for name, one in watched.items():
        try:
            packed[MODULE + name] = dump_plain(one.facts)
            if one.guests or GUESTS + name in packed:
                packed[GUESTS + name] = dump(one.guests)
        except Exception:  # a value of a type that was changed since; the module's own stays
            _LOGGER.debug("settings: module %s cannot travel", name, exc_info=True)


def _ask_registered(state: _State) -> dict[str, bytes]:
    asked = {}
    for name, one in list(_registered.items()):
        told = dump((one.apply, one.read()))
        if state.settings.packed.get(REGISTERED + name) != told:
            asked[REGISTERED + name] = told
    return asked
