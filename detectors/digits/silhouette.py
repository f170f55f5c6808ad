"""Digits read off the hand's silhouette: what stands out of the palm, how far and how wide.

Landmarks, where there are any, only locate: they say where to learn colours and what lies too far away to belong to the
hand (skin.py), so that an arm or a face cut off there is known to be none of its digits; and a fingertip of theirs that
lies in the silhouette and in none of its parts makes the count doubtful. Hands without landmarks do with the palm's
seven points. Either way the outline alone says how many digits there are and of what width.

Two measures have to agree. The tree of the silhouette's slices (arcs that follow the palm's own shape) has a leaf for
every part that stands out; and the outline's distance from the palm's middle has a peak at every tip. A part about as
wide as several fingers is several that have fused, unless dark creases run along it: then they only touch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from itertools import compress
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from detectors.digits.branches import FIRST_PX, ROOT_PX, SLICE_PX, STANDS_OUT, WEB_PX, Branch, tree
from detectors.digits.patch import CENTRE, PALM_PX, PATCH_PX, HandPatch
from detectors.digits.sighting import EXTRA, FINGERS, Digit, Sighting
from detectors.digits.skin import (
    BELT_PX,
    CERTAIN,
    THIN,
    away_px,
    below_wrist,
    enclosed_px,
    hand_odds,
    outline,
    palm_core,
)
from detectors.trait import OK, Points

F32 = NDArray[np.float32]
Line = NDArray[np.int32]
Mask = NDArray[np.bool_]

FINGER_PX = 0.22 * PALM_PX
"""Width of a slice through one finger, where no other finger of the hand shows what it is."""
FINGER_REACH = (0.53 * PALM_PX, 0.62 * PALM_PX)
"""Beyond the palm: below the first a folded finger's knuckle, above the second an extended finger."""
THUMB_REACH = (0.34 * PALM_PX, 0.42 * PALM_PX)
THINNEST_PX = 0.4 * FINGER_PX
"""Less is left of no finger between two lines or edges."""
WIDEST_FINGER = 1.3
"""Slender fingers side by side are wider than this many usual widths."""
SLENDER, WIDE = 0.5, (1.5, 1.65)
"""Below the first number of finger widths no finger, below the second one, above the third several side by side."""
CLOSE = 1.3
"""Fingers side by side take no more finger widths than this each."""
NARROW = 0.7
"""And no less, else the line runs along a single one, between light and shade."""
CREASED = 0.75
"""Share of a part's length along which a dark line must run to part two fingers."""
VALLEY = 0.12
"""How much darker than its sides that line is."""
SMALLEST_ACROSS = 0.4 * PALM_PX
"""A palm seen narrower than this is seen from its side."""
CUT_PX = 2.0
"""What ends so near to the belt's outer edge has been cut there."""
WIDE_ARM = 2.3
"""What is as many fingers wide and is cut off beside the palm is an arm or a face."""
AREA = (0.8 * PALM_PX**2, 3.5 * PALM_PX**2)
UNDECIDED = 0.3
"""Of the pixels along the outline, outside and inside, the shares whose colour does not tell hand from background."""
EXTRA_COST = 0.35 * PALM_PX
"""A digit whose root is farther than this from where a free finger's would be is none of the five."""


@dataclass(frozen=True)
class Part:
    """A digit, or several that have fused or touch: ``widths`` in widths of one finger of this hand."""

    leaf: Branch
    widths: float


def sight(patch: HandPatch) -> Sighting:
    """The digits of one hand, by its silhouette.

    States: ``pose``: the palm is seen from its side; ``unsegmented``: hand and background cannot be told apart by
    colour; ``ambiguous``: the two measures disagree, or a part is neither clearly a finger nor clearly none.
    """
    if float(np.linalg.norm(patch.palm[4] - patch.palm[1])) < SMALLEST_ACROSS:
        return Sighting("pose")
    core = palm_core(patch)
    if not core[::THIN, ::THIN].any():
        return Sighting("pose")  # a palm too thin to show its colour
    away = away_px(patch)
    odds = hand_odds(patch, core, away)
    mask = outline(patch, core, odds) & patch.inside
    if not _plausible(patch, mask, odds):
        return Sighting("unsegmented")
    outer, holes = _lines(mask)
    if _has_holes(holes, patch.palm):
        return Sighting("unsegmented")
    roots = tree(mask, patch.palm)
    sockets = _sockets(patch.palm)
    parts = _standing_parts(patch, roots, sockets, away)
    explained = parts is not None and _trunks_explained(roots) and not _misses_one(patch, mask, parts)
    if parts is None or not explained or _tips(patch, outer, sockets, away) != len(parts):
        return Sighting("ambiguous")
    return _named(patch, parts, sockets)


def _lines(mask: Mask) -> tuple[Line, list[Line]]:
    """The silhouette's outer line (n, 2) and those round the holes in it."""
    found, nested = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    lines = [np.asarray(line, np.int32)[:, 0] for line in found]
    inner = nested[0, :, 3] >= 0
    return max(compress(lines, ~inner), key=len), list(compress(lines, inner))


def _plausible(patch: HandPatch, mask: Mask, odds: F32) -> bool:
    """Whether the silhouette can be a hand's: its size, colours decided on both sides of its outline, no leaks."""
    above = ~below_wrist(patch.palm) & patch.inside
    if not AREA[0] <= np.count_nonzero(mask & above) <= AREA[1]:
        return False
    solid = mask.astype(np.uint8)
    near_out = cv2.dilate(solid, _SQUARE).astype(bool) & ~mask & above
    near_in = mask & ~cv2.erode(solid, _SQUARE).astype(bool) & above
    undecided = _share(odds > -0.5 * CERTAIN, near_out) + _share(odds < 0.5 * CERTAIN, near_in)
    sides = np.count_nonzero(mask[: int(patch.palm[0, 1]), [0, -1]])
    return bool(undecided <= UNDECIDED and sides <= 3.5 * FINGER_PX)


def _share(what: Mask, of: Mask) -> float:
    return np.count_nonzero(what & of) / max(np.count_nonzero(of), 1)


def _has_holes(holes: list[Line], palm: Points) -> bool:
    """Background that the silhouette encloses: fingers that form a ring, or a leak round something behind the hand."""
    return any(
        enclosed_px(hole) > 0.4 * FINGER_PX**2 and float(hole[..., 1].mean()) < float(palm[0, 1]) for hole in holes
    )


def _standing_parts(patch: HandPatch, roots: list[Branch], sockets: Points, away: F32) -> list[Part] | None:
    """The parts that are digits, thumb's side first; None where one is neither clearly a digit nor clearly none."""
    far = {id(leaf): leaf for root in roots for leaf in root.leaves() if leaf.reach_px >= THUMB_REACH[0]}
    near_thumb = {name: _by_thumb(leaf, sockets) for name, leaf in far.items()}
    standing = [
        leaf
        for name, leaf in far.items()
        if (near_thumb[name] or leaf.reach_px >= FINGER_REACH[0]) and not _is_arm(leaf, patch.palm, sockets)
    ]
    unit = _finger_px([leaf for leaf in standing if not near_thumb[id(leaf)]])
    parts = []
    for leaf in sorted(standing, key=lambda leaf: _turn(leaf.root)):
        part = Part(leaf, leaf.width_px / unit)
        if _is_cut(patch, leaf.slices[0].centre, away):
            if part.widths < WIDE_ARM or leaf.root[1] < patch.palm[1:5, 1].mean():
                return None  # it may be a finger that the landmarks do not know
            continue
        thumb = near_thumb[id(leaf)] and part.widths < WIDE[1]
        short = leaf.reach_px < (THUMB_REACH if thumb else FINGER_REACH)[1]
        if short and not thumb and leaf.reach_px < FINGER_REACH[0]:
            continue  # the knuckles of a fist, seen from the thumb's side
        if short or part.widths < SLENDER:
            return None
        if part.widths > WIDE[1] and _leaves_patch(leaf):  # an arm, or something behind the hand
            return None
        parts.append(part)
    return parts


def _is_cut(patch: HandPatch, point: tuple[float, float], away: F32) -> bool:
    """Whether the silhouette ends at ``point`` because the landmarks are far, as an arm's or a face's does."""
    x, y = point
    return patch.landmarks is not None and bool(away[int(y) // THIN, int(x) // THIN] > BELT_PX[1] - CUT_PX)


def _misses_one(patch: HandPatch, mask: Mask, parts: list[Part]) -> bool:
    """Whether the silhouette holds a fingertip of the landmarks far beyond the palm that is in none of the parts, for
    instance in front of an arm: then the parts are not all that there are. Landmarks add no digit and take none away.
    """
    if patch.landmarks is None:
        return False
    hull = cv2.convexHull(patch.palm.astype(np.float32))
    for i, tip in enumerate(patch.landmarks[4::4]):
        x, y = np.clip(np.round(tip), 0, PATCH_PX - 1).astype(int).tolist()
        reach = -cv2.pointPolygonTest(hull, tip.tolist(), True)
        stretched = reach > (FINGER_REACH if i else THUMB_REACH)[1]
        if mask[y, x] and stretched and not any(_holds(part.leaf, tip) for part in parts):
            return True
    return False


def _holds(leaf: Branch, point: Points) -> bool:
    """Whether ``point`` lies in a part that stands out."""
    x, y = point.tolist()
    return any(math.hypot(s.centre[0] - x, s.centre[1] - y) < s.width_px / 2 + SLICE_PX for s in leaf.slices)


def _finger_px(fingers: list[Branch]) -> float:
    """How wide this hand's fingers are: the median of those that stand alone, where there are two or more."""
    single = [leaf.width_px for leaf in fingers if leaf.width_px < WIDEST_FINGER * FINGER_PX]
    return median(single) if len(single) > 1 else FINGER_PX


def _turn(point: Points) -> float:
    """Angle about the palm's middle, from below over the thumb's side and up to the little finger's."""
    return float(np.arctan2(point[0] - CENTRE[0], CENTRE[1] - point[1]))


def _sockets(palm: Points) -> Points:
    """(5, 2): where the root of each finger is expected, thumb first."""
    knuckles = palm[1:5]
    along = knuckles - palm[0]
    along = along / np.linalg.norm(along, axis=1, keepdims=True)
    thumb = palm[6] - palm[5]
    thumb = thumb / max(float(np.linalg.norm(thumb)), 1e-6)
    return np.vstack([palm[6] + ROOT_PX * thumb, knuckles + ROOT_PX * along])


def _is_arm(leaf: Branch, palm: Points, sockets: Points) -> bool:
    to_wrist = float(np.linalg.norm(leaf.root - palm[0]))
    nearest = float(np.linalg.norm(sockets - leaf.root, axis=1).min())
    return leaf.slices[0].centre[1] > palm[0, 1] or to_wrist < nearest


def _leaves_patch(leaf: Branch) -> bool:
    x = leaf.slices[0].centre[0]
    return not SLICE_PX < x < PATCH_PX - SLICE_PX


def _by_thumb(leaf: Branch, sockets: Points) -> bool:
    return int(np.linalg.norm(sockets - leaf.root, axis=1).argmin()) == 0


def _trunks_explained(branches: list[Branch]) -> bool:
    """Whether what divides into parts is no wider than these: otherwise one has been missed."""
    for branch in branches:
        if not branch.children:
            continue
        standing = [s.width_px for s in branch.slices if s.level * SLICE_PX > FINGER_REACH[0]]
        parts = sum(leaf.width_px for leaf in branch.leaves())
        if (standing and median(standing) > 1.5 * parts) or not _trunks_explained(branch.children):
            return False
    return True


def _tips(patch: HandPatch, line: Line, sockets: Points, away: F32) -> int:
    """Peaks of the outline's distance from the palm's middle, those of folded fingers and of the arm left out."""
    from scipy.signal import find_peaks  # noqa: PLC0415  # half a second that faces without hands spare

    palm = patch.palm
    start = int(np.argmax(line[:, 1]))  # at the arm, so that no tip lies across the seam
    line = np.concatenate([line[start:], line[:start]])
    far = np.hypot(line[:, 0] - CENTRE[0], line[:, 1] - CENTRE[1])
    peaks, _ = find_peaks(cv2.blur(far, (1, 5))[:, 0], prominence=STANDS_OUT)
    hull = cv2.convexHull(palm.astype(np.float32))
    n = 0
    for x, y in line[peaks].tolist():
        if y >= palm[0, 1] or _is_cut(patch, (x, y), away):
            continue
        near = np.hypot(sockets[:, 0] - x, sockets[:, 1] - y)
        if math.hypot(palm[0, 0] - x, palm[0, 1] - y) < near.min():
            continue
        thumb = int(near.argmin()) == 0
        n += -cv2.pointPolygonTest(hull, (x, y), True) > (THUMB_REACH if thumb else FINGER_REACH)[0]
    return n


def _named(patch: HandPatch, parts: list[Part], sockets: Points) -> Sighting:
    touching = [_touching(patch, part, sockets) for part in parts]
    digits = []
    for part, names, n in zip(parts, _names(parts, sockets, touching), touching, strict=True):
        unclear = n == 1 and WIDE[0] < part.widths < WIDE[1] and names != (FINGERS[0],)  # thumbs are wider
        partly = n == 0 and part.widths < CLOSE * len(names)  # fused spread fingers bear lines that part nothing
        nameless = names == (EXTRA,) and (n > 1 or part.widths > WIDE[1])  # several digits and no fingers left for them
        slight = n > 1 and part.widths < NARROW * n
        if unclear or partly or nameless or slight:
            return Sighting("ambiguous")
        groups = [(name,) for name in names] if n > 1 else [names]
        digits += [Digit(group, tip) for group, tip in zip(groups, _ends(part.leaf, max(n, 1)), strict=True)]
    if digits and digits[0].names == ("index",) and _hides_thumb(parts[0]):
        return Sighting("ambiguous")
    return Sighting(OK, tuple(digits))


def _ends(leaf: Branch, n: int) -> list[tuple[float, float]]:
    """Tips of ``n`` fingers side by side: the part's own where it is one, else spread where it is still wide."""
    if n == 1:
        return [leaf.slices[0].centre]
    centres = leaf.wide_centres()
    along = centres[-1] - centres[0]
    across = np.array([along[1], -along[0]]) / max(float(np.linalg.norm(along)), 1e-6)
    steps = (np.arange(n) - (n - 1) / 2) * leaf.width_px / n
    return [(float(x), float(y)) for x, y in centres[0] + steps[:, None] * across]


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
    width = median(s.width_px for s in high)
    return root.width_px > WIDE[0] * width and aside > 0.3 * width


def _names(parts: list[Part], sockets: Points, touching: list[int]) -> list[tuple[str, ...]]:
    """The cheapest names in order: roots near where a finger's would be, widths as of so many fingers."""
    places = sockets.tolist()
    roots = [(*part.leaf.root.tolist(), part.leaf.root_px) for part in parts]

    def cost_of(i: int, first: int, size: int) -> float:
        x, y, root_px = roots[i]
        group = places[first : first + size]
        away = math.hypot(x - sum(p[0] for p in group) / size, y - sum(p[1] for p in group) / size)
        wider = root_px - math.dist(group[-1], group[0]) - FINGER_PX
        # Fingers that close up are narrower than their knuckles.
        return away + (max(0.5 * wider, -0.15 * wider) if size > 1 else 0.0)

    @cache
    def cheapest(i: int, free: int) -> tuple[float, tuple[tuple[str, ...], ...]]:
        if i == len(parts):
            return 0.0, ()
        cost, names = cheapest(i + 1, free)
        options = [(cost + EXTRA_COST, ((EXTRA,), *names))]
        sizes = (touching[i],) if touching[i] > 1 else (1,) if parts[i].widths < WIDE[1] else (2, 3, 4)
        for size in sizes:
            for first in range(free, len(FINGERS) - size + 1):
                cost, names = cheapest(i + 1, first + size)
                options.append((cost + cost_of(i, first, size), (FINGERS[first : first + size], *names)))
        return min(options)

    return list(cheapest(0, 0)[1])


def _touching(patch: HandPatch, part: Part, sockets: Points) -> int:
    """How many fingers lie side by side in a part, parted by dark lines; 1: no line; 0: lines that leave more than one
    finger's width."""
    if part.widths < WIDEST_FINGER or (part.widths < WIDE[1] and _by_thumb(part.leaf, sockets)):
        return 1
    creases = _creases(_strip(patch, part.leaf))
    if not creases:
        return 1
    fingers = np.diff([0, *creases, part.leaf.width_px]) / part.leaf.width_px * part.widths
    return len(fingers) if fingers.max() < CLOSE and len(fingers) <= 4 else 0


def _creases(strip: F32) -> list[int]:
    """Columns of a part's strip along which a dark line runs from its root to near its tip."""
    from scipy.signal import find_peaks  # noqa: PLC0415  # as in _tips

    rows, columns = strip.shape
    dark = cv2.morphologyEx(strip, cv2.MORPH_BLACKHAT, np.ones((1, 9), np.uint8)) > VALLEY * strip
    near = cv2.dilate(dark.astype(np.uint8), np.ones((1, 3), np.uint8)).astype(np.float32)
    down = np.linspace(-0.5, 0.5, rows)
    share = np.zeros(columns)
    for lean in range(-6, 7, 2):  # pixels from its root to its tip
        across = np.clip(np.arange(columns)[None, :] + np.round(lean * down)[:, None].astype(int), 0, columns - 1)
        share = np.maximum(share, np.take_along_axis(near, across, axis=1).mean(axis=0))
    share[: round(THINNEST_PX)] = share[-round(THINNEST_PX) :] = 0.0
    lines, _ = find_peaks(share, height=CREASED, distance=round(THINNEST_PX))
    return [int(x) for x in lines]


def _strip(patch: HandPatch, part: Branch) -> F32:
    """Luminance along a part, float32 (length, width): root in the last row, without the rounded tip."""
    width = part.width_px
    centres = part.wide_centres()
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


_SQUARE = np.ones((9, 9), np.uint8)
