"""A real dask cluster of several processes on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from decay.errors import DecayError, ModelError
from decay.journal import readings_to_json
from decay.outcome import Outcome
from decay.workers import cluster
from decay.workers.cluster import LOCAL, Cluster
from decay.workers.job import Job, ReaderSpec

distributed = pytest.importorskip("distributed", reason="needs the extra `cluster`")


@pytest.fixture(scope="module")
def running() -> Iterator[Any]:
    """An engine that runs already, as a lab has one: two processes, dask's own patience with tasks that kill them."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50
    ) as started:
        yield started


def texts(outcomes: dict[str, Outcome]) -> dict[str, str | None]:
    return {name: readings_to_json(each.readings) if each.readings else each.state for name, each in outcomes.items()}


def test_a_running_cluster_reads_the_same(
    running: Any, jobs: list[Job], spec: ReaderSpec, alone: dict[str, Outcome]
) -> None:
    with Cluster(running.scheduler_address, 0, spec) as workers:
        found = {job.name: outcome for job, outcome in workers.read(jobs)}
    assert texts(found) == texts(alone)


def test_a_worker_killed_during_the_run_loses_nothing_and_counts_nothing_twice(
    running: Any, jobs: list[Job], spec: ReaderSpec, alone: dict[str, Outcome]
) -> None:
    many = [replace(job, name=f"{job.name}#{n}") for n in range(10) for job in jobs]
    with distributed.Client(running) as client:
        pids = list(client.run(os.getpid).values())
    found = []
    with Cluster(running.scheduler_address, 0, spec) as workers:
        for job, outcome in workers.read(many):
            found.append((job.name, outcome))
            if len(found) == 20:
                os.kill(pids[0], signal.SIGKILL)
    assert sorted(name for name, _ in found) == sorted(job.name for job in many)
    assert all(texts({"": outcome}) == texts({"": alone[name.partition("#")[0]]}) for name, outcome in found)


def test_an_image_that_kills_every_worker_is_a_row_and_its_neighbours_are_read(
    jobs: list[Job],
    spec: ReaderSpec,
    alone: dict[str, Outcome],
    faulty: Callable[[], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster, "read_batch", faulty().read)
    monkeypatch.setattr(cluster, "N_PER_TASK", 4)
    named = [replace(job, name=f"deadly {job.name}") if i == 5 else job for i, job in enumerate(jobs)]
    with Cluster(LOCAL, 2, spec) as workers:
        found = {job.name: outcome for job, outcome in workers.read(named)}
    dead = found.pop(f"deadly {jobs[5].name}")
    assert dead.state == "crashed"
    assert texts(found) == texts({name: outcome for name, outcome in alone.items() if name != jobs[5].name})


def test_a_file_that_the_cluster_does_not_see_is_a_message_not_a_row(
    running: Any, tmp_path: Path, spec: ReaderSpec
) -> None:
    nowhere = Job(tmp_path / "gone.png", tmp_path, "gone.png", sha256="0" * 64)
    with Cluster(running.scheduler_address, 0, spec) as workers, pytest.raises(DecayError, match="every worker sees"):
        list(workers.read([nowhere]))


def test_a_cluster_with_other_detectors_is_refused(running: Any, jobs: list[Job]) -> None:
    with (
        Cluster(running.scheduler_address, 0, ReaderSpec(version="0" * 64)) as workers,
        pytest.raises(ModelError, match="found others"),
    ):
        list(workers.read(jobs))


@pytest.fixture
def strange(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Starts an engine whose one worker finds another decay than this one, of these few lines; gives its address."""
    with ExitStack() as stack:

        def start(package: str) -> str:
            (tmp_path / "decay").mkdir()
            (tmp_path / "decay" / "__init__.py").write_text(package)
            path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
            there = {**os.environ, "PYTHONPATH": path}
            options = {"n_workers": 0, "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
            scheduler = stack.enter_context(distributed.LocalCluster(**options)).scheduler_address
            command = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler, "--no-nanny", "--no-dashboard"]
            worker = subprocess.Popen(command, env=there, cwd=tmp_path, stderr=subprocess.DEVNULL)
            stack.callback(worker.wait)
            stack.callback(worker.kill)
            return str(scheduler)

        yield start


@pytest.mark.parametrize(
    "package", ["raise ModuleNotFoundError('No module named decay')", "", "__path__ = []", "import nothing_of_the_kind"]
)
def test_workers_that_cannot_import_this_decay_are_noticed_at_once(
    package: str, strange: Callable[[str], str], jobs: list[Job], spec: ReaderSpec
) -> None:
    address = strange(package)
    with distributed.Client(address) as client:
        client.wait_for_workers(1)
    began = time.monotonic()
    with Cluster(address, 0, spec) as workers, pytest.raises(ModelError, match=r"same decay.*Install this decay"):
        list(workers.read(jobs))
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense", "tcp://"])
def test_an_address_where_nobody_answers_is_one_message(
    address: str, jobs: list[Job], spec: ReaderSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_LIMIT_S", 1)
    with Cluster(address, 0, spec) as workers, pytest.raises(DecayError, match="expected a dask scheduler"):
        list(workers.read(jobs[:1]))
