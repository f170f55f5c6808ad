"""What a worker does: one image file in, its readings out. Imports neither tables nor charts: a worker stays small."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

from decay import images
from decay.changes import CHANGES
from decay.errors import ImageProblem, ModelError
from decay.features import network_version, open_network
from decay.features.reader import FeatureReader
from decay.models import list_models
from decay.outcome import Outcome
from decay.reader_version import reader_version
from decay.workers.job import FeatureSpec, Job, ReaderSpec, Spec
from detectors.embedder import Embedder, open_embedder
from detectors.packs import embedder_name
from detectors.reader import Reader
from detectors.trait import OK
from detectors.vision import Vision

IMAGE_LIMIT_S = 300.0
"""An image that is not read by then ends its worker. The largest that is accepted (64 megapixels) takes seconds."""
LIMIT_SIGNAL = signal.SIGALRM
"""What ends it then: the kernel's timer, for native code answers to nothing else and Python's own exits look alike."""

AnyReader = Reader | FeatureReader

_ONE_AT_A_TIME = threading.Lock()


def read_image(job: Job, reader: Callable[[], AnyReader]) -> Outcome:
    """Read, hash and decode one file, once, and read it. ``reader`` is called only for what can be decoded."""
    sha256 = ""
    try:
        data, sha256 = images.read_bytes_and_hash(job.path, within=job.root)
        picture = images.decode(data, job.name)
        pixels = CHANGES[job.change](picture.pixels) if job.change else picture.pixels
    except ImageProblem as problem:
        return Outcome(sha256, problem.state, None, str(problem))
    started = reader()
    try:
        readings = started.read(pixels) if isinstance(started, Reader) else started.read(pixels, job.prompt)
    except Exception as error:  # one image must not end a run of hours; the row says what happened
        return Outcome(sha256, "failed", None, f"{type(error).__name__}: {error}")
    readings = replace(readings, image=readings.image | {"file_notes": ",".join(picture.notes)})
    return Outcome(sha256, OK, readings, fresh=True)


def read_batch(spec: Spec, jobs: Sequence[Job], limit_s: float = IMAGE_LIMIT_S) -> list[Outcome]:
    """Read some images in a worker process, with one reader for its lifetime. Raises ModelError.

    An image that takes longer than ``limit_s`` ends the process: native code answers to nothing else.
    """
    with _ONE_AT_A_TIME:  # a cluster's worker may have several threads; the reader has one memory
        return [_read_within(limit_s, spec, job) for job in jobs]


def start_reader(spec: Spec) -> AnyReader:
    """The detectors and the embedder, or the network, of ``spec``. Raises ModelError where they cannot be started."""
    if isinstance(spec, FeatureSpec):
        return FeatureReader(spec.network, open_network(spec.network, spec.root))
    embedder = _open(spec)
    try:
        return Reader(Vision(), embedder)
    except Exception as error:  # not the fault of the image that happened to come first
        raise ModelError(
            f"The detectors could not be started ({error or type(error).__name__}). Check that there is memory and "
            "room for temporary files, or install decay again."
        ) from error


def _read_within(limit_s: float, spec: Spec, job: Job) -> Outcome:
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        return read_image(job, lambda: _worker_reader(spec))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)


@cache
def _worker_reader(spec: Spec) -> AnyReader:
    """The one reader of a worker process; checked to be the one that was asked for. It ends with the process."""
    from threadpoolctl import threadpool_limits  # noqa: PLC0415  # only workers need it

    found = version_here(spec)
    if spec.version and found != spec.version:
        raise ModelError(
            "A worker has other detectors, packages or models than this machine, so that its readings could not be "
            "set beside ours. Install the same decay, and the same model files, on every machine."
        )
    reader = start_reader(spec)
    threadpool_limits(1)  # of all that is loaded by now: one process a core is faster than threads within
    return reader


def version_here(spec: Spec) -> str:
    """What ``spec.version`` has to be for this process to read with it. Raises ModelError."""
    if isinstance(spec, FeatureSpec):
        return network_version(spec.network, spec.root)
    return reader_version(list_models(spec.pack, spec.root), embedder_name(spec.pack))


def _open(spec: ReaderSpec) -> Embedder:
    try:
        return open_embedder(spec.pack, spec.root)
    except Exception as error:  # a damaged model file raises whatever onnxruntime or insightface hit first
        raise ModelError(
            f"The pack {spec.pack!r} could not be loaded ({error or type(error).__name__}). "
            "Remove its folder and fetch it again with `decay models fetch NAME`, or go without."
        ) from error
