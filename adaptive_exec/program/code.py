"""What code looks up, and code as bytes: the parts of a function that travels by value.

Imports little, since every worker imports it.
"""

import marshal
import sys
from functools import cache
from types import CodeType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_PLAIN = ("STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME", "STORE_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
"""Instructions that name a global; of LOAD_GLOBAL, which is one more, the argument's last bit means
something else. Source: CPython 3.11 to 3.14, Doc/library/dis."""
WORD_MAX = 200
"""Characters of a text that may be the name of a module."""


@cache
def _instructions() -> tuple[int, frozenset[int], int]:
    import opcode  # 1 ms, where functions go by value

    numbers = opcode.opmap
    plain = frozenset(numbers[name] for name in _PLAIN if name in numbers)
    return numbers["LOAD_GLOBAL"], plain, numbers["EXTENDED_ARG"]


@cache
def _caches() -> "tuple[Any, Any, Any]":
    """Return what is known of code, as long as there is such: its names, its bytes, its words."""
    from weakref import WeakKeyDictionary

    return WeakKeyDictionary(), WeakKeyDictionary(), WeakKeyDictionary()


def names_in(code: CodeType) -> frozenset[str]:
    """Return the names that code and the functions in it look up, or set, as globals."""
    known = _caches()[0]
    names: frozenset[str] | None = known.get(code)
    if names is None:
        names = known[code] = frozenset(_walk(code))
    return names


def _walk(code: CodeType) -> "Iterator[str]":
    load_global, plain, extended_arg = _instructions()
    words, names, extended = code.co_code, code.co_names, 0
    for at in range(0, len(words), 2):
        operation, argument = words[at], words[at + 1] | extended
        extended = argument << 8 if operation == extended_arg else 0
        if operation == load_global:
            yield names[argument >> 1]
        elif operation in plain:
            yield names[argument]
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names_in(constant)


def all_names_in(code: CodeType) -> "Iterator[str]":
    """Name what code and the functions in it look up anywhere, attributes too."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from all_names_in(constant)


def words_in(code: CodeType) -> frozenset[str]:
    """Return all names and short texts that stand in code and the functions in it."""
    known = _caches()[2]
    words: frozenset[str] | None = known.get(code)
    if words is None:
        texts = {one for one in code.co_consts if isinstance(one, str) and len(one) <= WORD_MAX}
        inner = [words_in(one) for one in code.co_consts if isinstance(one, CodeType)]
        words = known[code] = frozenset(texts.union(code.co_names, *inner))
    return words


def submodules(module: str, names: frozenset[str]) -> "Iterator[str]":
    """Name the imported submodules that code with these names may reach from a module."""
    prefix = f"{module}."
    for name in list(sys.modules):
        if name.startswith(prefix) and names.issuperset(name[len(prefix) :].split(".")):
            yield name


def marshalled(code: CodeType) -> bytes:
    """Return code as bytes, equal for equal code: marshal's depend on who else refers to it."""
    known = _caches()[1]
    content: bytes | None = known.get(code)
    if content is None:
        content = known[code] = marshal.dumps(code)
    return content
