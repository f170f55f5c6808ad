"""What becomes of files that change between the driver's look and the worker's."""

from __future__ import annotations

import json
import shutil
import sqlite3
from base64 import b64encode
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from decay.errors import DecayError
from decay.images import write_png
from decay.journal import Journal
from decay.lineage import load_lineage
from decay.measure import measure
from decay.phantom import Population, draw_face
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


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Two generations of two faces, measured."""
    root = tmp_path / "faces"
    for generation in range(2):
        (root / f"gen_{generation:02d}").mkdir(parents=True)
        for slot in range(2):
            person = Population().sample_face(np.random.default_rng([5, slot]))
            pixels = draw_face(person, 128, np.random.default_rng([slot, generation]))[0]
            write_png(root / f"gen_{generation:02d}" / f"{slot}.png", pixels)
    measure(root, MeasureSettings(n_resamples=20))
    return root


def with_vector(run: Path, rows: slice, vector: list[float]) -> int:
    """Give some rows of the journal another face embedding; how many rows there are."""
    packed = {"f4": b64encode(np.array(vector, "<f4").tobytes()).decode("ascii")}
    with closing(sqlite3.connect(run / "measures" / "journal.sqlite", isolation_level=None)) as journal:
        found = journal.execute("SELECT sha256, body FROM readings ORDER BY sha256").fetchall()
        for sha256, body in found[rows]:
            data = json.loads(body)
            assert data["faces"][0]["face_embedding"]
            data["faces"][0]["face_embedding"] = packed
            journal.execute("UPDATE readings SET body = ? WHERE sha256 = ?", (json.dumps(data), sha256))
    return len(found)


@pytest.mark.parametrize("vector", [[0.6, 0.8], [float("nan")] * 3])
def test_an_edited_vector_is_read_again(faces: Path, vector: list[float]) -> None:
    told = (faces / "measures" / "traits.csv").read_text()
    with_vector(faces, slice(0, 1), vector)
    again = measure(faces, MeasureSettings(n_resamples=20, seed=1))
    assert again.n_read == 1
    measure(faces, MeasureSettings(n_resamples=20))
    assert (faces / "measures" / "traits.csv").read_text() == told


def test_a_journal_with_vectors_of_other_lengths_than_are_read_is_refused(faces: Path) -> None:
    with_vector(faces, slice(None), [0.6, 0.8])
    person = Population().sample_face(np.random.default_rng(8))
    write_png(faces / "gen_01" / "new.png", draw_face(person, 128, np.random.default_rng(9))[0])
    with pytest.raises(DecayError, match=r"journal\.sqlite.*'face_embedding': 2.*Move the file away"):
        measure(faces, MeasureSettings(n_resamples=20))


def test_readings_and_repeats_of_other_lengths_are_refused(faces: Path) -> None:
    settings = MeasureSettings(n_resamples=20, repeat=4)
    n_plain = with_vector(faces, slice(0, 0), [])
    measure(faces, settings)
    with closing(sqlite3.connect(faces / "measures" / "journal.sqlite")) as journal:
        assert journal.execute("SELECT count(*) FROM readings").fetchone()[0] > n_plain
        plain = [key for (key,) in journal.execute("SELECT sha256 FROM readings") if "+" not in key]
        bodies = {
            key: journal.execute("SELECT body FROM readings WHERE sha256 = ?", (key,)).fetchone() for key in plain
        }
        for key, (body,) in bodies.items():
            data = json.loads(body)
            data["faces"][0]["face_embedding"]["f4"] = b64encode(np.array([0.6, 0.8], "<f4").tobytes()).decode("ascii")
            journal.execute("UPDATE readings SET body = ? WHERE sha256 = ?", (json.dumps(data), key))
        journal.commit()
    with pytest.raises(DecayError, match=r"vectors of one length.*move measures/journal\.sqlite away"):
        measure(faces, MeasureSettings(n_resamples=20, repeat=4, seed=1))
