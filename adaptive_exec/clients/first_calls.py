"""What workers of the standard pools' faces call: an initializer, or a function with parts.

Imports nothing that a worker would have to load for it.
"""

from collections.abc import Callable, Iterable
from typing import Any


def run_logged(initializer: Callable[..., object], *initargs: Any) -> None:
    """Call an initializer; log what it raises where the standard pools do."""
    try:
        initializer(*initargs)
    except BaseException:
        import logging

        logging.getLogger("concurrent.futures").critical("Exception in initializer:", exc_info=True)
        raise


class Starred:
    """Calls a function with the parts of an item."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, item: Iterable[Any]) -> Any:
        """Call it."""
        return self.function(*item)
