"""Measured runs side by side: their tables read back, and one drawing of slots for all of them.

Slots of the same name are drawn together, whichever runs have them, so that what two runs share cancels in their
difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from decay.erosion import FEWEST_SLOTS
from decay.errors import DecayError
from decay.lineage import REFERENCE_INDEX
from decay.metadata import read_settings
from decay.settings import Rule
from decay.tables import Tables, load_tables
from decay.traits import Draws, TraitSeries, clusters, readings_to_traits
from decay.verdict import damaged, names_of, read_finding

PLAN_KEYS = ("source", "protocol", "plan", "engine", "regime", "start", "prompts", "size_px", "quality_model_sha256")
"""What lineage.json says of how a lineage was made; ..."""
NOT_OF_THE_PLAN = frozenset(
    {
        "plan.description",
        "protocol.name",
        "protocol.seed",
        "protocol.iterations",
        "protocol.keep_weights",
        "protocol.real.folder",
        "protocol.controls.quality_model",
        "protocol.parent.run",
    }
)
"""... but these paths in it: a seed is what replicates differ in, names, words and places of folders change no picture,
nor does it what is kept of the weights; and of a longer run only the generations that all have are judged."""
N_SHOWN = 60
"""Characters of a plan's value that a message shows."""


@dataclass(frozen=True)
class Arm:
    """One measured run. ``reader``: fingerprint of what read it. ``reference``: what it was compared with, in words;
    ``compared_with_pictures``: whether that is a folder of its own, not the first generation.

    ``control``: the run whose drift was taken off when it was measured, "" for none. ``n_repeated``: pictures of the
    reference that were read again. ``networks``: fingerprint of each network that made vectors of its pictures.
    ``plan``: what lineage.json says of how it was made, value by dotted path.
    """

    name: str
    tables: Tables
    generations: tuple[int, ...]
    reader: str
    reference: str
    compared_with_pictures: bool
    rule: Rule
    n_resamples: int
    seed: int
    control: str = ""
    n_repeated: int = 0
    networks: Mapping[str, str] = field(default_factory=dict)
    plan: Mapping[str, object] = field(default_factory=dict)


def load_arms(runs: Sequence[Path]) -> tuple[Arm, ...]:
    """Measured runs, in this order. Raises DecayError where one was not measured, or the same folder is given twice."""
    return tuple(load_arm(run, name) for run, name in zip(runs, names_of(runs), strict=True))


def load_arm(run: Path, name: str) -> Arm:
    """One measured run. Raises DecayError."""
    found = read_finding(run)
    try:
        settings = found.run["settings"]
        tables = load_tables(run / "measures")
        return Arm(
            name=name,
            tables=tables,
            generations=tuple(sorted(int(index) for index in set(found.traits["generation"]))),
            reader=str(found.run["reader"]),
            reference=str(found.verdict["reference"]),
            compared_with_pictures=bool((tables.images["generation"] == REFERENCE_INDEX).any()),
            rule=Rule(**settings["rule"]),
            n_resamples=int(settings["n_resamples"]),
            seed=int(settings["seed"]),
            control=str((found.verdict.get("control") or {}).get("name", "")),
            n_repeated=int((found.run.get("repeat") or {}).get("n_images", 0)),
            networks={str(name): str(version) for name, version in found.run.get("networks", {}).items()},
            plan=plan_of(read_settings(run)),
        )
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise damaged(run, error) from error


def check_comparable(arms: Sequence[Arm]) -> None:
    """Raise DecayError unless all were read by the same detectors and compared with the same reference pictures."""
    first = arms[0]
    for arm in arms[1:]:
        if arm.reader != first.reader:
            raise DecayError(
                f"{arm.name} and {first.name} were read by different versions of the detectors or with different "
                "models, so that a difference may be the instrument's. Measure both again with `decay measure`."
            )
        if differ := [n for n in sorted(first.networks) if arm.networks.get(n, first.networks[n]) != first.networks[n]]:
            raise DecayError(
                f"{arm.name} and {first.name} were measured with different weights or versions of {', '.join(differ)}, "
                "so that a difference may be theirs. Measure both again with `decay measure` and the same weights."
            )
        if arm.compared_with_pictures != first.compared_with_pictures:
            raise DecayError(
                f"{arm.name} was compared with {arm.reference}, {first.name} with {first.reference}. Measure both "
                "against the same pictures: `decay measure RUN --reference DIR`."
            )
    _check_references(arms)


def _check_references(arms: Sequence[Arm]) -> None:
    """Raise DecayError unless all were compared with the same pictures, or each with its own first generation."""
    first, *others = ((arm, _reference_pictures(arm)) for arm in arms)
    for arm, pictures in others:
        if pictures != first[1]:
            raise DecayError(
                f"{arm.name} was compared with {_pictures(len(pictures))} of {arm.reference}, {first[0].name} with "
                f"{_pictures(len(first[1]))} of {first[0].reference}, and they are not the same pictures, so that a "
                "difference may be theirs. Measure both against one folder: `decay measure RUN --reference DIR`."
            )


def _reference_pictures(arm: Arm) -> frozenset[str]:
    """The sha256 of each; none where the reference is a generation."""
    images = arm.tables.images
    return (
        frozenset(images.loc[images["generation"] == REFERENCE_INDEX, "sha256"])
        if arm.compared_with_pictures
        else frozenset()
    )


def _pictures(n: int) -> str:
    return f"{n} picture" + ("" if n == 1 else "s")


def plan_of(lineage: Mapping[str, object]) -> dict[str, object]:
    """How a lineage was made, from the content of its lineage.json: value by dotted path, ``plan.decay.X.onset``.

    A protocol has the engine's settings as they were written; those that were used, defaults too, take their place.
    """
    said = {key: lineage[key] for key in PLAN_KEYS if key in lineage}
    if isinstance(protocol := said.get("protocol"), Mapping) and isinstance(said.get("engine"), Mapping):
        said["protocol"] = {**protocol, "engine": said.pop("engine")}
    return dict(_flat(said))


def _flat(record: Mapping[str, object], path: str = "") -> Iterator[tuple[str, object]]:
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{key}.")
        elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            yield from _flat({str(nth): item for nth, item in enumerate(value)}, f"{path}{key}.")
        elif f"{path}{key}" not in NOT_OF_THE_PLAN:
            yield f"{path}{key}", value


def check_replicates(arms: Sequence[Arm]) -> None:
    """Raise DecayError unless all were made by one plan and measured in one way."""
    check_comparable(arms)
    first = arms[0]
    for arm in arms[1:]:
        if difference := _difference(first.plan, arm.plan):
            raise DecayError(
                f"{first.name} and {arm.name} were made by different plans ({difference}): they are no replicates of "
                "one experiment. Set them side by side instead: decay compare RUN RUN..."
            )
        if difference := _difference(_ways(first), _ways(arm)):
            raise DecayError(
                f"{first.name} and {arm.name} were measured in different ways ({difference}), so that they cannot be "
                "taken together. Measure both with the same options of `decay measure`."
            )


def _ways(arm: Arm) -> dict[str, object]:
    return {**asdict(arm.rule), "control": arm.control or "none"}


def _difference(one: Mapping[str, object], other: Mapping[str, object]) -> str:
    """``regime is replace, not accumulate``: the first that differs, and how many more do; empty where none does."""
    missing = "missing"
    names = [name for name in {**one, **other} if one.get(name, missing) != other.get(name, missing)]
    if not names:
        return ""
    is_, not_ = (_short(plan.get(names[0], missing)) for plan in (one, other))
    more = f"; {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]} is {is_}, not {not_}{more}"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= N_SHOWN else f"{text[:N_SHOWN]}..."


def left_aside(arms: Sequence[Arm]) -> list[str]:
    """A sentence on what ``--control`` and ``--repeat`` gave these runs, which is not used where several are told."""
    used = {"--control": any(arm.control for arm in arms), "--repeat": any(arm.n_repeated for arm in arms)}
    options = " and ".join(option for option, is_used in used.items() if is_used)
    return [f"The runs were measured with {options}; that is not used where several are told."] if options else []


def common_generations(arms: Sequence[Arm]) -> tuple[int, ...]:
    """The generations that all of them have. Raises DecayError where there are fewer than two."""
    shared = sorted(set.intersection(*(set(arm.generations) for arm in arms)))
    if len(shared) < 2:
        names = ", ".join(f"{arm.name} ({arm.generations[0]} to {arm.generations[-1]})" for arm in arms)
        raise DecayError(
            f"{names}: expected at least two generations that all of them have; found {len(shared)}. A run that goes "
            "on from another is compared with one that was made as far."
        )
    return tuple(shared)


def arms_to_traits(arms: Sequence[Arm], n_resamples: int, seed: int) -> tuple[tuple[TraitSeries, ...], ...]:
    """Every arm's traits over its own generations; the draws of all arms are paired by slot.

    Raises DecayError where they were compared with different pictures.
    """
    _check_references(arms)
    draws = paired_draws([arm.tables.images for arm in arms], n_resamples, seed)
    return tuple(
        readings_to_traits(arm.tables, arm.generations, n_resamples, seed, draws=own)
        for arm, own in zip(arms, draws, strict=True)
    )


def paired_draws(images: Sequence[pd.DataFrame], n_resamples: int, seed: int) -> list[Draws]:
    """One drawing for several runs: each gets the counts of its own slots, in the order of their names.

    Slots are drawn in strata, one for each set of runs that share them, so that every run keeps its size: runs of the
    same slots get the same draws, runs that share none independent ones. Strata of few slots hardly vary by themselves:
    they are drawn as one, and a run that has some of those slots only keeps its size on average. ``images``: tables
    with ``slot``, ``group``.
    """
    everyone = pd.concat([frame[["slot", "group"]] for frame in images], ignore_index=True)
    slots = np.array(sorted(set(everyone["slot"])), dtype=object)
    together = clusters(everyone)
    has = np.stack([np.isin(slots, frame["slot"].unique()) for frame in images])
    # A cluster belongs to every run that has any slot of it: it is drawn whole.
    shared = np.stack([np.bincount(together, weights=row) > 0 for row in has], axis=1)
    strata = _large_enough(np.unique(shared, axis=0, return_inverse=True)[1].ravel())[together]
    places = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    parts = [
        Draws(_renumbered(together[place]), n_resamples, np.random.default_rng([seed, 0, *([nth] if nth else [])]))
        for nth, place in enumerate(places)
    ]
    joint = Draws.joined(parts, places, len(slots))
    return [joint.of_slots(np.flatnonzero(row)) for row in has]


def _large_enough(strata: NDArray[np.intp]) -> NDArray[np.intp]:
    """Strata (n,) with those of fewer than ``FEWEST_SLOTS`` made one; where that is still too few, with the smallest of
    the others."""
    sizes = np.bincount(strata)
    by_size = np.argsort(sizes, kind="stable")
    n_small = int((sizes < FEWEST_SLOTS).sum())
    if 0 < sizes[by_size[:n_small]].sum() < FEWEST_SLOTS:
        n_small += 1
    merged = by_size[:n_small]
    return np.where(np.isin(strata, merged), merged.min(initial=len(sizes)), strata)


def _renumbered(labels: NDArray[np.intp]) -> NDArray[np.intp]:
    return np.asarray(np.unique(labels, return_inverse=True)[1].ravel(), dtype=np.intp)
