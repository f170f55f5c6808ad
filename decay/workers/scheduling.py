"""Which images are under way, and what becomes of those whose worker died: tried once more, alone, then recorded."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from decay.errors import DecayError, ModelError
from decay.images import write_png
from decay.outcome import Outcome
from decay.workers.job import Job
from decay.workers.task import IMAGE_LIMIT_S, LIMIT_SIGNAL

START_LIMIT_S = 120.0
"""What a worker may take to start."""
LOOK_EVERY_S = 20.0
LOOKS_IN_VAIN = 3
"""So many looks in a row at which there was no worker: they are not coming back."""
N_VAIN = 8
"""So many workers that died in a row without an image read among them: is it the images?"""

Submit = Callable[[Sequence[Job]], Future[list[Outcome]]]
"""Has a worker read some images."""


@dataclass(frozen=True)
class Terms:
    """``n_per_task``: images that travel together. ``n_in_flight``: how many tasks may be under way or waiting in line;
    more would only fill memory. ``deaths``: what a future raises when its worker died. ``has_workers``: whether there
    is anybody to read."""

    n_per_task: int
    n_in_flight: Callable[[], int]
    deaths: tuple[type[BaseException], ...]
    has_workers: Callable[[], bool] = lambda: True

    @property
    def stall_s(self) -> float:
        """Seconds without any answer after which the workers are given up: a task's own limit has passed by then."""
        return self.n_per_task * IMAGE_LIMIT_S + START_LIMIT_S


def read_by(submit: Submit, jobs: Iterable[Job], terms: Terms) -> Iterator[tuple[Job, Outcome]]:
    """Each image with what became of it, as they are done. An image is tried twice at most.

    Second tries come last, one at a time: a worker that dies then dies of its own image, not of a neighbour's (dask
    blames all that was in line there) nor for want of memory that neighbours took. Raises ModelError where workers die
    of a blank picture as well, DecayError where they stop answering.
    """
    n_in_a_row = n_read = 0
    again: list[Job] = []
    for task, future in _under_way(submit, _batches(jobs, terms.n_per_task), terms):
        if (death := _death_of(future, terms)) is None:
            n_in_a_row, n_read = 0, n_read + len(task)
            yield from zip(task, future.result(), strict=True)
            continue
        again.extend(task)
        n_in_a_row += 1
        if n_in_a_row == N_VAIN:
            _blame_the_machine(submit, terms, death)
            n_in_a_row = 0
    for task, future in _under_way(submit, _batches(again, 1), replace(terms, n_in_flight=lambda: 1)):
        death = _death_of(future, terms)
        if death is not None and n_read == 0:
            _blame_the_machine(submit, terms, death)
        n_read += 1
        yield task[0], future.result()[0] if death is None else _crashed(task[0], death)


def _under_way(
    submit: Submit, tasks: Iterator[Sequence[Job]], terms: Terms
) -> Iterator[tuple[Sequence[Job], Future[list[Outcome]]]]:
    """Each task with its future once that is done; never more at a time than the terms allow."""
    running: dict[Future[list[Outcome]], Sequence[Job]] = {}
    while True:
        for task in islice(tasks, max(0, terms.n_in_flight() - len(running))):
            running[submit(task)] = task
        if not running:
            return
        for future in _finished(running, terms):
            yield running.pop(future), future


def _finished(running: Iterable[Future[list[Outcome]]], terms: Terms) -> set[Future[list[Outcome]]]:
    """Those of them that are done, at least one."""
    waited_s, n_looks_in_vain = 0.0, 0
    while waited_s < terms.stall_s and n_looks_in_vain < LOOKS_IN_VAIN:
        if done := wait(list(running), timeout=LOOK_EVERY_S, return_when=FIRST_COMPLETED).done:
            return done
        waited_s += LOOK_EVERY_S
        n_looks_in_vain = 0 if terms.has_workers() else n_looks_in_vain + 1
    why = "there were no workers any more" if n_looks_in_vain else "the workers gave no answer"
    raise DecayError(
        f"For {waited_s:.0f} s {why}. Look at what they wrote where they were started. What was read so far is kept: "
        "run the same command again."
    )


def _blame_the_machine(submit: Submit, terms: Terms, death: BaseException) -> None:
    """Raises ModelError if a worker dies of a blank picture too: then the images that it died of are innocent."""
    with tempfile.TemporaryDirectory() as folder:
        blank = Job(Path(folder) / "blank.png", Path(folder), "blank.png")
        write_png(blank.path, np.full((64, 64, 3), 128, np.uint8))
        _, future = next(_under_way(submit, iter([(blank,)]), terms))
        if _death_of(future, terms) is None:
            return
    raise ModelError(
        f"The workers died one after another, of a blank picture too ({_describe(death)}). Check that there is memory "
        "for each, take fewer with --workers, or see what happens in one with --workers 0. A script that calls "
        'measure() with workers needs its calls under `if __name__ == "__main__":`.'
    ) from death


def _batches(jobs: Iterable[Job], size: int) -> Iterator[Sequence[Job]]:
    rest = iter(jobs)
    while batch := tuple(islice(rest, size)):
        yield batch


def _death_of(future: Future[list[Outcome]], terms: Terms) -> BaseException | None:
    """What the worker died of, None if it lived. Raises what a living worker raised (a ModelError)."""
    try:
        error = future.exception()
    except CancelledError as gone:
        raise DecayError(
            "The workers went away while they were reading. What was read so far is kept: run the same command again."
        ) from gone
    if error is None or isinstance(error, (*terms.deaths, BrokenProcessPool)):
        return error
    raise error


def _crashed(job: Job, death: BaseException) -> Outcome:
    if getattr(death, "exitcode", None) == -LIMIT_SIGNAL:
        return Outcome("", "timed_out", None, f"{job.name}: was not read within {IMAGE_LIMIT_S:.0f} s, twice.")
    return Outcome("", "crashed", None, f"{job.name}: its worker died while it was read, twice ({_describe(death)}).")


def _describe(death: BaseException) -> str:
    return f"{type(death).__name__}: {death}"
