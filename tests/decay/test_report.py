"""`decay report`: the page, Markdown and PDF of one run and of several; what a page that cannot be made costs."""

from __future__ import annotations

import base64
import io
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import decay
from decay.cli import app
from decay.errors import DecayError
from decay.notebook import MeasuredRun
from decay.printing import BROWSERS, find_browser
from decay.report import page_of, write_report
from decay.results import Results, publish
from decay.settings import ReportForm
from decay.tables import load_tables
from decay.verdict import Finding, read_finding
from reports.charts import write_charts

RUNNER = CliRunner()
SHOWN = ("catchlight_presence", "face_vendi", "iris_colour_spread")


@pytest.fixture
def run(arms: Mapping[str, Path], tmp_path: Path) -> Path:
    """A measured run of three traits, so that drawing it takes a moment."""
    return few_traits(arms["fed"], tmp_path / "fed")


def few_traits(run: Path, copy: Path) -> Path:
    shutil.copytree(run, copy)
    for name in ("traits.csv", "erosion.csv"):
        frame = pd.read_csv(copy / "measures" / name)
        frame[frame["trait"].isin(SHOWN)].to_csv(copy / "measures" / name, index=False)
    return copy


def test_the_report_of_a_run_lies_beside_its_tables_with_its_charts(run: Path) -> None:
    before = {path.name: path.read_bytes() for path in (run / "measures").glob("*.parquet")}
    result = RUNNER.invoke(app, ["report", str(run)])
    assert result.exit_code == 0, result.output
    page = (run / "measures" / "report.html").read_text(encoding="utf-8")
    assert all(f'id="trait-{name}"' in page for name in SHOWN)
    assert 'id="strips"' in page
    assert 'id="maps"' in page
    assert {path.stem for path in (run / "measures" / "charts").iterdir()} == {"overview", *SHOWN}
    assert {path.name: path.read_bytes() for path in (run / "measures").glob("*.parquet")} == before
    assert not list(run.rglob(".aside-*"))


def test_the_overviews_numbers_are_those_of_every_cell(run: Path) -> None:
    write_report([run])
    page = (run / "measures" / "report.html").read_text(encoding="utf-8")
    (coded,) = re.findall(r'download="overview.csv" href="data:text/csv;charset=utf-8;base64,([^"]*)"', page)
    cells = pd.read_csv(io.BytesIO(base64.b64decode(coded)))
    traits = pd.read_csv(run / "measures" / "traits.csv")
    key = ["trait", "generation"]
    assert len(cells) == len(traits)
    both = cells.merge(traits, on=key, suffixes=("", "_table"))
    for name in ("retention", "retention_low", "retention_high"):
        assert both[name].equals(both[f"{name}_table"])
    assert {"onset_generation", "onset_low", "onset_high", "verdict"} <= set(cells)


def test_markdown_points_at_the_charts_from_where_it_lies(run: Path, tmp_path: Path) -> None:
    inside = write_report([run], ReportForm.MD)
    assert "](charts/overview.svg)" in inside.read_text(encoding="utf-8")
    outside = write_report([run], ReportForm.MD, tmp_path / "notes" / "fed.md")
    assert "](../fed/measures/charts/overview.svg)" in outside.read_text(encoding="utf-8")


@pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="no Chromium is installed")
def test_a_pdf_is_printed_and_its_charts_hold_their_fonts(run: Path) -> None:
    written = write_report([run], ReportForm.PDF)
    assert written.read_bytes().startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", written.read_bytes())) >= 2
    assert b"/FontFile2" in (run / "measures" / "charts" / f"{SHOWN[0]}.pdf").read_bytes()


def test_without_a_browser_a_pdf_is_refused_before_anything_is_drawn(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DecayError, match="Chromium, and none was found"):
        find_browser()
    result = RUNNER.invoke(app, ["report", str(run), "--format", "pdf"])
    assert result.exit_code == 1
    assert not (run / "measures" / "report.pdf").exists()


def test_several_runs_are_laid_over_one_another(run: Path, arms: Mapping[str, Path], tmp_path: Path) -> None:
    other = few_traits(arms["mixed"], tmp_path / "mixed")
    out = tmp_path / "both.html"
    result = RUNNER.invoke(app, ["report", str(run), str(other), "--out", str(out)])
    assert result.exit_code == 0, result.output
    page = out.read_text(encoding="utf-8")
    assert "What eroded first in 2 runs" in page
    uri = re.search(r'download="face_vendi.csv" href="data:[^,]*,([^"]*)"', page)
    assert uri is not None
    table = base64.b64decode(uri[1]).decode()
    assert table.startswith("run,")
    assert {line.split(",")[0] for line in table.splitlines()[1:]} == {"fed", "mixed"}


def test_several_runs_need_a_place_and_must_be_comparable(run: Path, arms: Mapping[str, Path]) -> None:
    result = RUNNER.invoke(app, ["report", str(run), str(arms["mixed"])])
    assert result.exit_code == 1
    assert "--out report.html" in result.output
    record = run / "measures" / "run.json"
    record.write_text(record.read_text().replace('"reader": "', '"reader": "other'))
    result = RUNNER.invoke(app, ["report", str(run), str(arms["mixed"]), "--out", str(run / "both.html")])
    assert result.exit_code == 1
    assert "different versions of the detectors" in result.output
    assert not (run / "both.html").exists()


def test_what_was_not_measured_has_no_report(tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["report", str(tmp_path)])
    assert result.exit_code == 1
    assert "decay measure" in result.output
    assert not list(tmp_path.iterdir())
    assert RUNNER.invoke(app, ["report", str(tmp_path), "--format", "docx"]).exit_code == 2


def test_formulas_and_markup_in_a_run_stay_text(run: Path, tmp_path: Path) -> None:
    found = read_finding(run)
    hostile = '=HYPERLINK("http://x")<img src=x onerror=alert(1)>'
    found = replace(found, traits=found.traits.assign(label=hostile))
    write_charts(found.traits, found.erosion, found.verdict, tmp_path / "charts")
    page = page_of(found, load_tables(run / "measures"), run, tmp_path / "charts")
    assert "<img src=x" not in page
    uri = re.search(rf'download="{SHOWN[0]}.csv" href="data:[^,]*,([^"]*)"', page)
    assert uri is not None
    assert '"\'=HYPERLINK(""http' in base64.b64decode(uri[1]).decode()


def test_a_page_that_cannot_be_made_costs_no_table(run: Path) -> None:
    found, tables = read_finding(run), load_tables(run / "measures")
    # `courses` refuses two rows of one generation; nothing that `measure` writes has them
    twice = pd.concat([found.traits, found.traits.head(1)])
    write_report([run])
    shutil.rmtree(run / "measures" / "charts")
    for path in (run / "measures").glob("*.parquet"):
        path.unlink()
    with pytest.raises(DecayError, match="every table is written, but charts and page could not be made"):
        publish(Results(tables, twice, found.erosion, found.erosion, found.verdict, found.run), run)
    assert {path.stem for path in (run / "measures").glob("*.parquet")} == set(tables.named())
    assert (run / "measures" / "traits.csv").is_file()
    assert not (run / "measures" / "report.html").exists()  # the old page told of other tables
    assert not (run / "measures" / "charts").exists()


def test_a_run_is_loaded_for_notebooks(run: Path) -> None:
    loaded = decay.load(str(run))
    assert isinstance(loaded, MeasuredRun)
    found = read_finding(run)
    assert isinstance(found, Finding)
    pd.testing.assert_frame_equal(loaded.traits, found.traits)
    pd.testing.assert_frame_equal(loaded.erosion, found.erosion)
    assert str(loaded) == loaded.verdict["sentence"]
    assert len(loaded.images) == 48
    assert set(loaded.eyes["side"]) == {"image_left", "image_right"}
    assert len(loaded.embeddings) == len(loaded.faces) > 0
    assert loaded.settings["settings"]["n_resamples"] == 60


def test_a_notebook_draws_what_the_report_draws(run: Path, arms: Mapping[str, Path]) -> None:
    loaded, other = decay.load(run), decay.load(arms["mixed"])
    (value,) = (axes for axes in loaded.plot("face_vendi").axes if axes.get_label() == "value")
    rows = loaded.traits[loaded.traits["trait"] == "face_vendi"]
    (line,) = (line for line in value.lines if line.get_gid() == "value")
    assert list(line.get_ydata()) == list(rows["value"])
    names = [text.get_text() for text in loaded.plot("face_vendi", [other]).legends[0].get_texts()]
    assert names == ["fed", "mixed"]
    assert any(axes.get_label() == "retention" for axes in loaded.plot().axes)
    with pytest.raises(DecayError, match=r"got 'face_vendy'.*catchlight_presence, face_vendi"):
        loaded.plot("face_vendy")


def test_a_run_that_was_not_measured_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(DecayError, match="expected a measured run"):
        decay.load(tmp_path)
