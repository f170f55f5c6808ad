"""Catchlights: planted ones are read where they are; what is none is not read."""

from __future__ import annotations

import csv
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from detectors import catchlight
from detectors.geometry import angle_difference_deg, srgb_to_linear
from detectors.limbus import refine
from detectors.trait import Eye, Face, Sample, View

TRAITS = {trait.name: trait for trait in catchlight.FAMILY.traits}


def statistic(name, **columns):
    n = len(next(iter(columns.values())))
    sample = Sample({key: np.asarray(value) for key, value in columns.items()}, np.full(n, "", dtype=object))
    return TRAITS[name].statistic(sample, sample)


@pytest.mark.parametrize("clock", [15.0, 100.0, 200.0, 300.0])
@pytest.mark.parametrize(("radius", "roll_deg"), [(10.0, 0.0), (20.0, 0.0), (20.0, 30.0)])
def test_a_planted_glint_is_read_where_it_is_roll_taken_out(draw_eyes, drawn_eye, clock, radius, roll_deg):
    u, v = 0.4 * math.sin(math.radians(clock)), -0.4 * math.cos(math.radians(clock))
    eye = drawn_eye(glints=((u, v, 0.15, 1.0),))
    view, face = draw_eyes(eye, eye, radius=radius, roll_deg=roll_deg)
    measured = catchlight.measure(view, face)
    assert measured.state == "ok"
    for read in measured.eyes:
        assert angle_difference_deg(read.values["catchlight_clock_deg"], clock) < 6
        assert read.values["catchlight_rho"] == pytest.approx(0.4, abs=0.05)
        assert read.values["catchlight_count"] == 1
    assert measured.values["catchlight_same_disparity"] < 0.06
    assert measured.values["catchlight_angle_difference_deg"] < 6


def test_an_iris_without_glint_is_a_measured_zero(draw_eyes, drawn_eye):
    pale, dark = drawn_eye(iris=(0.25, 0.3, 0.35)), drawn_eye(iris=(0.02, 0.01, 0.006))
    measured = catchlight.measure(*draw_eyes(pale, dark))
    assert [eye.state for eye in measured.eyes] == ["no_highlight", "no_highlight"]
    assert measured.state == "no_highlight"


def test_a_white_glint_shows_on_a_pale_iris(draw_eyes, drawn_eye):
    pale = drawn_eye(iris=(0.25, 0.3, 0.35), glints=((0.2, -0.3, 0.14, 1.0),))
    assert catchlight.measure(*draw_eyes(pale, pale)).state == "ok"


def test_a_spot_on_the_lower_lid_is_not_a_catchlight(draw_eyes, drawn_eye):
    tear = drawn_eye(glints=((0.1, 0.84, 0.06, 1.0),), bottom=0.9)
    assert catchlight.measure(*draw_eyes(tear, tear, radius=24.0)).state == "no_highlight"


def test_the_main_glint_is_the_one_with_most_light_and_all_are_counted(draw_eyes, drawn_eye):
    eye = drawn_eye(glints=((0.4, 0.0, 0.10, 0.9), (-0.4, 0.0, 0.17, 0.9)))
    read = catchlight.measure(*draw_eyes(eye, eye, radius=20.0)).eyes[0].values
    assert read["catchlight_count"] == 2
    assert read["catchlight_u"] == pytest.approx(-0.4, abs=0.05)


def test_size_and_contrast_grow_with_the_glint(draw_eyes, drawn_eye):
    small, large = drawn_eye(glints=((0.2, 0.2, 0.1, 0.6),)), drawn_eye(glints=((0.2, 0.2, 0.2, 1.0),))
    left, right = (eye.values for eye in catchlight.measure(*draw_eyes(small, large, radius=20.0)).eyes)
    for name in ("catchlight_radius", "catchlight_area_frac", "catchlight_contrast_stops", "catchlight_l"):
        assert left[name] < right[name]
    assert right["catchlight_radius"] == pytest.approx(0.2, abs=0.03)


def test_mirrored_glints_agree_mirrored_only(draw_eyes, drawn_eye):
    left, right = drawn_eye(glints=((0.4, -0.1, 0.15, 1.0),)), drawn_eye(glints=((-0.4, -0.1, 0.15, 1.0),))
    values = catchlight.measure(*draw_eyes(left, right, radius=24.0)).values
    assert values["catchlight_mirror_disparity"] < 0.05
    assert values["catchlight_same_disparity"] == pytest.approx(0.8, abs=0.06)
    assert values["catchlight_iou"] > 0.7  # blind to position
    assert values["catchlight_dolls_eye"] == 0


def test_central_equal_glints_make_dolls_eyes_without_a_clock(draw_eyes, drawn_eye):
    eye = drawn_eye(glints=((0.0, -0.03, 0.12, 1.0),))
    values = catchlight.measure(*draw_eyes(eye, eye, radius=16.0)).values
    assert values["catchlight_dolls_eye"] == 1
    assert math.isnan(values["catchlight_angle_difference_deg"])
    assert math.isnan(values["catchlight_iou"])  # below 3 px


def relit(view, face, change):
    """The same eyes in a changed picture, their irises found anew."""
    pixels = change(view.pixels)
    eyes = [
        Eye(eye.side, eye.lid_px, eye.mesh_iris_px, *refine(pixels, eye.mesh_iris_px, eye.lid_px)) for eye in face.eyes
    ]
    return View(pixels), replace(face, eyes=(eyes[0], eyes[1]))


def darkened(stops):
    def change(pixels):
        light = srgb_to_linear(pixels) * 2.0**-stops
        codes = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
        return np.round(255 * codes).astype(np.uint8)

    return change


def blurred(sigma_px):
    return lambda pixels: cv2.GaussianBlur(pixels, (0, 0), sigma_px)


@pytest.mark.parametrize("stops", [1, 2, 3])
def test_a_darker_picture_shows_the_same_catchlights(draw_eyes, drawn_eye, stops):
    glint, none = drawn_eye(glints=((0.3, -0.3, 0.15, 0.9),)), drawn_eye()
    bright, dark = (catchlight.measure(*relit(*draw_eyes(glint, none), darkened(by))).eyes for by in (0, stops))
    assert [eye.state for eye in dark] == [eye.state for eye in bright] == ["ok", "no_highlight"]
    for name, within in (("catchlight_u", 0.02), ("catchlight_v", 0.02), ("catchlight_contrast_stops", 0.5)):
        assert dark[0].values[name] == pytest.approx(bright[0].values[name], abs=within)


def test_night_is_not_the_absence_of_catchlights(draw_eyes, drawn_eye):
    glint, none = drawn_eye(glints=((0.3, -0.3, 0.15, 0.9),)), drawn_eye()
    measured = catchlight.measure(*relit(*draw_eyes(glint, none), darkened(5.5)))
    assert [eye.state for eye in measured.eyes] == ["too_dark", "too_dark"]


def test_blur_hides_catchlights_and_never_denies_them(draw_eyes, drawn_eye):
    """With growing blur the eye with a glint and the one without both become unknown, and at the same time."""
    glint, none = drawn_eye(glints=((0.3, -0.3, 0.15, 0.9),)), drawn_eye()
    eyes = draw_eyes(glint, none, radius=12.0)
    states = [
        [eye.state for eye in catchlight.measure(*relit(*eyes, blurred(sigma))).eyes] for sigma in (0.3, 0.7, 1.6, 2.2)
    ]
    assert states[0] == states[1] == ["ok", "no_highlight"]
    assert states[2] == states[3] == ["blurred", "blurred"]


def test_a_picture_enlarged_from_few_pixels_is_blurred(draw_eyes, drawn_eye):
    eye = drawn_eye(glints=((0.3, -0.3, 0.15, 0.9),))

    def enlarge(pixels):
        height, width = pixels.shape[:2]
        few = cv2.resize(pixels, (width // 5, height // 5), interpolation=cv2.INTER_AREA)
        return cv2.resize(few, (width, height), interpolation=cv2.INTER_CUBIC)

    states = {read.state for read in catchlight.measure(*relit(*draw_eyes(eye, eye), enlarge)).eyes}
    assert "ok" not in states
    assert "no_highlight" not in states


@pytest.mark.parametrize("sigma_px", [1.5, 2.5, 4.0])
def test_the_blur_of_an_edge_is_its_width(sigma_px):
    picture = np.zeros((60, 60, 3), dtype=np.uint8)
    picture[:, 30:] = 200
    sharp, soft = picture[:, 18:42], blurred(sigma_px)(picture)[:, 18:42]
    everywhere = np.ones(sharp.shape[:2], dtype=np.bool_)
    assert catchlight.blur_px(sharp, everywhere) < 0.5  # of a pixel: the grid itself
    assert catchlight.blur_px(soft, everywhere) == pytest.approx(sigma_px, rel=0.15)


def test_a_flat_picture_has_no_edge_to_be_sharp():
    assert catchlight.blur_px(np.full((20, 20, 3), 90, np.uint8), np.ones((20, 20), np.bool_)) == math.inf


def test_a_turned_head_is_not_read(draw_eyes, drawn_eye):
    eye = drawn_eye(glints=((0.3, 0.0, 0.15, 1.0),))
    assert catchlight.measure(*draw_eyes(eye, eye, yaw_deg=60.0)).state == "pose"


def test_an_iris_washed_out_is_saturated(draw_eyes, drawn_eye):
    view, face = draw_eyes(drawn_eye(), drawn_eye())
    assert catchlight.measure(View(np.full_like(view.pixels, 255)), face).state == "saturated"


def test_only_faces_are_measured(draw_eyes, drawn_eye):
    view, _ = draw_eyes(drawn_eye(), drawn_eye())
    with pytest.raises(TypeError, match="face"):
        catchlight.measure(view, None)


def test_gini_has_its_extremes():
    assert catchlight.gini(np.ones(9)) == pytest.approx(0)
    assert catchlight.gini(np.array([0.0, 0.0, 0.0, 1.0])) == pytest.approx(1)
    assert catchlight.gini(np.array([1.0, 2.0, 3.0])) == pytest.approx(1 / 3)


def test_overlap_is_one_for_equal_shapes_anywhere_and_a_ratio_for_nested_ones():
    first, second = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    first[2:6, 2:6], second[12:16, 9:13] = True, True
    assert catchlight.best_overlap(first, second) == 1
    second[12:16, 9:17] = True
    assert catchlight.best_overlap(first, second) == pytest.approx(0.5)


def test_presence_counts_zeros_but_not_failures():
    states = np.array(["ok", "ok", "no_highlight", "ok"], dtype=object)
    assert statistic("catchlight_presence", catchlight_state=states) == 0.75
    assert TRAITS["catchlight_presence"].measured_states == ("ok", "no_highlight")


def test_spreads_vanish_for_one_place_and_grow_with_scatter():
    rng = np.random.default_rng(3)
    same = statistic("catchlight_position_spread", catchlight_u=np.full(9, 0.2), catchlight_v=np.full(9, -0.1))
    assert same == pytest.approx(0)
    u, v = rng.normal(0, 0.3, (2, 4000))
    assert statistic("catchlight_position_spread", catchlight_u=u, catchlight_v=v) == pytest.approx(0.18, rel=0.1)
    rho = np.full(8, 0.5)
    assert statistic("catchlight_clock_spread", catchlight_clock_deg=np.full(8, 359.0), catchlight_rho=rho) < 1e-9
    around = np.arange(8) * 45.0
    assert statistic("catchlight_clock_spread", catchlight_clock_deg=around, catchlight_rho=rho) == pytest.approx(1)


def test_central_glints_have_no_say_in_the_clock_spread():
    clock, rho = np.array([10.0, 10.0, 10.0, 190.0]), np.array([0.5, 0.5, 0.5, 0.02])
    assert statistic("catchlight_clock_spread", catchlight_clock_deg=clock, catchlight_rho=rho) < 1e-9


def test_modal_shares_reach_one_when_all_are_alike():
    cells = np.array([catchlight.position_cell(0.21, -0.2), catchlight.position_cell(0.19, -0.22)], dtype=object)
    assert statistic("catchlight_modal_cell_share", catchlight_cell=cells) == 1
    lab = {"catchlight_l": [95.0, 94.0, 60.0, 30.0], "catchlight_a": [0.0] * 4, "catchlight_b": [1.0, -1.0, 0.0, 0.0]}
    assert statistic("catchlight_modal_colour_share", **lab) in (0.25, 0.5)


def test_readings_that_may_be_missing_are_left_out_of_their_trait():
    angles = np.array([10.0, math.nan, 20.0, 30.0])
    assert statistic("catchlight_angle_difference", catchlight_angle_difference_deg=angles) == 20
    assert math.isnan(statistic("catchlight_angle_difference", catchlight_angle_difference_deg=angles[:2]))


@pytest.mark.validation
def test_photographs_agree_with_the_readings_by_eye_and_hand(validation_data):
    """Every fourth portrait: presence by eye, and offsets against circles and glints read by hand."""
    from skimage import io

    from detectors.vision import Vision

    folder = validation_data / "faces" / "celebahq_1024"
    labels = list(csv.DictReader((folder / "catchlights_by_eye.tsv").open(encoding="utf-8"), delimiter="\t"))[::4]
    hand = list(csv.DictReader((folder / "catchlights_read.tsv").open(encoding="utf-8"), delimiter="\t"))
    agree, offsets = [], []
    with Vision() as vision:
        for label in labels:
            view = vision.look(io.imread(folder / label["file"]))
            face: Face = view.faces[0]
            measured = catchlight.measure(view, face)
            for eye, read in zip(face.eyes, measured.eyes, strict=True):
                seen = label[f"{eye.side}_eye"]
                if seen in "01" and read.state in ("ok", "no_highlight"):
                    agree.append((read.state == "ok") == (seen == "1"))
                rows = [r for r in hand if (r["file"], r["eye"], r["flag"]) == (label["file"], eye.side, "ok")]
                for row in (r for r in rows if r["ambiguous_main"] == "0" and read.state == "ok"):
                    iris = np.array([float(row["iris_x"]), float(row["iris_y"])])
                    spot = (np.array([float(row["catch_x"]), float(row["catch_y"])]) - iris) / float(row["iris_r"])
                    roll = math.radians(face.roll_deg)
                    u, v = read.values["catchlight_u"], read.values["catchlight_v"]
                    found = np.array([u * math.cos(roll) - v * math.sin(roll), u * math.sin(roll) + v * math.cos(roll)])
                    offsets.append(float(np.linalg.norm(found - spot)))
    assert len(agree) >= 15
    assert np.mean(agree) >= 0.95
    assert len(offsets) >= 5
    assert np.median(offsets) <= 0.08
