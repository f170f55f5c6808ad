"""One trait in several runs: their values and measured shares over the generations, laid over one another."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.charts import (
    _Y_LABEL,
    CHART_PT,
    INK,
    MUTED,
    PAPER,
    SHARE_BOX,
    VALUE_BOX,
    Progress,
    _axes,
    _draw_levels,
    _figure,
    _generation_axis,
    _say,
    _style,
    _value_range,
    _write,
    chart_name,
)
from reports.course import Course, Floats, embedder_text, onset_text
from reports.panels import LOOKS
from reports.words import clean, generation, shorten

_LEGEND_PT, _PER_LINE, _NAME = 9.0, 3, 22
_APART = 0.055
"""Between the marks of two arms, in generations: intervals side by side can be told apart."""


def arms_chart(arms: Sequence[tuple[str, Course]], reference_label: str) -> Figure:
    """The decay chart of one trait in several runs. ``arms``: (name, course), in the order of the legend.

    Levels are the first run's. An arm's onset is a triangle in its colour at the top. Raises ValueError if there is
    no arm, or the courses are of different traits.
    """
    if len({c.trait for _, c in arms}) != 1:
        raise ValueError(f"expected the courses of one trait, got {sorted({c.trait for _, c in arms})}")
    _, first = arms[0]
    extra = legend_height(len(arms))
    with _style():
        figure = _figure(CHART_PT[0], CHART_PT[1] + extra)
        left, bottom, width, height = VALUE_BOX
        main = _axes(figure, (left, bottom + extra, width, height), "value")
        left, bottom, width, height = SHARE_BOX
        share = _axes(figure, (left, bottom + extra, width, height), "measured_share")
        generations = np.unique(np.concatenate([c.generations for _, c in arms]))
        for nth, (_, c) in enumerate(arms):
            _draw_arm(main, share, c, nth, _APART * (nth - (len(arms) - 1) / 2))
        _frame_value(main, [c for _, c in arms])
        if first.is_measured:
            _draw_levels(main, first, reference_label)
        _frame_share(share)
        for axes in (main, share):
            _generation_axis(axes, generations)
        main.tick_params(labelbottom=False)
        share.set_xlabel("generation", labelpad=1.5)
        _head(figure, arms, CHART_PT[1] + extra)
        _legend(figure, [clean(name) for name, _ in arms])
    return figure


def write_arms_charts(
    traits: Sequence[Sequence[tuple[str, Course]]],
    reference_label: str,
    folder: Path,
    progress: Progress | None = None,
) -> None:
    """Write a chart for each trait into ``folder``, as SVG and PNG. ``traits``: of each, (name, course) of every run.

    Creates the folder. Raises OSError if it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for done, arms in enumerate(traits, start=1):
        _write(arms_chart(arms, reference_label), folder / chart_name(arms[0][1].trait), arms_alternative(arms))
        if progress:
            progress("charts", done, len(traits))


def legend_height(n_arms: int) -> float:
    """What the legend adds to the height of a chart, in points."""
    return _LEGEND_PT * math.ceil(n_arms / _PER_LINE)


def arms_alternative(arms: Sequence[tuple[str, Course]]) -> str:
    """The chart for those who cannot see it."""
    _, first = arms[0]
    told = "; ".join(f"{clean(name)}: {_told(c)}" for name, c in arms)
    return f"{first.title} in {len(arms)} runs. {told}."


def _told(c: Course) -> str:
    if not c.is_measured:
        return "not measured"
    return f"eroded from generation {onset_text(c)}" if math.isfinite(c.onset) else "no onset"


def _draw_arm(main: Axes, share: Axes, c: Course, nth: int, shift: float) -> None:
    colour, dashes, marker = LOOKS[nth % len(LOOKS)]
    x: Floats = c.generations + shift
    main.vlines(x, c.ci_low, c.ci_high, color=colour, linewidth=0.8, alpha=0.6, gid=f"interval-{nth}")
    main.plot(
        x, c.value, color=colour, linewidth=1.2, linestyle=dashes, marker=marker, markersize=3.4,
        markeredgecolor=PAPER, markeredgewidth=0.5, gid=f"value-{nth}", zorder=4, clip_on=False,
    )  # fmt: skip
    if math.isfinite(c.onset):
        at_top = main.get_xaxis_transform()
        main.plot([c.onset + shift], [1], marker="v", markersize=4.2, color=colour, markeredgecolor=PAPER,
                  markeredgewidth=0.4, transform=at_top, clip_on=False, zorder=5, gid=f"onset-{nth}")  # fmt: skip
    share.plot(x, c.frac_measured, color=colour, linewidth=0.9, linestyle=dashes, gid=f"share-{nth}", clip_on=False)


def _frame_value(axes: Axes, found: Sequence[Course]) -> None:
    ranges = [_value_range(c) for c in found if c.is_measured] or [(0.0, 1.0)]
    axes.set_ylim(min(low for low, _ in ranges), max(high for _, high in ranges))
    axes.locator_params(axis="y", nbins=5)
    axes.yaxis.get_offset_text().set_fontsize(5.8)
    axes.grid(axis="y", linewidth=0.5, alpha=0.5)
    if not any(c.is_measured for c in found):
        axes.set_yticks([])
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, size=5.8, color=MUTED, ha="center")
    axes.set_ylabel("\n".join(textwrap.wrap(shorten(found[0].unit, 40) or "value, no unit", 21)[:2]), size=6.6)
    axes.yaxis.set_label_coords(*_Y_LABEL)


def _frame_share(axes: Axes) -> None:
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 1], ["0 %", "100 %"], size=5.8)
    axes.set_ylabel("measured", size=5.8)
    axes.yaxis.set_label_coords(*_Y_LABEL)


def _head(figure: Figure, arms: Sequence[tuple[str, Course]], height: float) -> None:
    first = arms[0][1]
    eroded = [f"{shorten(clean(name), 16)} {generation(c.onset)}" for name, c in arms if math.isfinite(c.onset)]
    said = f"onset: {', '.join(eroded)}" if eroded else "no onset in any run"
    _say(figure, 8, height - 7, shorten(first.title, 52), size=8.5 if len(first.title) <= 40 else 7, weight="bold",
         va="top")  # fmt: skip
    _say(figure, 8, height - 19.5, shorten(said, 70), color=INK if eroded else MUTED, va="top", size=6.4)
    _say(figure, 8, height - 29.5, shorten(embedder_text([c for _, c in arms]), 80), size=5.8, color=MUTED, va="top")


def _legend(figure: Figure, names: Sequence[str]) -> None:
    handles = [
        Line2D([], [], color=colour, linestyle=dashes, marker=marker, markersize=3.4, linewidth=1.2)
        for colour, dashes, marker in (LOOKS[nth % len(LOOKS)] for nth in range(len(names)))
    ]
    figure.legend(
        handles, [shorten(name, _NAME) for name in names], loc="lower left", ncols=_PER_LINE, frameon=False,
        fontsize=5.8, handlelength=3.2, columnspacing=1.2, labelspacing=0.35, borderaxespad=0.3, borderpad=0.2,
    )  # fmt: skip
