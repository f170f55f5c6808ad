from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports.arms_page import ArmTables, arm_cell, arms_by_trait, render_arms_page
from reports.course import course
from reports.inline import ChartFiles
from reports.markdown import render_arms_markdown
from reports.overlay import arms_chart, legend_height, write_arms_charts
from reports.panels import LOOKS

HOSTILE = "<script>alert(1)</script> | [x](y) {{ 7*7 }}"


@pytest.fixture(scope="module")
def arms(tables: Any) -> list[ArmTables]:
    few = tables.few()
    later = few.erosion.assign(onset_generation=few.erosion["onset_generation"] + 1)
    return [
        ArmTables("replace", few.traits, few.erosion, few.verdict, few.run),
        ArmTables(HOSTILE, few.traits, later, few.verdict | {"sentence": HOSTILE}, few.run),
    ]


def test_every_arm_is_drawn_with_a_look_of_its_own(tables: Any) -> None:
    c = course(*tables.of("catchlight_presence"))
    other = replace(c, value=c.value + 0.05, onset=4.0)
    figure = arms_chart([("a", c), ("b", other)], "generation 0")
    main = next(axes for axes in figure.axes if axes.get_label() == "value")
    lines = {line.get_gid(): line for line in main.lines}
    for nth, drawn in enumerate((c, other)):
        np.testing.assert_array_equal(lines[f"value-{nth}"].get_ydata(), drawn.value)
        assert (lines[f"value-{nth}"].get_color(), lines[f"value-{nth}"].get_marker()) == (LOOKS[nth][0], LOOKS[nth][2])
    assert lines["onset-1"].get_xdata()[0] == pytest.approx(4.0, abs=0.1)
    assert lines["reference"].get_ydata()[0] == c.reference
    low, high = main.get_ylim()
    assert low < np.nanmin(c.ci_low)
    assert high > np.nanmax(other.value)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_courses_of_two_traits_make_no_chart(tables: Any) -> None:
    pair = [("a", course(*tables.of("catchlight_presence"))), ("b", course(*tables.of("hand_presence")))]
    with pytest.raises(ValueError, match="one trait"):
        arms_chart(pair, "generation 0")


def test_the_legend_takes_a_line_for_three_runs() -> None:
    assert legend_height(3) == legend_height(1)
    assert legend_height(4) == 2 * legend_height(3)


def test_the_page_of_several_runs_tells_each_and_keeps_text_inert(arms: list[ArmTables], tmp_path: Path) -> None:
    pairs = [pair for pair in arms_by_trait(arms) if pair[0][1].trait in ("catchlight_presence", "face_recall")]
    write_arms_charts(pairs, "generation 0", tmp_path)
    drawn = {path.stem: ChartFiles(path.read_text()) for path in tmp_path.glob("*.svg")}
    assert set(drawn) == {"catchlight_presence", "face_recall"}
    page = render_arms_page(arms, {**{p[0][1].trait: ChartFiles("<svg></svg>") for p in arms_by_trait(arms)}, **drawn})
    assert "<script" not in page
    assert "49" not in page.split("alert(1)")[1][:40]
    assert page.count(arms[0].verdict["sentence"]) >= 1
    assert f"Catchlight presence in {len(arms)} runs." in page
    assert "Generation 0: replace 0.9 share (0.846 to 0.954); &lt;script" in page


def test_a_cell_says_onset_and_what_is_left(tables: Any) -> None:
    c = course(*tables.of("catchlight_presence"))
    assert arm_cell(replace(c, onset=2.0, onset_low=1.0, onset_high=3.0)).startswith("2 (1 to 3); ")
    assert arm_cell(replace(c, value=c.value * math.nan)) == "not measured"


def test_markdown_of_several_runs_escapes_what_it_quotes(arms: list[ArmTables]) -> None:
    text = render_arms_markdown(arms)
    assert "<script" not in text.replace("\\<", "")
    assert "\\[x\\](y)" in text
    row = next(line for line in text.splitlines() if line.startswith("| Catchlight presence"))
    assert row.replace("\\|", "").count("|") == len(arms) + 2
