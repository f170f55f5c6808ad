"""Generations beside the reference: at equal size, against what chance shows, with the same slots in all."""

from __future__ import annotations

import math

import numpy as np
import pytest

from decay.compared import Sides, compare_all, losses_by_chance
from detectors import image_sifid
from detectors.distances.frechet import compared_by_frechet, frechet_distance, total_variance
from detectors.image_inception import COLUMN, FAMILY
from detectors.trait import Comparison, Sample, Trait

N, D = 80, 40
FID = next(trait for trait in FAMILY.traits if trait.name == "image_fid")
COMPARISON = compared_by_frechet(COLUMN)


def sides(seed: int, n: int = N, shift: float = 0.0, scale: float = 1.0) -> Sides:
    vectors = np.random.default_rng(seed).normal(size=(n, D)) * (1.0 + np.arange(D)) ** -0.5
    sample = Sample({COLUMN: (shift + scale * vectors).astype(np.float32)}, np.full(n, "", dtype=object))
    return Sides(sample, np.arange(n))


def counts(n_draws: int = 50) -> np.ndarray:
    return np.random.default_rng(9).multinomial(N, np.full(N, 1 / N), size=n_draws)


def compare(everyone: list[Sides], trait: Trait = FID, same: bool = False):
    size = min(len(side) for side in everyone if len(side) >= trait.n_min)
    comparison = trait.statistic
    assert isinstance(comparison, Comparison)
    return compare_all(trait, comparison, everyone, counts(), size, np.random.default_rng(0), same)


def test_another_sample_of_the_same_population_keeps_all_and_the_reference_is_no_nearer() -> None:
    found = compare([sides(0), sides(1), sides(2, shift=0.3)])
    assert found.value[0] == pytest.approx(found.value[1], rel=0.35)  # not 0, though a set is at 0 from itself
    assert found.value[2] > 2 * found.value[1]
    retention = (found.value - found.floor) / (found.value[0] - found.floor)
    assert retention[1] == pytest.approx(1.0, abs=0.1)
    assert found.draws.shape == (50, 3)
    assert found.draws[:, 0].std() == pytest.approx(0.0, abs=1e-9)
    assert found.draws[:, 2].std() > 0.0


def test_both_sides_are_brought_to_the_size_of_the_smallest_by_the_same_slots() -> None:
    reference, small = sides(0), sides(1, n=30)
    twin = Sides(reference.sample.take(np.arange(N)[::-1]), np.arange(N)[::-1].copy())
    found = compare([reference, small, twin])
    assert found.value[1] > frechet_distance(small.sample.vectors(COLUMN), reference.sample.vectors(COLUMN))
    assert found.value[2] == pytest.approx(0.0, abs=1e-6)  # the same pictures of the same slots, in another order
    assert found.floor != pytest.approx(total_variance(reference.sample.vectors(COLUMN)), rel=1e-6)


def test_a_point_at_the_references_mean_has_nothing_left() -> None:
    reference = sides(0)
    mean = reference.sample.vectors(COLUMN).mean(axis=0, keepdims=True)
    point = Sides(Sample({COLUMN: np.repeat(mean, N, axis=0)}, reference.sample.groups), reference.slots)
    found = compare([reference, point])
    assert found.value[1] == pytest.approx(found.floor, rel=1e-4)


def test_pictures_read_again_are_held_to_themselves() -> None:
    found = compare([sides(0), sides(0)], same=True)
    np.testing.assert_allclose(found.value, 0.0, atol=1e-6)


def test_too_few_say_nothing() -> None:
    few = sides(1, n=FID.n_min - 1)
    found = compare([sides(0), few, sides(2)])
    assert math.isnan(found.value[1])
    assert np.isnan(found.draws[:, 1]).all()
    assert np.isfinite(found.value[[0, 2]]).all()
    none = compare([few, sides(0)])
    assert np.isnan(none.value).all()
    assert math.isnan(none.floor)


def test_chance_moves_halves_of_the_reference_by_less_than_decay_does() -> None:
    reference = sides(0)
    halves = (np.random.default_rng(3).permuted(np.tile(np.arange(N) % 2, (30, 1)), axis=1)).astype(np.uint8)
    found = compare([reference, sides(2, shift=0.3)])
    losses = losses_by_chance(FID, COMPARISON, reference, halves, found.floor)
    assert losses.shape == (12,)
    assert abs(losses.mean()) < 1e-9
    lost = 1 - (found.value[1] - found.floor) / (found.value[0] - found.floor)
    assert 0 < losses.std() < 0.5 * lost


def test_pictures_drawn_anew_in_every_generation_are_as_far_from_their_own_as_the_references_from_one_another() -> None:
    def of(own: np.ndarray, apart: np.ndarray) -> Sides:
        columns = {image_sifid.OWN_DISTANCE: own, image_sifid.APART: apart}
        return Sides(Sample(columns, np.full(N, "", dtype=object)), np.arange(N))

    rng = np.random.default_rng(4)
    apart = rng.gamma(2.0, size=N)
    everyone = [of(each, apart) for each in (np.zeros(N), rng.permutation(apart), apart / 4, 3 * apart)]
    found = compare(everyone, image_sifid.FAMILY.traits[0])
    retention = (found.value - found.floor) / (found.value[0] - found.floor)
    assert retention == pytest.approx([1.0, 1.0, 1.75, -1.0])
    assert found.draws[:, 0].std() == pytest.approx(apart.std() / math.sqrt(N), rel=0.3)
