"""A chart as a page shows it: the picture, its numbers to point at, its files to save, its small print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reports.charts import CHART_PT, SHARE_BOX, VALUE_BOX, chart_name, generation_span
from reports.course import Course, Floats, alternative, kept_text
from reports.inline import ChartFiles, Download, inline_svg
from reports.overlay import arms_alternative
from reports.words import NOTHING, clean, count, generation, number, percent


@dataclass(frozen=True)
class Column:
    """Where one generation stands in a chart, in per cent of its width, and its numbers in words."""

    width: str
    text: str


@dataclass(frozen=True)
class Frame:
    """Where the panels lie in a chart, in per cent of its width and height; the columns fill it from ``left``."""

    top: str
    height: str
    left: str
    columns: Sequence[Column]

    @property
    def longest(self) -> str:
        """The longest of the columns' texts: what stands below a chart gets as much room as this takes."""
        return max((column.text for column in self.columns), key=len, default="")

    @property
    def grid(self) -> str:
        """The columns' widths, as CSS has them."""
        return " ".join(f"{column.width}%" for column in self.columns)


@dataclass(frozen=True)
class Card:
    """One trait's chart. ``numbers``: rows of a table under ``heads``; ``courses``: one, or one for each run."""

    name: str
    courses: Sequence[Course]
    svg: Markup
    alternative: str
    frame: Frame
    downloads: Sequence[Download]
    heads: Sequence[str]
    numbers: Sequence[Sequence[str]]

    @property
    def course(self) -> Course:
        """The trait, as the first run has it."""
        return self.courses[0]


_HEADS = ("generation", "value", "interval", "retention", "measured")


def card(c: Course, reference: str, files: ChartFiles) -> Card:
    """The card of one trait in one run. ``reference``: what it is measured against, in words."""
    name = chart_name(c.trait)
    lines = [_line(c, nth) for nth in range(len(c.generations))]
    return Card(
        name=name,
        courses=[c],
        svg=inline_svg(files.svg, name),
        alternative=alternative(c, reference),
        frame=_frame(c.generations, [_said(c, line) for line in lines]),
        downloads=files.downloads(name),
        heads=_HEADS,
        numbers=lines,
    )


def arms_card(arms: Sequence[tuple[str, Course]], generations: Floats, files: ChartFiles, extra_pt: float) -> Card:
    """The card of one trait in several runs. ``extra_pt``: what the legend adds to the chart's height."""
    _, first = arms[0]
    name = chart_name(first.trait)
    by_generation = [
        [(arm, c, _line(c, nth)) for arm, c in arms for nth, g in enumerate(c.generations) if g == wanted]
        for wanted in generations
    ]
    said = [
        f"Generation {generation(g)}: " + "; ".join(f"{clean(arm)} {_value_text(c, line)}" for arm, c, line in lines)
        for g, lines in zip(generations, by_generation, strict=True)
    ]
    return Card(
        name=name,
        courses=[c for _, c in arms],
        svg=inline_svg(files.svg, name),
        alternative=arms_alternative(arms),
        frame=_frame(generations, said, extra_pt),
        downloads=files.downloads(name),
        heads=("run", *_HEADS),
        numbers=[(clean(arm), *line) for lines in by_generation for arm, _, line in lines],
    )


def _line(c: Course, nth: int) -> tuple[str, ...]:
    low, high = float(c.ci_low[nth]), float(c.ci_high[nth])
    return (
        generation(float(c.generations[nth])),
        number(float(c.value[nth])),
        f"{number(low)} to {number(high)}" if math.isfinite(low) and math.isfinite(high) else NOTHING,
        kept_text(float(c.retention[nth])),
        f"{count(c.n_measured[nth])} of {count(c.n_expected[nth])} ({percent(float(c.frac_measured[nth]))})",
    )


def _said(c: Course, line: Sequence[str]) -> str:
    return f"Generation {line[0]}: {_value_text(c, line)}, retention {line[3]}, measured {line[4]}"


def _value_text(c: Course, line: Sequence[str]) -> str:
    """``0.42 share (0.38 to 0.45)``, or that there is none."""
    if line[1] == NOTHING:
        return "not measured"
    return line[1] + (f" {c.unit}" if c.unit else "") + (f" ({line[2]})" if line[2] != NOTHING else "")


def _frame(generations: Floats, said: Sequence[str], extra_pt: float = 0.0) -> Frame:
    """The panels' place in a decay chart; borders between columns lie midway between two generations."""
    width, height = CHART_PT[0], CHART_PT[1] + extra_pt
    left, bottom, panel_width, panel_height = VALUE_BOX
    start, end = generation_span(generations)
    borders = [start, *((generations[1:] + generations[:-1]) / 2), end]
    scale = 100 * panel_width / width / (end - start)
    top = 100 * (height - extra_pt - bottom - panel_height) / height
    reach = 100 * (bottom + panel_height - SHARE_BOX[1]) / height
    columns = [
        Column(f"{scale * (after - before):.2f}", text)
        for before, after, text in zip(borders[:-1], borders[1:], said, strict=True)
    ]
    return Frame(f"{top:.2f}", f"{reach:.2f}", f"{100 * left / width:.2f}", columns)
