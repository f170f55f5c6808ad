"""Pictures of hands with what was counted drawn on them: a sheet of chosen hands, and overlays on whole pictures.

Tips are numbered in the order in which they were counted; a bar lies across fingers that were read as fused.
Every verdict is a word and a frame, never a colour alone.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from PIL import Image

Point = tuple[float, float]
Verdict = Literal["right", "wrong", "ambiguous", "lost", ""]

INK, MUTED, PAPER = "#1f2328", "#667079", "#ffffff"
TIP, FUSED, WRONG, RIGHT = "#0072b2", "#e69f00", "#d55e00", "#009e73"
"""Of the palette of Okabe & Ito (2008), told apart under every common colour blindness."""
_FRAMES: dict[Verdict, tuple[str, float, str]] = {
    "right": (RIGHT, 1.0, "solid"),
    "wrong": (WRONG, 3.2, "solid"),
    "lost": (WRONG, 3.2, "dotted"),
    "ambiguous": (MUTED, 2.2, "dashed"),
    "": (MUTED, 0.6, "solid"),
}
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "text.parse_math": False,
    "text.color": INK,
}
_DPI = 150
_COLUMNS = 6
_TILE_IN, _GAP_IN, _CAPTION_IN, _HEAD_IN, _MARGIN_IN = 1.62, 0.14, 0.50, 0.27, 0.22
_TITLE_IN = 0.62
_COLOURS = 256


@dataclass(frozen=True)
class CountedHand:
    """One hand and what was read of it, in pixels of its picture.

    ``box``: x0, y0, x1, y1. ``tips``: one per digit counted. ``bars``: the two ends of a bar across each fused pair.
    ``read``: what was read, in words; ``details``: further lines of it.
    """

    box: tuple[float, float, float, float]
    tips: tuple[Point, ...]
    bars: tuple[tuple[Point, Point], ...]
    read: str
    details: tuple[str, ...] = ()
    verdict: Verdict = ""


@dataclass(frozen=True)
class Tile:
    """One square of a sheet: ``pixels`` sRGB uint8 (h, w, 3), the hand in it, and the heading it stands under."""

    pixels: NDArray[np.uint8]
    hand: CountedHand
    heading: str


def sheet_png(tiles: Sequence[Tile], title: str, rule: str) -> bytes:
    """The tiles in rows of six; equal headings beside one another are written once. ``rule``: how they were chosen.

    Raises ValueError where there is no tile.
    """
    if not tiles:
        raise ValueError("a sheet needs at least one tile")
    n_rows = -(-len(tiles) // _COLUMNS)
    rule_lines = textwrap.wrap(rule, 185)
    width = 2 * _MARGIN_IN + _COLUMNS * _TILE_IN + (_COLUMNS - 1) * _GAP_IN
    row_in = _HEAD_IN + _TILE_IN + _CAPTION_IN
    foot = 0.17 * len(rule_lines) + 0.12
    height = 2 * _MARGIN_IN + _TITLE_IN + n_rows * row_in + foot
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), dpi=_DPI, facecolor=PAPER)
        left, top = _MARGIN_IN / width, 1 - _MARGIN_IN / height
        figure.text(left, top, title, size=13, weight="bold", va="top")
        _legend(figure, left, top - 0.27 / height)
        for index, tile in enumerate(tiles):
            row, column = divmod(index, _COLUMNS)
            x = _MARGIN_IN + column * (_TILE_IN + _GAP_IN)
            y = height - _MARGIN_IN - _TITLE_IN - row * row_in - _HEAD_IN - _TILE_IN
            axes = figure.add_axes((x / width, y / height, _TILE_IN / width, _TILE_IN / height))
            _draw_tile(axes, tile)
            if column == 0 or tiles[index - 1].heading != tile.heading:
                figure.text(x / width, (y + _TILE_IN + 0.07) / height, tile.heading, size=8.5, weight="bold")
        figure.text(left, _MARGIN_IN / height, "\n".join(rule_lines), size=7, color=MUTED, va="bottom", linespacing=1.4)
        return _png(figure)


def overlay_png(pixels: NDArray[np.uint8], hands: Sequence[CountedHand]) -> bytes:
    """A whole picture, sRGB uint8 (h, w, 3), with every hand seen in it; each numbered as in the list beneath."""
    height, width = pixels.shape[:2]
    across = 7.0
    tall = across * height / width
    lines = [f"{number}  {hand.read}" for number, hand in enumerate(hands, start=1)] or ["no hand seen"]
    foot = 0.16 * len(lines) + 0.16
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(across, tall + foot), dpi=_DPI, facecolor=PAPER)
        axes = figure.add_axes((0, foot / (tall + foot), 1, tall / (tall + foot)))
        _show(axes, pixels, (-0.5, -0.5, width - 0.5, height - 0.5))
        for number, hand in enumerate(hands, start=1):
            x0, y0, x1, y1 = hand.box
            axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=PAPER, linewidth=2.0))
            axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=INK, linewidth=0.8))
            place = (max(x0, 0.0), max(y0, 0.0))
            box = {"facecolor": INK, "edgecolor": "none", "pad": 1.5}
            axes.text(*place, f"{number}", size=8, color=PAPER, va="bottom", bbox=box, clip_on=True)
            span_pt = 72 * across * max(x1 - x0, y1 - y0) / width
            _draw_marks(axes, hand, min(6.5, max(3.5, 0.09 * span_pt)))
        figure.text(0.012, 0.06 / (tall + foot), "\n".join(lines), size=8, va="bottom", linespacing=1.4)
        return _png(figure)


def _legend(figure: Figure, x: float, y: float) -> None:
    width = float(figure.get_size_inches()[0])
    words = (
        ("1", TIP, "a digit counted"),
        ("=", FUSED, "fingers read as fused"),
    )
    for mark, colour, text in words:
        box = {"boxstyle": "round,pad=0.22", "facecolor": colour, "edgecolor": "none"}
        figure.text(x + 0.06 / width, y, mark, size=7, color=PAPER, weight="bold", va="top", bbox=box)
        figure.text(x + 0.24 / width, y, text, size=8, va="top")
        x += (0.45 + 0.062 * len(text)) / width
    text = (
        "Frames: thin green, read rightly; thick red, wrong (dotted: not found); dashed grey, ambiguous, not counted."
    )
    figure.text(x + 0.05 / width, y, text, size=8, va="top")


def _draw_tile(axes: Axes, tile: Tile) -> None:
    _show(axes, tile.pixels, _square(tile.hand.box))
    hand = tile.hand
    colour, line, style = _FRAMES[hand.verdict]
    for spine in axes.spines.values():
        spine.set(visible=True, edgecolor=colour, linewidth=line, linestyle=style)
    _draw_marks(axes, hand, 6.5)
    axes.text(0.0, -0.055, hand.read, size=7.5, weight="bold", va="top", transform=axes.transAxes)
    colour = INK if hand.verdict == "right" else colour
    axes.text(1.0, -0.055, hand.verdict, size=7.5, color=colour, va="top", ha="right", transform=axes.transAxes)
    details = "\n".join(hand.details)
    axes.text(0.0, -0.140, details, size=6.6, color=MUTED, va="top", linespacing=1.3, transform=axes.transAxes)


def _draw_marks(axes: Axes, hand: CountedHand, size: float) -> None:
    for (xa, ya), (xb, yb) in hand.bars:
        halo = [withStroke(linewidth=0.8 * size, foreground=INK)]
        axes.plot([xa, xb], [ya, yb], color=FUSED, linewidth=0.55 * size, solid_capstyle="round", path_effects=halo)
    for number, (x, y) in enumerate(hand.tips, start=1):
        box = {"boxstyle": "circle,pad=0.22", "facecolor": TIP, "edgecolor": PAPER, "linewidth": 0.8}
        axes.text(
            x, y, f"{number}", size=size, color=PAPER, weight="bold", ha="center", va="center", bbox=box, clip_on=True
        )


def _show(axes: Axes, pixels: NDArray[np.uint8], window: tuple[float, float, float, float]) -> None:
    height, width = pixels.shape[:2]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(pixels, extent=extent, interpolation="antialiased", aspect="equal")
    x0, y0, x1, y1 = window
    axes.set(xlim=(x0, x1), ylim=(y1, y0), xticks=[], yticks=[], facecolor="#eef0f2")


def _square(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """A square window around a box, with some room for the marks."""
    x0, y0, x1, y1 = box
    half = 0.5 * max(x1 - x0, y1 - y0) * 1.22
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    return x - half, y - half, x + half, y + half


def _png(figure: Figure) -> bytes:
    """With a palette: a third of the size, and not a byte of date or version in it."""
    drawn, buffer = io.BytesIO(), io.BytesIO()
    FigureCanvasAgg(figure).print_figure(drawn, format="png", dpi=_DPI)
    picture = Image.open(drawn).convert("RGB")
    own = [channel for colour in (INK, MUTED, PAPER, TIP, FUSED, WRONG, RIGHT) for channel in bytes.fromhex(colour[1:])]
    found = picture.quantize(_COLOURS - len(own) // 3, method=Image.Quantize.MEDIANCUT).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette((found + own)[: 3 * _COLOURS])  # the marks keep their colours exactly
    picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(buffer, "png", optimize=True)
    return buffer.getvalue()
