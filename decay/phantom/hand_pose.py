"""Where the parts of a drawn hand lie in space: chains of capsules, posed by angles, seen from some side.

Millimetres of the hand: x toward the little finger, y toward the wrist, z toward a viewer of the palm; the origin is
the palm's middle. ``pose_hand`` turns them to the camera: x right (before mirroring), y down, z toward the camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decay.phantom.parameters import FINGERS, PAIRS, HandParameters

Points = NDArray[np.float64]

KNUCKLES_MM = {
    "index": (-0.68, -35.0, 0.0),
    "middle": (-0.22, -39.5, -1.5),
    "ring": (0.24, -36.0, -1.0),
    "little": (0.66, -27.0, 1.0),
}
"""Metacarpal heads: x in palm half widths, y and z in mm."""
WRIST_Y_MM = 58.0
PALM_HALF_WIDTH_MM = 41.0
"""The palm for which the parts' radii are given."""
HIDDEN_MM = 21.0
"""Length of a finger that is hidden in the palm, from its knuckle joint to the web."""
LENGTH_SHARES = {"index": 0.92, "middle": 1.0, "ring": 0.94, "little": 0.74}
RADIUS_SHARES = {"thumb": 1.14, "index": 1.0, "middle": 1.02, "ring": 0.97, "little": 0.85}
SPREAD_SHARES = {"index": -1.0, "middle": -0.1, "ring": 0.8, "little": 1.9}
PHALANX_SHARES = (0.46, 0.28, 0.26)
"""Lengths of the three phalanges (Buryanov and Kotiuk 2010, rounded), of the way from knuckle joint to tip."""
FOLD_DEG = (84.0, 100.0, 58.0)
"""Flexion of the three joints of a finger folded on the palm."""
TOUCHING = 1.86
"""Distance of two axes held together, in radii: below 2 they press on each other and a valley stays."""


@dataclass(frozen=True)
class Chain:
    """Capsules end to end: ``joints_mm`` (n, 3) in camera axes, ``radii_mm`` (n,); ``palmar``: -1 to 1, how much of
    its palm side the camera sees."""

    joints_mm: Points
    radii_mm: NDArray[np.float64]
    palmar: float = 1.0


@dataclass(frozen=True)
class Digit:
    """One digit. ``marks_mm`` (4, 3): knuckle joint, two finger joints, tip. ``dorsal`` (3,): where its nail faces.
    ``free_mm``: distance from the first mark from which on it stands clear of the palm."""

    name: str
    chain: Chain
    marks_mm: Points
    dorsal: Points
    free_mm: float
    extended: bool


@dataclass(frozen=True)
class Posed:
    """A hand in camera axes. ``digits``: thumb first, extra ones last, missing ones absent. ``fused``: groups of
    indices into ``digits``; ``turn`` (3, 3): hand axes to camera axes."""

    digits: list[Digit]
    palm: list[Chain]
    arm: list[Chain]
    sleeve: list[Chain]
    held: list[Chain]
    fused: list[tuple[int, ...]]
    turn: Points


def pose_hand(hand: HandParameters) -> Posed:
    """Every part of ``hand``, in camera axes."""
    turn = _turn(hand)
    digits = [_turned_digit(digit, turn) for digit in _digits(hand)]
    return Posed(
        digits,
        [_turned(chain, turn) for chain in _palm(hand)],
        [_turned(chain, turn) for chain in _arm(hand, 0.0, 0.0)],
        [] if hand.sleeve_mm is None else [_turned(chain, turn) for chain in _arm(hand, hand.sleeve_mm, 3.0)],
        [_turned(chain, turn) for chain in _held(hand)],
        _fused_groups(hand, digits),
        turn,
    )


def between(a: Chain, b: Chain, share: float) -> Chain:
    """A chain part of the way from one to another of as many joints."""
    return Chain(
        (1.0 - share) * a.joints_mm + share * b.joints_mm, (1.0 - share) * a.radii_mm + share * b.radii_mm, a.palmar
    )


def _turn(hand: HandParameters) -> Points:
    yaw, pitch = np.radians(hand.yaw_deg), np.radians(hand.pitch_deg)
    about_y = np.array([[np.cos(yaw), 0.0, np.sin(yaw)], [0.0, 1.0, 0.0], [-np.sin(yaw), 0.0, np.cos(yaw)]])
    about_x = np.array([[1.0, 0.0, 0.0], [0.0, np.cos(pitch), -np.sin(pitch)], [0.0, np.sin(pitch), np.cos(pitch)]])
    side = np.diag([1.0, 1.0, -1.0 if hand.view == "back" else 1.0])
    return np.asarray(about_x @ about_y @ side)


def _turned(chain: Chain, turn: Points) -> Chain:
    return Chain(chain.joints_mm @ turn.T, chain.radii_mm, chain.palmar * float(turn[2, 2]))


def _turned_digit(digit: Digit, turn: Points) -> Digit:
    dorsal = turn @ digit.dorsal
    chain = Chain(digit.chain.joints_mm @ turn.T, digit.chain.radii_mm, float(-dorsal[2]))
    return Digit(digit.name, chain, digit.marks_mm @ turn.T, dorsal, digit.free_mm, digit.extended)


# --------------------------------------------------------------------------- digits


def _digits(hand: HandParameters) -> list[Digit]:
    angles = _angles_deg(hand)
    digits = []
    for i, name in enumerate(FINGERS):
        if hand.fingers[i] == "missing":
            continue
        digits.append(_thumb(hand, angles) if name == "thumb" else _finger(hand, name, angles[name]))
    places = (hand.extra_places + ("outer",) * hand.n_extra)[: hand.n_extra]
    return digits + [_extra(hand, place, places[:i].count(place), angles) for i, place in enumerate(places)]


def knuckle_mm(hand: HandParameters, name: str) -> Points:
    """A finger's knuckle joint in hand axes."""
    x, y, z = KNUCKLES_MM[name]
    return np.array([x * hand.palm_half_width_mm, y, z])


def _reach_mm(hand: HandParameters, name: str) -> float:
    """From the knuckle joint to the centre of the tip's rounding."""
    radius = hand.finger_radius_mm * RADIUS_SHARES[name]
    return HIDDEN_MM + hand.finger_length_mm * LENGTH_SHARES[name] - 0.8 * radius


def _angles_deg(hand: HandParameters) -> dict[str, tuple[float, float]]:
    """Directions of the first and of the other two phalanges from straight up, toward the little finger positive.

    Pairs held together or fused close up: they touch from the middle joint on.
    """
    middle = SPREAD_SHARES["middle"] * hand.spread_deg
    angles = {"middle": (middle, middle + 0.5)}
    for near, far, pair in (("middle", "index", 1), ("middle", "ring", 2), ("ring", "little", 3)):
        side = -1.0 if far == "index" else 1.0
        share = abs(SPREAD_SHARES[far] - SPREAD_SHARES[near])
        open_deg = angles[near][0] + side * share * hand.spread_deg
        angles[far] = (open_deg, open_deg - side * 2.5)
        if hand.together[pair] or hand.fused[pair]:
            apart = abs(knuckle_mm(hand, far)[0] - knuckle_mm(hand, near)[0])
            touching = TOUCHING * hand.finger_radius_mm * (RADIUS_SHARES[far] + RADIUS_SHARES[near]) / 2
            first = PHALANX_SHARES[0] * _reach_mm(hand, far)
            closed = angles[near][0] - side * float(np.degrees(np.arctan((apart - touching) / first)))
            gap = hand.fused_gap if hand.fused[pair] else 0.0
            angles[far] = (closed + gap * (open_deg - closed), angles[near][1] + gap * side * share * hand.spread_deg)
    return angles


def _finger(hand: HandParameters, name: str, angles: tuple[float, float]) -> Digit:
    i = FINGERS.index(name)
    extended = hand.fingers[i] == "extended"
    curl = hand.curl[i]
    if extended:
        bends = (25.0 * curl, 45.0 * curl, 25.0 * curl)
    else:
        bends = (FOLD_DEG[0] * (1.0 - 0.3 * curl), FOLD_DEG[1] * (1.0 - 0.15 * curl), FOLD_DEG[2] * (1.0 - 0.3 * curl))
        angles = (0.4 * angles[0], 0.4 * angles[1])
    radius = hand.finger_radius_mm * RADIUS_SHARES[name] * (1.0 if extended else 1.1)
    return _bent(name, knuckle_mm(hand, name), _reach_mm(hand, name), radius, angles, bends, extended)


def _bent(
    name: str,
    base: Points,
    reach_mm: float,
    radius_mm: float,
    angles_deg: tuple[float, float],
    bends_deg: tuple[float, float, float],
    extended: bool,
) -> Digit:
    """A finger of three phalanges; bends add up and turn it toward the palm's side."""
    marks, turned = [base], 0.0
    along = dorsal = np.zeros(3)
    for share, angle_deg, bend in zip(PHALANX_SHARES, (*angles_deg, angles_deg[1]), bends_deg, strict=True):
        turned += bend
        angle, flexion = np.radians(angle_deg), np.radians(turned)
        up = np.array([np.sin(angle), -np.cos(angle), 0.0])
        along = np.cos(flexion) * up + np.sin(flexion) * np.array([0.0, 0.0, 1.0])
        dorsal = np.sin(flexion) * up - np.cos(flexion) * np.array([0.0, 0.0, 1.0])
        marks.append(marks[-1] + share * reach_mm * along)
    points = np.array(marks)
    chain = Chain(_fleshed(points), radius_mm * np.array([1.14, 1.07, 1.01, 0.97, 0.92, 0.91, 0.77]))
    return Digit(name, chain, points, dorsal, HIDDEN_MM - 1.0, extended)


def _fleshed(marks: Points) -> Points:
    """Joints with a point between each two, so that the flesh can swell there."""
    middles = 0.5 * (marks[:-1] + marks[1:])
    order = np.empty((2 * len(marks) - 1, 3))
    order[::2], order[1::2] = marks, middles
    return order


def _thumb(hand: HandParameters, angles: dict[str, tuple[float, float]]) -> Digit:
    radius, long = hand.finger_radius_mm * RADIUS_SHARES["thumb"], hand.finger_length_mm / 78.0
    extended = hand.fingers[0] == "extended"
    joints = _thumb_joints(hand, angles, long) if extended else _folded_thumb_joints(hand)
    chain = Chain(_fleshed(joints), radius * np.array([1.5, 1.4, 1.2, 1.03, 1.03, 1.02, 0.78]))
    along = (joints[3] - joints[2]) / np.linalg.norm(joints[3] - joints[2])
    outward = np.array([-0.55, 0.0, -0.85]) if extended else np.array([-0.1, -0.35, 0.95])
    dorsal = outward - (outward @ along) * along
    free = float(np.linalg.norm(joints[1] - joints[0])) + 6.0
    return Digit("thumb", chain, joints, dorsal / np.linalg.norm(dorsal), free, extended)


def _thumb_joints(hand: HandParameters, angles: dict[str, tuple[float, float]], long: float) -> Points:
    """Root, knuckle joint, end joint and tip of a thumb held out, or laid along the index finger."""
    width = hand.palm_half_width_mm
    root = np.array([-0.50 * width, 34.0, 4.0])
    if hand.fused[0] or hand.together[0]:
        index = knuckle_mm(hand, "index")
        angle = np.radians(angles["index"][0])
        along, across = np.array([np.sin(angle), -np.cos(angle), 0.0]), np.array([np.cos(angle), np.sin(angle), 0.0])
        touching = TOUCHING * hand.finger_radius_mm * (1.08 + RADIUS_SHARES["thumb"]) / 2
        beside = index - touching * across + np.array([0.0, 0.0, 3.0])
        return np.stack([root, beside - 14.0 * along, beside + 14.0 * along, beside + 36.0 * long * along])
    away = np.radians(hand.thumb_deg + hand.spread_deg)
    joints = [root]
    for length, more, lift in ((40.0, -3.0, 0.25), (32.0, 0.0, 0.2), (23.0, -8.0 + 35.0 * hand.curl[0], 0.05)):
        angle = away + np.radians(more)
        step = np.array([-np.sin(angle), -np.cos(angle), lift])
        joints.append(joints[-1] + long * length * step / np.linalg.norm(step))
    return np.stack(joints)


def _folded_thumb_joints(hand: HandParameters) -> Points:
    """Across the palm; before the folded fingers where there are any to lie on."""
    width = hand.palm_half_width_mm
    folded = [hand.fingers[i] == "folded" for i in range(1, 5)]
    if folded[0] and folded[1]:
        joints = [[-0.50, 34.0, 4.0], [-0.90, 3.0, 22.0], [-0.62, -18.0, 48.0], [-0.02, -20.0, 58.0]]
    elif any(folded[1:3]):
        joints = [[-0.50, 34.0, 4.0], [-0.84, 4.0, 16.0], [-0.50, -13.0, 36.0], [0.05, -17.0, 50.0]]
    else:
        joints = [[-0.50, 34.0, 4.0], [-0.80, 6.0, 14.0], [-0.36, -9.0, 25.0], [0.18, -10.0, 23.0]]
    points = np.array(joints)
    points[:, 0] *= width
    points[2:, 1] += 14.0 * hand.curl[0]
    return points


def _extra(hand: HandParameters, place: str, nth: int, angles: dict[str, tuple[float, float]]) -> Digit:
    """One digit too many: outside the little finger, between thumb and index finger, or beside the finger named."""
    width, radius = hand.palm_half_width_mm, hand.finger_radius_mm * 0.86
    if place == "outer":
        base = np.array([0.74 * width, -8.0 + 20.0 * nth, 0.0])
        angle = angles["little"][0] + 24.0 + 22.0 * nth
        return _bent(
            "extra", base, HIDDEN_MM + 0.6 * hand.finger_length_mm, radius, (angle, angle - 3), (3, 5, 4), True
        )
    if place == "thumbside":
        base = np.array([-0.62 * width, -14.0 + 16.0 * nth, 1.0])
        angle = 0.5 * (angles["index"][0] - hand.thumb_deg - hand.spread_deg) - 14.0 * nth
        return _bent(
            "extra", base, HIDDEN_MM + 0.7 * hand.finger_length_mm, radius, (angle, angle + 3), (3, 5, 4), True
        )
    side = -1.0 if place == "index" else 1.0
    base = knuckle_mm(hand, place) + np.array([0.55 * side * hand.finger_radius_mm, 4.0, 0.0])
    angle = angles[place][0] + side * (9.0 + 0.5 * hand.spread_deg)
    return _bent("extra", base, 0.92 * _reach_mm(hand, place), radius, (angle, angle), (2, 4, 3), True)


def _fused_groups(hand: HandParameters, digits: list[Digit]) -> list[tuple[int, ...]]:
    """Indices of digits that have grown into one, for every group of two or more."""
    place = {digit.name: i for i, digit in enumerate(digits) if digit.name != "extra"}
    groups: list[list[int]] = []
    for pair, fusion in zip(PAIRS, hand.fused, strict=True):
        if fusion is None:
            continue
        near, far = (place[name] for name in pair.split("-"))
        if groups and groups[-1][-1] == near:
            groups[-1].append(far)
        else:
            groups.append([near, far])
    return [tuple(group) for group in groups]


# --------------------------------------------------------------------------- palm and arm


def _palm(hand: HandParameters) -> list[Chain]:
    """Four metacarpals, the balls of thumb and little finger, the webs."""
    wide = hand.palm_half_width_mm / PALM_HALF_WIDTH_MM
    chains = []
    for name in KNUCKLES_MM:
        head = knuckle_mm(hand, name)
        foot = np.array([0.5 * head[0], 44.0, -2.0])
        chains.append(Chain(np.stack([foot, head]), wide * np.array([13.5, 12.0 if name != "little" else 11.0])))
    root, knuckle = _thumb_root(hand)
    ball = np.stack([np.array([-0.30 * hand.palm_half_width_mm, 44.0, 2.0]), root, 0.5 * (root + knuckle)])
    chains.append(Chain(ball, wide * np.array([14.0, 15.0, 12.5])))
    heel = np.array([[0.42, 42.0, 2.0], [0.60, 12.0, 3.0], [0.64, -12.0, 1.0]]) * [hand.palm_half_width_mm, 1.0, 1.0]
    chains.append(Chain(heel, wide * np.array([13.0, 13.0, 11.5])))
    return chains + _thumb_web(hand, root, knuckle, wide) + _webs(hand, wide)


def _thumb_root(hand: HandParameters) -> tuple[Points, Points]:
    if hand.fingers[0] == "missing":
        root = np.array([-0.50 * hand.palm_half_width_mm, 30.0, 3.0])
        return root, root + np.array([-4.0, -20.0, 0.0])
    marks = _thumb(hand, _angles_deg(hand)).marks_mm
    return marks[0], marks[1]


def _thumb_web(hand: HandParameters, root: Points, knuckle: Points, wide: float) -> list[Chain]:
    index = knuckle_mm(hand, "index")
    low = 0.5 * root + 0.5 * np.array([0.5 * index[0], 40.0, 0.0])
    sheet = []
    for share in (0.25, 0.5, 0.75):
        high = (1.0 - share) * (0.35 * root + 0.65 * knuckle) + share * (index + np.array([0.0, 14.0, 0.0]))
        sag = np.array([0.0, 10.0 * 4.0 * share * (1.0 - share), 0.0])
        sheet.append(Chain(np.stack([low, high + sag]), wide * np.array([11.0, 7.5])))
    return sheet


def _webs(hand: HandParameters, wide: float) -> list[Chain]:
    """Skin between neighbouring fingers, which hides the first 2 cm of each."""
    angles = _angles_deg(hand)
    names = [name for i, name in enumerate(FINGERS) if i and hand.fingers[i] == "extended"]
    chains = []
    for name in names:
        angle = np.radians(angles[name][0])
        along = np.array([np.sin(angle), -np.cos(angle), 0.0])
        tip = knuckle_mm(hand, name) + 0.5 * HIDDEN_MM * along
        chains.append(Chain(np.stack([knuckle_mm(hand, name), tip]), wide * np.array([11.5, 9.8])))
    for near, far in zip(names[:-1], names[1:], strict=True):
        if FINGERS.index(far) - FINGERS.index(near) == 1:
            ends = []
            for name in (near, far):
                angle = np.radians(angles[name][0])
                reach = (HIDDEN_MM - 8.0) * np.array([np.sin(angle), -np.cos(angle), 0.0])
                ends.append(knuckle_mm(hand, name) + reach)
            chains.append(Chain(np.stack(ends), wide * np.array([7.0, 7.0])))
    return chains


def _arm(hand: HandParameters, from_mm: float, thicker_mm: float) -> list[Chain]:
    """Wrist and forearm, broader than thick, from ``from_mm`` beyond the wrist on."""
    bend, wide = np.radians(hand.arm_bend_deg), hand.palm_half_width_mm / PALM_HALF_WIDTH_MM
    along, across = np.array([np.sin(bend), np.cos(bend), 0.0]), np.array([np.cos(bend), -np.sin(bend), 0.0])
    wrist = np.array([0.0, WRIST_Y_MM - 14.0, -2.0])
    reach = np.array([14.0, 60.0, 140.0, 420.0]) if from_mm == 0.0 else from_mm + np.array([14.0, 60.0, 140.0, 420.0])
    half = wide * np.interp(reach, [0.0, 30.0, 160.0, 420.0], [10.5, 10.0, 14.0, 20.0])
    radii = wide * np.interp(reach, [0.0, 30.0, 160.0, 420.0], [17.5, 17.0, 23.0, 32.0]) + thicker_mm
    axis = wrist + reach[:, None] * along
    return [Chain(axis + side * half[:, None] * across, radii) for side in (-1.0, 0.0, 1.0)]


def _held(hand: HandParameters) -> list[Chain]:
    """A stick or a ball in the hand."""
    if hand.held is None:
        return []
    width = hand.palm_half_width_mm
    if hand.held == "ball":
        return [Chain(np.array([[0.0, -22.0, 34.0], [0.5, -22.0, 34.0]]), np.array([27.0, 27.0]))]
    return [Chain(np.array([[-2.6 * width, -8.0, 24.0], [2.4 * width, -26.0, 24.0]]), np.array([13.0, 13.0]))]
