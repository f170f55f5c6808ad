"""The image as a whole: lightness, contrast, saturation, colour cast, sharpness, the usual confounds of every decay.

First-order readings do not depend on the order of pixels; sharpness is read at native pixels.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from detectors.geometry import lab, median_of, spread_of
from detectors.trait import OK, Face, Family, Hand, Measurement, Pixels, Reading, Trait, Value, View

SMALLEST_SIDE_PX = 16
STRIP_PX = 64
"""Rows that are taken together where colours are summed."""
LARGEST_SAMPLE_PX = 2_000_000
"""Above this, colour is read on every k-th row and column, and sharpness on the central part: it bounds memory."""


def measure(view: View, subject: Face | Hand | None) -> Measurement:
    """Read the whole image; ``subject`` is not looked at. Returns every reading, or ``too_small``."""
    height, width = view.pixels.shape[:2]
    if min(height, width) < SMALLEST_SIDE_PX:
        return Measurement("too_small")
    step = math.ceil(math.sqrt(height * width / LARGEST_SAMPLE_PX))
    return Measurement(OK, {**_colour(view.pixels[::step, ::step]), "image_sharpness": sharpness(_centre(view.pixels))})


def _colour(pixels: Pixels) -> dict[str, Value]:
    """What the colours of sRGB uint8 (h, w, 3) are on the whole.

    They are summed strip by strip: new memory of a whole image's size takes longer than the arithmetic.
    """
    strips = np.array([_sums(pixels[row : row + STRIP_PX]) for row in range(0, len(pixels), STRIP_PX)])
    n_pixels, lightness, a, b, chroma = strips[:, :5].sum(axis=0) / (1.0, *[pixels[..., 0].size] * 4)
    # The variance within strips and that between them.
    own, n = strips[:, 1] / strips[:, 0], strips[:, 0]
    variance = (strips[:, 5].sum() + (n * np.square(own - lightness)).sum()) / n_pixels
    return {
        "image_lightness": float(lightness),
        "image_contrast": math.sqrt(variance),
        "image_saturation": float(chroma),
        "image_colour_cast": math.hypot(a, b),
    }


def _sums(pixels: Pixels) -> tuple[float, ...]:
    """Of pixels (h, w, 3): how many; sums of L*, a*, b* and chroma; sum of squared deviations of L* from its mean."""
    lightness, a, b = (plane.ravel() for plane in cv2.split(lab(pixels)))
    # The chroma is numpy's: OpenCV's magnitude differs in the last digits with where the array lies in memory.
    sums = [float(plane.sum(dtype=np.float64)) for plane in (lightness, a, b, np.sqrt(a * a + b * b))]
    deviations = lightness.astype(np.float64) - sums[0] / lightness.size
    return lightness.size, *sums, float(deviations @ deviations)


def sharpness(pixels: Pixels) -> float:
    """Standard deviation of the Laplacian over that of the grey values, sRGB uint8 (h, w, 3): >= 0.

    The variance of the Laplacian (Pech-Pacheco et al. 2000, doi:10.1109/ICPR.2000.903548) grows with contrast;
    divided by the variance of the picture it is the mean fourth power of spatial frequency, weighted by the power
    spectrum, and a change of gain leaves it alone. 0 for a picture without any variation.
    """
    grey: NDArray[np.float32] = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    edges = np.asarray(cv2.Laplacian(grey, cv2.CV_32F), dtype=np.float32)
    deviation = _deviation(grey)
    return _deviation(edges) / deviation if deviation > 0 else 0.0


def _deviation(values: NDArray[np.float32]) -> float:
    """Standard deviation, worked out in place."""
    values -= values.mean()
    return float(np.sqrt(np.square(values, out=values).mean()))


def _centre(pixels: Pixels) -> Pixels:
    """The central part of at most ``LARGEST_SAMPLE_PX`` pixels, of the image's proportions, at native resolution."""
    height, width = pixels.shape[:2]
    share = min(math.sqrt(LARGEST_SAMPLE_PX / (height * width)), 1.0)
    h, w = max(round(height * share), 1), max(round(width * share), 1)
    y, x = (height - h) // 2, (width - w) // 2
    return np.ascontiguousarray(pixels[y : y + h, x : x + w])


_SUBJECT = "Follows the subject and its setting too: compare generations of the same prompts."


def _location(name: str, label: str, unit: str, source: str, limits: str = _SUBJECT) -> Trait:
    return Trait(
        name=name,
        subject="image",
        label=label,
        unit=unit,
        direction="reference",
        floor=0.0,
        source=source,
        readings=(name,),
        statistic=median_of(name),
        kind="location",
        limits=limits,
    )


def _spread(reading: str, label: str, unit: str, source: str) -> Trait:
    return Trait(
        name=f"{reading}_spread",
        subject="image",
        label=label,
        unit=unit,
        direction="higher",
        floor=0.0,
        source=source,
        readings=(reading,),
        statistic=spread_of(reading),
        bounds=(0.0, math.inf),
        limits=_SUBJECT,
    )


_PELI = "root-mean-square contrast, Peli 1990, doi:10.1364/JOSAA.7.002032, on CIELAB lightness"
_CHROMA = "mean CIELAB chroma, a term of the colourfulness of Hasler & Suesstrunk 2003, doi:10.1117/12.477378"
_CIE = "CIELAB, CIE 15:2018"

FAMILY = Family(
    name="image_quality",
    group="image",
    subject="image",
    readings=(
        Reading("image_lightness", "image", "mean lightness", "L*", low=0.0, high=100.0),
        Reading("image_contrast", "image", "contrast", "L*", low=0.0, high=50.0),
        Reading("image_saturation", "image", "mean chroma", "C*ab", low=0.0),
        Reading("image_colour_cast", "image", "distance of the mean colour from grey", "C*ab", low=0.0),
        Reading("image_sharpness", "image", "Laplacian over picture deviation", "", low=0.0),
    ),
    states={OK: "measured", "too_small": f"a side below {SMALLEST_SIDE_PX} px"},
    measure=measure,
    traits=(
        _location("image_lightness", "lightness", "L*", _CIE),
        _location("image_contrast", "contrast", "L*", _PELI),
        _location("image_saturation", "saturation", "C*ab", _CHROMA),
        _location("image_colour_cast", "colour cast", "C*ab", f"grey-world distance, {_CIE}"),
        _location(
            "image_sharpness",
            "sharpness",
            "",
            "variance of the Laplacian, Pech-Pacheco et al. 2000, doi:10.1109/ICPR.2000.903548, over the picture's own",
            f"Read per pixel: sizes must not change between generations; noise counts as detail. {_SUBJECT}",
        ),
        _spread("image_lightness", "variety of lightness", "L*", _CIE),
        _spread("image_contrast", "variety of contrast", "L*", _PELI),
        _spread("image_saturation", "variety of saturation", "C*ab", _CHROMA),
    ),
)
