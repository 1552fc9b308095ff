"""The page on cards says what is so: its files, its commands, every key."""

import re
import shlex
from pathlib import Path

from adaptive_exec.cards import card_file
from tests.e2e.shell import ROOT, run

PAGE = (ROOT / "docs/cards.md").read_text(encoding="utf-8")


def test_the_files_of_the_page_run_as_it_says(tmp_path: Path):
    files = re.findall(r"^`([\w.]+)`\n\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for name, text in files:
        (tmp_path / name).write_text(text, encoding="utf-8")
    (commands,) = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)

    done = [run(tmp_path, *shlex.split(line)[1:]) for line in commands.splitlines()]

    assert [one.returncode for one in done] == [0, 1], done[-1].stderr
    lines = (tmp_path / "fitted.csv").read_text().splitlines()
    assert lines[:3] == ["index,id,half,error", "0,1,0.25,", "1,2,0.125,"]
    assert lines[3].startswith("2,3,,ValueError: could not convert string to float: 'nothing'")


def test_every_key_of_a_card_is_on_the_page():
    sections = re.findall(r"^\| `\[(\w+)\]` \| (.*) \|$", PAGE, re.MULTILINE)
    told = {name: set(re.findall(r"`([a-z_]+)", text)) for name, text in sections}

    assert set(told) == set(card_file._SECTIONS)
    for name in ("task", "input", "output"):
        assert set(card_file._SECTIONS[name]) <= told[name], name
