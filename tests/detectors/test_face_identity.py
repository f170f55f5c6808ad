"""Diversity of embeddings: closed forms, brute force, and which way each statistic moves in a collapse."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from detectors import face_identity as identity
from detectors.face_identity import FAMILY, Floats
from detectors.trait import PreparedStatistic, Sample, View

TRAITS = {trait.name: trait for trait in FAMILY.traits}


def unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def random_unit(n: int, d: int, seed: int) -> Floats:
    return unit(np.random.default_rng(seed).normal(size=(n, d)))


def people(n_people: int, n_each: int, spread: float, seed: int, d: int = 64) -> Floats:
    """n_people random directions, each seen n_each times with noise."""
    rng = np.random.default_rng(seed)
    centres = np.repeat(unit(rng.normal(size=(n_people, d))), n_each, axis=0)
    return unit(centres + spread * rng.normal(size=(n_people * n_each, d)) / math.sqrt(d))


def sample(vectors: Floats, groups: list[str] | None = None) -> Sample:
    names = groups or ["g"] * len(vectors)
    columns = {"face_embedding": vectors.astype(np.float32), "face_same_person_cosine": np.full(len(vectors), 0.4)}
    return Sample(columns, np.array(names, dtype=object))


def value(name: str, generation: Sample, reference: Sample) -> float:
    return TRAITS[name].statistic(generation, reference)


@pytest.mark.parametrize("shape", [(2, 5), (30, 8), (8, 30)])
def test_pairwise_distance_equals_brute_force(shape: tuple[int, int]) -> None:
    vectors = random_unit(*shape, seed=1)
    pairs = [1 - vectors[i] @ vectors[j] for i in range(shape[0]) for j in range(i)]
    assert identity.mean_pairwise_distance(vectors) == pytest.approx(np.mean(pairs))


def test_pairwise_distance_of_opposites_is_two_and_of_one_vector_unknown() -> None:
    assert identity.mean_pairwise_distance(np.array([[1.0, 0], [-1, 0]])) == pytest.approx(2)
    assert math.isnan(identity.mean_pairwise_distance(np.array([[1.0, 0]])))


@pytest.mark.parametrize("n", [1, 3, 12])
def test_vendi_of_n_orthogonal_is_n_and_of_n_identical_is_one(n: int) -> None:
    orthogonal, alike = np.eye(12)[:n], np.tile(np.eye(12)[:1], (n, 1))
    for score in (identity.vendi_score, identity.vendi_score_infinite):
        assert score(orthogonal) == pytest.approx(n)
        assert score(alike) == pytest.approx(1)


def test_vendi_of_unequal_kinds_is_the_hill_number_of_their_shares() -> None:
    """With fully distinct kinds the Vendi score is Hill's effective number of species (Friedman & Dieng 2023, 3)."""
    shares = np.array([0.5, 0.3, 0.2])
    vectors = np.repeat(np.eye(3), [50, 30, 20], axis=0)
    assert identity.vendi_score(vectors) == pytest.approx(math.exp(-(shares * np.log(shares)).sum()))
    assert identity.vendi_score_infinite(vectors) == pytest.approx(1 / 0.5)


@pytest.mark.parametrize("shape", [(40, 10), (10, 40)])
def test_vendi_is_the_same_from_either_side_of_the_kernel(shape: tuple[int, int]) -> None:
    vectors = random_unit(*shape, seed=2)
    values = np.linalg.eigvalsh(vectors @ vectors.T / shape[0])
    positive = values[values > 1e-12]
    assert identity.vendi_score(vectors) == pytest.approx(math.exp(-(positive * np.log(positive)).sum()))


@pytest.mark.parametrize("k", [1, 2, 5])
def test_effective_rank_counts_directions(k: int) -> None:
    cross = np.vstack([np.eye(10)[:k], -np.eye(10)[:k]])  # both ways along k directions
    assert identity.effective_rank(cross) == pytest.approx(k)


def test_effective_rank_is_the_entropy_of_the_singular_values() -> None:
    vectors = random_unit(20, 6, 13)
    shares = np.linalg.svd(vectors, compute_uv=False)
    shares = shares / shares.sum()
    assert identity.effective_rank(vectors) == pytest.approx(math.exp(-(shares * np.log(shares)).sum()))


def test_nearest_distance_sees_duplicates() -> None:
    vectors = np.eye(4)
    assert identity.nearest_distances(vectors) == pytest.approx(np.ones(4))
    assert identity.nearest_distances(np.vstack([vectors, vectors])) == pytest.approx(np.zeros(8))


def test_distinct_share_counts_people() -> None:
    vectors = people(n_people=7, n_each=4, spread=0.3, seed=3)
    assert identity.distinct_share(vectors, 0.4) == pytest.approx(7 / 28)
    assert value("face_distinct_share", sample(vectors), sample(vectors)) == pytest.approx(7 / 28)


@pytest.mark.parametrize("measure", [identity.coverage, identity.recall])
def test_a_set_covers_itself_and_not_its_opposite(measure: Callable[[Floats, Floats, int], float]) -> None:
    near = people(n_people=1, n_each=40, spread=0.5, seed=4)
    assert measure(near, near, 5) == 1
    assert measure(-near, near, 5) == 0


def test_coverage_of_half_the_kinds_is_a_half() -> None:
    reference = people(n_people=8, n_each=10, spread=0.2, seed=5)
    assert identity.coverage(reference[:40], reference, 5) == pytest.approx(0.5)
    assert identity.recall(reference[:40], reference, 5) == pytest.approx(0.5)


def test_coverage_equals_brute_force() -> None:
    generated, reference = random_unit(25, 6, 6), random_unit(30, 6, 7)
    k, covered, reached = 3, 0, 0
    for r in reference:
        radius = np.sort([1 - r @ o for o in reference])[k]  # the first is r itself
        covered += any(1 - r @ g <= radius for g in generated)
        reached += any(1 - r @ g <= np.sort([1 - g @ o for o in generated])[k] for g in generated)
    assert identity.coverage(generated, reference, k) == pytest.approx(covered / 30)
    assert identity.recall(generated, reference, k) == pytest.approx(reached / 30)


def test_two_samples_of_one_population_cover_each_other() -> None:
    """Expected coverage is about 1 - 1/2^k = 0.97 at equal size (Naeem et al. 2020, eq. 12)."""
    a, b = random_unit(400, 8, 8), random_unit(400, 8, 9)
    assert identity.coverage(a, b, 5) == pytest.approx(0.97, abs=0.03)


def test_too_few_neighbours_are_unknown() -> None:
    few = random_unit(5, 4, 0)
    assert math.isnan(identity.coverage(few, few, 5))
    assert math.isnan(identity.recall(few, few, 5))


def test_persons_are_told_apart_only_by_an_embedder_that_can(face_at) -> None:
    face = replace(face_at(100.0, (200.0, 200.0)), embedding=np.ones(1, np.float32))
    view = View(np.zeros((400, 400, 3), np.uint8), (face,))
    assert math.isnan(float(FAMILY.measure(view, face).values["face_same_person_cosine"]))
    told = replace(face, same_person_cosine=0.41)
    assert FAMILY.measure(view, told).values["face_same_person_cosine"] == 0.41


def test_within_group_distance_ignores_pairs_across_groups() -> None:
    generation = sample(np.repeat(np.eye(3), 4, axis=0), ["a"] * 4 + ["b"] * 4 + ["c"] * 4)
    assert value("face_within_group_distance", generation, generation) == pytest.approx(0)
    assert value("face_pairwise_distance", generation, generation) == pytest.approx(48 / 66)
    singles = sample(np.eye(3), ["a", "b", "c"])
    assert math.isnan(value("face_within_group_distance", singles, singles))


@pytest.mark.parametrize("name", sorted(TRAITS))
def test_every_trait_is_lower_in_a_collapsed_generation(name: str) -> None:
    reference = sample(people(n_people=60, n_each=1, spread=0.2, seed=10))
    variants = [people(n, 60 // n, spread, seed=10) for n, spread in ((60, 0.2), (6, 0.2), (1, 0.02))]
    healthy, poorer, collapsed = (value(name, sample(vectors), reference) for vectors in variants)
    assert healthy > poorer >= collapsed
    assert TRAITS[name].direction == "higher"


@pytest.mark.parametrize("name", sorted(TRAITS))
def test_order_and_rotation_of_the_space_do_not_matter(name: str) -> None:
    vectors, reference = people(10, 4, 0.6, seed=11), people(20, 2, 0.6, seed=12)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(64, 64)))
    shuffled = np.random.default_rng(1).permutation(40)
    plain = value(name, sample(vectors), sample(reference))
    turned = value(name, sample(vectors[shuffled] @ turn), sample(reference @ turn))
    assert turned == pytest.approx(plain, rel=1e-4)  # float32 embeddings


@pytest.mark.parametrize("name", sorted(TRAITS))
@pytest.mark.parametrize("n_drawn", [60, 8])  # among few of them the nearest that are listed are not enough
def test_some_of_the_faces_tell_what_they_tell_by_themselves(name: str, n_drawn: int) -> None:
    rng = np.random.default_rng(13)
    groups = [f"g{n % 7}" for n in range(120)]
    generation, reference = (sample(people(30, 4, 0.6, seed), groups) for seed in (14, 15))
    statistic = TRAITS[name].statistic
    assert isinstance(statistic, PreparedStatistic)
    told = statistic.prepare(generation, reference)
    for _ in range(5):
        rows, others = (np.sort(rng.permutation(120)[:n_drawn]) for _ in range(2))
        assert told(rows, others) == pytest.approx(statistic(generation.take(rows), reference.take(others)), rel=1e-12)


def test_within_group_distance_equals_brute_force() -> None:
    vectors, groups = random_unit(20, 5, 16), list("aabbbccccdddddeeeeee")
    pairs = [1 - vectors[i] @ vectors[j] for i in range(20) for j in range(i) if groups[i] == groups[j]]
    generation = sample(vectors, groups)
    assert value("face_within_group_distance", generation, generation) == pytest.approx(np.mean(pairs), rel=1e-6)
    one = sample(vectors)
    assert value("face_within_group_distance", one, one) == value("face_pairwise_distance", one, one)
