"""Readings of known course, told by the whole pipeline: small versions of `decay calibrate --statistics`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decay.calibrate import statistics, two_arms
from decay.calibrate.lineages import KINDS, Kind, Toy, simulate, tell, usual_toys
from decay.calibrate.statistics import Case, Finding, fall, find, three_toys
from decay.erosion import Array

G = 5
FLAT = np.ones(G)


def findings(case: Case) -> list[Finding]:
    return [find(case, 500 + seed) for seed in range(case.n_seeds)]


def case(toys: tuple[Toy, ...], courses: Mapping[str, Array], n_slots: int, n_seeds: int) -> Case:
    return Case(toys, courses, n_slots, n_seeds)


@pytest.mark.parametrize("skewed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_simulated_course_is_the_true_retention(kind: Kind, skewed: bool) -> None:
    """What large samples show, and so what coverage may be held against."""
    course = np.array([1.0, 0.9, 0.6, 0.3])
    toy = Toy("face_toy", "face", kind, skewed)
    tables = simulate((toy,), {toy.name: course}, 20_000, np.random.default_rng(0))
    told = tell((toy,), tables, 2, seed=0)
    np.testing.assert_allclose(told.retentions[0].value, course, atol=0.03)


def test_thirty_traits_that_do_not_change_give_no_onset_and_no_verdict() -> None:
    toys = usual_toys()
    for finding in findings(case(toys, {toys[0].name: FLAT}, 40, 6)):
        assert finding.order == ()
        assert finding.first_group == ""


def test_the_planted_order_is_recovered_with_its_intervals() -> None:
    toys = three_toys("mean")
    planted = {t.name: g for t, g in zip(toys, (2, 4, 6), strict=True)}
    for finding in findings(case(toys, {name: fall(g) for name, g in planted.items()}, 200, 6)):
        assert finding.order == tuple(planted)
        assert finding.first_group == "hands"
        assert all(finding.low[name] <= g <= finding.high[name] for name, g in planted.items())


def test_more_slots_or_a_larger_loss_are_told_more_often() -> None:
    toys = three_toys("spread")

    def n_eroded(n_slots: int, left: float) -> int:
        courses = {t.name: np.array([1, 1, 1, 1, left]) for t in toys}
        return sum(len(f.order) for f in findings(case(toys, courses, n_slots, 6)))

    assert n_eroded(20, 0.6) < n_eroded(200, 0.6) <= 18
    assert n_eroded(60, 0.6) < n_eroded(60, 0.2)


def test_an_improvement_before_the_collapse_is_no_onset_at_1() -> None:
    toys = three_toys("median")
    courses = {t.name: np.array([1, 1.3, 1.0, 0.5, 0.3]) for t in toys}
    for finding in findings(case(toys, courses, 200, 4)):
        assert set(finding.onset.values()) == {3}


@pytest.mark.parametrize("lost_first", [False, True])
def test_missing_readings_alone_are_no_erosion(lost_first: bool) -> None:
    toys = usual_toys()[:12]
    gone = {toy.name: np.array([0, 0.2, 0.4, 0.6, 0.8]) for toy in toys}
    missing = replace(case(toys, {toys[0].name: FLAT}, 150, 4), missing=gone, lost_first=lost_first)
    for finding in findings(missing):
        assert finding.order == ()
        assert "held" not in finding.state.values()  # nor may they hide it


def test_groups_that_wander_together_are_no_erosion_and_within_their_intervals() -> None:
    toys = usual_toys()[:12]
    wandering = replace(case(toys, {toys[0].name: FLAT}, 120, 10), n_groups=12)
    found = findings(wandering)
    assert all(finding.order == () for finding in found)
    # Slots counted instead of groups hold in half of the lineages.
    assert sum(statistics.held_at_once(finding) for finding in found) >= 8


def test_lineages_that_differ_are_within_the_intervals_of_their_mean() -> None:
    toys = three_toys("mean")
    for n in (2, 3):
        found = findings(replace(case(toys, {toys[0].name: np.ones(statistics.N_GENERATIONS)}, 40, 8), n_lineages=n))
        assert all(statistics.held_at_once(finding) for finding in found)
        assert all(finding.order == () for finding in found)


def test_of_two_that_fall_together_the_noisier_is_not_surely_later() -> None:
    twins = (Toy("iris_toy", "eyes", "mean"), Toy("face_toy", "face", "mean", noise=2.0))
    found = findings(case(twins, {t.name: np.array([1, 1, 0.6, 0.3, 0.3]) for t in twins}, 200, 10))
    assert sum(f.first_group != "" for f in found) <= 4  # a fifth of 10 are 2; more than 4 come once in 30 times


def test_most_single_intervals_and_nearly_all_simultaneous_ones_hold_the_truth() -> None:
    toys = usual_toys()
    courses = {t.name: np.array([1, 0.9, 0.75, 0.6, 0.4]) for t in toys}
    found = findings(case(toys, courses, 60, 8))
    assert 0.92 < np.nanmean([f.covered_singly for f in found]) < 0.98  # 960 intervals
    assert np.nanmean([f.covered for f in found]) > 0.995


def test_the_study_writes_its_report_beside_that_of_the_detectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one lineage of every case, of few slots and few draws, told in this process."""
    small = {name: replace(c, n_slots=14, n_seeds=1) for name, c in statistics.cases().items()}
    monkeypatch.setattr(statistics, "N_DRAWS", 20)
    monkeypatch.setattr(statistics, "cases", lambda n_scale: {k: c for k, c in small.items() if _told_in_a_test(k)})
    monkeypatch.setattr(statistics, "run", _run_in_this_process)
    monkeypatch.setattr(two_arms, "N_DRAWS", 20)
    monkeypatch.setattr(two_arms, "PAIRS", {"2 later, 14 slots": two_arms.Pair(2.0, 14)})
    monkeypatch.setattr(statistics, "POWER_SIZES", (20,))
    monkeypatch.setattr(statistics, "POWER_ENDS", (0.1,))
    path = statistics.write_statistics(tmp_path / "accuracy.md")
    assert path == tmp_path / "accuracy_statistics.md"
    text = path.read_text(encoding="utf-8")
    titles = (
        "At a glance",
        "Nothing changes",
        "Planted order",
        "Power",
        "Unequal measurability",
        "Coverage",
        "Two arms",
    )
    assert [title for title in titles if f"## {title}" in text] == list(titles)
    assert "nan" not in text


def _run_in_this_process(tell_one: Callable[[str, int], Any], n_seeds: Mapping[str, int], _: object) -> dict[str, Any]:
    return {name: [tell_one(name, 500 + seed) for seed in range(n)] for name, n in n_seeds.items()}


def _told_in_a_test(name: str) -> bool:
    return not name.startswith("power") or name == "power 20 0.1"


def test_a_delay_between_two_arms_is_found_and_none_where_there_is_none() -> None:
    later, alike = (two_arms.compare_pair(name, 500) for name in ("2 later, 60 slots", "alike, 60 slots"))
    assert later.fell == ("delayed", "delayed")
    assert alike.fell == ("no_difference", "no_difference")
    assert set(later.held) | set(alike.held) <= {"cannot_tell", "neither_eroded"}
    assert all(later.covered + alike.covered)


def test_parallel_and_single_runs_agree() -> None:
    two = {"a": case(three_toys("share"), {"hand_toy": fall(2)}, 20, 2)}
    parallel = statistics.run(partial(statistics.find_case, two), {"a": 2})["a"]
    for one, other in zip(parallel, [find(two["a"], seed) for seed in range(2)], strict=True):
        assert (one.order, one.state, one.first_group) == (other.order, other.state, other.first_group)
        np.testing.assert_array_equal(one.covered, other.covered)
