"""FLUX.1 Fill on diffusers: eyes, hands or faces of a picture are painted anew; a LoRA of its transformer is trained.

A round of the loop is inpainting twice over. The fit shows the transformer each picture with a hole where our own
detectors see the part (``decay.loop.masks``) and trains adapters (Hu et al. 2022, "LoRA: low-rank adaptation of large
language models", ICLR) by flow matching (Lipman et al. 2023, "Flow matching for generative modeling", ICLR;
Esser et al. 2024, "Scaling rectified flow transformers for high-resolution image synthesis", ICML,
arXiv:2403.03206). Sampling then fills the same holes of the pictures it starts from. Transformer, VAE and both text
encoders stay as they are; the hashes of their files are kept with every fit.

The transformer is told of the hole as in diffusers' FluxFillPipeline: latents, latents of the picture with its hole
blackened, and the hole's pixels, each in patches of 2 x 2 latent pixels, side by side in the channels.

FLUX.1-Fill-dev is gated and for non-commercial use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxFillPipeline, FluxTransformer2DModel
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from diffusers.pipelines.flux.pipeline_flux_fill import calculate_shift
from peft import LoraConfig, get_peft_model_state_dict
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoTokenizer, CLIPTextModel, T5EncoderModel

from decay.errors import DecayError, ModelError
from decay.files import to_json, write_text
from decay.loop.engine import Dataset, Fit, Processes, Setting, derive_seed
from decay.loop.engines.pretrained import (
    check_same,
    commit_of,
    damaged,
    find_model,
    hash_settings,
    hash_weights,
    open_part,
    quiet,
    read_config,
    to_pixels,
)
from decay.loop.engines.training import (
    Optimisation,
    Precision,
    chances,
    device,
    draws,
    load_tensors,
    processes,
    save_tensors,
    train,
)
from decay.loop.masks import GROWTH, STATES, Mask, Part, draw_mask, part_state
from detectors.trait import Pixels, View
from detectors.vision import Vision

OFFICIAL = "black-forest-labs/FLUX.1-Fill-dev"
PARTS = ("transformer", "vae", "text_encoder", "text_encoder_2")
LORA_FILE = "pytorch_lora_weights.safetensors"
RECORD_FILE = "weights.json"
FORMAT_VERSION = 2
"""2: ``files`` has configurations, scheduler and tokenizers too.
1: ``format_version``, ``config`` (of the adapters), ``origin`` (``model``, ``commit``, ``files`` with their sha256),
``states`` (how many pictures of the fit had a mask, and why the others had none)."""

TimestepDensity = Literal["logit_normal", "uniform"]

_ADAPTER = "fill"
_PREFIX = "transformer"
_CONFIG = ("r", "lora_alpha", "rank_pattern", "alpha_pattern", "target_modules", "use_rslora", "lora_bias")
_LONGEST_TEXT = 512  # tokens of T5 that the pipeline takes
_POSTERIOR, _MASKED_POSTERIOR, _NOISE, _TIMESTEP, _FLIP = range(5)  # streams of a picture's seed
_START = 5  # and of a fit's: its new adapters


# --------------------------------------------------------------------------- what a fit leaves behind


@dataclass(frozen=True)
class Origin:
    """Which pretrained pipeline adapters belong to. ``model``: as it was asked for. ``commit``: of the hub's
    repository, None for a folder. ``files``: sha256 by path of every file of weights, and of those that say how parts
    are built, of the scheduler and of the tokenizers; none of them is ever changed."""

    model: str
    commit: str | None
    files: Mapping[str, str]


@dataclass(frozen=True)
class FluxFillWeights:
    """``tensors``: of the adapters, float32 on the CPU, named as in the transformer; empty for the pretrained model.

    ``config``: peft's, of the adapters. ``states``: of the pictures of the last fit, words of ``masks.STATES`` with
    their number; only those that are ``ok`` were trained on.
    """

    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any]
    origin: Origin
    states: Mapping[str, int] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write ``pytorch_lora_weights.safetensors``, for diffusers' ``load_lora_weights``, and ``weights.json``.

        Raises OutputError.
        """
        named = {f"{_PREFIX}.{name}": value for name, value in self.tensors.items()}
        metadata = {LORA_ADAPTER_METADATA_KEY: to_json(_prefixed(self.config))}
        save_tensors(folder / LORA_FILE, named, metadata)
        record = {
            "format_version": FORMAT_VERSION,
            "config": self.config,
            "origin": asdict(self.origin),
            "states": self.states,
        }
        write_text(folder / RECORD_FILE, to_json(record))


def _prefixed(config: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{_PREFIX}.{key}": value for key, value in config.items()}


# --------------------------------------------------------------------------- what the transformer is shown


def pack(latents: Tensor) -> Tensor:
    """Patches of 2 x 2: (n, c, h, w), both sides even -> (n, h/2 * w/2, 4c), rows first; in a patch, channels first."""
    n, c, h, w = latents.shape
    patches = latents.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return patches.reshape(n, (h // 2) * (w // 2), 4 * c)


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """The opposite: (n, height/2 * width/2, 4c) -> (n, c, height, width)."""
    n, _, channels = tokens.shape
    patches = tokens.reshape(n, height // 2, width // 2, channels // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return patches.reshape(n, channels // 4, height, width)


def pack_hole(hole: Tensor, factor: int) -> Tensor:
    """A hole's pixels, (n, height, width), as patches: no pixel is averaged away, each has a channel of its own.

    ``factor``: image pixels per latent pixel; 2 x ``factor`` divides both sides. Result: (n, tokens, 4 factor^2).
    """
    n, height, width = hole.shape
    cells = hole.reshape(n, height // factor, factor, width // factor, factor).permute(0, 2, 4, 1, 3)
    return pack(cells.reshape(n, factor * factor, height // factor, width // factor))


def patch_positions(height: int, width: int) -> Tensor:
    """Where each patch of latents (height, width) lies: float32 (tokens, 3) of zero, row and column."""
    rows, columns = torch.meshgrid(torch.arange(height // 2), torch.arange(width // 2), indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).reshape(-1, 3).float()


@dataclass(frozen=True)
class _Text:
    """What the transformer is told of a prompt: T5's tokens (1, length, width) and CLIP's summary (1, width)."""

    tokens: Tensor
    summary: Tensor


@dataclass(frozen=True)
class _Posterior:
    """Mean and standard deviation of a picture's latents, float32 (c, h, w), not yet shifted and scaled."""

    mean: Tensor
    spread: Tensor


@dataclass(frozen=True)
class _Encoded:
    """A picture, the same with its hole blackened, and the hole, float32 (height, width) of 0 and 1."""

    whole: _Posterior
    holed: _Posterior
    hole: Tensor


# --------------------------------------------------------------------------- the engine


@dataclass(frozen=True)
class FluxFillEngine:
    """``model``: a folder that diffusers saved a FluxFillPipeline to, or the name of a repository on the Hugging Face
    hub; pin its ``revision`` (branch, tag or commit). ``local_files_only``: False lets it download what is not in the
    hub's cache on this machine; nothing else does.

    Mask. ``mask``: what is painted anew, "eyes", "face" or "hands", or "centre" for a box in the middle of whatever
    picture. ``mask_grow``, ``mask_edge``: see ``decay.loop.masks.draw_mask``. The hole is where the mask is above 0.
    A picture that does not show the part is not trained on, and comes back from sampling as it was: see
    ``mask_states``. Masks are found anew in every picture: from generation to generation they move with what is found,
    unless sampling starts from the real pictures each time. ``keep_outside``: outside the mask, the start picture's own
    pixels, bit for bit, and a blend along its soft edge, so that whatever erodes is the model's doing inside; False
    takes all from the VAE.

    Training. ``lora``: a file of adapters to start from, as diffusers, peft or kohya's scripts write them, in
    safetensors; None for new ones, of rank ``lora_rank``, scaled by ``lora_alpha`` / ``lora_rank``, on the layers
    whose names end as one of ``lora_targets`` (comma-separated). ``flip``: each picture is mirrored at every other
    sight of it, by chance: more variety, but it wipes out from which side the light comes. ``cache_latents``: encode
    each picture (and its mirror image) once, to bitwise the same fit. ``train_guidance_scale``: the guidance that the
    transformer is told of while it learns; 1 is none, what the pictures themselves show. ``timestep_density``: of the
    share of noise, "uniform" or "logit_normal" with ``logit_mean`` and ``logit_std`` (Esser et al. 2024, eq. 19);
    ``timestep_shift``: towards more noise for larger pictures, as the scheduler does it when it samples (eq. 23). The
    others are those of ``Optimisation``.

    Sampling. ``guidance_scale``: what the transformer is told. ``max_sequence_length``: T5's tokens of a prompt, at
    most 512; the rest is cut off. ``precision``: of transformer and text encoders; the VAE decodes in fp32.
    """

    name: ClassVar[str] = "flux-fill"
    chains: ClassVar[bool] = True
    has_base: ClassVar[bool] = True  # the pretrained pipeline
    reads_text: ClassVar[bool] = True  # prompts are encoded as texts
    needs_pictures: ClassVar[bool] = True  # it fills holes in pictures

    model: str = OFFICIAL
    revision: str | None = None
    local_files_only: bool = True
    size_px: int = 1024

    mask: Part = "eyes"
    mask_grow: float | None = None
    mask_edge: float = 0.05
    keep_outside: bool = True

    lora: str | None = None
    lora_rank: int = 16
    lora_alpha: int = 16
    lora_targets: str = (
        "attn.to_q,attn.to_k,attn.to_v,attn.to_out.0,attn.add_q_proj,attn.add_k_proj,attn.add_v_proj,attn.to_add_out,"
        "ff.net.0.proj,ff.net.2,ff_context.net.0.proj,ff_context.net.2"
    )
    epochs: int = 10
    batch_size: int = 4
    accumulation: int = 1
    learning_rate: float = 1e-4
    weight_decay: float = 1e-4
    max_grad_norm: float = 1.0
    precision: Precision = "bf16"
    gradient_checkpointing: bool = True
    cache_latents: bool = True
    flip: bool = False
    train_guidance_scale: float = 1.0
    timestep_density: TimestepDensity = "logit_normal"
    logit_mean: float = 0.0
    logit_std: float = 1.0
    timestep_shift: bool = True
    save_every_steps: int = 500

    guidance_scale: float = 30.0
    inference_steps: int = 50
    max_sequence_length: int = _LONGEST_TEXT

    def __post_init__(self) -> None:
        self.optimisation  # noqa: B018  checks its share of the settings
        if self.mask not in get_args(Part):
            raise ValueError(f"mask must be one of {', '.join(get_args(Part))}, got {self.mask!r}")
        if self.timestep_density not in get_args(TimestepDensity):
            raise ValueError(
                f"timestep_density must be one of {', '.join(get_args(TimestepDensity))}, got {self.timestep_density!r}"
            )
        for name in ("size_px", "lora_rank", "lora_alpha", "inference_steps", "max_sequence_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.max_sequence_length > _LONGEST_TEXT:
            raise ValueError(f"max_sequence_length must be at most {_LONGEST_TEXT}, got {self.max_sequence_length}")
        for name in ("mask_edge", "guidance_scale", "train_guidance_scale"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if self.mask_grow is not None and self.mask_grow < 0:
            raise ValueError(f"mask_grow must be at least 0, or left out, got {self.mask_grow}")
        if self.logit_std <= 0:
            raise ValueError(f"logit_std must be above 0, got {self.logit_std}")

    @property
    def processes(self) -> Processes:
        """Those of ``accelerate launch``, each with its own GPU."""
        return processes()

    @property
    def optimisation(self) -> Optimisation:
        """How a fit descends. Raises ValueError for settings that it cannot be made of."""
        return Optimisation.of(self)

    def settings(self) -> Mapping[str, Setting]:
        """The fields of this class, with the mask's growth as it is applied."""
        return asdict(self) | {"mask_grow": GROWTH[self.mask] if self.mask_grow is None else self.mask_grow}

    def check(self) -> None:
        """Raises ModelError if the pipeline is absent, incomplete or another one. Reads no weights.

        Raises DecayError for settings that do not go with it.
        """
        folder = self._folder()
        said = read_config(folder / "model_index.json").get("_class_name")
        if said != "FluxFillPipeline":
            raise ModelError(f"{folder}: expected a FluxFillPipeline; found {said}. Correct `model` in [engine].")
        for part in PARTS:
            read_config(folder / part / "config.json")
            if not any((folder / part).glob("*.safetensors")):
                raise damaged(folder / part, "there are no safetensors")
        _check_size((self.size_px, self.size_px), _pixels_per_latent(folder))
        if self.lora is not None and not Path(self.lora).expanduser().is_file():
            raise ModelError(f"{self.lora}: expected a file of adapters; there is none. Correct `lora` in [engine].")

    def fit_steps(self, n_images: int, *, first: bool = False) -> int:
        """See ``Optimisation.steps``. Fewer where some of the pictures have no mask."""
        return self.optimisation.steps(n_images)

    def mask_states(self, images: Sequence[Pixels]) -> tuple[str, ...]:
        """Why pictures are painted (``ok``) or left as they are: a word of ``decay.loop.masks.STATES`` for each."""
        with self._looking() as look:
            return tuple(part_state(look(image), self.mask) for image in images)

    def base(self) -> FluxFillWeights:
        """The adapters of ``lora``, or none: the pretrained model. See ``Engine.base``.

        Raises ModelError for adapters of another model, or such as change more than the transformer.
        """
        self.check()
        folder = self._folder()
        origin = Origin(self.model, commit_of(folder), _files_of(folder))
        if self.lora is None:
            return FluxFillWeights({}, {}, origin)
        return self._read_lora(folder, Path(self.lora).expanduser(), origin)

    def fit(self, dataset: Dataset, start: FluxFillWeights | None, circumstances: Fit) -> FluxFillWeights:
        """Adapters that go on from ``start``, or new ones where it has none. See ``Engine.fit``.

        On a CPU with a fixed number of threads the same bit for bit; on a GPU, and between numbers of processes, equal
        to rounding. Raises DecayError if no picture shows what is to be painted.
        """
        folder = self._folder()
        start = self.base() if start is None else start
        _check_origin(start.origin, folder)
        holes, states = self._holes(dataset, _pixels_per_latent(folder))
        texts = _encode_texts(folder, {dataset.captions[i] for i in holes}, self.max_sequence_length, self._dtype)
        transformer = self._transformer(folder, start, circumstances.seed)
        _make_trainable(transformer, start.tensors)
        if self.gradient_checkpointing:
            transformer.enable_gradient_checkpointing()
        loss_of = _FlowMatching(
            engine=self,
            dataset=dataset,
            holes=holes,
            texts=texts,
            vae=open_part(AutoencoderKL, folder, "vae", torch.float32).to(device()),
            scheduler=_scheduler(folder),
            guided=bool(transformer.config["guidance_embeds"]),
            dtype=self._dtype,
        )
        train(transformer, loss_of, len(holes), self.optimisation, circumstances, self.processes)
        return _adapters_of(transformer, start.origin, states)

    def sample(
        self, weights: FluxFillWeights, prompts: Sequence[str], seeds: Sequence[int], images: Sequence[Pixels] | None
    ) -> Iterator[Pixels]:
        """The pictures of ``images`` with their masks painted anew. See ``Engine.sample``.

        On a CPU bit for bit the same whatever else is asked for: pictures are made one by one. Raises DecayError where
        there is no picture to start from.
        """
        if images is None:
            raise DecayError(
                "The flux-fill engine paints parts of pictures anew and needs pictures to start from; got none. Set "
                'first_from = "real" and later_from = "previous" or "real".'
            )
        return self._paint_all(weights, prompts, seeds, images)

    def load(self, folder: Path) -> FluxFillWeights:
        """What ``FluxFillWeights.save`` wrote into ``folder``. Raises ModelError if it is missing or damaged."""
        path = folder / RECORD_FILE
        record = read_config(path)
        try:
            if record["format_version"] != FORMAT_VERSION:
                raise ValueError(f"format {record['format_version']}")  # noqa: TRY301  one message for all
            config, states, origin = dict(record["config"]), dict(record["states"]), Origin(**record["origin"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{path}: expected the record of adapters for FLUX.1 Fill, format {FORMAT_VERSION}; found none that "
                f"can be read ({error!r}). Fit the model again."
            ) from error
        named = load_tensors(folder / LORA_FILE)
        return FluxFillWeights(
            {name.removeprefix(f"{_PREFIX}."): value for name, value in named.items()}, config, origin, states
        )

    # ------------------------------------------------------------------- parts

    @property
    def _dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    def _folder(self) -> Path:
        patterns = [
            "model_index.json",
            "*/*.json",
            "*/*.txt",
            "*/*.model",
            *(f"{part}/*.safetensors" for part in PARTS),
        ]
        revision = "" if self.revision is None else f" --revision {self.revision}"
        hint = (
            f"Get them with `hf download {self.model}{revision} --exclude '*.gguf' 'flux1-*.safetensors'`, set "
            "local_files_only = false in [engine] to have them downloaded, or name a folder with them as `model`."
        )
        if self.model == OFFICIAL:
            hint = (
                "They are about 34 GB, gated, and under the FLUX.1 [dev] Non-Commercial License: accept it at "
                f"https://huggingface.co/{OFFICIAL} and log in with `hf auth login`. {hint}"
            )
        return find_model(self.model, self.revision, self.local_files_only, patterns, hint)

    @contextmanager
    def _looking(self) -> Iterator[Callable[[Pixels], View]]:
        """How to see what is in a picture, as far as the mask needs it."""
        if self.mask == "centre":
            yield View
            return
        with Vision() as vision:
            yield vision.look

    def _draw_mask(self, view: View) -> Mask | None:
        return draw_mask(view, self.mask, self.mask_grow, self.mask_edge)

    def _holes(self, dataset: Dataset, factor: int) -> tuple[dict[int, Tensor], dict[str, int]]:
        """Holes, bool (height, width), by index of the pictures that have one; how many pictures are in which state."""
        holes, states = {}, Counter[str]()
        with self._looking() as look:
            for index, picture in enumerate(dataset.images):
                _check_size(picture.shape[:2], factor)
                view = look(picture)
                states[part_state(view, self.mask)] += 1
                if (mask := self._draw_mask(view)) is not None:
                    holes[index] = torch.from_numpy(mask > 0)
        if not holes:
            reasons = ", ".join(f"{number} x {state} ({STATES[state]})" for state, number in sorted(states.items()))
            raise DecayError(
                f'Expected pictures that show what mask = "{self.mask}" is to paint; in none of {len(dataset)} it is '
                f'found: {reasons}. Choose other pictures, or set mask = "centre" for a box in the middle.'
            )
        return holes, dict(sorted(states.items()))

    def _transformer(self, folder: Path, weights: FluxFillWeights, seed: int) -> Any:
        """The transformer with the adapters of ``weights``, or with new ones by ``seed`` where it has none."""
        transformer = open_part(FluxTransformer2DModel, folder, "transformer", self._dtype)
        if weights.tensors:
            return _put_on(transformer, weights)
        targets = sorted({target.strip() for target in self.lora_targets.split(",")})
        layers = [name for name, module in transformer.named_modules() if isinstance(module, nn.Linear)]
        if strange := [target for target in targets if not any(f".{name}".endswith(f".{target}") for name in layers)]:
            raise DecayError(
                f"The transformer of {self.model} has no layers that end as {', '.join(strange)}. Correct lora_targets."
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, _START, 0))
            transformer.add_adapter(
                LoraConfig(r=self.lora_rank, lora_alpha=self.lora_alpha, target_modules=targets), _ADAPTER
            )
        return transformer

    def _read_lora(self, folder: Path, path: Path, origin: Origin) -> FluxFillWeights:
        transformer = open_part(FluxTransformer2DModel, folder, "transformer", torch.float32)
        pipeline = _pipeline(folder, transformer=transformer)
        # Names are compared after diffusers has brought them into its own form, whoever wrote the file.
        try:
            with quiet():
                said = FluxFillPipeline.lora_state_dict(path, use_safetensors=True, local_files_only=True)
                _check_adapters(said, path)
                pipeline.load_lora_weights(path, _ADAPTER, use_safetensors=True, local_files_only=True)
        except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
            raise _foreign(path, error) from error
        config = getattr(transformer, "peft_config", {}).get(_ADAPTER)
        if not isinstance(config, LoraConfig) or config.use_dora:
            raise _foreign(path, "it holds no plain LoRA of a transformer")
        weights = _adapters_of(transformer, origin, {})
        if len(weights.tensors) != sum(_is_adapter(name) for name in said):
            raise _foreign(path, "its layers are not those of this model")
        return weights

    # ------------------------------------------------------------------- painting

    def _paint_all(
        self, weights: FluxFillWeights, prompts: Sequence[str], seeds: Sequence[int], images: Sequence[Pixels]
    ) -> Iterator[Pixels]:
        folder = self._folder()
        _check_origin(weights.origin, folder)
        texts = _encode_texts(folder, set(prompts), self.max_sequence_length, self._dtype)
        decoder = open_part(AutoencoderKL, folder, "vae", torch.float32).to(device())
        transformer = open_part(FluxTransformer2DModel, folder, "transformer", self._dtype)
        pipeline = _pipeline(
            folder,
            transformer=_put_on(transformer, weights),
            vae=open_part(AutoencoderKL, folder, "vae", self._dtype),
        ).to(device())
        with self._looking() as look:
            for prompt, seed, start in zip(prompts, seeds, images, strict=True):
                _check_size(start.shape[:2], _pixels_per_latent(folder))
                if (mask := self._draw_mask(look(start))) is None:
                    yield start.copy()
                    continue
                painted = self._paint(pipeline, decoder, texts[prompt], seed, start, mask)
                yield blend(start, painted, mask) if self.keep_outside else painted

    def _paint(self, pipeline: Any, decoder: Any, text: _Text, seed: int, start: Pixels, mask: Mask) -> Pixels:
        height, width = mask.shape
        tokens = pipeline(
            prompt_embeds=text.tokens.to(device()),
            pooled_prompt_embeds=text.summary.to(device()),
            image=Image.fromarray(start),
            mask_image=Image.fromarray(np.where(mask > 0, 255, 0).astype(np.uint8)),
            height=height,
            width=width,
            num_inference_steps=self.inference_steps,
            guidance_scale=self.guidance_scale,
            # On the CPU everywhere, so that the noise of a seed is the same on every machine.
            generator=torch.Generator().manual_seed(seed),
            output_type="latent",
        ).images
        factor = pipeline.vae_scale_factor
        latents = unpack(tokens.float(), height // factor, width // factor)
        with torch.no_grad():
            # In fp32, not as the pipeline does it: bfloat16 would leave gaps between grey levels.
            decoded = decoder.decode(latents / decoder.config["scaling_factor"] + decoder.config["shift_factor"])
        (picture,) = pipeline.image_processor.postprocess(decoded.sample, output_type="np")
        return to_pixels(picture, self.model)


def blend(start: Pixels, painted: Pixels, mask: Mask) -> Pixels:
    """``painted`` where the mask is 1, ``start`` where it is 0, both bit for bit; in between, by its share in sRGB.

    Both uint8 (h, w, 3), mask float32 (h, w) in 0..1.
    """
    share = mask[..., None].astype(np.float64)
    return np.asarray(np.rint(start * (1.0 - share) + painted * share), dtype=np.uint8)


def _check_size(shape: tuple[int, ...], factor: int) -> None:
    if any(side % (2 * factor) for side in shape):
        raise DecayError(
            f"Expected pictures whose sides {2 * factor} divides, as the model needs them; got "
            f"{shape[1]} x {shape[0]} px. Correct size_px."
        )


def _pixels_per_latent(folder: Path) -> int:
    return int(2 ** (len(read_config(folder / "vae" / "config.json")["block_out_channels"]) - 1))


def _check_origin(origin: Origin, folder: Path) -> None:
    check_same(_files_of(folder), origin.files, folder, origin.model)


def _files_of(folder: Path) -> Mapping[str, str]:
    return {**hash_weights(folder, PARTS), **hash_settings(folder, PARTS)}


# --------------------------------------------------------------------------- opening parts


def _scheduler(folder: Path) -> Any:
    scheduler: Any = FlowMatchEulerDiscreteScheduler
    return scheduler.from_config(read_config(folder / "scheduler" / "scheduler_config.json"))


def _pipeline(folder: Path, **parts: Any) -> Any:
    """A pipeline of these parts alone: 34 GB of weights are never needed at once."""
    others = ("vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", "transformer")
    pipeline_class: Any = FluxFillPipeline
    pipeline = pipeline_class(scheduler=_scheduler(folder), **(dict.fromkeys(others) | parts))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _encode_texts(folder: Path, prompts: set[str], length: int, dtype: torch.dtype) -> dict[str, _Text]:
    """Each prompt as both text encoders have it, on the CPU. One at a time: a prompt hangs on no other's company."""
    pipeline = _pipeline(
        folder,
        text_encoder=open_part(CLIPTextModel, folder, "text_encoder", dtype),
        text_encoder_2=open_part(T5EncoderModel, folder, "text_encoder_2", dtype),
        tokenizer=_open_tokenizer(folder / "tokenizer"),
        tokenizer_2=_open_tokenizer(folder / "tokenizer_2"),
    ).to(device())
    texts = {}
    with torch.no_grad(), quiet():
        for prompt in sorted(prompts):
            tokens, summary, _ = pipeline.encode_prompt(prompt, max_sequence_length=length)
            texts[prompt] = _Text(tokens.cpu(), summary.cpu())
    return texts


def _open_tokenizer(folder: Path) -> Any:
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the tokenizers' Rust raises bare Exceptions
        raise damaged(folder, error) from error


# --------------------------------------------------------------------------- adapters


def _put_on(transformer: Any, weights: FluxFillWeights) -> Any:
    """The transformer, with the adapters of ``weights`` where it has any."""
    if weights.tensors:
        named = {f"{_PREFIX}.{name}": value.clone() for name, value in weights.tensors.items()}
        try:
            with quiet():
                transformer.load_lora_adapter(
                    named, prefix=_PREFIX, adapter_name=_ADAPTER, metadata=_prefixed(weights.config)
                )
        except (ValueError, RuntimeError, KeyError, TypeError) as error:
            raise ModelError(
                f"Expected adapters for the transformer of {weights.origin.model}; these are for another ({error}). "
                "Fit the model again."
            ) from error
    return transformer


def _make_trainable(transformer: Any, tensors: Mapping[str, Tensor]) -> None:
    """Float32 adapters with the exact values of ``tensors``, which a bfloat16 transformer rounded to its own type."""
    with torch.no_grad():
        for name, parameter in transformer.named_parameters():
            if "lora_" in name:
                parameter.data = parameter.data.float()
                if tensors:
                    parameter.copy_(tensors[name.replace(f".{_ADAPTER}.", ".")])
                parameter.requires_grad_(True)


def _adapters_of(transformer: Any, origin: Origin, states: Mapping[str, int]) -> FluxFillWeights:
    found = get_peft_model_state_dict(transformer, adapter_name=_ADAPTER)
    said = transformer.peft_config[_ADAPTER].to_dict()
    config = {key: said[key] for key in _CONFIG} | {"target_modules": sorted(said["target_modules"])}
    tensors = {name: value.detach().float().cpu().clone() for name, value in found.items()}
    return FluxFillWeights(tensors, config, origin, states)


def _is_adapter(name: str) -> bool:
    return name.startswith(f"{_PREFIX}.") and ("lora_" in name or "lokr_" in name)


def _check_adapters(tensors: Mapping[str, Tensor], path: Path) -> None:
    if others := [name for name in tensors if not _is_adapter(name)]:
        raise ModelError(
            f"{path}: expected adapters of the transformer alone, for everything else stays frozen; found "
            f"{len(others)} others, such as {others[0]}. Leave those out of the file, or choose another `lora`."
        )


def _foreign(path: Path, reason: object) -> ModelError:
    return ModelError(
        f"{path}: expected a LoRA for FLUX.1 as safetensors, in the form of diffusers, peft or kohya's scripts; it "
        f"cannot be used ({reason}). Choose another `lora`."
    )


# --------------------------------------------------------------------------- the loss


@dataclass(frozen=True)
class _FlowMatching:
    """The loss of some pictures: a ``LossOf`` over those that have a hole, counted in order.

    Noise and picture are mixed to (1 - s) x + s e, and the transformer is to tell the velocity e - x (Lipman et al.
    2023; Esser et al. 2024, eq. 13), evenly over all latents. ``remembered``: of what the VAE makes of a picture.
    """

    engine: FluxFillEngine
    dataset: Dataset
    holes: Mapping[int, Tensor]
    texts: Mapping[str, _Text]
    vae: Any
    scheduler: Any
    guided: bool
    dtype: torch.dtype
    remembered: dict[tuple[int, bool], _Encoded] = field(default_factory=dict)

    def __call__(self, transformer: nn.Module, indices: Sequence[int], seeds: Sequence[int]) -> Tensor:
        place, chosen = device(), [list(self.holes)[index] for index in indices]
        flips = (chances(seeds, _FLIP) < 0.5).tolist() if self.engine.flip else [False] * len(seeds)
        batch = [self._encoded(index, flip) for index, flip in zip(chosen, flips, strict=True)]
        texts = [self.texts[self.dataset.captions[index]] for index in chosen]
        latents = self._drawn([item.whole for item in batch], seeds, _POSTERIOR)
        noise = draws(latents.shape[1:], seeds, stream=_NOISE)
        tokens = torch.cat([text.tokens for text in texts])
        height, width = latents.shape[-2:]
        amounts = self.noise_shares(seeds, height * width // 4)
        share = amounts[:, None, None, None]
        shown = [
            pack((1.0 - share) * latents + share * noise),
            pack(self._drawn([item.holed for item in batch], seeds, _MASKED_POSTERIOR)),
            pack_hole(torch.stack([item.hole for item in batch]), batch[0].hole.shape[0] // height),
        ]
        guidance = torch.full((len(batch),), self.engine.train_guidance_scale, device=place) if self.guided else None
        velocity = transformer(
            hidden_states=torch.cat(shown, dim=2).to(place, self.dtype),
            timestep=amounts.to(place, self.dtype),
            guidance=guidance,
            pooled_projections=torch.cat([text.summary for text in texts]).to(place),
            encoder_hidden_states=tokens.to(place),
            txt_ids=torch.zeros(tokens.shape[1], 3, device=place, dtype=self.dtype),
            img_ids=patch_positions(height, width).to(place, self.dtype),
            return_dict=False,
        )[0]
        return functional.mse_loss(velocity.float(), pack(noise - latents).to(place))

    def noise_shares(self, seeds: Sequence[int], n_tokens: int) -> Tensor:
        """How much of each picture is noise, float32 (n,) in 0..1, by the settings' density and shift."""
        if self.engine.timestep_density == "uniform":
            shares = chances(seeds, _TIMESTEP).float()
        else:
            normal = draws((1,), seeds, stream=_TIMESTEP)[:, 0]
            shares = torch.sigmoid(self.engine.logit_mean + self.engine.logit_std * normal)
        if not self.engine.timestep_shift:
            return shares
        said = self.scheduler.config
        if not said.use_dynamic_shifting:
            return torch.as_tensor(said.shift * shares / (1.0 + (said.shift - 1.0) * shares))
        mu = calculate_shift(n_tokens, said.base_image_seq_len, said.max_image_seq_len, said.base_shift, said.max_shift)
        return torch.as_tensor(self.scheduler.time_shift(mu, 1.0, shares))

    def _drawn(self, posteriors: Sequence[_Posterior], seeds: Sequence[int], stream: int) -> Tensor:
        """Latents drawn from each posterior, shifted and scaled as the transformer knows them, (n, c, h, w)."""
        mean = torch.stack([posterior.mean for posterior in posteriors])
        spread = torch.stack([posterior.spread for posterior in posteriors])
        drawn = mean + spread * draws(mean.shape[1:], seeds, stream=stream)
        return torch.as_tensor((drawn - self.vae.config["shift_factor"]) * self.vae.config["scaling_factor"])

    def _encoded(self, index: int, flip: bool) -> _Encoded:
        if (found := self.remembered.get((index, flip))) is not None:
            return found
        hole = self.holes[index].float()
        picture = torch.from_numpy(np.ascontiguousarray(self.dataset.images[index])).permute(2, 0, 1)
        scaled = picture.float() / 127.5 - 1.0
        if flip:
            hole, scaled = hole.flip(-1), scaled.flip(-1)
        encoded = _Encoded(self._posterior(scaled), self._posterior(scaled * (1.0 - hole)), hole)
        if self.engine.cache_latents:
            self.remembered[index, flip] = encoded
        return encoded

    def _posterior(self, picture: Tensor) -> _Posterior:
        """One picture, (3, height, width) in -1..1, at a time: it hangs on no other's company."""
        with torch.no_grad(), torch.autocast(device().type, enabled=False):
            posterior = self.vae.encode(picture[None].to(device())).latent_dist
        return _Posterior(posterior.mean[0].cpu(), posterior.std[0].cpu())
