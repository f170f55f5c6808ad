"""Reading in processes on this machine: pebble's pool, which replaces a worker that dies and loses no other task.

The processes are spawned: one that is forked after mediapipe has run hangs.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Self

from pebble import ProcessExpired, ProcessPool

from decay.errors import DecayError
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
        self._pending: set[Future[list[Outcome]]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def read(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Each image with what became of it, in the order in which they are done."""
        # One image a task: the journal has each as soon as it is read, and only the guilty image is tried again.
        terms = Terms(n_per_task=1, n_in_flight=lambda: (1 + N_WAITING) * self._n_workers, deaths=(ProcessExpired,))
        wanted = list(jobs)
        self._n_started = max(self._n_started, min(self._n_workers, len(wanted)))
        return read_by(self._submit, wanted, terms)

    def _submit(self, jobs: Sequence[Job]) -> Future[list[Outcome]]:
        try:
            future = self._scheduled(jobs)
        except RuntimeError:  # one of the pool's own threads has ended: what it had under way is tried again
            self._close()
            future = self._started_anew(jobs)
        self._pending = {each for each in self._pending if not each.done()} | {future}
        return future

    def _started_anew(self, jobs: Sequence[Job]) -> Future[list[Outcome]]:
        try:
            return self._scheduled(jobs)
        except RuntimeError as error:
            raise DecayError(
                "The processes that read cannot be kept going on this machine. What was read so far is kept: go on "
                "without them, with --workers 0."
            ) from error

    def _scheduled(self, jobs: Sequence[Job]) -> Future[list[Outcome]]:
        return self._running().schedule(read_batch, args=(self._spec, jobs))

    def _running(self) -> ProcessPool:
        if self._pool is not None and not self._pool.active:  # it ends where workers die before their first task
            self._close()
        if self._pool is None:
            self._pool = ProcessPool(self._n_started, context=multiprocessing.get_context("spawn"))
        return self._pool

    def _close(self) -> None:
        if self._pool is None:
            return
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()
        self._pool = None
        for future in self._pending:
            if not future.done():
                future.set_exception(BrokenProcessPool("the pool of workers ended"))
