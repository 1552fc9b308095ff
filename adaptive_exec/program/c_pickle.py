"""The C half of `pickle`, by itself: `pickle` also imports `re`, 4 ms in each fresh interpreter."""

try:
    from _pickle import PickleBuffer, Pickler, Unpickler, dumps, loads
except ImportError:  # Pythons without the C half
    from pickle import PickleBuffer, Pickler, Unpickler, dumps, loads

__all__ = ["PickleBuffer", "Pickler", "Unpickler", "dumps", "loads"]
