"""The page in a real browser: quiet, alone, in bounds, legible, named."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tempering.paper.page import reproduction
from tempering.paper.sections import SECTIONS
from tempering.report.run_page import render
from tests.report import evaluated_run as evaluated
from tests.report import synthetic_run as made

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

CONTRAST = """
([selector, least]) => {
  const light = text => {
    const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map(Number).map(v => {
      v /= 255;
      return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = light(getComputedStyle(document.body).backgroundColor);
  const found = [...document.querySelectorAll(selector)];
  const low = found.map(node => {
    const style = getComputedStyle(node);
    const ink = light(node.closest("svg") ? style.fill : style.color);
    return [(Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05), node.textContent];
  }).filter(([ratio]) => ratio < least);
  return [found.length, low];
}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    render(made.write(folder / "hardened", made.hardened(), arrays=made.pictures()), SECTIONS)
    render(made.write(folder / "given", made.given()))
    assessment = evaluated.assessment()
    render(made.write(folder / "evaluated", evaluated.records(), assessment, made.pictures()))
    return folder


@dataclass
class Visit:
    """A page that is open, what it said to the console, and what it asked for."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


class Visitor:
    """Opens pages, and closes them after the test."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.contexts: list[BrowserContext] = []

    def __call__(self, path: Path, width: int = 1200, scheme: str = "light") -> Visit:
        context = self.browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme=scheme,  # type: ignore[arg-type]
        )
        self.contexts.append(context)
        visit = Visit(context.new_page())
        visit.page.on("console", lambda message: visit.said.append(message.text))
        visit.page.on("pageerror", lambda error: visit.said.append(str(error)))
        visit.page.on("request", lambda request: self.note(visit, request.url))
        visit.page.goto(path.as_uri())
        return visit

    @staticmethod
    def note(visit: Visit, url: str) -> None:
        if not url.startswith("data:"):
            visit.asked.append(url)


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visitor]:
    visitor = Visitor(browser)
    yield visitor
    for context in visitor.contexts:
        context.close()


@pytest.fixture(params=["hardened", "given", "evaluated"])
def path(request: pytest.FixtureRequest, folder: Path) -> Path:
    return folder / request.param / "report.html"


def test_nothing_is_said_to_the_console_and_nothing_is_fetched(visit: Visitor, path: Path) -> None:
    shown = visit(path)
    shown.page.wait_for_load_state("networkidle")
    assert shown.said == []
    assert shown.asked == [path.as_uri()]


def test_hostile_text_runs_nothing(visit: Visitor, tmp_path: Path) -> None:
    text = "<img src=x onerror=document.title='run'><script>document.title='run'</script>"
    records = [made.provenance(command=text, classes=[text] * 10), *made.given(),
               made.flag(name=text)]  # fmt: skip
    run = made.write(tmp_path, records, made.summary(model="m"), made.pictures())
    shown = visit(render(run))
    shown.page.wait_for_load_state("networkidle")
    assert shown.page.title() == "Robustness of m on mnist"
    assert shown.said == []
    assert len(shown.asked) == 1


def test_figures_are_there_and_have_a_size(visit: Visitor, folder: Path) -> None:
    page = visit(folder / "hardened" / "report.html").page
    charts = page.locator("svg.chart")
    assert charts.count() == 10
    boxes = [charts.nth(at).bounding_box() for at in range(charts.count())]
    assert all(box is not None and box["width"] > 200 and box["height"] > 50 for box in boxes)
    loaded = page.evaluate(
        "[...document.images].map(i => i.complete && i.naturalWidth > 0 && i.width > 20)"
    )
    assert len(loaded) == 6 * 4 + 12 + 12
    assert all(loaded)


def test_the_page_never_scrolls_sideways(visit: Visitor, path: Path) -> None:
    page = visit(path).page
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    for width in (320, 360, 400, 768, 1400):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        beyond = page.evaluate(
            """width => [...document.querySelectorAll('main *, header *, nav *')]
            .filter(n => !n.closest('.scroll') && n.getBoundingClientRect().right > width + 0.5)
            .map(n => n.outerHTML.slice(0, 80))""",
            width,
        )
        assert beyond == [], width


def test_a_long_address_of_a_model_is_broken(visit: Visitor, tmp_path: Path) -> None:
    address = "/home/somebody/networks/under-test/strided_convolutions.py:build_the_network"
    page = visit(render(made.write(tmp_path, made.given(), made.summary(model=address))), 390).page
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_wide_table_scrolls_in_its_own_box(visit: Visitor, folder: Path) -> None:
    page = visit(folder / "hardened" / "report.html", 360).page
    box = page.locator("#standard .scroll")
    assert box.evaluate("b => b.scrollWidth > b.clientWidth")
    box.evaluate("b => b.scrollLeft = 200")
    head = page.locator("#standard tbody th").first.bounding_box()
    assert head is not None
    assert 0 <= head["x"] < 40


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(visit: Visitor, folder: Path, scheme: str) -> None:
    page = visit(folder / "hardened" / "report.html", scheme=scheme).page
    for selector, least in (
        ("p, td, th, h1, h2, h3, figcaption, summary, .value", 4.5),
        ("main > section > p", 7.0),
        (".detail, .note, dt, .quiet, .subtitle, nav a, footer p", 4.5),
        (".good, .fair, .bad", 4.5),
        ("svg text", 4.5),
    ):
        faults, low = page.evaluate(CONTRAST, [selector, least])
        assert faults > 0, selector
        assert low == []


def test_dark_is_dark_and_light_is_light(visit: Visitor, folder: Path) -> None:
    means = {}
    for scheme in ("light", "dark"):
        page = visit(folder / "given" / "report.html", scheme=scheme).page
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        parts = [int(part) for part in ground.removeprefix("rgb(").removesuffix(")").split(",")]
        means[scheme] = sum(parts) / 3
    assert means["dark"] < 40
    assert means["light"] > 230


def test_print_is_light_and_shows_what_is_folded(visit: Visitor, folder: Path) -> None:
    page = visit(folder / "hardened" / "report.html", scheme="dark").page
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(251, 250, 247)"
    assert page.locator("nav").is_hidden()
    box = page.locator("#recipe").bounding_box()
    assert box is not None
    assert box["height"] > 40


def test_headings_go_down_one_level_at_a_time(visit: Visitor, path: Path) -> None:
    page = visit(path).page
    levels = page.evaluate(
        "[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(h => Number(h.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    steps = pairwise(levels)
    assert all(below - above <= 1 for above, below in steps)


def test_a_screen_reader_finds_landmarks_names_and_heads(visit: Visitor, path: Path) -> None:
    page = visit(path).page
    assert page.evaluate("document.documentElement.lang") == "en"
    for role in ("banner", "navigation", "main", "contentinfo"):
        assert page.get_by_role(role).count() == 1  # type: ignore[arg-type]
    unnamed = page.evaluate(
        """[...document.querySelectorAll('img, svg')].filter(n =>
        n.tagName === 'IMG' ? !n.alt.trim() : n.getAttribute('role') !== 'img'
        || !n.getAttribute('aria-labelledby').split(' ').every(
            id => document.getElementById(id)?.textContent.trim())).length"""
    )
    assert unnamed == 0
    wrong = page.evaluate(
        """[...document.querySelectorAll('table')].filter(t => !t.caption
        || [...t.querySelectorAll('th')].some(h => !h.scope)
        || [...t.tBodies[0].rows].some(r => r.cells[0].scope !== 'row')).length"""
    )
    assert wrong == 0
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(n => n.id)")
    assert len(ids) == len(set(ids))
    links = page.evaluate(
        "[...document.querySelectorAll('a')].map(a => a.getAttribute('href').slice(1))"
    )
    assert set(links) <= set(ids)


def test_the_skip_link_is_first_and_leads_to_the_report(visit: Visitor, path: Path) -> None:
    page = visit(path).page
    page.keyboard.press("Tab")
    skip = page.locator(":focus")
    assert skip.inner_text() == "Skip to the report"
    box = skip.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_figures_of_the_paper_open_alone(visit: Visitor, folder: Path, scheme: str) -> None:
    grounds = {"light": "rgb(251, 250, 247)", "dark": "rgb(20, 22, 25)"}
    for path in reproduction(folder / "hardened", folder / "paper")[1:]:
        shown = visit(path, scheme=scheme)
        assert shown.said == []
        assert shown.asked == [path.as_uri()]
        fill = shown.page.evaluate("getComputedStyle(document.querySelector('.ground')).fill")
        assert fill == grounds[scheme]
