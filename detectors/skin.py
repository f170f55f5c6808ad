"""Skin tone: lightness, hue, chroma and the individual typology angle, from the cheeks and what matches them above.

Tone in a picture is skin times light: these readings do not tell a pale person from a bright lamp.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from detectors.geometry import (
    PATCH_STATES,
    SkinPatches,
    face_gate,
    median_of,
    patch_state,
    resultant_length,
    resultants,
    robust_deviation,
    skin_patches_of,
    spread_of,
)
from detectors.trait import (
    OK,
    Counts,
    Face,
    Family,
    Hand,
    Measurement,
    Reading,
    ResampledStatistic,
    Sample,
    Trait,
    View,
)

SMALLEST_CANTHAL_PX = 24.0
YAW_LIMIT_DEG = 30.0
PITCH_LIMITS_DEG = (-35.0, 25.0)
HUE_CHROMA = 4.0
"""Below this chroma the hue is the noise of near-grey pixels; such faces do not enter the spread of hue."""
_SKIN_DEVIATIONS = 3.0
_SMALLEST_DEVIATION = (2.0, 1.0, 1.0)  # CIELAB; smooth drawn skin has a median absolute deviation of nearly zero


def measure(view: View, subject: Face | Hand | None) -> Measurement:
    """Read the skin tone of one face. Returns every reading, or the state that forbids it. TypeError if not a face."""
    if not isinstance(subject, Face):
        raise TypeError(f"skin reads a face, got {type(subject).__name__}")
    state = face_gate(subject, SMALLEST_CANTHAL_PX, YAW_LIMIT_DEG, PITCH_LIMITS_DEG)
    if state != OK:
        return Measurement(state)
    patches = skin_patches_of(view, subject)
    state = patch_state(patches.cheek_left, patches.cheek_right)
    if state != OK:
        return Measurement(state)
    lightness, a, b = (float(value) for value in np.median(_skin_pixels(patches), axis=0))
    return Measurement(
        OK,
        {
            "skin_l": lightness,
            "skin_chroma": math.hypot(a, b),
            "skin_hue_deg": math.degrees(math.atan2(b, a)),
            "skin_ita_deg": individual_typology_deg(lightness, b),
        },
    )


def individual_typology_deg(lightness: float, b: float) -> float:
    """Individual typology angle, atan((L* - 50) / b*) in degrees: > 55 very light, < -30 dark.

    Chardon, Cretois & Hourseau 1991, doi:10.1111/j.1467-2494.1991.tb00561.x. Written with atan2, so that it
    stays continuous as b* passes zero (grey or blue-lit skin).
    """
    return math.degrees(math.atan2(lightness - 50.0, b))


def hue_spread_deg(sample: Sample, reference: Sample) -> float:
    """Circular standard deviation of the hue, sqrt(-2 ln R) in degrees (Mardia & Jupp 2000, eq. 2.3.11).

    Faces without a hue are left out; NaN below two.
    """
    hues = sample.numbers("skin_hue_deg")[_has_hue(sample)]
    if len(hues) < 2:
        return math.nan
    return math.degrees(math.sqrt(max(-2.0 * math.log(max(resultant_length(hues), 1e-12)), 0.0)))


def _hue_spreads_deg(sample: Sample, counts: Counts) -> NDArray[np.float64]:
    has_hue = _has_hue(sample)
    length = resultants(sample.numbers("skin_hue_deg")[has_hue], counts[:, has_hue])
    return np.asarray(np.degrees(np.sqrt(np.maximum(-2.0 * np.log(np.maximum(length, 1e-12)), 0.0))))


def _has_hue(sample: Sample) -> NDArray[np.bool_]:
    return np.asarray(sample.numbers("skin_chroma") >= HUE_CHROMA)


def _skin_pixels(patches: SkinPatches) -> NDArray[np.float32]:
    """CIELAB (n, 3) of the pixels that look like the cheeks: glints, strands of hair and rims are left out."""
    cheeks = np.concatenate([patches.cheek_left.lab, patches.cheek_right.lab])
    centre = np.median(cheeks, axis=0)
    widths = [max(robust_deviation(cheeks[:, i]), _SMALLEST_DEVIATION[i]) for i in range(3)]
    pixels = np.concatenate([cheeks, patches.forehead.lab]) if len(patches.forehead.rgb) else cheeks
    alike = (np.abs(pixels - centre) <= _SKIN_DEVIATIONS * np.array(widths)).all(axis=1)
    return np.asarray(pixels[alike] if alike.any() else cheeks)


_ITA = "individual typology angle, Chardon, Cretois & Hourseau 1991, doi:10.1111/j.1467-2494.1991.tb00561.x"
_CIELAB = "CIELAB, CIE 15:2018, median over cheeks and forehead"
_LIMITS = "Skin times light: exposure, white balance and coloured light move it as much as the person does."


def _location(name: str, reading: str, label: str, unit: str, source: str) -> Trait:
    return Trait(
        name=name,
        subject="face",
        label=label,
        unit=unit,
        direction="reference",
        floor=0.0,
        source=source,
        readings=(reading,),
        statistic=median_of(reading),
        kind="location",
        limits=_LIMITS,
    )


FAMILY = Family(
    name="skin",
    group="face",
    subject="face",
    readings=(
        Reading("skin_l", "face", "lightness of the skin", "L*", low=0.0, high=100.0),
        Reading("skin_chroma", "face", "chroma of the skin", "C*ab", low=0.0),
        Reading("skin_hue_deg", "face", "hue of the skin", "degrees", low=-180.0, high=180.0),
        Reading("skin_ita_deg", "face", "individual typology angle", "degrees", low=-180.0, high=180.0),
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
            name="skin_tone_spread",
            subject="face",
            label="variety of skin tones",
            unit="degrees",
            direction="higher",
            floor=0.0,
            source=_ITA,
            readings=("skin_ita_deg",),
            statistic=spread_of("skin_ita_deg"),
            bounds=(0.0, 360.0),
            limits=_LIMITS,
        ),
        Trait(
            name="skin_hue_spread",
            subject="face",
            label="variety of skin hues",
            unit="degrees",
            direction="higher",
            floor=0.0,
            source="circular standard deviation, Mardia & Jupp 2000, eq. 2.3.11, of the CIELAB hue",
            readings=("skin_hue_deg", "skin_chroma"),
            statistic=ResampledStatistic(hue_spread_deg, _hue_spreads_deg),
            bounds=(0.0, math.inf),
            limits=f"Faces below chroma {HUE_CHROMA:.0f} have no hue and are left out. {_LIMITS}",
        ),
        _location("skin_tone", "skin_ita_deg", "skin tone", "degrees", _ITA),
        _location("skin_lightness", "skin_l", "lightness of the skin", "L*", _CIELAB),
        _location("skin_hue", "skin_hue_deg", "hue of the skin", "degrees", _CIELAB),
        _location("skin_chroma", "skin_chroma", "chroma of the skin", "C*ab", _CIELAB),
    ),
)
