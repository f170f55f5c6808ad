"""Edges decide: flanks across the claimed fingers, what is crossed from one to the next, and bars no finger explains.

As in ``bones.py`` the landmarks say where the axes of the stretched out fingers should run. What is asked here is not
what colour things are but where colours change: a digit has a flank on either side, about half a finger's width from
its axis, and an edge that closes it at its tip; between two that are parted lie two edges of opposite sign, between
two that have fused none; and a bar with two such flanks, which no axis explains and which no edge parts from the
hand, is a digit that nobody claimed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from detectors.digits.bones import (
    AMBIGUOUS,
    Bone,
    axes_of,
    bone_of,
    digit_of,
    look,
    stations,
    undecided,
    unit,
)
from detectors.digits.patch import CENTRE, PATCH_PX, HandPatch, palm_hull
from detectors.digits.sighting import EXTRA, FINGERS, PAIRS, Digit, Sighting
from detectors.trait import OK, Pixels, Points

Numbers = NDArray[np.float32]

BROAD = np.array([[-1.0, -1.0, 0.0, 1.0, 1.0]], np.float32) / 6.0
NARROW = np.array([[-1.0, 0.0, 1.0]], np.float32) / 2.0
"""Derivatives per sample: where samples lie about a pixel apart, and where they lie farther apart."""

SPAN = 7
"""Stations over which edges are averaged along a finger: flanks run along it, wrinkles across."""
N_STATIONS = 20
ROOT, THUMB_ROOT, END = 0.5, 0.3, 0.95
"""Part of a bone at which flanks are looked for: free of the web, short of the tip's roundness."""
NEAR_PX, FAR_PX = 3, 13
"""How far from the axis a flank may lie; half a finger's width is about 7 px, and landmarks are a few pixels off."""
NARROW_PX, BROAD_PX, LOPSIDED_PX = 7.0, 24.0, 8.0
"""Distance between the flanks of one digit, and the most that one may be farther from the axis than the other."""
FLANK, CAP = 0.12, 0.10
"""Weakest flank and closing edge, as shares of the hand's strong flanks: one side often fades into shadow."""
GAP_CAP = 0.25
"""Weakest closing edge where both flanks are the wrong way round: else the axis runs through a gap."""
FAINT = 0.6
"""In CIELAB units per pixel: flanks below this cannot be told from noise."""
CAP_PX = np.arange(-6.0, 26.0)
"""Where the closing edge is looked for, from the landmark of the tip."""

CHORD_STEP_PX = 1.25
CHORD_PX = np.arange(-32.5, 32.6, CHORD_STEP_PX)
"""Places from one finger to the next, about the middle between their axes."""
PARTED, JOINED = 2.0, 1.1
"""Strength in CIELAB units per pixel of the weaker of two opposite edges between two fingers: parted above the first;
fused below the second, ..."""
STEP = 2.2
"""... if no edge at all is stronger than this."""
TELLING = 2.5
"""Strength of the hand's flanks from which no edge between two fingers means that there is no gap."""
DARK, DARKEST = 30.0, 0.45
"""Below this L* of the fingers those strengths shrink in proportion, down to this share."""
NEAREST_PX, WIDE_PX = 8.0, 38.0
"""Axes nearer than the first are not of two fingers; those farther apart than the second are of two digits, if each has
a flank towards the other."""
PEAK, CROWDED = 0.4, 3.4
"""More edges than the second, each stronger than this share of the hand's flanks, are those of more than a gap."""

RADII_PX = np.arange(48.0, 122.0, 5.0)
ARC_PX = 2.0
FAN_DEG = 115.0
"""Arcs about the palm's middle on which unclaimed digits are looked for, and how far they reach down on either side."""
HALF_WIDTHS = (2, 3, 4, 5, 6)
"""Half the widths of a bar, in steps along the arc."""
BAR, CALM, ALIKE = 0.25, 1.0, 0.5
"""Flanks of a bar: weakest, as a share of the hand's; strongest edge between, as a share of the bar's; cosine of the
change of colour with that at the flanks of the claimed fingers."""
CLEAR_PX, ASIDE_PX = 7.0, 11.0
"""How far the flanks and the middle of a bar must be from all axes."""
PALM_AWAY = 3.0
"""So much nearer may a bar be to the palm if no finger is claimed: folded ones rise little above it."""
ROOTED_PX = 24.0
"""How far from the hand a bar may begin."""
OPEN_ROOT, OPEN_ROOT_DOUBT = 0.75, 0.95
"""Strongest edge where a bar meets the hand, over its flanks': a digit goes on into the palm, a bar behind does not."""
MANY_BARS = 4
"""So many bars are a pattern behind the hand."""
LONG, SHORT = 5, 4
"""Arcs that a bar must cross to be a digit, and to be in doubt."""
UNKNOWN_FLANK = 10.0
"""Strength of the flanks of a hand without claimed fingers."""


@dataclass(frozen=True)
class Flanks:
    """Edges beside bones, medians along each.

    ``strength`` and ``away_px``, float32 (m, 2), left and right: in CIELAB units per pixel, and the distance from the
    axis. ``cap`` float32 (m,): strength of the edge at the tip. ``inward`` float32 (m, 2, 3): change of colour from
    outside to inside. ``light``: L* of the fingers.
    """

    strength: Numbers
    away_px: Numbers
    cap: Numbers
    inward: Numbers
    light: float

    @cached_property
    def strong(self) -> float:
        """Strength of the hand's stronger flanks."""
        return float(np.quantile(self.strength, 0.75))

    @cached_property
    def visible(self) -> float:
        """How strong an edge must be to be seen, over that in good light."""
        return float(np.clip(self.light / DARK, DARKEST, 1.0))


@dataclass(frozen=True)
class Crossing:
    """Edges met from one axis to its neighbour, medians over the stations.

    ``strongest``: of all, ``both``: the weaker of two of opposite sign, in CIELAB units per pixel. ``n_peaks``: edges.
    """

    strongest: float
    both: float
    n_peaks: float
    chord_px: float


@dataclass(frozen=True)
class Bar:
    """Two opposite flanks with a calm inside, from ``start`` near the hand to ``end``, over ``n_arcs`` arcs.

    ``strength``: of its flanks; ``root``: strongest edge between it and the hand; ``away_px``: its distance from it.
    """

    start: Points
    end: Points
    n_arcs: int
    strength: float
    away_px: float
    root: float


def sight(patch: HandPatch) -> Sighting:
    """The digits that the landmarks claim, or that nobody claimed, and that edges outline.

    States: ``no_landmarks``; ``side_view`` where the palm is seen edge-on; ``ambiguous`` where a finger is half bent
    or points at the camera, where flanks or closing edge are missing or not about the axis, where neighbours are
    neither clearly joined nor parted, or where a bar may be a digit or not.
    """
    state, axes = axes_of(patch.landmarks)
    if state != OK:
        return Sighting(state)
    digits = _digits(patch, axes)
    sighting = Sighting(AMBIGUOUS) if digits is None else Sighting(OK, tuple(digits))
    # A thumb held to the index finger counts where edges part them; else it may be the finger's flank.
    if "thumb" in undecided(patch.landmarks) and "thumb-index" in sighting.fused_pairs:
        return Sighting(AMBIGUOUS)
    return sighting


def _digits(patch: HandPatch, bones: list[Bone]) -> list[Digit] | None:
    if not bones:
        sticks_out = any(_may_be_digit(bar) for bar in bars(patch, [], UNKNOWN_FLANK, None))
        return None if sticks_out else []
    assert patch.landmarks is not None
    found = flanks(patch.pixels, bones)
    groups = _groups(patch.pixels, bones, found) if found.strong >= FAINT * found.visible else None
    if groups is None or not all(_outlined(group, found) for group in groups):
        return None
    axes = [bone_of(patch.landmarks, name) for name in FINGERS]
    extra = _unclaimed(bars(patch, axes, found.strong, found.inward.mean(axis=(0, 1))))
    return None if extra is None else [digit_of([bones[i] for i in group]) for group in groups] + extra


def _groups(pixels: Pixels, bones: list[Bone], found: Flanks) -> list[list[int]] | None:
    """Numbers of the bones, those that have fused in one list; None where that is in doubt."""
    near = [i for i in range(len(bones) - 1) if f"{bones[i].name}-{bones[i + 1].name}" in PAIRS]
    crossed = dict(zip(near, crossings(pixels, [(bones[i], bones[i + 1]) for i in near], found.strong), strict=True))
    groups = [[0]]
    for i in range(1, len(bones)):
        parted: bool | None = True
        if i - 1 in crossed:
            facing = min(float(found.strength[i - 1, 1]), float(found.strength[i, 0])) >= FLANK * found.strong
            parted = _parted(crossed[i - 1], found.visible, facing)
            if parted is False and found.strong < TELLING * found.visible:
                return None  # where flanks are faint, a gap is too
        if parted is None:
            return None
        if parted:
            groups.append([i])
        else:
            groups[-1].append(i)
    return groups


def _parted(crossed: Crossing, visible: float, facing: bool) -> bool | None:
    """Whether two edges or none lie between two neighbours; None in between. ``facing``: both have flanks there."""
    if crossed.n_peaks > CROWDED or crossed.chord_px < NEAREST_PX:
        return None
    if crossed.chord_px > WIDE_PX:
        return True if facing else None
    if crossed.both >= PARTED * visible:
        return True
    return False if crossed.both < JOINED * visible and crossed.strongest < STEP * visible else None


def _outlined(group: list[int], found: Flanks) -> bool:
    """Whether a digit of these bones has its two flanks, about as far apart as a finger is wide, and a closing edge."""
    first, last = group[0], group[-1]
    if min(found.strength[first, 0], found.strength[last, 1]) < FLANK * found.strong:
        return False
    if found.cap[group].max() < CAP * found.strong:
        return False
    outer = found.inward.mean(axis=(0, 1))
    outward = max(float(found.inward[first, 0] @ outer), float(found.inward[last, 1] @ outer)) < 0.0
    if outward and found.cap[group].max() < GAP_CAP * found.strong:
        return False
    left, right = found.away_px[first, 0], found.away_px[last, 1]
    return len(group) > 1 or bool(NARROW_PX <= left + right <= BROAD_PX and abs(left - right) <= LOPSIDED_PX)


def flanks(pixels: Pixels, bones: list[Bone]) -> Flanks:
    """The strongest edges on either side of each bone, at least one."""
    offsets = np.arange(-FAR_PX - 2.0, FAR_PX + 3.0)
    middle = len(offsets) // 2
    lab = look(pixels, np.stack([_across(bone, offsets) for bone in bones]))
    edge = _slope(lab, 1.0)
    outward = np.stack([edge[:, :, middle - NEAR_PX : 1 : -1], -edge[:, :, middle + NEAR_PX : -2]], axis=1)
    size = _size(outward)
    at = size.argmax(axis=-1)
    inward = np.take_along_axis(outward, at[..., None, None], axis=-2)[..., 0, :]
    beyond = np.stack([bone.strip(bone.length + CAP_PX, 3.0) for bone in bones])
    return Flanks(
        np.asarray(np.median(size.max(axis=-1), axis=-1), np.float32),
        np.asarray(np.median(NEAR_PX + at, axis=-1), np.float32),
        _size(_difference(look(pixels, beyond).mean(axis=2))).max(axis=-1),
        np.asarray(np.median(inward, axis=2), np.float32),
        float(np.median(lab[..., middle, 0])),
    )


def _across(bone: Bone, offsets: NDArray[np.float64]) -> Points:
    """Points (n, len(offsets), 2) across a bone, from the thumb's side to the little finger's where it is upright."""
    along = np.linspace(THUMB_ROOT if bone.name == "thumb" else ROOT, END, N_STATIONS) * bone.length
    axis = unit(bone.joints[-1] - bone.joints[0])
    return np.asarray(bone.at(along)[:, None] + offsets[:, None] * np.array([-axis[1], axis[0]]))


def crossings(pixels: Pixels, pairs: list[tuple[Bone, Bone]], strong: float) -> list[Crossing]:
    """What is crossed from each finger's axis to its neighbour's; ``strong``: strength of the hand's flanks."""
    if not pairs:
        return []
    a, b = (np.stack(part) for part in zip(*(stations(near, far) for near, far in pairs), strict=True))
    chord = np.maximum(np.sqrt(np.square(b - a).sum(axis=-1)), 1e-6)
    towards = (b - a) / chord[..., None]
    edge = _slope(look(pixels, 0.5 * (a + b)[..., None, :] + CHORD_PX[:, None] * towards[..., None, :]), CHORD_STEP_PX)
    edge *= (np.abs(CHORD_PX) <= 0.5 * chord[..., None] - 1.5)[..., None]
    size = _size(edge)
    at = size.argmax(axis=-1)[..., None]
    strongest = np.take_along_axis(size, at, axis=-1)
    direction = np.take_along_axis(edge, at[..., None], axis=-2) / np.maximum(strongest[..., None], 1e-6)
    opposite = -_dot(edge, direction).min(axis=-1)
    both = np.minimum(strongest[..., 0], opposite)
    found = np.stack([strongest[..., 0], both, _n_peaks(size, PEAK * strong), chord])
    return [Crossing(*(float(value) for value in row)) for row in np.median(found, axis=-1).T]


def _n_peaks(size: Numbers, least: float) -> Numbers:
    """Number (...) of local maxima of at least this strength along the last axis."""
    rows = size.reshape(-1, size.shape[-1])
    highest = cv2.dilate(rows, np.ones((1, 5), np.uint8))
    return np.asarray(((rows >= highest) & (rows >= least)).sum(axis=-1).reshape(size.shape[:-1]), np.float32)


# --------------------------------------------------------------------------- what nobody claimed


def _arcs() -> tuple[NDArray[np.float64], Points]:
    """Angles in degrees from upright (r, n), points (r, n, 2) on the arcs; angles beyond the fan are left in."""
    n = 2 * int(np.radians(FAN_DEG) * RADII_PX[-1] / ARC_PX) + 1
    angle = (np.arange(n) - n // 2) * ARC_PX / RADII_PX[:, None]
    points = np.asarray(CENTRE) + RADII_PX[:, None, None] * np.stack([np.sin(angle), -np.cos(angle)], axis=-1)
    return np.degrees(angle), points


ANGLES_DEG, ARCS = _arcs()
IN_FAN = np.abs(ANGLES_DEG) <= FAN_DEG
DEGREE = np.clip(np.round(ANGLES_DEG + FAN_DEG), 0, 2 * FAN_DEG).astype(np.intp)


def bars(patch: HandPatch, axes: list[Bone], strong: float, inward: Numbers | None) -> list[Bar]:
    """Bars that stick out of the palm where none of these axes is.

    ``strong``: strength of the hand's flanks; ``inward``: change of colour across them, None where unknown.
    """
    edge = _difference(look(patch.pixels, ARCS), NARROW) / np.float32(ARC_PX)
    edge[~(IN_FAN & _sample(patch.inside.astype(np.uint8), ARCS).astype(bool))] = 0.0
    taken = _taken(patch.palm, axes)
    away = _sample(taken, ARCS / 2.0)
    strength = _bar_strength(edge, away if axes else away * PALM_AWAY, BAR * strong, inward)
    rows, columns = np.nonzero(strength)
    hits = np.zeros((len(RADII_PX), int(2 * FAN_DEG) + 1), np.uint8)
    hits[rows, DEGREE[rows, columns]] = 1
    n, labels = cv2.connectedComponents(cv2.dilate(hits, np.ones((1, 5), np.uint8)), connectivity=8)
    of = labels[rows, DEGREE[rows, columns]]
    found = []
    for i in range(1, n):
        arcs = np.unique(rows[of == i])
        if len(arcs) >= SHORT:
            start, end = (ARCS[arc, int(np.median(columns[(of == i) & (rows == arc)]))] for arc in arcs[[0, -1]])
            gap = float(_sample(taken, start[None, None] / 2.0)[0, 0])
            found.append(
                Bar(
                    start,
                    end,
                    len(arcs),
                    float(np.median(strength[rows, columns][of == i])),
                    gap,
                    _root(patch.pixels, start, end, gap),
                )
            )
    return found


def _bar_strength(edge: Numbers, away: Numbers, least: float, inward: Numbers | None) -> Numbers:
    """Strength (r, n) of the weaker flank where the middle of a bar is, else 0."""
    size = _size(edge)
    n = size.shape[1]
    clear = (away > CLEAR_PX) & (size > least)
    strength = np.zeros_like(size)
    for half in HALF_WIDTHS:
        left, right, middle = slice(0, n - 2 * half), slice(2 * half, n), slice(half, n - half)
        opposite = -_dot(edge[:, left], edge[:, right]) / np.maximum(size[:, left], 1e-6)
        flank = np.minimum(size[:, left], opposite)
        inside = cv2.dilate(size, np.ones((1, 2 * max(half - 2, 0) + 1), np.uint8))[:, middle]
        good = clear[:, left] & clear[:, right] & (away[:, middle] > ASIDE_PX) & (flank > least)
        good &= inside < CALM * flank
        if inward is not None:
            change = edge[:, left] - edge[:, right]
            good &= _dot(change, inward) > ALIKE * _size(change) * float(np.linalg.norm(inward))
        np.maximum(strength[:, middle], flank * good, out=strength[:, middle])
    return strength


def _root(pixels: Pixels, start: Points, end: Points, gap_px: float) -> float:
    """Strongest edge along a bar from the hand to the bar's start."""
    axis = unit(end - start)
    along = start + np.arange(-gap_px - 6.0, 3.0)[:, None, None] * axis
    across = np.linspace(-2.0, 2.0, 5)[:, None] * np.array([-axis[1], axis[0]])
    return float(_size(_difference(look(pixels, along + across).mean(axis=1))).max())


def _taken(palm: Points, axes: list[Bone]) -> Numbers:
    """Distance in patch pixels from the palm and the axes, float32 (128, 128) on every second pixel."""
    far = np.full((PATCH_PX // 2, PATCH_PX // 2), 255, np.uint8)
    cv2.fillConvexPoly(far, palm_hull(palm, 2.0), (0,))
    for bone in axes:
        chain = np.concatenate([bone.joints, bone.at(np.array([bone.length + 5.0]))]) / 2.0
        cv2.polylines(far, [np.round(chain * 16).astype(np.int32)], False, (0,), 1, cv2.LINE_8, 4)
    return np.asarray(2.0 * cv2.distanceTransform(far, cv2.DIST_L2, 3), np.float32)


def _may_be_digit(bar: Bar) -> bool:
    """Whether a bar is long enough and goes on into the hand without an edge."""
    open_root = OPEN_ROOT_DOUBT if bar.n_arcs >= LONG else OPEN_ROOT
    return bar.away_px <= ROOTED_PX and bar.root < open_root * bar.strength


def _unclaimed(found: list[Bar]) -> list[Digit] | None:
    """Digits among the bars, None if one is in doubt: too short, endless, or one of a pattern's many."""
    likely = [bar for bar in found if _may_be_digit(bar)]
    sure = [LONG <= bar.n_arcs < len(RADII_PX) and bar.root < OPEN_ROOT * bar.strength for bar in likely]
    if not all(sure) or (likely and len(found) >= MANY_BARS):
        return None
    return [Digit((EXTRA,), (float(bar.end[0]), float(bar.end[1]))) for bar in likely]


# --------------------------------------------------------------------------- derivatives


def _slope(lab: Numbers, step_px: float) -> Numbers:
    """Derivative per pixel along the last but one axis of (m, n, k, 3), averaged over neighbouring stations n."""
    return _difference(np.stack([cv2.blur(part, (1, SPAN)) for part in lab])) / np.float32(step_px)


def _difference(lab: Numbers, kernel: Numbers = BROAD) -> Numbers:
    """Derivative along the last but one axis of (..., n, 3), per sample."""
    rows = np.ascontiguousarray(lab.reshape(-1, *lab.shape[-2:]), np.float32)
    return np.asarray(cv2.filter2D(rows, -1, kernel, borderType=cv2.BORDER_REPLICATE), np.float32).reshape(lab.shape)


def _size(edge: Numbers) -> Numbers:
    return np.asarray(np.sqrt(_dot(edge, edge)), np.float32)


def _dot(a: Numbers, b: Numbers) -> Numbers:
    """Product of the colours along the last axis; spelt out, as a sum over an axis of three is slow."""
    return np.asarray(a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2], np.float32)


def _sample(image: NDArray[np.uint8] | Numbers, points: Points) -> Numbers:
    return np.asarray(cv2.remap(image, points.astype(np.float32), np.empty(0), cv2.INTER_LINEAR), np.float32)
