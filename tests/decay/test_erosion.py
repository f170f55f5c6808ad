"""The pure statistics: closed forms, directions, and what a null lineage may not claim."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm, wasserstein_distance

from decay import erosion
from decay.erosion import Array, Ranking, Retention, Verdict
from decay.settings import Rule

GENERATIONS = [0, 1, 2, 3, 4, 5]
RULE = Rule()


def retention(
    name: str,
    value: list[float],
    sd: float,
    seed: int,
    group: str = "eyes",
    b: int = 400,
    measured: Array | None = None,
) -> Retention:
    rng = np.random.default_rng(seed)
    centre = np.array(value, dtype=float)
    draws = centre + rng.normal(0, sd, (b, len(value)))
    draws[:, 0] = centre[0]
    shares = np.ones(len(value)) if measured is None else measured
    return Retention(name, name, group, centre, draws, shares, n_slots=200)


def told(*traits: Retention, generations: list[int] = GENERATIONS, rule: Rule = RULE) -> tuple[Ranking, Verdict]:
    ranking = erosion.rank(traits, generations, rule)
    return ranking, erosion.judge(traits, ranking, generations)


def alone(trait: Retention) -> erosion.Onset:
    return told(trait)[0].onsets[trait.name]


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
        draws = np.hstack([np.ones_like(noise), level + noise])
        trait = Retention("t", "t", "face", np.array([1.0, level]), draws, np.ones(2), n_slots=100_000)
        return told(trait, generations=[0, 1])[0].onsets["t"]

    smallest = ranked(1.0).smallest_detectable
    assert smallest == pytest.approx(0.2 + 1.96 * 0.1, abs=0.02)  # one trait, one generation: a single interval
    assert ranked(1.0 - smallest - beyond).state == state


def test_what_chance_shows_cannot_be_detected() -> None:
    trait = retention("iris_spread", [1, 1, 1, 1, 1, 1], 0.02, 5)
    assert alone(trait).smallest_detectable < 0.4
    assert alone(replace(trait, noise_floor=0.6)).smallest_detectable == 0.6
    assert alone(replace(trait, noise_floor=math.nan)).smallest_detectable < 0.4


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


def test_distances_in_many_resamples_equal_those_of_repeated_samples() -> None:
    rng = np.random.default_rng(7)
    sample, reference = rng.normal(0, 1, 9), rng.lognormal(0, 1, 12)
    counts, others = rng.integers(0, 4, (20, 9)), rng.integers(0, 4, (20, 12))
    counts[0], others[1] = 0, 0  # nothing was drawn
    got = erosion.resampled_distances(sample, reference, counts, others, 0.0)
    assert np.isnan(got[:2]).all()
    for row, one, other in zip(got[2:], counts[2:], others[2:], strict=True):
        repeated, against = np.repeat(sample, one), np.repeat(reference, other)
        assert row == pytest.approx(wasserstein_distance(repeated, against) / against.std(ddof=1))
        assert row == pytest.approx(erosion.location_distance(repeated, against))


# --------------------------------------------------------------------------- intervals that hold together


def test_one_trait_in_one_generation_has_a_single_interval() -> None:
    trait = retention("t", [1.0, 0.5], 0.1, 1, b=20_000)
    assert erosion.critical_value([trait], 0.95) == pytest.approx(1.96, abs=0.03)


def test_independent_traits_need_what_sidak_says() -> None:
    traits = [retention(f"t{i}", [1, 0.9, 0.8, 0.7, 0.6, 0.5], 0.1, i, b=4000) for i in range(10)]
    sidak = norm.ppf(0.5 + 0.5 * 0.95 ** (1 / 50))
    assert erosion.critical_value(traits, 0.95) == pytest.approx(sidak, abs=0.08)


def test_the_same_trait_ten_times_needs_no_more_than_once() -> None:
    trait = retention("t", [1, 0.9, 0.8, 0.7, 0.6, 0.5], 0.1, 1)
    same = [replace(trait, name=f"t{i}") for i in range(10)]
    assert erosion.critical_value(same, 0.95) == pytest.approx(erosion.critical_value([trait], 0.95))


def test_intervals_of_a_heavy_tailed_trait_do_not_widen_the_others_beyond_bonferroni() -> None:
    heavy = retention("heavy", [1, 0.9, 0.8], 0.1, 1, b=4000)
    heavy.draws[:, 1:] += np.random.default_rng(2).standard_cauchy((4000, 2))
    assert erosion.critical_value([heavy], 0.95) <= norm.ppf(1 - 0.05 / 4) + 1e-9


def test_where_nothing_varies_there_is_nothing_to_widen_for() -> None:
    assert erosion.critical_value([], 0.95) == pytest.approx(1.96, abs=0.001)
    certain = retention("t", [1.0, 0.5], 0.0, 1)
    assert erosion.critical_value([certain], 0.95) == pytest.approx(1.96, abs=0.001)


def test_an_interval_of_no_width_claims_nothing() -> None:
    for level, state in ((0.5, "cannot_tell"), (0.9, "cannot_tell"), (1.0, "held")):  # 1: unchanged in every draw
        certain = retention("t", [1.0, level], 0.0, 1)
        assert told(certain, generations=[0, 1])[0].onsets["t"].state == state


def test_a_draw_without_any_value_is_passed_over() -> None:
    trait = retention("t", [1.0, 0.5], 0.1, 1)
    trait.draws[:3] = np.nan
    assert math.isfinite(erosion.critical_value([trait], 0.95))


def test_a_long_tail_on_one_side_widens_that_side_only() -> None:
    skewed = np.random.default_rng(3).exponential(1, (4000, 1)) - 1
    below, above = erosion.reach(np.zeros(1), skewed)
    assert above > 1.5 * below
    normal = np.random.default_rng(4).normal(0, 0.3, (20_000, 1))
    for side in erosion.reach(np.zeros(1), normal):
        assert side == pytest.approx(0.3, rel=0.06)


def test_few_slots_widen_a_band_by_students_distribution() -> None:
    one = (np.ones(1), np.ones(1))
    widths = [float(erosion.band(np.zeros(1), one, 1.959964, n).high[0]) for n in (6, 31, 100_000)]
    assert widths == pytest.approx([2.571, 2.042, 1.960], abs=0.001)


def test_generations_of_few_slots_decide_nothing() -> None:
    trait = retention("t", fall(2), 0.02, 5)
    later = replace(trait, n_units=np.array([200, 200, 6, 6, 6, 6]))
    assert alone(later).state != "eroded"
    assert alone(replace(retention("t", [1] * 6, 0.02, 5), n_units=later.n_units)).state == "held"  # up to 1
    ranking, verdict = told(replace(trait, n_units=np.array([200] * 5 + [4])))
    assert (ranking.last, ranking.onsets["t"].state) == (4, "eroded")
    assert "Later generations than 4 have too few slots" in verdict.sentence


def test_prompt_groups_widen_their_bands_as_so_many_slots_do() -> None:
    trait = retention("t", [1, 0.9, 0.8, 0.7, 0.6, 0.5], 0.1, 1)
    few, many = (told(replace(trait, n_units=np.full(6, n)))[0].bands["t"] for n in (12, 200))
    assert ((few.high - few.low)[1:] > 1.15 * (many.high - many.low)[1:]).all()


# --------------------------------------------------------------------------- what is missing


def test_bounds_for_the_unmeasured_are_lost_all_and_kept_all() -> None:
    trait = retention("t", [1, 0.4, 0.4, math.nan], 0.0, 1, measured=np.array([1.0, 1.0, 0.5, 0.3]))
    bounds = erosion.worst_case(trait, 1.96)
    np.testing.assert_allclose(bounds.low, [1, 0.4, 0.2, 0])
    np.testing.assert_allclose(bounds.high, [1, 0.4, 0.7, 1])


def test_a_fall_that_selection_alone_could_feign_is_not_shown() -> None:
    falls = retention("t", [1, 0.5], 0.0, 1, measured=np.array([1.0, 0.8]))
    drifts = replace(falls, falls=False)
    for trait, feigned, high in (
        (falls, 0.5, 1.0),
        (falls, 0.0, math.inf),
        (falls, 0.9, 0.6),
        (drifts, 0.2, 1.3),
    ):
        known = replace(trait, if_selected=np.array([1.0, feigned]))
        assert erosion.worst_case(known, 1.96).high[1] == pytest.approx(high)


def test_a_trait_whose_bounds_straddle_the_margin_is_not_called_eroded() -> None:
    gone = np.array([1, 1, 0.5, 0.3, 0.2, 0.2])
    part = [1, 1, 0.65, 0.6, 0.5, 0.4]
    assert alone(retention("t", part, 0.01, 1)).state == "eroded"
    assert alone(retention("t", part, 0.01, 1, measured=gone)).state == "cannot_tell"
    assert alone(retention("t", fall(2), 0.01, 1, measured=gone)).state == "eroded"  # half of them fell by 0.8


def test_a_trait_of_which_most_went_unmeasured_is_not_called_held() -> None:
    gone = np.array([1, 1, 0.9, 0.7, 0.5, 0.5])
    assert alone(retention("t", [1] * 6, 0.01, 1)).state == "held"
    onset = alone(retention("t", [1] * 6, 0.01, 1, measured=gone))
    assert onset.state == "cannot_tell"
    assert (onset.low, onset.high) == (3, math.inf)  # from 3 on, those that are missing may hide a fall


def test_a_trait_that_cannot_be_measured_at_the_end_is_not_called_held() -> None:
    onset = alone(retention("t", [1, 1, 1, 1, 1, math.nan], 0.01, 1))
    assert onset.state == "cannot_tell"
    assert onset.low == 5


# --------------------------------------------------------------------------- onset


def test_onset_is_the_first_generation_that_stays_below() -> None:
    assert erosion.onsets(np.array([1, 0.4, 0.9, 0.4, 0.3, 0.2]), GENERATIONS, 0.5) == 3
    assert erosion.onsets(np.array([1, 0.4, 0.3, 0.4, 0.3, 0.9]), GENERATIONS, 0.5) == math.inf
    assert erosion.onsets(np.array([1, 0.9, 0.8, 0.9, 0.9, 0.9]), GENERATIONS, 0.5) == math.inf
    assert erosion.onsets(np.array([1, 0.9, 0.8, 0.9, 0.9, 0.9]), GENERATIONS, 0.95) == 1


def test_an_unmeasured_generation_is_no_onset_and_does_not_break_one() -> None:
    assert erosion.onsets(np.array([1, 0.9, np.nan, 0.4, np.nan, 0.2]), GENERATIONS, 0.5) == 3
    assert erosion.onsets(np.array([1, np.nan, np.nan, np.nan, np.nan, np.nan]), GENERATIONS, 0.5) == math.inf


def test_the_interval_of_an_onset_holds_its_estimate_and_widens_with_noise() -> None:
    value = [1, 1, 0.9, 0.7, 0.6, 0.3]
    sure, unsure = alone(retention("t", value, 0.01, 1)), alone(retention("t", value, 0.04, 1))
    assert (sure.low, sure.value, sure.high) == (3, 3, 3)
    assert unsure.low < unsure.value < unsure.high


def test_a_fall_in_an_unmeasured_generation_is_within_the_interval() -> None:
    onset = alone(retention("t", [1, 1, math.nan, 0.3, 0.3, 0.3], 0.01, 1))
    assert (onset.low, onset.value, onset.high) == (2, 3, 3)


def test_a_fall_that_was_never_looked_at_again_is_not_for_good() -> None:
    gone = retention("face_t", [1, 0.3, *[math.nan] * 4], 0.02, 1, "face")
    seen = retention("hand_t", [1] * 6, 0.02, 2, "hands")
    assert told(gone, seen)[0].onsets["face_t"].state == "cannot_tell"


def test_a_family_is_not_first_by_what_may_have_fallen_where_another_surely_fell_before() -> None:
    late = retention("iris_late", fall(5), 0.01, 1)
    maybe = [retention(f"iris_{i}", [1, *[0.7] * 5], 0.07, i + 10) for i in range(6)]
    hands = retention("hand_t", fall(3), 0.01, 3, "hands")
    ranking, verdict = told(late, *maybe, hands)
    assert verdict.p_families["eyes"] >= 0.8
    assert {ranking.onsets[r.name].state for r in maybe} == {"cannot_tell"}
    assert verdict.first_group is None
    assert "what may have fallen first is not sure to have fallen" in verdict.sentence


def test_an_improvement_before_the_collapse_is_no_onset() -> None:
    onset = alone(retention("t", [1, 1.3, 1.0, 0.5, 0.3, 0.3], 0.03, 1))
    assert onset.state == "eroded"
    assert onset.low == onset.value == 3


def test_a_dip_that_recovers_is_no_onset() -> None:
    onset = alone(retention("t", [1, 0.4, 1, 1, 1, 1], 0.03, 1))
    assert onset.state != "eroded"
    assert onset.low == math.inf


def test_the_flat_rule_takes_the_first_value_whether_it_stays_or_not() -> None:
    values = np.array([2.0, 1.81, 1.79, 1.9, 1.0])
    assert erosion.first_below(values, [0, 1, 2, 3, 4], 0.1) == 2
    assert erosion.first_below(values, [0, 2, 4, 6, 8], 0.4) == 8
    assert erosion.first_below(values, [0, 1, 2, 3, 4], 0.6) == math.inf
    for nothing in (math.nan, 0.0, -2.0):
        assert math.isnan(erosion.first_below(np.array([nothing, 0.1, -5.0]), [0, 1, 2], 0.1))


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
    verdict = told(*traits)[1]
    assert verdict.order == ("catchlight_presence", "hand_presence", "skin_texture")
    assert verdict.first_group is not None
    assert verdict.first_group[0] == "eyes"
    assert verdict.first_trait == ("catchlight_presence", 1.0, 2.0)
    assert "Eyes erode first, from generation 2 on" in verdict.sentence


def test_a_tie_names_nobody() -> None:
    traits = [retention("hand_presence", fall(2), 0.05, 1, "hands"), retention("iris_spread", fall(2), 0.05, 2)]
    verdict = told(*traits)[1]
    assert verdict.first_group is None
    assert verdict.ties == (("hand_presence", "iris_spread"),)
    assert verdict.sentence.startswith("Cannot tell what erodes first")


def test_noise_alone_gives_no_onset_and_a_sentence_that_claims_nothing() -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        traits = [
            retention(f"face_t{i}", [1.0, *(1 + rng.normal(0, 0.1, 5))], 0.1, seed * 10 + i, "face") for i in range(6)
        ]
        verdict = told(*traits)[1]
        assert (verdict.first_group, verdict.first_trait, verdict.order) == (None, None, ())
        assert verdict.sentence == (
            "None of the 6 traits that could be measured is sure to have lost more than 20 % of its reference for "
            "good: nothing can be said to erode first."
        )


def test_a_family_of_many_noisy_traits_is_not_first_by_its_number() -> None:
    """Ten noisy traits and a steady one fall together: the least of ten draws falls early by luck alone."""
    many = [retention(f"iris_t{i}", [1, 1, 1, 0.65, 0.3, 0.3], 0.1, i) for i in range(10)]
    one = retention("face_t", [1, 1, 1, 0.65, 0.3, 0.3], 0.02, 99, "face")
    verdict = told(*many, one)[1]
    assert verdict.first_group is None
    assert verdict.p_families["eyes"] == pytest.approx(0.5, abs=0.15)


def test_a_familys_course_is_that_of_its_most_eroded_trait() -> None:
    worst = retention("iris_a", [1, 0.9, 0.7, 0.5, 0.3, 0.1], 0.02, 1)
    others = [retention(f"iris_{i}", [1] * 6, 0.02, i + 2) for i in range(8)]
    # to within what the median of 400 draws is off
    np.testing.assert_allclose(erosion.family_draws([worst])[:, 1:], worst.draws[:, 1:], atol=0.005)
    np.testing.assert_allclose(erosion.family_draws([worst, *others])[:, 2:], worst.draws[:, 2:], atol=0.005)


def test_the_least_of_many_equal_traits_is_not_told_lower_than_they_are() -> None:
    """Over repetitions the family's median is the true value, though the least of ten estimates lies far below."""
    medians = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        traits = [retention(f"t{i}", [1, 0.5 + rng.normal(0, 0.1)], 0.1, seed * 20 + i) for i in range(10)]
        medians.append(np.median(erosion.family_draws(traits)[:, 1]))
    assert np.median(medians) == pytest.approx(0.5, abs=0.04)


def test_an_uncertain_fall_is_called_uncertain() -> None:
    onset = alone(retention("iris_spread", [1, 1, 0.9, 0.75, 0.7, 0.6], 0.15, 5))
    assert onset.state == "cannot_tell"
    assert math.isnan(onset.value)


def test_a_trait_that_could_not_have_shown_a_total_loss_is_not_rankable() -> None:
    assert alone(retention("iris_spread", [1, 1, 0.9, 0.5, 0.49, 0.45], 0.4, 5)).state == "not_rankable"


def test_one_generation_claims_nothing() -> None:
    trait = Retention("iris_spread", "Iris", "eyes", np.array([1.0]), np.ones((50, 1)), np.ones(1), n_slots=40)
    ranking, verdict = told(trait, generations=[0])
    assert ranking.onsets["iris_spread"].state == "not_measured"
    assert "only one generation" in verdict.sentence


def test_a_reference_of_few_pictures_is_told_as_the_cause() -> None:
    gone = np.array([math.nan])
    trait = Retention("t", "T", "eyes", gone, np.full((50, 1), math.nan), np.ones(1), n_slots=3, n_reference=0)
    assert "3 slots of the reference were measured" in told(trait, generations=[0])[1].sentence


def test_percent_is_rounded_down() -> None:
    traits = [retention("hand_presence", fall(2), 0.001, 1, "hands", b=1000)]
    traits[0].draws[0, :] = 1.0  # one draw in a thousand without onset
    verdict = told(*traits)[1]
    assert "99 %" in verdict.sentence
    assert "100 %" not in verdict.sentence


def test_too_few_slots_are_never_called_eroded() -> None:
    trait = retention("iris_spread", fall(2), 0.02, 5)
    few = replace(trait, n_slots=erosion.FEWEST_SLOTS - 1)
    assert alone(trait).state == "eroded"
    assert alone(few).state == "not_rankable"
    assert "11 slots were measured; it takes 12" in told(few)[1].sentence


def test_the_sentence_says_how_many_traits_are_undecided() -> None:
    sure = retention("iris_spread", fall(2), 0.02, 5)
    unsure = retention("hand_presence", [1, 1, 1, 1, 0.85, 0.75], 0.1, 5, "hands")
    assert told(sure, unsure)[1].sentence.endswith("1 of 2 traits are undecided.")


def test_a_leader_that_may_not_have_eroded_is_marked() -> None:
    sure = retention("catchlight_presence", fall(2), 0.02, 5)
    unsure = retention("iris_spread", [1, *[0.75] * 5], 0.05, 6)
    ranking, verdict = told(sure, unsure)
    assert ranking.onsets["iris_spread"].state == "cannot_tell"
    assert {name for name, _ in verdict.leaders} == {"catchlight_presence", "iris_spread"}
    assert "iris_spread (undecided)" in verdict.sentence
    assert "catchlight_presence (undecided)" not in verdict.sentence
    alone = retention("iris_spread", [1, *[0.75] * 5], 0.02, 6)
    assert "it would be iris_spread (97 %), which is undecided itself" in told(sure, alone)[1].sentence


def test_a_half_life_counts_from_the_reference_folder() -> None:
    assert erosion.half_life(np.array([0.2, 0.1]), [0, 1], 0) == pytest.approx(0.625)


def test_an_undecided_trait_that_may_have_gone_first_leaves_no_winner() -> None:
    sure = retention("catchlight_presence", fall(4), 0.02, 5)
    rival = retention("hand_presence", [1, 0.7, 0.7, 0.7, 0.7, 0.7], 0.06, 6, "hands")
    ranking, verdict = told(sure, rival)
    assert ranking.onsets["hand_presence"].state == "cannot_tell"
    assert told(sure)[1].first_group is not None
    assert verdict.first_group is None
    assert verdict.sentence.startswith("Cannot tell what erodes first")


def test_no_first_is_named_beside_a_family_that_could_not_be_ranked() -> None:
    sure = retention("catchlight_presence", fall(4), 0.02, 5)
    few = replace(retention("hand_presence", [1, 0.6, 0.5, 0.5, 0.5, 0.5], 0.1, 6, "hands"), n_slots=8)
    ranking, verdict = told(sure, few)
    assert ranking.onsets["hand_presence"].state == "not_rankable"
    assert (verdict.first_group, verdict.first_trait, verdict.blind) == (None, None, ("hands",))
    assert "of what could be ranked the eyes" in verdict.sentence
    assert "hands could not be ranked" in verdict.sentence


def test_a_family_that_was_not_measured_is_no_rival() -> None:
    sure = retention("catchlight_presence", fall(4), 0.02, 5)
    absent = retention("hand_presence", [math.nan] * 6, 0.1, 6, "hands")
    assert told(sure, absent)[1].first_group is not None


def test_of_two_one_falls_first_or_both_fall_together() -> None:
    a, b = np.array([1.0, 2.0, 3.0, math.inf]), np.array([2.0, 2.0, 1.0, math.inf])
    found = erosion.precedences({"a": a, "b": b})
    assert found["a", "b"] == erosion.Precedence(p_before=1 / 4, p_same=2 / 4)
    assert found["a", "b"].p_ahead == (1 + 0.5 + 0 + 0.5) / 4
    assert found["a", "b"].p_before + found["b", "a"].p_before + found["a", "b"].p_same == 1


def test_families_are_set_in_pairs_as_traits_are() -> None:
    eyes, hands = retention("iris_spread", fall(2), 0.02, 1), retention("hand_presence", fall(4), 0.02, 2, "hands")
    verdict = told(eyes, hands)[1]
    assert verdict.before_families["eyes", "hands"].p_before > 0.9
    assert set(verdict.before_families) == {("eyes", "hands"), ("hands", "eyes")}


@pytest.mark.parametrize("impossible", [{"margin": 0.0}, {"margin": 1.0}, {"coverage": 0.4}, {"p_first": 0.5}])
def test_an_impossible_rule_is_refused(impossible: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="wanted"):
        Rule(**impossible)


# --------------------------------------------------------------------------- the end


def halving(name: str, seed: int, sd: float = 0.005) -> Retention:
    return retention(name, [1, 0.5, 0.25, 0.125, 0.0625, 0.03125], sd, seed)


def test_no_facet_is_left_once_the_last_trait_has_gone() -> None:
    early = retention("iris_spread", [1, 0.3, 0.05, 0.05, 0.05, 0.05], 0.005, 1)
    late = halving("face_spread", 2)
    verdict = told(early, late)[1]
    assert verdict.nothing_left == erosion.NothingLeft(4, 4, 4, extrapolated=False)
    assert verdict.sentence.endswith("No facet is left from generation 4 on.")


def test_a_trait_that_only_drifts_does_not_keep_the_end_from_coming() -> None:
    drifting = replace(retention("lighting_ratio", [1] * 6, 0.01, 3, "light"), falls=False)
    assert told(halving("face_spread", 2), drifting)[1].nothing_left.generation == 4


def test_the_end_is_extrapolated_only_when_asked_for() -> None:
    traits = [replace(halving("face_spread", 2), value=0.5 ** (np.arange(6) / 3))]
    traits = [replace(t, draws=t.value + t.draws - 0.5 ** np.arange(6)) for t in traits]
    ranking, verdict = told(*traits)
    assert verdict.nothing_left.generation == math.inf
    assert not verdict.nothing_left.extrapolated
    end = erosion.nothing_left(traits, ranking, GENERATIONS, extrapolate=True)
    assert end.extrapolated
    assert end.generation == pytest.approx(3 * math.log2(10), abs=1e-6)  # the course is exactly exponential
    assert end.low < end.generation < end.high
    assert "extrapolated" in erosion.judge(traits, ranking, GENERATIONS, extrapolate=True).sentence


def test_a_trait_that_holds_is_never_extrapolated_beyond() -> None:
    slow = retention("face_spread", [1, 0.8, 0.7, 0.6, 0.5, 0.4], 0.01, 1)
    held = retention("iris_spread", [1] * 6, 0.01, 2)
    ranking = told(slow, held)[0]
    end = erosion.nothing_left([slow, held], ranking, GENERATIONS, extrapolate=True)
    assert (end.generation, end.low, end.high) == (math.inf, math.inf, math.inf)
    assert end.why_not == "1 of 2 traits that can fall are not sure to have eroded, such as iris_spread"
    sentence = erosion.judge([slow, held], ranking, GENERATIONS, extrapolate=True).sentence
    assert sentence.endswith(f"When nothing will be left cannot be extrapolated: {end.why_not}.")
    assert "extrapolated" not in erosion.judge([slow, held], ranking, GENERATIONS).sentence


def test_why_nothing_can_be_extrapolated_is_said() -> None:
    held, drifting = retention("iris_spread", [1] * 6, 0.01, 2), replace(halving("face_spread", 2), falls=False)
    for traits, why in (([held], "no trait that can fall is sure to have eroded"), ([drifting], "no trait that can")):
        end = erosion.nothing_left(traits, told(*traits)[0], GENERATIONS, extrapolate=True)
        assert end.why_not.startswith(why)


def test_what_is_gone_in_generation_0_is_told_apart_from_what_retraining_took() -> None:
    """Against other pictures than generation 0: the first fit alone took it."""
    gone = replace(retention("hand", [0.3] * 6, 0.02, 1), n_reference=0)
    later = replace(retention("iris", [1, 1, 0.3, 0.3, 0.3, 0.3], 0.02, 2), n_reference=0)
    assert "It fell by generation 0" in told(gone)[1].sentence
    assert "first fit" not in told(later)[1].sentence
    assert "first fit" not in told(gone, later)[1].sentence


def test_what_a_run_that_goes_on_begins_with_may_have_fallen_in_any_generation_before() -> None:
    gone = replace(retention("hand", [0.3] * 3, 0.02, 1), n_reference=0)
    onset = told(gone, generations=[4, 5, 6])[0].onsets["hand"]
    assert (onset.low, onset.value) == (0, 4)
