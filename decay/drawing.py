"""Charts drawn by several processes: a run has some eighty, each by itself, and reading has left the cores idle."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.charts import DrawAll
    from reports.course import Course

MOST = 4
"""Processes: each takes a second of a core and 150 MB before its first chart."""
_AT_ONCE = 4
"""Charts handed over at a time."""


@contextmanager
def drawing(n_processes: int) -> Iterator[DrawAll | None]:
    """Draws charts in so many processes, at most ``MOST``, which get ready while others work; None for fewer than two.

    Where they die the rest is drawn here. Spawned, not forked: native code has run here (see ``decay.workers.pool``).
    """
    if n_processes < 2:
        yield None
        return
    n = min(n_processes, MOST)
    context = multiprocessing.get_context("spawn")
    # An interruption is for the process that they work for.
    with ProcessPoolExecutor(n, context, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        for _ in range(n):
            pool.submit(_get_ready)
        yield lambda draw, charts: _drawn(pool, draw, charts)


def _get_ready() -> None:
    import reports.charts  # noqa: F401, PLC0415  # takes half a second


def _drawn(
    pool: ProcessPoolExecutor, draw: Callable[[Course], list[Path]], charts: Sequence[Course]
) -> Iterator[list[Path]]:
    n_done = 0
    try:
        for written in pool.map(draw, charts, chunksize=_AT_ONCE):
            n_done += 1
            yield written
    except BrokenProcessPool:
        yield from map(draw, charts[n_done:])
