"""Maps: where glints sit in the iris, where faces lie among one another, how many fingers hands have, by generation.

A small panel for each generation, all to one scale, so that a generation that draws together is seen to do so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reports.charts import DATA, GRID, INK, MUTED, PAGE_PT, PAPER, _axes, _figure, _png, _say, _style, _svg
from reports.inline import ChartFiles
from reports.words import clean, generation, number, percent

Floats = NDArray[np.float64]

REFERENCE = -1
"""The generation of the reference folder's rows."""
MAX_PANELS = 14
"""Of more generations the first, the last, and others evenly between them."""
PANELS_A_ROW = 8
BANDWIDTH = 0.1
"""Of the kernel behind the density of glints, in iris radii: a glint's own radius is 0.1 to 0.2."""
TIMES_EVEN = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Contours of that density, as multiples of glints spread evenly over the iris; all in one place is 50 times."""
FEWEST_FOR_DENSITY = 8
"""Fewer glints than this are drawn as dots alone, without a figure: a kernel would draw a mountain under each."""
FEWEST_FACES = 20
"""Fewer faces than this have no spread, and fewer of the reference no map: it would say more of chance than of them."""
FEWEST_HANDS = 8
"""Fewer counted hands than this have no bars, only their number: a single hand would make a bar of 100 %."""
MAX_DOTS = 250
"""Faces drawn in one panel; of more as many by chance, with seed 0."""
MOST_DIGITS = 6
"""Hands of this many digits and more share a bar."""

_WIDEST_PANEL_PT, _GAP_PT, _HEAD_PT, _FOOT_PT, _MARGIN_PT = 84.0, 7.0, 12.0, 25.0, 6.0
_OPACITY = (0.16, 0.32, 0.5, 0.68, 0.85, 1.0)
_GRID_POINTS = 72


@dataclass(frozen=True)
class Map:
    """One map. ``files``: its SVG, PNG and CSV. ``rule``: how it was drawn, printed with it.

    ``table``: the numbers in it, one row for each panel; the CSV is the same.
    """

    name: str
    title: str
    rule: str
    alternative: str
    files: ChartFiles
    table: pd.DataFrame


@dataclass(frozen=True)
class MapsSection:
    """What ``templates/maps.html.j2`` shows as ``maps``. ``notes``: whole sentences on what could not be mapped."""

    maps: Sequence[Map]
    notes: Sequence[str] = ()


Draw = Callable[[Axes, int], Sequence[str]]
"""(axes, generation): draws a panel, and gives the lines below it."""


def maps_section(
    images: pd.DataFrame, eyes: pd.DataFrame, hands: pd.DataFrame, embeddings: pd.DataFrame
) -> MapsSection:
    """The maps of one run from its tables, as they stand under ``measures/``; the same tables, the same bytes."""
    panels = _panels(images)
    made = {
        "catchlights: no glint was read": catchlight_map(eyes, panels),
        f"faces: fewer than {FEWEST_FACES} of the reference were described": embedding_map(embeddings, panels),
        "finger counts: no hand was counted": finger_map(hands, panels),
    }
    return MapsSection(
        maps=tuple(each for each in made.values() if each),
        notes=tuple(f"No map of {why}." for why, each in made.items() if each is None),
    )


def _panels(images: pd.DataFrame) -> list[int]:
    """The generations that get a panel: the reference, where there is one, then at most ``MAX_PANELS``."""
    numbers = sorted(int(index) for index in set(images["generation"]))
    own = numbers[:1] if numbers[:1] == [REFERENCE] else []
    rest = numbers[len(own) :]
    if len(rest) > MAX_PANELS - len(own):
        rest = [rest[at] for at in np.linspace(0, len(rest) - 1, MAX_PANELS - len(own)).round().astype(int)]
    return own + rest


# --------------------------------------------------------------------------- catchlights


def catchlight_map(eyes: pd.DataFrame, panels: Sequence[int]) -> Map | None:
    """Where the main glints of all eyes sit in the iris; None where there are none.

    ``eyes``: generation, catchlight_state, catchlight_u, catchlight_v (iris radii to the image's right and down, the
    head's roll taken out).
    """
    ok = eyes[eyes["catchlight_state"] == "ok"]
    places = {g: ok.loc[ok["generation"] == g, ["catchlight_u", "catchlight_v"]].to_numpy(np.float64) for g in panels}
    places = {g: uv[np.isfinite(uv).all(axis=1)] for g, uv in places.items()}
    if not any(map(len, places.values())):
        return None

    def draw(axes: Axes, g: int) -> Sequence[str]:
        _clock_face(axes)
        _draw_glints(axes, places[g])
        return _glint_lines(places[g])

    seen = eyes[eyes["catchlight_state"].isin(["ok", "no_highlight"])]
    table = pd.DataFrame(
        [
            {
                "generation": g,
                "n_eyes": int((eyes["generation"] == g).sum()),
                "n_told": int((seen["generation"] == g).sum()),
                "n_glints": len(places[g]),
                "median_u": _median(places[g][:, 0]),
                "median_v": _median(places[g][:, 1]),
                "half_within": half_within(places[g]) if len(places[g]) >= FEWEST_FOR_DENSITY else math.nan,
            }
            for g in panels
        ]
    )
    rule = (
        "The main catchlight of every eye in which one was read, left and right eyes together, as seen in the picture "
        "with the head's roll taken out; 12 o'clock is up, the circle is the edge of the iris. Shade: how many times "
        f"denser than glints spread evenly over the iris (steps at {', '.join(f'{level:g}' for level in TIMES_EVEN)}; "
        f"Gaussian kernel of {BANDWIDTH:g} iris radii), the same in every panel; single dots below "
        f"{FEWEST_FOR_DENSITY} glints. Half of the glints lie within the distance given of their median place; it is "
        f"given from {FEWEST_FOR_DENSITY} glints on."
    )
    return _map("map-catchlights", "Where the light sits in the iris", rule, panels, draw, table)


def density(places: Floats, x: Floats, y: Floats) -> Floats:
    """How many times denser than spread evenly over the unit disc points lie, by a Gaussian kernel of ``BANDWIDTH``.

    ``places``: (n, 2), n > 0. ``x``, ``y``: (w,), (h,). Returns (h, w); its integral over the plane is pi.
    """
    across, down = (
        np.exp(-((at[:, np.newaxis] - places[:, axis]) ** 2) / (2 * BANDWIDTH**2)) for axis, at in enumerate((x, y))
    )
    return np.asarray(down @ across.T / (2 * BANDWIDTH**2 * len(places)), dtype=np.float64)


def half_within(places: Floats) -> float:
    """The distance from their median place within which half of the points (n, 2) lie; NaN where there are none."""
    return _median(np.linalg.norm(places - np.median(places, axis=0), axis=1)) if len(places) else math.nan


def _median(values: Floats) -> float:
    return float(np.median(values)) if len(values) else math.nan


def _clock_face(axes: Axes) -> None:
    hours = np.radians(30 * np.arange(12))
    for reach, wanted in ((1.12, hours % (math.pi / 2) > 0.1), (1.2, hours % (math.pi / 2) <= 0.1)):
        sine, cosine = np.sin(hours[wanted]), np.cos(hours[wanted])
        axes.plot([sine * 1.03, sine * reach], [-cosine * 1.03, -cosine * reach], color=MUTED, linewidth=0.6)
    turn = np.linspace(0, 2 * math.pi, 73)
    axes.plot(np.sin(turn), np.cos(turn), color=MUTED, linewidth=0.8)
    axes.set(xlim=(-1.24, 1.24), ylim=(1.24, -1.24), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _draw_glints(axes: Axes, places: Floats) -> None:
    if len(places) < FEWEST_FOR_DENSITY:
        axes.plot(*places.T, linestyle="none", marker="o", markersize=2.2, color=DATA, markeredgewidth=0)
        return
    side = np.linspace(-1.2, 1.2, _GRID_POINTS)
    colours = [to_rgba(DATA, opacity) for opacity in _OPACITY]
    axes.contourf(side, side, density(places, side, side), levels=[*TIMES_EVEN, 1e9], colors=colours)


def _glint_lines(places: Floats) -> Sequence[str]:
    enough = len(places) >= FEWEST_FOR_DENSITY
    return _n(len(places), "glint"), f"half within {number(half_within(places))}" if enough else ""


# --------------------------------------------------------------------------- faces


def embedding_map(embeddings: pd.DataFrame, panels: Sequence[int]) -> Map | None:
    """Where faces lie on the two axes along which the reference's faces differ most.

    None below ``FEWEST_FACES`` of them. ``embeddings``: generation, embedder, embedding (a vector). Only those of the
    reference's embedder are drawn.
    """
    reference = panels[0]
    of_reference = embeddings[embeddings["generation"] == reference]
    if of_reference.empty or of_reference["embedder"].value_counts().max() < FEWEST_FACES:
        return None
    embedder = of_reference["embedder"].mode().iloc[0]
    alike = embeddings[embeddings["embedder"] == embedder]
    vectors = {g: _stacked(alike.loc[alike["generation"] == g, "embedding"]) for g in panels}
    centre, axes_of_plane, share = principal_plane(vectors[reference])
    flat = {g: (v - centre) @ axes_of_plane.T if len(v) else np.empty((0, 2)) for g, v in vectors.items()}
    spread = {g: _spread(v) / (_spread(vectors[reference]) or math.nan) for g, v in vectors.items()}
    everything = np.concatenate(list(flat.values()))
    reach = 1.06 * float(np.abs(everything).max() or 1.0)
    rng = np.random.default_rng(0)
    behind = _some(flat[reference], rng)
    dots = {g: _some(places, rng) for g, places in flat.items()}

    def draw(axes: Axes, g: int) -> Sequence[str]:
        axes.plot(*behind.T, linestyle="none", marker="o", markersize=1.6, color=MUTED, alpha=0.55, markeredgewidth=0)
        if g != reference:
            axes.plot(
                *dots[g].T, linestyle="none", marker="o", markersize=1.9, color=DATA, alpha=0.8, markeredgewidth=0
            )
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[])
        _frame(axes)
        return _n(len(flat[g]), "face"), f"spread {percent(spread[g])}" if len(flat[g]) >= FEWEST_FACES else ""

    table = pd.DataFrame(
        [
            {
                "generation": g,
                "n_faces": len(flat[g]),
                "mean_x": float(flat[g][:, 0].mean()) if len(flat[g]) else math.nan,
                "mean_y": float(flat[g][:, 1].mean()) if len(flat[g]) else math.nan,
                "spread": spread[g],
            }
            for g in panels
        ]
    )
    rule = (
        f"Faces as {clean(embedder)} describes them, on the two axes along which those of {_named(reference)} differ "
        f"most (principal components fitted on {_named(reference)} alone, the same axes for all; they hold "
        f"{percent(share)} of its variance). Grey: {_named(reference)}; at most {MAX_DOTS} faces a panel, drawn by "
        f"chance. Spread: root of the total variance over all dimensions, against that of {_named(reference)}; "
        f"given from {FEWEST_FACES} faces on. Near on a map of two axes need not be near in all."
    )
    return _map("map-faces", "Where faces lie among one another", rule, panels, draw, table)


def principal_plane(vectors: Floats) -> tuple[Floats, Floats, float]:
    """Mean (d,), the two first principal axes (2, d) and their share of the variance, of vectors (n, d), n >= 2.

    The sign of an axis is fixed: its largest entry is positive.
    """
    centre = vectors.mean(axis=0)
    _, sizes, axes = np.linalg.svd(vectors - centre, full_matrices=False)
    axes = np.vstack([axes[:2], np.zeros((2 - min(2, len(axes)), vectors.shape[1]))])
    signs = np.sign(axes[np.arange(2), np.abs(axes).argmax(axis=1)])
    total = float((sizes**2).sum())
    return centre, axes * signs[:, np.newaxis], float((sizes[:2] ** 2).sum()) / total if total > 0 else math.nan


def _stacked(column: pd.Series) -> Floats:
    return np.stack(column.to_list()).astype(np.float64) if len(column) else np.empty((0, 0))


def _spread(vectors: Floats) -> float:
    """Root of the total variance of vectors (n, d), unbiased in n; NaN below ``FEWEST_FACES``."""
    return math.sqrt(float(vectors.var(axis=0, ddof=1).sum())) if len(vectors) >= FEWEST_FACES else math.nan


def _some(places: Floats, rng: np.random.Generator) -> Floats:
    return places if len(places) <= MAX_DOTS else places[np.sort(rng.permutation(len(places))[:MAX_DOTS])]


# --------------------------------------------------------------------------- fingers


def finger_map(hands: pd.DataFrame, panels: Sequence[int]) -> Map | None:
    """How many separate digits the counted hands have; None where no hand was counted.

    ``hands``: generation, finger_state, finger_count, finger_fused_pairs.
    """
    ok = hands[hands["finger_state"] == "ok"]
    counted = {g: ok[ok["generation"] == g] for g in panels}
    shares = {g: digit_shares(rows["finger_count"].to_numpy(np.float64)) for g, rows in counted.items()}
    fused = {g: int((rows["finger_fused_pairs"] > 0).sum()) for g, rows in counted.items()}
    if not any(map(len, counted.values())):
        return None
    drawn = [g for g in panels if len(counted[g]) >= FEWEST_HANDS]
    highest = max((float(shares[g].max()) for g in drawn), default=1.0)

    def draw(axes: Axes, g: int) -> Sequence[str]:
        digits = np.arange(MOST_DIGITS + 1)
        if g in drawn:
            axes.bar(digits, shares[g], width=0.72, color=DATA)
        if g in drawn and panels[0] in drawn and g != panels[0]:
            axes.stairs(shares[panels[0]], np.arange(MOST_DIGITS + 2) - 0.5, color=INK, linewidth=0.7)
        axes.set(xlim=(-0.7, MOST_DIGITS + 0.7), ylim=(0, 1.05 * highest), yticks=[])
        axes.set_xticks(digits, [*map(str, digits[:-1]), f"{MOST_DIGITS}+"], size=5.2)
        axes.tick_params(axis="x", length=0, pad=1.5)
        axes.spines["left"].set_visible(False)
        return "", _n(len(counted[g]), "hand"), f"{fused[g]} with fused"

    table = pd.DataFrame(
        [
            {
                "generation": g,
                "n_hands": int((hands["generation"] == g).sum()),
                "n_counted": len(counted[g]),
                **{
                    f"digits_{n}{'_or_more' * (n == MOST_DIGITS)}": round(float(share) * len(counted[g]))
                    for n, share in enumerate(shares[g])
                },
                "n_fused": fused[g],
            }
            for g in panels
        ]
    )
    rule = (
        "Hands by the number of separate digits counted in their pixels, as shares of the hands that could be counted; "
        f"fused fingers count once; bars are drawn from {FEWEST_HANDS} counted hands on. "
        + (f"The line: {_named(panels[0])}. " if panels[0] in drawn else "")
        + (f"The scale is the same in every panel, up to {percent(highest)}." if drawn else "")
    )
    return _map("map-fingers", "How many fingers hands have", rule, panels, draw, table)


def digit_shares(counts: Floats) -> Floats:
    """Share of hands with 0, 1, ... digits, float64 (MOST_DIGITS + 1,); zeros where no hand was counted."""
    found = np.bincount(np.clip(counts, 0, MOST_DIGITS).astype(np.intp), minlength=MOST_DIGITS + 1)
    return np.asarray(found / max(len(counts), 1), dtype=np.float64)


# --------------------------------------------------------------------------- panels


def _map(name: str, title: str, rule: str, panels: Sequence[int], draw: Draw, table: pd.DataFrame) -> Map:
    with _style(name):
        figure, lines = _figure_of_panels(panels, draw)
        said = "; ".join(f"{_named(g)}: {', '.join(filter(None, of))}" for g, of in zip(panels, lines, strict=True))
        alternative = f"{title}. {said}."
        files = ChartFiles(_svg(figure, alternative).decode(), _png(figure, alternative), table.to_csv(index=False))
    return Map(name, title, rule, alternative, files, table)


def _figure_of_panels(panels: Sequence[int], draw: Draw) -> tuple[Figure, list[Sequence[str]]]:
    n_rows = -(-len(panels) // PANELS_A_ROW)
    n_columns = -(-len(panels) // n_rows)
    side = min(_WIDEST_PANEL_PT, (PAGE_PT - 2 * _MARGIN_PT + _GAP_PT) / n_columns - _GAP_PT)
    row_pt = _HEAD_PT + side + _FOOT_PT
    height = n_rows * row_pt + 4
    figure = _figure(PAGE_PT, height)
    lines = []
    for index, g in enumerate(panels):
        row, column = divmod(index, n_columns)
        left = _MARGIN_PT + column * (side + _GAP_PT)
        bottom = height - 2 - row * row_pt - _HEAD_PT - side
        axes = _axes(figure, (left, bottom, side, side), f"panel-{index}")
        below = draw(axes, g)
        _say(figure, left + side / 2, bottom + side + 4, _named(g), weight="bold", ha="center", size=6.6)
        for nth, line in enumerate(below):
            _say(figure, left + side / 2, bottom - 8 - 7.2 * nth, line, color=MUTED, ha="center", size=6)
        lines.append(below)
    return figure, lines


def _frame(axes: Axes) -> None:
    axes.spines[:].set(visible=True, color=GRID, linewidth=0.6)
    axes.set_facecolor(PAPER)


def _named(g: int) -> str:
    return "the reference" if g == REFERENCE else f"generation {generation(g)}"


def _n(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
