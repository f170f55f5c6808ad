"""What cameras and the web do to a picture: blur, smaller size, noise, JPEG. For calibration against degraded truth."""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image

from decay.phantom.canvas import Pixels, linear_to_srgb, srgb_to_linear


def degrade(
    pixels: Pixels,
    *,
    scale: float = 1.0,
    blur_sigma_px: float | None = None,
    noise_codes: float | None = None,
    jpeg_quality: int | None = None,
    rng: np.random.Generator | None = None,
) -> Pixels:
    """Degrade an sRGB uint8 (h, w, 3) image, in this order: shrink, blur (both in linear light), noise, JPEG.

    ``scale`` in (0, 1]: area-averaged; a point (x, y) of the original lies at ``(p + 0.5) * scale - 0.5``.
    ``blur_sigma_px``: Gaussian, in pixels of the result. ``noise_codes``: standard deviation in sRGB codes, needs
    ``rng``. ``jpeg_quality``: 1 to 95, with 4:2:0 chroma as cameras write it. Raises ValueError otherwise.
    """
    if not 0.0 < scale <= 1.0:
        raise ValueError(f"scale must lie in (0, 1], got {scale}")
    if scale < 1.0 or blur_sigma_px:
        linear = srgb_to_linear(pixels.astype(np.float32) / 255.0)
        if scale < 1.0:
            size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
            linear = np.asarray(cv2.resize(linear, size, interpolation=cv2.INTER_AREA), np.float32)
        if blur_sigma_px:
            linear = np.asarray(cv2.GaussianBlur(linear, (0, 0), blur_sigma_px), np.float32)
        pixels = np.round(linear_to_srgb(linear) * 255.0).astype(np.uint8)
    if noise_codes:
        if rng is None:
            raise ValueError("noise_codes needs rng, so that the same seed gives the same picture")
        noisy = pixels + noise_codes * rng.standard_normal(pixels.shape)
        pixels = np.clip(np.round(noisy), 0, 255).astype(np.uint8)
    return pixels if jpeg_quality is None else _jpeg(pixels, jpeg_quality)


def _jpeg(pixels: Pixels, quality: int) -> Pixels:
    if not 1 <= quality <= 95:
        raise ValueError(f"jpeg_quality must lie in 1..95, got {quality}")
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=2)
    return np.asarray(Image.open(buffer).convert("RGB"), dtype=np.uint8)
