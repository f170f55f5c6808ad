from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest

from detectors import skin_texture
from detectors.trait import Face, Pixels, View

SIZE = 480
CENTRE = (240.0, 200.0)
CANTHAL_PX = 160.0


@pytest.fixture
def face(face_at) -> Face:
    return face_at(CANTHAL_PX, CENTRE)


def drawn(face: Face, grain: float) -> Pixels:
    """Skin with pores of the band's own size, and eyes drawn with dark rims."""
    rng = np.random.default_rng(3)
    pores = cv2.GaussianBlur(rng.normal(0, 1, (SIZE, SIZE)), (0, 0), skin_texture.BAND * CANTHAL_PX)
    picture = np.array([190.0, 150.0, 130.0]) + grain * (pores / pores.std())[..., None]
    for eye in face.eyes:
        for turn in range(16):
            a, b = eye.lid_px[turn], eye.lid_px[(turn + 1) % 16]
            cv2.line(picture, *(tuple(int(v) for v in p) for p in (a, b)), (40, 30, 25), 3, cv2.LINE_AA)
    return np.clip(picture, 0, 255).astype(np.uint8)


def read(pixels: Pixels, face: Face) -> tuple[float, float]:
    measured = skin_texture.measure(View(pixels), face)
    assert measured.state == "ok"
    return float(measured.values["skin_texture"]), float(measured.values["skin_texture_ratio"])


def blurred(pixels: Pixels, sigma: float) -> Pixels:
    return cv2.GaussianBlur(pixels, (0, 0), sigma)


def test_texture_grows_in_proportion_to_the_pores(face: Face) -> None:
    values = [read(drawn(face, grain), face)[0] for grain in (2.0, 4.0, 8.0, 16.0)]
    assert values == sorted(values)
    assert values[3] / values[2] == pytest.approx(2.0, rel=0.1)
    assert read(drawn(face, 0.0), face)[0] == pytest.approx(0.0, abs=0.02)


def test_growing_blur_lowers_texture_at_every_step(face: Face) -> None:
    picture = drawn(face, 10.0)
    values = [read(picture, face)[0], *(read(blurred(picture, sigma), face)[0] for sigma in (0.6, 1.0, 1.5, 2.5, 4.0))]
    assert all(before > after for before, after in pairwise(values))


def test_blur_of_the_whole_image_moves_the_ratio_far_less_than_smoothing_of_the_skin(face: Face) -> None:
    picture = drawn(face, 10.0)
    soft = blurred(picture, 1.2)
    skin_only = soft.copy()
    top = int(max(eye.lid_px[:, 1].max() for eye in face.eyes)) + 12
    skin_only[:top] = picture[:top]
    texture, ratio = read(picture, face)
    assert read(soft, face)[0] < 0.65 * texture
    assert read(skin_only, face)[0] == pytest.approx(read(soft, face)[0], rel=0.05)
    change_all, change_skin = (abs(np.log2(read(p, face)[1] / ratio)) for p in (soft, skin_only))
    assert change_all < 0.5 * change_skin


def test_a_larger_copy_of_the_same_face_reads_nearly_the_same(face: Face) -> None:
    picture = drawn(face, 10.0)
    twice = cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    eyes = tuple(
        replace(eye, lid_px=2 * eye.lid_px + 0.5, mesh_iris_px=2 * eye.mesh_iris_px + 0.5) for eye in face.eyes
    )
    larger = replace(face, landmarks_px=2 * face.landmarks_px + (0.5, 0.5, 0.0), eyes=eyes)
    assert read(twice, larger)[0] == pytest.approx(read(picture, face)[0], rel=0.1)


def test_what_lies_outside_the_mask_does_not_leak_in() -> None:
    lightness = np.full((60, 60), 50.0, np.float32)
    mask = np.zeros((60, 60), dtype=bool)
    mask[20:40, 20:40] = True
    lightness[~mask] = 5.0
    assert np.abs(skin_texture.band_pass(lightness, mask, 1.5)[mask]).max() < 1e-3


def test_a_face_that_cannot_be_read_says_why(face_at, face: Face) -> None:
    view = View(drawn(face, 5.0))
    assert skin_texture.measure(view, face_at(60.0, CENTRE)).state == "too_small"
    assert skin_texture.measure(view, face_at(CANTHAL_PX, CENTRE, yaw_deg=30.0)).state == "pose"
    blank = View(np.full((SIZE, SIZE, 3), (190, 150, 130), np.uint8))
    assert skin_texture.measure(blank, face).state == "no_edges"
    with pytest.raises(TypeError, match="reads a face"):
        skin_texture.measure(view, None)
