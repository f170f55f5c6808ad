"""Small drawing helpers: colour, noise, soft edges, windows drawn finer than the image and averaged down.

Images are float32 (h, w, 3) in linear light, 1 = white. Coordinates are pixels from the centre of the top-left pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
Pixels = NDArray[np.uint8]

COARSE_CELLS = 32
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)


def rgb(red: float, green: float, blue: float) -> F32:
    """Three numbers as float32 (3,); a float64 constant would double the size of whole images."""
    return np.array([red, green, blue], dtype=np.float32)


def hex_to_linear(colour: str) -> F32:
    """``#rrggbb`` to linear RGB, float32 (3,). Raises ValueError on anything else."""
    digits = colour.removeprefix("#")
    if len(digits) != 6:
        raise ValueError(f"a colour is written #rrggbb, got {colour!r}")
    codes = np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)], dtype=np.float32)
    return srgb_to_linear(codes / 255.0)


def srgb_to_linear(srgb: F32) -> F32:
    """sRGB in [0, 1] to linear light (IEC 61966-2-1)."""
    low = srgb / 12.92
    high = ((np.maximum(srgb, 0.0) + 0.055) / 1.055) ** 2.4
    return np.asarray(np.where(srgb <= 0.04045, low, high), np.float32)


def linear_to_srgb(linear: F32) -> F32:
    """Linear light in [0, 1] to sRGB in [0, 1] (IEC 61966-2-1)."""
    clipped = np.clip(linear, 0.0, 1.0)
    return np.asarray(np.where(clipped <= 0.0031308, clipped * 12.92, 1.055 * clipped ** (1 / 2.4) - 0.055), np.float32)


def lch_to_linear(lightness: float, chroma: float, hue_deg: float) -> F32:
    """CIE L*C*h (D65) to linear sRGB, float32 (3,), clipped to the gamut."""
    a, b = chroma * np.cos(np.radians(hue_deg)), chroma * np.sin(np.radians(hue_deg))
    fy = (lightness + 16.0) / 116.0
    f = np.array([fy + a / 500.0, fy, fy - b / 200.0])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * np.array([0.95047, 1.0, 1.08883])
    to_rgb = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
    return np.asarray(np.clip(to_rgb @ xyz, 0.0, 1.0), np.float32)


def smoothstep(low: float, high: float, x: F32) -> F32:
    """0 below ``low``, 1 above ``high``, a cubic between; ``low`` > ``high`` falls instead of rising."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), np.float32)


def bell(x: F32, width: float) -> F32:
    """Gaussian of unit height."""
    return np.asarray(np.exp(-0.5 * np.square(x / width)), np.float32)


def over(base: F32, colour: F32, alpha: F32) -> F32:
    """Paint ``colour`` (3,) or (h, w, 3) over ``base`` (h, w, 3) with coverage ``alpha`` (h, w)."""
    return (base + alpha[..., None] * (colour - base)).astype(np.float32)


def lattice_noise(rng: np.random.Generator, n_cells: int, x: F32, y: F32, x_wraps: bool = False) -> F32:
    """Smooth noise of mean 0 and about unit spread at lattice coordinates (x, y); it repeats every ``n_cells``."""
    lattice = rng.standard_normal((n_cells, n_cells)).astype(np.float32)
    border = cv2.BORDER_WRAP if x_wraps else cv2.BORDER_REFLECT_101
    padded = np.pad(lattice, 2, mode="wrap" if x_wraps else "reflect")
    xm = np.mod(x, n_cells).astype(np.float32) + 2
    ym = np.mod(y, n_cells).astype(np.float32) + 2
    if n_cells <= COARSE_CELLS:  # remap knows 32 places within a cell: too few where a cell covers hundreds of pixels
        padded = np.asarray(cv2.resize(padded, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC), np.float32)
        xm, ym = 8.0 * xm + 3.5, 8.0 * ym + 3.5
    return np.asarray(cv2.remap(padded, xm, ym, cv2.INTER_CUBIC, borderMode=border), dtype=np.float32)


@dataclass(frozen=True)
class Frame:
    """Where the subject lies in the image: pixel = centre + px_per_mm * rotate(mm, roll), y downward."""

    centre_x_px: float
    centre_y_px: float
    px_per_mm: float
    roll_deg: float

    def to_px(self, x_mm: float, y_mm: float) -> tuple[float, float]:
        """A point of the subject in image pixels."""
        c, s = np.cos(np.radians(self.roll_deg)), np.sin(np.radians(self.roll_deg))
        return (
            float(self.centre_x_px + self.px_per_mm * (c * x_mm - s * y_mm)),
            float(self.centre_y_px + self.px_per_mm * (s * x_mm + c * y_mm)),
        )

    def to_mm(self, x_px: F32, y_px: F32) -> tuple[F32, F32]:
        """Image pixels on the subject."""
        c, s = np.cos(np.radians(self.roll_deg)), np.sin(np.radians(self.roll_deg))
        dx, dy = (x_px - self.centre_x_px) / self.px_per_mm, (y_px - self.centre_y_px) / self.px_per_mm
        return (c * dx + s * dy).astype(np.float32), (-s * dx + c * dy).astype(np.float32)


class Window:
    """A rectangle of the image, drawn ``fine`` times finer in premultiplied colour, then averaged onto the image.

    It reaches ``reach_mm`` (half width, half height) from ``centre_mm``.

    Area averages in linear light keep the centroid of what is drawn exact to a fraction of 1 / ``fine`` pixel.
    """

    def __init__(
        self, frame: Frame, size_px: int, centre_mm: tuple[float, float], reach_mm: tuple[float, float], fine: int
    ) -> None:
        cx, cy = frame.to_px(*centre_mm)
        reach_x, reach_y = (reach * frame.px_per_mm for reach in reach_mm)
        self.x0 = int(np.clip(np.floor(cx - reach_x), 0, size_px - 1))
        self.y0 = int(np.clip(np.floor(cy - reach_y), 0, size_px - 1))
        self.x1 = int(np.clip(np.ceil(cx + reach_x) + 1, self.x0 + 1, size_px))
        self.y1 = int(np.clip(np.ceil(cy + reach_y) + 1, self.y0 + 1, size_px))
        self.fine, self.frame = fine, frame
        xs = self.x0 - 0.5 + (np.arange((self.x1 - self.x0) * fine, dtype=np.float32) + 0.5) / fine
        ys = self.y0 - 0.5 + (np.arange((self.y1 - self.y0) * fine, dtype=np.float32) + 0.5) / fine
        grid_x, grid_y = np.meshgrid(xs, ys)
        self.x_px, self.y_px = grid_x.astype(np.float32), grid_y.astype(np.float32)
        self.x_mm, self.y_mm = frame.to_mm(self.x_px, self.y_px)
        self.colour = np.zeros((*self.x_px.shape, 3), dtype=np.float32)
        self.alpha = np.zeros(self.x_px.shape, dtype=np.float32)

    @property
    def fine_per_mm(self) -> float:
        """Fine pixels per mm."""
        return self.frame.px_per_mm * self.fine

    def paint(self, colour: F32, alpha: F32) -> None:
        """Lay ``colour`` (3,) or (h, w, 3) over the window with coverage ``alpha``."""
        self.colour = over(self.colour, colour, alpha)
        self.alpha = (self.alpha + alpha * (1.0 - self.alpha)).astype(np.float32)

    def strokes(self, lines_mm: list[NDArray[np.float64]], width_mm: float) -> F32:
        """Coverage of polylines given in mm of the subject, each (n, 2)."""
        mask = np.zeros(self.x_px.shape, dtype=np.uint8)
        thickness = max(1, round(width_mm * self.fine_per_mm))
        for line in lines_mm:
            px = np.array([self.frame.to_px(float(x), float(y)) for x, y in line])
            fine_px = (px - [self.x0 - 0.5, self.y0 - 0.5]) * self.fine - 0.5
            points = np.round(fine_px * 16).astype(np.int32).reshape(-1, 1, 2)
            cv2.polylines(mask, [points], False, (255.0,), thickness, cv2.LINE_AA, 4)
        return mask.astype(np.float32) / 255.0

    def onto(self, image: F32) -> None:
        """Average down and lay over ``image`` in place."""
        size = (self.x1 - self.x0, self.y1 - self.y0)
        colour = cv2.resize(self.colour, size, interpolation=cv2.INTER_AREA)
        alpha = cv2.resize(self.alpha, size, interpolation=cv2.INTER_AREA)
        part = image[self.y0 : self.y1, self.x0 : self.x1]
        part[:] = colour + (1.0 - alpha[..., None]) * part
