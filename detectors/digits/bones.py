"""Bones propose, pixels decide: walking along the fingers that the landmark model claims to be stretched out.

The landmark model always returns five fingers, whatever the picture shows. Here each claim is put to the
pixels: is there skin along the bone and does it end at the tip; and, between two neighbours, is there a
gap (the background's colour), a crease (a dark line along both), or neither, so that the two have fused.
Every threshold is relative: to the contrast between the hand and what is behind it, and to the skin's own texture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate, pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detectors.digits.patch import CENTRE, PALM_PX, PATCH_PX, HandPatch, palm_hull
from detectors.digits.sighting import EXTRA, FINGERS, PAIRS, Digit, Sighting
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

N_ALONG = 24
SHARES = np.linspace(0.0, 1.0, 25)
"""Stations from one finger's axis to the other's."""
SMOOTHED = cv2.blur(np.eye(N_ALONG, dtype=np.float32), (1, 7))
"""Averages stations along the fingers, seven at a time: a gap or crease runs along them, wrinkles run across."""
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
PARTED, JOINED = 4.0, 1.3
"""That share times the ratio of the difference to the skin's own texture: parted above the first, joined below the
second."""
CLEAR_SHARE, CLEAR_RATIO = 0.3, 6.0
"""A smaller share parts too, if the texture is so faint."""
CREASE, NO_CREASE, CREASED = 0.20, 0.12, 0.6
"""Depth of a dark line as a share of the contrast: a crease above the first, if the strength is above the third; none
below the second."""
AMPLE = 40.0
"""Contrast in CIELAB units from which a line needs to be no deeper: shadow between fingers knows no background."""
SHOULDER_PX = 3.5
"""How far from a dark line its depth is taken: farther than a line is wide, nearer than the roundness of a finger."""
NEAREST_PX, WIDEST_PX = 8.0, 36.0
"""Axes nearer than the first are not of two fingers, axes farther apart than the second not of one digit."""
STRIP = np.linspace(-1.0, 1.0, 5)
"""Where across a bone, as a share of the strip's half width."""
ALONG = np.linspace(0.45, 0.95, 10)
"""Where on a bone, as a share of its length, the finger's colour is taken."""
ASIDE_PX = (-6.0, -3.0, 0.0, 3.0, 6.0)
"""Where a finger is looked for that is not at its landmarks."""
FINGER_PX = 10.0
"""Axes of two fingers are never nearer."""
BEYOND_PX = np.arange(10.0, 40.0, 3.0)
"""Where the colour beyond a tip is taken; the landmark lies about 5 px short of the finger's end."""
COARSE = 64
CELL_PX = PATCH_PX / COARSE
_y, _x = np.mgrid[:COARSE:2, :COARSE:2]
RIM = tuple(c[((_y < 2) | (_x < 2) | (_x >= COARSE - 2)) & (_y < 0.65 * COARSE)] for c in (_y, _x))
"""Rows and columns of the coarse patch's rim but for its lower third, where the arm is."""
LIKE, NEARER = 12.0, 0.7
"""Greatest distance in CIELAB of what is taken for the hand's colour away from its bones; and as a share of the
distance to the nearest colour behind the hand."""
PIECE_WIDTH_PX, PIECE_LENGTH_PX, PIECE_DEPTH_PX = 7.0, 16.0, 18.0
"""What sticks out and may be a digit: wider on average than a mere rim, and as long; nowhere as deep as a face."""
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
        joints = self.joints.tolist()
        return np.array([0.0, *accumulate(math.dist(a, b) for a, b in pairwise(joints))])

    @property
    def length(self) -> float:
        """In pixels."""
        return float(self.arc[-1])

    def at(self, distance: NDArray[np.float64]) -> Points:
        """Points (n, 2) this far along the bone, in ascending order; beyond its end straight on."""
        points = np.empty((len(distance), 2))
        for i in (0, 1):
            points[:, i] = np.interp(distance, self.arc, self.joints[:, i])
        if distance[-1] > self.length:
            last = unit(self.joints[-1] - self.joints[-2])
            points += np.maximum(distance - self.length, 0.0)[:, None] * last
        return points

    def strip(self, distance: NDArray[np.float64], half_width_px: float) -> Points:
        """Points (n, 5, 2) across the bone at these distances."""
        x, y = unit(self.joints[-1] - self.joints[0]).tolist()
        across = np.outer(half_width_px * STRIP, (-y, x))
        return np.asarray(self.at(distance)[:, None] + across)


@dataclass(frozen=True)
class Between:
    """What lies between the axes of two neighbours, at stations from the web to the shorter tip, float32 (24,).

    ``apart``: largest difference in CIELAB from the blend of both fingers' colours; ``grain``: the same within the
    smoother of the two fingers, the skin's own texture; ``crease``: depth of the darkest line in L*; ``chord_px``:
    distance of the axes.
    """

    apart: Numbers
    grain: Numbers
    crease: Numbers
    chord_px: Numbers


def sight(patch: HandPatch) -> Sighting:
    """The digits that the landmarks claim and the pixels confirm.

    States: ``no_landmarks``; ``side_view`` where the palm is seen edge-on; ``ambiguous`` where a finger is half bent,
    points at the camera, cannot be told from what is behind it, is neither clearly joined to nor parted from its
    neighbour. What is of the hand's colour and sticks out where no finger explains it is an extra digit.
    """
    state, axes = axes_of(patch.landmarks)
    if state != OK:
        return Sighting(state)
    confirmed = _confirm(patch, axes)
    if confirmed is None:
        return Sighting(AMBIGUOUS)
    bones, contrast, extra = confirmed
    sighting = _join(patch, bones, contrast)
    if sighting.state == OK and extra:
        sighting = Sighting(OK, (*sighting.digits, *extra))
    # A thumb held to the index finger counts where a gap or crease parts them; else it may be the finger's flank.
    if "thumb" in undecided(patch.landmarks) and "thumb-index" in sighting.fused_pairs:
        return Sighting(AMBIGUOUS)
    return sighting


def axes_of(landmarks: Points | None) -> tuple[str, list[Bone]]:
    """``ok`` and the axes of the digits that are not folded, thumb first; or why the landmarks, (21, 2), give none."""
    if landmarks is None:
        return NO_LANDMARKS, []
    if seen_edge_on(landmarks):
        return SIDE_VIEW, []
    poses = finger_poses(landmarks)
    if any(poses[name] is None for name in FINGERS[1:]) or (poses["thumb"] is None and not poses["index"]):
        return AMBIGUOUS, []
    return OK, [bone_of(landmarks, name) for name in FINGERS if poses[name] is not False]


def undecided(landmarks: Points | None) -> tuple[str, ...]:
    """The digits of which the landmarks, (21, 2), do not say whether they are extended or folded."""
    if landmarks is None:
        return ()
    return tuple(name for name, pose in finger_poses(landmarks).items() if pose is None)


def claimed(landmarks: Points) -> tuple[str, ...]:
    """Names of the fingers that the landmarks (21, 2), in patch pixels, show stretched out, thumb first."""
    return tuple(name for name, extended in finger_poses(landmarks).items() if extended)


def finger_poses(landmarks: Points) -> dict[str, bool | None]:
    """Per finger: stretched out, folded, or None where neither is clear. ``landmarks``: float64 (21, 2)."""
    return dict(_poses(np.asarray(landmarks, dtype=np.float64).tobytes()))


@lru_cache(maxsize=4)
def _poses(landmarks: bytes) -> tuple[tuple[str, bool | None], ...]:
    """The same from the landmarks' bytes: of one hand they are asked for four times and more."""
    points = np.frombuffer(landmarks, dtype=np.float64).reshape(-1, 2)
    return tuple((name, (_thumb_pose if name == "thumb" else _finger_pose)(points, name)) for name in FINGERS)


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
    outward = unit(landmarks[5] - landmarks[17])
    away = float((landmarks[4] - landmarks[5]) @ outward) / PALM_PX
    if bend > STRAIGHT_DEG or turn > FORWARD_DEG or away <= THUMB_NEAR:
        return False
    return True if away >= THUMB_AWAY else None


def seen_edge_on(landmarks: Points) -> bool:
    """Whether the palm is seen from its side."""
    return float(np.linalg.norm(landmarks[17] - landmarks[5])) < EDGE_ON * PALM_PX


def bone_of(landmarks: Points, name: str) -> Bone:
    """The axis of one finger, from landmarks (21, 2)."""
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
    seen = look(patch.pixels, palm)
    if not bones:
        return Colours(seen, np.empty((0, 3), np.float32), np.empty((0, len(BEYOND_PX), 3), np.float32))
    along = np.stack([bone.strip(ALONG * bone.length, 3.0) for bone in bones])
    beyond = np.stack([bone.strip(bone.length + BEYOND_PX, 4.0) for bone in bones])
    return Colours(
        seen,
        np.median(look(patch.pixels, along), axis=(1, 2)),
        np.median(look(patch.pixels, beyond), axis=2),
    )


def _confirm(patch: HandPatch, bones: list[Bone]) -> tuple[list[Bone], float, list[Digit]] | None:
    """The bones at which a finger is seen, moved onto it where need be, the hand's contrast, digits without a bone.

    None if in doubt.
    """
    colours = _colours(patch, bones)
    seen = [_seen(i, colours) for i in range(len(bones))]
    if not all(seen):
        found = [bone if seen[i] else _beside(patch, i, bones, colours) for i, bone in enumerate(bones)]
        bones = [bone for bone in found if bone is not None]
        if len(bones) < len(found):
            return None
        colours = _colours(patch, bones)
        seen = [_seen(i, colours) for i in range(len(bones))]
    if None in seen:
        return None
    present = [bone for bone, there in zip(bones, seen, strict=True) if there]
    return present, colours.contrast, _unexplained(patch, colours)


def _seen(i: int, colours: Colours) -> bool | None:
    """Whether a finger is at bone ``i``: of the palm's or another finger's colour, and ending at the tip; else None."""
    hand = np.concatenate([colours.palm, colours.bones[:i], colours.bones[i + 1 :]])
    from_hand = float(np.linalg.norm(hand - colours.bones[i], axis=1).min())
    steps = colours.steps[i]
    behind = from_hand / max(from_hand + float(np.median(steps[:5])), 1e-6)
    if behind > BEHIND_HAND:
        return False
    return None if behind > IN_DOUBT or float(steps.max()) < FAINT else True


def _beside(patch: HandPatch, i: int, bones: list[Bone], colours: Colours) -> Bone | None:
    """Bone ``i``, moved aside by up to half a finger to where the hand's colour is; never onto another finger.

    None where that colour is on both sides: which of two digits is meant cannot be told.
    """
    along = unit(bones[i].joints[-1] - bones[i].joints[0])
    aside = np.array([-along[1], along[0]])
    others = [other for j, other in enumerate(bones) if j != i]
    moved = {step: Bone(bones[i].name, bones[i].joints + step * aside) for step in ASIDE_PX}
    free = {s: bone for s, bone in moved.items() if all(_distance(bone, other) >= FINGER_PX for other in others)}
    if 0.0 not in free:
        return bones[i]
    strips = np.stack([bone.strip(ALONG * bone.length, 3.0) for bone in free.values()])
    hand = np.concatenate([colours.palm, np.delete(colours.bones, i, axis=0)])
    unlike = dict(zip(free, _nearest(np.median(look(patch.pixels, strips), axis=(1, 2)), hand), strict=True))
    left, right = (min((u for s, u in unlike.items() if s * side > 0), default=np.inf) for side in (-1.0, 1.0))
    if max(left, right) < 0.5 * unlike[0.0]:
        return None
    return free[min(unlike, key=lambda step: float(unlike[step]))]


def _distance(a: Bone, b: Bone) -> float:
    """Between the outer halves of two bones, in pixels."""
    outer = np.array([0.6, 0.8, 1.0])
    return float(
        np.linalg.norm(a.at(outer * a.length)[:, None] - b.at(np.linspace(0.3, 1.0, 8) * b.length), axis=2).min()
    )


def _unexplained(patch: HandPatch, colours: Colours) -> list[Digit]:
    """What is of the hand's colour, as large as half a finger, and sticks out of the hand where no bone is."""
    hand = _drawn_hand(patch)
    height = _height(patch)
    inside = patch.inside[:: int(CELL_PX), :: int(CELL_PX)]
    asked = (hand == 0) & inside & (height >= 0.3)
    small = cv2.resize(patch.pixels, (COARSE, COARSE), interpolation=cv2.INTER_AREA)
    lab = _lab(small)
    behind = np.concatenate([_rim_colours(lab, patch), colours.beyond[colours.steps > FAINT]])
    if len(behind) == 0 or not asked.any():
        return []
    places = np.flatnonzero(asked)
    to_hand = _nearest(lab.reshape(-1, 3)[places], np.concatenate([colours.palm, colours.bones]))
    places, to_hand = places[to_hand < LIKE], to_hand[to_hand < LIKE]
    places = places[to_hand < NEARER * _nearest(lab.reshape(-1, 3)[places], behind)]
    if len(places) == 0:
        return []
    like = np.zeros((COARSE, COARSE), np.uint8)
    like.ravel()[places] = 1
    like = np.asarray(cv2.morphologyEx(like, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)), np.uint8)
    beside = cv2.dilate(hand, np.ones((5, 5), np.uint8))
    n, labels = cv2.connectedComponents(like, connectivity=8)
    touching = set(np.unique(labels[(beside > 0) & (labels > 0)]))
    labels[height < 0.6] = 0  # only what rises above the thumb's root is judged: lower down is the arm
    pieces = [labels == i for i in range(1, n) if i in touching]
    return [Digit((EXTRA,), _tip(piece)) for piece in pieces if _digit_sized(piece)]


def _tip(piece: NDArray[np.bool_]) -> tuple[float, float]:
    """The end of a piece of the coarse patch, bool (64, 64), that lies farthest from the palm: (x, y) patch pixels."""
    places = np.argwhere(piece)[:, ::-1] * CELL_PX
    x, y = places[np.argmax(np.hypot(*(places - CENTRE).T))]
    return float(x), float(y)


def _digit_sized(piece: NDArray[np.bool_]) -> bool:
    """Whether a piece of the coarse patch, bool (64, 64), is as large as the visible part of a digit, but no larger."""
    places = np.argwhere(piece)
    if len(places) * CELL_PX**2 < PIECE_WIDTH_PX * PIECE_LENGTH_PX:
        return False
    spread = float(np.linalg.eigvalsh(np.cov(places.T.astype(np.float64)))[-1])
    length = np.sqrt(12.0 * spread + 1.0) * CELL_PX  # of an even bar of cells with this variance
    if length < PIECE_LENGTH_PX or len(places) * CELL_PX**2 < PIECE_WIDTH_PX * length:
        return False
    return float(cv2.distanceTransform(piece.astype(np.uint8), cv2.DIST_L2, 3).max()) * CELL_PX <= PIECE_DEPTH_PX


def _drawn_hand(patch: HandPatch) -> NDArray[np.uint8]:
    """1 on the palm and along all five chains of landmarks as wide as fingers are, uint8 (64, 64)."""
    assert patch.landmarks is not None
    drawn = np.zeros((COARSE, COARSE), np.uint8)
    cv2.fillConvexPoly(drawn, palm_hull(patch.palm, CELL_PX), (1,))
    drawn = np.asarray(cv2.dilate(drawn, np.ones((5, 5), np.uint8)), np.uint8)
    bones = [bone_of(patch.landmarks, name) for name in FINGERS]
    chains = [np.concatenate([b.joints, b.at(np.array([b.length + 8.0]))]) * (16 / CELL_PX) for b in bones]
    cv2.polylines(drawn, [np.round(chain).astype(np.int32) for chain in chains], False, (1,), 5, cv2.LINE_8, 4)
    return np.asarray(cv2.dilate(drawn, np.ones((3, 3), np.uint8)), np.uint8)


def _height(patch: HandPatch) -> NDArray[np.float64]:
    """Height above the wrist along the palm, in palm lengths, float64 (64, 64)."""
    wrist, knuckles = patch.palm[0], patch.palm[1:5]
    up = unit(knuckles.mean(axis=0) - wrist)
    cells = np.arange(COARSE) * CELL_PX
    return np.asarray(np.add.outer((cells - wrist[1]) * up[1], (cells - wrist[0]) * up[0]) / PALM_PX)


def _rim_colours(lab: Numbers, patch: HandPatch) -> Numbers:
    """Colours on the patch's rim."""
    y, x = RIM
    inside = patch.inside[y * int(CELL_PX), x * int(CELL_PX)]
    return np.asarray(lab[y[inside], x[inside]], np.float32)


def _nearest(lab: Numbers, examples: Numbers) -> Numbers:
    """Distance (n,) of colours (n, 3) to the nearest of the examples (m, 3)."""
    less = (np.square(examples).sum(axis=1) - 2.0 * lab @ examples.T).min(axis=1)
    return np.asarray(np.sqrt(np.maximum(np.square(lab).sum(axis=1) + less, 0.0)), np.float32)


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
    return Sighting(OK, tuple(digit_of(group) for group in groups))


def digit_of(group: list[Bone]) -> Digit:
    """One digit of the neighbours that have fused into it; its tip is the highest of theirs."""
    longest = min(group, key=lambda bone: float(bone.joints[-1, 1]))
    return Digit(tuple(bone.name for bone in group), (float(longest.joints[-1, 0]), float(longest.joints[-1, 1])))


def _parted(found: Between, contrast: float) -> bool | None:
    """Whether two neighbours are parted by a gap or a crease along most of their length, or by neither; else None."""
    grain = max(float(np.median(found.grain)), 1.0)
    share, ratio = found.apart / max(contrast, FAINT), found.apart / grain
    strength, line = share * ratio, found.crease / np.clip(contrast, FAINT, AMPLE)
    gap = (share >= GAP) | (strength >= PARTED) | ((share >= CLEAR_SHARE) & (ratio >= CLEAR_RATIO))
    crease = (line >= CREASE) & (found.crease >= FAINT) & (strength >= CREASED)
    if np.mean(gap | crease) >= MOST:
        return True
    smooth = (line < NO_CREASE) | (found.crease < FAINT)
    joined = (strength < JOINED) & smooth & (found.chord_px >= NEAREST_PX) & (found.chord_px <= WIDEST_PX)
    return False if np.mean(joined) >= MOST and contrast >= 1.5 * FAINT else None


def between(pixels: Pixels, pairs: list[tuple[Bone, Bone]]) -> list[Between]:
    """Look across from each finger's axis to its neighbour's, at ``N_ALONG`` stations."""
    if not pairs:
        return []
    a, b = (np.stack(part) for part in zip(*(stations(near, far) for near, far in pairs), strict=True))
    chord = np.maximum(np.sqrt(np.square(b - a).sum(axis=-1)), 1e-6)
    core = (np.clip(0.22 * chord, 1.5, 5.0) / chord)[..., None] * (b - a)
    starts, ends = np.stack([a, a - core, b - core]), np.stack([b, a + core, b + core])
    share = SHARES[:, None]
    lab = look(pixels, starts[..., None, :] * (1.0 - share) + ends[..., None, :] * share)
    lab = (SMOOTHED @ lab.reshape(-1, N_ALONG, 3 * len(SHARES))).reshape(lab.shape)
    flesh = np.stack([np.clip(3.0 / chord, 0.0, 0.2), np.full_like(chord, 0.15), np.full_like(chord, 0.15)])
    apart, crease = _departure(lab, flesh), _crease(lab[0, ..., 0], chord)
    return [
        Between(apart[0, i], apart[1:, i].min(axis=0), crease[i], chord[i].astype(np.float32))
        for i in range(len(pairs))
    ]


def stations(near: Bone, far: Bone) -> tuple[Points, Points]:
    """Points (n, 2) on the two axes that lie abreast, from the web to the shorter tip."""
    if _turn_deg(near.joints[-1] - near.joints[0], far.joints[-1] - far.joints[0]) > ABREAST_DEG:
        along = np.linspace(WEB, 1.0, N_ALONG) * near.length
        return near.at(along), far.at(np.minimum(along, far.length))
    middle = unit(unit(near.joints[-1] - near.joints[0]) + unit(far.joints[-1] - far.joints[0]))
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
    share = SHARES.astype(np.float32)
    near = (share <= flesh[..., None]).astype(np.float32)
    near /= near.sum(axis=-1, keepdims=True)
    a, b = near[..., None, :] @ lab, near[..., None, ::-1] @ lab
    rest = lab[..., INNER, :] - a - share[INNER, None] * (b - a)
    rest *= rest
    return np.asarray(np.sqrt((rest[..., 0] + rest[..., 1] + rest[..., 2]).max(axis=-1)), np.float32)


def _crease(light: Numbers, chord_px: NDArray[np.float64]) -> Numbers:
    """Depth (...) below both shoulders of the darkest line in each row (..., m), ``chord_px`` (...) long."""
    left = np.maximum.accumulate(light, axis=-1)
    right = np.maximum.accumulate(light[..., ::-1], axis=-1)[..., ::-1]
    last = light.shape[-1] - 1
    at = (np.minimum(left, right) - light)[..., INNER].argmax(axis=-1) + INNER.start
    step = np.maximum(np.round(SHOULDER_PX / chord_px * last).astype(int), 1)
    places = np.stack([np.maximum(at - step, 0), at, np.minimum(at + step, last)], axis=-1)
    near, lowest, far = np.moveaxis(np.take_along_axis(light, places, axis=-1), -1, 0)
    return np.asarray(np.minimum(near, far) - lowest, np.float32)


def look(pixels: Pixels, points: Points) -> Numbers:
    """CIELAB (..., 3) at points (..., 2) of the patch."""
    flat = points.reshape(-1, 1, 2).astype(np.float32)
    seen = cv2.remap(pixels, flat, np.empty(0), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return _lab(seen.reshape(-1, 1, 3)).reshape(*points.shape[:-1], 3)


def _lab(pixels: NDArray[Any]) -> Numbers:
    """CIELAB float32 (h, w, 3) of sRGB uint8 (h, w, 3)."""
    return np.asarray(cv2.cvtColor(pixels.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB), np.float32)


def unit(vector: Points) -> Points:
    """``vector`` (2,) at length 1."""
    return vector / max(math.hypot(*vector.tolist()), 1e-9)


def _turn_deg(a: Points, b: Points) -> float:
    """How far ``b`` is turned from ``a``, either way, in [0, 180]."""
    (ax, ay), (bx, by) = a.tolist(), b.tolist()
    return math.degrees(math.atan2(abs(ax * by - ay * bx), ax * bx + ay * by))
