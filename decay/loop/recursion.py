"""The loop itself: fit on one generation, sample the next, fit on that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from decay.loop.engine import Dataset, Engine, Fit, W, derive_seed
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
        weights = engine.fit(dataset, None, Fit(derive_seed(seed, index, len(real)), Path()))
        seeds = tuple(derive_seed(seed, index, slot) for slot in range(len(real)))
        images = tuple(engine.sample(weights, real.captions, seeds, dataset.images))
        yield Generation(index, seeds, images)
        dataset = Dataset(images, real.captions)
