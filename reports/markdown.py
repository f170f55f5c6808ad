"""The report as Markdown, for a notebook, a repository or a pull request: the verdict, tables, the record."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import pandas as pd

from reports.arms_page import ArmTables, arm_cell, arms_by_trait
from reports.charts import chart_name, overview_alternative
from reports.course import Course, courses, gap_reason, kept_text, measured_text, onset_text
from reports.page import fates, record_sections, rivals, threshold
from reports.words import NOTHING, clean


def render_markdown(
    traits: pd.DataFrame,
    erosion: pd.DataFrame,
    verdict: Mapping[str, Any],
    run: Mapping[str, Any],
    charts: str,
) -> str:
    """The report of one run as Markdown. ``charts``: the folder of its charts as seen from the report."""
    found = courses(traits, erosion)
    blocks = [f"# {plain(clean(verdict.get('sentence')) or 'No verdict.')}"]
    if first := rivals(verdict):
        told = ", ".join(f"{name} {text}" for name, _, text in first)
        blocks.append(f"Fell first, in share of the resamples: {plain(told)}.")
    blocks += [_fates(found), _picture("overview", overview_alternative(found, verdict), charts)]
    blocks += ["## Traits", _traits_table(found)]
    if gaps := [[c.title, gap_reason(c)] for c in found if c.missing.size]:
        blocks += ["## What was not measured, and why", _table(["trait", "why"], gaps)]
    blocks += ["## Charts", *(_picture(chart_name(c.trait), c.title, charts) for c in found if c.is_measured)]
    reference = clean(verdict.get("reference")) or "reference"
    blocks += ["## Method", _method(reference, found), "## Record", *_record(run)]
    return "\n\n".join(blocks) + "\n"


def render_arms_markdown(arms: Sequence[ArmTables]) -> str:
    """The report of several runs as Markdown."""
    blocks = [f"# What eroded first in {len(arms)} runs"]
    blocks += [f"- **{plain(clean(arm.name))}**: {plain(arm.sentence)}" for arm in arms]
    rows = [[pair[0][1].title, *(arm_cell(c) for _, c in pair)] for pair in arms_by_trait(arms)]
    blocks += ["## Onset (interval), and what is left", _table(["trait", *(arm.name for arm in arms)], rows)]
    blocks += ["## Method", _method(arms[0].reference, arms[0].courses)]
    for arm in arms:
        blocks += [f"## Record of {plain(clean(arm.name))}", *_record(arm.run)]
    return "\n\n".join(blocks) + "\n"


def plain(text: str) -> str:
    """Foreign text that stays text: nothing in it is a link, a tag, emphasis, a heading or the end of a cell."""
    return re.sub(r"([\\`*_{}\[\]<>#|~$&!:@])", r"\\\1", text)


def _fates(found: Sequence[Course]) -> str:
    return "; ".join(f"{n} {text}" for n, text in fates(found)) + f" (of {len(found)} traits)."


def _traits_table(found: Sequence[Course]) -> str:
    heads = ["trait", "unit", "verdict", "onset (interval)", "what is left", "measured share"]
    rows = [
        [
            c.title,
            c.unit or NOTHING,
            c.verdict.replace("_", " ") or NOTHING,
            onset_text(c),
            kept_text(c.last_retention) + c.drift,
            measured_text(c),
        ]
        for c in found
    ]
    return _table(heads, rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        f"| {' | '.join(cell if line is lines[1] else plain(clean(cell)) for cell in line)} |" for line in lines
    )


def _picture(name: str, alternative: str, charts: str) -> str:
    return f"![{plain(clean(alternative))}]({quote(charts)}/{name}.svg)"


def _method(reference: str, found: Sequence[Course]) -> str:
    below = threshold(found)
    margin = f" (its retention stays below {below})" if below != NOTHING else ""
    return (
        "A value is a statistic over everything of its kind that could be measured in a generation. "
        f"Retention is 100 % at the reference ({plain(reference)}) and 0 % where nothing of the trait is "
        f"left. Onset is the generation from which a trait counts as eroded{margin}. A missing value is a gap, never a "
        "zero: detectors fail as images collapse."
    )


def _record(run: Mapping[str, Any]) -> list[str]:
    blocks = []
    for title, lines in record_sections(run):
        blocks += [f"### {plain(title)}", "\n".join(f"- {plain(name)}: {plain(text)}" for name, text in lines)]
    return blocks
