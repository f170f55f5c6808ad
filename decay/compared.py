"""Traits that set a generation beside the reference: both at equal size, against what chance shows between two samples.

What a set shows against itself is no reference: its distance from itself is 0, from another set of the same population
it is not. So the reference is held to what another sample of its own population would show.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decay.erosion import Array, level_retention
from detectors.trait import Comparison, Sample, Trait

SlotCounts = NDArray[np.integer[Any]]
"""How often each slot is drawn, (B, n_slots)."""
N_COSTLY = 200
"""Draws in which a comparison that must be made anew for each is told; the others repeat them."""
N_SPLITS = 12
"""Splits of the reference into halves behind the noise floor: each costs as much as a generation."""


@dataclass(frozen=True)
class Sides:
    """One generation's measured subjects, and the slot (n,) of each."""

    sample: Sample
    slots: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.slots)

    def cut(self, size: int, order: NDArray[np.intp]) -> Sides:
        """The ``size`` subjects whose slots come first in ``order`` (n_slots,): the same slots in every generation."""
        if len(self) <= size:
            return self
        rows = np.sort(np.argsort(order[self.slots], kind="stable")[:size])
        return Sides(self.sample.take(rows), self.slots[rows])


@dataclass(frozen=True)
class Compared:
    """``value`` (N,), the reference first; ``draws`` (B, N); ``floor``: the value at which nothing is left."""

    value: Array
    draws: Array
    floor: float


def compare_all(
    trait: Trait,
    comparison: Comparison,
    everyone: Sequence[Sides],
    counts: SlotCounts,
    size: int,
    rng: np.random.Generator,
    same_subjects: bool,
) -> Compared:
    """The trait of every generation; the reference comes first in ``everyone``.

    ``counts``: int (B, n_slots), how often each slot is drawn. ``size``: subjects of the smallest generation, to which
    a trait of ``equal_n`` brings all, the reference too. ``same_subjects``: the generations show the very same
    subjects as the reference, so that chance keeps them not apart from it.
    """
    whole = everyone[0]
    if len(whole) < max(trait.n_min, 1):
        return Compared(np.full(len(everyone), math.nan), np.full((len(counts), len(everyone)), math.nan), math.nan)
    limit = size if trait.equal_n else max(map(len, everyone))
    order = rng.permutation(counts.shape[1])
    reference = whole.cut(limit, order)
    value, drawn = [], []
    for side in everyone:  # one at a time: the vectors of all generations may not fit into memory
        found, draws = _compare(trait, comparison, side.cut(limit, order), reference, counts)
        if side is whole and not same_subjects:
            itself = comparison.itself(reference.sample, rng)
            found, draws = itself, draws - found + itself
        value.append(found)
        drawn.append(draws)
    return Compared(np.array(value), np.stack(drawn, axis=1), comparison.floor(reference.sample))


def losses_by_chance(trait: Trait, comparison: Comparison, reference: Sides, halves: SlotCounts, floor: float) -> Array:
    """How far the comparison of one half of the reference with the other scatters about its mean, as a share of what
    can be lost: (``N_SPLITS``,). ``halves``: 0 or 1, (B, n_slots)."""
    found = []
    for half in halves[:N_SPLITS]:
        drawn = half[reference.slots] > 0
        one, other = (reference.sample.take(np.flatnonzero(part)) for part in (drawn, ~drawn))
        size = min(len(one), len(other))
        found.append(comparison(other.take(np.arange(size)), one.take(np.arange(size))))
    values = np.array(found)
    return 1.0 - level_retention(values, float(np.mean(values)), floor)


def _compare(
    trait: Trait, comparison: Comparison, side: Sides, reference: Sides, counts: SlotCounts
) -> tuple[float, Array]:
    """The value and its draws (B,)."""
    if len(side) < max(trait.n_min, 1):
        return math.nan, np.full(len(counts), math.nan)
    few = counts[:N_COSTLY] if trait.resampling == "half" else counts
    here, there = (few[:, each.slots].astype(np.float64) for each in (side, reference))
    value, draws = comparison.over(side.sample, reference.sample, here, there)
    return value, np.resize(draws, len(counts))
