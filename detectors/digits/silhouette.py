"""Digits read off the hand's silhouette: what stands out of the palm, how far and how wide. No finger landmarks.

Two measures have to agree. The silhouette is cut into slices of equal distance from the palm's polygon (arcs that
follow the palm's own shape); the tree of these slices (a Reeb graph: Carr, Snoeyink & Axen 2003,
doi:10.1016/S0925-7721(02)00093-7) has a leaf for every part that stands out. And the outline's distance from the
palm's middle has a peak at every tip. A part about as wide as several fingers is several that have fused, unless dark
creases run along it: then they only touch.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

from detectors.digits.patch import CENTRE, PALM_PX, PATCH_PX, HandPatch
from detectors.digits.sighting import EXTRA, FINGERS, Digit, Sighting
from detectors.digits.skin import CERTAIN, below_wrist, hand_odds, outline
from detectors.trait import OK, Points

F32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

FINGER_PX = 0.22 * PALM_PX
"""Width of a slice through one finger, where no other finger of the hand shows what it is."""
SLICE_PX = 3
FIRST_PX = 0.08 * PALM_PX
WEB_PX = 0.28 * PALM_PX
"""The skin between two fingers ends here."""
STANDS_OUT = 0.18 * PALM_PX
"""A branch shorter than this is the bumpy end of another."""
FINGER_REACH = (0.53 * PALM_PX, 0.62 * PALM_PX)
"""Beyond the palm: below the first a folded finger's knuckle, above the second an extended finger."""
THUMB_REACH = (0.34 * PALM_PX, 0.42 * PALM_PX)
SLENDER, WIDE = 0.5, (1.5, 1.65)
"""Below the first number of finger widths no finger, below the second one, above the third several side by side."""
TOUCHING = 1.3
"""Fingers that touch take no more finger widths than this each."""
CREASED = 0.75
"""Share of a part's length along which a dark line must run to part two fingers."""
VALLEY = 0.12
"""How much darker than its sides that line is."""
SMALLEST_ACROSS = 0.4 * PALM_PX
"""A palm seen narrower than this is seen from its side."""
AREA = (0.8 * PALM_PX**2, 3.0 * PALM_PX**2)
UNDECIDED = 0.3
"""Of the pixels along the outline, outside and inside, the shares whose colour does not tell hand from background."""
EXTRA_COST = 0.35 * PALM_PX
"""A digit whose root is farther than this from where a free finger's would be is none of the five."""


@dataclass(frozen=True)
class Slice:
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

    @property
    def width_px(self) -> float:
        """Its width beyond the web, where it is rather wide: of fused fingers the longer ends alone."""
        return float(np.quantile([s.width_px for s in self.beyond(WEB_PX)], 0.75))

    def beyond(self, least_px: float) -> list[Slice]:
        """Its slices at least so far beyond the palm; its outermost one where there is none."""
        return [s for s in self.slices if FIRST_PX + SLICE_PX * s.level >= least_px] or self.slices[:1]

    @property
    def top(self) -> int:
        """Highest level that it reaches."""
        return max([s.level for s in self.slices[:1]] + [c.top for c in self.children])

    def leaves(self) -> list[Branch]:
        """The undivided parts."""
        return [leaf for child in self.children for leaf in child.leaves()] if self.children else [self]


def sight(patch: HandPatch) -> Sighting:
    """The digits of one hand, by its silhouette.

    States: ``pose``: the palm is seen from its side; ``unsegmented``: hand and background cannot be told apart by
    colour; ``ambiguous``: the two measures disagree, or a part is neither clearly a finger nor clearly none.
    """
    if float(np.linalg.norm(patch.palm[4] - patch.palm[1])) < SMALLEST_ACROSS:
        return Sighting("pose")
    odds = hand_odds(patch)
    mask = outline(patch, odds) & patch.inside
    if not _plausible(patch, mask, odds):
        return Sighting("unsegmented")
    roots = tree(mask, patch.palm)
    parts = _standing_parts(roots, patch.palm)
    if parts is None or not _trunks_explained(roots) or _tips(mask, patch.palm) != len(parts):
        return Sighting("ambiguous")
    return _named(patch, parts)


def _plausible(patch: HandPatch, mask: Mask, odds: F32) -> bool:
    """Whether the silhouette can be a hand's: its size, colours decided on both sides of its outline, no leaks."""
    above = ~below_wrist(patch.palm) & patch.inside
    if not AREA[0] <= float((mask & above).sum()) <= AREA[1]:
        return False
    solid = mask.astype(np.uint8)
    grown, shrunk = (change(solid, np.ones((9, 9), np.uint8)) > 0 for change in (cv2.dilate, cv2.erode))
    just_out, just_in = grown & ~mask & above, mask & ~shrunk & above
    undecided = (odds[just_out] > -0.5 * CERTAIN).mean() + (odds[just_in] < 0.5 * CERTAIN).mean()
    sides = float(mask[: int(patch.palm[0, 1]), [0, -1]].sum())
    return bool(undecided <= UNDECIDED and sides <= 3.5 * FINGER_PX and not _has_holes(mask, patch.palm))


def _has_holes(mask: Mask, palm: Points) -> bool:
    """Background that the silhouette encloses: fingers that form a ring, or a leak round something behind the hand."""
    _, _, stats, centres = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    low, high = stats[1:, :2].min(axis=1), (stats[1:, :2] + stats[1:, 2:4]).max(axis=1)
    enclosed = (low > 0) & (high < PATCH_PX) & (centres[1:, 1] < palm[0, 1])
    return bool((enclosed & (stats[1:, cv2.CC_STAT_AREA] > 0.4 * FINGER_PX**2)).any())


def _standing_parts(roots: list[Branch], palm: Points) -> list[Part] | None:
    """The parts that are digits, thumb's side first; None where one is neither clearly a digit nor clearly none."""
    leaves = {id(leaf): leaf for root in roots for leaf in root.leaves()}
    standing = [
        leaf
        for leaf in leaves.values()
        if not _is_arm(leaf, palm) and leaf.reach_px >= (THUMB_REACH if _by_thumb(leaf, palm) else FINGER_REACH)[0]
    ]
    unit = _finger_px(standing, palm)
    parts = []
    for leaf in sorted(standing, key=lambda leaf: _turn(_root(leaf))):
        part = Part(leaf, leaf.width_px / unit)
        thumb = _by_thumb(leaf, palm) and part.widths < WIDE[1]
        short = leaf.reach_px < (THUMB_REACH if thumb else FINGER_REACH)[1]
        if short and not thumb and leaf.reach_px < FINGER_REACH[0]:
            continue  # the knuckles of a fist, seen from the thumb's side
        if short or part.widths < SLENDER or WIDE[0] < part.widths < WIDE[1]:
            return None
        if part.widths > WIDE[1] and _leaves_patch(leaf):  # an arm, or something behind the hand
            return None
        parts.append(part)
    return parts


def _finger_px(leaves: list[Branch], palm: Points) -> float:
    """How wide this hand's fingers are: the median of those that stand alone, where there are two or more."""
    single = [leaf.width_px for leaf in leaves if leaf.width_px < WIDE[0] * FINGER_PX and not _by_thumb(leaf, palm)]
    return float(np.median(single)) if len(single) > 1 else FINGER_PX


def _turn(point: Points) -> float:
    """Angle about the palm's middle, from below over the thumb's side and up to the little finger's."""
    return float(np.arctan2(point[0] - CENTRE[0], CENTRE[1] - point[1]))


def _root(leaf: Branch) -> Points:
    """Where the part meets the web between the fingers, in patch pixels: the axis continued to 0.2 palm lengths."""
    centres = np.array([s.centre for s in leaf.slices])
    n = max(1, len(centres) // 4)
    top, bottom = centres[:n].mean(axis=0), centres[-n:].mean(axis=0)
    span = float(len(centres) - n) * SLICE_PX
    deeper = max(leaf.slices[-1].level * SLICE_PX + FIRST_PX + 0.5 * n * SLICE_PX - 0.2 * PALM_PX, 0.0)
    return np.asarray(bottom + (bottom - top) * (deeper / max(span, 1.0)))


def _root_px(leaf: Branch) -> float:
    """Width of the part's first quarter."""
    n = max(1, len(leaf.slices) // 4)
    return float(np.median([s.width_px for s in leaf.slices[-n:]]))


def _sockets(palm: Points) -> Points:
    """(5, 2): where the root of each finger is expected, thumb first."""
    knuckles = palm[1:5]
    along = knuckles - palm[0]
    along = along / np.linalg.norm(along, axis=1, keepdims=True)
    thumb = palm[6] - palm[5]
    thumb = thumb / max(float(np.linalg.norm(thumb)), 1e-6)
    return np.vstack([palm[6] + 0.2 * PALM_PX * thumb, knuckles + 0.2 * PALM_PX * along])


def _is_arm(leaf: Branch, palm: Points) -> bool:
    root = _root(leaf)
    to_wrist = float(np.linalg.norm(root - palm[0]))
    nearest = float(np.linalg.norm(_sockets(palm) - root, axis=1).min())
    return leaf.slices[0].centre[1] > palm[0, 1] or to_wrist < nearest


def _leaves_patch(leaf: Branch) -> bool:
    x = leaf.slices[0].centre[0]
    return not SLICE_PX < x < PATCH_PX - SLICE_PX


def _by_thumb(leaf: Branch, palm: Points) -> bool:
    return _nearest_finger(leaf, palm) == 0


def _nearest_finger(leaf: Branch, palm: Points) -> int:
    return int(np.argmin(np.linalg.norm(_sockets(palm) - _root(leaf), axis=1)))


def _trunks_explained(branches: list[Branch]) -> bool:
    """Whether what divides into parts is no wider than these: otherwise one has been missed."""
    for branch in branches:
        if not branch.children:
            continue
        standing = [s.width_px for s in branch.slices if s.level * SLICE_PX > FINGER_REACH[0]]
        parts = sum(leaf.width_px for leaf in branch.leaves())
        if (standing and float(np.median(standing)) > 1.5 * parts) or not _trunks_explained(branch.children):
            return False
    return True


def _tips(mask: Mask, palm: Points) -> int:
    """Peaks of the outline's distance from the palm's middle, those of folded fingers and of the arm left out."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    line = max(contours, key=len)[:, 0, :].astype(np.float64)
    away = np.hypot(line[:, 0] - CENTRE[0], line[:, 1] - CENTRE[1])
    start = int(np.argmax(line[:, 1]))  # at the arm, so that no tip lies across the seam
    line, away = np.roll(line, -start, axis=0), np.roll(away, -start)
    peaks, _ = find_peaks(cv2.blur(away, (1, 5))[:, 0], prominence=STANDS_OUT)
    hull = cv2.convexHull(palm.astype(np.float32))
    sockets = _sockets(palm)
    n = 0
    for x, y in line[peaks]:
        beyond = -cv2.pointPolygonTest(hull, (float(x), float(y)), True)
        thumb = int(np.argmin(np.linalg.norm(sockets - [x, y], axis=1))) == 0
        n += bool(y < palm[0, 1] and beyond > (THUMB_REACH if thumb else FINGER_REACH)[0])
    return n


def _named(patch: HandPatch, parts: list[Part]) -> Sighting:
    names = _names(parts, patch.palm)
    digits = []
    for part, group in zip(parts, names, strict=True):
        if group == (EXTRA,) and part.widths > WIDE[1]:
            return Sighting("ambiguous")
        creases = 0
        if part.widths < TOUCHING * len(group):  # fused fingers that are spread cannot be touching ones
            creases = _creases(patch, part.leaf, len(group))
        if creases not in (0, len(group) - 1):
            return Sighting("ambiguous")
        tip = part.leaf.slices[0].centre
        digits += [Digit((name,), tip) for name in group] if creases else [Digit(group, tip)]
    if names and names[0] == ("index",) and _hides_thumb(parts[0]):
        return Sighting("ambiguous")
    return Sighting(OK, tuple(digits))


def _hides_thumb(index: Part) -> bool:
    """Whether the index finger's root bulges to the thumb's side, as where a thumb lies along it."""
    low = [s for s in index.leaf.beyond(WEB_PX) if FIRST_PX + SLICE_PX * s.level < 0.42 * PALM_PX]
    high = index.leaf.beyond(0.5 * PALM_PX)
    if not low or len(high) < 2:
        return False
    bottom, top = high[-1].centre, high[0].centre
    root = low[len(low) // 2]
    lean = (top[0] - bottom[0]) / max(bottom[1] - top[1], 1.0)
    aside = bottom[0] - lean * (root.centre[1] - bottom[1]) - root.centre[0]
    width = float(np.median([s.width_px for s in high]))
    return root.width_px > WIDE[0] * width and aside > 0.3 * width


def _names(parts: list[Part], palm: Points) -> list[tuple[str, ...]]:
    """The cheapest names in order: roots near where a finger's would be, widths as of so many fingers."""
    sockets = _sockets(palm)

    def cheapest(i: int, free: int) -> tuple[float, list[tuple[str, ...]]]:
        if i == len(parts):
            return 0.0, []
        cost, names = cheapest(i + 1, free)
        best = (cost + EXTRA_COST, [(EXTRA,), *names])
        sizes = (1,) if parts[i].widths < WIDE[1] else (2, 3, 4)
        for first in range(free, len(FINGERS)):
            for size in sizes:
                if first + size > len(FINGERS):
                    continue
                away = float(np.linalg.norm(_root(parts[i].leaf) - sockets[first : first + size].mean(axis=0)))
                span = float(np.linalg.norm(sockets[first + size - 1] - sockets[first])) + FINGER_PX
                misfit = 0.5 * abs(_root_px(parts[i].leaf) - span) if size > 1 else 0.0
                cost, names = cheapest(i + 1, first + size)
                if away + misfit + cost < best[0]:
                    best = (away + misfit + cost, [FINGERS[first : first + size], *names])
        return best

    return cheapest(0, 0)[1]


def _creases(patch: HandPatch, part: Branch, n_fingers: int) -> int:
    """Dark lines between fingers along a wide part, from its root to near its tip, out of ``n_fingers - 1``."""
    strip = _strip(patch, part)
    rows, columns = strip.shape
    dark = cv2.morphologyEx(strip, cv2.MORPH_BLACKHAT, np.ones((1, 9), np.uint8)) > VALLEY * strip
    near = cv2.dilate(dark.astype(np.uint8), np.ones((1, 3), np.uint8))
    found = 0
    for i in range(1, n_fingers):
        middle, slack = i * columns / n_fingers, 0.35 * columns / n_fingers
        ends = np.arange(round(middle - slack), round(middle + slack) + 1)
        lines = [np.linspace(top, bottom, rows).round().astype(int) for top in ends for bottom in ends]
        found += max(near[np.arange(rows), line].mean() for line in lines) >= CREASED
    return found


def _strip(patch: HandPatch, part: Branch) -> F32:
    """Luminance along a part, float32 (length, width): root in the last row, without the rounded tip."""
    width = part.width_px
    centres = np.array([s.centre for s in part.beyond(WEB_PX) if s.width_px > 0.8 * width])
    n = max(1, len(centres) // 4)
    top, bottom = centres[:n].mean(axis=0), centres[-n:].mean(axis=0)
    length = float(np.linalg.norm(bottom - top))
    along = (bottom - top) / max(length, 1e-6)
    across = np.array([-along[1], along[0]])
    rows, columns = np.mgrid[0 : max(8, round(length)), 0 : round(width)].astype(np.float32)
    offset = columns - (width - 1.0) / 2.0
    x = (top[0] + rows * along[0] + offset * across[0]).astype(np.float32)
    y = (top[1] + rows * along[1] + offset * across[1]).astype(np.float32)
    grey = cv2.cvtColor(patch.pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.asarray(cv2.remap(grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


@dataclass(frozen=True)
class Part:
    """A digit, or several that have fused or touch: ``widths`` in widths of one finger of this hand."""

    leaf: Branch
    widths: float


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
    width = sum(piece.width_px for piece in pieces)
    x = sum(piece.width_px * piece.centre[0] for piece in pieces) / width
    y = sum(piece.width_px * piece.centre[1] for piece in pieces) / width
    return Slice(pieces[0].level, width, (x, y), len(pieces))


def _slices(mask: Mask, palm: Points) -> tuple[list[Slice], dict[int, set[int]]]:
    """All slices, level 1 next to the palm, and for each the slices above that touch it."""
    band = _bands(mask, palm)
    labels = np.zeros(band.shape, np.int32)
    slices: list[Slice] = []
    for parity in (0, 1):  # bands of one parity never touch each other
        chosen = (band > 0) & (band % 2 == parity)
        n, found, stats, centres = cv2.connectedComponentsWithStats(chosen.astype(np.uint8), connectivity=8)
        level = np.zeros(n, np.int32)
        level[found.ravel()] = band.ravel()
        labels[chosen] = found[chosen] + len(slices)
        slices += [
            Slice(int(level[i]), float(stats[i, cv2.CC_STAT_AREA]) / SLICE_PX, (centres[i, 0], centres[i, 1]))
            for i in range(1, n)
        ]
    above: dict[int, set[int]] = {}
    for a, b in ((labels[:-1], labels[1:]), (labels[:, :-1], labels[:, 1:])):
        touching = (a > 0) & (b > 0) & (a != b)
        for first, second in np.unique(np.stack([a[touching], b[touching]], axis=1), axis=0) - 1:
            low, high = sorted((int(first), int(second)), key=lambda i: slices[i].level)
            above.setdefault(low, set()).add(high)
    return slices, above


def _bands(mask: Mask, palm: Points) -> NDArray[np.int32]:
    beyond = np.ones((PATCH_PX, PATCH_PX), np.uint8)
    cv2.fillConvexPoly(beyond, cv2.convexHull(np.round(palm).astype(np.int32)), 0)
    away = cv2.distanceTransform(beyond, cv2.DIST_L2, 5)
    return np.asarray(np.where(mask & (away > FIRST_PX), (away - FIRST_PX) / SLICE_PX + 1.0, 0.0), np.int32)
