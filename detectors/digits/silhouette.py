"""Digits read off the hand's silhouette: what stands out of the palm, how far and how wide. No finger landmarks.

Two measures have to agree. The tree of the silhouette's slices (arcs that follow the palm's own shape) has a leaf for
every part that stands out; and the outline's distance from the palm's middle has a peak at every tip. A part about as
wide as several fingers is several that have fused, unless dark creases run along it: then they only touch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

from detectors.digits.branches import FIRST_PX, ROOT_PX, SLICE_PX, STANDS_OUT, WEB_PX, Branch, tree
from detectors.digits.patch import CENTRE, PALM_PX, PATCH_PX, HandPatch
from detectors.digits.sighting import EXTRA, FINGERS, Digit, Sighting
from detectors.digits.skin import CERTAIN, below_wrist, hand_odds, outline, palm_core
from detectors.trait import OK, Points

F32 = NDArray[np.float32]
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
    if not palm_core(patch).any():
        return Sighting("pose")  # a palm too thin to show its colour
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
    for leaf in sorted(standing, key=lambda leaf: _turn(leaf.root)):
        part = Part(leaf, leaf.width_px / unit)
        thumb = _by_thumb(leaf, palm) and part.widths < WIDE[1]
        short = leaf.reach_px < (THUMB_REACH if thumb else FINGER_REACH)[1]
        if short and not thumb and leaf.reach_px < FINGER_REACH[0]:
            continue  # the knuckles of a fist, seen from the thumb's side
        if short or part.widths < SLENDER:
            return None
        if part.widths > WIDE[1] and _leaves_patch(leaf):  # an arm, or something behind the hand
            return None
        parts.append(part)
    return parts


def _finger_px(leaves: list[Branch], palm: Points) -> float:
    """How wide this hand's fingers are: the median of those that stand alone, where there are two or more."""
    widths = [leaf.width_px for leaf in leaves if not _by_thumb(leaf, palm)]
    single = [width for width in widths if width < WIDEST_FINGER * FINGER_PX]
    return float(np.median(single)) if len(single) > 1 else FINGER_PX


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


def _is_arm(leaf: Branch, palm: Points) -> bool:
    root = leaf.root
    to_wrist = float(np.linalg.norm(root - palm[0]))
    nearest = float(np.linalg.norm(_sockets(palm) - root, axis=1).min())
    return leaf.slices[0].centre[1] > palm[0, 1] or to_wrist < nearest


def _leaves_patch(leaf: Branch) -> bool:
    x = leaf.slices[0].centre[0]
    return not SLICE_PX < x < PATCH_PX - SLICE_PX


def _by_thumb(leaf: Branch, palm: Points) -> bool:
    return _nearest_finger(leaf, palm) == 0


def _nearest_finger(leaf: Branch, palm: Points) -> int:
    return int(np.argmin(np.linalg.norm(_sockets(palm) - leaf.root, axis=1)))


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
    touching = [_touching(patch, part) for part in parts]
    digits = []
    for part, names, n in zip(parts, _names(parts, patch.palm, touching), touching, strict=True):
        unclear = n == 1 and WIDE[0] < part.widths < WIDE[1] and names != (FINGERS[0],)  # thumbs are wider
        partly = n == 0 and part.widths < CLOSE * len(names)  # fused spread fingers bear lines that part nothing
        nameless = names == (EXTRA,) and (n > 1 or part.widths > WIDE[1])  # several digits and no fingers left for them
        if unclear or partly or nameless:
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
    width = float(np.median([s.width_px for s in high]))
    return root.width_px > WIDE[0] * width and aside > 0.3 * width


def _names(parts: list[Part], palm: Points, touching: list[int]) -> list[tuple[str, ...]]:
    """The cheapest names in order: roots near where a finger's would be, widths as of so many fingers."""
    sockets = _sockets(palm)

    def cost_of(i: int, first: int, size: int) -> float:
        leaf, group = parts[i].leaf, sockets[first : first + size]
        away = float(np.linalg.norm(leaf.root - group.mean(axis=0)))
        wider = leaf.root_px - float(np.linalg.norm(group[-1] - group[0])) - FINGER_PX
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


def _touching(patch: HandPatch, part: Part) -> int:
    """How many fingers lie side by side in a part, parted by dark lines; 1: no line; 0: lines that leave more than one
    finger's width."""
    if part.widths < WIDEST_FINGER or (part.widths < WIDE[1] and _by_thumb(part.leaf, patch.palm)):
        return 1
    creases = _creases(_strip(patch, part.leaf))
    if not creases:
        return 1
    fingers = np.diff([0, *creases, part.leaf.width_px]) / part.leaf.width_px * part.widths
    return len(fingers) if fingers.max() < CLOSE and len(fingers) <= 4 else 0


def _creases(strip: F32) -> list[int]:
    """Columns of a part's strip along which a dark line runs from its root to near its tip."""
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
