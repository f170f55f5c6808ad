"""Hand readings: invariances of the bone ratios, the states, and real hands against edited ones."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from detectors import hand as family
from detectors import hand_presence
from detectors.geometry import rotate
from detectors.trait import OK, Box, Hand, Points, Sample, View
from detectors.vision import Vision

BLANK = View(np.zeros((64, 64, 3), np.uint8))
PALM = np.array([[30.0, 60], [20, 30], [30, 28], [38, 30], [45, 34], [12, 50], [8, 40]])


def mean_hand(size_px: float = 200.0) -> Points:
    """A hand, fingers fanned out, whose log bone ratios are exactly those of the mean real hand."""
    ratios = np.exp(family._MEAN)
    within, between = ratios[:15].reshape(5, 3), ratios[15:]
    bones = np.cumprod(np.column_stack([np.ones(5), within]), axis=1)
    lengths = np.cumprod(np.concatenate([[1.0], between]))
    bones *= (lengths / bones[:, 1:].sum(axis=1))[:, None]
    reach = np.cumsum(bones, axis=1)
    directions = np.radians(np.linspace(-150, -30, 5))
    points = np.zeros((21, 3))
    for finger, angle in enumerate(directions):
        points[1 + 4 * finger : 5 + 4 * finger, :2] = reach[finger][:, None] * [np.cos(angle), np.sin(angle)]
    return points * (size_px / np.ptp(points[:, :2], axis=0).max())


def as_hand(points: Points, score: float = 0.9) -> Hand:
    (x0, y0), (x1, y1) = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    return Hand(Box(float(x0), float(y0), float(x1), float(y1)), points, None, score, "left")


def deviation(points: Points) -> float:
    return family.bone_deviation(family.log_bone_ratios(points))


def test_the_mean_hand_does_not_deviate() -> None:
    assert deviation(mean_hand()) == pytest.approx(0, abs=1e-9)


def test_place_size_and_direction_of_the_hand_do_not_matter() -> None:
    points = mean_hand()
    points[8] *= 1.3  # something to deviate by
    moved = points * 2.7 + [300, -40, 5]
    turned = points.copy()
    turned[:, :2] = rotate(points[:, :2], 77)
    assert deviation(moved) == pytest.approx(deviation(points))
    assert deviation(turned) == pytest.approx(deviation(points))


@pytest.mark.parametrize("tip", [4, 8, 12, 16, 20])
def test_stretching_a_finger_ever_further_deviates_ever_more(tip: int) -> None:
    deviations = []
    for stretch in (1.0, 1.5, 2.5, 5.0):
        points = mean_hand()
        points[tip] = points[tip - 1] + stretch * (points[tip] - points[tip - 1])
        deviations.append(deviation(points))
    assert deviations == sorted(deviations)
    assert deviations[-1] > 1


def test_the_reference_covariance_is_one() -> None:
    covariance = family._COVARIANCE_PERCENT
    assert np.array_equal(covariance, covariance.T)
    assert np.linalg.eigvalsh(covariance).min() > 0


def test_states() -> None:
    good = as_hand(mean_hand())
    measured = family.measure(BLANK, good)
    assert measured.state == OK
    assert measured.values["hand_size_px"] == pytest.approx(200)
    assert family.measure(BLANK, as_hand(mean_hand(39))).state == "too_small"
    assert family.measure(BLANK, as_hand(mean_hand(), score=0.4)).state == "ambiguous"
    assert (
        family.measure(BLANK, as_hand(np.where(np.arange(21)[:, None] == 8, mean_hand()[7], mean_hand()))).state
        == "ambiguous"
    )
    assert family.measure(BLANK, replace(good, landmarks_px=None, palm_px=PALM)).state == "palm_only"
    with pytest.raises(TypeError, match="reads hands"):
        family.measure(BLANK, None)


def test_a_missing_hand_is_a_measured_zero() -> None:
    with_hand = View(BLANK.pixels, (), (as_hand(mean_hand(50)),))
    found = [hand_presence.measure(view, None).values["hand_found"] for view in (BLANK, with_hand, with_hand)]
    assert found == [0.0, 1.0, 1.0]
    (trait,) = hand_presence.FAMILY.traits
    assert trait.expects == "hand"
    sample = Sample({"hand_found": np.array(found)}, np.full(3, "g", dtype=object))
    assert trait.statistic(sample, sample) == pytest.approx(2 / 3)


@pytest.mark.validation
def test_real_hands_deviate_by_about_one_and_hands_short_of_a_finger_by_more(validation_data: Path) -> None:
    real = (
        odd_files(validation_data / "hands" / "subhih", "*/*.jpg")[:10]
        + odd_files(validation_data / "hands" / "epsrc", "*/*.jpg")[:10]
    )
    short = sorted((validation_data / "hands_edited").glob("*missing1*"))
    assert len(short) >= 10
    with Vision() as vision:
        whole, missing = (
            [float(m.values["hand_bone_deviation"]) for m in map_measure(vision, files) if m.state == OK]  # type: ignore[arg-type]
            for files in (real, short)
        )
    assert 0.5 < np.median(whole) < 1.5
    assert np.median(missing) > 1.3 * np.median(whole)


def map_measure(vision: Vision, files: list[Path]) -> list[family.Measurement]:
    views = [vision.look(np.ascontiguousarray(cv2.imread(str(file))[:, :, ::-1])) for file in files]
    return [family.measure(view, hand) for view in views for hand in view.hands]


def odd_files(folder: Path, pattern: str) -> list[Path]:
    """Photographs that the reference hand was not fitted to: those whose name's SHA-256 is odd."""
    files = sorted(folder.glob(pattern))
    return [file for file in files if int(hashlib.sha256(file.name.encode()).hexdigest(), 16) % 2 == 1]
