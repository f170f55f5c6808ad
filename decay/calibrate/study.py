"""Runs the calibration: draws and reads in parallel, then hands the records to the report."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache, partial
from pathlib import Path
from typing import Any

import pandas as pd

from decay.calibrate import drawn, photographs
from decay.calibrate.report import report
from decay.errors import DecayError
from decay.files import make_folder, write_aside
from detectors.embedder import open_embedder
from detectors.reader import Reader
from detectors.vision import Vision

Progress = Callable[[int, int, int], None]
Record = dict[str, Any]
Job = Callable[[], list[Record]]

N_BASELINE = 50
"""Drawn faces at each of three sizes, and ..."""
N_PER_LEVEL = 24
"""... at each level of each factor. Seeds are odd: even seeds were used while the detectors were tuned."""
BASELINE_SIZES = (512, 768, 1024)


def calibrate(
    out_file: Path, photograph_root: Path | None, n_scale: float = 1.0, progress: Progress | None = None
) -> Path:
    """Measure the instrument and write its accuracy. ``n_scale`` < 1 makes a quicker, rougher study.

    Raises DecayError if ``photograph_root`` is given and holds no labelled portraits, or the report cannot be written.
    """
    if photograph_root and not photographs.portraits(photograph_root):
        raise DecayError(
            f"{photograph_root}: expected labelled portraits in {photographs.PORTRAITS}; found none. "
            "Give the folder that holds faces/, or leave the option out."
        )
    make_folder(out_file.parent)
    with write_aside(out_file) as aside:  # opened first: a place that cannot be written shows before the work is done
        records = [_run(drawn_jobs(n_scale), progress, 0)]
        if photograph_root:
            records.append(_run(photograph_jobs(photograph_root), progress, 1))
        tables = [pd.DataFrame.from_records(rows) for rows in records]
        aside.write_text(report(tables[0], tables[1] if photograph_root else None), encoding="utf-8")
    return out_file


def drawn_jobs(n_scale: float) -> list[Job]:
    """Every drawn face of the study, each with an odd seed of its own."""
    conditions = [(drawn.baseline(size), N_BASELINE) for size in BASELINE_SIZES]
    conditions += [(condition, N_PER_LEVEL) for condition in drawn.FACTORS]
    jobs: list[Job] = []
    for condition, n in conditions:
        # Levels of one factor show the same faces, so that they differ by the factor alone.
        first = 1 if condition.factor == "as drawn" else 100_001
        jobs += [partial(_drawn, condition, first + 2 * index) for index in range(max(1, round(n * n_scale)))]
    return jobs


def photograph_jobs(root: Path) -> list[Job]:
    """Every labelled photograph of the study."""
    labels = photographs.read_labels(root)
    jobs: list[Job] = [partial(_portrait, path, *labels) for path in photographs.portraits(root)]
    return jobs + [partial(_hand, source, path) for source, path in photographs.hand_photographs(root)]


def _run(jobs: Sequence[Job], progress: Progress | None, number: int) -> list[Record]:
    # Spawned, not forked: mediapipe hangs in a child that was forked after it ran.
    context = multiprocessing.get_context("spawn")
    records: list[Record] = []
    try:
        with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
            for done, found in enumerate(pool.map(_call, jobs, chunksize=4), start=1):
                records += found
                if progress:
                    progress(number, done, len(jobs))
    except BrokenProcessPool as error:
        raise DecayError(
            "A worker process was ended from outside, probably for want of memory; nothing was written. "
            "Free some memory, or try --scale 0.2."
        ) from error
    return records


def _call(job: Job) -> list[Record]:
    return job()


@cache
def _reader() -> Reader:
    """One reader per worker process, for its whole life."""
    return Reader(Vision(), open_embedder(None, None))


def _drawn(condition: drawn.Condition, seed: int) -> list[Record]:
    return drawn.read_drawn_face(_reader(), condition, seed)


def _portrait(path: Path, presence: dict[str, Any], glints: dict[Any, Any]) -> list[Record]:
    return photographs.read_portrait(_reader(), path, presence, glints)


def _hand(source: str, path: Path) -> list[Record]:
    return [photographs.read_hand(_reader(), source, path)]
