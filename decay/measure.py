"""Lineage -> readings -> tables, traits, verdict, charts. Reads only what is not in the journal yet."""

from __future__ import annotations

import hashlib
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import metadata
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import detectors
from decay import images
from decay.ancestors import with_ancestors
from decay.arms import Arm, arms_to_traits, check_comparable, load_arm
from decay.control import less_control
from decay.errors import DecayError, ImageProblem, LineageError, ModelError
from decay.files import run_lock
from decay.journal import Journal
from decay.lineage import ImageRecord, Lineage, load_lineage, with_reference
from decay.models import ModelFile, list_models, require_models
from decay.repeat import (
    AGAIN,
    CHANGES,
    RepeatLoss,
    choose,
    reference_generation,
    repeat_losses,
    repeated_tables,
    with_repeat_losses,
)
from decay.results import FORMAT_VERSION, Results, draw_conclusion, publish
from decay.settings import MeasureSettings
from decay.tables import Outcome, build_tables, records
from decay.traits import readings_to_traits
from detectors.embedder import Embedder, open_embedder
from detectors.reader import Reader
from detectors.trait import OK
from detectors.vision import Vision

Progress = Callable[[int, int, int], None]
"""(generation, images done, images in it); generation -1 is the reference folder, -2 its
pictures read again."""

PACKAGES = ("decay", "mediapipe", "insightface", "onnxruntime", "opencv-python", "numpy", "scipy", "scikit-image")
"""Their versions are part of what a reading is."""


@dataclass(frozen=True)
class Measured:
    """What ``measure`` did: ``n_read`` images read now, ``n_kept`` known already, ``n_bad`` without readings."""

    folder: Path
    results: Results
    n_read: int
    n_kept: int
    n_bad: int


def measure(run: Path, settings: MeasureSettings | None = None, progress: Progress | None = None) -> Measured:
    """Measure a lineage and write ``<run>/measures/``.

    Raises DecayError when the folder, the models or the disk are at fault; earlier results are kept then.
    """
    settings = settings or MeasureSettings()
    started = time.perf_counter()
    lineage = with_ancestors(load_lineage(run))
    if settings.reference:
        lineage = with_reference(lineage, settings.reference)
    models = list_models(settings.embedder_pack, settings.embedder_root)
    require_models(models)
    embedder = _open_embedder(settings)
    folder = lineage.root / "measures"
    version = reader_version(models, embedder.name)
    control = _load_control(settings.control, lineage, version) if settings.control else None

    def make_reader() -> Reader:
        return Reader(Vision(), embedder)

    with run_lock(folder), Journal(folder / "journal.sqlite") as journal:
        outcomes = read_lineage(lineage, journal, version, make_reader, progress)
        _require_some_read(lineage, outcomes)
        repeats = read_again(lineage, outcomes, settings, journal, version, make_reader, progress)
        read_s = time.perf_counter() - started
        results = conclude(lineage, outcomes, settings, control, repeats.losses)
        timings = {"read_s": read_s, "conclude_s": time.perf_counter() - started - read_s}
        run_record = _run_record(lineage, outcomes, settings, models, embedder.name, version, timings)
        results = replace(results, run=run_record | {"repeat": repeats.record})
        publish(results, lineage.root)
    n_bad = sum(outcome.readings is None for outcome in outcomes.values())
    n_read = sum(outcome.fresh for outcome in outcomes.values())
    return Measured(folder, results, n_read, len(outcomes) - n_read - n_bad, n_bad)


def read_lineage(
    lineage: Lineage,
    journal: Journal,
    version: str,
    make_reader: Callable[[], Reader],
    progress: Progress | None = None,
) -> dict[str, Outcome]:
    """The outcome of every image, by its path from the lineage root. New readings enter the journal one by one.

    The reader is made on the first image that needs it: a run with nothing new loads no model.
    """
    outcomes: dict[str, Outcome] = {}
    with _when_needed(make_reader) as reader:
        for generation, pairs in groupby(records(lineage), key=itemgetter(0)):
            batch = [record for _, record in pairs]
            root = lineage.root_of(generation)
            for done, record in enumerate(batch, start=1):
                outcomes[record.relative] = read_record(record, root, journal, version, reader)
                if progress:
                    progress(generation, done, len(batch))
    return outcomes


def _require_some_read(lineage: Lineage, outcomes: Mapping[str, Outcome]) -> None:
    """Of nothing there is nothing to tell: tables without a number would only hide why."""
    if any(outcome.readings is not None for outcome in outcomes.values()):
        return
    name, first = next(iter(outcomes.items()))
    raise LineageError(
        f"{lineage.root}: expected images that can be read; none of the {len(outcomes)} could be. The first, {name}: "
        f"{first.reason or first.state.replace('_', ' ')}. Put readable files in their place."
    )


@dataclass(frozen=True)
class Repeats:
    """What re-reading the reference showed: ``losses`` by trait, and the ``record`` of it for run.json."""

    losses: Mapping[str, RepeatLoss]
    record: Mapping[str, Any] | None


def read_again(
    lineage: Lineage,
    outcomes: Mapping[str, Outcome],
    settings: MeasureSettings,
    journal: Journal,
    version: str,
    make_reader: Callable[[], Reader],
    progress: Progress | None = None,
) -> Repeats:
    """Read some of the reference's pictures again after each of ``CHANGES``; nothing where none are asked for."""
    if settings.repeat == 0:
        return Repeats({}, None)
    chosen = choose(lineage, outcomes, settings.repeat, settings.seed)
    root = lineage.root_of(reference_generation(lineage))
    again: dict[str, list[Outcome]] = {change: [] for change in CHANGES}
    with _when_needed(make_reader) as reader:
        for done, record in enumerate(chosen, start=1):
            for change, found in again.items():
                found.append(read_record(record, root, journal, version, reader, change))
            if progress:
                progress(AGAIN, done, len(chosen))
    losses = repeat_losses(repeated_tables(chosen, outcomes, again), tuple(CHANGES), settings.seed) if chosen else {}
    return Repeats(losses, {"n_images": len(chosen), "changes": list(CHANGES)})


@contextmanager
def _when_needed(make_reader: Callable[[], Reader]) -> Iterator[Callable[[], Reader]]:
    """A reader that is made on the first call, and closed in the end."""
    with ExitStack() as stack:
        yield cache(lambda: stack.enter_context(_started(make_reader)))


def read_record(
    record: ImageRecord, root: Path, journal: Journal, version: str, reader: Callable[[], Reader], change: str = ""
) -> Outcome:
    """One image: from the journal if its content was read before, else read now and journaled.

    ``change``: one of ``CHANGES``, done to the pixels first.
    """
    sha256 = ""
    try:
        data, sha256 = images.read_bytes_and_hash(record.path, within=root)
        key = f"{sha256}+{change}" if change else sha256
        kept = journal.get(version, key)
        if kept:
            return Outcome(sha256, OK, kept)
        picture = images.decode(data, record.relative)
        pixels = CHANGES[change](picture.pixels) if change else picture.pixels
    except ImageProblem as problem:
        return Outcome(sha256, problem.state, None, str(problem))
    started = reader()
    try:
        readings = started.read(pixels)
    except Exception as error:  # one image must not end a run of hours; the row says what happened
        return Outcome(sha256, "failed", None, f"{type(error).__name__}: {error}")
    readings = replace(readings, image=readings.image | {"file_notes": ",".join(picture.notes)})
    journal.put(version, key, readings)
    return Outcome(sha256, OK, readings, fresh=True)


def _started(make_reader: Callable[[], Reader]) -> Reader:
    try:
        return make_reader()
    except Exception as error:  # not the fault of the image that happened to come first
        raise ModelError(
            f"The detectors could not be started ({error or type(error).__name__}). Check that there is memory and "
            "room for temporary files, or install decay again."
        ) from error


def conclude(
    lineage: Lineage,
    outcomes: Mapping[str, Outcome],
    settings: MeasureSettings,
    control: Arm | None = None,
    repeats: Mapping[str, RepeatLoss] | None = None,
) -> Results:
    """Readings -> tables, traits, erosion and verdict. Pure: the same readings and settings give the same results.

    ``control``: the arm whose drift is taken off; both are resampled together. ``repeats``: what each trait loses by
    being read again, where that was tried.
    """
    tables = build_tables(lineage, outcomes)
    generations = tuple(generation.index for generation in lineage.generations)
    if control is None:
        series = readings_to_traits(tables, generations, settings.n_resamples, settings.seed)
    else:
        own = replace(control, name=lineage.root.name, tables=tables, generations=generations)
        series, others = arms_to_traits([own, control], settings.n_resamples, settings.seed)
        series = less_control(series, generations, others, control.generations, control.name)
    if repeats:
        series = with_repeat_losses(series, repeats)
    return draw_conclusion(tables, series, generations, settings, lineage.reference_name)


def _load_control(path: Path, lineage: Lineage, version: str) -> Arm:
    """The control arm. Raises DecayError unless it was measured by the same reader, against the same kind of
    reference, and none of its own drift was taken off."""
    control = load_arm(path, path.resolve().name)
    if path.resolve() == lineage.root.resolve():
        raise DecayError(f"{path}: expected another run as the control; this is the run itself.")
    if control.control:
        raise DecayError(f"{path}: expected a control that stands alone; it was measured with a control of its own.")
    own = replace(
        control,
        name=lineage.root.resolve().name,
        reader=version,
        reference=lineage.reference_name,
        compared_with_pictures=lineage.reference is not None,
    )
    check_comparable([control, own])
    missing = {g.index for g in lineage.generations} - set(control.generations)
    if len(missing) == len(lineage.generations):
        raise DecayError(f"{path}: expected a control with the run's generations; it has none of them.")
    return control


def reader_version(models: Sequence[ModelFile], embedder: str) -> str:
    """Fingerprint of all that decides a reading: the detectors' code, packages, model files and embedder.

    Anything else in it would measure again for nothing; anything missing would keep stale readings.
    """
    digest = hashlib.sha256()
    folder = Path(detectors.__file__).parent
    for source in [*sorted(folder.rglob("*.py")), Path(images.__file__)]:
        digest.update(source.name.encode() + source.read_bytes())
    for name, version in _versions().items():
        digest.update(f"{name}={version};".encode())
    for model in models:
        digest.update(f"{model.name}={model.sha256};".encode())
    digest.update(embedder.encode())
    return digest.hexdigest()


def _open_embedder(settings: MeasureSettings) -> Embedder:
    try:
        return open_embedder(settings.embedder_pack, settings.embedder_root)
    except Exception as error:  # a damaged model file raises whatever onnxruntime or insightface hit first
        raise ModelError(
            f"The pack {settings.embedder_pack!r} could not be loaded ({error or type(error).__name__}). "
            "Remove its folder and fetch it again with `decay models fetch NAME`, or go without."
        ) from error


def _versions() -> dict[str, str]:
    return {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # this one, run from a checkout without installing it
        return "not installed"


def _run_record(
    lineage: Lineage,
    outcomes: Mapping[str, Outcome],
    settings: MeasureSettings,
    models: Sequence[ModelFile],
    embedder: str,
    version: str,
    timings: Mapping[str, float],
) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "settings": asdict(settings),
        "reference": lineage.reference_name,
        "embedder": embedder,
        "reader": version,
        "versions": {"python": platform.python_version(), **_versions()},
        "platform": platform.platform(),
        "models": [asdict(model) for model in models],
        "n_images": len(outcomes),
        "image_states": _count(outcome.state for outcome in outcomes.values()),
        "notes": list(lineage.notes),
        "timings": dict(timings),
    }


def _count(words: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(words).items()))
