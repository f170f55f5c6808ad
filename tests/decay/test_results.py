"""The order of what is told."""

from __future__ import annotations

import numpy as np

from decay.calibrate.lineages import Toy, simulate
from decay.erosion import judge, rank
from decay.results import erosion_table
from decay.settings import Rule
from decay.traits import readings_to_traits, traits_to_retentions

G = 5


def test_eroded_traits_stand_first_in_their_order_then_the_undecided() -> None:
    """Names are the other way round: by name alone the one that fell last would stand on top."""
    toys = (Toy("face_a", "face", "mean"), Toy("face_b", "face", "mean"), Toy("hand_c", "hands", "mean"),
            Toy("face_d", "face", "mean", noise=4.0))  # fmt: skip
    late, early = np.array([1, 1, 1, 0.2, 0.1]), np.array([1, 0.2, 0.1, 0.1, 0.1])
    unsure = np.array([1, 1, 0.9, 0.8, 0.8])
    courses = {"face_a": unsure, "face_b": late, "hand_c": early, "face_d": unsure}
    tables = simulate(toys, courses, 80, np.random.default_rng(0))
    series = readings_to_traits(tables, range(G), 200, 0, [toy.family for toy in toys])
    retentions = traits_to_retentions(series)
    ranking = rank(retentions, range(G), Rule())
    table = erosion_table(series, ranking, judge(retentions, ranking, range(G)).order)
    assert list(table["trait"][:2]) == ["hand_c", "face_b"]
    assert list(table["rank"][:2]) == [1, 2]
    assert set(table["verdict"][2:]).isdisjoint({"eroded"})
