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
from detectors.digits.patch import CENTRE, PALM_PX, PATCH_PX, HandPatch, cut_patch
from detectors.digits.sighting import EXTRA, PAIRS, Digit, Sighting
from detectors.geometry import lab, mean_of, share_above_zero, share_in_state
from detectors.trait import OK, ErrorRates, Face, Family, Hand, Measurement, Points, Reading, Trait, Value, View

SMALLEST_PX = 48.0
"""Longer side of the hand's box below which no finger is counted."""
Cue = Callable[[HandPatch], Sighting]
CUES: Mapping[str, Cue] = {
    "edges": edges.sight,
    "network": network.sight,
    "bones": bones.sight,
    "silhouette": silhouette.sight,
}
"""Edges across the claimed bones, what a small network makes of the whole, colour along the bones, the outline: they
fail for different reasons. The dear ones are asked only where the cheap ones do not agree."""
BLIND_TOGETHER = {"bones", "network"}
"""These two do not confirm one another: both overlook a digit that nothing claims, and take the rest for all."""
SAME_POSES = {"bones", "edges"}
"""Both take from the landmarks which fingers are folded: they do not confirm one another against the network's word."""
CUT_OFF = 0.06
"""A landmark nearer to the picture's edge than this many palm lengths, or beyond it: digits may be out of sight."""
WHOLE = 0.8
"""Of a palm without landmarks, at least this share of the patch above it must lie in the picture."""
OWN_COLOUR = 20.0
"""An extra digit whose colour differs by more than this (CIE76) from every other digit's is a thing, not a finger."""
MITTEN = frozenset(PAIRS[1:])
"""Index, middle, ring and little finger in one."""
BELOW_TIP_PX = 8.0
"""Where a digit's colour is taken, in patch pixels from its tip toward the palm."""
STUB_REACH = 0.2
"""A finger's tip within this many palm lengths of its own knuckle, and ..."""
STUB_LENGTH = 0.8
"""... bones that add up to less than this share of what the extended fingers lead to expect, is how the landmark model
draws a finger that is not there. Tuned on edited photographs (even hashes); how often it errs: docs/accuracy.md."""
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
    if _cut_off(view, subject, patch):
        return Measurement("cut_off")
    agreed = agreement(CUES, patch)
    if agreed is None or not _of_one_colour(patch, agreed):
        return Measurement("ambiguous")
    return Measurement(OK, _readings(agreed, patch, subject.landmarks_px))


def _cut_off(view: View, hand: Hand, patch: HandPatch) -> bool:
    """Whether a finger's landmark lies at the picture's edge; of a palm alone, whether the patch above it leaves it."""
    if hand.landmarks_px is None:
        return float(patch.inside[: int(CENTRE[1])].mean()) < WHOLE
    height, width = view.pixels.shape[:2]
    margin = CUT_OFF * PALM_PX * patch.px_per_px - 0.5
    room = np.array([width - 1.0, height - 1.0]) - hand.landmarks_px[1:, :2]  # the wrist may leave the picture
    return bool((hand.landmarks_px[1:, :2] < margin).any() or (room < margin).any())


def _of_one_colour(patch: HandPatch, seen: Sighting) -> bool:
    """False where an extra digit has none of the other digits' colours: a pen in the hand is no finger."""
    extra = [digit for digit in seen.digits if digit.names == (EXTRA,)]
    others = [_colour(patch, digit) for digit in seen.digits if digit.names != (EXTRA,)]
    return not others or all(
        min(float(np.linalg.norm(_colour(patch, digit) - other)) for other in others) <= OWN_COLOUR for digit in extra
    )


def _colour(patch: HandPatch, digit: Digit) -> Points:
    """CIELAB of a digit a little below its tip, (3,)."""
    toward = np.asarray(CENTRE) - digit.tip
    x, y = np.asarray(digit.tip) + toward * (BELOW_TIP_PX / max(float(np.linalg.norm(toward)), BELOW_TIP_PX))
    x, y = (int(np.clip(v, 2, PATCH_PX - 3)) for v in (x, y))
    return np.asarray(np.median(lab(patch.pixels[y - 2 : y + 3, x - 2 : x + 3]).reshape(-1, 3), axis=0), np.float64)


def agreement(cues: Mapping[str, Cue], patch: HandPatch) -> Sighting | None:
    """The first sighting that another one confirms, digits and fused pairs alike; None where no two agree.

    ``cues``: by name, the most trusted first; its names of the fingers stand where two name them differently. No cue
    is asked once two have agreed, nor the last one where no other has spoken.
    """
    told: dict[str, Sighting] = {}
    *_, last = cues
    for name, cue in cues.items():
        if name == last and not told:
            break  # it would find nobody to agree with
        seen = cue(patch)
        if seen.state != OK:
            continue
        for other, earlier in told.items():
            pair = {name, other}
            # A fist needs an eye that does not take folded fingers from the landmarks: these fold a mitten's, too.
            against = pair == SAME_POSES and (not seen.digits or _contradicted(seen, told.get("network")))
            if _alike(earlier, seen) and pair != BLIND_TOGETHER and not against:
                return earlier
        told[name] = seen
    return None


def _contradicted(seen: Sighting, by: Sighting | None) -> bool:
    return by is not None and not _alike(by, seen)


def _alike(one: Sighting, other: Sighting) -> bool:
    return (one.count, len(one.fused_pairs)) == (other.count, len(other.fused_pairs))


def stubs(landmarks_px: Points, claimed: Sequence[str]) -> tuple[str, ...]:
    """Fingers that the landmark model neither claims to be extended nor folds as a finger is folded: missing ones.

    ``landmarks_px``: (21, 3). ``claimed``: the extended digits. Nothing is said where fewer than two fingers are
    extended, by which the others' length could be judged, nor of a finger beside a folded one.
    """
    chains = {name: landmarks_px[5 + 4 * i : 9 + 4 * i] for i, name in enumerate(LENGTH_SHARES)}
    lengths = {name: float(np.linalg.norm(np.diff(chain, axis=0), axis=1).sum()) for name, chain in chains.items()}
    extended = [lengths[name] / LENGTH_SHARES[name] for name in chains if name in claimed]
    if len(extended) < FEWEST_EXTENDED:
        return ()
    fingers = list(chains)
    beside = {name: fingers[max(i - 1, 0) : i + 2] for i, name in enumerate(fingers)}
    reach = STUB_REACH * float(np.linalg.norm(landmarks_px[9, :2] - landmarks_px[0, :2]))
    expected = STUB_LENGTH * float(np.median(extended))
    return tuple(
        name
        for name, chain in chains.items()
        if name not in claimed
        and all(other in claimed for other in beside[name] if other != name)
        and float(np.linalg.norm(chain[3, :2] - chain[0, :2])) < reach
        and lengths[name] / LENGTH_SHARES[name] < expected
    )


def _readings(seen: Sighting, patch: HandPatch, landmarks_px: Points | None) -> dict[str, Value]:
    fused = len(seen.fused_pairs)
    claimed = extra = missing = right = math.nan
    if patch.landmarks is not None and landmarks_px is not None:
        names = bones.claimed(patch.landmarks)
        half_bent = bones.undecided(patch.landmarks)  # may be counted, and may not
        claimed = float(len(names))
        n_seen = sum(len(digit.names) for digit in seen.digits)
        extra = max(n_seen - claimed - len(half_bent), 0.0)
        missing = max(claimed - n_seen, 0.0) + len(stubs(landmarks_px, (*names, *half_bent)))
        right = float(extra == 0.0 and missing == 0.0 and fused == 0)
    elif fused:
        right = 0.0
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


_SOURCE = "agreement of two pixel cues (detectors/digits: bones, edges, silhouette, network)"
_LIMITS = (
    "Errors are those of photographs of hands held up to the camera; generated hands may be read less well. Faulty "
    "hands are counted less often than whole ones, so that their share is rather understated."
)


_COUNTS = "counted hands of photographs and edits of them that nothing was tuned on, docs/accuracy.md"
FUSED = ErrorRates(n_positive=33, n_found=32, n_negative=243, n_false=0, source=_COUNTS)
EXTRA_DIGITS = ErrorRates(n_positive=14, n_found=12, n_negative=262, n_false=1, source=_COUNTS)
MISSING_DIGITS = ErrorRates(n_positive=33, n_found=17, n_negative=243, n_false=5, source=_COUNTS)
RIGHT_COUNT = ErrorRates(n_positive=196, n_found=192, n_negative=80, n_false=18, source=_COUNTS)


def _share(name: str, label: str, reading: str, errors: ErrorRates | None, limits: str = "") -> Trait:
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
        is_share=True,
        bounds=(0.0, 1.0),
        errors=errors,
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
        "cut_off": "part of the hand may lie beyond the picture's edge",
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
            is_share=True,
            bounds=(0.0, 1.0),
            errors=RIGHT_COUNT,
            limits=_LIMITS,
        ),
        _share(
            "finger_fused",
            "hands with fused fingers",
            "finger_fused_pairs",
            FUSED,
            "A thumb fused with the index finger is mostly read as a folded thumb.",
        ),
        _share(
            "finger_mitten",
            "hands whose four fingers are one",
            "finger_mitten",
            None,
            "As read: too few mittens were counted among the photographs to tell how often they are overlooked.",
        ),
        _share("finger_extra", "hands with more digits than their pose claims", "finger_extra", EXTRA_DIGITS),
        _share(
            "finger_missing",
            "hands with missing digits",
            "finger_missing",
            MISSING_DIGITS,
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
            statistic=share_in_state("finger_state", OK),
            is_share=True,
            measured_states=(OK, "ambiguous"),
            bounds=(0.0, 1.0),
            limits="Side views, fists seen edge-on and crossed hands are illegible on healthy pictures too.",
        ),
    ),
)
