from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from decay.errors import DecayError, ModelError
from decay.loop.engine import Dataset, Fit
from decay.loop.engines import open_engine
from decay.loop.engines.diffusion import CONFIG_FILE, WEIGHTS_FILE, DiffusionEngine, DiffusionWeights, Network
from decay.loop.engines.training import draws
from detectors.trait import Pixels

from .tiny_diffusion import QUICK_EPOCHS, SMALL, two_colours

QUICK = replace(SMALL, first_epochs=QUICK_EPOCHS)
PROGRAM = Path(__file__).with_name("tiny_diffusion.py")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums hang on the number of threads, and the program that is killed has one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> DiffusionWeights:
    """Fitted until it can tell red from blue."""
    return SMALL.fit(two_colours(16), None, Fit(1, tmp_path_factory.mktemp("scratch")))


def one(weights: DiffusionWeights, prompt: str, seed: int, engine: DiffusionEngine = SMALL) -> Pixels:
    return next(engine.sample(weights, [prompt], [seed], None))


def assert_equal(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


# --------------------------------------------------------------------------- fitting


@pytest.mark.parametrize("seed", range(3))
def test_it_learns_which_colour_a_prompt_stands_for(learnt: DiffusionWeights, seed: int) -> None:
    red, blue = (one(learnt, prompt, seed).reshape(-1, 3).mean(axis=0) for prompt in ("red", "blue"))
    np.testing.assert_allclose(red, [215, 15, 15], atol=50)  # half way to grey would be 56
    np.testing.assert_allclose(blue, [15, 15, 215], atol=50)


@pytest.mark.parametrize(("prediction", "schedule"), [("v_prediction", "cosine"), ("epsilon", "linear")])
def test_the_loss_falls(tmp_path: Path, prediction: str, schedule: str) -> None:
    """Watched from outside, on noisy pictures that are the same before and after."""
    engine = replace(QUICK, prediction=prediction, schedule=schedule, first_epochs=15, ema_decay=None)
    fitted = engine.fit(two_colours(16), None, Fit(1, tmp_path / "fitted"))
    random = replace(engine, first_epochs=1, learning_rate=1e-12).fit(two_colours(16), None, Fit(1, tmp_path / "none"))
    assert _error(engine.network, fitted) < 0.7 * _error(engine.network, random)


def _error(network: Network, weights: DiffusionWeights) -> float:
    generator = torch.Generator().manual_seed(0)
    clean = torch.from_numpy(np.asarray(two_colours(16).images)).permute(0, 3, 1, 2) / 63.75 - 2.0
    noise = torch.randn(clean.shape, generator=generator)
    timesteps = torch.randint(0, 1000, (16,), generator=generator)
    scheduler = network.scheduler()
    v = network.prediction == "v_prediction"
    wanted = scheduler.get_velocity(clean, noise, timesteps) if v else noise
    noisy = scheduler.add_noise(clean, noise, timesteps)
    with torch.no_grad():
        said = network.predict(weights.module(), noisy, timesteps, torch.tensor([0, 1] * 8))
    return float(((said - wanted) ** 2).mean())


def test_a_fit_goes_on_from_weights_and_leaves_them_as_they_are(learnt: DiffusionWeights, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in learnt.tensors.items()}
    after = SMALL.fit(two_colours(16), learnt, Fit(2, tmp_path))
    assert_equal(learnt.tensors, before)
    moved = {name: float((after.tensors[name] - value).abs().max()) for name, value in before.items()}
    assert moved.pop("class_embedding.weight") > 0
    assert all(0 < distance < 0.05 for distance in moved.values())  # 4 steps of at most 0.003 and a little decay
    assert after.prompts == learnt.prompts


def test_a_killed_fit_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    dead = subprocess.run(
        [sys.executable, PROGRAM, tmp_path / "out", tmp_path / "scratch", "5"], env=_environment(), check=False
    )
    assert dead.returncode == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "scratch").iterdir()] == ["step_00000003"]
    told: list[int] = []
    resumed = QUICK.fit(two_colours(16), None, Fit(1, tmp_path / "scratch", lambda done, total: told.append(done)))
    assert told == list(range(3, 2 * QUICK_EPOCHS + 1))
    whole = QUICK.fit(two_colours(16), None, Fit(1, tmp_path / "other"))
    assert_equal(resumed.tensors, whole.tensors)


def test_two_processes_fit_the_same_weights_to_rounding(tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines"]
    launch += ["1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    subprocess.run(
        [*launch, PROGRAM, tmp_path / "out", tmp_path / "scratch", "-1"],
        env=_environment(), check=True, capture_output=True,
    )  # fmt: skip
    together = QUICK.load(tmp_path / "out")
    alone = QUICK.fit(two_colours(16), None, Fit(1, tmp_path / "alone"))
    start = replace(QUICK, learning_rate=1e-12, first_epochs=1).fit(two_colours(16), None, Fit(1, tmp_path / "start"))
    apart = np.sqrt(_distance(together, alone) / _distance(alone, start))
    assert apart < 0.01  # Adam's first steps have the gradient's sign alone, and so magnify rounding


def _distance(a: DiffusionWeights, b: DiffusionWeights) -> float:
    return sum(float(((a.tensors[name] - value) ** 2).sum()) for name, value in b.tensors.items())


def _environment() -> dict[str, str]:
    root = str(Path(__file__).parents[4])
    return os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}


def test_memory_is_flat_over_fits(tmp_path: Path) -> None:
    """Bytes of all tensors that live after each generation; nothing is left to the collector of cycles."""
    engine = replace(QUICK, first_epochs=1, epochs=1)
    gc.collect()
    gc.disable()
    try:
        weights = engine.fit(two_colours(16), None, Fit(1, tmp_path / "0"))
        alive = []
        for generation in range(1, 5):
            weights = engine.fit(two_colours(16), weights, Fit(1, tmp_path / str(generation)))
            _ = list(engine.sample(weights, ["red"] * 5, range(5), None))
            alive.append(_live_bytes())
    finally:
        gc.enable()
    assert len(set(alive)) == 1


def _live_bytes() -> int:
    storages = {}
    for thing in gc.get_objects():
        if type(thing) in {torch.Tensor, torch.nn.Parameter}:
            storage = thing.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Dataset([np.zeros((8, 9, 3), np.uint8)], ("red",)), "8 x 8 px; an image has 9 x 8"),
        (Dataset([np.zeros((8, 8, 3), np.uint8)], ("green",)), r"knows the prompts .*'red', 'blue'.*'green'"),
    ],
)
def test_pictures_and_captions_that_do_not_fit_are_named(
    learnt: DiffusionWeights, tmp_path: Path, dataset: Dataset, message: str
) -> None:
    with pytest.raises(DecayError, match=message):
        SMALL.fit(dataset, learnt, Fit(1, tmp_path))


# --------------------------------------------------------------------------- sampling


@pytest.mark.parametrize("starts", [False, True])
def test_a_picture_hangs_on_its_own_prompt_seed_and_start(learnt: DiffusionWeights, starts: bool) -> None:
    """Bit for bit, at any place among any number of others."""
    prompts, seeds = ["red", "blue", "blue"] * 3, list(range(9))
    images = list(np.random.default_rng(1).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8)) if starts else None
    together = list(SMALL.sample(learnt, prompts, seeds, images))
    for i in (0, 2, 5, 8):
        alone = SMALL.sample(
            learnt, prompts[i : i + 1], seeds[i : i + 1], None if images is None else images[i : i + 1]
        )
        np.testing.assert_array_equal(next(alone), together[i])
    backwards = list(SMALL.sample(learnt, prompts[::-1], seeds[::-1], None if images is None else images[::-1]))
    np.testing.assert_array_equal(backwards[::-1], together)
    assert len({picture.tobytes() for picture in together}) == 9
    assert together[0].dtype == np.uint8


def test_other_batches_differ_by_rounding_alone(learnt: DiffusionWeights) -> None:
    ours, others = (
        np.stack(list(replace(SMALL, sampling_batch=n).sample(learnt, ["red"] * 5, range(5), None))).astype(int)
        for n in (1, 5)
    )
    assert np.abs(ours - others).max() <= 1


def test_strength_is_how_much_of_the_start_is_forgotten(learnt: DiffusionWeights) -> None:
    start = np.full((8, 8, 3), 128, np.uint8)
    start[:4, :, 1] = 255

    def distances(strength: float) -> float:
        made = replace(SMALL, strength=strength, steps=10).sample(learnt, ["red"] * 8, range(8), [start] * 8)
        return float(np.mean([np.abs(picture.astype(int) - start).mean() for picture in made]))

    found = [distances(strength) for strength in (0.0, 0.2, 0.5, 1.0)]
    assert found[0] == 0.0
    assert found == sorted(found)
    noise = list(replace(SMALL, steps=10).sample(learnt, ["red"] * 2, range(2), None))
    full = list(replace(SMALL, strength=1.0, steps=10).sample(learnt, ["red"] * 2, range(2), [start] * 2))
    np.testing.assert_allclose(full, noise, atol=2)  # at the last of 1000 steps a picture keeps 5e-5 of itself


def test_guidance_moves_away_from_the_picture_of_no_prompt(tmp_path: Path) -> None:
    engine = replace(SMALL, first_epochs=25, caption_dropout=0.3)
    weights = engine.fit(two_colours(16), None, Fit(1, tmp_path))

    def redness(scale: float) -> float:
        made = replace(engine, guidance_scale=scale).sample(weights, ["red"] * 8, range(8), None)
        return float(np.mean([picture[..., 0].astype(int) - picture[..., 2] for picture in made]))

    assert redness(0.0) < redness(0.5) < redness(1.0)


def test_a_prompt_that_was_never_seen_is_named_with_those_that_were(learnt: DiffusionWeights) -> None:
    with pytest.raises(DecayError, match=r"'red', 'blue'.*asked for 'green'"):
        one(learnt, "green", 0)


def test_the_network_is_that_of_the_settings(learnt: DiffusionWeights) -> None:
    with pytest.raises(DecayError, match="Expected weights of the network"):
        one(learnt, "red", 0, replace(SMALL, channels="16 16"))


# --------------------------------------------------------------------------- files and settings


def test_weights_come_back_bit_for_bit(learnt: DiffusionWeights, tmp_path: Path) -> None:
    learnt.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [CONFIG_FILE, WEIGHTS_FILE]
    back = SMALL.load(tmp_path)
    assert (back.network, back.prompts) == (learnt.network, learnt.prompts)
    assert_equal(back.tensors, learnt.tensors)
    np.testing.assert_array_equal(one(back, "red", 3), one(learnt, "red", 3))


def _drop_prompt(config: dict[str, object]) -> None:
    config["prompts"] = ["red"]


def _change_channels(config: dict[str, object]) -> None:
    config["network"] = {**SMALL.network.__dict__, "channels": [16, 64]}


def _add_field(config: dict[str, object]) -> None:
    config["network"] = {**SMALL.network.__dict__, "colour": 1}


def _next_format(config: dict[str, object]) -> None:
    config["format_version"] = 2


@pytest.mark.parametrize("change", [_drop_prompt, _change_channels, _add_field, _next_format])
def test_a_changed_config_is_named(learnt: DiffusionWeights, tmp_path: Path, change: object) -> None:
    learnt.save(tmp_path)
    config = json.loads((tmp_path / CONFIG_FILE).read_text())
    change(config)  # type: ignore[operator]
    (tmp_path / CONFIG_FILE).write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"config\.json: expected the weights of a diffusion engine"):
        SMALL.load(tmp_path)


@pytest.mark.parametrize("name", [CONFIG_FILE, WEIGHTS_FILE])
@pytest.mark.parametrize("left", [0, 20, None])
def test_damaged_and_missing_files_are_named(
    learnt: DiffusionWeights, tmp_path: Path, name: str, left: int | None
) -> None:
    learnt.save(tmp_path)
    path = tmp_path / name
    data = path.read_bytes()
    path.unlink() if left is None else path.write_bytes(data[:left])
    with pytest.raises(ModelError, match=f"{name}: expected"):
        SMALL.load(tmp_path)


@pytest.mark.parametrize("size_px", [32, 64, 128, 256])
@pytest.mark.parametrize("patch_px", [1, 2])
def test_default_networks_halve_down_to_eight_cells(size_px: int, patch_px: int) -> None:
    network = DiffusionEngine(size_px=size_px, patch_px=patch_px).network
    assert size_px // patch_px // 2 ** (len(network.channels) - 1) == 8
    assert network.channels[0] == 64
    assert max(network.channels) <= 256


@pytest.mark.parametrize("patch_px", [1, 2, 4])
def test_patches_fold_without_loss(patch_px: int) -> None:
    """A network that says what it hears gives the picture back."""

    class Echo(torch.nn.Module):
        def forward(self, sample: Tensor, timesteps: Tensor, labels: Tensor) -> object:
            assert sample.shape == (2, 3 * patch_px**2, 16 // patch_px, 16 // patch_px)
            return type("Said", (), {"sample": sample})

    network = replace(SMALL, size_px=16, patch_px=patch_px, channels="16 32").network
    noisy = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network.predict(Echo(), noisy, torch.zeros(2), torch.zeros(2)), noisy)


def test_settings_name_every_choice_and_open_the_same_engine() -> None:
    settings = dict(DiffusionEngine(size_px=64, patch_px=2).settings())
    assert settings["channels"] == "64 128 256"
    size_px = settings.pop("size_px")
    assert isinstance(size_px, int)
    assert open_engine("diffusion", settings, size_px).settings() == {**settings, "size_px": size_px}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"channels": "many"}, "channels must be numbers"),
        ({"channels": "12"}, "channels must be multiples of 8"),
        ({"channels": "16 32 32 64 64"}, "size_px must be a multiple of 16"),
        ({"prediction": "x"}, "prediction must be one of v_prediction, epsilon"),
        ({"strength": 1.5}, "strength must lie in 0..1"),
        ({"steps": 0}, "steps must lie in 1..1000"),
        ({"guidance_scale": 3.0}, "set caption_dropout above 0"),
        ({"epochs": 0}, "epochs must be at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, str | int | float], message: str) -> None:
    with pytest.raises(DecayError, match=message):
        open_engine("diffusion", wrong, 8)


def test_the_first_fit_has_its_own_length() -> None:
    assert (SMALL.fit_steps(20, first=True), SMALL.fit_steps(20)) == (60 * 3, 2 * 3)


def test_sampling_takes_the_steps_of_ddim(learnt: DiffusionWeights) -> None:
    """The steps of DDIM by another hand: each from the noise that is implied, equation 12 with eta = 0."""
    engine = replace(SMALL, steps=4, sampling_batch=1)
    betas = [min(1 - _cosine((i + 1) / 1000) / _cosine(i / 1000), 0.999) for i in range(1000)]
    kept = np.concatenate([[1.0], np.cumprod(1.0 - np.asarray(betas))])
    made = next(engine.sample(learnt, ["blue"], [11], None))
    noisy = _first_noise(11)
    module = learnt.module()
    for step in (1000, 750, 500, 250):
        with torch.no_grad():
            said = module(torch.from_numpy(noisy), torch.tensor([step - 1]), torch.tensor([1])).sample.numpy()
        signal_share, noise_share = np.sqrt(kept[step]), np.sqrt(1 - kept[step])
        clean = np.clip(signal_share * noisy - noise_share * said, -2, 2)
        implied = signal_share * said + noise_share * noisy
        noisy = (np.sqrt(kept[step - 250]) * clean + np.sqrt(1 - kept[step - 250]) * implied).astype(np.float32)
    np.testing.assert_allclose(made, (noisy[0].transpose(1, 2, 0) + 2) * 63.75, atol=1.0)


def _cosine(share: float) -> float:
    return float(np.cos((share + 0.008) / 1.008 * np.pi / 2) ** 2)


def _first_noise(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.asarray(draws((3, 8, 8), [seed]).numpy())


def test_seeds_of_two_generations_are_not_shared(learnt: DiffusionWeights, tmp_path: Path) -> None:
    seeds: Sequence[int] = (1, 2)
    a, b = (SMALL.fit(two_colours(16), learnt, Fit(seed, tmp_path / str(seed))) for seed in seeds)
    assert not torch.equal(a.tensors["conv_in.weight"], b.tensors["conv_in.weight"])
