"""What stands behind a drawn hand: walls, edges, cloth, clutter, another person."""

from __future__ import annotations

import numpy as np

from decay.phantom.canvas import F32, bell, hex_to_linear, lattice_noise, over, rgb, smoothstep
from decay.phantom.parameters import Backdrop, HandParameters


def draw_backdrop(hand: HandParameters, x: F32, y: F32, px_per_mm: float) -> F32:
    """Linear light (h, w, 3) at ``x``, ``y`` in mm."""
    rng = np.random.default_rng([hand.texture_seed, 92])
    drop = hand.backdrop
    cloud = lattice_noise(rng, 16, x / 100.0 + 8.0, y / 100.0 + 8.0)
    fall = np.clip(1.0 + drop.shade * (0.18 * cloud - 0.0012 * np.hypot(x, y)), 0.25, 1.8)
    colour = _pattern(drop, rng, x, y, 0.5 / px_per_mm)
    return np.asarray(colour * fall[..., None] * hex_to_linear(hand.light.colour) * hand.light.exposure, np.float32)


def _pattern(drop: Backdrop, rng: np.random.Generator, x: F32, y: F32, soft_mm: float) -> F32:
    base = np.broadcast_to(hex_to_linear(drop.colour), (*x.shape, 3)).astype(np.float32)
    other, size = hex_to_linear(drop.other), drop.pattern_mm
    angle = np.radians(drop.angle_deg)
    along = (np.cos(angle) * x + np.sin(angle) * y).astype(np.float32)
    across = (-np.sin(angle) * x + np.cos(angle) * y).astype(np.float32)
    if drop.kind == "gradient":
        return over(base, other, smoothstep(-150.0, 150.0, along))
    if drop.kind == "edge":
        return _edges(base, other, rng, along, across, soft_mm)
    if drop.kind in ("stripes", "checks"):
        return _woven(base, other, rng, along, across, size, drop.kind == "checks")
    if drop.kind == "clutter":
        return _clutter(base, other, rng, along, across, size)
    if drop.kind == "blobs":
        return _blobs(base, rng, x, y, size)
    if drop.kind == "flesh":
        return _flesh(base, other, rng, x, y)
    return base


def _step(x: F32, soft_mm: float) -> F32:
    return smoothstep(-max(soft_mm, 0.3), max(soft_mm, 0.3), x)


def _edges(base: F32, other: F32, rng: np.random.Generator, along: F32, across: F32, soft_mm: float) -> F32:
    """A door frame, the corner of a room: one or two straight edges, with a dark joint."""
    image = base
    for line, shade in ((along, 1.0), (across, float(rng.uniform(0.5, 1.3)))):
        at = float(rng.uniform(-120.0, 120.0))
        image = over(image, (shade * other).astype(np.float32), _step(line - at, soft_mm))
        image = over(image, (0.3 * other).astype(np.float32), 0.6 * bell(line - at, float(rng.uniform(0.8, 3.0))))
        if rng.uniform() < 0.4:
            break
    return image


def _woven(base: F32, other: F32, rng: np.random.Generator, along: F32, across: F32, size: float, crossed: bool) -> F32:
    """A shirt's stripes or checks, with folds."""
    folds = lattice_noise(rng, 16, along / 60.0 + 8.0, across / 60.0 + 8.0)
    bands = smoothstep(-0.2, 0.2, np.sin(2 * np.pi * along / size + 0.6 * folds))
    image = over(base, other, bands)
    if crossed:
        image = over(image, (0.5 * other).astype(np.float32), 0.6 * smoothstep(0.3, 0.6, np.sin(6.3 * across / size)))
    return np.asarray(image * np.clip(1.0 + 0.3 * folds, 0.3, 1.7)[..., None], np.float32)


def _clutter(base: F32, other: F32, rng: np.random.Generator, along: F32, across: F32, size: float) -> F32:
    """Rectangles of many colours, as shelves and screens are."""
    image = base
    for _ in range(14):
        centre, half = rng.uniform(-160.0, 160.0, 2), size * rng.uniform(0.3, 2.5, 2)
        inside = np.minimum(half[0] - np.abs(along - centre[0]), half[1] - np.abs(across - centre[1]))
        colour = (other * rng.uniform(0.2, 1.8) * rng.uniform(0.6, 1.4, 3)).astype(np.float32)
        image = over(image, np.clip(colour, 0.0, 1.0), _step(inside.astype(np.float32), 1.0))
    grain = lattice_noise(rng, 64, along / 5.0 + 32.0, across / 5.0 + 32.0)
    return np.asarray(image * np.clip(1.0 + 0.12 * grain, 0.5, 1.5)[..., None], np.float32)


def _blobs(base: F32, rng: np.random.Generator, x: F32, y: F32, size: float) -> F32:
    """Things out of focus: soft noise in three colours."""
    noise = [lattice_noise(rng, 32, x / size + 16.0, y / size + 16.0) for _ in range(3)]
    shared = lattice_noise(rng, 32, x / (0.6 * size) + 16.0, y / (0.6 * size) + 16.0)
    mix = np.stack([np.exp(0.25 * channel + 0.35 * shared) for channel in noise], axis=-1)
    return np.asarray(np.clip(base * mix, 0.0, 1.0), np.float32)


def _flesh(base: F32, skin: F32, rng: np.random.Generator, x: F32, y: F32) -> F32:
    """Somebody's face, with hair and eyes, or arm behind the hand; ``skin`` is the colour."""
    centre = rng.uniform([-110.0, -110.0], [110.0, 60.0])
    if rng.uniform() < 0.4:
        angle, half = rng.uniform(-0.9, 0.9), rng.uniform(28.0, 50.0)
        across = np.cos(angle) * (x - centre[0]) + np.sin(angle) * (y - centre[1])
        round_off = np.sqrt(np.clip(1.0 - np.square(across / half), 0.05, 1.0))
        return over(
            base, (skin * (0.5 + 0.5 * round_off)[..., None]).astype(np.float32), _step(half - abs(across), 1.0)
        )
    dx, dy = x - centre[0], y - centre[1]
    oval = np.sqrt(np.square(dx / 72.0) + np.square(dy / 95.0)).astype(np.float32)
    hair = np.sqrt(np.square(dx / 84.0) + np.square((dy + 22.0) / 98.0)).astype(np.float32)
    image = over(base, rgb(0.02, 0.015, 0.01), smoothstep(1.0, 0.98, hair))
    lit = skin * (0.55 + 0.45 * np.sqrt(np.clip(1.0 - oval * oval, 0.0, 1.0)))[..., None]
    image = over(image, lit.astype(np.float32), smoothstep(1.0, 0.98, oval) * smoothstep(-70.0, -62.0, dy))
    dark = bell(np.hypot((np.abs(dx) - 31.0) / 12.0, dy / 5.0), 0.8) + bell(np.hypot(dx / 24.0, (dy - 60.0) / 5.0), 0.8)
    return over(image, (0.2 * skin).astype(np.float32), 0.8 * np.clip(dark, 0.0, 1.0))
