"""Copies: is a generated picture one that was trained on, and are there two of the same in a generation?

Nearest neighbours by cosine, and equal files by hash. What is near is calibrated on the reference itself: nearer than
99 % of its own pictures have another (compare Somepalli et al. 2023, arXiv:2212.03860, who set a threshold by hand).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import betabinom

from decay.cloud import Cloud, SlotDraws, Vectors, slot_draws, unit_vectors
from decay.erosion import FEWEST_SLOTS, Array

QUANTILE = 0.99
"""Of the reference's similarities to the nearest other picture of the reference: what lies above it is a copy."""
BY_CHANCE = 0.05
"""How often the sentence may name a kind of copy although nothing was copied, over the three kinds by cosine."""
MOST_COMPARED = 4000
"""Slots whose pictures are compared with all of another set, so that time grows with that one's size only; of more
slots so many by chance, the same in every generation."""
_AT_A_TIME = 20_000_000
"""Similarities that are held at a time: 80 MB."""
COLUMNS = (
    "generation", "what", "n", "n_so", "share", "share_low", "share_high", "threshold_cosine", "vectors",
)  # fmt: skip
"""Of copy_shares.csv."""
KINDS = {
    "reference": "is_copy",
    "before": "is_copy_before",
    "twin": "is_twin",
    "same_file": "is_same_file",
    "reference_file": "is_reference_file",
}
"""``what`` of copy_shares.csv, and the column of copies.csv whose share it is."""

WORDS = {
    "reference": "pictures are as near to one of the reference as copies are",
    "before": "are as near as copies to one of the generation before",
    "twin": "are as near as copies to another of their own generation",
    "same_file": "are the same file as another of their generation",
    "reference_file": "are files of the reference",
}
"""``what``, in a sentence."""
BY_COSINE = ("reference", "before", "twin")
"""Those of them that are told from vectors."""


@dataclass(frozen=True)
class Copies:
    """``images``: copies.csv; ``shares``: copy_shares.csv. ``threshold``: cosine above which two pictures are copies,
    NaN where the reference is too small to tell. ``n_threshold``: how many similarities it was found in."""

    images: pd.DataFrame
    shares: pd.DataFrame
    threshold: float
    n_threshold: int

    @property
    def sentence(self) -> str:
        """What the last generation shows beyond chance, in counts; "" where there is nothing of the kind."""
        if self.shares.empty:
            return ""
        last = self.shares[self.shares["generation"] == self.shares["generation"].max()]
        said = [f"{row.n_so} of {row.n} {WORDS[str(row.what)]}" for row in last.itertuples() if self._is_shown(row)]
        return f"In generation {last['generation'].iloc[0]}, {'; '.join(said)}." if said else ""

    def _is_shown(self, row: Any) -> bool:
        """Equal files are what they are. Of n other real pictures so many lie above the r-th of m similarities as a
        beta-binomial (n; m + 1 - r, r) says: more than that tells of copies. Nearest neighbours come in pairs, and near
        one picture may lie several: half of each number is counted as independent."""
        if row.what not in BY_COSINE:
            return bool(row.n_so)
        m = self.n_threshold // 2
        p = betabinom.sf((row.n_so + 1) // 2 - 1, (row.n + 1) // 2, m + 1 - _rank(m), _rank(m))
        return bool(p < BY_CHANCE / len(BY_COSINE))


def find_copies(cloud: Cloud, n_resamples: int, seed: int) -> Copies:
    """Of every generated picture (at most ``MOST_COMPARED`` of a generation) the nearest one of the reference, of the
    generation before, and of its own.

    Pictures that show several faces count by the most similar one.
    """
    slots = np.array(sorted(set(cloud.images["slot"])), dtype=object)
    compared = frozenset(np.random.default_rng([seed, 4]).permutation(slots)[:MOST_COMPARED])
    threshold, n_threshold = _threshold(cloud, compared)
    tables = [_copies_of(cloud, generation, threshold, compared) for generation in cloud.generations]
    images = pd.concat(tables, ignore_index=True)
    draws = slot_draws(cloud.images, n_resamples, seed)
    rng = np.random.default_rng([seed, 2])
    rows = [
        _share(images[images["generation"] == generation], generation, what, draws, rng)
        for generation in cloud.generations
        for what in KINDS
    ]
    told = {"threshold_cosine": threshold, "vectors": cloud.name}
    shares = pd.DataFrame.from_records([row | told for row in rows if row], columns=list(COLUMNS))
    return Copies(images, shares, threshold, n_threshold)


def _threshold(cloud: Cloud, compared: frozenset[str]) -> tuple[float, int]:
    """From m reference pictures of different content, and m: doubles would let everything pass.

    The ceil((m + 1) q)-th of m similarities, at most the largest: one more of the same kind lies above it with a
    probability of at most 1 - q (Vovk, Gammerman & Shafer 2005, section 2.2), from 99 pictures on.
    """
    reference = cloud.rows_of(cloud.reference).drop_duplicates("sha256")
    if len(reference) < FEWEST_SLOTS:
        return math.nan, 0
    vectors, codes = unit_vectors(reference), _codes(reference)
    taken = reference["slot"].isin(compared).to_numpy()
    if int(taken.sum()) < FEWEST_SLOTS:  # slots of its own
        taken = np.arange(len(reference)) < MOST_COMPARED
    similar = np.sort(_nearest(vectors[taken], vectors, codes[taken], codes)[0])
    return float(similar[_rank(len(similar)) - 1]), len(similar)


def _rank(m: int) -> int:
    return min(math.ceil((m + 1) * QUANTILE), m)


# --------------------------------------------------------------------------- one generation


def _copies_of(cloud: Cloud, generation: int, threshold: float, compared: frozenset[str]) -> pd.DataFrame:
    every = cloud.rows_of(generation)
    own = every[every["slot"].isin(compared)]
    table = cloud.images[cloud.images["generation"] == generation].drop(columns="group").reset_index(drop=True)
    reference = cloud.images[cloud.images["generation"] == cloud.reference]
    has_other_reference = generation != cloud.reference
    before = max((g for g in cloud.generations if g < generation), default=None)
    sides = {
        ("nearest_reference", "reference_cosine", "is_copy"): cloud.reference if has_other_reference else None,
        ("nearest_before", "before_cosine", "is_copy_before"): before,
        ("nearest_twin", "twin_cosine", "is_twin"): generation,
    }
    for (nearest, cosine, is_near), other in sides.items():
        found = _best(own, cloud.rows_of(other)) if other is not None else {}
        table[nearest] = [found.get(image, ("", math.nan))[0] for image in table["image"]]
        table[cosine] = [found.get(image, ("", math.nan))[1] for image in table["image"]]
        near = table[cosine] > threshold
        is_known = table[cosine].notna() & math.isfinite(threshold)
        table[is_near] = near.astype("boolean").where(is_known)
    hashed = table["sha256"] != ""
    table["n_same_file"] = (table.groupby("sha256")["sha256"].transform("size") - 1).where(hashed, 0)
    table["is_same_file"] = (table["n_same_file"] > 0).astype("boolean").where(hashed)
    by_hash = dict(zip(reference["sha256"], reference["image"], strict=True)) if has_other_reference else {}
    table["reference_file"] = [by_hash.get(digest, "") if digest else "" for digest in table["sha256"]]
    known = hashed & has_other_reference
    table["is_reference_file"] = (table["reference_file"] != "").astype("boolean").where(known)
    return table.drop(columns="sha256")


def _best(own: pd.DataFrame, others: pd.DataFrame) -> dict[str, tuple[str, float]]:
    """By image, the most similar of the other images' vectors: its image, and the cosine."""
    if not len(own) or not len(others):
        return {}
    codes = {image: nth for nth, image in enumerate(pd.concat([own["image"], others["image"]]).unique())}
    ids = [np.array([codes[image] for image in rows["image"]], dtype=np.intp) for rows in (own, others)]
    cosine, place = _nearest(unit_vectors(own), unit_vectors(others), *ids)
    names = others["image"].to_numpy()
    found: dict[str, tuple[str, float]] = {}
    for image, similar, nearest in zip(own["image"], cosine, place, strict=True):
        if math.isfinite(similar) and similar > found.get(image, ("", -math.inf))[1]:
            found[image] = (str(names[nearest]), float(similar))
    return found


def _codes(rows: pd.DataFrame) -> NDArray[np.intp]:
    return np.asarray(pd.factorize(rows["image"])[0], dtype=np.intp)


def _nearest(
    vectors: Vectors, others: Vectors, ids: NDArray[np.intp], other_ids: NDArray[np.intp]
) -> tuple[Array, NDArray[np.intp]]:
    """Cosine (n,) and place (n,) of the nearest of ``others`` that is not of the same image; -inf where none is."""
    cosine, place = np.empty(len(vectors)), np.empty(len(vectors), dtype=np.intp)
    block = max(1, _AT_A_TIME // max(len(others), 1))
    for start in range(0, len(vectors), block):
        part = slice(start, start + block)
        alike = vectors[part] @ others.T
        alike[ids[part, None] == other_ids] = -np.inf
        place[part] = alike.argmax(axis=1)
        cosine[part] = alike[np.arange(len(alike)), place[part]]
    return np.where(np.isfinite(cosine), np.clip(cosine, -1.0, 1.0), cosine), place


# --------------------------------------------------------------------------- shares


def _share(
    images: pd.DataFrame, generation: int, what: str, draws: SlotDraws, rng: np.random.Generator
) -> dict[str, Any]:
    """One row of copy_shares.csv; none where no picture could be judged."""
    known = images[images[KINDS[what]].notna()]
    if not len(known):
        return {}
    is_so = known[KINDS[what]].to_numpy(dtype=bool)
    (low,), (high,) = draws.intervals(list(known["slot"]), is_so[:, None], rng)
    return {
        "generation": generation, "what": what, "n": len(known), "n_so": int(is_so.sum()),
        "share": float(is_so.mean()), "share_low": float(low), "share_high": float(high),
    }  # fmt: skip
