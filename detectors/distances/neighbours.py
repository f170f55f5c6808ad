"""Precision, recall, density and coverage of a set of vectors against a reference, by balls of nearest neighbours.

Precision and recall: Kynkaanniemi et al. 2019, arXiv:1904.06991. Density and coverage: Naeem et al. 2020,
arXiv:2002.09797, eq. 4 and 7. Euclidean distances; a ball reaches to the k-th nearest other vector of its own set and
is open, as in the code that the authors of both published.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from detectors.trait import Comparison, Counts, Sample

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32] | NDArray[np.float64]
Which = Literal["precision", "recall", "density", "coverage"]

NEIGHBOURS = 5
N_SPLITS = 4
"""Splits of the reference into halves, averaged, where it is set beside itself."""
ROUNDING = 1e-12
"""Squared distances below this share of the squared lengths are those of equal vectors."""


@dataclass(frozen=True)
class Pairs:
    """Euclidean distances: ``own`` (n, n) of a generation, ``real`` (m, m) of the reference, ``across`` (m, n)."""

    own: Floats
    real: Floats
    across: Floats

    def some(self, own: NDArray[np.intp], real: NDArray[np.intp]) -> Pairs:
        """The same of these rows of each."""
        return Pairs(self.own[np.ix_(own, own)], self.real[np.ix_(real, real)], self.across[np.ix_(real, own)])


def pairs_of(vectors: Vectors, reference: Vectors) -> Pairs:
    """The distances of the vectors (n, d) of a generation and (m, d) of the reference."""
    own, real = np.asarray(vectors, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    return Pairs(_distances(own, own), _distances(real, real), _distances(real, own))


def share_of(which: Which, pairs: Pairs, neighbours: int = NEIGHBOURS) -> float:
    """One of the four, >= 0; all but density are at most 1. NaN where either set has no more than ``neighbours``.

    Precision: the generated vectors that lie in a ball of the reference. Recall: the reference's that lie in a ball of
    the generation. Density: balls of the reference that a generated vector lies in, over ``neighbours``. Coverage: the
    reference's whose ball has a generated vector in it.
    """
    if min(pairs.across.shape) <= neighbours:
        return math.nan
    if which == "recall":
        return float((pairs.across < _radii(pairs.own, neighbours)[None, :]).any(axis=1).mean())
    inside = pairs.across < _radii(pairs.real, neighbours)[:, None]
    if which == "precision":
        return float(inside.any(axis=0).mean())
    return float(inside.any(axis=1).mean() if which == "coverage" else inside.sum(axis=0).mean() / neighbours)


def compared_by_neighbours(name: str, which: Which) -> Comparison:
    """Statistic: one of the four, of the vectors ``name`` of a generation against the reference's."""

    def pairs(sample: Sample, reference: Sample) -> Pairs:
        return pairs_of(sample.vectors(name), reference.vectors(name))

    def over(sample: Sample, reference: Sample, counts: Counts, others: Counts) -> tuple[float, Floats]:
        every = pairs(sample, reference)
        drawn = zip(counts, others, strict=True)
        draws = [share_of(which, every.some(np.flatnonzero(a), np.flatnonzero(b))) for a, b in drawn]
        return share_of(which, every), np.array(draws)

    return Comparison(
        once=lambda sample, reference: share_of(which, pairs(sample, reference)),
        over=over,
        itself=lambda reference, rng: _of_halves(which, pairs(reference, reference), rng),
        floor=lambda reference: 0.0,
        floor_in_words="0",
    )


def _of_halves(which: Which, pairs: Pairs, rng: np.random.Generator) -> float:
    """One half of a set against the other."""
    half = len(pairs.real) // 2
    orders = [rng.permutation(len(pairs.real)) for _ in range(N_SPLITS)]
    return float(np.mean([share_of(which, pairs.some(order[:half], order[half:])) for order in orders]))


def _distances(one: Floats, other: Floats) -> Floats:
    sizes = np.sum(one**2, axis=1)[:, None] + np.sum(other**2, axis=1)[None, :]
    squared = sizes - 2.0 * one @ other.T
    return np.asarray(np.sqrt(np.where(squared > ROUNDING * sizes, squared, 0.0)), dtype=np.float64)


def _radii(distances: Floats, neighbours: int) -> Floats:
    """Distance (n,) to the k-th nearest other vector: the smallest of all, the first, is to itself."""
    return np.asarray(np.partition(distances, neighbours, axis=1)[:, neighbours], dtype=np.float64)
