"""What a measurement found, and the writing of it: the files of the contract under ``<run>/measures/``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from decay.erosion import Ranking, Verdict
from decay.files import csv_text, move_files, scratch_folder
from decay.tables import Tables
from decay.traits import TraitSeries, family_word
from reports.charts import write_charts
from reports.page import write_page

FORMAT_VERSION = 1
"""1: the first contract. The same number stands in ``verdict.json`` and ``run.json``."""


@dataclass(frozen=True)
class Results:
    """``traits``: traits.csv; ``erosion``: erosion.csv; ``verdict``: verdict.json; ``run``: run.json."""

    tables: Tables
    traits: pd.DataFrame
    erosion: pd.DataFrame
    verdict: Mapping[str, Any]
    run: Mapping[str, Any]


def erosion_table(series: Sequence[TraitSeries], ranking: Ranking, order: Sequence[str]) -> pd.DataFrame:
    """``erosion.csv``: one row per trait, the eroded ones first in their order, then by what can be said of them.

    ``onset_high`` may be ``inf``: not within the generations that there are.
    """
    places = {name: place for place, name in enumerate(order, start=1)}
    states = ("eroded", "cannot_tell", "held", "not_rankable", "not_measured")
    rows = [_erosion_row(s, ranking, places.get(s.trait.name)) for s in series]
    rows.sort(key=lambda row: (row["rank"] or len(rows) + states.index(row["verdict"]), row["trait"]))
    frame = pd.DataFrame.from_records(rows)
    frame["rank"] = frame["rank"].astype("Int64")
    return frame


def _erosion_row(series: TraitSeries, ranking: Ranking, rank: int | None) -> dict[str, Any]:
    onset = ranking.onsets[series.trait.name]
    return {
        "trait": series.trait.name,
        "label": series.trait.label,
        "family": family_word(series.trait.name),
        "group": series.family.group,
        "rank": rank,
        "onset_generation": onset.value,
        "onset_low": onset.low,
        "onset_high": onset.high,
        "half_life_generations": onset.half_life_generations,
        "p_eroded": onset.p_eroded,
        "p_first": onset.p_first,
        "smallest_detectable": onset.smallest_detectable,
        "margin": ranking.rule.margin,
        "verdict": onset.state,
        "embedder": series.embedder,
    }


def verdict_record(verdict: Verdict, reference: str) -> dict[str, Any]:
    """``verdict.json``. A family here is one of eyes, hands, face, light, image: the answer a person wants."""
    group, trait = verdict.first_group, verdict.first_trait
    return {
        "format_version": FORMAT_VERSION,
        "first_family": {"family": group[0], "p_first": group[1], "onset": group[2]} if group else None,
        "first": {"trait": trait[0], "p_first": trait[1], "onset": trait[2]} if trait else None,
        "order": list(verdict.order),
        "ties": [list(names) for names in verdict.ties],
        "not_rankable": list(verdict.not_rankable),
        "not_measured": list(verdict.not_measured),
        "p_families": dict(verdict.p_families),
        "sentence": verdict.sentence,
        "reference": reference,
    }


def publish(results: Results, folder: Path) -> None:
    """Write every file of the contract: all of them aside, then each renamed; earlier files stand until that moment.

    Raises OutputError when the disk is full or the folder read-only.
    """
    with scratch_folder(folder, folder) as scratch:
        for stem, table in results.tables.named().items():
            # Through memory: pyarrow's own file handle, left open on a full disk, can crash the interpreter at its end.
            (scratch / f"{stem}.parquet").write_bytes(table.to_parquet(index=False))
        for stem, frame in (("traits", results.traits), ("erosion", results.erosion)):
            (scratch / f"{stem}.csv").write_text(csv_text(frame), encoding="utf-8")
        for stem, record in (("verdict", results.verdict), ("run", results.run)):
            (scratch / f"{stem}.json").write_text(to_json(record), encoding="utf-8", errors="backslashreplace")
        write_charts(results.traits, results.erosion, results.verdict, scratch / "charts")
        write_page(results.traits, results.erosion, results.verdict, results.run, scratch / "report.html")
        move_files(scratch, folder)


def to_json(record: Mapping[str, Any]) -> str:
    """Indented JSON; numbers that are NaN or infinite become null, paths become text."""
    return json.dumps(_json_ready(record), indent=2, ensure_ascii=False, default=str, allow_nan=False) + "\n"


def _json_ready(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_ready(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
