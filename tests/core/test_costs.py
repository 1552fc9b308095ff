"""What is learned from a finished chunk."""

from adaptive_exec.core.costs import Costs, learn
from adaptive_exec.core.events import Usage

CHUNK = Usage(2, 1.0, 0.5, transport_seconds=0.2, sent_bytes=100, result_bytes=40, peak_bytes=7)


def test_the_first_chunk_is_believed():
    known = learn(Costs(), CHUNK, isolated=True)

    assert known == Costs(2, 2, 0.5, 0.25, 0.1, 50, 20, 7, 2)


def test_a_later_chunk_weighs_half():
    known = learn(learn(Costs(), CHUNK, isolated=True), Usage(1, 1.5, 0.75), isolated=True)

    assert (known.wall_seconds, known.cpu_seconds, known.transport_seconds) == (1.0, 0.5, 0.05)
    assert (known.tasks, known.chunk_tasks) == (3, 1)


def test_transport_and_peak_are_learned_only_where_they_are_real():
    known = learn(Costs(), CHUNK, isolated=False)

    assert known == Costs(tasks=2, wall_seconds=0.5, cpu_seconds=0.25, chunk_tasks=2)


def test_a_chunk_in_the_callers_process_forgets_nothing_of_the_transport():
    known = learn(learn(Costs(), CHUNK, isolated=True), Usage(1, 0.5), isolated=False)

    assert (known.transport_seconds, known.peak_bytes, known.isolated_tasks) == (0.1, 7, 2)
    assert known.cpu_seconds == 0.25


def test_the_highest_peak_is_kept():
    known = Costs()
    for peak in (None, 5, None, 9, 3):
        known = learn(known, Usage(1, 1.0, peak_bytes=peak), isolated=True)

    assert known.peak_bytes == 9


def test_a_chunk_in_which_nothing_was_finished_teaches_nothing():
    known = Costs(tasks=1, wall_seconds=2.0)

    assert learn(known, Usage(0, 9.0), isolated=True) is known
