from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reports.course import alternative, course, courses, finding, gap_reason, grouped, kept_text
from reports.words import NOTHING


def rows_of(tables: Any, trait: str) -> pd.DataFrame:
    rows: pd.DataFrame = tables.of(trait)[0]
    return rows


def test_what_eroded_first_comes_first_and_the_unmeasured_last(tables: Any) -> None:
    found = courses(tables.traits, tables.erosion)
    onsets = [c.onset for c in found if math.isfinite(c.onset)]
    assert onsets == sorted(onsets)
    assert len(onsets) > 5
    assert not any(math.isfinite(c.onset) for c in found[len(onsets) :])
    assert found[-1].trait == "hand_pose_spread"
    assert sorted(c.trait for c in found) == sorted(tables.traits["trait"].unique())


def test_traits_of_one_onset_stand_as_the_verdict_has_them(tables: Any) -> None:
    ranked = tables.erosion[tables.erosion["rank"].notna()]
    ties = ranked[ranked["onset_generation"] == ranked["onset_generation"].mode().iloc[0]]
    assert len(ties) > 2
    for order in (ties["trait"].tolist(), ties["trait"].tolist()[::-1]):
        erosion = tables.erosion.copy()
        erosion["rank"] = erosion["trait"].map({name: place for place, name in enumerate(order, start=1)})
        assert [c.trait for c in courses(tables.traits, erosion)][: len(order)] == order


def test_every_trait_is_in_one_group(tables: Any) -> None:
    found = courses(tables.traits, tables.erosion)
    groups = grouped(found)
    assert [name for name, _ in groups] == ["eyes", "hands", "face", "light", "image"]
    assert sorted(c.trait for _, members in groups for c in members) == sorted(c.trait for c in found)


def test_reference_is_the_value_at_retention_one(tables: Any) -> None:
    rows = rows_of(tables, "catchlight_presence")
    assert course(rows.assign(reference_value=0.97), None).reference == 0.97
    # tables without that column: generation 0 where that is the reference,
    silent = rows.drop(columns="reference_value")
    assert course(silent, None).reference == pytest.approx(0.9)
    # else solved from retention = (value - floor) / (reference - floor)
    shifted = silent.assign(retention=rows["value"] / 0.95)
    assert course(shifted, None).reference == pytest.approx(0.95)


def test_a_location_trait_has_no_floor(tables: Any) -> None:
    rows = rows_of(tables, "catchlight_clock_spread")
    assert (rows["kind"] == "location").all()
    assert math.isnan(course(rows, None).floor)


def test_tables_read_back_from_csv_say_the_same(tables: Any) -> None:
    traits = pd.read_csv(io.StringIO(tables.traits.to_csv(index=False)))
    erosion = pd.read_csv(io.StringIO(tables.erosion.to_csv(index=False)))
    before, after = courses(tables.traits, tables.erosion), courses(traits, erosion)
    for c, again in zip(before, after, strict=True):
        assert (c.trait, c.unit, finding(c)) == (again.trait, again.unit, finding(again))
        np.testing.assert_allclose(c.value, again.value, rtol=1e-12)


def test_findings_do_not_claim_more_than_was_seen(tables: Any) -> None:
    rows, row = tables.of("catchlight_presence")
    assert finding(course(rows, row)).startswith("more than 20 % lost from generation ")
    rule = {"margin": 0.2, "smallest_detectable": 0.32}
    assert finding(course(rows, {**rule, "verdict": "held"})) == "held: never more than 20 % lost"
    undecided = finding(course(rows, {**rule, "verdict": "cannot_tell"}))
    assert undecided == "cannot tell if more than 20 % lost; a loss of 32 % would show"
    assert finding(course(rows.head(1), None)) == "one measured generation: no course to judge"
    unmeasured = course(rows_of(tables, "hand_pose_spread"), None)
    assert finding(unmeasured) == "not measured"
    assert gap_reason(unmeasured) == "no subject of this kind was found or expected"
    assert gap_reason(course(rows_of(tables, "iris_hue_spread"), None)).startswith("too few to give a value in ")


def test_a_drifting_trait_is_said_to_drift_and_which_way(tables: Any) -> None:
    rows = tables.of("catchlight_presence")[0].assign(
        kind="location", reference_value=0.5, retention=[1, 1, 0.9, 0.4, 0.1, -3]
    )
    row = {"onset_generation": 3.0, "margin": 0.2}
    up = course(rows.assign(value=[0.5, 0.5, 0.6, 0.8, 0.9, 1.0]), row)
    down = course(rows.assign(value=[0.5, 0.5, 0.4, 0.3, 0.2, 0.1]), row)
    assert finding(up) == "more than 0.2 of a spread away from generation 3 on"
    assert (up.drift, down.drift) == (" ↑", " ↓")
    assert course(rows.assign(kind="level"), None).drift == ""


def test_a_trait_that_could_not_have_shown_a_full_loss_says_so(tables: Any) -> None:
    rows, eroded = tables.of("catchlight_presence")
    undecided = {**dict(eroded), "onset_generation": np.nan, "smallest_detectable": 1.3}
    assert "130 %" not in finding(course(rows, {**undecided, "verdict": "not_rankable"}))
    assert "to show even a full loss" in finding(course(rows, {**undecided, "verdict": "not_rankable"}))
    drifts = finding(course(rows.assign(kind="location"), {**undecided, "verdict": "not_rankable"}))
    assert "to show even a full drift" in drifts


def test_rows_of_two_traits_or_a_generation_twice_are_refused(tables: Any) -> None:
    with pytest.raises(ValueError, match="rows of one trait"):
        course(tables.traits, None)
    rows = rows_of(tables, "hand_presence")
    with pytest.raises(ValueError, match="one row per generation"):
        course(pd.concat([rows, rows]), None)


@pytest.mark.parametrize(
    ("retention", "text"),
    [
        (-6.81, "below 0 %"),
        (-1e-12, "0 %"),
        (0.0, "0 %"),
        (0.42, "42 %"),
        (1 + 1e-12, "100 %"),
        (1.38, "above 100 %"),
        (math.nan, NOTHING),
    ],
)
def test_a_retention_beyond_its_ends_is_never_said_to_be_at_them(tables: Any, retention: float, text: str) -> None:
    assert kept_text(retention) == text
    if math.isfinite(retention):
        rows = rows_of(tables, "catchlight_presence").assign(retention=retention, reference_value=0.9)
        assert f"retention at the end {text}." in alternative(course(rows, None), "real")


def test_a_trait_that_takes_an_identity_model_says_so_where_none_was_given(tables: Any) -> None:
    rows = rows_of(tables, "face_recall").assign(value=np.nan, n_measured=0, embedder="descriptor (not identity)")
    assert gap_reason(course(rows, None)).startswith("none of 288 expected subjects")
    rows["trait"] = "face_distinct_share"
    assert "--embedder-pack" in gap_reason(course(rows, None))
    assert gap_reason(course(rows.assign(embedder="buffalo_l"), None)).startswith("none of 288 expected subjects")
