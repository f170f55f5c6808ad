from __future__ import annotations

import numpy as np
import pytest

from detectors import lighting_vertical
from detectors.geometry import luminance
from detectors.trait import Pixels, View

CENTRE = (200.0, 170.0)
SKIN, SHADE = (200, 160, 140), (120, 96, 84)


def split(top: tuple[int, int, int], bottom: tuple[int, int, int]) -> Pixels:
    pixels = np.empty((400, 400, 3), np.uint8)
    pixels[: int(CENTRE[1])] = top
    pixels[int(CENTRE[1]) :] = bottom
    return pixels


def test_light_from_above_and_below_in_exact_stops(face_at) -> None:
    face = face_at(120.0, CENTRE)
    bright, dark = (float(luminance(np.array(code, np.uint8))) for code in (SKIN, SHADE))
    stops = np.log2(bright / dark)
    for top, bottom, expected in ((SKIN, SHADE, stops), (SHADE, SKIN, -stops), (SKIN, SKIN, 0.0)):
        measured = lighting_vertical.measure(View(split(top, bottom)), face)
        assert measured.values["lighting_vertical_stops"] == pytest.approx(expected, abs=1e-9)


def test_a_mirror_does_not_turn_the_light_upside_down(portraits: tuple[View, View]) -> None:
    one, other = (lighting_vertical.measure(view, view.faces[0]) for view in portraits)
    assert one.state == other.state
    assert one.values.get("lighting_vertical_stops", 0.0) == pytest.approx(
        other.values.get("lighting_vertical_stops", 0.0), abs=0.06
    )


def test_a_fringe_and_a_cut_forehead_are_said(face_at) -> None:
    face = face_at(120.0, CENTRE)
    fringe = split(SKIN, SKIN)
    fringe[: int(CENTRE[1]), ::2] = (20, 16, 14)
    assert lighting_vertical.measure(View(fringe), face).state == "occluded"
    assert lighting_vertical.measure(View(split(SKIN, SKIN)), face_at(120.0, (200.0, 40.0))).state == "out_of_frame"
    with pytest.raises(TypeError, match="reads a face"):
        lighting_vertical.measure(View(fringe), None)
