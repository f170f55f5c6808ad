"""What a run would do, before it does it: training sets to the last picture, steps, pictures, disk."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from decay.errors import ModelError
from decay.loop.engine import Engine, Setting
from decay.loop.protocol import Protocol, Regime
from decay.loop.reading import resolved
from decay.loop.regimes import FRESH, compose, counts, notes_on_shares, pool_of

_MAX_KINDS = 3
"""Groups that differ in more ways than this are told by their range."""


@dataclass(frozen=True)
class Turn:
    """One generation. ``trained_on``: in words. ``n_fresh``: of the real pictures those of the reserve. ``fit_steps``:
    0 where nothing is fitted. ``n_images``, ``n_held_out``: pictures to make. ``sampling_steps``: steps of the sampler
    for all of them, None where it has none.
    """

    generation: int
    trained_on: str
    n_real: int
    n_fresh: int
    n_synthetic: int
    fit_steps: int
    n_images: int
    n_held_out: int
    sampling_steps: int | None


@dataclass(frozen=True)
class Plan:
    """A run as it would go. ``settings``: every one, by name. ``missing``: what the engine lacks, "" for nothing.

    ``n_again``: pictures that the quality control makes again, at most. ``image_bytes``: of all pictures to keep,
    uncompressed, which PNG hardly exceeds. ``n_weights``: sets of weights kept. ``n_enlarged``: real pictures of slots
    that are smaller than the run's. ``notes``: sentences on what the protocol comes to here, and may not mean.
    """

    name: str
    settings: Mapping[str, object]
    turns: tuple[Turn, ...]
    missing: str
    n_again: int
    image_bytes: int
    n_weights: int
    n_enlarged: int = 0
    notes: tuple[str, ...] = ()

    @property
    def n_images(self) -> int:
        """Pictures to make, those of held-out prompts too."""
        return sum(turn.n_images + turn.n_held_out for turn in self.turns)

    @property
    def fit_steps(self) -> int:
        """Training steps of all fits."""
        return sum(turn.fit_steps for turn in self.turns)

    @property
    def sampling_steps(self) -> int | None:
        """Steps of the sampler for all pictures, None where it has none."""
        steps = [turn.sampling_steps for turn in self.turns]
        return sum(step for step in steps if step is not None) if None not in steps else None


def make_plan(
    protocol: Protocol,
    engine: Engine[Any],
    groups: Sequence[str],
    n_reserve: Mapping[str, int],
    from_nothing: bool,
) -> Plan:
    """The plan of one run. ``groups``: the group of each slot. ``n_reserve``: real pictures beyond them, by group.

    ``from_nothing``: whether the engine has no base weights, so that generation 0 needs a fit on the real pictures.
    Regimes are composed as the run composes them: what is drawn by chance is what the run will draw. Raises
    DecayError where a regime cannot be followed (``fresh`` without a reserve, a share that comes to nothing).
    """
    turns = tuple(
        _turn(protocol, engine, groups, n_reserve, from_nothing, generation)
        for generation in range(protocol.first_generation, protocol.last_generation + 1)
    )
    controls = protocol.controls
    n_copies = 1 + controls.colour + controls.quality
    n_stored = len(groups) + sum(n_copies * turn.n_images + turn.n_held_out + turn.n_fresh for turn in turns)
    settings = resolved(protocol) | {"engine": {"name": engine.name, **engine.settings()}}
    return Plan(
        name=protocol.name,
        settings=settings,
        turns=turns,
        missing=_missing(engine),
        n_again=controls.quality_attempts * len(groups) * len(turns) if controls.quality else 0,
        image_bytes=n_stored * 3 * protocol.size_px**2,
        n_weights=len(turns) if protocol.keep_weights == "all" else 1,
        notes=notes_on_shares(protocol, groups),
    )


def _turn(
    protocol: Protocol,
    engine: Engine[Any],
    groups: Sequence[str],
    n_reserve: Mapping[str, int],
    from_nothing: bool,
    generation: int,
) -> Turn:
    iteration = protocol.iteration_of(generation)
    if generation > 0:
        regime = protocol.regime_at(iteration)
        items = compose(regime, pool_of(protocol, groups, generation, n_reserve), protocol.seed)
        by_group, n_fresh = counts(items), sum(item.generation == FRESH for item in items)
        trained_on = f"{_regime_words(regime, iteration)}: {_counts_words(by_group)}"
    elif from_nothing:
        by_group, n_fresh = {group: (n, 0) for group, n in sorted(Counter(groups).items())}, 0
        trained_on = f"real pictures: {_counts_words(by_group)}"
    else:
        by_group, n_fresh, trained_on = {}, 0, "nothing: the base weights"
    n_real, n_synthetic = (sum(pair[i] for pair in by_group.values()) for i in (0, 1))
    start = protocol.first_from if generation == 0 else protocol.later_from
    first = from_nothing and (generation == 0 or protocol.init == "base")
    n_held_out = len(protocol.held_out.prompts) * protocol.held_out.per_prompt
    per_image, per_held_out = (_sampling_steps(engine.settings(), is_start) for is_start in (start != "noise", False))
    return Turn(
        generation=generation,
        trained_on=trained_on,
        n_real=n_real,
        n_fresh=n_fresh,
        n_synthetic=n_synthetic,
        fit_steps=engine.fit_steps(n_real + n_synthetic, first=first) if by_group else 0,
        n_images=len(groups),
        n_held_out=n_held_out,
        sampling_steps=None
        if per_image is None or per_held_out is None
        else per_image * len(groups) + per_held_out * n_held_out,
    )


def _sampling_steps(settings: Mapping[str, Setting], from_picture: bool) -> int | None:
    """Steps per picture. Image-to-image goes the last ``strength`` of the way (Meng et al. 2022, "SDEdit", ICLR)."""
    steps, strength = settings.get("inference_steps", settings.get("steps")), settings.get("strength")
    if not isinstance(steps, int):
        return None
    return min(int(steps * strength), steps) if from_picture and isinstance(strength, float) else steps


def _missing(engine: Engine[Any]) -> str:
    try:
        engine.check()
    except ModelError as error:
        return str(error)
    return ""


def _regime_words(regime: Regime, iteration: int) -> str:
    if regime.kind in {"mix", "schedule", "fresh"}:
        return f"{regime.kind} {100 * regime.share_at(iteration):.4g} %"
    return regime.kind


def _counts_words(by_group: Mapping[str, tuple[int, int]]) -> str:
    """``30 groups of 29 real + 1 synthetic (870 + 30 = 900)``; groups that differ in many ways by their range."""
    alike = Counter(by_group.values())
    if len(alike) <= _MAX_KINDS:
        parts = [f"{_groups(n)} of {real} real + {synthetic} synthetic" for (real, synthetic), n in alike.items()]
        words = ", ".join(parts)
    else:
        reals, synthetics = zip(*by_group.values(), strict=True)
        words = (
            f"{_groups(len(by_group))} of {min(reals)} to {max(reals)} real + "
            f"{min(synthetics)} to {max(synthetics)} synthetic"
        )
    n_real, n_synthetic = (sum(pair[i] for pair in by_group.values()) for i in (0, 1))
    return f"{words} ({n_real:,} + {n_synthetic:,} = {n_real + n_synthetic:,})"


def _groups(n: int) -> str:
    return "1 group" if n == 1 else f"{n} groups"


# --------------------------------------------------------------------------- as text


def plan_text(plan: Plan) -> str:
    """The plan of one run, to be read: settings, a line per generation, what it costs."""
    rows = [
        (
            str(turn.generation),
            turn.trained_on,
            f"{turn.fit_steps:,}",
            f"{turn.n_images:,}" + (f" + {turn.n_held_out:,} held out" if turn.n_held_out else ""),
        )
        for turn in plan.turns
    ]
    header = ("generation", "trained on", "steps", "pictures to make")
    parts = [plan.name, _indented(_settings_lines(plan.settings)), _table([header, *rows]), _cost_text(plan)]
    return "\n\n".join(parts) + "\n"


def sweep_text(plans: Sequence[Plan]) -> str:
    """The plans of several arms: what each trains on last, what each costs, and all together."""
    rows = [(plan.name, plan.turns[-1].trained_on, *_costs(plan)) for plan in plans]
    total = ("in all", "", *_costs_of(plans))
    header = ("arm", "trained on at the end", "steps", "pictures", "sampler steps", "GB at most", "weights")
    missing = dict.fromkeys(plan.missing for plan in plans if plan.missing)
    notes = [f"{plan.name}: {note}" for plan in plans for note in plan.notes]
    notes += [f"Missing: {text}" for text in missing]
    return "\n\n".join([_table([header, *rows, total]), *notes]) + "\n"


def _costs(plan: Plan) -> tuple[str, ...]:
    return _costs_of([plan])


def _costs_of(plans: Sequence[Plan]) -> tuple[str, ...]:
    sampling = [plan.sampling_steps for plan in plans if plan.sampling_steps is not None]
    return (
        f"{sum(plan.fit_steps for plan in plans):,}",
        f"{sum(plan.n_images for plan in plans):,}",
        f"{sum(sampling):,}" if sampling else "-",
        f"{sum(plan.image_bytes for plan in plans) / 1e9:.2f}",
        f"{sum(plan.n_weights for plan in plans):,}",
    )


def _cost_text(plan: Plan) -> str:
    again = f", and at most {plan.n_again:,} again for the quality control" if plan.n_again else ""
    lines = [f"Pictures to make: {plan.n_images:,}{again}. Training steps: {plan.fit_steps:,}."]
    if plan.sampling_steps is not None:
        lines.append(
            f"Steps of the sampler: {plan.sampling_steps:,}, each one pass of the network, two with classifier-free "
            "guidance."
        )
    sets = "1 set" if plan.n_weights == 1 else f"{plan.n_weights} sets"
    lines.append(f"Disk: at most {plan.image_bytes / 1e9:.2f} GB of pictures, and {sets} of weights.")
    if plan.n_enlarged:
        lines.append(f"Real pictures that are smaller than size_px and are enlarged: {plan.n_enlarged:,}.")
    lines.extend(plan.notes)
    if plan.missing:
        lines.append(f"Missing: {plan.missing}")
    return "\n".join(lines)


def _settings_lines(settings: Mapping[str, object], above: str = "") -> list[tuple[str, str]]:
    lines = []
    for key, value in settings.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            lines.extend(_settings_lines(value, f"{name}."))
        elif isinstance(value, list) and value:
            lines.extend((name, json.dumps(part, ensure_ascii=False)) for part in value)
        else:
            lines.append((name, "none" if value in (None, []) else json.dumps(value, ensure_ascii=False)))
    return lines


def _indented(rows: Sequence[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows)


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
