"""The vectors that describe a run's pictures: of whole pictures where they were measured, else of faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from decay.erosion import Array
from decay.lineage import REFERENCE_INDEX
from decay.rates import with_one_more_unit
from decay.tables import EMBEDDING, Tables
from decay.traits import Draws, SlotCounts, clusters

Vectors = NDArray[np.float32]

OF_PICTURES = ("image_dinov2", "image_inception")
"""Columns of vectors of whole pictures, the first that was measured is taken: DINOv2's tell copies and kinds apart best
(Stein et al. 2023, arXiv:2306.04675)."""
TAIL = 0.025
"""Left out at each end of an interval."""
N_DRAWS = 500
"""Draws behind the interval of a share; ends of 95 % intervals need no more."""


@dataclass(frozen=True)
class Cloud:
    """``name``: the reading that the vectors are. ``rows``: generation, image, slot, group, sha256 and vector of each,
    in the order of the tables. ``images``: of all images, with or without vector. ``reference``: the generation that
    stands for what all are compared with: -1, or the first."""

    name: str
    rows: pd.DataFrame
    images: pd.DataFrame
    reference: int

    def rows_of(self, generation: int) -> pd.DataFrame:
        """The vectors' rows of one generation."""
        return self.rows[self.rows["generation"] == generation]

    @property
    def generations(self) -> tuple[int, ...]:
        """Of all images, the reference folder not among them."""
        return tuple(sorted(int(g) for g in set(self.images["generation"]) if g != REFERENCE_INDEX))


def cloud_of(tables: Tables) -> Cloud:
    """The vectors of a run; without rows where nothing was described."""
    images = tables.images
    known = ["generation", "image", "slot", "group", "sha256"]
    measured = (name for name in OF_PICTURES if name in images and any(map(len, images[name])))
    if name := next(measured, ""):
        rows = images[[*known, name]].rename(columns={name: "vector"})
    else:
        name = EMBEDDING
        faces = tables.faces[["generation", "image", EMBEDDING]].rename(columns={EMBEDDING: "vector"})
        rows = faces.merge(images[known], on=["generation", "image"], how="left", validate="many_to_one")
    rows = rows[rows["vector"].map(len) > 0] if len(rows) else rows
    reference = int(images["generation"].min()) if len(images) else REFERENCE_INDEX
    return Cloud(name, rows.reset_index(drop=True), images[known].reset_index(drop=True), reference)


def unit_vectors(rows: pd.DataFrame) -> Vectors:
    """The vectors of some rows at unit length, float32 (n, d); (0, 0) of none."""
    if not len(rows):
        return np.zeros((0, 0), np.float32)
    vectors = np.stack(list(rows["vector"])).astype(np.float32)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12)))


@dataclass(frozen=True)
class SlotDraws:
    """How often each slot was drawn. ``places``: slot -> column of ``counts`` (B, n_slots) and of ``units`` (n_slots,),
    the slots that are drawn together."""

    places: dict[str, int]
    counts: SlotCounts
    units: NDArray[np.intp]

    def intervals(
        self, slots: Sequence[str], is_so: NDArray[np.bool_], rng: np.random.Generator
    ) -> tuple[Array, Array]:
        """The 95 % intervals of shares, each by itself: lower and upper ends (k,).

        ``slots`` (n,): of each thing. ``is_so`` (n, k): whether it is one of those whose share is wanted. One unit more
        that nobody saw is added (``with_one_more_unit``), so that none of n is not taken for never.
        """
        columns = np.array([self.places[slot] for slot in slots], dtype=np.intp)
        wanted = is_so.astype(np.float32)
        drawn = np.empty((len(self.counts), is_so.shape[1]))
        for nth, counts in enumerate(self.counts):  # one by one: of a million things all draws would take gigabytes
            row = counts[columns].astype(np.float32)
            drawn[nth] = row @ wanted / row.sum() if row.any() else np.nan
        n_units = np.full(is_so.shape[1], len(np.unique(self.units[columns])), dtype=np.intp)
        low, high = np.nanquantile(with_one_more_unit(drawn, n_units, rng), [TAIL, 1.0 - TAIL], axis=0)
        return np.asarray(low), np.asarray(high)


def slot_draws(images: pd.DataFrame, n_resamples: int, seed: int) -> SlotDraws:
    """The same slots in every generation; prompt groups whole where there are enough (``decay.traits.clusters``)."""
    slots = sorted(set(images["slot"]))
    draws = Draws(clusters(images), min(n_resamples, N_DRAWS), np.random.default_rng([seed, 0]))
    return SlotDraws({slot: nth for nth, slot in enumerate(slots)}, draws.bootstrap, draws.clusters)
