from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from decay.loop.engine import Dataset, derive_seed
from decay.loop.engines.linear import LinearEngine
from decay.loop.recursion import retrain
from detectors.trait import Pixels

N_IMAGES = 24


def pictures(n_images: int = N_IMAGES, *, dims: int = 12, seed: int = 0) -> list[Pixels]:
    """Pictures around mid-grey whose pixels vary independently, far from 0 and 255."""
    rng = np.random.default_rng(seed)
    return [np.clip(rng.normal(128, 25, (dims, dims, 3)), 0, 255).astype(np.uint8) for _ in range(n_images)]


def total_variance(images: Sequence[Pixels]) -> float:
    return float(np.stack(images).reshape(len(images), -1).astype(float).var(axis=0).sum())


def effective_rank(images: Sequence[Pixels]) -> float:
    """exp of the entropy of the covariance spectrum (Roy & Vetterli 2007)."""
    data = np.stack(images).reshape(len(images), -1).astype(float)
    values = np.linalg.svd(data - data.mean(axis=0), compute_uv=False) ** 2
    shares = values[values > 0] / values.sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))


def test_every_generation_is_fitted_on_the_one_before_and_on_nothing_else() -> None:
    seen: list[Dataset] = []

    class Watched(LinearEngine):
        def fit(self, dataset: Dataset, start, circumstances):  # type: ignore[no-untyped-def]
            seen.append(dataset)
            return super().fit(dataset, start, circumstances)

    real = Dataset(pictures(), ("a picture",) * N_IMAGES)
    generations = list(retrain(Watched(), real, 3, seed=1))
    assert seen[0] is real
    for dataset, before in zip(seen[1:], generations[:-1], strict=True):
        np.testing.assert_array_equal(dataset.images, before.images)


def test_collapse_emerges_from_refitting_on_own_samples() -> None:
    """Nothing in the loop asks for loss; over 8 lineages the spectrum must narrow and the variance must not grow."""
    n_generations = 8
    variances, ranks = np.zeros((8, n_generations + 1)), np.zeros((8, n_generations + 1))
    for lineage in range(8):
        real = Dataset(pictures(seed=lineage), ("a picture",) * N_IMAGES)
        lineages = [real.images, *(g.images for g in retrain(LinearEngine(), real, n_generations, seed=lineage))]
        variances[lineage] = [total_variance(images) for images in lineages]
        ranks[lineage] = [effective_rank(images) for images in lineages]
    mean_rank = ranks.mean(axis=0)
    assert (np.diff(mean_rank) < 0).all()
    assert mean_rank[-1] < 0.5 * mean_rank[0]
    # Expected (1 - 1/n)^8 = 0.71 of the real variance; the mean of 8 lineages scatters by less than 0.1 about it.
    assert variances[:, -1].mean() / variances[:, 0].mean() == pytest.approx((1 - 1 / N_IMAGES) ** 8, abs=0.15)


def test_a_gentler_loop_forgets_more_slowly() -> None:
    real = Dataset(pictures(), ("a picture",) * N_IMAGES)
    ranks = []
    for strength in (0.3, 0.6, 1.0):
        *_, last = retrain(LinearEngine(strength=strength), real, 6, seed=0)
        ranks.append(effective_rank(last.images))
    assert ranks[0] > ranks[1] > ranks[2]


def test_same_seed_same_lineage_other_seed_another() -> None:
    real = Dataset(pictures(), ("a picture",) * N_IMAGES)

    def lineage(seed: int) -> list[Pixels]:
        return [image for generation in retrain(LinearEngine(), real, 2, seed) for image in generation.images]

    np.testing.assert_array_equal(lineage(3), lineage(3))
    assert not np.array_equal(lineage(3), lineage(4))


def test_an_engine_that_saves_and_loads_between_turns_gives_the_same_lineage(tmp_path: Path) -> None:
    class Stored(LinearEngine):
        def sample(  # type: ignore[no-untyped-def]
            self, weights, prompts: Sequence[str], seeds: Sequence[int], images: Sequence[Pixels] | None
        ) -> Iterator[Pixels]:
            weights.save(tmp_path)
            return super().sample(self.load(tmp_path), prompts, seeds, images)

    real = Dataset(pictures(), ("a picture",) * N_IMAGES)
    for kept, stored in zip(retrain(LinearEngine(), real, 2, 0), retrain(Stored(), real, 2, 0), strict=True):
        np.testing.assert_array_equal(kept.images, stored.images)


def test_seeds_are_distinct_repeatable_and_exact_as_doubles() -> None:
    cells = list(product(range(3), range(7), range(200)))
    seeds = [derive_seed(*cell) for cell in cells]
    assert len(set(seeds)) == len(seeds)
    assert seeds == [derive_seed(*cell) for cell in cells]
    assert all(int(float(seed)) == seed for seed in seeds)


def test_a_dataset_needs_one_caption_per_image() -> None:
    with pytest.raises(ValueError, match="one caption per image"):
        Dataset(pictures(3), ("a", "b"))
    with pytest.raises(ValueError, match="one caption per image"):
        Dataset([], ())
