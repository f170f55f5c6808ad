"""The page of several runs: every trait's courses laid over one another, and what each run says by itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from reports.cards import arms_card
from reports.charts import GROUP_COLOURS, chart_name, overview_alternative, overview_svg
from reports.course import Course, courses, grouped, kept_text, onset_text
from reports.inline import ChartFiles, inline_svg
from reports.overlay import legend_height
from reports.page import GROUP_TITLES, environment, fates, record_sections, threshold
from reports.words import NOTHING, clean


@dataclass(frozen=True)
class ArmTables:
    """One measured run: its name among the others, and its tables and records as a single run's page has them."""

    name: str
    traits: pd.DataFrame
    erosion: pd.DataFrame
    verdict: Mapping[str, Any]
    run: Mapping[str, Any]

    @cached_property
    def courses(self) -> list[Course]:
        """Every trait's course, what eroded first on top."""
        return courses(self.traits, self.erosion)

    @property
    def reference(self) -> str:
        """What it was compared with, in words."""
        return clean(self.verdict.get("reference")) or "reference"

    @property
    def sentence(self) -> str:
        """Its verdict."""
        return clean(self.verdict.get("sentence")) or "No verdict."


def arms_by_trait(arms: Sequence[ArmTables]) -> list[list[tuple[str, Course]]]:
    """For each trait that all runs have, (name, course) of every run; traits in the order of the first run."""
    found = [{c.trait: c for c in arm.courses} for arm in arms]
    shared = [c.trait for c in arms[0].courses if all(c.trait in each for each in found)]
    return [[(arm.name, each[trait]) for arm, each in zip(arms, found, strict=True)] for trait in shared]


def render_arms_page(arms: Sequence[ArmTables], charts: Mapping[str, ChartFiles]) -> str:
    """The page as HTML. ``charts``: by ``chart_name``. Raises KeyError where a chart is missing."""
    traits = arms_by_trait(arms)
    members = {pair[0][1].trait: pair for pair in traits}
    generations = np.unique(np.concatenate([c.generations for pair in traits for _, c in pair] or [np.empty(0)]))
    extra_pt = legend_height(len(arms))
    return environment().get_template("arms.html.j2").render(
        arms=[
            {
                "name": clean(arm.name),
                "sentence": arm.sentence,
                "counts": fates(arm.courses),
                "overview": inline_svg(overview_svg(arm.courses), f"overview-{nth}"),
                "alternative": overview_alternative(arm.courses, arm.verdict),
                "record": record_sections(arm.run),
            }
            for nth, arm in enumerate(arms)
        ],
        reference=arms[0].reference,
        groups=[
            (
                clean(name),
                GROUP_TITLES.get(name, clean(name).capitalize()),
                [arms_card(members[c.trait], generations, charts[chart_name(c.trait)], extra_pt) for c in found],
            )
            for name, found in grouped([pair[0][1] for pair in traits])
        ],
        colours=GROUP_COLOURS,
        rows=[(pair[0][1], chart_name(pair[0][1].trait), [arm_cell(c) for _, c in pair]) for pair in traits],
        sources=sorted({pair[0][1].source for pair in traits if pair[0][1].source}),
        threshold=threshold(arms[0].courses),
        flat_rule="",
    )  # fmt: skip


def arm_cell(c: Course) -> str:
    """What became of a trait in one run: its onset, and what is left."""
    if not c.is_measured:
        return "not measured"
    onset = onset_text(c) if math.isfinite(c.onset) else NOTHING
    return f"{onset}; {kept_text(c.last_retention)}{c.drift}"
