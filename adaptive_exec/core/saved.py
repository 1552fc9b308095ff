"""A report as plain values, fit for JSON, and back: what a journal keeps of a run.

What a newer version has written and this one does not know is left out. Decides nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

from adaptive_exec.core.reason import Code, Decision, Reason
from adaptive_exec.core.report import CodeCount, FailureKind, RunReport
from adaptive_exec.core.timeline import Moment, Span

VERSION: Final = 1
"""Of the form; another one is not read."""


class _Row(Protocol):
    def _asdict(self) -> dict[str, object]: ...


def as_plain(report: RunReport) -> dict[str, object]:
    """Return all of a report as dictionaries, lists, numbers and texts."""
    plain = report._asdict()
    for name in ("moments", "spans", "slowest", "largest", "deaths", "failures"):
        rows: tuple[_Row, ...] = plain[name]
        plain[name] = [row._asdict() for row in rows]
    plain["tallies"] = [one._asdict() | {"code": str(one.code)} for one in report.tallies]
    plain["decisions"] = [_plain_decision(one) for one in report.decisions]
    plain["worker_seconds"] = dict(report.worker_seconds)
    return {"version": VERSION, **plain}


def _plain_decision(decision: Decision) -> dict[str, object]:
    facts = decision.reason.facts
    return decision._asdict() | {"reason": str(decision.reason.code), "facts": dict(facts)}


def from_plain(plain: Mapping[str, object]) -> RunReport:
    """Return the report that plain values stand for.

    Raises:
        ValueError: They are of another version, or stand for none.
    """
    if plain.get("version") != VERSION:
        message = f"report must be of version {VERSION}, got {plain.get('version')}; use its own"
        raise ValueError(message)
    fields = {name: plain[name] for name in RunReport._fields if name in plain}
    try:
        read = {name: _READERS.get(name, _itself)(value) for name, value in fields.items()}
        return RunReport(**read)  # type: ignore[arg-type]  # as they were written
    except (TypeError, KeyError, AttributeError) as error:
        message = f"report is damaged, got {type(error).__name__}: {error}; make it anew"
        raise ValueError(message) from error


def _itself(value: object) -> object:
    return value


def _pairs(value: object) -> tuple[object, ...]:
    assert isinstance(value, Mapping)
    return tuple(value.items())


def _rows(make: Callable[..., object], names: tuple[str, ...]) -> Callable[[object], object]:
    def read(value: object) -> tuple[object, ...]:
        return tuple(
            make(**{name: _tupled(row[name]) for name in names if name in row})
            for row in _maps(value)
        )

    return read


def _maps(value: object) -> Iterable[Mapping[str, object]]:
    assert isinstance(value, list)
    return value


def _tupled(value: object) -> object:
    """Return what was a tuple of pairs as one again; JSON knows lists only."""
    return tuple(tuple(pair) for pair in value) if isinstance(value, (list, tuple)) else value


def _tallies(value: object) -> tuple[CodeCount, ...]:
    rows = [row for row in _maps(value) if row["code"] in _CODES]
    made = [dict(row) | {"code": Code(str(row["code"]))} for row in rows]
    return tuple(CodeCount(**row) for row in made)  # type: ignore[arg-type]  # as they were written


def _decisions(value: object) -> tuple[Decision, ...]:
    found = []
    for row in _maps(value):
        if row["reason"] not in _CODES:
            continue
        facts = row["facts"]
        assert isinstance(facts, Mapping)
        reason = Reason(Code(str(row["reason"])), tuple(facts.items()))
        others = {name: row[name] for name in Decision._fields if name != "reason"}
        found.append(Decision(reason=reason, **others))  # type: ignore[arg-type]  # as they were written
    return tuple(found)


_CODES: Final = frozenset(Code)
_READERS: Final[Mapping[str, Callable[[object], object]]] = {
    "levels": lambda value: tuple(value) if isinstance(value, (list, tuple)) else (),
    "worker_seconds": _pairs,
    "settings": _tupled,
    "host": _tupled,
    "decisions": _decisions,
    "tallies": _tallies,
    "moments": _rows(Moment, Moment._fields),
    "failures": _rows(FailureKind, FailureKind._fields),
    **dict.fromkeys(("spans", "slowest", "largest", "deaths"), _rows(Span, Span._fields)),
}
