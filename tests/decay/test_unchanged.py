"""When a measurement would only repeat what stands there, and when it would not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decay import unchanged
from decay.files import to_json
from decay.images import write_png
from decay.lineage import load_lineage
from decay.read import hash_lineage
from decay.settings import MeasureSettings, Rule
from decay.unchanged import files_digests, inputs_digest, is_unchanged, record_digest

SETTINGS = MeasureSettings()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    root = tmp_path / "run"
    for generation in range(2):
        for slot in range(2):
            path = root / f"gen_{generation:02d}" / f"{slot}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_png(path, np.full((8, 8, 3), 10 * generation + slot, np.uint8))
    return root


def digest_of(run: Path, settings: MeasureSettings = SETTINGS, version: str = "reader") -> str:
    lineage = load_lineage(run)
    return inputs_digest(lineage, hash_lineage(lineage), settings, version)


def test_touching_and_copying_change_nothing(run: Path) -> None:
    before = digest_of(run)
    os.utime(run / "gen_00" / "0.png", (1, 1))
    (run / "gen_01" / "0.png").write_bytes((run / "gen_01" / "0.png").read_bytes())
    assert digest_of(run) == before


def test_who_reads_changes_nothing(run: Path) -> None:
    assert digest_of(run, replace(SETTINGS, workers=7, cluster="tcp://x:1")) == digest_of(run)


@pytest.mark.parametrize(
    "settings",
    [
        replace(SETTINGS, seed=1),
        replace(SETTINGS, n_resamples=100),
        replace(SETTINGS, rule=Rule(margin=0.3)),
        replace(SETTINGS, repeat=3),
        replace(SETTINGS, extrapolate=True),
        replace(SETTINGS, embedder_pack="other"),
    ],
)
def test_settings_count(settings: MeasureSettings, run: Path) -> None:
    assert digest_of(run, settings) != digest_of(run)


def test_the_reader_and_the_program_count(run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = digest_of(run)
    assert digest_of(run, version="another") != before
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "traits.py").write_text("")
    monkeypatch.setattr(unchanged, "__file__", str(tmp_path / "program" / "unchanged.py"))
    assert digest_of(run) != before


def test_every_image_and_what_is_said_of_it_count(run: Path) -> None:
    seen = {digest_of(run)}
    image, said = run / "gen_01" / "1.png", run / "gen_01" / "metadata.jsonl"
    for act in (
        lambda: write_png(image, np.zeros((8, 8, 3), np.uint8)),
        lambda: image.rename(image.with_name("2.png")),
        lambda: image.with_name("2.png").write_bytes(b"no picture"),
        lambda: said.write_text('{"file_name": "2.png", "text": "a face"}\n'),
        lambda: said.write_text('{"file_name": "2.png", "text": "a hand"}\n'),
        lambda: said.write_text('{"file_name": "2.png", "text": "a hand", "group": "a"}\n'),
        lambda: (run / "real").mkdir() or (run / "gen_00" / "0.png").rename(run / "real" / "0.png"),
        lambda: (run / "lineage.json").write_text('{"name": "x"}'),
    ):
        act()
        found = digest_of(run)
        assert found not in seen
        seen.add(found)


def test_a_control_counts_by_its_results(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "control" / "measures"
    folder.mkdir(parents=True)
    (folder / "traits.csv").write_text("a")
    (folder / "journal.sqlite").write_text("a")
    settings = replace(SETTINGS, control=tmp_path / "control")
    before = digest_of(run, settings)
    (folder / "journal.sqlite").write_text("b")
    assert digest_of(run, settings) == before
    (folder / "traits.csv").write_text("b")
    assert digest_of(run, settings) != before


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "measures"
    (folder / "charts").mkdir(parents=True)
    (folder / "traits.csv").write_text("trait\n")
    (folder / "charts" / "a.svg").write_text("<svg/>")
    record = {"inputs": "same", "files": files_digests(folder), "notes": ["ä"], "timings": {"read_s": 0.1}}
    write(folder, record)
    return folder


def write(folder: Path, record: dict[str, Any]) -> None:
    (folder / "run.json").write_text(to_json(record | {"record": record_digest(record)}))


def test_the_same_inputs_and_untouched_files_are_unchanged(results: Path) -> None:
    (results / "journal.sqlite").write_text("grows")
    assert is_unchanged(results, "same")
    assert not is_unchanged(results, "other")


@pytest.mark.parametrize("name", ["traits.csv", "charts/a.svg", "run.json"])
def test_a_file_that_is_gone_or_altered_is_written_anew(name: str, results: Path) -> None:
    text = (results / name).read_text()
    (results / name).unlink()
    assert not is_unchanged(results, "same")
    (results / name).write_text(text[:-3])
    assert not is_unchanged(results, "same")


def test_a_record_made_elsewhere_leads_nowhere(results: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    record = json.loads((results / "run.json").read_text())
    record.pop("record")
    write(results, record | {"files": {"../pipe": "0" * 64}})
    assert not is_unchanged(results, "same")


def test_an_edited_record_is_written_anew(results: Path) -> None:
    record = json.loads((results / "run.json").read_text())
    (results / "run.json").write_text(to_json(record | {"notes": ["b"]}))
    assert not is_unchanged(results, "same")
    (results / "run.json").write_text(to_json(record))
    assert is_unchanged(results, "same")


def test_a_moved_run_whose_results_lie_elsewhere_is_another(run: Path) -> None:
    lineage = load_lineage(run)
    hashed = hash_lineage(lineage)
    seen = {inputs_digest(lineage, hashed, SETTINGS, "reader", pictures) for pictures in (None, "/a", "/b")}
    assert len(seen) == 3


@pytest.mark.parametrize("text", ["", "[]", "null", '{"inputs": "same"}', '{"inputs": "same", "files": 3}', "{"])
def test_a_damaged_record_is_no_reason_to_stop(text: str, results: Path) -> None:
    (results / "run.json").write_text(text)
    assert not is_unchanged(results, "same")


def test_what_may_find_nothing_changed_loads_nothing_slow_before() -> None:
    script = (
        "import sys, decay.measure; print({'scipy', 'pandas', 'matplotlib', 'cv2', 'mediapipe'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"
