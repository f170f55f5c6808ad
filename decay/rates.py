"""Pure statistics of shares: intervals that stay honest at none and at all, and correction for a reading's errors.

Shapes: B resamples, N samples (the reference and the generations). Randomness is an argument.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decay.erosion import Array
from detectors.trait import ErrorRates

LEAST_YOUDEN = 0.1
"""A reading whose sensitivity + specificity - 1 may lie at or below this (Youden's J; 0 is the toss of a coin) corrects
nothing: dividing by it would magnify the error of the share tenfold and more, and below 0 turn it round."""


def with_one_more_unit(shares: Array, n_units: NDArray[np.intp], rng: np.random.Generator) -> Array:
    """Resampled shares of yes, each with one unit added that nobody saw: all yes or all no, as a coin falls.

    ``shares`` (B, N): 0..1, NaN stays; ``n_units`` (N,): independent slots behind each, or prompt groups where these
    are drawn whole, at least 1. Returns (B, N).

    Resampling n units without a yes gives no yes ever again, an interval of no width, though up to 3/n of all may
    say yes. One unit among n + 1 weighs Beta(1, n) in the Bayesian bootstrap (Rubin 1981, doi:10.1214/aos/1176345338).
    At none (and at all) of n the draws then follow the mid-P confidence distribution, half Clopper and Pearson's lower
    limits, all 0, and half their upper ones (Lancaster 1961, doi:10.1080/01621459.1961.10482105), so that the interval
    is 0 to 1 - 0.05^(1/n), the rule of three. Jeffreys' prior has much the same upper end, but its equal-tailed
    interval leaves out the 0 that was seen. With many units the one more weighs nothing. It is a whole slot or
    group, not a subject: the two eyes of a face are no two witnesses.
    """
    weight = rng.beta(1.0, n_units, size=shares.shape)
    return np.asarray(shares + weight * (rng.integers(2, size=shares.shape) - shares))


def rate_draws(errors: ErrorRates, n_draws: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """(sensitivity, specificity), each (n_draws,): what they may be after so many counts, by Jeffreys' prior.

    Beta(x + 1/2, n - x + 1/2): Brown, Cai & DasGupta 2001, doi:10.1214/ss/1009213286.
    """
    hits, misses = errors.n_found, errors.n_positive - errors.n_found
    alarms, quiet = errors.n_false, errors.n_negative - errors.n_false
    return rng.beta(hits + 0.5, misses + 0.5, size=n_draws), rng.beta(quiet + 0.5, alarms + 0.5, size=n_draws)


def correctable(errors: ErrorRates, sensitivity: Array, specificity: Array) -> bool:
    """Whether the reading tells cases from non-cases: by its counts, and in every draw (B,) of its rates."""
    youden = errors.sensitivity + errors.specificity - 1.0
    return bool(min(youden, float(np.min(sensitivity + specificity)) - 1.0) > LEAST_YOUDEN)


def corrected(share: Array, sensitivity: Array | float, specificity: Array | float) -> Array:
    """The share of true cases behind a share of cases read: (share + Sp - 1) / (Se + Sp - 1), cut off at 0 and 1.

    Rogan & Gladen 1978, doi:10.1093/oxfordjournals.aje.a112510. Rates drawn anew for each draw of the share carry the
    correction's own uncertainty into it (compare Lang & Reiczigel 2014, doi:10.1016/j.prevetmed.2013.09.015).
    """
    return np.clip((share + specificity - 1.0) / (sensitivity + specificity - 1.0), 0.0, 1.0)


def errors_in_words(errors: ErrorRates) -> str:
    """What a correction rests on, as a sentence."""
    return (
        f"{errors.n_found} of {errors.n_positive} true cases were read as such (sensitivity {errors.sensitivity:.3f}), "
        f"{errors.n_false} of {errors.n_negative} others as well (specificity {errors.specificity:.3f}); "
        f"{errors.source}."
    )
