"""What tasks say is said in the caller: the parent's side of `program/relay`.

Text goes to what `sys.stdout` and `sys.stderr` are at the moment, log records through loggers,
filters and handlers, warnings through filters and whatever shows them. What any of these raises is
not the task's, and is passed over. Runs in a thread that may be held up.
"""

import logging
import sys
import warnings
from contextlib import suppress
from pickle import loads
from typing import Any

from adaptive_exec.program.words import (
    ERR,
    ERR_BYTES,
    FLUSH_ERR,
    FLUSH_OUT,
    OUT,
    OUT_BYTES,
    RECORD,
    WARNING,
)

_STREAMS = {
    OUT: "stdout", OUT_BYTES: "stdout", FLUSH_OUT: "stdout",
    ERR: "stderr", ERR_BYTES: "stderr", FLUSH_ERR: "stderr",
}  # fmt: skip
FILES_MAX = 10_000
"""Files of which it is remembered which of their lines have warned."""
_registries: dict[str, dict[Any, Any]] = {}


def utter(kind: int, index: int, body: bytes) -> None:
    """Say one thing.

    Args:
        kind: What it is.
        index: The task, -1 for none.
        body: What was packed in the worker.
    """
    try:
        if kind in _STREAMS:
            _write(getattr(sys, _STREAMS[kind]), kind, body)
        elif kind == RECORD:
            _log(index, body)
        elif kind == WARNING:
            _warn(body)
    except Exception:  # noqa: BLE001  # the user's streams, handlers, filters and classes
        return


def _write(stream: Any, kind: int, body: bytes) -> None:
    if stream is None:
        return
    if kind in (FLUSH_OUT, FLUSH_ERR):
        stream.flush()
    elif kind in (OUT, ERR):
        stream.write(body.decode("utf-8", "surrogatepass"))
    else:
        stream.flush()
        binary = getattr(stream, "buffer", None)
        if binary is None:
            stream.write(body.decode("utf-8", "backslashreplace"))
        else:
            binary.write(body)


def unpack_record(index: int, body: bytes) -> logging.LogRecord:
    """Make the record anew, with what the caller's own factory adds."""
    facts, packed = loads(body)
    rich: dict[str, Any] = {"args": None}
    for name, piece in packed.items():
        with suppress(Exception):  # a class that is not here, or whose unpickling fails
            rich[name] = loads(piece)
    if "msg" in rich:
        rich["msg"], rich["args"] = rich["msg"]
    record = logging.makeLogRecord({**facts, **rich})
    record.adaptive_task = index if index >= 0 else None
    return record


def _log(index: int, body: bytes) -> None:
    record = unpack_record(index, body)
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


def _warn(body: bytes) -> None:
    (text, filename, lineno, _), packed = loads(body)
    message: Any = text
    category: type[Warning] = UserWarning
    with suppress(Exception):  # as above
        message, category = loads(packed)
    if len(_registries) > FILES_MAX:
        _registries.clear()
    registry = _registries.setdefault(filename, {})
    warnings.warn_explicit(message, category, filename, lineno, _module_of(filename), registry)


def _module_of(filename: str) -> str:
    """Return the module of a file, by which filters know it; of none, what `warnings` takes."""
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) == filename:
            return name
    return filename.removesuffix(".py")
