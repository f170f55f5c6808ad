"""How well the picture shows what its prompt says: the CLIP score."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from detectors.trait import OK, Comparison, Counts, Face, Family, Hand, Measurement, Reading, Sample, Trait, View

PICTURE, TEXT = "clip", "clip_text"
SCORE, OF_PICTURE, OF_TEXT = "image_clip_score", "image_clip", "image_clip_text"

Floats = NDArray[np.float64]


def measure(view: View, subject: Face | Hand | None) -> Measurement:
    """100 x the cosine of the vectors of picture and prompt, -100..100, and both vectors, float32 (d,) of unit length.

    ``no_weights`` where there are none; ``no_prompt`` where the picture's prompt is not known.
    """
    if PICTURE not in view.features:
        return Measurement("no_weights")
    if TEXT not in view.features:
        return Measurement("no_prompt")
    picture, text = view.features[PICTURE], view.features[TEXT]
    score = 100.0 * float(np.clip(picture.astype(np.float64) @ text.astype(np.float64), -1.0, 1.0))
    return Measurement(OK, {SCORE: score, OF_PICTURE: picture, OF_TEXT: text})


def score_by_chance(sample: Sample) -> float:
    """Mean of 100 x the cosine of every picture with the prompts of others, where these are not its own.

    0, unrelated vectors, where all have one prompt. Closed form: all pairs, less those of pictures that share a prompt.
    """
    pictures = np.asarray(sample[OF_PICTURE], dtype=np.float64)
    texts, which, counts = np.unique(np.asarray(sample[OF_TEXT]), axis=0, return_inverse=True, return_counts=True)
    if len(texts) == 1:
        return 0.0
    cosines = pictures @ texts.astype(np.float64).T
    own = which.reshape(-1)
    cosines[np.arange(len(own)), own] = 0.0
    others = len(own) - counts[own]
    return float(100.0 * np.mean((cosines @ counts) / others))


def _mean(sample: Sample, reference: Sample) -> float:
    return float(np.mean(sample.numbers(SCORE))) if len(sample) else math.nan


def _means(sample: Sample, reference: Sample, counts: Counts, others: Counts) -> tuple[float, Floats]:
    drawn = counts.sum(axis=1)
    return _mean(sample, reference), counts @ sample.numbers(SCORE) / np.where(drawn > 0.0, drawn, np.nan)


FAMILY = Family(
    name="image_clip",
    group="image",
    subject="image",
    readings=(
        Reading(SCORE, "image", "100 x cosine of picture and prompt", "CLIP score", low=-100.0, high=100.0),
        Reading(OF_PICTURE, "image", "CLIP's vector of the picture", "", kind="vector"),
        Reading(OF_TEXT, "image", "CLIP's vector of the prompt", "", kind="vector"),
    ),
    states={
        OK: "measured",
        "no_weights": "the weights of CLIP are not at hand (`decay models fetch clip`)",
        "no_prompt": "the picture's prompt is not known",
        "failed": "the network could not read the picture",
    },
    measure=measure,
    features=PICTURE,
    traits=(
        Trait(
            name="image_clip_score",
            subject="image",
            label="match with the prompt (CLIP score)",
            unit="CLIP score",
            direction="higher",
            floor=math.nan,
            source="Hessel et al. 2021, arXiv:2104.08718, as 100 x cosine, neither clipped nor weighted",
            readings=(SCORE, OF_PICTURE, OF_TEXT),
            statistic=Comparison(
                once=_mean,
                over=_means,
                itself=lambda reference, rng: _mean(reference, reference),
                floor=score_by_chance,
                floor_in_words="what the reference's pictures score with prompts that are not their own",
            ),
            bounds=(-100.0, 100.0),
            limits="Comparable only with numbers from the same CLIP. What nothing is left at is 0 where all pictures "
            "have one prompt.",
        ),
    ),
)
