"""A drawn hand, palm to the camera, built of tapering capsules on a height field, and the truth about its digits."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from decay.phantom.canvas import (
    F32,
    LUMINANCE,
    Frame,
    Pixels,
    bell,
    hex_to_linear,
    lattice_noise,
    lch_to_linear,
    linear_to_srgb,
    over,
    rgb,
    smoothstep,
)
from decay.phantom.parameters import FINGERS, PAIRS, HandParameters

Points = NDArray[np.float64]

HAND_LINE = 0.56
"""Height of the palm's centre in an unshifted image, in image heights."""
BASES_MM = {"index": (-0.70, -37.0), "middle": (-0.235, -42.0), "ring": (0.235, -39.0), "little": (0.68, -29.0)}
"""Where fingers leave the palm: x in palm half widths, y in mm."""
LENGTH_SHARES = {"index": 0.92, "middle": 1.0, "ring": 0.94, "little": 0.75}
RADIUS_SHARES = {"thumb": 1.14, "index": 1.0, "middle": 1.02, "ring": 0.98, "little": 0.86}
SPREAD_SHARES = {"index": -1.0, "middle": -0.1, "ring": 0.8, "little": 1.9}
TOUCHING = 1.86
"""Distance of two axes held together, in radii: below 2 they press on each other and a valley stays."""
WRIST_Y_MM = 58.0
FINE_PX = 640
"""The picture is drawn about this large, or at its own size where that is larger, then averaged down."""
PALM_DEPTH_MM = 13.0


@dataclass(frozen=True)
class Digit:
    """A chain of capsules: ``joints_mm`` (n, 2), ``radii_mm`` (n,), base first; ``height_mm`` lifts it off the palm."""

    name: str
    joints_mm: Points
    radii_mm: NDArray[np.float64]
    height_mm: float = 0.0


@dataclass(frozen=True)
class Surface:
    """``height_mm`` over the background, 0 beside the hand; ``inside_mm``: distance to the outline, positive inside."""

    height_mm: F32
    inside_mm: F32

    @staticmethod
    def empty(like: F32) -> Surface:
        """No hand yet."""
        return Surface(np.zeros_like(like), np.full_like(like, -99.0))


def draw_hand(parameters: HandParameters, size_px: int, rng: np.random.Generator) -> tuple[Pixels, dict[str, Any]]:
    """Draw one hand.

    Returns ``(pixels, truth)``: sRGB uint8 (size_px, size_px, 3), and a JSON-ready dict in image pixels
    (origin: centre of the top-left pixel). ``rng`` makes the sensor noise only. Raises ValueError below 32 px.

    ``n_digits_separate``: extended digits, each group of fused ones counted once.
    """
    if size_px < 32:
        raise ValueError(f"a hand needs at least 32 px, got {size_px}")
    fine = max(1, round(FINE_PX / size_px))
    frame = Frame(
        centre_x_px=size_px * (0.5 + parameters.shift_x) - 0.5,
        centre_y_px=size_px * (HAND_LINE + parameters.shift_y) - 0.5,
        px_per_mm=size_px / parameters.frame_mm,
        roll_deg=parameters.rotation_deg,
    )
    x, y = _coordinates(frame, size_px, fine, parameters.mirrored)
    digits = build_digits(parameters)
    surface = Surface.empty(x)
    if parameters.present:
        _raise_hand(surface, parameters, digits, x, y)
    fine_per_mm = frame.px_per_mm * fine
    lit = _shade(parameters, digits, surface.height_mm, x, y, fine_per_mm)
    cover = np.clip(0.5 + surface.inside_mm * fine_per_mm, 0.0, 1.0).astype(np.float32)
    image = over(_backdrop(parameters, x, y), lit, cover)
    image = _sleeve(parameters, image, x, y)
    small = cv2.resize(image, (size_px, size_px), interpolation=cv2.INTER_AREA)
    pixels = _expose(np.asarray(small, np.float32), parameters, frame, rng)
    return pixels, _truth(parameters, digits, frame, (surface.inside_mm > 0) & (y < WRIST_Y_MM), fine)


def build_digits(hand: HandParameters) -> list[Digit]:
    """The digits that are drawn, thumb first, extra ones last; a missing one is absent."""
    angles = _angles_deg(hand)
    digits = []
    for i, name in enumerate(FINGERS):
        pose = hand.fingers[i]
        if pose == "missing":
            continue
        if name == "thumb":
            digits.append(_thumb(hand, angles))
        elif pose == "extended":
            digits.append(_finger(hand, name, angles[name]))
        else:
            digits.append(_folded(hand, name))
    return digits + [_extra(hand, i, angles["little"]) for i in range(hand.n_extra)]


def _base_mm(hand: HandParameters, name: str) -> Points:
    x, y = BASES_MM[name]
    return np.array([x * hand.palm_half_width_mm, y])


def _angles_deg(hand: HandParameters) -> dict[str, float]:
    """Direction of each finger from straight up, toward the little finger positive. Held or fused pairs close up."""
    angles = {"middle": SPREAD_SHARES["middle"] * hand.spread_deg}
    for near, far, pair in (("middle", "index", 1), ("middle", "ring", 2), ("ring", "little", 3)):
        side = -1.0 if far == "index" else 1.0
        apart = abs(_base_mm(hand, far)[0] - _base_mm(hand, near)[0])
        touching = TOUCHING * hand.finger_radius_mm * (RADIUS_SHARES[far] + RADIUS_SHARES[near]) / 2
        if hand.together[pair] or hand.fused[pair]:
            length = hand.finger_length_mm * LENGTH_SHARES[far]
            angles[far] = angles[near] - side * float(np.degrees(np.arctan((apart - touching) / (0.8 * length))))
        else:
            share = abs(SPREAD_SHARES[far] - SPREAD_SHARES[near])
            angles[far] = angles[near] + side * share * hand.spread_deg
    return angles


def _finger(hand: HandParameters, name: str, angle_deg: float) -> Digit:
    length, radius = hand.finger_length_mm * LENGTH_SHARES[name], hand.finger_radius_mm * RADIUS_SHARES[name]
    angle = np.radians(angle_deg)
    steps = np.array([0.0, 0.45, 0.74, 1.0]) * (length - radius)
    joints = _base_mm(hand, name) + steps[:, None] * np.array([np.sin(angle), -np.cos(angle)])
    return Digit(name, joints, radius * np.array([1.06, 1.0, 0.94, 0.84]))


def _folded(hand: HandParameters, name: str) -> Digit:
    """Curled onto the palm: the knuckle stands at the rim, the end phalanx lies on the palm."""
    base, radius = _base_mm(hand, name), hand.finger_radius_mm * RADIUS_SHARES[name]
    joints = base + np.array([[0.0, 0.0], [0.0, -9.0], [0.5, 8.0], [1.0, 24.0]])
    return Digit(name, joints, radius * np.array([1.0, 1.08, 1.02, 0.92]), 7.0)


def _thumb(hand: HandParameters, angles: dict[str, float]) -> Digit:
    width, radius = hand.palm_half_width_mm, hand.finger_radius_mm * RADIUS_SHARES["thumb"]
    if hand.fingers[0] == "folded":
        joints = np.array([[-0.62 * width, 22.0], [-0.80 * width, -6.0], [-0.30 * width, -17.0], [0.22 * width, -14.0]])
        return Digit("thumb", joints, radius * np.array([1.25, 1.1, 1.0, 0.88]), 9.0)
    if hand.fused[0] or hand.together[0]:
        angle = np.radians(angles["index"])
        along = np.array([np.sin(angle), -np.cos(angle)])
        across = np.array([np.cos(angle), np.sin(angle)])
        touching = TOUCHING * hand.finger_radius_mm * (1.0 + RADIUS_SHARES["thumb"]) / 2
        beside = _base_mm(hand, "index") - touching * across
        joints = np.stack([[-0.62 * width, 26.0], beside - 18.0 * along, beside + 8.0 * along, beside + 30.0 * along])
    else:
        away = np.radians(38.0 + hand.spread_deg)
        reach = np.array([0.0, 30.0, 58.0, 82.0]) * hand.finger_length_mm / 78.0
        start = np.array([-0.58 * width, 28.0])
        joints = start + reach[:, None] * np.array([-np.sin(away), -np.cos(away)])
        joints[2:, 1] -= np.array([2.0, 6.0])
    return Digit("thumb", joints, radius * np.array([1.55, 1.2, 1.0, 0.84]))


def _extra(hand: HandParameters, index: int, little_deg: float) -> Digit:
    width, radius = hand.palm_half_width_mm, hand.finger_radius_mm * 0.82
    angle = np.radians(little_deg + 26.0 + 22.0 * index)
    base = np.array([0.92 * width, -8.0 + 22.0 * index])
    steps = np.array([0.0, 0.45, 0.75, 1.0]) * 0.62 * hand.finger_length_mm
    joints = base + steps[:, None] * np.array([np.sin(angle), -np.cos(angle)])
    return Digit("extra", joints, radius * np.array([1.06, 1.0, 0.94, 0.84]))


def _coordinates(frame: Frame, size_px: int, fine: int, mirrored: bool) -> tuple[F32, F32]:
    """Hand coordinates in mm at every fine pixel."""
    span = (-0.5 + (np.arange(size_px * fine) + 0.5) / fine).astype(np.float32)
    x, y = frame.to_mm(*np.meshgrid(span, span))
    return (-x if mirrored else x), y


def _raise_digit(surface: Surface, digit: Digit, x: F32, y: F32) -> None:
    """Raise ``surface`` in place to the digit's rounded one where that is higher."""
    pairs = zip(digit.joints_mm[:-1], digit.joints_mm[1:], digit.radii_mm[:-1], digit.radii_mm[1:], strict=True)
    for start, end, radius_a, radius_b in pairs:
        part = _around(start, end, float(max(radius_a, radius_b)), x, y)
        if part is None:
            continue
        along = (end - start).astype(np.float32)
        dx, dy = x[part] - np.float32(start[0]), y[part] - np.float32(start[1])
        t = np.clip((dx * along[0] + dy * along[1]) / max(float(along @ along), 1e-6), 0.0, 1.0)
        radius = np.float32(radius_a) + t * np.float32(radius_b - radius_a)
        rise2 = np.square(radius) - np.square(dx - t * along[0]) - np.square(dy - t * along[1])
        rise = np.where(rise2 > 0, np.sqrt(np.maximum(rise2, 0.0)) + np.float32(digit.height_mm), 0.0)
        surface.height_mm[part] = np.maximum(surface.height_mm[part], rise)
        surface.inside_mm[part] = np.maximum(surface.inside_mm[part], rise2 / (2.0 * radius))


def _around(start: Points, end: Points, radius: float, x: F32, y: F32) -> tuple[slice, slice] | None:
    """The rectangle of pixels that a capsule can touch; coordinates are affine in the pixel."""
    step = np.array([[x[0, 1] - x[0, 0], x[1, 0] - x[0, 0]], [y[0, 1] - y[0, 0], y[1, 0] - y[0, 0]]], np.float64)
    ends = np.linalg.solve(step, (np.stack([start, end]) - [x[0, 0], y[0, 0]]).T)
    reach = radius / float(np.hypot(step[0, 0], step[1, 0])) + 1.0
    low = np.maximum(np.floor(ends.min(axis=1) - reach), 0).astype(int)
    high = np.minimum(np.ceil(ends.max(axis=1) + reach) + 1, [x.shape[1], x.shape[0]]).astype(int)
    return (slice(low[1], high[1]), slice(low[0], high[0])) if (low < high).all() else None


def _between(a: Digit, b: Digit, share: float) -> Digit:
    return Digit(
        "web",
        (1.0 - share) * a.joints_mm + share * b.joints_mm,
        (1.0 - share) * a.radii_mm + share * b.radii_mm,
    )


def _fused_digits(hand: HandParameters, digits: list[Digit]) -> list[tuple[str, Digit, Digit]]:
    by_name = {digit.name: digit for digit in digits}
    return [
        (fusion, by_name[FINGERS[i]], by_name[FINGERS[i + 1]])
        for i, fusion in enumerate(hand.fused)
        if fusion is not None
    ]


def _raise_hand(surface: Surface, hand: HandParameters, digits: list[Digit], x: F32, y: F32) -> None:
    """Palm, digits, and what has grown between fused ones."""
    _raise_palm(surface, hand, x, y)
    for digit in digits:
        _raise_digit(surface, digit, x, y)
    for _, a, b in _fused_digits(hand, digits):
        for share in np.linspace(0.0, 1.0, 9)[1:-1]:
            _raise_digit(surface, _between(a, b, float(share)), x, y)


def _raise_palm(surface: Surface, hand: HandParameters, x: F32, y: F32) -> None:
    """Palm and wrist: a flat pad with rounded rim, the balls of thumb and little finger on it."""
    half = np.interp(
        y,
        [-48.0, -40.0, -10.0, 30.0, 52.0, 75.0, 140.0],
        hand.palm_half_width_mm * np.array([0.82, 0.93, 1.0, 0.93, 0.76, 0.72, 0.80]),
    )
    top = (y + 46.0 - 0.011 * np.square(x + 7.0)) / 1.5  # the pad runs out gently under the fingers
    beside = half - np.abs(x)
    corner = np.hypot(np.minimum(beside - 14.0, 0.0), np.minimum(top - 14.0, 0.0))
    rim = np.minimum(14.0 - corner, np.minimum(beside, top))
    rise = np.clip(rim / PALM_DEPTH_MM, 0.0, 1.0)
    pad = PALM_DEPTH_MM * np.sqrt(np.maximum(1.0 - np.square(1.0 - rise), 0.0))
    thenar = 5.5 * bell(x + 0.45 * hand.palm_half_width_mm, 14.0) * bell(y - 20.0, 20.0)
    hypothenar = 4.0 * bell(x - 0.58 * hand.palm_half_width_mm, 11.0) * bell(y - 18.0, 22.0)
    mounts = sum(
        2.2 * bell(x - _base_mm(hand, name)[0], 7.0) * bell(y - _base_mm(hand, name)[1] - 8.0, 6.0) for name in BASES_MM
    )
    surface.height_mm[:] = np.where(rim > 0, pad + (thenar + hypothenar + mounts) * rise, 0.0)
    surface.inside_mm[:] = rim


def _shade(hand: HandParameters, digits: list[Digit], height: F32, x: F32, y: F32, fine_per_mm: float) -> F32:
    smooth = np.asarray(cv2.GaussianBlur(height, (0, 0), max(0.7 * fine_per_mm, 0.5)), np.float32)
    slope_y, slope_x = np.gradient(smooth, 1.0 / fine_per_mm)
    steep = 1.0 / np.sqrt(1.0 + np.square(slope_x) + np.square(slope_y))
    azimuth, elevation = np.radians(hand.light_azimuth_deg), np.radians(hand.light_elevation_deg)
    light = np.array([np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])

    def facing(direction: Points) -> F32:
        right, down, near = (float(part) for part in direction / np.linalg.norm(direction))
        return np.asarray((near - right * slope_x - down * slope_y) * steep, np.float32)

    wrap = rgb(0.45, 0.30, 0.25)
    direct = np.clip((facing(light)[..., None] + wrap) / (1.0 + wrap), 0.0, None)
    hollow = np.exp(-0.07 * np.clip(cv2.GaussianBlur(height, (0, 0), 4.0 * fine_per_mm) - smooth, -1.0, 8.0))
    gloss = np.clip(facing(light + np.array([0.0, 0.0, 1.0])), 0.0, 1.0) ** 24
    lit = _albedo(hand, digits, x, y) * (0.28 + 0.85 * direct) * hollow[..., None] + 0.035 * gloss[..., None]
    return np.asarray(lit, np.float32)


def _albedo(hand: HandParameters, digits: list[Digit], x: F32, y: F32) -> F32:
    """Palm skin is paler than the back; finger ends and balls are redder; creases are dark."""
    skin = hand.skin
    tone = lch_to_linear(0.6 * skin.lightness + 0.4 * 72.0, skin.chroma, skin.hue_deg - 6.0)
    flush = bell(x + 0.45 * hand.palm_half_width_mm, 16.0) * bell(y - 20.0, 24.0)
    for digit in digits:
        tip = digit.joints_mm[-1]
        flush = np.maximum(flush, 0.9 * bell(np.hypot(x - tip[0], y - tip[1]), 9.0))
    rng = np.random.default_rng([hand.texture_seed, 91])
    grain = np.ones_like(x)
    for cell_mm, strength in ((14.0, 0.03), (4.0, 0.03), (1.5, 0.03)):
        grain += skin.texture * strength * lattice_noise(rng, 256, x / cell_mm + 128.0, y / cell_mm + 128.0)
    albedo = tone * (1.0 - (0.22 * flush)[..., None] * rgb(0.0, 1.0, 0.9)) * grain[..., None]
    return over(albedo.astype(np.float32), (0.42 * tone).astype(np.float32), _creases(hand, digits, x, y))


def _creases(hand: HandParameters, digits: list[Digit], x: F32, y: F32) -> F32:
    """Coverage of the palm's three lines, of the finger joints and of the line in a creased fusion."""
    width = hand.palm_half_width_mm
    dark = np.zeros_like(x)
    life = np.hypot((x + 0.55 * width) / 1.0, (y - 24.0) / 1.25) - 0.72 * width
    life_line = smoothstep(-0.75 * width, -0.5 * width, x) * (y > -22.0) * (y < 50.0)
    dark = np.maximum(dark, 0.5 * bell(life, 0.6) * life_line)
    head = y + 2.0 - 0.004 * np.square(x + 0.8 * width)
    dark = np.maximum(dark, 0.45 * bell(head, 0.6) * (np.abs(x) < 0.72 * width))
    heart = y + 17.0 + 0.0065 * np.square(x - 0.9 * width)
    dark = np.maximum(dark, 0.45 * bell(heart, 0.6) * (x > -0.35 * width) * (x < 0.9 * width))
    for digit in digits:
        if digit.height_mm == 0.0:
            dark = np.maximum(dark, _joint_lines(digit, x, y))
    for fusion, a, b in _fused_digits(hand, digits):
        if fusion == "crease":
            middle = _between(a, b, 0.5)
            dark = np.maximum(dark, 0.35 * _line_along(middle.joints_mm, x, y, 0.45))
    return np.asarray(dark, np.float32)


def _joint_lines(digit: Digit, x: F32, y: F32) -> F32:
    dark = np.zeros_like(x)
    for joint, before, radius in zip(digit.joints_mm[1:3], digit.joints_mm[:2], digit.radii_mm[1:3], strict=True):
        along = (joint - before) / np.linalg.norm(joint - before)
        forward = (x - joint[0]) * along[0] + (y - joint[1]) * along[1]
        aside = (x - joint[0]) * along[1] - (y - joint[1]) * along[0]
        dark = np.maximum(dark, 0.45 * bell(forward, 0.5) * (np.abs(aside) < 0.85 * radius))
    return dark


def _line_along(joints: Points, x: F32, y: F32, width_mm: float) -> F32:
    near = np.full_like(x, np.inf)
    for start, end in pairwise(joints):
        along = end - start
        t = np.clip(((x - start[0]) * along[0] + (y - start[1]) * along[1]) / float(along @ along), 0.0, 1.0)
        near = np.minimum(near, np.hypot(x - start[0] - t * along[0], y - start[1] - t * along[1]))
    return bell(near, width_mm)


def _backdrop(hand: HandParameters, x: F32, y: F32) -> F32:
    rng = np.random.default_rng([hand.texture_seed, 92])
    cloud = lattice_noise(rng, 16, x / 100.0 + 8.0, y / 100.0 + 8.0)
    fall = np.clip(1.0 + 0.22 * cloud - 0.0012 * np.hypot(x, y), 0.3, 1.8)
    return np.asarray(hex_to_linear(hand.background) * fall[..., None], np.float32)


def _sleeve(hand: HandParameters, image: F32, x: F32, y: F32) -> F32:
    inside = np.minimum(0.95 * hand.palm_half_width_mm + 0.06 * (y - 90.0) - np.abs(x), y - 88.0 - 0.003 * np.square(x))
    round_off = np.sqrt(np.clip(1.0 - np.square(x / (1.1 * hand.palm_half_width_mm)), 0.1, 1.0))
    cloth = hex_to_linear(hand.sleeve) * (0.9 * round_off)[..., None]
    return over(image, cloth.astype(np.float32), np.clip(0.5 + inside * 2.0, 0.0, 1.0).astype(np.float32))


def _expose(image: F32, hand: HandParameters, frame: Frame, rng: np.random.Generator) -> Pixels:
    camera = hand.camera
    sigma = camera.blur_mm * frame.px_per_mm
    if sigma > 0.05:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)
    grey = (image @ LUMINANCE)[..., None]
    srgb = linear_to_srgb(grey + camera.saturation * (image - grey))
    srgb = 0.5 + camera.contrast * (srgb - 0.5)
    noisy = srgb * 255.0 + camera.noise * rng.standard_normal(srgb.shape, dtype=np.float32)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def _truth(
    hand: HandParameters, digits: list[Digit], frame: Frame, mask: NDArray[np.bool_], fine: int
) -> dict[str, Any]:
    if not hand.present:
        return {"kind": "hand", "present": False, "px_per_mm": frame.px_per_mm, "box": None, "n_digits_separate": 0}
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    extended = sum(pose == "extended" for pose in hand.fingers) + hand.n_extra
    fused = [name for name, fusion in zip(PAIRS, hand.fused, strict=True) if fusion is not None]
    flip = -1.0 if hand.mirrored else 1.0
    return {
        "kind": "hand",
        "present": True,
        "px_per_mm": frame.px_per_mm,
        "box": [
            float(columns[0] / fine - 0.5),
            float(rows[0] / fine - 0.5),
            float((columns[-1] + 1) / fine - 0.5),
            float((rows[-1] + 1) / fine - 0.5),
        ],
        "palm_x_px": frame.centre_x_px,
        "palm_y_px": frame.centre_y_px,
        "rotation_deg": hand.rotation_deg,
        "mirrored": hand.mirrored,
        "n_digits_separate": extended - len(fused),
        "n_extended": extended,
        "n_fused_pairs": len(fused),
        "fused_pairs": fused,
        "creased_pairs": [name for name, fusion in zip(PAIRS, hand.fused, strict=True) if fusion == "crease"],
        "together_pairs": [name for name, held in zip(PAIRS, hand.together, strict=True) if held],
        "fingers": dict(zip(FINGERS, hand.fingers, strict=True)),
        "missing": [name for name, pose in zip(FINGERS, hand.fingers, strict=True) if pose == "missing"],
        "n_extra": hand.n_extra,
        "joints_px": {
            digit.name: [list(frame.to_px(flip * float(x), float(y))) for x, y in digit.joints_mm] for digit in digits
        },
    }
