"""Fingers: how many separate extended digits a hand shows, and which of them have fused, counted in pixels.

The landmark model returns five fingers whatever the picture shows, so it only locates and claims. Four
cues look at the pixels, each in its own way (colour along the claimed bones, edges across them, the outline,
a small network); a hand is counted where two of them agree, and is ``ambiguous`` otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from detectors.digits import bones, edges, network, silhouette
from detectors.digits.patch import HandPatch, cut_patch
from detectors.digits.sighting import PAIRS, Sighting
from detectors.geometry import mean_of, share_above_zero
from detectors.trait import OK, Face, Family, Hand, Measurement, Points, Reading, Sample, Trait, Value, View

SMALLEST_PX = 48.0
"""Longer side of the hand's box below which no finger is counted."""
Cue = Callable[[HandPatch], Sighting]
CUES: Mapping[str, Cue] = {
    "bones": bones.sight,
    "edges": edges.sight,
    "silhouette": silhouette.sight,
    "network": network.sight,
}
"""Colour along the claimed bones, edges across them, the outline, and what a small network makes of the whole: they
fail for different reasons. The dear ones are asked only where the cheap ones do not agree."""
BLIND_TOGETHER = {"bones", "network"}
"""These two do not confirm one another: both overlook a digit that nothing claims, and take the rest for all."""
MITTEN = frozenset(PAIRS[1:])
"""Index, middle, ring and little finger in one."""
STUB_REACH = 0.2
"""A finger's tip within this many palm lengths of its own knuckle, and ..."""
STUB_LENGTH = 0.8
"""... bones that add up to less than this share of what the extended fingers lead to expect, is how the landmark model
draws a finger that is not there. Tuned on edited photographs (even hashes): it finds 6 of 10 missing fingers and calls
1 in 100 folded ones missing."""
FEWEST_EXTENDED = 2
LENGTH_SHARES = {"index": 0.92, "middle": 1.0, "ring": 0.94, "little": 0.75}
"""Typical lengths of the fingers, over the middle one's."""


def measure(view: View, subject: Face | Hand | None) -> Measurement:
    """Count one hand's digits, or say why they cannot be counted."""
    if not isinstance(subject, Hand):
        raise TypeError(f"fingers reads hands, got {type(subject).__name__}")
    if max(subject.box.width, subject.box.height) < SMALLEST_PX:
        return Measurement("too_small")
    patch = cut_patch(view.pixels, subject)
    if patch is None:
        return Measurement("no_patch")
    agreed = agreement(CUES, patch)
    if agreed is None:
        return Measurement("ambiguous")
    return Measurement(OK, _readings(agreed, patch, subject.landmarks_px))


def agreement(cues: Mapping[str, Cue], patch: HandPatch) -> Sighting | None:
    """The first sighting that another one confirms, digits and fused pairs alike; None where no two agree.

    ``cues``: by name, the most trusted first; its names of the fingers stand where two name them differently. No cue
    is asked once two have agreed.
    """
    told: dict[str, Sighting] = {}
    for name, cue in cues.items():
        seen = cue(patch)
        if seen.state != OK:
            continue
        for other, earlier in told.items():
            alike = (earlier.count, len(earlier.fused_pairs)) == (seen.count, len(seen.fused_pairs))
            if alike and {name, other} != BLIND_TOGETHER:
                return earlier
        told[name] = seen
    return None


def stubs(landmarks_px: Points, claimed: Sequence[str]) -> tuple[str, ...]:
    """Fingers that the landmark model neither claims to be extended nor folds as a finger is folded: missing ones.

    ``landmarks_px``: (21, 3). ``claimed``: the extended digits. Nothing is said where fewer than two fingers are
    extended, by which the others' length could be judged.
    """
    chains = {name: landmarks_px[5 + 4 * i : 9 + 4 * i] for i, name in enumerate(LENGTH_SHARES)}
    lengths = {name: float(np.linalg.norm(np.diff(chain, axis=0), axis=1).sum()) for name, chain in chains.items()}
    extended = [lengths[name] / LENGTH_SHARES[name] for name in chains if name in claimed]
    if len(extended) < FEWEST_EXTENDED:
        return ()
    reach = STUB_REACH * float(np.linalg.norm(landmarks_px[9, :2] - landmarks_px[0, :2]))
    expected = STUB_LENGTH * float(np.median(extended))
    return tuple(
        name
        for name, chain in chains.items()
        if name not in claimed
        and float(np.linalg.norm(chain[3, :2] - chain[0, :2])) < reach
        and lengths[name] / LENGTH_SHARES[name] < expected
    )


def _readings(seen: Sighting, patch: HandPatch, landmarks_px: Points | None) -> dict[str, Value]:
    fused = len(seen.fused_pairs)
    claimed = extra = missing = right = math.nan
    if patch.landmarks is not None and landmarks_px is not None:
        names = bones.claimed(patch.landmarks)
        claimed = float(len(names))
        beyond = sum(len(digit.names) for digit in seen.digits) - claimed
        extra, missing = max(beyond, 0.0), max(-beyond, 0.0) + len(stubs(landmarks_px, names))
        right = float(extra == 0.0 and missing == 0.0 and fused == 0)
    return {
        "finger_count": float(seen.count),
        "finger_fused_pairs": float(fused),
        "fused_pairs": ",".join(seen.fused_pairs),
        "finger_mitten": float(set(seen.fused_pairs) >= MITTEN),
        "finger_claimed": claimed,
        "finger_extra": extra,
        "finger_missing": missing,
        "finger_right": right,
        "finger_tips": _tips(seen, patch),
    }


def _tips(seen: Sighting, patch: HandPatch) -> str:
    tips = np.array([digit.tip for digit in seen.digits], dtype=np.float64).reshape(-1, 2)
    return ";".join(f"{x:.1f},{y:.1f}" for x, y in patch.to_image(tips))


def _legible(sample: Sample, reference: Sample) -> float:
    return float(np.mean(sample["finger_state"] == OK)) if len(sample) else math.nan


_SOURCE = "agreement of two pixel cues (detectors/digits: bones, edges, silhouette, network)"
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
        Reading(
            "finger_missing",
            "hand",
            "digits claimed and not seen, or drawn as stubs by the landmark model",
            "",
            low=0.0,
            high=5.0,
        ),
        Reading("finger_right", "hand", "as many digits as claimed, none fused or missing", "", low=0.0, high=1.0),
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
            "hands with missing digits",
            "finger_missing",
            "The landmark model takes many missing fingers for folded ones; those are not seen as missing.",
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
