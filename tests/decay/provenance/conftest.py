"""Logs with a history that is known, made of events alone or of a run folder with files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from decay import provenance
from decay.loop.checkpoint import published
from decay.provenance import Fit, Image, Member, Real

N_SLOTS = 12


def sha(*words: object) -> str:
    return hashlib.sha256(repr(words).encode()).hexdigest()


def write(path: Path, *words: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(repr(words))
    return path


Regime = Callable[[int, Mapping[int, Sequence[Image]], Sequence[Real]], Sequence[Member]]
"""(generation, pictures of every generation before, real ones) -> training set"""


@pytest.fixture
def history() -> Callable[..., list[provenance.Event]]:
    """(regime, n_generations, base, chain, start) -> every event of a run of N_SLOTS pictures a generation."""

    def make(
        regime: Regime,
        n_generations: int,
        *,
        base: bool = False,
        chain: bool = False,
        steps: Callable[[int], int] = lambda generation: 10,
        start: bool = False,
    ) -> list[provenance.Event]:
        real = [Real(f"real/{slot}.png", sha("real", slot)) for slot in range(N_SLOTS)]
        events: list[provenance.Event] = [*real]
        made: dict[int, Sequence[Image]] = {}
        weights = sha("base")
        events.append(provenance.Base("a model", weights))
        for generation in range(n_generations):
            members = regime(generation, made, real)
            if not (base and generation == 0):
                parent = weights if chain else None
                weights = sha("fit", generation)
                path = f"weights/fit_{generation:02d}"
                events.append(Fit(path, weights, tuple(members), parent, generation, 0, steps(generation)))
            made[generation] = [
                Image(
                    f"gen_{generation:02d}/{slot}.png",
                    sha("image", generation, slot),
                    generation=generation,
                    weights=weights,
                    parents=(made[generation - 1][slot].sha256 if generation else real[slot].sha256,) if start else (),
                )
                for slot in range(N_SLOTS)
            ]
            events += made[generation]
        return events

    return make


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
        training: Sequence[provenance.Real | Image] = real
        for generation in range(2):
            folder = root / "weights" / f"fit_{generation:02d}"
            with published(folder, {}) as staged:
                write(staged / "model.safetensors", generation)
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
