"""Hand presence: is there a hand in an image that should show one? A lost hand is the last stage of its erosion."""

from __future__ import annotations

from detectors.geometry import mean_of
from detectors.trait import OK, ErrorRates, Face, Family, Hand, Measurement, Reading, Trait, View


def measure(view: View, subject: Face | Hand | None) -> Measurement:
    """1 if a hand or a palm was found, else 0; ``subject`` is not looked at. A missing hand is a measured zero."""
    return Measurement(OK, {"hand_found": float(bool(view.hands))})


_ERRORS = ErrorRates(
    n_positive=101,
    n_found=100,
    n_negative=28,
    n_false=2,
    source=(
        "photographs not tuned on: four collections of hands, of few people each (the one missed shows one finger), "
        "and CelebA-HQ portraits without a hand (two ears were taken for hands)"
    ),
)
"""A case: an image that shows a hand."""

FAMILY = Family(
    name="hand_presence",
    group="hands",
    subject="image",
    readings=(Reading("hand_found", "image", "hand found", "", low=0.0, high=1.0),),
    states={OK: "measured"},
    measure=measure,
    traits=(
        Trait(
            name="hand_presence",
            subject="image",
            label="images with a hand, where one was asked for",
            unit="share",
            direction="higher",
            floor=0.0,
            source="MediaPipe Hands (Zhang et al. 2020, arXiv:2006.10214): landmarks at 0.3, or a palm at 0.15",
            readings=("hand_found",),
            statistic=mean_of("hand_found"),
            is_share=True,
            expects="hand",
            bounds=(0.0, 1.0),
            limits=(
                "The counts behind the correction are of photographs, whole hands in pictures of 100 px and more "
                "against portraits, and may not hold for generated images: fused and half-formed hands are found less "
                "often, and a picture that lost its hand need not be a portrait. Where only the reference says what to "
                "expect, nothing is lost there by construction. Hands below 24 px are not found."
            ),
            errors=_ERRORS,
        ),
    ),
)
