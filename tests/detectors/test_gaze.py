"""Gaze: the iris's place between the corners of the eye."""

from __future__ import annotations

import numpy as np
import pytest

from detectors import gaze
from detectors.trait import Sample

TRAITS = {trait.name: trait for trait in gaze.FAMILY.traits}
EYE_WIDTH = 4.4  # iris radii, as drawn


@pytest.mark.parametrize("roll_deg", [0.0, 20.0])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.4, 0.0), (-0.3, 0.1)])
def test_the_offset_is_the_drawn_one(draw_eyes, drawn_eye, shift, roll_deg):
    eye = drawn_eye(gaze=shift)
    measured = gaze.measure(*draw_eyes(eye, eye, roll_deg=roll_deg))
    assert measured.values["gaze_mean_x"] == pytest.approx(shift[0] / EYE_WIDTH, abs=0.01)
    assert measured.values["gaze_mean_y"] == pytest.approx(shift[1] / EYE_WIDTH, abs=0.015)
    assert measured.values["gaze_vergence"] == pytest.approx(0, abs=0.015)


def test_eyes_turned_toward_one_another_verge(draw_eyes, drawn_eye):
    inward = gaze.measure(*draw_eyes(drawn_eye(gaze=(0.3, 0)), drawn_eye(gaze=(-0.3, 0)))).values
    outward = gaze.measure(*draw_eyes(drawn_eye(gaze=(-0.3, 0)), drawn_eye(gaze=(0.3, 0)))).values
    assert inward["gaze_vergence"] > 0.1
    assert outward["gaze_vergence"] < -0.1


def test_one_eye_higher_than_the_other_shows(draw_eyes, drawn_eye):
    values = gaze.measure(*draw_eyes(drawn_eye(gaze=(0, 0.15)), drawn_eye(gaze=(0, -0.1)))).values
    assert values["gaze_vertical_difference"] > 0.03


def test_a_turned_head_is_not_read(draw_eyes, drawn_eye):
    assert gaze.measure(*draw_eyes(drawn_eye(), drawn_eye(), yaw_deg=30.0)).state == "pose"


def test_spread_vanishes_when_all_look_one_way():
    sample = Sample({"gaze_mean_x": np.full(5, 0.1), "gaze_mean_y": np.zeros(5)}, np.full(5, "", dtype=object))
    assert TRAITS["gaze_spread"].statistic(sample, sample) == pytest.approx(0)


def test_only_faces_are_measured(draw_eyes, drawn_eye):
    view, _ = draw_eyes(drawn_eye(), drawn_eye())
    with pytest.raises(TypeError, match="face"):
        gaze.measure(view, None)
