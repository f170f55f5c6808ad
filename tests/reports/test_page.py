from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reports.charts import chart_name, write_charts
from reports.inline import ChartFiles
from reports.page import OVERVIEW, chart_files, flatten, record_sections, render_page, rivals
from reports.words import NOTHING

HOSTILE = "<img src=x onerror=alert(1)> & \"'{{ 7*7 }} </svg><script>"
LOADING = {"src", "href", "xlink:href", "srcset", "data", "action", "poster", "background"}


class Reader(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def page(tables: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("measures")
    few = tables.few()
    write_charts(few.traits, few.erosion, few.verdict, folder)
    texts = {chart_name(name): part.to_csv(index=False) for name, part in few.traits.groupby("trait")}
    charts = chart_files(folder, texts | {OVERVIEW: few.erosion.to_csv(index=False)})
    return render_page(few.traits, few.erosion, few.verdict, few.run, charts)


def blank_charts(traits: pd.DataFrame) -> dict[str, ChartFiles]:
    return {chart_name(name): ChartFiles("<svg></svg>") for name in traits["trait"].unique()}


def test_the_page_loads_nothing_and_runs_nothing(page: str) -> None:
    tags = Reader(page).tags
    assert not {tag for tag, _ in tags} & {"script", "iframe", "object", "embed", "link", "base", "form"}
    for tag, attributes in tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in LOADING & set(attributes):
            own = ("#", "data:") if tag == "a" and "download" in attributes else ("#",)
            assert (attributes[name] or "").startswith(own), (tag, attributes)
    assert "@import" not in page
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))
    assert "default-src 'none'" in page


def test_the_page_is_whole_and_small(page: str, tables: Any) -> None:
    text = " ".join(Reader(page).text)
    few = tables.few().traits
    assert tables.verdict["sentence"] in text
    for label, name in zip(few["label"], few["trait"], strict=True):
        assert label in text
        assert f'id="trait-{name}"' in page
    assert len(page.encode()) / few["trait"].nunique() < 10_000_000 / 100  # a hundred traits fit into 10 MB
    for fact in ("mediapipe", "0.10.21", "Apache-2.0", "landmarks + HOG", "286 ok, 2 unreadable", "gen_03 is empty"):
        assert fact in text
    assert "descriptor, not identity" in text


def test_every_chart_has_a_text_alternative(page: str, tables: Any) -> None:
    tags = Reader(page).tags
    pictures = [attributes["aria-label"] or "" for _, attributes in tags if attributes.get("role") == "img"]
    assert len(pictures) == 1 + tables.few().traits["trait"].nunique()
    assert all(len(alternative) > 30 for alternative in pictures)
    assert all(attributes.get("aria-hidden") == "true" for tag, attributes in tags if tag == "svg")


def test_ids_are_unique_and_links_lead_somewhere(page: str) -> None:
    tags = Reader(page).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {v for _, a in tags for k, v in a.items() if k in ("href", "xlink:href") and "download" not in a}
    assert {link[1:] for link in links if link} <= set(ids)


def test_what_was_not_measured_is_said_with_its_reason(page: str) -> None:
    section = page[page.index('id="measured"') : page.index('id="group-1"')]
    assert "Hand pose spread" in section
    assert "no subject of this kind was found or expected" in section
    assert "too few to give a value" in section


def test_colours_follow_the_page_into_the_dark(page: str) -> None:
    drawn = page[page.index("<svg") :]
    assert "prefers-color-scheme: dark" in page
    assert "fill: var(--ink)" in drawn
    assert "#ffffff" not in drawn


def test_a_real_embedder_is_named_without_the_warning(tables: Any) -> None:
    run = {**tables.run, "embedder": "buffalo_l"}
    text = render_page(tables.traits, tables.erosion, tables.verdict, run, blank_charts(tables.traits))
    assert "buffalo_l" in text
    assert "descriptor, not identity" not in text


def test_markup_in_the_tables_is_inert(tables: Any) -> None:
    rows, _ = tables.of("catchlight_presence")
    names = ("trait", "label", "unit", "group", "source", "limits", "direction")
    traits = rows.assign(**dict.fromkeys(names, HOSTILE))
    erosion = pd.DataFrame({"trait": [HOSTILE], "verdict": [HOSTILE], "family": [HOSTILE]})
    verdict = {**tables.verdict, "sentence": HOSTILE, "reference": HOSTILE, "ties": [[HOSTILE, HOSTILE]]}
    run = {
        "settings": {HOSTILE: [HOSTILE]},
        "notes": [HOSTILE],
        "embedder": HOSTILE,
        "image_states": {HOSTILE: HOSTILE},
    }
    page = render_page(traits, erosion, verdict, run, blank_charts(traits))
    reader = Reader(page)
    assert not {tag for tag, _ in reader.tags} & {"img", "script"}
    assert not [name for _, attributes in reader.tags for name in attributes if name.startswith("on")]
    assert HOSTILE in " ".join(reader.text)
    assert "49" not in " ".join(reader.text)


def test_shares_on_the_page_are_not_rounded_into_claims(tables: Any) -> None:
    rows, row = tables.of("catchlight_presence")
    nearly = rows.assign(retention=0.999, frac_measured=0.999)
    page = render_page(nearly, pd.DataFrame([{**row, "p_first": 0.9999}]), {}, {}, blank_charts(nearly))
    cells = re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", page)
    assert "99 %" in cells
    assert not [cell for cell in cells if "100 %" in cell]


def test_empty_tables_make_a_page_that_says_so(tables: Any) -> None:
    page = render_page(tables.traits.head(0), tables.erosion.head(0), {}, {}, {})
    assert "No verdict." in page


def test_a_missing_chart_is_an_error(tables: Any) -> None:
    with pytest.raises(KeyError):
        render_page(tables.traits, tables.erosion, {}, {}, {})


def test_flatten_names_every_leaf() -> None:
    record = {"a": {"b": 1, "c": [2, {"name": "x", "d": None}]}, "e": True}
    lines = flatten(record)
    assert lines == [
        ("a · b", "1"),
        ("a · c · 1", "2"),
        ("a · c · x · name", "x"),
        ("a · c · x · d", NOTHING),
        ("e", "True"),
    ]


def test_a_control_and_the_flat_rule_are_said(tables: Any) -> None:
    few = tables.few()
    said = {"control": {"name": "arm_0 <b>"}, "flat_rule": {"drop": 0.1, "sentence": "By the flat rule 3 traits fell."}}
    erosion = few.erosion.assign(margin=0.3)
    names = blank_charts(few.traits)
    page = render_page(few.traits, erosion, few.verdict | said, few.run, names)
    assert "arm_0 &lt;b&gt;" in page
    assert "By the flat rule 3 traits fell." in page
    assert "its retention stays below 70 %" in page
    plain = render_page(few.traits, erosion, few.verdict, few.run, names)
    assert "control arm" not in plain


def test_every_generation_of_a_chart_can_be_pointed_at(page: str, tables: Any) -> None:
    rows, _ = tables.of("catchlight_presence")
    card = page[page.index('id="trait-catchlight_presence"') :]
    reader = Reader(card[: card.index("</figure>")])
    radios = [attributes for tag, attributes in reader.tags if tag == "input"]
    assert [radio["name"] for radio in radios] == ["at-catchlight_presence"] * len(rows)
    said = [text for text in reader.text if text.startswith("Generation ")]
    assert said[0] == "Generation 0: 0.9 share (0.846 to 0.954), retention 100 %, measured 47 of 48 (98 %)"
    (room,) = re.findall(r'<p class="room" aria-hidden="true">([^<]*)</p>', card[: card.index("</figure>")])
    assert room == max(said, key=len)
    widths = [float(w) for w in re.findall(r"([\d.]+)%", card[: card.index("<label")].split("grid-template:")[1])]
    _, _, left, *columns = widths
    # the panel is 158 of 252 points wide and begins at 44; six generations share it evenly
    assert left == pytest.approx(100 * 44 / 252, abs=0.01)
    assert columns == pytest.approx([100 * 158 / 252 / 6] * 6, abs=0.01)


def test_each_chart_can_be_saved_as_three_files(page: str, tables: Any) -> None:
    saved = {
        attributes["download"]: attributes["href"] or ""
        for _, attributes in Reader(page).tags
        if "download" in attributes
    }
    for name in [OVERVIEW, *tables.few().traits["trait"].unique()]:
        assert base64.b64decode(saved[f"{name}.svg"].split(",")[1]).startswith(b"<?xml")
        assert base64.b64decode(saved[f"{name}.png"].split(",")[1]).startswith(b"\x89PNG")
    table = pd.read_csv(io.BytesIO(base64.b64decode(saved["face_recall.csv"].split(",")[1])))
    rows, _ = tables.of("face_recall")
    np.testing.assert_allclose(table["value"], rows["value"])


def test_how_sure_is_told_as_the_sentence_tells_it() -> None:
    told = rivals({"p_families": {"eyes": 0.796, "hands": 0.2, "light": 0.004, "image": 0.0}})
    assert [(name, text) for name, _, text in told] == [("Eyes", "79 %"), ("Hands", "20 %"), ("Light", "< 1 %")]


def test_the_fates_of_all_traits_are_counted(tables: Any) -> None:
    few = tables.few()
    page = render_page(few.traits, few.erosion, few.verdict, few.run, blank_charts(few.traits))
    counted = [int(n) for n in re.findall(r"<li><strong>(\d+)</strong>", page)]
    assert sum(counted) == few.traits["trait"].nunique()


@pytest.mark.parametrize("path", ["/home/me/.models/palm.tflite", "C:\\Users\\me\\palm.tflite", "palm.tflite"])
def test_the_record_names_a_models_file_and_not_its_folder(path: str) -> None:
    ((_, lines),) = record_sections({"models": [{"name": "palm", "path": path, "sha256": "ab" * 32}]})
    assert dict(lines) == {"palm · name": "palm", "palm · file": "palm.tflite", "palm · sha256": "ab" * 32}
    ((_, lines),) = record_sections({"models": [{"name": "palm", "path": None, "sha256": None}]})
    assert dict(lines)["palm · file"] == NOTHING
