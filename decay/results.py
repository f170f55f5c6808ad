"""What a measurement found, and the writing of it: the files of the contract under ``<run>/measures/``."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from decay.compare import Comparison
from decay.erosion import NEVER, Ranking, Verdict, first_below, judge, rank
from decay.errors import DecayError
from decay.files import csv_text, move_files, scratch_folder, to_json
from decay.settings import FORMAT_VERSION, MeasureSettings, Rule
from decay.tables import FEATURES, Tables, write_image_vectors
from decay.traits import TraitSeries, family_word, traits_table, traits_to_retentions
from decay.unchanged import RUN_RECORD, files_digests, record_digest
from decay.verdict import Finding

if TYPE_CHECKING:
    from reports.charts import DrawAll

N_NAMED = 3
"""Traits that the flat rule's sentence names."""


@dataclass(frozen=True)
class Results:
    """``traits``: traits.csv; ``erosion``: erosion.csv; ``order``: order.csv; ``verdict``: verdict.json; ``run``:
    run.json; ``more``: other tables, by their file's stem."""

    tables: Tables
    traits: pd.DataFrame
    erosion: pd.DataFrame
    order: pd.DataFrame
    verdict: Mapping[str, Any]
    run: Mapping[str, Any]
    more: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def finding(self) -> Finding:
        """What the page and the terminal tell."""
        return Finding(self.traits, self.erosion, self.verdict, self.run, self.more.get("tails"))


def draw_conclusion(
    tables: Tables,
    series: Sequence[TraitSeries],
    generations: Sequence[int],
    settings: MeasureSettings,
    reference: str,
) -> Results:
    """Traits -> what is written of them; ``run`` is left to whoever measured. ``reference``: in words."""
    retentions = traits_to_retentions(series)
    ranking = rank(retentions, generations, settings.rule)
    verdict = judge(retentions, ranking, generations, settings.extrapolate)
    table = erosion_table(series, ranking, verdict.order)
    record = verdict_record(verdict, reference, settings.rule)
    if control := next((s.control for s in series if s.control), ""):
        kept = np.isfinite([s.retention for s in series]).any(axis=0)
        record["control"] = {"name": control, "generations": [g for g, k in zip(generations, kept, strict=True) if k]}
        record["sentence"] += f" The drift of the control arm {control} is taken off."
    if settings.flat_drop is not None:
        table["onset_flat"] = table["trait"].map(flat_onsets(series, generations, settings.flat_drop))
        record["flat_rule"] = {"drop": settings.flat_drop, "sentence": flat_sentence(table, settings.flat_drop)}
    order = order_table(verdict, ranking)
    return Results(tables, traits_table(series, ranking, generations), table, order, record, run={})


def flat_onsets(series: Sequence[TraitSeries], generations: Sequence[int], drop: float) -> dict[str, float]:
    """Onset by public trackers' flat rule, see ``erosion.first_below``; inf for never.

    NaN where the rule means nothing: for traits that are healthy when low, and for those that can only drift.
    """
    falls = {s.trait.name: s.trait.kind == "level" and s.trait.direction != "lower" for s in series}
    return {s.trait.name: first_below(s.value, generations, drop) if falls[s.trait.name] else math.nan for s in series}


def flat_sentence(erosion: pd.DataFrame, drop: float) -> str:
    """What the flat rule says, beside the verdict and for comparison only."""
    fallen = erosion[(erosion["onset_flat"] < NEVER)].sort_values(["onset_flat", "trait"])
    rule = f"By the flat rule (first value below {1 - drop:g} x generation 0; it has no interval; for comparison only)"
    if fallen.empty:
        return f"{rule} nothing fell."
    first = fallen[fallen["onset_flat"] == fallen["onset_flat"].min()]
    named = ", ".join(str(label) for label in first["label"].iloc[:N_NAMED])
    more = f" and {len(first) - N_NAMED} more" if len(first) > N_NAMED else ""
    return (
        f"{rule} {len(fallen)} of {int(erosion['onset_flat'].notna().sum())} traits fell, "
        f"first at generation {first['onset_flat'].iloc[0]:.0f}: {named}{more}."
    )


def erosion_table(series: Sequence[TraitSeries], ranking: Ranking, order: Sequence[str]) -> pd.DataFrame:
    """``erosion.csv``: one row per trait, the eroded ones first in their order, then by what can be said of them.

    ``onset_high`` may be ``inf``: not within the generations that there are.
    """
    places = {name: place for place, name in enumerate(order, start=1)}
    states = ("eroded", "cannot_tell", "held", "not_rankable", "not_measured")
    rows = [_erosion_row(s, ranking, places.get(s.trait.name)) for s in series]
    n = len(rows)  # inside the sort a list is empty
    rows.sort(key=lambda row: (row["rank"] or n + states.index(row["verdict"]), row["trait"]))
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
        "noise_floor": series.noise_floor,
        "repeat_loss": series.repeat_loss,
        "repeat_worst": series.repeat_worst,
        "margin": ranking.rule.margin,
        "verdict": onset.state,
        "embedder": series.embedder,
    }


def order_table(verdict: Verdict, ranking: Ranking) -> pd.DataFrame:
    """``order.csv``: one row for each ordered pair of families that may have fallen, then of eroded traits."""
    rows = [
        (level, earlier, later, found.p_before, found.p_same)
        for level, pairs in (("family", verdict.before_families), ("trait", ranking.before))
        for (earlier, later), found in pairs.items()
    ]
    return pd.DataFrame(rows, columns=["level", "earlier", "later", "p_before", "p_same"])


def verdict_record(verdict: Verdict, reference: str, rule: Rule) -> dict[str, Any]:
    """``verdict.json``. A family here is one of eyes, hands, face, light, image: the answer a person wants."""
    group, trait = verdict.first_group, verdict.first_trait
    return {
        "format_version": FORMAT_VERSION,
        "first_family": {"family": group[0], "p_first": group[1], "onset": group[2]} if group else None,
        "first": {"trait": trait[0], "p_first": trait[1], "onset": trait[2]} if trait else None,
        "leaders": [{"trait": name, "p_first": share} for name, share in verdict.leaders],
        "order": list(verdict.order),
        "ties": [list(names) for names in verdict.ties],
        "undecided": list(verdict.undecided),
        "not_rankable": list(verdict.not_rankable),
        "not_measured": list(verdict.not_measured),
        "p_families": dict(verdict.p_families),
        "blind_families": list(verdict.blind),
        "nothing_left": asdict(verdict.nothing_left),
        "sentence": verdict.sentence,
        "reference": reference,
        "control": None,
        "rule": asdict(rule),
    }


def publish(results: Results, run: Path, draw_all: DrawAll | None = None) -> None:
    """Write every file of the contract under ``<run>/measures/``: all of them aside, then each renamed; earlier files
    stand until that moment. ``draw_all``: as for ``reports.charts.write_charts``.

    Raises OutputError when the disk is full or the folder read-only. Where the page cannot be made for any other reason
    the tables are written all the same, an older page goes, and a DecayError says so.
    """
    folder = run / "measures"
    fault: Exception | None = None
    with scratch_folder(folder, folder) as scratch:
        write_tables(results, scratch)
        try:
            _write_page(results, run, scratch, draw_all)
        except OSError:
            raise
        except Exception as error:  # a fault of ours in a drawing must not cost hours of reading
            fault = error
            shutil.rmtree(scratch / "charts", ignore_errors=True)
            (folder / "report.html").unlink(missing_ok=True)
        files = files_digests(scratch)  # by which the next measurement knows that nothing was altered since
        record = {**results.run, "files": files}
        write_record(scratch / RUN_RECORD, record | {"record": record_digest(record)})
        move_files(scratch, folder)
    if fault is not None:
        raise DecayError(
            f"{folder}: every table is written, but charts and page could not be made "
            f"({type(fault).__name__}: {fault}). For the verdict run: decay verdict {run}"
        ) from fault


def _write_page(results: Results, run: Path, folder: Path, draw_all: DrawAll | None) -> None:
    from decay.report import page_of  # noqa: PLC0415  what draws takes half a second to import
    from reports.charts import write_charts  # noqa: PLC0415

    write_charts(results.traits, results.erosion, results.verdict, folder / "charts", draw_all=draw_all)
    page = page_of(results.finding, results.tables, run, folder / "charts")
    (folder / "report.html").write_text(page, encoding="utf-8")


def write_tables(results: Results, folder: Path) -> None:
    """Every table and the verdict, without charts and page; ``folder`` must exist. Raises OSError."""
    for stem, table in results.tables.named().items():
        # Through memory: pyarrow's own file handle, left open on a full disk, can crash the interpreter at its end.
        (folder / f"{stem}.parquet").write_bytes(table.to_parquet(index=False))
    write_image_vectors(results.tables.images, folder / FEATURES)
    named = {"traits": results.traits, "erosion": results.erosion, "order": results.order, **results.more}
    for stem, frame in named.items():
        (folder / f"{stem}.csv").write_text(csv_text(frame), encoding="utf-8")
    write_record(folder / "verdict.json", results.verdict)


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """A JSON file of the contract. Raises OSError."""
    path.write_text(to_json(record), encoding="utf-8", errors="backslashreplace")


def publish_comparison(comparison: Comparison, folder: Path, figure: pd.DataFrame | None = None) -> list[str]:
    """Write compare.csv, compare_courses.csv, compare.json, compare.svg and compare.png as one set; gives their names.

    ``figure``: also figure.csv, figure.svg and figure.png, from ``decay.figure.figure_table``. Raises OutputError when
    the disk is full or the folder read-only; what stood there before stays then.
    """
    from reports.figure import write_figure  # noqa: PLC0415  as in _write_page
    from reports.panels import write_comparison_chart  # noqa: PLC0415

    record = comparison.record
    with scratch_folder(folder, folder) as scratch:
        for stem, frame in (("compare", comparison.table), ("compare_courses", comparison.courses), ("figure", figure)):
            if frame is not None:
                (scratch / f"{stem}.csv").write_text(csv_text(frame), encoding="utf-8")
        (scratch / "compare.json").write_text(to_json(record), encoding="utf-8", errors="backslashreplace")
        write_comparison_chart(comparison.courses, comparison.table, record, scratch / "compare")
        if figure is not None:
            write_figure(figure, scratch / "figure")
        names = sorted(path.name for path in scratch.iterdir())
        move_files(scratch, folder)
    return names
