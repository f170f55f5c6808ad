"""The pictures: one decay chart for each trait, and one overview that answers what eroded first.

Drawn by Matplotlib's object interface; every axes is placed by hand in points, because the layout
engines cost more time than the drawing. Settings are the library's own defaults plus ``_STYLE``,
so neither a user's matplotlibrc nor an earlier drawing changes a byte.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke
from matplotlib.transforms import blended_transform_factory
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from reports.course import Course, alternative, course, courses, embedder_text, finding, onset_text
from reports.words import clean, count, generation, shorten

INK, MUTED, GRID, PAPER = "#1f2328", "#667079", "#e3e6e9", "#ffffff"
HATCH, BAR = "#c3c9cf", "#7d868e"
DATA, ONSET = "#0072b2", "#d55e00"
"""Blue and vermillion of the palette of Okabe & Ito (2008), told apart under every common colour blindness."""
GROUP_COLOURS = {"eyes": "#0072b2", "hands": "#e69f00", "face": "#009e73", "light": "#cc79a7", "image": "#999999"}
PNG_DPI = 200
SUFFIXES = ("svg", "png")
Progress = Callable[[str, int, int], None]
"""(what, done, of how many)"""
DrawAll = Callable[[Callable[[Course], list[Path]], Sequence[Course]], Iterable[list[Path]]]
"""Applies a function that can be pickled to every course, in their order, as ``map`` does."""
COLUMN_PT, PAGE_PT = 252.0, 519.0
"""Widths of a journal's single column (89 mm) and of its page (183 mm), in points."""
CHART_PT = (COLUMN_PT, 190.0)
VALUE_BOX, SHARE_BOX = (44.0, 68.0, 158.0, 84.0), (44.0, 28.0, 158.0, 22.0)
"""A decay chart's size, and its two panels: left, bottom, width and height in points."""
_N_TICKS = 12
_Y_LABEL = (-0.178, 0.5)

_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 7,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": [-3, 4],
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "hatch.linewidth": 0.5,
    "hatch.color": HATCH,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


@contextmanager
def _style(salt: str = "decay") -> Iterator[None]:
    defaults: dict[Any, Any] = {
        key: value for key, value in mpl.rcParamsDefault.items() if not key.startswith("backend")
    }
    settings: dict[Any, Any] = {**defaults, **_STYLE, "svg.hashsalt": salt}
    with warnings.catch_warnings(), mpl.rc_context(settings):
        # A label in a script that the font lacks is drawn as boxes in the PNG; the SVG and the page keep its text.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


# --------------------------------------------------------------------------- one trait


def decay_chart(
    traits_of_one_trait: pd.DataFrame, erosion_row: Mapping[str, Any] | pd.Series | None, reference_label: str
) -> Figure:
    """Value over generation with its interval, reference, floor and onset; the measured share always underneath.

    ``traits_of_one_trait``: the rows of one trait of the traits table. ``erosion_row``: its row of the
    erosion table, or None. ``reference_label``: what retention is measured against, as a person says it.
    A generation without a value is a hatched gap. Raises ValueError if the rows are not those of one trait.
    """
    return _decay_figure(course(traits_of_one_trait, erosion_row), reference_label)


def _decay_figure(c: Course, reference_label: str) -> Figure:
    with _style():
        figure = _figure(*CHART_PT)
        main = _axes(figure, VALUE_BOX, "value")
        share = _axes(figure, SHARE_BOX, "measured_share")
        _draw_gaps(main, c)
        _draw_value(main, c)
        if c.is_measured:
            _draw_levels(main, c, reference_label)
            _draw_onset(main, c)
        _draw_share(share, c)
        for axes in (main, share):
            _generation_axis(axes, c.generations)
        main.tick_params(labelbottom=False)
        share.set_xlabel("generation", labelpad=1.5)
        size = 8.5 if len(c.title) <= 40 else 7
        _say(figure, 8, 183, shorten(c.title, 52), size=size, weight="bold", va="top")
        _say(figure, 8, 170.5, finding(c), color=INK if math.isfinite(c.onset) else MUTED, va="top")
        _say(figure, 8, 160.5, shorten(embedder_text([c]), 80), size=5.8, color=MUTED, va="top")
    return figure


def _draw_value(axes: Axes, c: Course) -> None:
    axes.fill_between(c.generations, c.ci_low, c.ci_high, color=DATA, alpha=0.16, linewidth=0, gid="interval")
    axes.vlines(c.generations, c.ci_low, c.ci_high, color=DATA, linewidth=0.8, alpha=0.55)
    axes.plot(
        c.generations, c.value, color=DATA, linewidth=1.5, marker="o",
        markersize=4 if len(c.generations) <= _N_TICKS else 2.6,
        markeredgecolor=PAPER, markeredgewidth=0.6, gid="value", zorder=4, clip_on=False,
    )  # fmt: skip
    low, high = _value_range(c)
    axes.set_ylim(low, high)
    axes.locator_params(axis="y", nbins=5)
    axes.yaxis.get_offset_text().set_fontsize(5.8)
    axes.grid(axis="y", color=GRID, linewidth=0.5)
    if not c.is_measured:
        axes.set_yticks([])
    unit = "\n".join(textwrap.wrap(shorten(c.unit, 40) or "value, no unit", 21)[:2])
    axes.set_ylabel(unit, size=6.2 if "\n" in unit else 7, linespacing=1)
    axes.yaxis.set_label_coords(*_Y_LABEL)


def _value_range(c: Course) -> tuple[float, float]:
    """Everything drawn, and enough around it that a change looks as large as it is.

    A level trait is shown from its floor to its reference, a location trait one reference spread to either side.
    """
    shown = np.concatenate([c.value, c.ci_low, c.ci_high, [c.reference, c.floor]])
    if c.kind == "location" and math.isfinite(c.reference) and c.is_measured:
        reach = _reference_spread(c)
        shown = np.concatenate([shown, [c.reference - reach, c.reference + reach]])
    shown = shown[np.isfinite(shown)]
    if not shown.size:
        return 0.0, 1.0
    low, high = float(shown.min()), float(shown.max())
    span = (high - low) or abs(high) or 1.0
    return low - 0.06 * span, high + 0.06 * span


def _reference_spread(c: Course) -> float:
    """The shift at which a location trait's retention ends, as near as the table tells.

    The shift of the mean is at most the Wasserstein-1 distance, so |value - reference| / (1 - retention) is at most
    the spread; it is taken where most is lost. Where little is lost it says nothing: then a quarter of the panel's
    height holds all that is drawn, so that noise does not look like decay.
    """
    lost = np.where(np.isfinite(c.value), 1 - c.retention, np.nan)
    if np.isfinite(lost).any() and np.nanmax(lost) > 0.25:
        most = int(np.nanargmax(lost))
        return float(abs(c.value[most] - c.reference) / lost[most])
    drawn = np.abs(np.concatenate([c.value, c.ci_low, c.ci_high]) - c.reference)
    return 4 * float(np.nanmax(drawn))


def _draw_levels(axes: Axes, c: Course, reference_label: str) -> None:
    """The reference and floor lines, named at the right end; names that would overlap are pushed apart."""
    low, high = axes.get_ylim()
    levels = [
        (c.reference, (0, (4, 2)), "reference", "reference", clean(reference_label)),
        (c.floor, (0, (1, 1.5)), "floor", "floor", "nothing left"),
    ]
    known = sorted((level for level in levels if math.isfinite(level[0])), key=lambda level: level[0])
    heights = [(value - low) / (high - low) for value, *_ in known]
    apart = 0.24  # two lines of text, as a share of the panel
    if len(heights) == 2 and heights[1] - heights[0] < apart:
        middle = sum(heights) / 2
        heights = [middle - apart / 2, middle + apart / 2]
    for (value, dashes, gid, name, meaning), height in zip(known, heights, strict=True):
        axes.axhline(value, color=INK if gid == "reference" else MUTED, linewidth=0.8, linestyle=dashes, gid=gid)
        text = f"{name}\n{shorten(meaning, 13)}"
        axes.text(1.025, height, text, transform=axes.transAxes, size=5.8, color=MUTED, va="center", linespacing=1.15)


def _draw_onset(axes: Axes, c: Course) -> None:
    if not math.isfinite(c.onset):
        return
    end = c.generations[-1] + 0.5  # an upper end that was never reached
    low = c.onset_low if math.isfinite(c.onset_low) else c.onset
    high = c.onset_high if math.isfinite(c.onset_high) else end
    if high > low:
        axes.axvspan(low, high, color=ONSET, alpha=0.12, linewidth=0, gid="onset_interval", zorder=0.6)
    axes.axvline(c.onset, color=ONSET, linewidth=1.1, gid="onset", zorder=2)
    at_top = blended_transform_factory(axes.transData, axes.transAxes)
    axes.plot([c.onset], [1], marker="v", markersize=4.5, color=ONSET, transform=at_top, clip_on=False, zorder=5)


def _draw_gaps(axes: Axes, c: Course) -> None:
    """Hatch every run of generations without a value; say what it is in the first."""
    gaps = ~np.isfinite(c.value)
    starts = np.flatnonzero(gaps & ~np.r_[False, gaps[:-1]])
    ends = np.flatnonzero(gaps & ~np.r_[gaps[1:], False])
    spans = [(c.generations[start] - 0.5, c.generations[end] + 0.5) for start, end in zip(starts, ends, strict=True)]
    for nth, (left, right) in enumerate(spans, start=1):
        axes.axvspan(
            left, right, facecolor="none", edgecolor=GRID, hatch="/////", linewidth=0, gid=f"gap-{nth}", zorder=0.5
        )
    if spans:
        left, right = spans[0]
        is_narrow = right - left < 0.3 * (np.ptp(c.generations) + 1)
        at_middle = blended_transform_factory(axes.transData, axes.transAxes)
        axes.text(
            (left + right) / 2, 0.5, "not measured", transform=at_middle, size=5.8, color=MUTED,
            rotation=90 if is_narrow else 0, ha="center", va="center", zorder=3,
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.2},
        )  # fmt: skip


def _draw_share(axes: Axes, c: Course) -> None:
    """How many of the expected subjects the value stands on: bars, with the number above each."""
    axes.bar(c.generations, np.nan_to_num(c.frac_measured), width=0.62, color=BAR)
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 1], ["0 %", "100 %"], size=5.8)
    axes.set_ylabel("measured", size=5.8)
    axes.yaxis.set_label_coords(*_Y_LABEL)
    above = blended_transform_factory(axes.transData, axes.transAxes)
    step = _tick_step(len(c.generations))
    for position, n in list(zip(c.generations, c.n_measured, strict=True))[::step]:
        axes.text(position, 1.1, count(n), transform=above, size=5.8, color=MUTED, ha="center", va="bottom")
    expected = set(c.n_expected)
    n_of = f"n of {count(expected.pop())}" if len(expected) == 1 else "n"
    axes.text(1.025, 1.1, n_of, transform=axes.transAxes, size=5.8, color=MUTED, va="bottom", ha="left")


# --------------------------------------------------------------------------- all traits

_ROW_PT, _HEADING_PT = 11.5, 17.0
_DIAMOND: dict[str, Any] = {
    "linestyle": "none",
    "marker": "D",
    "markersize": 4.2,
    "markerfacecolor": "#fefefe",
    "markeredgecolor": "#101214",
    "markeredgewidth": 0.9,
}
"""Pale with a dark edge, so that it shows on every colour of the scale and in a dark page."""
_WHISKER: dict[str, Any] = {
    "color": "#fefefe",
    "linewidth": 1.3,
    "solid_capstyle": "butt",
    "path_effects": [Stroke(linewidth=2.7, foreground="#101214"), Normal()],
}
_SECTIONS = (
    "eroded for good: first on top",
    "cannot tell",
    "held",
    "too few or too noisy to tell",
    "not measured",
)
_SURE = (_SECTIONS[0], _SECTIONS[2])
_THIN = 0.45
"""Height of the cells of the other sections, of a row's."""


def overview_chart(traits: pd.DataFrame, erosion: pd.DataFrame, verdict: Mapping[str, Any]) -> Figure:
    """Retention of every trait (rows, what eroded first on top) in every generation (columns), under the verdict.

    Cells without a retention are hatched; a diamond marks the onset, a bar its interval; the column at the right says
    it in numbers.
    """
    return _overview_figure(courses(traits, erosion), _heading(verdict))


def overview_svg(found: Sequence[Course]) -> str:
    """The overview as SVG without its heading, for a page that has said it already."""
    with _style("overview"):
        return _svg(_overview_figure(found, ""), "").decode()


def _heading(verdict: Mapping[str, Any]) -> str:
    return clean(verdict.get("sentence")) or "No verdict."


def retention_colours() -> Colormap:
    """Perceptually uniform, from dark (nothing left) to pale (as in the reference): magma without its black end."""
    magma = mpl.colormaps["magma"]
    return LinearSegmentedColormap.from_list("retention", magma(np.linspace(0.12, 1.0, 256)), N=256)


def _overview_figure(found: Sequence[Course], heading: str) -> Figure:
    sections = [(name, [c for c in found if _section(c) == name]) for name in _SECTIONS]
    sections = [(name, members) for name, members in sections if members]
    sentence = textwrap.wrap(heading, 80)
    top = 22 + 13.5 * len(sentence) if sentence else 4
    body = sum(_HEADING_PT + _ROW_PT * len(members) for _, members in sections) or _HEADING_PT
    bottom = 52.0
    generations = found[0].generations if found else np.zeros(1)
    with _style():
        figure = _figure(PAGE_PT, top + body + bottom)
        height = top + body + bottom
        _say(figure, 10, height - 9, "\n".join(sentence), size=10.5, weight="bold", va="top", linespacing=1.25)
        axes = _axes(figure, (212, bottom, 212, body), "retention")
        axes.set_ylim(body, 0)
        _say(figure, 436, bottom + body - _HEADING_PT + 4, "onset (interval)", color=MUTED)
        y = 0.0
        for name, members in sections:
            _say(figure, 10, bottom + body - y - _HEADING_PT + 4, name, color=MUTED)
            y += _HEADING_PT
            _draw_section(axes, members, generations, y, name in _SURE)
            for index, c in enumerate(members):
                _name_row(figure, c, bottom + body - y - _ROW_PT * (index + 0.5))
            y += _ROW_PT * len(members)
        _finish_overview(figure, axes, generations, body)
        _say(figure, 212, 10, embedder_text(found), size=5.8, color=MUTED)
    return figure


def _section(c: Course) -> str:
    if not np.isfinite(c.retention).any() or c.verdict == "not_measured":
        return _SECTIONS[4]
    if math.isfinite(c.onset):
        return _SECTIONS[0]
    return {"cannot_tell": _SECTIONS[1], "not_rankable": _SECTIONS[3]}.get(c.verdict, _SECTIONS[2])


def _draw_section(
    axes: Axes, members: Sequence[Course], generations: np.ndarray[Any, Any], y: float, sure: bool
) -> None:
    """One block of the heat map, its cells thin where nothing is ``sure``: they must not outshine what is shown.

    Columns are numbered from 0, whatever the generations are called.
    """
    kept = np.array([[dict(zip(c.generations, c.retention, strict=True)).get(g, np.nan) for g in generations]
                     for c in members])  # fmt: skip
    middles = y + _ROW_PT * (np.arange(len(members)) + 0.5)
    half = _ROW_PT * (0.5 if sure else _THIN / 2)
    for row, middle in enumerate(middles):
        axes.pcolormesh(
            np.arange(len(generations) + 1), [middle - half, middle + half], kept[row : row + 1],
            cmap=retention_colours(), norm=Normalize(0, 1), edgecolor=PAPER, linewidth=0.8,
            gid=f"retention-{middle:.0f}",
        )  # fmt: skip
    for row, column in np.argwhere(~np.isfinite(kept)):
        axes.add_patch(_unmeasured(column, middles[row] - half, 1, 2 * half))
    columns = {float(g): index for index, g in enumerate(generations)}
    for middle, c in zip(middles, members, strict=True):
        _draw_onset_interval(axes, c, generations, middle)
    marks = [(columns[c.onset] + 0.5, middles[row]) for row, c in enumerate(members) if c.onset in columns]
    if marks:
        axes.plot(*np.transpose(marks), gid="onset", **_DIAMOND)


def _draw_onset_interval(axes: Axes, c: Course, generations: np.ndarray[Any, Any], y: float) -> None:
    """A bar from the earliest to the latest onset; an end that was never reached runs out of the map."""
    if not math.isfinite(c.onset) or not (math.isfinite(c.onset_low) or math.isfinite(c.onset_high)):
        return
    columns = np.arange(len(generations)) + 0.5
    left = float(np.interp(c.onset_low, generations, columns)) if math.isfinite(c.onset_low) else 0.0
    right = float(np.interp(c.onset_high, generations, columns)) if math.isfinite(c.onset_high) else len(generations)
    if right > left:
        axes.plot([left, right], [y, y], gid=f"onset_interval-{y:.0f}", **_WHISKER)


def _name_row(figure: Figure, c: Course, y: float) -> None:
    colour = GROUP_COLOURS.get(c.group, MUTED)
    width, height = figure.get_size_inches() * 72
    figure.add_artist(
        Rectangle((10 / width, (y - 4) / height), 2.5 / width, 8 / height, color=colour, transform=figure.transFigure)
    )
    _say(figure, 16, y, shorten(c.group, 7), size=6.2, color=MUTED, va="center_baseline")
    _say(figure, 44, y, shorten(c.title, 40 - len(c.drift)) + c.drift, va="center_baseline")
    _say(figure, 436, y, onset_text(c), va="center_baseline", color=INK if math.isfinite(c.onset) else MUTED)


def _finish_overview(figure: Figure, axes: Axes, generations: np.ndarray[Any, Any], body: float) -> None:
    step = _tick_step(len(generations))
    axes.set_xlim(0, len(generations))
    axes.set_xticks(np.arange(len(generations))[::step] + 0.5, [generation(g) for g in generations[::step]])
    axes.set_xlabel("generation", labelpad=1.5)
    axes.set_yticks([])
    axes.tick_params(length=0)
    above = blended_transform_factory(axes.transData, axes.transAxes)
    for column in range(0, len(generations), step):
        text = generation(generations[column])
        axes.text(column + 0.5, 1 - (_HEADING_PT - 4) / body, text, transform=above, ha="center")

    axes.spines[:].set_visible(False)
    _draw_key(figure)


def _draw_key(figure: Figure) -> None:
    """What the cells mean: the colour scale, the hatch, the diamond, thin cells, below the names of the rows."""
    key = _axes(figure, (44, 10, 165, 30), "key")
    key.set(xlim=(0, 165), ylim=(0, 30), xticks=[], yticks=[])
    key.spines[:].set_visible(False)
    key.text(0, 22, "retention (reference = 100 %)", size=6.2, color=MUTED)
    ramp = np.linspace(0, 1, 49)
    middles = ((ramp[1:] + ramp[:-1]) / 2)[np.newaxis]
    key.pcolormesh(
        96 * ramp, [12, 18], middles, cmap=retention_colours(), norm=Normalize(0, 1), edgecolor="face", linewidth=0.4
    )
    for share, text in ((0, "0 %"), (0.5, "50 %"), (1, "100 %")):
        key.text(96 * share, 9, text, size=5.8, color=MUTED, ha="center", va="top")
    key.add_patch(_unmeasured(108, 12, 10, 6))
    key.text(121, 15, "not measured", size=6.2, color=MUTED, va="center_baseline")
    key.add_patch(Rectangle((108, 3.4), 10, 6 * _THIN, facecolor=retention_colours()(0.5)))
    key.text(121, 5, "thin: not sure", size=6.2, color=MUTED, va="center_baseline")
    key.plot([105, 121], [25, 25], **_WHISKER)
    key.plot([113], [25], **_DIAMOND)
    key.text(124, 25, "onset, interval", size=6.2, color=MUTED, va="center_baseline")


def _unmeasured(x: float, y: float, width: float, height: float) -> Rectangle:
    return Rectangle((x, y), width, height, facecolor=PAPER, edgecolor=HATCH, hatch="//////", linewidth=0.4)


# --------------------------------------------------------------------------- files


def write_charts(
    traits: pd.DataFrame,
    erosion: pd.DataFrame,
    verdict: Mapping[str, Any],
    folder: Path,
    suffixes: Sequence[str] = SUFFIXES,
    progress: Progress | None = None,
    draw_all: DrawAll | None = None,
) -> list[Path]:
    """Write ``overview`` and one chart for each trait into ``folder``, by default as SVG and PNG.

    The same tables, the same bytes, whoever draws: ``draw_all`` applies a function to every trait, in processes of its
    own if it likes; this process does it where there is none. Returns the files written, overview first. Creates the
    folder. Raises OSError if it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = courses(traits, erosion)
    reference_label = clean(verdict.get("reference")) or "reference"
    overview = _overview_figure(found, _heading(verdict))
    written = _write(overview, folder / "overview", overview_alternative(found, verdict), suffixes)
    draw = partial(_write_chart, reference_label=reference_label, folder=folder, suffixes=suffixes)
    for done, paths in enumerate((draw_all or map)(draw, found), start=1):
        written += paths
        if progress:
            progress("charts", done, len(found))
    return written


def _write_chart(c: Course, reference_label: str, folder: Path, suffixes: Sequence[str]) -> list[Path]:
    figure = _decay_figure(c, reference_label)
    return _write(figure, folder / chart_name(c.trait), alternative(c, reference_label), suffixes)


def chart_name(trait: str) -> str:
    """The file name of a trait's chart, without suffix: the trait's name, made safe where it is no plain word."""
    if re.fullmatch(r"[a-z0-9_]{1,80}", trait) and trait != "overview":
        return trait
    return (
        re.sub(r"[^a-z0-9]+", "_", trait.lower())[:40].strip("_") + "_" + hashlib.sha256(trait.encode()).hexdigest()[:8]
    )


def overview_alternative(found: Sequence[Course], verdict: Mapping[str, Any]) -> str:
    """The overview for those who cannot see it."""
    eroded = [f"{c.title} at {onset_text(c)}" for c in found if math.isfinite(c.onset)]
    listed = "; ".join(eroded) if eroded else "none"
    return f"{_heading(verdict)} Onset by generation: {listed}. {len(found) - len(eroded)} traits without."


def _write(figure: Figure, stem: Path, description: str, suffixes: Sequence[str] = SUFFIXES) -> list[Path]:
    makers = {"svg": _svg, "png": _png, "pdf": _pdf}
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in suffixes]
    with _style(stem.name):
        for path, suffix in zip(paths, suffixes, strict=True):
            path.write_bytes(makers[suffix](figure, description))
    return paths


def _pdf(figure: Figure, description: str) -> bytes:
    """PDF that holds its fonts, for papers."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="pdf", metadata={"Title": description, "CreationDate": None})
    return drawn.getvalue()


def _svg(figure: Figure, description: str) -> bytes:
    """SVG 1.1 whose text is text and whose title is the description; without date, metadata and document type."""
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", metadata={"Title": description, "Date": None, "Creator": None})
    body = drawn.getvalue()
    body = re.sub(r"\s*<metadata>.*?</metadata>", "", body[body.index("<svg") :], count=1, flags=re.DOTALL)
    return ('<?xml version="1.0" encoding="utf-8"?>\n' + re.sub(r"<\w[^>]*>", _slim, body)).encode()


def _slim(tag: re.Match[str]) -> str:
    """A tag without what Matplotlib writes and nobody needs, a fifth of the file: counted ids, rotations by nothing,
    decimals beyond a hundredth of a point."""
    text = re.sub(r' id="[A-Za-z0-9.]+_\d+"| transform="rotate\(-0 [^"]*"', "", tag[0])
    return re.sub(r"(\.\d\d)\d+", r"\1", text)


def _png(figure: Figure, description: str) -> bytes:
    """PNG of 256 colours at ``PNG_DPI``: a chart has few colours, and a third of the bytes tells them all."""
    drawn, packed = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="rgba", dpi=PNG_DPI)
    width, height = (int(inches * PNG_DPI) for inches in figure.get_size_inches())
    picture = (
        Image.frombytes("RGBA", (width, height), drawn.getvalue())
        .convert("RGB")
        .quantize(256, Image.Quantize.MAXCOVERAGE)
    )
    words = PngInfo()
    words.add_itxt("Description", description)
    # The highest level takes seven times as long, for a tenth of the bytes.
    picture.save(packed, format="png", dpi=(PNG_DPI, PNG_DPI), pnginfo=words, compress_level=6)
    return packed.getvalue()


# --------------------------------------------------------------------------- placing things


class Chart(Figure):
    """A figure that keeps the charts' style however it is saved or shown, and whatever a matplotlibrc says."""

    def savefig(self, *args: Any, **kwargs: Any) -> None:
        """As Matplotlib's, but in the charts' style; a PDF holds its fonts (TrueType, which journals ask for)."""
        with _style(mpl.rcParams["svg.hashsalt"] or "decay"):
            super().savefig(*args, **kwargs)

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        drawn = io.BytesIO()
        self.savefig(drawn, format="png", dpi=PNG_DPI)
        return drawn.getvalue()


def _figure(width_pt: float, height_pt: float) -> Figure:
    figure = Chart(figsize=(width_pt / 72, height_pt / 72))
    FigureCanvasAgg(figure)
    return figure


def _axes(figure: Figure, box_pt: tuple[float, float, float, float], label: str) -> Axes:
    """Axes at (left, bottom, width, height) in points from the figure's lower left corner."""
    width, height = figure.get_size_inches() * 72
    left, bottom, w, h = box_pt
    return figure.add_axes((left / width, bottom / height, w / width, h / height), label=label)


def _say(figure: Figure, x_pt: float, y_pt: float, text: str, **properties: Any) -> None:
    width, height = figure.get_size_inches() * 72
    figure.text(x_pt / width, y_pt / height, text, **properties)


def generation_span(generations: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Where a decay chart's axis of generations begins and ends."""
    beside = 0.5 if len(generations) > 1 else 1.5
    return float(generations[0]) - beside, float(generations[-1]) + beside


def _generation_axis(axes: Axes, generations: np.ndarray[Any, Any]) -> None:
    shown = generations[:: _tick_step(len(generations))]
    axes.set_xlim(*generation_span(generations))
    axes.set_xticks(shown, [generation(g) for g in shown])


def _tick_step(n: int) -> int:
    return math.ceil(n / _N_TICKS)
