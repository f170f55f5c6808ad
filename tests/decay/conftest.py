"""Measured runs that several tests read: real detectors on drawn faces, each picture read once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from decay.cloud import Cloud
from decay.conclude import conclude
from decay.images import write_png
from decay.journal import Journal
from decay.lineage import load_lineage, with_reference
from decay.models import list_models
from decay.phantom import Population, draw_face
from decay.read import hash_lineage, read_lineage
from decay.reader_version import reader_version
from decay.results import write_record, write_tables
from decay.settings import MeasureSettings
from decay.workers.here import Here
from decay.workers.job import ReaderSpec
from decay.workers.task import start_reader
from detectors.embedder import embedder_name

N_SLOTS = 16
SMALL = MeasureSettings(n_resamples=60)


@pytest.fixture(scope="session")
def arms(tmp_path_factory: pytest.TempPathFactory, write_run: Callable[..., Path]) -> Mapping[str, Path]:
    """Three measured runs of the same sixteen drawn people, none of whom changes until all of them are the first one.

    That is from generation 1 on (``fed``), from 2 on (``mixed``), never (``real_data``).
    """
    root = tmp_path_factory.mktemp("arms")
    people = root / "people"
    people.mkdir()
    for slot in range(N_SLOTS):
        person = Population().sample_face(np.random.default_rng([3, slot]))
        write_png(people / f"{slot:03d}.png", draw_face(person, 256, np.random.default_rng(slot))[0])
    runs = {"fed": 1, "mixed": 2, "real_data": 3}
    return {name: write_run(lineage_of(people, root / name, collapse)) for name, collapse in runs.items()}


@pytest.fixture(scope="session")
def write_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """(run, reference=None) -> the run, with every table and record under ``measures/``, but no chart and no page."""
    version = reader_version(list_models(None, None), embedder_name(None))
    known = tmp_path_factory.mktemp("journal") / "journal.sqlite"

    def write(run: Path, reference: Path | None = None) -> Path:
        lineage = load_lineage(run)
        lineage = with_reference(lineage, reference) if reference else lineage
        with Journal(known) as journal, Here(lambda: start_reader(ReaderSpec())) as workers:
            outcomes = read_lineage(hash_lineage(lineage), journal, version, workers)
        results = conclude(lineage, outcomes, SMALL)
        folder = run / "measures"
        folder.mkdir(exist_ok=True)
        write_tables(results, folder)
        write_record(folder / "run.json", {"reader": version, "settings": asdict(SMALL)})
        shutil.copy(known, folder)
        return run

    return write


@pytest.fixture(scope="session")
def a_cloud() -> Callable[..., Cloud]:
    """(vectors by generation, -1 for the reference; groups by slot) -> a slot and a file of its own for each vector."""

    def make(vectors: Mapping[int, np.ndarray], group_of: Mapping[int, str] | None = None) -> Cloud:
        rows = [
            {"generation": g, "image": f"{g}/{slot:03d}.png", "slot": f"{slot:03d}", "sha256": f"{g}-{slot}",
             "group": (group_of or {}).get(slot, ""), "vector": vector.astype(np.float32)}
            for g, own in vectors.items()
            for slot, vector in enumerate(own)
        ]  # fmt: skip
        frame = pd.DataFrame(rows)
        return Cloud("test", frame, frame.drop(columns="vector"), min(vectors))

    return make


def lineage_of(people: Path, root: Path, collapse: int, n_generations: int = 3) -> Path:
    """Generations of these pictures; from ``collapse`` on, every one of them is the first."""
    for generation in range(n_generations):
        folder = root / f"gen_{generation:02d}"
        folder.mkdir(parents=True)
        for slot in range(N_SLOTS):
            source = people / f"{0 if generation >= collapse else slot:03d}.png"
            shutil.copy(source, folder / f"{slot:03d}.png")
    return root
