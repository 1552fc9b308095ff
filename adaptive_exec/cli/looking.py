"""The commands `report` and `explain`: what a run's journal tells, as a page or in words.

Also while the run goes on: a journal gets a new picture of its run every ten seconds.
"""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from adaptive_exec.asking import tell
from adaptive_exec.cards.folders import ASIDE, find_cards
from adaptive_exec.cli.exits import ALL_HAVE_VALUES, say
from adaptive_exec.cli.resume import JOURNAL_NAME, PAGE_NAME
from adaptive_exec.core.report import FailureKind, RunReport
from adaptive_exec.display import note, size_text, time_text
from adaptive_exec.drawing.page import draw_page
from adaptive_exec.drawing.sections import KnownTask, PageFacts
from adaptive_exec.drawing.shown import unpack_report
from adaptive_exec.journal.about import About, read_about
from adaptive_exec.journal.contents import ContentEntry, Contents, JournalSummary
from adaptive_exec.ledger.leases import read_ledger

KEY_LETTERS: Final = 12
"""Letters of a task's key that a page shows; as many are unlike in a run."""
KEY_LETTERS_MIN: Final = 6
"""Letters of a key that name a task; fewer are a number."""


class SeenRun(NamedTuple):
    """A run, as its journal tells of it.

    Attributes:
        path: The journal.
        about: What it says of itself.
        summary: Its tasks together.
        entries: Its tasks one by one, without their values.
        failures: Failures by type, one of each whole.
        report: The latest picture; one of nothing where there is none.
        pictured_at: When that was made, Unix seconds; None where there is none.
        pictures: Runs on this journal of which there is one.
    """

    path: Path
    about: About
    summary: JournalSummary
    entries: tuple[ContentEntry, ...]
    failures: tuple[FailureKind, ...]
    report: RunReport
    pictured_at: float | None
    pictures: int

    @property
    def state(self) -> str:
        """Whether it goes on."""
        if self.summary.live_runs:
            return "running"
        if not self.about.card:
            return ""  # of an executor's own journal nobody says when it is done
        return "finished" if self.about.finished_at is not None else "not finished"


def find_run(name: str, runs: Path) -> Path:
    """Return the journal of a run.

    Args:
        name: A journal, the folder of a run, the name of one, or that of a card for its latest.
        runs: Folder of all runs.

    Raises:
        ValueError: There is none.
    """
    named = Path(name)
    if named.is_file():
        return named
    places = [named, *(runs / card / name for card in find_cards(runs))]
    places += [runs / card / ASIDE / name for card in find_cards(runs)]
    places += sorted((path for path in (runs / name).glob("*") if path.is_dir()), reverse=True)
    for place in places:
        if (place / JOURNAL_NAME).is_file():
            return place / JOURNAL_NAME
    message = f"no run is there, got {name!r}; name a journal, the folder of a run, or a card"
    raise ValueError(message)


def look_into(path: Path) -> SeenRun:
    """Read all that a journal tells of its run.

    Raises:
        JournalError: It cannot be read.
    """
    with closing(Contents(path)) as contents:
        summary = contents.summary()
        entries = tuple(contents.entries(with_values=False))
        failures = tuple(contents.failures())
        pictures = contents.pictures()
    report, at = _latest(pictures)
    return SeenRun(path, read_about(path), summary, entries, failures, report, at, len(pictures))


def _latest(pictures: list[tuple[int, float, bytes]]) -> tuple[RunReport, float | None]:
    """Return the latest picture of a run that ran tasks, else the latest one that can be read."""
    found: tuple[RunReport, float | None] = RunReport(), None
    for _, at, body in pictures:
        try:
            report = unpack_report(body)
        except ValueError:
            continue  # of a newer version
        if report.tasks or report.lost_tasks or not found[0].tasks:
            found = report, at
    return found


def write_page(name: str, *, runs: Path, output: Path | None, other: str | None) -> int:
    """Write the page of a run.

    Args:
        name: The run.
        runs: Folder of all runs.
        output: Where; None for beside the journal.
        other: A run to compare with.

    Returns:
        The exit code.

    Raises:
        ValueError: There is no such run.
        JournalError: Its journal cannot be read.
    """
    path = find_run(name, runs)
    run = look_into(path)
    beside = None if other is None else look_into(find_run(other, runs))
    page = draw_page(run.report, _facts(run, beside))
    target = _place(path) if output is None else output
    part = target.with_name(f".{target.name}.part")
    try:
        part.write_text(page, encoding="utf-8", errors="backslashreplace")
        part.replace(target)
    except OSError as error:
        message = f"page cannot be written, got {str(target)!r} ({error}); name another file"
        raise ValueError(message) from error
    finally:
        part.unlink(missing_ok=True)
    say(f"{target}: {size_text(len(page))}" + (f", {run.state}" if run.state else ""))
    return ALL_HAVE_VALUES


def _place(journal: Path) -> Path:
    """Return where the page of a journal lies: in the run's folder, or beside the journal."""
    own = journal.name == JOURNAL_NAME
    return journal.with_name(PAGE_NAME if own else f"{journal.name}.html")


def _facts(run: SeenRun, beside: SeenRun | None) -> PageFacts:
    card = run.about.card or run.path.stem
    is_open = run.state == "not finished"
    return PageFacts(
        title=card,
        source=f"From {run.path}, read {time.strftime('%Y-%m-%d %H:%M:%S')}.",
        tasks=[_known(number, entry) for number, entry in enumerate(run.entries)],
        failures=run.failures,
        again=run.about.command if is_open else "",
        state=run.state,
        notes=list(_notes(run)),
        other=None if beside is None else (beside.path.parent.name, beside.report),
    )


def _notes(run: SeenRun) -> Iterator[str]:
    if run.pictured_at is not None and run.state == "running":
        age = time_text(max(0.0, time.time() - run.pictured_at))
        yield f"It is running; the pictures are of {age} ago."
    if run.pictures > 1:
        yield f"{run.pictures} runs wrote into this journal; the pictures are of the latest."
    if run.pictured_at is None:
        yield "No picture of the run was kept: it ended within its first seconds, or was killed."


def _known(number: int, entry: ContentEntry) -> KnownTask:
    return KnownTask(
        f"{number} ({entry.key[:KEY_LETTERS]})",
        entry.status,
        entry.wall_seconds,
        entry.peak_bytes,
        entry.cause or "",
        entry.level,
        entry.worker,
        entry.attempt,
    )


def explain_run(name: str, what: str, *, runs: Path) -> int:
    """Say in words why a run, or a part of it, went as it did.

    Args:
        name: The run.
        what: `""` for all, a task's number or key, `level`, `worker N`, `now`.
        runs: Folder of all runs.

    Returns:
        The exit code.

    Raises:
        ValueError: There is no such run, or nothing of that name.
        JournalError: Its journal cannot be read.
    """
    run = look_into(find_run(name, runs))
    lines = tuple(_of_key(run, what)) or tell(run.report, what)
    for line in _notes(run):
        note(line)
    for line in lines:
        say(line)
    if what.strip().lower() == "now":
        for line in _neighbours():
            say(line)
    return ALL_HAVE_VALUES


def _of_key(run: SeenRun, what: str) -> Iterator[str]:
    """Tell of the tasks whose key begins so."""
    key = what.strip().lower()
    if len(key) < KEY_LETTERS_MIN or set(key) - set("0123456789abcdef"):
        return
    for one in [entry for entry in run.entries if entry.key.startswith(key)]:
        where = f"worker {one.worker} at the {one.level} level" if one.level else "nowhere"
        yield f"{one.key}: {one.status}, execution {one.attempt}, {where}"
        if one.wall_seconds is not None:
            yield f"it took {one.wall_seconds:.3g} s"
        if one.peak_bytes is not None:
            yield f"its memory grew by {size_text(one.peak_bytes)}"
        if one.cause:
            yield f"it failed: {one.cause}"


def _neighbours() -> Iterator[str]:
    """Say who is on this host now."""
    records = read_ledger()
    if records:
        yield f"instances on this host now: {len(records)}"
    for one in records:
        held = f"{one.claim.held_slots} workers, {size_text(one.claim.held_bytes)} promised"
        yield f"  pid {one.pid} {one.program}: {held}"
