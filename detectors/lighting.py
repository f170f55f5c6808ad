"""Light on the face: how many stops one cheek is brighter than the other, forehead against cheeks, evenness.

Read in linear light on three patches of skin that the face mesh places (``geometry.skin_patches``).
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from detectors.geometry import (
    SkinPatches,
    angle_difference_deg,
    face_gate,
    luminance,
    median_of,
    skin_patches,
    spread_of,
)
from detectors.trait import OK, Face, Family, Hand, Measurement, Pixels, Reading, Trait, View

SMALLEST_CANTHAL_PX = 24.0
SMALLEST_PATCH_PX = 64
"""Pixels of a cheek below which the median rests on a handful of JPEG blocks."""
YAW_LIMIT_DEG = 20.0
"""Beyond, the far cheek foreshortens and its patch slides onto the outline of the face."""
PITCH_LIMITS_DEG = (-30.0, 20.0)
SATURATED_CODE = 254
SATURATED_SHARE = 0.1
"""A patch with more than this share of clipped pixels has no known luminance."""
DARK_LUMINANCE = 0.002
"""About sRGB code 7: one code is a sixth of a stop there, and JPEG moves it."""
OCCLUDED_STOPS = 1.0
"""Robust deviation of luminance within one patch; shaded skin stays below, hair and spectacle frames do not."""
OCCLUDED_HUE_DEG = 30.0
"""Difference of hue between patches; coloured light reaches 19 degrees on portraits."""
_HUE_CHROMA = 5.0
_MAD_TO_SD = 1.4826


def measure(view: View, subject: Face | Hand | None) -> Measurement:
    """Read the light on one face. Returns every reading, or the state that forbids it. TypeError if not a face."""
    if not isinstance(subject, Face):
        raise TypeError(f"lighting reads a face, got {type(subject).__name__}")
    state = face_gate(subject, SMALLEST_CANTHAL_PX, YAW_LIMIT_DEG, PITCH_LIMITS_DEG)
    if state != OK:
        return Measurement(state)
    patches = skin_patches(view.pixels, subject.landmarks_px)
    state = _patch_state(patches)
    if state != OK:
        return Measurement(state)
    light = luminance(patches.crop)
    left, right, top = (
        math.log2(float(np.median(light[mask]))) for mask in (patches.cheek_left, patches.cheek_right, patches.forehead)
    )
    return Measurement(
        OK,
        {
            "lighting_ratio_stops": left - right,
            "lighting_unevenness_stops": abs(left - right),
            "lighting_vertical_stops": top - (left + right) / 2,
            "lighting_uniformity": histogram_intersection(
                _luma(patches.crop[patches.cheek_left]), _luma(patches.crop[patches.cheek_right])
            ),
        },
    )


def histogram_intersection(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> float:
    """Sum of the minima of two normalised histograms of 8-bit luminance (n,), 256 bins: 1 = alike, 0 = disjoint.

    The raw score of illumination uniformity of ISO/IEC 29794-5:2025 as OFIQ computes it, on our patches
    instead of its squares.
    """
    shares = [np.bincount(values, minlength=256) / len(values) for values in (left, right)]
    return float(np.minimum(shares[0], shares[1]).sum())


def _luma(rgb: Pixels) -> NDArray[np.uint8]:
    """Rec. 709 luminance coded back to sRGB 8 bit, (n,)."""
    light = luminance(rgb)
    coded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(coded * 255), dtype=np.uint8)


def _patch_state(patches: SkinPatches) -> str:
    """``ok``, or why the three patches cannot be compared."""
    masks = (patches.cheek_left, patches.cheek_right, patches.forehead)
    if patches.frac_inside < 0.9:
        return "out_of_frame"
    if min(int(mask.sum()) for mask in masks) < SMALLEST_PATCH_PX:
        return "too_small"
    colours = [patches.crop[mask] for mask in masks]
    if max(float((rgb >= SATURATED_CODE).any(axis=1).mean()) for rgb in colours) > SATURATED_SHARE:
        return "saturated"
    lights = [luminance(rgb) for rgb in colours]
    if min(float(np.median(light)) for light in lights) < DARK_LUMINANCE:
        return "too_dark"
    if max(_deviation_stops(light) for light in lights) > OCCLUDED_STOPS or _hue_range_deg(colours) > OCCLUDED_HUE_DEG:
        return "occluded"
    return OK


def _deviation_stops(light: NDArray[np.float64]) -> float:
    stops = np.log2(np.maximum(light, DARK_LUMINANCE / 8))
    return float(_MAD_TO_SD * np.median(np.abs(stops - np.median(stops))))


def _hue_range_deg(colours: list[Pixels]) -> float:
    """Largest difference of CIELAB hue between patches that have a hue at all, 0..180."""
    hues = []
    for rgb in colours:
        lab = cv2.cvtColor((rgb[None] / np.float32(255)).astype(np.float32), cv2.COLOR_RGB2LAB)[0]
        a, b = np.median(lab[:, 1:], axis=0)
        if math.hypot(a, b) >= _HUE_CHROMA:
            hues.append(math.degrees(math.atan2(b, a)))
    return max((angle_difference_deg(one, other) for one in hues for other in hues), default=0.0)


_LIMITS = (
    "Tells light from shade only as far as both cheeks have the same skin: make-up, beard and tan lines count as "
    "light. Faces with a covered or clipped patch are left out, so the hardest light is under-represented."
)

FAMILY = Family(
    name="lighting",
    group="light",
    subject="face",
    readings=(
        Reading("lighting_ratio_stops", "face", "image-left cheek brighter than the right by", "stops"),
        Reading("lighting_unevenness_stops", "face", "difference of the cheeks", "stops", low=0.0),
        Reading("lighting_vertical_stops", "face", "forehead brighter than the cheeks by", "stops"),
        Reading("lighting_uniformity", "face", "overlap of the cheeks' histograms", "", low=0.0, high=1.0),
    ),
    states={
        OK: "measured",
        "too_small": f"outer eye corners closer than {SMALLEST_CANTHAL_PX:.0f} px, or a patch below "
        f"{SMALLEST_PATCH_PX} pixels",
        "pose": f"turned by more than {YAW_LIMIT_DEG:.0f} degrees, or looking far up or down",
        "unreadable": "not enough like a face to be read",
        "out_of_frame": "a cheek or the forehead lies outside the image",
        "saturated": "a cheek or the forehead is clipped",
        "too_dark": "a cheek or the forehead is nearly black",
        "occluded": "a cheek or the forehead is covered (hair, glasses, hand)",
    },
    measure=measure,
    traits=(
        Trait(
            name="lighting_ratio_spread",
            subject="face",
            label="spread of the light's side",
            unit="stops",
            direction="higher",
            floor=0.0,
            source="lighting ratio of photography, log2 of the cheeks' linear luminance (ITU-R BT.709)",
            readings=("lighting_ratio_stops",),
            statistic=spread_of("lighting_ratio_stops"),
            bounds=(0.0, math.inf),
            limits=_LIMITS,
        ),
        Trait(
            name="lighting_ratio",
            subject="face",
            label="side the light comes from",
            unit="stops",
            direction="reference",
            floor=0.0,
            source="lighting ratio of photography, log2 of the cheeks' linear luminance (ITU-R BT.709)",
            readings=("lighting_ratio_stops",),
            statistic=median_of("lighting_ratio_stops"),
            kind="location",
            limits=f"Positive: from the image's left. {_LIMITS}",
        ),
        Trait(
            name="lighting_unevenness",
            subject="face",
            label="contrast of the light across the face",
            unit="stops",
            direction="reference",
            floor=0.0,
            source="lighting ratio of photography, absolute value",
            readings=("lighting_unevenness_stops",),
            statistic=median_of("lighting_unevenness_stops"),
            kind="location",
            limits=_LIMITS,
        ),
        Trait(
            name="lighting_vertical",
            subject="face",
            label="light from above",
            unit="stops",
            direction="reference",
            floor=0.0,
            source="lighting ratio of photography, forehead against cheeks",
            readings=("lighting_vertical_stops",),
            statistic=median_of("lighting_vertical_stops"),
            kind="location",
            limits=f"The forehead's slope adds a constant; compare, do not read the sign alone. {_LIMITS}",
        ),
        Trait(
            name="lighting_uniformity",
            subject="face",
            label="evenness of the light",
            unit="",
            direction="reference",
            floor=0.0,
            source="ISO/IEC 29794-5:2025, illumination uniformity, raw score as in OFIQ 1.0",
            readings=("lighting_uniformity",),
            statistic=median_of("lighting_uniformity"),
            kind="location",
            limits=f"Falls also where smooth cheeks or small patches leave few grey levels to overlap. {_LIMITS}",
        ),
    ),
)
