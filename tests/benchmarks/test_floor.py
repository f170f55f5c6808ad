"""What is counted as floor."""

from __future__ import annotations

import pytest

from benchmarks.floor import ALL, DECODE, Clock


def test_the_floor_of_one_call_each_counts_no_second_call_and_no_detector_of_faces() -> None:
    clock = Clock()
    n = 10
    spent = {  # seconds, calls
        DECODE: (0.1, 10), "palms": (0.2, 10), "mesh": (0.9, 30), "hand": (0.1, 5), "embedder": (0.4, 20),
        "short range": (0.5, 10), "full range": (0.5, 10), "family hand": (0.3, 10),
    }  # fmt: skip
    for name, (seconds, calls) in spent.items():
        clock.seconds[name], clock.calls[name] = seconds, calls
    clock.seconds[ALL] = 3.5
    sums = clock.table(n)["sums"]
    assert sums["floor"] == pytest.approx(10 + 20 + 90 + 10 + 40 + 50 + 50)
    assert sums["once"] == pytest.approx(10 + 20 + 30 + 10 + 20)
    assert (sums["traits"], sums["all"]) == (pytest.approx(30), pytest.approx(350))
