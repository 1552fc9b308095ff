"""Pickles by reference, and by value what lives in `__main__` or cannot be had by its name.

Where `cloudpickle` is missing there is no pickling by value. What is sent to workers goes another
way, `program/pickling`, which knows of their modules.
"""

try:
    from _pickle import dumps, loads  # `pickle` also imports `re`
except ImportError:  # Pythons without the C half
    from pickle import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["dump", "dump_plain", "loads"]

PROTOCOL = 5
"""Pickle's protocol with out-of-band buffers (PEP 574), in every Python since 3.8."""
_MAIN = b"__main__"


def dump_plain(value: "Any") -> bytes:
    """Pickle what is made of numbers, texts and containers, or of what is imported by its name."""
    return bytes(dumps(value, PROTOCOL))


def dump(value: "Any") -> bytes:
    """Pickle a value.

    Raises:
        Exception: Whatever its own pickling raises.
    """
    try:
        body = dumps(value, PROTOCOL)
    except Exception:  # noqa: BLE001  # a __reduce__ may raise anything; cloudpickle may do better
        return dump_by_value(value)
    if _MAIN not in body:
        return body
    try:
        return dump_by_value(value)
    except ImportError:
        return body


def dump_by_value(value: "Any") -> bytes:
    """Pickle a value with the classes and functions that it needs.

    Raises:
        ImportError: There is no cloudpickle.
        Exception: Whatever its own pickling raises.
    """
    import cloudpickle  # 20 ms, only where it is needed

    return bytes(cloudpickle.dumps(value, PROTOCOL))
