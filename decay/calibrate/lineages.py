"""Lineages of readings whose true course is known: what the statistics are tried on, without any image.

Readings, not traits, are simulated, so that everything from the counting of subjects to the verdict is at work.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.stats import norm

from decay.erosion import Array, Ranking, Retention, Verdict, judge, rank
from decay.settings import Rule
from decay.tables import Tables
from decay.traits import TraitSeries, readings_to_traits, traits_to_retentions
from detectors.geometry import mean_of, median_of, spread_of
from detectors.trait import OK, ErrorRates, Face, Family, Group, Hand, Measurement, Reading, Statistic, Trait, View

Kind = Literal["mean", "median", "spread", "share", "read_share", "location"]
KINDS: tuple[Kind, ...] = ("mean", "median", "spread", "share", "read_share", "location")
"""``read_share``: a share of a yes/no reading that errs and is corrected for it."""
SIZES: Mapping[Group, int] = {"eyes": 12, "hands": 3, "face": 9, "light": 2, "image": 4}
"""Traits in each family of the usual lineage, thirty in all."""
RATES = ErrorRates(n_positive=500, n_found=460, n_negative=500, n_false=15, source="simulated")
FULL_SHARE = 0.8
"""What a share is in the reference."""
SIGMA = 0.5
"""Spread of a reading in units of its mean; for skewed readings that of its logarithm."""
_PREFIX: Mapping[Group, str] = {"eyes": "iris", "hands": "hand", "face": "face", "light": "lighting", "image": "image"}
_SUBJECT: Mapping[Group, Literal["image", "face", "eye", "hand"]] = {
    "eyes": "eye",
    "hands": "hand",
    "face": "face",
    "light": "face",
    "image": "image",
}
_OF_SLOT, _OF_GROUP = 0.3, 0.2
"""Shares of a reading's variance that its slot keeps over the generations, and that its family shares within one."""
_OF_PROMPT = 0.4
"""Share that the images of one prompt group have in common in one generation, where there are groups."""
LOST = "occluded"


@dataclass(frozen=True)
class Toy:
    """One trait over one reading. ``noise``: factor on the spread of its readings where these have a mean."""

    name: str
    group: Group
    kind: Kind
    skewed: bool = False
    noise: float = 1.0

    @cached_property
    def family(self) -> Family:
        """As a file of ``detectors/`` would declare it."""
        subject = _SUBJECT[self.group]
        share = self.kind in ("share", "read_share")
        return Family(
            name=self.name,
            group=self.group,
            subject="face" if subject == "eye" else subject,
            readings=(Reading(self.name, subject, self.name, ""),),
            states={OK: "measured", LOST: "not measured"},
            measure=_nothing,
            traits=(
                Trait(
                    name=self.name,
                    subject=subject,
                    label=self.name,
                    unit="share" if share else "",
                    direction="reference" if self.kind == "location" else "higher",
                    floor=0.0,
                    source="simulated",
                    readings=(self.name,),
                    statistic=_statistic(self.kind, self.name),
                    kind="location" if self.kind == "location" else "level",
                    bounds=(0.0, 1.0) if share else (-math.inf, math.inf),
                    errors=RATES if self.kind == "read_share" else None,
                    is_share=share,
                ),
            ),
        )

    def readings(self, z: Array, course: Array, rng: np.random.Generator) -> Array:
        """Readings (G, n, m) from standard normal ``z`` of that shape; ``course`` (G,): the true retention."""
        c, sigma = course[:, None, None], SIGMA * self.noise
        if self.kind in ("share", "read_share"):
            true = norm.cdf(z) < FULL_SHARE * c
            read = rng.random(z.shape) < np.where(true, RATES.sensitivity, 1 - RATES.specificity)
            return np.asarray(true if self.kind == "share" else read, dtype=np.float64)
        skewed = (np.exp(SIGMA * z) - math.exp(SIGMA**2 / 2)) / math.exp(SIGMA**2 / 2)
        deviation: Array = skewed if self.skewed else SIGMA * z
        if self.kind == "location":
            return deviation + (1.0 - c) * _sd(self.skewed)
        if self.kind == "spread":
            return c * deviation
        if self.skewed:
            return np.asarray(c * np.exp(sigma * z))
        return np.asarray(c + sigma * z)


@dataclass(frozen=True)
class Told:
    """What the statistics made of one lineage."""

    retentions: tuple[Retention, ...]
    ranking: Ranking
    verdict: Verdict


def usual_toys(skewed: bool = True) -> tuple[Toy, ...]:
    """Thirty traits in five families, of every kind; every second one with skewed readings, if wanted."""
    groups = [group for group, n in SIZES.items() for _ in range(n)]
    return tuple(
        Toy(f"{_PREFIX[group]}_toy_{i:02d}", group, KINDS[i % len(KINDS)], skewed=skewed and (i // len(KINDS)) % 2 == 1)
        for i, group in enumerate(groups)
    )


def simulate(
    toys: Sequence[Toy],
    courses: Mapping[str, Array],
    n_slots: int,
    rng: np.random.Generator,
    missing: Mapping[str, Array] | None = None,
    lost_first: bool = False,
    n_groups: int = 0,
) -> Tables:
    """Tables of a lineage. ``courses``: true retention (G,) by trait, 1 where none is given. ``n_groups``: of prompts,
    whose images wander together from generation to generation; 0 for none.

    ``missing``: share of subjects unmeasured (G,) by trait; ``lost_first``: those that had decayed most go first,
    which for readings with a mean are the lowest ones.
    """
    n_generations = len(next(iter(courses.values())))
    shape = (n_generations, n_slots, 1)
    common = {group: rng.normal(size=shape) for group in SIZES}
    columns: dict[str, dict[str, Any]] = {"image": {}, "face": {}, "eye": {}, "hand": {}}
    for toy in toys:
        subject = _SUBJECT[toy.group]
        own = rng.normal(size=shape)
        if subject == "eye":
            own = np.sqrt(0.5) * own + np.sqrt(0.5) * rng.normal(size=(n_generations, n_slots, 2))
        slot = rng.normal(size=(1, n_slots, 1))
        z = np.sqrt(_OF_SLOT) * slot + np.sqrt(_OF_GROUP) * common[toy.group]
        z = z + np.sqrt(1 - _OF_SLOT - _OF_GROUP) * own
        if n_groups:
            together = rng.normal(size=(n_generations, n_groups, 1))[:, np.arange(n_slots) % n_groups]
            z = np.sqrt(1 - _OF_PROMPT) * z + np.sqrt(_OF_PROMPT) * together
        course = courses.get(toy.name, np.ones(n_generations))
        values = toy.readings(z, course, rng)
        gone = np.zeros(values.shape, dtype=bool)
        if missing and toy.name in missing:
            chance = missing[toy.name][:, None, None]
            gone = norm.cdf(z) < chance if lost_first else rng.random(values.shape) < chance
        columns[subject][f"{toy.name}_state"] = np.where(gone, LOST, OK).astype(object).ravel()
        columns[subject][toy.name] = np.where(gone, np.nan, values).ravel()
    return _tables(columns, n_generations, n_slots, n_groups)


def tell(toys: Sequence[Toy], tables: Tables, n_resamples: int, seed: int, rule: Rule | None = None) -> Told:
    """The whole pipeline, from readings to the verdict."""
    generations = sorted(set(tables.images["generation"]))
    return conclude(
        readings_to_traits(tables, generations, n_resamples, seed, [toy.family for toy in toys]), generations, rule
    )


def conclude(series: Sequence[TraitSeries], generations: Sequence[int], rule: Rule | None = None) -> Told:
    """From the traits to the verdict."""
    retentions = traits_to_retentions(series)
    ranking = rank(retentions, generations, rule or Rule())
    return Told(retentions, ranking, judge(retentions, ranking, generations))


def _tables(columns: Mapping[str, dict[str, Any]], n_generations: int, n_slots: int, n_groups: int) -> Tables:
    generation = np.repeat(np.arange(n_generations), n_slots)
    slot = np.tile(np.arange(n_slots), n_generations)
    image = np.array([f"{g}/{s:05d}.png" for g, s in zip(generation, slot, strict=True)], dtype=object)
    where: dict[str, Any] = {"generation": generation, "image": image}
    images = pd.DataFrame(
        where
        | {"slot": [f"{s:05d}" for s in slot], "group": [f"{s % n_groups:03d}" if n_groups else "" for s in slot]}
        | {"n_faces": 1, "n_hands": 1}
        | {"expects_face": 1, "expects_hand": 1}
        | columns["image"]
    )
    eyes: dict[str, Any] = {name: np.repeat(column, 2) for name, column in where.items()} | {"face": 0}
    return Tables(
        images=images,
        faces=pd.DataFrame(where | {"face": 0} | columns["face"]),
        eyes=pd.DataFrame(eyes | columns["eye"]),
        hands=pd.DataFrame(where | {"hand": 0} | columns["hand"]),
    )


def _statistic(kind: Kind, name: str) -> Statistic:
    if kind == "spread":
        return spread_of(name)
    return median_of(name) if kind in ("median", "location") else mean_of(name)


def _sd(skewed: bool) -> float:
    """Standard deviation of the deviations of ``Toy.readings``."""
    return math.sqrt(math.exp(SIGMA**2) - 1) if skewed else SIGMA


def _nothing(view: View, subject: Face | Hand | None) -> Measurement:
    raise AssertionError("simulated readings are not measured")
