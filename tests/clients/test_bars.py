"""`process_map` and `thread_map`, with tqdm's bar and without."""

import io
import os
import threading

import pytest

from adaptive_exec import process_map, thread_map
from adaptive_exec.clients import bars

WAIT_SECONDS = 120


def add(left, right=1):
    return left + right


def in_process(_):
    return os.getpid()


def in_thread(_):
    return threading.current_thread().name


class Bar:
    """What tqdm's bar is to its caller."""

    made = ()

    def __init__(self, **named):
        self.named, self.n = named, 0
        type(self).made += (self,)

    def update(self):
        self.n += 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.named["closed"] = True


@pytest.fixture(autouse=True)
def _no_bars(monkeypatch):
    monkeypatch.setattr(Bar, "made", ())


@pytest.mark.parametrize("call", [process_map, thread_map])
def test_a_bar_counts_every_result_and_is_told_what_it_understands(call):
    found = call(
        add, range(6), [10] * 9, tqdm_class=Bar, max_workers=2, chunksize=2, desc="sums", unit="s",
        lock_name="mp_lock", share_host=False,
    )  # fmt: skip
    assert found == [10, 11, 12, 13, 14, 15]
    (bar,) = Bar.made
    assert bar.n == 6
    assert bar.named == {
        "total": 6, "desc": "sums", "unit": "s", "smoothing": 0.0, "closed": True
    }  # fmt: skip


def test_a_total_that_is_given_or_unknown_is_handed_on():
    assert process_map(add, iter([1]), tqdm_class=Bar, max_workers=1) == [2]
    assert thread_map(add, iter([1]), tqdm_class=Bar, total=7) == [2]
    assert [bar.named["total"] for bar in Bar.made] == [1, 7]
    assert thread_map(add, (k for k in [1]), tqdm_class=Bar) == [2]
    assert Bar.made[-1].named["total"] is None


def test_processes_are_processes_and_threads_are_threads():
    assert os.getpid() not in process_map(in_process, [1], tqdm_class=Bar, max_workers=1)
    assert thread_map(in_thread, [1], tqdm_class=Bar, thread_name_prefix="bar") == ["bar_0"]


def test_the_first_error_ends_it():
    with pytest.raises(TypeError):
        thread_map(add, [1, "2", 3], tqdm_class=Bar)
    assert Bar.made[0].n == 1


def test_an_unknown_name_is_refused_where_there_is_no_bar_to_refuse_it(monkeypatch):
    monkeypatch.setattr(bars, "_find_bar", lambda: None)
    with pytest.raises(TypeError, match="got 'colr'"):
        thread_map(add, [1], colr="red")


def test_without_tqdm_progress_is_the_executors_own(monkeypatch, capsys):
    monkeypatch.setattr(bars, "_find_bar", lambda: None)
    assert thread_map(add, range(5), desc="unused", ascii=True) == [1, 2, 3, 4, 5]
    assert thread_map(add, range(5), disable=True) == [1, 2, 3, 4, 5]
    assert capsys.readouterr().out == ""


def test_the_bar_is_tqdms_where_that_is_installed():
    pytest.importorskip("tqdm")
    file = io.StringIO()
    assert thread_map(add, range(9), file=file, miniters=1, desc="sums") == list(range(1, 10))
    assert "sums" in file.getvalue()
    assert "9/9" in file.getvalue()
