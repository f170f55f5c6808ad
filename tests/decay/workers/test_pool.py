"""A pool of real processes: the same readings, and what becomes of images whose worker dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import psutil
import pytest
from threadpoolctl import threadpool_limits

from decay.errors import ModelError
from decay.journal import readings_to_json
from decay.outcome import Outcome
from decay.workers import pool
from decay.workers.here import Here
from decay.workers.job import Job, ReaderSpec
from decay.workers.pool import Pool
from decay.workers.task import start_reader

OTHERS: set[int] = set()
"""Processes that other tests, or the test runner, had started before."""


@pytest.fixture(autouse=True)
def others() -> None:
    OTHERS.clear()
    OTHERS.update(child.pid for child in psutil.Process().children())


def same(found: Outcome, wanted: Outcome) -> bool:
    """Bit for bit: the journal's text form is exact."""
    texts = [readings_to_json(each.readings) if each.readings else None for each in (found, wanted)]
    return texts[0] == texts[1] and replace(found, readings=None) == replace(wanted, readings=None)


@pytest.mark.parametrize("n_workers", [1, 3])
def test_readings_do_not_depend_on_the_number_of_workers_nor_on_the_order(
    n_workers: int, jobs: list[Job], spec: ReaderSpec, alone: dict[str, Outcome]
) -> None:
    with Pool(n_workers, spec) as workers:
        found = {job.name: outcome for job, outcome in workers.read(reversed(jobs))}
    assert found.keys() == alone.keys()
    assert all(same(found[name], alone[name]) for name in alone)
    assert found["broken.png"].state == "not_an_image"


def test_readings_do_not_depend_on_the_threads_of_who_reads(jobs: list[Job], spec: ReaderSpec) -> None:
    several = threadpool_limits(4)  # where a machine has more cores than one and nobody says otherwise
    try:
        with Here(lambda: start_reader(spec)) as here, Pool(1, spec) as workers:
            wanted = {job.name: outcome for job, outcome in here.read(jobs)}
            assert all(same(outcome, wanted[job.name]) for job, outcome in workers.read(jobs))
    finally:
        several.restore_original_limits()


def test_nothing_starts_before_it_is_needed(spec: ReaderSpec) -> None:
    with Pool(2, spec) as workers:
        assert list(workers.read([])) == []
        assert not _children()


def test_an_image_that_kills_its_worker_is_a_row_and_the_others_are_read(
    jobs: list[Job],
    spec: ReaderSpec,
    alone: dict[str, Outcome],
    faulty: Callable[[], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "read_batch", faulty().read)
    named = [replace(job, name=f"deadly {job.name}") if i in (0, 5) else job for i, job in enumerate(jobs)]
    with Pool(2, spec) as workers:
        found = [(job.name, outcome) for job, outcome in workers.read(named)]
    assert sorted(name for name, _ in found) == sorted(job.name for job in named)
    for name, outcome in found:
        if "deadly" in name:
            assert outcome.state == "crashed"
            assert "died while it was read, twice" in outcome.reason
        else:
            assert same(outcome, alone[name])


def test_an_image_whose_worker_was_killed_once_is_read_again(
    jobs: list[Job],
    spec: ReaderSpec,
    alone: dict[str, Outcome],
    faulty: Callable[[], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(pool, "read_batch", faulty().read)
    once = replace(jobs[3], name="once.png")
    with Pool(2, spec) as workers:
        found = {job.name: outcome for job, outcome in workers.read([*jobs[:3], once, *jobs[4:]])}
    (once.root / "once.png.seen").unlink()
    assert same(found["once.png"], alone[jobs[3].name])


def test_an_image_that_takes_too_long_is_a_row(
    jobs: list[Job],
    spec: ReaderSpec,
    alone: dict[str, Outcome],
    faulty: Callable[[], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "read_batch", faulty().hang)
    slow = replace(jobs[1], name="deadly.png")
    with Pool(1, spec) as workers:
        found = {job.name: outcome for job, outcome in workers.read([jobs[0], slow, jobs[2]])}
    assert found["deadly.png"].state == "timed_out"
    assert same(found[jobs[2].name], alone[jobs[2].name])


def test_a_worker_killed_from_outside_costs_nothing(
    jobs: list[Job], spec: ReaderSpec, alone: dict[str, Outcome]
) -> None:
    found: dict[str, Outcome] = {}
    with Pool(2, spec) as workers:
        for n_done, (job, outcome) in enumerate(workers.read(_many(jobs[:-1], 4)), start=1):
            assert same(outcome, alone[job.name.partition("#")[0]])
            found[job.name] = outcome
            if n_done in (6, 20):
                os.kill(_children()[-1].pid, signal.SIGKILL)
    assert len(found) == 4 * len(jobs[:-1])


def test_workers_with_other_detectors_are_refused(jobs: list[Job]) -> None:
    with Pool(1, ReaderSpec(version="0" * 64)) as workers, pytest.raises(ModelError, match="other detectors"):
        list(workers.read(jobs[:1]))
    assert not _children()


@pytest.mark.parametrize("n", [2, 12])
def test_workers_that_die_of_anything_are_one_message(
    n: int, jobs: list[Job], spec: ReaderSpec, faulty: Callable[[], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "read_batch", faulty().die)
    with Pool(2, spec) as workers, pytest.raises(ModelError, match="--workers 0"):
        list(workers.read(jobs[:n]))


def test_images_that_all_kill_are_rows_where_a_blank_one_does_not(
    jobs: list[Job], spec: ReaderSpec, faulty: Callable[[], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "read_batch", faulty().read)
    deadly = [replace(job, name=f"deadly {job.name}") for job in jobs[:9]]
    with Pool(2, spec) as workers:
        states = [outcome.state for _, outcome in workers.read(deadly)]
    assert states == ["crashed"] * 9


def test_no_more_workers_than_images(jobs: list[Job], spec: ReaderSpec) -> None:
    with Pool(9, spec) as workers:
        for _ in workers.read(jobs[:2]):
            assert len(_children()) <= 2


def _many(jobs: Iterable[Job], times: int) -> Iterator[Job]:
    return (replace(job, name=f"{job.name}#{n}") for n in range(times) for job in jobs)


def _children() -> list[psutil.Process]:
    """The pool's processes that are at work; multiprocessing's keeper of semaphores is none."""
    at_work = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    own = [child for child in at_work if child.pid not in OTHERS]
    return [child for child in own if "resource_tracker" not in " ".join(child.cmdline())]
