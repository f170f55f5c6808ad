"""Maps: where glints sit in the iris, where faces lie among one another, how many fingers hands have, by generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Map:
    """One map: a small panel for each generation, all to one scale.

    ``svg``: a chart file's text, for ``inline_svg``. ``rule``: how it was drawn, printed with it. ``table``: the
    numbers in it, one row for each panel.
    """

    name: str
    title: str
    rule: str
    alternative: str
    svg: str
    table: pd.DataFrame


@dataclass(frozen=True)
class MapsSection:
    """What ``templates/maps.html.j2`` shows as ``maps``. ``notes``: whole sentences on what could not be mapped."""

    maps: Sequence[Map]
    notes: Sequence[str] = ()


def maps_section(
    images: pd.DataFrame, eyes: pd.DataFrame, hands: pd.DataFrame, embeddings: pd.DataFrame
) -> MapsSection:
    """The maps of one run from its tables, as they stand under ``measures/``; the same tables, the same bytes."""
    raise NotImplementedError
