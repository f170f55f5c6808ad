"""Reading in this process: nothing to start, but native code that crashes takes all with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from threadpoolctl import threadpool_limits

from decay.outcome import Outcome
from decay.workers.job import Job
from decay.workers.task import AnyReader, read_image


class Here:
    """Reads one image after another. ``make_reader`` is called for the first; the reader is closed at the end."""

    def __init__(self, make_reader: Callable[[], AnyReader]) -> None:
        self._open = ExitStack()
        self._make_reader = make_reader
        self._reader: AnyReader | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def read(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Each image with what became of it, in their order."""
        for job in jobs:
            yield job, read_image(job, self._started)

    def _started(self) -> AnyReader:
        if self._reader is None:
            self._reader = self._make_reader()
            self._open.push(self._reader)
            # As in every worker: sums are rounded otherwise where more threads share them.
            self._open.enter_context(threadpool_limits(1))
        return self._reader
