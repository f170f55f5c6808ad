from __future__ import annotations

import resource
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from decay.errors import DecayError, ModelError, OutputError
from decay.loop.engine import Alone, Fit
from decay.loop.engines.training import (
    STATE_FILE,
    LossOf,
    Optimisation,
    chances,
    draws,
    load_tensors,
    save_tensors,
    train,
)

INPUTS = draws((5,), range(20), stream=7)
TARGETS = INPUTS @ draws((5,), range(2), stream=8).T
PLAN = Optimisation(epochs=4, batch_size=6, learning_rate=1e-2, ema_decay=0.9, save_every_steps=3)


class Interrupted(Exception):  # noqa: N818
    pass


def network(*, dropout: float = 0.2) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 8), nn.Dropout(dropout), nn.Linear(8, 2))


def noisy_regression(module: nn.Module, indices: Sequence[int], seeds: Sequence[int]) -> Tensor:
    rows = list(indices)
    return ((module(INPUTS[rows] + 0.1 * draws((5,), seeds)) - TARGETS[rows]) ** 2).mean()


def plain_regression(module: nn.Module, indices: Sequence[int], seeds: Sequence[int]) -> Tensor:
    rows = list(indices)
    return ((module(INPUTS[rows]) - TARGETS[rows]) ** 2).mean()


def trained(
    scratch: Path,
    plan: Optimisation = PLAN,
    *,
    loss_of: LossOf = noisy_regression,
    stop_at: int | None = None,
    seed: int = 3,
    dropout: float = 0.2,
) -> list[Tensor]:
    def progress(done: int, total: int) -> None:
        assert total == plan.steps(len(INPUTS))
        if done == stop_at:
            raise Interrupted

    module = network(dropout=dropout)
    train(module, loss_of, len(INPUTS), plan, Fit(seed, scratch, progress), Alone())
    return [value.detach() for value in module.parameters()]


def assert_equal(found: list[Tensor], wanted: list[Tensor]) -> None:
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_full_batches_take_the_steps_of_adamw(tmp_path: Path) -> None:
    plan = Optimisation(epochs=7, batch_size=20, learning_rate=1e-2, weight_decay=0.1)
    found = trained(tmp_path, plan, loss_of=plain_regression, dropout=0.0)
    module = network(dropout=0.0)
    optimiser = torch.optim.AdamW(module.parameters(), lr=1e-2, weight_decay=0.1, fused=False)
    for _ in range(7):
        optimiser.zero_grad()
        plain_regression(module, range(20), range(20)).backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
    for a, b in zip(found, module.parameters(), strict=True):
        torch.testing.assert_close(a, b.detach(), rtol=1e-4, atol=1e-5)  # sums in another order


@pytest.mark.parametrize("stop_at", [1, 3, 4, 8, 15])
def test_an_interrupted_fit_ends_in_the_same_bits(tmp_path: Path, stop_at: int) -> None:
    """Moving average, order of the pictures, noise and dropout included."""
    wanted = trained(tmp_path / "whole")
    with pytest.raises(Interrupted):
        trained(tmp_path / "cut", stop_at=stop_at)
    kept = [path.name for path in (tmp_path / "cut").glob("*")]
    assert kept == ([f"step_{stop_at // 3 * 3:08d}"] if stop_at >= 3 else [])
    assert_equal(trained(tmp_path / "cut"), wanted)


def test_it_goes_on_from_the_last_state_and_not_from_the_start(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        trained(tmp_path, stop_at=8)
    told: list[int] = []
    module = network()
    train(module, noisy_regression, 20, PLAN, Fit(3, tmp_path, lambda done, total: told.append(done)), Alone())
    assert told == list(range(6, 17))


def test_damaged_and_unfinished_states_are_passed_over(tmp_path: Path) -> None:
    wanted = trained(tmp_path / "whole")
    scratch = tmp_path / "cut"
    with pytest.raises(Interrupted):
        trained(scratch, stop_at=8)
    damaged = scratch / "step_00000006" / STATE_FILE
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x00\x01")
    (scratch / "step_00000009").mkdir()
    (scratch / "step_00000009" / STATE_FILE).write_bytes(b"half")
    assert_equal(trained(scratch), wanted)


@pytest.mark.parametrize("other", [{"seed": 4}, {"plan": replace(PLAN, learning_rate=2e-2)}])
def test_states_of_another_fit_are_not_taken_up(tmp_path: Path, other: dict[str, object]) -> None:
    with pytest.raises(Interrupted):
        trained(tmp_path / "cut", stop_at=8, **other)  # type: ignore[arg-type]
    assert_equal(trained(tmp_path / "cut"), trained(tmp_path / "whole"))


def test_seeds_decide_and_are_needed(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    assert not torch.equal(trained(tmp_path / "a")[0], trained(tmp_path / "b", seed=4)[0])
    assert torch.equal(torch.get_rng_state(), before)


def test_every_picture_is_seen_once_an_epoch_with_a_seed_of_its_own(tmp_path: Path) -> None:
    def seen_with(batch_size: int) -> list[tuple[int, int]]:
        seen: list[tuple[int, int]] = []

        def spying(module: nn.Module, indices: Sequence[int], seeds: Sequence[int]) -> Tensor:
            seen.extend(zip(indices, seeds, strict=True))
            return noisy_regression(module, indices, seeds)

        plan = replace(PLAN, epochs=2, batch_size=batch_size, save_every_steps=100)
        trained(tmp_path / str(batch_size), plan, loss_of=spying)
        return seen

    seen = seen_with(6)
    for epoch in (seen[:20], seen[20:]):
        assert sorted(index for index, _ in epoch) == list(range(20))
    assert [index for index, _ in seen[:20]] != [index for index, _ in seen[20:]]
    assert len({picture_seed for _, picture_seed in seen}) == 40
    assert seen_with(20) == seen


@pytest.mark.parametrize("accumulation", [2, 3, 8])
def test_accumulation_changes_nothing_but_rounding(tmp_path: Path, accumulation: int) -> None:
    whole = trained(tmp_path / "whole", dropout=0.0)
    parts = trained(tmp_path / "parts", replace(PLAN, accumulation=accumulation), dropout=0.0)
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


class Slope(nn.Module):
    """Its loss falls evenly, so that Adam moves ``value`` by exactly the learning rate per step."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(3))
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)
        self.asleep = nn.Parameter(torch.ones(3))


def slide(scratch: Path, plan: Optimisation) -> Slope:
    module = Slope()
    train(module, lambda m, rows, seeds: -m.get_parameter("value").sum(), 4, plan, Fit(0, scratch), Alone())
    return module


def test_the_learning_rate_rises_and_stays(tmp_path: Path) -> None:
    plan = Optimisation(epochs=6, batch_size=4, learning_rate=0.1, weight_decay=0.0, warmup_steps=4)
    module = slide(tmp_path, plan)
    torch.testing.assert_close(module.value.detach(), torch.full((3,), 0.1 * (1 / 4 + 2 / 4 + 3 / 4 + 3)))
    assert torch.equal(module.frozen, torch.ones(3))
    assert torch.equal(module.asleep.detach(), torch.ones(3))
    assert module.value.grad is None
    assert not module.training


def test_the_moving_average_is_that_of_the_path(tmp_path: Path) -> None:
    plan = Optimisation(epochs=30, batch_size=4, learning_rate=0.1, weight_decay=0.0, ema_decay=0.6)
    average = 0.0
    for step in range(1, 31):
        decay = min(0.6, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * 0.1 * step
    torch.testing.assert_close(slide(tmp_path, plan).value.detach(), torch.full((3,), average), rtol=1e-5, atol=0)


def test_bf16_is_near_and_not_equal(tmp_path: Path) -> None:
    exact, coarse = (
        trained(tmp_path / precision, replace(PLAN, precision=precision), dropout=0.0)
        for precision in ("fp32", "bf16")
    )  # fmt: skip
    assert coarse[0].dtype == torch.float32
    assert not torch.equal(exact[0], coarse[0])
    torch.testing.assert_close(exact[0], coarse[0], rtol=0.0, atol=0.02)  # 16 steps of 0.01 lie between


def test_a_loss_that_is_no_number_ends_the_fit(tmp_path: Path) -> None:
    def diverging(module: nn.Module, indices: Sequence[int], seeds: Sequence[int]) -> Tensor:
        return plain_regression(module, indices, seeds) * float("nan")

    with pytest.raises(DecayError, match=r"within the first 3 steps .* Lower `learning_rate`"):
        trained(tmp_path, loss_of=diverging)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"precision": "fp16"}, "precision must be one of fp32, bf16"),
        ({"ema_decay": 1.0}, "ema_decay"),
        ({"learning_rate": 0.0}, "learning_rate"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(PLAN, **wrong)  # type: ignore[arg-type]


def test_an_engine_descends_by_all_of_its_settings_that_have_a_name_here() -> None:
    said: dict[str, Any] = {field.name: 3 for field in fields(Optimisation)} | {"precision": "bf16", "ema_decay": 0.5}
    assert Optimisation.of(SimpleNamespace(**said, steps_of_the_sampler=7)) == Optimisation(**said)
    least: dict[str, Any] = {"epochs": 2, "batch_size": 4, "learning_rate": 0.1}
    assert Optimisation.of(SimpleNamespace(**least)) == Optimisation(**least)
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
        Optimisation.of(SimpleNamespace(**least | {"epochs": 0}))


def test_the_last_batch_of_an_epoch_counts() -> None:
    assert PLAN.steps(20) == 4 * 4
    assert PLAN.steps(18) == 4 * 3


def test_draws_hang_on_their_own_seed_and_stream() -> None:
    rows = draws((2, 3), [5, 6, 7])
    assert torch.equal(draws((2, 3), [7])[0], rows[2])
    assert not torch.equal(draws((2, 3), [7], stream=1)[0], rows[2])
    assert torch.equal(draws((2, 3), [7], dtype=torch.float64).float()[0], rows[2])
    many = draws((50,), range(2000))
    assert float(many.mean()) == pytest.approx(0.0, abs=4 / np.sqrt(100_000))  # 4 standard errors
    assert float(many.std()) == pytest.approx(1.0, abs=4 / np.sqrt(200_000))
    neighbours = torch.corrcoef(draws((5000,), [1, 2]))[0, 1]
    assert float(neighbours) == pytest.approx(0.0, abs=4 / np.sqrt(5000))


def test_chances_are_even_and_hang_on_their_own_seed() -> None:
    values = chances(range(4000))
    assert 0.0 <= float(values.min()) < float(values.max()) < 1.0
    counts = np.histogram(values.numpy(), bins=10, range=(0, 1))[0]
    assert float(np.sum((counts - 400) ** 2 / 400)) < 27.9  # chi-square of 9 degrees, p = 0.001
    assert torch.equal(chances([17])[0], values[17])
    assert not torch.equal(chances([17], stream=1)[0], values[17])


def test_tensors_come_back_bit_for_bit(tmp_path: Path) -> None:
    tensors = {"a": draws((3, 4), [1]).to(torch.bfloat16), "b": draws((4, 3), [2])[0].T}
    save_tensors(tmp_path / "t.safetensors", tensors)
    back = load_tensors(tmp_path / "t.safetensors")
    assert all(torch.equal(back[name], value) and back[name].dtype == value.dtype for name, value in tensors.items())


@pytest.mark.parametrize("damage", [lambda data: data[:-5], lambda data: b"\xff" * 9 + data[9:], lambda data: b""])
def test_damaged_tensors_are_named(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "t.safetensors"
    save_tensors(path, {"a": torch.zeros(5)})
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(ModelError, match=r"t\.safetensors: expected tensors in safetensors form"):
        load_tensors(path)


def test_a_full_disk_is_named_and_the_older_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    save_tensors(path, {"a": torch.zeros(5)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OutputError, match=r"t\.safetensors: could not be written: the file would be larger"):
            save_tensors(path, {"a": torch.zeros(5000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert torch.equal(load_tensors(path)["a"], torch.zeros(5))
    assert list(tmp_path.iterdir()) == [path]
