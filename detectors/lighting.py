"""Light on the face: how many stops one cheek is brighter than the other, and how evenly the light falls.

Read in linear light on patches of skin that the face mesh places (``geometry.skin_patches``).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from detectors.geometry import PATCH_STATES, face_gate, median_of, patch_state, skin_patches_of, spread_of
from detectors.trait import OK, Face, Family, Hand, Measurement, Reading, Trait, View

SMALLEST_CANTHAL_PX = 24.0
YAW_LIMIT_DEG = 20.0
"""Beyond, the far cheek foreshortens and its patch slides onto the outline of the face."""
PITCH_LIMITS_DEG = (-30.0, 20.0)


def measure(view: View, subject: Face | Hand | None) -> Measurement:
    """Read the light on one face. Returns every reading, or the state that forbids it. TypeError if not a face."""
    if not isinstance(subject, Face):
        raise TypeError(f"lighting reads a face, got {type(subject).__name__}")
    state = face_gate(subject, SMALLEST_CANTHAL_PX, YAW_LIMIT_DEG, PITCH_LIMITS_DEG)
    if state != OK:
        return Measurement(state)
    patches = skin_patches_of(view, subject)
    state = patch_state(patches.cheek_left, patches.cheek_right)
    if state != OK:
        return Measurement(state)
    left, right = (math.log2(patch.median_luminance) for patch in (patches.cheek_left, patches.cheek_right))
    return Measurement(
        OK,
        {
            "lighting_ratio_stops": left - right,
            "lighting_unevenness_stops": abs(left - right),
            "lighting_uniformity": histogram_intersection(
                _luma(patches.cheek_left.light), _luma(patches.cheek_right.light)
            ),
        },
    )


def histogram_intersection(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> float:
    """Sum of the minima of two normalised histograms of 8-bit luminance (n,): 1 = alike, 0 = disjoint.

    The raw score of illumination uniformity of ISO/IEC 29794-5:2025 as OFIQ computes it, on our patches instead of its
    squares and with 64 bins instead of 256: two samples of 600 pixels from one distribution overlap 0.80 in 256 bins.
    """
    shares = [np.bincount(values // 4, minlength=64) / len(values) for values in (left, right)]
    return float(np.minimum(shares[0], shares[1]).sum())


def _luma(light: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Relative luminance in [0, 1] coded back to sRGB 8 bit, (n,)."""
    coded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(coded * 255), dtype=np.uint8)


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
        Reading("lighting_uniformity", "face", "overlap of the cheeks' histograms", "", low=0.0, high=1.0),
    ),
    states={
        OK: "measured",
        "pose": f"turned by more than {YAW_LIMIT_DEG:.0f} degrees, or looking far up or down",
        "unreadable": "not enough like a face to be read",
        **PATCH_STATES,
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
            sided=True,
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
            limits=f"Positive: from the image's left; catchlights agree with the side in 11 of 12 portraits. {_LIMITS}",
            sided=True,
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
            resolution=0.1,  # a histogram of smooth skin is ten bins wide: light one bin off moves it by a tenth
            limits=f"Small patches overlap less: compare faces of like size only. {_LIMITS}",
        ),
    ),
)
