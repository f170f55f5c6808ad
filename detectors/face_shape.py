"""Shape of the face: cheekbones, proportions, asymmetry, and how much the faces of a generation differ.

Landmarks of the mesh are pose-normalised (``geometry.frontal_landmarks``) and read in the frontal plane.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from detectors.geometry import (
    face_gate,
    frontal_landmarks,
    largest_eigenvalue,
    median_of,
    rotation_onto,
    spread_of,
    unit_shape,
)
from detectors.trait import (
    OK,
    Face,
    Family,
    Hand,
    Measurement,
    Points,
    PreparedStatistic,
    Reading,
    Rows,
    Sample,
    Trait,
    View,
)

SMALLEST_CANTHAL_PX = 32.0
"""About 50 px of face width. On portraits shrunk below this the readings move by half of the spread between people."""
YAW_LIMIT_DEG = 15.0
"""Beyond, what the mesh's depth leaves of the yaw outweighs the asymmetry between people."""
PITCH_LIMITS_DEG = (-30.0, 15.0)
"""Not symmetric about 0: a sitter who looks into the camera reads about -9 degrees, so does the mean face."""

# MediaPipe's landmark numbers, image left with image right: brows, eyes, nose, lips, outline, cheeks.
_PAIRS = (
    *((46, 276), (53, 283), (52, 282), (65, 295), (55, 285)),
    *((33, 263), (160, 387), (158, 385), (133, 362), (153, 380), (144, 373)),
    *((98, 327), (36, 266)),
    *((61, 291), (40, 270), (37, 267), (84, 314), (91, 321), (78, 308), (81, 311), (88, 318), (178, 402)),
    *((234, 454), (93, 323), (132, 361), (58, 288), (172, 397), (136, 365), (150, 379), (176, 400)),
    *((54, 284), (103, 332), (67, 297)),
    *((116, 345), (50, 280), (205, 425)),
)
_MIDLINE = (10, 151, 168, 6, 197, 195, 4, 1, 2, 0, 13, 14, 17, 152)
_LANDMARKS = [*(left for left, _ in _PAIRS), *(right for _, right in _PAIRS), *_MIDLINE]
_MIRRORED = [*range(len(_PAIRS), 2 * len(_PAIRS)), *range(len(_PAIRS)), *range(2 * len(_PAIRS), len(_LANDMARKS))]

# Anthropometric points (Farkas 1994): zygion, gonion, nasion, gnathion, and the corners of the eyes.
_ZYGION = (234, 454)
_GONION = (172, 397)
_NASION_GNATHION = (168, 152)
_EYE_CORNERS = ((33, 133), (263, 362))


def measure(view: View, subject: Face | Hand | None) -> Measurement:
    """Read the shape of one face. Returns every reading, or the state that forbids it. TypeError if not a face."""
    if not isinstance(subject, Face):
        raise TypeError(f"face_shape reads a face, got {type(subject).__name__}")
    state = face_gate(subject, SMALLEST_CANTHAL_PX, YAW_LIMIT_DEG, PITCH_LIMITS_DEG)
    if state != OK:
        return Measurement(state)
    frontal = frontal_landmarks(subject.landmarks_px)[:, :2]
    shape = unit_shape(frontal[_LANDMARKS])
    cheekbones = _distance(frontal, _ZYGION)
    eyes = [frontal[list(corners)].mean(axis=0) for corners in _EYE_CORNERS]
    return Measurement(
        OK,
        {
            "face_cheekbone_jaw_ratio": cheekbones / _distance(frontal, _GONION),
            "face_width_height_ratio": cheekbones / _distance(frontal, _NASION_GNATHION),
            "face_eye_spacing": float(np.linalg.norm(eyes[0] - eyes[1])) / cheekbones,
            "face_asymmetry": asymmetry(shape),
            "face_shape": shape.ravel().astype(np.float32),
        },
    )


def asymmetry(shape: Points) -> float:
    """Object asymmetry of a unit shape (86, 2) in the order of this file: half the distance to its mirror image.

    Root mean square over landmarks of half the residual between the shape and its reflected, relabelled copy after
    Procrustes superimposition, in units of the shape's root-mean-square radius: 0 for a mirror-symmetric face
    (Klingenberg, Barluenga & Meyer 2002, doi:10.1111/j.0014-3820.2002.tb00117.x).
    """
    mirrored = (shape * (-1.0, 1.0))[_MIRRORED]
    residual = shape - mirrored @ rotation_onto(mirrored, shape)
    return float(np.sqrt((residual**2).sum(axis=1).mean()) / 2)


def shape_variance(shapes: NDArray[np.float64]) -> float:
    """Total variance of 2-D shapes (n, 2 k) about their full Procrustes mean, unbiased (n - 1); NaN below two shapes.

    Generalised Procrustes analysis in closed form: with centred unit configurations z as complex vectors, the mean
    shape is the leading eigenvector of sum z z^H, and the squared full Procrustes distances to it sum to n minus the
    leading eigenvalue (Kent 1994; Dryden & Mardia 2016, section 8.3). 0 = all alike, 1 = nothing in common.
    """
    return _variance_of_units(_unit_configurations(shapes))


def _unit_configurations(shapes: NDArray[np.float64]) -> NDArray[np.complex128]:
    z = shapes[:, 0::2] + 1j * shapes[:, 1::2]
    z = z - z.mean(axis=1, keepdims=True)
    return np.asarray(z / np.linalg.norm(z, axis=1, keepdims=True))


def _variance_of_units(z: NDArray[np.complex128]) -> float:
    n = len(z)
    if n < 2:
        return float("nan")
    gram = z @ z.conj().T if n <= z.shape[1] else z.T @ z.conj()
    return max(n - largest_eigenvalue(gram), 0.0) / (n - 1)


def _distance(points: Points, pair: tuple[int, int]) -> float:
    return float(np.linalg.norm(points[pair[0]] - points[pair[1]]))


def _variance_of_generation(sample: Sample, reference: Sample) -> Callable[[Rows, Rows], float]:
    z = _unit_configurations(np.asarray(sample["face_shape"], dtype=np.float64))
    return lambda rows, _: _variance_of_units(z[rows])


_MESH_NOISE = (
    "The mesh is a smooth prior: on a ruined face it draws a plausible one, so variety falls slowly there and may "
    "rise where it loses hold; read it beside the measured share. Its own noise, seen by mirroring 90 portraits, is "
    "8 % of the variance of shapes and 0.2 to 0.35 of the spread of a ratio between people (a shift by one pixel or "
    "JPEG quality 95: a fifth of that)."
)

FAMILY = Family(
    name="face_shape",
    group="face",
    subject="face",
    readings=(
        Reading("face_cheekbone_jaw_ratio", "face", "cheekbone width / jaw width", "", low=0.0),
        Reading("face_width_height_ratio", "face", "cheekbone width / face height", "", low=0.0),
        Reading("face_eye_spacing", "face", "distance of the eyes / cheekbone width", "", low=0.0),
        Reading("face_asymmetry", "face", "asymmetry of the face", "shape radii", low=0.0),
        Reading("face_shape", "face", "aligned landmarks (86 x, y pairs)", "shape radii", kind="vector"),
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
            name="face_shape_variance",
            subject="face",
            label="variety of face shapes",
            unit="squared Procrustes distance",
            direction="higher",
            floor=0.0,
            source="Kent 1994; Dryden & Mardia 2016, Statistical Shape Analysis, 8.3 (full Procrustes, per generation)",
            readings=("face_shape",),
            statistic=PreparedStatistic(_variance_of_generation),
            bounds=(0.0, 1.0),
            limits=f"Expression counts as shape: lips and brows are among the landmarks. {_MESH_NOISE}",
        ),
        Trait(
            name="face_cheekbone_spread",
            subject="face",
            label="spread of cheekbone-to-jaw ratios",
            unit="",
            direction="higher",
            floor=0.0,
            source="bizygomatic over bigonial width, Farkas 1994, Anthropometry of the Head and Face",
            readings=("face_cheekbone_jaw_ratio",),
            statistic=spread_of("face_cheekbone_jaw_ratio"),
            bounds=(0.0, float("inf")),
            limits=f"Hair over the jaw leaves the outline to the mesh's prior. {_MESH_NOISE}",
        ),
        Trait(
            name="face_cheekbone_location",
            subject="face",
            label="cheekbone-to-jaw ratio",
            unit="",
            direction="reference",
            floor=0.0,
            source="bizygomatic over bigonial width, Farkas 1994, Anthropometry of the Head and Face",
            readings=("face_cheekbone_jaw_ratio",),
            statistic=median_of("face_cheekbone_jaw_ratio"),
            kind="location",
            limits="Falls a little (r = -0.3) as the head looks up. Hair over the jaw leaves the outline to the mesh.",
        ),
        Trait(
            name="face_width_height_spread",
            subject="face",
            label="spread of width-to-height ratios",
            unit="",
            direction="higher",
            floor=0.0,
            source="inverse facial index, bizygomatic width over nasion-gnathion height, Farkas 1994",
            readings=("face_width_height_ratio",),
            statistic=spread_of("face_width_height_ratio"),
            bounds=(0.0, float("inf")),
            limits=f"An open mouth lengthens the face. {_MESH_NOISE}",
        ),
        Trait(
            name="face_eye_spacing_spread",
            subject="face",
            label="spread of eye spacing",
            unit="",
            direction="higher",
            floor=0.0,
            source="distance of the eyes' centres over bizygomatic width, after Farkas 1994",
            readings=("face_eye_spacing",),
            statistic=spread_of("face_eye_spacing"),
            bounds=(0.0, float("inf")),
            limits=_MESH_NOISE,
        ),
        Trait(
            name="face_asymmetry",
            subject="face",
            label="asymmetry of faces",
            unit="shape radii",
            direction="reference",
            floor=0.0,
            source="Klingenberg, Barluenga & Meyer 2002, doi:10.1111/j.0014-3820.2002.tb00117.x",
            readings=("face_asymmetry",),
            statistic=median_of("face_asymmetry"),
            kind="location",
            resolution=0.002,
            limits=(
                "Training with random horizontal flips makes a generator symmetric by itself. Weak for one face: a "
                "mirrored portrait reads with a deviation of 0.002, against 0.007 between portraits and 0.003 between "
                "strictly frontal ones, and the head's turn adds to it (r = 0.5 with |yaw| up to 15 degrees). A "
                "one-sided smile counts too."
            ),
            sided=True,
        ),
    ),
)
