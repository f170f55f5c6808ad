"""The picture as DINOv2 sees it: the Frechet distance that follows what people call realistic more closely than FID."""

from __future__ import annotations

import math

from detectors.distances.frechet import compared_by_frechet
from detectors.trait import OK, Face, Family, Hand, Measurement, Reading, Trait, View

EXTRACTOR = "dinov2"
COLUMN = "image_dinov2"


def measure(view: View, subject: Face | Hand | None) -> Measurement:
    """Hand on the network's vector, float32 (1024,) of ViT-L/14, or say that its weights are not at hand."""
    if EXTRACTOR not in view.features:
        return Measurement("no_weights")
    return Measurement(OK, {COLUMN: view.features[EXTRACTOR]})


FAMILY = Family(
    name="image_dinov2",
    group="image",
    subject="image",
    readings=(Reading(COLUMN, "image", "DINOv2's features of the whole picture (class token)", "", kind="vector"),),
    states={
        OK: "measured",
        "no_weights": "the weights of DINOv2 are not at hand (`decay models fetch dinov2`)",
        "failed": "the network could not read the picture",
    },
    measure=measure,
    features=EXTRACTOR,
    traits=(
        Trait(
            name="image_fd_dinov2",
            subject="image",
            label="Frechet distance of DINOv2 features",
            unit="FD",
            direction="lower",
            floor=math.nan,
            source="FD-DINOv2, Stein et al. 2023, arXiv:2306.04675",
            readings=(COLUMN,),
            statistic=compared_by_frechet(COLUMN),
            n_min=24,
            equal_n=True,
            bounds=(0.0, math.inf),
            limits="Depends on the number of pictures: below 1,025 the covariances lack rank, and two sets of one "
            "population lie far apart by chance. The reference is held to what chance shows, told from its own halves "
            "and quarters. Generations and reference are compared at the number of pictures of the smallest.",
        ),
    ),
)
