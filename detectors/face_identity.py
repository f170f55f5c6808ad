"""Face identity: how different the faces of a generation are, and how many people they show, from face embeddings.

All statistics take unit vectors (n, d) and read cosine similarity. What they mean depends on who made
the vectors: with the weights-free descriptor it is variety of appearance, not of persons. Ruined faces
scatter, and would pass for variety: they are kept out by their state.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.geometry import largest_eigenvalue
from detectors.trait import (
    OK,
    Face,
    Family,
    Hand,
    Measurement,
    PreparedStatistic,
    Reading,
    Rows,
    Sample,
    Trait,
    Value,
    View,
)

Floats = NDArray[np.float64]

NEIGHBOURS = 5
MOST_IN_PAIRS = 2000
"""Faces of a generation that are compared one by one; of more, so many by chance."""
LISTED = 48
"""Nearest vectors kept of each: among the half that a resample draws there are nearly always enough of them."""


def measure(view: View, subject: Face | Hand | None) -> Measurement:
    """Hand on the face's embedding, float32 (d,) of unit length, and the similarity that makes two faces one person."""
    if not isinstance(subject, Face):
        raise TypeError(f"face_identity reads faces, got {type(subject).__name__}")
    if subject.state != OK:
        return Measurement("unreadable")
    if subject.embedding is None:
        return Measurement("not_embedded")
    values: dict[str, Value] = {
        "face_embedding": subject.embedding,
        "face_same_person_cosine": subject.same_person_cosine,
    }
    return Measurement(OK, values)


# --------------------------------------------------------------------------- arithmetic


def mean_pairwise_distance(vectors: Floats) -> float:
    """Mean cosine distance over all pairs, 0..2; NaN below two vectors. ``vectors``: unit rows (n, d).

    Closed form: the similarities of all ordered pairs sum to |sum of the vectors|^2 - n.
    """
    n = len(vectors)
    if n < 2:
        return math.nan
    total = vectors.sum(axis=0)
    return float(np.clip(1.0 - (total @ total - n) / (n * (n - 1)), 0.0, 2.0))


def kernel_eigenvalues(vectors: Floats) -> Floats:
    """Eigenvalues of the cosine kernel over n, descending; they sum to 1. ``vectors``: unit rows (n, d).

    The kernel X X' (n, n) and X' X (d, d) share their non-zero eigenvalues; the smaller one is solved.
    """
    values = np.clip(np.linalg.eigvalsh(_kernel(vectors))[::-1], 0.0, None)
    return np.asarray(values / values.sum(), dtype=np.float64)


def _kernel(vectors: Floats) -> Floats:
    n, d = vectors.shape
    return np.asarray((vectors @ vectors.T if n <= d else vectors.T @ vectors) / n)


def vendi_score(vectors: Floats) -> float:
    """Effective number of different vectors, 1..n: exponential of the entropy of the kernel's eigenvalues.

    Friedman & Dieng 2023 (arXiv:2210.02410), eq. 2, order q = 1; not divided by n.
    """
    return _exponential_entropy(kernel_eigenvalues(vectors))


def vendi_score_infinite(vectors: Floats) -> float:
    """The Vendi score of order q = infinity, 1..n: one over the largest eigenvalue; it sees the commonest kind only.

    Pasarkar & Dieng 2024 (arXiv:2310.12952).
    """
    kernel = _kernel(vectors)
    return float(np.trace(kernel) / largest_eigenvalue(kernel))


def effective_rank(vectors: Floats) -> float:
    """Effective number of directions the vectors take, 1..min(n, d): exponential entropy of the singular values.

    Roy & Vetterli 2007 (10.5281/zenodo.40408). Not centred: about their mean, copies of one face differ in
    every direction by their noise, and a full collapse would pass for full variety.
    """
    singular = np.sqrt(kernel_eigenvalues(vectors))
    return _exponential_entropy(singular / singular.sum())


def nearest_distances(vectors: Floats) -> Floats:
    """Cosine distance (n,) of each vector to the nearest other one; inf where there is none."""
    everyone = np.arange(len(vectors))
    return _others(vectors).to_nearest(everyone, everyone, 1)


def distinct_share(vectors: Floats, same_cosine: float) -> float:
    """Number of distinct identities over n, 1/n..1: faces are one identity when a chain of similar pairs joins them."""
    return _share_of_chains(vectors @ vectors.T >= same_cosine)


def coverage(vectors: Floats, reference: Floats, neighbours: int) -> float:
    """Share of reference vectors with a generated one inside the ball of their nearest reference neighbours, 0..1.

    Naeem et al. 2020 (arXiv:2002.09797), eq. 7. NaN if the reference has no more than ``neighbours`` vectors.
    """
    return _covering(vectors, reference, neighbours)(np.arange(len(vectors)), np.arange(len(reference)))


def recall(vectors: Floats, reference: Floats, neighbours: int) -> float:
    """Share of reference vectors inside the ball of nearest generated neighbours of any generated vector, 0..1.

    Kynkaanniemi et al. 2019 (arXiv:1904.06991), eq. 2. NaN if there are no more than ``neighbours`` vectors.
    """
    return _reaching(vectors, reference, neighbours)(np.arange(len(vectors)), np.arange(len(reference)))


_ROUNDING = 1e-6  # of float32 embeddings: a vector lies within its own ball of radius 0


@dataclass(frozen=True)
class _Nearby:
    """Cosine distances (n, m) from each of n vectors to each of m, and the columns (n, ``LISTED``) of the nearest."""

    distance: Floats
    nearest: NDArray[np.intp]

    def to_nearest(self, rows: Rows, among: Rows, nth: int) -> Floats:
        """Distance from each of ``rows`` to the ``nth`` nearest (from 1) of the vectors ``among``; these are enough."""
        drawn = np.zeros(self.distance.shape[1], dtype=bool)
        drawn[among] = True
        listed = self.nearest[rows]
        place = (drawn[listed].cumsum(axis=1) < nth).sum(axis=1)
        if (place < listed.shape[1]).all():
            return np.asarray(self.distance[rows, listed[np.arange(len(rows)), place]])
        return np.partition(self.distance[np.ix_(rows, among)], nth - 1, axis=1)[:, nth - 1]


def _nearby(distance: Floats) -> _Nearby:
    n_listed = min(LISTED, distance.shape[1])
    nearest = np.argpartition(distance, n_listed - 1, axis=1)[:, :n_listed]
    order = np.take_along_axis(distance, nearest, axis=1).argsort(axis=1)
    return _Nearby(distance, np.take_along_axis(nearest, order, axis=1))


def _others(vectors: Floats) -> _Nearby:
    """The vectors among themselves, each infinitely far from itself."""
    distance = np.clip(1.0 - vectors @ vectors.T, 0.0, 2.0)
    np.fill_diagonal(distance, np.inf)
    return _nearby(distance)


def _covering(vectors: Floats, reference: Floats, neighbours: int) -> Callable[[Rows, Rows], float]:
    within, across = _others(reference), _nearby(1.0 - reference @ vectors.T)

    def told(rows: Rows, reference_rows: Rows) -> float:
        if len(reference_rows) <= neighbours:
            return math.nan
        radius = within.to_nearest(reference_rows, reference_rows, neighbours)
        return float(np.mean(across.to_nearest(reference_rows, rows, 1) <= radius + _ROUNDING))

    return told


def _reaching(vectors: Floats, reference: Floats, neighbours: int) -> Callable[[Rows, Rows], float]:
    within = _others(vectors)
    across = (1.0 - reference @ vectors.T).astype(np.float32)  # far finer than _ROUNDING

    def told(rows: Rows, reference_rows: Rows) -> float:
        if len(rows) <= neighbours:
            return math.nan
        reach = np.full(len(vectors), -np.inf, dtype=np.float32)
        reach[rows] = within.to_nearest(rows, rows, neighbours) + _ROUNDING
        return float(np.mean((across[reference_rows] <= reach).any(axis=1)))

    return told


def _share_of_chains(alike: NDArray[np.bool_]) -> float:
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415  # what only reads images spares it

    n_identities, _ = connected_components(alike, directed=False)
    return float(n_identities / len(alike))


def _exponential_entropy(shares: Floats) -> float:
    positive = shares[shares > 0]
    return float(np.exp(-(positive * np.log(positive)).sum()))


# --------------------------------------------------------------------------- a generation


def _vectors(sample: Sample) -> Floats:
    return np.asarray(sample["face_embedding"], dtype=np.float64)


def _of_vectors(statistic: Callable[[Floats], float]) -> PreparedStatistic:
    def prepare(sample: Sample, reference: Sample) -> Callable[[Rows, Rows], float]:
        vectors = _vectors(sample)
        return lambda rows, _: statistic(vectors[rows])

    return PreparedStatistic(prepare)


def _within_group(sample: Sample, reference: Sample) -> Callable[[Rows, Rows], float]:
    """Mean distance over all pairs that share a prompt group; NaN if there is none."""
    vectors = _vectors(sample)
    _, groups = np.unique(sample.groups.astype(str), return_inverse=True)

    def told(rows: Rows, _: Rows) -> float:
        rows = rows[np.argsort(groups[rows], kind="stable")]
        _, starts, sizes = np.unique(groups[rows], return_index=True, return_counts=True)
        pairs = sizes * (sizes - 1) / 2
        if not pairs.any():
            return math.nan
        if len(sizes) == 1:  # to the last digit what it is over all pairs
            return mean_pairwise_distance(vectors[rows])
        totals = np.add.reduceat(vectors[rows], starts, axis=0)
        alike = (np.square(totals).sum(axis=1) - sizes) / np.maximum(2 * pairs, 1)
        return float(np.clip(1.0 - alike, 0.0, 2.0) @ pairs / pairs.sum())

    return told


def _nearest(sample: Sample, reference: Sample) -> Callable[[Rows, Rows], float]:
    near = _others(_vectors(sample))
    return lambda rows, _: float(np.median(near.to_nearest(rows, rows, 1))) if len(rows) > 1 else math.nan


def _distinct(sample: Sample, reference: Sample) -> Callable[[Rows, Rows], float]:
    vectors, same_cosine = _vectors(sample), sample.numbers("face_same_person_cosine")
    alike = vectors @ vectors.T >= same_cosine[:1]
    return lambda rows, _: _share_of_chains(alike[np.ix_(rows, rows)]) if len(rows) else math.nan


def _coverage(sample: Sample, reference: Sample) -> Callable[[Rows, Rows], float]:
    return _covering(_vectors(sample), _vectors(reference), NEIGHBOURS)


def _recall(sample: Sample, reference: Sample) -> Callable[[Rows, Rows], float]:
    return _reaching(_vectors(sample), _vectors(reference), NEIGHBOURS)


_LIMITS = "Depends on the embedder: with the weights-free descriptor it is variety of appearance, not of persons."
_REFERENCE_LIMITS = "A reference that is the first generation itself scores 1 by construction; prefer a real/ set."


FAMILY = Family(
    name="face_identity",
    group="face",
    subject="face",
    readings=(
        Reading("face_embedding", "face", "face embedding", "", kind="vector"),
        Reading(
            "face_same_person_cosine",
            "face",
            "similarity that makes two faces one person; none where the embedder cannot tell persons",
            "cosine similarity",
            low=-1.0,
            high=1.0,
        ),
    ),
    states={
        OK: "measured",
        "unreadable": "not enough like a face to be read",
        "not_embedded": "the embedder's own detector did not find the face",
    },
    measure=measure,
    traits=(
        Trait(
            name="face_pairwise_distance",
            subject="face",
            label="mean distance between faces",
            unit="cosine distance",
            direction="higher",
            floor=0.0,
            source="mean cosine distance over all pairs (closed form); ArcFace, Deng et al. 2019",
            readings=("face_embedding",),
            statistic=_of_vectors(mean_pairwise_distance),
            resampling="half",
            bounds=(0.0, 2.0),
            limits=_LIMITS,
        ),
        Trait(
            name="face_within_group_distance",
            subject="face",
            label="mean distance between faces of one prompt group",
            unit="cosine distance",
            direction="higher",
            floor=0.0,
            source="mean cosine distance over pairs that share a prompt group",
            readings=("face_embedding",),
            statistic=PreparedStatistic(_within_group),
            resampling="half",
            bounds=(0.0, 2.0),
            limits=_LIMITS,
        ),
        Trait(
            name="face_vendi",
            subject="face",
            label="effective number of different faces (Vendi score)",
            unit="faces",
            direction="higher",
            floor=1.0,
            source="Friedman & Dieng 2023, arXiv:2210.02410, order 1, cosine kernel",
            readings=("face_embedding",),
            statistic=_of_vectors(vendi_score),
            equal_n=True,
            resampling="half",
            bounds=(1.0, math.inf),
            limits=f"Grows with the number of faces: compared at equal number. {_LIMITS}",
        ),
        Trait(
            name="face_vendi_inf",
            subject="face",
            label="one over the share of the commonest kind of face (Vendi, order infinity)",
            unit="faces",
            direction="higher",
            floor=1.0,
            source="Pasarkar & Dieng 2024, arXiv:2310.12952, order infinity, cosine kernel",
            readings=("face_embedding",),
            statistic=_of_vectors(vendi_score_infinite),
            equal_n=True,
            resampling="half",
            bounds=(1.0, math.inf),
            limits=_LIMITS,
        ),
        Trait(
            name="face_effective_rank",
            subject="face",
            label="effective number of directions that faces take (effective rank)",
            unit="directions",
            direction="higher",
            floor=1.0,
            source="Roy & Vetterli 2007, doi:10.5281/zenodo.40408",
            readings=("face_embedding",),
            statistic=_of_vectors(effective_rank),
            equal_n=True,
            resampling="half",
            bounds=(1.0, math.inf),
            limits=f"Weighs faint directions more than the Vendi score does: noise in the faces raises it. {_LIMITS}",
        ),
        Trait(
            name="face_nearest_neighbour",
            subject="face",
            label="distance to the most similar other face (median)",
            unit="cosine distance",
            direction="higher",
            floor=0.0,
            source="median nearest-neighbour cosine distance: near-duplicates drive it to 0",
            readings=("face_embedding",),
            statistic=PreparedStatistic(_nearest),
            equal_n=True,
            n_most=MOST_IN_PAIRS,
            resampling="half",
            bounds=(0.0, 2.0),
            limits=_LIMITS,
        ),
        Trait(
            name="face_distinct_share",
            subject="face",
            label="distinct identities per face",
            unit="share",
            direction="higher",
            floor=0.0,
            source="connected components of pairs as similar as two pictures of one person (this file)",
            readings=("face_embedding", "face_same_person_cosine"),
            statistic=PreparedStatistic(_distinct),
            equal_n=True,
            n_most=MOST_IN_PAIRS,
            resampling="half",
            bounds=(0.0, 1.0),
            limits="Only with an identity network: the weights-free descriptor cannot tell persons. Chains of similar "
            "faces merge.",
        ),
        Trait(
            name="face_coverage",
            subject="face",
            label="share of the reference's faces that still have a like",
            unit="share",
            direction="higher",
            floor=0.0,
            source=f"coverage, Naeem et al. 2020, arXiv:2002.09797, k = {NEIGHBOURS}",
            readings=("face_embedding",),
            statistic=PreparedStatistic(_coverage),
            equal_n=True,
            n_most=MOST_IN_PAIRS,
            resampling="half",
            bounds=(0.0, 1.0),
            limits=f"{_REFERENCE_LIMITS} {_LIMITS}",
        ),
        Trait(
            name="face_recall",
            subject="face",
            label="share of the reference's faces within reach of the generation",
            unit="share",
            direction="higher",
            floor=0.0,
            source=f"recall, Kynkaanniemi et al. 2019, arXiv:1904.06991, k = {NEIGHBOURS}",
            readings=("face_embedding",),
            statistic=PreparedStatistic(_recall),
            equal_n=True,
            n_most=MOST_IN_PAIRS,
            resampling="half",
            bounds=(0.0, 1.0),
            limits=f"One outlier with a wide ball can reach much. {_REFERENCE_LIMITS} {_LIMITS}",
        ),
    ),
)
