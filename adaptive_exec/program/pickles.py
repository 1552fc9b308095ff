"""Pickle what a setting is made of, by value where it lives in `__main__`."""

try:
    from _pickle import dumps, loads  # `pickle` also imports `re`
except ImportError:  # Pythons without the C half
    from pickle import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["dump", "dump_plain", "loads"]

PROTOCOL = 5
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
        return _dump_by_value(value, None)
    return _dump_by_value(value, body) if _MAIN in body else body


def _dump_by_value(value: "Any", body: bytes | None) -> bytes:
    try:
        import cloudpickle
    except ImportError:
        if body is None:
            raise
        return body
    return bytes(cloudpickle.dumps(value, PROTOCOL))
