"""The page in a real browser: nothing is fetched, nothing complains, pointing and switching work, at two widths."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from decay.printing import BROWSERS
from decay.report import page_of
from decay.tables import load_tables
from decay.verdict import read_finding
from reports.charts import write_charts

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (it is in the extra dev)")
CHROMIUM = next((path for name in BROWSERS if (path := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: apt-get install chromium)")

SHOWN = ("catchlight_presence", "face_vendi", "iris_colour_spread", "image_sharpness", "hand_presence")
HOSTILE = "<img src=x onerror=alert(1)>&quot;'.png"
CONTRAST = """element => {
        const numbers = text => text.match(/[\\d.]+/g).map(Number);
        const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
        let behind = element;
        while (numbers(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
        const pair = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor]
            .map(c => light(numbers(c)));
        return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    }"""
"""Contrast of text against what is behind it (WCAG 2.2, relative luminance)."""


@pytest.fixture(scope="module")
def page_file(
    arms: Mapping[str, Path], write_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The page of a measured run, of a few traits; one of its pictures has a name that is markup."""
    folder = tmp_path_factory.mktemp("page")
    run = folder / "run"
    shutil.copytree(arms["fed"], run, ignore=shutil.ignore_patterns("measures"))
    for generation in run.iterdir():
        (generation / "000.png").rename(generation / HOSTILE)
    write_run(run)
    found, tables = read_finding(run), load_tables(run / "measures")
    traits, erosion = (table[table["trait"].isin(SHOWN)] for table in (found.traits, found.erosion))
    found = type(found)(traits, erosion, found.verdict, found.run)
    write_charts(traits, erosion, found.verdict, folder / "charts")
    path = folder / "report.html"
    path.write_text(page_of(found, tables, run, folder / "charts"), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(params=[400, 1400], ids=["phone", "desk"])
def page(request: pytest.FixtureRequest, browser: Any, page_file: Path) -> Iterator[Any]:
    """The page, opened; in the end nothing may have been asked for but the file itself, nor anything complained of."""
    context = browser.new_context(viewport={"width": request.param, "height": 900}, accept_downloads=True)
    opened = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    opened.on("request", lambda call: asked.append(call.url))
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("dialog", lambda dialog: said.append(dialog.message))
    opened.goto(page_file.as_uri())
    yield opened
    context.close()
    assert [url for url in asked if not url.startswith("data:")] == [page_file.as_uri()]
    assert said == []


def test_the_page_fits_and_its_charts_are_drawn(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    for name in SHOWN:
        box = page.locator(f"#trait-{name} svg").bounding_box()
        assert box["width"] > 250
        assert box["height"] / box["width"] == pytest.approx(190 / 252, abs=0.02)
        assert page.locator(f"#trait-{name} svg text").count() > 5
    assert page.locator("#overview svg path").count() > 10


def test_pointing_at_a_chart_tells_its_numbers(page: Any) -> None:
    chart = page.locator("#trait-face_vendi")
    chart.scroll_into_view_if_needed()
    label = chart.locator(".points label").nth(1)
    text = label.locator("span")
    assert float(text.evaluate("e => getComputedStyle(e).opacity")) == 0
    label.hover()
    assert float(text.evaluate("e => getComputedStyle(e).opacity")) == 1
    assert text.inner_text().startswith("Generation 1: ")
    # it stands below the chart, not over it, and inside the card
    plot, said, card = (each.bounding_box() for each in (chart.locator(".plot"), text, chart))
    assert said["y"] >= plot["y"] + plot["height"] - 1
    assert said["y"] + said["height"] <= card["y"] + card["height"]
    # the column lies where the chart has its generation
    point = label.bounding_box()
    tick = chart.locator("svg text", has_text=re.compile("^1$")).last.bounding_box()
    middle = point["x"] + point["width"] / 2
    assert middle == pytest.approx(tick["x"] + tick["width"] / 2, abs=3)


@pytest.mark.parametrize("width", [420, 1000, 1400])
def test_a_reading_of_many_lines_leaves_the_links_below_it_free(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    overlaps = page.eval_on_selector_all(
        ".plot",
        """plots => plots.flatMap(plot => {
            const links = plot.parentElement.querySelector('.files').getBoundingClientRect().top;
            return [...plot.querySelectorAll('.points span, .rest')]
                .map(text => text.getBoundingClientRect().bottom - links).filter(by => by > 0.5);
        })""",
    )
    assert overlaps == []


def test_the_keyboard_tells_them_too(page: Any) -> None:
    chart = page.locator("#trait-face_vendi")
    chart.locator("input").first.focus()
    seen = []
    for _ in range(3):
        seen.append(page.evaluate("document.activeElement.parentElement.innerText"))
        opacity = page.evaluate("getComputedStyle(document.activeElement.nextElementSibling).opacity")
        assert float(opacity) == 1
        page.keyboard.press("ArrowRight")
    assert [text.split(":")[0] for text in seen] == ["Generation 0", "Generation 1", "Generation 2"]
    page.keyboard.press("Tab")  # one stop for a chart: next are its files
    assert page.evaluate("document.activeElement.download") == "face_vendi.svg"


def test_the_marks_on_the_pictures_can_be_switched_off(page: Any) -> None:
    marks = page.locator(".strip svg.marks").first
    assert marks.evaluate("e => getComputedStyle(e).display") != "none"
    page.locator("label.marks-switch").click()
    assert marks.evaluate("e => getComputedStyle(e).display") == "none"
    page.locator("#strip-marks").press("Space")
    assert marks.evaluate("e => getComputedStyle(e).display") != "none"
    wide = page.locator("#strips img").evaluate_all("all => all.map(e => e.naturalWidth)")
    assert wide
    assert min(wide) > 0


@pytest.mark.parametrize("suffix", ["svg", "png", "csv"])
def test_a_chart_can_be_saved(page: Any, suffix: str, tmp_path: Path) -> None:
    with page.expect_download() as waiting:
        page.locator(f'#trait-face_vendi a[download="face_vendi.{suffix}"]').click()
    waiting.value.save_as(tmp_path / "saved")
    beginnings = {"svg": b"<?xml", "png": b"\x89PNG", "csv": b"generation,trait,"}
    assert (tmp_path / "saved").read_bytes().startswith(beginnings[suffix])
    assert waiting.value.suggested_filename == f"face_vendi.{suffix}"


def test_markup_in_the_name_of_a_picture_is_text(page: Any) -> None:
    assert page.locator("img[onerror]").count() == 0
    assert page.locator('img[src="x"]').count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(page: Any, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    for selector in ("h1", ".note", ".eyebrow", "nav a", ".rest", "summary", ".files a", "thead th", "code", "footer"):
        found = page.locator(f"{selector}:visible").first
        assert found.evaluate(CONTRAST) >= 4.5, selector


def test_everything_has_a_name_and_tells_its_role(page: Any) -> None:
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('a, input, img, [role=img], [role=region], [tabindex="0"], meter')]
            .filter(e => !(e.getAttribute('aria-label') || e.alt || e.innerText || (e.labels && e.labels[0])))
            .map(e => e.outerHTML.slice(0, 80))"""
    )
    assert unnamed == []
    levels = page.locator("h1, h2, h3").evaluate_all("all => all.map(e => Number(e.tagName[1]))")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_paper_is_light_and_holds_no_controls(page: Any) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for selector in ("nav", ".points", ".files", ".marks-switch"):
        assert not page.locator(selector).first.is_visible()
