"""Runs the calibration: draws and reads in parallel, then hands the records to the report."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pandas as pd

from decay.calibrate import drawn, hand_pictures, hands, photographs
from decay.calibrate.report import Records, report
from decay.errors import DecayError
from decay.files import make_folder, write_aside, write_bytes
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
N_HANDS = 600
"""Drawn hands, of odd seeds likewise."""


def calibrate(
    out_file: Path,
    photograph_root: Path | None,
    n_scale: float = 1.0,
    progress: Progress | None = None,
    *,
    hands_sheet: Path | None = None,
    overlays: Path | None = None,
) -> Path:
    """Measure the instrument and write its accuracy. ``n_scale`` < 1 makes a quicker, rougher study.

    ``hands_sheet``: where a picture of 24 drawn hands goes. ``overlays``: a folder for the generated photographs with
    what is seen in them drawn over. Raises DecayError if ``photograph_root`` is given and holds no labelled portraits,
    if overlays are wanted without it, or if something cannot be written.
    """
    if photograph_root and not photographs.portraits(photograph_root):
        raise DecayError(
            f"{photograph_root}: expected labelled portraits in {photographs.PORTRAITS}; found none. "
            "Give the folder that holds faces/, or leave the option out."
        )
    if overlays and not photograph_root:
        raise DecayError("Overlays are drawn over photographs, and none were given. Add --photographs DATA.")
    for place in (out_file.parent, *([hands_sheet.parent] if hands_sheet else []), *([overlays] if overlays else [])):
        make_folder(place)
    with write_aside(out_file) as aside:  # opened first: a place that cannot be written shows before the work is done
        rows = _run([*drawn_jobs(n_scale), *drawn_hand_jobs(n_scale)], progress, 0)
        drawn_hands = [row for row in rows if row["subject"] == "hand"]
        records = Records(
            drawn_faces=pd.DataFrame.from_records([row for row in rows if row["subject"] != "hand"]),
            drawn_hands=pd.DataFrame.from_records(drawn_hands),
        )
        if photograph_root:
            rows = _run([*hand_jobs(photograph_root), *photograph_jobs(photograph_root)], progress, 1)
            records = replace(
                records,
                portraits=pd.DataFrame.from_records([row for row in rows if "material" not in row]),
                hands=pd.DataFrame.from_records(
                    [row for row in rows if "material" in row], columns=list(hands.COLUMNS)
                ),
            )
        if hands_sheet:
            write_bytes(hands_sheet, hand_pictures.sheet(_reader(), records.drawn_hands))
        if photograph_root and overlays:
            hand_pictures.write_overlays(_reader(), photograph_root, overlays)
        shown = os.path.relpath(hands_sheet, out_file.parent) if hands_sheet else None
        aside.write_text(report(records, Path(shown).as_posix() if shown else None), encoding="utf-8")
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


def drawn_hand_jobs(n_scale: float) -> list[Job]:
    """Every drawn hand of the study."""
    return [partial(_drawn_hand, 2 * index + 1) for index in range(max(1, round(N_HANDS * n_scale)))]


def photograph_jobs(root: Path) -> list[Job]:
    """Every labelled portrait."""
    labels = photographs.read_labels(root)
    return [partial(_portrait, path, *labels) for path in photographs.portraits(root)]


def hand_jobs(root: Path) -> list[Job]:
    """Every photograph of a hand, edited and generated ones too, and the portraits without; the longest job first."""
    jobs: list[Job] = [partial(_made_hands, root)] if hands.labelled_photographs(root) else []
    jobs += [partial(_labelled_hand, *item) for item in hands.labelled_photographs(root)]
    jobs += [partial(_edited_hand, *item) for item in hands.edited_photographs(root)]
    jobs += [partial(_generated_hands, root, *item) for item in hands.generated_pictures(root)]
    return jobs + [partial(_portrait_hands, path) for path in photographs.portraits(root)]


def _run(jobs: Sequence[Job], progress: Progress | None, number: int) -> list[Record]:
    # Spawned, not forked: mediapipe hangs in a child that was forked after it ran.
    context = multiprocessing.get_context("spawn")
    records: list[Record] = []
    try:
        with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
            for done, found in enumerate(pool.map(_call, jobs, chunksize=2), start=1):
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


def _drawn_hand(seed: int) -> list[Record]:
    return [hands.read_drawn(_reader(), seed)]


def _labelled_hand(source: str, path: Path, truth: hands.HandTruth) -> list[Record]:
    return [hands.read_labelled(_reader(), source, path, truth)]


def _edited_hand(variant: str, photograph: str, path: Path, truth: hands.HandTruth) -> list[Record]:
    return [hands.read_edited(_reader(), variant, photograph, path, truth)]


def _made_hands(root: Path) -> list[Record]:
    return list(hands.read_made(_reader(), root))


def _generated_hands(root: Path, collection: str, path: Path, note: str) -> list[Record]:
    return hands.read_generated(_reader(), root, collection, path, note)


def _portrait_hands(path: Path) -> list[Record]:
    return [hands.read_portrait_hands(_reader(), path)]
