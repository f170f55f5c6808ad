"""FID's arithmetic: as its published implementations have it, its derivative, and whether its interval covers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.linalg import sqrtm

from detectors.distances.frechet import (
    compared_by_frechet,
    frechet_by_chance,
    frechet_distance,
    frechet_influence,
    to_first_order,
    total_variance,
)
from detectors.trait import Sample


def features(seed: int, n: int, d: int, scale: float = 1.0, shift: float = 0.0, power: float = 0.5) -> np.ndarray:
    """Gaussian, with a spectrum that falls as those of networks do."""
    rng = np.random.default_rng(seed)
    return (shift + scale * rng.normal(size=(n, d)) * (1.0 + np.arange(d)) ** -power).astype(np.float32)


def by_definition(one: np.ndarray, other: np.ndarray) -> float:
    """Heusel et al. 2017, eq. 6, with scipy's matrix root, as clean-fid and the authors compute it."""
    a, b = np.cov(one.astype(float), rowvar=False), np.cov(other.astype(float), rowvar=False)
    apart = one.astype(float).mean(axis=0) - other.astype(float).mean(axis=0)
    return float(apart @ apart + np.trace(a + b) - 2 * np.trace(np.real(sqrtm(a @ b))))


@pytest.mark.parametrize(("n", "m", "d"), [(50, 50, 128), (40, 90, 64), (500, 400, 64)])
def test_it_is_the_distance_by_definition_either_way(n: int, m: int, d: int) -> None:
    one, other = features(1, n, d), features(2, m, d, 1.3, 0.1)
    # Where the covariances lack rank, their root is ill-conditioned: the definition errs, not this form.
    assert frechet_distance(one, other) == pytest.approx(by_definition(one, other), rel=1e-4 if n <= d else 1e-6)
    assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one), rel=1e-9)


def test_closed_forms() -> None:
    one = features(3, 200, 8)
    assert frechet_distance(one, one) == pytest.approx(0.0, abs=1e-5)
    assert frechet_distance(one, one + np.float32(2.0)) == pytest.approx(4.0 * 8, rel=1e-4)
    # The same spread scaled by 3: (3 - 1)^2 times the total variance.
    centred = one - one.mean(axis=0)
    assert frechet_distance(centred, 3 * centred) == pytest.approx(4 * total_variance(one), rel=1e-4)
    # One single vector at the mean.
    assert frechet_distance(np.repeat(one.mean(axis=0, keepdims=True), 5, axis=0), one) == pytest.approx(
        total_variance(one), rel=1e-4
    )
    assert math.isnan(frechet_distance(one[:1], one))
    assert math.isnan(frechet_by_chance(one[:7], np.random.default_rng(0)))


@pytest.mark.parametrize(("n", "m", "d"), [(30, 30, 48), (300, 200, 12), (30, 200, 48)])
def test_the_derivative_is_that_of_the_weighted_distance(n: int, m: int, d: int) -> None:
    one, other = features(4, n, d).astype(float), features(5, m, d, 1.2, 0.2).astype(float)
    _, by_one, by_other = frechet_influence(one, other)

    def weighted(vectors: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean = weights @ vectors / len(vectors)
        return mean, np.sqrt(weights)[:, None] * (vectors - mean) / math.sqrt(len(vectors) - 1)

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        (mean_a, s), (mean_b, t) = weighted(one, a), weighted(other, b)
        # The singular values of the factors' product, not the roots of the product's eigenvalues: those are noise at 0.
        shared = np.linalg.svd(s @ t.T, compute_uv=False).sum()
        return float(np.sum((mean_a - mean_b) ** 2) + np.sum(s**2) + np.sum(t**2) - 2 * shared)

    for count, influence, side in ((n, by_one, 0), (m, by_other, 1)):
        step = np.random.default_rng(6).normal(size=count)
        step -= step.mean()
        values = []
        for sign in (1e-4, -1e-4):
            sides = [np.ones(n), np.ones(m)]
            sides[side] = sides[side] + sign * step
            values.append(distance(*sides))
        assert step @ influence == pytest.approx((values[0] - values[1]) / 2e-4, rel=1e-3)


def test_more_vectors_than_fit_a_block_change_nothing() -> None:
    one, other = features(7, 1300, 6), features(8, 700, 6, 1.1)
    _, by_one, _ = frechet_influence(one, other)
    order = np.random.default_rng(0).permutation(len(one))
    value, shuffled, _ = frechet_influence(one[order], other)
    assert value == pytest.approx(by_definition(one, other), rel=1e-6)
    np.testing.assert_allclose(shuffled, by_one[order], atol=1e-10)


@pytest.mark.parametrize(("n", "d"), [(40, 64), (400, 64)])
def test_what_chance_shows_is_told_from_one_set_alone(n: int, d: int) -> None:
    true = np.mean([frechet_distance(features(2 * s, n, d), features(2 * s + 1, n, d)) for s in range(20)])
    rng = np.random.default_rng(0)
    told = np.mean([frechet_by_chance(features(1000 + s, n, d), rng) for s in range(20)])
    assert told == pytest.approx(true, rel=0.15)


@pytest.mark.parametrize(("n", "d"), [(60, 96), (300, 24)])
def test_the_interval_covers_what_many_samples_show_on_average(n: int, d: int) -> None:
    """Below the dimension of the features and above it, the 95 % interval holds what this number of pictures shows."""
    comparison = compared_by_frechet("v")
    pairs = [(features(3 * s, n, d, 0.8, 0.15), features(3 * s + 1, n, d)) for s in range(120)]
    truth = np.mean([frechet_distance(one, other) for one, other in pairs])
    rng = np.random.default_rng(1)
    n_covered = 0
    for one, other in pairs:
        counts = [rng.multinomial(n, np.full(n, 1 / n), size=400).astype(float) for _ in range(2)]
        sample, reference = (Sample({"v": v}, np.full(n, "", dtype=object)) for v in (one, other))
        low, high = np.quantile(comparison.over(sample, reference, counts[0], counts[1])[1], (0.025, 0.975))
        n_covered += bool(low <= truth <= high)
    # 120 intervals of 95 %: 114 on average, 107 to 120 in all but 1 % of cases.
    assert n_covered >= 107


def test_counts_are_brought_to_a_mean_of_one() -> None:
    influence = np.array([1.0, 2.0, 3.0])
    counts = np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
    changed = to_first_order(counts, influence)
    np.testing.assert_allclose(changed[:3], [0.0, 0.0, 9.0 - 6.0])
    assert math.isnan(changed[3])
