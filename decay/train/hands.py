"""Drawn hands to learn from: thousands of postures, skins, lights and grounds in minutes, each pixel labelled.

A hand is a set of chains of spheres swept along its bones, posed in three dimensions and drawn by their
height toward the camera at about the resolution of ``detectors.digits.patch``. It knows nothing of
``decay.phantom``: hands drawn there remain hands that the network has never seen.

Axes: millimetres, x to the right, y downward, z toward the camera, the wrist at the origin and the
fingers above it, the index finger on the left of the little finger as in a patch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from decay.phantom.canvas import lch_to_linear, linear_to_srgb, rgb
from detectors.digits.patch import HandPatch, cut_patch
from detectors.digits.sighting import EXTRA, FINGERS
from detectors.trait import Box, Hand

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

CANVAS_PX = 304
PX_PER_MM = 0.82
"""A palm of 95 mm is then as long as in a patch."""
MAP_PX = 96
"""Side of the label maps and of what the network sees."""
KINDS = (*FINGERS, EXTRA)
"""What a core's pixel can belong to; labelled 1 to 6 in this order, 0 is no core."""
CORE_SHARE = 0.52
"""Radius of a digit's core in radii of the digit: cores of touching fingers stay apart."""
WEB_SHARE = 0.62
"""Where a digit leaves the palm, along its first bone."""
TIP_PX = 4.8
"""Spread of a tip's heat, in canvas pixels."""
MIN_SEEN = 0.62
"""A digit of which less is seen, or which is foreshortened below this share, is no clear example."""

KNUCKLES_MM = np.array([[-25.0, -92.0, 0.0], [-3.0, -97.0, 2.0], [16.0, -91.0, 1.0], [34.0, -79.0, -2.0]])
WRIST_MM = np.array([[-15.0, -4.0, 0.0], [-5.0, -2.0, 1.0], [6.0, -2.0, 1.0], [17.0, -4.0, 0.0]])
BONES_MM = np.array([[43.0, 25.0, 22.0], [47.0, 29.0, 24.0], [43.0, 28.0, 24.0], [34.0, 20.0, 20.0]])
RADII_MM = np.array([10.2, 9.0, 8.2, 7.0])
FINGER_WIDTHS = np.array([1.0, 1.02, 0.97, 0.86])
SPREADS_DEG = np.array([-9.0, -1.0, 6.0, 16.0])
FOLDED_DEG = np.array([[58.0, 95.0], [80.0, 112.0], [30.0, 75.0]])
CURLED_DEG = np.array([[35.0, 70.0], [50.0, 85.0], [20.0, 60.0]])
"""Ranges of the three joints' flexion where a finger is not extended: tight on the palm, or round as about a ball."""
POSTURES = (
    (11111, 62.0), (1111, 20.0), (0, 7.0), (1000, 8.0), (1100, 9.0), (10000, 3.0), (11000, 3.0), (11100, 5.0),
    (1110, 4.0), (111, 3.0), (1001, 4.0), (10001, 3.0), (11001, 2.0), (1, 1.0), (11, 1.0), (11110, 2.0), (10011, 1.0),
)  # fmt: skip
"""Which fingers are extended, thumb first as decimal digits, and how often relative to the others."""


@dataclass(frozen=True)
class Chain:
    """Spheres of ``radii`` swept along ``joints``, float64 (n,) and (n, 3)."""

    joints: F64
    radii: F64


@dataclass(frozen=True)
class DrawnDigit:
    """A separate extended digit: the chains of its fingers (several where they have fused) and their kinds 1 to 6."""

    kinds: tuple[int, ...]
    chains: tuple[Chain, ...]


@dataclass(frozen=True)
class Posture:
    """A posed hand: ``flesh`` is all of it but the separate extended ``digits``; ``palm``: the seven palm points."""

    flesh: tuple[Chain, ...]
    forearm: tuple[Chain, ...]
    digits: tuple[DrawnDigit, ...]
    palm: F64
    back: bool


@dataclass(frozen=True)
class Example:
    """One patch to learn from: ``pixels`` uint8 (96, 96, 3), ``kind`` uint8 (96, 96) 0 to 6, ``fused`` and ``hand``
    bool (96, 96), ``tip`` uint8 (96, 96) 0 to 255; ``n_digits`` separate ones and ``n_fused`` pairs. ``patch``: what it
    was made smaller from, as a detector sees it."""

    pixels: U8
    kind: U8
    fused: NDArray[np.bool_]
    hand: NDArray[np.bool_]
    tip: U8
    n_digits: int
    n_fused: int
    patch: HandPatch


def draw_example(seed: int) -> Example:
    """The clear example of this seed; postures that hide a digit are drawn anew."""
    attempt = 0
    while True:
        example = _try(np.random.default_rng([seed, attempt]))
        if example is not None:
            return example
        attempt += 1


def _try(rng: np.random.Generator) -> Example | None:
    posture = _to_canvas(_pose(rng), rng)
    if any(_foreshortened(chain) for digit in posture.digits for chain in digit.chains):
        return None
    labels = _label(posture)
    if labels is None:
        return None
    kind, fused, tip = labels
    height, part = _raise(posture)
    image = _paint(rng, posture, height, part)
    return _cut(rng, posture, image, kind, fused, tip, part == 1)


# --------------------------------------------------------------------------- bones


def _pose(rng: np.random.Generator) -> Posture:
    codes, shares = zip(*POSTURES, strict=True)
    code = int(rng.choice(codes, p=np.array(shares) / sum(shares)))
    extended = [bool(code // 10 ** (4 - i) % 10) for i in range(5)]
    size = rng.uniform(0.92, 1.08)
    wide = np.array([rng.uniform(0.86, 1.16), 1.0, 1.0])
    knuckles, wrists = KNUCKLES_MM * wide * size, WRIST_MM * wide * size
    missing = int(rng.integers(1, 5)) if rng.random() < 0.14 else -1
    if rng.random() < 0.02:
        missing = 0
    fingers = _fingers(rng, knuckles, extended, size)
    thumb, thumb_root = _thumb(rng, knuckles, extended, size)
    chains = {0: thumb, **{i + 1: finger for i, finger in enumerate(fingers)}}
    chains.pop(missing, None)
    digits, folded = _group(rng, chains, extended)
    flesh = [*folded, *_palm(wrists, knuckles, thumb_root, size), *_webs(fingers, extended, missing)]
    if rng.random() < 0.2:
        extra = _extra(rng, chains, knuckles, extended)
        digits += [extra] if extra is not None else []
    palm = np.vstack([np.mean(wrists, axis=0), knuckles, thumb_root[1], thumb.joints[1]])
    aim = np.array([rng.uniform(-45.0, 45.0), 165.0, rng.uniform(-30.0, 30.0)]) * size
    offsets = np.array([-10.0, 0.0, 10.0])[:, None] * np.array([1.0, 0.0, 0.0])
    forearm = [Chain(np.stack([offset, 1.5 * offset + aim]), np.array([17.0, 24.0]) * size) for offset in offsets]
    return Posture(tuple(flesh), tuple(forearm), tuple(digits), palm, bool(rng.random() < 0.42))


def _bend(base: F64, spread_deg: F64, flexion_deg: F64, lengths: F64) -> F64:
    spread, flexion = np.radians(spread_deg), np.radians(np.cumsum(flexion_deg))
    along = np.stack([np.sin(spread) * np.cos(flexion), -np.cos(spread) * np.cos(flexion), np.sin(flexion)], axis=1)
    return np.vstack([base, base + np.cumsum(along * lengths[:, None], axis=0)])


def _fingers(rng: np.random.Generator, knuckles: F64, extended: list[bool], size: float) -> list[Chain]:
    lengths = BONES_MM * size * rng.uniform(0.86, 1.14) * rng.uniform(0.95, 1.05, (4, 1))
    thick = size * rng.uniform(0.82, 1.22)
    angles = SPREADS_DEG * rng.uniform(-0.1, 2.2) + rng.normal(0.0, 2.5, 4) + rng.normal(0.0, 6.0)
    common = np.array([rng.uniform(-12.0, 25.0), rng.uniform(0.0, 16.0), rng.uniform(0.0, 10.0)])
    chains: list[Chain] = []
    held, curled = rng.random() < 0.3, rng.random() < 0.15
    for i in range(4):
        radii = RADII_MM * FINGER_WIDTHS[i] * thick
        angle, flexion = angles[i], common + rng.normal(0.0, 5.0, 3)
        if not extended[i + 1]:
            flexion = rng.uniform(*((CURLED_DEG if curled else FOLDED_DEG).T))
            angle = rng.normal(0.0, 4.0)
        elif i and extended[i] and (held or rng.random() < 0.12):
            apart = float(np.hypot(*(knuckles[i] - knuckles[i - 1])[:2]))
            touch = 2.0 * float(radii[1]) * rng.uniform(0.93, 1.12)
            lean = float(np.degrees(np.arctan((apart - touch) / (0.75 * lengths[i].sum()))))
            angle, flexion = angles[i - 1] - lean, common + rng.normal(0.0, 2.5, 3)
            angles[i] = angle
        else:
            angle = max(angle, angles[i - 1] - 3.0) if i and extended[i] else angle
            angles[i] = angle
        joints = _bend(knuckles[i], np.full(3, angle), np.maximum(flexion, [-25.0, -4.0, -4.0]), lengths[i])
        joints[-1] -= (joints[-1] - joints[-2]) / np.linalg.norm(joints[-1] - joints[-2]) * radii[-1] * 0.5
        chains.append(Chain(joints, radii))
    return chains


def _thumb(rng: np.random.Generator, knuckles: F64, extended: list[bool], size: float) -> tuple[Chain, F64]:
    """The thumb's two free bones, and its root: saddle joint and knuckle, which belong to the palm."""
    root = np.array([knuckles[0, 0] * 0.75, -14.0, 4.0])
    if extended[0]:
        first = rng.uniform(20.0, 72.0)
        angles = -np.array([first, first + rng.uniform(-28.0, 10.0), first + rng.uniform(-40.0, 22.0)])
        rise = np.array([rng.uniform(-5.0, 35.0), rng.uniform(-10.0, 30.0), rng.uniform(-15.0, 25.0)])
    elif any(extended[1:]) or rng.random() < 0.5:  # across the palm, or across curled fingers
        angles = np.array([rng.uniform(-32.0, -5.0), rng.uniform(15.0, 75.0), rng.uniform(45.0, 115.0)])
        rise = np.array([rng.uniform(35.0, 65.0), rng.uniform(0.0, 28.0), rng.uniform(-15.0, 15.0)])
    else:
        angles = np.array([rng.uniform(-35.0, -15.0), rng.uniform(-12.0, 25.0), rng.uniform(0.0, 45.0)])
        rise = np.array([rng.uniform(30.0, 60.0), rng.uniform(0.0, 30.0), rng.uniform(0.0, 30.0)])
    lengths = np.array([40.0, 33.0, 27.0]) * size * rng.uniform(0.88, 1.12)
    spread, lift = np.radians(angles), np.radians(rise)
    along = np.stack([np.sin(spread) * np.cos(lift), -np.cos(spread) * np.cos(lift), np.sin(lift)], axis=1)
    joints = np.vstack([root, root + np.cumsum(along * lengths[:, None], axis=0)])
    radii = np.array([12.5, 10.5, 8.6]) * size * rng.uniform(0.85, 1.15)
    return Chain(joints[1:], radii), joints[:2]


def _group(
    rng: np.random.Generator, chains: dict[int, Chain], extended: list[bool]
) -> tuple[list[DrawnDigit], list[Chain]]:
    """Fuse some neighbours; what is not extended is flesh."""
    run = [i for i in chains if extended[i]]
    joined: set[int] = set()
    if rng.random() < 0.33:
        pairs = [i for i in run if i + 1 in run and (i > 0 or rng.random() < 0.05)]
        if pairs:
            first, want = int(rng.choice(pairs)), int(rng.choice([1, 2, 3], p=[0.6, 0.1, 0.3]))
            if want == 3 and 1 in pairs:
                first = 1
            while want and first in pairs:
                joined.add(first)
                first, want = first + 1, want - 1
    digits: list[DrawnDigit] = []
    for i in run:
        if i - 1 in joined and digits:
            digits[-1] = DrawnDigit((*digits[-1].kinds, i + 1), (*digits[-1].chains, chains[i]))
        else:
            digits.append(DrawnDigit((i + 1,), (chains[i],)))
    return digits, [chain for i, chain in chains.items() if not extended[i]]


def _palm(wrists: F64, knuckles: F64, thumb_root: F64, size: float) -> list[Chain]:
    fan = [
        Chain(
            np.stack([(1 - s) * wrists[i] + s * wrists[i + 1], (1 - s) * knuckles[i] + s * knuckles[i + 1]]),
            np.array([13.0, 11.5]) * size,
        )
        for i in range(3)
        for s in ((0.0, 0.5) if i < 2 else (0.0, 0.5, 1.0))
    ]
    ball = Chain(thumb_root, np.array([16.0, 12.5]) * size)
    edge = wrists[0] + 0.7 * (knuckles[0] - wrists[0])
    fold = [
        Chain(
            np.stack([(1 - s) * thumb_root[0] + s * wrists[0], (1 - s) * thumb_root[1] + s * edge]),
            np.array([13.0, 8.0]) * size,
        )
        for s in (0.25, 0.5, 0.75)
    ]
    heel = Chain(np.stack([wrists[3], 0.45 * knuckles[3] + 0.55 * wrists[3]]), np.array([15.0, 15.0]) * size)
    return [*fan, ball, *fold, heel]


def _webs(fingers: list[Chain], extended: list[bool], missing: int) -> list[Chain]:
    """Skin between the roots of neighbours, and the ends of missing fingers' knuckles."""
    webs = []
    for i in range(3):
        if missing in (i + 1, i + 2) or extended[i + 1] != extended[i + 2]:
            continue
        for share in (0.1, 0.25, 0.4):
            a, b = (f.joints[0] + share * (f.joints[1] - f.joints[0]) for f in fingers[i : i + 2])
            webs.append(Chain(np.stack([a, b]), np.full(2, 0.62 * fingers[i].radii[0])))
    return webs


def _extra(
    rng: np.random.Generator, chains: dict[int, Chain], knuckles: F64, extended: list[bool]
) -> DrawnDigit | None:
    """One more digit: beside the thumb or the little finger, or between neighbours that leave it room."""
    place = int(rng.choice([0, 1, 2, 3, 4], p=[0.4, 0.08, 0.08, 0.08, 0.36]))
    beside = {0: (0, 1), 4: (4,)}.get(place, (place, place + 1))
    if sum(extended) < 4 or not all(extended[i] and i in chains for i in beside):
        return None  # it would pass for one of the five
    if place == 0:
        share = rng.uniform(0.15, 0.75)
        base, angle = np.array([-38.0, -52.0, 2.0]) * (1 - share) + share * knuckles[0], rng.uniform(-62.0, -18.0)
    elif place == 4:
        share = rng.uniform(0.45, 1.0)
        base, angle = knuckles[3] * [1.0, share, 1.0] + [2.0, 0.0, 0.0], rng.uniform(26.0, 62.0)
    else:
        base, angle = 0.5 * (knuckles[place - 1] + knuckles[place]), rng.normal((place - 2) * 6.0, 4.0)
    lengths = BONES_MM[int(rng.integers(0, 4))] * rng.uniform(0.7, 1.05)
    joints = _bend(base, np.full(3, angle), rng.uniform([-10.0, 0.0, 0.0], [25.0, 16.0, 12.0]), lengths)
    digit = DrawnDigit((len(KINDS),), (Chain(joints, RADII_MM * rng.uniform(0.7, 1.1)),))
    ends = [chain.joints[-1] for i, chain in chains.items() if extended[i]]
    clear = all(np.linalg.norm((end - joints[-1])[:2]) > 15.0 for end in ends)
    return digit if clear else None


# --------------------------------------------------------------------------- camera


def _to_canvas(posture: Posture, rng: np.random.Generator) -> Posture:
    """Turn the hand in space and bring it to canvas pixels."""
    side = -1.0 if posture.back else 1.0
    steep = 1.0 if rng.random() < 0.75 else 1.7
    yaw, pitch, roll = np.radians(rng.normal(0.0, [15.0 * steep, 12.0 * steep, 8.0]))
    turn_y = np.array([[np.cos(yaw), 0.0, np.sin(yaw)], [0.0, 1.0, 0.0], [-np.sin(yaw), 0.0, np.cos(yaw)]])
    turn_x = np.array([[1.0, 0.0, 0.0], [0.0, np.cos(pitch), -np.sin(pitch)], [0.0, np.sin(pitch), np.cos(pitch)]])
    turn_z = np.array([[np.cos(roll), -np.sin(roll), 0.0], [np.sin(roll), np.cos(roll), 0.0], [0.0, 0.0, 1.0]])
    matrix = turn_z @ turn_x @ turn_y @ np.diag([1.0, 1.0, side])
    near = 1.0 / rng.uniform(350.0, 1500.0)
    middle = np.array([0.0, -60.0, 0.0])
    centre = np.array([CANVAS_PX * 0.5, CANVAS_PX * 0.6, 0.0])

    def project(points: F64) -> tuple[F64, F64]:
        turned = (points - middle) @ matrix.T
        scale = PX_PER_MM / np.clip(1.0 - near * turned[:, 2], 0.6, 1.6)
        return turned * scale[:, None] + centre, scale

    def chain(old: Chain) -> Chain:
        joints, scale = project(old.joints)
        return Chain(joints, old.radii * scale)

    return Posture(
        tuple(chain(c) for c in posture.flesh),
        tuple(chain(c) for c in posture.forearm),
        tuple(DrawnDigit(d.kinds, tuple(chain(c) for c in d.chains)) for d in posture.digits),
        project(posture.palm)[0],
        posture.back,
    )


def _between(a: Chain, b: Chain, share: float, groove: float = 1.0) -> Chain:
    n = min(len(a.joints), len(b.joints))
    shrink = 1.0 - (1.0 - groove) * 4.0 * share * (1.0 - share)
    joints = (1 - share) * a.joints[-n:] + share * b.joints[-n:]
    return Chain(joints, ((1 - share) * a.radii[-n:] + share * b.radii[-n:]) * shrink)


def _sweep(height: F32, mask: U8 | None, chain: Chain, part: U8 | None = None, value: int = 1) -> None:
    """Raise ``height`` in place to the chain's surface; ``part`` notes where it is in front, ``mask`` its cover."""
    for a, b, ra, rb in zip(chain.joints[:-1], chain.joints[1:], chain.radii[:-1], chain.radii[1:], strict=True):
        reach = max(ra, rb) + 1.0
        x0, y0 = np.maximum(np.floor(np.minimum(a, b)[:2] - reach), 0).astype(int)
        x1, y1 = np.minimum(np.ceil(np.maximum(a, b)[:2] + reach) + 1, CANVAS_PX).astype(int)
        if x0 >= x1 or y0 >= y1:
            continue
        dx = np.arange(x0, x1, dtype=np.float32)[None, :] - np.float32(a[0])
        dy = np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(a[1])
        along = (b - a)[:2]
        t = np.clip((dx * along[0] + dy * along[1]) / max(float(along @ along), 1e-6), 0.0, 1.0).astype(np.float32)
        inside = np.square(ra + t * (rb - ra)) - np.square(dx - t * along[0]) - np.square(dy - t * along[1])
        here = inside > 0
        rise = np.where(here, a[2] + t * (b[2] - a[2]) + np.sqrt(np.maximum(inside, 0.0)), -np.inf)
        window = height[y0:y1, x0:x1]
        front = rise > window
        np.copyto(window, rise.astype(np.float32), where=front)
        if part is not None:
            part[y0:y1, x0:x1][front] = value
        if mask is not None:
            mask[y0:y1, x0:x1][here] = value


def _raise(posture: Posture) -> tuple[F32, U8]:
    """Height toward the camera and what is in front: 0 nothing, 1 hand, 2 forearm."""
    height = np.full((CANVAS_PX, CANVAS_PX), -np.inf, np.float32)
    part = np.zeros((CANVAS_PX, CANVAS_PX), np.uint8)
    for chain in posture.forearm:
        _sweep(height, None, chain, part, 2)
    for chain in posture.flesh:
        _sweep(height, None, chain, part, 1)
    for digit in posture.digits:
        for chain in _filled(digit, 7):
            _sweep(height, None, chain, part, 1)
    return height, part


def _filled(digit: DrawnDigit, steps: int) -> list[Chain]:
    """The digit's chains and, between fused ones, what fills the gap; how deep the groove is varies with the hand."""
    chains = list(digit.chains)
    for a, b in zip(digit.chains[:-1], digit.chains[1:], strict=True):
        groove = 0.8 + 0.2 * float(a.joints[0, 0] * 7.13 % 1.0)
        chains += [_between(a, b, float(s), groove) for s in np.linspace(0.0, 1.0, steps)[1:-1]]
    return chains


# --------------------------------------------------------------------------- truth


def _free(chain: Chain, kind: int) -> Chain:
    """The part of a digit beyond its web, as thin as its core."""
    joints, radii = chain.joints.copy(), chain.radii * CORE_SHARE
    share = 0.25 if kind == 1 else WEB_SHARE
    joints[0] += share * (joints[1] - joints[0])
    return Chain(joints, radii)


def _label(posture: Posture) -> tuple[U8, U8, F32] | None:
    """Kinds of core, fused cores and tips on the canvas; None unless every digit is one piece in plain sight."""
    shape = (CANVAS_PX, CANVAS_PX)
    kind, fused, owner = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    tip, top = np.zeros(shape, np.float32), np.full(shape, -np.inf, np.float32)
    areas = []
    for i, digit in enumerate(posture.digits):
        own = np.zeros(shape, np.uint8)
        free = [_free(chain, k) for chain, k in zip(digit.chains, digit.kinds, strict=True)]
        for chain, k in zip(free, digit.kinds, strict=True):
            _sweep(top, own, chain, kind, k)
        for j, (a, b) in enumerate(pairwise(free)):
            for s in np.linspace(0.0, 1.0, 9)[1:-1]:
                _sweep(top, own, _between(a, b, float(s)), kind, digit.kinds[j] if s < 0.5 else digit.kinds[j + 1])
        fused[own > 0] = len(digit.kinds) > 1
        if ((owner > 0) & (own > 0)).any():
            return None  # one in front of another
        owner[own > 0] = i + 1
        areas.append(int(own.sum()) if len(digit.kinds) == 1 else int((own > 0).sum()))
        end = np.mean([chain.joints[-1, :2] for chain in free], axis=0)
        _mark_tip(tip, end)
    return (kind, fused, tip) if _in_sight(posture, owner, top) else None


def _mark_tip(tip: F32, end: F64) -> None:
    x0, y0 = np.clip(np.round(end).astype(int) - 16, 0, CANVAS_PX)
    window = tip[y0 : y0 + 33, x0 : x0 + 33]
    yy, xx = np.mgrid[y0 : y0 + window.shape[0], x0 : x0 + window.shape[1]]
    np.maximum(window, np.exp(-(np.square(xx - end[0]) + np.square(yy - end[1])) / (2 * TIP_PX**2)), out=window)


def _foreshortened(chain: Chain) -> bool:
    bones = np.linalg.norm(np.diff(chain.joints, axis=0), axis=1).sum()
    return bool(np.linalg.norm((chain.joints[-1] - chain.joints[0])[:2]) < MIN_SEEN * bones)


def _in_sight(posture: Posture, owner: U8, top: F32) -> bool:
    """Flesh must not cover a digit's core, and cores of two digits must not touch."""
    flesh = np.full(owner.shape, -np.inf, np.float32)
    for chain in posture.flesh:
        _sweep(flesh, None, chain)
    n = len(posture.digits)
    hidden = (owner > 0) & (flesh > top + 4.0)
    for i in range(1, n + 1):
        own = owner == i
        if hidden[own].mean() > 1.0 - MIN_SEEN:
            return False
    found, _ = cv2.connectedComponents(cv2.dilate((owner > 0).astype(np.uint8), np.ones((2, 2), np.uint8)))
    return found - 1 == n


# --------------------------------------------------------------------------- light and colour


def _noise(rng: np.random.Generator, cell_px: float) -> F32:
    n = max(2, int(CANVAS_PX / cell_px) + 2)
    field = rng.standard_normal((n, n)).astype(np.float32)
    return np.asarray(cv2.resize(field, (CANVAS_PX, CANVAS_PX), interpolation=cv2.INTER_CUBIC), np.float32)


def _skin(rng: np.random.Generator) -> F32:
    return lch_to_linear(rng.uniform(22.0, 86.0), rng.uniform(8.0, 36.0), rng.uniform(25.0, 82.0))


def _paint(rng: np.random.Generator, posture: Posture, height: F32, part: U8) -> F32:
    """Linear light, float32 (h, w, 3)."""
    skin = _skin(rng)
    ground = _ground(rng, skin)
    solid = part > 0
    floor = np.float32(np.min(height[solid]) - 6.0)
    full = np.where(solid, height, floor)
    smooth = cv2.GaussianBlur(full, (0, 0), rng.uniform(0.5, 1.3))
    albedo = _albedo(rng, posture, skin)
    lit = _light(rng, albedo, full, np.asarray(smooth, np.float32))
    sleeve = _sleeve(rng, posture, part)
    if sleeve is not None:
        cloth, where = sleeve
        lit = np.where(where[..., None], lit / np.maximum(albedo, 1e-4) * cloth, lit)
    if rng.random() < 0.4:
        ground = ground * _shadow(rng, solid)
    cover = cv2.GaussianBlur(solid.astype(np.float32), (0, 0), rng.uniform(0.4, 0.9))
    image = ground + (lit - ground) * np.clip(cover, 0.0, 1.0)[..., None]
    if rng.random() < 0.5:
        fall = 1.0 + rng.uniform(0.1, 0.5) * _noise(rng, rng.uniform(100.0, 330.0))
        image = image * np.clip(fall, 0.25, 2.0)[..., None]
    return np.asarray(image, np.float32)


def _light(rng: np.random.Generator, albedo: F32, full: F32, smooth: F32) -> F32:
    slope_y, slope_x = np.gradient(smooth)
    slope_x, slope_y = np.clip(slope_x, -4.0, 4.0), np.clip(slope_y, -4.0, 4.0)
    steep = 1.0 / np.sqrt(1.0 + slope_x**2 + slope_y**2)
    azimuth, elevation = rng.uniform(-np.pi, np.pi), np.radians(rng.uniform(15.0, 80.0))
    right, up, near = (
        np.cos(azimuth) * np.cos(elevation),
        np.sin(azimuth) * np.cos(elevation),
        np.sin(elevation),
    )
    facing = (near - right * slope_x + up * slope_y) * steep
    wrap = rng.uniform(0.1, 0.9)
    direct = np.clip((facing + wrap) / (1.0 + wrap), 0.0, None)
    ambient, depth = rng.uniform(0.15, 1.0), rng.uniform(0.01, 0.11)
    hollow = np.exp(-depth * np.clip(cv2.GaussianBlur(full, (0, 0), rng.uniform(2.0, 5.0)) - smooth, -1.5, 12.0))
    narrow = np.exp(-rng.uniform(0.0, 0.25) * np.clip(cv2.GaussianBlur(full, (0, 0), 1.5) - smooth, 0.0, 6.0))
    shade = (ambient + rng.uniform(0.3, 1.0) * direct) / (ambient + 0.65) * hollow * narrow
    half = np.array([right, -up, near + 1.0]) / np.linalg.norm([right, up, near + 1.0])
    gloss = np.clip((half[2] - half[0] * slope_x - half[1] * slope_y) * steep, 0.0, 1.0) ** rng.uniform(8.0, 40.0)
    return np.asarray(albedo * shade[..., None] + rng.uniform(0.0, 0.08) * gloss[..., None], np.float32)


def _albedo(rng: np.random.Generator, posture: Posture, skin: F32) -> F32:
    grain = np.ones((CANVAS_PX, CANVAS_PX), np.float32)
    for cell in (40.0, 12.0, 4.0, 2.0):
        grain += rng.uniform(0.0, 0.07) * _noise(rng, cell)
    albedo = skin * np.clip(grain, 0.4, 1.6)[..., None]
    red = np.zeros((CANVAS_PX, CANVAS_PX), np.float32)
    dark = np.zeros((CANVAS_PX, CANVAS_PX), np.float32)
    pale = np.zeros((CANVAS_PX, CANVAS_PX), np.float32)
    chains = [chain for digit in posture.digits for chain in digit.chains]
    for chain in (*chains, *posture.flesh[:4]):
        _mark_joints(rng, chain, dark)
        end = _whole(chain.joints[-1])
        cv2.circle(red, end, int(chain.radii[-1] * 1.5), (1.0,), -1)
        if posture.back and rng.random() < 0.8:
            along = (chain.joints[-1] - chain.joints[-2])[:2]
            angle = float(np.degrees(np.arctan2(along[1], along[0])))
            axes = (max(1, int(0.85 * chain.radii[-1])), max(1, int(0.6 * chain.radii[-1])))
            cv2.ellipse(pale, end, axes, angle, 0, 360, (1.0,), -1, cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 7))):  # lines of the palm, tendons, scars
        start = posture.palm[int(rng.integers(0, 5)), :2] + rng.normal(0.0, 8.0, 2)
        bend = start + rng.normal(0.0, 14.0, 2)
        points = np.stack([start, bend, bend + rng.normal(0.0, 16.0, 2)]).round().astype(np.int32)
        cv2.polylines(dark, [points], False, (rng.uniform(0.3, 1.0),), 1, cv2.LINE_AA)
    red = np.asarray(cv2.GaussianBlur(red, (0, 0), 3.0), np.float32)
    dark = np.asarray(cv2.GaussianBlur(dark, (0, 0), 0.6), np.float32)
    albedo = albedo * (1.0 - rng.uniform(0.0, 0.3) * red[..., None] * rgb(0.0, 1.0, 0.9))
    albedo = albedo * (1.0 - rng.uniform(0.1, 0.6) * dark[..., None])
    nail = np.asarray(np.clip(skin * rng.uniform(0.8, 1.5) + rng.uniform(0.0, 0.15), 0.0, 1.0), np.float32)
    albedo = albedo + (nail - albedo) * rng.uniform(0.3, 0.9) * pale[..., None]
    return np.asarray(np.clip(albedo, 0.003, 1.0), np.float32)


def _mark_joints(rng: np.random.Generator, chain: Chain, dark: F32) -> None:
    for joint, before, radius in zip(chain.joints[1:-1], chain.joints[:-2], chain.radii[1:-1], strict=True):
        along = (joint - before)[:2]
        length = float(np.linalg.norm(along))
        if length < 2.0:
            continue
        across = np.array([-along[1], along[0]]) / length * radius * rng.uniform(0.5, 0.95)
        for shift in rng.normal(0.0, 0.06, int(rng.integers(0, 4))):
            middle = joint[:2] + shift * along
            tone = (rng.uniform(0.3, 1.0),)
            cv2.line(dark, _whole(middle - across), _whole(middle + across), tone, 1, cv2.LINE_AA)


def _whole(point: F64) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def _sleeve(rng: np.random.Generator, posture: Posture, part: U8) -> tuple[F32, NDArray[np.bool_]] | None:
    """Cloth, or a band, over the forearm."""
    if rng.random() < 0.45:
        return None
    wrist = posture.palm[0, :2]
    away = posture.forearm[1].joints[1, :2] - wrist
    away = away / np.linalg.norm(away)
    yy, xx = np.mgrid[:CANVAS_PX, :CANVAS_PX]
    beyond = (xx - wrist[0]) * away[0] + (yy - wrist[1]) * away[1]
    start = rng.uniform(8.0, 60.0)
    end = start + rng.uniform(4.0, 14.0) if rng.random() < 0.3 else np.inf
    where = (part == 2) & (beyond > start + 2.0 * _noise(rng, 20.0)) & (beyond < end)
    cloth = _tint(rng) * np.clip(1.0 + 0.2 * _noise(rng, rng.uniform(2.0, 20.0)), 0.2, 2.0)[..., None]
    return np.asarray(np.clip(cloth, 0.002, 1.0), np.float32), where


def _shadow(rng: np.random.Generator, solid: NDArray[np.bool_]) -> F32:
    shift = np.array([[1.0, 0.0, rng.normal(0.0, 14.0)], [0.0, 1.0, rng.normal(4.0, 14.0)]])
    size = (CANVAS_PX, CANVAS_PX)
    cast = cv2.GaussianBlur(cv2.warpAffine(solid.astype(np.float32), shift, size), (0, 0), rng.uniform(1.5, 14.0))
    return np.asarray(1.0 - rng.uniform(0.2, 0.75) * cast, np.float32)[..., None]


def _tint(rng: np.random.Generator) -> F32:
    chroma = rng.uniform(0.0, 12.0) if rng.random() < 0.55 else rng.uniform(0.0, 60.0)
    return lch_to_linear(rng.uniform(4.0, 98.0), chroma, rng.uniform(0.0, 360.0))


def _colour(rng: np.random.Generator, skin: F32) -> F32:
    """Any colour, and often one close to the skin."""
    if rng.random() < 0.3:
        return np.asarray(np.clip(skin * rng.uniform(0.5, 1.6) * rng.normal(1.0, 0.08, 3), 0.0, 1.0), np.float32)
    return _tint(rng)


def _ground(rng: np.random.Generator, skin: F32) -> F32:
    """A wall, or a room full of things, some of them of the skin's colour: faces, arms, wood."""
    image = np.empty((CANVAS_PX, CANVAS_PX, 3), np.float32)
    image[:] = _colour(rng, skin)
    far = _colour(rng, skin)
    ramp = np.clip(0.5 + rng.uniform(0.0, 0.6) * _noise(rng, rng.uniform(80.0, 340.0)), 0.0, 1.0)[..., None]
    image = image + (far - image) * ramp * rng.uniform(0.0, 1.0) * (rng.random() < 0.6)
    image = np.asarray(image, np.float32)
    if rng.random() < 0.65:
        for _ in range(int(rng.integers(1, 16))):
            _thing(rng, image, skin)
    if rng.random() < 0.25:
        _weave(rng, image)
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.choice([0.5, 0.8, 2.0, 5.0]))), np.float32)
    for cell in (3.0, 10.0, 40.0):
        image *= np.clip(1.0 + rng.uniform(0.0, 0.12) * rng.random() * _noise(rng, cell), 0.3, 1.8)[..., None]
    return image


def _thing(rng: np.random.Generator, image: F32, skin: F32) -> None:
    colour = [float(v) for v in _colour(rng, skin)]
    x, y = (int(v) for v in rng.uniform(0, CANVAS_PX, 2))
    size = rng.uniform(6.0, 130.0)
    shape = rng.random()
    if shape < 0.3:
        points = np.array([x, y]) + rng.normal(0.0, size, (int(rng.integers(3, 7)), 2))
        cv2.fillPoly(image, [cv2.convexHull(points.astype(np.int32))], colour, cv2.LINE_AA)
    elif shape < 0.55:
        axes = (int(size * rng.uniform(0.3, 1.0)) + 1, int(size * rng.uniform(0.5, 1.0)) + 1)
        cv2.ellipse(image, (x, y), axes, rng.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA)
    elif shape < 0.75:
        far = (int(x + rng.normal(0.0, 120.0)), int(y + rng.normal(0.0, 120.0)))
        cv2.line(image, (x, y), far, colour, int(rng.integers(1, 34)), cv2.LINE_AA)
    elif shape < 0.9:
        cv2.rectangle(image, (x, y), (int(x + rng.uniform(4, 200)), int(y + rng.uniform(4, 200))), colour, -1)
    else:  # something with a relief of its own
        sub = image[y : y + int(size), x : x + int(size)]
        sub *= rng.uniform(0.5, 1.5, (*sub.shape[:2], 1)).astype(np.float32)


def _weave(rng: np.random.Generator, image: F32) -> None:
    """Stripes or checks over a part of the ground."""
    x0, y0 = rng.integers(-CANVAS_PX // 2, CANVAS_PX, 2)
    x1, y1 = np.array([x0, y0]) + rng.integers(60, CANVAS_PX, 2)
    part = image[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)]
    if not part.size:
        return
    period, angle = rng.uniform(4.0, 40.0), rng.uniform(0.0, np.pi)
    yy, xx = np.mgrid[: part.shape[0], : part.shape[1]]
    wave = np.sin(2 * np.pi * (xx * np.cos(angle) + yy * np.sin(angle)) / period) > rng.uniform(-0.6, 0.6)
    if rng.random() < 0.5:
        wave = wave ^ (np.sin(2 * np.pi * (yy * np.cos(angle) - xx * np.sin(angle)) / period) > 0.0)
    part[wave] = part[wave] * 0.3 + 0.7 * _tint(rng)


# --------------------------------------------------------------------------- camera and cut


def _cut(
    rng: np.random.Generator, posture: Posture, light: F32, kind: U8, fused: U8, tip: F32, hand: NDArray[np.bool_]
) -> Example | None:
    """Expose the picture at some resolution and cut the hand out as a detector would, landmark errors included."""
    picture, scale = _expose(rng, light, float(np.median(light[hand])))
    palm = posture.palm[:, :2] + rng.normal(0.0, rng.uniform(0.5, 4.0), (7, 2)) + rng.normal(0.0, 2.5, 2)
    low, high = np.zeros(2), np.full(2, float(CANVAS_PX))
    if rng.random() < 0.15:  # the hand near the picture's edge
        side = int(rng.integers(0, 4))
        keep = rng.uniform(0.0, 0.26) * CANVAS_PX
        if side < 2:
            low[side] = keep
        else:
            high[side - 2] = CANVAS_PX - keep
    x0, y0 = np.floor(low * scale).astype(int)
    x1, y1 = np.floor(high * scale).astype(int)
    points = (palm + 0.5) * scale - 0.5 - [x0, y0]
    box = Box(0.0, 0.0, float(x1 - x0), float(y1 - y0))
    patch = cut_patch(np.ascontiguousarray(picture[y0:y1, x0:x1]), Hand(box, None, points, 1.0, ""))
    if patch is None:
        return None
    return _to_maps(patch, np.array([x0, y0]), scale, (kind, fused, tip, hand), posture)


def _to_maps(
    patch: HandPatch,
    origin: NDArray[np.int_],
    scale: float,
    labels: tuple[U8, U8, F32, NDArray[np.bool_]],
    posture: Posture,
) -> Example | None:
    kind, fused, tip, hand = labels
    half = MAP_PX / patch.pixels.shape[0]
    to_map = patch.to_patch.copy()
    to_map[:, 2] += patch.to_patch[:, :2] @ (0.5 * scale - 0.5 - origin)
    to_map[:, :2] *= scale
    to_map = half * to_map
    to_map[:, 2] += 0.5 * half - 0.5
    inside = cv2.resize(patch.inside.astype(np.uint8), (MAP_PX, MAP_PX), interpolation=cv2.INTER_NEAREST) > 0

    def carry(label: U8 | F32, how: int) -> F32:
        return np.asarray(cv2.warpAffine(label, to_map, (MAP_PX, MAP_PX), flags=how) * inside, np.float32)

    kinds = np.asarray(carry(kind, cv2.INTER_NEAREST), np.uint8)
    count, _ = cv2.connectedComponents((kinds > 0).astype(np.uint8), connectivity=8)
    if count - 1 != len(posture.digits):
        return None  # cut off, or too narrow a gap for these maps
    pixels = cv2.resize(patch.pixels, (MAP_PX, MAP_PX), interpolation=cv2.INTER_AREA)
    return Example(
        np.asarray(pixels, np.uint8),
        kinds,
        np.asarray(carry(fused, cv2.INTER_NEAREST) > 0, np.bool_),
        np.asarray(carry(hand.astype(np.uint8), cv2.INTER_NEAREST) > 0, np.bool_),
        np.asarray(np.clip(carry(tip, cv2.INTER_LINEAR) * 255.0, 0, 255), np.uint8),
        len(posture.digits),
        sum(len(digit.kinds) - 1 for digit in posture.digits),
        patch,
    )


def _expose(rng: np.random.Generator, light: F32, middle: float) -> tuple[U8, float]:
    """sRGB uint8 at a random resolution, and its scale: exposed for the hand, blurred, noisy, compressed."""
    level = np.exp(rng.uniform(np.log(0.06), np.log(0.65))) / max(middle, 1e-3)
    image = light * (level * np.exp(rng.normal(0.0, 0.12, 3))).astype(np.float32)
    scale = float(np.exp(rng.uniform(np.log(0.3), np.log(1.4))))
    size = (round(CANVAS_PX * scale),) * 2
    small = cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    if rng.random() < 0.6:
        small = cv2.GaussianBlur(small, (0, 0), rng.uniform(0.3, 1.3))
    if rng.random() < 0.06:
        length = int(rng.integers(2, 6))
        streak = np.eye(length, dtype=np.float32) if rng.random() < 0.5 else np.ones((1, length), np.float32)
        small = cv2.filter2D(small, -1, streak / streak.sum())
    srgb = np.asarray(linear_to_srgb(np.clip(small, 0.0, 1.2).astype(np.float32)), np.float32)
    grey = srgb.mean(axis=2, keepdims=True)
    srgb = grey + rng.uniform(0.1 if rng.random() < 0.1 else 0.6, 1.4) * (srgb - grey)
    srgb = np.clip(0.5 + rng.uniform(0.7, 1.35) * (srgb - 0.5) + rng.normal(0.0, 0.05), 0.0, 1.0)
    srgb = srgb ** rng.uniform(0.8, 1.25)
    codes = srgb * 255.0 + rng.uniform(0.3, 9.0) * rng.standard_normal(srgb.shape, dtype=np.float32)
    if rng.random() < 0.3:
        codes = cv2.GaussianBlur(codes, (0, 0), rng.uniform(0.4, 0.9))
    picture = np.clip(np.round(codes), 0, 255).astype(np.uint8)
    if rng.random() < 0.7:
        quality = int(rng.integers(25, 96))
        picture = cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    return np.asarray(picture, np.uint8), scale
