"""Traits against generation, one line for each run, as in Figure 5 of Bohacek & Farid 2023 (arXiv:2311.12202).

A run that goes on from another continues that one's line; pictures that several runs share are one point, drawn once.
"""

from __future__ import annotations

import difflib
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from decay.ancestors import HELD_OUT, ancestors_of
from decay.arms import Arm
from decay.errors import DecayError
from decay.verdict import Finding, read_finding

USUAL = ("image_fid", "image_clip_score")
"""Drawn where they were measured and nothing else is asked for: the traits of the published figure."""
BEFORE = "before"
"""Kind of a line that no run of its own has: what others went on from."""
PUBLISHED = "published"
PUBLISHED_FIGURES = (
    ("image_clip_score", "paper: base model", 0, 35.1, 2.8),
    ("image_clip_score", "paper: healed", 10, 27.3, 4.2),
)
"""What Bohacek & Farid (section 3) say in words: trait, of what, at which generation, mean and standard deviation
of 900 pictures, by CLIP ViT-H/14 of LAION-2B."""
_KEYS = ("label", "unit", "direction", "reference", "reference_value")
_VALUES = ("value", "ci_low", "ci_high", "n_measured")


@dataclass(frozen=True)
class FigureRun:
    """One run of the figure.

    ``traits``: traits.csv, ``reference`` in words added; ``held_out``: the same of the held-out prompts, None where
    these were not measured. ``pictures``: a fingerprint of each generation's pictures, the same where the pictures are.
    ``kind``: ``mix``, ``healing``, ``control_colour``, ``control_quality``, or ``other``. ``synthetic``: share of
    generated pictures in what it is trained on, NaN where that is no single number. ``parent``: name of the run it goes
    on from, ``inherited``: the last generation that it has from there, -1 for none. ``first_trait``: what eroded first,
    "" for none.
    """

    name: str
    traits: pd.DataFrame
    held_out: pd.DataFrame | None
    pictures: Mapping[int, str]
    kind: str
    synthetic: float
    parent: str
    inherited: int
    first_trait: str = ""


def figure_of(
    runs: Sequence[Path], arms: Sequence[Arm], traits: Sequence[str], with_published: bool = False
) -> pd.DataFrame | None:
    """The numbers of the figure (``figure_table``) of measured runs; ``arms``: the same, in the same order.

    ``traits``: names; none for ``USUAL`` where measured, else the trait that eroded first in the first run in which one
    did. None where no trait did. Raises DecayError where a trait or a table cannot be had, or nothing published belongs
    to what is drawn.
    """
    found = [_figure_run(run, arm) for run, arm in zip(runs, arms, strict=True)]
    wanted = dict.fromkeys(traits) or usual_traits(found)
    if with_published:
        check_published(found, tuple(wanted))
    return figure_table(found, tuple(wanted), with_published) if wanted else None


def figure_table(runs: Sequence[FigureRun], traits: Sequence[str], with_published: bool = False) -> pd.DataFrame:
    """The numbers of the figure, figure.csv: a row for each point, in the order of the traits, panels and runs.

    ``panel``: ``prompts`` or ``held_out``. ``joins``: the run whose point this is, repeated as the beginning of a line
    that goes on from it; else empty. Raises DecayError where a trait is not known, or measured in none of the runs.
    """
    rows: list[dict[str, Any]] = []
    for trait in traits:
        _check_trait(runs, trait)
        rows += _rows(runs, trait, "prompts", [run.traits for run in runs])
        rows += _rows(runs, trait, HELD_OUT, [run.held_out for run in runs])
        rows += _published(trait) if with_published else []
    return pd.DataFrame(rows)


def usual_traits(runs: Sequence[FigureRun]) -> tuple[str, ...]:
    """``USUAL`` where measured, else the trait that eroded first in the first run in which one did, if there is one."""
    measured = tuple(trait for trait in USUAL if any(_is_measured(run.traits, trait) for run in runs))
    return measured or tuple(run.first_trait for run in runs if run.first_trait)[:1]


# --------------------------------------------------------------------------- one run


def _figure_run(run: Path, arm: Arm) -> FigureRun:
    plan = arm.plan
    inherited = plan.get("protocol.parent.generation")
    above = ancestors_of(run)
    is_measured = (run / HELD_OUT / "measures" / "traits.csv").is_file()
    found = read_finding(run)
    first = found.erosion.loc[found.erosion["rank"] == 1, "trait"]
    return FigureRun(
        name=arm.name,
        traits=_traits(found),
        held_out=_traits(read_finding(run / HELD_OUT)) if is_measured else None,
        pictures=_fingerprints(arm.tables.images),
        kind=_kind(plan),
        synthetic=_synthetic(plan),
        parent=above[0][0].name if above else "",
        inherited=inherited if isinstance(inherited, int) else -1,
        first_trait=str(first.iloc[0]) if len(first) else "",
    )


def _traits(found: Finding) -> pd.DataFrame:
    return found.traits.assign(reference=str(found.verdict["reference"]))


def _fingerprints(images: pd.DataFrame) -> dict[int, str]:
    found = {}
    for generation in images["generation"].unique():
        hashes = sorted(images.loc[images["generation"] == generation, "sha256"])
        found[int(generation)] = hashlib.sha256(" ".join(hashes).encode()).hexdigest()
    return found


def _kind(plan: Mapping[str, object]) -> str:
    for control in ("colour", "quality"):
        if plan.get(f"protocol.controls.{control}") is True:
            return f"control_{control}"
    synthetic, inherited = _synthetic(plan), plan.get("protocol.parent.generation")
    if math.isnan(synthetic):
        return "other"
    return "healing" if synthetic == 0 and isinstance(inherited, int) and inherited > 0 else "mix"


def _synthetic(plan: Mapping[str, object]) -> float:
    """Of one regime from the first to the last fit: all, or the share that a mix says."""
    if "protocol.regime.1.kind" in plan:
        return math.nan
    if plan.get("protocol.regime.0.kind") == "replace":
        return 1.0
    share = plan.get("protocol.regime.0.synthetic") if plan.get("protocol.regime.0.kind") == "mix" else None
    return float(share) if isinstance(share, int | float) else math.nan


# --------------------------------------------------------------------------- one panel


def _check_trait(runs: Sequence[FigureRun], trait: str) -> None:
    known = sorted({str(name) for run in runs for name in run.traits["trait"]})
    if trait not in known:
        near = difflib.get_close_matches(trait, known, n=3)
        meant = f" Did you mean {' or '.join(near)}?" if near else " `decay traits` lists them."
        raise DecayError(f"--figure: expected a trait of these runs; got {trait}.{meant}")
    if not any(_is_measured(run.traits, trait) for run in runs):
        raise DecayError(
            f"--figure: expected a trait that was measured in some run; {trait} was in none. Name another."
        )


def check_published(runs: Sequence[FigureRun], wanted: Sequence[str]) -> None:
    """Raise DecayError where none of the ``wanted`` traits is one of which something is published."""
    published = tuple(dict.fromkeys(name for name, *_ in PUBLISHED_FIGURES))
    if set(published) & set(wanted):
        return
    measured = [name for name in published if any(_is_measured(run.traits, name) for run in runs)]
    step = (
        " ".join(f"Add --figure {name}." for name in measured)
        or "Measure the runs with CLIP's weights first (`decay models` says how to have them), or leave it out."
    )
    raise DecayError(
        f"--published: expected {' or '.join(published)} among what is drawn, for that is what Bohacek & Farid (2023) "
        f"give in words; got {', '.join(wanted) or 'nothing'}. {step}"
    )


def _is_measured(traits: pd.DataFrame, trait: str) -> bool:
    return bool(traits.loc[traits["trait"] == trait, "value"].notna().any())


def _rows(
    runs: Sequence[FigureRun], trait: str, panel: str, tables: Sequence[pd.DataFrame | None]
) -> list[dict[str, Any]]:
    """Each run's own points, and before the first of them the point that it goes on from."""
    found = [_points(table, trait) for table in tables]
    owners, given = _owners(runs, found), {run.name for run in runs}
    seen: set[tuple[int, str]] = set()
    rows: list[dict[str, Any]] = []
    for run, points in zip(runs, found, strict=True):
        line = {"trait": trait, "panel": panel, "arm": run.name, "kind": run.kind, "synthetic": run.synthetic}
        own = [g for g in points if owners[_key(run, g)] == run.name or g == max(points)]
        before = [g for g in points if g not in own]
        new = [g for g in before if owners[_key(run, g)] not in given and _key(run, g) not in seen]
        seen |= {_key(run, g) for g in new}
        rows += [
            line | {"arm": owners[_key(run, g)], "kind": BEFORE, "synthetic": math.nan, "joins": ""} | points[g]
            for g in new
        ]
        if last := [g for g in before if g < min(own)][-1:]:
            rows.append(line | {"joins": owners[_key(run, last[0])]} | points[last[0]])
        rows += [line | {"joins": ""} | points[g] for g in own]
    return rows


def _owners(runs: Sequence[FigureRun], found: Sequence[Mapping[int, Any]]) -> dict[tuple[int, str], str]:
    """Who draws the point of these pictures: the first run that made them itself, else who did, not among them."""
    owners: dict[tuple[int, str], str] = {}
    for made_itself in (True, False):
        for run, points in zip(runs, found, strict=True):
            for g in points:
                if made_itself == (g > run.inherited):
                    owners.setdefault(_key(run, g), run.name if made_itself else _not_given(run.parent, runs))
    return owners


def _not_given(parent: str, runs: Sequence[FigureRun]) -> str:
    """A name for a run that is not among these; one of the same name is not the same."""
    return f"{parent} (before)" if parent in {run.name for run in runs} else parent


def _key(run: FigureRun, generation: int) -> tuple[int, str]:
    """The same for runs that share these pictures and all before them, as far as they have any."""
    return generation, run.pictures.get(generation, run.name)


def _points(table: pd.DataFrame | None, trait: str) -> dict[int, dict[str, Any]]:
    """By generation, ascending."""
    if table is None:
        return {}
    own = table[(table["trait"] == trait) & table["value"].notna()].sort_values("generation")
    columns = [name for name in ("generation", *_KEYS, *_VALUES) if name in own]
    return {int(row["generation"]): {name: row[name] for name in columns} for _, row in own.iterrows()}


def _published(trait: str) -> list[dict[str, Any]]:
    return [
        {"trait": trait, "panel": "prompts", "arm": of_what, "kind": PUBLISHED, "synthetic": math.nan, "joins": "",
         "generation": generation, "value": mean, "ci_low": mean - sd, "ci_high": mean + sd}
        for name, of_what, generation, mean, sd in PUBLISHED_FIGURES
        if name == trait
    ]  # fmt: skip
