"""Rows whose key was there before are left out: exact, and however many, in bounded memory.

The keys are in a database of SQLite's without a name, which goes to disk as it grows and with us.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Final

from adaptive_exec.cards.cells import Row

CACHE_KIB: Final = 8192
"""KiB of keys that stay in memory."""


def distinct(rows: Iterator[Row], columns: Sequence[str]) -> Iterator[Row]:
    """Yield the first row of each key; rows that have none of its columns all.

    Args:
        rows: The rows.
        columns: What the key is made of.

    >>> list(distinct(iter([{"a": 1}, {"a": 2}, {"a": 1}, {"b": 1}, {"b": 1}]), ["a"]))
    [{'a': 1}, {'a': 2}, {'b': 1}, {'b': 1}]
    """
    with closing(sqlite3.connect("", isolation_level=None)) as base:
        base.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        base.execute("PRAGMA journal_mode = OFF")
        base.execute("CREATE TABLE seen (key TEXT PRIMARY KEY) WITHOUT ROWID")
        for row in rows:
            if not any(column in row for column in columns):
                yield row
                continue
            key = json.dumps([row.get(column) for column in columns])
            if base.execute("INSERT OR IGNORE INTO seen VALUES (?)", (key,)).rowcount:
                yield row
