"""The kernel distance of two sets of vectors (KID), and how much each vector matters to it.

Binkowski et al. 2018, arXiv:1801.01401: the squared maximum mean discrepancy (Gretton et al. 2012, JMLR 13) with the
kernel (x'y / d + 1)^3. Without bias: two sets of one population show 0 on average.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from detectors.distances.frechet import to_first_order
from detectors.trait import Comparison, Counts, Sample

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32] | NDArray[np.float64]

BLOCK = 512
"""Rows of the kernel's matrix that are held at a time."""


def kernel_distance(one: Vectors, other: Vectors) -> float:
    """The unbiased estimate from all pairs, of sets (n, d) and (m, d); may lie below 0. NaN below two vectors.

    The usual implementations average it over random subsets (of 1,000 vectors): that average tends to this number.
    """
    return kernel_influence(one, other)[0]


def kernel_influence(one: Vectors, other: Vectors) -> tuple[float, Floats, Floats]:
    """The distance, and its derivative by the weight of each vector, float64 (n,) and (m,), a weight of 1 being one
    vector: the first term of Hoeffding's decomposition. NaN, and zeros, below two vectors in either."""
    n, m = len(one), len(other)
    if min(n, m) < 2:
        return math.nan, np.zeros(n), np.zeros(m)
    near_one, near_other = _mean_to_rest(one), _mean_to_rest(other)
    across_one, across_other = _means_across(one, other)
    value = float(near_one.mean() + near_other.mean() - across_one.mean() - across_other.mean())
    by_one, by_other = near_one - across_one, near_other - across_other
    return value, 2.0 * (by_one - by_one.mean()) / n, 2.0 * (by_other - by_other.mean()) / m


def distance_of_one(vectors: Vectors) -> float:
    """Mean distance of one vector of the set, as often as one likes, from the set: the mean of k(x, x), less that of
    k(x, y). Of the mean itself it would be next to nothing: to first order the kernel sees means alone. NaN below two.
    """
    if len(vectors) < 2:
        return math.nan
    lengths = np.concatenate([np.sum(block**2, axis=1) for block in _blocks(vectors)])
    return float(np.mean((lengths / vectors.shape[1] + 1.0) ** 3) - _mean_to_rest(vectors).mean())


def compared_by_kernel(name: str) -> Comparison:
    """Statistic: the distance of the vectors ``name`` of a generation from the reference's."""

    def once(sample: Sample, reference: Sample) -> float:
        return kernel_distance(sample.vectors(name), reference.vectors(name))

    def over(sample: Sample, reference: Sample, counts: Counts, others: Counts) -> tuple[float, Floats]:
        value, by_one, by_other = kernel_influence(sample.vectors(name), reference.vectors(name))
        return value, value + to_first_order(counts, by_one) + to_first_order(others, by_other)

    return Comparison(
        once=once,
        over=over,
        itself=lambda reference, rng: 0.0,  # it has no bias: that is what another sample shows on average
        floor=lambda reference: distance_of_one(reference.vectors(name)),
        floor_in_words="the distance of one single picture of the reference, on average",
    )


def _blocks(vectors: Vectors) -> Iterator[Floats]:
    for start in range(0, len(vectors), BLOCK):
        yield np.asarray(vectors[start : start + BLOCK], dtype=np.float64)


def _kernel(one: Vectors, other: Vectors) -> Floats:
    left, right = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    return np.asarray((left @ right.T / left.shape[1] + 1.0) ** 3, dtype=np.float64)


def _mean_to_rest(vectors: Vectors) -> Floats:
    """Mean kernel (n,) of each vector with every other."""
    sums = np.empty(len(vectors))
    for start in range(0, len(vectors), BLOCK):
        rows = _kernel(vectors[start : start + BLOCK], vectors)
        itself = rows[np.arange(len(rows)), start + np.arange(len(rows))]
        sums[start : start + BLOCK] = rows.sum(axis=1) - itself
    return sums / (len(vectors) - 1)


def _means_across(one: Vectors, other: Vectors) -> tuple[Floats, Floats]:
    """Mean kernel of each vector with those of the other set, (n,) and (m,)."""
    rows, columns = np.empty(len(one)), np.zeros(len(other))
    for start in range(0, len(one), BLOCK):
        block = _kernel(one[start : start + BLOCK], other)
        rows[start : start + BLOCK] = block.mean(axis=1)
        columns += block.sum(axis=0)
    return rows, columns / len(one)
