"""Gaze as the image shows it: where each iris sits between the corners of its eye, and whether the two agree.

This is the position of the iris in the opening, in eye widths, not a direction in space: no eyeball is
fitted and the turn of the head is not taken out, so it compares pictures of like pose with one another.
"""

from __future__ import annotations

import math

import numpy as np

from detectors.geometry import EYE_STATES, eye_gate, median_of, rotate, spread_of
from detectors.trait import OK, Eye, Face, Family, Hand, Measurement, Reading, Trait, Value, View

YAW_LIMIT_DEG = 25.0
"""Beyond, the nearer eye is seen from the side and its iris leaves the middle without any movement of the eye."""
PITCH_LIMITS_DEG = (-35.0, 20.0)
"""Not symmetric about 0: a sitter who looks into the camera reads about -9 degrees."""


def measure(view: View, subject: Face | Hand | None) -> Measurement:
    """Read both eyes' gaze offsets and their disagreement. TypeError if not given a face.

    The face's state is ``ok`` where both eyes' are; otherwise the first state that is not, image-left first.
    """
    if not isinstance(subject, Face):
        raise TypeError(f"gaze reads a face, got {type(subject).__name__}")
    left, right = (_read_eye(subject, eye) for eye in subject.eyes)
    state = next((eye.state for eye in (left, right) if eye.state != OK), OK)
    return Measurement(state, _pair_values(left, right) if state == OK else {}, (left, right))


def _read_eye(face: Face, eye: Eye) -> Measurement:
    state = eye_gate(face, eye, YAW_LIMIT_DEG, PITCH_LIMITS_DEG)
    if state != OK or eye.limbus is None:
        return Measurement(state)
    lids = rotate(eye.lid_px, -face.roll_deg)
    left, right = lids[np.argmin(lids[:, 0])], lids[np.argmax(lids[:, 0])]
    width = float(right[0] - left[0])
    iris = rotate(np.array([[eye.limbus.x, eye.limbus.y]]), -face.roll_deg)[0]
    x, y = (iris - (left + right) / 2) / width
    return Measurement(OK, {"gaze_x": float(x), "gaze_y": float(y)})


def _pair_values(left: Measurement, right: Measurement) -> dict[str, Value]:
    (x_left, y_left), (x_right, y_right) = (
        (float(eye.values["gaze_x"]), float(eye.values["gaze_y"])) for eye in (left, right)
    )
    return {
        "gaze_vergence": x_left - x_right,
        "gaze_vertical_difference": y_left - y_right,
        "gaze_mean_x": (x_left + x_right) / 2,
        "gaze_mean_y": (y_left + y_right) / 2,
    }


_LIMITS = (
    "An offset in the picture, not an angle in space: eye shape and head turn are in it. "
    "The corners are the landmark model's, good to about 0.03 eye widths."
)
_SOURCE = "iris centre against the eye corners, as in Valenti & Gevers 2012, doi:10.1109/TPAMI.2011.251"

FAMILY = Family(
    name="gaze",
    group="eyes",
    subject="face",
    readings=(
        Reading("gaze_x", "eye", "iris off the middle of the eye, to the image's right", "eye widths", low=-1, high=1),
        Reading("gaze_y", "eye", "iris off the line through the eye's corners, downward", "eye widths", low=-1, high=1),
        Reading(
            "gaze_vergence", "face", "inward turn: image-left minus image-right gaze_x", "eye widths", low=-2, high=2
        ),
        Reading(
            "gaze_vertical_difference", "face", "image-left minus image-right gaze_y", "eye widths", low=-2, high=2
        ),
        Reading("gaze_mean_x", "face", "mean gaze_x of both eyes", "eye widths", low=-1, high=1),
        Reading("gaze_mean_y", "face", "mean gaze_y of both eyes", "eye widths", low=-1, high=1),
    ),
    states={OK: "both eye corners and the limbus were found", **EYE_STATES},
    measure=measure,
    traits=(
        Trait(
            name="gaze_spread",
            subject="face",
            label="spread of gaze",
            unit="eye widths",
            direction="higher",
            floor=0.0,
            source=_SOURCE,
            readings=("gaze_mean_x", "gaze_mean_y"),
            statistic=spread_of("gaze_mean_x", "gaze_mean_y"),
            expects="face",
            bounds=(0.0, math.inf),
            limits=_LIMITS,
            sided=True,
        ),
        Trait(
            name="gaze_vergence",
            subject="face",
            label="vergence of the two eyes",
            unit="eye widths",
            direction="reference",
            floor=0.0,
            source=_SOURCE,
            readings=("gaze_vergence",),
            statistic=median_of("gaze_vergence"),
            kind="location",
            resolution=0.02,  # difference between a portrait and its mirror image
            expects="face",
            limits="Positive: eyes turned toward one another. Corners at different heights and the inner corner's "
            "fold shift it by a constant that differs between people. " + _LIMITS,
        ),
        Trait(
            name="gaze_misalignment",
            subject="face",
            label="height difference of the two irises",
            unit="eye widths",
            direction="reference",
            floor=0.0,
            source=_SOURCE,
            readings=("gaze_vertical_difference",),
            statistic=median_of("gaze_vertical_difference"),
            kind="location",
            resolution=0.02,  # difference between a portrait and its mirror image
            expects="face",
            limits=_LIMITS,
        ),
    ),
)
