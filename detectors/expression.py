"""Expression: smile, open mouth, raised brows, open eyes, from the geometry of the pose-normalised mesh.

Every number is a share of the outer canthal distance of the mean face (``geometry.frontal_landmarks``) unless it is a
ratio of two lengths of the same feature. "Vacancy", faces that all wear one look, is little spread.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from detectors.geometry import face_gate, frontal_landmarks, median_of, variances
from detectors.trait import (
    OK,
    Counts,
    Face,
    Family,
    Hand,
    Measurement,
    Points,
    Reading,
    ResampledStatistic,
    Sample,
    Trait,
    View,
)

SMALLEST_CANTHAL_PX = 32.0
"""About 50 px of face width; below, the lids' aperture follows the mesh's prior."""
YAW_LIMIT_DEG = 20.0
PITCH_LIMITS_DEG = (-30.0, 15.0)
"""Not symmetric about 0: a sitter who looks into the camera reads about -9 degrees, so does the mean face."""

# MediaPipe's landmark numbers.
_MOUTH_CORNERS = (61, 291)
_INNER_LIPS = (13, 14)
_BROWS = (105, 334, 66, 296, 52, 282, 65, 295)
_EYE_CORNERS = (33, 133, 263, 362)
_LIDS = (((33, 133), ((160, 144), (158, 153))), ((263, 362), ((387, 373), (385, 380))))

_FEATURES = ("expression_smile", "expression_mouth_open", "expression_brow_raise", "expression_eye_open")
_PORTRAIT_SPREADS = (0.10, 0.073, 0.024, 0.034)
"""Standard deviations of the four over 46 portraits (photographed and generated) set aside for fitting."""


def measure(view: View, subject: Face | Hand | None) -> Measurement:
    """Read the expression of one face. Returns every reading, or the state that forbids it. TypeError if not a face."""
    if not isinstance(subject, Face):
        raise TypeError(f"expression reads a face, got {type(subject).__name__}")
    state = face_gate(subject, SMALLEST_CANTHAL_PX, YAW_LIMIT_DEG, PITCH_LIMITS_DEG)
    if state != OK:
        return Measurement(state)
    frontal = frontal_landmarks(subject.landmarks_px)[:, :2]
    features = (_smile(frontal), _mouth_open(frontal), _brow_raise(frontal), _eye_open(frontal))
    return Measurement(
        OK, {**dict(zip(_FEATURES, features, strict=True)), "expression": np.array(features, dtype=np.float32)}
    )


def portrait_spread(sample: Sample, reference: Sample) -> float:
    """Mean variance (n - 1) of the four features, each in units of its variance between real portraits.

    1 = as varied as the portraits, 0 = one face for all; NaN below two subjects. A fixed unit, not the reference's own:
    a reference in which every mouth is closed has next to no variance there, and one open mouth would count a
    hundredfold.
    """
    if len(sample) < 2:
        return math.nan
    variance = np.var(np.asarray(sample["expression"], dtype=np.float64), axis=0, ddof=1)
    return float(np.mean(variance / np.square(_PORTRAIT_SPREADS)))


def _portrait_spreads(sample: Sample, counts: Counts) -> NDArray[np.float64]:
    features = np.asarray(sample["expression"], dtype=np.float64).reshape(-1, len(_PORTRAIT_SPREADS))
    told = [variances(column, counts) / spread**2 for column, spread in zip(features.T, _PORTRAIT_SPREADS, strict=True)]
    return np.asarray(np.mean(told, axis=0))


def _smile(points: Points) -> float:
    """Width of the mouth plus height of its corners above the middle of the lips: action unit 12."""
    left, right = points[list(_MOUTH_CORNERS)]
    lift = points[list(_INNER_LIPS), 1].mean() - (left[1] + right[1]) / 2
    return float(np.linalg.norm(left - right) + lift)


def _mouth_open(points: Points) -> float:
    return _length(points, _INNER_LIPS) / _length(points, _MOUTH_CORNERS)


def _brow_raise(points: Points) -> float:
    """Height of the brows above the line of the eye corners; image y grows downward."""
    return float(points[list(_EYE_CORNERS), 1].mean() - points[list(_BROWS), 1].mean())


def _eye_open(points: Points) -> float:
    """Eye aspect ratio, mean of both eyes (Soukupova & Cech 2016, eq. 1)."""
    ratios = [np.mean([_length(points, lid) for lid in lids]) / _length(points, corners) for corners, lids in _LIDS]
    return float(np.mean(ratios))


def _length(points: Points, pair: tuple[int, int]) -> float:
    return float(np.linalg.norm(points[pair[0]] - points[pair[1]]))


_FACS = "after Ekman & Friesen 1978 (facial action coding system)"
_LIMITS = "The mesh is a smooth prior: on a ruined face it draws a plausible, mild expression."


def _location(name: str, label: str, unit: str, source: str, limits: str = _LIMITS) -> Trait:
    return Trait(
        name=name,
        subject="face",
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


FAMILY = Family(
    name="expression",
    group="face",
    subject="face",
    readings=(
        Reading("expression_smile", "face", "smile: mouth width and lift of its corners", "eye distances"),
        Reading("expression_mouth_open", "face", "inner lip gap / mouth width", "", low=0.0),
        Reading("expression_brow_raise", "face", "height of the brows above the eyes", "eye distances"),
        Reading("expression_eye_open", "face", "lid gap / eye width", "", low=0.0),
        Reading("expression", "face", "smile, mouth, brows, eyes", "", kind="vector"),
    ),
    states={
        OK: "measured",
        "too_small": f"outer eye corners closer than {SMALLEST_CANTHAL_PX:.0f} px",
        "pose": f"turned by more than {YAW_LIMIT_DEG:.0f} degrees, or looking far up or down",
        "unreadable": "not enough like a face to be read",
    },
    measure=measure,
    traits=(
        Trait(
            name="expression_spread",
            subject="face",
            label="variety of expressions",
            unit="portrait variances",
            direction="higher",
            floor=0.0,
            source="trace of the covariance of four features in units of real portraits; after FACS (Ekman 1978)",
            readings=("expression",),
            statistic=ResampledStatistic(portrait_spread, _portrait_spreads),
            bounds=(0.0, math.inf),
            limits=f"Little spread is what readers call a vacant look. {_LIMITS}",
        ),
        _location("expression_smile", "smile", "eye distances", f"action unit 12, {_FACS}"),
        _location("expression_mouth_open", "open mouth", "", f"action units 25 to 27, {_FACS}"),
        _location("expression_brow_raise", "raised brows", "eye distances", f"action units 1, 2 and 4, {_FACS}"),
        _location(
            "expression_eye_open",
            "open eyes",
            "",
            "eye aspect ratio, Soukupova & Cech 2016",
            "Falls a little as the head looks up (r = -0.4); below 75 px of face width it tracks resolution. Weakest "
            "of the four: rank correlation with MediaPipe's eye blendshapes 0.66, against 0.95 for smiles.",
        ),
    ),
)
