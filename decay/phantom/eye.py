"""One eye with lids, lashes and brow, drawn in a fine window: iris and glints lie exactly where the truth says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decay.phantom.canvas import F32, Window, bell, hex_to_linear, lattice_noise, rgb, smoothstep
from decay.phantom.parameters import EyeParameters, FaceParameters, Glint

EYEBALL_RADIUS_MM = 12.0
LID_COVER_MM = 1.4
"""How far the relaxed upper lid hangs over the top of the iris."""
LIMBUS_EDGE_MM = 0.35
"""Half width of the soft edge between iris and white; the iris radius is its middle."""
SCLERA = np.array([0.60, 0.555, 0.53], dtype=np.float32)


@dataclass(frozen=True)
class EyePlace:
    """Where an eye lies on the (roll-corrected) image plane, in mm. ``outward``: +1 where lateral is the image's right.

    ``squeeze``: horizontal foreshortening by the head's yaw.
    """

    x_mm: float
    y_mm: float
    outward: float
    squeeze: float

    def iris_mm(self, eye: EyeParameters) -> tuple[float, float]:
        """Centre of the iris."""
        return (
            self.x_mm + EYEBALL_RADIUS_MM * float(np.sin(np.radians(eye.gaze_x_deg))),
            self.y_mm + EYEBALL_RADIUS_MM * float(np.sin(np.radians(eye.gaze_y_deg))),
        )

    def glint_mm(self, eye: EyeParameters, glint: Glint) -> tuple[float, float]:
        """Centre of a glint."""
        x, y = self.iris_mm(eye)
        clock = np.radians(glint.clock_deg)
        reach = glint.rho * eye.iris_radius_mm
        return x + reach * float(np.sin(clock)), y - reach * float(np.cos(clock))


@dataclass(frozen=True)
class _Lids:
    """The eye's own coordinates (mm, lateral and down positive) and the height of both lid margins there."""

    lateral: F32
    down: F32
    along: F32
    upper: F32
    lower: F32
    opening: F32


def draw_eye(window: Window, face: FaceParameters, place: EyePlace, side: int, tone: F32, light: F32) -> list[float]:
    """Draw eye ``side`` (0 = image-left) into ``window``. Returns the visible share of each of its glints.

    ``tone``: (3,) linear skin albedo; ``light``: (3,) irradiance at the eye.
    """
    eye = face.eyes[side]
    rng = np.random.default_rng([face.texture_seed, 11 + side])
    lids = _lids(window, face, place, eye)
    _draw_lid_skin(window, lids, tone, light, eye)
    inside = _eyeball(lids, window, eye, place, rng) * light
    inside, shares = _with_glints(inside, lids, window, eye, place)
    window.paint(inside, lids.opening)
    _draw_margins(window, lids, tone, light)
    _draw_lashes(window, place, face, light, rng)
    return shares


def _lids(window: Window, face: FaceParameters, place: EyePlace, eye: EyeParameters) -> _Lids:
    shape = face.shape
    x = (window.x_mm - place.x_mm) / place.squeeze * place.outward
    y = window.y_mm - place.y_mm
    c, s = np.cos(np.radians(shape.eye_tilt_deg)), np.sin(np.radians(shape.eye_tilt_deg))
    lateral, down = (c * x - s * y).astype(np.float32), (s * x + c * y).astype(np.float32)
    t = ((lateral + 0.475 * shape.eye_width_mm) / shape.eye_width_mm).astype(np.float32)
    upper, lower = _margins(np.clip(t, 0.0, 1.0), eye)
    per_mm = window.fine_per_mm
    opening = np.clip(0.5 + (down - upper) * per_mm, 0, 1) * np.clip(0.5 + (lower - down) * per_mm, 0, 1)
    opening = (opening * ((t > 0.0) & (t < 1.0))).astype(np.float32)
    return _Lids(lateral, down, t, upper, lower, opening)


def _margins(t: F32, eye: EyeParameters) -> tuple[F32, F32]:
    """Height of the upper and lower lid margin at share ``t`` of the way from the inner to the outer corner."""
    chord = 1.4 - 1.8 * t
    look = EYEBALL_RADIUS_MM * np.sin(np.radians(eye.gaze_y_deg))  # the upper lid follows the gaze
    raised = max(eye.openness * (eye.iris_radius_mm - LID_COVER_MM + 0.55) - 0.7 * look, 0.0)
    lowered = max((0.55 + 0.45 * eye.openness) * min(eye.openness * 8.0, 1.0) * (eye.iris_radius_mm - 0.9), 0.0)
    upper = chord - raised * np.sin(0.999 * np.pi * t**0.9) ** 0.75
    lower = chord + lowered * np.sin(0.999 * np.pi * t**1.12) ** 0.85
    return upper.astype(np.float32), lower.astype(np.float32)


def _draw_lid_skin(window: Window, lids: _Lids, tone: F32, light: F32, eye: EyeParameters) -> None:
    """The crease above, the lid itself, the hollow below."""
    within = smoothstep(-0.12, 0.12, lids.along) * smoothstep(1.16, 0.94, lids.along)
    rise = 2.2 + 1.9 * np.sin(np.pi * np.clip(lids.along, 0.0, 1.0)) + 2.5 * (1.0 - min(eye.openness, 1.0))
    above = lids.upper - lids.down
    dark = (tone * light * rgb(0.42, 0.33, 0.30)).astype(np.float32)
    window.paint(dark, 0.55 * within * bell(above - rise, 0.55))
    window.paint(dark, 0.20 * within * bell(above - rise - 0.8, 1.6))
    window.paint((tone * light * 1.12).astype(np.float32), 0.22 * within * bell(above - 0.5 * rise, 0.8))
    window.paint(dark, 0.24 * within * bell(lids.down - lids.lower - 4.6, 1.2))


def _eyeball(lids: _Lids, window: Window, eye: EyeParameters, place: EyePlace, rng: np.random.Generator) -> F32:
    """Reflectance of white, iris and pupil with the upper lid's shadow, float32 (h, w, 3)."""
    away = np.abs(lids.lateral) / 15.0
    veins = lattice_noise(rng, 64, lids.lateral * 2.2 + 32.0, lids.down * 2.2 + 32.0)
    blood = np.clip(0.10 + 0.35 * away**2 + 0.05 * veins * away, 0.0, 1.0)
    white = SCLERA * (1.0 - 0.42 * away**2)[..., None]
    white = white * (1.0 - blood[..., None] * rgb(0.05, 0.42, 0.42))
    caruncle = bell(lids.lateral + 12.6, 1.3) * bell(lids.down - 1.4, 1.6)
    white = white + 0.75 * caruncle[..., None] * (rgb(0.40, 0.16, 0.14) - white)
    iris, cover = _iris(window, eye, place, rng)
    ball = white + cover[..., None] * (iris - white)
    shadow = 0.42 + 0.58 * smoothstep(-0.2, 3.4, lids.down - lids.upper)
    edge = 0.82 + 0.18 * smoothstep(0.0, 1.4, lids.lower - lids.down)
    return np.asarray(ball * (shadow * edge)[..., None], np.float32)


def _iris(window: Window, eye: EyeParameters, place: EyePlace, rng: np.random.Generator) -> tuple[F32, F32]:
    """Colour of iris and pupil, and the coverage of the iris disc."""
    centre_x, centre_y = place.iris_mm(eye)
    dx, dy = window.x_mm - centre_x, window.y_mm - centre_y
    radius = np.hypot(dx, dy)
    share = (radius / eye.iris_radius_mm).astype(np.float32)
    turn = (np.arctan2(dy, dx) / (2.0 * np.pi)).astype(np.float32)
    fibres = lattice_noise(rng, 72, turn * 72.0, share * 5.0, x_wraps=True)
    coarse = lattice_noise(rng, 18, turn * 18.0, share * 4.0, x_wraps=True)
    texture = np.clip(1.0 + 0.16 * fibres + 0.13 * coarse, 0.4, 1.7)
    ring = 1.0 - 0.62 * smoothstep(0.80, 1.0, share)
    collarette = 1.0 + 0.35 * bell(share - eye.pupil_share - 0.14, 0.09)
    colour = hex_to_linear(eye.iris_colour) * (texture * ring * collarette * _caustic(eye, dx, dy))[..., None]
    pupil = smoothstep(0.05, -0.05, share - eye.pupil_share)
    colour = colour + pupil[..., None] * (rgb(0.006, 0.005, 0.005) - colour)
    cover = smoothstep(LIMBUS_EDGE_MM, -LIMBUS_EDGE_MM, (radius - eye.iris_radius_mm).astype(np.float32))
    return colour.astype(np.float32), cover


def _caustic(eye: EyeParameters, dx: F32, dy: F32) -> F32:
    """Light that the cornea throws on the iris opposite the main glint."""
    if not eye.glints:
        return np.ones_like(dx)
    main = eye.glints[0]
    clock = np.radians(main.clock_deg)
    along = (dx * np.sin(clock) - dy * np.cos(clock)) / eye.iris_radius_mm
    strength = 0.45 * min(main.rho / 0.3, 1.0) * main.intensity
    return np.asarray(1.0 - strength * np.clip(along, -1.0, 0.3), np.float32)


def _with_glints(
    inside: F32, lids: _Lids, window: Window, eye: EyeParameters, place: EyePlace
) -> tuple[F32, list[float]]:
    shares = []
    for glint in eye.glints:
        x, y = place.glint_mm(eye, glint)
        radius = glint.radius * eye.iris_radius_mm
        dx, dy = window.x_mm - x, window.y_mm - y
        if glint.shape == "window":
            within = 0.5 * np.sqrt(np.pi) * radius - np.maximum(np.abs(dx), np.abs(dy))
        else:
            within = radius - np.hypot(dx, dy)
        disc = np.clip(0.5 + within * window.fine_per_mm, 0.0, 1.0).astype(np.float32)
        inside = inside + (glint.intensity * disc)[..., None] * (hex_to_linear(glint.colour) - inside)
        shares.append(float((disc * lids.opening).sum() / max(float(disc.sum()), 1e-9)))
    return inside.astype(np.float32), shares


def _draw_margins(window: Window, lids: _Lids, tone: F32, light: F32) -> None:
    """The wet rim of the lower lid with its tear line, and the dark rim of the upper."""
    within = smoothstep(0.02, 0.10, lids.along) * smoothstep(1.0, 0.93, lids.along)
    under = lids.down - lids.lower
    rim = (tone * light * rgb(1.02, 0.80, 0.76)).astype(np.float32)
    window.paint(rim, 0.75 * within * smoothstep(-0.15, 0.1, under) * smoothstep(1.1, 0.7, under))
    wet = np.minimum(0.85 * light, 0.9).astype(np.float32)
    window.paint(wet, 0.30 * within * bell(under + 0.10, 0.13))
    dark = (light * rgb(0.030, 0.020, 0.018)).astype(np.float32)
    window.paint(dark, 0.80 * within * bell(lids.upper - lids.down - 0.25, 0.42))
    window.paint(dark, 0.30 * within * bell(under - 1.1, 0.28))


def _draw_lashes(window: Window, place: EyePlace, face: FaceParameters, light: F32, rng: np.random.Generator) -> None:
    eye = face.eyes[0 if place.outward < 0 else 1]
    lines: list[NDArray[np.float64]] = []
    for upper, n_lashes in ((True, 46), (False, 26)):
        roots = np.sort(rng.uniform(0.14, 0.985, n_lashes))
        lengths = rng.uniform(0.7, 1.1, n_lashes)
        lean = rng.normal(0.0, 0.12, n_lashes)
        margins = _margins(roots.astype(np.float32), eye)[0 if upper else 1]
        for t, margin, length, tilt in zip(roots, margins, lengths, lean, strict=True):
            lateral = (t - 0.475) * face.shape.eye_width_mm
            reach = length * (2.2 + 2.6 * t) * (1.0 if upper else 0.45)
            out = 1.15 * (t - 0.38) + tilt
            steps = np.linspace(0.0, 1.0, 5)
            curl = -reach * (0.25 * steps + 0.75 * steps**2) if upper else 0.7 + reach * steps
            lines.append(_local_to_mm(lateral + reach * out * steps, margin + curl - 0.1 * upper, place, face))
    dark = (light * rgb(0.022, 0.016, 0.014)).astype(np.float32)
    window.paint(dark, 0.85 * window.strokes(lines, 0.16))


def _local_to_mm(
    lateral: NDArray[np.float64], down: NDArray[np.float64], place: EyePlace, face: FaceParameters
) -> NDArray[np.float64]:
    c, s = np.cos(np.radians(face.shape.eye_tilt_deg)), np.sin(np.radians(face.shape.eye_tilt_deg))
    x = (c * lateral + s * down) * place.outward * place.squeeze + place.x_mm
    return np.stack([x, -s * lateral + c * down + place.y_mm], axis=-1)


def draw_brow(window: Window, face: FaceParameters, place: EyePlace, light: F32) -> None:
    """Draw the brow above an eye into ``window``: a soft body, then single hairs. ``light``: as for the eye."""
    rng = np.random.default_rng([face.texture_seed, 21 + (place.outward > 0)])
    shape = face.shape
    n_hairs = 190
    q = rng.uniform(0.0, 1.0, n_hairs)
    thick = shape.brow_height_mm * (1.0 - 0.72 * q**1.6) * smoothstep(-0.15, 0.12, q.astype(np.float32))
    lateral = -17.0 + 40.0 * q
    arch = 2.0 - 5.0 * np.sin(np.pi * np.clip(q, 0.0, 1.0) ** 1.25) + 3.0 * q**3
    base = shape.brow_y_mm - face.expression.brow_raise_mm + arch
    down = base + rng.uniform(-0.5, 0.5, n_hairs) * thick
    lean = np.radians(-62.0 + 78.0 * q**0.6 + rng.normal(0.0, 9.0, n_hairs))
    length = rng.uniform(3.5, 6.5, n_hairs) * (1.0 - 0.25 * q)
    steps = np.linspace(0.0, 1.0, 4)
    lines = []
    for x, y, angle, reach in zip(lateral, down, lean, length, strict=True):
        px = (x + reach * np.cos(angle) * steps) * place.outward * place.squeeze + place.x_mm
        lines.append(np.stack([px, y + reach * np.sin(angle) * steps + place.y_mm], axis=-1))
    hair = (np.minimum(0.5 * hex_to_linear(face.hair.colour) + 0.01, 0.09) * light).astype(np.float32)
    window.paint(hair, 0.45 * _brow_body(window, place, base_q=q, base=base, thick=thick))
    window.paint(hair, 0.80 * window.strokes(lines, 0.30))


def _brow_body(
    window: Window,
    place: EyePlace,
    base_q: NDArray[np.float64],
    base: NDArray[np.float64],
    thick: NDArray[np.float64],
) -> F32:
    """Soft body under the hairs."""
    order = np.argsort(base_q)
    q = ((window.x_mm - place.x_mm) / place.squeeze * place.outward + 15.0) / 40.0
    middle = np.interp(q, base_q[order], base[order])
    half = np.interp(q, base_q[order], 0.5 * thick[order]) + 0.6
    ends = smoothstep(-0.03, 0.12, q.astype(np.float32)) * smoothstep(1.04, 0.85, q.astype(np.float32))
    across = np.abs(window.y_mm - place.y_mm - middle + 0.6) / half
    return (ends * smoothstep(1.25, 0.45, across.astype(np.float32))).astype(np.float32)
