"""What a run looked like is kept in bounded memory, and what stood out is kept whole."""

import sys
from itertools import pairwise

import pytest

from adaptive_exec.config import Config
from adaptive_exec.core import events as ev
from adaptive_exec.core.instructions import Explain, SendChunk
from adaptive_exec.core.reason import Code, Decision, because
from adaptive_exec.core.run import Run
from adaptive_exec.core.timeline import MOMENTS_MAX, NOTABLE_MAX, SPANS_MAX, Chart, Gauges
from adaptive_exec.core.trace import FACT_LETTERS, FIRST_KEPT, TRACE_LENGTH, Trace
from tests.core.feeder import Feeder
from tests.core.world import make_host

MIB = 2**20


def deep_bytes(value: object, seen: set[int] | None = None) -> int:
    seen = set() if seen is None else seen
    if id(value) in seen or isinstance(value, type):
        return 0
    seen.add(id(value))
    size = sys.getsizeof(value)
    if isinstance(value, dict):
        return size + sum(deep_bytes(one, seen) for pair in value.items() for one in pair)
    if isinstance(value, (str, bytes, int, float)) or value is None:
        return size
    if hasattr(value, "__iter__"):
        size += sum(deep_bytes(one, seen) for one in list(value))
    names = [*getattr(value, "__dict__", ()), *getattr(value, "__slots__", ())]
    return size + sum(deep_bytes(getattr(value, one, None), seen) for one in names)


def run_chunks(chart: Chart, count: int, *, workers: int = 4, seconds: float = 1.0) -> None:
    for number in range(count):
        at = number * seconds / workers
        order = SendChunk(number, "process", number % workers, 1, 10 * number, 10 * number + 10, 1)
        chart.begin(order, at, "input", None)
        longer = 5.0 if number == count // 3 else 0.5 + number % 7 * 0.01
        usage = ev.Usage(10, longer, peak_bytes=MIB + number % 5 + (number == count // 2) * 10**9)
        chart.end(ev.ChunkDone(at + 0.9 * seconds, number, 10, usage), usage)
        if chart.unnamed is not None:
            chart.name(chart.unnamed, f"argument {number}")


@pytest.mark.parametrize("seconds", [0.001, 1.0])
@pytest.mark.parametrize("count", [10, 900, 10_000])
def test_chunks_are_thinned_and_none_is_lost_from_the_sums(count, seconds):
    chart = Chart()

    run_chunks(chart, count, seconds=seconds)

    spans = chart.spans
    assert len(spans) <= SPANS_MAX + 4
    assert sum(one.tasks for one in spans) == pytest.approx(10 * count, rel=0.01)
    assert [one.until for one in spans] == sorted(one.until for one in spans)
    assert all(one.at < one.until for one in spans)


def test_what_stands_out_stays_whole_however_long_the_run():
    chart = Chart()

    run_chunks(chart, 20_000)

    assert chart.slowest[0].compute_seconds == 5.0
    assert chart.slowest[0].first == 10 * (20_000 // 3)
    assert chart.largest[0].peak_bytes > 10**9
    assert chart.slowest[0].arguments == f"argument {20_000 // 3}"
    assert len(chart.slowest) == len(chart.largest) == NOTABLE_MAX


def test_a_worker_that_was_free_before_its_chunk_says_for_how_long_and_for_what():
    chart = Chart()
    chart.free(3, 1.0)
    chart.begin(SendChunk(1, "process", 3, 1, 0, 1, 1), 4.0, "memory", None)
    usage = ev.Usage(1, 1.0)
    chart.end(ev.ChunkDone(5.5, 1, 1, usage), usage)

    (span,) = chart.spans
    assert (span.wait_seconds, span.wait_for) == (3.0, "memory")
    assert (span.at, span.until, span.compute_seconds) == (4.0, 5.5, 1.0)


def test_the_chunk_of_a_dead_worker_keeps_the_cause():
    chart = Chart()
    chart.begin(SendChunk(1, "process", 3, 1, 0, 8, 2), 4.0, "idle", None)

    chart.lose(ev.WorkerLost(6.0, "process", 3, "signal 11", running=5, peak_bytes=7))

    (span,) = chart.deaths
    assert (span.first, span.cause, span.attempt, span.peak_bytes) == (5, "signal 11", 2, 7)
    assert chart.spans == []


def test_readings_are_thinned_and_their_extremes_stay():
    run = Run(Config(share_host=False), make_host())
    gauges, state = Gauges(), run.state
    usual, most, least = 10 * MIB, 999 * MIB, MIB

    for number in range(20_000):
        used = {7_777: most, 13_131: least}.get(number, usual)
        limit = state.host.limit_bytes
        state.host = state.host._replace(available_bytes=limit - used)
        gauges.note(number * 0.1, state, number)

    assert len(gauges.moments) <= MOMENTS_MAX
    assert max(one.used_high_bytes for one in gauges.moments) == most
    assert min(one.used_low_bytes for one in gauges.moments) == least
    assert all(one.at < two.at and one.done < two.done for one, two in pairwise(gauges.moments))
    assert gauges.moments[-1].done == 19_999


def decide(trace: Trace, run: Run, at: float, severity: str, code: Code, text: str = "") -> None:
    decision = Decision(at, "killed", severity, "worker 1", because(code, error=text, left=12345))
    trace.see(ev.TimerFired(at), [Explain(decision)], run.state)


def test_of_many_decisions_the_first_the_grave_and_the_newest_are_kept_and_all_are_counted():
    run, trace = Run(Config(share_host=False), make_host()), Trace()

    for number in range(5_000):
        is_grave = number == 2_500
        decide(
            trace,
            run,
            float(number),
            "warning" if is_grave else "info",
            Code.BRAKE if is_grave else Code.SUSPECT,
        )

    report = trace.report()
    kept = [one.at for one in report.decisions]
    assert kept[:FIRST_KEPT] == [float(at) for at in range(FIRST_KEPT)]
    assert kept[-TRACE_LENGTH:] == [float(at) for at in range(5_000 - TRACE_LENGTH, 5_000)]
    assert 2_500.0 in kept
    assert {one.code: one.count for one in report.tallies} == {Code.SUSPECT: 4_999, Code.BRAKE: 1}


def test_a_trace_takes_less_than_two_megabytes_for_any_length_of_run():
    run, trace = Run(Config(share_host=False), make_host()), Trace()
    for number in range(3_000):
        decide(trace, run, float(number), "warning", Code.BRAKE, f"{number} " + "long " * 1_000)
        trace.note_failure(f"Kind{number}", "text " * 1_000, "story " * 10_000)
        trace.gauges.note(float(number), run.state, number)
    run_chunks(trace.chart, 20_000, workers=64)
    for number in range(3_000):
        trace.chart.begin(SendChunk(-number, "process", 900 + number, 1, 0, 9, 1), 1e6, "", None)
        trace.chart.lose(ev.WorkerLost(1e6, "process", 900 + number, "signal 9 " * 100, running=1))
        trace.chart.name(trace.chart.unnamed, "x" * 80)

    assert deep_bytes(trace) < 2 * MIB
    texts = [str(one.reason.fact("error")) for one in trace.report().decisions]
    assert max(map(len, texts)) == FACT_LETTERS


def test_a_run_with_deaths_and_pressure_keeps_bounds():
    feeder = Feeder(Config(max_workers=3))
    feeder.open(1, tasks=3_000)
    feeder.feed(3_000, lambda number, order: ev.Usage(order.stop - order.start, 0.3, 0.3))

    report = feeder.trace.report()

    assert sum(one.tasks for one in report.spans) == report.tasks == 3_000
    assert report.began_at <= report.moments[0].at
    assert report.ended_at >= report.spans[-1].until
    assert sum(one.compute_seconds for one in report.spans) == pytest.approx(report.compute_seconds)
