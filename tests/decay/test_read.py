"""What becomes of files that change between the driver's look and the worker's."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from decay.images import write_png
from decay.journal import Journal
from decay.lineage import load_lineage
from decay.measure import measure
from decay.read import hash_lineage, read_lineage
from decay.settings import MeasureSettings
from decay.workers.here import Here
from decay.workers.job import ReaderSpec
from decay.workers.task import start_reader


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two generations with the same two plain pictures."""
    root = tmp_path / "run"
    for generation in range(2):
        (root / f"gen_{generation:02d}").mkdir(parents=True)
        for slot in range(2):
            write_png(root / f"gen_{generation:02d}" / f"{slot}.png", np.full((64, 64, 3), 60 * (slot + 1), np.uint8))
    return root


def test_a_file_that_changed_after_it_was_hashed_speaks_for_itself_alone(run: Path, tmp_path: Path) -> None:
    hashed = hash_lineage(load_lineage(run))
    write_png(run / "gen_00" / "0.png", np.full((64, 64, 3), 240, np.uint8))
    with Journal(tmp_path / "journal.sqlite") as journal, Here(lambda: start_reader(ReaderSpec())) as workers:
        found = read_lineage(hashed, journal, "test", workers)
    shown = {
        name: round(float(str(outcome.readings.image["image_lightness"])))
        for name, outcome in found.items()
        if outcome.readings
    }
    assert shown["gen_00/0.png"] > 90 > shown["gen_01/0.png"]
    assert found["gen_01/0.png"].sha256 == hashed[0].sha256 != found["gen_00/0.png"].sha256


def test_a_file_that_went_away_is_missing_and_its_twin_is_not(run: Path, tmp_path: Path) -> None:
    hashed = hash_lineage(load_lineage(run))
    (run / "gen_00" / "1.png").unlink()
    with Journal(tmp_path / "journal.sqlite") as journal, Here(lambda: start_reader(ReaderSpec())) as workers:
        found = read_lineage(hashed, journal, "test", workers)
    assert found["gen_00/1.png"].state == "missing"
    assert found["gen_01/1.png"].state == "ok"


def test_a_twin_of_no_picture_is_told_by_its_own_name(run: Path, tmp_path: Path) -> None:
    for generation in range(2):
        (run / f"gen_{generation:02d}" / "1.png").write_bytes(b"no picture")
    with Journal(tmp_path / "journal.sqlite") as journal, Here(lambda: start_reader(ReaderSpec())) as workers:
        found = read_lineage(hash_lineage(load_lineage(run)), journal, "test", workers)
    for name in ("gen_00/1.png", "gen_01/1.png"):
        assert found[name].state == "not_an_image"
        assert found[name].reason.startswith(name)


def test_what_could_not_be_read_for_a_moment_is_read_the_next_time(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = MeasureSettings(n_resamples=20)
    away = run.with_name("away.png")
    here = hash_lineage

    def gone_after_hashing(lineage: object) -> object:
        hashed = here(lineage)  # type: ignore[arg-type]
        shutil.move(run / "gen_00" / "1.png", away)
        return hashed

    monkeypatch.setattr("decay.measure.hash_lineage", gone_after_hashing)
    assert measure(run, settings).n_bad == 1
    monkeypatch.undo()
    shutil.move(away, run / "gen_00" / "1.png")
    assert measure(run, settings).n_bad == 0
