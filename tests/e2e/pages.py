"""Pages of a healthy, a squeezed and a failing run, as the core makes their reports."""

from functools import cache

from adaptive_exec.config import Config
from adaptive_exec.core import events as ev
from adaptive_exec.core.instructions import Explain
from adaptive_exec.core.reason import Code, Decision, because
from adaptive_exec.core.report import FailureKind, RunReport
from adaptive_exec.core.trace import Trace
from adaptive_exec.drawing.page import draw_page
from adaptive_exec.drawing.sections import KnownTask, PageFacts
from tests.core.feeder import Feeder

MIB = 2**20
PAGES = ("healthy", "squeezed", "failing")
UGLY = "<script>alert(1)</script> & \"quotes\" 'too' \udcff \x00"
"""What a task's message or argument may hold."""


@cache
def make_report(kind: str, tasks: int = 300) -> RunReport:
    feeder = Feeder(Config(max_workers=4))
    feeder.open(1, tasks=tasks)
    feeder.feed(tasks, _usage)
    trace, state = feeder.trace, feeder.run.state
    if kind == "squeezed":
        _say(trace, state, "pressure", Code.MEMORY_WARN, "memory", old="normal", new="warn")
        _say(trace, state, "killed", Code.BRAKE, "worker 2")
    if kind == "failing":
        _say(trace, state, "lost", Code.WORKER_DIED, "worker 1")
        _say(trace, state, "degraded", Code.START_REFUSED, "run", old="process", new="thread")
        for number in range(3):
            trace.note_failure("ValueError", f"bad {number} {UGLY}", f"Traceback {UGLY}")
        trace.note_failure("KeyError", "1", "")
    host = (("memory", "1024 MiB (a test)"), ("cores", "4 (a test)"))
    settings = (("max_workers", "4"), ("key", UGLY))
    return trace.report()._replace(host=host, settings=settings, epoch_seconds=1e9)


def _usage(number: int, order) -> ev.Usage:
    tasks = order.stop - order.start
    return ev.Usage(tasks, 0.01 * (1 + number % 9), peak_bytes=MIB * (1 + number % 7))


def _say(trace: Trace, state, event: str, code: Code, subject: str, **moved) -> None:
    at = trace.report().ended_at
    decision = Decision(at, event, "warning", subject, because(code, error=UGLY), **moved)
    trace.see(ev.TimerFired(at), [Explain(decision)], state)


def make_page(kind: str, tasks: int = 300) -> str:
    """Return a page, of the failing run with what a journal knows."""
    report = make_report(kind)
    if kind != "failing":
        return draw_page(report, PageFacts(title=kind, other=("another", report)))
    known = [_known(number) for number in range(tasks)]
    failures = (FailureKind("ValueError", 7, UGLY, f"Traceback\n{UGLY}"),)
    again = "adaptive-exec run card --resume x"
    facts = PageFacts(f"failing {UGLY}", UGLY, known, failures, again, "not finished", (UGLY,))
    return draw_page(report, facts)


def _known(number: int) -> KnownTask:
    failed = number % 7 == 3
    cause = f"ValueError: {UGLY}" if failed else ""
    status, peak = "failed" if failed else "done", MIB * (number % 50)
    return KnownTask(f"{number} ({UGLY})", status, 0.001 * number, peak, cause, "process", 3, 1)
