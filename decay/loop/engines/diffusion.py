"""A diffusion model of the user's own pictures, from scratch, in pixel space: nobody else's weights are in it.

A U-Net (Ho, Jain & Abbeel 2020, "Denoising Diffusion Probabilistic Models", NeurIPS, arXiv:2006.11239) that knows a
prompt as one of the captions it was first fitted on; denoising in few steps by DDIM (Song, Meng & Ermon 2021, ICLR,
arXiv:2010.02502). Network and schedule are diffusers'. For squares of 32 to 256 px.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, cast, get_args

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DModel
from torch import Tensor, nn
from torch.nn.functional import mse_loss, pixel_shuffle, pixel_unshuffle

from decay.errors import DecayError, ModelError
from decay.files import to_json, write_text
from decay.loop.engine import Dataset, Fit, Processes, Setting, derive_seed
from decay.loop.engines import training
from decay.loop.engines.training import Optimisation, Precision, autocast, chances, draws, load_tensors, save_tensors
from detectors.trait import Pixels

WEIGHTS_FILE, CONFIG_FILE = "weights.safetensors", "config.json"
FORMAT_VERSION = 1
"""1: ``config.json`` has ``format_version``, ``network`` (the fields of ``Network``), ``prompts`` (by class number);
``weights.safetensors`` the tensors of diffusers' UNet2DModel, float32."""

Prediction = Literal["v_prediction", "epsilon"]
Schedule = Literal["cosine", "linear"]

N_TIMESTEPS = 1000  # as in Ho et al.
_BETAS: Mapping[str, str] = {"cosine": "squaredcos_cap_v2", "linear": "linear"}
_NOISE, _TIMESTEP, _FLIP, _DROPPED = 0, 1, 2, 3  # streams of a picture's seed
_HEAD_CHANNELS = 32  # per attention head
_SPREAD = 0.5
"""Standard deviation of photographs' pixels in -1..1, about. Divided by it, pictures vary as much as the noise does; v
is then what is left to say when the best linear guess is taken off, and the network need learn no more (Karras
et al. 2022, "Elucidating the design space of diffusion-based generative models", NeurIPS, arXiv:2206.00364, B.6).
"""
_GROUPS = 8  # of group normalisation: divides every multiple of 8


@dataclass(frozen=True)
class Network:
    """What the weights are weights of, and what they were trained to say.

    ``patch_px``: squares of so many pixels are folded into channels before the network and unfolded after it (Luhman &
    Luhman 2022, arXiv:2207.04316): a quarter of the cost for 2. ``channels``: per level, the finest first; each level
    has half the resolution of the one before. ``layers``: residual blocks per level. ``attention_px``: levels whose
    grid is at most so many cells wide attend to themselves, besides the middle, which always does.
    """

    size_px: int
    patch_px: int
    channels: tuple[int, ...]
    layers: int
    attention_px: int
    prediction: Prediction
    schedule: Schedule

    def __post_init__(self) -> None:
        for name, choices in (("prediction", Prediction), ("schedule", Schedule)):
            if getattr(self, name) not in get_args(choices):
                raise ValueError(f"{name} must be one of {', '.join(get_args(choices))}, got {getattr(self, name)!r}")
        if self.patch_px < 1 or self.layers < 1 or self.attention_px < 0:
            raise ValueError(
                "patch_px and layers must be at least 1, attention_px at least 0, got "
                f"{self.patch_px}, {self.layers} and {self.attention_px}"
            )
        if not self.channels or any(width < _GROUPS or width % _GROUPS for width in self.channels):
            raise ValueError(f"channels must be multiples of {_GROUPS}, one per level, got {self.channels}")
        finest = self.patch_px * 2 ** (len(self.channels) - 1)
        if self.size_px < finest or self.size_px % finest:
            raise ValueError(
                f"size_px must be a multiple of {finest} for {len(self.channels)} levels of patches of "
                f"{self.patch_px} px, got {self.size_px}"
            )

    def module(self, n_prompts: int) -> nn.Module:
        """The network with random weights, for so many prompts and one class more, which stands for none."""
        grid, depth = self.size_px // self.patch_px, 3 * self.patch_px**2
        attends = [grid // 2**level <= self.attention_px for level in range(len(self.channels))]
        module: Any = UNet2DModel(  # type: ignore[no-untyped-call]
            sample_size=grid,
            in_channels=depth,
            out_channels=depth,
            block_out_channels=self.channels,
            layers_per_block=self.layers,
            down_block_types=tuple("AttnDownBlock2D" if here else "DownBlock2D" for here in attends),
            up_block_types=tuple("AttnUpBlock2D" if here else "UpBlock2D" for here in reversed(attends)),
            attention_head_dim=min(_HEAD_CHANNELS, *self.channels),
            norm_num_groups=_GROUPS,
            num_class_embeds=n_prompts + 1,
        )
        return cast(nn.Module, module)

    def scheduler(self) -> Any:
        """The levels of noise, a ``DDIMScheduler``, begun where there is nothing but noise.

        Lin et al. (2024), "Common diffusion noise schedules and sample steps are flawed", WACV, arXiv:2305.08891.
        """
        return DDIMScheduler(  # type: ignore[no-untyped-call]
            num_train_timesteps=N_TIMESTEPS,
            beta_schedule=_BETAS[self.schedule],
            prediction_type=self.prediction,
            timestep_spacing="trailing",
            clip_sample=True,
            clip_sample_range=1.0 / _SPREAD,
        )

    def predict(self, module: nn.Module, noisy: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
        """What the network says of noisy pictures, float32 (n, 3, h, w)."""
        said = module(pixel_unshuffle(noisy, self.patch_px), timesteps, labels).sample
        return pixel_shuffle(said.float(), self.patch_px)


@dataclass(frozen=True)
class DiffusionWeights:
    """``prompts``: by class number; the class after the last stands for none. ``tensors``: by name, on the CPU."""

    network: Network
    prompts: tuple[str, ...]
    tensors: Mapping[str, Tensor]

    def save(self, folder: Path) -> None:
        """Write ``weights.safetensors`` and ``config.json`` into ``folder``. Raises OutputError."""
        save_tensors(folder / WEIGHTS_FILE, self.tensors)
        config = {"format_version": FORMAT_VERSION, "network": asdict(self.network), "prompts": self.prompts}
        write_text(folder / CONFIG_FILE, to_json(config))

    def module(self) -> nn.Module:
        """A network of its own that holds these weights. Raises RuntimeError if they do not fit it."""
        module = self.network.module(len(self.prompts))
        module.load_state_dict(self.tensors)
        return module.eval()


@dataclass(frozen=True)
class DiffusionEngine:
    """Network: ``patch_px``, ``layers``, ``attention_px``, ``prediction`` and ``schedule`` as in ``Network``;
    ``channels``: per level, finest first ("32 64 128"), or None for 64 at the finest level, 128 at the next, 256 below,
    with as many levels as lead to a grid 8 cells wide.

    Fitting: ``first_epochs`` on real pictures from random weights, ``epochs`` where it goes on from weights; the
    others as in ``Optimisation``. ``flip``: mirror every other picture by chance. ``caption_dropout``: 0..1, share of
    the pictures shown without their prompt, which guidance needs.

    Sampling: ``steps`` of DDIM; ``strength``: 0..1, the share of the way back to noise that a start picture is taken;
    ``guidance_scale``: 1 for none, else classifier-free (Ho & Salimans 2022, arXiv:2207.12598); ``sampling_batch``:
    pictures at a time.
    """

    name: ClassVar[str] = "diffusion"
    chains: ClassVar[bool] = True
    has_base: ClassVar[bool] = False  # it starts from nothing
    reads_text: ClassVar[bool] = False  # it knows the captions of its fits
    needs_pictures: ClassVar[bool] = False

    size_px: int = 64
    patch_px: int = 1
    channels: str | None = None
    layers: int = 2
    attention_px: int = 16
    prediction: Prediction = "v_prediction"
    schedule: Schedule = "cosine"
    first_epochs: int = 400
    epochs: int = 50
    batch_size: int = 32
    learning_rate: float = 2e-4
    weight_decay: float = 0.01
    warmup_steps: int = 100
    precision: Precision = "fp32"
    ema_decay: float | None = 0.999
    save_every_steps: int = 500
    accumulation: int = 1
    flip: bool = True
    caption_dropout: float = 0.0
    steps: int = 50
    strength: float = 0.8
    guidance_scale: float = 1.0
    sampling_batch: int = 32

    def __post_init__(self) -> None:
        if not 0.0 <= self.strength <= 1.0 or not 0.0 <= self.caption_dropout < 1.0:
            raise ValueError(
                "strength must lie in 0..1, caption_dropout in 0..1 and below 1, got "
                f"{self.strength} and {self.caption_dropout}"
            )
        if not 1 <= self.steps <= N_TIMESTEPS or self.sampling_batch < 1:
            raise ValueError(
                f"steps must lie in 1..{N_TIMESTEPS}, sampling_batch be at least 1, got {self.steps} "
                f"and {self.sampling_batch}"
            )
        if self.guidance_scale != 1.0 and self.caption_dropout == 0.0:
            raise ValueError(
                "a guidance_scale other than 1 needs a network that was shown pictures without a prompt: set "
                "caption_dropout above 0, 0.1 for example"
            )
        _ = self.network, self.optimisation(first=True), self.optimisation(first=False)  # they check their own

    @property
    def processes(self) -> Processes:
        """Those of accelerate."""
        return training.processes()

    @property
    def network(self) -> Network:
        """The network that the settings ask for."""
        if self.channels is None:
            channels = _default_channels(self.size_px // max(self.patch_px, 1))
        else:
            channels = _read_channels(self.channels)
        return Network(
            self.size_px, self.patch_px, channels, self.layers, self.attention_px, self.prediction, self.schedule
        )

    def optimisation(self, *, first: bool) -> Optimisation:
        """How a fit descends: the first, from random weights, or a later one."""
        later = Optimisation.of(self)
        return replace(later, epochs=self.first_epochs) if first else later

    def settings(self) -> Mapping[str, Setting]:
        """The fields of this class; ``channels`` as they are used."""
        return asdict(self) | {"channels": " ".join(map(str, self.network.channels))}

    def check(self) -> None:
        """Nothing is needed."""

    def fit_steps(self, n_images: int, *, first: bool = False) -> int:
        """Steps of a fit that goes on from weights; of one from random weights if ``first``."""
        return self.optimisation(first=first).steps(n_images)

    def base(self) -> DiffusionWeights | None:
        """None: it starts from nothing."""
        return None

    def fit(self, dataset: Dataset, start: DiffusionWeights | None, circumstances: Fit) -> DiffusionWeights:
        """See ``Engine.fit``. The pictures are held in memory, 3 bytes per pixel.

        Raises DecayError for pictures that are not ``size_px`` squares, for a caption that ``start`` does not know,
        for weights of another network, and where training diverges.
        """
        prompts = tuple(dict.fromkeys(dataset.captions)) if start is None else start.prompts
        labels = _labels(prompts, dataset.captions)
        pictures = np.stack([self._checked(picture) for picture in dataset.images])
        module = self._random(len(prompts), circumstances.seed) if start is None else self._module(start)
        optimisation = self.optimisation(first=start is None)
        place = training.device()
        loss_of = _Denoising(
            network=self.network,
            scheduler=self.network.scheduler(),
            pictures=torch.from_numpy(pictures).to(place),
            labels=labels.to(place),
            n_prompts=len(prompts),
            flip=self.flip,
            caption_dropout=self.caption_dropout,
        )
        training.train(module, loss_of, len(dataset), optimisation, circumstances, self.processes)
        tensors = {name: value.detach() for name, value in module.state_dict().items()}
        return DiffusionWeights(self.network, prompts, tensors)

    @torch.no_grad()
    def _random(self, n_prompts: int, seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, 0, 0))
            return self.network.module(n_prompts)

    def _module(self, weights: DiffusionWeights) -> nn.Module:
        if weights.network != self.network:
            raise DecayError(
                f"Expected weights of the network in [engine], {self.network}; these are of {weights.network}. Set "
                "[engine] as it was when they were made."
            )
        return weights.module()

    def sample(
        self,
        weights: DiffusionWeights,
        prompts: Sequence[str],
        seeds: Sequence[int],
        images: Sequence[Pixels] | None,
    ) -> Iterator[Pixels]:
        """See ``Engine.sample``.

        On a CPU with a fixed number of threads a picture is bit for bit the same whatever else is asked for, at one
        ``sampling_batch``: kernels differ with the shape of a batch, so that the last one is filled up. Between
        batch sizes, and on a GPU, pictures are equal to rounding.
        """
        if len(prompts) != len(seeds) or (images is not None and len(images) != len(prompts)):
            raise ValueError(f"one seed and one start per prompt, got {len(prompts)} prompts, {len(seeds)} seeds")
        labels = _labels(weights.prompts, prompts)
        module = self._module(weights).to(training.device())
        for first in range(0, len(prompts), self.sampling_batch):
            rows = range(first, min(first + self.sampling_batch, len(prompts)))
            filled = [*rows, *[rows[-1]] * (self.sampling_batch - len(rows))]
            starts = None if images is None else np.stack([self._checked(images[row]) for row in filled])
            made = self._denoise(module, labels[filled], [seeds[row] for row in filled], starts)
            yield from made[: len(rows)]

    @torch.no_grad()
    def _denoise(self, module: nn.Module, labels: Tensor, seeds: Sequence[int], starts: Pixels | None) -> Pixels:
        """One batch of pictures, uint8 (n, h, w, 3)."""
        place, scheduler = training.device(), self.network.scheduler()
        scheduler.set_timesteps(self.steps, device=place)
        timesteps = scheduler.timesteps
        noisy = draws((3, self.size_px, self.size_px), seeds, place, stream=_NOISE)
        if starts is not None:
            timesteps = timesteps[self.steps - int(self.steps * self.strength) :]
            pictures = _to_network(torch.from_numpy(starts).to(place))
            noisy = scheduler.add_noise(pictures, noisy, timesteps[:1]) if len(timesteps) else pictures
        labels = labels.to(place)
        for timestep in timesteps:
            with autocast(self.precision):
                said = self._guided(module, noisy, timestep, labels)
            noisy = scheduler.step(said, timestep, noisy).prev_sample
        levels = (((_SPREAD * noisy).clamp(-1.0, 1.0) + 1.0) * 127.5).round().to(torch.uint8)
        return np.asarray(levels.permute(0, 2, 3, 1).cpu().numpy())

    def _guided(self, module: nn.Module, noisy: Tensor, timestep: Tensor, labels: Tensor) -> Tensor:
        said = self.network.predict(module, noisy, timestep, labels)
        if self.guidance_scale == 1.0:
            return said
        nothing = torch.full_like(labels, _no_prompt(module))
        unprompted = self.network.predict(module, noisy, timestep, nothing)
        return unprompted + self.guidance_scale * (said - unprompted)

    def _checked(self, picture: Pixels) -> Pixels:
        if picture.shape != (self.size_px, self.size_px, 3):
            raise DecayError(
                f"The diffusion engine is set to {self.size_px} x {self.size_px} px; an image has "
                f"{picture.shape[1]} x {picture.shape[0]}. Resize the images, or set size_px."
            )
        return picture

    def load(self, folder: Path) -> DiffusionWeights:
        """What ``DiffusionWeights.save`` wrote into ``folder``. Raises ModelError if it is missing or damaged."""
        path = folder / CONFIG_FILE
        tensors = load_tensors(folder / WEIGHTS_FILE)
        try:
            weights = _read_config(json.loads(path.read_text(encoding="utf-8")), tensors)
            weights.module()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise ModelError(
                f"{path}: expected the weights of a diffusion engine, format {FORMAT_VERSION}; found none that can be "
                f"read ({error}). Put the folder back from a copy, or remove it to have it made again."
            ) from error
        return weights


@dataclass(frozen=True)
class _Denoising:
    """The loss: mean squared error of what the network says of noisy pictures. A ``LossOf``.

    ``pictures``: uint8 (n, h, w, 3), and ``labels``: (n,), both where the network is.
    """

    network: Network
    scheduler: Any
    pictures: Tensor
    labels: Tensor
    n_prompts: int
    flip: bool
    caption_dropout: float

    def __call__(self, module: nn.Module, indices: Sequence[int], seeds: Sequence[int]) -> Tensor:
        place, rows = self.pictures.device, torch.tensor(indices, device=self.pictures.device)
        clean, labels = _to_network(self.pictures[rows]), self.labels[rows]
        if self.flip:
            mirrored = (chances(seeds, _FLIP) < 0.5).to(place)
            clean = torch.where(mirrored[:, None, None, None], clean.flip(3), clean)
        if self.caption_dropout:
            labels = labels.masked_fill((chances(seeds, _DROPPED) < self.caption_dropout).to(place), self.n_prompts)
        timesteps = (chances(seeds, _TIMESTEP) * N_TIMESTEPS).long().to(place)
        noise = draws(clean.shape[1:], seeds, place, stream=_NOISE)
        noisy = self.scheduler.add_noise(clean, noise, timesteps)
        predicts_noise = self.network.prediction == "epsilon"
        wanted = noise if predicts_noise else self.scheduler.get_velocity(clean, noise, timesteps)
        return mse_loss(self.network.predict(module, noisy, timesteps, labels), wanted)


def _to_network(pictures: Tensor) -> Tensor:
    """uint8 (n, h, w, 3) as float32 (n, 3, h, w), -1..1 over the spread."""
    return (pictures.permute(0, 3, 1, 2).float() / 127.5 - 1.0) / _SPREAD


def _no_prompt(module: nn.Module) -> int:
    embedding: Any = module.class_embedding
    return int(embedding.num_embeddings) - 1


def _labels(known: Sequence[str], prompts: Sequence[str]) -> Tensor:
    """Class number of each prompt, int64. Raises DecayError for one that is not known."""
    numbers = {prompt: number for number, prompt in enumerate(known)}
    for prompt in prompts:
        if prompt not in numbers:
            raise DecayError(
                f"The diffusion engine knows the prompts it was first fitted on ({', '.join(map(repr, known))}) and no "
                f"others; asked for {prompt!r}. Use one of those, or an engine that reads text."
            )
    return torch.tensor([numbers[prompt] for prompt in prompts])


def _default_channels(grid: int) -> tuple[int, ...]:
    n_levels = max(1, grid.bit_length() - 3)  # a grid of 8 is one level, of 16 two
    return tuple(64 * min(2**level, 4) for level in range(n_levels))


def _read_channels(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d+([ ,]+\d+)*", text):
        raise ValueError(f'channels must be numbers such as "32 64 128", the finest level first, got {text!r}')
    return tuple(int(number) for number in re.findall(r"\d+", text))


def _read_config(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> DiffusionWeights:
    if config["format_version"] != FORMAT_VERSION:
        raise ValueError(f"format {config['format_version']}")
    network = Network(**config["network"] | {"channels": tuple(config["network"]["channels"])})
    return DiffusionWeights(network, tuple(str(prompt) for prompt in config["prompts"]), tensors)
