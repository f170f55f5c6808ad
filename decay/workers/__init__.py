"""Where images are read: in this process, in a pool of processes on this machine, or on a cluster.

``task``: what is done with one image. ``here``, ``pool``, ``cluster``: who does it. ``scheduling``: which images are
under way, and what becomes of those whose worker died. All three give the same readings, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Protocol, Self

from decay.outcome import Outcome
from decay.settings import MeasureSettings
from decay.workers.job import Job, Spec


class Workers(Protocol):
    """Who reads. Nothing is started, and no model loaded, before the first image is asked for."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def read(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Each image with what became of it, in the order in which they are done.

        Raises ModelError where no worker can be started, DecayError where they stop answering.
        """
        ...


def open_workers(settings: MeasureSettings, spec: Spec) -> Workers:
    """The workers that the settings ask for. Each kind is imported only where it is wanted."""
    if settings.cluster is not None:
        from decay.workers.cluster import Cluster  # noqa: PLC0415

        return Cluster(settings.cluster, settings.workers, spec)
    if settings.workers > 0:
        from decay.workers.pool import Pool  # noqa: PLC0415

        return Pool(settings.workers, spec)
    from decay.workers.here import Here  # noqa: PLC0415
    from decay.workers.task import start_reader  # noqa: PLC0415

    return Here(lambda: start_reader(spec))
