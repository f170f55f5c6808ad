"""Readings -> traits: each generation's statistics, with intervals from resampled slots.

The unit of resampling is the slot (one prompt-and-seed position, the same in every generation). One
draw of slots serves all traits and all generations, so that generations stay paired and rankings can
be compared draw by draw.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from decay.compared import Sides, compare_all, losses_by_chance
from decay.erosion import (
    FEWEST_SLOTS,
    Array,
    Bounds,
    Ranking,
    Retention,
    band,
    centred,
    chance_distance,
    level_retention,
    location_distance,
    location_retention,
    reach,
    resampled_distances,
)
from decay.lineage import REFERENCE_INDEX
from decay.metadata import EXPECTABLE
from decay.rates import correctable, corrected, errors_in_words, rate_draws, with_one_more_unit
from decay.tables import EMBEDDING, Tables
from decay.vectors import stacked
from detectors.registry import families
from detectors.trait import (
    OK,
    Comparison,
    ErrorRates,
    Family,
    PreparedStatistic,
    ResampledStatistic,
    Resampling,
    Rows,
    Sample,
    Subject,
    Trait,
)

N_COSTLY = 200
"""Draws in which a statistic of vectors is told, where these have more than ..."""
MANY = 16
"""... numbers each."""
SUBSETS = 4
"""Random subsets averaged when a size-dependent statistic is brought to the size of the smallest generation."""

N_SPLITS = 60
"""Splits of the reference into halves behind a noise floor."""

BY_CHANCE = 1e-3
"""A generation of equal readings has collapsed where the reference would give it with less than this probability."""

AT_FLOOR = 0.025
"""A share has no retention where more than this of the reference's draws lie at the floor: there may be nothing to
lose, and a ratio to next to nothing is noise."""


SlotCounts = NDArray[np.integer[Any]]
"""How often each slot was drawn: (n_slots,), or (B, n_slots) in B draws."""
Teller = Callable[[Rows, Rows], float]
"""(rows of the generation, rows of the reference) -> the statistic of these subjects."""


@dataclass(frozen=True)
class Counted:
    """The measured subjects of one trait in one generation, and how many there should have been.

    ``slots``, ``units`` (n,): of each, its slot, and what is drawn with it: the slot itself, or its prompt group.
    """

    sample: Sample
    slots: NDArray[np.intp]
    n_expected: int
    units: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.sample)

    @property
    def n_slots(self) -> int:
        """How many slots have a measured subject."""
        return len(np.unique(self.slots))

    @property
    def n_units(self) -> int:
        """How many of what is drawn whole (slots, or prompt groups) have a measured subject."""
        return len(np.unique(self.units))

    @cached_property
    def commonest_share(self) -> float:
        """The share of subjects with the commonest of all readings."""
        subjects = zip(*self.sample.columns.values(), strict=True)
        counts = Counter(tuple(r.tobytes() if np.ndim(r) else r for r in readings) for readings in subjects)
        return max(counts.values(), default=0) / max(len(self), 1)

    def drawn(self, counts: SlotCounts) -> Rows:
        """The rows of the sample, each as often as its slot was drawn. ``counts``: (n_slots,)."""
        return np.repeat(np.arange(len(self)), counts[self.slots])

    def first(self, n: int, places: NDArray[np.intp]) -> Counted:
        """At most ``n`` of the subjects, of the slots with the lowest ``places`` (n_slots,), in the same order."""
        rows = np.sort(np.argsort(places[self.slots], kind="stable")[:n])
        return replace(self, sample=self.sample.take(rows), slots=self.slots[rows], units=self.units[rows])


@dataclass(frozen=True)
class TraitSeries:
    """One trait over G generations, with B draws: ``value`` (G,), ``draws`` (B, G), the same for ``retention``.

    ``measured`` (G,): share of subjects measured over the same share in the reference, at most 1.
    ``uncorrected`` (G,): the share as read, where ``value`` is corrected for the reading's errors; else NaN.
    ``reference``: its value in the reference; ``is_reference``: whether that is the first of the generations.
    ``n_slots``: slots behind the reference. ``n_units`` (G,): the lesser of the slots, or prompt groups drawn whole,
    behind the generation and behind the reference. ``n_lineages``, ``bounds``: see ``Retention``.
    ``embedder``: who made the face embeddings it rests on, empty for other traits.
    ``control``: the run whose drift is taken off the retention, "" for none.
    ``noise_floor``, ``if_selected``: see the functions of that name. ``most_kept``: see ``Retention``.
    ``repeat_loss``: what it loses when the same pictures are read again, NaN where that is not known;
    ``repeat_worst``: after which change (``decay.repeat``).
    ``is_part``: whether in some generation only ``trait.n_most`` of the measured subjects stand for all.
    """

    trait: Trait
    family: Family
    value: Array
    draws: Array
    reference: float
    is_reference: bool
    retention: Array
    retention_draws: Array
    n_expected: NDArray[np.intp]
    n_measured: NDArray[np.intp]
    measured: Array
    n_slots: int
    n_units: NDArray[np.intp]
    uncorrected: Array
    embedder: str = ""
    control: str = ""
    noise_floor: float = math.nan
    if_selected: Array | None = None
    most_kept: float = 1.0
    repeat_loss: float = math.nan
    repeat_worst: str = ""
    n_lineages: int = 1
    bounds: Bounds | None = None
    is_part: bool = False


@dataclass(frozen=True)
class Subjects:
    """One generation's subjects of one kind, in the order of their slots, whatever the files are called: what is
    drawn at random is drawn by position. ``rows``: of their table. ``slots``, ``groups`` (n,): of their images.
    ``expected`` (n,) by what: whether their image should show one. ``images``: the generation's.
    """

    images: pd.DataFrame
    rows: pd.DataFrame
    slots: NDArray[np.intp]
    groups: NDArray[np.object_]
    expected: Mapping[str, NDArray[np.bool_]]


class Draws:
    """Slot counts per draw, (B, n_slots), the same for every trait of a resampling kind.

    ``clusters`` (n_slots,): which slots are drawn together. Counts are small, and kept in as few bytes as they need.
    """

    clusters: NDArray[np.intp]
    bootstrap: SlotCounts
    half: SlotCounts

    def __init__(self, clusters: NDArray[np.intp], n_resamples: int, rng: np.random.Generator) -> None:
        n = int(clusters.max()) + 1 if len(clusters) else 0
        self.clusters = clusters
        self.bootstrap = np.empty((n_resamples, len(clusters)), dtype=np.min_scalar_type(n), order="F")
        for row in self.bootstrap:
            row[:] = rng.multinomial(n, np.full(max(n, 1), 1 / max(n, 1)))[clusters]
        self.half = np.empty((n_resamples, len(clusters)), dtype=np.uint8, order="F")
        for row in self.half:
            drawn = np.zeros(n, dtype=np.uint8)
            drawn[rng.permutation(n)[: (n + 1) // 2]] = 1
            row[:] = drawn[clusters]

    @classmethod
    def joined(cls, parts: Sequence[Draws], places: Sequence[NDArray[np.intp]], n_slots: int) -> Draws:
        """Draws of several sets of slots put together; ``places``: where the slots of each part belong."""
        whole = cls.__new__(cls)
        kind = np.result_type(*(part.bootstrap for part in parts))
        whole.bootstrap = np.zeros((len(parts[0].bootstrap), n_slots), dtype=kind)
        whole.half = np.zeros(whole.bootstrap.shape, dtype=np.uint8)
        whole.clusters = np.zeros(n_slots, dtype=np.intp)
        for part, columns in zip(parts, places, strict=True):
            whole.clusters[columns] = part.clusters + whole.clusters.max(initial=-1) + 1
            whole.bootstrap[:, columns], whole.half[:, columns] = part.bootstrap, part.half
        return whole

    def of_slots(self, places: NDArray[np.intp]) -> Draws:
        """The same draws of some of the slots, in this order."""
        part = copy(self)
        part.bootstrap, part.half = self.bootstrap[:, places], self.half[:, places]
        part.clusters = self.clusters[places]
        return part

    def of(self, kind: Resampling) -> SlotCounts:
        """The counts for one kind of resampling."""
        return self.bootstrap if kind == "bootstrap" else self.half


def readings_to_traits(
    tables: Tables,
    generations: Sequence[int],
    n_resamples: int,
    seed: int,
    of: Sequence[Family] | None = None,
    draws: Draws | None = None,
    same_subjects: bool = False,
) -> tuple[TraitSeries, ...]:
    """Every trait of every family over the generations, in the order of the families (``of``: instead of all known).

    Each trait has its own random stream (from ``seed`` and its name), so that no value depends on which
    other traits exist. ``draws``: of this run's slots in the order of their names, where other runs share them.
    ``same_subjects``: all generations show the very same, so that chance keeps no two of them apart.
    """
    slots = {slot: index for index, slot in enumerate(sorted(set(tables.images["slot"])))}
    draws = draws or Draws(clusters(tables.images), n_resamples, np.random.default_rng([seed, 0]))
    subjects = cache(lambda generation, subject: _subjects(tables, generation, subject, slots))
    own_reference = bool((tables.images["generation"] == REFERENCE_INDEX).any())
    everyone = [REFERENCE_INDEX, *generations] if own_reference else list(generations)
    return tuple(
        _series(
            [_count(subjects(generation, trait.subject), family, trait, draws.clusters) for generation in everyone],
            own_reference,
            family,
            trait,
            draws,
            np.random.default_rng([seed, 1, *trait.name.encode()]),
            _embedder(tables.faces) if EMBEDDING in trait.readings else "",
            same_subjects,
        )
        for family in (families() if of is None else of)
        for trait in family.traits
    )


def traits_to_retentions(series: Sequence[TraitSeries]) -> tuple[Retention, ...]:
    """What the erosion statistics need of each trait."""
    return tuple(
        Retention(
            name=s.trait.name,
            label=s.trait.label,
            group=s.family.group,
            value=s.retention,
            draws=s.retention_draws,
            measured=s.measured,
            n_slots=s.n_slots,
            n_reference=int(s.is_reference),
            falls=s.trait.kind == "level",
            noise_floor=s.noise_floor,
            if_selected=s.if_selected,
            most_kept=s.most_kept,
            repeat_loss=s.repeat_loss,
            n_units=s.n_units,
            n_lineages=s.n_lineages,
            bounds=s.bounds,
        )
        for s in series
    )


def traits_table(series: Sequence[TraitSeries], ranking: Ranking, generations: Sequence[int]) -> pd.DataFrame:
    """``traits.csv``: one row per generation and trait, columns as in the contract, then what charts need."""
    return pd.DataFrame.from_records([row for s in series for row in _rows(s, ranking, generations)])


def clusters(images: pd.DataFrame) -> NDArray[np.intp]:
    """Which slots are drawn together (n_slots,), in the order of the slots' names.

    Slots of one prompt group vary together, so groups are drawn whole (Davison & Hinkley 1997, section 3.8), where
    there are at least ``FEWEST_SLOTS`` of them. Fewer are taken for what they are, all the groups there are; then each
    slot is drawn by itself.
    """
    first = images.drop_duplicates("slot").sort_values("slot", kind="stable")
    groups = first["group"].where(first["group"] != "", first["slot"])
    if groups.nunique() < FEWEST_SLOTS:
        groups = first["slot"]
    return np.asarray(pd.factorize(groups)[0], dtype=np.intp)


def family_word(trait_name: str) -> str:
    """The family that a trait's name begins with."""
    return trait_name.partition("_")[0]


# --------------------------------------------------------------------------- one trait


def _series(
    everyone: Sequence[Counted],
    own_reference: bool,
    family: Family,
    trait: Trait,
    draws: Draws,
    rng: np.random.Generator,
    embedder: str,
    same_subjects: bool,
) -> TraitSeries:
    compared = slice(1 if own_reference else 0, None)
    counted, measured = everyone[compared], _still_measured(everyone[0], everyone[compared])
    is_part = trait.n_most is not None and max(map(len, everyone)) > trait.n_most
    if trait.n_most is not None and is_part:
        places = rng.permutation(len(draws.clusters))
        everyone = [c.first(trait.n_most, places) for c in everyone]
    # The reference comes first, once: where it is generation 0 itself, both are the same number, not two estimates.
    reference = everyone[0]
    size = min((len(c) for c in everyone if len(c) >= trait.n_min), default=0)
    if isinstance(trait.statistic, Comparison):
        sides = [Sides(c.sample, c.slots) for c in everyone]
        found = compare_all(trait, trait.statistic, sides, draws.of(trait.resampling), size, rng, same_subjects)
        trait, value, drawn = replace(trait, floor=found.floor), found.value, found.draws
    else:
        value = np.array([_value(trait, c.sample, reference.sample, size, rng) for c in everyone])
        drawn = _drawn(trait, everyone, draws.of(trait.resampling), size, rng)
    drawn = _share_draws(value, drawn, everyone, rng) if trait.is_share else _widened(trait, value, drawn, everyone)
    if isinstance(trait.statistic, ResampledStatistic) and trait.statistic.is_scale:
        drawn = np.clip(_with_pooled_error(value, drawn), *trait.bounds)
    uncorrected = value if trait.errors else np.full_like(value, np.nan)
    if trait.errors:
        value, drawn = _corrected(trait.errors, value, drawn, rng)
    if trait.kind == "level" and not trait.is_share:
        drawn = _with_one_unlike(value, drawn, everyone, rng)
    retention, retention_draws = _retentions(trait, everyone, value, drawn, draws, rng, same_subjects)
    return TraitSeries(
        trait=trait,
        family=family,
        value=value[compared],
        draws=drawn[:, compared],
        reference=float(value[0]),
        is_reference=not own_reference,
        retention=retention[compared],
        retention_draws=retention_draws[:, compared],
        n_expected=np.array([c.n_expected for c in counted], dtype=np.intp),
        n_measured=np.array([len(c) for c in counted], dtype=np.intp),
        measured=measured,
        n_slots=reference.n_slots,
        n_units=np.array([min(c.n_units, reference.n_units) for c in everyone[compared]], dtype=np.intp),
        uncorrected=uncorrected[compared],
        embedder=embedder,
        noise_floor=noise_floor(trait, reference, value[0], draws, rng),
        if_selected=if_selected(trait, reference, value[0], measured),
        most_kept=_most_kept(trait, value[0]),
        is_part=is_part,
    )


def _embedder(faces: pd.DataFrame) -> str:
    return ", ".join(sorted(set(faces["embedder"]) - {""}))


def _widened(trait: Trait, value: Array, drawn: Array, everyone: Sequence[Counted]) -> Array:
    """Draws centred on the estimate and spread as widely as the number of slots (or prompt groups), n, asks for.

    The bootstrap's variance is (n - 1) / n of the truth (Hesterberg 2015, doi:10.1080/00031305.2015.1089789).
    """
    n = np.array([max(c.n_units, 2) for c in everyone])
    widen = np.sqrt(n / (n - 1)) if trait.resampling == "bootstrap" else 1.0
    spread = (centred(value, drawn) - value) * widen
    return np.clip(np.where(np.isnan(value), np.nan, value + spread), *trait.bounds)


def _with_pooled_error(value: Array, drawn: Array) -> Array:
    """Draws (B, N) of a spread, none narrower in proportion to its value than the generations are on average.

    A sample without outliers understates both a spread and its error. What decays scales with its spread, so the
    error as a share of the value is one number, which all generations tell better than each by itself.
    """
    error = np.where(value > 0.0, drawn.std(axis=0) / np.where(value > 0.0, value, 1.0), np.nan)
    known = error > 0.0
    if not known.any():
        return drawn
    pooled = math.sqrt(float(np.mean(np.square(error[known]))))
    return np.asarray(value + (drawn - value) * np.where(known, np.maximum(pooled / np.where(known, error, 1.0), 1), 1))


def _share_draws(value: Array, drawn: Array, everyone: Sequence[Counted], rng: np.random.Generator) -> Array:
    """Draws of a share, each with one slot (or prompt group) more.

    Neither centred nor widened: they lean away from 0 and 1 as the truth may, and cover it at few slots as they are.
    """
    n_units = np.array([max(c.n_units, 1) for c in everyone], dtype=np.intp)
    return np.where(np.isnan(value), np.nan, with_one_more_unit(drawn, n_units, rng))


def _with_one_unlike(value: Array, drawn: Array, everyone: Sequence[Counted], rng: np.random.Generator) -> Array:
    """Draws (B, N) in which a generation of nothing but equal readings gets one unit more that nobody saw, either equal
    too or as the reference is: all of n alike does not mean all alike (see ``with_one_more_unit``).

    Where so many equal readings may come out of the reference by chance, the draws stay as they are, without any
    width, and so claim nothing.
    """
    reference, drawn = everyone[0], drawn.copy()
    for index, c in enumerate(everyone):
        alike = c.n_units > 1 and not drawn[:, index].std() and c.commonest_share == 1.0
        if alike and reference.commonest_share**c.n_units < BY_CHANCE:
            weight = rng.beta(1.0, c.n_units, size=len(drawn)) * rng.integers(2, size=len(drawn))
            drawn[:, index] += weight * (value[0] - value[index])
    return drawn


def _corrected(errors: ErrorRates, value: Array, drawn: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Shares (N,) and their draws (B, N) corrected for the reading's errors; all NaN where that cannot be done.

    One draw of the error rates serves all generations and the reference: it is one detector that read them.
    """
    sensitivity, specificity = rate_draws(errors, len(drawn), rng)
    if not correctable(errors, sensitivity, specificity):
        return np.full_like(value, np.nan), np.full_like(drawn, np.nan)
    draws = corrected(drawn, sensitivity[:, None], specificity[:, None])
    return corrected(value, errors.sensitivity, errors.specificity), draws


def _value(trait: Trait, sample: Sample, reference: Sample, size: int, rng: np.random.Generator) -> float:
    """The statistic, at the common size where it depends on size; NaN below ``n_min`` subjects."""
    if min(len(sample), len(reference)) < max(trait.n_min, 1):
        return math.nan
    tell, rows, others = _teller(trait, sample, reference), np.arange(len(sample)), np.arange(len(reference))
    if not trait.equal_n or len(sample) <= size:
        return tell(rows, others)
    return float(np.mean([tell(_at_most(size, rows, rng), others) for _ in range(SUBSETS)]))


def _teller(trait: Trait, sample: Sample, reference: Sample) -> Teller:
    statistic = trait.statistic
    if isinstance(statistic, PreparedStatistic):
        return statistic.prepare(sample, reference)
    return lambda rows, others: float(statistic(sample.take(rows), reference.take(others)))


def _at_most(size: int, rows: Rows, rng: np.random.Generator) -> Rows:
    return rows if len(rows) <= size else rows[rng.permutation(len(rows))[:size]]


def _still_measured(reference: Counted, counted: Sequence[Counted]) -> Array:
    """Share of subjects measured, over the same share in the reference: what has gone unmeasured since."""
    before = len(reference) / max(reference.n_expected, 1)
    return np.array([min(len(c) / max(c.n_expected, 1) / max(before, 1e-12), 1.0) for c in counted])


def _drawn(trait: Trait, everyone: Sequence[Counted], counts: SlotCounts, size: int, rng: np.random.Generator) -> Array:
    """The statistic in every resample, (B, N), the reference first.

    A statistic of vectors costs too much to be told two thousand times: it is told for the first ``N_COSTLY`` draws,
    which then stand for the others.
    """
    statistic = trait.statistic
    if isinstance(statistic, ResampledStatistic) and not trait.equal_n:
        return np.stack([_over(statistic, trait, c, counts) for c in everyone], axis=1)
    wide = any(column.ndim > 1 and column.shape[1] > MANY for c in everyone for column in c.sample.columns.values())
    few = counts[:N_COSTLY] if trait.equal_n or wide else counts
    reference = everyone[0]
    if trait.equal_n:  # what is left out is drawn resample by resample
        resamples = zip(*(_at_common_size(trait, everyone, row, size, rng) for row in few), strict=True)
        drawn = [_told(trait, c, reference, rows) for c, rows in zip(everyone, resamples, strict=True)]
    else:
        drawn = [_told(trait, c, reference, ((c.drawn(row), reference.drawn(row)) for row in few)) for c in everyone]
    return np.resize(np.stack(drawn, axis=1), (len(counts), len(everyone)))


def _told(trait: Trait, c: Counted, reference: Counted, resamples: Iterable[tuple[Rows, Rows]]) -> Array:
    """The statistic of each resample (rows of the generation, rows of the reference), (B,)."""
    if len(c) < trait.n_min:
        return np.array([math.nan for _ in resamples])
    tell = _teller(trait, c.sample, reference.sample)
    return np.array([tell(rows, others) if len(rows) and len(others) else math.nan for rows, others in resamples])


def _at_common_size(
    trait: Trait, everyone: Sequence[Counted], counts: SlotCounts, size: int, rng: np.random.Generator
) -> list[tuple[Rows, Rows]]:
    """One resample: of each generation, the reference first, its rows, and those of the reference."""
    others = everyone[0].drawn(counts)
    if trait.resampling == "half":
        size = (size + 1) // 2
    none = np.zeros(0, dtype=np.intp)
    enough = [len(c) >= trait.n_min and len(others) > 0 for c in everyone]
    return [
        (_at_most(size, c.drawn(counts), rng) if e else none, others) for c, e in zip(everyone, enough, strict=True)
    ]


def _over(statistic: ResampledStatistic, trait: Trait, c: Counted, counts: SlotCounts) -> Array:
    if len(c) < trait.n_min:
        return np.full(len(counts), np.nan)
    parts = (statistic.over(c.sample, part[:, c.slots].astype(np.float64)) for part in _parts(counts))
    return np.concatenate(list(parts))


def _parts(counts: SlotCounts) -> list[SlotCounts]:
    """Some hundred draws at a time: enough for speed, and little memory."""
    return [counts[start : start + 250] for start in range(0, len(counts), 250)]


def _retentions(
    trait: Trait,
    everyone: Sequence[Counted],
    value: Array,
    drawn: Array,
    draws: Draws,
    rng: np.random.Generator,
    same_subjects: bool,
) -> tuple[Array, Array]:
    """Retention of ``everyone``, the reference first: (N,) and (B, N)."""
    if trait.is_share and float(np.mean(drawn[:, 0] == trait.floor)) > AT_FLOOR:
        return np.full_like(value, np.nan), np.full_like(drawn, np.nan)
    if trait.kind == "level":
        retention = level_retention(value, value[0], trait.floor)
        return retention, level_retention(drawn, drawn[:, :1], trait.floor)
    name = trait.readings[0]
    numbers = [c.sample.numbers(name) for c in everyone]
    # The reference is at no distance from itself, not even by chance.
    units, sizes = everyone[0].units, [c.n_units for c in everyone]
    chance = np.array([0.0, *(chance_distance(numbers[0], units, n, rng, trait.resolution) for n in sizes[1:])])
    if same_subjects:
        chance = np.zeros_like(chance)
    point = np.where(np.isnan(value), np.nan, [location_distance(n, numbers[0], trait.resolution) for n in numbers])
    resampled = np.stack([_distances(trait, c, everyone[0], draws.of(trait.resampling)) for c in everyone], axis=1)
    distances = _widened(replace(trait, bounds=(0.0, math.inf)), point, resampled, everyone)
    return location_retention(point, chance), location_retention(distances, chance)


def noise_floor(trait: Trait, reference: Counted, value: float, draws: Draws, rng: np.random.Generator) -> float:
    """The loss that chance shows in 2.5 % of cases: of one half of the reference's slots against the other half.

    Scaled by the root of 2 from halves to the full size. NaN where a half is too small to be measured, or where the
    reference has nothing to lose.
    """
    halves = draws.half[:N_SPLITS]
    if len(halves) == 0 or reference.n_slots < 2 * trait.n_min or math.isnan(value):
        return math.nan
    if isinstance(trait.statistic, Comparison):
        sides = Sides(reference.sample, reference.slots)
        losses = losses_by_chance(trait, trait.statistic, sides, halves, trait.floor) / math.sqrt(2.0)
    else:
        losses = _losses_of_halves(trait, reference, halves, rng) / math.sqrt(2.0)
    if trait.kind == "location":
        numbers = reference.sample.numbers(trait.readings[0])
        chance = chance_distance(numbers, reference.units, reference.n_units, rng, trait.resolution)
        losses = 1.0 - location_retention(losses, chance)
    return float(np.nanquantile(losses, 0.975)) if not np.isnan(losses).all() else math.nan


def _losses_of_halves(
    trait: Trait, reference: Counted, halves: SlotCounts, rng: np.random.Generator
) -> NDArray[np.float64]:
    """The loss (of ``location`` traits: the distance) of the other half against each half, (B,)."""
    if trait.kind == "location":
        numbers = reference.sample.numbers(trait.readings[0])
        one, other = (part[:, reference.slots] for part in (halves, 1 - halves))
        return resampled_distances(numbers, numbers, other, one, trait.resolution)
    statistic = trait.statistic
    if isinstance(statistic, ResampledStatistic) and not trait.equal_n:
        values = np.stack([_over(statistic, trait, reference, part) for part in (halves, 1 - halves)], axis=1)
    else:
        tell = _teller(trait, reference.sample, reference.sample)
        values = np.array([_of_halves(trait, tell, reference, half, rng) for half in halves])
    if trait.errors:
        values = corrected(values, trait.errors.sensitivity, trait.errors.specificity)
    return 1.0 - level_retention(values[:, 1], values[:, 0], trait.floor)


def _of_halves(
    trait: Trait, tell: Teller, reference: Counted, half: SlotCounts, rng: np.random.Generator
) -> list[float]:
    one, other = reference.drawn(half), reference.drawn(1 - half)
    size = min(len(one), len(other))
    if size == 0:
        return [math.nan, math.nan]
    return [tell(_at_most(size, rows, rng) if trait.equal_n else rows, one) for rows in (one, other)]


def if_selected(trait: Trait, reference: Counted, value: float, measured: Array) -> Array | None:
    """The least retention (G,) that the unchanged reference shows when only these shares of it are left, if these are
    its lowest, its highest or its middle readings (Lee 2009, doi:10.1111/j.1467-937X.2009.00536.x).

    None for a share, whose bounds are known without it (``most_kept``), and for a trait that does not rest on one
    number per subject: there is no order to select by.
    """
    column = reference.sample.columns[trait.readings[0]]
    numeric = column.ndim == 1 and column.dtype != object and len(trait.readings) == 1
    if trait.is_share or not numeric or trait.equal_n or math.isnan(value):
        return None
    return np.array([_worst_part(trait, reference.sample, value, share) for share in measured])


def _most_kept(trait: Trait, value: float) -> float:
    """Retention where every subject is healthy: of a share that of all, of other traits the reference's own."""
    healthy = abs(value - trait.floor)
    return 1.0 / healthy if trait.is_share and healthy > 0.0 else 1.0


def _worst_part(trait: Trait, reference: Sample, value: float, share: float) -> float:
    n = len(reference)
    kept = round(share * n)
    if kept == n:
        return 1.0
    if kept < max(trait.n_min, 2):
        return 0.0
    order = np.argsort(reference.numbers(trait.readings[0]), kind="stable")
    parts = [reference.take(order[start : start + kept]) for start in (0, (n - kept) // 2, n - kept)]
    if trait.kind == "location":
        numbers = reference.numbers(trait.readings[0])
        distances = [location_distance(p.numbers(trait.readings[0]), numbers, trait.resolution) for p in parts]
        return 1.0 - max(distances)
    values = np.array([float(trait.statistic(part, reference)) for part in parts])
    return min(float(np.min(level_retention(values, value, trait.floor))), 1.0)


def _distances(trait: Trait, c: Counted, reference: Counted, counts: SlotCounts) -> Array:
    """How far a generation lies from the reference in each resample, (B,)."""
    name = trait.readings[0]
    if c is reference:
        return np.zeros(len(counts))
    if len(c) < 2 or len(reference) < 2:
        return np.full(len(counts), np.nan)
    numbers, others = c.sample.numbers(name), reference.sample.numbers(name)
    return resampled_distances(numbers, others, counts[:, c.slots], counts[:, reference.slots], trait.resolution)


def _subjects(tables: Tables, generation: int, subject: Subject, slots: Mapping[str, int]) -> Subjects:
    images = tables.images[tables.images["generation"] == generation]
    table = tables.of(subject)
    rows = table[table["generation"] == generation]
    place = pd.Index(images["image"]).get_indexer(pd.Index(rows["image"]))
    rows, place = rows[place >= 0], place[place >= 0]
    order = np.argsort(images["slot"].to_numpy(dtype=str)[place], kind="stable")
    rows, place = rows.iloc[order], place[order]
    return Subjects(
        images=images,
        rows=rows,
        slots=np.array([slots[slot] for slot in images["slot"]], dtype=np.intp)[place],
        groups=images["group"].to_numpy(dtype=object)[place],
        expected={what: (images[f"expects_{what}"] > 0).to_numpy()[place] for what in EXPECTABLE},
    )


def _count(subjects: Subjects, family: Family, trait: Trait, clusters: NDArray[np.intp]) -> Counted:
    """The subjects of one generation in which the trait was measured."""
    images = subjects.images
    measured = _measured(subjects.rows, family, trait)
    if trait.expects:
        images = images[images[f"expects_{trait.expects}"] > 0]
        measured = measured & subjects.expected[trait.expects]
    rows = subjects.rows
    columns = {name: _column(rows[name][measured], family, name) for name in trait.readings}
    sample = Sample(columns, subjects.groups[measured])
    slots = subjects.slots[measured]
    return Counted(sample, slots, _n_expected(images, trait), clusters[slots])


def _measured(rows: pd.DataFrame, family: Family, trait: Trait) -> NDArray[np.bool_]:
    """Rows in a state that counts as measured and, where that state is ok, with every number there."""
    states = rows[family.state_column].to_numpy(dtype=object)
    measured = np.isin(states, trait.measured_states)
    kinds = {reading.name: reading.kind for reading in (*family.readings, *family.borrowed)}
    for name in trait.readings:
        if kinds.get(name) == "number":
            measured &= ~np.isnan(rows[name].to_numpy(dtype=np.float64)) | (states != OK)
        elif kinds.get(name) == "vector":
            measured &= np.array([len(vector) > 0 for vector in rows[name]], dtype=bool)
    return measured


def _column(column: pd.Series, family: Family, name: str) -> NDArray[np.generic]:
    readings = (*family.readings, *family.borrowed)
    kind = next((reading.kind for reading in readings if reading.name == name), "word")
    if kind == "number":
        return np.asarray(column, dtype=np.float64)
    if kind == "word":
        return np.asarray(column, dtype=object)
    return stacked(list(column))


def _n_expected(images: pd.DataFrame, trait: Trait) -> int:
    """Subjects that should be there: what the image shows or should show, whichever is more."""
    if trait.subject == "image":
        return len(images)
    what = "hand" if trait.subject == "hand" else "face"
    found = images[f"n_{what}s"].to_numpy(dtype=np.float64, na_value=0.0)
    expected = int(np.maximum(found, images[f"expects_{what}"].to_numpy(dtype=np.float64)).sum())
    return 2 * expected if trait.subject == "eye" else expected


def _rows(series: TraitSeries, ranking: Ranking, generations: Sequence[int]) -> list[dict[str, object]]:
    trait = series.trait
    n = series.n_units if series.n_lineages == 1 else series.n_lineages
    values = band(series.value, reach(series.value, series.draws), ranking.critical, n)
    low, high = np.clip(values.low, *trait.bounds), np.clip(values.high, *trait.bounds)
    retention = ranking.bands[trait.name]
    shares = series.n_measured / np.maximum(series.n_expected, 1)
    return [
        {
            "generation": generation,
            "trait": trait.name,
            "label": trait.label,
            "unit": trait.unit,
            "direction": trait.direction,
            "n_expected": int(series.n_expected[index]),
            "n_measured": int(series.n_measured[index]),
            "frac_measured": float(shares[index]) if series.n_expected[index] else math.nan,
            "value": series.value[index],
            "value_uncorrected": series.uncorrected[index],
            "ci_low": low[index],
            "ci_high": high[index],
            "retention": series.retention[index],
            "retention_low": retention.low[index],
            "retention_high": retention.high[index],
            "reference_value": series.reference,
            "floor": trait.floor if trait.kind == "level" else math.nan,
            "kind": trait.kind,
            "family": family_word(trait.name),
            "group": series.family.group,
            "limits": _limits(series),
            "source": trait.source,
            "embedder": series.embedder,
        }
        for index, generation in enumerate(generations)
    ]


SIDED = "Without a control arm, mirror images among the training pictures cannot be told from decay."
"""Said of every trait whose meaning is left against right (random flips make those symmetric by themselves)."""


def _limits(series: TraitSeries) -> str:
    """The trait's limits, and what its retention and its correction rest on."""
    trait, errors = series.trait, series.trait.errors
    parts = [trait.limits, SIDED if trait.sided and not series.control else ""]
    if series.is_part:
        parts.append(f"Of more than {trait.n_most} measured in a generation so many, drawn by chance, stand for all.")
    if series.control:
        parts.append(f"From its retention the drift of the control arm {series.control} is taken off.")
    if errors is not None:
        refused = not np.isnan(series.uncorrected).all() and np.isnan(series.value).all()
        done = (
            "Cannot be corrected, so no value is given (the reading may be no better than chance)"
            if refused
            else "Corrected"
        )
        parts.append(f"{done}: {errors_in_words(errors)}")
    return " ".join(part for part in parts if part)
