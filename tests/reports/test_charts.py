from __future__ import annotations

import copy
import hashlib
import io
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from PIL import Image

from reports.charts import BAR, PNG_DPI, chart_name, decay_chart, overview_chart, retention_colours, write_charts
from reports.course import courses

HOSTILE = "$\\frac{1}{0}$ <script>alert('x')</script> & \x1b[31m \u202e\x00 \"quoted\" ^_{}"


def axes_named(figure: Figure, name: str) -> Axes:
    return next(axes for axes in figure.axes if axes.get_label() == name)


def artists(axes: Axes, gid: str) -> list[Any]:
    return [artist for artist in axes.get_children() if artist.get_gid() == gid]


def chart_of(tables: Any, trait: str) -> tuple[Figure, pd.DataFrame, pd.Series]:
    rows, row = tables.of(trait)
    return decay_chart(rows, row, "generation 0"), rows, row


@pytest.fixture(scope="module")
def written(tables: Any, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_few(tables, tmp_path_factory.mktemp("charts"))


def write_few(tables: Any, folder: Path) -> list[Path]:
    few = tables.few()
    return write_charts(few.traits, few.erosion, few.verdict, folder)


def test_the_line_the_band_and_the_bars_are_the_table(tables: Any) -> None:
    figure, rows, row = chart_of(tables, "catchlight_presence")
    main, share = axes_named(figure, "value"), axes_named(figure, "measured_share")
    (line,) = artists(main, "value")
    np.testing.assert_array_equal(line.get_xdata(), rows["generation"])
    np.testing.assert_array_equal(line.get_ydata(), rows["value"])
    (band,) = artists(main, "interval")
    corners = band.get_paths()[0].vertices
    for column in ("ci_low", "ci_high"):
        assert set(rows[column]) <= set(corners[:, 1])
    bars = share.containers[0]
    np.testing.assert_allclose([bar.get_height() for bar in bars], rows["frac_measured"])
    said = [text.get_text() for text in share.texts]
    assert said == [*rows["n_measured"].astype(str), "n of 48"]
    (onset,) = artists(main, "onset")
    assert set(onset.get_xdata()) == {row["onset_generation"]}
    (span,) = artists(main, "onset_interval")
    assert span.get_x() == row["onset_low"]
    assert span.get_x() + span.get_width() == row["onset_high"]


def test_reference_and_floor_are_drawn_and_named(tables: Any) -> None:
    figure, rows, _ = chart_of(tables, "catchlight_presence")
    main = axes_named(figure, "value")
    assert set(artists(main, "reference")[0].get_ydata()) == {rows["value"].iloc[0]}
    assert set(artists(main, "floor")[0].get_ydata()) == {0.0}
    said = [text.get_text() for text in main.texts]
    assert "reference\ngeneration 0" in said
    assert "floor\nnothing left" in said
    assert main.get_ylabel() == "share"


def test_a_missing_generation_is_a_hatched_gap_and_never_zero(tables: Any) -> None:
    figure, rows, _ = chart_of(tables, "iris_hue_spread")
    main = axes_named(figure, "value")
    (line,) = artists(main, "value")
    np.testing.assert_array_equal(np.isnan(line.get_ydata()), rows["value"].isna())
    assert rows["value"].isna().sum() == 3
    (gap,) = artists(main, "gap-1")  # one run of three generations
    assert (gap.get_x(), gap.get_width()) == (2.5, 3.0)
    assert gap.get_hatch()
    assert not artists(main, "gap-2")
    assert "not measured" in [text.get_text() for text in main.texts]


@pytest.mark.parametrize("trait", ["hand_pose_spread", "iris_hue_spread", "face_recall"])
def test_the_measured_share_is_always_there(tables: Any, trait: str) -> None:
    figure, rows, _ = chart_of(tables, trait)
    assert len(axes_named(figure, "measured_share").containers[0]) == len(rows)


def test_the_range_shows_a_change_as_large_as_it_is(tables: Any) -> None:
    # a level trait: from its floor to its reference, so that a loss of a tenth looks like a tenth
    figure, _, _ = chart_of(tables, "face_recall")
    low, high = axes_named(figure, "value").get_ylim()
    assert low < 0.2
    assert high > 1
    # a location trait: one reference spread (here 1) to either side of the reference
    rows, _ = tables.of("catchlight_clock_spread")
    nothing = {"reference_value": 10, "ci_low": np.nan, "ci_high": np.nan}
    lost = 0.1 * np.arange(6)
    figure = decay_chart(rows.assign(value=10 + lost, retention=1 - lost, **nothing), None, "real")
    assert axes_named(figure, "value").get_ylim() == pytest.approx((9, 11), abs=0.2)
    # and one that only trembles is not blown up to the height of the panel
    figure = decay_chart(rows.assign(value=10 + lost / 100, retention=1 - lost / 100, **nothing), None, "real")
    low, high = axes_named(figure, "value").get_ylim()
    assert high - low > 8 * 0.005


def test_generations_are_whole_numbers_even_when_many(tables: Any) -> None:
    rows, _ = tables.of("face_recall")
    long = pd.concat([rows.assign(generation=rows["generation"] + 6 * i) for i in range(6)])
    share = axes_named(decay_chart(long, None, "generation 0"), "measured_share")
    labels = [label.get_text() for label in share.get_xticklabels()]
    assert labels == [str(g) for g in range(0, 36, 3)]


def test_one_generation_and_no_erosion_row_still_draw(tables: Any) -> None:
    rows, _ = tables.of("face_recall")
    figure = decay_chart(rows.head(1), None, "generation 0")
    assert not artists(axes_named(figure, "value"), "onset")


def test_the_overview_is_the_table_with_gaps_hatched(tables: Any) -> None:
    figure = overview_chart(tables.traits, tables.erosion, tables.verdict)
    axes = axes_named(figure, "retention")
    meshes = [artist for artist in axes.collections if isinstance(artist, QuadMesh)]
    drawn = np.concatenate([np.ma.filled(mesh.get_array(), np.nan).reshape(-1, 6) for mesh in meshes])
    expected = np.array([c.retention for c in courses(tables.traits, tables.erosion)])
    np.testing.assert_array_equal(drawn, expected)
    assert sum(bool(patch.get_hatch()) for patch in axes.patches) == np.isnan(expected).sum() > 6
    marks = sum(len(line.get_xdata()) for line in artists(axes, "onset"))
    assert marks == tables.erosion["onset_generation"].notna().sum()
    said = [text.get_text() for text in figure.texts]
    assert said[0].replace("\n", " ") == tables.verdict["sentence"]
    assert set(tables.traits["label"]) <= {text.rstrip(" ↑↓") for text in said}


def test_the_embedder_stands_on_the_charts_of_its_traits_and_on_no_other(tables: Any) -> None:
    made = "descriptor (landmarks + HOG, not identity)"
    traits = tables.traits.assign(embedder=np.where(tables.traits["group"] == "face", made, ""))
    faces = traits[traits["group"] == "face"]
    figures = {
        made: decay_chart(faces[faces["trait"] == faces["trait"].iloc[0]], None, "real/"),
        "": decay_chart(traits[traits["trait"] == "hand_presence"], None, "real/"),
    }
    for name, figure in figures.items():
        said = [text.get_text() for text in figure.texts if "described by" in text.get_text()]
        assert said == ([f"faces described by {name}"] if name else [])
    overview = overview_chart(traits, tables.erosion, tables.verdict)
    assert f"faces described by {made}" in [text.get_text() for text in overview.texts]


def test_the_scale_is_lighter_the_more_is_kept() -> None:
    red, green, blue, _ = retention_colours()(np.linspace(0, 1, 64)).T
    luminance = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
    assert (np.diff(luminance) > 0).all()


def test_foreign_text_is_inert(tables: Any, tmp_path: Path) -> None:
    rows, _ = tables.of("catchlight_presence")
    traits = rows.assign(label=HOSTILE, unit="$x^2$", trait="../../<b>evil")
    erosion = pd.DataFrame({"trait": ["../../<b>evil"], "onset_generation": [2.0]})
    verdict = {**tables.verdict, "sentence": HOSTILE, "reference": "$real$"}
    for path in write_charts(traits, erosion, verdict, tmp_path / "charts"):
        assert path.parent == tmp_path / "charts"
        if path.suffix == ".svg":
            tree = ElementTree.parse(path)
            tags = {element.tag.rpartition("}")[2] for element in tree.iter()}
            assert "script" not in tags
            text = " ".join("".join(element.itertext()) for element in tree.iter() if element.tag.endswith("text"))
            assert "$\\frac{1}{0}$" in text  # as written, not typeset
    assert sorted(p.name for p in tmp_path.iterdir()) == ["charts"]


def test_files_are_text_small_and_free_of_references(written: list[Path]) -> None:
    assert [p.name for p in written[:2]] == ["overview.svg", "overview.png"]
    assert len(written) == 2 * (1 + 8)
    for path in written:
        if path.suffix == ".svg":
            svg = path.read_text(encoding="utf-8")
            assert "<text" in svg
            assert "<title>" in svg
            assert "DOCTYPE" not in svg
            assert "dc:date" not in svg
            assert all("#" in part[:2] for part in svg.split("href=")[1:])
        else:
            with Image.open(path) as picture:
                assert picture.info["dpi"][0] == pytest.approx(PNG_DPI, abs=0.5)
            assert path.stat().st_size < 60_000


def test_same_tables_same_bytes_whatever_the_users_settings(tables: Any, written: list[Path], tmp_path: Path) -> None:
    before = copy.deepcopy(dict(mpl.rcParams))
    with mpl.rc_context({"lines.linewidth": 9, "font.size": 30, "axes.grid": True, "text.usetex": False}):
        again = write_few(tables, tmp_path)
    assert dict(mpl.rcParams) == before
    for path, other in zip(written, again, strict=True):
        assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(other.read_bytes()).digest(), path.name
    assert not list(tmp_path.glob("*.part"))


def test_names_become_files_that_cannot_meet_or_escape() -> None:
    assert chart_name("catchlight_presence") == "catchlight_presence"
    odd = ["overview", "../x", "..\\x", "a b", "A b", "é", "", "x" * 500]
    names = [chart_name(name) for name in odd]
    assert len(set(names)) == len(odd)
    assert all(name.replace("_", "").isalnum() and name.isascii() and len(name) < 90 for name in names)


def test_the_heat_map_shows_the_interval_of_every_onset(tables: Any) -> None:
    few = tables.few()
    figure = overview_chart(few.traits, few.erosion, few.verdict)
    (axes,) = (axes for axes in figure.axes if axes.get_label() == "retention")
    drawn = [line.get_xdata() for line in axes.lines if str(line.get_gid()).startswith("onset_interval")]
    eroded = [c for c in courses(few.traits, few.erosion) if np.isfinite(c.onset)]
    # generation g stands in the middle of column g; an end that was never reached runs out of the six columns
    ends = [c.onset_high + 0.5 if np.isfinite(c.onset_high) else 6.0 for c in eroded]
    assert sorted(map(tuple, drawn)) == sorted((c.onset_low + 0.5, end) for c, end in zip(eroded, ends, strict=True))


def test_a_figure_keeps_its_style_and_a_pdf_its_fonts(tables: Any) -> None:
    figure, _, _ = chart_of(tables, "catchlight_presence")
    pages = []
    for family in ("serif", "sans-serif"):
        with mpl.rc_context({"pdf.fonttype": 3, "font.family": family}):
            drawn = io.BytesIO()
            figure.savefig(drawn, format="pdf", metadata={"CreationDate": None})
            pages.append(drawn.getvalue())
    assert pages[0] == pages[1]
    assert b"/FontFile2" in pages[0]  # TrueType, whole
    assert b"/Type3" not in pages[0]


def contrast_on_white(colour: str) -> float:
    """Contrast ratio of WCAG 2.2 (1 to 21)."""
    channels = np.array(to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05))


def test_text_and_bars_stand_out_from_the_paper(tables: Any) -> None:
    rows, row = tables.of("catchlight_presence")
    assert math.isfinite(row["onset_generation"])
    figure = decay_chart(rows, row, "real")
    texts = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    assert min(contrast_on_white(str(to_hex(text.get_color()))) for text in texts) >= 4.5
    assert contrast_on_white(BAR) >= 3
