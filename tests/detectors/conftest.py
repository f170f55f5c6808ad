"""One real portrait, found once, and faces laid out from its mesh: NASA's astronaut ships with scikit-image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from skimage import data

from detectors.geometry import frontal_landmarks
from detectors.trait import Box, Eye, Face, Points, View
from detectors.vision import Vision

FaceAt = Callable[..., Face]


@pytest.fixture(scope="session")
def portraits() -> tuple[View, View]:
    """The astronaut as photographed, and in the mirror."""
    pixels = data.astronaut()
    with Vision() as vision:
        return vision.look(pixels), vision.look(np.ascontiguousarray(pixels[:, ::-1]))


@pytest.fixture(scope="session")
def face_at(portraits: tuple[View, View]) -> FaceAt:
    """Make an upright, frontal face of any size anywhere, with the astronaut's landmarks."""
    found = portraits[0].faces[0]
    frontal = frontal_landmarks(found.landmarks_px)
    lids = [_indices(found.landmarks_px[:, :2], eye.lid_px) for eye in found.eyes]

    def make(canthal_px: float, centre: tuple[float, float], yaw_deg: float = 0.0, state: str = "ok") -> Face:
        landmarks = frontal * canthal_px
        landmarks[:, :2] += centre
        return face_of(landmarks, lids, yaw_deg, state)

    return make


def face_of(landmarks: Points, lids: list[list[int]], yaw_deg: float, state: str) -> Face:
    points = landmarks[:, :2]
    low, high = points.min(axis=0), points.max(axis=0)
    eyes = (
        Eye("image_left", points[lids[0]], points[468:473], None, "test"),
        Eye("image_right", points[lids[1]], points[473:478], None, "test"),
    )
    return Face(Box(low[0], low[1], high[0], high[1]), landmarks, yaw_deg, 0.0, 0.0, 0.9, eyes, state=state)


def _indices(points: Points, subset: Points) -> list[int]:
    return [int(np.argmin(np.linalg.norm(points - point, axis=1))) for point in subset]
