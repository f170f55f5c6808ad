"""Writes a drawn lineage: generations of faces and hands, what each image should show, and the truth beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from decay.errors import DecayError
from decay.files import new_folder
from decay.images import encode_png
from decay.metadata import json_lines, metadata_row
from decay.phantom.canvas import Pixels
from decay.phantom.face import draw_face
from decay.phantom.hand import draw_hand
from decay.phantom.plan import Plan

FORMAT_VERSION = 1
"""1: lineage.json with plan and kept shares; gen_NN/ with images, metadata.jsonl and truth.jsonl."""

PERSON, MOMENT, SENSOR = 0, 1, 2
"""Third entry of the seeds of a slot: who it is (one person for all generations, if the plan says so), when, noise."""
TEXTS = {"face": "a portrait photograph of a person", "hand": "a photograph of a raised hand, palm to the camera"}
Progress = Callable[[int, int, int], None]
"""Called with (generation, images of it done so far, images in it)."""


@dataclass(frozen=True)
class Slot:
    """One position that every generation has: the same person or hand."""

    seed: int
    index: int
    kind: str

    def draw(self, plan: Plan, generation: int, size_px: int) -> tuple[Pixels, dict[str, Any]]:
        """The image of this slot in ``generation``, and its truth."""
        person = np.random.default_rng([self.seed, self.index, PERSON, 0 if plan.same_people else generation])
        moment = np.random.default_rng([self.seed, self.index, MOMENT, generation])
        sensor = np.random.default_rng([self.seed, self.index, SENSOR, generation])
        population = plan.population
        if self.kind == "hand":
            hand = population.vary_hand(population.sample_hand(person), moment)
            return draw_hand(plan.decay_hand(hand, generation, self.seed, self.index), size_px, sensor)
        face = population.vary_face(population.sample_face(person), moment)
        return draw_face(plan.decay_face(face, generation, self.seed, self.index), size_px, sensor)


def slots_of(plan: Plan, seed: int, n_slots: int) -> list[Slot]:
    """The slots of a lineage, hands evenly among the faces."""
    share = plan.frac_hands
    kinds = ["hand" if int((i + 1) * share) > int(i * share) else "face" for i in range(n_slots)]
    return [Slot(seed, i, kind) for i, kind in enumerate(kinds)]


def make_lineage(
    out: Path,
    plan: Plan,
    seed: int,
    n_per_generation: int,
    n_generations: int,
    size_px: int = 512,
    progress: Progress | None = None,
) -> Path:
    """Draw a lineage into ``out`` and return it.

    The folder appears complete or not at all. Raises DecayError if a number makes no sense, OutputError
    if ``out`` is a file or holds anything, or cannot be written.
    """
    _check(seed, n_per_generation, n_generations, size_px)
    with new_folder(out) as folder:
        slots = slots_of(plan, seed, n_per_generation)
        for generation in range(n_generations):
            _write_generation(folder / f"gen_{generation:02d}", plan, slots, generation, size_px, progress)
        _write_lineage(folder, plan, seed, n_per_generation, n_generations, size_px)
    return out


def _check(seed: int, n_per_generation: int, n_generations: int, size_px: int) -> None:
    wanted = {
        "seed": (seed, 0, 2**63),
        "per-generation": (n_per_generation, 1, 100_000),
        "generations": (n_generations, 1, 100),
        "size": (size_px, 64, 4096),
    }
    for name, (value, least, most) in wanted.items():
        if not least <= value <= most:
            raise DecayError(f"{name} must lie between {least} and {most}, got {value}. Give another number.")


def _write_generation(
    folder: Path, plan: Plan, slots: list[Slot], generation: int, size_px: int, progress: Progress | None
) -> None:
    folder.mkdir()
    rows, truths = [], []
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        drawn = pool.map(lambda slot: slot.draw(plan, generation, size_px), slots)
        for slot, (pixels, truth) in zip(slots, drawn, strict=True):
            name = f"slot_{slot.index:05d}.png"
            (folder / name).write_bytes(encode_png(pixels))
            rows.append(metadata_row(name, TEXTS[slot.kind], slot.index, slot.seed, slot.kind, "phantom", [slot.kind]))
            truths.append({"file_name": name, "slot": slot.index, "generation": generation, **truth})
            if progress is not None:
                progress(generation, len(rows), len(slots))
    (folder / "metadata.jsonl").write_text(json_lines(rows), encoding="utf-8")
    (folder / "truth.jsonl").write_text(json_lines(truths), encoding="utf-8")


def _write_lineage(
    folder: Path, plan: Plan, seed: int, n_per_generation: int, n_generations: int, size_px: int
) -> None:
    record = {
        "format_version": FORMAT_VERSION,
        "source": "phantom",
        "seed": seed,
        "n_per_generation": n_per_generation,
        "n_generations": n_generations,
        "size_px": size_px,
        "plan": plan.to_json(),
        "kept": [plan.kept(generation) for generation in range(n_generations)],
    }
    (folder / "lineage.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
