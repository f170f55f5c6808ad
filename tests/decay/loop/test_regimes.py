from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from decay.errors import DecayError
from decay.loop.protocol import Regime
from decay.loop.regimes import FRESH, REAL, Item, Pool, compose, counts

GROUPS = ("b",) * 30 + ("a",) * 10
N_SLOTS = {"a": 10, "b": 30}


def pool(generation: int = 3, **changes: object) -> Pool:
    said: dict[str, object] = {"groups": GROUPS, "generation": generation, "iteration": generation, "n_reserve": {}}
    return Pool(**said | changes)  # type: ignore[arg-type]


def test_replace_is_the_generation_before_and_nothing_else() -> None:
    assert sorted(compose(Regime(), pool(), 0)) == sorted(Item(2, slot, group) for slot, group in enumerate(GROUPS))


@pytest.mark.parametrize(
    ("share", "synthetic"),
    [(0.0, (0, 0)), (0.033, (0, 1)), (0.1, (1, 3)), (0.25, (3, 8)), (0.5, (5, 15)), (1, (10, 30))],
)
def test_a_mix_counts_exactly_per_group(share: float, synthetic: tuple[int, int]) -> None:
    items = compose(Regime(kind="mix", synthetic=share), pool(), 7)
    a, b = synthetic
    assert counts(items) == {"a": (10 - a, a), "b": (30 - b, b)}
    assert Counter(item.slot for item in items) == Counter(range(40)), "every slot once, real or generated"
    assert {item.generation for item in items} <= {REAL, 2}
    assert all(GROUPS[item.slot] == item.group for item in items)


def test_which_slots_are_generated_is_drawn_anew_each_time_and_hangs_on_the_seed() -> None:
    def generated(generation: int, seed: int) -> set[int]:
        items = compose(Regime(kind="mix", synthetic=0.5), pool(generation), seed)
        return {item.slot for item in items if item.is_synthetic}

    assert generated(3, 1) == generated(3, 1)
    assert len({frozenset(generated(g, s)) for g in (1, 2, 3) for s in (1, 2)}) == 6


def test_every_slot_is_chosen_equally_often() -> None:
    chosen = Counter(
        item.slot
        for seed in range(400)
        for item in compose(Regime(kind="mix", synthetic=0.2), pool(), seed)
        if item.is_synthetic
    )
    rates = np.array([chosen[slot] for slot in range(40)]) / 400
    assert np.abs(rates - 0.2).max() < 4 * np.sqrt(0.2 * 0.8 / 400)


def test_a_schedule_takes_its_shares_in_turn_and_keeps_the_last() -> None:
    regime = Regime(since=2, kind="schedule", shares=(0.0, 0.5, 0.9))
    found = [counts(compose(regime, pool(g), 0))["b"][1] for g in (2, 3, 4, 5)]
    assert found == [0, 15, 27, 27]


def test_accumulate_keeps_everything() -> None:
    items = compose(Regime(kind="accumulate"), pool(), 0)
    assert len(items) == len(set(items)) == 4 * 40
    assert Counter(item.generation for item in items) == {REAL: 40, 0: 40, 1: 40, 2: 40}


def test_a_budget_draws_a_groups_number_evenly_from_all_that_was() -> None:
    found: Counter[int] = Counter()
    for seed in range(200):
        items = compose(Regime(kind="budget"), pool(), seed)
        assert len(set(items)) == 40
        assert Counter(item.group for item in items) == N_SLOTS
        found.update(item.generation for item in items)
    shares = np.array([found[g] for g in (REAL, 0, 1, 2)]) / (200 * 40)
    assert np.abs(shares - 0.25).max() < 0.02


@pytest.mark.parametrize(("missed", "least", "most"), [(0.0, 0, 0), (0.5, 15, 21), (1.0, 20, 26)])
def test_filtered_trains_on_what_the_log_does_not_know_to_be_synthetic(missed: float, least: int, most: int) -> None:
    """Of 30 real and 90 generated pictures in group b, the share ``missed`` of the latter passes."""
    found = [counts(compose(Regime(kind="filtered", missed=missed), pool(), seed))["b"] for seed in range(50)]
    assert all(real + synthetic == 30 for real, synthetic in found)
    assert least <= np.mean([synthetic for _, synthetic in found]) <= most


def test_fresh_pictures_are_never_seen_twice() -> None:
    regime = Regime(kind="fresh", synthetic=0.5)
    seen: set[tuple[str, int]] = set()
    for generation in (1, 2, 3):
        items = compose(regime, pool(generation, n_reserve={"a": 15, "b": 45}), 0)
        assert counts(items) == {"a": (5, 5), "b": (15, 15)}
        fresh = {(item.group, item.slot) for item in items if item.generation == FRESH}
        assert not fresh & seen
        seen |= fresh
    assert seen == {("a", i) for i in range(15)} | {("b", i) for i in range(45)}


def test_a_reserve_that_runs_out_is_named() -> None:
    with pytest.raises(DecayError, match=r"needs 15 real pictures of a beyond .* there are 14"):
        compose(Regime(kind="fresh", synthetic=0.5), pool(3, n_reserve={"a": 14, "b": 99}), 0)


def test_curated_keeps_the_best_of_each_group_and_fills_its_slots_with_them() -> None:
    scores = [float(slot) for slot in range(40)]
    scores[29] = float("nan")
    items = compose(Regime(kind="curated", keep=0.2), pool(scores=scores), 0)
    assert Counter(item.group for item in items) == N_SLOTS
    assert {item.slot for item in items if item.group == "b"} == {23, 24, 25, 26, 27, 28}, "nothing unscored"
    assert Counter(Counter(item.slot for item in items if item.group == "a").values()) == {5: 2}
