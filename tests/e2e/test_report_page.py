"""The page of a run, in a real browser: it is whole, fits, can be read by all, asks for nothing."""

from pathlib import Path

import pytest

from adaptive_exec.core.report import RunReport
from adaptive_exec.drawing.page import draw_page
from tests.browser import Browser, axe_source, lack, open_browser
from tests.e2e.pages import PAGES, make_page

pytestmark = pytest.mark.skipif(bool(lack()), reason=lack() or "-")

CONTRASTS = """
const clear = c => { const m = c.match(/[\\d.]+/g).map(Number); return m.length > 3 ? m[3] : 1; };
const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map(v => {
    v /= 255; return v <= 0.03928 ? v / 12.92 : Math.pow((v + 0.055) / 1.055, 2.4); });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const ground = e => { for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor; if (clear(c) > 0) return c; }
    return "rgb(255, 255, 255)"; };
const poor = [];
for (const e of document.querySelectorAll("p, td, th, dd, dt, a, h1, h2, summary, pre, text")) {
    if (!e.textContent.trim() || e.getClientRects().length === 0) continue;
    const s = getComputedStyle(e), ink = e.tagName === "text" ? s.fill : s.color;
    const [a, b] = [light(ink), light(ground(e))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push([e.tagName, e.textContent.slice(0, 20), ink]);
}
return poor;
"""
SHAPES = """
return [...document.querySelectorAll("section")].map(section => [section.id,
    section.querySelectorAll("table").length,
    [...section.querySelectorAll("svg")].map(svg => {
        const box = svg.getBoundingClientRect(), title = svg.querySelector("title");
        return [box.width > 100 && box.height > 10, title.textContent.length > 5,
            svg.querySelectorAll("path, rect, circle").length > 0]; })]);
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture(scope="module", params=PAGES)
def page(request, browser: Browser, tmp_path_factory) -> Browser:
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(make_page(request.param), encoding="utf-8")
    browser.look_like()
    browser.open(path)
    return browser


def test_each_picture_is_drawn_has_a_name_and_a_table_beside_it(page):
    shapes = {name: (tables, pictures) for name, tables, pictures in page.run(SHAPES)}

    assert {"verdict", "time", "workers", "memory", "decisions", "reasons"} <= set(shapes)
    for name, (tables, pictures) in shapes.items():
        assert all(all(one) for one in pictures), name
        assert tables >= bool(pictures), name


@pytest.mark.parametrize("width", [320, 1200])
def test_the_page_fits_any_window(page, width):
    page.look_like(width=width)

    script = "return [document.documentElement.scrollWidth, innerWidth]"
    wide, there = page.run(script)

    assert wide <= there == width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("media", ["screen", "print"])
def test_all_words_can_be_read(page, media, scheme):
    page.look_like(media=media, scheme=scheme)
    page.run("for (const one of document.querySelectorAll('details')) one.open = true")

    assert page.run(CONTRASTS) == []
    ground = page.run("return getComputedStyle(document.body).backgroundColor")
    is_dark = scheme == "dark" and media == "screen"
    assert (ground == "rgb(255, 255, 255)") is not is_dark


def test_the_page_asks_for_nothing_and_runs_nothing(page):
    script = "return [performance.getEntriesByType('resource').length, document.scripts.length]"

    assert page.run(script) == [0, 0]


def test_links_lead_somewhere(page):
    script = """return [...document.querySelectorAll('a[href]')].map(a => a.getAttribute('href'))
        .filter(href => !href.startsWith('#') || !document.getElementById(href.slice(1)))"""

    assert page.run(script) == []


def test_names_are_their_own(page):
    script = """const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
        return ids.filter((id, at) => ids.indexOf(id) !== at)"""

    assert page.run(script) == []


@pytest.mark.slow
@pytest.mark.skipif(axe_source() is None, reason="axe-core-python is not installed")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page, scheme):
    page.look_like(scheme=scheme)
    page.run("for (const one of document.querySelectorAll('details')) one.open = true")
    page.run(axe_source())

    found = page.run_later(
        "const done = arguments[arguments.length - 1];"
        "axe.run().then(r => done(r.violations.map(v => [v.id, v.nodes[0].html])))"
    )

    assert found == []


def test_a_page_of_nothing_says_so(browser: Browser, tmp_path: Path):
    path = tmp_path / "empty.html"
    path.write_text(draw_page(RunReport()), encoding="utf-8")
    browser.open(path)

    text = browser.run("return document.querySelector('main').innerText")

    assert "Of the run as a whole nothing was kept" in text
