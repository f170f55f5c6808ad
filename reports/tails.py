"""The tails on the page: the share of each cluster of the reference and each prompt group in every generation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports.words import NOTHING, clean, generation, percent

_WORDS = {"gone": "gone", "thinned": "fewer"}
"""States that claim something, as the page says them."""
MAX_ROWS = 30
"""Parts shown of each kind, the rarest; all of them are in tails.csv."""


@dataclass(frozen=True)
class TailsTable:
    """One kind of part. ``rows``: (name, what it is in the reference, a cell for each generation)."""

    title: str
    reference: str
    generations: Sequence[str]
    rows: Sequence[tuple[str, str, Sequence[str]]]


@dataclass(frozen=True)
class TailsSection:
    """``sentence``: what is said of the clusters, "" where nothing is."""

    sentence: str
    tables: Sequence[TailsTable]


_KINDS = (
    ("cluster", "Clusters of the reference, the rarest first: share of the pictures in each", "share_reference"),
    ("group", "Prompt groups, the smallest first: share of the pictures that can be read", "share_read_reference"),
)


def tails_section(tails: pd.DataFrame | None, verdict: Mapping[str, Any]) -> TailsSection | None:
    """``tails``: tails.csv. None where there is nothing to show."""
    if tails is None or not len(tails):
        return None
    tables = [_table(tails[tails["kind"] == kind], title, column) for kind, title, column in _KINDS]
    sentence = clean((verdict.get("tails") or {}).get("sentence"))
    return TailsSection(sentence, [table for table in tables if table.rows])


def _table(rows: pd.DataFrame, title: str, reference: str) -> TailsTable:
    generations = sorted(set(rows["generation"]))
    found = []
    for rarity in sorted(set(rows["rarity"]))[:MAX_ROWS]:
        own = rows[rows["rarity"] == rarity]
        by_generation = {row["generation"]: _cell(row) for _, row in own.iterrows()}
        cells = [by_generation.get(g, NOTHING) for g in generations]
        found.append((clean(own["part"].iloc[0]), percent(float(own[reference].iloc[0])), cells))
    return TailsTable(title, "reference", [generation(g) for g in generations], found)


def _cell(row: pd.Series) -> str:
    word = _WORDS.get(str(row["state"]), "")
    return f"{percent(float(row['share']))} {word}".strip()
