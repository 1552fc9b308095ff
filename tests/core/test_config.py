"""Settings: what is taken, in which form, and how a wrong one is refused."""

import pickle
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_exec import config
from adaptive_exec.config import GIB, KIB, MIB, Config, check_levels, make_config, parse_size

LIMIT_BYTES = 10_000_000


@pytest.mark.parametrize(
    ("value", "size_bytes"),
    [
        pytest.param(0.7, 7_000_000, id="fraction"),
        pytest.param(1, 10_000_000, id="the whole limit"),
        pytest.param(1.0, 10_000_000, id="the whole limit as a float"),
        pytest.param(70.0, 7_000_000, id="percentage"),
        pytest.param(70, 7_000_000, id="whole percentage"),
        pytest.param(1.5, 150_000, id="small percentage"),
        pytest.param(100, 10_000_000, id="hundred percent"),
        pytest.param(29, 2_900_000, id="percentage without rounding error"),
        pytest.param(0.29, 2_900_000, id="fraction without rounding error"),
        pytest.param(4096, 4096, id="one page"),
        pytest.param(150_000_000, 150_000_000, id="bytes"),
        pytest.param(10**30, 10**30, id="more bytes than a float holds"),
        pytest.param(Fraction(1, 4), 2_500_000, id="another kind of number"),
        pytest.param("0.7", 7_000_000, id="fraction as text"),
        pytest.param("70.0", 7_000_000, id="percentage as text"),
        pytest.param("70%", 7_000_000, id="percent sign"),
        pytest.param("0.5 %", 50_000, id="half a percent"),
        pytest.param("150000000", 150_000_000, id="bytes as text"),
        pytest.param("5000B", 5000, id="bytes with a unit"),
        pytest.param("12b", 12, id="few bytes meant as such"),
        pytest.param("150k", 150_000, id="k"),
        pytest.param("150MB", 150_000_000, id="MB is 10^6"),
        pytest.param("150MiB", 150 * MIB, id="MiB is 2^20"),
        pytest.param("150 mib", 150 * MIB, id="any case, a space"),
        pytest.param("2Gi", 2 * GIB, id="Gi"),
        pytest.param("1.5GiB", 3 * GIB // 2, id="part of a unit"),
        pytest.param(".5GiB", GIB // 2, id="no leading nought"),
        pytest.param("1TB", 10**12, id="TB"),
        pytest.param("1TiB", 1024 * GIB, id="TiB"),
        pytest.param("64KiB", 64 * KIB, id="KiB"),
        pytest.param(" 1g ", 10**9, id="spaces around"),
        pytest.param(1e-12, 1, id="never less than a byte"),
    ],
)
def test_a_size_is_understood(value: object, size_bytes: int):
    assert parse_size("target_memory", value, limit_bytes=LIMIT_BYTES) == size_bytes


@pytest.mark.parametrize(
    "value",
    [
        0, -1, -0.5, "0", "-5", "-1GB", "0%", float("nan"), float("inf"), float("-inf"),
        101, 150.0, 4095, "101", "101%", "", " ", "big", "5 parsecs", "1e9", "1,5GB", "GB", "%",
        "1 2GB", "0x10", "5mm", "1GBB",
    ],
    ids=repr,
)  # fmt: skip
def test_a_size_out_of_range_is_refused_by_name_and_value(value: object):
    with pytest.raises(ValueError, match="target_memory must be") as caught:
        parse_size("target_memory", value, limit_bytes=LIMIT_BYTES)

    assert repr(value) in str(caught.value)
    assert "; " in str(caught.value)


@pytest.mark.parametrize("value", [True, None, [], b"1GB", 1j, Decimal(1)], ids=repr)
def test_a_size_of_the_wrong_type_is_refused(value: object):
    with pytest.raises(TypeError, match="task_memory must be a size"):
        parse_size("task_memory", value, limit_bytes=LIMIT_BYTES)


@given(st.integers(min_value=1, max_value=100), st.integers(min_value=1, max_value=2**50))
def test_a_percentage_reads_the_same_in_every_form(percent: int, limit_bytes: int):
    forms = (
        [f"{percent}%"] if percent == 1 else [percent, float(percent), str(percent), f"{percent}%"]
    )

    sizes = {parse_size("x", form, limit_bytes=limit_bytes) for form in forms}

    assert len(sizes) == 1


@given(st.integers(min_value=4096, max_value=2**60))
def test_bytes_stay_as_they_are(size_bytes: int):
    assert parse_size("x", size_bytes, limit_bytes=1) == size_bytes
    assert parse_size("x", f"{size_bytes}", limit_bytes=1) == size_bytes
    assert parse_size("x", f"{size_bytes}B", limit_bytes=1) == size_bytes


@given(st.text())
def test_any_text_is_a_size_or_a_value_error(text: str):
    try:
        size_bytes = parse_size("x", text, limit_bytes=GIB)
    except ValueError:
        return
    assert size_bytes >= 1


def test_numpy_numbers_are_numbers():
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")

    settings = Config(
        max_workers=numpy.int64(3), task_timeout=numpy.float32(2), task_memory=numpy.int64(MIB)
    )

    assert (settings.max_workers, type(settings.max_workers)) == (3, int)
    assert (settings.task_timeout, type(settings.task_timeout)) == (2.0, float)
    assert parse_size("task_memory", settings.task_memory, limit_bytes=GIB) == MIB


@pytest.mark.parametrize(
    ("levels", "settled"),
    [
        pytest.param("auto", "auto", id="auto"),
        pytest.param("thread", ("thread",), id="one name"),
        pytest.param(["thread", "process"], ("process", "thread"), id="ladder order"),
        pytest.param({"sequential"}, ("sequential",), id="a set"),
        pytest.param(("thread", "thread"), ("thread",), id="each once"),
    ],
)
def test_levels_are_settled_in_the_order_of_the_ladder(levels: object, settled: object):
    assert check_levels(levels) == settled


@pytest.mark.parametrize(
    ("levels", "error", "words"),
    [
        pytest.param("proces", ValueError, "did you mean 'process'", id="a slip"),
        pytest.param("Thread", ValueError, "did you mean 'thread'", id="capitals"),
        pytest.param("atuo", ValueError, "did you mean 'auto'", id="a slip in auto"),
        pytest.param(("thread", "seq"), ValueError, "did you mean 'sequential'", id="in a tuple"),
        pytest.param(
            ("auto",), ValueError, "unknown level, got 'auto'; did you mean '(?!auto)", id="auto"
        ),
        pytest.param((), ValueError, "at least one level", id="none"),
        pytest.param(3, TypeError, "got 3; choose from process", id="a number"),
        pytest.param(None, TypeError, "got None", id="None"),
        pytest.param((3,), ValueError, "got 3", id="a number in a tuple"),
    ],
)
def test_unknown_levels_are_refused(levels: object, error: type[Exception], words: str):
    with pytest.raises(error, match=words):
        Config(levels=levels)


def test_the_ladder_of_auto_is_every_level():
    assert Config().ladder == config.LEVELS
    assert Config(levels=("sequential", "process")).ladder == ("process", "sequential")


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"max_workers": 0}, ValueError, "max_workers must be 1 or more, got 0"),
        ({"max_workers": 2.0}, TypeError, "max_workers must be a whole number, got 2.0"),
        ({"max_workers": True}, TypeError, "max_workers must be a whole number, got True"),
        ({"max_workers": "3"}, TypeError, "max_workers must be a whole number, got '3'"),
        ({"max_in_flight": -1}, ValueError, "max_in_flight must be 1 or more, got -1"),
        ({"max_tasks_per_worker": 0}, ValueError, "max_tasks_per_worker"),
        ({"inner_threads": 0}, ValueError, "inner_threads"),
        ({"retries": -1}, ValueError, "retries must be 0 or more, got -1"),
        ({"retries": None}, TypeError, "retries must be a whole number, got None"),
        ({"task_timeout": 0}, ValueError, "task_timeout must be above 0 seconds, got 0"),
        ({"task_timeout": float("nan")}, ValueError, "task_timeout"),
        ({"task_timeout": float("inf")}, ValueError, "task_timeout"),
        ({"task_timeout": "5"}, TypeError, "task_timeout must be a number of seconds, got '5'"),
        ({"target_memory": []}, TypeError, r"target_memory must be a size, got \[\]"),
        ({"target_memory": 150}, ValueError, "target_memory must be a percentage up to 100"),
        ({"warn_memory": -0.1}, ValueError, "warn_memory"),
        ({"critical_memory": "lots"}, ValueError, "critical_memory"),
        ({"task_memory": []}, TypeError, "task_memory"),
        ({"warn_memory": 0.1, "critical_memory": 0.2}, ValueError, "above critical_memory"),
        ({"warn_memory": "2GB", "critical_memory": "2GB"}, ValueError, "above critical_memory"),
        ({"isolate": 1}, TypeError, "isolate must be True or False, got 1"),
        ({"isolate": True, "levels": "thread"}, ValueError, "isolate=True needs the process level"),
        ({"progress": "yes"}, TypeError, "progress"),
        ({"initializer": 3}, TypeError, "initializer must be callable, got 3"),
        ({"on_event": "print"}, TypeError, "on_event must be callable"),
        ({"initargs": 3}, TypeError, r"write \(3,\)"),
        ({"initargs": "abc"}, TypeError, r"write \('abc',\)"),
        ({"start": "fork"}, ValueError, "unknown start, got 'fork'; did you mean 'loky'"),
        ({"start": 3}, ValueError, "unknown start, got 3"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_wrong_setting_is_refused_by_name_value_and_way_out(
    settings: dict[str, object], error: type[Exception], words: str
):
    with pytest.raises(error, match=words) as caught:
        make_config(settings)

    assert "; " in str(caught.value)


@pytest.mark.parametrize("name", config.NOT_YET)
def test_a_setting_that_is_not_built_is_refused(name: str):
    values = {"key": str, "max_worker_age": 5.0, "max_worker_memory": 0.5, "retry_on": (OSError,)}
    value = values.get(name, True)

    with pytest.raises(ValueError, match=f"{name} is not built yet"):
        make_config({name: value})


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("max_worker", "max_workers"),
        ("timeout", "task_timeout"),
        ("level", "levels"),
        ("Retries", "retries"),
    ],
)
def test_an_unknown_setting_names_the_nearest(name: str, near: str):
    with pytest.raises(TypeError, match=f"unknown setting, got '{name}'; did you mean '{near}'"):
        make_config({name: 1})


def test_marks_of_different_kinds_are_left_to_the_host():
    assert Config(warn_memory="2GB", critical_memory=0.1).critical_memory == 0.1


def test_settings_are_brought_into_one_form():
    settings = make_config({"initargs": [1, 2], "task_timeout": 5, "levels": "process"})

    assert settings.initargs == (1, 2)
    assert isinstance(settings.task_timeout, float)
    assert settings.levels == ("process",)


def test_a_config_cannot_be_changed_but_can_be_replaced_and_carried():
    settings = Config(max_workers=2)

    with pytest.raises(AttributeError):
        settings.max_workers = 3  # type: ignore[misc]

    assert settings._replace(retries=0).max_workers == 2
    assert pickle.loads(pickle.dumps(settings)) == settings
    with pytest.raises(ValueError, match="max_workers"):
        settings._replace(max_workers=0)


def test_every_setting_is_told_of_in_the_docstring():
    told = {line.strip().partition(": ")[0] for line in (Config.__doc__ or "").splitlines()}

    assert set(Config._fields) <= told
