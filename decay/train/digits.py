"""Train the network that sees digits: ``python -m decay.train.digits --out detectors/digits/digits.onnx``.

It learns from the hands of ``decay.train.hands`` alone; no photograph is shown to it. Even seeds are for training,
odd ones for the figures it prints. The same settings, versions and number of threads give the same network.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from decay.train.hands import KINDS, MAP_PX, draw_example
from detectors.digits.network import MAPS

U8 = NDArray[np.uint8]
N_FINE = MAPS.index("hand")
"""Core and tip are told at full size, what they belong to at half."""
FUSED_BIT, HAND_BIT = 3, 4
"""How an example's labels are packed into one byte: kind in the low three bits, then fused, then hand."""


@dataclass(frozen=True)
class Settings:
    """How a network is trained."""

    n_train: int = 12_000
    n_held_out: int = 300
    epochs: int = 12
    batch: int = 32
    learning_rate: float = 4e-3
    weight_decay: float = 0.02
    width: int = 16
    seed: int = 0
    threads: int = 1


QUICK = Settings(n_train=12, n_held_out=4, epochs=4, batch=4, width=8)
"""Seconds instead of half an hour: shows that everything runs."""


class DigitNetwork(nn.Module):
    """A small U-Net (Ronneberger et al. 2015, 10.1007/978-3-319-24574-4_28) that adds its skips, joining none.

    sRGB in 0..1, float32 (n, 3, 96, 96) -> probabilities (n, ``len(MAPS)``, 96, 96). It computes at half size and
    below. Two ramps tell it where in the patch it is: the palm is always at the same place.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        a, b, c, d = width, 2 * width, 4 * width, 4 * width
        self.stem = _block(4 * 5, a)
        self.down = nn.ModuleList(
            nn.Sequential(_block(n, m, stride=2), _block(m, m)) for n, m in ((a, b), (b, c), (c, d))
        )
        self.rise = nn.ModuleList(nn.Conv2d(n, m, 1) for n, m in ((d, c), (c, b), (b, a)))
        self.merge = nn.ModuleList((_block(c, c), _block(b, b), _block(a, a + a // 2)))
        self.fine = nn.Conv2d(a + a // 2, 4 * N_FINE, 1)
        self.coarse = nn.Conv2d(a + a // 2, len(MAPS) - N_FINE, 1)
        ramp = torch.linspace(-1.0, 1.0, MAP_PX)
        self.register_buffer("place", torch.stack(torch.meshgrid(ramp, ramp, indexing="ij"))[None])

    def forward(self, pixels: Tensor) -> Tensor:
        """Probabilities; the kinds sum to 1."""
        fine, coarse = self.logits(pixels)
        n = coarse.shape[1] - len(KINDS)
        coarse = torch.cat([torch.sigmoid(coarse[:, :n]), torch.softmax(coarse[:, n:], dim=1)], dim=1)
        return torch.cat([torch.sigmoid(fine), functional.interpolate(coarse, scale_factor=2.0, mode="nearest")], dim=1)

    def logits(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Before the squashing: core and tip (n, 2, 96, 96), and the other maps at half size (n, 8, 48, 48)."""
        centred = pixels - pixels.mean(dim=(2, 3), keepdim=True)
        spread = centred.square().mean(dim=(1, 2, 3), keepdim=True).sqrt() + 0.02
        place = self.place.expand(pixels.shape[0], -1, -1, -1)  # type: ignore[operator]
        x = self.stem(functional.pixel_unshuffle(torch.cat([centred / spread, place], dim=1), 2))
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        for rise, merge, skip in zip(self.rise, self.merge, reversed(skips), strict=True):
            x = merge(skip + functional.interpolate(rise(x), scale_factor=2.0, mode="nearest"))
        return functional.pixel_shuffle(self.fine(x), 2), self.coarse(x)


def _block(n: int, m: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n, m, 3, stride, 1, bias=False), nn.BatchNorm2d(m), nn.ReLU(inplace=True))


# --------------------------------------------------------------------------- examples


def pack_example(seed: int) -> U8:
    """The example of one seed as uint8 (96, 96, 5): red, green, blue, packed labels, tip heat."""
    cv2.setNumThreads(1)
    example = draw_example(seed)
    labels = example.kind | (example.fused.astype(np.uint8) << FUSED_BIT) | (example.hand.astype(np.uint8) << HAND_BIT)
    return np.dstack([example.pixels, labels, example.tip])


def draw_examples(seeds: range, workers: int) -> U8:
    """uint8 (n, 96, 96, 5), in the order of ``seeds`` whatever the number of processes."""
    if workers <= 1:
        return np.stack([pack_example(seed) for seed in seeds])
    with ProcessPoolExecutor(workers) as pool:
        return np.stack(list(pool.map(pack_example, seeds, chunksize=32)))


def _batches(examples: U8, settings: Settings, generator: torch.Generator) -> Iterator[Tensor]:
    order = torch.randperm(len(examples), generator=generator).numpy()
    for start in range(0, len(order) - settings.batch + 1, settings.batch):
        yield torch.from_numpy(examples[np.sort(order[start : start + settings.batch])]).permute(0, 3, 1, 2)


def _vary(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """New light each time an example is shown: gains, offset, curve, hue, grey, noise."""
    n = len(pixels)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    curve = torch.exp(0.5 * (draw(n, 1, 1, 1) - 0.5))
    pixels = pixels.clamp(0.0, 1.0) ** curve
    pixels = pixels * (1.0 + 0.35 * (draw(n, 3, 1, 1) - 0.5)) + 0.15 * (draw(n, 3, 1, 1) - 0.5)
    grey = pixels.mean(dim=1, keepdim=True)
    keep = torch.where(draw(n, 1, 1, 1) < 0.1, torch.zeros(1), 0.5 + draw(n, 1, 1, 1))
    pixels = grey + keep * (pixels - grey)
    turned = draw(n) < 0.12
    pixels[turned] = pixels[turned][:, torch.randperm(3, generator=generator)]
    noise = torch.randn(pixels.shape, generator=generator)
    return (pixels + 0.03 * draw(n, 1, 1, 1) * noise).clamp(0.0, 1.0)


# --------------------------------------------------------------------------- loss


def loss_of(logits: tuple[Tensor, Tensor], packed: Tensor) -> Tensor:
    """Cross-entropy of all maps and the overlap (Dice) of the cores; ``packed``: uint8 (n, 5, 96, 96).

    The pixels round a core weigh more: they decide whether neighbours are apart.
    """
    fine, coarse = logits
    labels, tip = packed[:, 3], packed[:, 4].float() / 255.0
    core = ((labels & 7) > 0).float()
    weight = 1.0 + 4.0 * functional.max_pool2d(core[:, None], 5, 1, 2)[:, 0]
    seen = torch.sigmoid(fine[:, 0])
    overlap = 1.0 - (2.0 * (seen * core).sum((1, 2)) + 20.0) / (seen.sum((1, 2)) + core.sum((1, 2)) + 20.0)
    half = labels[:, ::2, ::2]
    kind, fused, hand = (half & 7).long(), ((half >> FUSED_BIT) & 1).float(), ((half >> HAND_BIT) & 1).float()
    inside = (kind > 0).float()
    n_inside = inside.sum().clamp(min=1.0)
    bce = partial(functional.binary_cross_entropy_with_logits, reduction="none")
    which = functional.cross_entropy(coarse[:, 2:], (kind - 1).clamp(min=0), reduction="none")
    terms = (
        (weight * bce(fine[:, 0], core)).mean(),
        0.5 * overlap.mean(),
        3.0 * ((1.0 + 8.0 * tip) * bce(fine[:, 1], tip)).mean(),
        0.5 * bce(coarse[:, 0], hand).mean(),
        0.4 * (inside * bce(coarse[:, 1], fused)).sum() / n_inside,
        0.3 * (inside * which).sum() / n_inside,
    )
    return torch.stack(terms).sum()


# --------------------------------------------------------------------------- training


def train(examples: U8, held_out: U8, settings: Settings) -> tuple[DigitNetwork, list[dict[str, float]]]:
    """The trained network, ready to use, and one row of losses per epoch."""
    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a third of the time
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    network = DigitNetwork(settings.width)
    for weights in network.parameters():  # the layout in which convolutions are fastest here
        if weights.dim() == 4:
            weights.data = weights.data.contiguous(memory_format=torch.channels_last)
    steps = settings.epochs * (len(examples) // settings.batch)
    optimizer = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(_rate, steps))
    rows = []
    for epoch in range(settings.epochs):
        network.train()
        losses = []
        for packed in _batches(examples, settings, generator):
            pixels = _vary(packed[:, :3].float() / 255.0, generator).contiguous(memory_format=torch.channels_last)
            loss = loss_of(network.logits(pixels), packed)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 2.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        row = {"epoch": epoch + 1, "loss": float(np.mean(losses)), "held_out_loss": evaluate(network, held_out)}
        rows.append(row)
        print(json.dumps(row), flush=True)  # noqa: T201  # a script's progress
    network.eval()
    return network, rows


def _rate(steps: int, step: int) -> float:
    """A short warm-up, then a cosine to nothing."""
    warm = max(1, steps // 25)
    return (step + 1) / warm if step < warm else 0.5 + 0.5 * math.cos(math.pi * (step - warm) / max(1, steps - warm))


def evaluate(network: DigitNetwork, examples: U8) -> float:
    """Mean loss over ``examples``."""
    network.eval()
    losses = []
    with torch.no_grad():
        for start in range(0, len(examples), 25):
            packed = torch.from_numpy(examples[start : start + 25]).permute(0, 3, 1, 2)
            losses.append(loss_of(network.logits(packed[:, :3].float() / 255.0), packed).item())
    return float(np.mean(losses))


def export(network: DigitNetwork, path: Path) -> None:
    """Write the network as ONNX: ``pixels`` float32 (1, 3, 96, 96) -> ``maps`` float32 (1, 10, 96, 96)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    network.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no further package calls itself old
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, MAP_PX, MAP_PX),),
            str(path),
            input_names=["pixels"],
            output_names=["maps"],
            opset_version=17,
            dynamo=False,
        )


def main() -> None:
    """Draw, train, export, and write beside the network how it came about."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="folder in which drawn examples are kept between runs")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw")
    parser.add_argument("--quick", action="store_true", help="a tiny network in seconds")
    arguments = parser.parse_args()
    settings = QUICK if arguments.quick else Settings()
    examples, held_out = (
        _cached(arguments.cache, f"{name}_{n}", range(parity, 2 * n, 2), arguments.workers)
        for name, n, parity in (("train", settings.n_train, 0), ("held_out", settings.n_held_out, 1))
    )
    network, rows = train(examples, held_out, settings)
    export(network, arguments.out)
    write_card(arguments.out, settings, rows)


def _cached(folder: Path | None, name: str, seeds: range, workers: int) -> U8:
    if folder is None:
        return draw_examples(seeds, workers)
    path = folder / f"{name}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        np.save(path, draw_examples(seeds, workers))
    return np.asarray(np.load(path), np.uint8)


def write_card(network: Path, settings: Settings, rows: list[dict[str, float]]) -> None:
    """``<network>.json``: what it is, how it was trained, on what, with which versions."""
    card = {
        "format_version": 1,
        "network": network.name,
        "sha256": hashlib.sha256(network.read_bytes()).hexdigest(),
        "maps": list(MAPS),
        "data": "drawn hands of decay.train.hands only; even seeds trained on, odd seeds held out; no photograph",
        "settings": asdict(settings),
        "epochs": rows,
        "versions": {name: version(name) for name in ("torch", "onnx", "numpy", "opencv-python")},
    }
    network.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
