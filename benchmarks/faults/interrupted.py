"""kill -9 at random moments, over the whole course of the command; then the same command once more."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from benchmarks.faults.common import Bench, Row, command, copied, decay, differing, environment, hashes, results, said

SECTION = "Interrupted"
KILLS_A_FOLDER = 10
"""Kills before the command is let finish: the same folder is interrupted again and again, then compared."""

WORKERS_KILLED = 6
"""An image whose worker is killed twice is a row without readings, as promised: few kills among many images."""

STAGES = ("starting", "reading", "concluding or publishing")

PROTOCOL = """name = "kills"
seed = 0
iterations = 4
init = "base"
size_px = 96
first_from = "real"
later_from = "previous"
keep_weights = "last"
[real]
folder = "real"
prompt = "a picture"
[engine]
name = "linear"
strength = 0.5
[[regime]]
kind = "replace"
"""


def killed_after(seconds: float, arguments: list[str]) -> bool:
    """Whether the command, with all that it had started, was still at work when it was killed."""
    process = subprocess.Popen(
        arguments,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
        start_new_session=True,
        cwd="/",
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def killed_measures(bench: Bench) -> Row:
    """`decay measure`, killed; published files are whole at every moment, and in the end equal."""
    rng = random.Random(bench.seed)
    moments: list[tuple[float, str]] = []
    torn: set[str] = set()
    wrong: set[str] = set()
    run = bench.work / "killed-measure"
    while len(moments) < bench.n_kills:
        copied(bench.lineage, run)
        for _ in range(KILLS_A_FOLDER):
            _kill_in_stratum(bench, run, rng, moments)
            torn.update(differing(results(run), bench.wanted, absent_is_fine=True))
        done = decay("measure", run)
        wrong.update(differing(results(run), bench.wanted) if done.returncode == 0 else [said(done)])
    hit = Counter(stage for _, stage in moments)
    return Row(
        SECTION,
        f"kill -9 of `decay measure`, {len(moments)} times",
        f"moments spread evenly over its {bench.whole_s:.0f} s, {KILLS_A_FOLDER} kills in a row in each folder; "
        + ", ".join(f"{hit[stage]} while {stage}" for stage in STAGES),
        "every published file whole after each kill; the same command then gives tables, charts and verdict equal byte "
        "by byte to an uninterrupted run (run.json but for its timings)",
        f"torn files: {', '.join(sorted(torn)) or 'none'}; different in the end: {', '.join(sorted(wrong)) or 'none'}",
        not torn and not wrong and len(moments) >= bench.n_kills,
    )


def killed_workers(bench: Bench) -> Row:
    """Workers of `decay measure`, killed one after another while they read."""
    rng = random.Random(bench.seed)
    run = copied(bench.lineage, bench.work / "killed-workers")
    arguments = command("measure", run, "--workers", "2")
    n_killed = 0
    said = bench.work / "killed-workers.txt"
    with said.open("w") as stream, subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=stream,
                                                    env=environment(), cwd="/") as process:  # fmt: skip
        while process.poll() is None:
            time.sleep(rng.uniform(0.2, 2.0))
            if n_killed < WORKERS_KILLED and _stage(run) == STAGES[1]:
                n_killed += _one_worker_killed(process.pid, rng)
    wrong = differing(results(run), bench.wanted)
    states = json.loads((run / "measures" / "run.json").read_text())["image_states"] if process.returncode == 0 else {}
    return Row(
        SECTION,
        f"kill -9 of {n_killed} workers of one `decay measure --workers 2`",
        "one at a time, at random moments while it reads",
        "each is replaced, its image read again; results equal byte by byte to an undisturbed run",
        f"exit {process.returncode}; states {states}; different: {', '.join(wrong) or 'none'}"
        + (f"; said: {said.read_text().strip().splitlines()[-1:]}" if process.returncode else ""),
        process.returncode == 0 and not wrong and n_killed > 0,
    )


def _one_worker_killed(driver: int, rng: random.Random) -> bool:
    """Whether there was one; multiprocessing's keeper of semaphores is none."""
    try:
        children = psutil.Process(driver).children()
        workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        if not workers:
            return False
        rng.choice(workers).kill()
    except psutil.Error:
        return False  # it ended meanwhile
    return True


def _kill_in_stratum(bench: Bench, run: Path, rng: random.Random, moments: list[tuple[float, str]]) -> None:
    """One kill; its moment lies in the part of the course that has its turn, so that all of it is covered."""
    turn = len(moments)
    while True:
        # Rising: what was read is kept, so that a late kill first would leave nothing to be read to the others.
        seconds = bench.whole_s * (turn % 10 + rng.random()) / 10
        if killed_after(seconds, command("measure", run)):
            moments.append((seconds, _stage(run)))
            return
        shutil.rmtree(run / "measures", ignore_errors=True)  # it was quicker than the moment: once more, from the start


def _stage(run: Path) -> str:
    folder = run / "measures"
    if not (folder / "journal.sqlite").exists():
        return STAGES[0]
    return STAGES[2] if any(folder.glob(".aside-*")) or (folder / "run.json").exists() else STAGES[1]


def killed_runs(bench: Bench) -> Row:
    """`decay run`, killed; in the end the same pictures and the same log."""
    rng = random.Random(bench.seed)
    protocol = bench.work / "kills.toml"
    protocol.write_text(PROTOCOL)
    copied(bench.lineage / "gen_00", bench.work / "real")
    whole = bench.work / "whole-run"
    began = time.monotonic()
    decay("run", protocol, "--out", whole)
    whole_s = time.monotonic() - began
    n_killed, wrong = 0, set[str]()
    while n_killed < bench.n_kills:
        out = bench.work / "killed-run"
        shutil.rmtree(out, ignore_errors=True)
        tries = 0
        while tries < KILLS_A_FOLDER and n_killed < bench.n_kills:
            tries += 1
            n_killed += killed_after(whole_s * rng.random(), command("run", protocol, "--out", out))
        wrong.update(_differences(out, whole, protocol))
    return Row(
        SECTION,
        f"kill -9 of `decay run`, {n_killed} times",
        f"linear engine, 4 retrainings, {whole_s:.1f} s; random moments, {KILLS_A_FOLDER} in a row in each folder",
        "the same command then gives every picture, table and weight equal by hash to an uninterrupted run; the log's "
        "chain is whole, records the same, and each thing once",
        f"different: {', '.join(sorted(wrong)) or 'none'}",
        not wrong,
    )


def _differences(out: Path, whole: Path, protocol: Path) -> list[str]:
    done = decay("run", protocol, "--out", out)
    if done.returncode != 0:
        return [said(done)]
    # lineage.json and the log say when, and that it was gone on with.
    found, wanted = (hashes(folder, besides=("lineage.json", "provenance.jsonl")) for folder in (out, whole))
    wrong = differing(found, wanted)
    if decay("provenance", "verify", out).returncode != 0:
        wrong.append("verify")
    if sorted(_recorded(out)) != sorted(_recorded(whole)):
        wrong.append("what the log records")
    return wrong


def _recorded(run: Path) -> list[tuple[str, str]]:
    events: list[dict[str, Any]] = [json.loads(line) for line in (run / "provenance.jsonl").read_text().splitlines()]
    return [(event["path"], event["sha256"]) for event in events if "path" in event]
