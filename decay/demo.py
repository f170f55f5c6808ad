"""A lineage made on this machine alone: drawn people and hands, and a linear model that eats its own output.

Nothing in it is scripted. The drawn pictures are ``real/``; everything after them is what the loop makes of the preset
``demo``: ``decay.loop.engines.linear`` fitted on them, sampled, fitted on its samples, and so on.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from decay.errors import DecayError
from decay.files import check_is_free, new_folder
from decay.images import encode_png
from decay.lineage import REFERENCE_NAME
from decay.loop.bench import RunProgress
from decay.loop.engine import derive_seed
from decay.loop.folder import picture_name
from decay.loop.reading import read_protocol
from decay.loop.run import run
from decay.metadata import json_lines, metadata_row
from decay.phantom import Framing, Population, Spread, draw_face, draw_hand
from detectors.trait import Pixels

TEXTS = {"face": "a drawn portrait of a person", "hand": "a drawing of a raised hand, palm to the viewer"}

# A linear model adds pictures pixel by pixel, so that every part must lie in one place: portraits are aligned, as the
# faces of FFHQ and CelebA are, and hands stand upright, thumb on one side. An iris has 9 to 10 px of radius at the
# default size, above the 8 px below which a catchlight cannot be placed; the chin still lies in the picture.
FACE_FRAMING = Framing(frame_mm=195.0, shift_y=-0.05)
HAND_FRAME_MM = 260.0
STILL = Spread(0.0, 0.0, 0.0, 0.0)
POPULATION = Population(yaw=STILL, roll=STILL)

REAL = 2**31 - 1
"""In place of a generation's number in the seeds of the drawn pictures."""


@dataclass(frozen=True)
class _Slot:
    """One position that every generation has."""

    index: int
    kind: str
    seed: int

    def draw(self, size_px: int) -> Pixels:
        """The drawn picture of this slot, sRGB uint8 (size_px, size_px, 3)."""
        rng = np.random.default_rng(self.seed)
        if self.kind == "face":
            face = replace(POPULATION.sample_face(rng), framing=FACE_FRAMING)
            return draw_face(face, size_px, rng)[0]
        hand = POPULATION.sample_hand(rng)
        upright = replace(hand, mirrored=False, rotation_deg=0.0, frame_mm=HAND_FRAME_MM, shift_x=0.0, shift_y=0.0)
        return draw_hand(upright, size_px, rng)[0]


def make_demo(
    out: Path,
    seed: int = 0,
    n_faces: int = 80,
    n_hands: int = 40,
    size_px: int = 320,
    n_generations: int = 7,
    progress: RunProgress = lambda what, done, total: None,
) -> Path:
    """Make a lineage in ``out`` and return it: ``real/``, drawn here, and what the preset ``demo`` makes of it.

    Same arguments, same images; an interrupted demo is gone on with. Raises DecayError if a number makes no sense, or
    ``out`` holds anything else; OutputError if it cannot be written.
    """
    _check(seed, n_faces, n_hands, size_px, n_generations)
    real = out / REFERENCE_NAME
    base = read_protocol("demo").base
    protocol = replace(
        base, seed=seed, size_px=size_px, iterations=n_generations - 1, real=replace(base.real, folder=real)
    )
    if not real.exists():
        kinds = ["face"] * n_faces + ["hand"] * n_hands
        slots = [_Slot(i, kind, derive_seed(seed, REAL, i)) for i, kind in enumerate(kinds)]
        check_is_free(out)
        with new_folder(real) as folder:
            _draw_into(folder, slots, size_px, progress)
    return run(protocol, out, progress)


def _check(seed: int, n_faces: int, n_hands: int, size_px: int, n_generations: int) -> None:
    for name, value, least in (
        ("seed", seed, 0),
        ("number of faces", n_faces, 2),  # a model of one picture can only repeat it
        ("number of hands", n_hands, 0),
        ("size", size_px, 64),
        ("number of generations", n_generations, 1),
    ):
        if value < least:
            raise DecayError(f"The {name} must be {least} or more; got {value}. Give a larger number.")
    if n_hands == 1:
        raise DecayError(
            "The number of hands must be 0, or 2 or more; got 1. A model of one picture can only repeat it."
        )


def _draw_all(slots: Sequence[_Slot], size_px: int) -> Generator[Pixels, None, None]:
    """The pictures of all slots, in order; closing it drops what has not been begun."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield from pool.map(lambda slot: slot.draw(size_px), slots)
    finally:
        pool.shutdown(cancel_futures=True)


def _draw_into(folder: Path, slots: Sequence[_Slot], size_px: int, progress: RunProgress) -> None:
    rows = []
    with closing(_draw_all(slots, size_px)) as drawn:
        for slot, pixels in zip(slots, drawn, strict=True):
            (folder / picture_name(slot.index)).write_bytes(encode_png(pixels))
            name, text = picture_name(slot.index), TEXTS[slot.kind]
            rows.append(metadata_row(name, text, slot.index, slot.seed, slot.kind, "phantom", [slot.kind]))
            progress("drawings", len(rows), len(slots))
    (folder / "metadata.jsonl").write_text(json_lines(rows), encoding="utf-8")
