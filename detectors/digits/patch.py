"""The hand, cut out upright: wrist below, fingers above, index finger on the left of the little finger.

One similarity (mirrored where needed) maps the image to the patch, so that every cue sees hands of one
size and one chirality: a right palm and the back of a left hand have the same outline.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detectors.trait import Hand, Pixels, Points

PATCH_PX = 256
"""Side of the patch. A finger is about 14 px wide in it."""
PALM_PX = PATCH_PX / 3.3
"""Length of the palm in the patch, from the wrist to the mean of the four knuckles; about 95 mm on an adult."""
CENTRE = (PATCH_PX * 0.5, PATCH_PX * 0.64)
"""Where the palm's middle comes to lie, halfway from the wrist to the knuckles."""
WIDE_PALM = 1.3
"""Palm length over palm width on a hand seen flat. A palm that seems shorter is foreshortened: then the width tells."""
PALM_LANDMARKS = (0, 5, 9, 13, 17, 1, 2)
"""The hand landmarks that correspond to the palm detector's seven points: wrist, four knuckles, thumb's two joints."""


@dataclass(frozen=True)
class HandPatch:
    """A hand cut out of its image.

    ``pixels``: sRGB uint8 (256, 256, 3), resampled (area-averaged where the hand is larger, bilinear where smaller).
    ``inside``: bool (256, 256), False beyond the image's edge. ``to_patch``: float64 (2, 3), image to patch pixels.
    ``palm``: float64 (7, 2): wrist, knuckles of index, middle, ring and little finger, the thumb's two joints.
    ``landmarks``: float64 (21, 2) or None. Both in patch pixels. ``px_per_px``: image pixels per patch pixel.
    """

    pixels: Pixels
    inside: NDArray[np.bool_]
    to_patch: Points
    palm: Points
    landmarks: Points | None
    px_per_px: float

    def to_image(self, points: Points) -> Points:
        """(n, 2) patch pixels -> (n, 2) image pixels."""
        back = np.asarray(cv2.invertAffineTransform(self.to_patch), dtype=np.float64)
        return _apply(back, np.asarray(points, dtype=np.float64))


def palm_hull(palm: Points, scale: float) -> NDArray[np.int32]:
    """Outline of the palm with its heel, int32 (n, 1, 2), in pixels of the patch divided by ``scale``.

    ``palm``: float64 (7, 2). The heel is wider than the seven points say.
    """
    wrist, across = palm[0], palm[4] - palm[1]
    heel = np.stack([wrist + 0.55 * across, wrist - 0.45 * across, palm[4] + 0.2 * across])
    return np.asarray(cv2.convexHull(np.round(np.concatenate([palm, heel]) / scale).astype(np.int32)), np.int32)


def cut_patch(pixels: Pixels, hand: Hand) -> HandPatch | None:
    """Cut ``hand`` out of its image, sRGB uint8 (h, w, 3); None where its palm has no length or no width."""
    if pixels.size == 0:
        return None
    palm = hand.palm_px if hand.landmarks_px is None else hand.landmarks_px[list(PALM_LANDMARKS), :2]
    assert palm is not None  # a Hand has one of them
    to_patch = _upright(palm)
    if to_patch is None:
        return None
    px_per_px = 1.0 / math.sqrt(abs(float(np.linalg.det(to_patch[:, :2]))))
    patch, inside = _resample(pixels, to_patch, px_per_px)
    landmarks = None if hand.landmarks_px is None else _apply(to_patch, hand.landmarks_px[:, :2])
    return HandPatch(patch, inside, to_patch, _apply(to_patch, palm), landmarks, px_per_px)


def _upright(palm: Points) -> Points | None:
    wrist, knuckles = palm[0], palm[1:5]
    up = knuckles.mean(axis=0) - wrist
    across = knuckles[3] - knuckles[0]
    length = max(float(np.linalg.norm(up)), WIDE_PALM * float(np.linalg.norm(across)))
    if float(np.linalg.norm(up)) < 1e-6 or length < 4.0:
        return None
    up = up / np.linalg.norm(up)
    right = np.array([-up[1], up[0]])  # image y grows downward: this is up, turned clockwise as seen
    if float(across @ right) < 0.0:
        right = -right
    linear = PALM_PX / length * np.stack([right, -up])
    middle = wrist + 0.5 * (knuckles.mean(axis=0) - wrist)
    return np.column_stack([linear, np.asarray(CENTRE) - linear @ middle])


def _resample(pixels: Pixels, to_patch: Points, px_per_px: float) -> tuple[Pixels, NDArray[np.bool_]]:
    """Average blocks of pixels first where the hand is much larger than the patch, so that nothing aliases."""
    corners = _apply(
        np.asarray(cv2.invertAffineTransform(to_patch), np.float64),
        np.array([[0.0, 0.0], [PATCH_PX, 0.0], [0.0, PATCH_PX], [PATCH_PX, PATCH_PX]]),
    )
    size = np.array(pixels.shape[1::-1])
    block = max(1, min(int(px_per_px), *pixels.shape[:2]))
    first = np.clip(np.floor(corners.min(axis=0)) - 2, 0, size - 1).astype(int)
    n_blocks = np.ceil((np.ceil(corners.max(axis=0)) + 3 - first) / block).astype(int)
    # Whole blocks only, which average many times faster; at the image's far edge less than one is left out.
    n_blocks = np.clip(n_blocks, 1, np.maximum((size - first) // block, 1))
    first = np.minimum(first, size - n_blocks * block)
    (x0, y0), (x1, y1) = first, first + n_blocks * block
    small = pixels[y0:y1, x0:x1]
    if block > 1:
        small = np.asarray(cv2.resize(small, n_blocks.tolist(), interpolation=cv2.INTER_AREA), np.uint8)
    # Pixel centres are integers: block b covers image pixels whose centres average to b * block + (block - 1) / 2.
    matrix = np.column_stack([to_patch[:, :2] * block, to_patch[:, :2] @ (first + (block - 1) / 2.0) + to_patch[:, 2]])
    shape = (PATCH_PX, PATCH_PX)
    patch = cv2.warpAffine(small, matrix, shape, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if (corners >= 0.0).all() and (corners <= size - 1.0).all():
        return np.asarray(patch, np.uint8), np.ones(shape, bool)
    covered = cv2.warpAffine(np.ones(small.shape[:2], np.uint8), matrix, shape, flags=cv2.INTER_NEAREST)
    return np.asarray(patch, np.uint8), np.asarray(covered, bool)


def _apply(affine: Points, points: Points) -> Points:
    return np.asarray(points @ affine[:, :2].T + affine[:, 2], dtype=np.float64)
