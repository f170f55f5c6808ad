"""Bones propose, pixels decide: walking along the fingers that the landmark model claims to be stretched out.

The landmark model always returns five fingers, whatever the picture shows. Here each claim is put to the
pixels: is there skin along the bone and does it end at the tip; and, between two neighbours, is there a
gap (the background's colour), a crease (a dark line along both), or neither, so that the two have fused.
Every threshold is relative: to the contrast between the hand and what is behind it, and to the skin's own texture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detectors.digits.patch import PALM_PX, PATCH_PX, HandPatch
from detectors.digits.sighting import FINGERS, PAIRS, Digit, Sighting
from detectors.trait import OK, Pixels, Points

Numbers = NDArray[np.float32]

NO_LANDMARKS, SIDE_VIEW, AMBIGUOUS = "no_landmarks", "side_view", "ambiguous"

STRAIGHT_DEG, BENT_DEG = 45.0, 60.0
"""Bend summed over a finger's two joints: stretched out below the first, folded above the second."""
FORWARD_DEG, BACK_DEG = 50.0, 70.0
"""Angle between a finger and the ray from the wrist through its knuckle: likewise."""
SHORT = 0.25
"""A straight finger that seems shorter than this, in palm lengths, points at the camera: it cannot be judged."""
THUMB_AWAY, THUMB_NEAR = 0.35, 0.10
"""How far the thumb's tip lies outside the index finger's knuckle, in palm lengths: stretched out above the first, laid
on the hand below the second, held beside it in between."""
EDGE_ON = 0.38
"""A palm whose knuckles span less than this share of its length is seen from the side."""

N_ALONG, N_ACROSS = 24, 25
SMOOTH_ALONG = 7
"""Stations averaged along the fingers: a gap or crease runs along them, wrinkles run across."""
INNER = slice(4, 21)
"""The part of a profile in which a gap or a crease is looked for; beyond it lie the fingers' middles."""
WEB = 0.4
"""Share of a finger, from its knuckle, that lies within the palm's skin."""
ABREAST_DEG = 30.0
"""Fingers that spread by more are compared at equal distances from their roots, others where they lie abreast."""
BEHIND_HAND, IN_DOUBT = 0.65, 0.45
"""Share of the way from the hand's colour to the colour behind it: not a finger above the first, doubtful above the
second."""
FAINT = 4.0
"""In CIELAB units (about two just noticeable differences): what differs by less cannot be told apart."""
GAP = 0.75
"""Difference from both fingers' colours that is a gap, as a share of their contrast to what is behind."""
PARTED, CREASED, JOINED = 4.0, 1.2, 1.3
"""That share times the ratio of the difference to the skin's own texture: parted above the first, or above the second
if there is a dark line too; joined below the third."""
DARK_LINE = 3.5
"""Depth of a dark line over that of the lines on the fingers themselves."""
ALONG = np.linspace(0.45, 0.95, 10)
"""Where on a bone, as a share of its length, the finger's colour is taken."""
BEYOND_PX = np.arange(10.0, 40.0, 3.0)
"""Where the colour beyond a tip is taken; the landmark lies about 5 px short of the finger's end."""
COARSE = 64
CELL_PX = PATCH_PX / COARSE
LIKE, NEARER = 12.0, 0.7
"""Greatest distance in CIELAB of what is taken for the hand's colour away from its bones; and as a share of the
distance to the nearest colour behind the hand."""
PIECE_DEPTH_PX, PIECE_LENGTH_PX = 5.0, 15.0
"""Size of what sticks out and is no mere rim of a finger or of the palm."""
MOST = 0.6
"""Share of the stations that must agree."""


@dataclass(frozen=True)
class Bone:
    """A finger's axis: ``joints`` float64 (n, 2) in patch pixels from the knuckle to the tip."""

    name: str
    joints: Points

    @cached_property
    def arc(self) -> NDArray[np.float64]:
        """Distance of each joint from the first along the bone, in pixels."""
        steps = np.linalg.norm(np.diff(self.joints, axis=0), axis=1)
        return np.concatenate([[0.0], np.cumsum(steps)])

    @property
    def length(self) -> float:
        """In pixels."""
        return float(self.arc[-1])

    def at(self, distance: NDArray[np.float64]) -> Points:
        """Points (n, 2) this far along the bone; beyond its end straight on."""
        arc = self.arc
        inside = np.stack([np.interp(distance, arc, self.joints[:, i]) for i in (0, 1)], axis=-1)
        last = _unit(self.joints[-1] - self.joints[-2])
        return np.asarray(inside + np.maximum(distance - arc[-1], 0.0)[:, None] * last)

    def strip(self, distance: NDArray[np.float64], half_width_px: float) -> Points:
        """Points (n, 5, 2) across the bone at these distances."""
        along = _unit(self.joints[-1] - self.joints[0])
        across = np.linspace(-half_width_px, half_width_px, 5)[:, None] * np.array([-along[1], along[0]])
        return np.asarray(self.at(distance)[:, None] + across)


@dataclass(frozen=True)
class Between:
    """What lies between the axes of two neighbours, at stations from the web to the shorter tip, float32 (24,).

    ``apart``: largest difference in CIELAB from the blend of both fingers' colours; ``valley``: depth of the darkest
    line in L*; ``grain``, ``grain_valley``: the same within the smoother of the two fingers, the skin's own texture.
    """

    apart: Numbers
    valley: Numbers
    grain: Numbers
    grain_valley: Numbers


def sight(patch: HandPatch) -> Sighting:
    """The digits that the landmarks claim and the pixels confirm.

    States: ``no_landmarks``; ``side_view`` where the palm is seen edge-on; ``ambiguous`` where a finger is half bent,
    points at the camera, cannot be told from what is behind it, or is neither clearly joined to nor parted from
    its neighbour.
    """
    if patch.landmarks is None:
        return Sighting(NO_LANDMARKS)
    if _edge_on(patch.landmarks):
        return Sighting(SIDE_VIEW)
    poses = _poses(patch.landmarks)
    if any(poses[name] is None for name in FINGERS[1:]) or (poses["thumb"] is None and not poses["index"]):
        return Sighting(AMBIGUOUS)
    bones = [_bone(patch.landmarks, name) for name, extended in poses.items() if extended is not False]
    colours = _colours(patch, bones)
    seen = [_seen(i, bones, colours) for i in range(len(bones))]
    if None in seen or _unexplained(patch, bones, colours):
        return Sighting(AMBIGUOUS)
    present = [bone for bone, there in zip(bones, seen, strict=True) if there]
    sighting = _join(patch, present, colours.contrast)
    # A thumb held to the index finger counts where a gap or crease parts them; else it may be the finger's flank.
    if poses["thumb"] is None and "thumb-index" in sighting.fused_pairs:
        return Sighting(AMBIGUOUS)
    return sighting


def claimed(landmarks: Points) -> tuple[str, ...]:
    """Names of the fingers that the landmarks (21, 2), in patch pixels, show stretched out, thumb first."""
    return tuple(name for name, extended in _poses(landmarks).items() if extended)


def _poses(landmarks: Points) -> dict[str, bool | None]:
    """Per finger: stretched out, folded, or None where neither is clear."""
    return {name: (_thumb_pose if name == "thumb" else _finger_pose)(landmarks, name) for name in FINGERS}


def _chain(landmarks: Points, name: str) -> Points:
    first = 1 + 4 * FINGERS.index(name)
    return landmarks[first : first + 4]


def _angles_deg(landmarks: Points, name: str) -> tuple[float, float]:
    """(bend summed over the two joints, turn away from the ray that runs from the wrist to the finger's root)."""
    chain = _chain(landmarks, name)
    bones = np.diff(chain, axis=0)
    bend = _turn_deg(bones[0], bones[1]) + _turn_deg(bones[1], bones[2])
    return bend, _turn_deg(chain[0] - landmarks[0], chain[-1] - chain[0])


def _finger_pose(landmarks: Points, name: str) -> bool | None:
    bend, turn = _angles_deg(landmarks, name)
    if bend >= BENT_DEG or turn >= BACK_DEG:
        return False
    chain = _chain(landmarks, name)
    long_enough = float(np.linalg.norm(chain[-1] - chain[0])) >= SHORT * PALM_PX
    return True if bend <= STRAIGHT_DEG and turn <= FORWARD_DEG and long_enough else None


def _thumb_pose(landmarks: Points, name: str) -> bool | None:
    """A thumb laid across the palm or beside the folded fingers is as straight as one stretched out, but near them."""
    bend, turn = _angles_deg(landmarks, name)
    outward = _unit(landmarks[5] - landmarks[17])
    away = float((landmarks[4] - landmarks[5]) @ outward) / PALM_PX
    if bend > STRAIGHT_DEG or turn > FORWARD_DEG or away <= THUMB_NEAR:
        return False
    return True if away >= THUMB_AWAY else None


def _edge_on(landmarks: Points) -> bool:
    return float(np.linalg.norm(landmarks[17] - landmarks[5])) < EDGE_ON * PALM_PX


def _bone(landmarks: Points, name: str) -> Bone:
    chain = _chain(landmarks, name)
    return Bone(name, chain[1:] if name == "thumb" else chain)


@dataclass(frozen=True)
class Colours:
    """CIELAB colours: of the ``palm`` (n, 3), of each bone (m, 3), and beyond each bone's tip (m, k, 3).

    ``contrast``: how far the colours beyond differ from the fingers', in the middle of the bones.
    """

    palm: Numbers
    bones: Numbers
    beyond: Numbers

    @cached_property
    def steps(self) -> Numbers:
        """Difference of the colours beyond each tip from that of its bone (m, k)."""
        return np.asarray(np.linalg.norm(self.beyond - self.bones[:, None], axis=2), np.float32)

    @property
    def contrast(self) -> float:
        """In CIELAB units; 0 without bones."""
        return float(np.median(self.steps.max(axis=1))) if len(self.bones) else 0.0


def _colours(patch: HandPatch, bones: list[Bone]) -> Colours:
    wrist, knuckles = patch.palm[0], patch.palm[1:5]
    palm = np.concatenate([wrist + (knuckles - wrist) * share for share in (0.5, 0.65, 0.8, 0.92)])
    seen = _look(patch.pixels, palm)
    if not bones:
        return Colours(seen, np.empty((0, 3), np.float32), np.empty((0, len(BEYOND_PX), 3), np.float32))
    along = np.stack([bone.strip(ALONG * bone.length, 3.0) for bone in bones])
    beyond = np.stack([bone.strip(bone.length + BEYOND_PX, 4.0) for bone in bones])
    return Colours(
        seen,
        np.median(_look(patch.pixels, along), axis=(1, 2)),
        np.median(_look(patch.pixels, beyond), axis=2),
    )


def _seen(i: int, bones: list[Bone], colours: Colours) -> bool | None:
    """Whether a finger is at bone ``i``: of the palm's or another finger's colour, and ending at the tip; else None."""
    hand = np.concatenate([colours.palm, np.delete(colours.bones, i, axis=0)])
    from_hand = float(np.linalg.norm(hand - colours.bones[i], axis=1).min())
    steps = colours.steps[i]
    behind = from_hand / max(from_hand + float(np.median(steps[:5])), 1e-6)
    if behind > BEHIND_HAND:
        return False
    return None if behind > IN_DOUBT or float(steps.max()) < FAINT else True


def _unexplained(patch: HandPatch, bones: list[Bone], colours: Colours) -> bool:
    """Whether something of the hand's colour, as large as half a finger, sticks out of the hand where no bone is."""
    hand = _drawn_hand(patch)
    height = _height(patch)
    inside = patch.inside[:: int(CELL_PX), :: int(CELL_PX)]
    asked = (hand == 0) & inside & (height >= 0.3)
    small = cv2.resize(patch.pixels, (COARSE, COARSE), interpolation=cv2.INTER_AREA)
    lab = _lab(small)
    behind = np.concatenate([_rim_colours(lab, patch), colours.beyond[colours.steps > FAINT]])
    if len(behind) == 0 or not asked.any():
        return False
    to_hand = _nearest(lab[asked], np.concatenate([colours.palm, colours.bones]))
    like = np.zeros((COARSE, COARSE), np.uint8)
    like[asked] = (to_hand < NEARER * _nearest(lab[asked], behind)) & (to_hand < LIKE)
    like = np.asarray(cv2.morphologyEx(like, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)), np.uint8)
    beside = cv2.dilate(hand, np.ones((5, 5), np.uint8))
    n, labels = cv2.connectedComponents(like, connectivity=8)
    touching = set(np.unique(labels[(beside > 0) & (labels > 0)]))
    labels[height < 0.6] = 0  # only what rises above the thumb's root is judged: lower down is the arm
    return any(_large(labels == i) for i in range(1, n) if i in touching)


def _large(piece: NDArray[np.bool_]) -> bool:
    """Whether a piece of the coarse patch is longer than a finger is wide, and no mere rim."""
    depth = cv2.distanceTransform(piece.astype(np.uint8), cv2.DIST_L2, 3)
    if float(depth.max()) * CELL_PX < PIECE_DEPTH_PX or int(piece.sum()) < 3:
        return False
    spread = np.cov(np.argwhere(piece).T.astype(np.float64))
    length = float(np.sqrt(12.0 * np.linalg.eigvalsh(spread)[-1])) * CELL_PX  # of an even bar with this spread
    return length >= PIECE_LENGTH_PX


def _drawn_hand(patch: HandPatch) -> NDArray[np.uint8]:
    """1 on the palm and along all five chains of landmarks as wide as fingers are, uint8 (64, 64)."""
    assert patch.landmarks is not None
    wrist, knuckles = patch.palm[0], patch.palm[1:5]
    across = knuckles[3] - knuckles[0]
    heel = np.stack([wrist + 0.55 * across, wrist - 0.45 * across, knuckles[3] + 0.2 * across])
    outline = cv2.convexHull(np.round(np.concatenate([patch.palm, heel]) / CELL_PX).astype(np.int32))
    drawn = np.zeros((COARSE, COARSE), np.uint8)
    cv2.fillConvexPoly(drawn, outline, (1,))
    drawn = np.asarray(cv2.dilate(drawn, np.ones((5, 5), np.uint8)), np.uint8)
    for name in FINGERS:
        bone = _bone(patch.landmarks, name)
        chain = np.concatenate([bone.joints, bone.at(np.array([bone.length + 8.0]))]) / CELL_PX
        cv2.polylines(drawn, [np.round(chain * 16).astype(np.int32)], False, (1,), 5, cv2.LINE_8, 4)
    return np.asarray(cv2.dilate(drawn, np.ones((3, 3), np.uint8)), np.uint8)


def _height(patch: HandPatch) -> NDArray[np.float64]:
    """Height above the wrist along the palm, in palm lengths, float64 (64, 64)."""
    wrist, knuckles = patch.palm[0], patch.palm[1:5]
    up = _unit(knuckles.mean(axis=0) - wrist)
    y, x = np.mgrid[:COARSE, :COARSE] * CELL_PX
    return np.asarray(((x - wrist[0]) * up[0] + (y - wrist[1]) * up[1]) / PALM_PX)


def _rim_colours(lab: Numbers, patch: HandPatch) -> Numbers:
    """Colours on the patch's rim but for its lower third, where the arm is."""
    y, x = np.mgrid[:COARSE:2, :COARSE:2]
    rim = ((y < 2) | (x < 2) | (x >= COARSE - 2)) & (y < 0.65 * COARSE)
    inside = patch.inside[:: int(CELL_PX), :: int(CELL_PX)]
    y, x = y[rim], x[rim]
    return np.asarray(lab[y, x][inside[y, x]], np.float32)


def _nearest(lab: Numbers, examples: Numbers) -> Numbers:
    """Distance (n,) of colours (n, 3) to the nearest of the examples (m, 3)."""
    square = np.square(lab).sum(axis=1)[:, None] + np.square(examples).sum(axis=1) - 2.0 * lab @ examples.T
    return np.asarray(np.sqrt(np.maximum(square.min(axis=1), 0.0)), np.float32)


def _join(patch: HandPatch, bones: list[Bone], contrast: float) -> Sighting:
    """Digits from the present fingers: neighbours that have fused make one."""
    pairs = [(near, far) for near, far in pairwise(bones) if f"{near.name}-{far.name}" in PAIRS]
    parted = {
        far.name: _parted(found, contrast) for (_, far), found in zip(pairs, between(patch.pixels, pairs), strict=True)
    }
    if None in parted.values():
        return Sighting(AMBIGUOUS)
    groups: list[list[Bone]] = []
    for bone in bones:
        if parted.get(bone.name, True):
            groups.append([bone])
        else:
            groups[-1].append(bone)
    return Sighting(OK, tuple(_digit(group) for group in groups))


def _digit(group: list[Bone]) -> Digit:
    longest = min(group, key=lambda bone: float(bone.joints[-1, 1]))
    return Digit(tuple(bone.name for bone in group), (float(longest.joints[-1, 0]), float(longest.joints[-1, 1])))


def _parted(found: Between, contrast: float) -> bool | None:
    """Whether two neighbours are parted by a gap or a crease along most of their length, or by neither; else None."""
    grain, lines = (max(float(np.median(part)), 1.0) for part in (found.grain, found.grain_valley))
    share = found.apart / max(contrast, FAINT)
    strength = share * found.apart / grain
    creased = (strength >= CREASED) & (found.valley >= DARK_LINE * lines)
    if np.mean((share >= GAP) | (strength >= PARTED) | creased) >= MOST:
        return True
    return False if np.mean(strength < JOINED) >= MOST and contrast >= 1.5 * FAINT else None


def between(pixels: Pixels, pairs: list[tuple[Bone, Bone]]) -> list[Between]:
    """Look across from each finger's axis to its neighbour's, at ``N_ALONG`` stations."""
    if not pairs:
        return []
    a, b = (np.stack(part) for part in zip(*(_stations(near, far) for near, far in pairs), strict=True))
    chord = np.maximum(np.sqrt(np.square(b - a).sum(axis=-1)), 1e-6)
    core = (np.clip(0.22 * chord, 1.5, 5.0) / chord)[..., None] * (b - a)
    starts, ends = np.stack([a, a - core, b - core]), np.stack([b, a + core, b + core])
    share = np.linspace(0.0, 1.0, N_ACROSS)[:, None]
    lab = _look(pixels, starts[..., None, :] * (1.0 - share) + ends[..., None, :] * share)
    lab = np.stack([cv2.blur(part, (1, SMOOTH_ALONG)) for part in lab.reshape(-1, *lab.shape[2:])]).reshape(lab.shape)
    flesh = np.stack([np.clip(3.0 / chord, 0.0, 0.2), np.full_like(chord, 0.15), np.full_like(chord, 0.15)])
    apart, valley = _departure(lab, flesh), _valley(lab)
    return [
        Between(apart[0, i], valley[0, i], apart[1:, i].min(axis=0), valley[1:, i].min(axis=0))
        for i in range(len(pairs))
    ]


def _stations(near: Bone, far: Bone) -> tuple[Points, Points]:
    """Points (n, 2) on the two axes that lie abreast, from the web to the shorter tip."""
    if _turn_deg(near.joints[-1] - near.joints[0], far.joints[-1] - far.joints[0]) > ABREAST_DEG:
        along = np.linspace(WEB, 1.0, N_ALONG) * near.length
        return near.at(along), far.at(np.minimum(along, far.length))
    middle = _unit(_unit(near.joints[-1] - near.joints[0]) + _unit(far.joints[-1] - far.joints[0]))
    a, b = near.joints @ middle, far.joints @ middle
    # A thumb held to the hand reaches no farther than the index finger's root: it has no web there.
    web = 0.0 if near.name == "thumb" else WEB
    first = max(a[0] + WEB * (a[-1] - a[0]), b[0] + web * (b[-1] - b[0]))
    along = np.linspace(first, min(a[-1], b[-1]), N_ALONG)
    return near.at(np.interp(along, a, near.arc)), far.at(np.interp(along, b, far.arc))


def _departure(lab: Numbers, flesh: NDArray[np.float64]) -> Numbers:
    """Largest distance (...) of the inner part of each row of (..., m, 3) from the blend of the colours at its ends.

    ``flesh``: share of the row (...) at either end that gives those colours.
    """
    share = np.linspace(0.0, 1.0, lab.shape[-2], dtype=np.float32)
    near = (share <= flesh[..., None]).astype(np.float32)
    near /= near.sum(axis=-1, keepdims=True)
    a, b = near[..., None, :] @ lab, near[..., None, ::-1] @ lab
    rest = lab[..., INNER, :] - a - share[INNER, None] * (b - a)
    return np.asarray(np.sqrt(np.square(rest).sum(axis=-1).max(axis=-1)), np.float32)


def _valley(lab: Numbers) -> Numbers:
    """Depth (...) in L* of the lowest point between higher ground on both sides, per row of (..., m, 3)."""
    light = np.ascontiguousarray(lab[..., 0])
    left = np.maximum.accumulate(light, axis=-1)
    right = np.maximum.accumulate(light[..., ::-1], axis=-1)[..., ::-1]
    return np.asarray((np.minimum(left, right) - light)[..., INNER].max(axis=-1), np.float32)


def _look(pixels: Pixels, points: Points) -> Numbers:
    """CIELAB (..., 3) at points (..., 2) of the patch."""
    flat = points.reshape(-1, 1, 2).astype(np.float32)
    seen = cv2.remap(pixels, flat, np.empty(0), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return _lab(seen.reshape(-1, 1, 3)).reshape(*points.shape[:-1], 3)


def _lab(pixels: NDArray[Any]) -> Numbers:
    """CIELAB float32 (h, w, 3) of sRGB uint8 (h, w, 3)."""
    return np.asarray(cv2.cvtColor(pixels.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB), np.float32)


def _unit(vector: Points) -> Points:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9))


def _turn_deg(a: Points, b: Points) -> float:
    """How far ``b`` is turned from ``a``, either way, in [0, 180]."""
    return float(np.degrees(np.arctan2(abs(a[0] * b[1] - a[1] * b[0]), a @ b)))
