"""The page of a run as text: its size, what it escapes, what stands in it; no browser is needed."""

import re
from html.parser import HTMLParser

import pytest

from adaptive_exec.core.meanings import MEANINGS
from adaptive_exec.drawing.page import draw_page
from adaptive_exec.drawing.sections import KnownTask, PageFacts
from tests.architecture.house import ROOT
from tests.e2e.pages import MIB, PAGES, make_page, make_report

KIB = 1024
VOID = {"meta", "br", "hr", "img", "input", "link", "path", "rect", "circle"}


class Nested(HTMLParser):
    """Checks that what is opened is closed, in its order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag) -> None:
        if tag == "path" and self.open[-1] != "path":
            return  # a mark with a title has an end of its own
        assert self.open.pop() == tag


@pytest.mark.parametrize("kind", PAGES)
def test_a_page_is_well_formed_and_holds_no_script(kind):
    page, nested = make_page(kind), Nested()

    nested.feed(page)

    assert nested.open == []
    assert "script" not in nested.tags
    assert "http://" not in page
    assert "https://" not in page
    assert "alert(1)" not in page.replace("&lt;script&gt;alert(1)", "")
    page.encode()


def test_a_page_of_ten_thousand_tasks_stays_small():
    count = 10_000
    known = [
        KnownTask(
            f"{at} (0123456789ab)", "done", 0.001 * (at % 977), MIB * (at % 99), "", "p", 1, 1
        )
        for at in range(count)
    ]

    page = draw_page(make_report("healthy", count), PageFacts(tasks=known))

    assert 20 * KIB < len(page.encode()) < 400 * KIB
    assert f"<dd>{count}, 0 of them failed</dd>" in page


def test_a_failing_run_shows_causes_a_traceback_and_how_to_go_on():
    page = make_page("failing")

    assert "Traceback of the first ValueError" in page
    assert "adaptive-exec run card --resume x" in page
    assert 'id="reason-start_refused"' in page
    assert "mark bad" in page
    assert MEANINGS["start_refused"].help in page


def test_another_run_stands_beside():
    assert 'id="compare"' in make_page("healthy")


def test_the_page_about_pages_tells_of_each_part_and_its_pictures_are_there():
    text = (ROOT / "docs/report.md").read_text()

    pictures = re.findall(r"\]\((pictures/[a-z]+\.png)\)", text)
    assert [path.removeprefix("pictures/").removesuffix(".png") for path in pictures] == list(PAGES)
    assert all((ROOT / "docs" / path).stat().st_size < 200 * KIB for path in pictures)
    titles = set(re.findall(r"<h2 [^>]*>([^<]+)</h2>", make_page("failing")))
    told = " ".join(re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE)).lower()
    for title in titles - {
        "How long tasks took",
        "What memory tasks took",
        "What the reasons mean",
    }:
        assert title.lower().removesuffix(" tasks") in told
