"""Fingers: how many separate extended digits a hand shows, and which of them have fused, counted in pixels.

The landmark model returns five fingers whatever the picture shows, so it only locates and claims. Three
cues look at the pixels, each in its own way (flanks and gaps along the claimed bones, the outline, a small
network); a hand is counted where two of them agree, and is ``ambiguous`` otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from detectors.digits import bones, silhouette
from detectors.digits.patch import HandPatch, cut_patch
from detectors.digits.sighting import PAIRS, Sighting
from detectors.geometry import mean_of, share_above_zero
from detectors.trait import OK, Face, Family, Hand, Measurement, Reading, Sample, Trait, Value, View

SMALLEST_PX = 48.0
"""Longer side of the hand's box below which no finger is counted."""
MITTEN = frozenset(PAIRS[1:])
"""Index, middle, ring and little finger in one."""


def measure(view: View, subject: Face | Hand | None) -> Measurement:
    """Count one hand's digits, or say why they cannot be counted."""
    if not isinstance(subject, Hand):
        raise TypeError(f"fingers reads hands, got {type(subject).__name__}")
    if max(subject.box.width, subject.box.height) < SMALLEST_PX:
        return Measurement("too_small")
    patch = cut_patch(view.pixels, subject)
    if patch is None:
        return Measurement("no_patch")
    agreed = agreement([bones.sight(patch), silhouette.sight(patch)])
    if agreed is None:
        return Measurement("ambiguous")
    return Measurement(OK, _readings(agreed, patch))


def agreement(sightings: Sequence[Sighting]) -> Sighting | None:
    """The first sighting that another one confirms, digits and fused pairs alike; None where no two agree.

    ``sightings``: the most trusted first; its names of the fingers stand where two name them differently.
    """
    told = [sighting for sighting in sightings if sighting.state == OK]
    for one, other in combinations(told, 2):
        if (one.count, len(one.fused_pairs)) == (other.count, len(other.fused_pairs)):
            return one
    return None


def _readings(seen: Sighting, patch: HandPatch) -> dict[str, Value]:
    claimed = math.nan if patch.landmarks is None else float(len(bones.claimed(patch.landmarks)))
    beyond = sum(len(digit.names) for digit in seen.digits) - claimed  # NaN without landmarks, and so is what follows
    fused = len(seen.fused_pairs)
    right = math.nan if math.isnan(beyond) else float(beyond == 0.0 and fused == 0)
    return {
        "finger_count": float(seen.count),
        "finger_fused_pairs": float(fused),
        "fused_pairs": ",".join(seen.fused_pairs),
        "finger_mitten": float(set(seen.fused_pairs) >= MITTEN),
        "finger_claimed": claimed,
        "finger_extra": beyond if math.isnan(beyond) else max(beyond, 0.0),
        "finger_missing": beyond if math.isnan(beyond) else max(-beyond, 0.0),
        "finger_right": right,
        "finger_tips": _tips(seen, patch),
    }


def _tips(seen: Sighting, patch: HandPatch) -> str:
    tips = np.array([digit.tip for digit in seen.digits], dtype=np.float64).reshape(-1, 2)
    return ";".join(f"{x:.1f},{y:.1f}" for x, y in patch.to_image(tips))


def _legible(sample: Sample, reference: Sample) -> float:
    return float(np.mean(sample["finger_state"] == OK)) if len(sample) else math.nan


_SOURCE = "agreement of two of three pixel cues (digits/bones.py, silhouette.py, network.py)"
_LIMITS = "Measured on photographs of hands held up to the camera; generated hands may be read less well."


def _share(name: str, label: str, reading: str, limits: str = "") -> Trait:
    """A share of hands that show a fault: none is healthy, and nothing is left once all show it."""
    return Trait(
        name=name,
        subject="hand",
        label=label,
        unit="share",
        direction="lower",
        floor=1.0,
        source=_SOURCE,
        readings=(reading,),
        statistic=share_above_zero(reading),
        bounds=(0.0, 1.0),
        limits=f"{_LIMITS} {limits}".strip(),
    )


FAMILY = Family(
    name="finger",
    group="hands",
    subject="hand",
    readings=(
        Reading("finger_count", "hand", "separate extended digits", "", low=0.0, high=10.0),
        Reading("finger_fused_pairs", "hand", "pairs of neighbouring fingers that have fused", "", low=0.0, high=4.0),
        Reading("fused_pairs", "hand", "names of the fused pairs", "", kind="word"),
        Reading("finger_mitten", "hand", "index to little finger in one", "", low=0.0, high=1.0),
        Reading("finger_claimed", "hand", "extended digits that the landmark model claims", "", low=0.0, high=5.0),
        Reading("finger_extra", "hand", "digits seen beyond those claimed", "", low=0.0, high=10.0),
        Reading("finger_missing", "hand", "digits claimed and not seen", "", low=0.0, high=5.0),
        Reading("finger_right", "hand", "as many digits as claimed, none fused", "", low=0.0, high=1.0),
        Reading("finger_tips", "hand", "tips of the digits, x,y in pixels, thumb first", "px", kind="word"),
    ),
    states={
        OK: "measured: two cues agree",
        "ambiguous": "no two cues agree, or fewer than two can tell",
        "too_small": f"longer side below {SMALLEST_PX:.0f} px",
        "no_patch": "the palm has no length or no width to cut the hand out by",
    },
    measure=measure,
    traits=(
        Trait(
            name="finger_right_count",
            subject="hand",
            label="hands with as many separate digits as their pose claims",
            unit="share",
            direction="higher",
            floor=0.0,
            source=_SOURCE,
            readings=("finger_right",),
            statistic=mean_of("finger_right"),
            bounds=(0.0, 1.0),
            limits=_LIMITS,
        ),
        _share("finger_fused", "hands with fused fingers", "finger_fused_pairs"),
        _share("finger_mitten", "hands whose four fingers are one", "finger_mitten"),
        _share("finger_extra", "hands with more digits than their pose claims", "finger_extra"),
        _share(
            "finger_missing",
            "hands with fewer digits than their pose claims",
            "finger_missing",
            "The landmark model takes most missing fingers for folded ones; those are not seen as missing.",
        ),
        Trait(
            name="finger_count",
            subject="hand",
            label="separate extended digits, shift of their distribution",
            unit="digits",
            direction="reference",
            floor=0.0,
            source=_SOURCE,
            readings=("finger_count",),
            statistic=mean_of("finger_count"),
            kind="location",
            bounds=(0.0, math.inf),
            resolution=0.5,
            limits=f"{_LIMITS} It also moves when other poses are drawn.",
        ),
        Trait(
            name="finger_legible",
            subject="hand",
            label="hands whose digits can be counted",
            unit="share",
            direction="higher",
            floor=0.0,
            source=_SOURCE,
            readings=("finger_state",),
            statistic=_legible,
            measured_states=(OK, "ambiguous"),
            bounds=(0.0, 1.0),
            limits="Side views, fists seen edge-on and crossed hands are illegible on healthy pictures too.",
        ),
    ),
)
