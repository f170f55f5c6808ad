"""A control arm taken off: what is missing in either arm, few slots, and drifts without a sign."""

from __future__ import annotations

import numpy as np
import pytest

from decay import erosion
from decay.calibrate.lineages import Kind, Toy, simulate
from decay.control import less_control
from decay.erosion import Array
from decay.settings import Rule
from decay.traits import TraitSeries, readings_to_traits, traits_to_retentions

G = 4
FLAT = np.ones(G)


def arm(kind: Kind, course: Array, seed: int, n_slots: int = 100, missing: Array | None = None) -> TraitSeries:
    toy = Toy("face_toy", "face", kind)
    gone = None if missing is None else {toy.name: missing}
    tables = simulate((toy,), {toy.name: course}, n_slots, np.random.default_rng(seed), gone, lost_first=True)
    return readings_to_traits(tables, range(G), 300, seed, [toy.family])[0]


def state(own: TraitSeries, control: TraitSeries) -> str:
    (left,) = less_control([own], range(G), [control], range(G), "control")
    (retention,) = traits_to_retentions([left])
    return erosion.rank([retention], range(G), Rule()).onsets[retention.name].state


def test_what_the_control_can_no_longer_measure_is_no_erosion_of_the_run() -> None:
    """The control's lowest readings go unmeasured, so that it seems to improve."""
    lost = arm("mean", FLAT, 2, missing=np.array([0, 0.2, 0.4, 0.6]))
    assert lost.retention[-1] > 1.3
    assert state(arm("mean", FLAT, 1), lost) == "cannot_tell"


def test_with_nothing_missing_the_bounds_are_the_difference() -> None:
    own, control = arm("mean", np.array([1, 0.8, 0.5, 0.3]), 1), arm("mean", FLAT, 2)
    (left,) = less_control([own], range(G), [control], range(G), "control")
    (retention,) = traits_to_retentions([left])
    np.testing.assert_allclose(retention.worst.low, retention.value, atol=1e-12)
    np.testing.assert_allclose(retention.worst.high_draws, retention.draws, atol=1e-12)
    assert state(own, control) == "eroded"


def test_a_control_of_few_slots_decides_nothing() -> None:
    own = arm("mean", np.array([1, 0.4, 0.3, 0.1]), 1)
    assert state(own, arm("mean", FLAT, 2)) == "eroded"
    assert state(own, arm("mean", FLAT, 2, n_slots=8)) == "not_rankable"


@pytest.mark.parametrize(
    ("own", "control", "expected"),
    [(0.7, -0.7, "cannot_tell"), (0.7, 0.7, "cannot_tell"), (0.9, 0.0, "eroded"), (0.0, 0.0, "held")],
)
def test_drifts_of_opposite_sign_are_not_taken_for_none(own: float, control: float, expected: str) -> None:
    """Distances have no sign: 0.7 up and 0.7 down may be alike, or 1.4 apart."""
    courses = [np.array([1, 1 - d, 1 - d, 1 - d]) for d in (own, control)]
    runs = [arm("location", course, seed, n_slots=800) for seed, course in enumerate(courses)]
    assert state(runs[0], runs[1]) == expected
