"""The page: one self-contained ``report.html`` that needs no script and no network.

Everything from the tables goes through Jinja's escaping; the only markup let through is that of the
charts, which ``reports.charts`` drew from the same tables. A content security policy in the page
forbids it to load or run anything, whatever it holds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports.charts import (
    BAR,
    DATA,
    GRID,
    GROUP_COLOURS,
    HATCH,
    INK,
    MUTED,
    ONSET,
    PAPER,
    chart_name,
    overview_alternative,
    overview_svg,
)
from reports.course import (
    Course,
    alternative,
    courses,
    finding,
    gap_reason,
    grouped,
    measured_text,
    onset_text,
)
from reports.words import NOTHING, clean, count, generation, number, percent

GROUP_TITLES = {"eyes": "Eyes", "hands": "Hands", "face": "Face", "light": "Light", "image": "Image"}
_THEME = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    PAPER: "--paper",
    HATCH: "--hatch",
    BAR: "--bar",
    DATA: "--data",
    ONSET: "--onset",
}
"""The charts' colours that follow the page into the dark; the heat map's scale keeps its own."""


@dataclass(frozen=True)
class Unit:
    """One trait as the page shows it: its chart, and its numbers in words."""

    course: Course
    svg: Markup
    alternative: str
    finding: str
    onset: str
    measured: str
    numbers: Sequence[Sequence[str]]


def write_page(
    traits: pd.DataFrame,
    erosion: pd.DataFrame,
    verdict: Mapping[str, Any],
    run: Mapping[str, Any],
    path: Path,
) -> Path:
    """Write the page to ``path``, with the SVG files that ``write_charts`` wrote into ``charts/`` beside it.

    Raises OSError where a chart cannot be read or the page cannot be written.
    """
    names = [chart_name(clean(name)) for name in traits["trait"].unique()]
    svgs = {name: (path.parent / "charts" / f"{name}.svg").read_text(encoding="utf-8") for name in names}
    path.write_text(render_page(traits, erosion, verdict, run, svgs), encoding="utf-8")
    return path


def render_page(
    traits: pd.DataFrame,
    erosion: pd.DataFrame,
    verdict: Mapping[str, Any],
    run: Mapping[str, Any],
    svgs: Mapping[str, str],
) -> str:
    """The page as HTML. ``svgs``: the traits' charts as SVG text, by ``chart_name``.

    ``run["embedder"]`` names who described the faces; a stand-in for an identity model says "not identity" in its
    name. Whatever else ``run`` holds is shown as the record. Raises KeyError where a chart is missing.
    """
    found = courses(traits, erosion)
    reference = clean(verdict.get("reference")) or "reference"
    embedder = clean(run.get("embedder"))
    template = _environment().get_template("report.html.j2")
    return template.render(
        sentence=clean(verdict.get("sentence")) or "No verdict.",
        reference=reference,
        facts=_facts(found, reference, clean((verdict.get("control") or {}).get("name"))),
        embedder=embedder,
        is_stand_in="not identity" in embedder,
        overview=inline_svg(overview_svg(found), "overview"),
        overview_alternative=overview_alternative(found, verdict),
        groups=[
            (
                clean(name),
                GROUP_TITLES.get(name, clean(name).capitalize()),
                [_unit(c, reference, svgs) for c in members],
            )
            for name, members in grouped(found)
        ],
        colours=GROUP_COLOURS,
        complete=[c for c in found if not c.missing.size],
        gaps=[(c, _generations(c.missing, c), gap_reason(c)) for c in found if c.missing.size],
        said=_said(verdict, found),
        rows=[_row(c) for c in found],
        sources=sorted({c.source for c in found if c.source}),
        threshold=percent(1.0 - next((c.margin for c in found if math.isfinite(c.margin)), math.nan)),
        flat_rule=clean((verdict.get("flat_rule") or {}).get("sentence")),
        images=_images(run),
        record=_record(run),
    )


def inline_svg(svg: str, name: str) -> Markup:
    """A chart file's SVG for use inside the page: sized by the page, coloured by its theme, its ids made unique."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"\s*<title>.*?</title>", "", body, count=1, flags=re.DOTALL)
    body = re.sub(r"\s*<style\b.*?</style>", "", body, count=1, flags=re.DOTALL)
    body = re.sub(r'(<svg\b[^>]*?) width="[^"]*" height="[^"]*"', r'\1 aria-hidden="true"', body, count=1)
    body = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", body)
    for colour, variable in _THEME.items():
        body = re.sub(rf'(fill|stroke)(: |="){colour}\b', rf"\1\2var({variable})", body)
    return Markup(re.sub(r"\n+", "\n", body))


def flatten(value: object, path: str = "") -> list[tuple[str, str]]:
    """A nested record as (path, text) lines, in its own order."""
    if isinstance(value, Mapping):
        return [line for key, inner in value.items() for line in flatten(inner, _join(path, clean(key)))]
    if isinstance(value, list | tuple):
        return [
            line
            for index, inner in enumerate(value, start=1)
            for line in flatten(inner, _join(path, _name(inner, index)))
        ]
    return [(path, clean(value) or NOTHING)]


def _record(run: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Everything that ``run`` holds: single values first, then each table of it under its own name."""
    tables = {key: value for key, value in run.items() if isinstance(value, Mapping | list | tuple)}
    singles = [(clean(key), clean(value) or NOTHING) for key, value in run.items() if key not in tables]
    sections = [(clean(key).replace("_", " ").capitalize(), flatten(value)) for key, value in tables.items() if value]
    return [("Run", singles), *sections] if singles else sections


def _images(run: Mapping[str, Any]) -> str:
    """``120 ok, 3 unreadable``, or nothing where the run does not say."""
    states = run.get("image_states", {})
    return ", ".join(f"{clean(n)} {clean(state).replace('_', ' ')}" for state, n in states.items())


def _join(path: str, key: str) -> str:
    return f"{path} · {key}" if path else key


def _name(item: object, index: int) -> str:
    return clean(item.get("name")) if isinstance(item, Mapping) and item.get("name") else str(index)


def _environment() -> Environment:
    folder = Path(__file__).with_name("templates")
    # autoescape=True, not select_autoescape: that one goes by suffix and leaves .j2 files unescaped
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _unit(c: Course, reference: str, svgs: Mapping[str, str]) -> Unit:
    name = chart_name(c.trait)
    columns = (c.generations, c.value, c.ci_low, c.ci_high, c.retention, c.n_measured, c.n_expected, c.frac_measured)
    numbers = [
        (
            generation(g),
            number(value),
            f"{number(low)} to {number(high)}" if math.isfinite(low) and math.isfinite(high) else NOTHING,
            percent(kept),
            f"{count(n)} of {count(of)} ({percent(share)})",
        )
        for g, value, low, high, kept, n, of, share in zip(*columns, strict=True)
    ]
    return Unit(
        course=c,
        svg=inline_svg(svgs[name], name),
        alternative=alternative(c, reference),
        finding=finding(c),
        onset=onset_text(c),
        measured=measured_text(c),
        numbers=numbers,
    )


def _row(c: Course) -> tuple[Course, list[str]]:
    known = c.value[np.isfinite(c.value)]
    return c, [
        onset_text(c),
        percent(c.p_first) if math.isfinite(c.onset) else NOTHING,
        number(c.reference),
        number(float(known[-1])) if known.size else NOTHING,
        percent(c.shown_retention) + c.drift,
        measured_text(c),
        number(c.half_life),
        percent(c.smallest_detectable) if c.smallest_detectable < 1 else NOTHING,
        c.verdict.replace("_", " ") or NOTHING,
    ]


def _facts(found: Sequence[Course], reference: str, control: str) -> list[tuple[str, str]]:
    generations = sorted({float(g) for c in found for g in c.generations})
    eroded = sum(math.isfinite(c.onset) for c in found)
    return [
        ("generations", f"{generation(generations[0])} to {generation(generations[-1])}" if generations else NOTHING),
        ("traits measured", f"{sum(c.is_measured for c in found)} of {len(found)}"),
        ("traits eroded", str(eroded)),
        ("reference", reference),
        *([("control arm, its drift taken off", control)] if control else []),
    ]


def _said(verdict: Mapping[str, Any], found: Sequence[Course]) -> list[tuple[str, list[str]]]:
    """What the verdict itself leaves out or cannot tell apart, by the traits' labels."""
    labels = {c.trait: c.title for c in found}

    def named(value: object) -> str:
        if isinstance(value, Mapping):
            name, *rest = (clean(part) for part in value.values())
            return ": ".join([labels.get(name, name), *rest])
        if isinstance(value, list | tuple):
            return " with ".join(named(part) for part in value)
        return labels.get(clean(value), clean(value))

    lists = (
        ("Could not be told apart", "ties"),
        ("Undecided", "undecided"),
        ("Could not have shown a loss", "not_rankable"),
    )
    told = []
    for title, key in lists:
        entries = verdict.get(key) or []
        if isinstance(entries, Mapping):
            entries = [{"trait": name, "why": why} for name, why in entries.items()]
        if entries:
            told.append((title, [named(entry) for entry in entries]))
    return told


def _generations(missing: Sequence[float] | np.ndarray[Any, np.dtype[np.float64]], c: Course) -> str:
    return "all" if len(missing) == len(c.generations) else ", ".join(generation(g) for g in missing)
