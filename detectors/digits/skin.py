"""The hand's outline in its patch, from colour: what looks like the palm and not like what lies beside the hand.

Two colour models are refined against each other a few times (as in GrabCut: Rother, Kolmogorov & Blake 2004,
doi:10.1145/1015706.1015720, with histograms and without its graph cut, which alone would cost more than the landmark
model). A watershed (Meyer 1992) from the certain pixels then lays the outline on edges.

Where there are landmarks, they locate and no more. The hand's first colours are taken from the palm and along the
fingers' axes, the background's from a belt round the hand, and what is far from all of them is no part of the hand.
Within the belt's outer edge colours alone decide: a finger that the landmarks claim and the picture does not show is
not drawn, and one that they do not know is. Without landmarks the palm and the patch's rim give the first colours.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detectors.digits.patch import CENTRE, PALM_PX, PATCH_PX, HandPatch, palm_hull
from detectors.trait import Points

F32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

REACH_PX = 1.75 * PALM_PX
"""No fingertip lies farther from the palm's middle."""
BELT_PX = (12.0, 42.0)
"""Distances from the palm, the landmarks' bones and where fingers would be if they were stretched out: nearer than the
first may be the hand's own flesh; farther than the second, three fingers' widths, is no part of it."""
LONGEST_PX = PALM_PX * np.array([0.7, 1.2, 1.2, 1.2, 1.2])
"""Thumb and fingers are no longer. Where landmarks fold a finger or end too early, it is seen all the same."""
RIM_PX = 10
"""Width of the rim that is taken for background at first where there are no landmarks."""
CHROMA_STEP, LIGHT_STEP = 0.036, 0.24
"""Bins of log chroma and of log luminance."""
CHROMA_BINS, LIGHT_BINS = 24, 12
CERTAIN = 1.5
"""Log odds from which a pixel's colour alone decides."""
WIDTHS = (2.0, 1.6, 1.2, 0.8)
"""Standard deviation of the colour kernels in bins of chroma, round by round. At first wide, so that colours never seen
join the nearer of the two models."""
LIGHT_WIDTH = 1.2
"""The same for luminance, as a multiple: shading moves it."""
THIN = 2
"""Of the pixels every other one, of every other row, is enough to learn colours from."""
HOLE_PX = 60
"""Smaller holes are noise."""


def palm_core(patch: HandPatch) -> Mask:
    """The palm well inside its outline, bool (256, 256): what is sure to be hand. Empty where the palm is thin."""
    size = 2 * round(0.08 * PALM_PX) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return np.asarray(cv2.erode(_palm(patch.palm), disc), bool)


def away_px(patch: HandPatch) -> F32:
    """Distance from the palm, the landmarks' bones and where fingers would be if they were stretched out, float32
    (128, 128), of every other pixel. Where there are no landmarks, what is farther than ``BELT_PX[1]`` is out of reach
    from the palm's middle."""
    if patch.landmarks is None:
        return _OUT_OF_REACH[_FEW] + np.float32(BELT_PX[1])
    wrist, knuckles, thumb = patch.palm[0], patch.palm[1:5], patch.palm[5:7]
    roots = np.vstack([thumb[1:], knuckles])
    along = np.vstack([thumb[1:] - thumb[:1], knuckles - wrist])
    along *= LONGEST_PX[:, None] / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    drawn = _lines([*_chains(patch.landmarks), *np.stack([roots, roots + along], axis=1)])
    cv2.fillConvexPoly(drawn, palm_hull(patch.palm, THIN), (1,))
    return np.asarray(cv2.distanceTransform(1 - drawn, cv2.DIST_L2, 3) * np.float32(THIN), np.float32)


def hand_odds(patch: HandPatch, core: Mask, away: F32) -> F32:
    """Log odds of hand against background by colour and place, float32 (256, 256), clipped to [-6, 6].

    ``core``: of ``palm_core``, not empty. ``away``: of ``away_px``.
    """
    inner = np.ascontiguousarray(core[_FEW])
    bins = _colour_bins(cv2.resize(patch.pixels, inner.shape, interpolation=cv2.INTER_AREA), inner)
    seen = (patch.inside & ~below_wrist(patch.palm))[_FEW]
    if patch.landmarks is None:
        hand, rest = inner, _RIM[_FEW] & seen & ~inner
        far = np.clip((away - BELT_PX[1]) / 8.0, 0.0, 3.0)
    else:
        seen = seen & (away < BELT_PX[1])
        hand, rest = inner | ((_lines(_chains(patch.landmarks)) > 0) & seen), (away > BELT_PX[0]) & seen
        far = np.clip((away - BELT_PX[1]) / 2.0, 0.0, 8.0)
    prior = np.float32(1.5) * _palm(patch.palm)[_FEW] - far
    for width in WIDTHS:
        ratio = _log_ratio(bins, hand, rest, width)
        colour = ratio.take(bins)
        odds = cv2.blur(colour, (3, 3)) + prior
        hand = _touching(odds > 0.0, inner) & seen
        # What looks like the hand but does not touch it (a face, the other hand) teaches neither of the two.
        rest = (odds < 0.0) & seen
    odds = np.clip(colour + prior, -6.0, 6.0)
    return np.asarray(cv2.resize(odds, (PATCH_PX, PATCH_PX), interpolation=cv2.INTER_LINEAR), np.float32)


def outline(patch: HandPatch, core: Mask, odds: F32) -> Mask:
    """Bool (256, 256): the hand, edges respected, in one piece with the palm, holes of noise closed."""
    markers = (odds > CERTAIN).astype(np.int32)
    markers[odds < -CERTAIN] = 2
    markers[core] = 1
    cv2.watershed(patch.pixels, markers)
    # The watershed leaves a line of -1 between the two and at the patch's rim.
    mask = _touching((markers == 1) | ((markers == -1) & (odds > 0)), core).astype(np.uint8)
    lines, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    holes = [line for line, place in zip(lines, tree[0], strict=True) if place[3] >= 0 and enclosed_px(line) < HOLE_PX]
    cv2.drawContours(mask, holes, -1, (1,), cv2.FILLED)
    return np.asarray(mask, bool)


def enclosed_px(line: NDArray[Any]) -> float:
    """How many pixels a contour encloses, those it runs on left out (Pick 1899)."""
    return cv2.contourArea(line) - len(line) / 2 + 1


def below_wrist(palm: Points) -> Mask:
    """Where the forearm lies: below the wrist, thumbs held out sideways left aside."""
    x, y = palm[0]
    beside = np.abs(_columns - x) - 0.35 * PALM_PX
    return np.asarray(_rows > y + 0.05 * PALM_PX + np.clip(beside, 0.0, 0.25 * PALM_PX))


def _touching(mask: Mask, core: Mask) -> Mask:
    """``core`` and the pieces of ``mask`` that touch it."""
    filled = (mask | core).astype(np.uint8)
    y, x = divmod(int(core.argmax()), core.shape[1])
    cv2.floodFill(filled, None, (x, y), (2,))
    return np.asarray(filled == 2)


def _palm(palm: Points) -> NDArray[np.uint8]:
    canvas = np.zeros((PATCH_PX, PATCH_PX), np.uint8)
    cv2.fillConvexPoly(canvas, cv2.convexHull(np.round(palm).astype(np.int32)), (1,))
    return canvas


def _chains(landmarks: Points) -> list[Points]:
    """The fingers' joints from the knuckle to the tip, the thumb's without its first, (n, 2) each."""
    return [landmarks[2:5], *(landmarks[first : first + 4] for first in range(5, 21, 4))]


def _lines(chains: list[Points]) -> NDArray[np.uint8]:
    """1 along the chains, uint8 (128, 128)."""
    drawn = np.zeros((PATCH_PX // THIN, PATCH_PX // THIN), np.uint8)
    cv2.polylines(drawn, [np.round(c * 16 / THIN).astype(np.int32) for c in chains], False, (1,), 2, cv2.LINE_8, 4)
    return drawn


def _colour_bins(pixels: NDArray[Any], core: Mask) -> NDArray[np.int32]:
    """One bin number per pixel: log chroma, which shading does not move, and log luminance, from the palm's median."""
    logs = cv2.LUT(pixels, _LOG)
    middle = np.median(logs.reshape(-1, 3)[np.flatnonzero(core)] @ _AXES.T, axis=0)
    scaled = cv2.transform(logs, np.column_stack([_AXES, _MIDDLE - middle]))
    places = cv2.LUT(np.clip(scaled, 0.0, 255.0).astype(np.uint8), _PLACES)
    return np.asarray(cv2.transform(places, np.ones((1, 3), np.float32)), np.int32)


def _log_ratio(bins: NDArray[np.int32], hand: Mask, rest: Mask, width: float) -> F32:
    """Log of the density of ``hand``'s colours over that of ``rest``'s, for each bin."""
    counts = np.concatenate([np.bincount(bins[some], minlength=N_BINS) for some in (hand, rest)]).astype(np.float32)
    chroma, light = _kernel(CHROMA_BINS, width), _kernel(LIGHT_BINS, LIGHT_WIDTH * width)
    smooth = counts.reshape(-1, LIGHT_BINS) @ light
    for _ in range(2):  # each turn smooths one axis of chroma and swaps the two
        smooth = chroma @ smooth.reshape(2, CHROMA_BINS, -1)
        smooth = smooth.reshape(2, CHROMA_BINS, CHROMA_BINS, LIGHT_BINS).swapaxes(1, 2)
    a, b = smooth.reshape(2, -1)
    odds = np.log((a / max(np.count_nonzero(hand), 1) + 1e-7) / (b / max(np.count_nonzero(rest), 1) + 1e-7))
    return np.asarray(np.clip(odds, -4.0, 4.0), np.float32)


@cache
def _kernel(n_bins: int, width: float) -> F32:
    """(n_bins, n_bins), symmetric: every bin spread over its neighbours."""
    apart = np.subtract.outer(np.arange(n_bins), np.arange(n_bins)) / width
    kernel = np.exp(-0.5 * apart**2) / (width * np.sqrt(2.0 * np.pi))
    return np.where(kernel > 1e-9, kernel, 0.0).astype(
        np.float32
    )  # products of smaller numbers are denormal, thus slow


N_BINS = CHROMA_BINS**2 * LIGHT_BINS
_FEW = (slice(None, None, THIN), slice(None, None, THIN))
_rows, _columns = np.ogrid[0:PATCH_PX, 0:PATCH_PX]
_OUT_OF_REACH = (np.hypot(_columns - CENTRE[0], _rows - CENTRE[1]) - REACH_PX).astype(np.float32)
_RIM = (_rows < RIM_PX) | (_columns < RIM_PX) | (_columns >= PATCH_PX - RIM_PX)
_LOG = np.log(np.arange(256, dtype=np.float32) + 20.0)
_STEPS = np.array([[CHROMA_STEP], [CHROMA_STEP], [LIGHT_STEP]])
_AXES = (np.array([[1.0, -1.0, 0.0], [0.0, -1.0, 1.0], [0.3, 0.6, 0.1]]) / _STEPS).astype(np.float32)
_SIDES = np.array([CHROMA_BINS, CHROMA_BINS, LIGHT_BINS])
_MIDDLE = _SIDES / 2
_PLACES = np.minimum(np.arange(256)[:, None], _SIDES - 1) * [CHROMA_BINS * LIGHT_BINS, LIGHT_BINS, 1]
_PLACES = _PLACES.reshape(1, 256, 3).astype(np.float32)
