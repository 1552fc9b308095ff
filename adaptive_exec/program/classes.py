"""Classes by value are made without what happened when the program made them.

A metaclass or an `__init_subclass__` of the program's own has run there: what it wrote down, in a
registry perhaps, travels as the content of that. Here it would write it a second time, or look for
a registry that is still to come. Imports nothing that is not there.
"""

from contextlib import ExitStack, contextmanager

from adaptive_exec.program.places import PLACES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_HOOK = "__init_subclass__"


def without_hooks(kind: type, reduced: "Any") -> "Any":
    """Have a class made by `make_class` where cloudpickle would run hooks of the program's.

    Args:
        kind: The class.
        reduced: What cloudpickle reduces it to.
    """
    if reduced is NotImplemented or reduced[0].__name__ != "_make_skeleton_class":
        return reduced
    if not PLACES.is_strange(type(kind).__module__) and not _hooked(kind.__mro__[1:]):
        return reduced
    return make_class, *reduced[1:]


def make_class(
    metaclass: "Any", name: str, bases: "tuple[type, ...]", space: "dict[str, Any]", *known: "Any"
) -> type:
    """Make an empty class, to be filled (worker)."""
    from cloudpickle import cloudpickle

    maker = next(one for one in metaclass.__mro__ if not PLACES.is_strange(one.__module__))
    with ExitStack() as stack:
        for hooked in _hooked(one for base in bases for one in base.__mro__):
            stack.enter_context(_unhooked(hooked))
        made: type = maker.__new__(metaclass, name, bases, dict(space))
    return cloudpickle._lookup_class_or_track(known[0], made)  # type: ignore[no-any-return]  # noqa: SLF001  # as its own does


def _hooked(kinds: "Any") -> "list[type]":
    """Return the program's classes among some that have something done with each subclass."""
    found = (one for one in kinds if _HOOK in vars(one) and PLACES.is_strange(one.__module__))
    return list(dict.fromkeys(found))


@contextmanager
def _unhooked(kind: type) -> "Iterator[None]":
    hook = vars(kind)[_HOOK]
    type.__setattr__(kind, _HOOK, classmethod(lambda _, **__: None))
    try:
        yield
    finally:
        type.__setattr__(kind, _HOOK, hook)
