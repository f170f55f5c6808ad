"""The loop itself: fit on one generation, sample the next, fit on that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from decay.loop.protocol import Dataset, Engine, W
from detectors.trait import Pixels


@dataclass(frozen=True)
class Generation:
    """What one turn of the loop made. ``seeds`` and ``images``: one per slot; images sRGB uint8 (h, w, 3)."""

    index: int
    seeds: tuple[int, ...]
    images: tuple[Pixels, ...]


def retrain(engine: Engine[W], real: Dataset, n_generations: int, seed: int) -> Iterator[Generation]:
    """Every generation replaces the one before: no real image is seen again after generation 0.

    Generation 0 is sampled from a model fitted on ``real``, generation k from one fitted on generation k - 1
    ("replace" in Gerstgrasser et al. 2024, "Is Model Collapse Inevitable?", arXiv:2404.01413). A slot keeps its
    caption, and starts from its own picture in the generation before (image-to-image; an engine may disregard it).
    """
    dataset = real
    for index in range(n_generations):
        weights = engine.fit(dataset)
        seeds = tuple(derive_seed(seed, index, slot) for slot in range(len(real)))
        images = tuple(engine.sample(weights, real.captions, seeds, dataset.images))
        yield Generation(index, seeds, images)
        dataset = Dataset(images, real.captions)


def derive_seed(run_seed: int, generation: int, slot: int) -> int:
    """A seed of its own for every picture, 0 <= seed < 2**53; equal arguments, equal seed, on any machine.

    Seeds that differ by a little would do for NumPy, but are correlated in other generators. 53 bits: readers of
    JSON that hold every number as a double keep them exactly.
    """
    word = np.random.SeedSequence([run_seed, generation, slot]).generate_state(1, np.uint64)[0]
    return int(word) >> 11
