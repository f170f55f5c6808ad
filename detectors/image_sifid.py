"""How far each picture has gone from its own: the single-image distance to the reference's picture of the same slot."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from detectors.distances.gaussian import frechet_distance, unpacked
from detectors.trait import (
    OK,
    PAIRED,
    Comparison,
    Counts,
    Face,
    Family,
    Hand,
    Measurement,
    Reading,
    Sample,
    Trait,
    View,
)

EXTRACTOR = "sifid"
OWN, OTHER = (f"{EXTRACTOR}_{role}" for role in PAIRED)


def measure(view: View, subject: Face | Hand | None) -> Measurement:
    """The distance, >= 0, to the reference's picture of the same slot, and that one's to the next slot's.

    ``no_weights`` where there are none; ``no_pair`` where the reference has no picture of the slot.
    """
    if EXTRACTOR not in view.features:
        return Measurement("no_weights")
    if OWN not in view.features:
        return Measurement("no_pair")
    own = unpacked(view.features[OWN])
    return Measurement(
        OK,
        {
            "image_sifid": frechet_distance(unpacked(view.features[EXTRACTOR]), own),
            "image_sifid_apart": frechet_distance(unpacked(view.features[OTHER]), own),
        },
    )


def _mean(sample: Sample, reference: Sample) -> float:
    return float(np.mean(sample.numbers("image_sifid"))) if len(sample) else math.nan


def _means(sample: Sample, reference: Sample, counts: Counts, others: Counts) -> tuple[float, NDArray[np.float64]]:
    drawn = counts.sum(axis=1)
    return _mean(sample, reference), counts @ sample.numbers("image_sifid") / np.where(drawn > 0.0, drawn, np.nan)


def _apart(reference: Sample) -> float:
    return float(np.mean(reference.numbers("image_sifid_apart")))


FAMILY = Family(
    name="image_sifid",
    group="image",
    subject="image",
    readings=(
        Reading("image_sifid", "image", "distance to the reference's picture of the same slot", "SIFID", low=0.0),
        Reading("image_sifid_apart", "image", "distance of that picture to the next slot's", "SIFID", low=0.0),
    ),
    states={
        OK: "measured",
        "no_weights": "the weights of Inception-v3 are not at hand (`decay models fetch inception`)",
        "no_pair": "the reference has no picture of the same slot",
        "failed": "the network could not read the picture",
    },
    measure=measure,
    features=EXTRACTOR,
    traits=(
        Trait(
            name="image_sifid",
            subject="image",
            label="distance from its own picture (SIFID)",
            unit="SIFID",
            direction="lower",
            floor=math.nan,
            source="single-image FID, Rott Shaham et al. 2019, doi:10.1109/ICCV.2019.00467, features of 64 channels "
            "before the first pooling, as their code has it",
            readings=("image_sifid", "image_sifid_apart"),
            statistic=Comparison(
                once=_mean,
                over=_means,
                itself=lambda reference, rng: _mean(reference, reference),
                floor=_apart,
                floor_in_words="the mean distance between the reference's pictures of different slots",
            ),
            bounds=(0.0, math.inf),
            limits="Needs the same slots in the reference. A picture of the reference is at distance 0 from itself.",
        ),
    ),
)
