"""The tails on the page: the share of each cluster of the reference and each prompt group in every generation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports.strips import Crop
from reports.words import NOTHING, clean, generation, percent

_WORDS = {"gone": "gone", "thinned": "fewer"}
"""States that claim something, as the page says them."""
MAX_ROWS = 30
"""Parts shown of each kind, the rarest; all of them are in tails.csv."""


@dataclass(frozen=True)
class TailsCell:
    """One generation's share in words. ``claim``: ``gone``, ``thinned``, or "" where nothing is claimed."""

    text: str
    claim: str = ""


@dataclass(frozen=True)
class TailsRow:
    """One part. ``reference``: what it is there. ``picture``: an example, or None where none can be shown."""

    name: str
    reference: str
    cells: Sequence[TailsCell]
    picture: Crop | None = None


@dataclass(frozen=True)
class TailsTable:
    """One kind of part, a row for each."""

    title: str
    reference: str
    generations: Sequence[str]
    rows: Sequence[TailsRow]


@dataclass(frozen=True)
class TailsSection:
    """``sentence``: what is said of the clusters, "" where nothing is."""

    sentence: str
    tables: Sequence[TailsTable]


_KINDS = (
    ("cluster", "Clusters of the reference, the rarest first: share of the pictures in each", "share_reference"),
    ("group", "Prompt groups, the smallest first: share of the pictures that can be read", "share_read_reference"),
)


def tails_section(
    tails: pd.DataFrame | None, verdict: Mapping[str, Any], examples: Mapping[str, Crop] | None = None
) -> TailsSection | None:
    """``tails``: tails.csv. ``examples``: by the name of their picture. None where there is nothing to show."""
    sentence = clean((verdict.get("tails") or {}).get("sentence"))
    if tails is None or not (len(tails) or sentence):
        return None
    tables = [_table(tails[tails["kind"] == kind], title, column, examples or {}) for kind, title, column in _KINDS]
    return TailsSection(sentence, [table for table in tables if table.rows])


def examples_shown(tails: pd.DataFrame | None) -> list[str]:
    """The names of the pictures that stand for the parts that are shown."""
    if tails is None or "example" not in tails:
        return []
    shown = tails.loc[(tails["rarity"] <= MAX_ROWS) & tails["example"].notna(), "example"]
    return [str(name) for name in shown.unique() if name]


def _table(rows: pd.DataFrame, title: str, reference: str, examples: Mapping[str, Crop]) -> TailsTable:
    generations = sorted(set(rows["generation"]))
    found = []
    for rarity in sorted(set(rows["rarity"]))[:MAX_ROWS]:
        own = rows[rows["rarity"] == rarity]
        by_generation = {row["generation"]: _cell(row) for _, row in own.iterrows()}
        cells = [by_generation.get(g, TailsCell(NOTHING)) for g in generations]
        first = own.iloc[0]
        picture = examples.get(str(first.get("example", "")))
        found.append(TailsRow(clean(first["part"]), percent(float(first[reference])), cells, picture))
    return TailsTable(title, "reference", [generation(g) for g in generations], found)


def _cell(row: pd.Series) -> TailsCell:
    state = str(row["state"])
    word = _WORDS.get(state, "")
    return TailsCell(f"{percent(float(row['share']))} {word}".strip(), state if word else "")
