"""FLUX.1 Fill at tiny size: every part is the real class, with random weights."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, FluxFillPipeline
from peft import LoraConfig, get_peft_model_state_dict
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from decay.errors import DecayError, ModelError
from decay.loop.engine import Dataset, Fit
from decay.loop.engines import open_engine
from decay.loop.engines.flux_fill import (
    LORA_FILE,
    OFFICIAL,
    PARTS,
    RECORD_FILE,
    FluxFillEngine,
    FluxFillWeights,
    _encode_texts,
    _FlowMatching,
    _make_trainable,
    _scheduler,
    blend,
    pack,
    pack_hole,
    patch_positions,
    unpack,
)
from decay.loop.engines.pretrained import hash_weights, open_part
from decay.loop.engines.training import train
from decay.phantom import FaceParameters, draw_face
from detectors.trait import OK, Pixels

SMALL: Mapping[str, Any] = {
    "size_px": 32,
    "mask": "centre",
    "precision": "fp32",
    "epochs": 2,
    "batch_size": 2,
    "learning_rate": 1e-2,
    "lora_rank": 4,
    "lora_alpha": 8,
    "inference_steps": 3,
    "max_sequence_length": 16,
}
PROMPTS = ("an eye", "a blue eye, wide open", "an eye")


def small(folder: Path, **settings: Any) -> FluxFillEngine:
    return FluxFillEngine(model=str(folder), **{**SMALL, **settings})


def pictures(n_images: int = 3, size_px: int = 32) -> list[Pixels]:
    """Blobs of a colour of their own on grey noise: no two are alike, none is its own mirror image."""
    rng = np.random.default_rng(size_px)
    made = rng.integers(90, 140, (n_images, size_px, size_px, 3), dtype=np.uint8)
    for picture in made:
        x, y = rng.integers(0, size_px // 2, 2)
        picture[y : y + size_px // 2, x : x + size_px // 3] = rng.integers(0, 255, 3)
    return list(made)


@pytest.fixture(scope="module")
def faces() -> list[Pixels]:
    return [draw_face(FaceParameters(), 96, np.random.default_rng(seed))[0] for seed in range(2)]


@pytest.fixture(scope="module")
def fitted(tiny_flux_fill: Path, tmp_path_factory: pytest.TempPathFactory) -> FluxFillWeights:
    scratch = tmp_path_factory.mktemp("scratch")
    return small(tiny_flux_fill).fit(Dataset(pictures(), PROMPTS), None, Fit(5, scratch))


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def loss_of(engine: FluxFillEngine, folder: Path, dataset: Dataset) -> _FlowMatching:
    holes, _ = engine._holes(dataset, 4)
    return _FlowMatching(
        engine=engine,
        dataset=dataset,
        holes=holes,
        texts=_encode_texts(folder, set(dataset.captions), engine.max_sequence_length, torch.float32),
        vae=open_part(AutoencoderKL, folder, "vae", torch.float32),
        scheduler=_scheduler(folder),
        guided=True,
        dtype=torch.float32,
    )


# --------------------------------------------------------------------------- what the transformer is shown


def test_patches_are_those_of_the_pipeline(tiny_flux_fill: Path) -> None:
    pipeline: Any = FluxFillPipeline.from_pretrained(tiny_flux_fill)
    n, c, height, width = 2, 4, 48, 80
    latents = torch.randn(n, c, height // 4, width // 4, generator=torch.Generator().manual_seed(0))
    hole = (torch.rand(n, 1, height, width, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    packed = pipeline._pack_latents(latents, n, c, height // 4, width // 4)
    torch.testing.assert_close(pack(latents), packed, rtol=0, atol=0)
    torch.testing.assert_close(
        unpack(packed, height // 4, width // 4), pipeline._unpack_latents(packed, height, width, 4), rtol=0, atol=0
    )
    theirs, _ = pipeline.prepare_mask_latents(hole, latents, n, c, 1, height, width, torch.float32, "cpu", None)
    torch.testing.assert_close(pack_hole(hole[:, 0], 4), theirs, rtol=0, atol=0)
    ids = pipeline._prepare_latent_image_ids(n, height // 8, width // 8, "cpu", torch.float32)
    torch.testing.assert_close(patch_positions(height // 4, width // 4), ids, rtol=0, atol=0)


class Stop(Exception):  # noqa: N818
    """Thrown once the transformer has been asked."""


def asked_of(transformer: Any, ask: Any) -> dict[str, Any]:
    """The arguments of the transformer's first call within ``ask``."""
    seen: dict[str, Any] = {}

    def note(module: object, args: object, kwargs: dict[str, Any]) -> None:
        seen.update(kwargs)
        raise Stop

    hook = transformer.register_forward_pre_hook(note, with_kwargs=True)
    with pytest.raises(Stop):
        ask()
    hook.remove()
    return seen


def test_the_transformer_learns_on_what_the_pipeline_shows_it(tiny_flux_fill: Path) -> None:
    """Everything but chance: position, texts, hole bit for bit; latents by their posterior and the chance that was."""
    engine = small(tiny_flux_fill, train_guidance_scale=30.0)
    dataset = Dataset(pictures(1), PROMPTS[:1])
    pipeline: Any = FluxFillPipeline.from_pretrained(tiny_flux_fill)
    loss = loss_of(engine, tiny_flux_fill, dataset)
    hole = loss.holes[0]
    theirs = asked_of(
        pipeline.transformer,
        lambda: pipeline(
            prompt=PROMPTS[0],
            image=Image.fromarray(dataset.images[0]),
            mask_image=Image.fromarray(hole.numpy().astype(np.uint8) * 255),
            height=32,
            width=32,
            max_sequence_length=16,
            generator=torch.Generator().manual_seed(3),
        ),
    )
    ours = asked_of(pipeline.transformer, lambda: loss(pipeline.transformer, [0], [3]))
    for name in ("img_ids", "txt_ids", "guidance", "pooled_projections", "encoder_hidden_states"):
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=0)
    torch.testing.assert_close(ours["hidden_states"][..., 32:], theirs["hidden_states"][..., 32:], rtol=0, atol=0)

    generator = torch.Generator().manual_seed(3)
    _, noise, chance = (torch.randn(1, 4, 8, 8, generator=generator) for _ in range(3))
    holed, config = loss._encoded(0, False).holed, pipeline.vae.config
    latents = (holed.mean + holed.spread * chance - config.shift_factor) * config.scaling_factor
    torch.testing.assert_close(pack(noise), theirs["hidden_states"][..., :16], rtol=0, atol=0)
    torch.testing.assert_close(
        pack(latents), theirs["hidden_states"][..., 16:32], rtol=0, atol=1e-5
    )  # scaled in another order


def test_noise_shares_follow_the_density_and_the_schedulers_shift(tiny_flux_fill: Path) -> None:
    dataset, seeds = Dataset(pictures(1), PROMPTS[:1]), range(2000)
    plain = loss_of(small(tiny_flux_fill, timestep_shift=False), tiny_flux_fill, dataset).noise_shares(seeds, 16)
    # Esser et al. 2024: the logit is normal.
    logits = torch.logit(plain)
    assert abs(float(logits.mean())) < 0.07  # three standard errors
    assert float(logits.std()) == pytest.approx(1.0, abs=0.05)
    for n_tokens in (256, 4096):
        loss = loss_of(small(tiny_flux_fill), tiny_flux_fill, dataset)
        shifted = loss.noise_shares(seeds, n_tokens)
        mu = {256: 0.5, 4096: 1.15}[n_tokens]  # the ends of FLUX.1's line
        torch.testing.assert_close(torch.logit(shifted), logits + mu, rtol=0, atol=2e-3)  # float32 near 1
    uniform = loss_of(small(tiny_flux_fill, timestep_density="uniform", timestep_shift=False), tiny_flux_fill, dataset)
    quantiles = torch.quantile(uniform.noise_shares(seeds, 16), torch.tensor([0.1, 0.5, 0.9]))
    torch.testing.assert_close(quantiles, torch.tensor([0.1, 0.5, 0.9]), rtol=0, atol=0.035)
    torch.testing.assert_close(
        plain[7:9],
        loss_of(small(tiny_flux_fill, timestep_shift=False), tiny_flux_fill, dataset).noise_shares([7, 8], 16),
        rtol=0,
        atol=0,
    )


# --------------------------------------------------------------------------- training


def test_the_loss_falls_and_only_adapters_change(tiny_flux_fill: Path, tmp_path: Path) -> None:
    engine = small(tiny_flux_fill, epochs=60, lora_targets="attn.to_q,ff.net.2,x_embedder,proj_out", lora_rank=8)
    dataset = Dataset(pictures(2), PROMPTS[:2])
    loss = loss_of(engine, tiny_flux_fill, dataset)
    transformer = engine._transformer(tiny_flux_fill, engine.base(), seed=1)
    _make_trainable(transformer, {})
    before = {name: value.clone() for name, value in transformer.state_dict().items()}
    vae = {name: value.clone() for name, value in loss.vae.state_dict().items()}

    def mean_loss() -> float:
        with torch.no_grad():
            return float(np.mean([float(loss(transformer, [0, 1], [seed, seed + 1000])) for seed in range(10)]))

    untrained = mean_loss()
    train(transformer, loss, 2, engine.optimisation, Fit(1, tmp_path), engine.processes)
    assert mean_loss() < 0.8 * untrained
    changed = {name for name, value in transformer.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if "lora_" in name}
    assert same(vae, loss.vae.state_dict())


def test_a_pipeline_with_what_was_learned_comes_nearer_to_the_picture(tiny_flux_fill: Path, tmp_path: Path) -> None:
    """The sign of the velocity and the direction of time are the scheduler's own."""
    engine = small(tiny_flux_fill, epochs=150, lora_targets="ff.net.2,x_embedder,proj_out", lora_rank=16)
    dataset = Dataset(pictures(1), PROMPTS[:1])
    loss = loss_of(engine, tiny_flux_fill, dataset)
    pipeline: Any = FluxFillPipeline.from_pretrained(tiny_flux_fill)
    latents = pack(loss._drawn([loss._encoded(0, False).whole], [1], 0))

    def error(transformer: Any) -> float:
        pipeline.transformer = transformer
        made = pipeline(
            prompt=PROMPTS[0],
            image=Image.fromarray(dataset.images[0]),
            mask_image=Image.fromarray(loss.holes[0].numpy().astype(np.uint8) * 255),
            height=32,
            width=32,
            num_inference_steps=8,
            guidance_scale=engine.train_guidance_scale,
            max_sequence_length=16,
            generator=torch.Generator().manual_seed(3),
            output_type="latent",
        )
        return float((made.images - latents).square().mean())

    transformer = engine._transformer(tiny_flux_fill, engine.base(), seed=1)
    untrained = error(transformer)
    _make_trainable(transformer, {})
    train(transformer, loss, 1, engine.optimisation, Fit(1, tmp_path), engine.processes)
    assert error(transformer) < 0.4 * untrained


def test_files_and_start_are_left_as_they_were(tiny_flux_fill: Path, fitted: FluxFillWeights, tmp_path: Path) -> None:
    before = hash_weights(tiny_flux_fill, PARTS)
    assert len(before) == len(PARTS)
    assert before.items() <= fitted.origin.files.items()
    kept = {name: value.clone() for name, value in fitted.tensors.items()}
    further = small(tiny_flux_fill).fit(Dataset(pictures(), PROMPTS), fitted, Fit(6, tmp_path))
    assert same(kept, fitted.tensors)
    assert further.tensors.keys() == kept.keys()
    assert not same(further.tensors, kept)
    assert hash_weights(tiny_flux_fill, PARTS) == before


@pytest.mark.parametrize("settings", [{"cache_latents": False}, {"gradient_checkpointing": False}])
def test_what_saves_time_or_memory_changes_nothing(
    settings: dict[str, Any], tiny_flux_fill: Path, fitted: FluxFillWeights, tmp_path: Path
) -> None:
    again = small(tiny_flux_fill, **settings).fit(Dataset(pictures(), PROMPTS), None, Fit(5, tmp_path))
    assert same(again.tensors, fitted.tensors)
    other = small(tiny_flux_fill, **settings).fit(Dataset(pictures(), PROMPTS), None, Fit(7, tmp_path / "other"))
    assert not same(other.tensors, fitted.tensors)


def test_flips_mirror_picture_and_hole(tiny_flux_fill: Path) -> None:
    dataset = Dataset(pictures(1), PROMPTS[:1])
    loss = loss_of(small(tiny_flux_fill), tiny_flux_fill, dataset)
    hole = torch.zeros(32, 32, dtype=torch.bool)
    hole[8:20, 2:12] = True
    mirrored = Dataset([np.ascontiguousarray(dataset.images[0][:, ::-1])], dataset.captions)
    flipped = replace(loss, holes={0: hole}, remembered={})._encoded(0, True)
    plain = replace(loss, dataset=mirrored, holes={0: hole.flip(-1)}, remembered={})._encoded(0, False)
    for ours, theirs in ((flipped.whole, plain.whole), (flipped.holed, plain.holed)):
        assert torch.equal(ours.mean, theirs.mean)
        assert torch.equal(ours.spread, theirs.spread)
    assert torch.equal(flipped.hole, plain.hole)
    assert not torch.equal(flipped.whole.mean, flipped.holed.mean)


def test_bfloat16_rounds_no_adapter_between_rounds(tiny_flux_fill: Path, fitted: FluxFillWeights) -> None:
    engine = small(tiny_flux_fill, precision="bf16")
    transformer = engine._transformer(tiny_flux_fill, fitted, seed=0)
    assert not same(get_peft_model_state_dict(transformer, adapter_name="fill"), fitted.tensors)
    _make_trainable(transformer, fitted.tensors)
    found = get_peft_model_state_dict(transformer, adapter_name="fill")
    assert same(found, fitted.tensors)
    frozen = {value.dtype for name, value in transformer.named_parameters() if "lora_" not in name}
    assert frozen == {torch.bfloat16}


def test_bfloat16_trains_and_paints(tiny_flux_fill: Path, tmp_path: Path) -> None:
    engine = small(tiny_flux_fill, precision="bf16", epochs=1)
    weights = engine.fit(Dataset(pictures(), PROMPTS), None, Fit(1, tmp_path))
    assert any(bool(value.abs().max() > 0) for name, value in weights.tensors.items() if "lora_B" in name)
    (picture,) = engine.sample(weights, ["an eye"], [1], pictures(1))
    assert not np.array_equal(picture, pictures(1)[0])


RESUMED = """
import json, sys
from pathlib import Path
import numpy as np, torch
torch.set_num_threads(1)
from decay.loop.engine import Dataset, Fit
from decay.loop.engines.flux_fill import FluxFillEngine
settings, data, scratch = json.loads(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
images = list(np.load(data))
FluxFillEngine(**settings).fit(Dataset(images, tuple(json.loads(sys.argv[4]))), None, Fit(5, scratch))
"""


def test_a_killed_fit_goes_on_to_the_same_weights(tiny_flux_fill: Path, tmp_path: Path) -> None:
    settings = {**SMALL, "model": str(tiny_flux_fill), "epochs": 300, "save_every_steps": 4}
    np.save(tmp_path / "images.npy", np.stack(pictures()))
    scratch = tmp_path / "scratch"
    arguments = [json.dumps(settings), str(tmp_path / "images.npy"), str(scratch), json.dumps(PROMPTS)]
    child = subprocess.Popen([sys.executable, "-c", RESUMED, *arguments], env=os.environ | {"OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while not list(scratch.glob("step_*/manifest.json")) and time.monotonic() < deadline:
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    reached = max(int(folder.name.removeprefix("step_")) for folder in scratch.glob("step_*"))
    assert 0 < reached < 600
    # Both go as far as the next state but one; all 600 steps would only take longer.
    engine, dataset = FluxFillEngine(**settings), Dataset(pictures(), PROMPTS)
    steps: list[int] = []

    def note(done: int, total: int) -> None:
        steps.append(done)
        if done >= reached + 8:
            raise Stop

    states = []
    for place in (scratch, tmp_path / "uninterrupted"):
        with pytest.raises(Stop):
            engine.fit(dataset, None, Fit(5, place, note))
        newest = max(place.glob("step_*"))
        states.append((newest.name, (newest / "state.safetensors").read_bytes()))
    assert steps[0] == reached
    assert states[0] == states[1]


# --------------------------------------------------------------------------- masks decide


def test_pictures_without_the_part_are_neither_trained_on_nor_painted(
    tiny_flux_fill: Path, faces: list[Pixels], tmp_path: Path
) -> None:
    engine = small(tiny_flux_fill, mask="eyes", size_px=96, mask_edge=0.1)
    blank = np.full((96, 96, 3), 120, np.uint8)
    assert engine.mask_states([faces[0], blank]) == (OK, "no_face")
    weights = engine.fit(Dataset([blank, *faces], ("a wall", "a face", "a face")), None, Fit(1, tmp_path))
    assert weights.states == {"no_face": 1, OK: 2}
    alone = engine.fit(Dataset(faces, ("a face", "a face")), None, Fit(1, tmp_path / "alone"))
    assert same(weights.tensors, alone.tensors)
    left, painted = engine.sample(weights, ["a wall", "a face"], [1, 2], [blank, faces[0]])
    assert np.array_equal(left, blank)
    holes, _ = engine._holes(Dataset(faces[:1], ("a face",)), 4)
    hole = holes[0].numpy()
    assert np.array_equal(painted[~hole], faces[0][~hole])
    assert (painted[hole] != faces[0][hole]).any(axis=-1).mean() > 0.9
    with pytest.raises(DecayError, match=r"in none of 2 it is found: 2 x no_hand .* mask = \"centre\""):
        replace(engine, mask="hands").fit(Dataset([blank, blank], ("a", "b")), None, Fit(1, tmp_path / "hands"))


def test_without_keeping_the_outside_the_vae_paints_it_too(tiny_flux_fill: Path) -> None:
    engine = small(tiny_flux_fill, keep_outside=False)
    (start,) = pictures(1)
    (everything,) = engine.sample(engine.base(), ["an eye"], [1], [start])
    (inside,) = replace(engine, keep_outside=True, mask_edge=0.0).sample(engine.base(), ["an eye"], [1], [start])
    assert (everything[:8] != start[:8]).any(axis=-1).mean() > 0.9
    assert np.array_equal(inside[:8], start[:8])
    assert np.array_equal(inside[8:24, 8:24], everything[8:24, 8:24])


def test_a_blend_is_exact_at_both_ends_and_between_them_in_the_middle() -> None:
    rng = np.random.default_rng(0)
    start, painted = rng.integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    assert np.array_equal(blend(start, painted, np.zeros((4, 5), np.float32)), start)
    assert np.array_equal(blend(start, painted, np.ones((4, 5), np.float32)), painted)
    half = blend(start, painted, np.full((4, 5), 0.5, np.float32)).astype(float)
    np.testing.assert_allclose(half, (start.astype(float) + painted) / 2, atol=0.5)


# --------------------------------------------------------------------------- sampling


def test_a_picture_depends_on_its_own_prompt_seed_and_start_alone(
    tiny_flux_fill: Path, fitted: FluxFillWeights
) -> None:
    engine, starts = small(tiny_flux_fill), pictures()
    together = list(engine.sample(fitted, PROMPTS, [1, 2, 3], starts))
    backwards = list(engine.sample(fitted, PROMPTS[::-1], [3, 2, 1], starts[::-1]))
    assert np.array_equal(together, backwards[::-1])
    (alone,) = engine.sample(fitted, PROMPTS[1:2], [2], starts[1:2])
    assert np.array_equal(together[1], alone)
    for prompts, seeds, images in (
        (PROMPTS[:1], [2], starts[1:2]),
        (PROMPTS[1:2], [9], starts[1:2]),
        (PROMPTS[1:2], [2], starts[:1]),
    ):
        (other,) = engine.sample(fitted, prompts, seeds, images)
        assert not np.array_equal(other, alone)


def test_plain_diffusers_paints_the_same_with_the_saved_adapters(
    tiny_flux_fill: Path, fitted: FluxFillWeights, tmp_path: Path
) -> None:
    engine, (start,) = small(tiny_flux_fill, keep_outside=False), pictures(1)
    (ours,) = engine.sample(fitted, ["an eye"], [11], [start])
    fitted.save(tmp_path)
    pipeline: Any = FluxFillPipeline.from_pretrained(tiny_flux_fill)

    def paint() -> Pixels:
        hole = np.zeros((32, 32), np.uint8)
        hole[8:24, 8:24] = 255
        made = pipeline(
            prompt="an eye",
            image=Image.fromarray(start),
            mask_image=Image.fromarray(hole),
            height=32,
            width=32,
            num_inference_steps=3,
            guidance_scale=30.0,
            max_sequence_length=16,
            generator=torch.Generator().manual_seed(11),
        )
        return np.asarray(made.images[0])

    pretrained = paint()
    pipeline.load_lora_weights(tmp_path / LORA_FILE)
    assert np.array_equal(paint(), ours)
    assert not np.array_equal(pretrained, ours)
    (untrained,) = engine.sample(engine.base(), ["an eye"], [11], [start])
    assert np.array_equal(pretrained, untrained)


def test_weights_survive_saving_byte_for_byte(tiny_flux_fill: Path, fitted: FluxFillWeights, tmp_path: Path) -> None:
    engine = small(tiny_flux_fill)
    for name, weights in (("fitted", fitted), ("base", engine.base())):
        for copy in ("a", "b"):
            (tmp_path / name / copy).mkdir(parents=True)
            weights.save(tmp_path / name / copy)
        read = engine.load(tmp_path / name / "a")
        assert same(read.tensors, weights.tensors)
        assert replace(read, tensors={}) == replace(weights, tensors={})
        for file in (LORA_FILE, RECORD_FILE):
            first, second = ((tmp_path / name / copy / file).read_bytes() for copy in ("a", "b"))
            assert first == second
    damaged = tmp_path / "fitted" / "a"
    (damaged / LORA_FILE).write_bytes((damaged / LORA_FILE).read_bytes()[:-100])
    with pytest.raises(ModelError, match=LORA_FILE):
        engine.load(damaged)
    (damaged / RECORD_FILE).write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match="Fit the model again"):
        engine.load(damaged)


# --------------------------------------------------------------------------- adapters of others


def adapters_of_others(folder: Path, scale: float = 1.0) -> dict[str, Tensor]:
    """Adapters on the queries, of rank 4, whose two halves do not vanish."""
    pipeline: Any = FluxFillPipeline.from_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        config = LoraConfig(r=4, lora_alpha=4, target_modules=["attn.to_out.0"], init_lora_weights=False)
        pipeline.transformer.add_adapter(config, "theirs")
    found = get_peft_model_state_dict(pipeline.transformer, adapter_name="theirs")
    return {name: scale * value for name, value in found.items()}


def test_adapters_saved_by_diffusers_are_where_it_starts_from(tiny_flux_fill: Path, tmp_path: Path) -> None:
    theirs = adapters_of_others(tiny_flux_fill, 3.0)
    FluxFillPipeline.save_lora_weights(tmp_path, theirs)
    engine = small(tiny_flux_fill, lora=str(tmp_path / LORA_FILE))
    base = engine.base()
    assert same(base.tensors, theirs)
    plain, (start,) = small(tiny_flux_fill), pictures(1)
    (without,) = plain.sample(plain.base(), ["an eye"], [1], [start])
    (painted,) = engine.sample(base, ["an eye"], [1], [start])
    assert not np.array_equal(painted, without)
    further = engine.fit(Dataset(pictures(), PROMPTS), base, Fit(1, tmp_path / "scratch"))
    assert further.tensors.keys() == theirs.keys()
    assert not same(further.tensors, theirs)
    assert further.config["r"] == 4


def test_adapters_in_kohyas_form_mean_the_same(tiny_flux_fill: Path, tmp_path: Path) -> None:
    theirs = adapters_of_others(tiny_flux_fill)
    name = "transformer_blocks.0.attn.to_out.0"
    down, up = theirs[f"{name}.lora_A.weight"], theirs[f"{name}.lora_B.weight"]
    stem = "lora_unet_double_blocks_0_img_attn_proj"
    kohya = {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up, f"{stem}.alpha": torch.tensor(2.0)}
    save_file(kohya, tmp_path / "kohya.safetensors")
    found = small(tiny_flux_fill, lora=str(tmp_path / "kohya.safetensors")).base()
    product = found.tensors[f"{name}.lora_B.weight"] @ found.tensors[f"{name}.lora_A.weight"]
    scale = found.config["lora_alpha"] / found.config["r"]
    torch.testing.assert_close(scale * product, 2.0 / 4 * (up @ down))  # alpha / rank, as kohya's scripts scale


def test_adapters_that_do_not_fit_are_refused(tiny_flux_fill: Path, tmp_path: Path) -> None:
    def base(name: str, tensors: Mapping[str, Tensor]) -> FluxFillWeights:
        save_file(dict(tensors), tmp_path / name)
        return small(tiny_flux_fill, lora=str(tmp_path / name)).base()

    theirs = {f"transformer.{name}": value for name, value in adapters_of_others(tiny_flux_fill).items()}
    text = {"text_encoder.encoder.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(4, 32)}
    with pytest.raises(ModelError, match="everything else stays frozen"):
        base("text.safetensors", theirs | text)
    with pytest.raises(ModelError, match="cannot be used"):
        base("larger.safetensors", {name: value.repeat(2, 2) for name, value in theirs.items()})
    elsewhere = {name.replace("blocks.0", "blocks.7"): value for name, value in theirs.items()}
    with pytest.raises(ModelError, match="cannot be used"):
        base("elsewhere.safetensors", elsewhere)
    with pytest.raises(ModelError, match=r"frozen|cannot be used"):
        base("other.safetensors", {"weight": torch.ones(2)})
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot be used"):
        small(tiny_flux_fill, lora=str(tmp_path / "broken.safetensors")).base()
    with pytest.raises(ModelError, match="expected a file of adapters"):
        small(tiny_flux_fill, lora=str(tmp_path / "none.safetensors")).check()


# --------------------------------------------------------------------------- what a user can meet


def test_absent_weights_are_named_with_the_way_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError) as absent:
        FluxFillEngine(revision="abc").check()
    for word in (OFFICIAL, "abc", "gated", "Non-Commercial", "hf auth login", "hf download", "local_files_only"):
        assert word in str(absent.value)
    with pytest.raises(ModelError, match=r"somebody/else.*hf download somebody/else"):
        FluxFillEngine(model="somebody/else").check()
    with pytest.raises(ModelError, match="no folder"):
        FluxFillEngine(model=str(tmp_path / "nowhere")).check()


def test_a_model_that_is_incomplete_or_another_is_refused(tiny_flux_fill: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_flux_fill, copy)
    engine = small(copy)
    base = engine.base()
    weights = copy / "vae" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(ModelError, match="no safetensors"):
        engine.check()
    save_file({"encoder.conv_in.bias": torch.zeros(8)}, weights)
    with pytest.raises(ModelError, match="that this lineage began with"):
        next(engine.sample(base, ["an eye"], [1], pictures(1)))
    with pytest.raises(ModelError, match="of its weights are missing"):
        open_part(AutoencoderKL, copy, "vae", torch.float32)
    index = json.loads((copy / "model_index.json").read_text(encoding="utf-8"))
    (copy / "model_index.json").write_text(json.dumps(index | {"_class_name": "FluxPipeline"}), encoding="utf-8")
    with pytest.raises(ModelError, match="expected a FluxFillPipeline; found FluxPipeline"):
        engine.check()


def test_what_cannot_be_done_is_said(tiny_flux_fill: Path, tmp_path: Path) -> None:
    engine = small(tiny_flux_fill)
    with pytest.raises(DecayError, match="needs pictures to start from"):
        engine.sample(engine.base(), ["an eye"], [1], None)
    with pytest.raises(DecayError, match="whose sides 8 divides"):
        small(tiny_flux_fill, size_px=36).check()
    with pytest.raises(DecayError, match="got 36 x 36 px"):
        next(engine.sample(engine.base(), ["an eye"], [1], pictures(1, 36)))
    with pytest.raises(DecayError, match="no layers that end as to_nothing"):
        small(tiny_flux_fill, lora_targets="attn.to_q,to_nothing").fit(
            Dataset(pictures(1), PROMPTS[:1]), None, Fit(1, tmp_path)
        )
    for settings, word in (
        ({"mask": "feet"}, "mask"),
        ({"mask_edge": -1.0}, "mask_edge"),
        ({"mask_grow": -0.1}, "mask_grow"),
        ({"max_sequence_length": 513}, "max_sequence_length"),
        ({"timestep_density": "cosine"}, "timestep_density"),
        ({"logit_std": 0.0}, "logit_std"),
        ({"lora_rank": 0}, "lora_rank"),
        ({"epochs": 0}, "epochs"),
    ):
        with pytest.raises(DecayError, match=word):
            open_engine("flux-fill", settings, 32)


def test_settings_say_what_is_applied(tiny_flux_fill: Path) -> None:
    engine = open_engine("flux-fill", {"model": str(tiny_flux_fill), "mask": "hands"}, 64)
    engine.check()
    assert engine.settings()["size_px"] == 64
    assert engine.settings()["mask_grow"] == 0.1
    assert engine.name == "flux-fill"
    assert engine.chains
    assert engine.fit_steps(9) == 10 * 3
