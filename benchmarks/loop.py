"""What the loop's own diffusion engine costs beside a plain diffusers script on the same network.

Run: python -m benchmarks.loop. Held to: at least 0.95 of the plain script's throughput in training and in sampling;
at most 3 % of a whole run for what is neither of the two (pictures written and read, hashes, the provenance log); and
memory that does not grow from generation to generation.

The plain script is what diffusers' example for unconditional training does: shuffled batches, a flip, noise from the
global generator, AdamW, clipped gradients, diffusers' own EMAModel; and a loop of its DDIM scheduler for sampling. Both
are run in turns, in one process; the ratio is taken within a turn. Time on a CPU is the process's own, so that what
the machine does besides hardly tells.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is loaded, hence before the imports below

import numpy as np
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from diffusers.training_utils import EMAModel
from PIL import Image

from decay.loop.engine import Dataset, Fit, Pixels
from decay.loop.engines.diffusion import DiffusionEngine, DiffusionWeights
from decay.loop.engines.training import device
from decay.loop.protocol import Protocol, RealSet
from decay.loop.run import run

PROMPTS = ("one", "two")
ENGINE = DiffusionEngine(
    size_px=32, channels="32 64 64", layers=1, batch_size=16, first_epochs=1, epochs=1, steps=10, sampling_batch=16
)
BYTES_PER_UNIT = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes there, kibibytes elsewhere


def main() -> None:
    """Print the tables."""
    n_turns, dataset = asked_for(__doc__, PROMPTS, n_turns=7, n_images=128)
    n_images = len(dataset)
    with tempfile.TemporaryDirectory() as scratch:
        start = ENGINE.fit(dataset, None, Fit(0, Path(scratch) / "start"))
        tell("training", n_turns, n_images,
             lambda: ENGINE.fit(dataset, start, Fit(0, Path(scratch) / "none")),
             lambda: fit_plainly(dataset, start))  # fmt: skip
        tell("sampling", n_turns, n_images,
             lambda: list(ENGINE.sample(start, dataset.captions, range(n_images), None)),
             lambda: sample_plainly(start, dataset.captions))  # fmt: skip
        tell_overhead(Path(scratch) / "run", dataset.images)
        peaks_mb = [peak_mb(dataset, start, Path(scratch) / str(generation)) for generation in range(6)]
    print("peak memory, MB, after each of 6 generations: " + "  ".join(f"{peak:.0f}" for peak in peaks_mb))


def asked_for(document: str | None, prompts: Sequence[str], n_turns: int, n_images: int) -> tuple[int, Dataset]:
    """How often each side is timed, and noise of 32 x 32 px to train on, by the command line or these defaults."""
    parser = argparse.ArgumentParser(description=document.splitlines()[0] if document else None)
    parser.add_argument("--turns", type=int, default=n_turns, help="how often each side is timed")
    parser.add_argument("--images", type=int, default=n_images, help="pictures that a turn trains on, and makes")
    arguments = parser.parse_args()
    pictures = np.random.default_rng(0).integers(0, 256, (arguments.images, 32, 32, 3), dtype=np.uint8)
    return arguments.turns, Dataset(pictures, tuple(prompts[i % len(prompts)] for i in range(arguments.images)))


def tell(name: str, turns: int, n_images: int, ours: Callable[[], object], plain: Callable[[], object]) -> None:
    """Time both in turns, and print pictures per second and their ratio."""
    for side in (ours, plain):
        side()  # the first run fills caches
    taken = np.array([_pair(ours, plain, turn) for turn in range(turns)])
    ratios = taken[:, 1] / taken[:, 0]
    speeds = n_images / np.median(taken, axis=0)
    print(
        f"{name}: ours {speeds[0]:.1f} images/s, plain {speeds[1]:.1f} images/s; ours/plain {np.median(ratios):.3f} "
        f"(median of {turns} turns, {ratios.min():.3f} to {ratios.max():.3f})"
    )


def _pair(ours: Callable[[], object], plain: Callable[[], object], turn: int) -> tuple[float, float]:
    if turn % 2:
        second, first = seconds(plain), seconds(ours)
        return first, second
    return seconds(ours), seconds(plain)


def seconds(work: Callable[[], object]) -> float:
    """Of the process on a CPU, of the clock on a GPU."""
    on_gpu = device().type == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time
    began = clock()
    work()
    if on_gpu:
        torch.cuda.synchronize()
    return clock() - began


def tell_overhead(folder: Path, pictures: Sequence[Pixels]) -> None:
    """Make a whole run of 3 retrainings, and print what share of its time neither ``fit`` nor ``sample`` took."""
    real = folder.with_name("photographs")
    real.mkdir()
    for index, picture in enumerate(pictures):
        Image.fromarray(picture).save(real / f"{index:04d}.png")
    settings = {name: getattr(ENGINE, name) for name in ("channels", "layers", "batch_size", "steps")}
    protocol = Protocol(
        name="overhead", seed=0, iterations=3, size_px=ENGINE.size_px, engine="diffusion",
        engine_settings=settings | {"first_epochs": 10, "epochs": 10},
        real=RealSet(folder=real, prompt="a picture", group=""), first_from="noise",
    )  # fmt: skip
    spent = {"fit": 0.0, "sample": 0.0}
    plain_fit, plain_sample = DiffusionEngine.fit, DiffusionEngine.sample

    def fit(*given: Any) -> DiffusionWeights:
        made: list[DiffusionWeights] = []
        spent["fit"] += seconds(lambda: made.append(plain_fit(*given)))
        return made[0]

    def sample(*given: Any) -> Iterator[Pixels]:
        pictures = plain_sample(*given)
        made: list[Pixels | None] = []
        while not made or made[-1] is not None:
            spent["sample"] += seconds(lambda: made.append(next(pictures, None)))
            if made[-1] is not None:
                yield made[-1]

    with patch.object(DiffusionEngine, "fit", fit), patch.object(DiffusionEngine, "sample", sample):
        whole = seconds(lambda: run(protocol, folder))
    shares = "  ".join(f"{name} {100 * each / whole:.1f} %" for name, each in spent.items())
    rest = 1 - sum(spent.values()) / whole
    print(f"a whole run, {whole:.0f} s: {shares}  besides {100 * rest:.2f} %")


def fit_plainly(dataset: Dataset, start: DiffusionWeights) -> None:
    """One epoch, as a script would write it."""
    network = start.module().to(device()).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=ENGINE.learning_rate, weight_decay=ENGINE.weight_decay)
    average = EMAModel(network.parameters(), decay=ENGINE.ema_decay or 0.0)
    scheduler = DDPMScheduler(1000, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
    images = torch.from_numpy(np.asarray(dataset.images)).permute(0, 3, 1, 2)
    labels = torch.tensor([PROMPTS.index(caption) for caption in dataset.captions])
    pairs = torch.utils.data.TensorDataset(images, labels)
    for batch, batch_labels in torch.utils.data.DataLoader(pairs, ENGINE.batch_size, shuffle=True):
        clean = batch.to(device()).float() / 63.75 - 2.0
        flipped = torch.rand(len(clean), device=device()) < 0.5
        clean = torch.where(flipped[:, None, None, None], clean.flip(3), clean)
        noise = torch.randn_like(clean)
        timesteps = torch.randint(0, 1000, (len(clean),), device=device())
        noisy = scheduler.add_noise(clean, noise, timesteps)
        said = network(noisy, timesteps, batch_labels.to(device())).sample
        loss = torch.nn.functional.mse_loss(said, scheduler.get_velocity(clean, noise, timesteps))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.step(network.parameters())
    average.copy_to(network.parameters())


@torch.no_grad()
def sample_plainly(weights: DiffusionWeights, prompts: tuple[str, ...]) -> list[np.ndarray]:
    """All pictures, as a script would write it."""
    network = weights.module().to(device())
    scheduler = DDIMScheduler(
        1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample_range=2.0,
    )
    scheduler.set_timesteps(ENGINE.steps)
    made = []
    for first in range(0, len(prompts), ENGINE.sampling_batch):
        labels = torch.tensor([PROMPTS.index(prompt) for prompt in prompts[first : first + ENGINE.sampling_batch]])
        noisy = torch.randn(len(labels), 3, ENGINE.size_px, ENGINE.size_px, device=device())
        for timestep in scheduler.timesteps:
            said = network(noisy, timestep, labels.to(device())).sample
            noisy = scheduler.step(said, timestep, noisy).prev_sample
        levels = (noisy / 4 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
        made.extend((levels * 255).round().astype(np.uint8))
    return made


def peak_mb(dataset: Dataset, start: DiffusionWeights, scratch: Path) -> float:
    """The most that the process has held so far, after one more generation."""
    engine = replace(ENGINE, save_every_steps=2)
    weights = engine.fit(dataset, start, Fit(0, scratch))
    captions = dataset.captions[:32]
    list(engine.sample(weights, captions, range(len(captions)), None))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES_PER_UNIT / 1e6


if __name__ == "__main__":
    main()
