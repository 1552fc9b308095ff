"""What `--events` writes: a line of JSON for each decision, with the time by the clock."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path


def check_events(path: Path) -> None:
    """Refuse a file that cannot be written.

    Args:
        path: The file.

    Raises:
        ValueError: It is a folder, or in none that can be written.
    """
    if path.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        message = (
            f"events cannot be written, got {str(path)!r}; give a file in a folder that is there"
        )
        raise ValueError(message)


@contextmanager
def events_to(path: Path) -> Iterator[Callable[[dict[str, object]], None]]:
    """Give what adds a line of JSON per decision; several instances may add to one file.

    Args:
        path: The file.

    Yields:
        To be called with each decision, as `on_event` is.
    """
    with path.open("a", encoding="utf-8", buffering=1) as file:

        def add(event: dict[str, object]) -> None:
            file.write(json.dumps({"time": _wall_time(event), **event}, default=str) + "\n")

        yield add


def _wall_time(event: Mapping[str, object]) -> str:
    """Return when an event was by the clock; its own `at` counts from the host's start."""
    at = event.get("at")
    ago = time.monotonic() - at if isinstance(at, int | float) else 0.0
    return datetime.fromtimestamp(time.time() - ago, UTC).isoformat(timespec="milliseconds")
