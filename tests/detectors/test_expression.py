from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from detectors import expression
from detectors.trait import Face, Sample, View

BLANK = View(np.zeros((8, 8, 3), np.uint8))
UPPER_LID = (160, 158, 385, 387)


def moved(face: Face, shifts: dict[int, tuple[float, float]]) -> Face:
    points = face.landmarks_px.copy()
    for index, shift in shifts.items():
        points[index, :2] += shift
    return replace(face, landmarks_px=points)


def read(face: Face) -> dict[str, float]:
    measured = expression.measure(BLANK, face)
    assert measured.state == "ok"
    return {name: float(measured.values[name]) for name in expression._FEATURES}


@pytest.fixture
def face(face_at) -> Face:
    return face_at(100.0, (200.0, 200.0))


@pytest.mark.parametrize(
    ("feature", "step"),
    [
        ("expression_smile", {61: (-2.0, -2.0), 291: (2.0, -2.0)}),
        ("expression_mouth_open", {13: (0.0, -2.0), 14: (0.0, 2.0)}),
        ("expression_brow_raise", dict.fromkeys(expression._BROWS, (0.0, -2.0))),
        ("expression_eye_open", dict.fromkeys(UPPER_LID, (0.0, -1.0))),
    ],
)
def test_each_feature_grows_with_its_own_movement_and_hardly_with_another(
    face: Face, feature: str, step: dict[int, tuple[float, float]]
) -> None:
    values = [read(moved(face, {i: (k * dx, k * dy) for i, (dx, dy) in step.items()})) for k in (-1.0, 0.0, 1.0, 2.0)]
    series = [value[feature] for value in values]
    assert series == sorted(series)
    assert series[0] < series[-1]
    others = set(expression._FEATURES) - {feature}
    assert all(abs(values[-1][other] - values[1][other]) < 0.05 for other in others)


def test_size_and_place_do_not_matter(face_at, face: Face) -> None:
    expected = read(face)
    for other in (face_at(250.0, (500.0, 400.0)), face_at(40.0, (50.0, 60.0))):
        assert read(other) == pytest.approx(expected, rel=1e-9)


def test_a_mirrored_photograph_wears_the_same_expression(portraits: tuple[View, View]) -> None:
    one, other = (read(replace(view.faces[0], yaw_deg=0.0)) for view in portraits)
    assert one == pytest.approx(other, abs=0.04)  # the mesh is not exactly mirror-invariant
    assert one["expression_smile"] > 0.75  # she smiles broadly; portraits range from 0.53 to 0.87


def sample(rows: np.ndarray) -> Sample:
    return Sample({"expression": rows.astype(np.float32)}, np.full(len(rows), "g", dtype=object))


def test_spread_falls_with_the_variance_to_zero_for_one_face() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 4)) * (0.1, 0.07, 0.02, 0.03)
    full = expression.portrait_spread(sample(rows), sample(rows))
    assert full == pytest.approx(1.0, abs=0.3)
    assert expression.portrait_spread(sample(rows / 2), sample(rows)) == pytest.approx(full / 4, rel=1e-5)
    assert expression.portrait_spread(sample(np.repeat(rows[:1], 50, axis=0)), sample(rows)) == pytest.approx(0.0)
    assert math.isnan(expression.portrait_spread(sample(rows[:1]), sample(rows)))


def test_spread_stays_within_reason_where_a_feature_of_the_reference_hardly_varies() -> None:
    rows = np.random.default_rng(1).normal(size=(24, 4)) * (0.1, 0.0005, 0.02, 0.03)
    opened = rows.copy()
    opened[0, 1] += 0.1
    before, after = (expression.portrait_spread(sample(r), sample(rows)) for r in (rows, opened))
    assert after < 1.2 * before


def test_a_face_that_cannot_be_read_says_why(face_at) -> None:
    assert expression.measure(BLANK, face_at(20.0, (200.0, 200.0))).state == "too_small"
    assert expression.measure(BLANK, face_at(100.0, (200.0, 200.0), yaw_deg=40.0)).state == "pose"
    with pytest.raises(TypeError, match="reads a face"):
        expression.measure(BLANK, None)
