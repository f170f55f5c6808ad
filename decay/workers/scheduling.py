"""Which images are under way, and what becomes of those whose worker died: tried once more, alone, then recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice

from decay.errors import DecayError, ModelError
from decay.outcome import Outcome
from decay.workers.job import Job
from decay.workers.task import IMAGE_LIMIT_S, LIMIT_EXIT_CODE

START_LIMIT_S = 120.0
"""What a worker may take to start."""
N_VAIN = 8
"""So many workers that died in a row without an image read among them: it is not the images."""

Submit = Callable[[Sequence[Job]], Future[list[Outcome]]]
"""Has a worker read some images."""


@dataclass(frozen=True)
class Terms:
    """``n_per_task``: images that travel together. ``n_in_flight``: tasks under way or waiting in line; more would only
    fill memory. ``deaths``: what a future raises when its worker died."""

    n_per_task: int
    n_in_flight: int
    deaths: tuple[type[BaseException], ...]

    @property
    def stall_s(self) -> float:
        """Seconds without any answer after which the workers are given up: a task's own limit has passed by then."""
        return self.n_per_task * IMAGE_LIMIT_S + START_LIMIT_S


def read_by(submit: Submit, jobs: Iterable[Job], terms: Terms) -> Iterator[tuple[Job, Outcome]]:
    """Each image with what became of it, as they are done. An image is tried twice at most.

    Second tries come last, one at a time: a worker that dies then dies of its own image, not of a neighbour's (dask
    blames all that was in line there) nor for want of memory that neighbours took. Raises ModelError where workers die
    before any has read an image, DecayError where they stop answering.
    """
    deaths = _Deaths()
    again: list[Job] = []
    for task, future in _under_way(submit, _batches(jobs, terms.n_per_task), terms.n_in_flight, terms.stall_s):
        if (death := _death_of(future, terms)) is None:
            deaths.none()
            yield from zip(task, future.result(), strict=True)
        else:
            deaths.one(death)
            again.extend(task)
    for task, future in _under_way(submit, _batches(again, 1), 1, terms.stall_s):
        death = _death_of(future, terms)
        yield task[0], future.result()[0] if death is None else _crashed(task[0], death)


def _under_way(
    submit: Submit, tasks: Iterator[Sequence[Job]], n_in_flight: int, stall_s: float
) -> Iterator[tuple[Sequence[Job], Future[list[Outcome]]]]:
    """Each task with its future once that is done; never more than ``n_in_flight`` at a time."""
    running: dict[Future[list[Outcome]], Sequence[Job]] = {}
    while True:
        for task in islice(tasks, n_in_flight - len(running)):
            running[submit(task)] = task
        if not running:
            return
        done = wait(list(running), timeout=stall_s, return_when=FIRST_COMPLETED).done
        if not done:
            raise DecayError(
                f"The workers gave no answer for {stall_s:.0f} s. What was read so far is kept: "
                "run the same command again."
            )
        for future in done:
            yield running.pop(future), future


class _Deaths:
    """Counts workers that died without one image read in between."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def none(self) -> None:
        self._in_a_row = 0

    def one(self, death: BaseException) -> None:
        self._in_a_row += 1
        if self._in_a_row >= N_VAIN:
            raise ModelError(
                f"{N_VAIN} workers died one after another and read nothing ({_describe(death)}). Check that there is "
                "memory for each, take fewer with --workers, or see what happens in one with --workers 0."
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
    if getattr(death, "exitcode", None) == LIMIT_EXIT_CODE:
        return Outcome("", "timed_out", None, f"{job.name}: was not read within {IMAGE_LIMIT_S:.0f} s, twice.")
    return Outcome("", "crashed", None, f"{job.name}: its worker died while it was read, twice ({_describe(death)}).")


def _describe(death: BaseException) -> str:
    return f"{type(death).__name__}: {death}"
