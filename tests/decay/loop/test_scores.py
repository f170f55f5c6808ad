"""Scores: what the detectors read is what ranks, the better the higher, what is not measured is NaN."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from decay.errors import DecayError
from decay.loop.scores import find_score, score_images
from decay.phantom import Population, draw_face
from detectors.embedder import open_embedder
from detectors.reader import ImageReadings, Reader
from detectors.trait import Pixels
from detectors.vision import Vision


def portrait(seed: int) -> Pixels:
    return draw_face(Population().sample_face(np.random.default_rng(seed)), 256, np.random.default_rng(seed))[0]


def test_a_blurred_picture_scores_less() -> None:
    sharp = portrait(0)
    blurred = [np.asarray(cv2.GaussianBlur(sharp, (0, 0), sigma), np.uint8) for sigma in (1.0, 3.0)]
    done: list[int] = []
    scores = score_images([sharp, *blurred], "image_sharpness", done.append)
    assert scores.dtype == np.float64
    assert scores[0] > scores[1] > scores[2]
    assert done == [1, 2, 3]
    assert score_images([sharp], "-image_sharpness")[0] == -scores[0]


def test_a_score_of_faces_is_the_mean_over_faces_and_nan_without_one() -> None:
    one, other, empty = portrait(1), portrait(2), np.full((256, 256, 3), 90, np.uint8)
    scores = score_images([np.hstack([one, other]), empty, one], "skin_l")
    with Reader(Vision(), open_embedder(None, None)) as reader:
        rows = reader.read(np.hstack([one, other])).faces
        alone = reader.read(one).faces
    assert len(rows) == 2
    assert scores[0] == pytest.approx(np.mean([row["skin_l"] for row in rows]))
    assert np.isnan(scores[1])
    assert scores[2] == alone[0]["skin_l"]


def test_a_face_that_was_not_measured_does_not_count() -> None:
    score = find_score("skin_l")
    assert score.of(ImageReadings(faces=({"skin_l": 40.0}, {"skin_l": float("nan")}, {"skin_l": 60.0}))) == 50
    assert np.isnan(score.of(ImageReadings(faces=({"skin_l": float("nan")},))))


def test_less_is_better_where_the_trait_says_so() -> None:
    dolls_eye = find_score("catchlight_dolls_eye")
    assert dolls_eye.sign == -1
    assert replace(dolls_eye, sign=1).of(ImageReadings(faces=({"catchlight_dolls_eye": 1.0},))) == 1
    assert find_score("image_sharpness").sign == 1
    assert find_score("-image_sharpness").sign == -1


@pytest.mark.parametrize(
    "name", ["image_beauty", "", "-", "finger_count", "iris_l", "catchlight_hex", "face_embedding"]
)
def test_a_name_that_is_no_score_is_refused(name: str) -> None:
    with pytest.raises(DecayError, match="image_sharpness"):
        score_images([], name)


def test_no_pictures_no_scores() -> None:
    assert score_images([], "image_sharpness").shape == (0,)
