"""Readings -> tables, traits, erosion and verdict. Pure: the same readings and settings give the same results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from decay.arms import Arm, arms_to_traits, check_comparable, load_arm
from decay.cloud import cloud_of
from decay.control import less_control
from decay.copies import find_copies
from decay.errors import DecayError
from decay.lineage import Lineage
from decay.outcome import Outcome
from decay.repeat import RepeatLoss, with_repeat_losses
from decay.results import Results, draw_conclusion
from decay.settings import MeasureSettings
from decay.storage import real_name
from decay.tables import build_tables
from decay.tails import find_tails
from decay.traits import readings_to_traits


def conclude(
    lineage: Lineage,
    outcomes: Mapping[str, Outcome],
    settings: MeasureSettings,
    control: Arm | None = None,
    repeats: Mapping[str, RepeatLoss] | None = None,
) -> Results:
    """What the readings of a lineage show.

    ``control``: the arm whose drift is taken off; both are resampled together. ``repeats``: what each trait loses by
    being read again, where that was tried.
    """
    tables = build_tables(lineage, outcomes)
    generations = tuple(generation.index for generation in lineage.generations)
    if control is None:
        series = readings_to_traits(tables, generations, settings.n_resamples, settings.seed)
    else:
        own = replace(control, name=lineage.root.name, tables=tables, generations=generations)
        series, others = arms_to_traits([own, control], settings.n_resamples, settings.seed)
        series = less_control(series, generations, others, control.generations, control.name)
    if repeats:
        series = with_repeat_losses(series, repeats)
    results = draw_conclusion(tables, series, generations, settings, lineage.reference_name)
    cloud = cloud_of(tables)
    tails = find_tails(cloud, settings.n_resamples, settings.seed)
    copies = find_copies(cloud, settings.n_resamples, settings.seed)
    return replace(
        results,
        verdict={**results.verdict, "tails": tails.record or None, "copies": copies.sentence or None},
        more={"tails": tails.table, "copies": copies.images, "copy_shares": copies.shares},
    )


def load_control(path: Path, lineage: Lineage, home: Path, version: str, networks: Mapping[str, str]) -> Arm:
    """The control arm. ``home``: where the run's own results go.

    Raises DecayError unless it was measured by the same reader (``version``) and ``networks``, against the same kind of
    reference, and none of its own drift was taken off.
    """
    control = load_arm(path, path.resolve().name)
    if path.resolve() == home.resolve() or real_name(lineage.root) == real_name(path):
        raise DecayError(f"{path}: expected another run as the control; this is the run itself.")
    if control.control:
        raise DecayError(f"{path}: expected a control that stands alone; it was measured with a control of its own.")
    own = replace(
        control,
        name=lineage.root.resolve().name,
        reader=version,
        networks=networks,
        reference=lineage.reference_name,
        compared_with_pictures=lineage.reference is not None,
    )
    check_comparable([control, own])
    missing = {g.index for g in lineage.generations} - set(control.generations)
    if len(missing) == len(lineage.generations):
        raise DecayError(f"{path}: expected a control with the run's generations; it has none of them.")
    return control
