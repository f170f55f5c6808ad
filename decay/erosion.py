"""Pure statistics: traits over generations -> retention, onset, order, verdict. Randomness comes in as draws.

Shapes: B resamples, G generations. Every array of draws is paired: draw b of one trait used the same
slots as draw b of another, so whole rankings can be compared draw by draw.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

Array = NDArray[np.float64]
NEVER = math.inf

THRESHOLD = 0.5
"""Onset is the first generation from which retention stays below this."""
SURE = 0.975
"""A trait counts as eroded when at least this share of the draws shows an onset."""
FEWEST_SLOTS = 12
"""Below this many slots no trait is called eroded: resampling few readings of a skewed trait understates its error
(shown by simulation in tests/decay/test_traits.py; compare Hesterberg 2015, doi:10.1080/00031305.2015.1089789)."""
P_FIRST = 0.8
"""A first trait or family is named only when it comes first in at least this share of the draws."""


CONTENDERS = ("eroded", "cannot_tell")
"""What may have come first. Undecided traits too: one that may have fallen before the winner takes from its share."""


@dataclass(frozen=True)
class Retention:
    """Retention of one trait: ``value`` (G,), ``draws`` (B, G); 1 at the reference, 0 at the floor, NaN unmeasured.

    ``n_slots``: how many slots stand behind its reference. ``n_reference``: how many of the first
    generations are the reference itself (1, or 0 with a ``real/`` folder).
    """

    name: str
    label: str
    group: str
    value: Array
    draws: Array
    n_slots: int
    n_reference: int = 1


@dataclass(frozen=True)
class Onset:
    """When one trait fell for good. ``value`` and ``low``..``high`` are generation numbers, inf for never.

    ``p_eroded``: share of draws with an onset. ``p_first``: share of draws in which no other trait,
    eroded or undecided, fell earlier (ties shared). ``smallest_detectable``: the loss of retention that would just
    have been called erosion. ``state``: ``eroded``, ``held``, ``cannot_tell`` or ``not_measured``.
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
class Verdict:
    """Which family and which trait fell first, or None where that cannot be told."""

    first_group: tuple[str, float, float] | None
    first_trait: tuple[str, float, float] | None
    order: tuple[str, ...]
    ties: tuple[tuple[str, ...], ...]
    not_rankable: tuple[str, ...]
    not_measured: tuple[str, ...]
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
    return float(wasserstein_distance(sample, reference)) / spread


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
    of_slot = [reference[slots == slot] for slot in np.unique(slots)]

    def drawn(n: int) -> Array:
        return np.concatenate([of_slot[index] for index in rng.integers(len(of_slot), size=n)])

    pairs = ((drawn(n_slots), drawn(len(of_slot))) for _ in range(n_repeats))
    return float(np.mean([wasserstein_distance(a, b) for a, b in pairs])) / spread


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


def onsets(retention: Array, generations: Sequence[int], threshold: float = THRESHOLD) -> Array:
    """First generation from which retention stays below the threshold to the end; inf for never.

    ``retention`` (..., G). Unmeasured generations are passed over; an onset needs a measured generation below.
    The generation of the reference itself (retention exactly 1) can be none.
    """
    stays = np.ones(retention.shape[:-1], dtype=bool)
    onset = np.full(retention.shape[:-1], NEVER)
    for index in range(retention.shape[-1] - 1, -1, -1):
        column = retention[..., index]
        stays &= np.isnan(column) | (column < threshold)
        onset = np.where(stays & ~np.isnan(column), float(generations[index]), onset)
    return onset


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


def share_first(onset_draws: Array) -> Array:
    """Share of draws (B, T) in which each trait's onset is the earliest; ties share, draws without onset give none."""
    if onset_draws.shape[1] == 0:
        return np.zeros(0)
    earliest = onset_draws.min(axis=1, keepdims=True)
    first = (onset_draws == earliest) & np.isfinite(earliest)
    winners = np.maximum(first.sum(axis=1, keepdims=True), 1)
    return np.asarray((first / winners).mean(axis=0), dtype=np.float64)


def rank(retentions: Sequence[Retention], generations: Sequence[int]) -> dict[str, Onset]:
    """Onset of every trait, with its interval and its share of first places over the draws."""
    draws = {r.name: onsets(r.draws, generations) for r in retentions}
    states = {r.name: _state(r, onsets(r.value, generations), draws[r.name]) for r in retentions}
    contenders = [r.name for r in retentions if states[r.name] in CONTENDERS]
    p_first = _shares({name: draws[name] for name in contenders})
    return {r.name: _onset(r, generations, draws[r.name], states[r.name], p_first.get(r.name, 0.0)) for r in retentions}


def _state(retention: Retention, onset: Array, onset_draws: Array) -> str:
    if np.isnan(retention.value[retention.n_reference :]).all():
        return "not_measured"
    p_eroded = float(np.isfinite(onset_draws).mean())
    if math.isfinite(float(onset)) and p_eroded >= SURE and retention.n_slots >= FEWEST_SLOTS:
        return "eroded"
    return "held" if p_eroded <= 1 - SURE else "cannot_tell"


def _onset(retention: Retention, generations: Sequence[int], onset_draws: Array, state: str, p_first: float) -> Onset:
    measured = state != "not_measured"
    low, high = interval(retention.draws[:, retention.n_reference :]) if measured else (np.zeros(1), np.zeros(1))
    # An interval end may fall between a finite onset and never: order statistics, not interpolation.
    onset_low, onset_high = np.quantile(onset_draws, [0.025, 0.975], method="inverted_cdf")
    return Onset(
        value=float(onsets(retention.value, generations)) if state == "eroded" else math.nan,
        low=float(onset_low) if measured else math.nan,
        high=float(onset_high) if measured else math.nan,
        half_life_generations=half_life(retention.value, generations, retention.n_reference) if measured else math.nan,
        p_eroded=float(np.isfinite(onset_draws).mean()) if measured else math.nan,
        p_first=p_first,
        smallest_detectable=_smallest_loss(retention, low, high) if measured else math.nan,
        state=state,
    )


def _smallest_loss(retention: Retention, low: Array, high: Array) -> float:
    """The loss that would just have been called erosion: down to the threshold, and the interval's reach beyond it.

    The reach is the longer arm of the interval, in the median over generations: near 1, the upper arm of a location
    trait is cut off.
    """
    value = retention.value[retention.n_reference :]
    reach = float(_quietly(np.nanmedian, np.maximum(high - value, value - low)))
    return 1.0 - THRESHOLD + reach


def judge(retentions: Sequence[Retention], ranked: Mapping[str, Onset], generations: Sequence[int]) -> Verdict:
    """The one-line answer. Families of traits first (a person asks "hands or eyes?"), then traits inside the first."""
    eroded = [r for r in retentions if ranked[r.name].state == "eroded"]
    contenders = [r for r in retentions if ranked[r.name].state in CONTENDERS]
    draws = {r.name: onsets(r.draws, generations) for r in contenders}
    by_group: dict[str, list[Array]] = {}
    for r in contenders:
        by_group.setdefault(r.group, []).append(draws[r.name])
    p_group = _shares({group: np.min(columns, axis=0) for group, columns in by_group.items()})
    onset_of = {g: min(ranked[r.name].value for r in eroded if r.group == g) for g in {r.group for r in eroded}}
    first_group = _first(p_group, onset_of)
    inside = [r for r in contenders if first_group and r.group == first_group[0]]
    p_trait = _shares({r.name: draws[r.name] for r in inside})
    first_trait = _first(p_trait, {r.name: ranked[r.name].value for r in eroded})
    labels = {r.name: r.label for r in retentions}
    named = (labels[first_trait[0]], first_trait[1]) if first_trait else None
    order = tuple(sorted((r.name for r in eroded), key=lambda name: (ranked[name].value, -ranked[name].p_first, name)))
    undecided = tuple(r.name for r in retentions if ranked[r.name].state == "cannot_tell")
    not_measured = tuple(r.name for r in retentions if ranked[r.name].state == "not_measured")
    return Verdict(
        first_group=first_group,
        first_trait=first_trait,
        order=order,
        ties=_ties(order, ranked),
        not_rankable=undecided,
        not_measured=not_measured,
        sentence=_sentence(
            first_group,
            named,
            order,
            p_group,
            n_undecided=len(undecided),
            n_measured=len(retentions) - len(not_measured),
            n_slots=max((r.n_slots for r in retentions), default=0),
            n_generations=len(generations),
        ),
    )


def _shares(draws: Mapping[str, Array]) -> dict[str, float]:
    """Each name's share of first places among these onset draws (B,)."""
    if not draws:
        return {}
    return dict(zip(draws, share_first(np.stack(list(draws.values()), axis=1)).tolist(), strict=True))


def _first(p: Mapping[str, float], onset: Mapping[str, float]) -> tuple[str, float, float] | None:
    """(name, share of first places, onset) of a clear winner that is sure to have eroded, else None."""
    name = max(p, key=lambda key: p[key], default="")
    return (name, p[name], onset[name]) if name in onset and p[name] >= P_FIRST else None


def _ties(order: Sequence[str], ranked: Mapping[str, Onset]) -> tuple[tuple[str, ...], ...]:
    """Traits that share an onset generation."""
    by_onset: dict[float, list[str]] = {}
    for name in order:
        by_onset.setdefault(ranked[name].value, []).append(name)
    return tuple(tuple(names) for names in by_onset.values() if len(names) > 1)


def _sentence(
    first_group: tuple[str, float, float] | None,
    first_trait: tuple[str, float] | None,
    order: Sequence[str],
    p_group: Mapping[str, float],
    n_undecided: int,
    n_measured: int,
    n_slots: int,
    n_generations: int,
) -> str:
    if n_measured == 0:
        why = "there is only one generation" if n_generations < 2 else "no trait could be measured in two generations"
        return f"Cannot tell what erodes: {why}."
    if n_slots < FEWEST_SLOTS:
        return f"Cannot tell what erodes: {n_slots} slots were measured; it takes {FEWEST_SLOTS} to decide anything."
    if not order:
        return (
            f"None of the {n_measured} traits that could be measured is sure to have fallen below half of its "
            "reference for good: nothing can be said to erode first."
        )
    if first_group is None:
        rivals = ", ".join(f"{name} {_percent(p)}" for name, p in sorted(p_group.items(), key=lambda x: -x[1]) if p > 0)
        return f"Cannot tell what erodes first: {len(order)} traits eroded, but the order is not sure ({rivals})."
    undecided = f" {n_undecided} of {n_measured} traits are undecided." if n_undecided else ""
    group, p, onset = first_group
    start = f"{group.capitalize()} erode first" if group in ("eyes", "hands") else f"The {group} erodes first"
    sentence = f"{start}, at generation {onset:.0f} (first in {_percent(p)} of resamples)"
    if first_trait is None:
        return f"{sentence}; which of its traits leads cannot be told.{undecided}"
    return f"{sentence}, led by: {first_trait[0]} ({_percent(first_trait[1])}).{undecided}"


def _percent(share: float) -> str:
    """Rounded down, so that display never makes a claim surer than it is."""
    return f"{math.floor(share * 100 + 1e-9)} %"
