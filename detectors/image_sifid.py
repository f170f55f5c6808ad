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
OWN_DISTANCE, APART = "image_sifid", "image_sifid_apart"
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
            OWN_DISTANCE: frechet_distance(unpacked(view.features[EXTRACTOR]), own),
            APART: frechet_distance(unpacked(view.features[OTHER]), own),
        },
    )


def _mean(sample: Sample, reference: Sample) -> float:
    return float(np.mean(sample.numbers(OWN_DISTANCE))) if len(sample) else math.nan


def _over(sample: Sample, reference: Sample, counts: Counts, others: Counts) -> tuple[float, NDArray[np.float64]]:
    """Of the reference, which is at no distance from itself, what scatters is the distance that it is held to."""
    value = _mean(sample, reference)
    if sample is reference:
        return value, value + _means(reference, APART, others) - _apart(reference)
    return value, _means(sample, OWN_DISTANCE, counts)


def _means(sample: Sample, name: str, counts: Counts) -> NDArray[np.float64]:
    drawn = counts.sum(axis=1)
    return np.asarray(counts @ sample.numbers(name) / np.where(drawn > 0.0, drawn, np.nan))


def _apart(reference: Sample) -> float:
    return float(np.mean(reference.numbers(APART)))


FAMILY = Family(
    name="image_sifid",
    group="image",
    subject="image",
    readings=(
        Reading(OWN_DISTANCE, "image", "distance to the reference's picture of the same slot", "SIFID", low=0.0),
        Reading(APART, "image", "distance of that picture to the next slot's", "SIFID", low=0.0),
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
            readings=(OWN_DISTANCE, APART),
            statistic=Comparison(
                once=_mean,
                over=_over,
                itself=lambda reference, rng: _apart(reference),  # drawn anew, a picture is another
                floor=lambda reference: 2.0 * _apart(reference),
                floor_in_words="twice the mean distance between the reference's pictures of different slots",
            ),
            bounds=(0.0, math.inf),
            limits="Needs the same slots in the reference, and is held to the distance between its pictures of "
            "different slots: a generator that draws every slot anew is that far from it, though nothing changed. "
            "Nearer, as with the same noise and prompt, is above 100 %.",
        ),
    ),
)
