"""Light from above: how many stops the forehead is brighter than the cheeks.

A family of its own, because a fringe hides many foreheads whose cheeks can be read (``detectors.lighting``).
"""

from __future__ import annotations

import math

from detectors.geometry import PATCH_STATES, face_gate, median_of, patch_state, skin_patches_of, spread_of
from detectors.trait import OK, Face, Family, Hand, Measurement, Reading, Trait, View

SMALLEST_CANTHAL_PX = 24.0
YAW_LIMIT_DEG = 20.0
"""Beyond, the far cheek foreshortens and its patch slides onto the outline of the face."""
PITCH_LIMITS_DEG = (-30.0, 20.0)


def measure(view: View, subject: Face | Hand | None) -> Measurement:
    """Read the light on one face. Returns every reading, or the state that forbids it. TypeError if not a face."""
    if not isinstance(subject, Face):
        raise TypeError(f"lighting_vertical reads a face, got {type(subject).__name__}")
    state = face_gate(subject, SMALLEST_CANTHAL_PX, YAW_LIMIT_DEG, PITCH_LIMITS_DEG)
    if state != OK:
        return Measurement(state)
    patches = skin_patches_of(view, subject)
    parts = (patches.cheek_left, patches.cheek_right, patches.forehead)
    state = patch_state(*parts)
    if state != OK:
        return Measurement(state)
    left, right, top = (math.log2(part.median_luminance) for part in parts)
    return Measurement(OK, {"lighting_vertical_stops": top - (left + right) / 2})


_LIMITS = (
    "The forehead's slope adds a constant: compare, do not read the sign alone. Repeatable (a mirrored portrait reads "
    "within 0.02 stops), but the height of catchlights did not confirm it on 14 portraits: foreheads and cheeks differ "
    "in skin too. Fringes and hats leave faces out."
)

FAMILY = Family(
    name="lighting_vertical",
    group="light",
    subject="face",
    readings=(Reading("lighting_vertical_stops", "face", "forehead brighter than the cheeks by", "stops"),),
    states={
        OK: "measured",
        "pose": f"turned by more than {YAW_LIMIT_DEG:.0f} degrees, or looking far up or down",
        "unreadable": "not enough like a face to be read",
        **PATCH_STATES,
    },
    measure=measure,
    traits=(
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
            limits=_LIMITS,
        ),
        Trait(
            name="lighting_vertical_spread",
            subject="face",
            label="spread of light from above",
            unit="stops",
            direction="higher",
            floor=0.0,
            source="lighting ratio of photography, forehead against cheeks",
            readings=("lighting_vertical_stops",),
            statistic=spread_of("lighting_vertical_stops"),
            bounds=(0.0, math.inf),
            limits=_LIMITS,
        ),
    ),
)
