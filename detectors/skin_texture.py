"""Skin texture: how much fine structure, pores to fine lines, is left on the cheeks; alone, and against the eyes' own.

A family of its own, because texture needs larger faces than tone (``detectors.skin``). The band is tied to the size of
the face, so the same face at another resolution reads the same as long as the band is resolved.
"""

from __future__ import annotations

import math
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from detectors.geometry import (
    PATCH_STATES,
    face_gate,
    lab,
    median_of,
    outer_canthal_px,
    patch_state,
    polygon_mask,
    robust_deviation,
    skin_patches_of,
    spread_of,
)
from detectors.trait import OK, Eye, Face, Family, Hand, Measurement, Pixels, Reading, Trait, View

BAND = 0.006
"""Finer sigma of the band-pass in outer canthal distances (about 0.5 mm of skin); the coarser is twice that."""
SMALLEST_CANTHAL_PX = 110.0
"""The finer sigma is 0.66 px there; below, the value tracks resolution, not decay."""
YAW_LIMIT_DEG = 20.0
PITCH_LIMITS_DEG = (-30.0, 20.0)
SMALLEST_EDGE = 0.3
"""L*; eyes with less fine structure than this are gone, and nothing can be compared with them."""
_EYE_REGION = 1.25  # lid outline grown about its centre, so that lid margins and lashes are inside


def measure(view: View, subject: Face | Hand | None) -> Measurement:
    """Read the skin texture of one face. Returns every reading, or the state that forbids it. TypeError if no face."""
    if not isinstance(subject, Face):
        raise TypeError(f"skin_texture reads a face, got {type(subject).__name__}")
    state = face_gate(subject, SMALLEST_CANTHAL_PX, YAW_LIMIT_DEG, PITCH_LIMITS_DEG)
    if state != OK:
        return Measurement(state)
    patches = skin_patches_of(view, subject)
    state = patch_state(patches.cheek_left, patches.cheek_right)
    if state != OK:
        return Measurement(state)
    sigma = BAND * outer_canthal_px(subject.landmarks_px)
    # A robust deviation: a few glints, hairs or freckles with sharp rims are not the texture of the skin.
    skin = robust_deviation(band_pass(lab(patches.crop)[..., 0], patches.cheeks, sigma)[patches.cheeks])
    edges = float(np.mean([_edge_energy(view.pixels, eye, sigma) for eye in subject.eyes]))
    if not edges >= SMALLEST_EDGE:
        return Measurement("no_edges")
    return Measurement(OK, {"skin_texture": skin, "skin_texture_ratio": skin / edges})


def band_pass(lightness: NDArray[np.float32], mask: NDArray[np.bool_], sigma: float) -> NDArray[np.float32]:
    """Difference of Gaussians of sigma and 2 sigma px over a mask, float32 (h, w), same unit as ``lightness`` (h, w).

    Normalised convolution (Knutsson & Westin 1993, doi:10.1109/CVPR.1993.341081): pixels outside the mask have no
    influence, so hair or background beside a patch does not leak into it.
    """
    weight = mask.astype(np.float32)
    return _smooth(lightness, weight, sigma) - _smooth(lightness, weight, 2 * sigma)


def _smooth(values: NDArray[np.float32], weight: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    above = cv2.GaussianBlur(values * weight, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    below = cv2.GaussianBlur(weight, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    return cast(NDArray[np.float32], above / np.maximum(below, np.float32(1e-3)))


def _edge_energy(pixels: Pixels, eye: Eye, sigma: float) -> float:
    """Root mean square of the same band over one eye, L*; NaN where the eye lies outside the image."""
    centre = eye.lid_px.mean(axis=0)
    outline = centre + _EYE_REGION * (eye.lid_px - centre)
    margin = math.ceil(6 * sigma)
    x0, y0 = np.maximum(np.floor(outline.min(axis=0)).astype(int) - margin, 0)
    x1, y1 = np.maximum(np.ceil(outline.max(axis=0)).astype(int) + margin + 1, 0)
    crop = pixels[y0:y1, x0:x1]
    mask = polygon_mask(outline - (x0, y0), *crop.shape[:2])
    if not mask.any():
        return math.nan
    band = band_pass(lab(crop)[..., 0], np.ones(mask.shape, dtype=np.bool_), sigma)[mask]
    return float(np.sqrt(np.mean(band**2)))


_SOURCE = "difference of Gaussians, Marr & Hildreth 1980, doi:10.1098/rspb.1980.0020, at a scale tied to the face"
_LIMITS = (
    f"Below {SMALLEST_CANTHAL_PX:.0f} px between the outer eye corners no value is given: it would track resolution. "
    "Departure either way is decay: a model smooths skin, or covers it with ringing. "
    "Sensor noise and JPEG blocks count as texture (quality 60 adds a third of the spread between people)."
)

FAMILY = Family(
    name="skin_texture",
    group="face",
    subject="face",
    readings=(
        Reading("skin_texture", "face", "fine structure of the cheeks", "L*", low=0.0),
        Reading("skin_texture_ratio", "face", "fine structure of the cheeks / of the eyes", "", low=0.0),
    ),
    states={
        OK: "measured",
        "pose": f"turned by more than {YAW_LIMIT_DEG:.0f} degrees, or looking far up or down",
        "unreadable": "not enough like a face to be read",
        "no_edges": "the eyes have no fine structure to compare with, or lie outside the image",
        **PATCH_STATES,
    },
    measure=measure,
    traits=(
        Trait(
            name="skin_texture",
            subject="face",
            label="skin texture",
            unit="L*",
            direction="reference",
            floor=0.0,
            source=_SOURCE,
            readings=("skin_texture",),
            statistic=median_of("skin_texture"),
            kind="location",
            limits=f"Falls with any blur of the image; skin_texture_ratio does not. {_LIMITS}",
        ),
        Trait(
            name="skin_texture_ratio",
            subject="face",
            label="skin texture against the eyes",
            unit="",
            direction="reference",
            floor=0.0,
            source=f"{_SOURCE}; the eyes' lids and lashes in the same band stand for the image's own blur",
            readings=("skin_texture_ratio",),
            statistic=median_of("skin_texture_ratio"),
            kind="location",
            limits=(
                "A blur of up to a hundredth of the eye distance moves it by less than a fifth of the spread between "
                f"people, skin-only smoothing by one. Make-up on the eyes lowers it. {_LIMITS}"
            ),
        ),
        Trait(
            name="skin_texture_spread",
            subject="face",
            label="variety of skin texture",
            unit="L*",
            direction="higher",
            floor=0.0,
            source=_SOURCE,
            readings=("skin_texture",),
            statistic=spread_of("skin_texture"),
            bounds=(0.0, math.inf),
            limits=_LIMITS,
        ),
    ),
)
