"""Pictures brought to the size that a network takes, as those who published its distances do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from detectors.trait import Pixels


def resized_exactly(pixels: Pixels, side_px: int) -> NDArray[np.float32]:
    """Bicubic and antialiased, channel by channel in floating point, never rounded to whole levels.

    ``pixels``: sRGB uint8 (h, w, 3). Gives float32 (side, side, 3), 0..255. As the "clean" mode of Parmar, Zhang & Zhu
    2022, arXiv:2104.11222, has it: rounding, or a filter without antialiasing, moves FID as much as generators differ.
    """
    channels = [Image.fromarray(pixels[..., c].astype(np.float32)) for c in range(3)]
    scaled = [np.asarray(c.resize((side_px, side_px), Image.Resampling.BICUBIC)) for c in channels]
    return np.asarray(np.clip(np.stack(scaled, axis=-1), 0.0, 255.0), dtype=np.float32)


def resized(pixels: Pixels, side_px: int) -> Pixels:
    """Bicubic and antialiased, rounded to whole levels: uint8 (side, side, 3)."""
    scaled = Image.fromarray(pixels).resize((side_px, side_px), Image.Resampling.BICUBIC)
    return np.asarray(scaled, dtype=np.uint8)
