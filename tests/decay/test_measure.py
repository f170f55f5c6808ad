"""The whole way from a folder of pictures to the files of the contract, with the real detectors."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import decay
from decay.conclude import conclude
from decay.errors import DecayError
from decay.images import write_png
from decay.journal import Journal
from decay.lineage import load_lineage
from decay.measure import Measured, measure
from decay.phantom import Decay, Plan, Population, draw_face, make_lineage
from decay.read import hash_lineage, read_lineage
from decay.settings import MeasureSettings
from decay.workers.here import Here
from decay.workers.job import ReaderSpec
from decay.workers.task import start_reader
from detectors.registry import traits

SETTINGS = MeasureSettings(n_resamples=40)
VERDICT_KEYS = "format_version first_family first order ties not_rankable not_measured sentence"
CONTRACT = {
    "images": "generation image sha256 width height slot prompt group state n_faces n_hands",
    "faces": "generation image face box yaw_deg pitch_deg roll_deg",
    "eyes": "generation image face side iris_x_px iris_y_px iris_radius_px catchlight_state catchlight_clock_deg "
    "catchlight_rho catchlight_count",
    "hands": "generation image hand box",
    "embeddings": "generation image face embedder embedding",
}
TRAITS_COLUMNS = (
    "generation trait label unit direction n_expected n_measured frac_measured value ci_low ci_high retention "
    "retention_low retention_high"
)
EROSION_COLUMNS = (
    "trait family rank onset_generation onset_low onset_high half_life_generations p_first smallest_detectable verdict"
)
N_SLOTS, N_GENERATIONS = 9, 3


@pytest.fixture(scope="session")
def drawn_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine drawn people in three generations; from generation 1 on one and the same person nine times over."""
    root = tmp_path_factory.mktemp("runs") / "lineage"
    population = Population()
    for slot in range(N_SLOTS):
        person = population.sample_face(np.random.default_rng([3, slot]))
        pixels, _ = draw_face(person, 256, np.random.default_rng(slot))
        for generation in range(N_GENERATIONS):
            if generation and slot:
                continue
            write_png(_image(root, generation, slot), pixels)
    for generation in range(1, N_GENERATIONS):
        for slot in range(1, N_SLOTS):
            shutil.copy(_image(root, generation, 0), _image(root, generation, slot))
    (root / "gen_01" / "broken.png").write_text("not a picture")
    return root


def _image(root: Path, generation: int, slot: int) -> Path:
    folder = root / f"gen_{generation:02d}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{slot:03d}.png"


def _table_bytes(run: Path) -> dict[str, bytes]:
    files = [path for path in (run / "measures").iterdir() if path.suffix in (".csv", ".parquet")]
    return {path.name: path.read_bytes() for path in files}


@pytest.fixture(scope="session")
def measured(drawn_run: Path) -> Measured:
    return measure(drawn_run, SETTINGS)


def test_every_file_of_the_contract_is_there_with_its_columns(measured: Measured) -> None:
    for stem, columns in CONTRACT.items():
        table = pd.read_parquet(measured.folder / f"{stem}.parquet")
        assert set(columns.split()) <= set(table.columns), stem
    assert set(TRAITS_COLUMNS.split()) <= set(pd.read_csv(measured.folder / "traits.csv").columns)
    assert set(EROSION_COLUMNS.split()) <= set(pd.read_csv(measured.folder / "erosion.csv").columns)
    order = pd.read_csv(measured.folder / "order.csv")
    assert list(order.columns) == ["level", "earlier", "later", "p_before", "p_same"]
    verdict = json.loads((measured.folder / "verdict.json").read_text())
    assert set(VERDICT_KEYS.split()) <= set(verdict)
    run = json.loads((measured.folder / "run.json").read_text())
    assert {"settings", "versions", "models", "timings"} <= set(run)
    assert (measured.folder / "report.html").stat().st_size > 1000


def test_every_trait_has_a_row_per_generation_and_a_chart(measured: Measured) -> None:
    table = pd.read_csv(measured.folder / "traits.csv")
    for trait in traits():
        assert list(table.loc[table["trait"] == trait.name, "generation"]) == list(range(N_GENERATIONS))
        for suffix in ("svg", "png"):
            assert (measured.folder / "charts" / f"{trait.name}.{suffix}").is_file()


def test_faces_and_irises_are_found_on_drawings(measured: Measured) -> None:
    images = decay.load(measured.folder.parent).images
    assert (images.loc[images["state"] == "ok", "n_faces"] == 1).all()
    eyes = decay.load(measured.folder.parent).eyes
    assert (eyes["iris_state"] == "ok").mean() > 0.8


def test_numbers_are_nan_unless_their_state_is_ok(measured: Measured) -> None:
    eyes = decay.load(measured.folder.parent).eyes
    assert eyes.loc[eyes["catchlight_state"] != "ok", "catchlight_clock_deg"].isna().all()
    assert eyes.loc[eyes["catchlight_state"] == "ok", "catchlight_clock_deg"].notna().all()


def test_one_face_many_times_over_is_seen_as_collapse(measured: Measured) -> None:
    table = measured.finding.traits.set_index(["trait", "generation"])
    assert table.loc[("face_pairwise_distance", 1), "retention"] == pytest.approx(0, abs=0.02)
    assert table.loc[("face_pairwise_distance", 0), "retention"] == 1.0


def test_an_unreadable_image_is_a_row_with_a_reason(measured: Measured) -> None:
    images = decay.load(measured.folder.parent).images.set_index("image")
    row = images.loc["gen_01/broken.png"]
    assert row["state"] == "not_an_image"
    assert row["reason"]
    assert pd.isna(row["n_faces"])
    assert measured.n_bad == 1


def test_equal_content_is_read_once(measured: Measured) -> None:
    assert measured.n_read == N_SLOTS
    assert measured.n_kept == N_SLOTS * (N_GENERATIONS - 1)


def test_the_same_command_again_reads_nothing_and_changes_nothing(measured: Measured, tmp_path: Path) -> None:
    run = tmp_path / "again"
    shutil.copytree(measured.folder.parent, run)
    before = _table_bytes(run)
    again = measure(run, SETTINGS)
    assert again.n_read == 0
    assert _table_bytes(run) == before


def test_the_results_do_not_depend_on_who_reads(measured: Measured, tmp_path: Path) -> None:
    run = tmp_path / "pool"
    shutil.copytree(measured.folder.parent, run, ignore=shutil.ignore_patterns("measures"))
    pooled = measure(run, replace(SETTINGS, workers=3))
    assert (pooled.n_read, pooled.n_kept, pooled.n_bad) == (measured.n_read, measured.n_kept, measured.n_bad)
    assert _table_bytes(run) == _table_bytes(measured.folder.parent)


def test_what_is_unchanged_is_not_even_written(measured: Measured, tmp_path: Path) -> None:
    run = tmp_path / "unchanged"
    shutil.copytree(measured.folder.parent, run)
    before = {path: path.stat().st_mtime_ns for path in (run / "measures").rglob("*") if path.is_file()}
    measure(run, SETTINGS)
    after = {path: path.stat().st_mtime_ns for path in (run / "measures").rglob("*") if path.is_file()}
    assert {path.name for path in before if before[path] != after[path]} <= {".lock"}


def test_only_what_changed_is_read_again(measured: Measured, tmp_path: Path) -> None:
    run = tmp_path / "changed"
    shutil.copytree(measured.folder.parent, run)
    pixels, _ = draw_face(Population().sample_face(np.random.default_rng(77)), 256, np.random.default_rng(7))
    write_png(_image(run, 2, 4), pixels)
    again = measure(run, SETTINGS)
    assert again.n_read == 1


def test_a_failed_measurement_keeps_earlier_results(measured: Measured, tmp_path: Path) -> None:
    run = tmp_path / "kept"
    shutil.copytree(measured.folder.parent, run)
    before = (run / "measures" / "traits.csv").read_bytes()
    with pytest.raises(DecayError, match="pack"):
        measure(run, MeasureSettings(embedder_pack="no_such_pack", embedder_root=tmp_path))
    assert (run / "measures" / "traits.csv").read_bytes() == before


@pytest.mark.parametrize("in_the_way", ["charts", "report.html"])
def test_what_stands_in_the_way_of_a_chart_is_named_and_nothing_else_changes(
    in_the_way: str, measured: Measured, tmp_path: Path
) -> None:
    run = tmp_path / "blocked"
    shutil.copytree(measured.folder.parent, run)
    blocked = run / "measures" / in_the_way
    if blocked.is_dir():
        shutil.rmtree(blocked)
        blocked.write_text("in the way")
    else:
        blocked.unlink()
        blocked.mkdir()
    with pytest.raises(DecayError, match=in_the_way):
        measure(run, SETTINGS)
    assert not list((run / "measures").glob(".aside-*"))


def test_detectors_that_do_not_start_are_one_message_and_no_rows(
    drawn_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "unstarted"
    shutil.copytree(drawn_run / "gen_00", run / "gen_00")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(DecayError, match="could not be started"):
        measure(run, SETTINGS)
    assert not (run / "measures" / "images.parquet").exists()


def test_a_damaged_pack_is_one_message(measured: Measured, tmp_path: Path) -> None:
    pack = tmp_path / "models" / "broken"
    pack.mkdir(parents=True)
    (pack / "det.onnx").write_bytes(b"not a network")
    with pytest.raises(DecayError, match="'broken' could not be loaded"):
        measure(measured.folder.parent, MeasureSettings(embedder_pack="broken", embedder_root=tmp_path))


def test_one_generation_is_measured_and_claims_nothing(drawn_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "single"
    shutil.copytree(drawn_run / "gen_00", run / "gen_00")
    result = measure(run, SETTINGS)
    assert result.finding.verdict["first"] is None
    assert "only one generation" in result.finding.verdict["sentence"]


def test_a_checkout_that_is_not_installed_can_measure_too() -> None:
    script = "import decay.reader_version as r; r.PACKAGES = ('no-such-package',); print(r.package_versions())"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "not installed" in ended.stdout


def test_the_command_says_what_is_wrong_in_one_message(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "decay.cli", "measure", str(tmp_path / "nothing")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "nothing" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


def test_the_planted_decay_is_the_verdicts_first(tmp_path: Path) -> None:
    """Glints drift to the centre from generation 1 on and nothing else changes: eyes, at 1, and no other group."""
    plan = Plan("glints", "glints go to the centre", {"catchlight_eccentricity": Decay(1, 0.3)}, frac_hands=0.0)
    make_lineage(tmp_path / "run", plan, seed=5, n_per_generation=14, n_generations=3, size_px=320)
    lineage = load_lineage(tmp_path / "run")
    with Journal(tmp_path / "journal.sqlite") as journal, Here(lambda: start_reader(ReaderSpec())) as workers:
        outcomes = read_lineage(hash_lineage(lineage), journal, "test", workers)
    results = conclude(lineage, outcomes, SETTINGS)
    eroded = results.erosion[results.erosion["verdict"] == "eroded"]
    assert set(eroded["group"]) == {"eyes"}
    assert results.erosion.set_index("trait").loc["catchlight_eccentricity", "onset_generation"] == 1
    assert results.verdict["first_family"]["family"] == "eyes"


def test_a_run_of_which_nothing_can_be_read_is_refused_with_the_first_reason(tmp_path: Path) -> None:
    for generation in range(2):
        folder = tmp_path / "run" / f"gen_{generation:02d}"
        folder.mkdir(parents=True)
        (folder / "a.png").write_bytes(b"no picture")
    with pytest.raises(DecayError, match=r"none of the 2 could be\. The first, gen_00/a\.png: .+\. Put readable files"):
        measure(tmp_path / "run")
    assert {path.name for path in (tmp_path / "run" / "measures").iterdir()} <= {"journal.sqlite", ".lock"}
