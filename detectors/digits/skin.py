"""The hand's outline in its patch, from colour alone: what looks like the palm and not like the picture's rim.

Two colour models, the hand's seeded from the palm and the background's from the patch's rim, are refined against each
other a few times (as in GrabCut: Rother, Kolmogorov & Blake 2004, doi:10.1145/1015706.1015720, with histograms and
without its graph cut, which alone would cost more than the landmark model). A watershed (Meyer 1992) from the certain
pixels then lays the outline on edges.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from detectors.digits.patch import CENTRE, PALM_PX, PATCH_PX, HandPatch
from detectors.trait import Pixels, Points

F32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

REACH_PX = 1.75 * PALM_PX
"""No fingertip lies farther from the palm's middle."""
RIM_PX = 10
"""Width of the rim that is taken for background at first."""
CHROMA_STEP, LIGHT_STEP = 0.036, 0.24
"""Bins of log chroma and of log luminance."""
CHROMA_BINS, LIGHT_BINS = 30, 14
CERTAIN = 1.5
"""Log odds from which a pixel's colour alone decides."""
WIDTHS = (2.0, 1.6, 1.2, 0.8)
"""Standard deviation of the colour kernels in bins, round by round. At first wide, so that colours never seen join the nearer of the two models."""
LIGHT_WIDTH = 1.2
THIN = 2


def hand_odds(patch: HandPatch) -> F32:
    """Log odds of hand against background by colour and place, float32 (256, 256), clipped to [-6, 6]."""
    core = palm_mask(patch.palm, 0.08 * PALM_PX)
    bins = _colour_bins(patch.pixels, core)
    prior = _place(patch)
    seen = patch.inside & ~below_wrist(patch.palm)
    few = (slice(None, None, THIN), slice(None, None, THIN))  # every other pixel is enough to learn colours from
    learned, near = np.ascontiguousarray(bins[few]), prior[few]
    hand, rest = core[few].astype(np.float32), (_rim() & seen & ~core)[few].astype(np.float32)
    for width in WIDTHS:
        ratio = np.clip(_log_density(learned, hand, width) - _log_density(learned, rest, width), -4.0, 4.0)
        odds = cv2.blur(ratio[learned], (3, 3)) + near
        connected = _touching(odds > 0.0, core[few])
        hand = (connected & seen[few]).astype(np.float32)
        # What looks like the hand but does not touch it (a face, the other hand) teaches neither of the two.
        rest = ((odds < 0.0) & seen[few]).astype(np.float32)
    return np.clip(cv2.blur(ratio[bins], (3, 3)) + prior, -6.0, 6.0)


def _touching(mask: Mask, core: Mask) -> Mask:
    """The pieces of ``mask`` that reach into ``core``, and ``core``."""
    n, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    reached = np.bincount(labels[core], minlength=n) > 0
    reached[0] = False
    return np.asarray(reached[labels] | core)


def outline(patch: HandPatch, odds: F32) -> Mask:
    """Bool (256, 256): the hand, edges respected, in one piece with the palm, holes of noise closed."""
    markers = np.zeros((PATCH_PX, PATCH_PX), np.int32)
    markers[odds > CERTAIN] = 1
    markers[odds < -CERTAIN] = 2
    markers[palm_mask(patch.palm, 0.08 * PALM_PX)] = 1
    cv2.watershed(patch.pixels, markers)
    # The watershed leaves a line of -1 between the two and at the patch's rim.
    mask = (markers == 1) | ((markers == -1) & (odds > 0))
    return _piece(mask, patch.palm)


def palm_mask(palm: Points, shrink_px: float) -> Mask:
    """The palm's polygon, made smaller by ``shrink_px``."""
    canvas = np.zeros((PATCH_PX, PATCH_PX), np.uint8)
    hull = cv2.convexHull(np.round(palm).astype(np.int32))
    cv2.fillConvexPoly(canvas, hull, 1)
    if shrink_px >= 1.0:
        size = 2 * round(shrink_px) + 1
        canvas = np.asarray(cv2.erode(canvas, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))), np.uint8)
    return np.asarray(canvas, bool)


def below_wrist(palm: Points) -> Mask:
    """Where the forearm lies: below the wrist, thumbs held out sideways left aside."""
    rows, columns = np.mgrid[0:PATCH_PX, 0:PATCH_PX]
    x, y = palm[0]
    beside = np.abs(columns - x) - 0.35 * PALM_PX
    return np.asarray(rows > y + 0.05 * PALM_PX + np.clip(beside, 0.0, 0.25 * PALM_PX))


def _rim() -> Mask:
    rim = np.ones((PATCH_PX, PATCH_PX), bool)
    rim[RIM_PX:, RIM_PX:-RIM_PX] = False
    return rim


def _place(patch: HandPatch) -> F32:
    rows, columns = np.mgrid[0:PATCH_PX, 0:PATCH_PX].astype(np.float32)
    away = np.hypot(columns - CENTRE[0], rows - CENTRE[1])
    prior = np.where(palm_mask(patch.palm, 0.0), 1.5, 0.0) - np.clip((away - REACH_PX) / 8.0, 0.0, 3.0)
    return np.asarray(prior, np.float32)


def _colour_bins(pixels: Pixels, palm: Mask) -> NDArray[np.int32]:
    """One bin number per pixel: log chroma, which shading does not move, and log luminance, from the palm's median."""
    red, green, blue = (_LOG[pixels[..., i]] for i in range(3))
    axes = (
        (red - green, CHROMA_STEP, CHROMA_BINS),
        (blue - green, CHROMA_STEP, CHROMA_BINS),
        (0.3 * red + 0.6 * green + 0.1 * blue, LIGHT_STEP, LIGHT_BINS),
    )
    index = np.zeros(pixels.shape[:2], np.int32)
    for values, step, n_bins in axes:
        centred = (values - np.median(values[palm])) / step + n_bins / 2
        index = index * n_bins + np.clip(centred, 0, n_bins - 1).astype(np.int32)
    return index


def _log_density(bins: NDArray[np.int32], weights: F32, width: float) -> F32:
    shape = (CHROMA_BINS, CHROMA_BINS, LIGHT_BINS)
    counts = np.bincount(bins.ravel(), weights.ravel(), int(np.prod(shape))).astype(np.float32).reshape(shape)
    chroma, light = _kernel(CHROMA_BINS, width), _kernel(LIGHT_BINS, LIGHT_WIDTH * width)
    smooth = np.tensordot(chroma, counts @ light, 1)
    smooth = chroma @ smooth
    return np.asarray(np.log(smooth.ravel() / max(float(counts.sum()), 1.0) + 1e-7), np.float32)


@cache
def _kernel(n_bins: int, width: float) -> F32:
    """(n_bins, n_bins), symmetric: every bin spread over its neighbours."""
    apart = np.subtract.outer(np.arange(n_bins), np.arange(n_bins)) / width
    return np.asarray(np.exp(-0.5 * apart**2) / (width * np.sqrt(2.0 * np.pi)), np.float32)


def _piece(mask: Mask, palm: Points) -> Mask:
    """The component under most of the palm, with holes smaller than a finger's square filled."""
    n, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    inside = labels[palm_mask(palm, 0.0)]
    if n < 2 or not (inside > 0).any():
        return np.zeros_like(mask)
    piece = labels == np.bincount(inside[inside > 0]).argmax()
    n, labels, stats, _ = cv2.connectedComponentsWithStats((~piece).astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < HOLE_PX
    return piece | small[labels] & ~piece


HOLE_PX = 60
_LOG = np.log(np.arange(256, dtype=np.float32) + 20.0)
