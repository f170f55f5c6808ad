"""KID's arithmetic: its derivative, without bias, with an interval that covers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from detectors.distances.kernel import compared_by_kernel, distance_of_one, kernel_distance, kernel_influence
from detectors.trait import Sample


def features(seed: int, n: int, d: int, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (shift + scale * rng.normal(size=(n, d)) * (1.0 + np.arange(d)) ** -0.5).astype(np.float32)


def test_the_average_over_subsets_that_others_take_tends_to_it() -> None:
    one, other = features(3, 60, 16), features(4, 60, 16, 1.2)
    rng = np.random.default_rng(0)
    some = [kernel_distance(one[rng.permutation(60)[:30]], other[rng.permutation(60)[:30]]) for _ in range(2000)]
    assert np.mean(some) == pytest.approx(kernel_distance(one, other), abs=4 * np.std(some) / math.sqrt(2000))


def test_two_sets_of_one_population_show_nothing_on_average() -> None:
    found = [kernel_distance(features(2 * s, 40, 32), features(2 * s + 1, 40, 32)) for s in range(200)]
    assert abs(np.mean(found)) < 4 * np.std(found) / math.sqrt(200)


def test_copies_of_one_vector_are_as_far_as_is_said() -> None:
    one = features(5, 50, 8).astype(float)
    far = [kernel_distance(np.repeat(vector[None], 2, axis=0), one) for vector in one]
    # Each of these has itself among the others, which the distance from the population has not.
    n = len(one)
    itself = np.mean((np.sum(one**2, axis=1) / 8 + 1) ** 3)
    between = (n * np.mean((one @ one.T / 8 + 1) ** 3) - itself) / (n - 1)
    assert np.mean(far) == pytest.approx(distance_of_one(one) + 2 * (between - itself) / n, rel=1e-9)
    assert math.isnan(distance_of_one(one[:1]))


def test_the_derivative_is_that_of_the_weighted_distance() -> None:
    n, m, d = 20, 15, 6
    one, other = features(6, n, d).astype(float), features(7, m, d, 1.2, 0.2).astype(float)
    own, real, across = ((a @ b.T / d + 1) ** 3 for a, b in ((one, one), (other, other), (one, other)))

    def weighted(a: np.ndarray, b: np.ndarray) -> float:
        total = -2 * a @ across @ b / (a.sum() * b.sum())
        for matrix, weights in ((own, a), (real, b)):
            pairs = np.outer(weights, weights)
            np.fill_diagonal(pairs, 0)
            total += float((matrix * pairs).sum() / pairs.sum())
        return float(total)

    value, by_one, by_other = kernel_influence(one, other)
    assert value == pytest.approx(weighted(np.ones(n), np.ones(m)))
    for count, influence, side in ((n, by_one, 0), (m, by_other, 1)):
        step = np.random.default_rng(8).normal(size=count)
        step -= step.mean()
        ends = [[np.ones(n), np.ones(m)] for _ in range(2)]
        for end, sign in zip(ends, (1e-5, -1e-5), strict=True):
            end[side] = end[side] + sign * step
        assert step @ influence == pytest.approx((weighted(*ends[0]) - weighted(*ends[1])) / 2e-5, rel=1e-4)


def test_the_interval_covers() -> None:
    n, d = 80, 32
    comparison = compared_by_kernel("v")
    truth = kernel_distance(features(100_000, 4000, d, 0.7, 0.2), features(100_001, 4000, d))
    rng = np.random.default_rng(1)
    n_covered = 0
    for s in range(150):
        sides = (features(3 * s, n, d, 0.7, 0.2), features(3 * s + 1, n, d))
        counts = [rng.multinomial(n, np.full(n, 1 / n), size=400).astype(float) for _ in range(2)]
        sample, reference = (Sample({"v": v}, np.full(n, "", dtype=object)) for v in sides)
        low, high = np.quantile(comparison.over(sample, reference, counts[0], counts[1])[1], (0.025, 0.975))
        n_covered += bool(low <= truth <= high)
    assert n_covered >= 134  # 150 intervals of 95 %: 142.5 on average, 134 or more in all but half a percent of cases
