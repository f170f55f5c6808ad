"""A lineage made on this machine alone: drawn people and hands, and a linear model that eats its own output.

Nothing in it is scripted. The drawn pictures are ``real/``; everything after them is what is left when
``decay.loop.engines.linear`` is fitted on them, sampled, fitted on its samples, and so on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from decay.errors import DecayError
from decay.files import new_folder
from decay.images import encode_png
from decay.lineage import REFERENCE_INDEX
from decay.loop.engine import Dataset, derive_seed
from decay.loop.engines.linear import LinearEngine
from decay.loop.recursion import retrain
from decay.metadata import json_lines, metadata_row
from decay.phantom import Framing, Population, Spread, draw_face, draw_hand
from detectors.trait import Pixels

FORMAT_VERSION = 1
"""Of lineage.json. 1: source, engine with its settings, regime, seed, sizes, prompts."""

TEXTS = {"face": "a drawn portrait of a person", "hand": "a drawing of a raised hand, palm to the viewer"}

# A linear model adds pictures pixel by pixel, so that every part must lie in one place: portraits are aligned, as the
# faces of FFHQ and CelebA are, and hands stand upright, thumb on one side. An iris has 9 to 10 px of radius at the
# default size, above the 8 px below which a catchlight cannot be placed; the chin still lies in the picture.
FACE_FRAMING = Framing(frame_mm=195.0, shift_y=-0.05)
HAND_FRAME_MM = 260.0
STILL = Spread(0.0, 0.0, 0.0, 0.0)
POPULATION = Population(yaw=STILL, roll=STILL)

ENGINE = LinearEngine(n_components=None, strength=0.5)
"""All components, so that nothing is lost but by resampling: with 40, half of the catchlights are gone in generation 0.
Every generation starts image-to-image from its own slot's picture in the one before, so that slots stay paired; at
strength 0.5 a quarter of a picture's variance is drawn anew. At 0.8, the start of Bohacek & Farid ("Nepotistically
trained generative image models collapse"), most of what erodes is gone in generation 0, and no course is to be seen."""

REAL = 2**31 - 1
"""In place of a generation's number in the seeds of the drawn pictures."""

Progress = Callable[[int, int, int], None]
"""(generation, images done, images in it); generation -1 is the reference folder."""


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


@dataclass(frozen=True)
class _Made:
    """Where one generation's images go and where they come from; ``seeds``: one per slot."""

    folder: Path
    generation: int
    source: str
    seeds: tuple[int, ...]


def make_demo(
    out: Path,
    seed: int = 0,
    n_faces: int = 80,
    n_hands: int = 40,
    size_px: int = 320,
    n_generations: int = 7,
    progress: Progress | None = None,
) -> Path:
    """Make a lineage in ``out`` and return it: ``real/`` and ``gen_00/`` on, each image with its metadata.

    The folder appears complete or not at all. Same arguments, same images. Raises DecayError if a number makes
    no sense; OutputError if ``out`` is a file or holds anything, or cannot be written.
    """
    _check(seed, n_faces, n_hands, size_px, n_generations)
    kinds = ["face"] * n_faces + ["hand"] * n_hands
    slots = [_Slot(i, kind, derive_seed(seed, REAL, i)) for i, kind in enumerate(kinds)]
    with new_folder(out) as folder:
        _write_settings(folder, seed, n_faces, n_hands, size_px, n_generations)
        made = _Made(folder / "real", REFERENCE_INDEX, "phantom", tuple(slot.seed for slot in slots))
        with closing(_draw_all(slots, size_px)) as drawn:
            images = _write_images(made, drawn, slots, progress)
        real = Dataset(images, tuple(TEXTS[kind] for kind in kinds))
        for turn in retrain(ENGINE, real, n_generations, seed):
            made = _Made(folder / f"gen_{turn.index:02d}", turn.index, ENGINE.name, turn.seeds)
            _write_images(made, turn.images, slots, progress)
    return out


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


def _write_images(
    made: _Made, images: Iterable[Pixels], slots: Sequence[_Slot], progress: Progress | None
) -> list[Pixels]:
    """Write one generation with its metadata.jsonl; returns the images."""
    made.folder.mkdir()
    rows: list[dict[str, object]] = []
    written = []
    for pixels, slot, seed in zip(images, slots, made.seeds, strict=True):
        name = f"slot_{slot.index:04d}.png"
        (made.folder / name).write_bytes(encode_png(pixels))
        rows.append(metadata_row(name, TEXTS[slot.kind], slot.index, seed, slot.kind, made.source, [slot.kind]))
        written.append(pixels)
        if progress is not None:
            progress(made.generation, len(rows), len(slots))
    (made.folder / "metadata.jsonl").write_text(json_lines(rows), encoding="utf-8")
    return written


def _write_settings(folder: Path, seed: int, n_faces: int, n_hands: int, size_px: int, n_generations: int) -> None:
    record = {
        "format_version": FORMAT_VERSION,
        "source": "demo",
        "engine": {"name": ENGINE.name, **ENGINE.settings()},
        "regime": "replace",
        "start": "each slot's picture of the generation before; of real/ for generation 0",
        "seed": seed,
        "n_faces": n_faces,
        "n_hands": n_hands,
        "size_px": size_px,
        "n_generations": n_generations,
        "prompts": TEXTS,
        "numpy": np.__version__,
    }
    (folder / "lineage.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
