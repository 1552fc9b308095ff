"""What stands in one instance's file, as text: a head, a line per field, a checksum.

A file that is torn, of a newer form or of something else altogether is told from a good one.
Decides nothing.
"""

import binascii
from typing import Final, NamedTuple

from adaptive_exec.core.instructions import Standing
from adaptive_exec.core.sharing.share import Claim
from adaptive_exec.system.identity import Identity

VERSION: Final = 2
"""Form of the record; a reader leaves newer ones alone."""
_MAGIC: Final = "adaptive_exec ledger"
_TAIL: Final = "end "
_LIST_END: Final = "\x1f"

Value = int | float | str | bool | tuple[str, ...] | None


class RecordError(ValueError):
    """A text is no record of ours, or not a whole one."""


class LeaseRecord(NamedTuple):
    """One instance's lease, and how it stands.

    Attributes:
        machine: Names its machine.
        boot: Which start of which kernel it runs on, `""` where unknown.
        space: Names the namespaces in which pid and start mean something, `""` where unknown.
        pid: Its process.
        started: Clock ticks from boot to its start; with the pid it names a process for good.
        since: Seconds since 1970 of its first claim, for people.
        updated_at: Monotonic seconds of this record.
        claim: What it wants and holds.
        standing: How its run stands.
        program: Its command line, cut short.
        core_domain: Names its set of cores.
        memory_domain: Names the limit that its memory is left of.
        memory_domains: Names all memory limits that it is under.
        memory_limit_bytes: The limit in force.
        memory_used_bytes: What is used of that, by whomever.
        memory_warn_bytes: Use at which it takes on no more, 0 where unknown.
        memory_critical_bytes: Use at which it stops workers, 0 where unknown.
        peak_bytes: Highest growth measured in one of its tasks, 0 where unknown.
        decisions: Its last decisions as lines, oldest first.
    """

    machine: str
    boot: str
    space: str
    pid: int
    started: int
    since: float
    updated_at: float
    claim: Claim
    standing: Standing
    program: str = ""
    core_domain: str = ""
    memory_domain: str = ""
    memory_domains: tuple[str, ...] = ()
    memory_limit_bytes: int = 0
    memory_used_bytes: int = 0
    memory_warn_bytes: int = 0
    memory_critical_bytes: int = 0
    peak_bytes: int = 0
    decisions: tuple[str, ...] = ()

    @property
    def process(self) -> Identity:
        """Its process, as it is known to others."""
        return Identity(self.machine, self.boot, self.space, self.pid, self.started)


def write_record(record: LeaseRecord) -> bytes:
    """Return the bytes of a record.

    Source:
        crc32 as in zlib, over all that stands before the last line.
    """
    fields = {
        **{f"claim.{name}": value for name, value in record.claim._asdict().items()},
        **{f"standing.{name}": value for name, value in record.standing._asdict().items()},
        **{
            name: value
            for name, value in record._asdict().items()
            if name not in {"claim", "standing"}
        },
    }
    lines = [f"{_MAGIC} {VERSION}", *(f"{name} {_write(value)}" for name, value in fields.items())]
    body = ("\n".join(lines) + "\n").encode(errors="backslashreplace")
    return body + f"{_TAIL}{binascii.crc32(body):08x}\n".encode()


def read_record(content: bytes) -> LeaseRecord:
    """Read the bytes of a record.

    Args:
        content: What stands in the file.

    Returns:
        The record.

    Raises:
        RecordError: It is torn, newer or foreign; the message says which.
    """
    if not content.startswith(_MAGIC.encode()):
        message = f"not a record of ours, got {content[:20]!r}; it is left alone"
        raise RecordError(message)
    body, mark, tail = content.partition(b"\n" + _TAIL.encode())
    body += b"\n"
    # Behind it may stand the end of a longer record, which is not cut off yet.
    if not mark or tail.partition(b"\n")[0] != f"{binascii.crc32(body):08x}".encode():
        message = f"a torn record, got {len(content)} bytes without their checksum; it is left out"
        raise RecordError(message)
    head, *lines = body.decode(errors="replace").splitlines()
    version = head.removeprefix(_MAGIC).strip()
    if version != str(VERSION):
        message = f"a record of another version, got {version!r} for {VERSION}; it is left out"
        raise RecordError(message)
    return _build(dict(line.split(" ", 1) for line in lines if " " in line))


def _build(texts: dict[str, str]) -> LeaseRecord:
    values = {name: _read(text) for name, text in texts.items()}
    groups: dict[str, dict[str, Value]] = {"claim": {}, "standing": {}, "": {}}
    for name, value in values.items():
        group, _, field = name.rpartition(".")
        groups.get(group, {})[field] = value
    own = {name: value for name, value in groups[""].items() if name in LeaseRecord._fields}
    try:
        claim = Claim(**_known(groups["claim"], Claim._fields))  # type: ignore[arg-type]  # as written
        standing = Standing(**_known(groups["standing"], Standing._fields))  # type: ignore[arg-type]  # as written
        return LeaseRecord(claim=claim, standing=standing, **own)  # type: ignore[arg-type]  # as written
    except TypeError as error:
        message = f"a record that lacks fields, got {error}; it is left out"
        raise RecordError(message) from error


def _known(values: dict[str, Value], names: tuple[str, ...]) -> dict[str, Value]:
    return {name: value for name, value in values.items() if name in names}


def _write(value: Value) -> str:
    match value:
        case None:
            return "n"
        case bool():
            return f"b{int(value)}"
        case int():
            return f"i{value}"
        case float():
            return f"f{value!r}"
        case str():
            return f"s{_escape(value)}"
        case _:
            return f"t{_LIST_END.join(map(_escape, value))}"


def _escape(text: str) -> str:
    return " ".join(text.replace(_LIST_END, " ").split())


def _read(text: str) -> Value:
    kind, rest = text[:1], text[1:]
    try:
        match kind:
            case "n":
                return None
            case "b":
                return rest == "1"
            case "i":
                return int(rest)
            case "f":
                return float(rest)
            case "s":
                return rest
            case "t":
                return tuple(part for part in rest.split(_LIST_END) if part)
    except ValueError as error:
        message = f"a record with a bad number, got {text!r}; it is left out"
        raise RecordError(message) from error
    message = f"a record with a field of an unknown kind, got {text!r}; it is left out"
    raise RecordError(message)
