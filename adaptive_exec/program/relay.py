"""What tasks say goes to the parent, and is said there: the worker's side.

Standard streams (not the raw descriptors below them), log records and warnings are handed to a
`say`. Before there is one, while modules are loaded that the parent has loaded already, nothing of
it is said a second time. Handlers that were there when this process became a worker are the
parent's, in a way, and have their turn there; those of an initializer work here, as in any pool,
and what they handle is not said again. Imports little: every worker imports it.
"""

import _thread
import io
import sys

from adaptive_exec.program.arrivals import when_imported
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
from adaptive_exec.system.pickles import PROTOCOL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Say = Callable[[int, int, int, bytes], None]
    Where = Callable[[], tuple[int, int]]

HELD_CHARACTERS_MAX = 4096
"""Characters of a line that is not at its end which are held back."""
MESSAGE_CHARACTERS_MAX = 1 << 20
"""Characters of a log message."""


class Relay:
    """All that is said in this process.

    Attributes:
        say: Takes what is said; None while there is nobody.
        where: Returns batch and number of the task that runs, -1 for none.
        loading: The thread that loads modules just now, 0 for none.
        has_spoken: Whether anything was said since this was last set to False.
    """

    def __init__(self) -> None:
        self.say: Say | None = None
        self.where: Where = _nowhere
        self.loading = 0
        self.has_spoken = False
        self._streams: list[Stream] = []
        self._theirs: set[int] = set()
        self._own: set[int] = set()
        self._kept: list[Any] = []

    def install(self) -> None:
        """Stand between the program and its standard streams, log and warnings, from now on."""
        for name, kinds in _KINDS.items():
            raw = getattr(sys, name)
            if raw is not None:
                stream = Stream(self, raw, kinds)
                self._streams.append(stream)
                setattr(sys, name, stream)
        when_imported("logging", self._enter_logging)
        when_imported("warnings", self._enter_warnings)

    def is_muted(self) -> bool:
        """Say whether this thread loads what the parent has loaded, and heard, already."""
        return bool(self.loading) and self.loading == _thread.get_ident()

    def mute(self) -> None:
        """Say nothing of what this thread is about to load."""
        self.loading = _thread.get_ident()

    def unmute(self) -> None:
        """Say what comes from now on."""
        self.loading = 0

    def begin(self, say: "Say", where: "Where") -> None:
        """Be a worker: what is said goes to its parent."""

        def say_and_note(kind: int, batch: int, index: int, body: bytes) -> None:
            self.has_spoken = True
            say(kind, batch, index, body)

        self.say, self.where = say_and_note, where
        self.loading = 0
        self.note_handlers()

    def note_handlers(self, *, own: bool = False) -> None:
        """Note which handlers of log records there are, and whose.

        Args:
            own: Those that are new are of an initializer; else of modules that were loaded.
        """
        logging = sys.modules.get("logging")
        if logging is None or not self._streams:
            return
        loggers = [logging.root, *list(logging.root.manager.loggerDict.values())]
        for logger in loggers:
            for handler in getattr(logger, "handlers", ()):
                if id(handler) not in self._theirs and id(handler) not in self._own:
                    self._kept.append(handler)  # so that its id is not another's later
                    (self._own if own else self._theirs).add(id(handler))

    def commit(self) -> None:
        """Say what is held back of lines that are not at their end."""
        for stream in self._streams:
            if stream.held:
                stream.commit()

    def fall_silent(self) -> None:
        """In a child of the worker: the raw descriptors are all that is left."""
        self.say = None
        self.loading = 0
        for stream in self._streams:
            stream.held = ""

    # log records

    def _enter_logging(self, logging: "Any") -> None:
        own = logging.Logger.callHandlers

        def call_handlers(logger: "Any", record: "Any") -> None:
            if self.is_muted():
                return
            if self.say is None:
                own(logger, record)
            elif not self._call_here(logger, record):
                self._say_record(record)

        logging.Logger.callHandlers = call_handlers
        set_up = logging.basicConfig

        def basic_config(**settings: "Any") -> None:
            if settings or self.say is None:  # else `logging.info` wants a handler, of no use here
                set_up(**settings)

        logging.basicConfig = basic_config

    def _call_here(self, logger: "Any", record: "Any") -> bool:
        """Have handlers of this worker's own take a record; True where an initializer's did."""
        is_taken = False
        while logger is not None:
            for handler in list(logger.handlers):
                if id(handler) in self._theirs:
                    continue
                if record.levelno >= handler.level:
                    handler.handle(record)
                is_taken = is_taken or id(handler) in self._own
            logger = logger.parent if logger.propagate else None
        return is_taken

    def _say_record(self, record: "Any") -> None:
        say = self.say
        if say is None:
            return
        self.commit()
        batch, index = self.where()
        say(RECORD, batch, index, pack_record(record))

    # warnings

    def _enter_warnings(self, warnings: "Any") -> None:
        own = warnings._showwarnmsg_impl  # noqa: SLF001  # where all warnings come by that are shown

        def show(message: "Any") -> None:
            say = self.say
            if self.is_muted():
                return
            if say is None:
                own(message)
                return
            self.commit()
            batch, index = self.where()
            say(WARNING, batch, index, pack_warning(message))

        warnings._showwarnmsg_impl = show  # noqa: SLF001  # as above


class Stream(io.TextIOBase):
    """Stands for a standard stream.

    Args:
        relay: What it belongs to.
        raw: The stream that it stands for.
        kinds: What its text, bytes and flushes are called.
    """

    def __init__(self, relay: Relay, raw: "Any", kinds: tuple[int, int, int]) -> None:
        self.held = ""
        self._relay = relay
        self._raw = raw
        self._text, self._bytes, self._flush = kinds
        self._at = (-1, -1)
        self._is_dirty = False
        self._binary: Binary | None = None

    def write(self, text: "Any") -> int:
        """Write text; whole lines go at once."""
        if not isinstance(text, str):
            message = f"write() argument must be str, not {type(text).__name__}"
            raise TypeError(message)
        if self.closed:
            message = "I/O operation on closed file."
            raise ValueError(message)
        relay = self._relay
        if relay.loading and relay.is_muted():
            return len(text)
        if relay.say is None:
            return int(self._raw.write(text))
        at = relay.where()
        if self.held and at != self._at:
            self.commit()
        self._at = at
        self.held += text
        if "\n" in text or "\r" in text or len(self.held) > HELD_CHARACTERS_MAX:
            self.commit()
        return len(text)

    def commit(self) -> None:
        """Say what is held back."""
        held, self.held = self.held, ""
        say = self._relay.say
        if say is None:
            return
        self._is_dirty = True
        for start in range(0, len(held), HELD_CHARACTERS_MAX):
            part = held[start : start + HELD_CHARACTERS_MAX]
            say(self._text, *self._at, part.encode("utf-8", "surrogatepass"))

    def flush(self) -> None:
        """Have the parent's stream flushed."""
        if self._relay.say is None:
            self._raw.flush()
            return
        if self.held:
            self.commit()
        if self._is_dirty:
            self._is_dirty = False
            self._relay.say(self._flush, *self._at, b"")

    @property
    def buffer(self) -> "Binary":
        """Takes bytes."""
        if self._binary is None:
            self._binary = Binary(self, self._relay, self._raw, self._bytes)
        return self._binary

    @property
    def encoding(self) -> str:  # type: ignore[override]  # as of other text streams
        """The encoding of the stream that this one stands for."""
        return str(getattr(self._raw, "encoding", "utf-8"))

    @property
    def errors(self) -> "str | None":  # type: ignore[override]  # as above
        """How that treats characters which it cannot encode."""
        found: str | None = getattr(self._raw, "errors", None)
        return found

    @property
    def name(self) -> "Any":
        """The name of the stream that this one stands for."""
        return getattr(self._raw, "name", "")

    @property
    def mode(self) -> str:
        """The mode of standard streams."""
        return "w"

    @property
    def line_buffering(self) -> bool:
        """Say that whole lines go at once."""
        return True

    def reconfigure(self, **settings: "Any") -> None:
        """Have the raw stream take settings, which have no effect on what is relayed."""
        reconfigure = getattr(self._raw, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(**settings)

    def fileno(self) -> int:
        """Return the raw descriptor, which is not relayed."""
        return int(self._raw.fileno())

    def isatty(self) -> bool:
        """Say whether the raw descriptor is a terminal."""
        return bool(self._raw.isatty())

    def writable(self) -> bool:
        """Say that this can be written to."""
        return True


class Binary(io.BufferedIOBase):
    """Stands for the bytes below a standard stream."""

    def __init__(self, text: Stream, relay: Relay, raw: "Any", kind: int) -> None:
        self._text = text
        self._relay = relay
        self._raw_text = raw
        self._kind = kind

    def write(self, content: "Any") -> int:
        """Write bytes, which go at once."""
        if self._relay.is_muted():
            return len(content)
        if self._relay.say is None:
            return int(self._raw_text.buffer.write(content))
        self._text.commit()
        body = bytes(content)
        batch, index = self._relay.where()
        for start in range(0, len(body), HELD_CHARACTERS_MAX):
            part = body[start : start + HELD_CHARACTERS_MAX]
            self._relay.say(self._kind, batch, index, part)
        return len(body)

    def flush(self) -> None:
        """Have the parent's stream flushed."""
        self._text.flush()

    def fileno(self) -> int:
        """Return the raw descriptor, which is not relayed."""
        return self._text.fileno()

    def isatty(self) -> bool:
        """Say whether the raw descriptor is a terminal."""
        return self._text.isatty()

    def writable(self) -> bool:
        """Say that this can be written to."""
        return True


def pack_record(record: "Any") -> bytes:
    """Pack a log record: what every parent can read, and its objects, where they can be packed."""
    from _pickle import dumps

    facts = dict(record.__dict__)
    exc_info = facts.pop("exc_info", None)
    if exc_info and not facts.get("exc_text"):
        facts["exc_text"] = _describe(exc_info)
    try:
        message = record.getMessage()
    except Exception as error:  # noqa: BLE001  # the user's format and arguments
        message = f"{record.msg!r} {record.args!r} ({type(error).__name__}: {error})"
    args = facts.pop("args", None)
    rich = {name: facts.pop(name) for name in list(facts) if not _is_plain(facts[name])}
    rich.pop("msg", None)
    if args or record.msg.__class__ is not str:
        rich["msg"] = (record.msg, args)
    if exc_info and isinstance(exc_info, tuple):
        rich["exc_info"] = (exc_info[0], exc_info[1], None)
    packed = {name: _pack(value) for name, value in rich.items()}
    facts["msg"] = message[:MESSAGE_CHARACTERS_MAX]
    return dumps((facts, packed), PROTOCOL)


def _describe(exc_info: "Any") -> str:
    import traceback

    try:
        return "".join(traceback.format_exception(*exc_info)).removesuffix("\n")
    except Exception as error:  # noqa: BLE001  # a __str__ of the user's
        return f"{type(error).__name__} while a traceback was written"


def _is_plain(value: object) -> bool:
    return value.__class__ in (int, float, str, bool, type(None))


def pack_warning(message: "Any") -> bytes:
    """Pack a warning, in the same way."""
    from _pickle import dumps

    facts = (str(message.message), str(message.filename), int(message.lineno or 0), message.line)
    return dumps((facts, _pack((message.message, message.category))), PROTOCOL)


def _pack(value: object) -> bytes:
    """Pack an object; what cannot be packed is nothing, and the parent has its text."""
    from _pickle import dumps

    try:
        return bytes(dumps(value, PROTOCOL))
    except Exception:  # noqa: BLE001  # the user's classes
        return b""


def _nowhere() -> tuple[int, int]:
    return -1, -1


_KINDS = {"stdout": (OUT, OUT_BYTES, FLUSH_OUT), "stderr": (ERR, ERR_BYTES, FLUSH_ERR)}
relay = Relay()
"""That of this process."""
