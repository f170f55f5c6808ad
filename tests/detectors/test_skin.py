from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.color import lab2rgb

from detectors import skin
from detectors.trait import Face, Pixels, Sample, View

CENTRE = (200.0, 170.0)


def painted(*lab: float) -> Pixels:
    """A picture of one CIELAB colour, by an implementation other than the one under test."""
    rgb = lab2rgb(np.array(lab, dtype=float).reshape(1, 1, 3))
    return np.tile(np.rint(255 * rgb).astype(np.uint8), (400, 400, 1))


@pytest.fixture
def face(face_at) -> Face:
    return face_at(120.0, CENTRE)


@pytest.mark.parametrize("lab", [(72.0, 14.0, 20.0), (40.0, 12.0, 18.0), (85.0, 5.0, 12.0)])
def test_a_painted_skin_reads_its_own_colour(face: Face, lab: tuple[float, float, float]) -> None:
    values = skin.measure(View(painted(*lab)), face).values
    lightness, a, b = lab
    assert values["skin_l"] == pytest.approx(lightness, abs=0.4)  # 8-bit rounding
    assert values["skin_chroma"] == pytest.approx(math.hypot(a, b), abs=0.7)
    assert values["skin_hue_deg"] == pytest.approx(math.degrees(math.atan2(b, a)), abs=2.0)
    assert values["skin_ita_deg"] == pytest.approx(math.degrees(math.atan((lightness - 50) / b)), abs=1.5)


def test_grey_skin_is_measured_and_has_next_to_no_chroma(face: Face) -> None:
    values = skin.measure(View(np.full((400, 400, 3), 120, np.uint8)), face).values
    assert values["skin_chroma"] < 0.1
    assert values["skin_l"] == pytest.approx(50.4, abs=0.5)


def test_glints_and_a_fringe_do_not_colour_the_skin(face: Face) -> None:
    plain = painted(70.0, 14.0, 20.0)
    expected = skin.measure(View(plain), face).values
    disturbed = plain.copy()
    disturbed[: int(CENTRE[1]), ::3] = (30, 20, 15)  # strands over the forehead
    disturbed[::5, ::5] = (250, 245, 240)  # glints everywhere
    values = skin.measure(View(disturbed), face).values
    for name in ("skin_l", "skin_hue_deg", "skin_ita_deg"):
        assert values[name] == pytest.approx(expected[name], abs=0.5)


def test_typology_angle_orders_skins_and_passes_through_grey_without_a_jump() -> None:
    angles = [skin.individual_typology_deg(lightness, 18.0) for lightness in (30, 45, 60, 75, 90)]
    assert angles == sorted(angles)
    assert skin.individual_typology_deg(68.0, 18.0) == pytest.approx(45.0)
    assert skin.individual_typology_deg(70.0, 1e-9) == pytest.approx(skin.individual_typology_deg(70.0, -1e-9))


def test_a_mirrored_photograph_has_the_same_skin(portraits: tuple[View, View]) -> None:
    one, other = (skin.measure(view, view.faces[0]).values for view in portraits)
    assert one["skin_l"] == pytest.approx(other["skin_l"], abs=1.0)
    assert one["skin_hue_deg"] == pytest.approx(other["skin_hue_deg"], abs=2.0)


def hues(values: list[float], chroma: float = 20.0) -> Sample:
    n = len(values)
    columns = {"skin_hue_deg": np.array(values), "skin_chroma": np.full(n, chroma)}
    return Sample(columns, np.full(n, "g", dtype=object))


def test_spread_of_hue_is_circular_small_angle_exact_and_zero_when_all_are_alike() -> None:
    assert skin.hue_spread_deg(hues([50.0] * 9), hues([])) == pytest.approx(0.0, abs=1e-5)
    across = skin.hue_spread_deg(hues([178.0, -178.0] * 5), hues([]))
    assert across == pytest.approx(skin.hue_spread_deg(hues([48.0, 52.0] * 5), hues([])))
    assert across == pytest.approx(2.0, rel=1e-3)
    assert math.isnan(skin.hue_spread_deg(hues([50.0, 60.0], chroma=1.0), hues([])))


def test_a_face_that_cannot_be_read_says_why(face_at) -> None:
    view = View(painted(70.0, 14.0, 20.0))
    assert skin.measure(view, face_at(15.0, CENTRE)).state == "too_small"
    assert skin.measure(view, face_at(120.0, CENTRE, yaw_deg=45.0)).state == "pose"
    assert skin.measure(View(np.full((400, 400, 3), 255, np.uint8)), face_at(120.0, CENTRE)).state == "saturated"
    assert skin.measure(View(np.zeros((400, 400, 3), np.uint8)), face_at(120.0, CENTRE)).state == "too_dark"
    with pytest.raises(TypeError, match="reads a face"):
        skin.measure(view, None)
