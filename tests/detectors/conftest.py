"""One real portrait (NASA's astronaut, from scikit-image), faces laid out from its mesh, and drawn eyes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from skimage import data

from detectors.geometry import frontal_landmarks, rotate
from detectors.limbus import refine
from detectors.trait import Box, Eye, Face, Points, Side, View
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


@dataclass(frozen=True)
class DrawnEye:
    """One eye to draw. Lengths in iris radii; glints as (u, v, radius, strength), v downward, along the eye's axes."""

    glints: tuple[tuple[float, float, float, float], ...] = ()
    gaze: tuple[float, float] = (0.0, 0.0)
    iris: tuple[float, float, float] = (0.10, 0.06, 0.03)
    top: float = 0.85
    bottom: float = 0.9
    sclera: float = 0.6


DrawFace = Callable[..., tuple[View, Face]]
HALF_WIDTH = 2.2
OVERSAMPLING = 4


@pytest.fixture(scope="session")
def drawn_eye() -> type[DrawnEye]:
    return DrawnEye


@pytest.fixture(scope="session")
def draw_eyes() -> DrawFace:
    """Draw two shaded eyes in linear light, with a landmark model's imperfect idea of them, and refine the limbus."""

    def draw(
        left: DrawnEye,
        right: DrawnEye,
        radius: float = 16.0,
        roll_deg: float = 0.0,
        mesh_error: tuple[float, float] = (0.05, 0.12),
        yaw_deg: float = 0.0,
        noise: float = 1.0,
    ) -> tuple[View, Face]:
        width, height = round(13 * radius), round(11 * radius)
        light = np.full((height, width, 3), (0.45, 0.30, 0.23))
        middle = np.array([width / 2 + 0.3, height / 2 - 0.2])
        lids, irises = [], []
        for side, eye in ((-1, left), (1, right)):
            centre = middle + rotate(np.array([[side * 3.0 * radius, 0.0]]), roll_deg)[0]
            _draw_eye(light, eye, centre, radius, roll_deg)
            t = np.linspace(-1, 1, 9)
            upper = np.stack([HALF_WIDTH * t, -eye.top * (1 - t**2)], axis=1)
            lower = np.stack([HALF_WIDTH * t, eye.bottom * (1 - t**2)], axis=1)[-2:0:-1]
            lids.append(centre + radius * rotate(np.concatenate([upper, lower]), roll_deg))
            ring = np.array([[0, 0], [1, 0], [0, -1], [-1, 0], [0, 1]]) * 0.97 + mesh_error + eye.gaze
            irises.append(centre + radius * rotate(ring, roll_deg))
        codes = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
        codes += np.random.default_rng(5).normal(0, noise, codes.shape)
        pixels = np.clip(np.round(codes), 0, 255).astype(np.uint8)
        sides: tuple[Side, Side] = ("image_left", "image_right")
        eyes = [
            Eye(name, lid, iris, *refine(pixels, iris, lid))
            for name, lid, iris in zip(sides, lids, irises, strict=True)
        ]
        face = Face(Box(0, 0, width, height), np.zeros((478, 3)), yaw_deg, 0.0, roll_deg, 0.9, (eyes[0], eyes[1]))
        return View(pixels, (face,)), face

    return draw


def _draw_eye(light: Points, eye: DrawnEye, centre: Points, radius: float, roll_deg: float) -> None:
    """Paint one eye into linear light (h, w, 3), averaged over sub-pixels."""
    reach = int(2.6 * radius)
    x0, y0 = (int(c) - reach for c in centre)
    n = (2 * reach + 1) * OVERSAMPLING
    rows, columns = (np.mgrid[0:n, 0:n] + 0.5) / OVERSAMPLING - 0.5
    offsets = np.stack([(columns + x0 - centre[0]).ravel(), (rows + y0 - centre[1]).ravel()], axis=1) / radius
    x, y = rotate(offsets, -roll_deg).T.reshape(2, n, n)
    arch = np.clip(1 - (x / HALF_WIDTH) ** 2, 0, None)
    inside = (y > -eye.top * arch) & (y < eye.bottom * arch) & (np.abs(x) < HALF_WIDTH)
    u, v = x - eye.gaze[0], y - eye.gaze[1]
    rho = np.hypot(u, v)
    disc = 1 / (1 + np.exp((rho - 1) / 0.02))
    pupil = 1 / (1 + np.exp((rho - 0.4) / 0.02))
    colour = eye.sclera * (1 - disc[..., None]) + np.array(eye.iris) * (disc * (1 - 0.9 * pupil))[..., None]
    colour *= (1 - 0.5 * np.exp(-(y + eye.top * arch) / 0.2).clip(0, 1))[..., None]
    for gu, gv, size, strength in eye.glints:
        cover = strength / (1 + np.exp((np.hypot(u - gu, v - gv) - size) / 0.02))
        colour = colour * (1 - cover[..., None]) + np.array([0.95, 0.97, 1.0]) * cover[..., None]
    blocks = (n // OVERSAMPLING, OVERSAMPLING) * 2
    share = inside.reshape(blocks).mean(axis=(1, 3))[..., None]
    painted = (colour * inside[..., None]).reshape(*blocks, 3).mean(axis=(1, 3))
    window = light[y0 : y0 + 2 * reach + 1, x0 : x0 + 2 * reach + 1]
    window[:] = window * (1 - share) + painted
