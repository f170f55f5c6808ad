"""The figure of runs: lines in the paper's order and with its marks, names that do not collide."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from reports.figure import _draw, _spread, line_name, looks, write_figure

MIXES = {"mix-100": 1.0, "mix-50": 0.5, "mix-25": 0.25, "mix-10": 0.1, "mix-3.3": 0.033, "mix-0": 0.0}


def rows(arm: str, kind: str, synthetic: float, first: int = 0, **more: Any) -> list[dict[str, Any]]:
    return [
        {"panel": "prompts", "trait": "image_fid", "label": "distance", "unit": "FID", "reference": "real/",
         "reference_value": 10.0, "arm": arm, "kind": kind, "synthetic": synthetic, "generation": g,
         "joins": more.get("joins", "") if g == first else "", "value": 40.0 + 5 * g * synthetic,
         "ci_low": 38.0 + 5 * g * synthetic, "ci_high": 42.0 + 5 * g * synthetic}
        for g in range(first, first + 4)
    ]  # fmt: skip


@pytest.fixture
def table() -> pd.DataFrame:
    found = [row for name, share in MIXES.items() for row in rows(name, "mix", share)]
    found += rows("diamonds", "control_colour", 1.0) + rows("squares", "control_quality", 1.0)
    return pd.DataFrame(found + rows("healed", "healing", 0.0, first=3, joins="mix-25"))


def test_mixes_pale_in_order_and_controls_have_the_papers_marks(table: pd.DataFrame) -> None:
    found = looks(table)
    luminance = [float(np.dot(to_rgb(found[name, "mix"].colour), [0.2126, 0.7152, 0.0722])) for name in MIXES]
    assert luminance == sorted(luminance)
    assert min(b - a for a, b in itertools.pairwise(luminance)) > 0.03
    assert found["diamonds", "control_colour"].marker == "D"
    assert found["squares", "control_quality"].marker == "s"
    assert found["diamonds", "control_colour"].colour == found["mix-100", "mix"].colour
    assert found["healed", "healing"].colour not in {found[name, "mix"].colour for name in MIXES}


def test_an_interval_that_leaves_the_panel_ends_in_an_arrow(table: pd.DataFrame) -> None:
    far = table.copy()
    far.loc[far.index[0], "ci_high"] = 4000.0
    far.loc[far.index[5], "ci_low"] = -4000.0
    marks = [
        (line.get_marker(), len(line.get_xdata()))
        for line in _draw(far).axes[0].get_lines()
        if line.get_gid() == "beyond" and len(line.get_xdata())
    ]
    assert marks == [("^", 1), ("v", 1)]


def test_a_share_looks_the_same_whatever_stands_beside_it(table: pd.DataFrame) -> None:
    alone = looks(table[table["arm"] == "mix-50"])
    assert alone["mix-50", "mix"] == looks(table)["mix-50", "mix"]


def test_every_line_is_named_once_at_its_end_without_a_legend(table: pd.DataFrame, tmp_path: Path) -> None:
    write_figure(table, tmp_path / "figure")
    svg = (tmp_path / "figure.svg").read_text()
    for name in (*MIXES, "diamonds", "squares", "healed"):
        assert svg.count(f">{name}<") == 1, name
    first = (tmp_path / "figure.png").read_bytes()
    write_figure(table, tmp_path / "figure")
    assert (tmp_path / "figure.png").read_bytes() == first


def test_a_joined_point_begins_the_line_and_has_no_mark_of_its_own(table: pd.DataFrame) -> None:
    (axes,) = _draw(table).axes
    colour = looks(table)["healed", "healing"].colour
    own = [mark for mark in axes.lines if isinstance(mark, Line2D) and mark.get_color() == colour]
    path = next(mark for mark in own if mark.get_linestyle() != "None")
    marks = next(mark for mark in own if mark.get_linestyle() == "None")
    assert len(np.asarray(path.get_xdata())) == 4
    assert len(np.asarray(marks.get_xdata())) == 3


def test_held_out_prompts_are_panels_of_their_own(table: pd.DataFrame) -> None:
    both = pd.concat([table, table.assign(panel="held_out"), table.assign(trait="image_clip_score")])
    labels = [str(axes.get_label()) for axes in _draw(both).axes]
    assert labels == ["image_fid-prompts", "image_clip_score-prompts", "image_fid-held_out"]


def test_an_interval_without_end_flattens_nothing(table: pd.DataFrame) -> None:
    (axes,) = _draw(table.assign(ci_high=1e6)).axes
    assert axes.get_ylim()[1] < 120


@pytest.mark.parametrize("wanted", [[0.0, 0.0, 0.0], [0.9, 1.0, 1.0, 1.0], [0.1, 0.2, 0.21, 0.9], [0.5]])
def test_names_stay_apart_in_order_and_inside(wanted: list[float]) -> None:
    placed = _spread(wanted, 0.1, 0.0, 1.0)
    assert all(b - a >= 0.1 - 1e-9 for a, b in itertools.pairwise(placed))
    assert min(placed) >= 0
    assert max(placed) <= 1 + 1e-9
    if wanted == [0.5]:
        assert placed == wanted


def test_a_name_tells_its_share_once() -> None:
    assert line_name("mix-3.3", 0.033) == "mix-3.3"
    assert line_name("run_a", 0.5) == "run_a (50 %)"
    assert line_name("accumulate", float("nan")) == "accumulate"


def test_a_hostile_name_stays_text(table: pd.DataFrame, tmp_path: Path) -> None:
    write_figure(table.replace({"arm": {"mix-50": "<script>x</script>"}}), tmp_path / "figure")
    assert not re.search(r"<script", (tmp_path / "figure.svg").read_text())
