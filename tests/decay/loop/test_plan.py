"""The plan of a run: counts to the last picture, steps, pictures, disk; the same as the run will make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from decay.errors import DecayError, ModelError
from decay.loop.engine import Setting
from decay.loop.engines.linear import LinearEngine
from decay.loop.plan import Plan, make_plan, plan_text, sweep_text
from decay.loop.protocol import Controls, HeldOut, Parent, Protocol, RealSet, Regime
from decay.loop.reading import read_protocol
from decay.loop.regimes import Pool, compose, counts

GROUPS = [f"group {i // 30:02d}" for i in range(900)]
BASE = Protocol("x", RealSet(Path("real")), "linear", iterations=3)


@dataclass(frozen=True)
class Costly(LinearEngine):
    """A linear engine that says of itself what one with weights and a sampler would."""

    def fit_steps(self, n_images: int, *, first: bool = False) -> int:
        return 50 * -(-n_images // 4)

    def settings(self) -> Mapping[str, Setting]:
        return {"inference_steps": 250, "strength": 0.8}

    def check(self) -> None:
        raise ModelError("m: expected weights; found none. Get them.")


def plan_of(*regimes: Regime, n_reserve: int = 0, **changes: object) -> Plan:
    protocol = replace(BASE, regimes=regimes or (Regime(),), **changes)  # type: ignore[arg-type]
    return make_plan(protocol, LinearEngine(), GROUPS, dict.fromkeys(GROUPS, n_reserve), from_nothing=True)


def trained_on(plan: Plan) -> list[str]:
    return [turn.trained_on for turn in plan.turns]


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (1.0, "mix 100 %: 30 groups of 0 real + 30 synthetic (0 + 900 = 900)"),
        (0.5, "mix 50 %: 30 groups of 15 real + 15 synthetic (450 + 450 = 900)"),
        (0.25, "mix 25 %: 30 groups of 22 real + 8 synthetic (660 + 240 = 900)"),
        (0.1, "mix 10 %: 30 groups of 27 real + 3 synthetic (810 + 90 = 900)"),
        (0.033, "mix 3.3 %: 30 groups of 29 real + 1 synthetic (870 + 30 = 900)"),
        (0.0, "mix 0 %: 30 groups of 30 real + 0 synthetic (900 + 0 = 900)"),
    ],
)
def test_mixes_are_counted_to_the_picture(share: float, words: str) -> None:
    plan = plan_of(Regime(kind="mix", synthetic=share))
    real = "real pictures: 30 groups of 30 real + 0 synthetic (900 + 0 = 900)"
    assert trained_on(plan) == [real, words, words, words]


def test_every_iteration_has_its_own_regime() -> None:
    plan = plan_of(Regime(kind="schedule", shares=(0.0, 0.5)), Regime(3, "accumulate"))
    assert trained_on(plan)[1:] == [
        "schedule 0 %: 30 groups of 30 real + 0 synthetic (900 + 0 = 900)",
        "schedule 50 %: 30 groups of 15 real + 15 synthetic (450 + 450 = 900)",
        "accumulate: 30 groups of 30 real + 90 synthetic (900 + 2,700 = 3,600)",
    ]


def test_what_is_drawn_by_chance_is_what_the_run_draws() -> None:
    plan = plan_of(Regime(kind="budget"), seed=5)
    for turn in plan.turns[1:]:
        pool = Pool(GROUPS, turn.generation, turn.generation, {})
        by_group = counts(compose(Regime(kind="budget"), pool, 5))
        assert turn.n_real == sum(real for real, _ in by_group.values())
        reals = [real for real, _ in by_group.values()]
        assert f"30 groups of {min(reals)} to {max(reals)} real + " in turn.trained_on
        assert turn.n_real + turn.n_synthetic == 900


@pytest.mark.parametrize(
    "regime",
    [
        Regime(kind="mix", synthetic=0.016),
        Regime(kind="mix", synthetic=0.984),
        Regime(kind="fresh", synthetic=0.016),
        Regime(kind="schedule", shares=(0.5, 0.016)),
        Regime(kind="curated", keep=0.99),
        Regime(kind="filtered", missed=0.005),
    ],
)
def test_a_share_that_comes_to_another_experiment_is_refused(regime: Regime) -> None:
    with pytest.raises(DecayError, match=rf"the regime {regime.kind} comes to (none|all) of 30( to 90)?, in every"):
        plan_of(regime, n_reserve=99)


def test_a_share_that_comes_to_nothing_in_some_groups_is_said() -> None:
    groups = ["a"] * 4 + ["b"] * 5 + ["c"] * 3
    said = "In some groups, synthetic = 0.1 of the regime mix comes to none of their 3 to 4 pictures."
    plan = make_plan(replace(BASE, regimes=(Regime(kind="mix", synthetic=0.1),)), LinearEngine(), groups, {}, True)
    assert plan.notes == (said,)
    assert said in plan_text(plan).splitlines()
    assert f"x: {said}" in sweep_text([plan]).splitlines()
    assert plan_of(Regime(kind="filtered", missed=0.01)).notes == (  # of 30, 60 and 90 generated ones: 0, 1 and 1
        "In some groups, missed = 0.01 of the regime filtered comes to none of their 30 pictures.",
    )


def test_groups_of_different_size_are_told_apart() -> None:
    groups = ["a"] * 10 + ["b"] * 20 + ["c"] * 10
    plan = make_plan(replace(BASE, regimes=(Regime(kind="mix", synthetic=0.1),)), LinearEngine(), groups, {}, True)
    assert plan.notes == ()
    assert trained_on(plan)[1] == (
        "mix 10 %: 2 groups of 9 real + 1 synthetic, 1 group of 18 real + 2 synthetic (36 + 4 = 40)"
    )


def test_fresh_pictures_that_are_not_there_are_missed_before_the_run() -> None:
    assert plan_of(Regime(kind="fresh", synthetic=0.5), n_reserve=45).turns[-1].n_real == 450
    with pytest.raises(DecayError, match="needs 45 real pictures of group 00 beyond the 30 of its slots"):
        plan_of(Regime(kind="fresh", synthetic=0.5), n_reserve=44)


def test_what_it_costs() -> None:
    """The paper's 100 % arm: 900 + 50 pictures in each of 6 generations, 5 fits of 50 epochs in batches of 4."""
    protocol = replace(BASE, iterations=5, size_px=512, held_out=HeldOut(("a", "b", "c", "d", "e"), 10))
    plan = make_plan(protocol, Costly(), GROUPS, {}, from_nothing=False)
    assert plan.turns[0].trained_on == "nothing: the base weights"
    assert [turn.fit_steps for turn in plan.turns] == [0, *(5 * [50 * 225])]
    assert plan.n_images == 6 * 950
    assert plan.turns[0].sampling_steps == 900 * 200 + 50 * 250  # from pictures; the held-out ones from noise
    assert plan.turns[1].sampling_steps == 950 * 250
    assert plan.sampling_steps == 900 * 200 + 50 * 250 + 5 * 950 * 250
    assert plan.image_bytes == (900 + 6 * 950) * 3 * 512**2
    assert plan.n_weights == 6
    assert make_plan(replace(protocol, keep_weights="last"), Costly(), GROUPS, {}, False).n_weights == 1
    text = plan_text(plan)
    assert "Pictures to make: 5,700. Training steps: 56,250.\nSteps of the sampler: 1,380,000, each" in text
    assert text.endswith("Missing: m: expected weights; found none. Get them.\n")


def test_controls_cost_pictures() -> None:
    plan = plan_of(controls=Controls(True, True, Path("m.pt"), 10))
    assert plan.image_bytes == (900 + 3 * 4 * 900) * 3 * 512**2
    assert "Pictures to make: 3,600, and at most 36,000 again for the quality control." in plan_text(plan)


def test_fresh_pictures_take_room_too() -> None:
    plan = plan_of(Regime(kind="fresh", synthetic=0.5), n_reserve=45)
    assert [turn.n_fresh for turn in plan.turns] == [0, 450, 450, 450]
    assert plan.image_bytes == (900 + 4 * 900 + 3 * 450) * 3 * 512**2


def test_a_healed_run_is_numbered_after_its_parent() -> None:
    plan = plan_of(Regime(kind="mix", synthetic=0.0), parent=Parent(Path("before"), 5), later_from="previous")
    assert [turn.generation for turn in plan.turns] == [6, 7, 8]
    assert {turn.n_synthetic for turn in plan.turns} == {0}


def test_the_text_has_every_setting_and_every_generation() -> None:
    lines = plan_text(plan_of(held_out=HeldOut(("a dog",), 2))).splitlines()
    for setting in (
        'name                       "x"',
        "engine.strength            1.0",
        "engine.n_components        none",
    ):
        assert f"  {setting}" in lines
    assert '  held_out.prompts           "a dog"' in lines
    generations = [line.split()[0] for line in lines if "synthetic (" in line]
    assert generations == ["0", "1", "2", "3"]
    assert all("900 + 2 held out" in line for line in lines if "synthetic (" in line)
    assert not any(line != line.rstrip() for line in lines)


def test_a_sweep_adds_up() -> None:
    arms = read_protocol("bohacek-farid").arms
    plans = [make_plan(arm, Costly(), GROUPS, {}, from_nothing=False) for arm in arms.values()]
    lines = sweep_text(plans).splitlines()
    assert [line.split()[0] for line in lines[1:10]] == list(arms)
    # 8 arms of 6 generations and 5 fits, and healing of 5 and 5
    assert lines[10].split()[:4] == ["in", "all", f"{45 * 50 * 225:,}", f"{53 * 950:,}"]
    assert [line for line in lines if line.startswith("Missing")] == [
        "Missing: m: expected weights; found none. Get them."
    ]
