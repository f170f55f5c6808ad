"""Face identity: how different the faces of a generation are, and how many people they show, from face embeddings.

All statistics take unit vectors (n, d) and read cosine similarity. What they mean depends on who made
the vectors: with the weights-free descriptor it is variety of appearance, not of persons. Ruined faces
scatter, and would pass for variety: they are kept out by their state.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from detectors.trait import OK, Face, Family, Hand, Measurement, Reading, Sample, Trait, Value, View

Floats = NDArray[np.float64]

NEIGHBOURS = 5


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
    n, d = vectors.shape
    matrix = vectors @ vectors.T if n <= d else vectors.T @ vectors
    values = np.clip(np.linalg.eigvalsh(matrix / n)[::-1], 0.0, None)
    return np.asarray(values / values.sum(), dtype=np.float64)


def vendi_score(vectors: Floats) -> float:
    """Effective number of different vectors, 1..n: exponential of the entropy of the kernel's eigenvalues.

    Friedman & Dieng 2023 (arXiv:2210.02410), eq. 2, order q = 1; not divided by n.
    """
    return _exponential_entropy(kernel_eigenvalues(vectors))


def vendi_score_infinite(vectors: Floats) -> float:
    """The Vendi score of order q = infinity, 1..n: one over the largest eigenvalue; it sees the commonest kind only.

    Pasarkar & Dieng 2024 (arXiv:2310.12952).
    """
    return float(1.0 / kernel_eigenvalues(vectors)[0])


def effective_rank(vectors: Floats) -> float:
    """Effective number of directions the vectors take, 1..min(n, d): exponential entropy of the singular values.

    Roy & Vetterli 2007 (10.5281/zenodo.40408). Not centred: about their mean, copies of one face differ in
    every direction by their noise, and a full collapse would pass for full variety.
    """
    singular = np.sqrt(kernel_eigenvalues(vectors))
    return _exponential_entropy(singular / singular.sum())


def nearest_distances(vectors: Floats) -> Floats:
    """Cosine distance (n,) of each vector to the nearest other one."""
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    return np.asarray(np.clip(1.0 - similarity.max(axis=1), 0.0, 2.0), dtype=np.float64)


def distinct_share(vectors: Floats, same_cosine: float) -> float:
    """Number of distinct identities over n, 1/n..1: faces are one identity when a chain of similar pairs joins them."""
    n_identities, _ = connected_components(vectors @ vectors.T >= same_cosine, directed=False)
    return float(n_identities / len(vectors))


def coverage(vectors: Floats, reference: Floats, neighbours: int) -> float:
    """Share of reference vectors with a generated one inside the ball of their nearest reference neighbours, 0..1.

    Naeem et al. 2020 (arXiv:2002.09797), eq. 7. NaN if the reference has no more than ``neighbours`` vectors.
    """
    if len(reference) <= neighbours:
        return math.nan
    radius = _neighbour_distances(reference, neighbours)
    nearest = (1.0 - reference @ vectors.T).min(axis=1)
    return float(np.mean(nearest <= radius + _ROUNDING))


def recall(vectors: Floats, reference: Floats, neighbours: int) -> float:
    """Share of reference vectors inside the ball of nearest generated neighbours of any generated vector, 0..1.

    Kynkaanniemi et al. 2019 (arXiv:1904.06991), eq. 2. NaN if there are no more than ``neighbours`` vectors.
    """
    if len(vectors) <= neighbours:
        return math.nan
    radius = _neighbour_distances(vectors, neighbours)
    inside = 1.0 - reference @ vectors.T <= radius[None, :] + _ROUNDING
    return float(np.mean(inside.any(axis=1)))


_ROUNDING = 1e-6  # of float32 embeddings: a vector lies within its own ball of radius 0


def _neighbour_distances(vectors: Floats, neighbours: int) -> Floats:
    """Cosine distance (n,) to the k-th nearest other vector."""
    distance = 1.0 - vectors @ vectors.T
    np.fill_diagonal(distance, np.inf)
    return np.asarray(np.partition(distance, neighbours - 1, axis=1)[:, neighbours - 1], dtype=np.float64)


def _exponential_entropy(shares: Floats) -> float:
    positive = shares[shares > 0]
    return float(np.exp(-(positive * np.log(positive)).sum()))


# --------------------------------------------------------------------------- a generation


def _vectors(sample: Sample) -> Floats:
    return np.asarray(sample["face_embedding"], dtype=np.float64)


def _pairwise(sample: Sample, reference: Sample) -> float:
    return mean_pairwise_distance(_vectors(sample))


def _within_group(sample: Sample, reference: Sample) -> float:
    """Mean distance over all pairs that share a prompt group; NaN if there is none."""
    vectors = _vectors(sample)
    total, n_pairs = 0.0, 0
    for group in set(sample.groups):
        members = vectors[sample.groups == group]
        pairs = len(members) * (len(members) - 1) // 2
        if pairs:
            total += pairs * mean_pairwise_distance(members)
            n_pairs += pairs
    return total / n_pairs if n_pairs else math.nan


def _vendi(sample: Sample, reference: Sample) -> float:
    return vendi_score(_vectors(sample))


def _vendi_infinite(sample: Sample, reference: Sample) -> float:
    return vendi_score_infinite(_vectors(sample))


def _effective_rank(sample: Sample, reference: Sample) -> float:
    return effective_rank(_vectors(sample))


def _nearest(sample: Sample, reference: Sample) -> float:
    return float(np.median(nearest_distances(_vectors(sample)))) if len(sample) > 1 else math.nan


def _distinct(sample: Sample, reference: Sample) -> float:
    if len(sample) == 0:
        return math.nan
    return distinct_share(_vectors(sample), float(sample.numbers("face_same_person_cosine")[0]))


def _coverage(sample: Sample, reference: Sample) -> float:
    return coverage(_vectors(sample), _vectors(reference), NEIGHBOURS)


def _recall(sample: Sample, reference: Sample) -> float:
    return recall(_vectors(sample), _vectors(reference), NEIGHBOURS)


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
            statistic=_pairwise,
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
            statistic=_within_group,
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
            statistic=_vendi,
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
            statistic=_vendi_infinite,
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
            statistic=_effective_rank,
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
            statistic=_nearest,
            equal_n=True,
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
            statistic=_distinct,
            equal_n=True,
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
            statistic=_coverage,
            equal_n=True,
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
            statistic=_recall,
            equal_n=True,
            resampling="half",
            bounds=(0.0, 1.0),
            limits=f"One outlier with a wide ball can reach much. {_REFERENCE_LIMITS} {_LIMITS}",
        ),
    ),
)
