"""Arms side by side, in words and as a picture: what is said is what the tables say."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reports.compare import comparison_text, headlines, later_by, traits_of_interest
from reports.panels import LOOKS, Line, _bounded, _comparison_figure, _panel, _row, write_comparison_chart

ARMS = {"fed": [1, 0.7, 0.4, 0.1], "mix_25": [1, 1, 0.7, 0.4], "real": [1, 1.02, 0.98, 1]}
SENTENCE = "delayed by 1 generation (1 to 2) in mix_25; later in 97 %, earlier in 0 % of resamples"
QUIET = {"hands": "cannot_tell", "light": "cannot_tell", "image": "no_difference"}


def rows_of(kind: str, name: str, arm: str, finding: str) -> dict[str, Any]:
    kept = ARMS[arm]
    below = [g for g, value in enumerate(kept) if value < 0.8]
    beside = arm != "fed"
    return {
        "kind": kind, "name": name, "label": name.replace("_", " "), "group": "eyes", "arm": arm,
        "state": "eroded" if below else "held", "onset_generation": below[0] if below else math.nan,
        "onset_low": below[0] if below else math.inf, "onset_high": below[0] if below else math.inf,
        "generation": 3, "loss": 1 - kept[-1], "loss_low": 0.9 - kept[-1], "loss_high": 1.3 - kept[-1],
        "is_baseline": not beside, "difference": kept[-1] - 0.1 if beside else math.nan,
        "difference_low": 0.2 if beside else math.nan, "difference_high": 0.4 if beside else math.nan,
        "delay_generations": 1.0 if below else math.inf, "delay_low": 1.0 if below else 3.0,
        "delay_high": 2.0 if below else math.inf, "p_later": 0.978 if below else 1.0, "p_earlier": 0.0,
        "mean_difference": float(np.mean(kept) - np.mean(ARMS["fed"])) if beside else math.nan,
        "most_eroded": "spread of positions" if kind == "family" else "", "finding": finding,
        "sentence": SENTENCE if finding == "delayed" else "",
    }  # fmt: skip


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    found = {"fed": "", "mix_25": "delayed", "real": "stopped"}
    names = [("family", "eyes"), ("trait", "catchlight_presence"), ("trait", "iris_spread")]
    rows = [rows_of(kind, name, arm, said) for kind, name in names for arm, said in found.items()]
    for name, finding in QUIET.items():
        rows += [rows_of("family", name, arm, finding if arm != "fed" else "") for arm in ARMS]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def courses(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            **{column: row[column] for column in ("kind", "name", "label", "group", "arm")},
            "generation": generation,
            "retention": ARMS[row["arm"]][generation],
            "retention_low": ARMS[row["arm"]][generation] - 0.1,
            "retention_high": ARMS[row["arm"]][generation] + 0.1,
        }
        for _, row in table.iterrows()
        for generation in range(4)
    )


RECORD: dict[str, Any] = {
    "arms": ["fed", "mix_25", "real"],
    "baseline": "fed",
    "generations": [0, 1, 2, 3],
    "margin": 0.2,
    "confidence": 0.95,
    "n_slots": 40,
    "sentences": [{"family": "eyes", "arm": "mix_25", "sentence": SENTENCE}],
    "notes": ["The runs share no slot."],
}


def test_the_text_says_what_was_decided_and_the_rest_in_one_line(table: pd.DataFrame) -> None:
    text = comparison_text(table, RECORD)
    assert text.startswith("Compared with fed, generations 0 to 3, at least 40 slots; 95 % intervals")
    assert f"  Eyes: {SENTENCE}. Most eroded: spread of positions." in text
    assert text.count("Undecided: hands, light.") == 2  # once for each arm
    assert text.count("No difference shown: image.") == 2
    assert "Of 2 traits: 2 delayed; 2 kept more in the end, 0 less." in text
    assert text.splitlines()[-1] == "The runs share no slot."


def test_one_line_for_each_decided_trait_with_both_shares(table: pd.DataFrame) -> None:
    lines = comparison_text(table, RECORD).splitlines()
    rows = [line for line in lines if line.startswith("  Iris spread")]
    assert len(rows) == 2
    assert re.search(r"delayed +1 \(1 to 2\) +2 +1 +40 % +10 % +97 % +0 %$", rows[0])
    assert re.search(r"stopped +at least 3 +held +1 +100 % +10 % +all +0 %$", rows[1])
    header = next(line for line in lines if line.startswith("  trait"))
    assert header.split()[-2:] == ["P(later)", "P(earlier)"]


def test_no_infinity_is_printed(table: pd.DataFrame) -> None:
    text = comparison_text(table, RECORD)
    assert not re.search(r"\binf\b|∞|\bnan\b", text)


@pytest.mark.parametrize(
    ("finding", "value", "low", "high", "said"),
    [
        ("delayed", 2.0, 1.0, 4.0, "2 (1 to 4)"),
        ("delayed", 2.0, 2.0, 2.0, "2"),
        ("delayed", 2.0, 1.0, math.inf, "2 (1 or more)"),
        ("stopped", math.inf, 3.0, math.inf, "at least 3"),
        ("hastened", -2.0, -4.0, -1.0, "2 (1 to 4)"),
        ("hastened", -math.inf, -math.inf, -3.0, "at least 3"),
    ],
)
def test_by_how_many_generations(finding: str, value: float, low: float, high: float, said: str) -> None:
    row = {"finding": finding, "delay_generations": value, "delay_low": low, "delay_high": high}
    assert later_by(row) == said


def test_only_what_eroded_or_differs_is_listed_and_the_largest_first(table: pd.DataFrame) -> None:
    quiet = table.assign(state="held", finding="neither_eroded")
    assert traits_of_interest(quiet) == []
    assert "  trait " not in comparison_text(quiet, RECORD)
    assert traits_of_interest(table) == ["catchlight_presence", "iris_spread"]
    larger = table.assign(mean_difference=table["mean_difference"] * np.where(table["name"] == "iris_spread", 2, 1))
    assert traits_of_interest(larger) == ["iris_spread", "catchlight_presence"]


def test_one_headline_for_each_arm(table: pd.DataFrame) -> None:
    assert headlines(table, RECORD) == [
        "mix_25: delayed (generations): eyes 1 (1 to 2); no difference shown: image; undecided: hands, light.",
        "real: stopped: eyes; no difference shown: image; undecided: hands, light.",
    ]
    nothing = table.assign(finding="")
    assert headlines(nothing.head(0), RECORD | {"arms": ["fed"]}) == ["Nothing to compare."]


# --------------------------------------------------------------------------- the figure


def test_the_figure_names_every_arm_and_is_the_same_twice(
    table: pd.DataFrame, courses: pd.DataFrame, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_comparison_chart(courses, table, RECORD, tmp_path / name / "compare")
    svg = (tmp_path / "one" / "compare.svg").read_text()
    assert svg.count(">mix_25<") == 1  # one legend
    assert ">fed (baseline)<" in svg
    assert svg.index(">Catchlight presence<") < svg.index(">Iris spread<")
    assert "delayed (generations): eyes 1 (1 to 2)" in svg
    for suffix in ("svg", "png"):
        one, two = ((tmp_path / name / f"compare.{suffix}").read_bytes() for name in ("one", "two"))
        assert one == two
    with Image.open(tmp_path / "one" / "compare.png") as picture:
        assert "real: stopped: eyes" in picture.text["Description"]  # type: ignore[attr-defined]


def test_a_hostile_arm_stays_text(table: pd.DataFrame, courses: pd.DataFrame, tmp_path: Path) -> None:
    name = "<script>alert(1)</script>"
    named = [frame.replace({"arm": {"real": name}}) for frame in (courses, table)]
    write_comparison_chart(*named, RECORD | {"arms": ["fed", "mix_25", name]}, tmp_path / "compare")
    assert "<script" not in (tmp_path / "compare.svg").read_text()


def test_an_interval_that_says_nothing_fills_no_panel(table: pd.DataFrame, courses: pd.DataFrame) -> None:
    low, high = np.array([1.0, -math.inf, -900.0, -3.0, 0.2]), np.array([1.0, 1.0, 900.0, 0.4, math.nan])
    assert list(_bounded(low, high)) == [True, False, False, True, False]
    wide = courses.assign(retention_low=-math.inf)
    (sure,), (unsure,) = ([_panel(frame, table, "eyes", ["fed"])] for frame in (courses, wide))
    filled = [
        sum(len(path.vertices) > 0 for c in figure.axes[0].collections for path in c.get_paths())
        for figure in (_comparison_figure([p], [], ["fed"], ["h"], "n", [0, 1, 2, 3], 0.8) for p in (sure, unsure))
    ]
    assert filled == [1, 0]


def test_onset_and_state_stand_where_they_belong(table: pd.DataFrame) -> None:
    row = _row(table[table["name"] == "iris_spread"], ["fed", "mix_25", "real"])
    line = Line(*np.ones((4, 4)), onset=math.nan)
    panel = _panel_of(line)
    figure = _comparison_figure([panel], [row], ["fed", "mix_25", "real"], ["h"], "n", [0, 1, 2, 3], 0.8)
    falls = next(axes for axes in figure.axes if axes.get_label() == "onsets")
    marks = [float(np.ravel(mark.get_xdata())[0]) for mark in falls.lines if mark.get_marker() not in ("None", "")]
    assert marks[:2] == [1.0, 2.0]
    assert marks[2] > 3.0  # held: after the last generation


def _panel_of(line: Line) -> Any:
    from reports.panels import Panel

    return Panel("Eyes", "", [line, line, line])


def test_an_unmeasured_arm_has_no_line(table: pd.DataFrame, courses: pd.DataFrame, tmp_path: Path) -> None:
    gone = courses.copy()
    gone.loc[gone["arm"] == "real", ["retention", "retention_low", "retention_high"]] = np.nan
    lost = table.copy()
    lost.loc[lost["arm"] == "real", ["loss", "loss_low", "loss_high"]] = np.nan
    write_comparison_chart(gone, lost, RECORD, tmp_path / "compare")
    assert (tmp_path / "compare.png").is_file()


def test_arms_are_told_apart_without_colour() -> None:
    assert len({str(dashes) for _, dashes, _ in LOOKS}) == len(LOOKS)
    assert len({marker for _, _, marker in LOOKS}) == len(LOOKS)
