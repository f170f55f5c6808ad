"""Replicates taken together: closed forms, coverage, and what two lineages may say."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from decay.arms import check_replicates, load_arms, plan_of
from decay.erosion import band, interval, reach
from decay.errors import DecayError
from decay.replicates import FEW_LINEAGES, caution, judge_replicates, two_level
from decay.settings import Rule


def picks(n_lineages: int, n_draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_draws, n_lineages)), rng.integers(n_draws, size=(n_draws, n_lineages))


def covered(n_lineages: int, between: float, within: float, n_repeats: int = 300) -> float:
    """How often the 95 % interval holds the mean that lineages of this spread have."""
    hits = 0
    for seed in range(n_repeats):
        rng = np.random.default_rng([n_lineages, seed])
        value = rng.normal(0, between, (n_lineages, 1)) + rng.normal(0, within, (n_lineages, 1))
        draws = value[:, None, :] + rng.normal(0, within, (n_lineages, 300, 1))
        mean, pooled = two_level(value, draws, *picks(n_lineages, 300, seed))
        found = band(mean, reach(mean, pooled), 1.959964, n_lineages)
        hits += int(found.low[0] <= 0 <= found.high[0])
    return hits / n_repeats


def test_the_estimate_is_the_mean_over_lineages() -> None:
    value = np.array([[1.0, 0.4], [1.0, 0.2]])
    mean, draws = two_level(value, np.repeat(value[:, None, :], 50, axis=1), *picks(2, 50, 0))
    np.testing.assert_allclose(mean, [1.0, 0.3])
    assert draws.shape == (50, 2)
    assert (draws[:, 0] == 1.0).all()  # the reference is the same in every lineage


def test_equal_lineages_leave_the_error_of_their_slots() -> None:
    rng = np.random.default_rng(0)
    value = np.full((4, 1), 0.5)
    draws = 0.5 + rng.normal(0, 0.1, (4, 4000, 1))
    _, pooled = two_level(value, draws, *picks(4, 4000, 1))
    assert pooled.std() == pytest.approx(0.1 / 2, rel=0.05)


def test_more_lineages_say_more() -> None:
    widths = []
    for n in (2, 3, 5, 10):
        rng = np.random.default_rng(n)
        value = np.linspace(0.4, 0.6, n)[:, None]
        draws = value[:, None, :] + rng.normal(0, 0.01, (n, 2000, 1))
        widths.append(float(np.ptp(interval(two_level(value, draws, *picks(n, 2000, n))[1]))))
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize("n_lineages", [2, 3, 5, 10])
@pytest.mark.parametrize(("between", "within"), [(0.1, 0.02), (0.05, 0.05)])
def test_the_interval_covers_what_lineages_have_in_common(n_lineages: int, between: float, within: float) -> None:
    assert covered(n_lineages, between, within) >= 0.92  # 300 repeats of 0.95: two standard errors are 0.025


def test_a_generation_unmeasured_in_one_lineage_is_unmeasured() -> None:
    value = np.array([[1.0, 0.4], [1.0, np.nan]])
    mean, draws = two_level(value, np.repeat(value[:, None, :], 20, axis=1), *picks(2, 20, 0))
    assert np.isnan(mean[1])
    assert np.isnan(draws[:, 1]).all()


def test_few_lineages_are_called_few() -> None:
    assert caution(2).startswith("Only 2 lineages")
    assert caution(FEW_LINEAGES) == f"{FEW_LINEAGES} lineages were taken together."


def test_lineages_of_one_kind_keep_their_onset(arms: Mapping[str, Path]) -> None:
    twins = load_arms([arms["fed"], arms["fed"].parent / "real_data" / ".." / "mixed"])
    results = judge_replicates(twins)
    assert results.verdict["lineages"] == ["fed", "mixed"]
    assert "Only 2 lineages were taken together" in results.verdict["sentence"]
    rows = results.traits.set_index(["trait", "generation"])
    # One has collapsed at generation 1, the other has not; at 2 both have.
    assert rows.loc[("face_pairwise_distance", 1), "retention"] == pytest.approx(0.5, abs=0.02)
    assert rows.loc[("face_pairwise_distance", 2), "retention"] == pytest.approx(0.0, abs=0.02)
    onset = results.erosion.set_index("trait").loc["face_pairwise_distance"]
    assert onset["verdict"] != "eroded"  # two lineages do not tell how much lineages differ
    assert onset["onset_low"] == 1


def test_a_copy_is_no_second_lineage(arms: Mapping[str, Path], tmp_path: Path) -> None:
    shutil.copytree(arms["mixed"], tmp_path / "copy")
    with pytest.raises(DecayError, match="mixed and copy hold the very same pictures"):
        judge_replicates(load_arms([arms["mixed"], tmp_path / "copy"]))


def test_runs_of_different_plans_are_no_replicates(arms: Mapping[str, Path]) -> None:
    fed, mixed = load_arms([arms["fed"], arms["mixed"]])
    made = {"regime": "replace", "engine": {"name": "linear", "rank": 8}, "seed": 1, "n_generations": 3}
    same = {**made, "seed": 2, "n_generations": 5}
    other = {**made, "engine": {"name": "linear", "rank": 4}}
    one = replace(fed, plan=plan_of(made))
    check_replicates([one, replace(mixed, plan=plan_of(same))])
    with pytest.raises(DecayError, match=r"fed and mixed were made by different plans \(engine\.rank is 8, not 4\)"):
        judge_replicates([one, replace(mixed, plan=plan_of(other))])
    with pytest.raises(DecayError, match=r"engine\.name is linear, not missing; 2 more"):
        check_replicates([one, mixed])


def made_by_a_protocol(**changed: object) -> dict[str, object]:
    """What `decay run` writes into lineage.json, in short."""
    protocol = {"name": "mix", "seed": 1, "iterations": 5, "init": "chain", "keep_weights": "all", "parent": None}
    protocol |= {"real": {"folder": "here", "per_group": 30}, "engine": {"name": "sd", "strength": 0.5}}
    protocol |= {"regime": [{"since": 1, "kind": "replace"}, {"since": 4, "kind": "mix", "synthetic": 0.5}]}
    engine = {"name": "sd", "strength": 0.5, "steps": 20}
    return {"format_version": 2, "source": "decay run", "protocol": protocol | changed, "engine": engine, "n_slots": 60}


def test_replicates_of_a_protocol_differ_in_seed_name_length_and_places(arms: Mapping[str, Path]) -> None:
    fed, mixed = load_arms([arms["fed"], arms["mixed"]])
    one = replace(fed, plan=plan_of(made_by_a_protocol()))
    elsewhere = {"folder": "there", "per_group": 30}
    twin = made_by_a_protocol(name="mix-2", seed=2, iterations=9, keep_weights="last", real=elsewhere)
    twin["protocol"] |= {"engine": {"name": "sd"}}  # type: ignore[operator]  # the default, not written
    check_replicates([one, replace(mixed, plan=plan_of(twin))])
    parents = [{"run": place, "generation": 3} for place in ("a", "b")]
    check_replicates([replace(fed, plan=plan_of(made_by_a_protocol(parent=parent))) for parent in parents])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"init": "base"}, r"\(protocol\.init is chain, not base\)"),
        ({"real": {"folder": "here", "per_group": 10}}, r"\(protocol\.real\.per_group is 30, not 10\)"),
        ({"regime": [{"since": 1, "kind": "mix"}]}, r"\(protocol\.regime\.0\.kind is replace, not mix; 3 more\)"),
        ({"parent": {"run": "a", "generation": 3}}, r"protocol\.parent is None, not missing"),
    ],
)
def test_another_protocol_makes_no_replicate(arms: Mapping[str, Path], changed: dict[str, object], said: str) -> None:
    fed, mixed = load_arms([arms["fed"], arms["mixed"]])
    one = replace(fed, plan=plan_of(made_by_a_protocol()))
    with pytest.raises(DecayError, match=said):
        check_replicates([one, replace(mixed, plan=plan_of(made_by_a_protocol(**changed)))])
    stronger = made_by_a_protocol() | {"engine": {"name": "sd", "strength": 0.8, "steps": 20}}
    with pytest.raises(DecayError, match=r"\(protocol\.engine\.strength is 0\.5, not 0\.8\)"):
        check_replicates([one, replace(mixed, plan=plan_of(stronger))])


def test_runs_measured_in_different_ways_are_not_taken_together(arms: Mapping[str, Path]) -> None:
    fed, mixed = load_arms([arms["fed"], arms["mixed"]])
    with pytest.raises(DecayError, match=r"measured in different ways \(margin is 0\.2, not 0\.3\)"):
        judge_replicates([fed, replace(mixed, rule=Rule(margin=0.3))])
    with pytest.raises(DecayError, match=r"\(control is none, not real_data\)"):
        judge_replicates([fed, replace(mixed, control="real_data")])
    said = judge_replicates([replace(fed, n_repeated=12), mixed]).verdict["sentence"]
    assert "measured with --repeat; that is not used" in said


def test_counts_are_summed(arms: Mapping[str, Path]) -> None:
    results = judge_replicates(load_arms([arms["mixed"], arms["real_data"]]))
    rows = results.traits.set_index(["trait", "generation"])
    assert rows.loc[("face_presence", 0), "n_expected"] == 32
