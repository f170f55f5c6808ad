"""Reading in processes on this machine: pebble's pool, which replaces a worker that dies and loses no other task.

The processes are spawned: one that is forked after mediapipe has run hangs.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from pebble import ProcessExpired, ProcessPool

from decay.outcome import Outcome
from decay.workers.job import Job, Spec
from decay.workers.scheduling import Terms, read_by
from decay.workers.task import read_batch

N_WAITING = 4
"""Tasks in line behind each one that is being read: a worker that has finished finds the next at once."""


class Pool:
    """``n_workers`` processes, started with the first image; no more of them than there are images."""

    def __init__(self, n_workers: int, spec: Spec) -> None:
        self._n_workers = n_workers
        self._spec = spec
        self._n_started = 0
        self._pool: ProcessPool | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()

    def read(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Each image with what became of it, in the order in which they are done."""
        # One image a task: the journal has each as soon as it is read, and only the guilty image is tried again.
        terms = Terms(n_per_task=1, n_in_flight=lambda: (1 + N_WAITING) * self._n_workers, deaths=(ProcessExpired,))
        wanted = list(jobs)
        self._n_started = max(self._n_started, min(self._n_workers, len(wanted)))
        return read_by(self._submit, wanted, terms)

    def _submit(self, jobs: Sequence[Job]) -> Future[list[Outcome]]:
        if self._pool is None or not self._pool.active:  # the pool ends where its workers die before their first task
            self._pool = ProcessPool(self._n_started, context=multiprocessing.get_context("spawn"))
        return self._pool.schedule(read_batch, args=(self._spec, jobs))
