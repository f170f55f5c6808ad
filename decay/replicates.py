"""Replicate lineages of one experiment, taken together: what holds for lineages, not only for this one's pictures.

Lineages differ by more than their pictures: the error of their mean is told by how much they differ, with one degree
of freedom less than there are lineages, and is never less than what resampling the slots within each gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from decay.arms import Arm, check_replicates, common_generations, left_aside
from decay.erosion import Array
from decay.errors import DecayError
from decay.results import Results, draw_conclusion
from decay.settings import MeasureSettings
from decay.traits import TraitSeries, readings_to_traits

FEW_LINEAGES = 5
"""Below this many lineages the sentence says how little they are."""


def judge_replicates(arms: Sequence[Arm]) -> Results:
    """The verdict on several measured lineages of one experiment, by the first one's rule; its tables are the first's.

    Raises DecayError where they cannot be compared.
    """
    check_replicates(arms)
    _check_distinct(arms)
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


def _check_distinct(arms: Sequence[Arm]) -> None:
    """Raise DecayError where two hold the very same pictures: a copy is no second lineage."""
    seen: dict[frozenset[tuple[int, str]], str] = {}
    for arm in arms:
        images = arm.tables.images[arm.tables.images["generation"] > arm.generations[0]]
        pictures = frozenset(zip(images["generation"], images["sha256"], strict=True))
        if pictures and pictures in seen:
            raise DecayError(
                f"{seen[pictures]} and {arm.name} hold the very same pictures: a copy is no second lineage. Give each "
                "lineage once."
            )
        seen[pictures] = arm.name


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
    weights = rng.normal(size=(n_draws, len(lineages)))
    rows = rng.integers(n_draws, size=(n_draws, len(lineages)))
    traits = zip(*lineages, strict=True)
    return tuple(_pooled(same, columns, weights, rows) for same in traits), shared


def two_level(value: Array, draws: Array, weights: Array, rows: NDArray[np.intp]) -> tuple[Array, Array]:
    """Mean over L lineages: (G,) and its draws (B, G).

    ``value`` (L, G); ``draws`` (L, B, G): of each lineage's slots; ``weights`` (B, L): standard normal, the same for
    all traits; ``rows`` (B, L): which of each lineage's draws are put together. NaN wherever any lineage was not
    measured: a mean over fewer lineages is another mean.

    The slots' draws give the error within lineages. That between them, the standard error of the mean of L values,
    holds the former already; only what it is more is added, as a multiplier bootstrap that keeps traits and
    generations together. Student's distribution with L - 1 degrees of freedom comes in with the intervals (``band``).
    """
    n = len(value)
    mean = value.mean(axis=0)
    off = value - mean
    within = np.stack([one[row] for one, row in zip(draws, rows.T, strict=True)]).mean(axis=0) - mean
    variance = np.square(off).sum(axis=0) / (n * (n - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        more = np.sqrt(np.maximum(1.0 - within.var(axis=0) / variance, 0.0))
    between = weights @ (np.where(variance > 0.0, more, 0.0) * off) / np.sqrt(n * (n - 1))
    return mean, mean + between + within


def caution(n_lineages: int) -> str:
    """What so many lineages can say, as a sentence for the verdict."""
    if n_lineages >= FEW_LINEAGES:
        return f"{n_lineages} lineages were taken together."
    return (
        f"Only {n_lineages} lineages were taken together: that says next to nothing of how much lineages differ, and "
        f"intervals are wide for it; take {FEW_LINEAGES} or more."
    )


def _pooled(
    same: Sequence[TraitSeries], columns: Sequence[NDArray[np.intp]], weights: Array, rows: NDArray[np.intp]
) -> TraitSeries:
    def stacked(name: str) -> Array:
        return np.stack([getattr(one, name)[..., own] for one, own in zip(same, columns, strict=True)])

    value, draws = two_level(stacked("value"), stacked("draws"), weights, rows)
    retention, retention_draws = two_level(stacked("retention"), stacked("retention_draws"), weights, rows)
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
        n_units=stacked("n_units").min(axis=0),
        n_lineages=len(same),
        uncorrected=stacked("uncorrected").mean(axis=0),
        noise_floor=max(one.noise_floor for one in same),
        most_kept=max(one.most_kept for one in same),
        if_selected=None if any(one.if_selected is None for one in same) else stacked("if_selected").min(axis=0),
    )
