"""Precision, recall, density and coverage: as the authors' package gives them, and at the ends of their scale."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest

from detectors.distances.neighbours import NEIGHBOURS, Which, compared_by_neighbours, pairs_of, share_of
from detectors.trait import Sample

# prdc 0.2's compute_prdc of features(1, n, d) as real and features(2, m, d, 0.7, 0.05) as generated, k = 5.
PRDC = {
    (100, 80, 32): {"precision": 1.0, "recall": 0.13, "density": 5.745000000000001, "coverage": 1.0},
    (300, 300, 16): {
        "precision": 0.9966666666666667,
        "recall": 0.3333333333333333,
        "density": 3.348,
        "coverage": 0.9966666666666667,
    },
}


def features(seed: int, n: int, d: int, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (shift + scale * rng.normal(size=(n, d))).astype(np.float32)


@pytest.mark.parametrize("shape", sorted(PRDC))
def test_they_are_what_the_authors_package_gives(shape: tuple[int, int, int]) -> None:
    n, m, d = shape
    pairs = pairs_of(features(2, m, d, 0.7, 0.05), features(1, n, d))
    for which, expected in PRDC[shape].items():
        assert share_of(which, pairs, NEIGHBOURS) == pytest.approx(expected, abs=1e-12), which  # type: ignore[arg-type]


def test_the_package_itself_agrees_where_it_is_installed() -> None:
    prdc = pytest.importorskip("prdc")
    real, generated = features(3, 120, 24), features(4, 90, 24, 0.8)
    expected = prdc.compute_prdc(real, generated, nearest_k=NEIGHBOURS)
    pairs = pairs_of(generated, real)
    assert {which: share_of(which, pairs) for which in get_args(Which)} == pytest.approx(expected)


def test_a_generation_that_is_the_reference_has_everything_and_one_elsewhere_nothing() -> None:
    real = features(5, 60, 8)
    itself, elsewhere = pairs_of(real, real), pairs_of(real + np.float32(100.0), real)
    for which in get_args(Which):
        assert share_of(which, itself) >= 1.0 - 1e-12
        assert share_of(which, elsewhere) == 0.0
        assert math.isnan(share_of(which, pairs_of(real[:NEIGHBOURS], real)))


def test_copies_of_one_typical_picture_are_precise_and_cover_next_to_nothing() -> None:
    real = features(6, 60, 8)
    pairs = pairs_of(np.repeat(real[:1], 60, axis=0), real)
    assert share_of("precision", pairs) == 1.0
    assert share_of("recall", pairs) == 0.0  # a ball of no size reaches nothing
    assert share_of("coverage", pairs) < 0.35


@pytest.mark.parametrize("which", get_args(Which))
def test_a_draw_is_the_same_as_the_statistic_of_what_was_drawn(which: Which) -> None:
    comparison = compared_by_neighbours("v", which)
    one, other = features(7, 40, 6, 0.8), features(8, 50, 6)
    sample, reference = (Sample({"v": v}, np.full(len(v), "", dtype=object)) for v in (one, other))
    counts, others = np.zeros((1, 40)), np.zeros((1, 50))
    counts[0, ::2], others[0, ::2] = 1.0, 1.0
    drawn = comparison.over(sample, reference, counts, others)
    assert drawn[0] == pytest.approx(share_of(which, pairs_of(one[::2], other[::2])))
    itself = comparison.itself(reference, np.random.default_rng(0))
    assert 0.3 < itself < 1.6
