"""The strips as the page shows them: marks where they were given, foreign text inert, a switch that needs no script."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from reports.page import environment
from reports.strips import Cell, Crop, FusedMark, IrisMark, Row, Strip, StripsSection, View

HOSTILE = "<img src=x onerror=alert(1)> & \"'{{ 7*7 }} </svg><script>"
CROP = Crop(b"\xff\xd8\xff not decoded here", 64)
EYE = View(
    "eye", CROP, "10 o'clock", "Slot 1, eye.", irises=[IrisMark(50.0, 48.0, 19.5, -7.0, glint=(-0.3, -0.25, 0.1))]
)
FACE = View("face", CROP, "", "Slot 1, face.", irises=[IrisMark(30.0, 40.0, 4.0, -7.0, glint=(-0.3, -0.25, 0.1))])
HAND = View(
    "hand",
    CROP,
    "2 digits",
    "Slot 1, hand.",
    tips=[(20.0, 30.0), (60.0, 25.0)],
    fused=[FusedMark("index and middle", (60.0, 25.0))],
)
LOST = View("face", None, "picture changed since it was measured", "Slot 1, gone.", "missing", is_read=False)


def section(*views: View, slot: str = "1") -> StripsSection:
    rows = [Row(slot, "middle", "0.2", [Cell(0, views)])]
    return StripsSection([Strip("strip-face", "Faces", "Chosen by rule.", ["generation 0"], rows)])


def render(strips: StripsSection | None) -> str:
    return environment().from_string('{% include "strips.html.j2" %}').render(strips=strips)


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def of(self, tag: str, name: str = "class") -> list[str]:
        return [attributes.get(name) or "" for kind, attributes in self.found if kind == tag]


def strip_of(page: str) -> Tags:
    return Tags(page[page.index('<div class="strip"') :])


def test_an_eye_has_its_iris_a_clock_face_of_twelve_ticks_and_its_glint() -> None:
    page = render(section(EYE))
    tags = strip_of(page)
    turned = [value for value in tags.of("g", "transform") if "translate" in value]
    assert turned == ["translate(50.0 48.0) rotate(-7.0) scale(19.5)"]
    assert tags.of("line").count("tick") == 12
    assert tags.of("circle").count("iris") == 1
    glint = next(attributes for tag, attributes in tags.found if attributes.get("class") == "glint")
    assert (glint["cx"], glint["cy"]) == ("-0.3", "-0.25")


def test_a_face_has_its_irises_without_a_clock_face() -> None:
    tags = strip_of(render(section(FACE)))
    assert tags.of("circle").count("iris") == 1
    assert not tags.of("line")
    assert "glint" not in tags.of("circle")


def test_a_hand_has_its_tips_numbered_and_a_ring_on_that_of_what_has_fused() -> None:
    page = render(section(HAND))
    assert re.findall(r"translate\((\S+) (\S+)\)", page[page.index('<div class="strip"') :]) == [
        ("20.0", "30.0"),
        ("60.0", "25.0"),
    ]
    assert re.findall(r"<text y=\"2.5\">(\d)</text>", page[page.index('<div class="strip"') :]) == ["1", "2"]
    ring = next(attributes for _, attributes in strip_of(page).found if attributes.get("class") == "fused")
    assert [ring[key] for key in ("cx", "cy")] == ["60.0", "25.0"]
    assert "tip of a digit read as several fingers" in page


def test_every_crop_has_a_text_alternative_and_holds_its_picture() -> None:
    tags = strip_of(render(section(FACE, EYE, HAND)))
    assert tags.of("img", "alt") == [FACE.alternative, EYE.alternative, HAND.alternative]
    assert all(uri.startswith("data:image/jpeg;base64,") for uri in tags.of("img", "src"))
    assert all(value == "true" for value in tags.of("svg", "aria-hidden"))


def test_what_was_not_read_is_framed_and_a_lost_picture_is_words() -> None:
    seen = [name for name in strip_of(render(section(EYE))).of("figure") if "unread" in name]
    assert not seen
    unread = replace(EYE, state="blurred", is_read=False, words="blurred", irises=())
    page = render(section(unread, LOST))
    assert strip_of(page).of("figure") == ["view eye unread", "view face unread missing"]
    assert strip_of(page).of("img") == [""]
    assert LOST.words in page


def test_foreign_text_stays_inert() -> None:
    hostile = replace(EYE, words=HOSTILE, alternative=HOSTILE)
    strips = replace(section(hostile, slot=HOSTILE), notes=[HOSTILE])
    strip = replace(strips.strips[0], title=HOSTILE, rule=HOSTILE, columns=[HOSTILE], meanings=[(HOSTILE, HOSTILE)])
    page = render(replace(strips, strips=[strip]))
    tags = Tags(page).found
    assert not [tag for tag, attributes in tags if tag == "script" or any(name.startswith("on") for name in attributes)]
    assert all((attributes["src"] or "").startswith("data:") for _, attributes in tags if "src" in attributes)
    assert "{{ 7*7 }}" in page


def test_the_switch_comes_before_what_it_hides() -> None:
    page = render(section(EYE))
    style = environment().get_template("xray.css.j2").render()
    assert "input.marks-switch-box:not(:checked) ~ .strip svg.marks { display: none; }" in style
    assert page.index('id="strip-marks"') < page.index('for="strip-marks"') < page.index('<div class="strip"')


@pytest.mark.parametrize("strips", [None, StripsSection([])])
def test_nothing_to_show_shows_nothing(strips: StripsSection | None) -> None:
    assert not render(strips).strip()


def test_a_run_without_strips_says_why() -> None:
    page = render(StripsSection([], ["No strip of hands: too few could be read."]))
    assert "No strip of hands" in page
    assert "checkbox" not in page
