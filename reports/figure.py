"""Figure 5 of Bohacek & Farid 2023 from our own runs: a panel for each trait, a line for each run, named at its end."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reports.charts import GRID, INK, MUTED, PAGE_PT, PAPER, _axes, _figure, _say, _style, _tick_step, _write
from reports.course import Floats
from reports.panels import LOOKS
from reports.words import clean, generation, number, shorten

PANELS = {"prompts": "", "held_out": "held-out prompts (capability)"}
MARKERS = {"control_colour": "D", "control_quality": "s"}
"""The paper's: diamond and square."""
_HEALING = "#d55e00"
_LEFT, _NAMES, _GAP, _TALL, _PACE = 40.0, 66.0, 6.0, 150.0, 206.0
"""Beside a panel, for its axis and for the names; between two; its height, and that with its title and axis."""
_BOX = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 0.4}
"""Names stay legible where they cross a line. No outline: that would make drawings of text."""
_LINE_PT = 7.2
"""From one name at the end of a line to the next."""
_APART = 0.035
"""Between the marks of two runs, in generations: intervals side by side can be told apart."""


@dataclass(frozen=True)
class Look:
    """How a line is drawn; ``marker`` None: no mark at its points."""

    colour: str
    dashes: Any = "solid"
    marker: str = "o"
    size: float = 2.8


def write_figure(table: pd.DataFrame, stem: Path) -> None:
    """Write the figure as ``<stem>.svg`` and ``<stem>.png``. Raises OSError.

    ``table``: a row for each point: panel (``prompts``, ``held_out``), trait, label, unit, reference (what the run was
    compared with, in words), reference_value, arm, kind (``mix``, ``healing``, ``control_colour``, ``control_quality``,
    ``other``, ``before``, ``published``), synthetic (share of generated pictures trained on), joins (the run whose
    point begins this line), generation, value, ci_low, ci_high.
    """
    _write(_draw(table), stem, " ".join(["Traits against generation.", *_alternative(table)]))


def looks(table: pd.DataFrame) -> dict[tuple[str, str], Look]:
    """By (arm, kind). Mixes go from dark (all generated) to pale (all real), controls have the colour of their mix."""
    arms = table.drop_duplicates(["arm", "kind"])[["arm", "kind", "synthetic"]]
    found: dict[tuple[str, str], Look] = {}
    free = [look for look in LOOKS if look[0] != _HEALING]
    others = 0
    for arm, kind, synthetic in arms.itertuples(index=False):
        if kind in ("before", "published"):
            look = Look(MUTED)
        elif kind == "healing":
            look = Look(_HEALING, marker="^")
        elif math.isfinite(synthetic):
            is_control = kind in MARKERS
            look = Look(
                _shade(synthetic),
                (0, (3, 1.5)) if is_control else "solid",
                MARKERS.get(kind, "o"),
                4.2 if is_control else 2.8,
            )
        else:
            colour, dashes, marker = free[others % len(free)]
            look, others = Look(colour, dashes, MARKERS.get(kind, marker)), others + 1
        found[arm, kind] = look
    return found


def _shade(synthetic: float) -> str:
    """Viridis without its palest part, which is lost on paper; small shares farther apart than large ones."""
    return to_hex(mpl.colormaps["viridis"](0.88 * (1.0 - float(np.clip(synthetic, 0.0, 1.0)) ** 0.4)))


def line_name(arm: str, synthetic: float) -> str:
    """The run's name, and the share of generated pictures where the name does not tell it."""
    name = shorten(clean(arm), 20)
    share = f"{100 * synthetic:.3g}"
    return name if not math.isfinite(synthetic) or share in name else f"{name} ({share} %)"


# --------------------------------------------------------------------------- drawing


def _draw(table: pd.DataFrame) -> Figure:
    rows = _grid(table, list(dict.fromkeys(table["trait"])))
    n_columns = max(map(len, rows))
    width = (PAGE_PT - n_columns * (_LEFT + _NAMES) - (n_columns - 1) * _GAP) / n_columns
    note = textwrap.wrap(_note(table), 165)
    below = 14.0 + 7.6 * len(note)
    styles = looks(table)
    with _style("figure"):
        figure = _figure(PAGE_PT, below + _PACE * len(rows))
        for r, row in enumerate(rows):
            for c, (trait, panel) in enumerate(row):
                left = _LEFT + c * (width + _NAMES + _GAP + _LEFT)
                box = (left, below + 26 + _PACE * (len(rows) - 1 - r), width, _TALL)
                points = table[(table["trait"] == trait) & (table["panel"] == panel)]
                _draw_panel(figure, box, points, styles)
        _say(figure, 8, 7, "\n".join(note), size=5.6, color=MUTED, linespacing=1.3)
    return figure


def _grid(table: pd.DataFrame, traits: Sequence[str]) -> list[list[tuple[str, str]]]:
    """Two traits a row; below each row the same traits of the held-out prompts, where there are any."""
    present = set(zip(table["trait"], table["panel"], strict=True))
    rows = [[(trait, panel) for trait in traits[i : i + 2]] for i in range(0, len(traits), 2) for panel in PANELS]
    kept = ([cell for cell in row if cell in present] for row in rows)
    return [row for row in kept if row]


def _draw_panel(
    figure: Figure,
    box: tuple[float, float, float, float],
    points: pd.DataFrame,
    styles: Mapping[tuple[str, str], Look],
) -> None:
    left, bottom, _, tall = box
    about = points.iloc[0]
    axes = _axes(figure, box, f"{about['trait']}-{about['panel']}")
    title = clean(about["label"]) or clean(about["trait"])
    said = PANELS[about["panel"]]
    above = bottom + tall + (15 if said else 8)
    _say(figure, left - 28, above, shorten(title[:1].upper() + title[1:], 54), weight="bold", size=7.2)
    _say(figure, left - 28, bottom + tall + 7, said, size=6, color=MUTED)
    axes.set_ylabel(shorten(clean(about["unit"]) or "value, no unit", 36), size=6.4, labelpad=2)
    axes.set_xlabel("generation", labelpad=1.5)
    axes.grid(axis="y", color=GRID, linewidth=0.5)
    axes.tick_params(labelsize=5.8)
    lines = [
        (arm, kind, points[(points["arm"] == arm) & (points["kind"] == kind)])
        for arm, kind in points[["arm", "kind"]].drop_duplicates().itertuples(index=False)
    ]
    level = float(about["reference_value"])
    low, high = _range(points, level)
    axes.set_ylim(low, high)
    at = np.unique(points["generation"].to_numpy(dtype=np.float64))
    axes.set_xlim(at[0] - 0.4, at[-1] + 0.4)
    axes.set_xticks(at[:: _tick_step(len(at))], [generation(g) for g in at[:: _tick_step(len(at))]])
    axes.locator_params(axis="y", nbins=6)
    places = {arm: _APART * (nth - (len(lines) - 1) / 2) for nth, (arm, _, _) in enumerate(lines)}
    for arm, kind, own in lines:
        _draw_line(axes, own, styles[arm, kind], places, arm)
    ends = [_end(arm, kind, own, styles[arm, kind]) for arm, kind, own in lines if kind != "published"]
    if math.isfinite(level):
        axes.axhline(level, color=INK, linewidth=0.7, linestyle=(0, (4, 2)), zorder=1, gid="reference")
        ends.append((at[-1], level, shorten(clean(about["reference"]), 18), INK))
    _name_ends(axes, ends, (high - low) * _LINE_PT / tall)


def _range(points: pd.DataFrame, level: float) -> tuple[float, float]:
    """All values and the reference; intervals as far as they do not flatten the lines to nothing."""
    value = np.append(points["value"].to_numpy(dtype=np.float64), level)
    low, high = float(np.nanmin(value)), float(np.nanmax(value))
    span = (high - low) or abs(high) or 1.0
    low = max(float(np.nanmin([low, *points["ci_low"]])), low - span)
    high = min(float(np.nanmax([high, *points["ci_high"]])), high + span)
    return low - 0.05 * (high - low), high + 0.05 * (high - low)


def _draw_line(axes: Axes, own: pd.DataFrame, look: Look, places: Mapping[str, float], arm: str) -> None:
    shift = np.array([places.get(str(joined) or arm, 0.0) for joined in own["joins"]])
    at, value, low, high = own[["generation", "value", "ci_low", "ci_high"]].to_numpy(dtype=np.float64).T
    x: Floats = at + shift
    is_own = (own["joins"] == "").to_numpy()
    is_published = own["kind"].iloc[0] == "published"
    axes.vlines(x[is_own], low[is_own], high[is_own], color=look.colour, linewidth=0.8, alpha=0.55)
    for end, marker, beyond in zip(axes.get_ylim(), ("v", "^"), _beyond(axes, low, high), strict=True):
        cut = x[is_own & beyond]
        if len(cut):
            axes.plot(
                cut, np.full(len(cut), end), color=look.colour, alpha=0.7, marker=marker, markersize=2.6,
                linestyle="none", clip_on=False, gid="beyond",
            )  # fmt: skip
    if not is_published:
        axes.plot(x, value, color=look.colour, linewidth=1.2, linestyle=look.dashes, zorder=3)
    axes.plot(
        x[is_own], value[is_own], color=look.colour, linestyle="none", marker="_" if is_published else look.marker,
        markersize=9 if is_published else look.size, markeredgecolor=look.colour if is_published else PAPER,
        markeredgewidth=1.4 if is_published else 0.4, zorder=4, clip_on=False,
    )  # fmt: skip
    if is_published:
        y, side, above = (high[0], "left", "bottom") if at[0] == 0 else (low[0], "right", "top")
        axes.text(x[0], y, clean(arm), size=5.4, color=look.colour, ha=side, va=above, bbox=_BOX)


def _beyond(axes: Axes, low: Floats, high: Floats) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which intervals (n,) go on below the panel, and which above it."""
    bottom, top = axes.get_ylim()
    return low < bottom, high > top


def _end(arm: str, kind: str, own: pd.DataFrame, look: Look) -> tuple[float, float, str, str]:
    """Where a line ends, its name, and its colour."""
    last = own.sort_values("generation").iloc[-1]
    name = line_name(arm, float(last["synthetic"]) if kind == "mix" else math.nan)
    return float(last["generation"]), float(last["value"]), name, look.colour


def _name_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]], step: float) -> None:
    """Names beside the ends of the lines; of those that end together none on top of another."""
    low, high = axes.get_ylim()
    for x in sorted({end[0] for end in ends}):
        together = sorted((end for end in ends if end[0] == x), key=lambda end: end[1])
        heights = _spread([end[1] for end in together], step, low, high)
        for (_, value, name, colour), y in zip(together, heights, strict=True):
            axes.annotate(
                name, (x, value), (x + 0.35, y), color=colour, size=5.8, va="center", annotation_clip=False,
                bbox=_BOX,
                arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.4, "alpha": 0.6,
                            "shrinkA": 0, "shrinkB": 3},
            )  # fmt: skip


def _spread(wanted: Sequence[float], step: float, low: float, high: float) -> list[float]:
    """Heights at least ``step`` apart, in the same order, as near to ``wanted`` (ascending) as the panel allows."""
    placed = list(wanted)
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + step)
    excess = max(0.0, (placed[-1] if placed else low) - high)
    for i in reversed(range(len(placed))):
        above = placed[i + 1] - step if i + 1 < len(placed) else math.inf
        placed[i] = min(placed[i], above, high if excess else math.inf)
    return [max(y, low + i * step) for i, y in enumerate(placed)]


# --------------------------------------------------------------------------- words


def _note(table: pd.DataFrame) -> str:
    kinds = set(table["kind"])
    parts = [
        "Bars: 95 % intervals of each run by itself, all traits and generations at once; one that ends in an arrow "
        "goes on beyond the panel."
    ]
    if "mix" in kinds:
        parts.append("From dark to pale: from all generated to all real pictures in training.")
    parts += ["Diamond: colour control."] if "control_colour" in kinds else []
    parts += ["Square: quality control."] if "control_quality" in kinds else []
    parts += ["Triangle: healing, trained on real pictures only from there on."] if "healing" in kinds else []
    parts += ["A line without its own first point goes on from another's."] if (table["joins"] != "").any() else []
    parts += ["Dashed: what the first run was compared with."] if table["reference_value"].notna().any() else []
    if "published" in kinds:
        parts.append(
            "Grey: what Bohacek & Farid (2023) say in words, a mean with one standard deviation of 900 pictures."
        )
    return " ".join(parts)


def _alternative(table: pd.DataFrame) -> list[str]:
    """Where every line begins and ends, for those who cannot see it."""
    told = []
    for trait, panel, arm in table[["trait", "panel", "arm"]].drop_duplicates().itertuples(index=False):
        own = table[(table["trait"] == trait) & (table["panel"] == panel) & (table["arm"] == arm)]
        first, last = own.iloc[0], own.iloc[-1]
        where = f" ({PANELS[panel]})" if PANELS[panel] else ""
        told.append(
            f"{clean(trait)}{where}, {clean(arm)}: {number(first['value'])} at generation {first['generation']:g}, "
            f"{number(last['value'])} at {last['generation']:g}."
        )
    return told
