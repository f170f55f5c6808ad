"""The parts that stand out of a hand's silhouette, as the tree of its slices.

The silhouette is cut into slices of equal distance from the palm's polygon. Slices that touch belong to one branch;
where branches meet they divide from a common one (a Reeb graph: Carr, Snoeyink & Axen 2003,
doi:10.1016/S0925-7721(02)00093-7).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from statistics import median
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from detectors.digits.patch import PALM_PX
from detectors.trait import Points

Mask = NDArray[np.bool_]

SLICE_PX = 3
FIRST_PX = 0.08 * PALM_PX
"""Distance from the palm at which the first slice begins."""
WEB_PX = 0.28 * PALM_PX
"""The skin between two fingers ends here."""
ROOT_PX = 0.2 * PALM_PX
"""Roots of fingers are compared here."""
SHORT_PX = 0.42 * PALM_PX
"""What reaches no farther is too short to have a width beyond the web."""
STANDS_OUT = 0.18 * PALM_PX
"""A branch shorter than this is the bumpy end of another."""


class Slice(NamedTuple):
    """A connected piece of the silhouette at one distance from the palm."""

    level: int
    width_px: float
    centre: tuple[float, float]
    runs: int = 1


@dataclass
class Branch:
    """A part that stands out of the palm: its slices, tip first; the branches it divides into, if it does."""

    slices: list[Slice]
    children: list[Branch] = field(default_factory=list)

    @property
    def reach_px(self) -> float:
        """How far beyond the palm it reaches."""
        return FIRST_PX + SLICE_PX * self.top

    @cached_property
    def width_px(self) -> float:
        """Its width beyond the web, where it is rather wide: of fused fingers the longer ends alone."""
        slices = self.beyond(WEB_PX) if self.reach_px > SHORT_PX else self.slices
        widths = sorted(s.width_px for s in slices)
        place = 0.75 * (len(widths) - 1)
        below = widths[int(place)]
        return below + (place - int(place)) * (widths[min(int(place) + 1, len(widths) - 1)] - below)

    @cached_property
    def root(self) -> Points:
        """Where it meets the web between the fingers, in patch pixels: its axis continued to 0.2 palm lengths."""
        centres = np.array([s.centre for s in self.slices])
        n = max(1, len(centres) // 4)
        top, bottom = centres[:n].mean(axis=0), centres[-n:].mean(axis=0)
        span = float(len(centres) - n) * SLICE_PX
        deeper = FIRST_PX + SLICE_PX * (self.slices[-1].level + 0.5 * n) - ROOT_PX
        return np.asarray(bottom + (bottom - top) * (max(deeper, 0.0) / max(span, 1.0)))

    @property
    def root_px(self) -> float:
        """Width of its first quarter."""
        n = max(1, len(self.slices) // 4)
        return median(s.width_px for s in self.slices[-n:])

    def beyond(self, least_px: float) -> list[Slice]:
        """Its slices at least so far beyond the palm; its outermost one where there is none."""
        return [s for s in self.slices if FIRST_PX + SLICE_PX * s.level >= least_px] or self.slices[:1]

    def wide_centres(self) -> Points:
        """(n, 2): where it is as wide as it is on the whole, outermost first."""
        return np.array([s.centre for s in self.beyond(WEB_PX) if s.width_px > 0.8 * self.width_px])

    @property
    def top(self) -> int:
        """Highest level that it reaches."""
        return max([s.level for s in self.slices[:1]] + [c.top for c in self.children])

    def leaves(self) -> list[Branch]:
        """The undivided parts."""
        return [leaf for child in self.children for leaf in child.leaves()] if self.children else [self]


def tree(mask: Mask, palm: Points) -> list[Branch]:
    """The branches that stand out of the palm."""
    slices, above = _slices(mask, palm)
    by_level: dict[int, list[int]] = {}
    for i, piece in enumerate(slices):
        by_level.setdefault(piece.level, []).append(i)
    branch_of: dict[int, Branch] = {}
    for level in sorted(by_level, reverse=True):
        for group in _groups(by_level[level], above):
            branch = _grow([branch_of[j] for i in group for j in above.get(i, ())], _joined([slices[i] for i in group]))
            branch_of.update(dict.fromkeys(group, branch))
    roots = {id(branch_of[i]): branch_of[i] for i in by_level.get(1, [])}
    return list(roots.values())


def _grow(upper: list[Branch], piece: Slice) -> Branch:
    distinct = list({id(branch): branch for branch in upper}.values())
    if not distinct:
        return Branch([piece])
    standing = [branch for branch in distinct if (branch.top - piece.level) * SLICE_PX >= STANDS_OUT]
    if len(standing) > 1:
        return Branch([piece], standing)
    highest = max(distinct, key=lambda branch: branch.top)
    highest.slices.append(piece)
    return highest


def _groups(nodes: list[int], above: dict[int, set[int]]) -> list[list[int]]:
    """Slices of one level that hang on the same slice above belong together (a hole between them)."""
    groups: list[tuple[set[int], list[int]]] = []
    for node in nodes:
        upper, members = set(above.get(node, ())), [node]
        for group in [g for g in groups if g[0] & upper]:
            upper |= group[0]
            members = group[1] + members
            groups.remove(group)
        groups.append((upper, members))
    return [members for _, members in groups]


def _joined(pieces: list[Slice]) -> Slice:
    if len(pieces) == 1:
        return pieces[0]
    width = sum(piece.width_px for piece in pieces)
    x = sum(piece.width_px * piece.centre[0] for piece in pieces) / width
    y = sum(piece.width_px * piece.centre[1] for piece in pieces) / width
    return Slice(pieces[0].level, width, (x, y), len(pieces))


def _slices(mask: Mask, palm: Points) -> tuple[list[Slice], dict[int, set[int]]]:
    """All slices, level 1 next to the palm, and for each the slices above that touch it."""
    band, corner = _bands(mask, palm)
    flat = band.ravel()
    places = np.flatnonzero(flat)
    levels = flat[places]
    labels = np.zeros(flat.size, np.int32)
    slices: list[Slice] = []
    for parity in (0, 1):  # bands of one parity never touch each other
        chosen = ((band > 0) & (band % 2 == parity)).astype(np.uint8)
        n, found, stats, centres = cv2.connectedComponentsWithStats(chosen, connectivity=8)
        these = places[levels % 2 == parity]
        own = found.ravel()[these]
        labels[these] = own + len(slices)
        level = np.zeros(n, np.int32)
        level[own] = flat[these]
        widths = stats[1:, cv2.CC_STAT_AREA] / SLICE_PX
        middles = (centres[1:] + corner).tolist()
        slices += [Slice(*s) for s in zip(level[1:].tolist(), widths.tolist(), map(tuple, middles), strict=True)]
    touching = np.zeros((len(slices) + 1, len(slices) + 1), bool)
    here = labels[places]
    for step in (1, band.shape[1]):
        there = labels[places + step]
        apart = (there > 0) & (there != here)
        touching[here[apart], there[apart]] = True
    above: dict[int, set[int]] = {}
    for first, second in (np.argwhere(touching) - 1).tolist():
        low, high = (first, second) if slices[first].level < slices[second].level else (second, first)
        above.setdefault(low, set()).add(high)
    return slices, above


def _bands(mask: Mask, palm: Points) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """The level of every pixel of the silhouette, 0 elsewhere, uint8: the part of the patch that holds it and the palm,
    with a row and a column of 0 after it; and its corner (x, y) in the patch."""
    solid = mask.astype(np.uint8)
    hull = np.zeros_like(solid)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.round(palm).astype(np.int32)), (1,))
    x, y, width, height = cv2.boundingRect(solid | hull)
    window = (slice(y, y + height), slice(x, x + width))
    away = cv2.distanceTransform(1 - hull[window], cv2.DIST_L2, 5)
    level = np.maximum((away - FIRST_PX) / SLICE_PX + 1.0, 0.0).astype(np.uint8)
    band = np.zeros((height + 1, width + 1), np.uint8)
    np.multiply(level, solid[window], out=band[:height, :width])
    return band, (x, y)
