"""The Frechet distance of two sets of vectors, and how much each vector matters to it.

Dowson & Landau 1982, doi:10.1016/0047-259X(82)90077-X; of generators' pictures, Heusel et al. 2017, arXiv:1706.08500,
eq. 6: |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), with covariances over n - 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from detectors.trait import Comparison, Counts, Sample

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32] | NDArray[np.float64]

BLOCK = 512
"""Vectors that are taken to float64 at a time: a set may be larger than memory."""
N_SPLITS = 4
"""Splits of a set into parts that are averaged where it is set beside itself."""
NEGLIGIBLE = 1e-12
"""Eigenvalues below this share of the largest are rounding: nothing varies there."""


@dataclass(frozen=True)
class _Moments:
    """``root``: float64 (r, d) with root' root = the covariance: the centred vectors themselves, or, where there are
    more of them than numbers in each, a symmetric root. ``inverse``: its pseudo-inverse then, else None."""

    mean: Floats
    root: Floats
    inverse: Floats | None


def frechet_distance(one: Vectors, other: Vectors) -> float:
    """Squared Frechet distance, >= 0, of two sets of vectors (n, d) and (m, d); NaN below two vectors in either.

    The trace of the root of S1 S2 is the sum of the singular values of R1 R2' for any R'R = S: where there are fewer
    vectors than numbers in each, that is a matrix of (n, m), and exact, where the root of S1 S2 is ill-conditioned.
    """
    if min(len(one), len(other)) < 2:
        return math.nan
    a, b = _moments(one), _moments(other)
    shared = float(np.linalg.svd(a.root @ b.root.T, compute_uv=False).sum())
    return _distance(a, b, shared)


def frechet_influence(one: Vectors, other: Vectors) -> tuple[float, Floats, Floats]:
    """The distance, and its derivative by the weight of each vector, float64 (n,) and (m,), a weight of 1 being one
    vector (the infinitesimal jackknife: Jaeckel 1972; Efron 1982, doi:10.1137/1.9781611970319, chapter 6).

    With singular vectors U s V' = R1 R2', the sum of s changes by half of sum_k s_k U_ik^2 with the weight of row i.
    NaN, and zeros, below two vectors in either.
    """
    if min(len(one), len(other)) < 2:
        return math.nan, np.zeros(len(one)), np.zeros(len(other))
    a, b = _moments(one), _moments(other)
    left, singular, right = np.linalg.svd(a.root @ b.root.T, full_matrices=False)
    apart = a.mean - b.mean
    influence = [
        _influence(vectors, moments, sign * apart, axes * np.sqrt(singular))
        for vectors, moments, sign, axes in ((one, a, 1.0, left), (other, b, -1.0, right.T))
    ]
    return _distance(a, b, float(singular.sum())), influence[0], influence[1]


def total_variance(vectors: Vectors) -> float:
    """Trace of the covariance: the distance of one single vector, at the mean, from the set. NaN below two vectors."""
    if len(vectors) < 2:
        return math.nan
    mean = _mean(vectors)
    return sum(float(np.square(block - mean).sum()) for block in _blocks(vectors)) / (len(vectors) - 1)


def frechet_by_chance(vectors: Vectors, rng: np.random.Generator) -> float:
    """The distance that two sets of this size and population show by chance, told from this one alone; >= 0.

    It falls with a power of the number (with 1/n where vectors are many: Chong & Forsyth 2020, arXiv:1911.07023; more
    slowly where covariances lack rank), so that what halves show against halves, and quarters against quarters, tells
    it at full size. NaN below eight vectors.
    """
    if len(vectors) < 8:
        return math.nan
    halves = _between_parts(vectors, 2, rng)
    quarters = _between_parts(vectors, 4, rng)
    return min(halves**2 / quarters, halves) if quarters > 0.0 else 0.0


def compared_by_frechet(name: str) -> Comparison:
    """Statistic: the distance of the vectors ``name`` of a generation from the reference's."""

    def once(sample: Sample, reference: Sample) -> float:
        return frechet_distance(sample.vectors(name), reference.vectors(name))

    def over(sample: Sample, reference: Sample, counts: Counts, others: Counts) -> tuple[float, Floats]:
        value, by_one, by_other = frechet_influence(sample.vectors(name), reference.vectors(name))
        return value, value + to_first_order(counts, by_one) + to_first_order(others, by_other)

    return Comparison(
        once=once,
        over=over,
        itself=lambda reference, rng: frechet_by_chance(reference.vectors(name), rng),
        floor=lambda reference: total_variance(reference.vectors(name)),
        floor_in_words="the reference's total variance: as far as one single picture at its mean",
    )


def to_first_order(counts: Counts, influence: Floats) -> Floats:
    """What weights ``counts`` (B, n), brought to a mean of 1, change: float64 (B,). NaN where nothing was drawn."""
    drawn = counts.sum(axis=1)
    weights = counts * (counts.shape[1] / np.where(drawn > 0.0, drawn, np.nan))[:, None]
    return np.asarray((weights - 1.0) @ influence, dtype=np.float64)


# --------------------------------------------------------------------------- parts


def _blocks(vectors: Vectors) -> Iterator[Floats]:
    for start in range(0, len(vectors), BLOCK):
        yield np.asarray(vectors[start : start + BLOCK], dtype=np.float64)


def _mean(vectors: Vectors) -> Floats:
    total = sum((block.sum(axis=0) for block in _blocks(vectors)), np.zeros(vectors.shape[1]))
    return np.asarray(total / len(vectors), dtype=np.float64)


def _moments(vectors: Vectors) -> _Moments:
    n, d = vectors.shape
    mean = _mean(vectors)
    if n <= d:
        return _Moments(mean, (np.asarray(vectors, dtype=np.float64) - mean) / math.sqrt(n - 1), None)
    covariance = np.zeros((d, d))
    for block in _blocks(vectors):
        centred = block - mean
        covariance += centred.T @ centred
    values, axes = eigh(covariance / (n - 1), overwrite_a=True)
    scales = np.sqrt(np.clip(values, 0.0, None))
    varies = values > NEGLIGIBLE * max(float(values[-1]), 0.0)
    inverse = np.divide(1.0, scales, out=np.zeros(d), where=varies)
    return _Moments(mean, (axes * scales) @ axes.T, (axes * inverse) @ axes.T)


def _distance(a: _Moments, b: _Moments, shared: float) -> float:
    apart = float(np.sum((a.mean - b.mean) ** 2))
    return max(apart + float(np.sum(a.root**2) + np.sum(b.root**2)) - 2.0 * shared, 0.0)


def _influence(vectors: Vectors, moments: _Moments, apart: Floats, axes: Floats) -> Floats:
    """``apart``: mean less the other's mean. ``axes``: singular vectors (r, k), each times the root of its value."""
    n = len(vectors)
    found = np.empty(n)
    start = 0
    for block in _blocks(vectors):
        centred = block - moments.mean
        here = slice(start, start + len(block))
        rows = axes[here] if moments.inverse is None else centred @ (moments.inverse @ axes) / math.sqrt(n - 1)
        found[here] = 2.0 * (centred @ apart) / n + np.sum(centred**2, axis=1) / (n - 1) - np.sum(rows**2, axis=1)
        start += len(block)
    return found


def _between_parts(vectors: Vectors, n_parts: int, rng: np.random.Generator) -> float:
    """Mean distance between two of ``n_parts`` equal parts, chosen by chance."""
    size = len(vectors) // n_parts
    found = []
    for _ in range(N_SPLITS):
        order = rng.permutation(len(vectors))
        found.append(frechet_distance(vectors[order[:size]], vectors[order[size : 2 * size]]))
    return float(np.mean(found))
