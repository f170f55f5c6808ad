"""Edges decide: flanks across the claimed fingers, what is crossed from one to the next, and bars no finger explains.

As in ``bones.py`` the landmarks say where the axes of the stretched out fingers should run. What is asked here is
not what colour things are but where colours change: a digit has a flank on either side about half a finger's
width from its axis and an edge that closes it at its tip; between two that are parted lie two edges of
opposite sign, between two that have fused none. Strengths are shares of the same hand's flanks.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detectors.digits import bones as claims
from detectors.digits.bones import Bone
from detectors.digits.patch import HandPatch
from detectors.digits.sighting import FINGERS, PAIRS, Sighting
from detectors.trait import OK, Pixels, Points

Numbers = NDArray[np.float32]

N_STATIONS = 20
REACH_PX, NEAREST_PX, FARTHEST_PX = 16, 3, 13
SPAN = 7
CHORD_HALF_PX, CHORD_STEP_PX = 40.0, 1.25
FAINT = 0.6
PARTED, JOINED, STEP = 2.0, 1.1, 2.2
DARK = 30.0
WIDE_PX = 38.0
FLANK, CAP = 0.12, 0.10
BEYOND_PX = np.arange(-6.0, 26.0)
PEAK = 0.4
CROWDED = 3.4
NARROW_PX, BROAD_PX, LOPSIDED_PX = 7.0, 24.0, 8.0


@dataclass(frozen=True)
class Flanks:
    """Edges on either side of bones, medians along each, float32 (m, 2), left and right.

    ``strength`` in CIELAB units per pixel; ``away_px``: distance from the axis; ``cap`` (m,): edge at the tip.
    """

    strength: Numbers
    away_px: Numbers
    cap: Numbers
    light: float

    @property
    def visible(self) -> float:
        """How strong an edge must be to be seen, over that in good light."""
        return float(np.clip(self.light / DARK, 0.45, 1.0))


@dataclass(frozen=True)
class Crossing:
    """Edges met between two neighbouring axes: medians over the stations."""

    strongest: float
    both: float
    n_peaks: float
    chord_px: float


def sight(patch: HandPatch) -> Sighting:
    if patch.landmarks is None:
        return Sighting(claims.NO_LANDMARKS)
    if claims._edge_on(patch.landmarks):
        return Sighting(claims.SIDE_VIEW)
    poses = claims._poses(patch.landmarks)
    if any(poses[name] is None for name in FINGERS[1:]) or (poses["thumb"] is None and not poses["index"]):
        return Sighting(claims.AMBIGUOUS)
    bones = [claims._bone(patch.landmarks, name) for name in FINGERS if poses[name] is not False]
    if not bones:
        return Sighting(OK)
    found = flanks(patch.pixels, bones)
    flank = max(float(np.quantile(found.strength, 0.75)), 1e-6)
    if flank < FAINT:
        return Sighting(claims.AMBIGUOUS)
    groups = _groups(patch, bones, found, flank)
    if groups is None or not all(_outlined(group, found, flank) for group in groups):
        return Sighting(claims.AMBIGUOUS)
    sighting = Sighting(OK, tuple(claims._digit([bones[i] for i in group]) for group in groups))
    if poses["thumb"] is None and "thumb-index" in sighting.fused_pairs:
        return Sighting(claims.AMBIGUOUS)
    return sighting


def _groups(patch: HandPatch, bones: list[Bone], found: Flanks, flank: float) -> list[list[int]] | None:
    near = [i for i in range(len(bones) - 1) if f"{bones[i].name}-{bones[i + 1].name}" in PAIRS]
    crossed = crossings(patch.pixels, [(bones[i], bones[i + 1]) for i in near], flank)
    groups = [[0]]
    for i in range(1, len(bones)):
        parted: bool | None = True
        if i - 1 in near:
            facing = min(float(found.strength[i - 1, 1]), float(found.strength[i, 0]))
            parted = _parted(crossed[near.index(i - 1)], found.visible, facing >= FLANK * flank)
        if parted is None:
            return None
        if parted:
            groups.append([i])
        else:
            groups[-1].append(i)
    return groups


def _parted(crossed: Crossing, visible: float, facing: bool) -> bool | None:
    if crossed.n_peaks > CROWDED:
        return None
    if crossed.chord_px > WIDE_PX:
        return True if facing else None
    if crossed.both >= PARTED * visible:
        return True
    return False if crossed.both < JOINED * visible and crossed.strongest < STEP * visible else None


def _outlined(group: list[int], found: Flanks, flank: float) -> bool:
    first, last = group[0], group[-1]
    if found.strength[first, 0] < FLANK * flank or found.strength[last, 1] < FLANK * flank:
        return False
    if found.cap[group].max() < CAP * flank:
        return False
    if len(group) == 1:
        left, right = found.away_px[first]
        return bool(NARROW_PX <= left + right <= BROAD_PX and abs(left - right) <= LOPSIDED_PX)
    return True


def flanks(pixels: Pixels, bones: list[Bone]) -> Flanks:
    """The strongest edges on either side of each bone."""
    offsets = np.arange(-REACH_PX, REACH_PX + 1.0)
    across = np.stack([_across(bone, offsets) for bone in bones])
    lab = claims._look(pixels, across)
    size = _size(_slope(lab, 1.0))
    left = size[..., REACH_PX - NEAREST_PX : REACH_PX - FARTHEST_PX - 1 : -1]
    right = size[..., REACH_PX + NEAREST_PX : REACH_PX + FARTHEST_PX + 1]
    sides = np.stack([left, right], axis=1)
    beyond = np.stack([bone.strip(bone.length + BEYOND_PX, 3.0) for bone in bones])
    cap = _size(_difference(claims._look(pixels, beyond).mean(axis=2))).max(axis=-1)
    return Flanks(
        np.asarray(np.median(sides.max(axis=-1), axis=-1), np.float32),
        np.asarray(np.median(NEAREST_PX + sides.argmax(axis=-1), axis=-1), np.float32),
        cap,
        float(np.median(lab[..., REACH_PX, 0])),
    )


def _across(bone: Bone, offsets: NDArray[np.float64]) -> Points:
    along = np.linspace(0.3 if bone.name == "thumb" else 0.5, 0.95, N_STATIONS) * bone.length
    unit = claims._unit(bone.joints[-1] - bone.joints[0])
    return np.asarray(bone.at(along)[:, None] + offsets[:, None] * np.array([-unit[1], unit[0]]))


def crossings(pixels: Pixels, pairs: list[tuple[Bone, Bone]], flank: float) -> list[Crossing]:
    if not pairs:
        return []
    a, b = (np.stack(part) for part in zip(*(claims._stations(near, far) for near, far in pairs), strict=True))
    chord = np.maximum(np.linalg.norm(b - a, axis=-1), 1e-6)
    unit = (b - a) / chord[..., None]
    offsets = np.arange(-CHORD_HALF_PX, CHORD_HALF_PX + 0.1, CHORD_STEP_PX)
    points = 0.5 * (a + b)[..., None, :] + offsets[:, None] * unit[..., None, :]
    edge = _slope(claims._look(pixels, points), CHORD_STEP_PX)
    edge *= (np.abs(offsets) <= 0.5 * chord[..., None] - 1.5)[..., None]
    size = _size(edge)
    at = size.argmax(axis=-1)[..., None]
    strongest = np.take_along_axis(size, at, axis=-1)
    direction = np.take_along_axis(edge, at[..., None], axis=-2) / np.maximum(strongest[..., None], 1e-6)
    against = -(edge * direction).sum(axis=-1).min(axis=-1)
    both = np.minimum(strongest[..., 0], against)
    n = peaks(size, PEAK * flank)
    return [Crossing(*(float(np.median(part[i])) for part in (strongest, both, n, chord))) for i in range(len(pairs))]


def peaks(size: Numbers, least: float) -> Numbers:
    """Local maxima (...) of at least this strength along the last axis."""
    rows = size.reshape(-1, size.shape[-1])
    highest = cv2.dilate(rows, np.ones((1, 5), np.uint8))
    return ((rows >= highest) & (rows >= least)).sum(axis=-1).reshape(size.shape[:-1]).astype(np.float32)


def _slope(lab: Numbers, step_px: float) -> Numbers:
    """Derivative along the last but one axis, averaged over neighbouring stations: flanks run along, wrinkles across."""
    smooth = [cv2.blur(part, (1, SPAN)) for part in lab.reshape(-1, *lab.shape[-3:])]
    return _difference(np.stack(smooth).reshape(lab.shape)) / np.float32(step_px)


def _difference(lab: Numbers) -> Numbers:
    """Derivative along the last but one axis of (..., n, 3), per sample."""
    padded = np.concatenate([lab[..., :1, :]] * 2 + [lab] + [lab[..., -1:, :]] * 2, axis=-2)
    return (padded[..., 4:, :] + padded[..., 3:-1, :] - padded[..., 1:-3, :] - padded[..., :-4, :]) / np.float32(6)


def _size(edge: Numbers) -> Numbers:
    return np.asarray(np.sqrt(np.square(edge).sum(axis=-1)), np.float32)
