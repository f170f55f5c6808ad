from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reports.course import courses
from reports.terminal import sparkline, summary


def test_the_summary_says_what_eroded_first_and_how_much_is_left_out(tables: Any) -> None:
    text = summary(tables.traits, tables.erosion, tables.verdict, n_traits=5)
    lines = text.splitlines()
    assert lines[0] == tables.verdict["sentence"]
    first = [c.title for c in courses(tables.traits, tables.erosion)][:5]
    assert [line[: len(title)] for line, title in zip(lines[3:8], first, strict=True)] == first
    assert f"{tables.traits['trait'].nunique() - 5} more traits are in the report." in lines
    assert "1 of 48 traits could not be measured." in lines
    assert lines[-2].startswith("Retention: █ as in generation 0")
    assert max(map(len, lines)) <= 95


def test_every_row_says_its_state(tables: Any) -> None:
    states = ["eroded", "held", "cannot_tell", "not_rankable", "not_measured"]
    rows, row = tables.of("catchlight_presence")
    traits = pd.concat([rows.assign(trait=state, label=f"image {state}".replace("_", " ")) for state in states])
    erosion = pd.DataFrame([{**row, "trait": state, "verdict": state} for state in states])
    erosion["onset_generation"] = np.where(erosion["verdict"] == "eroded", 2, math.nan)
    erosion = erosion.assign(onset_low=2, onset_high=math.inf)
    lines = summary(traits, erosion, {}).splitlines()
    at = lines[2].index("state")
    said = {line.split("  ")[0]: line[at:].split("  ")[0] for line in lines[3:8]}
    assert said == {
        "Image eroded": "eroded from 2 (2 or later)",
        "Image held": "held",
        "Image cannot tell": "undecided",
        "Image not rankable": "not rankable",
        "Image not measured": "not measured",
    }


def test_the_summary_names_who_described_the_faces(tables: Any) -> None:
    traits = tables.traits.assign(embedder=np.where(tables.traits["group"] == "face", "descriptor, not identity", ""))
    assert "Faces described by descriptor, not identity." in summary(traits, tables.erosion, tables.verdict)
    assert "described by" not in summary(tables.traits, tables.erosion, tables.verdict)


@pytest.mark.parametrize(
    ("retention", "blocks"),
    [([1, 0.999, 0.5, 0.0], "█▇▄▁"), ([1.2, math.nan, -0.3], "█·▁"), ([], "")],
)
def test_a_full_block_means_that_nothing_is_lost(retention: list[float], blocks: str) -> None:
    assert sparkline(np.array(retention, dtype=float)) == blocks


def test_escape_codes_in_labels_do_not_reach_the_terminal(tables: Any) -> None:
    traits = tables.traits.assign(label="\x1b]0;owned\x07\x9b31m red\n\rnext")
    text = summary(traits, tables.erosion, {"sentence": "\x1b[2Jgone"})
    assert not [character for character in text if ord(character) < 32 and character != "\n"]
    assert "\x9b" not in text


def test_many_generations_keep_the_first_and_the_last(tables: Any) -> None:
    rows, row = tables.of("catchlight_presence")
    long = rows.loc[rows.index.repeat(10)].assign(generation=range(60), retention=np.linspace(1, 0, 60))
    text = summary(long, row.to_frame().T, {})
    assert "█▇" in text
    assert "▁▁  0 %" in text


def test_nothing_measured_is_said(tables: Any) -> None:
    text = summary(tables.traits.head(0), tables.erosion.head(0), {})
    assert text.startswith("No verdict.")
