"""Pickle by value what lives in `__main__`: cloudpickle, and what cloudpickle leaves by reference.

A function in the wrapper of `functools.lru_cache` pickles as its name, which no worker finds in its
own `__main__`. cloudpickle takes 20 ms to import, so only where something has to go by value.
"""

import functools
import sys
from collections import ChainMap
from io import TextIOWrapper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_MAIN = "__main__"
_Wrapper = type(functools.lru_cache(abs))


def dump_by_value(
    file: "Any", value: object, protocol: int, keep: "Callable[[Any], bool] | None"
) -> None:
    """Pickle an object with all that it has from `__main__`, for `loads` where cloudpickle is.

    Args:
        file: What is written to, piece by piece; long parts are not copied.
        value: The object.
        protocol: Pickle's protocol.
        keep: Takes large buffers that are not to be in the pickle, as in `pickle`; None for none.

    Raises:
        ImportError: cloudpickle is not installed.
        Exception: Whatever the object's own pickling raises.
    """
    _pickler()(file, protocol, keep).dump(value)


def cached(function: "Callable[..., Any]", parameters: "dict[str, Any]") -> "Callable[..., Any]":
    """Give a function a cache of its own again, empty, as each process has one."""
    wrapper: Callable[..., Any] = functools.lru_cache(**parameters)(function)
    return wrapper


def _reduce_wrapper(wrapper: "Any") -> "str | tuple[Any, ...]":
    if wrapper.__module__ != _MAIN:
        return str(wrapper.__qualname__)
    return cached, (wrapper.__wrapped__, wrapper.cache_parameters())


def _reduce_file(file: TextIOWrapper) -> "tuple[Any, ...]":
    """Send standard streams by name; of others cloudpickle would send a copy of what is left."""
    for name in ("stdin", "stdout", "stderr"):
        if file is getattr(sys, name, None):
            return getattr, (sys, name)
    message = f"cannot pickle '{type(file).__module__}.{type(file).__qualname__}' object"
    raise TypeError(message)


@functools.cache
def _pickler() -> "Any":
    import cloudpickle

    table = ChainMap(
        {_Wrapper: _reduce_wrapper, TextIOWrapper: _reduce_file}, cloudpickle.Pickler.dispatch_table
    )
    return type("Pickler", (cloudpickle.Pickler,), {"dispatch_table": table})
