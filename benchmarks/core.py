"""What does the core cost: an event, and 20,000 tasks on 256 simulated cores?

    python benchmarks/core.py

CPU seconds, so that other work on the host counts little. The events are those of a simulated
batch at one task per chunk (a ChunkDone and a ResultsTaken for each), recorded, then handled by a
fresh Run.
"""

import time
from collections.abc import Callable
from random import Random

from measure import Figure, describe_host, take_turns

from adaptive_exec.config import Config
from adaptive_exec.core.events import Event
from adaptive_exec.core.run import Run
from adaptive_exec.sim.driver import SimDriver, simulate
from adaptive_exec.sim.machine import SimHost

TASKS = 20_000
CORES = 256
HOST = SimHost(cores=CORES)
EVENT_US_ASKED = 10
RUN_SECONDS_ASKED = 1
ROUNDS = 7


def record(durations: list[float]) -> list[Event]:
    """Run a batch and keep every event that its Run handled."""
    driver, events = SimDriver(Config(), HOST), []
    handle = driver._run.handle  # noqa: SLF001  # to hear what the real object is told
    driver._run.handle = lambda event: events.append(event) or handle(event)  # noqa: SLF001
    driver.run_to_end([durations])
    return events


def replay(events: list[Event]) -> float:
    """Handle events with a fresh Run; return CPU seconds per event."""
    run = Run(Config(), HOST.snapshot(0.0, 0))
    before = time.process_time()
    for event in events:
        run.handle(event)
    return (time.process_time() - before) / len(events)


def cpu(work: Callable[[], object]) -> Callable[[], float]:
    """Make of a piece of work a measurement of its CPU seconds."""

    def measure() -> float:
        before = time.process_time()
        work()
        return time.process_time() - before

    return measure


def measure_event() -> Figure:
    events = record([0.5] * TASKS)
    spreads = take_turns({f"an event, of {len(events):,}": lambda: replay(events)}, ROUNDS)
    rows = {name: spread.scaled(1e6) for name, spread in spreads.items()}
    (event,) = rows.values()
    asked, measured = f"under {EVENT_US_ASKED} us", f"{event.median:.2f} us"
    is_reached = event.median < EVENT_US_ASKED
    return Figure("event", asked, measured, is_reached, "us", rows)


def measure_simulation() -> Figure:
    random = Random(0)
    even = [0.5] * TASKS
    heavy = [random.lognormvariate(-1.0, 0.8) for _ in range(TASKS)]
    rows = take_turns(
        {
            "tasks of 0.5 s": cpu(lambda: simulate(Config(), HOST, even)),
            "heavy-tailed tasks": cpu(lambda: simulate(Config(), HOST, heavy)),
        },
        ROUNDS,
    )
    median = max(spread.median for spread in rows.values())
    asked, measured = f"under {RUN_SECONDS_ASKED} s", f"{median:.2f} s"
    return Figure("simulation", asked, measured, median < RUN_SECONDS_ASKED, "s", rows)


def main() -> None:
    host = describe_host()
    for figure in (measure_event(), measure_simulation()):
        print(f"### {figure.name}\n\n{figure.as_markdown()}\n")
    print(f"{host}; CPU time.")


if __name__ == "__main__":
    main()
