from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from detectors import lighting
from detectors.geometry import luminance
from detectors.trait import Face, Pixels, View

SIZE = 400
CENTRE = (200.0, 170.0)


def split(left: tuple[int, int, int], right: tuple[int, int, int]) -> Pixels:
    """Skin of one colour on the image's left, another on its right."""
    pixels = np.empty((SIZE, SIZE, 3), np.uint8)
    pixels[:, : SIZE // 2] = left
    pixels[:, SIZE // 2 :] = right
    return pixels


def read(pixels: Pixels, face: Face) -> dict[str, Any]:
    measured = lighting.measure(View(pixels), face)
    assert measured.state == "ok"
    return dict(measured.values)


@pytest.fixture
def face(face_at) -> Face:
    return face_at(120.0, CENTRE)


@pytest.mark.parametrize("codes", [((200, 160, 140), (200, 160, 140)), ((200, 160, 140), (120, 96, 84))])
def test_the_ratio_is_the_exact_number_of_stops_and_flips_its_sign_in_a_mirror(face: Face, codes: Any) -> None:
    left, right = (float(luminance(np.array(code, np.uint8))) for code in codes)
    expected = np.log2(left / right)
    assert read(split(*codes), face)["lighting_ratio_stops"] == pytest.approx(expected, abs=1e-9)
    assert read(split(*codes[::-1]), face)["lighting_ratio_stops"] == pytest.approx(-expected, abs=1e-9)
    assert read(split(*codes[::-1]), face)["lighting_unevenness_stops"] == pytest.approx(abs(expected), abs=1e-9)


def test_stops_are_linear_light_not_code_values(face: Face) -> None:
    """Halving the light, coded to sRGB, is one stop; halving the code is more than two."""
    full = np.array([0.5, 0.4, 0.35])
    codes = [tuple(np.rint(255 * (1.055 * light ** (1 / 2.4) - 0.055)).astype(int)) for light in (full, full / 2)]
    assert read(split(*codes), face)["lighting_ratio_stops"] == pytest.approx(1.0, abs=0.02)  # 8-bit rounding


def test_brightness_of_the_whole_picture_does_not_matter(face: Face) -> None:
    one = read(split((200, 160, 140), (150, 120, 105)), face)["lighting_ratio_stops"]
    lower = read(split((100, 80, 70), (75, 60, 52)), face)["lighting_ratio_stops"]
    assert lower == pytest.approx(one, abs=0.1)  # the toe of the sRGB curve


def test_mirroring_a_photograph_flips_the_light(portraits: tuple[View, View]) -> None:
    one, other = (lighting.measure(view, view.faces[0]) for view in portraits)
    assert one.state == other.state == "ok"
    assert one.values["lighting_ratio_stops"] == pytest.approx(-other.values["lighting_ratio_stops"], abs=0.06)
    assert abs(one.values["lighting_ratio_stops"]) > 0.12  # so that the sign means something
    assert one.values["lighting_uniformity"] == pytest.approx(other.values["lighting_uniformity"], abs=0.06)


def test_histogram_intersection_at_its_ends_and_between() -> None:
    dark, light = np.full(50, 40, np.uint8), np.full(80, 200, np.uint8)
    assert lighting.histogram_intersection(dark, dark[:7]) == pytest.approx(1.0)
    assert lighting.histogram_intersection(dark, light) == 0.0
    half = np.concatenate([dark, np.full(50, 200, np.uint8)])
    assert lighting.histogram_intersection(dark, half) == pytest.approx(0.5)


def test_uniformity_falls_as_one_side_darkens(face: Face) -> None:
    rng = np.random.default_rng(0)
    grain = rng.normal(0, 10, (SIZE, SIZE, 1))
    values = []
    for drop in (0, 15, 30, 60):
        pixels = np.clip(split((180, 150, 130), (180 - drop, 150 - drop, 130 - drop)) + grain, 0, 255)
        values.append(read(pixels.astype(np.uint8), face)["lighting_uniformity"])
    assert values[0] > 0.85
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.1


@pytest.mark.parametrize(
    ("state", "left", "right"),
    [
        ("saturated", (255, 255, 250), (200, 160, 140)),
        ("too_dark", (200, 160, 140), (3, 2, 2)),
        ("occluded", (200, 160, 140), (90, 160, 120)),
    ],
)
def test_cheeks_that_cannot_be_compared_say_why(face: Face, state: str, left: Any, right: Any) -> None:
    assert lighting.measure(View(split(left, right)), face).state == state


def test_hair_across_a_cheek_is_seen(face: Face) -> None:
    pixels = split((200, 160, 140), (200, 160, 140))
    pixels[::2, : SIZE // 2] = (20, 16, 14)
    assert lighting.measure(View(pixels), face).state == "occluded"


def test_gates_of_the_face(face_at) -> None:
    view = View(split((200, 160, 140), (200, 160, 140)))
    assert lighting.measure(view, face_at(15.0, CENTRE)).state == "too_small"
    assert lighting.measure(view, face_at(120.0, CENTRE, yaw_deg=30.0)).state == "pose"
    assert lighting.measure(view, face_at(120.0, (-60.0, 170.0))).state == "out_of_frame"
    assert lighting.measure(view, face_at(120.0, CENTRE, state="unreadable")).state == "unreadable"
    with pytest.raises(TypeError, match="reads a face"):
        lighting.measure(view, None)
