"""Changes to a picture that nobody would call erosion: what a trait loses by them, it loses to the reading."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image

from detectors.trait import Pixels

JPEG_QUALITY = 95


def flip(pixels: Pixels) -> Pixels:
    """Left and right exchanged. ``pixels``: sRGB uint8 (h, w, 3)."""
    return np.ascontiguousarray(pixels[:, ::-1])


def shift(pixels: Pixels) -> Pixels:
    """Everything one pixel to the right; the first column stands twice, the last is lost."""
    return np.concatenate([pixels[:, :1], pixels[:, :-1]], axis=1)


def save_as_jpeg(pixels: Pixels) -> Pixels:
    """Compressed and decoded, quality 95, chroma at Pillow's usual half resolution."""
    coded = io.BytesIO()
    Image.fromarray(pixels).save(coded, "JPEG", quality=JPEG_QUALITY)
    with Image.open(coded) as decoded:
        return np.array(decoded.convert("RGB"), dtype=np.uint8)


CHANGES: Mapping[str, Callable[[Pixels], Pixels]] = {"flip": flip, "shift": shift, "jpeg95": save_as_jpeg}
"""By name. The name is part of what a reading is journaled by: a change that is changed needs another."""
