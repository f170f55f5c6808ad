"""The depth map of a posed hand: what the camera sees of every capsule, and which part each pixel belongs to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decay.phantom.canvas import F32
from decay.phantom.hand_pose import Chain, Points, Posed, between

NOTHING = np.float32(-999.0)
BACKGROUND, ARM, SLEEVE, PALM, HELD, DIGIT = 0, 1, 2, 3, 4, 5
"""Owners of pixels; digits are ``DIGIT`` + their place among the digits."""
FILLET_MM = 5.0
"""Where parts of one surface meet, the corner is filled over about this distance."""
SKIRT = 3.0
"""How steeply a part falls beside its own outline, for corners that are filled."""


@dataclass(frozen=True)
class Surface:
    """``height_mm`` toward the camera (-999 beside the hand); ``inside_mm``: about the distance to the outline,
    positive inside; ``owner``: uint8, see ``DIGIT``. All (h, w)."""

    height_mm: F32
    inside_mm: F32
    owner: NDArray[np.uint8]

    @staticmethod
    def empty(like: F32) -> Surface:
        """No hand yet."""
        return Surface(np.full_like(like, NOTHING), np.full_like(like, NOTHING), np.zeros(like.shape, np.uint8))


Window = tuple[slice, slice]


def raise_hand(surface: Surface, posed: Posed, x: F32, y: F32) -> None:
    """Raise ``surface`` in place to the hand. ``x``, ``y``: camera axes in mm at every pixel."""
    arm, palm = _layer(posed.arm, x, y, 0.0), _layer(posed.palm, x, y, FILLET_MM)
    surface.height_mm[:] = smooth_max(arm[0], palm[0], 2 * FILLET_MM)
    surface.inside_mm[:] = smooth_max(arm[1], palm[1], 2 * FILLET_MM)
    surface.owner[:] = np.where(surface.inside_mm > 0, np.where(arm[0] > palm[0], ARM, PALM), BACKGROUND)
    _lay(surface, posed.sleeve, SLEEVE, x, y)
    body = surface.height_mm.copy(), surface.inside_mm.copy()
    for i, digit in enumerate(posed.digits):
        _grow(surface, [digit.chain], DIGIT + i, body if digit.extended else None, x, y)
    for group in posed.fused:
        chains = [posed.digits[i].chain for i in group]
        for a, b, i in zip(chains[:-1], chains[1:], group[:-1], strict=True):
            sheet = [between(a, b, float(share)) for share in np.linspace(0.0, 1.0, 11)[1:-1]]
            _grow(surface, sheet[:5], DIGIT + i, body, x, y)
            _grow(surface, sheet[5:], DIGIT + i + 1, body, x, y)
    _lay(surface, posed.held, HELD, x, y)


def smooth_max(a: F32, b: F32, reach_mm: float) -> F32:
    """The larger of two, rounded where they differ by less than ``reach_mm`` (Quilez's polynomial)."""
    if reach_mm == 0.0:
        return np.asarray(np.maximum(a, b), np.float32)
    near = np.maximum(np.float32(reach_mm) - np.abs(a - b), 0.0)
    return np.asarray(np.maximum(a, b) + np.square(near) / np.float32(4.0 * reach_mm), np.float32)


def _layer(chains: list[Chain], x: F32, y: F32, reach_mm: float) -> tuple[F32, F32]:
    height, inside = np.full_like(x, NOTHING), np.full_like(x, NOTHING)
    for chain in chains:
        one_height, one_inside, window = _chain(chain, x, y)
        if window is not None:
            height[window] = smooth_max(height[window], one_height, reach_mm)
            inside[window] = smooth_max(inside[window], one_inside, 0.5 * reach_mm)
    return height, inside


def _lay(surface: Surface, chains: list[Chain], owner: int, x: F32, y: F32) -> None:
    """Lay parts of their own surface (cloth, things) over what is there."""
    _grow(surface, chains, owner, None, x, y)


def _grow(surface: Surface, chains: list[Chain], owner: int, body: tuple[F32, F32] | None, x: F32, y: F32) -> None:
    """Raise chains; where ``body`` is given, the corners between it and them are filled."""
    for chain in chains:
        height, inside, window = _chain(chain, x, y)
        if window is None:
            continue
        old_height, old_owner = surface.height_mm[window], surface.owner[window]
        mine = (inside > 0) & (height >= old_height)
        old_owner[mine] = owner
        if body is not None:
            body_height, body_inside = body[0][window], body[1][window]
            filled = smooth_max(inside, body_inside, FILLET_MM)
            height = np.where(inside > 0, smooth_max(height, body_height, 2.0), height)
            corner = (filled > 0) & (inside <= 0) & (old_height < np.maximum(height, body_height))
            corner &= surface.inside_mm[window] <= 0
            old_height[corner] = np.maximum(height, body_height)[corner]
            inside = filled
        np.copyto(old_height, height, where=mine & (height > old_height))
        np.maximum(surface.inside_mm[window], inside, out=surface.inside_mm[window])
    bare = (surface.owner == BACKGROUND) & (surface.inside_mm > 0)
    surface.owner[bare] = PALM


def _chain(chain: Chain, x: F32, y: F32) -> tuple[F32, F32, Window | None]:
    """Height and inside of one chain in the window that it can touch."""
    window = _around(chain.joints_mm[:, :2], float(chain.radii_mm.max()) + FILLET_MM, x, y)
    if window is None:
        return x[:0], x[:0], None
    height = np.full(x[window].shape, NOTHING, np.float32)
    inside = np.full(x[window].shape, NOTHING, np.float32)
    corner = (window[0].start, window[1].start)
    joints, radii = chain.joints_mm, chain.radii_mm
    for start, end, radius_a, radius_b in zip(joints[:-1], joints[1:], radii[:-1], radii[1:], strict=True):
        part = _around(np.stack([start, end])[:, :2], float(max(radius_a, radius_b)) + FILLET_MM, x, y)
        if part is None:
            continue
        local = tuple(slice(s.start - c, s.stop - c) for s, c in zip(part, corner, strict=True))
        one_height, one_inside = capsule(start, end, float(radius_a), float(radius_b), x[part], y[part])
        np.maximum(height[local], one_height, out=height[local])
        np.maximum(inside[local], one_inside, out=inside[local])
    return height, inside, window


def capsule(start: Points, end: Points, radius_a: float, radius_b: float, x: F32, y: F32) -> tuple[F32, F32]:
    """Height and inside of one tapered capsule seen along z, exact: the highest of all spheres on its axis.

    At t along the axis, the sphere's height over (x, y) is z + t dz + sqrt(Q(t)) with Q = r(t)^2 - d(t)^2, a parabola
    m - k (t - t0)^2; the sum is largest at t0 + dz sqrt(m / (k (k + dz^2))).
    """
    along, widen = end - start, radius_b - radius_a
    dx, dy = x - np.float32(start[0]), y - np.float32(start[1])
    bow = float(along[0] ** 2 + along[1] ** 2 - widen**2)
    k = max(bow, 1e-3)  # seen end on, one of the two end spheres is in front everywhere
    half_b = radius_a * widen + dx * np.float32(along[0]) + dy * np.float32(along[1])
    t0 = half_b / np.float32(k)
    c = np.float32(radius_a**2) - dx * dx - dy * dy
    dz = float(along[2])
    lean = np.float32(dz / np.sqrt(k * (k + dz * dz)))
    top = np.sqrt(np.maximum(c + half_b * t0, 0.0))
    t = np.clip(t0 + lean * top, 0.0, 1.0)
    q = c + t * (2.0 * half_b - np.float32(bow) * t)
    beside = np.clip(t0, 0.0, 1.0)
    q_flat = c + beside * (2.0 * half_b - np.float32(bow) * beside)
    radius = np.float32(radius_a) + beside * np.float32(widen)
    inside = q_flat / (2.0 * radius)
    height = np.float32(start[2]) + t * np.float32(dz) + np.sqrt(np.maximum(q, 0.0)) + SKIRT * np.minimum(inside, 0.0)
    return height.astype(np.float32), inside.astype(np.float32)


def _around(points: Points, reach_mm: float, x: F32, y: F32) -> Window | None:
    """The rectangle of pixels within ``reach_mm`` of the points' own; coordinates are affine in the pixel."""
    step = np.array([[x[0, 1] - x[0, 0], x[1, 0] - x[0, 0]], [y[0, 1] - y[0, 0], y[1, 0] - y[0, 0]]], np.float64)
    places = np.linalg.solve(step, (points - [x[0, 0], y[0, 0]]).T)
    reach = reach_mm / float(np.hypot(step[0, 0], step[1, 0])) + 1.0
    low = np.maximum(np.floor(places.min(axis=1) - reach), 0).astype(int)
    high = np.minimum(np.ceil(places.max(axis=1) + reach) + 1, [x.shape[1], x.shape[0]]).astype(int)
    return (slice(low[1], high[1]), slice(low[0], high[0])) if (low < high).all() else None
