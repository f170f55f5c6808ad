"""A run folder in, the files of the contract under ``measures/`` out."""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from decay.ancestors import HELD_OUT, with_ancestors
from decay.errors import DecayError, LineageError
from decay.features import versions_at_hand
from decay.files import run_lock
from decay.lineage import Lineage, load_lineage, with_reference
from decay.models import ModelFile, list_models, list_networks, require_models
from decay.outcome import DIED, Outcome
from decay.read import Hashed, Repeats, hash_lineage, read_again, read_lineage
from decay.reader_version import package_versions, reader_version
from decay.settings import FORMAT_VERSION, MeasureSettings
from decay.storage import absolute, is_remote, real_name
from decay.unchanged import inputs_digest, is_unchanged
from decay.vectors import VectorStore
from decay.workers import open_workers
from decay.workers.job import ReaderSpec
from detectors.packs import embedder_name
from detectors.trait import OK

if TYPE_CHECKING:
    import pandas as pd

    from decay.arms import Arm
    from decay.verdict import Finding

AnyProgress = Callable[[int | str, int, int], None]
"""(what, images done, images in it); what: see ``decay.read.Progress``, or the name of a network."""


@dataclass(frozen=True)
class Measured:
    """What ``measure`` did: ``n_read`` images read now, ``n_kept`` known already, ``n_bad`` without readings."""

    folder: Path
    finding: Finding
    n_read: int
    n_kept: int
    n_bad: int


def measure(
    run: Path, settings: MeasureSettings | None = None, progress: AnyProgress | None = None, out: Path | None = None
) -> Measured:
    """Measure a lineage and write ``measures/`` into ``out``, or into the lineage itself. Where nothing has changed
    since, nothing is done.

    ``run``: a folder, or a place in storage (``decay.storage.place``), which is only read: ``out`` must be given.
    Raises DecayError when the folder, the models or the disk are at fault; earlier results are kept then.
    """
    settings = settings or MeasureSettings()
    lineage = with_ancestors(load_lineage(run))
    if settings.reference:
        lineage = with_reference(lineage, settings.reference)
    models = list_models(settings.embedder_pack, settings.embedder_root)
    require_models(models)
    version = reader_version(models, embedder_name(settings.embedder_pack))
    networks = versions_at_hand(settings.features_root)
    home = _home(run, out)
    with run_lock(home / "measures"):
        # Tables take as long to load as pictures to hash, and hashing leaves the interpreter free.
        Thread(target=import_module, args=("decay.verdict",)).start()
        images = hash_lineage(lineage)
        versions = ";".join([version, *networks.values()])
        inputs = inputs_digest(lineage, images, settings, versions, _elsewhere(lineage, home))
        if is_unchanged(home / "measures", inputs):
            return _kept(home)
        return _measure(_Task(lineage, images, home, settings, models, version, networks, inputs), progress)


def held_out_of(run: Path) -> Path:
    """The folder of a run's pictures of prompts that are never trained on. Raises LineageError where there is none."""
    if not (run / HELD_OUT).is_dir():
        raise LineageError(
            f"{run}: expected {HELD_OUT}/, the pictures of prompts that are never trained on; found none. "
            "`decay run` makes them of the prompts under [held_out] of its protocol."
        )
    return run / HELD_OUT


def _home(run: Path, out: Path | None) -> Path:
    if out is not None:
        return out
    if is_remote(run):
        raise DecayError(f"{run}: nothing is written into storage. Say where the results go, with --out DIR.")
    return run


def _elsewhere(lineage: Lineage, home: Path) -> str | None:
    """Where the pictures lie, if not beside the results."""
    return None if real_name(lineage.root) == real_name(home) else str(absolute(lineage.root))


def _kept(run: Path) -> Measured:
    from decay.verdict import read_finding  # noqa: PLC0415  # as above

    finding = read_finding(run)
    n_ok = finding.run["image_states"].get(OK, 0)
    return Measured(run / "measures", finding, 0, n_ok, finding.run["n_images"] - n_ok)


@dataclass(frozen=True)
class _Task:
    """What is measured, into where, with what. ``version``: of the reader; ``networks``: those at hand, with theirs;
    ``inputs``: see ``decay.unchanged``."""

    lineage: Lineage
    images: Sequence[Hashed]
    home: Path
    settings: MeasureSettings
    models: Sequence[ModelFile]
    version: str
    networks: Mapping[str, str]
    inputs: str


def _measure(task: _Task, progress: AnyProgress | None) -> Measured:
    started = time.perf_counter()
    control = _control(task)
    outcomes, repeats = _read(task, progress)
    read_s = time.perf_counter() - started
    # Imported here: a measurement that finds nothing changed has no use for statistics and charts.
    from decay.drawing import drawing  # noqa: PLC0415

    with drawing(task.settings.workers) as draw_all:
        from threadpoolctl import threadpool_limits  # noqa: PLC0415

        from decay.conclude import conclude  # noqa: PLC0415
        from decay.results import publish  # noqa: PLC0415

        # Small matrices by the thousand: on a busy machine threads wait long for one another.
        with threadpool_limits(1):
            results = conclude(task.lineage, outcomes, task.settings, control, repeats.losses)
        timings = {"read_s": read_s, "conclude_s": time.perf_counter() - started - read_s}
        record = _run_record(task, outcomes, results.tables.images, timings) | {"repeat": repeats.record}
        results = replace(results, run=record)
        publish(results, task.home, draw_all)
    n_bad = sum(outcome.readings is None for outcome in outcomes.values())
    n_read = sum(outcome.fresh for outcome in outcomes.values())
    return Measured(task.home / "measures", results.finding, n_read, len(outcomes) - n_read - n_bad, n_bad)


def _control(task: _Task) -> Arm | None:
    if task.settings.control is None:
        return None
    from decay.conclude import load_control  # noqa: PLC0415  # as below

    return load_control(task.settings.control, task.lineage, task.home, task.version, task.networks)


def _read(task: _Task, progress: AnyProgress | None) -> tuple[dict[str, Outcome], Repeats]:
    """Every image with its readings and vectors, and what reading some of them again showed."""
    from decay.journal import Journal  # noqa: PLC0415  # as above
    from decay.read_features import with_features  # noqa: PLC0415

    folder, settings = task.home / "measures", task.settings
    spec = ReaderSpec(settings.embedder_pack, settings.embedder_root, task.version)
    with Journal(folder / "journal.sqlite") as journal:
        with open_workers(settings, spec) as workers:
            outcomes = read_lineage(task.images, journal, task.version, workers, progress)
            _require_some_read(task.lineage, outcomes)
            repeats = read_again(task.lineage, outcomes, settings, journal, task.version, workers, progress)
        store = VectorStore(folder)
        return with_features(task.images, outcomes, task.networks, settings, journal, store, progress), repeats


def _require_some_read(lineage: Lineage, outcomes: Mapping[str, Outcome]) -> None:
    """Of nothing there is nothing to tell: tables without a number would only hide why."""
    if any(outcome.readings is not None for outcome in outcomes.values()):
        return
    name, first = next(iter(outcomes.items()))
    raise LineageError(
        f"{lineage.root}: expected images that can be read; none of the {len(outcomes)} could be. The first, {name}: "
        f"{first.reason or first.state.replace('_', ' ')}. Put readable files in their place."
    )


def _run_record(
    task: _Task, outcomes: Mapping[str, Outcome], images: pd.DataFrame, timings: Mapping[str, float]
) -> dict[str, Any]:
    from decay.read_features import notes_on_rank  # noqa: PLC0415  # as above

    models = [*task.models, *list_networks(task.settings.features_root)]
    return {
        "format_version": FORMAT_VERSION,
        "settings": asdict(task.settings),
        "reference": task.lineage.reference_name,
        "embedder": embedder_name(task.settings.embedder_pack),
        "reader": task.version,
        "networks": dict(task.networks),
        "versions": {"python": platform.python_version(), **package_versions()},
        "platform": platform.platform(),
        "models": [asdict(model) for model in models],
        "pictures": _elsewhere(task.lineage, task.home),
        "inputs": task.inputs if _as_hashed(task.images, outcomes) else None,
        "n_images": len(outcomes),
        "image_states": _count(outcome.state for outcome in outcomes.values()),
        "notes": [*task.lineage.notes, *notes_on_rank(images)],
        "timings": dict(timings),
    }


def _as_hashed(images: Sequence[Hashed], outcomes: Mapping[str, Outcome]) -> bool:
    """Whether every image was read as it was hashed, and another try would read no more: else it must be looked at
    again, although nothing changes until then."""
    pairs = ((image, outcomes[image.record.relative]) for image in images)
    return all(image.sha256 == outcome.sha256 and outcome.state not in {*DIED, "failed"} for image, outcome in pairs)


def _count(words: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(words).items()))
