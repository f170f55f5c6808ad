"""Tails: which kinds of picture vanish first. Prompt groups that can no longer be read, clusters of the reference that
no generated picture falls into any more.

Clusters follow the pictures they were found in: others fall into small ones more seldom, decay or not. So they are
found in one half of the reference, and every share is counted in pictures that had no part in it: the other half, and
the generations. (Bins of a k-means on the training set, and a test of proportions in each: Richardson & Weiss 2018,
arXiv:1805.12462.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.stats import beta, hypergeom

from decay.cloud import Cloud, SlotDraws, Vectors, slot_draws, unit_vectors

CONFIDENCE = 0.95
RARE = 0.5
"""A part is rare where it holds less than this share of an even one: of 10 clusters, less than 5 % of the reference."""
FEWEST = 24
"""Pictures of the reference below which no clusters are told."""
MOST_CLUSTERS, MOST_CLUSTERED = 30, 2000
COLUMNS = (
    "kind", "part", "rarity", "n_reference", "n_all_reference", "share_reference", "share_read_reference", "is_rare",
    "generation", "n", "n_all", "share", "share_low", "share_high", "state", "example", "vectors",
)  # fmt: skip
"""Of tails.csv, whether anything could be told or not."""
GONE, THINNED, PRESENT, CANNOT_TELL = "gone", "thinned", "present", "cannot_tell"


@dataclass(frozen=True)
class Tails:
    """``table``: tails.csv. ``record``: what verdict.json says of it, ``sentence`` among it; empty where there is
    nothing to tell of."""

    table: pd.DataFrame
    record: Mapping[str, Any]


@dataclass(frozen=True)
class _Counts:
    """The pictures of one generation: ``slots`` (n,) of each, and ``parts`` (n,) that each is in."""

    slots: Sequence[str]
    parts: NDArray[np.intp]


def find_tails(cloud: Cloud, n_resamples: int, seed: int) -> Tails:
    """Shares of the reference's prompt groups and clusters in every generation, the rarest part first.

    One vector for each picture, the first where it shows several faces. Clusters: Ward's on unit vectors, their number
    the root of half the number of reference pictures (Mardia, Kent & Bibby 1979, p. 365), at most ``MOST_CLUSTERS``;
    each picture belongs to the nearest centre. Intervals are those of each number by itself, the slots resampled.
    A cluster has *thinned* where Fisher's exact test shows a smaller share than in the reference, at 5 % over all
    clusters of a generation; it is *gone* where it also holds no picture.
    """
    pictures = cloud.rows.drop_duplicates(["generation", "slot"])
    generations = [g for g in cloud.generations if g != cloud.reference]
    groups = _group_rows(cloud, pictures, generations)
    reference = pictures[pictures["generation"] == cloud.reference]
    if not generations:
        return Tails(_table(groups, cloud), {})
    if len(reference) < FEWEST:
        few = f"of {len(reference)} pictures of the reference there are vectors, and it takes {FEWEST}"
        return Tails(_table(groups, cloud), {"sentence": f"Which clusters of the reference go cannot be told: {few}."})
    rng = np.random.default_rng([seed, 3])
    centres, counted, examples = _clusters(reference, rng)
    found = {
        g: _Counts(list(own["slot"]), _assigned(unit_vectors(own), centres))
        for g in generations
        if len(own := pictures[pictures["generation"] == g])
    }
    draws = slot_draws(cloud.images, n_resamples, seed)
    rows = _cluster_rows(counted, found, examples, draws, rng)
    table = _table(rows + groups, cloud)
    return Tails(table, _record(table[table["kind"] == "cluster"], counted, found))


def _table(rows: Sequence[Mapping[str, Any]], cloud: Cloud) -> pd.DataFrame:
    return pd.DataFrame.from_records([{**row, "vectors": cloud.name} for row in rows], columns=list(COLUMNS))


# --------------------------------------------------------------------------- clusters


def _clusters(reference: pd.DataFrame, rng: np.random.Generator) -> tuple[Vectors, NDArray[np.intp], list[str]]:
    """Centres (k, d) found in one half of the reference's pictures, how many of the other half are in each (k,), and
    the picture of the first half that is nearest to each centre; the rarest first."""
    order = rng.permutation(len(reference))
    half = min(len(order) // 2, MOST_CLUSTERED)
    found_in, counted_in = (reference.iloc[np.sort(part)] for part in (order[:half], order[half:]))
    vectors = unit_vectors(found_in)
    k = min(round(math.sqrt(len(reference) / 2)), MOST_CLUSTERS)
    labels = fcluster(linkage(vectors, "ward"), k, "maxclust")
    centres = np.stack([vectors[labels == label].mean(axis=0) for label in np.unique(labels)])
    counted = np.bincount(_assigned(unit_vectors(counted_in), centres), minlength=len(centres))
    rarest = np.argsort(counted, kind="stable")
    nearest = _distances(vectors, centres).argmin(axis=0)
    return centres[rarest], counted[rarest], [str(found_in["image"].iloc[nearest[c]]) for c in rarest]


def _assigned(vectors: Vectors, centres: Vectors) -> NDArray[np.intp]:
    return np.asarray(_distances(vectors, centres).argmin(axis=1), dtype=np.intp)


def _distances(vectors: Vectors, centres: Vectors) -> Vectors:
    """Squared, less what is the same for all centres: (n, k)."""
    return np.asarray(np.square(centres).sum(axis=1) - np.float32(2.0) * (vectors @ centres.T))


def _cluster_rows(
    counted: NDArray[np.intp],
    found: Mapping[int, _Counts],
    examples: Sequence[str],
    draws: SlotDraws,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    n_reference, k = int(counted.sum()), len(counted)
    wide = {g: draws.intervals(each.slots, each.parts[:, None] == np.arange(k), rng) for g, each in found.items()}
    rows = []
    for part in range(k):
        about = {"kind": "cluster", "part": f"cluster {part + 1}", "rarity": part + 1,
                 **_of_reference(int(counted[part]), n_reference, k), "example": examples[part]}  # fmt: skip
        for generation, counts in found.items():
            is_in = counts.parts == part
            low, high = (ends[part] for ends in wide[generation])
            n, n_all = int(is_in.sum()), len(is_in)
            rows.append(
                about
                | {"generation": generation, "n": n, "n_all": n_all, "share": n / n_all}
                | {"share_low": float(low), "share_high": float(high)}
                | {"state": _state(n, n_all, int(counted[part]), n_reference, (1 - CONFIDENCE) / k)}
            )
    return rows


def _of_reference(n: int, n_all: int, n_parts: int) -> dict[str, Any]:
    share = n / n_all
    return {
        "n_reference": n, "n_all_reference": n_all, "share_reference": share, "is_rare": share < RARE / n_parts
    }  # fmt: skip


def _state(n: int, n_all: int, n_reference: int, n_all_reference: int, level: float) -> str:
    """By Fisher's exact test: how likely so few of those in either are generated, were both samples of one kind."""
    p = float(hypergeom.cdf(n, n_all + n_all_reference, n + n_reference, n_all))
    if p < level:
        return THINNED if n else GONE
    return PRESENT if n else CANNOT_TELL


def least_seen(n_all: int, n_all_reference: int, n_clusters: int) -> float:
    """The smallest share of the reference that a cluster could have and be seen to be gone; inf if none could."""
    for n in range(1, n_all_reference + 1):
        if _state(0, n_all, n, n_all_reference, (1 - CONFIDENCE) / n_clusters) == GONE:
            return n / n_all_reference
    return math.inf


# --------------------------------------------------------------------------- prompt groups


def _group_rows(cloud: Cloud, pictures: pd.DataFrame, generations: Sequence[int]) -> list[dict[str, Any]]:
    """How many of a group's pictures can still be read; exact binomial intervals."""
    asked = cloud.images[cloud.images["group"] != ""].drop_duplicates(["generation", "slot"])
    read = pictures[pictures["group"] != ""]
    sizes = asked[asked["generation"] == cloud.reference].groupby("group").size().sort_values(kind="stable")
    if len(sizes) < 2:
        return []
    rows = []
    for rarity, (group, size) in enumerate(sizes.items(), start=1):
        n_known = int(((read["generation"] == cloud.reference) & (read["group"] == group)).sum())
        if n_known == 0:
            continue  # what these vectors describe is not in such pictures at all: of its loss they can say nothing
        about = {"kind": "group", "part": group, "rarity": rarity, "share_read_reference": n_known / size,
                 **_of_reference(int(size), int(sizes.sum()), len(sizes))}  # fmt: skip
        for generation in generations:
            n_all = int(((asked["generation"] == generation) & (asked["group"] == group)).sum())
            n = int(((read["generation"] == generation) & (read["group"] == group)).sum())
            if n_all:
                low, high = exact_interval(n, n_all)
                told = {"generation": generation, "n": n, "n_all": n_all, "share": n / n_all}
                state = _state(n, n_all, n_known, int(size), (1 - CONFIDENCE) / len(sizes))
                rows.append(about | told | {"share_low": low, "share_high": high, "state": state})
    return rows


def exact_interval(n: int, n_all: int) -> tuple[float, float]:
    """Of a binomial share, 95 %: Clopper & Pearson 1934, doi:10.1093/biomet/26.4.404."""
    tail = (1 - CONFIDENCE) / 2
    low = float(beta.ppf(tail, n, n_all - n + 1)) if n else 0.0
    high = float(beta.ppf(1 - tail, n + 1, n_all - n)) if n < n_all else 1.0
    return low, high


# --------------------------------------------------------------------------- words


def _record(table: pd.DataFrame, counted: NDArray[np.intp], found: Mapping[int, _Counts]) -> dict[str, Any]:
    """``gone``: clusters without a picture from some generation on to the last, seen to be gone in both."""
    if not found:
        return {}
    last = max(found)
    k, n_reference = len(counted), int(counted.sum())
    every = {part: _gone_since(table[table["rarity"] == part]) for part in range(1, k + 1)}
    gone = {part: since for part, since in every.items() if since is not None}
    least = least_seen(len(found[last].slots), n_reference, k)
    record = {
        "n_clusters": k, "n_reference": n_reference, "n_last": len(found[last].slots), "least_seen": least,
        "gone": [{"cluster": part, "since": since} for part, since in gone.items()],
    }  # fmt: skip
    return record | {"sentence": _sentence(k, gone, least, last)}


def _gone_since(own: pd.DataFrame) -> int | None:
    """The first generation from which one cluster stays empty, where that is shown there and in the last."""
    states, at = list(own.sort_values("generation")["state"]), sorted(own["generation"])
    if states[-1] != GONE:
        return None
    empty = [nth for nth in range(len(states)) if set(states[nth:]) <= {GONE, CANNOT_TELL} and states[nth] == GONE]
    return int(at[empty[0]])


def _sentence(k: int, gone: Mapping[int, int], least: float, last: int) -> str:
    unseen = (
        f"A cluster of less than {100 * least:.1f} % of the reference could not have been seen to go."
        if least < 1
        else "There are too few pictures to see one go."
    )
    if not gone:
        return f"None of {k} clusters of the reference is shown to be gone by generation {last}. {unseen}"
    n, rank = len(gone), max(gone)
    which = {1: "it is", 2: "both are"}.get(n, f"all {n} are")
    are = "is" if n == 1 else "are"
    among = "the rarest" if rank == 1 else f"among the {rank} rarest"
    return (
        f"{n} of {k} clusters of the reference {are} gone by generation {max(gone.values())}; {which} {among}. {unseen}"
    )
