"""Reports of measured runs: the page, the same as Markdown, and printed; of one run, or of several laid together.

Charts are drawn anew from the tables, never taken from the run's folder: what a page holds as markup must be our own.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from decay.arms import check_comparable, load_arms
from decay.errors import DecayError
from decay.files import check_folder, csv_text, move_files, run_lock, scratch_folder, write_bytes, write_text
from decay.printing import find_browser, print_page
from decay.settings import ReportForm
from decay.storage import place
from decay.tables import Tables, load_tables
from decay.verdict import Finding, damaged, names_of, read_finding
from decay.xray import open_examples, open_strips
from reports.arms_page import ArmTables, arms_by_trait, render_arms_page
from reports.charts import SUFFIXES, chart_name, write_charts
from reports.course import courses
from reports.maps import maps_section
from reports.markdown import render_arms_markdown, render_markdown
from reports.overlay import write_arms_charts
from reports.page import OVERVIEW, chart_files, render_page
from reports.tails import examples_shown, tails_section
from reports.words import clean

Progress = Callable[[str, int, int], None]
"""(what, done, of how many)"""


def write_report(
    runs: Sequence[Path], form: ReportForm = ReportForm.HTML, out: Path | None = None, progress: Progress | None = None
) -> Path:
    """Write the report of one measured run, or of several side by side, and return the file.

    ``out``: the file; by default ``report.<form>`` under the run's ``measures/``, the charts beside it. Raises
    DecayError where a run was not measured, several cannot be compared, or the file cannot be written.
    """
    if form is ReportForm.PDF:
        find_browser()  # the cheap thing that can fail goes first
    if out is not None:
        check_folder(out.parent)
    if len(runs) > 1:
        return _report_of_several(runs, form, out, progress)
    if out is None:
        return _report_beside_tables(runs[0], form, progress)
    with _scratch() as scratch:
        return _report_of_one(runs[0], form, out, scratch, progress)


def _report_beside_tables(run: Path, form: ReportForm, progress: Progress | None) -> Path:
    """The report where ``measure`` leaves it, and its charts, as PDF too where it is one."""
    read_finding(run)  # before the lock, which would make a folder
    folder = run / "measures"
    with run_lock(folder), scratch_folder(folder, folder) as scratch:
        _report_of_one(run, form, scratch / f"report.{form}", scratch, progress)
        move_files(scratch, folder)
    return folder / f"report.{form}"


def _report_of_one(run: Path, form: ReportForm, out: Path, scratch: Path, progress: Progress | None) -> Path:
    found = read_finding(run)
    if form is ReportForm.MD:
        inside = out.parent == scratch
        charts = "charts" if inside else os.path.relpath((run / "measures" / "charts").resolve(), out.parent.resolve())
        write_text(out, render_markdown(found.traits, found.erosion, found.verdict, found.run, charts))
        return out
    tables = _tables(run)
    suffixes = (*SUFFIXES, "pdf") if form is ReportForm.PDF else SUFFIXES
    write_charts(found.traits, found.erosion, found.verdict, scratch / "charts", suffixes, progress)
    _write_page(page_of(found, tables, run, scratch / "charts"), form, out)
    return out


def page_of(found: Finding, tables: Tables, run: Path, charts: Path) -> str:
    """The page of one run, with its charts as they lie in the folder ``charts``. Opens the run's pictures."""
    settings = found.run.get("settings", {})
    reference = settings.get("reference")
    pictures = found.run.get("pictures")  # where they lie, if not beside the results
    texts = {chart_name(clean(name)): _numbers(part) for name, part in found.traits.groupby("trait", sort=False)}
    in_order = _in_page_order(found)
    texts[OVERVIEW] = csv_text(_overview_numbers(found, in_order))
    named = tables.named()
    lies_in = place(str(pictures)) if pictures else run
    elsewhere = Path(reference) if reference else None
    examples = open_examples(lies_in, tables, examples_shown(found.tails), elsewhere)
    return render_page(
        found.traits,
        found.erosion,
        found.verdict,
        found.run,
        chart_files(charts, texts),
        strips=open_strips(
            lies_in,
            tables,
            in_order,
            int(settings.get("seed", 0)),
            elsewhere,
            _named_first(found.verdict),
        ),
        maps=maps_section(named["images"], named["eyes"], named["hands"], named["embeddings"]),
        tails=tails_section(found.tails, found.verdict, examples),
    )


def _overview_numbers(found: Finding, onsets: pd.DataFrame) -> pd.DataFrame:
    """What the overview shows: for each trait and generation its retention, and the trait's row of erosion.csv."""
    shown = [name for name in ("generation", "retention", "retention_low", "retention_high") if name in found.traits]
    rows = onsets.merge(found.traits[["trait", *shown]], on="trait", how="left", validate="one_to_many")
    first = [name for name in ("trait", "label") if name in onsets]
    return rows[[*first, *shown, *onsets.columns.drop(first)]]


def _in_page_order(found: Finding) -> pd.DataFrame:
    places = {c.trait: place for place, c in enumerate(courses(found.traits, found.erosion))}
    return found.erosion.sort_values("trait", key=lambda names: names.map(clean).map(places), kind="stable")


def _named_first(verdict: Mapping[str, Any]) -> str | None:
    """The trait that the verdict names as the first; empty where it names a family alone, None where neither."""
    if first := verdict.get("first"):
        return str(first["trait"])
    return "" if verdict.get("first_family") else None


def _report_of_several(runs: Sequence[Path], form: ReportForm, out: Path | None, progress: Progress | None) -> Path:
    if out is None:
        raise DecayError(f"Expected to be told where the report of {len(runs)} runs goes. Name it: --out report.{form}")
    names = names_of(runs)
    check_comparable(load_arms(runs))
    found = [read_finding(run) for run in runs]
    arms = [
        ArmTables(name, each.traits, each.erosion, each.verdict, each.run)
        for name, each in zip(names, found, strict=True)
    ]
    if form is ReportForm.MD:
        write_text(out, render_arms_markdown(arms))
        return out
    with _scratch() as scratch:
        charts = scratch / "charts"
        write_arms_charts(arms_by_trait(arms), arms[0].reference, charts, progress)
        _write_page(render_arms_page(arms, chart_files(charts, _arms_texts(arms))), form, out)
    return out


def _arms_texts(arms: Sequence[ArmTables]) -> dict[str, str]:
    """The rows of every trait, of all runs, as CSV by ``chart_name``."""
    return {
        chart_name(pair[0][1].trait): _numbers(
            pd.concat([_rows_of(arm, c.trait) for arm, (_, c) in zip(arms, pair, strict=True)])
        )
        for pair in arms_by_trait(arms)
    }


def _numbers(rows: pd.DataFrame) -> str:
    """Rows of traits.csv as CSV, less what is the same in each and a third of their length."""
    return csv_text(rows.drop(columns=["source", "limits"], errors="ignore"))


def _rows_of(arm: ArmTables, trait: str) -> pd.DataFrame:
    rows = arm.traits[arm.traits["trait"].map(clean) == trait]
    return rows.assign(run=arm.name)[["run", *rows.columns]]


def _write_page(page: str, form: ReportForm, out: Path) -> None:
    if form is ReportForm.HTML:
        write_text(out, page)
        return
    with _scratch() as scratch:
        html, pdf = scratch / "report.html", scratch / "report.pdf"
        html.write_text(page, encoding="utf-8")
        print_page(html, pdf)
        write_bytes(out, pdf.read_bytes())


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _tables(run: Path) -> Tables:
    try:
        return load_tables(run / "measures")
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise damaged(run, error) from error
