"""Which pixels of a picture are to be painted anew: its eyes, its faces or its hands, as our own detectors see them.

A mask is the convex hull of a part's landmarks, grown by a stated share of its size. The hull, and not the outline: a
mask that followed every finger would tell the generator how many there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from detectors.geometry import polygon_depth_px
from detectors.trait import OK, Points, View

Part = Literal["eyes", "face", "hands", "centre"]
Mask = NDArray[np.float32]
"""(h, w) in 0..1: 0 where the picture stays as it is, 1 where it is replaced."""

GROWTH = {"eyes": 0.3, "face": 0.05, "hands": 0.1, "centre": 0.0}
"""By how much a hull is grown by default, in shares of its size.

Lid margins leave out lids and lashes, and a hand's landmarks lie in its middle: a finger's radius is about a twentieth
of a hand's length.
"""
CENTRE_SHARE = 0.5
"""Sides of the box of ``centre``, in shares of the picture's."""

STATES = {
    OK: "there is a mask",
    "no_face": "no face was found",
    "no_hand": "no hand was found",
    "unreadable": "what was found is not enough like a face for its landmarks to be trusted",
    "ambiguous": "a palm was found without fingers, so that nobody can say how far the hand reaches",
    "outside": "what was found lies outside of the picture",
}
"""What ``part_state`` says of a picture."""


def part_state(view: View, part: Part) -> str:
    """``ok``, or why a picture has no mask of ``part``: a word of ``STATES``."""
    if any(_reaches_in(hull, view) for hull in _hulls(view, part)):
        return OK
    if part == "hands":
        fitted = any(hand.landmarks_px is not None for hand in view.hands)
        return "outside" if fitted else "ambiguous" if view.hands else "no_hand"
    readable = any(face.state == OK for face in view.faces)
    return "outside" if readable else "unreadable" if view.faces else "no_face"


def draw_mask(view: View, part: Part, growth: float | None = None, edge: float = 0.0) -> Mask | None:
    """The mask of every ``part`` in a picture; None where ``part_state`` is not ``ok``: nothing is guessed.

    ``growth``: how far beyond its hull a part's mask reaches, in shares of the hull's longer side; None for its
    ``GROWTH``. ``edge``: width of the ramp from 0 to 1 inside the mask's outline, in the same shares; 0 for a hard
    edge. Both >= 0. ``centre``: a box in the middle, whatever the picture shows. Result: float32 (h, w) in 0..1.
    """
    if part_state(view, part) != OK:
        return None
    mask = np.zeros(view.pixels.shape[:2], np.float32)
    for hull in _hulls(view, part):
        size_px = _size_px(hull)
        _lay(mask, hull, size_px * (GROWTH[part] if growth is None else growth), size_px * edge)
    return mask


def _hulls(view: View, part: Part) -> Iterator[Points]:
    """Closed convex polygons (n, 2): one per eye, face or hand."""
    if part == "centre":
        yield _centre_box(*view.pixels.shape[:2])
    elif part == "hands":
        yield from (_hull(hand.landmarks_px) for hand in view.hands if hand.landmarks_px is not None)
    else:
        for face in view.faces:
            if face.state == OK and part == "face":
                yield _hull(face.landmarks_px[:468])
            elif face.state == OK:
                yield from (_hull(eye.lid_px) for eye in face.eyes)


def _hull(points: Points) -> Points:
    return np.asarray(cv2.convexHull(points[:, :2].astype(np.float32))[:, 0], dtype=np.float64)


def _centre_box(height: int, width: int) -> Points:
    x, y = (width - 1) / 2, (height - 1) / 2
    dx, dy = CENTRE_SHARE * width / 2, CENTRE_SHARE * height / 2
    return np.array([[x - dx, y - dy], [x + dx, y - dy], [x + dx, y + dy], [x - dx, y + dy]])


def _size_px(hull: Points) -> float:
    return float(np.ptp(hull, axis=0).max())


def _reaches_in(hull: Points, view: View) -> bool:
    height, width = view.pixels.shape[:2]
    (x0, y0), (x1, y1) = hull.min(axis=0), hull.max(axis=0)
    return bool(x1 >= 0 and y1 >= 0 and x0 <= width - 1 and y0 <= height - 1)


def _lay(mask: Mask, hull: Points, growth_px: float, edge_px: float) -> None:
    """Raise ``mask``, in place, to the hull's own."""
    height, width = mask.shape
    x0, y0 = (max(0, math.floor(low - growth_px)) for low in hull.min(axis=0))
    x1 = min(width, math.ceil(hull[:, 0].max() + growth_px) + 1)
    y1 = min(height, math.ceil(hull[:, 1].max() + growth_px) + 1)
    if x0 >= x1 or y0 >= y1:
        return  # another of the part's hulls lies in the picture
    y, x = np.arange(y0, y1, dtype=np.float64)[:, None], np.arange(x0, x1, dtype=np.float64)[None]
    depth_px = polygon_depth_px(hull, x, y) + growth_px
    own = np.clip(depth_px / edge_px, 0.0, 1.0) if edge_px > 0 else depth_px >= 0
    np.maximum(mask[y0:y1, x0:x1], own.astype(np.float32), out=mask[y0:y1, x0:x1])
