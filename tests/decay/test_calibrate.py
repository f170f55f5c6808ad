"""The instrument against known truth, small: the large study is `decay calibrate`."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from decay.calibrate import drawn, photographs, report, study
from decay.errors import DecayError
from detectors.embedder import open_embedder
from detectors.reader import Reader
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
    assert all(seed % 2 for _, seed in seeds)
    by_level: dict[tuple[str, str], set[int]] = {}
    for condition, seed in seeds:
        by_level.setdefault((condition.factor, condition.level), set()).add(seed)
    jpeg = [found for (factor, _), found in by_level.items() if factor == "JPEG quality"]
    assert len(jpeg) == 4
    assert all(found == jpeg[0] for found in jpeg)


def test_the_document_shows_what_was_recorded(drawn_records: pd.DataFrame) -> None:
    text = report.report(drawn_records, None)
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
