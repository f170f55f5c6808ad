from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from detectors import face_shape
from detectors.geometry import frontal_landmarks, rotate, unit_shape
from detectors.trait import Face, View

BLANK = View(np.zeros((8, 8, 3), np.uint8))
NUMBERS = ("face_cheekbone_jaw_ratio", "face_width_height_ratio", "face_eye_spacing", "face_asymmetry")


def numbers(face: Face) -> np.ndarray:
    measured = face_shape.measure(BLANK, face)
    assert measured.state == "ok"
    return np.array([measured.values[name] for name in NUMBERS], dtype=float)


def turned(face: Face, yaw_deg: float, roll_deg: float = 0.0, scale: float = 1.0) -> Face:
    """Turn the head in space, then in the image; grow it; move it."""
    c, s = math.cos(math.radians(yaw_deg)), math.sin(math.radians(yaw_deg))
    points = face.landmarks_px @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    points[:, :2] = rotate(points[:, :2], roll_deg)
    return replace(face, landmarks_px=scale * points + (40.0, -7.0, 3.0))


def test_moving_growing_and_turning_a_rigid_head_changes_nothing(face_at) -> None:
    face = face_at(100.0, (200.0, 200.0))
    expected = numbers(face)
    for yaw, roll, scale in ((0, 0, 3.0), (12, 0, 1.0), (-12, 20, 0.5)):
        np.testing.assert_allclose(numbers(turned(face, yaw, roll, scale)), expected, rtol=1e-6)


def test_a_wider_jaw_lowers_the_cheekbone_ratio_and_a_longer_chin_the_width_ratio(face_at) -> None:
    face = face_at(100.0, (200.0, 200.0))
    wide, long = face.landmarks_px.copy(), face.landmarks_px.copy()
    wide[172, 0] -= 5
    wide[397, 0] += 5
    long[152, 1] += 10
    assert numbers(replace(face, landmarks_px=wide))[0] < numbers(face)[0]
    assert numbers(replace(face, landmarks_px=long))[1] < numbers(face)[1]


def test_a_symmetric_shape_has_no_asymmetry_and_a_pushed_cheek_has() -> None:
    rng = np.random.default_rng(0)
    half, middle = rng.normal(size=(len(face_shape._PAIRS), 2)), rng.normal(size=len(face_shape._MIDLINE))
    axis = np.stack([np.zeros_like(middle), middle], axis=1)
    shape = np.concatenate([half, half * (-1, 1), axis])
    assert face_shape.asymmetry(unit_shape(rotate(shape, 25.0))) == pytest.approx(0.0, abs=1e-9)
    values = []
    for push in (0.1, 0.2, 0.4):
        pushed = shape.copy()
        pushed[0, 0] += push
        values.append(face_shape.asymmetry(unit_shape(pushed)))
    assert 0 < values[0] < values[1] < values[2]


def test_a_mirrored_photograph_reads_nearly_the_same(portraits: tuple[View, View]) -> None:
    one, other = (numbers(replace(view.faces[0], yaw_deg=0.0)) for view in portraits)
    # The mesh is not exactly mirror-invariant: sd of a flip on portraits is 0.012, 0.011, 0.005, 0.003.
    assert np.abs(one - other) == pytest.approx(np.zeros(4), abs=0.05)
    np.testing.assert_allclose(one[:3], other[:3], rtol=0.04)


def test_variance_of_shapes_in_closed_form() -> None:
    rng = np.random.default_rng(1)
    shape = rng.normal(size=(20, 2))
    posed = [scale * rotate(shape, angle) + (3, -8) for scale, angle in ((1, 0), (2, 70), (0.3, 200), (9, 10))]
    assert face_shape.shape_variance(np.array([p.ravel() for p in posed])) == pytest.approx(0.0, abs=1e-12)
    # Two shapes: the mean splits their angle, so each lies at sin^2 of half of it.
    a, b = unit_shape(shape), unit_shape(shape + 0.3 * rng.normal(size=shape.shape))
    za, zb = (p[:, 0] + 1j * p[:, 1] for p in (a, b))
    angle = math.acos(abs(np.vdot(za, zb)) / (np.linalg.norm(za) * np.linalg.norm(zb)))
    expected = 2 * math.sin(angle / 2) ** 2
    assert face_shape.shape_variance(np.array([a.ravel(), b.ravel()])) == pytest.approx(expected, rel=1e-9)
    assert math.isnan(face_shape.shape_variance(a.reshape(1, -1)))


def test_variance_grows_with_variety_and_does_not_grow_with_the_sample() -> None:
    rng = np.random.default_rng(2)
    mean = rng.normal(size=(86, 2))

    def draw(n: int, spread: float) -> float:
        return face_shape.shape_variance((mean + spread * rng.normal(size=(n, 86, 2))).reshape(n, -1))

    assert draw(60, 0.02) < draw(60, 0.05) < draw(60, 0.2)
    assert draw(20, 0.05) == pytest.approx(draw(400, 0.05), rel=0.15)  # both sides of the switch of Gram matrices


def test_a_face_that_cannot_be_read_says_why(face_at) -> None:
    centre = (200.0, 200.0)
    assert face_shape.measure(BLANK, face_at(20.0, centre)).state == "too_small"
    assert face_shape.measure(BLANK, face_at(100.0, centre, yaw_deg=-25.0)).state == "pose"
    assert face_shape.measure(BLANK, face_at(100.0, centre, state="unreadable")).state == "unreadable"
    with pytest.raises(TypeError, match="reads a face"):
        face_shape.measure(BLANK, None)


def test_frontal_landmarks_undo_a_similarity(face_at) -> None:
    face = face_at(100.0, (200.0, 200.0))
    frontal = frontal_landmarks(face.landmarks_px)
    np.testing.assert_allclose(frontal_landmarks(turned(face, 30, 15, 2.0).landmarks_px), frontal, atol=1e-9)
    left, right = frontal[33], frontal[263]
    assert left[0] < 0 < right[0]
    assert right[0] - left[0] == pytest.approx(1.0, abs=0.1)  # the unit is the mean face's outer canthal distance
    assert frontal[10, 1] < frontal[152, 1]
    assert frontal[1, 2] < frontal[234, 2]  # the nose is nearer than the ears
