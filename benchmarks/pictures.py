"""Lineages for the benchmarks: as many different files as are wanted, from a few drawn or given pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from decay.images import SUFFIXES, read_image, write_png
from decay.phantom import Population, draw_face, draw_hand
from detectors.trait import Pixels

N_DRAWN = 200
"""Different drawn pictures, four in five a face, one in five a hand; more files are these, moved by some pixels."""
N_GENERATIONS = 5


def make_lineage(folder: Path, n_images: int, side_px: int, photographs: Path | None) -> Path:
    """Write ``n_images`` PNG files of ``side_px``, no two alike, in ``N_GENERATIONS`` generations."""
    bases = photographs_of(photographs, side_px) if photographs else drawn(min(n_images, N_DRAWN), side_px)
    per_generation = -(-n_images // N_GENERATIONS)
    for generation in range(N_GENERATIONS):
        (folder / f"gen_{generation:02d}").mkdir(parents=True)
    for nth in range(n_images):
        generation, slot = divmod(nth, per_generation)
        which, move = nth % len(bases), nth // len(bases)
        path = folder / f"gen_{generation:02d}" / f"{slot:05d}.png"
        write_png(path, np.roll(bases[which], (move // 64, move % 64), axis=(0, 1)))
    return folder


def drawn(n: int, side_px: int) -> list[Pixels]:
    """Drawn faces and hands, each of its own seed."""
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        return list(pool.map(partial(_draw, side_px), range(n)))


def photographs_of(folder: Path, side_px: int) -> Sequence[Pixels]:
    """The pictures of a folder, brought to a square of that side."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    square = (side_px, side_px)
    return [np.asarray(cv2.resize(read_image(path), square, interpolation=cv2.INTER_AREA), np.uint8) for path in paths]


def _draw(side_px: int, seed: int) -> Pixels:
    rng = np.random.default_rng([seed, side_px])
    people = Population()
    if seed % 5 == 4:
        return draw_hand(people.sample_hand(rng), side_px, rng)[0]
    return draw_face(people.sample_face(rng), side_px, rng)[0]
