"""The iris itself: where it is, how much of it shows, its colour, and how alike the two are."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from detectors.geometry import EYE_STATES, IrisPatch, eye_gate, iris_patch_of, lab, median_of, quantile, spread_of
from detectors.trait import OK, Eye, Face, Family, Hand, Measurement, Reading, Trait, Value, View

YAW_LIMIT_DEG = 40.0
PITCH_LIMITS_DEG = (-40.0, 30.0)
"""Not symmetric about 0: a sitter who looks into the camera reads about -9 degrees."""

# Radii in iris radii. The pupil is narrower than the ring's inside in all but the widest-open pupils.
_RING = (0.55, 0.88)
_BELOW = -0.35  # the upper lid's shadow ends about here (v, downward)
_LID_MARGIN = 0.08
_FEWEST_PIXELS, _FEWEST_SCLERA_PIXELS = 12, 4
_BRIGHTEST_SHARE = 0.1  # of the ring, left out as glints


def measure(view: View, subject: Face | Hand | None) -> Measurement:
    """Read both irises and their difference. TypeError if not given a face.

    The face's state is ``ok`` where both eyes' are; otherwise the first state that is not, image-left first.
    """
    if not isinstance(subject, Face):
        raise TypeError(f"iris reads a face, got {type(subject).__name__}")
    left, right = (_read_eye(view, subject, eye) for eye in subject.eyes)
    state = next((eye.state for eye in (left, right) if eye.state != OK), OK)
    values: dict[str, Value] = {}
    if state == OK:
        values = {"iris_colour_difference": float(np.linalg.norm(_colour(left) - _colour(right)))}
    return Measurement(state, values, (left, right))


def _colour(eye: Measurement) -> NDArray[np.float64]:
    return np.array([eye.values[f"iris_{channel}"] for channel in "lab"], dtype=np.float64)


def _read_eye(view: View, face: Face, eye: Eye) -> Measurement:
    state = eye_gate(face, eye, YAW_LIMIT_DEG, PITCH_LIMITS_DEG)
    if state != OK or eye.limbus is None:
        return Measurement(state)
    patch = iris_patch_of(view, eye)
    open_disc = (patch.rho <= 1.0) & (patch.depth > 0)
    ring = _ring(patch, eye.limbus.y, eye.limbus.radius)
    sclera = (patch.rho > 1.12) & (patch.rho < 1.45) & (patch.depth > _LID_MARGIN)
    if ring.sum() < _FEWEST_PIXELS:
        return Measurement("occluded")
    if sclera.sum() < _FEWEST_SCLERA_PIXELS:
        return Measurement("no_sclera")
    light = patch.light
    matte = ring & (light <= quantile(light[ring], 1.0 - _BRIGHTEST_SHARE))
    lightness, a, b = (float(channel) for channel in np.median(lab(patch.rgb)[matte], axis=0))
    white = float(np.median(light[sclera])) + 0.005
    return Measurement(
        OK,
        {
            "iris_x_px": eye.limbus.x,
            "iris_y_px": eye.limbus.y,
            "iris_radius_px": eye.limbus.radius,
            "iris_visible_frac": min(1.0, float(open_disc.sum()) / (math.pi * eye.limbus.radius**2)),
            "iris_l": lightness,
            "iris_a": a,
            "iris_b": b,
            "iris_hue_deg": math.degrees(math.atan2(b, a)) % 360.0,
            "iris_contrast_stops": math.log2(white / (float(np.median(light[matte])) + 0.005)),
        },
    )


def _ring(patch: IrisPatch, centre_y: float, radius: float) -> NDArray[np.bool_]:
    """Iris without pupil, limbal ring, lids and the upper lid's shadow."""
    v = (patch.y - centre_y) / radius
    return (patch.rho >= _RING[0]) & (patch.rho <= _RING[1]) & (v > _BELOW) & (patch.depth > _LID_MARGIN)


_COLOUR_SOURCE = "CIELAB, CIE 15:2018; median of the iris ring without pupil and glints (this file)"
_COLOUR_LIMITS = "Light and white balance of the picture are in it. Below 8 px iris radius sclera and pupil mix in."

FAMILY = Family(
    name="iris",
    group="eyes",
    subject="face",
    readings=(
        Reading("iris_x_px", "eye", "iris centre, x", "px"),
        Reading("iris_y_px", "eye", "iris centre, y (downward)", "px"),
        Reading("iris_radius_px", "eye", "iris radius", "px", low=0),
        Reading("iris_visible_frac", "eye", "share of the iris between the lids", "", low=0, high=1),
        Reading("iris_l", "eye", "iris lightness", "CIELAB L*", low=0, high=100),
        Reading("iris_a", "eye", "iris, green to red", "CIELAB a*"),
        Reading("iris_b", "eye", "iris, blue to yellow", "CIELAB b*"),
        Reading("iris_hue_deg", "eye", "iris hue angle", "degrees", low=0, high=360),
        Reading("iris_contrast_stops", "eye", "sclera against iris", "stops"),
        Reading("iris_colour_difference", "face", "colour difference between the two irises", "CIELAB 1976", low=0),
    ),
    states={
        OK: "the iris was read",
        **EYE_STATES,
        "no_sclera": "no sclera shows beside the iris to compare it with",
    },
    measure=measure,
    traits=(
        Trait(
            name="iris_colour_spread",
            subject="eye",
            label="spread of iris colours",
            unit="CIELAB",
            direction="higher",
            floor=0.0,
            source=_COLOUR_SOURCE,
            readings=("iris_l", "iris_a", "iris_b"),
            statistic=spread_of("iris_l", "iris_a", "iris_b"),
            expects="face",
            bounds=(0.0, math.inf),
            limits=_COLOUR_LIMITS,
        ),
        Trait(
            name="iris_heterochromia",
            subject="face",
            label="colour difference between the two irises",
            unit="CIELAB 1976",
            direction="reference",
            floor=0.0,
            source=_COLOUR_SOURCE,
            readings=("iris_colour_difference",),
            statistic=median_of("iris_colour_difference"),
            kind="location",
            resolution=3.0,  # what side light alone makes
            expects="face",
            bounds=(0.0, math.inf),
            limits="Side light alone makes a difference of a few units. " + _COLOUR_LIMITS,
            sided=True,
        ),
        Trait(
            name="iris_contrast",
            subject="eye",
            label="sclera against iris",
            unit="stops",
            direction="reference",
            floor=0.0,
            source="log2 of the ratio of linear luminances (ITU-R BT.709)",
            readings=("iris_contrast_stops",),
            statistic=median_of("iris_contrast_stops"),
            kind="location",
            expects="face",
            limits=_COLOUR_LIMITS,
        ),
        Trait(
            name="iris_openness",
            subject="eye",
            label="share of the iris between the lids",
            unit="share",
            direction="reference",
            floor=0.0,
            source="refined limbus inside the landmark model's lids (this file)",
            readings=("iris_visible_frac",),
            statistic=median_of("iris_visible_frac"),
            kind="location",
            expects="face",
            bounds=(0.0, 1.0),
            limits="The lids are the landmark model's: they follow its idea of an eye where the picture shows none.",
        ),
        Trait(
            name="iris_openness_spread",
            subject="eye",
            label="spread of how far the eyes are open",
            unit="share",
            direction="higher",
            floor=0.0,
            source="refined limbus inside the landmark model's lids (this file)",
            readings=("iris_visible_frac",),
            statistic=spread_of("iris_visible_frac"),
            expects="face",
            bounds=(0.0, 1.0),
            limits="The lids are the landmark model's: they follow its idea of an eye where the picture shows none.",
        ),
    ),
)
