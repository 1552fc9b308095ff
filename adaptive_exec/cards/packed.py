"""Opening files that may be packed: `.gz` with what Python has, `.zst` where a library is there.

Reads as it goes; only what must be read at any place, a packed Parquet file, is unpacked to a file
without a name first.
"""

import gzip
import importlib
import importlib.util
import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import IO, Any, Final, cast

PACKED: Final = (".gz", ".zst")
"""Suffixes of packed files."""
_ZSTD_IN_PYTHON: Final = (3, 14)
"""The version of Python from which its own library has zstd. Source: PEP 784."""


def inner_suffix(path: Path) -> str:
    """Return the suffix that tells the form, in small letters.

    >>> inner_suffix(Path("a/b.CSV.gz")), inner_suffix(Path("b.txt"))
    ('.csv', '.txt')
    """
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in PACKED else suffix


def can_unpack(path: Path) -> bool:
    """Tell whether what packs a file can be undone here."""
    return path.suffix.lower() != ".zst" or _zstd_library() is not None


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading, unpacked on the way."""
    match path.suffix.lower():
        case ".gz":
            return cast("IO[bytes]", gzip.open(path, "rb"))
        case ".zst":
            return _open_zstd(path)
        case _:
            return path.open("rb")


def open_text(path: Path) -> IO[str]:
    """Open a file of UTF-8, with or without a mark; other bytes are carried as surrogates."""
    return io.TextIOWrapper(
        open_bytes(path), encoding="utf-8-sig", errors="surrogateescape", newline=""
    )


def open_seekable(path: Path) -> IO[bytes]:
    """Open a file for reading at any place."""
    if path.suffix.lower() not in PACKED:
        return path.open("rb")
    whole = tempfile.TemporaryFile()  # noqa: SIM115  # closed by the caller
    with open_bytes(path) as packed:
        shutil.copyfileobj(packed, whole)
    whole.seek(0)
    return cast("IO[bytes]", whole)


def _zstd_library() -> str | None:
    if sys.version_info >= _ZSTD_IN_PYTHON:
        return "compression.zstd"
    names = ("zstandard", "pyarrow")
    return next((name for name in names if importlib.util.find_spec(name) is not None), None)


def _open_zstd(path: Path) -> IO[bytes]:
    name = _zstd_library()
    assert name is not None, "asked for only where a library is there"
    library: Any = importlib.import_module(name)
    if name == "pyarrow":
        raw = library.input_stream(str(path), compression="zstd")
        return cast("IO[bytes]", io.BufferedReader(raw))
    return cast("IO[bytes]", library.open(path, "rb"))
