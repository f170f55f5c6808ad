"""Reading on a cluster that runs already: dask.distributed sends images to its workers, readings come back here.

The workers see the same files under the same paths (shared storage), and have the same decay installed; both are
checked. Nothing is written there: the driver alone keeps the journal.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack
from itertools import chain
from types import TracebackType
from typing import Any, Self

from decay.errors import DecayError, ModelError
from decay.outcome import DIED, Outcome
from decay.workers.job import Job, Spec
from decay.workers.scheduling import Terms, read_by
from decay.workers.task import read_batch, version_here

LOCAL = "local"
"""In place of an address: a cluster of processes on this machine, begun and ended here."""
N_PER_TASK = 16
"""Images that travel together: a task costs the scheduler some milliseconds, an image some tens of them."""
N_FOR_EACH = 3
"""Tasks under way or in line for each thread of the cluster."""
CONNECT_LIMIT_S = 30


class Cluster:
    """The workers of the scheduler at ``address``, asked for with the first image; ``n_local``: processes of a cluster
    on this machine, 0 for as many as it has cores."""

    def __init__(self, address: str, n_local: int, spec: Spec) -> None:
        self._address = address
        self._n_local = n_local
        self._spec = spec
        self._open = ExitStack()
        self._client: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in ("distributed", "asyncio", "tornado"):  # what they say of connections that end is not for users
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._open.close()

    def read(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Each image with what became of it, in the order in which they are done.

        Raises ModelError where the cluster has other detectors, DecayError where it cannot be reached or cannot see
        the files.
        """
        rest = iter(jobs)
        if (first := next(rest, None)) is None:
            return
        distributed = _imported()
        client = self._client = self._client or self._connected(distributed)
        executor = client.get_executor(pure=False)

        def submit(some: Sequence[Job]) -> Future[list[Outcome]]:
            future: Future[list[Outcome]] = executor.submit(read_batch, self._spec, tuple(some))
            return future

        terms = Terms(
            N_PER_TASK,
            n_in_flight=lambda: N_FOR_EACH * max(1, sum(client.nthreads().values())),  # workers come and go
            deaths=(distributed.KilledWorker,),
            has_workers=lambda: bool(client.nthreads()),
        )
        for job, outcome in read_by(submit, chain([first], rest), terms):
            if job.sha256 not in ("", outcome.sha256) and outcome.state not in DIED:
                raise DecayError(
                    f"{job.path}: a worker of the cluster does not see this file as it is here ({outcome.state}). Put "
                    "the run on storage that every worker sees, and may read, under the same path."
                )
            yield job, outcome

    def _connected(self, distributed: Any) -> Any:
        where = self._address if self._address != LOCAL else self._open.enter_context(self._local(distributed))
        try:
            client = self._open.enter_context(distributed.Client(where, timeout=CONNECT_LIMIT_S))
            client.wait_for_workers(1, timeout=CONNECT_LIMIT_S)
        except (OSError, ValueError, distributed.TimeoutError) as error:
            raise DecayError(
                f"--cluster {self._address}: expected a dask scheduler with workers, as tcp://host:8786; none answered "
                f"within {CONNECT_LIMIT_S} s ({error or type(error).__name__}). Start it, or check the address."
            ) from error
        if self._address != LOCAL:
            _check(client.run(version_here, self._spec, on_error="return"), self._spec)
        return client

    def _local(self, distributed: Any) -> AbstractContextManager[Any]:
        cluster: AbstractContextManager[Any] = distributed.LocalCluster(
            n_workers=self._n_local or None,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        )
        return cluster


def _check(answers: Mapping[str, object], spec: Spec) -> None:
    """Raises ModelError where a worker could not say which detectors it has, or has others. ``answers``: by worker.

    Without this, tasks that a worker cannot even unpack come back as errors of dask's own, or not for a minute.
    """
    for worker, answer in answers.items():
        if isinstance(answer, ModelError):
            raise answer
        if isinstance(answer, OSError):
            continue  # it went away meanwhile; whether those that are left suffice is seen while they read
        if isinstance(answer, BaseException):
            raise ModelError(
                f"The cluster's worker at {worker}: expected the same decay as here; found none that could be used "
                f"({type(answer).__name__}: {answer}). Install this decay in the Python that the workers run, and "
                "start them again."
            ) from answer
        if spec.version and answer != spec.version:
            raise ModelError(
                f"The cluster's worker at {worker}: expected the detectors, packages and models of this machine; found "
                "others, so that its readings could not be set beside ours. Install the same decay, and the same model "
                "files, on every machine, and start the workers again."
            )


def _imported() -> Any:
    try:
        import dask  # noqa: PLC0415  # the extra `cluster`
        import distributed  # noqa: PLC0415
    except ImportError as error:
        raise ModelError(
            "--cluster needs dask.distributed. In decay's own folder run pip install -e '.[cluster]'"
        ) from error
    # Of a scheduler that is begun here: an image that ends its worker is tried again by us, alone, not by dask.
    dask.config.set({"distributed.scheduler.allowed-failures": 0})
    return distributed
