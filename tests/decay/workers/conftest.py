"""A folder of drawn faces, what reading them alone gives, and a reader that dies of some of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from decay.images import write_png
from decay.models import list_models
from decay.outcome import Outcome
from decay.phantom import Population, draw_face
from decay.reader_version import reader_version
from decay.workers.here import Here
from decay.workers.job import Job, ReaderSpec
from decay.workers.task import start_reader
from detectors.packs import embedder_name

N_IMAGES = 12
FAULTY = """
import os, pathlib, signal
from decay.workers.task import read_batch

def read(spec, jobs):
    for job in jobs:
        if "deadly" in job.name:
            os.kill(os.getpid(), signal.SIGSEGV)
        if "once" in job.name and not (seen := pathlib.Path(job.root, job.name + ".seen")).exists():
            seen.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return read_batch(spec, jobs)

def die(spec, jobs):
    os.kill(os.getpid(), signal.SIGKILL)

def hang(spec, jobs):
    if any("deadly" in job.name for job in jobs):
        import decay.workers.task as task
        task.read_image = lambda job, reader: [None for _ in iter(int, 1)]
        return task.read_batch(spec, jobs, limit_s=0.5)
    return read_batch(spec, jobs)
"""


@pytest.fixture(scope="session")
def spec() -> ReaderSpec:
    return ReaderSpec(version=reader_version(list_models(None, None), embedder_name(None)))


@pytest.fixture(scope="session")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    folder = tmp_path_factory.mktemp("faces")
    found = []
    for slot in range(N_IMAGES):
        pixels, _ = draw_face(
            Population().sample_face(np.random.default_rng([5, slot])), 192, np.random.default_rng(slot)
        )
        path = folder / f"{slot:02d}.png"
        write_png(path, pixels)
        found.append(Job(path, folder, path.name))
    (folder / "broken.png").write_bytes(b"no picture")
    return [*found, Job(folder / "broken.png", folder, "broken.png")]


@pytest.fixture(scope="session")
def alone(jobs: list[Job], spec: ReaderSpec) -> dict[str, Outcome]:
    """What one reader in this process says of each."""
    with Here(lambda: start_reader(spec)) as workers:
        return {job.name: outcome for job, outcome in workers.read(jobs)}


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], ModuleType]:
    """Imports, here and in every process that is started from here, a reader that dies of images so named."""
    import importlib
    import sys

    (tmp_path / "faulty_reader.py").write_text(FAULTY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "faulty_reader", raising=False)
    return lambda: importlib.import_module("faulty_reader")
