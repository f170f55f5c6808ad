"""Face presence: is there a readable face in an image that should show one?"""

from __future__ import annotations

from detectors.geometry import mean_of
from detectors.trait import OK, Face, Family, Hand, Measurement, Reading, Trait, View


def measure(view: View, subject: Face | Hand | None) -> Measurement:
    """1 if a face in the image is readable, else 0; ``subject`` is not looked at. A missing face is a measured zero."""
    return Measurement(OK, {"face_found": float(any(face.state == OK for face in view.faces))})


FAMILY = Family(
    name="face_presence",
    group="face",
    subject="image",
    readings=(Reading("face_found", "image", "readable face found", "", low=0.0, high=1.0),),
    states={OK: "measured"},
    measure=measure,
    traits=(
        Trait(
            name="face_presence",
            subject="image",
            label="images with a readable face, where one was asked for",
            unit="share",
            direction="higher",
            floor=0.0,
            source="BlazeFace (Bazarevsky et al. 2019, arXiv:1907.05047) and attention mesh (arXiv:2006.10962)",
            readings=("face_found",),
            statistic=mean_of("face_found"),
            is_share=True,
            expects="face",
            bounds=(0.0, 1.0),
            limits="Faces below 32 px, turned upside down, or seen from behind are not found.",
        ),
    ),
)
