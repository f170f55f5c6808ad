"""Planted copies are found where they were planted, and what is not one is not called one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from decay.cloud import Cloud, cloud_of
from decay.copies import KINDS, QUANTILE, find_copies
from decay.tables import load_tables

N = 200


def people(seed: int, n: int = N) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 24))


def share(shares: pd.DataFrame, generation: int, what: str) -> pd.Series:
    return shares[(shares["generation"] == generation) & (shares["what"] == what)].iloc[0]


def test_a_copied_picture_is_found_with_what_it_was_copied_from(a_cloud: Callable[..., Cloud]) -> None:
    real, made = people(0), people(1)
    made[7] = real[33] + 0.01
    found = find_copies(a_cloud({-1: real, 0: made}), 200, 0)
    row = found.images.set_index("image").loc["0/007.png"]
    assert row["nearest_reference"] == "-1/033.png"
    assert row["reference_cosine"] > 0.99
    assert row["is_copy"]
    said = share(found.shares, 0, "reference")
    assert said["n_so"] <= 1 + 3 * (1 - QUANTILE) * N  # as many more as the threshold lets pass in real pictures
    assert said["share_low"] < said["share"] < said["share_high"]


def test_real_pictures_are_called_copies_as_often_as_stated(a_cloud: Callable[..., Cloud]) -> None:
    """The threshold is that of the reference: another sample of the same people stays near 1 %."""
    shares = [
        share(find_copies(a_cloud({-1: people(seed), 0: people(seed + 50)}), 20, 0).shares, 0, "reference")["share"]
        for seed in range(20)
    ]
    assert 0 < np.mean(shares) < 1 - QUANTILE + 0.008  # 4,000 pictures: sd 0.002; of 20 thresholds: 0.002


def test_twins_and_the_generation_before(a_cloud: Callable[..., Cloud]) -> None:
    first, second = people(1), people(2)
    second[:20] = second[20] + np.random.default_rng(0).normal(0, 0.05, (20, 24))  # twenty of one
    second[50:60] = first[50:60]
    found = find_copies(a_cloud({-1: people(0), 0: first, 1: second}), 200, 0)
    table = found.images[found.images["generation"] == 1].reset_index()
    assert table.loc[:19, "is_twin"].all()
    assert set(table.loc[:19, "nearest_twin"]) <= {f"1/{slot:03d}.png" for slot in range(21)}
    assert (table["nearest_twin"] != table["image"]).all()
    assert table.loc[50:59, "is_copy_before"].all()
    assert list(table.loc[50:59, "nearest_before"]) == [f"0/{slot:03d}.png" for slot in range(50, 60)]
    assert share(found.shares, 1, "twin")["n_so"] >= 21
    assert found.shares.query("generation == 0 and what == 'before'").empty


def test_equal_files_are_known_by_their_bytes_whatever_the_vectors(a_cloud: Callable[..., Cloud]) -> None:
    cloud = a_cloud({-1: people(0), 0: people(1)})
    images = cloud.images.copy()
    images.loc[images["image"].isin(["0/001.png", "0/002.png"]), "sha256"] = "twice"
    images.loc[images["image"] == "0/003.png", "sha256"] = "-1-5"
    images.loc[images["image"] == "0/004.png", "sha256"] = ""  # could not be read
    found = find_copies(replace(cloud, images=images), 200, 0)
    table = found.images.set_index("image")
    assert list(table.loc[["0/001.png", "0/002.png", "0/003.png"], "n_same_file"]) == [1, 1, 0]
    assert table.loc["0/003.png", "reference_file"] == "-1/005.png"
    assert table.loc["0/005.png", "reference_file"] == ""
    assert pd.isna(table.loc["0/004.png", "is_same_file"])
    assert share(found.shares, 0, "same_file")["n_so"] == 2
    assert share(found.shares, 0, "reference_file")["n"] == N - 1


def test_a_generation_that_is_the_reference_itself_copies_nothing_from_it(a_cloud: Callable[..., Cloud]) -> None:
    found = find_copies(a_cloud({0: people(0), 1: people(0)}), 50, 0)
    first = found.images[found.images["generation"] == 0]
    assert first["is_copy"].isna().all()
    assert found.images.loc[found.images["generation"] == 1, "is_copy"].all()
    assert math.isfinite(found.threshold)


def test_doubles_in_the_reference_do_not_let_everything_pass(a_cloud: Callable[..., Cloud]) -> None:
    real = people(0)
    cloud = a_cloud({-1: np.concatenate([real, real]), 0: people(1)})
    doubled = cloud.rows["image"].isin([f"-1/{slot:03d}.png" for slot in range(N, 2 * N)])
    rows = cloud.rows.copy()
    rows.loc[doubled, "sha256"] = [f"-1-{slot}" for slot in range(N)]
    plain = find_copies(a_cloud({-1: real, 0: people(1)}), 20, 0).threshold
    assert find_copies(replace(cloud, rows=rows), 20, 0).threshold == pytest.approx(plain)


def test_too_small_a_reference_decides_nothing(a_cloud: Callable[..., Cloud]) -> None:
    found = find_copies(a_cloud({-1: people(0, 6), 0: people(1)}), 20, 0)
    assert math.isnan(found.threshold)
    assert found.images["is_copy"].isna().all()
    assert set(found.shares["what"]) == {"same_file", "reference_file"}


def test_none_of_many_is_not_taken_for_never(a_cloud: Callable[..., Cloud]) -> None:
    said = share(find_copies(a_cloud({-1: people(0), 0: people(1)}), 500, 0).shares, 0, "same_file")
    assert said["share"] == 0
    assert said["share_high"] == pytest.approx(1 - 0.05 ** (1 / N), rel=0.3)  # the rule of three, of 500 draws


def test_of_many_some_are_compared_with_all(a_cloud: Callable[..., Cloud], monkeypatch: pytest.MonkeyPatch) -> None:
    real, made = people(0), people(1)
    made[:] = real[::-1]
    monkeypatch.setattr("decay.copies.MOST_COMPARED", 50)
    found = find_copies(a_cloud({-1: real, 0: made, 1: made}), 20, 0)
    judged = found.images[found.images["is_copy"].notna()]
    assert list(judged.groupby("generation").size()) == [50, 50]
    assert (
        judged.loc[judged["generation"] == 0, "slot"].tolist() == judged.loc[judged["generation"] == 1, "slot"].tolist()
    )
    assert judged["is_copy"].all()  # whichever half of the reference the original stands in
    assert share(found.shares, 0, "same_file")["n"] == N


def test_measured_pictures(arms: Mapping[str, Path]) -> None:
    """Real faces: from generation 1 on all pictures of this run are one file."""
    tables = load_tables(arms["fed"] / "measures")
    found = find_copies(cloud_of(tables), 50, 0)
    assert share(found.shares, 1, "same_file")["share"] == 1
    assert share(found.shares, 0, "same_file")["share"] == 0
    assert share(found.shares, 1, "twin")["share"] == 1
    assert set(found.shares["what"]) == set(KINDS)


def test_the_sentence_names_no_copies_that_chance_may_show(a_cloud: Callable[..., Cloud]) -> None:
    """Some real pictures lie above the threshold in nearly every run: the sentence speaks where they are more."""
    runs = [find_copies(a_cloud({-1: people(seed, 40), 0: people(seed + 50, 40)}), 20, 0) for seed in range(40)]
    assert sum(share(run.shares, 0, "reference")["n_so"] > 0 for run in runs) > 10
    assert sum(bool(run.sentence) for run in runs) <= 4
    made = people(1, 40)
    made[:12] = people(0, 40)[:12] + 0.01
    assert " of 40 pictures are as near to one of the reference" in (
        find_copies(a_cloud({-1: people(0, 40), 0: made}), 20, 0).sentence
    )
