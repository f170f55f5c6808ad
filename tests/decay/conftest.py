"""Measured runs that several tests read: real detectors on drawn faces, each picture read once."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from decay.images import write_png
from decay.journal import Journal
from decay.lineage import load_lineage
from decay.measure import conclude, read_lineage, reader_version
from decay.models import list_models
from decay.phantom import Population, draw_face
from decay.results import write_tables
from decay.settings import MeasureSettings
from detectors.embedder import open_embedder
from detectors.reader import Reader
from detectors.vision import Vision

N_SLOTS = 16
SMALL = MeasureSettings(n_resamples=60)


@pytest.fixture(scope="session")
def arms(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Three measured runs of the same sixteen drawn people, none of whom changes until all of them are the first one.

    That is from generation 1 on (``fed``), from 2 on (``mixed``), never (``real_data``). Tables only, no charts.
    """
    root = tmp_path_factory.mktemp("arms")
    people = root / "people"
    people.mkdir()
    for slot in range(N_SLOTS):
        person = Population().sample_face(np.random.default_rng([3, slot]))
        write_png(people / f"{slot:03d}.png", draw_face(person, 256, np.random.default_rng(slot))[0])
    embedder = open_embedder(None, None)
    version = reader_version(list_models(None, None), embedder.name)
    runs = {"fed": 1, "mixed": 2, "real_data": 3}
    with Journal(root / "journal.sqlite") as journal:
        for name, collapse in runs.items():
            lineage = load_lineage(lineage_of(people, root / name, collapse))
            outcomes = read_lineage(lineage, journal, version, lambda: Reader(Vision(), embedder))
            results = conclude(lineage, outcomes, SMALL)
            (root / name / "measures").mkdir()
            record = {"reader": version, "settings": asdict(SMALL)}
            write_tables(replace(results, run=record), root / name / "measures")
    for name in runs:
        shutil.copy(root / "journal.sqlite", root / name / "measures")
    return {name: root / name for name in runs}


def lineage_of(people: Path, root: Path, collapse: int, n_generations: int = 3) -> Path:
    """Generations of these pictures; from ``collapse`` on, every one of them is the first."""
    for generation in range(n_generations):
        folder = root / f"gen_{generation:02d}"
        folder.mkdir(parents=True)
        for slot in range(N_SLOTS):
            source = people / f"{0 if generation >= collapse else slot:03d}.png"
            shutil.copy(source, folder / f"{slot:03d}.png")
    return root
