"""A drawn face at any size, and the truth about what was drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from decay.phantom import relief as rl
from decay.phantom.canvas import (
    F32,
    LUMINANCE,
    Frame,
    Pixels,
    Window,
    bell,
    hex_to_linear,
    lattice_noise,
    lch_to_linear,
    linear_to_srgb,
    over,
    rgb,
    smoothstep,
)
from decay.phantom.eye import EyePlace, draw_brow, draw_eye
from decay.phantom.parameters import FaceParameters

EYE_LINE = 0.46
"""Height of the eyes in an unshifted image, in image heights."""
EYE_REACH_MM, BROW_REACH_MM = (25.0, 18.0), (34.0, 19.0)
"""Half sizes of the windows in which eye and brow are drawn, with room for a head tilted by 10 degrees."""
FINE_PER_MM = 5.0
"""Fine pixels per mm in the eye's window, at least: about 30 across an iris radius."""
PORES = ((16.0, 0.030), (6.0, 0.025), (2.4, 0.022), (1.1, 0.030), (0.6, 0.030))
"""Octaves of skin texture: cell in mm, relative amplitude."""
CROWN_MM = 140.0
"""Height above the eyes from which the strands run; out of sight, behind the top of the head."""


@dataclass(frozen=True)
class _Scene:
    """Per-pixel fields of the painters. ``u``, ``v``: mm on the head seen there; ``x``, ``y``: on the image plane."""

    face: FaceParameters
    frame: Frame
    x: F32
    y: F32
    u: F32
    v: F32
    light: F32
    gloss: F32


def draw_face(parameters: FaceParameters, size_px: int, rng: np.random.Generator) -> tuple[Pixels, dict[str, Any]]:
    """Draw one face.

    Returns ``(pixels, truth)``: sRGB uint8 (size_px, size_px, 3), and a JSON-ready dict in image pixels
    (origin: centre of the top-left pixel). ``rng`` makes the sensor noise only; the person's own random
    detail comes from ``parameters.texture_seed``. Raises ValueError below 32 px.

    Each glint of each eye (image-left first) is listed with its centre, radius, clock position (from the eye
    axis), rho, colour, intensity and the share the lids leave visible. ``catchlight_count`` counts those of which
    at least half is visible, at an intensity of 0.1 or more.
    """
    if size_px < 32:
        raise ValueError(f"a face needs at least 32 px, got {size_px}")
    head = rl.build_relief(parameters.shape, parameters.expression)
    lit = rl.light_head(head, parameters.lighting, parameters.framing.yaw_deg)
    frame = _frame(parameters, size_px)
    scene = _scene(parameters, frame, head, lit, size_px)
    image = _background(scene)
    hair, dome = _hair_colour(scene), _dome(scene)
    image = _hair_behind(scene, image, hair, dome)
    image = _body(scene, image)
    image = _ears(scene, image)
    image = _head(scene, image, head)
    places = [_eye_place(parameters, head, side) for side in (0, 1)]
    tone = lch_to_linear(parameters.skin.lightness, parameters.skin.chroma, parameters.skin.hue_deg)
    visible = [_eye(scene, image, lit, place, side, tone) for side, place in enumerate(places)]
    image = _hair_in_front(scene, image, hair, dome)
    pixels = _expose(image, parameters, frame, rng)
    return pixels, _truth(parameters, frame, places, visible, lit)


def _frame(face: FaceParameters, size_px: int) -> Frame:
    framing = face.framing
    return Frame(
        centre_x_px=size_px * (0.5 + framing.shift_x) - 0.5,
        centre_y_px=size_px * (EYE_LINE + framing.shift_y) - 0.5,
        px_per_mm=size_px / framing.frame_mm,
        roll_deg=framing.roll_deg,
    )


def _scene(face: FaceParameters, frame: Frame, head: rl.Relief, lit: rl.LitHead, size_px: int) -> _Scene:
    span = np.arange(size_px, dtype=np.float32)
    x, y = frame.to_mm(*np.meshgrid(span, span))
    u = _unturn(x, y, head, face.framing.yaw_deg)
    light = np.stack([rl.sample(channel, u, y) for channel in lit.channels], axis=-1)
    return _Scene(face, frame, x, y, u, y, light, rl.sample(lit.gloss, u, y))


def _unturn(x: F32, y: F32, head: rl.Relief, yaw_deg: float) -> F32:
    """Which u of the head is seen at image x: solve x = u cos(yaw) + (z(u, v) - pivot) sin(yaw) by damped steps."""
    c, s = float(np.cos(np.radians(yaw_deg))), float(np.sin(np.radians(yaw_deg)))
    u = x.copy()
    for _ in range(8 if s else 0):
        z = rl.sample(head.z_mm, u, y) - rl.PIVOT_MM
        u = (0.4 * u + 0.6 * (x - z * s) / c).astype(np.float32)
    return u


def _eye_place(face: FaceParameters, head: rl.Relief, side: int) -> EyePlace:
    outward = -1.0 if side == 0 else 1.0
    u = outward * face.shape.eye_distance_mm / 2
    yaw = np.radians(face.framing.yaw_deg)
    at = np.array([[u]], dtype=np.float32)
    z = float(rl.sample(head.z_mm, at, np.zeros_like(at))[0, 0]) - rl.PIVOT_MM
    return EyePlace(u * float(np.cos(yaw)) + z * float(np.sin(yaw)), 0.0, outward, float(np.cos(yaw)))


def _skin(scene: _Scene) -> F32:
    """Albedo of the skin, lips included."""
    face, u, v = scene.face, scene.u, scene.v
    skin, shape = face.skin, face.shape
    tone = lch_to_linear(skin.lightness, skin.chroma, skin.hue_deg)
    albedo = np.broadcast_to(tone, (*u.shape, 3)).astype(np.float32)
    cheeks = bell(np.abs(u) - 40.0, 15.0) * bell(v - 32.0, 15.0)
    flush = cheeks + 0.8 * bell(u, 12.0) * bell(v - shape.nose_length_mm, 9.0)
    shade = bell(np.abs(u) - shape.eye_distance_mm / 2, 14.0) * bell(v - 9.0, 5.0)
    albedo = albedo * (1.0 - 0.16 * flush[..., None] * rgb(0.0, 1.0, 0.9))
    albedo = albedo * (1.0 - 0.12 * shade[..., None] * rgb(0.7, 1.0, 0.8))
    albedo = albedo * _pores(scene)[..., None]
    return _paint_features(scene, albedo.astype(np.float32), tone)


def _pores(scene: _Scene) -> F32:
    """Blotches and pores, in octaves; an octave finer than the pixels is left out rather than aliased."""
    seed = scene.face.texture_seed
    total = np.zeros_like(scene.u)
    for octave, (cell_mm, strength) in enumerate(PORES):
        if cell_mm * scene.frame.px_per_mm < 1.5:
            break
        rng = np.random.default_rng([seed, 31 + octave])
        total = total + strength * lattice_noise(rng, 256, scene.u / cell_mm + 128.0, scene.v / cell_mm + 128.0)
    return np.clip(1.0 + scene.face.skin.texture * total, 0.5, 1.5).astype(np.float32)


def _paint_features(scene: _Scene, albedo: F32, tone: F32) -> F32:
    """Lips, the line between them, nostrils."""
    face, u, v = scene.face, scene.u, scene.v
    shape, expression = face.shape, face.expression
    wide = shape.mouth_half_width_mm + 5.0 * expression.smile
    across = np.clip(np.abs(u) / wide, 0.0, 1.6)
    lift = 8.0 * expression.smile * across**2
    line = shape.mouth_y_mm + 0.8 * bell(u, 5.0) - lift
    gap = expression.mouth_open_mm * np.sqrt(np.clip(1.0 - across**2, 0.0, 1.0))
    taper = np.clip(1.0 - across**2.2, 0.0, 1.0) ** 0.75
    bow = 1.0 - 0.22 * bell(u, 3.4) + 0.10 * bell(np.abs(u) - 7.0, 4.0)
    top = line - gap / 2 - 0.95 * shape.lip_height_mm * taper * bow
    bottom = line + gap / 2 + 1.20 * shape.lip_height_mm * taper
    soft = max(0.8, 0.7 / scene.frame.px_per_mm)
    lips = smoothstep(-soft, soft, v - top) * smoothstep(-soft, soft, bottom - v) * smoothstep(1.02, 0.94, across)
    rose = (tone * rgb(0.80, 0.46, 0.48) + rgb(0.02, 0.0, 0.004)).astype(np.float32)
    rose_map = rose * (1.0 - 0.14 * (v < line))[..., None]
    albedo = over(albedo, rose_map.astype(np.float32), 0.85 * lips)
    dark = (tone * rgb(0.16, 0.09, 0.09)).astype(np.float32)
    seam = bell((np.abs(v - line) - gap / 2).clip(0.0), soft) * smoothstep(1.10, 0.90, across)
    albedo = over(albedo, dark, (0.85 * seam).astype(np.float32))
    nose = shape.nose_length_mm
    nostril = bell(np.abs(u) - 0.47 * shape.nose_half_width_mm, 2.6) * bell(v - nose - 2.6, 1.7)
    albedo = over(albedo, dark, np.clip(1.15 * nostril, 0.0, 0.92).astype(np.float32))
    wing = bell(np.hypot(np.abs(u) - shape.nose_half_width_mm + 4.0, v - nose + 2.5) - 5.8, 0.9)
    outer = smoothstep(-1.5, 2.5, np.abs(u) - shape.nose_half_width_mm + 3.0)
    return over(albedo, dark, (0.34 * wing * outer).astype(np.float32))


def _cover(scene: _Scene, distance_mm: F32) -> F32:
    """Coverage of a region from a signed distance in mm (positive inside), one pixel soft."""
    return np.clip(0.5 + distance_mm * scene.frame.px_per_mm, 0.0, 1.0).astype(np.float32)


def _outline(scene: _Scene, head: rl.Relief) -> F32:
    """Roughly signed distance to the head's outline in mm, positive inside."""
    half = np.interp(scene.v, rl.TOP_MM + rl.STEP_MM * np.arange(len(head.half_width_mm)), head.half_width_mm)
    half = np.where(half > 0.0, half, -9.0)  # above the crown and below the chin there is no head
    slope = np.abs(np.gradient(half, axis=0)) * scene.frame.px_per_mm
    return np.asarray((half - np.abs(scene.u)) / np.sqrt(1.0 + np.minimum(slope, 8.0) ** 2), np.float32)


def _background(scene: _Scene) -> F32:
    face = scene.face
    rng = np.random.default_rng([face.texture_seed, 51])
    cloud = lattice_noise(rng, 16, scene.x / 90.0 + 8.0, scene.y / 90.0 + 8.0)
    sideways = 0.0008 * scene.x * float(np.sign(face.lighting.ratio_stops))
    fall = 1.0 + 0.25 * cloud - 0.0016 * np.hypot(scene.x, scene.y) - sideways
    return np.asarray(hex_to_linear(face.background) * np.clip(fall, 0.25, 2.0)[..., None], np.float32)


def _strands(scene: _Scene) -> F32:
    """Streaks that run from the parting outward and down, about 1 on average."""
    face = scene.face
    across, down = scene.u - face.hair.parting_mm, scene.v + CROWN_MM
    away = np.hypot(across, down)
    turn = np.asarray(np.arctan2(across, down) / (2.0 * np.pi), dtype=np.float32)
    rng = np.random.default_rng([face.texture_seed, 62])
    total = np.zeros_like(scene.u)
    for n_cells, strength in ((60, 0.22), (180, 0.22), (420, 0.25)):
        if n_cells / 150.0 > 1.6 * scene.frame.px_per_mm:
            break
        bend = 0.01 * lattice_noise(rng, 16, turn * 16.0, away / 40.0)
        at: F32 = (turn + bend) * np.float32(n_cells)
        total = total + strength * lattice_noise(rng, n_cells, at, away / 60.0, x_wraps=True)
    sheen = 1.0 + 0.9 * bell(away - CROWN_MM + 82.0, 11.0)
    return np.asarray(np.clip(1.0 + total, 0.25, 2.2) * sheen, np.float32)


def _hair_colour(scene: _Scene) -> F32:
    """Hair in its own light: brighter toward the key light."""
    lighting = scene.face.lighting
    reach = scene.face.shape.cheek_half_width_mm
    side = 2.0 ** (-0.5 * lighting.ratio_stops * np.clip(scene.x / reach, -1.1, 1.1))
    top = 0.62 - 0.0035 * np.clip(scene.y, -110.0, 90.0)
    base = hex_to_linear(scene.face.hair.colour) + 0.004
    return np.asarray(base * (_strands(scene) * side * top * lighting.exposure)[..., None], np.float32)


def _dome(scene: _Scene) -> F32:
    """Roughly signed distance to the hair's outer shape above the eyes, in mm, positive inside."""
    hair = scene.face.hair
    reach_x = scene.face.shape.cheek_half_width_mm + hair.volume_mm
    reach_up = -rl.SKULL_TOP_MM + 0.5 * hair.volume_mm
    rng = np.random.default_rng([scene.face.texture_seed, 61])
    ragged = 0.45 * lattice_noise(rng, 128, scene.u / 1.8 + 64.0, scene.v / 9.0 + 64.0)
    radius = (np.abs(scene.u / reach_x) ** 2.3 + np.abs(np.minimum(scene.v, 0.0) / reach_up) ** 2.3) ** (1 / 2.3)
    return np.asarray((1.0 - radius) * reach_x + ragged, np.float32)


def _hair_behind(scene: _Scene, image: F32, colour: F32, dome: F32) -> F32:
    hair, v = scene.face.hair, scene.v
    down = -18.0 + 150.0 * hair.length
    rng = np.random.default_rng([scene.face.texture_seed, 63])
    tips = 5.0 * lattice_noise(rng, 128, scene.u / 5.0 + 64.0, v / 30.0 + 64.0)
    inside = np.minimum(dome, down - v + tips)
    return over(image, 0.72 * colour, _cover(scene, inside / 2.0))


def _body(scene: _Scene, image: F32) -> F32:
    face, u, v = scene.face, scene.x, scene.v
    jaw, chin = face.shape.jaw_half_width_mm, face.shape.chin_y_mm
    neck = 0.92 * jaw + 0.016 * np.square(np.clip(v - chin - 8.0, 0.0, None))
    tone = lch_to_linear(face.skin.lightness, face.skin.chroma, face.skin.hue_deg)
    side = 2.0 ** (-0.5 * face.lighting.ratio_stops * np.clip(u / jaw, -1.0, 1.0))
    round_off = np.sqrt(np.clip(1.0 - np.square(u / (neck + 6.0)), 0.08, 1.0))
    under_chin = 0.22 + 0.78 * smoothstep(chin - 25.0, chin + 40.0, v + 0.25 * np.abs(u))
    flesh = tone * (0.62 * side * round_off * under_chin * face.lighting.exposure)[..., None]
    image = over(image, flesh.astype(np.float32), _cover(scene, np.minimum(neck - np.abs(u), v - 40.0)))
    collar = chin + 34.0 + 10.0 * bell(u, 30.0) - 0.10 * np.abs(u)
    shoulder = np.maximum(chin + 26.0 + np.square(np.maximum(np.abs(u) - 40.0, 0.0)) * 0.0035, collar)
    rng = np.random.default_rng([face.texture_seed, 71])
    folds = lattice_noise(rng, 32, u / 26.0 + 16.0, v / 40.0 + 16.0)
    cloth = hex_to_linear(face.clothes) * ((0.75 + 0.10 * folds) * side * face.lighting.exposure)[..., None]
    return over(image, cloth.astype(np.float32), _cover(scene, v - shoulder))


def _ears(scene: _Scene, image: F32) -> F32:
    face = scene.face
    cheek = face.shape.cheek_half_width_mm
    a, b = (np.abs(scene.u) - cheek - 0.5) / 9.0, (scene.v - 16.0) / 27.0
    radius = np.hypot(a + 0.25 * b, b)
    tone = lch_to_linear(face.skin.lightness, face.skin.chroma, face.skin.hue_deg)
    depth = 0.78 - 0.34 * bell(radius - 0.55, 0.16) + 0.10 * bell(radius - 0.86, 0.10)
    side = 2.0 ** (-0.5 * face.lighting.ratio_stops * np.sign(scene.u))
    flesh = tone * rgb(1.0, 0.82, 0.80) * (0.75 * depth * side * face.lighting.exposure)[..., None]
    return over(image, flesh.astype(np.float32), _cover(scene, (1.0 - radius) * 9.0))


def _head(scene: _Scene, image: F32, head: rl.Relief) -> F32:
    sheen = 0.045 + 0.0006 * scene.face.skin.lightness
    lit = _skin(scene) * scene.light + (sheen * scene.gloss)[..., None]
    return over(image, lit.astype(np.float32), _cover(scene, _outline(scene, head)))


def _hair_in_front(scene: _Scene, image: F32, colour: F32, dome: F32) -> F32:
    """The hair that grows on the visible part of the skull, down to the temples."""
    face, u, v = scene.face, scene.u, scene.v
    shape, hair = face.shape, face.hair
    across = np.abs(u) / shape.cheek_half_width_mm
    swept = np.abs(u - hair.parting_mm) / shape.cheek_half_width_mm
    low = 8.0 + 50.0 * float(np.clip(1.6 * hair.length - 0.2, 0.0, 1.0))
    line = shape.hairline_y_mm - 6.0 + 15.0 * swept**1.7 + (low - shape.hairline_y_mm) * np.minimum(across, 1.3) ** 9
    line = np.minimum(line, low + 4.0)
    rng = np.random.default_rng([face.texture_seed, 81])
    turn = np.arctan2(u - hair.parting_mm, v + CROWN_MM)
    ragged = np.zeros_like(u)
    for per_turn, height in ((35.0, 1.2), (130.0, 1.3), (350.0, 1.5)):
        ragged = ragged + height * lattice_noise(rng, 256, turn * per_turn + 128.0, v / 60.0 + 128.0)
    inside = np.minimum(line - v + ragged, dome)
    shadow = smoothstep(9.0, -2.0, v - line) * (dome > 0)
    image = (image * (1.0 - 0.30 * shadow[..., None])).astype(np.float32)
    return over(image, colour, np.clip(0.5 + inside / 2.0, 0.0, 1.0).astype(np.float32))


def _eye(scene: _Scene, image: F32, lit: rl.LitHead, place: EyePlace, side: int, tone: F32) -> list[float]:
    """Draw an eye and its brow into ``image``. Returns the visible share of each glint."""
    frame, size_px = scene.frame, image.shape[0]
    fine = int(np.clip(np.ceil(FINE_PER_MM / frame.px_per_mm), 3, 12))
    at = np.full((1, 1), place.outward * scene.face.shape.eye_distance_mm / 2, np.float32)
    light = np.array([rl.sample(channel, at, 0.0 * at + 4.0)[0, 0] for channel in lit.channels], np.float32)
    above = (place.x_mm + 3.0 * place.outward, scene.face.shape.brow_y_mm - 2.0)
    brow = Window(frame, size_px, above, BROW_REACH_MM, max(2, fine // 2))
    draw_brow(brow, scene.face, place, light)
    brow.onto(image)
    window = Window(frame, size_px, (place.x_mm + 1.5 * place.outward, place.y_mm - 1.0), EYE_REACH_MM, fine)
    visible = draw_eye(window, scene.face, place, side, tone, light)
    window.onto(image)
    return visible


def _expose(image: F32, face: FaceParameters, frame: Frame, rng: np.random.Generator) -> Pixels:
    """Lens, saturation, contrast, sensor noise, eight bits."""
    camera = face.camera
    sigma = camera.blur_mm * frame.px_per_mm
    if sigma > 0.05:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)
    grey = (image @ LUMINANCE)[..., None]
    srgb = linear_to_srgb(grey + camera.saturation * (image - grey))
    srgb = 0.5 + camera.contrast * (srgb - 0.5)
    noisy = srgb * 255.0 + camera.noise * rng.standard_normal(srgb.shape, dtype=np.float32)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def _shows(glint: dict[str, Any]) -> bool:
    return bool(glint["frac_visible"] >= 0.5 and glint["intensity"] >= 0.1)


def _truth(
    face: FaceParameters, frame: Frame, places: list[EyePlace], visible: list[list[float]], lit: rl.LitHead
) -> dict[str, Any]:
    scale = frame.px_per_mm
    eyes = []
    for side, (eye, place) in enumerate(zip(face.eyes, places, strict=True)):
        x, y = frame.to_px(*place.iris_mm(eye))
        centre_x, centre_y = frame.to_px(place.x_mm, place.y_mm)
        glints = []
        for glint, share in zip(eye.glints, visible[side], strict=True):
            glint_x, glint_y = frame.to_px(*place.glint_mm(eye, glint))
            glints.append(
                {
                    "x_px": glint_x,
                    "y_px": glint_y,
                    "radius_px": glint.radius * eye.iris_radius_mm * scale,
                    "clock_deg": glint.clock_deg % 360.0,
                    "rho": glint.rho,
                    "radius_iris": glint.radius,
                    "intensity": glint.intensity,
                    "colour": glint.colour,
                    "shape": glint.shape,
                    "frac_visible": share,
                }
            )
        eyes.append(
            {
                "side": ("image_left", "image_right")[side],
                "eye_x_px": centre_x,
                "eye_y_px": centre_y,
                "iris_x_px": x,
                "iris_y_px": y,
                "iris_radius_px": eye.iris_radius_mm * scale,
                "iris_colour": eye.iris_colour,
                "pupil_radius_px": eye.pupil_share * eye.iris_radius_mm * scale,
                "gaze_x_deg": eye.gaze_x_deg,
                "gaze_y_deg": eye.gaze_y_deg,
                "openness": eye.openness,
                "catchlight_count": sum(_shows(glint) for glint in glints),
                "glints": glints,
            }
        )
    return {
        "kind": "face",
        "px_per_mm": scale,
        "yaw_deg": face.framing.yaw_deg,
        "roll_deg": face.framing.roll_deg,
        "lighting_ratio_stops": lit.ratio_stops,
        "skin_lightness": face.skin.lightness,
        "skin_hue_deg": face.skin.hue_deg,
        "skin_texture": face.skin.texture,
        "smile": face.expression.smile,
        "mouth_open_mm": face.expression.mouth_open_mm,
        "brow_raise_mm": face.expression.brow_raise_mm,
        "shape": dict(face.shape.__dict__),
        "eyes": eyes,
    }
