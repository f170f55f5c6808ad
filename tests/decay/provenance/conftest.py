"""A small run with a log, that several tests read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from decay import provenance
from decay.loop.checkpoint import published


def write(path: Path, *words: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(repr(words))
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with files: 3 photographs, 2 generations of 3 pictures, published weights of each, settings."""
    root = tmp_path / "run"
    write(root / "lineage.json", "settings")
    with provenance.log(root) as p:
        real = [
            p.record_real(write(root / "real" / f"{slot}.png", "real", slot), original=write(tmp_path / "o.png", slot))
            for slot in range(3)
        ]
        training: Sequence[provenance.Real | provenance.Image] = real
        for generation in range(2):
            folder = root / "weights" / f"fit_{generation:02d}"
            with published(folder, {}) as staged:
                write(staged / "model.safetensors", generation)
                write(staged / "second.bin", generation)
            weights = p.record_fit(folder, training, generation=generation, seed=generation, steps=5)
            training = [
                p.record(
                    write(root / f"gen_{generation:02d}" / f"slot_{slot:04d}.png", generation, slot),
                    prompt="a face",
                    seed=slot,
                    slot=slot,
                    generation=generation,
                    weights=weights,
                    parents=[real[slot]] if generation == 0 else [],
                )
                for slot in range(3)
            ]
    return root
