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

from reports.compare import comparison_text, family_sentences, traits_of_interest, write_comparison_chart
from reports.panels import LOOKS, _spread

ARMS = {"fed": [1, 0.7, 0.4, 0.1], "mix_25": [1, 1, 0.7, 0.4], "real": [1, 1.02, 0.98, 1]}
SENTENCE = "delayed by 1 generation (1 to 2) in mix_25, 97 % sure"


def rows_of(kind: str, name: str, arm: str, finding: str) -> dict[str, Any]:
    kept = ARMS[arm]
    below = [g for g, value in enumerate(kept) if value < 0.8]
    beside = arm != "fed"
    return {
        "kind": kind, "name": name, "label": name.replace("_", " "), "group": "eyes", "arm": arm,
        "state": "eroded" if below else "held", "onset_generation": below[0] if below else math.nan,
        "onset_low": below[0] if below else math.inf, "onset_high": below[0] if below else math.inf,
        "generation": 3, "loss": 1 - kept[-1], "loss_low": 0.9 - kept[-1], "loss_high": 1.3 - kept[-1],
        "is_baseline": not beside, "difference": kept[-1] - 0.1 if beside else math.nan, "difference_low": 0.2,
        "difference_high": 0.4, "delay_generations": 1.0 if below else math.inf, "delay_low": 1.0,
        "delay_high": 2.0 if below else math.inf, "p_later": 0.978 if below else 1.0, "finding": finding,
    }  # fmt: skip


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    found = {"fed": None, "mix_25": "delayed", "real": "stopped"}
    names = [("family", "eyes"), ("trait", "catchlight_presence"), ("trait", "iris_spread")]
    return pd.DataFrame([rows_of(kind, name, arm, said) for kind, name in names for arm, said in found.items()])


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


def test_the_text_says_each_family_then_each_trait(table: pd.DataFrame) -> None:
    text = comparison_text(table, RECORD)
    assert text.startswith("Compared with fed, generations 0 to 3, at least 40 slots; 95 % intervals")
    assert f"Eyes: {SENTENCE}." in text
    assert text.count("mix_25") == 1 + 2  # the sentence, and one row for each trait
    assert "90 % (80 % to 100 %)" in text  # at most all can be lost
    assert "∞" in text
    assert text.splitlines()[-1] == "The runs share no slot."


def test_no_number_of_draws_makes_sure(table: pd.DataFrame) -> None:
    text = comparison_text(table, RECORD)
    assert ">99 %" in text
    assert "97 %" in text  # 0.978, rounded down
    assert not re.search(r"\b100 %$", text, re.MULTILINE)


def test_only_what_eroded_or_differs_is_listed(table: pd.DataFrame) -> None:
    quiet = table.assign(state="held", finding="neither_eroded")
    assert traits_of_interest(quiet) == []
    assert traits_of_interest(table) == ["catchlight_presence", "iris_spread"]
    assert "trait " not in comparison_text(quiet, RECORD)


def test_nothing_to_compare_is_said() -> None:
    assert family_sentences(RECORD | {"sentences": []}) == ["Nothing to compare."]


def test_the_figure_names_every_arm_and_is_the_same_twice(
    table: pd.DataFrame, courses: pd.DataFrame, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_comparison_chart(courses, table, RECORD, tmp_path / name / "compare")
    svg = (tmp_path / "one" / "compare.svg").read_text()
    assert svg.count(">mix_25<") == 3  # one panel for the family, two for the traits
    assert "Eyes: most eroded trait" in svg
    assert SENTENCE in svg
    for suffix in ("svg", "png"):
        one, two = ((tmp_path / name / f"compare.{suffix}").read_bytes() for name in ("one", "two"))
        assert one == two
    with Image.open(tmp_path / "one" / "compare.png") as picture:
        assert SENTENCE in picture.text["Description"]  # type: ignore[attr-defined]


def test_a_hostile_arm_stays_text(table: pd.DataFrame, courses: pd.DataFrame, tmp_path: Path) -> None:
    name = "<script>alert(1)</script>"
    named = [frame.replace({"arm": {"real": name}}) for frame in (courses, table)]
    write_comparison_chart(*named, RECORD | {"arms": ["fed", "mix_25", name]}, tmp_path / "compare")
    assert "<script" not in (tmp_path / "compare.svg").read_text()


def test_an_unmeasured_arm_is_drawn_without_a_line(table: pd.DataFrame, courses: pd.DataFrame, tmp_path: Path) -> None:
    gone = courses.copy()
    gone.loc[gone["arm"] == "real", ["retention", "retention_low", "retention_high"]] = np.nan
    write_comparison_chart(gone, table, RECORD, tmp_path / "compare")
    assert "real (none)" in (tmp_path / "compare.svg").read_text()


def test_arms_are_told_apart_without_colour() -> None:
    assert len({str(dashes) for _, dashes, _ in LOOKS}) == len(LOOKS)
    assert len({marker for _, _, marker in LOOKS}) == len(LOOKS)


def test_names_do_not_overlap_and_stay_in_order() -> None:
    placed = _spread([0.0, 0.01, 0.02, 0.9])
    assert placed == sorted(placed)
    assert min(np.diff(placed)) >= 0.115 - 1e-9
    assert placed[-1] == pytest.approx(0.9)
