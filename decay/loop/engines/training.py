"""Gradient descent for every engine that learns by it: resumable, on one process or several, the same bit for bit.

Nothing random comes from a global generator. The order of an epoch hangs on (seed of the fit, epoch), all that is
drawn for a picture on (seed of the fit, epoch, its index in the dataset). So parameters, optimiser state, moving
average and the number of steps are all that there is to keep, and noise and flips do not depend on how many
processes share the work or how large their batches are.

On a CPU with a fixed number of threads a fit that was interrupted ends in bitwise the same weights as one that was
not. On a GPU, and between different numbers of processes, sums are taken in another order: equal to rounding.
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, parse_flag_from_env, reduce
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from decay.errors import DecayError, ModelError
from decay.files import output_error, write_aside
from decay.loop.checkpoint import is_published, published, read_manifest, remove
from decay.loop.engine import Fit, Processes, derive_seed

Precision = Literal["fp32", "bf16"]

LossOf = Callable[[nn.Module, Sequence[int], Sequence[int]], Tensor]
"""(the module, indices of some pictures of the dataset, one seed per picture) -> their mean loss, a scalar.

The module comes as it was handed to ``train``, on ``device()``; it is never wrapped. What is random is drawn from the
seeds, by ``draws`` and ``chances``.
"""

STATE_FILE = "state.safetensors"
_ORDER, _DROPOUT = 1, 2  # streams of the fit's seed; stream 0 would be the pictures' own
_ADAM = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Optimisation:
    """How a fit descends: AdamW (Loshchilov & Hutter 2019, "Decoupled weight decay regularization", ICLR).

    ``batch_size``: pictures per step, on all processes together. ``accumulation``: in how many parts, one after the
    other, each process works its share off: less memory, the same result but for rounding. ``learning_rate``: constant
    after rising linearly over ``warmup_steps``. ``precision``: of the forward pass; "bf16" is autocast, parameters and
    optimiser stay as they are. ``ema_decay``: 0..1 (not 1), of the moving average of the parameters that takes their
    place at the end; None for the last parameters themselves. ``max_grad_norm``: gradients of a greater L2 norm are
    scaled down to it. ``save_every_steps``: what an interruption costs at most.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.01
    precision: Precision = "fp32"
    ema_decay: float | None = None
    save_every_steps: int = 500
    max_grad_norm: float = 1.0
    accumulation: int = 1
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "save_every_steps", "accumulation"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.precision not in get_args(Precision):
            raise ValueError(f"precision must be one of {', '.join(get_args(Precision))}, got {self.precision!r}")
        if self.ema_decay is not None and not 0.0 <= self.ema_decay < 1.0:
            raise ValueError(f"ema_decay must lie in 0..1, below 1, or be left out, got {self.ema_decay}")
        if self.learning_rate <= 0 or self.max_grad_norm <= 0 or self.weight_decay < 0 or self.warmup_steps < 0:
            raise ValueError(
                "learning_rate and max_grad_norm must be above 0, weight_decay and warmup_steps at least 0, got "
                f"{self.learning_rate}, {self.max_grad_norm}, {self.weight_decay} and {self.warmup_steps}"
            )

    @classmethod
    def of(cls, settings: object) -> Optimisation:
        """How an engine descends whose ``settings`` carry the names of the fields here; what it lacks is the default.

        Raises ValueError for settings that it cannot be made of.
        """
        said = [field.name for field in fields(cls) if hasattr(settings, field.name)]
        return cls(**{name: getattr(settings, name) for name in said})

    def steps(self, n_images: int) -> int:
        """Steps of a fit on so many pictures. The last batch of an epoch is smaller where they do not divide."""
        return self.epochs * self.steps_per_epoch(n_images)

    def steps_per_epoch(self, n_images: int) -> int:
        """Steps in which every picture is seen once."""
        return -(-n_images // self.batch_size)


# --------------------------------------------------------------------------- processes and chance


@dataclass(frozen=True)
class Accelerated:
    """The processes that ``accelerate launch`` or ``torchrun`` started; one where neither did. See ``Processes``."""

    index: int
    count: int

    def wait(self) -> None:
        """Return when all have come here."""
        _shared().wait_for_everyone()


def processes() -> Processes:
    """The processes that this one is part of. The first call joins them."""
    state = _shared()
    return Accelerated(state.process_index, state.num_processes)


def device() -> torch.device:
    """Where this process computes: its own GPU, or the CPU where there is none or ACCELERATE_USE_CPU=1 is set."""
    found: torch.device = _shared().device
    return found


def _shared() -> PartialState:
    # Left to itself it neither looks at ACCELERATE_USE_CPU nor joins processes that have no GPU: each would be alone.
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available())


def draws(
    shape: Sequence[int],
    seeds: Sequence[int],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    stream: int = 0,
) -> Tensor:
    """Standard normal numbers, (len(seeds), *shape): each row from a generator of its own, on the CPU everywhere.

    A row hangs on its seed and ``stream`` alone, not on the other rows nor on the device. Different streams of a
    seed are independent; ``chances`` takes from other ones even where the number is the same.
    """
    rows = [torch.randn(*shape, generator=_generator(seed, stream)) for seed in seeds]
    return torch.stack(rows).to(device=device, dtype=dtype)


def chances(seeds: Sequence[int], stream: int = 0) -> Tensor:
    """One number per seed, uniform in 0..1 (not 1), float64 on the CPU: ``(chances(s) * 1000).long()`` for timesteps.

    Each hangs on its seed and ``stream`` alone.
    """
    # 2**53 values: the most that float64 holds evenly in 0..1
    return torch.tensor([derive_seed(seed, stream, 1) / 2**53 for seed in seeds], dtype=torch.float64)


def _generator(seed: int, stream: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(seed, stream, 0))


# --------------------------------------------------------------------------- training


def train(
    module: nn.Module,
    loss_of: LossOf,
    n_images: int,
    optimisation: Optimisation,
    circumstances: Fit,
    processes: Processes,
) -> None:
    """Train, in place, those parameters of ``module`` that have ``requires_grad``.

    They begin as they are, or where an interrupted call with the same arguments left its last state in
    ``circumstances.scratch``; states of other arguments or damaged ones are discarded there. The last state stays: who
    owns that folder removes it once the weights are safe. ``module`` is moved to ``device()`` and, at the end, back
    to the CPU, in evaluation mode, without gradients. All processes must hold equal parameters at the start, and do
    at the end; each computes the gradients of its share of every batch, and they are summed.

    Raises DecayError if the loss stops being finite, OutputError where a state cannot be written.
    """
    place, total = device(), optimisation.steps(n_images)
    module.to(place).train()
    # Dropout is all that draws from the global generator; it is seeded at every step, and the caller's put back.
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        state = _State.of(module, optimisation)
        plan = {"seed": circumstances.seed, "n_images": n_images, "optimisation": asdict(optimisation)}
        _resume(state, circumstances.scratch, plan, processes)
        circumstances.progress(state.step, total)
        while state.step < total:
            _step(module, loss_of, n_images, optimisation, state, circumstances.seed, processes)
            if state.step == total or state.step % optimisation.save_every_steps == 0:
                _check_finite(state)
            if state.step < total and state.step % optimisation.save_every_steps == 0:
                _keep(state, circumstances.scratch, plan, processes)
            circumstances.progress(state.step, total)
    state.finish()
    module.eval().to("cpu")


@dataclass
class _State:
    """Of a fit in progress. ``average``: the moving average by parameter, empty where none is kept.

    ``all_finite``: whether every gradient norm so far was; on the device, so that no step waits for it.
    """

    parameters: dict[str, nn.Parameter]
    optimiser: torch.optim.AdamW
    average: dict[str, Tensor]
    all_finite: Tensor
    step: int = 0

    @staticmethod
    def of(module: nn.Module, optimisation: Optimisation) -> _State:
        parameters = {name: value for name, value in module.named_parameters() if value.requires_grad}
        if not parameters:
            raise ValueError("no parameter of the module has requires_grad")
        values = list(parameters.values())
        optimiser = torch.optim.AdamW(
            values, lr=optimisation.learning_rate, weight_decay=optimisation.weight_decay, fused=True
        )
        with_average = optimisation.ema_decay is not None
        average = {name: value.detach().clone() for name, value in parameters.items()} if with_average else {}
        return _State(parameters, optimiser, average, torch.ones((), dtype=torch.bool, device=values[0].device))

    def tensors(self) -> dict[str, Tensor]:
        """All that a later call needs to go on, by name."""
        named = {f"parameter.{name}": value.detach() for name, value in self.parameters.items()}
        named |= {f"average.{name}": value for name, value in self.average.items()}
        for name, value in self.parameters.items():
            named |= {f"{moment}.{name}": self.optimiser.state[value][moment] for moment in _ADAM}
        return named

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Take up what ``tensors`` gave after ``step`` steps."""
        for name, value in self.parameters.items():
            value.copy_(tensors[f"parameter.{name}"])
            moments = {moment: tensors[f"{moment}.{name}"].to(value.device) for moment in _ADAM}
            steps = torch.tensor(float(step), device=value.device)
            self.optimiser.state[value] = {"step": steps, **moments}
        for name, average in self.average.items():
            average.copy_(tensors[f"average.{name}"])
        self.step = step

    @torch.no_grad()
    def finish(self) -> None:
        """Put the average in the parameters' place, and let go of the gradients."""
        for name, average in self.average.items():
            self.parameters[name].copy_(average)
        self.optimiser.zero_grad(set_to_none=True)


def _step(
    module: nn.Module,
    loss_of: LossOf,
    n_images: int,
    optimisation: Optimisation,
    state: _State,
    seed: int,
    processes: Processes,
) -> None:
    epoch, position = divmod(state.step, optimisation.steps_per_epoch(n_images))
    order = np.random.default_rng([seed, _ORDER, epoch]).permutation(n_images)
    batch = order[position * optimisation.batch_size :][: optimisation.batch_size]
    share = batch[processes.index :: processes.count]
    torch.manual_seed(derive_seed(seed, _DROPOUT, state.step * processes.count + processes.index))
    state.optimiser.zero_grad(set_to_none=True)
    for part in np.array_split(share, optimisation.accumulation):
        if len(part):
            seeds = [derive_seed(seed, epoch, int(index)) for index in part]
            with autocast(optimisation.precision):
                loss = loss_of(module, [int(index) for index in part], seeds)
            (loss * (len(part) / len(batch))).backward()  # type: ignore[no-untyped-call]
    _sum_gradients(state, processes)
    norm = nn.utils.clip_grad_norm_(state.parameters.values(), optimisation.max_grad_norm)
    state.all_finite &= torch.isfinite(norm)
    rise = min(1.0, (state.step + 1) / max(1, optimisation.warmup_steps))
    state.optimiser.param_groups[0]["lr"] = optimisation.learning_rate * rise
    state.optimiser.step()
    state.step += 1
    if optimisation.ema_decay is not None:
        # A short fit would otherwise be an average of its random start. Same ramp as in diffusers' EMAModel.
        decay = min(optimisation.ema_decay, (1 + state.step) / (10 + state.step))
        parameters = [value.detach() for value in state.parameters.values()]
        torch._foreach_lerp_(list(state.average.values()), parameters, 1.0 - decay)


def autocast(precision: Precision) -> AbstractContextManager[object]:
    """The context in which a network computes at that precision on ``device()``."""
    return torch.autocast(device().type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()


def _sum_gradients(state: _State, processes: Processes) -> None:
    for value in state.parameters.values():
        if value.grad is None:  # a batch smaller than the number of processes, or a part of the module that slept
            value.grad = torch.zeros_like(value)
        if processes.count > 1:
            value.grad = reduce(value.grad, "sum")


def _check_finite(state: _State) -> None:
    if not bool(state.all_finite):
        raise DecayError(
            f"Expected a loss that falls; within the first {state.step} steps its gradients stopped being finite "
            'numbers. Lower `learning_rate`, or set precision = "fp32", in [engine].'
        )


# --------------------------------------------------------------------------- half-way states


def _keep(state: _State, scratch: Path, plan: Mapping[str, object], processes: Processes) -> None:
    """Publish the state of now, then remove those before it."""
    if processes.index == 0:
        older = _folders(scratch)
        with published(scratch / f"step_{state.step:08d}", {"step": state.step, "plan": plan}) as folder:
            save_tensors(folder / STATE_FILE, state.tensors())
        for folder in older:
            remove(folder)
    processes.wait()


def _resume(state: _State, scratch: Path, plan: Mapping[str, object], processes: Processes) -> None:
    """Go on from the newest whole state of this very plan, on all processes."""
    found: list[Path | None] = [None]
    if processes.index == 0:
        for folder in _folders(scratch):
            if found[0] is None and _is_usable(folder, plan):
                found[0] = folder
            else:
                remove(folder)
    if processes.count > 1:
        broadcast_object_list(found)
    if (newest := found[0]) is not None:
        state.restore(load_tensors(newest / STATE_FILE), int(newest.name.removeprefix("step_")))


def _folders(scratch: Path) -> list[Path]:
    """Of all states, the newest first."""
    return sorted(scratch.glob("step_*"), reverse=True)


def _is_usable(folder: Path, plan: Mapping[str, object]) -> bool:
    # A damaged state costs the steps since the one before, nothing else: the weights come out the same.
    try:
        return is_published(folder) and read_manifest(folder).record["plan"] == json.loads(json.dumps(plan))
    except (ModelError, KeyError):
        return False


# --------------------------------------------------------------------------- tensors in files


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write named tensors as safetensors, in one step. Raises OutputError.

    ``metadata``: for readers of other makes; one entry at most keeps the file the same byte for byte (safetensors
    writes several in any order).
    """
    whole = {name: value.detach().contiguous() for name, value in tensors.items()}
    try:
        with write_aside(path) as aside:
            save_file(whole, aside, None if metadata is None else dict(metadata))
    except SafetensorError as error:
        # Rust's I/O error comes as text: "I/O error: No space left on device (os error 28)"
        code = re.search(r"os error (\d+)", str(error))
        raise output_error(path, OSError(int(code[1]) if code else errno.EIO, str(error))) from error


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The named tensors in a safetensors file, on the CPU. Raises ModelError if it is missing or damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise ModelError(
            f"{path}: expected tensors in safetensors form; found none that can be read ({error}). Put the file back "
            "from a copy, or remove its folder to have it made again."
        ) from error
