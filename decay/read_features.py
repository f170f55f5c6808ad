"""What large networks make of every picture, beside what the detectors read of it.

Kept in the same journal, by the network's own fingerprint: weights that are added later read no face anew. Nothing is
downloaded; a network without weights is left out, and its traits say so.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from decay.features import NETWORKS
from decay.lineage import REFERENCE_INDEX
from decay.outcome import Outcome
from decay.read import Hashed, read_jobs
from decay.settings import MeasureSettings
from decay.vectors import VectorStore
from decay.workers import open_workers
from decay.workers.job import FeatureSpec, Job
from detectors.reader import ImageReadings, row_of
from detectors.registry import families
from detectors.trait import PAIRED, Family, Measurement, Vector, View

if TYPE_CHECKING:
    import pandas as pd

    from decay.journal import Journal

NOT_READ = "failed"
"""State of a picture that the detectors could read and the network could not."""

NetworkProgress = Callable[[str, int, int], None]
"""(network, images done, images in all)."""

FRECHET = {"image_inception": "FID", "image_dinov2": "FD on DINOv2"}
"""Frechet distances by the column of vectors that they rest on."""

_NO_PIXELS = np.zeros((1, 1, 3), np.uint8)


def with_features(
    images: Sequence[Hashed],
    outcomes: Mapping[str, Outcome],
    versions: Mapping[str, str],
    settings: MeasureSettings,
    journal: Journal,
    store: VectorStore,
    progress: NetworkProgress | None = None,
) -> dict[str, Outcome]:
    """The outcomes with what each network of ``versions`` reads added to their rows. Raises ModelError."""
    readable = [image for image in images if outcomes[image.record.relative].readings is not None]
    found = {
        name: _of_network(
            FeatureSpec(name, settings.features_root, version), readable, settings, journal, store, progress
        )
        for name, version in versions.items()
    }
    pairs = {
        name: _pairs([i for i in readable if outcome_of[i.record.relative].readings is not None])
        for name, outcome_of in found.items()
    }
    read = {image.record.relative: outcomes[image.record.relative] for image in readable}
    return dict(outcomes) | {
        name: replace(outcome, readings=_added(outcome, name, found, pairs)) for name, outcome in read.items()
    }


def notes_on_rank(images: pd.DataFrame) -> list[str]:
    """What is to be said of Frechet distances where pictures are fewer than the numbers in their vectors.

    ``images``: the table of images, with its vectors.
    """
    notes = []
    for name, distance in FRECHET.items():
        lengths = images[name].map(len)
        measured = images.loc[lengths > 0, "generation"].value_counts()
        if len(measured) and (fewest := int(measured.min())) <= (d := int(lengths.max())):
            notes.append(
                f"{distance}: {fewest} pictures in the smallest generation, for vectors of {d} numbers. Covariances "
                "lack rank: the number is large by chance alone, and comparable only with one of as many pictures."
            )
    return notes


def _of_network(
    spec: FeatureSpec,
    images: Sequence[Hashed],
    settings: MeasureSettings,
    journal: Journal,
    store: VectorStore,
    progress: NetworkProgress | None,
) -> dict[str, Outcome]:
    """What one network made of each image, by path; the vectors lie in ``store``."""
    reads_text = NETWORKS[spec.network].reads_text
    wanted = {
        Job(
            i.record.path, i.root, i.record.relative, prompt=i.record.prompt if reads_text else "", sha256=i.sha256
        ): i.sha256
        for i in images
    }
    n_done = itertools.count(1)

    def done(job: Job) -> None:
        if progress:
            progress(spec.network, next(n_done), len(wanted))

    with open_workers(settings, spec) as workers:
        found = read_jobs(wanted, journal, spec.version, workers, done, lambda outcome: _stored(outcome, store))
    return {job.name: outcome for job, outcome in found.items()}


def _stored(outcome: Outcome, store: VectorStore) -> Outcome:
    if outcome.readings is None:
        return outcome
    row = outcome.readings.image
    vectors = {name: store.put(value) for name, value in row.items() if isinstance(value, np.ndarray)}
    return replace(outcome, readings=ImageReadings(image=dict(vectors)))


def _pairs(images: Sequence[Hashed]) -> dict[str, tuple[str, str]]:
    """For each of the images that a network could read the reference's of its slot, and the reference's of the next
    slot: its own, and another's."""
    numbers = {image.generation for image in images}
    first = REFERENCE_INDEX if REFERENCE_INDEX in numbers else min(numbers, default=0)
    of_slot = {image.record.slot: image.record.relative for image in images if image.generation == first}
    slots = sorted(of_slot)
    following = dict(zip(slots, [*slots[1:], *slots[:1]], strict=True))
    return {
        image.record.relative: (of_slot[image.record.slot], of_slot[following[image.record.slot]])
        for image in images
        if image.record.slot in of_slot
    }


def _added(
    outcome: Outcome,
    name: str,
    found: Mapping[str, Mapping[str, Outcome]],
    pairs: Mapping[str, Mapping[str, tuple[str, str]]],
) -> ImageReadings:
    """The readings of one image with those that rest on networks. ``found``, ``pairs``: by network, then by image."""
    if outcome.readings is None:
        raise ValueError(f"{name} has no readings to add to")
    row = dict(outcome.readings.image)
    for family in families():
        if family.features in found:
            pair = pairs[family.features].get(name)
            row |= row_of(family, "image", _measured(family, name, found[family.features], pair))
    return replace(outcome.readings, image=row)


def _measured(family: Family, name: str, found: Mapping[str, Outcome], pair: tuple[str, str] | None) -> Measurement:
    if found[name].readings is None:
        return Measurement(NOT_READ)
    vectors = _vectors(found[name])
    for role, other in zip(PAIRED, pair or (), strict=False):
        vectors |= {f"{word}_{role}": vector for word, vector in _vectors(found[other]).items()}
    return family.measure(View(_NO_PIXELS, features=vectors), None)


def _vectors(outcome: Outcome) -> dict[str, Vector]:
    row: Mapping[str, object] = outcome.readings.image if outcome.readings else {}
    return {name: value for name, value in row.items() if isinstance(value, np.ndarray)}
