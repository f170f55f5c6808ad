"""Small pure helpers shared by the trait families: angles, circles, polygons, shapes, colour.

All coordinates are pixels, x right, y down. All angles are degrees.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from detectors.trait import Pixels, Points


def clock_deg(dx: float, dy: float) -> float:
    """Clock position of an offset: 0 = 12 o'clock, clockwise as seen in the image, in [0, 360).

    ``dx``, ``dy``: image offset, y downward.
    """
    return math.degrees(math.atan2(dx, -dy)) % 360.0


def angle_difference_deg(a: float, b: float) -> float:
    """Smallest absolute difference of two directions, in [0, 180]."""
    return abs((a - b + 180.0) % 360.0 - 180.0)


def rotate(points: Points, degrees: float) -> Points:
    """Rotate (n, 2) offsets about the origin, clockwise as seen in the image for positive ``degrees``."""
    radians = math.radians(degrees)
    c, s = math.cos(radians), math.sin(radians)
    return np.asarray(points, dtype=np.float64) @ np.array([[c, s], [-s, c]])


def polygon_area(points: Points) -> float:
    """Area of a simple polygon (n, 2) in square pixels (shoelace formula)."""
    x, y = points[:, 0], points[:, 1]
    return float(0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))


def resultant_length(degrees: NDArray[np.float64]) -> float:
    """Mean resultant length of directions, 0 (uniform) to 1 (all equal) (Mardia & Jupp 2000, eq. 2.3.2)."""
    if len(degrees) == 0:
        return math.nan
    return float(abs(np.exp(1j * np.radians(degrees)).mean()))


def srgb_to_linear(pixels: Pixels) -> NDArray[np.float64]:
    """sRGB uint8 (..., 3) to linear light in [0, 1] (IEC 61966-2-1)."""
    return _LINEAR[pixels]


def luminance(pixels: Pixels) -> NDArray[np.float64]:
    """Relative luminance Y in [0, 1] of sRGB uint8 (..., 3), shape (...) (ITU-R BT.709 primaries)."""
    return _LINEAR[pixels] @ np.array([0.2126, 0.7152, 0.0722])


_CODES = np.arange(256) / 255.0
_LINEAR = np.where(_CODES <= 0.04045, _CODES / 12.92, ((_CODES + 0.055) / 1.055) ** 2.4)
