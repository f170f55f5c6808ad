"""Hand presence: is there a hand in an image that should show one? A lost hand is the last stage of its erosion."""

from __future__ import annotations

from detectors.geometry import mean_of
from detectors.trait import OK, Face, Family, Hand, Measurement, Reading, Trait, View


def measure(view: View, subject: Face | Hand | None) -> Measurement:
    """1 if a hand or a palm was found, else 0; ``subject`` is not looked at. A missing hand is a measured zero."""
    return Measurement(OK, {"hand_found": float(bool(view.hands))})


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
            expects="hand",
            bounds=(0.0, 1.0),
            limits=(
                "About 1 in 20 portraits without hands shows a palm to the detector, so the true floor lies a "
                "little above 0. Hands below 24 px are not found."
            ),
        ),
    ),
)
