"""The iris: place, size, colour, and the difference between two."""

from __future__ import annotations

import numpy as np
import pytest

from detectors import iris
from detectors.geometry import lab
from detectors.trait import Sample

TRAITS = {trait.name: trait for trait in iris.FAMILY.traits}


def srgb_of(linear):
    linear = np.array(linear)
    codes = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(codes).astype(np.uint8)


def test_place_size_and_colour_are_the_drawn_ones(draw_eyes, drawn_eye):
    colour = (0.16, 0.09, 0.04)
    eye = drawn_eye(iris=colour, glints=((0.3, 0.3, 0.15, 1.0),), top=1.0)
    view, face = draw_eyes(eye, eye, radius=24.0)
    read = iris.measure(view, face).eyes[0].values
    assert read["iris_radius_px"] == pytest.approx(24.0, rel=0.04)
    assert read["iris_x_px"] == pytest.approx(view.pixels.shape[1] / 2 + 0.3 - 72.0, abs=0.7)
    measured = np.array([read["iris_l"], read["iris_a"], read["iris_b"]])
    assert np.linalg.norm(measured - lab(srgb_of(colour)[None, None])[0, 0]) < 4  # the lid's shadow reaches in


def test_equal_irises_do_not_differ_and_unlike_ones_do(draw_eyes, drawn_eye):
    brown, blue = drawn_eye(iris=(0.12, 0.06, 0.03)), drawn_eye(iris=(0.12, 0.18, 0.26))
    alike = iris.measure(*draw_eyes(brown, brown)).values["iris_colour_difference"]
    unlike = iris.measure(*draw_eyes(brown, blue)).values["iris_colour_difference"]
    assert alike < 2
    assert unlike > 20


def test_a_glint_does_not_tint_the_iris(draw_eyes, drawn_eye):
    plain, glinting = drawn_eye(), drawn_eye(glints=((0.6, 0.2, 0.15, 1.0),))
    assert iris.measure(*draw_eyes(plain, glinting, radius=20.0)).values["iris_colour_difference"] < 2


def test_narrower_lids_show_less_of_the_iris(draw_eyes, drawn_eye):
    wide, narrow = drawn_eye(top=1.0, bottom=1.0), drawn_eye(top=0.55, bottom=0.7)
    left, right = iris.measure(*draw_eyes(wide, narrow)).eyes
    assert left.values["iris_visible_frac"] > right.values["iris_visible_frac"] + 0.1


def test_contrast_falls_as_the_sclera_darkens(draw_eyes, drawn_eye):
    bright, dim = drawn_eye(sclera=0.7), drawn_eye(sclera=0.35)
    left, right = iris.measure(*draw_eyes(bright, dim)).eyes
    difference = left.values["iris_contrast_stops"] - right.values["iris_contrast_stops"]
    assert difference == pytest.approx(1.0, abs=0.25)


def test_an_eye_without_limbus_keeps_its_state(draw_eyes, drawn_eye):
    measured = iris.measure(*draw_eyes(drawn_eye(top=0.1, bottom=0.12), drawn_eye()))
    assert measured.eyes[0].state == "eye_closed"
    assert measured.eyes[1].state == "ok"
    assert measured.state == "eye_closed"


def test_colour_spread_is_the_root_of_the_total_variance():
    columns = {"iris_l": np.array([10.0, 30.0]), "iris_a": np.array([0.0, 0.0]), "iris_b": np.array([5.0, 5.0])}
    sample = Sample(columns, np.array(["", ""], dtype=object))
    assert TRAITS["iris_colour_spread"].statistic(sample, sample) == pytest.approx(np.sqrt(200.0))
    assert np.isnan(TRAITS["iris_colour_spread"].statistic(sample.take(np.array([0])), sample))


def test_only_faces_are_measured(draw_eyes, drawn_eye):
    view, _ = draw_eyes(drawn_eye(), drawn_eye())
    with pytest.raises(TypeError, match="face"):
        iris.measure(view, None)
