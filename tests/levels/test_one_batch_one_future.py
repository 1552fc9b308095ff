"""What goes wrong in one batch or at one Future reaches no other."""

import pytest

from adaptive_exec import DriverError
from adaptive_exec.calls import MapCalls
from tests.levels import work
from tests.levels.ladder import executor_at

LEVELS = pytest.mark.parametrize("level", ["process", "thread", "sequential"])


class BareError(Exception):
    """An exception that takes no notes."""

    __notes__ = None


class LoudError(Exception):
    """An exception that refuses notes aloud."""

    def add_note(self, note):
        raise RuntimeError(note)


def fail(kind):
    raise kind(1)


@LEVELS
@pytest.mark.parametrize("kind", [BareError, LoudError])
def test_an_exception_that_takes_no_note_is_its_tasks_and_nobody_elses(level, kind):
    with executor_at(level) as executor:
        other = executor.submit(work.same, 5)
        assert type(executor.submit(fail, kind).exception(50)) is kind
        found = [outcome.error for outcome in executor.outcomes(fail, [kind] * 8)]
        assert [type(error) for error in found] == [kind] * 8
        assert other.result(50) == 5


@LEVELS
@pytest.mark.parametrize("way", ["set_result", "set_running_or_notify_cancel", "set_exception"])
def test_a_future_that_its_owner_set_is_left_alone(level, way, tmp_path):
    gate = tmp_path / "gate"
    with executor_at(level, max_workers=1) as executor:
        futures = (
            [executor.submit(work.wait_for, str(gate)) for _ in range(3)]
            if (level != "sequential")
            else []
        )
        odd = executor.submit(work.same, 7)
        try:
            arguments = {"set_result": (8,), "set_exception": (KeyError(8),)}.get(way, ())
            getattr(odd, way)(*arguments)
        except Exception:
            assert odd.done() or odd.running()
        gate.touch()
        assert executor.submit(work.same, 9).result(50) == 9
        for future in futures:
            future.result(50)


@LEVELS
@pytest.mark.parametrize("step", ["deliver", "ask", "items", "names"])
def test_a_batch_whose_own_side_fails_ends_and_all_others_go_on(level, step, monkeypatch):
    with executor_at(level) as executor:
        healthy = executor.map(work.same, range(100))
        assert next(healthy) == 0
        original = getattr(MapCalls, step)

        def broken(self, *args, **kwargs):
            if self.batch in ill:
                raise ZeroDivisionError("a bug")
            return original(self, *args, **kwargs)

        ill = set(range(healthy_batch(executor) + 1, 100))
        monkeypatch.setattr(MapCalls, step, broken)
        with pytest.raises(DriverError) as caught:
            list(executor.map(work.same, range(50)))
        assert type(caught.value.__cause__) is ZeroDivisionError
        monkeypatch.undo()
        assert list(healthy) == list(range(1, 100))
        assert list(executor.map(work.same, range(50))) == list(range(50))
        assert executor.submit(work.same, 4).result(50) == 4


def healthy_batch(executor):
    return max(executor._driver.batches, default=0)  # it may be over already
