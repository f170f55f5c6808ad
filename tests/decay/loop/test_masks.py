"""Masks of drawn faces and hands, whose truth is known to the pixel, and of photographs that somebody measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from decay.images import read_image
from decay.loop.masks import CENTRE_SHARE, STATES, Part, draw_mask, part_state
from decay.phantom import FaceParameters, FaceShape, Framing, HandParameters, draw_face, draw_hand, label_hand
from detectors.geometry import polygon_mask
from detectors.trait import OK, Hand, Pixels, View
from detectors.vision import Vision

SIZE_PX = 256


@pytest.fixture(scope="module")
def vision() -> Iterator[Vision]:
    with Vision() as opened:
        yield opened


@pytest.fixture(scope="module")
def face(vision: Vision) -> tuple[View, dict[str, Any]]:
    pixels, truth = draw_face(FaceParameters(), SIZE_PX, np.random.default_rng(0))
    return vision.look(pixels), truth


def distance_px(x: float, y: float, shape: tuple[int, ...]) -> NDArray[np.float64]:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.asarray(np.hypot(columns - x, rows - y))


def bare(pixels: Pixels) -> View:
    return View(pixels)


@pytest.mark.parametrize("roll_deg", [0.0, 25.0])
@pytest.mark.parametrize("eye_distance_mm", [58.0, 68.0])
def test_eyes_are_covered_and_little_else(roll_deg: float, eye_distance_mm: float, vision: Vision) -> None:
    parameters = FaceParameters(
        shape=FaceShape(eye_distance_mm=eye_distance_mm), framing=replace(Framing(), roll_deg=roll_deg)
    )
    pixels, truth = draw_face(parameters, SIZE_PX, np.random.default_rng(0))
    mask = draw_mask(vision.look(pixels), "eyes")
    assert mask is not None
    assert mask.dtype == np.float32
    assert mask.shape == pixels.shape[:2]
    for eye in truth["eyes"]:
        iris = distance_px(eye["iris_x_px"], eye["iris_y_px"], mask.shape) <= eye["iris_radius_px"]
        assert mask[iris].min() == 1.0
    nearest = np.min([distance_px(eye["eye_x_px"], eye["eye_y_px"], mask.shape) for eye in truth["eyes"]], axis=0)
    # Half an eye is 14.75 mm wide and the growth 0.3 of an eye, 9 mm.
    assert nearest[mask > 0].max() / truth["px_per_mm"] < 14.75 + 9 + 3
    n_parts, _ = cv2.connectedComponents((mask > 0).astype(np.uint8))
    assert n_parts - 1 == 2


def test_the_face_is_covered_from_brow_to_chin_and_the_background_is_not(face: tuple[View, dict[str, Any]]) -> None:
    view, truth = face
    mask = draw_mask(view, "face")
    assert mask is not None
    scale, shape = truth["px_per_mm"], truth["shape"]
    middle_x = np.mean([eye["eye_x_px"] for eye in truth["eyes"]])
    eyes_y = np.mean([eye["eye_y_px"] for eye in truth["eyes"]])
    for y_mm in (shape["brow_y_mm"], 0.0, shape["mouth_y_mm"], shape["chin_y_mm"] - 5):
        assert mask[round(eyes_y + y_mm * scale), round(middle_x)] == 1.0
    reach_mm = distance_px(middle_x, eyes_y, mask.shape)[mask > 0].max() / scale
    assert reach_mm < shape["chin_y_mm"] + 15
    assert mask[:, :10].max() == mask[:, -10:].max() == 0.0


@pytest.mark.parametrize(
    "parameters",
    [
        HandParameters(),
        HandParameters(mirrored=True, rotation_deg=25.0),
        HandParameters(view="back", fused=(None, "plain", None, None)),
        HandParameters(fingers=("folded", "extended", "extended", "folded", "folded")),
    ],
    ids=["spread", "turned", "fused", "two"],
)
def test_a_hand_is_covered_and_little_beyond_its_hull(parameters: HandParameters, vision: Vision) -> None:
    pixels, truth = draw_hand(parameters, SIZE_PX, np.random.default_rng(0))
    mask = draw_mask(vision.look(pixels), "hands")
    assert mask is not None
    labels = label_hand(parameters, SIZE_PX)
    palm = distance_px(truth["palm_x_px"], truth["palm_y_px"], mask.shape) < 45 * truth["px_per_mm"]
    hand = (labels >= 2) | ((labels == 1) & palm)  # without the arm, which the truth does not tell from the palm
    assert (mask[labels >= 2] > 0).mean() > 0.99
    assert (mask[hand] > 0).mean() > 0.95
    outline = cv2.convexHull(np.argwhere(hand)[:, ::-1].astype(np.float32))[:, 0]
    hull = polygon_mask(outline.astype(np.float64), SIZE_PX, SIZE_PX)
    assert (mask > 0).sum() < 1.4 * hull.sum()


def test_a_hand_has_no_eyes_and_a_blank_nothing(vision: Vision) -> None:
    hand = vision.look(draw_hand(HandParameters(), SIZE_PX, np.random.default_rng(0))[0])
    blank = bare(np.full((64, 64, 3), 128, np.uint8))
    cases: list[tuple[View, Part, str]] = [
        (hand, "eyes", "no_face"),
        (hand, "face", "no_face"),
        (blank, "eyes", "no_face"),
        (blank, "hands", "no_hand"),
    ]
    for view, part, state in cases:
        assert part_state(view, part) == state
        assert draw_mask(view, part) is None
        assert state in STATES


def test_what_cannot_be_trusted_is_not_guessed(face: tuple[View, dict[str, Any]]) -> None:
    view, _ = face
    void = replace(view, faces=tuple(replace(each, state="unreadable") for each in view.faces))
    assert part_state(void, "eyes") == "unreadable"
    assert draw_mask(void, "eyes") is None
    assert draw_mask(void, "face") is None
    palm = Hand(view.faces[0].box, None, np.full((7, 2), 50.0), 0.2, "")
    assert part_state(replace(view, hands=(palm,)), "hands") == "ambiguous"
    assert draw_mask(replace(view, hands=(palm,)), "hands") is None
    gone = Hand(view.faces[0].box, np.full((21, 3), -50.0) + np.eye(21, 3), None, 0.9, "left")
    assert part_state(replace(view, hands=(gone,)), "hands") == "outside"
    assert part_state(view, "eyes") == OK


def test_every_readable_face_is_in_the_mask(face: tuple[View, dict[str, Any]]) -> None:
    view, _ = face
    (one,) = view.faces
    shift = np.array([SIZE_PX, 0.0, 0.0])
    eyes = [replace(eye, lid_px=eye.lid_px + shift[:2]) for eye in one.eyes]
    twin = replace(one, landmarks_px=one.landmarks_px + shift, eyes=(eyes[0], eyes[1]))
    both = View(np.hstack([view.pixels, view.pixels]), (one, twin))
    alone, twice = draw_mask(view, "eyes"), draw_mask(both, "eyes")
    assert alone is not None
    assert twice is not None
    np.testing.assert_array_equal(twice, np.hstack([alone, alone]))


def test_growth_only_adds_and_the_edge_only_softens(face: tuple[View, dict[str, Any]]) -> None:
    view, _ = face
    masks = [draw_mask(view, "face", growth) for growth in (0.0, 0.05, 0.2)]
    for small, large in pairwise(masks):
        assert small is not None
        assert large is not None
        assert (small <= large).all()
        assert small.sum() < large.sum()
    hard, soft = draw_mask(view, "face", 0.1), draw_mask(view, "face", 0.1, edge=0.05)
    assert hard is not None
    assert soft is not None
    assert set(np.unique(hard)) == {0.0, 1.0}
    assert (soft <= hard).all()
    # Depth grows by one pixel per pixel inward, so that the ramp is as wide as it says.
    size_px = float(np.ptp(view.faces[0].landmarks_px[:468, :2], axis=0).max())
    inward_px = cv2.distanceTransform(np.pad(hard, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    assert soft[inward_px > 0.05 * size_px + 1].min() == 1.0
    assert soft[(inward_px > 0) & (inward_px < 0.05 * size_px - 1)].max() < 1.0


def test_a_part_that_leaves_the_picture_is_cut_off(face: tuple[View, dict[str, Any]]) -> None:
    view, _ = face
    whole = draw_mask(view, "eyes", edge=0.1)
    half = draw_mask(View(np.ascontiguousarray(view.pixels[:, : SIZE_PX // 2]), view.faces), "eyes", edge=0.1)
    assert whole is not None
    assert half is not None
    np.testing.assert_array_equal(half, whole[:, : SIZE_PX // 2])


def test_the_centre_is_a_box_whatever_the_picture_shows() -> None:
    mask = draw_mask(bare(np.zeros((80, 120, 3), np.uint8)), "centre")
    assert mask is not None
    assert mask.mean() == CENTRE_SHARE**2
    np.testing.assert_array_equal(mask, mask[::-1, ::-1])
    assert mask[20:60, 30:90].min() == 1.0


@pytest.mark.validation
def test_hands_that_were_boxed_by_hand_hold_their_masks(validation_data: Path, vision: Vision) -> None:
    folder = validation_data / "hands" / "subhih"
    boxes = pd.read_csv(folder / "boxes.tsv", sep="\t").drop_duplicates("file", keep=False).iloc[::8]
    shares = []
    for row in boxes.itertuples():
        mask = draw_mask(vision.look(read_image(folder / str(row.file))), "hands")
        if mask is not None:
            inside = (mask > 0)[row.ymin : row.ymax + 1, row.xmin : row.xmax + 1]
            shares.append(float(inside.sum() / (mask > 0).sum()))
    assert len(shares) > 0.7 * len(boxes)
    assert np.median(shares) > 0.85  # the boxes are tight, and the mask reaches a tenth beyond the hull


@pytest.mark.validation
def test_irises_that_were_read_by_hand_are_covered(validation_data: Path, vision: Vision) -> None:
    folder = validation_data / "faces" / "celebahq_1024"
    read = pd.read_csv(folder / "catchlights_read.tsv", sep="\t")
    images = sorted(set(read["file"]))[:8]
    for name in images:
        pixels = read_image(folder / name)
        mask = draw_mask(vision.look(pixels), "eyes")
        assert mask is not None
        assert (mask > 0).mean() < 0.05
        for row in read[read["file"] == name].itertuples():
            iris = distance_px(row.iris_x, row.iris_y, mask.shape) <= row.iris_r
            assert (mask[iris] > 0).mean() > 0.98, name
