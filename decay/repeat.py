"""Reading reliability: the same pictures read again after changes that nobody would call erosion.

Whatever a trait seems to lose between a picture and its mirror image, the picture one pixel to the side, or the picture
saved once more, it loses to the reading.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from decay.erosion import FEWEST_SLOTS
from decay.lineage import REFERENCE_INDEX, Generation, ImageRecord, Lineage
from decay.outcome import Outcome
from decay.tables import Tables, build_tables
from decay.traits import TraitSeries, readings_to_traits
from detectors.trait import Family

N_RESAMPLES = 200
"""Only whether a share may lie at its floor rests on them."""


@dataclass(frozen=True)
class RepeatLoss:
    """``loss``: the largest |1 - retention| over the changes, NaN where it cannot be told; ``worst``: whose it is, ""
    where there is none."""

    loss: float
    worst: str


def choose(lineage: Lineage, outcomes: Mapping[str, Outcome], n: int, seed: int) -> tuple[ImageRecord, ...]:
    """``n`` pictures of the reference that could be read, by chance, in the order of their slots; all if fewer."""
    reference = lineage.reference or lineage.generations[0]
    known = sorted((r for r in reference.images if outcomes[r.relative].readings), key=lambda record: record.slot)
    places = np.random.default_rng([seed, 3]).permutation(len(known))[:n]
    return tuple(known[place] for place in sorted(places))


def repeated_tables(
    records: Sequence[ImageRecord], outcomes: Mapping[str, Outcome], again: Mapping[str, Sequence[Outcome]]
) -> Tables:
    """Readings as the tables of a lineage: generation 0 as it is, then one generation for each change, in their order.

    ``outcomes``: by path. ``again``: of each change, in the order of ``records``.
    """
    parts = [("as is", [outcomes[record.relative] for record in records]), *again.items()]
    renamed = {name: tuple(replace(r, relative=f"{name}:{r.relative}") for r in records) for name, _ in parts}
    generations = tuple(Generation(i, Path(name), renamed[name]) for i, (name, _) in enumerate(parts))
    found = {r.relative: o for name, part in parts for r, o in zip(renamed[name], part, strict=True)}
    return build_tables(Lineage(Path(), generations), found)


def repeat_losses(
    tables: Tables, changes: Sequence[str], seed: int, of: Sequence[Family] | None = None
) -> dict[str, RepeatLoss]:
    """What each trait loses by being read again, by its name. ``tables``: see ``repeated_tables``; ``of``: these
    families in place of all."""
    generations = range(len(changes) + 1)
    series = readings_to_traits(tables, generations, N_RESAMPLES, seed, of, same_subjects=True)
    return {s.trait.name: _loss(s, changes) for s in series}


def _loss(series: TraitSeries, changes: Sequence[str]) -> RepeatLoss:
    """Of fewer slots than anything is decided on, nothing is said. Where left and right mean something, a mirror image
    is another picture."""
    losses = {
        name: abs(1.0 - float(kept))
        for name, kept in zip(changes, series.retention[1:], strict=True)
        if math.isfinite(kept) and not (series.trait.sided and name == "flip")
    }
    if not losses or series.n_slots < FEWEST_SLOTS:
        return RepeatLoss(math.nan, "")
    worst = max(losses, key=lambda name: losses[name])
    return RepeatLoss(losses[worst], worst if losses[worst] > 0.0 else "")


def with_repeat_losses(series: Sequence[TraitSeries], losses: Mapping[str, RepeatLoss]) -> tuple[TraitSeries, ...]:
    """The series, each with what re-reading costs it."""
    return tuple(
        replace(s, repeat_loss=losses[s.trait.name].loss, repeat_worst=losses[s.trait.name].worst) for s in series
    )


def reference_generation(lineage: Lineage) -> int:
    """The number that the reference's pictures have in the tables."""
    return REFERENCE_INDEX if lineage.reference else lineage.generations[0].index
