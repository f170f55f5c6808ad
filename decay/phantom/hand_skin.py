"""Skin, nails, lines and light on the depth map of a drawn hand."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from decay.phantom.canvas import F32, bell, hex_to_linear, lattice_noise, lch_to_linear, over, rgb, smoothstep
from decay.phantom.hand_pose import Digit, Points, Posed, between, knuckle_mm
from decay.phantom.hand_surface import ARM, DIGIT, HELD, PALM, SLEEVE, Surface
from decay.phantom.parameters import HandParameters

PALM_LIGHTNESS = 72.0
"""Palms of all people are alike: L* of a palm lies part of the way from that of the back to this."""


def shade(hand: HandParameters, posed: Posed, surface: Surface, x: F32, y: F32, fine_per_mm: float) -> F32:
    """Linear light (h, w, 3) of the hand; what lies beside it means nothing."""
    height = _without_cliffs(surface, fine_per_mm)
    smooth = _blur(height, 0.7 * fine_per_mm)
    slope_y, slope_x = np.gradient(smooth, 1.0 / fine_per_mm)
    steep = 1.0 / np.sqrt(1.0 + np.square(slope_x) + np.square(slope_y))
    lamp = _lamp(hand)

    def facing(direction: Points) -> F32:
        right, down, near = (float(part) for part in direction / np.linalg.norm(direction))
        return np.asarray((near - right * slope_x - down * slope_y) * steep, np.float32)

    wrap = rgb(0.38, 0.26, 0.22)
    direct = np.clip((facing(lamp)[..., None] + wrap) / (1.0 + wrap), 0.0, None)
    direct *= (1.0 - hand.light.shadow * _cast_shadow(height, lamp, fine_per_mm))[..., None]
    hollow = np.exp(-0.085 * np.clip(_blur(height, 4.0 * fine_per_mm) - smooth, -1.5, 9.0))
    gloss = np.clip(facing(lamp + np.array([0.0, 0.0, 1.0])), 0.0, 1.0) ** 24
    ambient = hand.light.ambient * (0.75 + 0.25 * steep)
    light = ambient[..., None] + (1.15 - hand.light.ambient) * direct
    shine = (0.035 * hand.light.gloss * gloss * (surface.owner != SLEEVE))[..., None]
    lit = _albedo(hand, posed, surface, x, y, fine_per_mm) * light * hollow[..., None] + shine
    return np.asarray(lit * hex_to_linear(hand.light.colour) * hand.light.exposure, np.float32)


def _lamp(hand: HandParameters) -> Points:
    azimuth, elevation = np.radians(hand.light.azimuth_deg), np.radians(hand.light.elevation_deg)
    return np.array([np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])


def _blur(image: F32, sigma_px: float) -> F32:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), max(sigma_px, 0.5)), np.float32)


def _without_cliffs(surface: Surface, fine_per_mm: float) -> F32:
    """The height, going on beside the hand a little lower than its rim: the rim is as round as the flesh there."""
    on = (surface.inside_mm > 0).astype(np.float32)
    known = np.where(on > 0, surface.height_mm, 0.0).astype(np.float32)
    weight = _blur(on, 3.0 * fine_per_mm)
    beside = _blur(known, 3.0 * fine_per_mm) / np.maximum(weight, 1e-3) - 7.0
    return np.where(on > 0, surface.height_mm, beside).astype(np.float32)


def _cast_shadow(height: F32, lamp: Points, fine_per_mm: float) -> F32:
    """How far something nearer the lamp stands in the way, 0 to 1; half as fine as the picture, because it is soft."""
    low = cv2.resize(height, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    per_mm, blocked = 0.5 * fine_per_mm, np.zeros_like(low)
    near = max(float(lamp[2]), 0.25)
    for rise in (2.5, 5.0, 9.0, 14.0, 21.0, 30.0):
        shift = -np.array([lamp[0], lamp[1]]) / near * rise * per_mm
        matrix = np.array([[1.0, 0.0, shift[0]], [0.0, 1.0, shift[1]]])
        size = (low.shape[1], low.shape[0])
        above = cv2.warpAffine(low, matrix, size, borderMode=cv2.BORDER_CONSTANT, borderValue=(-99.0,))
        blocked = np.maximum(blocked, np.clip((above - low - rise) / (1.0 + 0.15 * rise), 0.0, 1.0))
    soft = cv2.GaussianBlur(blocked, (0, 0), max(1.2 * per_mm, 0.5))
    return np.asarray(cv2.resize(soft, (height.shape[1], height.shape[0]), interpolation=cv2.INTER_LINEAR), np.float32)


# --------------------------------------------------------------------------- colour


def _albedo(hand: HandParameters, posed: Posed, surface: Surface, x: F32, y: F32, fine_per_mm: float) -> F32:
    """Palm skin is paler than the back; finger ends, balls and knuckles are redder; creases are dark."""
    skin = hand.skin
    back = lch_to_linear(skin.lightness, skin.chroma, skin.hue_deg)
    front = lch_to_linear(0.6 * skin.lightness + 0.4 * PALM_LIGHTNESS, skin.chroma, skin.hue_deg - 6.0)
    share = _blur(_palm_share(posed)[surface.owner], 1.5 * fine_per_mm)
    tone = back + share[..., None] * (front - back)
    rng = np.random.default_rng([hand.texture_seed, 91])
    grain = np.ones_like(x)
    for cell_mm, strength in ((14.0, 0.03), (4.0, 0.03), (1.5, 0.03)):
        grain += skin.texture * strength * lattice_noise(rng, 256, x / cell_mm + 128.0, y / cell_mm + 128.0)
    blotch = lattice_noise(rng, 64, x / 22.0 + 32.0, y / 22.0 + 32.0)
    red = np.clip(0.2 * _flush(posed, x, y) + 0.05 * hand.unevenness * blotch, -0.12, 0.4)
    albedo = tone * (1.0 - red[..., None] * rgb(0.0, 1.0, 0.9)) * grain[..., None]
    dark = _lines(hand, posed, surface, x, y)
    albedo = over(albedo.astype(np.float32), (0.42 * tone).astype(np.float32), dark)
    albedo = _nails(posed, surface, albedo, x, y)
    touching = hand.touch_line * _touching(posed, surface, fine_per_mm)
    albedo *= (1.0 - touching[..., None] * rgb(0.72, 0.85, 0.88)).astype(np.float32)
    for owner, colour in ((SLEEVE, hand.sleeve), (HELD, hand.backdrop.other)):
        albedo[surface.owner == owner] = hex_to_linear(colour)
    return albedo


def _palm_share(posed: Posed) -> F32:
    """Per owner, how much of what is seen of it is palm, not back: 0 to 1."""
    share = np.zeros(256, np.float32)
    flat = float(posed.turn[2, 2])
    share[[0, ARM, PALM]] = [0.5 + 0.5 * flat, 0.25 + 0.25 * flat, 0.5 + 0.5 * flat]
    for i, digit in enumerate(posed.digits):
        share[DIGIT + i] = np.clip(0.5 + 0.6 * digit.chain.palmar, 0.0, 1.0)
    return share


def _flush(posed: Posed, x: F32, y: F32) -> F32:
    flush = np.zeros_like(x)
    for chain in posed.palm[4:5]:  # the ball of the thumb
        flush = bell(np.hypot(x - chain.joints_mm[1, 0], y - chain.joints_mm[1, 1]), 20.0)
    for digit in posed.digits:
        spots = [(digit.marks_mm[3], 9.0, 0.9)]
        if digit.chain.palmar < 0.2:
            spots += [(digit.marks_mm[1], 6.0, 0.7), (digit.marks_mm[0], 8.0, 0.6)]
        for (px, py, _), width, strength in spots:
            flush = np.maximum(flush, strength * bell(np.hypot(x - px, y - py), width))
    return flush


def _touching(posed: Posed, surface: Surface, fine_per_mm: float) -> F32:
    """Coverage of the dark lines where two digits meet, or a folded one meets what lies behind it."""
    kind = np.zeros(256, np.uint8)
    kind[[PALM, ARM]] = 1
    for i, digit in enumerate(posed.digits):
        kind[DIGIT + i] = 10 + i + (0 if digit.extended else 100)
    for group in posed.fused:
        kind[[DIGIT + i for i in group]] = 10 + group[0]
    seen = kind[surface.owner]
    line = np.zeros(seen.shape, np.float32)
    for a, b, at in (
        (seen[:, :-1], seen[:, 1:], line[:, 1:]),
        (seen[:-1], seen[1:], line[1:]),
    ):
        meet = (a != b) & (np.minimum(a, b) > 0) & ((np.minimum(a, b) >= 10) | (np.maximum(a, b) >= 100))
        at[meet] = 1.0
    sigma = max(0.55 * fine_per_mm, 0.6)
    return np.clip(_blur(line, sigma) * sigma * 2.2, 0.0, 1.0)


# --------------------------------------------------------------------------- lines and nails


def _lines(hand: HandParameters, posed: Posed, surface: Surface, x: F32, y: F32) -> F32:
    """Coverage of the palm's lines or the back's tendons, of finger joints, of the line in a creased fusion."""
    dark = np.zeros_like(x)
    flat = float(posed.turn[2, 2])
    if abs(flat) > 0.3:
        plane = np.linalg.inv(posed.turn[:2, :2]).astype(np.float32)
        rise = 11.0 * np.sign(flat)
        px, py = x - np.float32(posed.turn[0, 2] * rise), y - np.float32(posed.turn[1, 2] * rise)
        u, v = plane[0, 0] * px + plane[0, 1] * py, plane[1, 0] * px + plane[1, 1] * py
        marks = _palm_lines(hand, u, v) if flat > 0 else _tendons(hand, u, v)
        dark = marks * (surface.owner == PALM)
    for i, digit in enumerate(posed.digits):
        mine = surface.owner == DIGIT + i
        dark = np.maximum(dark, mine * _joint_lines(digit, x, y))
    for group in posed.fused:
        for a, b in zip(group[:-1], group[1:], strict=True):
            if _is_creased(hand, posed.digits[a].name):
                middle = between(posed.digits[a].chain, posed.digits[b].chain, 0.5)
                dark = np.maximum(dark, 0.35 * _line_along(middle.joints_mm[1:], x, y, 0.45))
    return np.asarray(dark, np.float32)


def _is_creased(hand: HandParameters, near: str) -> bool:
    return hand.fused[("thumb", "index", "middle", "ring").index(near)] == "crease"


def _palm_lines(hand: HandParameters, x: F32, y: F32) -> F32:
    width = hand.palm_half_width_mm
    life = np.hypot((x + 0.55 * width) / 1.0, (y - 24.0) / 1.25) - 0.72 * width
    dark = 0.5 * bell(life, 0.6) * smoothstep(-0.75 * width, -0.5 * width, x) * (y > -22.0) * (y < 50.0)
    head = y + 2.0 - 0.004 * np.square(x + 0.8 * width)
    dark = np.maximum(dark, 0.45 * bell(head, 0.6) * (np.abs(x) < 0.72 * width))
    heart = y + 17.0 + 0.0065 * np.square(x - 0.9 * width)
    dark = np.maximum(dark, 0.45 * bell(heart, 0.6) * (x > -0.35 * width) * (x < 0.9 * width))
    wrist = bell(y - 54.0 - 0.002 * np.square(x), 0.6) * (np.abs(x) < 0.6 * width)
    return np.maximum(dark, 0.35 * wrist)


def _tendons(hand: HandParameters, x: F32, y: F32) -> F32:
    """Soft lines from the wrist to each knuckle, and the wrinkled knuckles."""
    dark = np.zeros_like(x)
    for name in ("index", "middle", "ring", "little"):
        head = knuckle_mm(hand, name)
        t = np.clip((44.0 - y) / (44.0 - head[1]), 0.0, 1.0)
        aside = x - (0.4 + 0.6 * t) * head[0]
        dark += 0.10 * bell(aside - 3.0, 1.8) * smoothstep(0.2, 0.6, t) - 0.05 * bell(aside, 1.5)
        dark += 0.12 * bell(np.hypot(aside, 1.4 * (y - head[1])), 5.0)
    return np.clip(dark, 0.0, 1.0)


def _joint_lines(digit: Digit, x: F32, y: F32) -> F32:
    """Creases on the palm side; bundles of wrinkles on the back."""
    dark = np.zeros_like(x)
    if not digit.extended:
        return dark
    palm_side = digit.chain.palmar > 0
    for nth, (joint, before, radius) in enumerate(
        zip(digit.marks_mm[1:3], digit.marks_mm[:2], digit.chain.radii_mm[[2, 4]], strict=True)
    ):
        step = (joint - before)[:2]
        length = float(np.linalg.norm(step))
        if length < 6.0:
            continue
        along = step / length
        forward = (x - joint[0]) * along[0] + (y - joint[1]) * along[1]
        aside = (x - joint[0]) * along[1] - (y - joint[1]) * along[0]
        lines: tuple[float, ...] = ((-0.9, 0.9) if nth == 0 else (0.0,)) if palm_side else (-2.2, 0.0, 2.2)
        for at in lines:
            bow = at + (0.0 if palm_side else 0.012 * at) * np.square(aside)
            dark = np.maximum(
                dark, (0.4 if palm_side else 0.3) * bell(forward - bow, 0.5) * (abs(aside) < 0.8 * radius)
            )
    return dark


def _line_along(joints: Points, x: F32, y: F32, width_mm: float) -> F32:
    near = np.full_like(x, np.inf)
    for start, end in zip(joints[:-1, :2], joints[1:, :2], strict=True):
        along = end - start
        t = np.clip(((x - start[0]) * along[0] + (y - start[1]) * along[1]) / max(float(along @ along), 1e-6), 0.0, 1.0)
        near = np.minimum(near, np.hypot(x - start[0] - t * along[0], y - start[1] - t * along[1]))
    return bell(near, width_mm)


def _nails(posed: Posed, surface: Surface, albedo: F32, x: F32, y: F32) -> F32:
    """A paler plate on the back of each end phalanx that shows it."""
    for i, digit in enumerate(posed.digits):
        if digit.dorsal[2] < 0.15:
            continue
        inside = _nail(digit, x, y)
        mine: NDArray[np.bool_] = (surface.owner == DIGIT + i) & (inside > -1.0)
        if not mine.any():
            continue
        cover = (0.75 * mine * smoothstep(-0.25, 0.25, inside)).astype(np.float32)
        rim = (0.35 * mine * bell(inside, 0.22)).astype(np.float32)
        plate = np.clip(albedo * rgb(1.12, 1.08, 1.1) + 0.05, 0.0, 1.0).astype(np.float32)
        albedo = over(over(albedo, plate, cover), (0.6 * albedo).astype(np.float32), rim)
    return albedo


def _nail(digit: Digit, x: F32, y: F32) -> F32:
    """Distance to the nail's edge in mm, positive on it."""
    end, before = digit.marks_mm[3], digit.marks_mm[2]
    axis = (end - before) / np.linalg.norm(end - before)
    radius = float(digit.chain.radii_mm[-1])
    centre = end + radius * (0.75 * digit.dorsal + 0.15 * axis)
    across = np.cross(axis, digit.dorsal)
    plane = np.stack([0.95 * radius * axis[:2], 0.72 * radius * across[:2]], axis=1)
    if abs(float(np.linalg.det(plane))) < 1e-2:
        return np.full_like(x, -9.0)
    inverse = np.linalg.inv(plane)
    dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
    u, v = inverse[0, 0] * dx + inverse[0, 1] * dy, inverse[1, 0] * dx + inverse[1, 1] * dy
    round_off = (np.abs(u) ** 3 + np.abs(v) ** 3) ** (1.0 / 3.0)
    return np.asarray(0.8 * radius * (1.0 - round_off), np.float32)
