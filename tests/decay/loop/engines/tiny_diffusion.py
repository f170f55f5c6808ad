"""The diffusion engine at its smallest, and a program that fits it, for tests that need a process of their own."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch

from decay.loop.engine import Dataset, Fit
from decay.loop.engines.diffusion import DiffusionEngine

SMALL = DiffusionEngine(
    size_px=8,
    channels="16 32",
    layers=1,
    attention_px=4,
    first_epochs=60,
    epochs=2,
    batch_size=8,
    learning_rate=3e-3,
    warmup_steps=10,
    ema_decay=0.95,
    steps=5,
    sampling_batch=4,
    save_every_steps=3,
)
QUICK_EPOCHS = 4


def two_colours(n_images: int) -> Dataset:
    """By turns red and blue, 8 px, each of its own shade."""
    images = np.random.default_rng(0).integers(0, 30, (n_images, 1, 1, 3)).repeat(8, 1).repeat(8, 2).astype(np.uint8)
    images[::2, ..., 0] += 200
    images[1::2, ..., 2] += 200
    return Dataset(images, ("red", "blue") * (n_images // 2))


def main() -> None:
    """Arguments: folder for the weights, folder for half-way states, step at which to kill itself (-1: never)."""
    torch.set_num_threads(1)
    out, scratch, deadly_step = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])

    def progress(done: int, total: int) -> None:
        if done == deadly_step:
            os.kill(os.getpid(), signal.SIGKILL)

    engine = DiffusionEngine(**{**vars(SMALL), "first_epochs": QUICK_EPOCHS})
    weights = engine.fit(two_colours(15 + 1), None, Fit(1, scratch, progress))
    if engine.processes.index == 0:
        out.mkdir()
        weights.save(out)
    engine.processes.wait()


if __name__ == "__main__":
    main()
