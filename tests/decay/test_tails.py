"""A kind that was taken away is found gone, and none that was not."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from decay.cloud import Cloud
from decay.tails import GONE, exact_interval, find_tails, least_seen

SIZES = [12, 24, 40, 60, 64]


def kinds(sizes: list[int], rng: np.random.Generator, d: int = 16) -> np.ndarray:
    """So many vectors about each axis, far from those of another."""
    which = np.repeat(np.arange(len(sizes)), sizes)
    return np.asarray(np.eye(d)[which] + rng.normal(0, 0.04, (len(which), d)))


def test_a_kind_that_vanishes_is_found_with_its_generation_and_its_rarity(a_cloud: Callable[..., Cloud]) -> None:
    rng = np.random.default_rng(0)
    without = [0, *SIZES[1:4], SIZES[4] + SIZES[0]]
    cloud = a_cloud({-1: kinds(SIZES, rng), 0: kinds(SIZES, rng), 1: kinds(without, rng), 2: kinds(without, rng)})
    found = find_tails(cloud, 200, 0)
    gone = found.record["gone"]
    assert [each["since"] for each in gone] == [1] * len(gone)
    parts = [f"cluster {each['cluster']}" for each in gone]
    table = found.table[found.table["part"].isin(parts)]
    examples = set(table["example"])
    assert {int(name[3:6]) for name in examples} <= set(range(SIZES[0]))  # the first kind, and no other
    assert gone
    assert (table.loc[table["generation"] == 0, "n"] > 0).all()
    assert f"{len(gone)} of {found.record['n_clusters']} clusters of the reference" in found.record["sentence"]
    assert "gone by generation 1" in found.record["sentence"]


def test_shares_add_up_and_hold_what_they_should(a_cloud: Callable[..., Cloud]) -> None:
    rng = np.random.default_rng(1)
    found = find_tails(a_cloud({-1: kinds(SIZES, rng), 0: kinds(SIZES, rng)}), 200, 0)
    clusters = found.table[found.table["kind"] == "cluster"]
    assert clusters["share"].sum() == pytest.approx(1)
    assert clusters["share_reference"].sum() == pytest.approx(1)
    assert clusters["rarity"].is_monotonic_increasing
    assert clusters["n_reference"].is_monotonic_increasing
    assert (clusters["share_low"] <= clusters["share"]).all()
    assert (clusters["share_high"] >= clusters["share"]).all()


def test_nothing_is_called_gone_or_fewer_where_nothing_changed(a_cloud: Callable[..., Cloud]) -> None:
    """One cloud without kinds, where clusters are chance: at most 5 % of the runs may say anything false."""
    false = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        vectors = {g: rng.normal(size=(120, 32)) for g in (-1, 0)}
        false += bool(find_tails(a_cloud(vectors), 20, seed).table["state"].isin(["gone", "thinned"]).any())
    assert false <= 6  # of 60 at 5 %: more than 6 in 3 % of cases


def test_a_kind_that_comes_back_is_not_gone(a_cloud: Callable[..., Cloud]) -> None:
    rng = np.random.default_rng(2)
    without = [0, *SIZES[1:4], SIZES[4] + SIZES[0]]
    found = find_tails(a_cloud({-1: kinds(SIZES, rng), 0: kinds(without, rng), 1: kinds(SIZES, rng)}), 50, 0)
    assert GONE in set(found.table.loc[found.table["generation"] == 0, "state"])
    assert found.record["gone"] == []
    assert "shown to be gone" in found.record["sentence"]


def test_what_could_not_have_been_seen_is_said() -> None:
    """Closed form: none of n is improbable where C(n + m - c, n) / C(n + m, n) lies below the level."""
    n, m, k = 100, 50, 10
    c = round(least_seen(n, m, k) * m)
    told = [math.comb(n + m - each, n) / math.comb(n + m, n) for each in (c - 1, c)]
    assert told[1] < 0.05 / k < told[0]
    assert least_seen(1, 5, 10) == math.inf


def test_groups_that_can_no_longer_be_read(a_cloud: Callable[..., Cloud]) -> None:
    rng = np.random.default_rng(3)
    group_of = {slot: "few" if slot < 20 else "many" for slot in range(100)}
    cloud = a_cloud({g: rng.normal(size=(100, 8)) for g in (-1, 0, 1)}, group_of)
    lost = (cloud.rows["generation"] == 1) & (cloud.rows["group"] == "few")
    found = find_tails(type(cloud)(cloud.name, cloud.rows[~lost], cloud.images, cloud.reference), 20, 0)
    groups = found.table[found.table["kind"] == "group"].set_index(["part", "generation"])
    assert list(groups.loc["few", "state"]) == ["present", "gone"]
    assert groups.loc[("few", 1), "n_all"] == 20
    assert groups.loc[("few", 1), "rarity"] == 1
    assert groups.loc[("few", 1), "is_rare"]
    assert list(groups.loc["many", "share"]) == [1, 1]


def test_a_group_that_the_vectors_never_described_is_left_out(a_cloud: Callable[..., Cloud]) -> None:
    group_of = {slot: "hands" if slot < 20 else "faces" for slot in range(60)}
    cloud = a_cloud({g: np.random.default_rng(g + 5).normal(size=(60, 8)) for g in (-1, 0)}, group_of)
    read = cloud.rows["group"] != "hands"
    found = find_tails(type(cloud)(cloud.name, cloud.rows[read], cloud.images, cloud.reference), 20, 0)
    assert "hands" not in set(found.table["part"])  # these vectors describe nothing in such pictures


def test_exact_intervals_are_clopper_and_pearsons() -> None:
    """Published for 0 of 10 and for 5 of 10 (Brown, Cai & DasGupta 2001)."""
    assert exact_interval(0, 10) == pytest.approx((0, 0.3085), abs=1e-4)
    assert exact_interval(5, 10) == pytest.approx((0.1871, 0.8129), abs=1e-4)
    assert exact_interval(10, 10)[1] == 1


def test_too_few_pictures_tell_nothing(a_cloud: Callable[..., Cloud]) -> None:
    found = find_tails(a_cloud({g: np.random.default_rng(0).normal(size=(10, 8)) for g in (-1, 0)}), 20, 0)
    assert list(found.record) == ["sentence"]
    assert "of 10 pictures of the reference there are vectors, and it takes 24" in found.record["sentence"]
    assert found.table.empty
    assert "state" in found.table
