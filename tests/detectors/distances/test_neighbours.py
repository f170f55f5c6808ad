"""Precision, recall, density and coverage: at the ends of their scale, and in draws."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest

from detectors.distances.neighbours import NEIGHBOURS, Which, compared_by_neighbours, pairs_of, share_of
from detectors.trait import Sample


def features(seed: int, n: int, d: int, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (shift + scale * rng.normal(size=(n, d))).astype(np.float32)


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
    value, drawn = comparison.over(sample, reference, counts, others)
    assert value == comparison(sample, reference)
    assert drawn[0] == pytest.approx(share_of(which, pairs_of(one[::2], other[::2])))
    itself = comparison.itself(reference, np.random.default_rng(0))
    assert 0.3 < itself < 1.6
