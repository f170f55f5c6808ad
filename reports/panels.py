"""Small multiples of retention over generation: one line per arm with its band, told apart without colour too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.charts import GRID, INK, MUTED, PAGE_PT, _axes, _figure, _generation_axis, _say, _style, _write
from reports.course import Floats
from reports.words import clean, shorten

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
_N_COLUMNS, _WIDTH, _HEIGHT = 3, 100.0, 74.0
_COLUMN_PT, _ROW_PT, _LEFT = 168.0, 112.0, 34.0
_APART = 0.115
"""Least distance of two names beside a panel, as a share of its height: one line of text."""


@dataclass(frozen=True)
class Line:
    """One arm's retention. Arrays float64 (n_generations,), NaN where not measured. ``onset``: NaN for none."""

    arm: str
    generations: Floats
    retention: Floats
    low: Floats
    high: Floats
    onset: float


@dataclass(frozen=True)
class Panel:
    """One family (``is_summary``) or trait."""

    title: str
    lines: Sequence[Line]
    is_summary: bool


def write_panels(panels: Sequence[Panel], heading: str, note: str, threshold: float, stem: Path) -> list[Path]:
    """Draw the panels three abreast and write ``<stem>.svg`` and ``<stem>.png``. Raises OSError."""
    return _write(_panels_figure(panels, heading, note, threshold), stem, f"{heading} {note}".replace("\n", " "))


def _panels_figure(panels: Sequence[Panel], heading: str, note: str, threshold: float) -> Figure:
    summaries, others = ([p for p in panels if p.is_summary is is_summary] for is_summary in (True, False))
    rows = [part[i : i + _N_COLUMNS] for part in (summaries, others) for i in range(0, len(part), _N_COLUMNS)]
    n_lines = heading.count("\n") + 1
    top = 14.0 + 9.6 * n_lines
    height = top + _ROW_PT * len(rows) + 30.0
    with _style("compare"):
        figure = _figure(PAGE_PT, height)
        _say(figure, 8, height - 9, heading, size=7, weight="bold", va="top", linespacing=1.25)
        for nth, row in enumerate(rows):
            bottom = height - top - _ROW_PT * (nth + 1) + 24
            for column, panel in enumerate(row):
                _draw_panel(figure, panel, _LEFT + _COLUMN_PT * column, bottom, threshold)
        _say(figure, 8, 8, note, size=5.8, color=MUTED)
    return figure


def _draw_panel(figure: Figure, panel: Panel, left: float, bottom: float, threshold: float) -> None:
    axes = _axes(figure, (left, bottom, _WIDTH, _HEIGHT), f"panel-{left:.0f}-{bottom:.0f}")
    weight = "bold" if panel.is_summary else "normal"
    _say(figure, left - 22, bottom + _HEIGHT + 6, shorten(clean(panel.title), 44), weight=weight, size=6.6)
    axes.axhline(threshold, color=MUTED, linewidth=0.6, linestyle=(0, (4, 2)), zorder=0.6)
    axes.set_ylim(*_range(panel.lines))
    for line, look in zip(panel.lines, _looks(len(panel.lines)), strict=True):
        _draw_line(axes, line, look)
    axes.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"], size=5.8)
    axes.grid(axis="y", color=GRID, linewidth=0.5)
    _generation_axis(axes, panel.lines[0].generations)
    axes.tick_params(axis="x", labelsize=5.8)
    _name_lines(axes, panel.lines)


def _looks(n: int) -> list[tuple[str, Any, str]]:
    return [LOOKS[i % len(LOOKS)] for i in range(n)]


def _draw_line(axes: Axes, line: Line, look: tuple[str, Any, str]) -> None:
    colour, dashes, marker = look
    axes.fill_between(line.generations, line.low, line.high, color=colour, alpha=0.12, linewidth=0)
    axes.plot(
        line.generations, line.retention, color=colour, linestyle=dashes, linewidth=1.2, marker=marker,
        markersize=2.6, markeredgewidth=0, zorder=4,
    )  # fmt: skip
    at = np.flatnonzero(line.generations == line.onset)
    if at.size:
        shown = float(np.clip(line.retention[at[0]], *axes.get_ylim()))  # at the edge where it lies beyond
        axes.plot(
            line.onset, shown, clip_on=False, linestyle="none", marker="D", markersize=5, markerfacecolor="none",
            markeredgecolor=colour, markeredgewidth=0.9, zorder=5,
        )  # fmt: skip


def _range(lines: Sequence[Line]) -> tuple[float, float]:
    """From the floor to the reference and what lies beyond, within one reference either side: a wide band is cut."""
    known = np.concatenate([line.retention for line in lines])
    known = known[np.isfinite(known)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    return max(min(low, 0.0), -0.5) - 0.08, min(max(high, 1.0), 1.6) + 0.12


def _name_lines(axes: Axes, lines: Sequence[Line]) -> None:
    """Each line's arm at its right end, joined to it; names that would overlap are pushed apart."""
    low, high = axes.get_ylim()
    ends = []
    for line, look in zip(lines, _looks(len(lines)), strict=True):
        known = line.retention[np.isfinite(line.retention)]
        at = (float(known[-1]) - low) / (high - low) if known.size else math.nan
        ends.append((min(max(at, 0.0), 1.0) if known.size else 0.5, look[0], line.arm, bool(known.size)))
    ends.sort(key=lambda end: end[0])
    places = _spread([end[0] for end in ends])
    for place, (end, colour, arm, is_known) in zip(places, ends, strict=True):
        name = shorten(clean(arm), 15) + ("" if is_known else " (none)")
        if is_known:
            axes.plot([1.0, 1.045], [end, place], transform=axes.transAxes, color=colour, linewidth=0.5, clip_on=False)
        axes.text(1.06, place, name, transform=axes.transAxes, size=5.8, color=colour, va="center")


def _spread(heights: Sequence[float]) -> list[float]:
    """Ascending heights moved apart to at least ``_APART``, staying centred on where they were."""
    groups = [[h] for h in heights]
    nth = 0
    while nth + 1 < len(groups):
        below, above = groups[nth], groups[nth + 1]
        reach = (len(below) + len(above)) / 2 * _APART
        if sum(above) / len(above) - sum(below) / len(below) < reach - 1e-9:
            groups[nth : nth + 2] = [below + above]
            nth = max(nth - 1, 0)
        else:
            nth += 1
    return [
        sum(group) / len(group) + (i - (len(group) - 1) / 2) * _APART for group in groups for i in range(len(group))
    ]
