"""A card file is checked before anything runs; a mistake names the nearest known key."""

from pathlib import Path

import pytest

from adaptive_exec.cards.card_file import OutputPart, TaskPart, read_card
from adaptive_exec.cards.cells import RowTask
from adaptive_exec.cards.commands import CommandFailedError, CommandTask, fill, with_places
from adaptive_exec.cards.filed import batch_of_file, isolated, load_reference
from adaptive_exec.cards.prepared import CardBatch
from adaptive_exec.cards.sample import SampleChoice

FUNCTION = '[task]\nfunction = "os:fspath"\n'
TABLE = f'{FUNCTION}[input]\nfile = "t.csv"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "t.csv").write_text("id,name,size\n1,a,10\n2,b,x\n3,c,30\n")
    (tmp_path / "t.tsv").write_text("id\tname\n1\ta\n")
    return tmp_path


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def made(folder: Path, text: str, *changes: str) -> CardBatch:
    return batch_of_file(read_card(written(folder, text), changes), SampleChoice())


def arguments(batch: CardBatch) -> list[object]:
    assert isinstance(batch.function, RowTask)
    return [batch.function.decode(task) for _, task in batch.tasks()]


MISTAKES = {
    "no TOML": ("[task\n", "card is no TOML, got"),
    "no task": ("", r"\[task\] needs function or command, got none"),
    "two tasks": (f'{FUNCTION}command = ["a"]\n', "got both"),
    "section": ("[inputs]\n", "unknown section, got 'inputs'; did you mean 'input'"),
    "key": (f"{TABLE}limt = 3\n", "unknown key, got 'input.limt'; did you mean 'limit'"),
    "setting": (f"{TABLE}[run]\nmax_worker = 3\n", "'run.max_worker'; did you mean 'max_workers'"),
    "journal": (f'{TABLE}[run]\njournal = "j"\n', "run.journal cannot stand in a card"),
    "value": (f'{TABLE}limit = "3"\n', "input.limit must be a whole number of 1 or more, got '3'"),
    "time": (f'{TABLE}[run]\ntask_timeout = "soon"\n', "run.task_timeout must be a time above 0"),
    "flush": (f"{TABLE}[output]\nflush_interval = 0\n", "output.flush_interval must be a time"),
    "form": (f'{TABLE}format = "cvs"\n', "got input.format = 'cvs'; did you mean 'csv'"),
    "no tasks": (FUNCTION, "card has no tasks"),
    "two inputs": (f"{TABLE}range = 3\n", "needs one source, got file and range"),
    "range": (f"{FUNCTION}[input]\nrange = [1, 2, 0]\n", "input.range must be a whole number"),
    "columns of none": (
        f'{FUNCTION}[input]\nrange = 3\ncolumns = ["a"]\n',
        "input.columns needs a table",
    ),
    "limit and sample": (f"{TABLE}limit = 3\nsample = 3\n", "has limit and sample, got 3 and 3"),
    "axis": (f"{FUNCTION}[sweep]\na = 3\n", "sweep.a must be a list of values, got 3"),
    "axis without end": (f"{FUNCTION}[sweep]\na = {{from = 1}}\n", "sweep.a must be from, to"),
    "zip": (f'{FUNCTION}[sweep]\nmode = "zip"\na = [1]\nb = [1, 2]\n', "a: 1, b: 2; make them"),
    "section of text": ("task = 3\n", r"\[task\] must be a section, got 3"),
}


@pytest.mark.parametrize(("text", "why"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_card_that_says_what_cannot_be_is_refused(text: str, why: str, folder: Path):
    with pytest.raises(ValueError, match=why) as caught:
        read_card(written(folder, text))

    assert "; " in str(caught.value)


OPENED = {
    "column": ('columns = ["idd"]\n', "no column, got 'idd' .*did you mean 'id'"),
    "no expression": ('where = "id <"\n', "input.where is no expression, got 'id <'"),
    "expression's column": ('where = "nam > 1"\n', "no column, got 'nam'; did you mean 'name'"),
    "kept": ('[output]\nkeep = ["nam"]\n', "output.keep has no column, got 'nam'"),
}


@pytest.mark.parametrize(("more", "why"), OPENED.values(), ids=OPENED.keys())
def test_what_the_input_has_not_is_refused_before_any_work(more: str, why: str, folder: Path):
    with pytest.raises(ValueError, match=why):
        made(folder, TABLE + more)


def test_a_change_wins_over_the_file_and_needs_no_quotes(folder: Path):
    card = read_card(
        written(folder, f"{TABLE}[run]\nmax_workers = 4\n"),
        ["run.max_workers=2", "output.file=out.csv", "output.flush_interval=5s"],
    )

    assert card.run == {"max_workers": 2}
    assert card.output == OutputPart(file="out.csv", flush_seconds=5.0)
    assert card.task == TaskPart(function="os:fspath")


@pytest.mark.parametrize("change", ["max_workers=2", "run.max_workers", "=2"])
def test_a_change_of_another_form_is_refused(change: str, folder: Path):
    with pytest.raises(ValueError, match=r"--set must be section.key=value, got"):
        read_card(written(folder, TABLE), [change])


def test_only_the_columns_that_are_asked_for_travel_and_the_expression_chooses(folder: Path):
    batch = made(folder, f'{TABLE}columns = ["name"]\nwhere = "int(id) != 2"\n')

    assert arguments(batch) == [{"name": "a"}, {"name": "c"}]


def test_an_expression_that_fails_is_the_error_of_its_own_task(folder: Path):
    batch = made(folder, f'{TABLE}where = "int(size) > 0"\n')
    assert isinstance(batch.function, RowTask)

    first, second, third = (task for _, task in batch.tasks())

    assert batch.function.decode(first) == {"id": "1", "name": "a", "size": "10"}
    with pytest.raises(ValueError, match="invalid literal"):
        batch.function.decode(second)
    assert batch.kept(second) == {}
    assert batch.function.decode(third)["id"] == "3"  # type: ignore[index]


def test_an_expression_reaches_nothing_but_columns_and_a_few_functions(folder: Path):
    with pytest.raises(ValueError, match=r"input.where has no column, got '__import__'"):
        made(folder, f"{TABLE}where = \"__import__('os')\"\n")


@pytest.mark.parametrize(
    ("source", "tasks"),
    [
        ("range = [2, 8, 3]", [2, 5]),
        ("range = 2", [0, 1]),
        ('generator = "numbers_of_a_card.py:three"', [1, 2, 3]),
        ('file = "t.tsv"', [{"id": "1", "name": "a"}]),
        ('file = "t.csv"\ncolumn = "id"\nlimit = 2', ["1", "2"]),
        ('file = "t.csv"\ncolumn = "id"\nwhere = "name == \'b\'"', ["2"]),
        ('file = "t.csv"\nformat = "lines"\nlimit = 1', ["id,name,size"]),
    ],
)
def test_tasks_come_from_where_the_card_says(source: str, tasks: list[object], folder: Path):
    (folder / "numbers_of_a_card.py").write_text("def three():\n    yield from (1, 2, 3)\n")

    assert arguments(made(folder, f"{FUNCTION}[input]\n{source}\n")) == tasks


def test_files_of_a_pattern_are_tasks_in_order(folder: Path):
    batch = made(folder, f'{FUNCTION}[input]\nfiles = "t.*"\n')

    assert arguments(batch) == [str(folder / "t.csv"), str(folder / "t.tsv")]


def test_axes_are_crossed_or_zipped_and_stand_in_the_row(folder: Path):
    product = made(folder, f"{FUNCTION}[sweep]\na = [1, 2]\nb = {{from = 0, to = 1, count = 3}}\n")
    zipped = made(folder, f'{FUNCTION}[sweep]\nmode = "zip"\na = [1, 2]\nb = ["x", "y"]\n')

    assert arguments(product)[:4] == [
        {"a": 1, "b": 0.0},
        {"a": 1, "b": 0.5},
        {"a": 1, "b": 1.0},
        {"a": 2, "b": 0.0},
    ]
    assert product.total == 6
    assert [zipped.kept(task) for _, task in zipped.tasks()] == [
        {"a": 1, "b": "x"},
        {"a": 2, "b": "y"},
    ]


def test_each_point_meets_each_record(folder: Path):
    batch = made(folder, f'{TABLE}columns = ["id"]\n[sweep]\nrate = [0.1, 0.2]\n')

    assert batch.total == 6
    assert arguments(batch)[2:4] == [{"id": "3", "rate": 0.1}, {"id": "1", "rate": 0.2}]


def test_cards_run_isolated_unless_they_say_otherwise():
    assert isolated({}) == {"isolate": True}
    assert isolated({"isolate": False}) == {"isolate": False}
    assert isolated({"levels": ("thread", "sequential")}) == {"levels": ("thread", "sequential")}
    assert isolated({"fallback": "thread"}) == {"fallback": "thread"}


def test_a_file_whose_name_is_another_module_is_refused(folder: Path):
    (folder / "json.py").write_text("def loads(text):\n    return 0\n")

    with pytest.raises(ValueError, match=r"another module has that name, got 'json.py:loads'"):
        load_reference(folder, "json.py:loads")


@pytest.mark.parametrize("reference", ["os.path:join", "os.path.join"])
def test_a_function_may_be_named_with_a_dot_or_a_colon(reference: str, folder: Path):
    assert load_reference(folder, reference)("a", "b") == "a/b"


def test_places_are_filled_and_doubled_braces_stay():
    assert fill(["a{x}b", "{{x}}", "{print $1}"], {"x": None}) == ["ab", "{x}", "{print $1}"]
    assert with_places(["wc", "-l"], None) == ("wc", "-l", "{}")
    with pytest.raises(ValueError, match=r"place for no column, got {nam}; did you mean 'name'"):
        with_places(["echo", "{nam}"], ["id", "name"])
    with pytest.raises(
        ValueError, match=r"command has no place, got 'echo'; write a column as {id}"
    ):
        with_places(["echo"], ["id"])


def test_a_command_gives_its_outputs_and_its_failure_carries_them(tmp_path: Path):
    task = CommandTask(("sh", "-c", "echo {x}; echo oh >&2; exit {x}"), str(tmp_path))

    row = task({"x": 0})
    with pytest.raises(CommandFailedError, match="exit code 3: oh") as caught:
        task({"x": 3})

    assert (row["exit_code"], row["stdout"], row["stderr"]) == (0, "0\n", "oh\n")
    assert (caught.value.row["exit_code"], caught.value.row["stdout"]) == (3, "3\n")


def test_all_that_a_command_prints_is_kept_where_results_are_asked_for(tmp_path: Path):
    task = CommandTask(("echo", "{}"), str(tmp_path), str(tmp_path / "results"))

    task((7, "word"))

    assert (tmp_path / "results/7/stdout").read_text() == "word\n"
    assert (tmp_path / "results/7/exit_code").read_text() == "0\n"
