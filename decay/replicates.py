"""Replicate lineages of one experiment, taken together: what holds for lineages, not only for this one's pictures.

A two-level bootstrap (Davison & Hinkley 1997, section 3.8): lineages are drawn with replacement, then slots within
each. Draws between lineages are widened, because few lineages say little of how much lineages differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from decay.arms import Arm, check_replicates, common_generations, left_aside
from decay.erosion import Array
from decay.results import Results, draw_conclusion
from decay.settings import MeasureSettings
from decay.traits import TraitSeries, readings_to_traits

FEW_LINEAGES = 5
"""Below this many lineages the sentence says how little they are."""
_NORMAL_SCORE = 1.959964


def judge_replicates(arms: Sequence[Arm]) -> Results:
    """The verdict on several measured lineages of one experiment, by the first one's rule; its tables are the first's.

    Raises DecayError where they cannot be compared.
    """
    check_replicates(arms)
    common_generations(arms)
    first = arms[0]
    lineages = [readings_to_traits(arm.tables, arm.generations, first.n_resamples, first.seed) for arm in arms]
    generations = [arm.generations for arm in arms]
    series, shared = pooled(lineages, generations, np.random.default_rng([first.seed, 2]))
    settings = MeasureSettings(n_resamples=first.n_resamples, seed=first.seed, rule=first.rule)
    results = draw_conclusion(first.tables, series, shared, settings, _reference(arms))
    said = [str(results.verdict["sentence"]), caution(len(arms)), *left_aside(arms)]
    record = dict(results.verdict) | {"sentence": " ".join(said), "lineages": [arm.name for arm in arms]}
    return replace(results, verdict=record)


def _reference(arms: Sequence[Arm]) -> str:
    """What they were compared with, in words: each with its own."""
    return ", ".join(dict.fromkeys(arm.reference for arm in arms)) + " of each"


def pooled(
    lineages: Sequence[Sequence[TraitSeries]], generations: Sequence[Sequence[int]], rng: np.random.Generator
) -> tuple[tuple[TraitSeries, ...], tuple[int, ...]]:
    """(series, generations): the mean of every trait over the lineages, in the generations that all of them have.

    ``lineages``: L >= 2 sets of the same traits with the same number of draws, each with its ``generations``. Counts
    are summed; ``n_slots`` and the measured share are those of the lineage that has least.
    """
    shared = tuple(sorted(set.intersection(*(set(own) for own in generations))))
    columns = [np.array([list(own).index(g) for g in shared], dtype=np.intp) for own in generations]
    n_draws = len(lineages[0][0].draws)
    drawn = rng.integers(len(lineages), size=(n_draws, len(lineages)))
    rows = rng.integers(n_draws, size=(n_draws, len(lineages)))
    traits = zip(*lineages, strict=True)
    return tuple(_pooled(same, columns, drawn, rows) for same in traits), shared


def two_level(value: Array, draws: Array, drawn: NDArray[np.intp], rows: NDArray[np.intp]) -> tuple[Array, Array]:
    """Mean over L lineages: (G,) and its draws (B, G).

    ``value`` (L, G); ``draws`` (L, B, G): of each lineage's slots; ``drawn`` (B, L): which lineages a draw takes;
    ``rows`` (B, L): which of its slots' draws. NaN wherever any lineage was not measured: a mean over fewer
    lineages is another mean.
    """
    mean = value.mean(axis=0)
    between = value[drawn].mean(axis=1) - mean
    within = (draws - value[:, None, :])[drawn, rows].mean(axis=1)
    return mean, mean + widening(len(value)) * between + within


def widening(n_lineages: int) -> float:
    """What the draws between ``n_lineages`` are stretched by: their variance is (L - 1) / L of the truth, and Student's
    distribution with L - 1 degrees of freedom takes the place of the normal one (6.5 and 1.4 for two: 9 in all)."""
    freedom = n_lineages - 1
    return float(np.sqrt(n_lineages / freedom) * student_t.ppf(0.975, freedom) / _NORMAL_SCORE)


def caution(n_lineages: int) -> str:
    """What so many lineages can say, as a sentence for the verdict."""
    if n_lineages >= FEW_LINEAGES:
        return f"{n_lineages} lineages were taken together."
    return (
        f"Only {n_lineages} lineages were taken together: that says little of how much lineages differ, and the "
        f"intervals are {widening(n_lineages):.1f} times as wide between lineages for it; take {FEW_LINEAGES} or more."
    )


def _pooled(
    same: Sequence[TraitSeries], columns: Sequence[NDArray[np.intp]], drawn: NDArray[np.intp], rows: NDArray[np.intp]
) -> TraitSeries:
    def stacked(name: str) -> Array:
        return np.stack([getattr(one, name)[..., own] for one, own in zip(same, columns, strict=True)])

    value, draws = two_level(stacked("value"), stacked("draws"), drawn, rows)
    retention, retention_draws = two_level(stacked("retention"), stacked("retention_draws"), drawn, rows)
    return replace(
        same[0],
        value=value,
        draws=draws,
        retention=retention,
        retention_draws=retention_draws,
        reference=float(np.mean([one.reference for one in same])),
        n_expected=stacked("n_expected").sum(axis=0),
        n_measured=stacked("n_measured").sum(axis=0),
        measured=stacked("measured").min(axis=0),
        n_slots=min(one.n_slots for one in same),
        uncorrected=stacked("uncorrected").mean(axis=0),
        noise_floor=max(one.noise_floor for one in same),
        most_kept=max(one.most_kept for one in same),
        if_selected=None if any(one.if_selected is None for one in same) else stacked("if_selected").min(axis=0),
    )
