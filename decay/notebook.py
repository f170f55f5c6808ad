"""A measured run in a notebook or a script: plain pandas tables, the verdict, and charts as Matplotlib figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from decay.errors import DecayError
from decay.tables import Tables, load_tables
from decay.verdict import damaged, names_of, read_finding
from reports.charts import decay_chart, overview_chart
from reports.course import course
from reports.overlay import arms_chart
from reports.words import clean


@dataclass(frozen=True)
class MeasuredRun:
    """What ``decay measure`` wrote of a run.

    ``traits``: traits.csv, one row per generation and trait; ``erosion``: erosion.csv, one row per trait; ``verdict``
    and ``settings``: verdict.json and run.json. The subject tables (``images``, ``faces``, ``eyes``, ``hands``,
    ``embeddings``) are read when they are asked for.
    """

    folder: Path
    traits: pd.DataFrame = field(repr=False)
    erosion: pd.DataFrame = field(repr=False)
    verdict: Mapping[str, Any] = field(repr=False)
    settings: Mapping[str, Any] = field(repr=False)

    def __str__(self) -> str:
        return clean(self.verdict.get("sentence"))

    @cached_property
    def _tables(self) -> Tables:
        try:
            return load_tables(self.folder / "measures")
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise damaged(self.folder, error) from error

    @property
    def images(self) -> pd.DataFrame:
        """images.parquet: one row per picture; ``generation`` is -1 in rows of the reference folder."""
        return self._tables.images

    @property
    def faces(self) -> pd.DataFrame:
        """faces.parquet: one row per face."""
        return self._tables.named()["faces"]

    @property
    def eyes(self) -> pd.DataFrame:
        """eyes.parquet: one row per eye."""
        return self._tables.eyes

    @property
    def hands(self) -> pd.DataFrame:
        """hands.parquet: one row per hand."""
        return self._tables.hands

    @property
    def embeddings(self) -> pd.DataFrame:
        """embeddings.parquet: one row per face that was described; ``embedding``: float32 (n,)."""
        return self._tables.named()["embeddings"]

    def plot(self, trait: str = "overview", beside: Sequence[MeasuredRun] = ()) -> Figure:
        """The decay chart of a trait, or the overview of all; ``savefig`` writes SVG, PNG, or PDF with its fonts.

        ``beside``: other runs, laid over this one. Raises DecayError where a run has no such trait.
        """
        if trait == "overview":
            if beside:
                raise DecayError("The overview is of one run. Name a trait to lay runs over one another.")
            return overview_chart(self.traits, self.erosion, self.verdict)
        reference = clean(self.verdict.get("reference")) or "reference"
        if not beside:
            return decay_chart(*self._rows(trait), reference)
        runs = (self, *beside)
        named = zip(names_of([run.folder for run in runs]), runs, strict=True)
        return arms_chart([(name, course(*run._rows(trait))) for name, run in named], reference)

    def _rows(self, trait: str) -> tuple[pd.DataFrame, pd.Series | None]:
        rows = self.traits[self.traits["trait"] == trait]
        if rows.empty:
            names = ", ".join(sorted(set(self.traits["trait"].map(clean))))
            raise DecayError(f"{self.folder}: expected a trait of the run; got {trait!r}. It has: {names}.")
        eroded = self.erosion[self.erosion["trait"] == trait]
        return rows, None if eroded.empty else eroded.iloc[0]


def load(run: str | Path) -> MeasuredRun:
    """A measured run. Raises DecayError where it was not measured, or its files are damaged."""
    folder = Path(run)
    found = read_finding(folder)
    return MeasuredRun(folder, found.traits, found.erosion, found.verdict, found.run)
