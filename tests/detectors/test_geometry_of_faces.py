"""What geometry knows about faces: masks, shapes, patches of skin."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from detectors.geometry import (
    lab,
    patch_state,
    polygon_depth_px,
    polygon_mask,
    quantile,
    robust_deviation,
    rotate,
    rotation_onto,
    skin_patches,
    unit_shape,
)
from detectors.trait import Pixels, View


def test_a_mask_holds_the_pixel_centres_of_its_polygon() -> None:
    square = np.array([(1.5, 0.5), (4.5, 0.5), (4.5, 2.5), (1.5, 2.5)])
    mask = polygon_mask(square, 6, 8)
    assert mask.sum() == 6
    assert mask[1:3, 2:5].all()
    shifted = polygon_mask(square + np.array([0.2, 0.3]), 6, 8)
    assert shifted.sum() == 6


def test_the_area_of_a_mask_tends_to_that_of_the_polygon_at_any_turn() -> None:
    shape = np.array([(-30, -10), (25, -20), (30, 22), (0, 8), (-20, 25)], dtype=float)
    for degrees in (0.0, 13.0, 90.0, 211.0):
        polygon = rotate(shape, degrees) + np.array([50.3, 49.6])
        assert polygon_mask(polygon, 100, 100).sum() == pytest.approx(
            cv2.contourArea(polygon.astype(np.float32)), rel=0.02
        )


def test_a_polygon_that_leaves_the_image_is_cut_off() -> None:
    square = np.array([(-5.5, -5.5), (2.5, -5.5), (2.5, 1.5), (-5.5, 1.5)])
    assert polygon_mask(square, 10, 10).sum() == 6
    assert not polygon_mask(square - 50, 10, 10).any()
    assert not polygon_mask(square + 50, 10, 10).any()


def test_the_best_rotation_is_found_and_is_never_a_reflection() -> None:
    rng = np.random.default_rng(0)
    for dimensions in (2, 3):
        target = unit_shape(rng.normal(size=(12, dimensions)))
        turn = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))[0]
        turn[:, 0] *= np.sign(np.linalg.det(turn))
        np.testing.assert_allclose(target @ turn.T @ rotation_onto(target @ turn.T, target), target, atol=1e-9)
        mirrored = target * np.array([-1.0] + [1.0] * (dimensions - 1))
        assert np.linalg.det(rotation_onto(mirrored, target)) == pytest.approx(1.0)


def test_a_unit_shape_has_radius_one_and_a_point_has_no_shape() -> None:
    shape = unit_shape(np.array([(3.0, 4.0), (9.0, 4.0), (3.0, -2.0)]))
    assert shape.mean(axis=0) == pytest.approx([0, 0])
    assert math.sqrt((shape**2).sum(axis=1).mean()) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="two distinct points"):
        unit_shape(np.ones((4, 2)))


def test_robust_deviation_of_a_normal_sample_ignores_a_tenth_of_outliers() -> None:
    values = np.random.default_rng(1).normal(5.0, 2.0, 20_000)
    assert robust_deviation(values) == pytest.approx(2.0, rel=0.03)
    values[:2000] = 1e6
    assert robust_deviation(values) == pytest.approx(2.0, rel=0.2)


def test_white_black_and_grey_in_cielab() -> None:
    colours = lab(np.array([[[255, 255, 255], [0, 0, 0], [119, 119, 119]]], np.uint8))
    assert colours.shape == (1, 3, 3)
    assert colours[0, :, 0] == pytest.approx([100.0, 0.0, 50.0], abs=0.2)
    assert np.abs(colours[..., 1:]).max() < 0.1


def test_patches_lie_on_their_own_side_and_follow_the_face(face_at) -> None:
    pixels = np.zeros((400, 400, 3), np.uint8)
    pixels[:, :200, 0] = 100  # image left is red
    pixels[:170, :, 2] = 50  # above the eyes is blue
    patches = skin_patches(pixels, face_at(120.0, (200.0, 170.0)).landmarks_px)
    assert (patches.cheek_left.rgb[:, 0] == 100).all()
    assert (patches.cheek_right.rgb[:, 0] == 0).all()
    assert (patches.forehead.rgb[:, 2] == 50).all()
    assert patches.cheeks.sum() == len(patches.cheek_left.rgb) + len(patches.cheek_right.rgb)
    assert patches.cheek_left.frac_inside == pytest.approx(1.0, abs=0.05)
    far = skin_patches(pixels, face_at(120.0, (900.0, -700.0)).landmarks_px)
    assert patch_state(far.cheek_left) == "out_of_frame"


@pytest.mark.parametrize("n", [1, 2, 3, 10, 101])
def test_the_quantile_is_that_of_numpy(n: int) -> None:
    values = np.round(np.random.default_rng(n).normal(size=n), 1)  # with ties
    for share in (0.0, 0.25, 0.5, 0.85, 1.0):
        assert quantile(values, share) == np.quantile(values, share)


def test_depth_in_a_polygon_is_the_distance_to_its_edge_also_beyond_its_corners() -> None:
    square = np.array([[2.0, 2.0], [8.0, 2.0], [8.0, 2.0], [8.0, 6.0], [2.0, 6.0]])  # one point twice
    depth = polygon_depth_px(square, np.arange(12.0)[None], np.arange(9.0)[:, None])
    assert depth.shape == (9, 12)
    assert depth[4, 5] == pytest.approx(2.0)
    assert depth[3, 7] == pytest.approx(1.0)
    assert depth[4, 10] == pytest.approx(-2.0)
    assert depth[8, 11] == pytest.approx(-np.hypot(3.0, 2.0))
    assert polygon_depth_px(square, np.array([5.0]), np.array([4.0])) == pytest.approx([2.0])


def test_a_view_makes_a_thing_once_for_each_subject() -> None:
    made: list[str] = []

    def note(pixels: Pixels, name: str) -> str:
        made.append(name)
        return name.upper()

    view = View(np.zeros((4, 4, 3), np.uint8))
    assert [view.once(note, name) for name in ("a", "b", "a")] == ["A", "B", "A"]
    assert made == ["a", "b"]
