"""The pure statistics: closed forms, directions, and what a null lineage may not claim."""

from __future__ import annotations

import math

import numpy as np
import pytest

from decay import erosion
from decay.erosion import Retention

GENERATIONS = [0, 1, 2, 3, 4, 5]


def retention(name: str, value: list[float], sd: float, seed: int, group: str = "eyes", b: int = 400) -> Retention:
    rng = np.random.default_rng(seed)
    centre = np.array(value)
    draws = centre + rng.normal(0, sd, (b, len(value)))
    draws[:, 0] = centre[0]
    return Retention(name, name, group, centre, draws, n_slots=40)


def fall(onset: int) -> list[float]:
    return [1.0 if g < onset else 0.2 for g in GENERATIONS]


def test_level_retention_is_one_at_the_reference_and_zero_at_the_floor() -> None:
    got = erosion.level_retention(np.array([0.8, 0.5, 0.2]), 0.8, 0.2)
    np.testing.assert_allclose(got, [1.0, 0.5, 0.0])


def test_level_retention_works_downward_for_a_floor_above_the_reference() -> None:
    # a share of doll's eyes: 0 in the reference, 1 when all are
    np.testing.assert_allclose(erosion.level_retention(np.array([0.0, 0.25, 1.0]), 0.0, 1.0), [1.0, 0.75, 0.0])


def test_a_reference_at_its_floor_has_no_retention() -> None:
    assert np.isnan(erosion.level_retention(np.array([0.3]), 0.0, 0.0)).all()


def test_location_retention_falls_by_the_shift_in_reference_spreads() -> None:
    reference = np.random.default_rng(0).normal(10, 2, 4000)
    spread = reference.std(ddof=1)
    for shift in (0.7 * spread, -0.7 * spread):
        distance = erosion.location_distance(reference + shift, reference)
        assert erosion.location_retention(distance) == pytest.approx(0.3, abs=1e-9)


def test_chance_distance_is_what_two_samples_of_one_population_show() -> None:
    rng = np.random.default_rng(1)
    reference = rng.normal(0, 1, 60)
    chance = erosion.chance_distance(reference, np.arange(60), 60, rng)
    assert 0.05 < chance < 0.4
    distances = [erosion.location_distance(rng.normal(0, 1, 60), rng.normal(0, 1, 60)) for _ in range(40)]
    retained = erosion.location_retention(np.array(distances), chance)
    assert np.mean(retained) == pytest.approx(1.0, abs=0.08)  # 40 pairs of 60: standard error 0.01, clipped at 1


@pytest.mark.parametrize(("beyond", "state"), [(0.04, "eroded"), (-0.04, "cannot_tell")])
def test_the_smallest_detectable_loss_is_what_is_called_erosion(beyond: float, state: str) -> None:
    noise = np.random.default_rng(6).normal(0, 0.1, (4000, 1))

    def ranked(level: float) -> erosion.Onset:
        value = np.array([1.0, level])
        draws = np.hstack([np.ones_like(noise), level + noise])
        return erosion.rank([erosion.Retention("t", "t", "face", value, draws, n_slots=40)], [0, 1])["t"]

    smallest = ranked(1.0).smallest_detectable
    assert smallest == pytest.approx(0.5 + 1.96 * 0.1, abs=0.02)
    assert ranked(1.0 - smallest - beyond).state == state


def test_two_readings_of_one_slot_count_as_one_draw() -> None:
    reference = np.random.default_rng(2).normal(0, 1, 40)
    faces = erosion.chance_distance(reference, np.arange(40), 40, np.random.default_rng(3), n_repeats=300)
    eyes = erosion.chance_distance(
        np.repeat(reference, 2), np.repeat(np.arange(40), 2), 40, np.random.default_rng(3), n_repeats=300
    )
    assert eyes == pytest.approx(faces, rel=0.05)  # the readings are the same; their number is not


def test_a_reference_of_almost_equal_readings_is_measured_in_units_of_the_readings_own_error() -> None:
    reference = np.array([0.5, 0.5, 0.5, 0.5, 0.5, 0.501])
    assert erosion.location_distance(reference + 0.01, reference) > 20
    assert erosion.location_distance(reference + 0.01, reference, resolution=0.1) == pytest.approx(0.1)


def test_onset_is_the_first_generation_that_stays_below() -> None:
    assert erosion.onsets(np.array([1, 0.4, 0.9, 0.4, 0.3, 0.2]), GENERATIONS) == 3
    assert erosion.onsets(np.array([1, 0.4, 0.3, 0.4, 0.3, 0.9]), GENERATIONS) == math.inf
    assert erosion.onsets(np.array([1, 0.9, 0.8, 0.9, 0.9, 0.9]), GENERATIONS) == math.inf


def test_an_unmeasured_generation_is_no_onset_and_does_not_break_one() -> None:
    assert erosion.onsets(np.array([1, 0.9, np.nan, 0.4, np.nan, 0.2]), GENERATIONS) == 3
    assert erosion.onsets(np.array([1, np.nan, np.nan, np.nan, np.nan, np.nan]), GENERATIONS) == math.inf


def test_half_life_is_interpolated() -> None:
    assert erosion.half_life(np.array([1.0, 0.75, 0.25]), [0, 1, 2], 1) == pytest.approx(1.5)
    assert erosion.half_life(np.array([1.0, 0.9, 0.8]), [0, 1, 2], 1) == math.inf


def test_share_first_splits_ties_and_ignores_draws_without_onset() -> None:
    draws = np.array([[1.0, 2.0], [2.0, 2.0], [math.inf, math.inf], [3.0, 1.0]])
    np.testing.assert_allclose(erosion.share_first(draws), [1.5 / 4, 1.5 / 4])


def test_planted_order_is_recovered_and_the_family_named() -> None:
    traits = [
        retention("hand_presence", fall(4), 0.05, 1, "hands"),
        retention("catchlight_presence", fall(2), 0.05, 2, "eyes"),
        retention("skin_texture", fall(5), 0.05, 3, "face"),
    ]
    ranked = erosion.rank(traits, GENERATIONS)
    verdict = erosion.judge(traits, ranked, GENERATIONS)
    assert verdict.order == ("catchlight_presence", "hand_presence", "skin_texture")
    assert verdict.first_group is not None
    assert verdict.first_group[0] == "eyes"
    assert verdict.first_trait == ("catchlight_presence", 1.0, 2.0)
    assert "Eyes erode first, at generation 2" in verdict.sentence


def test_a_tie_names_nobody() -> None:
    traits = [retention("hand_presence", fall(2), 0.05, 1, "hands"), retention("iris_spread", fall(2), 0.05, 2)]
    verdict = erosion.judge(traits, erosion.rank(traits, GENERATIONS), GENERATIONS)
    assert verdict.first_group is None
    assert verdict.ties == (("hand_presence", "iris_spread"),)
    assert verdict.sentence.startswith("Cannot tell what erodes first")


def test_noise_alone_gives_no_verdict() -> None:
    claims = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        traits = [
            retention(f"face_t{i}", [1.0, *(1 + rng.normal(0, 0.15, 5))], 0.15, seed * 10 + i, "face") for i in range(6)
        ]
        verdict = erosion.judge(traits, erosion.rank(traits, GENERATIONS), GENERATIONS)
        claims += verdict.first_group is not None
    assert claims <= 2


def test_an_uncertain_fall_is_called_uncertain() -> None:
    trait = retention("iris_spread", [1, 1, 0.9, 0.5, 0.49, 0.45], 0.3, 5)
    ranked = erosion.rank([trait], GENERATIONS)
    assert ranked["iris_spread"].state == "cannot_tell"
    assert math.isnan(ranked["iris_spread"].value)


def test_one_generation_claims_nothing() -> None:
    trait = Retention("iris_spread", "Iris", "eyes", np.array([1.0]), np.ones((50, 1)), n_slots=40)
    ranked = erosion.rank([trait], [0])
    assert ranked["iris_spread"].state == "not_measured"
    assert "only one generation" in erosion.judge([trait], ranked, [0]).sentence


def test_percent_is_rounded_down() -> None:
    traits = [retention("hand_presence", fall(2), 0.0, 1, "hands", b=1000)]
    traits[0].draws[0, :] = 1.0  # one draw in a thousand without onset
    verdict = erosion.judge(traits, erosion.rank(traits, GENERATIONS), GENERATIONS)
    assert "99 %" in verdict.sentence
    assert "100 %" not in verdict.sentence


def test_too_few_slots_are_never_called_eroded() -> None:
    trait = retention("iris_spread", fall(2), 0.02, 5)
    few = Retention(**{**vars(trait), "n_slots": erosion.FEWEST_SLOTS - 1})
    assert erosion.rank([trait], GENERATIONS)["iris_spread"].state == "eroded"
    assert erosion.rank([few], GENERATIONS)["iris_spread"].state == "cannot_tell"


def test_the_sentence_says_how_many_traits_are_undecided() -> None:
    sure = retention("iris_spread", fall(2), 0.02, 5)
    unsure = retention("hand_presence", [1, 1, 0.9, 0.5, 0.49, 0.45], 0.3, 5, "hands")
    verdict = erosion.judge([sure, unsure], erosion.rank([sure, unsure], GENERATIONS), GENERATIONS)
    assert verdict.sentence.endswith("1 of 2 traits are undecided.")


def test_a_half_life_counts_from_the_reference_folder() -> None:
    assert erosion.half_life(np.array([0.2, 0.1]), [0, 1], 0) == pytest.approx(0.625)


def test_an_undecided_trait_that_may_have_gone_first_leaves_no_winner() -> None:
    sure = retention("catchlight_presence", fall(4), 0.02, 5)
    rival = retention("hand_presence", [1, 0.45, 0.45, 0.45, 0.45, 0.45], 0.04, 6, "hands")
    ranked = erosion.rank([sure, rival], GENERATIONS)
    assert ranked["hand_presence"].state == "cannot_tell"
    assert erosion.judge([sure], ranked, GENERATIONS).first_group is not None
    verdict = erosion.judge([sure, rival], ranked, GENERATIONS)
    assert verdict.first_group is None
    assert verdict.sentence.startswith("Cannot tell what erodes first")


def test_too_few_slots_are_named_in_the_sentence() -> None:
    few = Retention(**{**vars(retention("iris_spread", fall(2), 0.02, 5)), "n_slots": 6})
    verdict = erosion.judge([few], erosion.rank([few], GENERATIONS), GENERATIONS)
    assert "6 slots were measured; it takes 12" in verdict.sentence
