"""The figure of a comparison: families over the generations, then every trait's end and onset, a mark for each arm."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.charts import (
    GRID,
    INK,
    MUTED,
    PAGE_PT,
    PAPER,
    _axes,
    _figure,
    _generation_axis,
    _say,
    _style,
    _tick_step,
    _write,
)
from reports.compare import MAX_TRAITS, headlines, traits_of_interest
from reports.course import Floats
from reports.words import capitalised, clean, generation, percent, shorten

LOOKS: Sequence[tuple[str, Any, str]] = (
    (INK, "solid", "o"),
    ("#0072b2", (0, (5, 1.5)), "s"),
    ("#d55e00", (0, (1.2, 1.2)), "^"),
    ("#009e73", (0, (5, 1.5, 1.2, 1.5)), "v"),
    ("#cc79a7", (0, (2.5, 1.2)), "D"),
    ("#e69f00", (0, (7, 1.5, 1.2, 1.5, 1.2, 1.5)), "P"),
    ("#56b4e9", (0, (3, 3)), "X"),
)
"""Colour (Okabe & Ito 2008), dashes and marker of each arm; the baseline first. Beyond seven arms they come again."""
_LOW, _HIGH = -0.05, 1.15
"""Range of retention that is shown: from nothing to the reference. What lies beyond is drawn at its edge."""
_LEFT, _NAMES, _RIGHT, _GAP = 34.0, 172.0, 10.0, 12.0
_PANEL_PT, _LEGEND_PT, _ARM_PT = 74.0, 12.0, 5.0
_AFTER = {"held": 0.22, "cannot_tell": 0.52, "not_rankable": 0.52}
"""Where in the panel of onsets a state stands: beyond the last generation, as a share of the run."""


@dataclass(frozen=True)
class Line:
    """One arm's retention. Arrays float64 (n_generations,), NaN where not measured. ``onset``: NaN for none."""

    generations: Floats
    retention: Floats
    low: Floats
    high: Floats
    onset: float


@dataclass(frozen=True)
class Panel:
    """One family; ``most_eroded``: its trait of which least is left in any arm. A line for each arm."""

    title: str
    most_eroded: str
    lines: Sequence[Line]


@dataclass(frozen=True)
class Point:
    """One arm's trait: retention in the end with its interval; state; (onset, low, high), NaN and inf for none."""

    kept: float
    low: float
    high: float
    state: str
    onset: tuple[float, float, float]


@dataclass(frozen=True)
class Row:
    """One trait, a point for each arm."""

    title: str
    points: Sequence[Point]


def write_comparison_chart(courses: pd.DataFrame, table: pd.DataFrame, record: Mapping[str, Any], stem: Path) -> None:
    """Write the figure as ``<stem>.svg`` and ``<stem>.png``. Raises OSError.

    ``courses``: one row per kind (family, trait), name, arm and generation with retention and its interval.
    ``table``, ``record``: as in ``comparison_text``.
    """
    arms = [record["baseline"], *(arm for arm in record["arms"] if arm != record["baseline"])]
    families = list(dict.fromkeys(courses.loc[courses["kind"] == "family", "name"]))
    panels = [_panel(courses, table, name, arms) for name in families]
    traits = traits_of_interest(table)
    rows = [_row(table[(table["kind"] == "trait") & (table["name"] == name)], arms) for name in traits[:MAX_TRAITS]]
    heading = [line for text in headlines(table, record) for line in textwrap.wrap(text, 118)[:2]]
    note = (
        f"Retention. Bands and bars: {percent(record['confidence'])} intervals, all at once; open marker: interval "
        f"wider than the scale, not drawn. Dashed: {percent(record['margin'])} lost. Diamond: onset.\n"
        "No mark: not measured. Values beyond the scale stand at its edge. On top the traits that differ most over all "
        "generations."
    )
    if len(traits) > MAX_TRAITS:
        note += f" {len(traits) - MAX_TRAITS} more: compare.csv."
    figure = _comparison_figure(panels, rows, arms, heading, note, record["generations"], 1.0 - record["margin"])
    _write(figure, stem, " ".join([*heading, note]).replace("\n", " "))


def _panel(courses: pd.DataFrame, table: pd.DataFrame, name: str, arms: Sequence[str]) -> Panel:
    rows, told = (frame[(frame["kind"] == "family") & (frame["name"] == name)] for frame in (courses, table))
    columns = ["generation", "retention", "retention_low", "retention_high"]
    lines = []
    for arm in arms:
        at, kept, low, high = rows.loc[rows["arm"] == arm, columns].to_numpy(dtype=np.float64).T
        lines.append(Line(at, kept, low, high, float(told.loc[told["arm"] == arm, "onset_generation"].iloc[0])))
    worst = told.sort_values("loss", ascending=False).iloc[0]
    return Panel(clean(name).capitalize(), clean(worst["most_eroded"]), lines)


def _row(own: pd.DataFrame, arms: Sequence[str]) -> Row:
    points = []
    for arm in arms:
        said = own[own["arm"] == arm].iloc[0]
        loss, low, high = (float(said[name]) for name in ("loss", "loss_low", "loss_high"))
        first, earliest, latest = (float(said[f"onset_{name}"]) for name in ("generation", "low", "high"))
        points.append(Point(1.0 - loss, 1.0 - high, 1.0 - low, said["state"], (first, earliest, latest)))
    return Row(capitalised(clean(own["label"].iloc[0])), points)


# --------------------------------------------------------------------------- drawing


def _comparison_figure(
    panels: Sequence[Panel],
    rows: Sequence[Row],
    arms: Sequence[str],
    heading: Sequence[str],
    note: str,
    generations: Sequence[int],
    threshold: float,
) -> Figure:
    step = 7.0 + _ARM_PT * len(arms)
    n_legend = math.ceil(len(arms) / 4)
    top = 16.0 + 9.6 * len(heading) + _LEGEND_PT * n_legend
    families_pt, traits_pt = _PANEL_PT + 46.0, step * len(rows) + 46.0 if rows else 0.0
    height = top + families_pt + traits_pt + 22.0
    with _style("compare"):
        figure = _figure(PAGE_PT, height)
        _say(figure, 8, height - 9, "\n".join(heading), size=7, weight="bold", va="top", linespacing=1.25)
        _draw_legend(figure, arms, height - top + _LEGEND_PT * (n_legend - 1) + 4)
        _draw_families(figure, panels, height - top - 28.0 - _PANEL_PT, threshold)
        if rows:
            _draw_traits(figure, rows, 42.0, step, generations, threshold)
        _say(figure, 8, 7, note, size=5.6, color=MUTED, linespacing=1.3)
    return figure


def _looks(n: int) -> list[tuple[str, Any, str]]:
    return [LOOKS[i % len(LOOKS)] for i in range(n)]


def _draw_legend(figure: Figure, arms: Sequence[str], top: float) -> None:
    """Four arms a line, the baseline first and said to be it."""
    width, height = figure.get_size_inches() * 72
    for i, (arm, (colour, dashes, marker)) in enumerate(zip(arms, _looks(len(arms)), strict=True)):
        x, y = 8.0 + (i % 4) * 126.0, top - (i // 4) * _LEGEND_PT
        sample = Line2D([x / width, (x + 20) / width], [y / height] * 2, color=colour, linestyle=dashes, linewidth=1.4)
        figure.add_artist(sample)
        figure.add_artist(Line2D([(x + 10) / width], [y / height], color=colour, marker=marker, markersize=4))
        name = shorten(clean(arm), 20) + (" (baseline)" if i == 0 else "")
        _say(figure, x + 25, y, name, size=7, color=colour, weight="bold", va="center")


# --------------------------------------------------------------------------- families


def _draw_families(figure: Figure, panels: Sequence[Panel], bottom: float, threshold: float) -> None:
    room = (PAGE_PT - _LEFT - _RIGHT - _GAP * (len(panels) - 1)) / max(len(panels), 3)
    for nth, panel in enumerate(panels):
        left = _LEFT + nth * (room + _GAP)
        axes = _axes(figure, (left, bottom, room, _PANEL_PT), f"family-{nth}")
        _say(figure, left, bottom + _PANEL_PT + 12, panel.title, weight="bold")
        most = shorten(panel.most_eroded, int(room / 3.1))
        _say(figure, left, bottom + _PANEL_PT + 4, most, size=5.4, color=MUTED)
        axes.set_ylim(_LOW, _HIGH)
        axes.axhline(threshold, color=MUTED, linewidth=0.6, linestyle=(0, (4, 2)), zorder=0.6)
        axes.grid(axis="y", color=GRID, linewidth=0.5)
        axes.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"] if nth == 0 else [""] * 3, size=5.8)
        _generation_axis(axes, panel.lines[0].generations)
        axes.tick_params(axis="x", labelsize=5.8)
        for line, look in zip(panel.lines, _looks(len(panel.lines)), strict=True):
            _draw_line(axes, line, look)


def _draw_line(axes: Axes, line: Line, look: tuple[str, Any, str]) -> None:
    """The band only where it ends within the scale: one that fills the panel hides the others and says nothing."""
    colour, dashes, marker = look
    bounded = _bounded(line.low, line.high)
    shown = np.clip(line.retention, _LOW, _HIGH)
    low, high = (np.clip(side, _LOW, _HIGH) for side in (line.low, line.high))
    axes.fill_between(line.generations, low, high, where=bounded, color=colour, alpha=0.13, linewidth=0)
    axes.plot(line.generations, shown, color=colour, linestyle=dashes, linewidth=1.2, zorder=3)
    for inside, face in ((bounded, colour), (~bounded, PAPER)):
        axes.plot(
            line.generations[inside], shown[inside], color=colour, linestyle="none", marker=marker, markersize=3.2,
            markerfacecolor=face, markeredgewidth=0.7, clip_on=False, zorder=4,
        )  # fmt: skip
    at = np.flatnonzero(line.generations == line.onset)
    axes.plot(
        line.generations[at], shown[at], color=colour, linestyle="none", marker="D", markersize=7,
        markerfacecolor="none", markeredgewidth=1.0, clip_on=False, zorder=5,
    )  # fmt: skip


def _bounded(low: Floats | float, high: Floats | float) -> Any:
    """Whether an interval says something: it does not reach from below the scale to above the reference."""
    return np.isfinite(low) & np.isfinite(high) & ((np.asarray(low) > _LOW) | (np.asarray(high) < 1.0))


# --------------------------------------------------------------------------- traits


def _draw_traits(
    figure: Figure, rows: Sequence[Row], bottom: float, step: float, generations: Sequence[int], threshold: float
) -> None:
    """Two columns beside the traits' names: what is left in the end, and when each arm fell."""
    tall, width = step * len(rows), (PAGE_PT - _NAMES - _RIGHT - _GAP) / 2
    ends = _axes(figure, (_NAMES, bottom, width, tall), "ends")
    falls = _axes(figure, (_NAMES + width + _GAP, bottom, width, tall), "onsets")
    for axes, title in ((ends, f"Left in generation {generations[-1]}"), (falls, "Onset, generation")):
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        for nth in range(len(rows) + 1):
            axes.axhline(nth - 0.5, color=GRID, linewidth=0.5)
        axes.set_title(title, size=7, weight="bold", loc="left", pad=3)
        axes.tick_params(axis="x", labelsize=5.8)
    ends.set_xlim(_LOW, _HIGH)
    ends.set_xticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    ends.axvline(threshold, color=MUTED, linewidth=0.6, linestyle=(0, (4, 2)), zorder=0.6)
    after = _after(generations)
    shown = generations[:: _tick_step(len(generations))]
    falls.set_xlim(generations[0] - 0.3, after["held"] + 2 * (after["cannot_tell"] - after["held"]))
    falls.set_xticks(
        [*shown, after["held"], after["cannot_tell"]], [*(generation(g) for g in shown), "held", "undecided"]
    )
    for nth, row in enumerate(rows):
        name, y = shorten(row.title, 40), bottom + tall - (nth + 0.5) * step
        _say(figure, _NAMES - 6, y, name, size=6.4, ha="right", va="center")
        _draw_points(ends, falls, row, nth, generations)


def _after(generations: Sequence[int]) -> dict[str, float]:
    """Where the states of traits without onset stand on the axis of the generations."""
    return {state: generations[-1] + share * (generations[-1] - generations[0]) for state, share in _AFTER.items()}


def _draw_points(ends: Axes, falls: Axes, row: Row, nth: int, generations: Sequence[int]) -> None:
    """One arm below the other, in the order of the legend."""
    places = nth + (np.arange(len(row.points)) - (len(row.points) - 1) / 2) * 0.8 / len(row.points)
    after = _after(generations)
    end = (generations[-1] + after["held"]) / 2
    for y, point, (colour, _, marker) in zip(places, row.points, _looks(len(row.points)), strict=True):
        bounded = bool(_bounded(point.low, point.high))
        if bounded:
            ends.hlines(y, max(point.low, _LOW), min(point.high, _HIGH), color=colour, linewidth=0.9, alpha=0.6)
        look: dict[str, Any] = {
            "color": colour,
            "marker": marker,
            "markersize": 3.8,
            "markeredgewidth": 0.8,
            "clip_on": False,
        }
        ends.plot(np.clip(point.kept, _LOW, _HIGH), y, markerfacecolor=colour if bounded else PAPER, **look)
        onset, low, high = point.onset
        if point.state == "eroded":
            falls.hlines(y, low, min(high, end), color=colour, linewidth=0.9, alpha=0.6)
            falls.plot(onset, y, **look)
        elif point.state in after:
            falls.plot(after[point.state], y, markerfacecolor=PAPER, **look)
