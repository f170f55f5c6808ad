"""Pure statistics: traits over generations -> retention, onset, order, verdict. Randomness comes in as draws.

Shapes: B resamples, G generations, T traits. Every array of draws is paired: draw b of one trait used the
same slots as draw b of another, so whole rankings can be compared draw by draw. The method, its formulas and
sources: docs/statistics.md.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtrit  # scipy.stats has the same, and takes half a second to import

from decay.settings import Rule

Array = NDArray[np.float64]
Counts = NDArray[np.integer[Any]]
NEVER = math.inf

NOTHING_LEFT = 0.1
"""Retention below which a facet is gone."""
_LEAST_LOG = 0.01
"""Retention is held to be no less where its logarithm is taken: below it there is only noise."""
LEAST_IF_SELECTED = 0.25
"""Where selection alone could leave no more than this, nothing is shown: a ratio to next to nothing is noise."""
MAX_LEADERS_NAMED = 4
_BLOCK = 64
"""Readings worked on together, of all resamples: what they take stays near the processor."""
FEWEST_SLOTS = 12
"""Below this many slots no trait is called eroded: resampling few readings of a skewed trait understates its error
(Hesterberg 2015, doi:10.1080/00031305.2015.1089789); from here on it is seldom misled (tests/decay/test_traits.py)."""
NEAR_THE_LARGEST = 2.0
"""Standard errors by which a trait's loss may lie below its family's largest and still be a candidate for it."""
_TAIL_SCORES = ndtri([0.975, 0.995])
CONTENDERS = ("eroded", "cannot_tell")
"""What may have come first. Undecided traits too: one that may have fallen before the winner takes from its share."""


@dataclass(frozen=True)
class Bounds:
    """The least and the most that retention can be whatever the unmeasured subjects hold: (G,), and the same for every
    draw (B, G)."""

    low: Array
    high: Array
    low_draws: Array
    high_draws: Array


@dataclass(frozen=True)
class Retention:
    """Retention of one trait: ``value`` (G,), ``draws`` (B, G); 1 at the reference, 0 at the floor, NaN unmeasured.

    ``measured`` (G,): share of the subjects that were measured, over the same share in the reference, at most 1.
    ``n_slots``: how many slots stand behind its reference. ``n_reference``: how many of the first
    generations are the reference itself (1, or 0 with a ``real/`` folder). ``n_units`` (G,): how many independent
    slots, or prompt groups drawn whole, stand behind both each generation and the reference; None: ``n_slots``
    everywhere. ``n_lineages``: how many replicates it is the mean of. ``bounds``: where what is unmeasured is not this
    run's alone; None: from the fields here.
    ``falls``: whether it can lose all (location traits drift instead). ``noise_floor``: the loss that chance alone
    shows in 2.5 % of cases, NaN where that is not known. ``if_selected`` (G,): the least retention that an unchanged
    reference would show if only the measured share of it were left; None where that is not known. ``most_kept``: the
    retention of subjects that kept all; that of a share is above 1, for all of them may say yes. ``repeat_loss``: what
    the same pictures lose when they are read again, NaN where that is not known.
    """

    name: str
    label: str
    group: str
    value: Array
    draws: Array
    measured: Array
    n_slots: int
    n_reference: int = 1
    falls: bool = True
    noise_floor: float = math.nan
    if_selected: Array | None = None
    most_kept: float = 1.0
    repeat_loss: float = math.nan
    n_units: NDArray[np.intp] | None = None
    n_lineages: int = 1
    bounds: Bounds | None = None

    def least_loss(self, margin: float) -> float:
        """The loss that erosion goes beyond: the margin, and what re-reading alone shows."""
        return float(np.fmax(margin, self.repeat_loss))

    @cached_property
    def units(self) -> NDArray[np.intp]:
        """(G,): independent slots or prompt groups behind each generation."""
        if self.n_units is None or self.n_units.shape != self.value.shape:
            return np.full(self.value.shape, self.n_slots, dtype=np.intp)
        return self.n_units

    @cached_property
    def n_independent(self) -> NDArray[np.intp]:
        """(G,): what an error was estimated from; one more than its degrees of freedom. Lineages, where there are
        several: how much these differ is told by nothing else."""
        return self.units if self.n_lineages == 1 else np.full_like(self.units, self.n_lineages)

    @cached_property
    def decided(self) -> NDArray[np.bool_]:
        """(G,): measured, and in enough slots for anything to be decided."""
        return ~np.isnan(self.value) & (self.units >= FEWEST_SLOTS)

    @cached_property
    def worst(self) -> Bounds:
        """What may have become of it, whatever the unmeasured hold."""
        return self.bounds or bounds_of(
            self.value, self.draws, self.measured, self.most_kept, self.if_selected, self.falls
        )

    @cached_property
    def error(self) -> Array:
        """Standard error (G,): of the draws; NaN where there is no value."""
        return np.where(np.isnan(self.value), np.nan, _quietly(np.nanstd, self.draws, axis=0))

    @cached_property
    def reach(self) -> tuple[Array, Array]:
        """(below, above), (G,) each: see ``reach``."""
        return reach(self.value, self.draws)


@dataclass(frozen=True)
class Band:
    """Simultaneous interval of a trait's retention, (G,) each."""

    low: Array
    high: Array


@dataclass(frozen=True)
class Onset:
    """When one trait fell for good.

    ``value``: the generation from which the estimate stays beyond the margin. ``low``..``high``: from the first
    generation from which it may have (the simultaneous interval allows it, or what is unmeasured could hide it) to the
    first from which it must have; ``inf``: not within these generations. The fall itself lies in (low - 1, high].
    ``p_first``: share of draws in which no other trait, eroded or undecided, fell earlier (ties shared).
    ``smallest_detectable``: the loss that would have been called erosion in half of all repetitions, and no less than
    what chance (``noise_floor``) or re-reading (``repeat_loss``) shows.
    ``state``: ``eroded``, ``held``, ``cannot_tell``, ``not_rankable`` or ``not_measured``.
    """

    value: float
    low: float
    high: float
    half_life_generations: float
    p_eroded: float
    p_first: float
    smallest_detectable: float
    state: str


@dataclass(frozen=True)
class Precedence:
    """Of two traits, or families: the share of draws in which the first fell before the second (``p_before``), and in
    which both fell in the same generation, or neither within the run (``p_same``)."""

    p_before: float
    p_same: float

    @property
    def p_ahead(self) -> float:
        """Ties halved."""
        return self.p_before + self.p_same / 2


@dataclass(frozen=True)
class Ranking:
    """Every trait's band and onset, and what the draws say of their order.

    ``critical``: standard errors that make the bands hold for all traits and generations at once.
    ``before``: for every two eroded traits, how often the first fell before the second. ``last``: the place of the
    last generation in which anything could be decided; "for good" means up to there.
    """

    rule: Rule
    critical: float
    bands: Mapping[str, Band]
    onsets: Mapping[str, Onset]
    before: Mapping[tuple[str, str], Precedence]
    last: int = -1


@dataclass(frozen=True)
class NothingLeft:
    """The generation from which no facet is left, and its interval; ``inf``: not within these generations, or never.
    ``extrapolated``: it lies beyond what was measured. ``why_not``: where it was asked for beyond and cannot be told,
    the reason; else empty."""

    generation: float
    low: float
    high: float
    extrapolated: bool
    why_not: str = ""


@dataclass(frozen=True)
class Verdict:
    """Which family and which trait fell first, or None where that cannot be told.

    ``undecided``: traits that may have eroded or held; ``not_rankable``: those that could not have shown even a total
    loss. ``leaders``: of the first family's traits the fewest that together hold ``p_first`` of its first places, with
    their shares, the largest first. ``p_families``: every family's share of first places; ``before_families``: of every
    two families that may have fallen, how often the first fell before the second. ``blind``: families of which
    something was measured, but nothing that could have shown a loss; one of them may have gone before any other, so
    that no first is named beside them.
    """

    first_group: tuple[str, float, float] | None
    first_trait: tuple[str, float, float] | None
    leaders: tuple[tuple[str, float], ...]
    order: tuple[str, ...]
    ties: tuple[tuple[str, ...], ...]
    undecided: tuple[str, ...]
    not_rankable: tuple[str, ...]
    not_measured: tuple[str, ...]
    p_families: Mapping[str, float]
    before_families: Mapping[tuple[str, str], Precedence]
    blind: tuple[str, ...]
    nothing_left: NothingLeft
    sentence: str


def level_retention(value: Array, reference: Array | float, floor: float) -> Array:
    """(value - floor) / (reference - floor); NaN where the reference already lies at the floor."""
    span = np.asarray(reference, dtype=np.float64) - floor
    with np.errstate(divide="ignore", invalid="ignore"):
        retention = (np.asarray(value, dtype=np.float64) - floor) / span
    return np.where(np.abs(span) > 1e-12, retention, np.nan)


def location_distance(sample: Array, reference: Array, resolution: float = 0.0) -> float:
    """Wasserstein-1 distance to the reference, in reference standard deviations of at least ``resolution``.

    ``sample`` (n,), ``reference`` (m,): readings. NaN where either has fewer than two or the unit would be zero.
    """
    if len(sample) < 2 or len(reference) < 2:
        return math.nan
    spread = max(float(np.std(reference, ddof=1)), resolution)
    if spread < 1e-12:
        return math.nan
    both = np.sort(np.concatenate([sample, reference]))
    below, others_below = (np.searchsorted(np.sort(each), both[:-1], side="right") for each in (sample, reference))
    return float(np.sum(np.abs(below / len(sample) - others_below / len(reference)) * np.diff(both))) / spread


def location_retention(distance: Array | float, expected_by_chance: Array | float = 0.0) -> Array:
    """1 - distance, less what chance gives.

    Chance and shift are independent, so they are taken apart in quadrature: subtracting the one from the other
    would understate every real shift. Draws are to be centred as distances, before this: near what chance gives,
    the root is so steep that an interval made of its results would leave out 1 for two samples of one population.
    """
    shift2 = np.square(np.asarray(distance, dtype=np.float64)) - np.square(expected_by_chance)
    return np.asarray(1.0 - np.sqrt(np.maximum(shift2, 0.0)))


def chance_distance(
    reference: Array,
    slots: NDArray[np.intp],
    n_slots: int,
    rng: np.random.Generator,
    resolution: float = 0.0,
    n_repeats: int = 64,
) -> float:
    """Mean ``location_distance`` between the reference and ``n_slots`` of its own slots drawn anew.

    The distance of two samples of one population is never zero; this is what is left of it at this size. Slots are
    drawn, not readings: the two eyes of a face are one draw. ``reference`` (m,): readings; ``slots`` (m,): whose.
    """
    spread = max(float(np.std(reference, ddof=1)), resolution) if len(reference) > 1 else 0.0
    if n_slots < 1 or spread < 1e-12:
        return 0.0
    _, slot = np.unique(slots, return_inverse=True)
    n = int(slot.max()) + 1
    one, other = (rng.multinomial(size, np.full(n, 1 / n), n_repeats)[:, slot] for size in (n_slots, n))
    return float(np.mean(_areas(reference, reference, one, other))) / spread


def resampled_distances(
    sample: Array, reference: Array, counts: Counts, reference_counts: Counts, resolution: float
) -> Array:
    """``location_distance`` in B resamples at once: (B,).

    ``sample`` (n,), ``reference`` (m,): readings; ``counts`` (B, n), ``reference_counts`` (B, m): how often each was
    drawn.
    """
    n, m = (drawn.sum(axis=1, dtype=np.float64) for drawn in (counts, reference_counts))
    off = reference - reference.mean()
    squares, total = _sums(np.stack([np.square(off), off]), reference_counts)
    variance = (squares - np.square(total) / np.maximum(m, 1.0)) / np.maximum(m - 1.0, 1.0)
    spread = np.maximum(np.sqrt(np.maximum(variance, 0.0)), resolution)
    enough = (n >= 2.0) & (m >= 2.0) & (spread >= 1e-12)
    area = _areas(sample, reference, counts, reference_counts)
    return np.where(enough, area / np.maximum(spread, 1e-12), np.nan)


def _areas(sample: Array, reference: Array, counts: Counts, reference_counts: Counts) -> Array:
    """Wasserstein-1 distances (B,): the area between the two distribution functions.

    The reading goes up step by step, all resamples at once. Times both sizes the functions are whole numbers, so that
    their running sums are exact.
    """
    both = np.concatenate([sample, reference])
    order = np.argsort(both, kind="stable")
    steps = np.diff(both[order], append=both[order[-1:]])
    drawn = np.concatenate([counts.T, reference_counts.T])
    n, m = (each.sum(axis=1, dtype=np.float64) for each in (counts, reference_counts))
    weights, of_reference = np.stack([m, -n]), (order >= len(sample)).astype(np.intp)
    apart, area = np.zeros(len(n)), np.zeros(len(n))
    for start in range(0, len(order), _BLOCK):
        part = slice(start, start + _BLOCK)
        rising = drawn[order[part]] * weights[of_reference[part]]
        rising[0] += apart
        for place in range(1, len(rising)):  # several times faster than cumsum down the columns
            rising[place] += rising[place - 1]
        apart = rising[-1].copy()
        area += steps[part] @ np.abs(rising)
    return np.asarray(area / np.maximum(n * m, 1.0), dtype=np.float64)


def _sums(values: Array, counts: Counts) -> Array:
    """Sums of several ``values`` (k, n) over each resample, (k, B), without a copy of all ``counts`` (B, n)."""
    total = np.zeros((len(values), len(counts)))
    for start in range(0, values.shape[1], _BLOCK):
        part = slice(start, start + _BLOCK)
        total += values[:, part] @ counts[:, part].T.astype(np.float64)
    return total


def centred(value: Array, draws: Array) -> Array:
    """Shift the draws (B, ...) so that their mean is the estimate: resampling bias is not error of the estimate."""
    return draws - _quietly(np.nanmean, draws, axis=0) + value


def interval(draws: Array, coverage: float = 0.95) -> tuple[Array, Array]:
    """Equal-tailed interval of draws (B, ...) over the first axis; NaN where every draw is NaN."""
    tail = (1.0 - coverage) / 2
    low, high = _quietly(np.nanquantile, draws, q=[tail, 1.0 - tail], axis=0)
    return low, high


def _quietly(reduce: Callable[..., Array], draws: Array, **how: object) -> Array:
    """Reduce over draws; a column that is NaN throughout stays NaN without numpy's warning about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return reduce(draws, **how)


# --------------------------------------------------------------------------- intervals that hold together


def critical_value(retentions: Sequence[Retention], coverage: float) -> float:
    """How many standard errors wide intervals must be to hold for all traits and generations at once.

    Quantile of the draws' largest studentised deviation (max-|T|; Romano & Wolf 2005, doi:10.1198/016214504000000539;
    Montiel Olea & Plagborg-Moller 2019, doi:10.1002/jae.2656), at most Bonferroni's, and Bonferroni's for the mean of
    a few lineages: how their errors hang together cannot be learned from so few. That of a single interval where
    nothing varies.
    """
    single = float(ndtri(0.5 + coverage / 2))
    if not retentions:
        return single
    deviations = np.abs(np.concatenate([_deviations(r) for r in retentions], axis=1))
    n_cells = int((~np.isnan(deviations).all(axis=0)).sum())
    if n_cells == 0:
        return single
    bonferroni = float(ndtri(1.0 - (1.0 - coverage) / (2 * n_cells)))
    if any(r.n_lineages > 1 for r in retentions):
        return bonferroni
    return min(float(np.nanquantile(_quietly(np.nanmax, deviations, axis=1), coverage)), bonferroni)


def _deviations(retention: Retention) -> Array:
    """(draw - estimate) / standard error of its side, (B, G); NaN in the reference itself and where nothing varies."""
    below, above = (np.where(side < 1e-12, np.nan, side) for side in retention.reach)
    off = retention.draws - retention.value
    scaled = np.where(off < 0.0, off / below, off / above)
    scaled[:, : retention.n_reference] = np.nan
    return np.asarray(scaled, dtype=np.float64)


def reach(value: Array, draws: Array) -> tuple[Array, Array]:
    """(below, above), (G,) each: the standard error of the normal distribution that has this side's tail.

    ``value`` (G,), ``draws`` (B, G). A tail heavier than normal widens its own trait's interval, not everyone's.
    """
    levels = 2.0 * ndtr(-_TAIL_SCORES)  # two-sided
    ends = [interval(draws, 1.0 - level) for level in levels]
    below = np.max([(value - low) / z for (low, _), z in zip(ends, _TAIL_SCORES, strict=True)], axis=0)
    above = np.max([(high - value) / z for (_, high), z in zip(ends, _TAIL_SCORES, strict=True)], axis=0)
    return np.maximum(below, 0.0), np.maximum(above, 0.0)


def band(value: Array, reach: tuple[Array, Array], critical: float, n_units: int | NDArray[np.intp]) -> Band:
    """Estimate plus and minus ``critical`` standard errors, by Student's distribution: few units, wider intervals.

    ``n_units``: independent slots, prompt groups or lineages that the errors were estimated from, one number or (G,).
    """
    wide = stdtrit(np.maximum(np.asarray(n_units) - 1, 1), ndtr(critical))
    return Band(np.asarray(value - wide * reach[0]), np.asarray(value + wide * reach[1]))


def bounds_of(
    value: Array, draws: Array, measured: Array, most_kept: float, if_selected: Array | None, falls: bool
) -> Bounds:
    """Bounds of retention whatever the subjects hold that cannot be measured any more; arguments as in ``Retention``.

    Subjects go unmeasured because they decay, so what is left over is no fair sample of them. Lower bound, which
    decides whether a trait has held: they have lost all (Manski 1990, "Nonparametric bounds on treatment effects").
    Upper bound, which decides whether a fall is shown: they have kept all, and what is left over is that part of an
    unchanged reference that looks worst (``if_selected``; trimming as in Lee 2009,
    doi:10.1111/j.1467-937X.2009.00536.x). Each draw is bounded as the estimate is, so that the bounds' own intervals
    can be told from them.
    """
    known = ~np.isnan(value)
    share = np.where(known, np.clip(measured, 0.0, 1.0), 0.0)
    worst = None if if_selected is None else np.where(known, if_selected, np.nan)

    def low(retention: Array) -> Array:
        kept = np.where(share > 0.0, retention, 0.0)
        return np.asarray(share * kept + (1.0 - share) * np.minimum(kept, 0.0))

    def high(retention: Array) -> Array:
        kept = np.where(share > 0.0, retention, most_kept)
        return np.fmax(share * kept + (1.0 - share) * np.maximum(kept, most_kept), _unselected(kept, worst, falls))

    return Bounds(low(value), high(value), low(draws), high(draws))


def _unselected(retention: Array, if_selected: Array | None, falls: bool) -> Array:
    """``retention`` (..., G) if the measured were the worst part of their generation; NaN where that is not known."""
    if if_selected is None:
        return retention
    if not falls:
        return np.asarray(retention + 1.0 - if_selected)
    enough = if_selected > LEAST_IF_SELECTED
    return np.where(
        enough, retention / np.where(enough, if_selected, 1.0), np.where(np.isnan(if_selected), np.nan, np.inf)
    )


def worst_case(retention: Retention, critical: float) -> Band:
    """The interval of both bounds: the lower end of the lower one, the upper end of the upper one."""
    worst = retention.worst

    def around(value: Array, draws: Array) -> Band:
        unbounded = np.isinf(value)
        bounded, of_draws = np.where(unbounded, 0.0, value), np.where(unbounded, 0.0, draws)
        found = band(bounded, reach(bounded, of_draws), critical, retention.n_independent)
        return Band(np.where(unbounded, value, found.low), np.where(unbounded, value, found.high))

    return Band(around(worst.low, worst.low_draws).low, around(worst.high, worst.high_draws).high)


# --------------------------------------------------------------------------- onset


def onsets(retention: Array, generations: Sequence[int], threshold: float) -> Array:
    """First generation from which retention stays below the threshold to the end; inf for never.

    ``retention`` (..., G). Unmeasured generations are passed over; an onset needs a measured generation below.
    """
    stays = np.ones(retention.shape[:-1], dtype=bool)
    onset = np.full(retention.shape[:-1], NEVER)
    for index in range(retention.shape[-1] - 1, -1, -1):
        column = retention[..., index]
        stays &= np.isnan(column) | (column < threshold)
        onset = np.where(stays & ~np.isnan(column), float(generations[index]), onset)
    return onset


def shown_onset(
    retention: Retention, band: Band, worst: Band, generations: Sequence[int], threshold: float, last: int
) -> float:
    """First generation in which the fall is shown whatever the unmeasured subjects hold (``worst``), and from which the
    interval of what is measured stays below the threshold; inf for never.

    Generations of too few slots are passed over. The one at ``last`` must have enough: what is not looked at in the
    end may have recovered. An interval of no width claims nothing: few different readings hide their error.
    """
    if not retention.decided[last]:
        return NEVER
    high = np.where(retention.reach[1] < 1e-12, np.inf, band.high)
    stays = onsets(np.where(retention.decided, high, np.nan), generations, threshold)
    beyond = retention.decided & (worst.high < threshold)
    return next((float(g) for g, shown in zip(generations, beyond, strict=True) if shown and g >= stays), NEVER)


def last_decided(retentions: Sequence[Retention]) -> int:
    """The place of the last generation that has enough slots of any trait; 0 where none has.

    An unfinished last generation is not one that was looked at, nor one that the control arm lacks.
    """
    enough = [np.flatnonzero(r.units >= FEWEST_SLOTS) for r in retentions]
    return max((int(places[-1]) for places in enough if places.size), default=0)


def first_below(value: Array, generations: Sequence[int], drop: float) -> float:
    """The flat rule of public trackers: first generation whose value lies below (1 - drop) x generation 0; inf for
    never, NaN where generation 0 has no value above 0. No interval, and nothing need stay. ``value`` (G,): as read,
    not its retention."""
    if not value[0] > 0.0:
        return math.nan
    below = np.flatnonzero(np.asarray(value) < (1.0 - drop) * value[0])
    return float(generations[below[0]]) if below.size else NEVER


def half_life(retention: Array, generations: Sequence[int], n_reference: int) -> float:
    """Generations from the reference until retention first crosses one half, interpolated; inf where it never does.

    A reference folder (``n_reference`` 0) stands one generation before the first.
    """
    known = [(g, r) for g, r in zip(generations, retention, strict=True) if not math.isnan(r)]
    if n_reference == 0:
        known.insert(0, (generations[0] - 1, 1.0))
    for (g0, r0), (g1, r1) in pairwise(known):
        if r0 >= 0.5 > r1:
            return float(g0 + (r0 - 0.5) / (r0 - r1) * (g1 - g0) - known[0][0])
    return NEVER


# --------------------------------------------------------------------------- the end


def nothing_left(
    retentions: Sequence[Retention], ranking: Ranking, generations: Sequence[int], extrapolate: bool = False
) -> NothingLeft:
    """From when on every trait that can fall and was measured is below ``NOTHING_LEFT``: as estimated, and from the
    first generation in which the simultaneous intervals allow it to the first in which they leave nothing else.

    ``extrapolate``: where that was not seen, go on along each trait's course. Never beyond a trait that is not eroded:
    then it is said why not.
    """
    falling = [r for r in retentions if r.falls and ranking.onsets[r.name].state != "not_measured"]

    def latest(courses: Sequence[Array]) -> float:
        seen = (np.where(r.decided, course, np.nan) for r, course in zip(falling, courses, strict=True))
        return max((float(onsets(course, generations, NOTHING_LEFT)) for course in seen), default=NEVER)

    bands = [ranking.bands[r.name] for r in falling]
    seen = NothingLeft(
        latest([r.value for r in falling]), latest([b.low for b in bands]), latest([b.high for b in bands]), False
    )
    if math.isfinite(seen.generation) or not extrapolate:
        return seen
    if why_not := _no_end(falling, ranking):
        return NothingLeft(NEVER, NEVER, NEVER, extrapolated=True, why_not=why_not)
    ends = [_end(r, generations, ranking.onsets[r.name].value) for r in falling]
    end = max(end for end, _ in ends)
    low, high = np.quantile(np.max([draws for _, draws in ends], axis=0), [0.025, 0.975], method="nearest")
    why_not = "" if math.isfinite(end) else "a trait that eroded does not go on falling"
    return NothingLeft(end, float(low), float(high), extrapolated=True, why_not=why_not)


def _no_end(falling: Sequence[Retention], ranking: Ranking) -> str:
    """Why there is no course to go on along to the end of all; empty where there is."""
    if not falling:
        return "no trait that can fall was measured"
    standing = [r.label for r in falling if ranking.onsets[r.name].state != "eroded"]
    if len(standing) == len(falling):
        return "no trait that can fall is sure to have eroded"
    if standing:
        return (
            f"{len(standing)} of {len(falling)} traits that can fall are not sure to have eroded, such as {standing[0]}"
        )
    return ""


def _end(r: Retention, generations: Sequence[int], onset: float) -> tuple[float, Array]:
    """When the estimate and each draw (B,) of an eroded trait reach ``NOTHING_LEFT``, along the straight line that fits
    the logarithm of retention best from the generation before the onset on; inf where that line does not fall."""
    known = ~np.isnan(r.value)
    first = max((g for g, k in zip(generations, known, strict=True) if k and g < onset), default=generations[0])
    used = known & (np.asarray(generations) >= first)
    x = np.asarray(generations, dtype=np.float64)[used]
    y = np.log(np.maximum(np.vstack([r.value, r.draws])[:, used], _LEAST_LOG))
    off = x - x.mean()
    slope = y @ off / max(float(off @ off), 1e-12)
    with np.errstate(divide="ignore", invalid="ignore"):
        end = x.mean() + (math.log(NOTHING_LEFT) - y.mean(axis=1)) / slope
    end = np.where(slope < 0.0, end, NEVER)
    return float(end[0]), end[1:]


# --------------------------------------------------------------------------- order


def share_first(onset_draws: Array) -> Array:
    """Share of draws (B, T) in which each trait's onset is the earliest; ties share, draws without onset give none."""
    if onset_draws.shape[1] == 0:
        return np.zeros(0)
    earliest = onset_draws.min(axis=1, keepdims=True)
    first = (onset_draws == earliest) & np.isfinite(earliest)
    winners = np.maximum(first.sum(axis=1, keepdims=True), 1)
    return np.asarray((first / winners).mean(axis=0), dtype=np.float64)


def precedences(onset_draws: Mapping[str, Array]) -> dict[tuple[str, str], Precedence]:
    """How often each fell before each other one, by (earlier, later). ``onset_draws``: (B,) each, inf for never."""
    return {
        (a, b): Precedence(float(np.mean(one < other)), float(np.mean(one == other)))
        for a, one in onset_draws.items()
        for b, other in onset_draws.items()
        if a != b
    }


def family_draws(retentions: Sequence[Retention]) -> Array:
    """Retention of a family's most eroded trait, (B, G), free of the luck that many traits bring.

    The least of k noisy retentions lies below the least true one, by more the larger k. Each candidate is raised by
    the median of what that luck is worth before the least is taken, which makes the result median-unbiased; only
    traits near the least count (Chernozhukov, Lee & Rosen 2013, doi:10.3982/ECTA8718, eq. 9 with their set of
    near-binding inequalities). Both the estimate and its resampling are noisy, hence the root of 2.
    """
    value = np.stack([r.value for r in retentions])
    error = np.nan_to_num(np.stack([r.error for r in retentions]))
    draws = np.stack([r.draws for r in retentions])
    least = _quietly(np.nanmin, value + NEAR_THE_LARGEST * error, axis=0)
    near = value - NEAR_THE_LARGEST * error <= least
    deviations = np.where(near[:, None, :], np.stack([-_deviations(r) for r in retentions]), np.nan)
    luck = _quietly(np.nanmedian, _quietly(np.nanmax, deviations, axis=0), axis=0)
    raised = np.where(near[:, None, :], draws + math.sqrt(2.0) * np.nan_to_num(luck) * error[:, None, :], np.nan)
    return np.asarray(_quietly(np.nanmin, raised, axis=0), dtype=np.float64)


def rank(
    retentions: Sequence[Retention], generations: Sequence[int], rule: Rule, critical: float | None = None
) -> Ranking:
    """Bands, onsets and order of every trait. ``critical``: given where bands of several runs are to hold at once."""
    if critical is None:
        measured = [r for r in retentions if not np.isnan(r.value[r.n_reference :]).all()]
        critical = critical_value(measured, rule.coverage)
    bands = {r.name: band(r.value, r.reach, critical, r.n_independent) for r in retentions}
    draws = {r.name: _onset_draws(r, generations, rule.margin) for r in retentions}
    last = last_decided(retentions)
    found = {r.name: _onset(r, bands[r.name], draws[r.name], generations, rule, critical, last) for r in retentions}
    contenders = {name: draws[name] for name, onset in found.items() if onset.state in CONTENDERS}
    p_first = _shares(contenders)
    found = {name: replace(onset, p_first=p_first.get(name, 0.0)) for name, onset in found.items()}
    eroded = {name: draws[name] for name, onset in found.items() if onset.state == "eroded"}
    return Ranking(rule, critical, bands, found, precedences(eroded), last)


def _onset_draws(r: Retention, generations: Sequence[int], margin: float) -> Array:
    """Each draw's onset (B,), generations of too few slots passed over."""
    return onsets(np.where(r.decided, r.draws, np.nan), generations, 1.0 - r.least_loss(margin))


def _onset(
    r: Retention, band: Band, draws: Array, generations: Sequence[int], rule: Rule, critical: float, last: int
) -> Onset:
    threshold = 1.0 - r.least_loss(rule.margin)
    if np.isnan(r.value[r.n_reference :]).all():
        return Onset(*(math.nan,) * 5, p_first=0.0, smallest_detectable=math.nan, state="not_measured")
    decided = r.decided[r.n_reference :]
    width = (band.high - r.value)[r.n_reference :]
    half_width = float(_quietly(np.nanmedian, width[decided] if decided.any() else width))
    detectable = float(np.fmax(r.least_loss(rule.margin) + half_width, r.noise_floor))
    worst = worst_case(r, critical)
    high = shown_onset(r, band, worst, generations, threshold, last)
    state = _state(r, worst.low, high, detectable, 1.0 - rule.margin, last)
    value = np.where(r.decided, r.value, np.nan)
    return Onset(
        value=float(onsets(value, generations, threshold)) if state == "eroded" else math.nan,
        low=_least_onset(float(onsets(worst.low, generations, threshold)), r, generations),
        high=high,
        half_life_generations=half_life(r.value, generations, r.n_reference),
        p_eroded=float(np.isfinite(draws).mean()),
        p_first=0.0,
        smallest_detectable=detectable,
        state=state,
    )


def _least_onset(low: float, r: Retention, generations: Sequence[int]) -> float:
    """Of a run that begins after generation 0, what had fallen by its first may have fallen in any before."""
    return 0.0 if r.n_reference == 0 and low == generations[0] else low


def _state(r: Retention, lowest: Array, shown: float, detectable: float, held: float, last: int) -> str:
    """``held``: the retention above which all must lie to have held; re-reading does not lower it."""
    if math.isfinite(shown):
        return "eroded"
    decided = r.decided & (np.arange(len(r.value)) >= r.n_reference)
    sure = (lowest > held) & ((r.reach[0] >= 1e-12) | (r.value == 1.0))  # of no width: unchanged in every draw
    if r.decided[last] and decided.any() and sure[decided].all():
        return "held"
    return "cannot_tell" if detectable < 1.0 and decided.any() else "not_rankable"


# --------------------------------------------------------------------------- verdict


def judge(
    retentions: Sequence[Retention], ranking: Ranking, generations: Sequence[int], extrapolate: bool = False
) -> Verdict:
    """The one-line answer. Families of traits first (a person asks "hands or eyes?"), then traits inside the first.

    ``extrapolate``: also say when nothing will be left, beyond what was measured.
    """
    margin = ranking.rule.margin
    found = ranking.onsets
    eroded = [r for r in retentions if found[r.name].state == "eroded"]
    contenders = [r for r in retentions if found[r.name].state in CONTENDERS]
    groups = {r.group: [c for c in contenders if c.group == r.group] for r in contenders}
    allowed = {g: [_less_rereading(r, margin) for r in members] for g, members in groups.items()}
    falls = {g: onsets(family_draws(own), generations, 1.0 - margin) for g, own in allowed.items()}
    p_group = _shares(falls)
    earliest = {g: min(found[r.name].value for r in eroded if r.group == g) for g in {r.group for r in eroded}}
    leader = _first(p_group, earliest, ranking.rule.p_first)
    if leader and leader[2] > min(earliest.values()):
        leader = None  # its share comes from traits that may have fallen, and what surely fell of it fell later
    blind = _blind(retentions, found)
    first_group = None if blind else leader
    inside = [r for r in contenders if first_group and r.group == first_group[0]]
    p_trait = _shares({r.name: _onset_draws(r, generations, margin) for r in inside})
    first_trait = _first(p_trait, {r.name: found[r.name].value for r in eroded}, ranking.rule.p_first)
    order = tuple(sorted((r.name for r in eroded), key=lambda n: (found[n].value, -found[n].p_first, n)))
    verdict = Verdict(
        first_group=first_group,
        first_trait=first_trait,
        leaders=_leaders(p_trait, ranking.rule.p_first),
        order=order,
        ties=_ties(order, ranking),
        undecided=tuple(r.name for r in retentions if found[r.name].state == "cannot_tell"),
        not_rankable=tuple(r.name for r in retentions if found[r.name].state == "not_rankable"),
        not_measured=tuple(r.name for r in retentions if found[r.name].state == "not_measured"),
        p_families=p_group,
        before_families=precedences(falls),
        blind=blind,
        nothing_left=nothing_left(retentions, ranking, generations, extrapolate),
        sentence="",
    )
    sentence = _sentence(verdict, leader, retentions, ranking)
    said = sentence + _until(retentions, ranking, generations) + _end_sentence(verdict.nothing_left)
    return replace(verdict, sentence=said)


def _less_rereading(r: Retention, margin: float) -> Retention:
    """Raised so that it falls below the margin where it falls below its own threshold; NaN where nothing is decided."""
    allowance = np.where(r.decided, r.least_loss(margin) - margin, np.nan)
    return replace(r, value=r.value + allowance, draws=r.draws + allowance) if allowance.any() else r


def _shares(draws: Mapping[str, Array]) -> dict[str, float]:
    """Each name's share of first places among these onset draws (B,)."""
    if not draws:
        return {}
    return dict(zip(draws, share_first(np.stack(list(draws.values()), axis=1)).tolist(), strict=True))


def _first(p: Mapping[str, float], onset: Mapping[str, float], sure: float) -> tuple[str, float, float] | None:
    """(name, share of first places, onset) of a clear winner that is sure to have eroded, else None."""
    name = max(p, key=lambda key: p[key], default="")
    return (name, p[name], onset[name]) if name in onset and p[name] >= sure else None


def _leaders(p: Mapping[str, float], sure: float) -> tuple[tuple[str, float], ...]:
    """The fewest names whose shares of first places come to ``sure`` together, the largest first."""
    ranked = sorted(p.items(), key=lambda item: (-item[1], item[0]))
    reached = np.cumsum([share for _, share in ranked])
    return tuple(ranked[: int(np.searchsorted(reached, sure)) + 1])


def _blind(retentions: Sequence[Retention], found: Mapping[str, Onset]) -> tuple[str, ...]:
    """Families of which no measured trait could have shown a loss, in the order in which they come."""
    states: dict[str, set[str]] = {}
    for r in retentions:
        states.setdefault(r.group, set()).add(found[r.name].state)
    return tuple(g for g, seen in states.items() if seen - {"not_measured"} == {"not_rankable"})


def _ties(order: Sequence[str], ranking: Ranking) -> tuple[tuple[str, ...], ...]:
    """Runs of the order in which no trait is surely before the one that follows it."""
    runs: list[list[str]] = [[name] for name in order[:1]]
    for ahead, name in pairwise(order):
        if ranking.before[ahead, name].p_ahead >= ranking.rule.p_first:
            runs.append([name])
        else:
            runs[-1].append(name)
    return tuple(tuple(run) for run in runs if len(run) > 1)


def _sentence(
    verdict: Verdict,
    leader: tuple[str, float, float] | None,
    retentions: Sequence[Retention],
    ranking: Ranking,
) -> str:
    n_measured = len(retentions) - len(verdict.not_measured)
    if all(len(r.value) <= r.n_reference for r in retentions):
        return "Cannot tell what erodes: there is only one generation."
    if n_measured == 0 and all(r.n_slots >= FEWEST_SLOTS for r in retentions):
        return "Cannot tell what erodes: no trait could be measured in two generations."
    if not any(r.decided[r.n_reference :].any() for r in retentions):
        return f"Cannot tell what erodes: {_too_few(retentions)}; it takes {FEWEST_SLOTS} to decide anything."
    if not verdict.order:
        return (
            f"None of the {n_measured} traits that could be measured is sure to have lost more than "
            f"{_percent(ranking.rule.margin)} of its reference for good: nothing can be said to erode first."
            f"{_blind_sentence(verdict)}"
        )
    if leader is None:
        shares = sorted(verdict.p_families.items(), key=lambda item: -item[1])
        rivals = ", ".join(f"{name} {_percent(p)}" for name, p in shares if p > 0)
        ahead = shares[0][1] >= ranking.rule.p_first
        why = "what may have fallen first is not sure to have fallen" if ahead else "the order is not sure"
        n = len(verdict.order)
        told = f"Cannot tell what erodes first: {n} trait{'s' * (n > 1)} eroded, but {why} ({rivals})."
        return told + _by_the_first_fit(verdict, retentions, ranking)
    labels = {r.name: r.label for r in retentions}
    told = _leader_sentence(verdict, leader, labels) + _undecided(ranking, n_measured)
    return told + _by_the_first_fit(verdict, retentions, ranking)


def _by_the_first_fit(verdict: Verdict, retentions: Sequence[Retention], ranking: Ranking) -> str:
    """What is gone in generation 0 was lost by fitting once, before anything was retrained on what it made."""
    if any(r.n_reference for r in retentions) or any(ranking.onsets[name].value > 0 for name in verdict.order):
        return ""
    who = "It" if len(verdict.order) == 1 else f"All {len(verdict.order)}"
    return f" {who} fell by generation 0, the first fit; what came after is told with generation 0 for --reference."


def _too_few(retentions: Sequence[Retention]) -> str:
    """How many slots there are where they are too few."""
    n_reference = max((r.n_slots for r in retentions), default=0)
    if n_reference < FEWEST_SLOTS:
        where = "" if any(r.n_reference for r in retentions) else " of the reference"
        return f"{n_reference} slots{where} were measured"
    n = max(int(np.where(np.isnan(r.value), 0, r.units)[r.n_reference :].max()) for r in retentions)
    return f"no generation beside the reference has more than {n} slots (or whole prompt groups) measured"


def _until(retentions: Sequence[Retention], ranking: Ranking, generations: Sequence[int]) -> str:
    """Said where the last generations take no part: unfinished, or lacking in the control arm."""
    if ranking.last == len(generations) - 1 or not any(r.decided[r.n_reference :].any() for r in retentions):
        return ""
    return f" Later generations than {generations[ranking.last]} have too few slots measured to be judged."


def _blind_sentence(verdict: Verdict) -> str:
    return f" Of {' and '.join(verdict.blind)} nothing could have shown even a total loss." if verdict.blind else ""


def _leader_sentence(verdict: Verdict, leader: tuple[str, float, float], labels: Mapping[str, str]) -> str:
    group, p, onset = leader
    when = f"from generation {onset:.0f} on (first in {_percent(p)} of resamples)"
    if verdict.blind:
        return (
            f"Cannot tell what erodes first: of what could be ranked the {group}, {when}, but "
            f"{' and '.join(verdict.blind)} could not be ranked."
        )
    start = f"{group.capitalize()} erode first" if group in ("eyes", "hands") else f"The {group} erodes first"
    if verdict.first_trait is None:
        return f"{start}, {when}; which of its traits leads cannot be told: {_leading(verdict, labels)}."
    name, share, _ = verdict.first_trait
    return f"{start}, {when}, led by: {labels[name]} ({_percent(share)})."


def _leading(verdict: Verdict, labels: Mapping[str, str]) -> str:
    """The traits among which the first one is, the likeliest by name; which of them may not have eroded at all."""
    if len(verdict.leaders) == 1:
        name, share = verdict.leaders[0]
        return f"it would be {labels[name]} ({_percent(share)}), which is undecided itself"
    n_named = MAX_LEADERS_NAMED + (len(verdict.leaders) == MAX_LEADERS_NAMED + 1)  # the last is as short as "1 more"
    leaders = [name for name, _ in verdict.leaders[:n_named]]
    named = [labels[name] + (" (undecided)" if name in verdict.undecided else "") for name in leaders]
    n_more = len(verdict.leaders) - len(named)
    more = f" or {n_more} more" if n_more else ""
    return f"it is one of {', '.join(named)}{more} ({_percent(sum(share for _, share in verdict.leaders))})"


def _undecided(ranking: Ranking, n_measured: int) -> str:
    states = [onset.state for onset in ranking.onsets.values()]
    open_, blind = states.count("cannot_tell"), states.count("not_rankable")
    said = f" {open_} of {n_measured} traits are undecided." if open_ else ""
    return said + (f" {blind} were too few or too noisy to have shown even a total loss." if blind else "")


def _end_sentence(end: NothingLeft) -> str:
    if end.why_not:
        return f" When nothing will be left cannot be extrapolated: {end.why_not}."
    if not math.isfinite(end.generation):
        return ""
    if not end.extrapolated:
        sure = "" if math.isfinite(end.high) else ", though not surely"
        return f" No facet is left from generation {end.generation:.0f} on{sure}."
    high = f"{end.high:.1f}" if math.isfinite(end.high) else "never"
    return (
        f" If every trait goes on as it fell, no facet is left from about generation {end.generation:.1f} on "
        f"(interval {end.low:.1f} to {high}; extrapolated, resampling error only)."
    )


def _percent(share: float) -> str:
    """Rounded down, so that display never makes a claim surer than it is."""
    return f"{math.floor(share * 100 + 1e-9)} %"
