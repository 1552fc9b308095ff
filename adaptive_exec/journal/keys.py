"""Names for tasks by their content: the same in every process, hash seed and run.

What is equal has the same key, however it was put together: order of insertion into sets and
dictionaries does not count, nor does which objects are shared. Functions count by name, those
without a lasting one (lambdas, inner functions) by their code. What has no content that could be
written down, such as an open file, has no key.
"""

import copyreg
import inspect
import marshal
import sys
import textwrap
from collections.abc import Callable
from hashlib import blake2b
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, Final

KEY_BYTES: Final = 16
"""Bytes of a key. Two of 10 million tasks share one with a probability of 10^-25."""
_MARSHAL: Final = 2
"""Marshal's version without references, so that equal values give equal bytes."""
_PLAIN: Final = frozenset({int, float, str, bytes, bool, type(None)})
_ITEMS: Final = (3, 4)
"""Places of a reduced object that are iterators, over items and over pairs. Source: PEP 307."""
_PACKAGE: Final = __name__.partition(".")[0]
"""This package, whose own functions may change with its version."""
_NO_NAME: Final = "<"
"""In the qualified name of what has no lasting name: `<lambda>`, `<locals>`."""


class FunctionName:
    """What a batch's function is called, and what its source is now.

    Attributes:
        text: For people: the names of all functions that it is made of.
        digest: What its tasks' keys begin with.
        source: A digest of the source of the named functions that it is made of.
    """

    __slots__ = ("digest", "source", "text")

    def __init__(self, function: Callable[..., Any]) -> None:
        sources: dict[str, bytes] = {}
        content = _Content(sources)
        content.write(function)
        self.digest = content.digest()
        own = [name for name in sources if not name.startswith(f"{_PACKAGE}.")]
        self.text = " ".join(own or sources) or _type_name(type(function))
        self.source = digest_of(sorted(sources.items()))


def digest_of(value: object) -> bytes:
    """Return the digest of a value's content.

    Raises:
        TypeError: It has no content that could be written down.
    """
    content = _Content(None)
    content.write(value)
    return content.digest()


def task_key(function: bytes, task: Any) -> bytes:
    """Return the key of a task.

    Args:
        function: Digest of its function.
        task: Its arguments, or what the user's `key` made of them.

    Returns:
        KEY_BYTES bytes.

    Raises:
        TypeError: The arguments have no content that could be written down.

    >>> task_key(bytes(16), {"a": 1, "b": {2, 3}}) == task_key(bytes(16), {"b": {3, 2}, "a": 1})
    True
    """
    kind = type(task)
    if kind in _PLAIN or (kind is tuple and _PLAIN.issuperset(map(type, task))):
        content = b"p" + marshal.dumps(task, _MARSHAL)
    else:
        content = digest_of(task)
    return blake2b(content, digest_size=KEY_BYTES, key=function).digest()


def numbered_key(key: bytes, ordinal: int) -> bytes:
    """Return the key of a task that has `ordinal` equal ones before it."""
    if not ordinal:
        return key
    return blake2b(ordinal.to_bytes(8, "little"), digest_size=KEY_BYTES, key=key).digest()


class _Content:
    """Writes a value's content into a digest, self-delimiting, so that nothing runs together."""

    def __init__(self, sources: dict[str, bytes] | None) -> None:
        self._hash = blake2b(digest_size=KEY_BYTES)
        self._put = self._hash.update
        self._sources = sources
        self._open: dict[int, int] = {}

    def digest(self) -> bytes:
        return self._hash.digest()

    def write(self, value: Any) -> None:
        kind = type(value)
        if kind in _PLAIN:
            self._put(b"p" + marshal.dumps(value, _MARSHAL))
            return
        if id(value) in self._open:  # it contains itself
            self._put(b"c%d;" % self._open[id(value)])
            return
        self._open[id(value)] = len(self._open)
        try:
            self._write_one(kind, value)
        except (RecursionError, ValueError, AttributeError) as error:
            message = f"a {kind.__qualname__} has no key ({type(error).__name__}: {error})"
            raise TypeError(message) from error
        finally:
            del self._open[id(value)]

    def _write_one(self, kind: type, value: Any) -> None:
        writer = _WRITERS.get(kind)
        if writer is not None:
            writer(self, value)
        elif isinstance(value, type):
            self._write_name(b"T", value)
        elif kind.__name__ == "ndarray" and kind.__module__ == "numpy":
            self._write_array(value)
        else:
            self._write_reduced(kind, value)

    def _write_sequence(self, value: list[Any] | tuple[Any, ...]) -> None:
        tag = b"l" if type(value) is list else b"t"
        if _PLAIN.issuperset(map(type, value)):
            self._put(tag + b"p" + marshal.dumps(value, _MARSHAL))
            return
        self._put(tag + b"%d;" % len(value))
        for item in value:
            self.write(item)

    def _write_set(self, value: set[Any] | frozenset[Any]) -> None:
        self._put(b"s" if type(value) is set else b"f")
        self._put(b"%d;" % len(value))
        for digest in sorted(map(self._digest_inner, value)):
            self._put(digest)

    def _write_dict(self, value: dict[Any, Any]) -> None:
        self._put(b"d%d;" % len(value))
        if {str}.issuperset(map(type, value)):
            pairs = sorted(value.items(), key=_first)
            if _PLAIN.issuperset(map(type, value.values())):
                self._put(b"p" + marshal.dumps(pairs, _MARSHAL))
                return
        else:
            pairs = sorted(value.items(), key=lambda pair: self._digest_inner(pair[0]))
        for key, item in pairs:
            self.write(key)
            self.write(item)

    def _write_bytearray(self, value: bytearray) -> None:
        self._put(b"b%d;" % len(value))
        self._put(value)

    def _write_range(self, value: range) -> None:
        self._put(b"r%d,%d,%d;" % (value.start, value.stop, value.step))

    def _write_array(self, value: Any) -> None:
        """Write a NumPy array: type, shape and elements; the order in memory does not count."""
        described = value.dtype.str if value.dtype.names is None else repr(value.dtype.descr)
        self._put(b"a" + marshal.dumps((described, tuple(map(int, value.shape))), _MARSHAL))
        if value.dtype.hasobject:
            self.write(value.tolist())
        elif value.flags.c_contiguous and value.dtype.kind in "biufc":
            self._put(memoryview(value).cast("B") if value.size else b"")
        else:
            self._put(value.tobytes())

    def _write_function(self, value: FunctionType) -> None:
        name = f"{value.__module__}:{value.__qualname__}"
        self._put(b"F" + marshal.dumps(name, _MARSHAL))
        has_name = _NO_NAME not in value.__qualname__
        if self._sources is not None:
            is_ours = value.__module__.partition(".")[0] == _PACKAGE
            source = _source_of(value) if has_name and not is_ours else b""
            self._sources.setdefault(name, source)
        if self._sources is None or not has_name:
            self._put(_source_of(value))
        self.write(value.__defaults__)
        self.write(value.__kwdefaults__)
        for cell in value.__closure__ or ():
            try:
                inner = cell.cell_contents
            except ValueError:  # not assigned yet
                self._put(b"e")
            else:
                self.write(inner)

    def _write_method(self, value: MethodType) -> None:
        self._put(b"M")
        self.write(value.__func__)
        self.write(value.__self__)

    def _write_builtin(self, value: Any) -> None:
        owner = getattr(value, "__self__", None)
        self._write_name(b"B", value)
        if owner is not None and not isinstance(owner, (ModuleType, type)):
            self.write(owner)

    def _write_module(self, value: ModuleType) -> None:
        self._put(b"m" + marshal.dumps(value.__name__, _MARSHAL))

    def _write_code(self, value: CodeType) -> None:
        self._put(b"C")
        self.write((value.co_code, value.co_names, value.co_varnames, value.co_freevars))
        self.write(value.co_consts)

    def _write_name(self, tag: bytes, value: Any) -> None:
        module = getattr(value, "__module__", None) or ""
        name = f"{module}:{value.__qualname__}"
        self._put(tag + marshal.dumps(name, _MARSHAL))
        if self._sources is not None and tag == b"B":
            self._sources.setdefault(name, b"")

    def _write_reduced(self, kind: type, value: Any) -> None:
        """Write any other object as pickle would take it apart."""
        wrapped = getattr(value, "__wrapped__", None)
        if callable(wrapped):  # a cache around a function, whose own state is not content
            self._put(b"w")
            self.write(wrapped)
            return
        reduced = _reduce(kind, value)
        if isinstance(reduced, str):
            self._put(b"g" + marshal.dumps(f"{kind.__module__}:{reduced}", _MARSHAL))
            return
        self._put(b"o%d;" % len(reduced))
        self._write_maker(reduced[0])
        for place, part in enumerate(reduced[1:], start=1):
            is_items = place in _ITEMS and part is not None
            self.write(list(part) if is_items else part)

    def _write_maker(self, make: Any) -> None:
        """Write what puts an object together again: by name, as pickle does."""
        if hasattr(make, "__qualname__"):
            name = f"{getattr(make, '__module__', None) or ''}:{make.__qualname__}"
            self._put(b"n" + marshal.dumps(name, _MARSHAL))
        else:
            self.write(make)

    def _digest_inner(self, value: object) -> bytes:
        inner = _Content(self._sources)
        inner._open = dict(self._open)  # one of its own kind
        inner.write(value)
        return inner.digest()


_WRITERS: Final[dict[type, Callable[[_Content, Any], None]]] = {
    list: _Content._write_sequence,  # noqa: SLF001  # a table of its own methods
    tuple: _Content._write_sequence,  # noqa: SLF001
    set: _Content._write_set,  # noqa: SLF001
    frozenset: _Content._write_set,  # noqa: SLF001
    dict: _Content._write_dict,  # noqa: SLF001
    bytearray: _Content._write_bytearray,  # noqa: SLF001
    range: _Content._write_range,  # noqa: SLF001
    FunctionType: _Content._write_function,  # noqa: SLF001
    MethodType: _Content._write_method,  # noqa: SLF001
    BuiltinFunctionType: _Content._write_builtin,  # noqa: SLF001
    MethodWrapperType: _Content._write_builtin,  # noqa: SLF001
    WrapperDescriptorType: _Content._write_builtin,  # noqa: SLF001
    ModuleType: _Content._write_module,  # noqa: SLF001
    CodeType: _Content._write_code,  # noqa: SLF001
}


def _reduce(kind: type, value: Any) -> Any:
    """Take an object apart.

    Raises:
        TypeError: It cannot be.
    """
    special = copyreg.dispatch_table.get(kind)
    try:
        return special(value) if special is not None else value.__reduce_ex__(4)
    except Exception as error:
        message = f"a {kind.__qualname__} has no key ({type(error).__name__}: {error})"
        raise TypeError(message) from error


def _source_of(function: FunctionType) -> bytes:
    """Return a digest of a function's source, without comments, empty lines and indentation.

    Of one without readable source, or without a name of its own, the code that Python made of it,
    which is the same within a minor version only.
    """
    if _NO_NAME not in function.__qualname__:
        try:
            text = inspect.getsource(function.__code__)
        except (OSError, TypeError, SyntaxError):
            text = ""
        lines = [line.rstrip() for line in textwrap.dedent(text).splitlines()]
        kept = [line for line in lines if line and not line.lstrip().startswith("#")]
        if kept:
            return digest_of("\n".join(kept))
    return digest_of((sys.version_info[:2], function.__code__))


def _type_name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _first(pair: tuple[str, Any]) -> str:
    return pair[0]
