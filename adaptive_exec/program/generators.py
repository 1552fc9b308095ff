"""Random generators that were made when modules and functions were loaded: each worker has its own.

Forked or copied they would draw the same numbers in each worker, wherever the program keeps them:
in a module, a class, a default argument, a closure. The garbage collector knows them all. What the
user passes as an argument is an argument, and stays as it is. Imports little.
"""

import gc
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from collections.abc import Set as AbstractSet
    from typing import Any

SPARED_MAX = 100_000
"""Objects that arguments are made of that are looked through for generators: 20 ms."""


def find_generators(*, spare: object = None, generation: "int | None" = None) -> "list[Any]":
    """Return all generators that are there: 5 ms for 60,000 objects.

    Args:
        spare: Arguments, of which the generators are left out.
        generation: The garbage collector's, of which they are; None for all.
    """
    kinds = generator_kinds()
    return _but_for(find_instances(kinds, generation=generation), kinds, spare)


def choose_generators(found: "list[Any]", *, spare: object = None) -> "list[Any]":
    """Return the generators among objects.

    Args:
        found: The objects.
        spare: Arguments, of which the generators are left out.
    """
    kinds = generator_kinds()
    return _but_for([one for one in found if type(one) in kinds], kinds, spare)


def find_instances(kinds: "AbstractSet[type]", *, generation: "int | None" = None) -> "list[Any]":
    """Return all objects of these very types that the garbage collector knows.

    Each object is touched: in a forked process that copies all the memory that they are in.

    Args:
        kinds: The types.
        generation: The garbage collector's, of which they are; None for all.
    """
    if not kinds:
        return []
    return [one for one in gc.get_objects(generation=generation) if type(one) in kinds]


def load_afresh(step: "Callable[[], Any]", *, spare: "Callable[[], Any] | None" = None) -> "Any":
    """Load something, and give generators that are made by it, or come in it, a new seed.

    Args:
        step: What loads it.
        spare: Returns arguments, of which the generators are left out.

    Returns:
        What was loaded.

    Raises:
        BaseException: Whatever loading raises.
    """
    was_on, freeze = gc.isenabled(), gc.freeze
    asked: list[bool] = []
    gc.collect(0)  # so that the youngest generation is what is made from here on
    gc.disable()
    gc.freeze = lambda: asked.append(True)  # what is set aside would not be found
    try:
        loaded = step()
        kinds = generator_kinds()
        if kinds:
            made = find_instances(kinds, generation=0)
            reseed(_but_for(made, kinds, None if spare is None or not made else spare()))
    finally:
        gc.freeze = freeze
        if asked:
            freeze()
        if was_on:
            gc.enable()
    return loaded


def _but_for(generators: "list[Any]", kinds: "frozenset[type]", spare: object) -> "list[Any]":
    """Leave out what arguments are made of."""
    if spare is None:
        return generators
    spared = {id(one) for one in _reach(spare) if type(one) in kinds}
    return [one for one in generators if id(one) not in spared]


def reseed(generators: "Iterable[Any]") -> None:
    """Give generators streams that no other process has: 5 to 30 us each."""
    for one in generators:
        try:
            _reseed(one)
        except Exception:  # noqa: BLE001, S112  # a type of the user's that takes no seed stays
            continue


def _reseed(one: "Any") -> None:
    if hasattr(one, "random_raw"):  # a BitGenerator, below whatever draws from it
        fresh = type(one)()
        try:
            one.__setstate__((fresh.state, fresh.seed_seq))  # what it spawns is new, too
        except (AttributeError, TypeError, ValueError):  # NumPy before 2.0
            one.state = fresh.state
    elif hasattr(one, "bit_generator") and not hasattr(one, "get_state"):
        return  # a Generator, whose BitGenerator is reseeded
    else:
        one.seed()


def generator_kinds() -> "frozenset[type]":
    """Return all types of generators that are loaded."""
    found: set[type] = set()
    for base in _bases():
        found |= type_family(base)
    system = getattr(sys.modules.get("random"), "SystemRandom", None)
    return frozenset(found - (type_family(system) if system is not None else set()))


def _bases() -> "list[type]":
    numpy = sys.modules.get("numpy.random")
    plain = getattr(sys.modules.get("_random"), "Random", None)
    names = ("Generator", "RandomState", "BitGenerator")
    bases = [plain, *(getattr(numpy, name, None) for name in names)]
    return [base for base in bases if base is not None]


def type_family(kind: type) -> set[type]:
    """Return a class and all that are made of it."""
    family = {kind}
    children: list[type] = type.__subclasses__(kind)
    for child in children:
        family |= type_family(child)
    return family


def _reach(value: object) -> "list[Any]":
    """Return what a value is made of, but for code and what belongs to modules."""
    from types import FunctionType, ModuleType

    found: dict[int, Any] = {}
    queue = [value]
    while queue and len(found) < SPARED_MAX:
        one = queue.pop()
        if id(one) in found or isinstance(one, (FunctionType, ModuleType, type)):
            continue
        found[id(one)] = one
        queue.extend(gc.get_referents(one))
    return list(found.values())
