"""The page: one self-contained ``report.html`` that needs no script and no network.

Everything from the tables goes through Jinja's escaping; the only markup let through is that of the
charts, which ``reports.charts`` drew from the same tables. A content security policy in the page
forbids it to load or run anything, whatever it holds.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reports.cards import card
from reports.charts import GROUP_COLOURS, chart_name, overview_alternative, overview_svg
from reports.course import Course, courses, gap_reason, grouped, kept_text, measured_text, onset_text
from reports.inline import ChartFiles, inline_svg
from reports.maps import MapsSection
from reports.strips import StripsSection
from reports.tails import TailsSection
from reports.words import NOTHING, clean, first_sentence, generation, number, percent

GROUP_TITLES = {"eyes": "Eyes", "hands": "Hands", "face": "Face", "light": "Light", "image": "Image"}
OVERVIEW = "overview"
"""What the overview's files are called among the charts'."""
_FATES = (
    ("eroded", "eroded for good"),
    ("cannot_tell", "undecided: neither loss nor its absence is shown"),
    ("held", "held"),
    ("not_rankable", "too few or too noisy to be ranked"),
    ("not_measured", "not measured"),
)
"""The verdict's word for a trait, and what it says to a person; in the order that they are told in."""


def render_page(
    traits: pd.DataFrame,
    erosion: pd.DataFrame,
    verdict: Mapping[str, Any],
    run: Mapping[str, Any],
    charts: Mapping[str, ChartFiles],
    strips: StripsSection | None = None,
    maps: MapsSection | None = None,
    tails: TailsSection | None = None,
) -> str:
    """The page of one run, as HTML. ``charts``: by ``chart_name``; under ``OVERVIEW`` the overview's, to be saved.

    ``run["embedder"]`` names who described the faces; a stand-in for an identity model says "not identity" in its
    name. Whatever else ``run`` holds is shown as the record. Raises KeyError where a chart is missing.
    """
    found = courses(traits, erosion)
    reference = clean(verdict.get("reference")) or "reference"
    embedder = clean(run.get("embedder"))
    generations = np.unique(np.concatenate([c.generations for c in found])) if found else np.empty(0)
    headline, more = first_sentence(clean(verdict.get("sentence")) or "No verdict.")
    return environment().get_template("report.html.j2").render(
        sentence=headline,
        more=more,
        rivals=rivals(verdict),
        needed=percent(float((verdict.get("rule") or {}).get("p_first", math.nan))),
        counts=fates(found),
        reference=reference,
        facts=_facts(found, reference, clean((verdict.get("control") or {}).get("name"))),
        embedder=embedder,
        is_stand_in="not identity" in embedder,
        overview=inline_svg(overview_svg(found), OVERVIEW),
        overview_alternative=overview_alternative(found, verdict),
        overview_files=charts[OVERVIEW].downloads(OVERVIEW) if OVERVIEW in charts else [],
        generations=[generation(g) for g in generations],
        retentions=[(c.title, [kept_text(kept) for kept in _at(c, generations)]) for c in found],
        strips=strips,
        maps=maps,
        tails=tails,
        groups=[
            (
                clean(name),
                GROUP_TITLES.get(name, clean(name).capitalize()),
                [card(c, reference, charts[chart_name(c.trait)]) for c in members],
            )
            for name, members in grouped(found)
        ],
        colours=GROUP_COLOURS,
        complete=[c for c in found if not c.missing.size],
        gaps=[(c, _generations(c.missing, c), gap_reason(c)) for c in found if c.missing.size],
        said=_said(verdict, found),
        rows=[_row(c) for c in found],
        anchors={c.trait: chart_name(c.trait) for c in found},
        sources=sorted({c.source for c in found if c.source}),
        threshold=threshold(found),
        flat_rule=clean((verdict.get("flat_rule") or {}).get("sentence")),
        images=_images(run),
        record=record_sections(run),
    )  # fmt: skip


def chart_files(folder: Path, tables: Mapping[str, str]) -> dict[str, ChartFiles]:
    """The charts that were written into ``folder``, each with its numbers. ``tables``: CSV text by ``chart_name``.

    Raises OSError where one cannot be read.
    """
    return {
        name: ChartFiles(
            svg=(folder / f"{name}.svg").read_text(encoding="utf-8"),
            png=(folder / f"{name}.png").read_bytes(),
            csv=table,
        )
        for name, table in tables.items()
    }


def rivals(verdict: Mapping[str, Any]) -> list[tuple[str, float, str]]:
    """The families that fell first in any resample: (name, share, in words), the likeliest on top.

    Rounded down, as in the verdict's sentence: 79.6 % is not the 80 % that naming takes.
    """
    shares = {clean(name): float(share) for name, share in (verdict.get("p_families") or {}).items()}
    told = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    return [
        (GROUP_TITLES.get(name, name.capitalize()), share, _floor_percent(share)) for name, share in told if share > 0
    ]


def _floor_percent(share: float) -> str:
    return f"{math.floor(100 * share + 1e-9)} %" if share >= 0.01 else "< 1 %"


def fates(found: Sequence[Course]) -> list[tuple[int, str]]:
    """How many traits eroded, held, and so on: (count, in words); what no trait did is left out."""
    counted = Counter(c.verdict for c in found)
    return [(counted[word], text) for word, text in _FATES if counted[word]]


def threshold(found: Sequence[Course]) -> str:
    """The retention below which a trait counts as eroded, in words."""
    return percent(1.0 - next((c.margin for c in found if math.isfinite(c.margin)), math.nan))


def _at(c: Course, generations: np.ndarray[Any, Any]) -> list[float]:
    kept = dict(zip(c.generations, c.retention, strict=True))
    return [float(kept.get(g, math.nan)) for g in generations]


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


def record_sections(run: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Everything that ``run`` holds: single values first, then each table of it under its own name.

    Of a model's path only the file's name is shown: where it lies is nobody's business but the machine's.
    """
    tables = {key: value for key, value in run.items() if isinstance(value, Mapping | list | tuple)}
    singles = [(clean(key), clean(value) or NOTHING) for key, value in run.items() if key not in tables]
    tables |= {"models": [_as_shown(model) for model in run["models"]]} if "models" in tables else {}
    sections = [(clean(key).replace("_", " ").capitalize(), flatten(value)) for key, value in tables.items() if value]
    return [("Run", singles), *sections] if singles else sections


def _as_shown(model: object) -> object:
    if not isinstance(model, Mapping) or "path" not in model:
        return model
    named = {("file" if key == "path" else key): value for key, value in model.items()}
    return named | {"file": re.split(r"[/\\]", clean(model["path"]))[-1]}


def _images(run: Mapping[str, Any]) -> str:
    """``120 ok, 3 unreadable``, or nothing where the run does not say."""
    states = run.get("image_states", {})
    return ", ".join(f"{clean(n)} {clean(state).replace('_', ' ')}" for state, n in states.items())


def _join(path: str, key: str) -> str:
    return f"{path} · {key}" if path else key


def _name(item: object, index: int) -> str:
    return clean(item.get("name")) if isinstance(item, Mapping) and item.get("name") else str(index)


def environment() -> Environment:
    """The page templates: everything that a template prints is escaped, and what is missing is an error."""
    folder = Path(__file__).with_name("templates")
    # autoescape=True, not select_autoescape: that one goes by suffix and leaves .j2 files unescaped
    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["inline_svg"] = inline_svg
    return made


def _row(c: Course) -> tuple[Course, list[str]]:
    known = c.value[np.isfinite(c.value)]
    return c, [
        onset_text(c),
        percent(c.p_first) if math.isfinite(c.onset) else NOTHING,
        number(c.reference),
        number(float(known[-1])) if known.size else NOTHING,
        kept_text(c.last_retention) + c.drift,
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
