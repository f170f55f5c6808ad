"""The head as a height field, and the light on it. Frame: mm, x right, y down, z toward the viewer; eyes on y = 0."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from decay.phantom.canvas import F32, LUMINANCE, smoothstep
from decay.phantom.parameters import Expression, FaceShape, Lighting

STEP_MM = 1.0
LEFT_MM, RIGHT_MM, TOP_MM, BOTTOM_MM = -110.0, 110.0, -130.0, 150.0
SKULL_TOP_MM = -108.0
CHEEK_Y_MM = 12.0
PIVOT_MM = 40.0
RIM = 0.96
RIM_SLOPE = 1.2 * RIM**1.4 / (1.0 - RIM**2.4) ** 0.5
"""Share of the half width up to which the head is round, and the slope of sqrt(1 - a ** 2.4) there."""
CHEEK_PATCH_MM = (38.0, 34.0, 8.0)
WRAP = np.array([0.42, 0.26, 0.20], dtype=np.float32)
"""How far light creeps round the terminator, per channel: blood under the skin carries red furthest."""


@dataclass(frozen=True)
class Relief:
    """``z_mm``, ``half_width_mm`` (per row): float32 on the grid of STEP_MM."""

    z_mm: F32
    half_width_mm: F32


def grid() -> tuple[F32, F32]:
    """Grid coordinates (x, y) in mm, each float32 (rows, columns)."""
    x = np.arange(LEFT_MM, RIGHT_MM + STEP_MM, STEP_MM, dtype=np.float32)
    y = np.arange(TOP_MM, BOTTOM_MM + STEP_MM, STEP_MM, dtype=np.float32)
    grid_x, grid_y = np.meshgrid(x, y)
    return grid_x.astype(np.float32), grid_y.astype(np.float32)


def sample(field: F32, x_mm: F32, y_mm: F32) -> F32:
    """Read a grid field at positions in mm, bilinear, edges repeated."""
    columns = ((x_mm - LEFT_MM) / STEP_MM).astype(np.float32)
    rows = ((y_mm - TOP_MM) / STEP_MM).astype(np.float32)
    return np.asarray(cv2.remap(field, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def half_width(y_mm: F32, shape: FaceShape) -> F32:
    """Half width of the head's outline at height y, 0 beyond crown and chin."""
    width = shape.cheek_half_width_mm
    up = np.clip((CHEEK_Y_MM - y_mm) / (CHEEK_Y_MM - SKULL_TOP_MM), 0.0, 1.0)
    skull = width * (1.0 - up**2.5) ** (1 / 2.2)
    down = np.clip((y_mm - CHEEK_Y_MM) / (shape.chin_y_mm - CHEEK_Y_MM), 0.0, 1.0)
    at_jaw = (75.0 - CHEEK_Y_MM) / (112.0 - CHEEK_Y_MM)
    power = np.log(shape.jaw_half_width_mm / width) / np.log(1.0 - at_jaw**2.4)
    jaw = width * (1.0 - down**2.4) ** max(float(power), 0.45)
    rise = np.clip(1.0 - np.square((y_mm - (shape.chin_y_mm - 19.0)) / 19.0), 0.0, 1.0)
    chin = 0.52 * shape.jaw_half_width_mm * np.sqrt(rise)
    lower = (jaw**5 + chin**5) ** 0.2
    return np.where(y_mm < CHEEK_Y_MM, skull, lower).astype(np.float32)


def build_relief(shape: FaceShape, expression: Expression) -> Relief:
    """The head of this shape with this expression."""
    x, y = grid()
    half = half_width(y[:, :1], shape)
    across = np.abs(x) / np.maximum(half, 1.0)
    beyond = np.clip(across - RIM, 0.0, 0.4)  # the surface runs on at the rim's slope, so that its shade does too
    profile = 78.0 * np.sqrt(np.maximum(1.0 - np.square((y - 22.0) / 150.0), 0.02))
    z = profile * (np.sqrt(1.0 - np.minimum(across, RIM) ** 2.4) - RIM_SLOPE * beyond)
    for centre_x, centre_y, spread_x, spread_y, height in _bumps(shape, expression):
        sides = (1.0, -1.0) if centre_x else (1.0,)
        for side in sides:
            z = z + height * np.exp(
                -0.5 * np.square((x - side * centre_x) / spread_x) - 0.5 * np.square((y - centre_y) / spread_y)
            )
    z = z + _nose(x, y, shape) + _folds(x, y, shape, expression)
    return Relief(np.asarray(cv2.GaussianBlur(z.astype(np.float32), (0, 0), 1.0 / STEP_MM), np.float32), half[:, 0])


def _bumps(shape: FaceShape, expression: Expression) -> list[tuple[float, float, float, float, float]]:
    """(x, y, spread x, spread y, height) in mm; x > 0 stands for both sides."""
    eye, nose, mouth, lip = shape.eye_distance_mm / 2, shape.nose_length_mm, shape.mouth_y_mm, shape.lip_height_mm
    smile = expression.smile
    return [
        (0.62 * eye, shape.brow_y_mm + 4.0, 17.0, 6.0, 4.0),
        (eye - 1.0, -1.0, 14.0, 9.5, -9.5),
        (eye + 0.5, 0.5, 11.0, 7.0, 5.0),
        (eye, 15.0, 12.0, 5.0, -1.0),
        (42.0, 22.0 - 3.0 * smile, 15.0, 12.0, shape.cheekbone_mm + 2.0 * max(smile, 0.0)),
        (0.8 * shape.cheek_half_width_mm, 52.0, 11.0, 16.0, -0.5 * shape.cheekbone_mm),
        (shape.nose_half_width_mm - 3.5, nose - 2.0, 4.6, 4.8, 7.0),
        (0.0, mouth - 2.0, 25.0, 17.0, 6.5),
        (0.0, mouth - 0.45 * lip, 15.0, 2.6, 2.2),
        (0.0, mouth + 0.62 * lip, 13.0, 3.0, 3.0),
        (0.0, mouth, 20.0, 1.3, -1.8),
        (0.0, mouth - 12.0, 2.4, 6.0, -1.4),
        (0.0, mouth + 1.75 * lip, 17.0, 3.5, -3.6),
        (0.0, shape.chin_y_mm - 13.0, 14.0, 9.5, 6.0),
        (30.0, -58.0, 22.0, 20.0, 2.0),
    ]


def _nose(x: F32, y: F32, shape: FaceShape) -> F32:
    along = np.clip((y + 6.0) / (shape.nose_length_mm + 2.0), 0.0, 1.0)
    below = np.clip((y - shape.nose_length_mm + 4.0) / 12.0, 0.0, 1.0)
    height = shape.nose_projection_mm * (0.22 + 0.78 * along**1.4) * (1.0 - below) ** 1.3
    width = 4.8 + 0.22 * shape.nose_half_width_mm * along**2
    ridge = height * np.exp(-0.5 * np.square(x / width)) * smoothstep(-24.0, 0.0, y)
    tip = 4.0 * np.exp(-0.5 * np.square(x / 6.0) - 0.5 * np.square((y - shape.nose_length_mm + 5.0) / 5.0))
    return np.asarray(ridge + tip, np.float32)


def _folds(x: F32, y: F32, shape: FaceShape, expression: Expression) -> F32:
    """The nasolabial fold, from the wing of the nose to beside the corner of the mouth."""
    start, end = shape.nose_length_mm - 2.0, shape.mouth_y_mm + 4.0
    t = (y - start) / (end - start)
    path = shape.nose_half_width_mm + 3.0 + (shape.mouth_half_width_mm - shape.nose_half_width_mm + 6.0) * t
    fade = np.exp(-0.5 * np.square((t - 0.45) / 0.38))
    depth = 0.7 + 1.6 * max(expression.smile, 0.0)
    return np.asarray(-depth * fade * np.exp(-0.5 * np.square((np.abs(x) - path) / 3.0)), np.float32)


@dataclass(frozen=True)
class LitHead:
    """``channels``: red, green, blue irradiance on the grid; the brighter cheek's luminance is ``exposure``.

    ``gloss``: float32 (rows, columns), strength of the broad sheen. ``ratio_stops``: what was reached.
    """

    channels: tuple[F32, F32, F32]
    gloss: F32
    ratio_stops: float


def light_head(relief: Relief, lighting: Lighting, yaw_deg: float) -> LitHead:
    """Shade the head: key, mirrored fill and ambient, with cast shadows and darkened hollows."""
    z = relief.z_mm
    normal = _normals(z)
    side = -1.0 if lighting.ratio_stops >= 0 else 1.0
    key = _direction(side * lighting.azimuth_deg, lighting.elevation_deg, yaw_deg)
    fill = _direction(-side * lighting.azimuth_deg, lighting.elevation_deg, yaw_deg)
    hollow = _hollowness(z)
    sky = 0.72 + 0.28 * np.clip(-normal[..., 1] * 0.6 + normal[..., 2] * 0.8, 0.0, 1.0)
    ambient = (lighting.ambient * sky * hollow)[..., None] * np.array([0.95, 1.0, 1.06], dtype=np.float32)
    of_key, of_fill = (_diffuse(z, normal, light) * hollow[..., None] for light in (key, fill))
    share = _fill_share(of_key, of_fill, ambient, lighting.ratio_stops)
    light = ambient + of_key + share * of_fill
    left, right = cheek_luminance(light)
    scale = lighting.exposure / max(left, right)
    gloss = sum(
        weight * np.clip(normal @ _half_vector(direction, yaw_deg), 0.0, 1.0) ** 28
        for weight, direction in ((1.0, key), (share, fill))
    )
    red, green, blue = (np.ascontiguousarray(light[..., c] * scale, dtype=np.float32) for c in range(3))
    return LitHead(
        channels=(red, green, blue),
        gloss=np.asarray(gloss * hollow * scale, np.float32),
        ratio_stops=float(np.log2(left / right)),
    )


def cheek_luminance(light: F32) -> tuple[float, float]:
    """Mean luminance of the light on the image-left and image-right cheek patch."""
    x, y = grid()
    centre_x, centre_y, radius = CHEEK_PATCH_MM
    means = []
    for side in (-1.0, 1.0):
        inside = np.square(x - side * centre_x) + np.square(y - centre_y) < radius**2
        means.append(float((light[inside] @ LUMINANCE).mean()))
    return means[0], means[1]


def _fill_share(of_key: F32, of_fill: F32, ambient: F32, ratio_stops: float) -> float:
    """Strength of the fill, relative to the key, that gives the wanted ratio of the cheeks."""
    ratio = 2.0**ratio_stops
    (key_l, key_r), (fill_l, fill_r), (amb_l, amb_r) = (cheek_luminance(part) for part in (of_key, of_fill, ambient))
    slope = fill_l - ratio * fill_r
    if abs(slope) < 1e-9:
        return 1.0
    return float(np.clip((ratio * (key_r + amb_r) - key_l - amb_l) / slope, 0.0, 1.6))


def _normals(z: F32) -> F32:
    z_y, z_x = np.gradient(z, STEP_MM)
    steep = 1.0 / np.sqrt(1.0 + np.square(z_x) + np.square(z_y))
    return np.asarray(np.stack([-z_x * steep, -z_y * steep, steep], axis=-1), np.float32)


def _direction(azimuth_deg: float, elevation_deg: float, yaw_deg: float) -> NDArray[np.float64]:
    """Unit vector toward a light, turned from the camera's into the head's frame."""
    azimuth, elevation = np.radians(azimuth_deg - yaw_deg), np.radians(elevation_deg)
    return np.array([np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])


def _half_vector(light: NDArray[np.float64], yaw_deg: float) -> NDArray[np.float64]:
    half = light + _direction(0.0, 0.0, yaw_deg)
    return np.asarray(half / np.linalg.norm(half))


def _diffuse(z: F32, normal: F32, light: NDArray[np.float64]) -> F32:
    facing = (normal @ light.astype(np.float32))[..., None]
    wrapped = np.clip((facing + WRAP) / (1.0 + WRAP), 0.0, None)
    return np.asarray(wrapped * _cast_shadow(z, light)[..., None], np.float32)


def _cast_shadow(z: F32, light: NDArray[np.float64]) -> F32:
    """1 = lit, 0 = behind something higher on the way to the light; edges soften with distance."""
    clear = np.full_like(z, np.inf)
    rows, columns = z.shape
    for distance in np.geomspace(3.0, 70.0, 16):
        along_x, along_y = -distance / STEP_MM * light[:2]
        shift = np.array([[1.0, 0.0, along_x], [0.0, 1.0, along_y]])
        ahead = cv2.warpAffine(z, shift, (columns, rows), flags=cv2.INTER_LINEAR, borderValue=(-999.0,))
        clear = np.minimum(clear, (z + distance * light[2] - ahead) / distance)
    lit = np.clip(0.5 + clear / 0.22, 0.0, 1.0)
    return np.asarray(cv2.GaussianBlur(0.12 + 0.88 * lit * lit * (3 - 2 * lit), (0, 0), 1.6 / STEP_MM), np.float32)


def _hollowness(z: F32) -> F32:
    """Ambient occlusion, roughly: darker where the surface lies below its surroundings."""
    shade = np.ones_like(z)
    for reach, strength in ((3.0, 0.10), (9.0, 0.035)):
        below = cv2.GaussianBlur(z, (0, 0), reach / STEP_MM) - z
        shade = shade * np.exp(-strength * np.clip(below, -1.0, 8.0))
    return np.clip(shade, 0.35, 1.12).astype(np.float32)
