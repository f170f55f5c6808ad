"""The instrument against known truth, small: the large study is `decay calibrate`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from decay.calibrate import cells, drawn, hand_pictures, hand_report, hands, photographs, report, study
from decay.errors import DecayError
from detectors.embedder import open_embedder
from detectors.reader import Reader
from detectors.registry import traits
from detectors.trait import Box
from detectors.vision import Vision


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(Vision(), open_embedder(None, None))


@pytest.fixture(scope="module")
def drawn_records(reader: Reader) -> pd.DataFrame:
    seeds = range(200_001, 200_017, 2)
    rows = [row for seed in seeds for row in drawn.read_drawn_face(reader, drawn.baseline(512), seed)]
    return pd.DataFrame.from_records(rows)


def test_the_eye_is_read_within_the_published_error(drawn_records: pd.DataFrame) -> None:
    eyes = drawn_records[drawn_records["subject"] == "eye"]
    assert (eyes["iris_state"] == "ok").mean() >= 0.9
    clock = eyes.loc[eyes["true_rho"] >= report.OFF_CENTRE, "clock"].dropna()
    assert len(clock) >= 10
    assert clock.median() <= 4.0
    assert eyes["rho"].abs().median() <= 0.04
    known = eyes[eyes["shown"].notna() & eyes["catchlight_state"].isin(drawn.MEASURED)]
    assert ((known["catchlight_state"] == "ok") == (known["shown"] == 1)).mean() >= 0.9


def test_light_skin_and_roll_follow_their_truth(drawn_records: pd.DataFrame) -> None:
    faces = drawn_records[drawn_records["subject"] == "face"]
    assert (faces["found"] == 1).all()
    assert faces["roll"].abs().median() < 1.0
    assert (faces["lighting_ratio_stops"] - faces["true_lighting_ratio_stops"]).abs().median() < 0.3
    assert faces["skin_l"].corr(faces["true_skin_l"], method="spearman") > 0.6


def test_a_portrait_is_read_where_a_person_read_it(reader: Reader, validation_data: Path) -> None:
    presence, glints = photographs.read_labels(validation_data)
    paths = [p for p in photographs.portraits(validation_data) if photographs.half_of(p.name) == "reporting"][:6]
    rows = pd.DataFrame([row for path in paths for row in photographs.read_portrait(reader, path, presence, glints)])
    read = rows[rows["flag"] == "ok"]
    assert read["iris_offset"].median() < 0.1
    assert read["offset"].median() < 0.12


def test_the_halves_of_the_photographs_do_not_depend_on_where_they_lie() -> None:
    assert photographs.half_of("a.jpg") in ("tuning", "reporting")
    assert {photographs.half_of(f"{n}.jpg") for n in range(20)} == {"tuning", "reporting"}


def test_every_seed_of_the_study_is_odd_and_faces_repeat_over_levels() -> None:
    jobs = study.drawn_jobs(0.1)
    seeds = {job.args for job in jobs}  # type: ignore[attr-defined]
    assert all(job.args[0] % 2 for job in study.drawn_hand_jobs(0.1))  # type: ignore[attr-defined]
    assert all(seed % 2 for _, seed in seeds)
    by_level: dict[tuple[str, str], set[int]] = {}
    for condition, seed in seeds:
        by_level.setdefault((condition.factor, condition.level), set()).add(seed)
    jpeg = [found for (factor, _), found in by_level.items() if factor == "JPEG quality"]
    assert len(jpeg) == 4
    assert all(found == jpeg[0] for found in jpeg)


def test_the_document_shows_what_was_recorded(drawn_records: pd.DataFrame) -> None:
    text = report.report(report.Records(drawn_records, hand_rows([])))
    clock = drawn_records.loc[drawn_records["true_rho"] >= report.OFF_CENTRE, "clock"].dropna()
    assert f"| catchlight clock, rho >= 0.2 | deg | {len(clock)} |" in text
    assert f"{clock.median():.3f}" in text
    assert "Photographs:" not in text


def test_a_folder_without_portraits_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(DecayError, match="expected labelled portraits"):
        study.calibrate(tmp_path / "accuracy.md", tmp_path)
    assert not (tmp_path / "accuracy.md").exists()


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "docs").write_text("a file where a folder is wanted")
    steps: list[int] = []
    with pytest.raises(DecayError, match="docs"):
        study.calibrate(tmp_path / "docs" / "accuracy.md", None, progress=lambda *step: steps.append(1))
    assert not steps


def test_errors_are_signed_the_right_way() -> None:
    glint = {"clock_deg": 350.0, "rho": 0.4, "radius_iris": 0.1, "intensity": 1.0, "frac_visible": 1.0}
    truth = {"iris_radius_px": 10.0, "iris_x_px": 50.0, "iris_y_px": 50.0, "glints": [glint], "side": "image_left"}
    row = {"face": 0, "side": "image_left", "iris_state": "ok", "catchlight_state": "ok", "catchlight_count": 1.0}
    row |= {"iris_x_px": 51.0, "iris_y_px": 48.0, "iris_radius_px": 9.0}
    row |= {"catchlight_clock_deg": 10.0, "catchlight_rho": 0.5}
    got = drawn._eye_record(row, truth)  # type: ignore[arg-type]
    assert got["clock_signed"] == pytest.approx(20.0)
    assert got["clock"] == pytest.approx(20.0)
    assert got["rho"] == pytest.approx(0.1)
    assert got["iris_dx"] == pytest.approx(0.1)
    assert got["iris_dy"] == pytest.approx(-0.2)
    assert got["iris_radius"] == pytest.approx(-0.1)
    turns = [math.radians(10.0), math.radians(350.0)]
    expected = math.hypot(
        0.5 * math.sin(turns[0]) - 0.4 * math.sin(turns[1]), 0.5 * math.cos(turns[0]) - 0.4 * math.cos(turns[1])
    )
    assert got["offset"] == pytest.approx(expected)


# --------------------------------------------------------------------------- hands


def hand_row(true: int, read: int | None, *, fused: str = "", true_fused: str = "", **more: Any) -> dict[str, Any]:
    """One record as ``hands.compare`` makes it; ``read`` None: ambiguous."""
    counted = read is not None
    row = {
        "material": "labelled",
        "source": "epsrc",
        "variant": "intact",
        "photograph": "a.jpg",
        "half": "reporting",
        "subject": "hand",
        "seed": 1,
        "fault": "intact, apart",
        **dict.fromkeys(hands.FACTORS, "any"),
        "true_count": true,
        "true_fused": true_fused,
        "true_mitten": true_fused.count(",") == 2,
        "true_extra": 0,
        "true_missing": 0,
        "true_right": not true_fused,
        "size_px": 200.0,
        "found": hands.FOUND,
        "state": "ok" if counted else "ambiguous",
        "count": float(read) if read is not None else math.nan,
        "fused": fused,
        "mitten": float(fused.count(",") == 2) if counted else math.nan,
        "extra": 0.0 if counted else math.nan,
        "missing": 0.0 if counted else math.nan,
        "right": float(not fused) if counted else math.nan,
    }
    return row | more


def hand_rows(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame.from_records(rows, columns=[*hand_row(0, 0), "n_hands"])


def lost_row(true: int, **more: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("count", "mitten", "extra", "missing", "right", "size_px"), math.nan)
    return hand_row(true, None) | nothing | {"found": hands.LOST, "state": hands.LOST, "fused": math.nan} | more


def row_of(table: str, first: str) -> list[str]:
    """The cells of the row that begins with ``first``."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return next(line for line in lines if line[0] == first)


def test_no_figure_is_rounded_into_a_claim() -> None:
    assert cells.percent(999.6 / 1000) == "99.9 %"
    assert cells.percent(1.0) == "100.0 %"
    assert cells.percent(0.289) == "28.9 %"
    assert cells.percent_of_errors(1 / 10_000) == "0.1 %"
    assert cells.percent_of_errors(0.0) == "0.0 %"


def test_the_interval_of_a_share_is_wilsons() -> None:
    low, high = cells.wilson(45, 50)
    for bound in (low, high):  # its bounds are where the normal test of the observed share just rejects
        assert abs(0.9 - bound) / math.sqrt(bound * (1 - bound) / 50) == pytest.approx(cells.Z_95)
    assert cells.wilson(0, 20)[0] == 0.0
    assert cells.wilson(20, 20)[1] == 1.0
    with pytest.raises(ValueError, match="total"):
        cells.wilson(0, 0)


def test_the_confusion_matrix_holds_every_hand_once() -> None:
    rows = hand_rows([hand_row(5, 5), hand_row(5, 4), hand_row(5, None), lost_row(5), hand_row(0, 0), hand_row(6, 7)])
    table = hand_report.confusion(rows)
    assert row_of(table, "**5**") == ["**5**", ".", ".", ".", ".", "1", "1", ".", "1", "1"]
    assert row_of(table, "**0**")[1] == "1"
    assert row_of(table, "**6 or more**")[7] == "1"


def test_fused_pairs_are_scored_one_by_one_and_those_not_counted_are_missed() -> None:
    rows = hand_rows(
        [
            hand_row(3, 3, fused="index-middle,middle-ring", true_fused="index-middle,middle-ring"),
            hand_row(4, 4, fused="ring-little", true_fused="middle-ring"),
            hand_row(4, None, true_fused="middle-ring"),
            lost_row(4, true_fused="middle-ring"),
            hand_row(5, 5),
        ]
    )
    pairs = hand_report.pairs_of(rows[rows["state"] == "ok"])
    assert (pairs.n_hit, pairs.n_false, pairs.n_missed) == (2, 1, 1)
    assert pairs.precision == pytest.approx(2 / 3)
    assert pairs.recall == pytest.approx(2 / 3)
    assert pairs.f1 == pytest.approx(2 / 3)
    assert hand_report.pairs_of(rows).n_missed == 3
    assert hand_report.pairs_of(rows.iloc[4:]).f1 is None


def test_false_fusion_is_a_share_of_intact_open_hands_counted() -> None:
    rows = [hand_row(5, 5), hand_row(5, 4, fused="ring-little"), hand_row(4, 4), hand_row(2, 1, fused="index-middle")]
    rows += [hand_row(5, None), hand_row(4, 4, fused="ring-little", true_fused="ring-little")]
    assert row_of(hand_report.false_fusion([("all", hand_rows(rows))]), "all")[1] == "1 of 3 (33.4 %)"


def test_ambiguous_hands_are_a_share_of_those_found_and_exact_ones_of_those_counted() -> None:
    rows = hand_rows([hand_row(5, 5), hand_row(5, 4), hand_row(5, None), lost_row(5)])
    row = row_of(hand_report.overview([("all", rows)]), "all")
    assert row[1:7] == ["4", "3", "0", "1", "1 of 3 (33.4 %)", "1 of 2 (50.0 %)"]


def test_the_counts_for_the_correction_are_of_counted_hands_not_tuned_on() -> None:
    fused = {"fused": "ring-little", "true_fused": "ring-little"}
    portrait = {"material": "portrait", "half": "reporting", "photograph": "p.jpg", "n_hands": 1, "state": "ok"}
    rows = [hand_row(5, 5), hand_row(5, 4, fused="ring-little"), lost_row(5), hand_row(5, 5, half="tuning")]
    rows += [hand_row(4, 4, material="edited", **fused), hand_row(4, None, material="made", true_fused="ring-little")]
    rows += [portrait, portrait | {"n_hands": 0, "state": ""}]
    counts = hand_report.calibration_counts(hand_rows(rows))
    assert counts["hand_presence", "all"] == hand_report.Rates(n_positive=3, n_found=2, n_negative=2, n_false=1)
    assert counts["finger_fused", "all"] == hand_report.Rates(n_positive=1, n_found=1, n_negative=2, n_false=1)
    assert counts["finger_fused", "labelled"] == hand_report.Rates(n_positive=0, n_found=0, n_negative=2, n_false=1)
    assert counts["finger_right_count", "all"] == hand_report.Rates(n_positive=2, n_found=1, n_negative=1, n_false=0)


def test_the_error_rates_in_the_code_are_those_of_the_document() -> None:
    document = (Path(__file__).parents[2] / "docs" / "accuracy.md").read_text(encoding="utf-8")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in document.splitlines()]
    counts = {line[0]: tuple(int(n) for n in line[3:]) for line in lines if len(line) == 7 and line[2] == "all"}
    told = {trait.name: trait.errors for trait in traits() if trait.errors}
    assert told
    for name, errors in told.items():
        assert (errors.n_positive, errors.n_found, errors.n_negative, errors.n_false) == counts[name], name


def test_the_document_of_hands_needs_no_more_than_portraits() -> None:
    portrait = {"material": "portrait", "half": "tuning", "photograph": "p.jpg", "n_hands": 0, "state": ""}
    text = "\n".join(hand_report.photograph_hand_sections(pd.DataFrame([portrait], columns=list(hands.COLUMNS))))
    assert "| both | 0 of 1 (0.0 %) | 0 | 0 |" in text
    assert "labelled" not in text.partition("Counts behind")[0]


def test_the_hand_in_question_is_the_one_at_its_place() -> None:
    rows = [{"box": "0,0,100,100"}, {"box": "150,150,190,190"}]
    assert hands.which_hand(rows, None) == 0  # type: ignore[arg-type]
    assert hands.which_hand(rows, Box(145, 145, 200, 200)) == 1  # type: ignore[arg-type]
    assert hands.which_hand(rows, Box(300, 300, 400, 400)) is None  # type: ignore[arg-type]
    assert hands.which_hand([], None) is None


def test_a_drawn_hand_is_drawn_again_from_its_seed() -> None:
    one, again, other = (hands.draw_varied(seed) for seed in (11, 11, 21))
    assert np.array_equal(one.pixels, again.pixels)
    assert one.factors == again.factors
    assert one.pixels.shape == other.pixels.shape  # seeds ten apart share a size
    assert not np.array_equal(one.pixels, other.pixels)


def test_the_sheet_shows_of_each_class_the_first_and_a_failure() -> None:
    rows = [hand_row(2, read, seed=seed) for seed, read in ((1, 2), (3, 2), (5, None), (7, 1))]
    rows += [hand_row(4, 4, seed=seed, fault="extra") for seed in (9, 11, 13)]
    rows += [hand_row(3, 3, seed=15, fault="mitten")]
    picked = hand_pictures.chosen(hand_rows(rows))
    assert picked == [("intact, 2 digits", 1), ("intact, 2 digits", 7), ("mitten", 15), ("extra", 9), ("extra", 11)]


def test_a_hand_is_right_only_if_its_digits_and_its_fused_pairs_are() -> None:
    assert hand_pictures.verdict(hand_row(5, 5)) == "right"
    assert hand_pictures.verdict(hand_row(4, 4, fused="ring-little", true_fused="middle-ring")) == "wrong"
    assert hand_pictures.verdict(hand_row(5, None)) == "ambiguous"
    assert hand_pictures.verdict(lost_row(5)) == "lost"


def test_fused_pairs_are_named_as_the_digits_they_make() -> None:
    assert hand_pictures.joined_words("index-middle,middle-ring") == "index-middle-ring"
    assert hand_pictures.joined_words("thumb-index,middle-ring") == "thumb-index, middle-ring"
    assert hand_pictures.joined_words("index-middle,middle-ring,ring-little") == "index to little"


@pytest.mark.validation
def test_every_labelled_hand_has_its_truth(validation_data: Path) -> None:
    found = hands.labelled_photographs(validation_data)
    assert {source for source, _, _ in found} == set(hands.SOURCES)
    assert all(0 <= truth.n_digits <= 5 and truth.is_right for _, _, truth in found)
    assert all(truth.box is not None for source, _, truth in found if source == "subhih")
    edited = hands.edited_photographs(validation_data)
    assert all(path.exists() for _, _, path, _ in edited)
    assert all(truth.is_right == (variant == "intact") for variant, _, _, truth in edited)
    assert all(truth.is_mitten == (variant == "mitten") for variant, _, _, truth in edited)
