"""Readings -> traits: counting what should be there, pairing by slot, intervals, equal sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from decay import erosion, traits
from decay import tables as tables_module
from decay.catalogue import traits_markdown, traits_text
from decay.lineage import Generation, ImageRecord, Lineage
from decay.outcome import Outcome
from decay.settings import Rule
from decay.tables import Tables, build_tables
from detectors.geometry import mean_of, median_of, share_above_zero, spread_of
from detectors.hand_presence import FAMILY as HAND_PRESENCE
from detectors.reader import ImageReadings
from detectors.registry import families
from detectors.trait import (
    OK,
    ErrorRates,
    Face,
    Family,
    Hand,
    Measurement,
    PreparedStatistic,
    Reading,
    ResampledStatistic,
    Sample,
    Trait,
    View,
)

N = 40


def measure_nothing(view: View, subject: Face | Hand | None) -> Measurement:
    raise AssertionError("not called: these tests start from tables")


def family(*made: Trait) -> Family:
    return Family(
        name="face_toy",
        group="face",
        subject="face",
        readings=(Reading("face_toy", "face", "Toy", "px"),),
        states={OK: "measured", "pose": "turned away", "no_highlight": "nothing there"},
        measure=measure_nothing,
        traits=made,
    )


def trait(**changes: object) -> Trait:
    fields: dict[str, object] = {
        "name": "face_toy_spread",
        "subject": "face",
        "label": "Toy spread",
        "unit": "px",
        "direction": "higher",
        "floor": 0.0,
        "source": "this test",
        "readings": ("face_toy",),
        "statistic": lambda sample, reference: float(np.std(sample.numbers("face_toy"), ddof=1)),
    }
    return Trait(**(fields | changes))  # type: ignore[arg-type]


def tables(values: dict[int, np.ndarray], states: dict[int, list[str]] | None = None, expects: int = 1) -> Tables:
    """One face per image; slot i in every generation."""
    images, faces = [], []
    for generation, column in values.items():
        for slot, value in enumerate(column):
            state = states[generation][slot] if states and generation in states else OK
            where = {"generation": generation, "image": f"gen_{generation}/{slot}.png"}
            images.append(
                where
                | {"slot": f"{slot:03d}", "group": "", "n_faces": 1, "n_hands": 0}
                | {"expects_face": expects, "expects_hand": 0}
            )
            faces.append(where | {"face": 0, "face_toy_state": state, "face_toy": value if state == OK else math.nan})
    frame = pd.DataFrame(images)
    return Tables(frame, pd.DataFrame(faces), pd.DataFrame(), pd.DataFrame())


def run(monkeypatch: pytest.MonkeyPatch, made: Trait, data: Tables, generations: list[int], n: int = 200):
    monkeypatch.setattr(traits, "families", lambda: (family(made),))
    return traits.readings_to_traits(data, generations, n, seed=0)[0]


def table_of(series: Sequence[traits.TraitSeries], generations: list[int]) -> pd.DataFrame:
    return traits.traits_table(series, ranking_of(series, generations), generations)


def ranking_of(series: Sequence[traits.TraitSeries], generations: list[int]) -> erosion.Ranking:
    return erosion.rank(traits.traits_to_retentions(series), generations, Rule())


def state_of(series: traits.TraitSeries, generations: list[int]) -> str:
    return ranking_of([series], generations).onsets[series.trait.name].state


def test_a_shrinking_spread_loses_retention_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    base = np.random.default_rng(0).normal(0, 1, N)
    series = run(monkeypatch, trait(), tables({0: base, 1: base / 2, 2: base / 4}), [0, 1, 2])
    np.testing.assert_allclose(series.retention, [1, 0.5, 0.25])
    # the same slots are drawn in every generation, so a pure scaling has no uncertainty at all
    np.testing.assert_allclose(series.retention_draws.std(axis=0), 0, atol=1e-12)


def test_the_interval_of_a_mean_has_the_textbook_width(monkeypatch: pytest.MonkeyPatch) -> None:
    base = np.random.default_rng(1).normal(5, 1, N)
    mean = trait(statistic=lambda s, r: float(s.numbers("face_toy").mean()))
    for resampling in ("bootstrap", "half"):
        changed = Trait(**{**vars(mean), "resampling": resampling})
        series = run(monkeypatch, changed, tables({0: base}), [0], n=1500)
        error = series.draws[:, 0].std()
        assert error == pytest.approx(base.std(ddof=1) / math.sqrt(N), rel=0.08)  # 1,500 draws: 2 % of the sd itself


def test_missing_faces_are_counted_against_what_was_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    base = np.random.default_rng(2).normal(0, 1, N)
    lost = [OK] * 30 + ["pose"] * 10
    series = run(monkeypatch, trait(), tables({0: base, 1: base}, {1: lost}), [0, 1])
    assert list(series.n_expected) == [N, N]
    assert list(series.n_measured) == [N, 30]


def test_an_image_that_shows_nothing_expected_still_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    data = tables({0: np.random.default_rng(3).normal(0, 1, N)})
    data.images["n_faces"] = 0
    empty = Tables(data.images, data.faces.iloc[:0], data.eyes, data.hands)
    series = run(monkeypatch, trait(), empty, [0])
    assert list(series.n_expected) == [N]
    assert list(series.n_measured) == [0]
    assert np.isnan(series.value).all()


def test_a_measured_zero_counts_as_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    presence = trait(
        readings=("face_toy_state",),
        measured_states=(OK, "no_highlight"),
        statistic=lambda s, r: float((s["face_toy_state"] == OK).mean()),
    )
    states = [OK] * 10 + ["no_highlight"] * 20 + ["pose"] * 10
    series = run(monkeypatch, presence, tables({0: np.ones(N)}, {0: states}), [0])
    assert series.value[0] == pytest.approx(1 / 3)
    assert series.n_measured[0] == 30


def test_too_few_subjects_give_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    series = run(monkeypatch, trait(n_min=20), tables({0: np.arange(30.0), 1: np.arange(19.0)}), [0, 1])
    assert not math.isnan(series.value[0])
    assert math.isnan(series.value[1])
    assert np.isnan(series.draws[:, 1]).all()


def test_a_size_dependent_statistic_is_compared_at_equal_size(monkeypatch: pytest.MonkeyPatch) -> None:
    count = trait(equal_n=True, statistic=lambda s, r: float(len(s)), resampling="half")
    series = run(monkeypatch, count, tables({0: np.arange(40.0), 1: np.arange(20.0)}), [0, 1])
    assert list(series.value) == [20, 20]


def test_a_shifted_location_loses_retention_and_an_equal_one_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    base = rng.normal(0, 1, 200)
    values = {0: base, 1: rng.normal(0, 1, 200), 2: base + 1.0}
    location = trait(kind="location", direction="reference", statistic=lambda s, r: float(s.numbers("face_toy").mean()))
    series = run(monkeypatch, location, tables(values), [0, 1, 2])
    assert series.retention[0] == 1.0
    assert series.retention[1] == pytest.approx(1.0, abs=0.1)
    assert series.retention[2] == pytest.approx(1 - 1 / base.std(ddof=1), abs=0.1)


@pytest.mark.parametrize("n", [8, 24])
def test_the_interval_of_a_location_holds_1_for_samples_of_one_population(
    n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = trait(kind="location", direction="reference", statistic=lambda s, r: float(s.numbers("face_toy").mean()))
    missed = 0
    for seed in range(40):
        rng = np.random.default_rng([n, seed])
        series = run(monkeypatch, location, tables({g: rng.normal(0, 1, n) for g in (0, 1)}), [0, 1], n=150)
        missed += float(np.quantile(series.retention_draws[:, 1], 0.975)) < 1
    assert missed <= 4  # of 40; at 95 % coverage more than 4 come up once in 20 times, and the seeds are fixed


def test_traits_of_embeddings_name_the_embedder(monkeypatch: pytest.MonkeyPatch) -> None:
    data = tables({0: np.random.default_rng(0).normal(size=N)})
    data.faces["embedder"] = "descriptor"
    data.faces["face_embedding"] = pd.Series([np.ones(2, np.float32)] * N)
    embedding = Reading("face_embedding", "face", "embedding", "", kind="vector")
    resting = trait(name="face_variety", readings=("face_embedding",), statistic=lambda s, r: 1.0)
    both = replace(family(), readings=(Reading("face_toy", "face", "Toy", "px"), embedding), traits=(trait(), resting))
    monkeypatch.setattr(traits, "families", lambda: (both,))
    table = table_of(traits.readings_to_traits(data, [0], 10, seed=0), [0])
    assert dict(zip(table["trait"], table["embedder"], strict=True)) == {
        "face_toy_spread": "",
        "face_variety": "descriptor",
    }


def test_the_reference_folder_is_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    base = np.random.default_rng(5).normal(0, 1, N)
    series = run(monkeypatch, trait(), tables({-1: 2 * base, 0: base}), [0])
    assert series.retention[0] == pytest.approx(0.5)
    assert not series.is_reference


def test_no_value_depends_on_which_other_traits_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    data = tables({0: np.random.default_rng(6).normal(0, 1, N), 1: np.random.default_rng(7).normal(0, 1, N)})
    wanted = trait(kind="location", direction="reference", statistic=lambda s, r: float(s.numbers("face_toy").mean()))
    other = Trait(**{**vars(wanted), "name": "face_other"})
    alone = run(monkeypatch, wanted, data, [0, 1])
    monkeypatch.setattr(traits, "families", lambda: (family(other, wanted),))
    together = traits.readings_to_traits(data, [0, 1], 200, seed=0)[1]
    np.testing.assert_array_equal(alone.retention_draws, together.retention_draws)


def test_results_do_not_depend_on_the_order_of_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(8)
    data = tables({0: rng.normal(0, 1, N), 1: rng.normal(0, 1, N - 6)})
    shuffled = Tables(
        data.images.sample(frac=1, random_state=1), data.faces.sample(frac=1, random_state=2), *[data.eyes] * 2
    )
    for made in (
        trait(kind="location", direction="reference"),
        trait(equal_n=True, resampling="half"),
    ):
        one, other = (run(monkeypatch, made, given, [0, 1]) for given in (data, shuffled))
        np.testing.assert_array_equal(one.value, other.value)
        np.testing.assert_array_equal(one.draws, other.draws)
        np.testing.assert_array_equal(one.retention_draws, other.retention_draws)


def test_statistics_see_groups_and_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    def statistic(sample: Sample, reference: Sample) -> float:
        seen.append((len(sample), len(reference)))
        return 0.5

    run(monkeypatch, trait(statistic=statistic), tables({-1: np.arange(30.0), 0: np.arange(20.0)}), [0], n=1)
    assert seen[:2] == [(30, 30), (20, 30)]


def test_the_fewest_slots_of_skewed_readings_seldom_see_erosion_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Spreads of log-normal readings, two generations of one kind: the hardest case for resampling."""
    eroded = 0
    for seed in range(60):
        rng = np.random.default_rng([seed, 1])
        data = tables({g: rng.lognormal(0, 1, erosion.FEWEST_SLOTS) for g in (0, 1)})
        series = run(monkeypatch, trait(n_min=4, statistic=spread_of("face_toy")), data, [0, 1], n=200)
        eroded += state_of(series, [0, 1]) == "eroded"
    assert eroded <= 3  # 5 %


# --------------------------------------------------------------------------- statistics in many resamples at once

STATISTICS = {
    "mean": mean_of("x"),
    "share": share_above_zero("x"),
    "median": median_of("x"),
    "spread": spread_of("x"),
    "total variance": spread_of("x", "y", root=False),
}


@pytest.mark.parametrize("name", STATISTICS)
def test_a_resampled_statistic_is_that_of_the_repeated_sample(name: str) -> None:
    statistic = STATISTICS[name]
    assert isinstance(statistic, ResampledStatistic)
    rng = np.random.default_rng(11)
    sample = Sample({"x": rng.normal(0, 1, 15), "y": rng.lognormal(0, 1, 15)}, np.full(15, "", dtype=object))
    counts = rng.integers(0, 4, (40, 15))
    counts[0] = 0
    once = [statistic(sample.take(np.repeat(np.arange(15), row)), sample) for row in counts]
    assert math.isnan(once[0])
    np.testing.assert_allclose(statistic.over(sample, counts.astype(float)), once, rtol=1e-9)


def test_every_resampled_statistic_of_the_families_is_that_of_the_repeated_sample() -> None:
    """Numbers within their declared range, some of them missing where a state other than ok counts as measured."""
    found = [(f, t) for f in families() for t in f.traits if isinstance(t.statistic, ResampledStatistic)]
    assert found
    for family_of, made in found:
        rng = np.random.default_rng(12)
        readings = {reading.name: reading for reading in family_of.readings}
        names = [name for name in made.readings if name in readings]
        columns = {name: _numbers(readings[name], rng) for name in names}
        columns |= {name: np.full(20, OK, dtype=object) for name in made.readings if name not in readings}
        sample = Sample(columns, np.full(20, "", dtype=object))
        counts = rng.integers(1, 4, (10, 20))
        once = [made.statistic(sample.take(np.repeat(np.arange(20), row)), sample) for row in counts]
        assert isinstance(made.statistic, ResampledStatistic)
        np.testing.assert_allclose(
            made.statistic.over(sample, counts.astype(float)), once, rtol=1e-9, err_msg=made.name
        )


def _numbers(reading: Reading, rng: np.random.Generator) -> np.ndarray:
    low, high = max(reading.low, -3.0), min(reading.high, 3.0)
    if reading.kind == "vector":
        return rng.normal(0.0, 1.0, (20, 4))
    return rng.uniform(low, high, 20) if reading.kind == "number" else np.full(20, OK, dtype=object)


def test_plain_and_resampled_statistics_have_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    data = tables({g: np.random.default_rng(g).normal(0, 1, N) for g in (0, 1)})
    fast = trait(statistic=mean_of("face_toy"))
    slow = trait(statistic=lambda s, r: float(s.numbers("face_toy").mean()))
    one, other = (run(monkeypatch, made, data, [0, 1]) for made in (fast, slow))
    np.testing.assert_allclose(one.draws, other.draws)
    np.testing.assert_allclose(one.retention_draws, other.retention_draws)


# --------------------------------------------------------------------------- slots drawn together


def images_of(groups: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({"slot": [f"{i:03d}" for i in range(len(groups))], "group": groups})


def test_slots_of_a_prompt_group_are_drawn_together_where_there_are_enough_groups() -> None:
    many = [f"prompt {i % 12}" for i in range(36)]
    found = traits.clusters(images_of(many))
    assert len(set(found)) == 12
    for prompt in set(many):
        assert len({cluster for cluster, group in zip(found, many, strict=True) if group == prompt}) == 1
    drawn = traits.Draws(found, 50, np.random.default_rng(0)).of("bootstrap")
    for row in drawn:
        assert len({(cluster, n) for cluster, n in zip(found, row, strict=True)}) == 12


def test_few_groups_are_taken_for_all_there_are() -> None:
    assert len(set(traits.clusters(images_of([f"prompt {i % 11}" for i in range(36)])))) == 36
    assert len(set(traits.clusters(images_of([""] * 36)))) == 36


def test_readings_that_hang_together_by_prompt_have_a_wider_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    by_prompt = np.repeat(rng.normal(5, 1, 20), 5)
    data = tables({0: by_prompt + rng.normal(0, 0.1, 100)})
    alone = run(monkeypatch, trait(statistic=mean_of("face_toy")), data, [0], n=1000)
    grouped = replace(data, images=data.images.assign(group=np.repeat([f"p{i}" for i in range(20)], 5)))
    together = run(monkeypatch, trait(statistic=mean_of("face_toy")), grouped, [0], n=1000)
    assert together.draws.std() == pytest.approx(math.sqrt(5) * alone.draws.std(), rel=0.15)


# --------------------------------------------------------------------------- errors, floors, selection


def test_the_error_of_a_spread_is_pooled_over_the_generations(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generation that happens to lack outliers is told no more surely than the generations are on average."""
    rng = np.random.default_rng(3)
    calm, wild = np.clip(rng.normal(0, 1, N), -1, 1), rng.standard_t(2, N)
    series = run(monkeypatch, trait(statistic=spread_of("face_toy")), tables({0: wild, 1: calm, 2: calm}), [0, 1, 2])
    plain = run(monkeypatch, trait(), tables({0: wild, 1: calm, 2: calm}), [0, 1, 2])
    share, own = (s.draws.std(axis=0) / s.value for s in (series, plain))
    np.testing.assert_allclose(share[1:], math.sqrt(np.mean(np.square(own))), rtol=1e-6)
    assert share[0] == pytest.approx(own[0])  # already the widest
    np.testing.assert_allclose(series.value, plain.value)


def test_a_noise_floor_is_what_two_samples_of_one_population_differ_by(monkeypatch: pytest.MonkeyPatch) -> None:
    n, floors, losses = 200, [], []
    for seed in range(40):
        rng = np.random.default_rng([seed, 3])
        base, again = rng.normal(1, 0.5, (2, n))
        series = run(monkeypatch, trait(statistic=mean_of("face_toy")), tables({0: base, 1: again}), [0, 1], n=60)
        floors.append(series.noise_floor)
        losses.append(1 - series.retention[1])
    theory = 1.96 * 0.5 * math.sqrt(2 / n)
    assert np.median(floors) == pytest.approx(theory, rel=0.2)
    assert np.mean(np.array(losses) > np.median(floors)) <= 0.1


def test_the_noise_floor_shrinks_with_the_root_of_the_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    def floor(n: int, **changes: object) -> float:
        data = tables({0: np.random.default_rng(1).normal(1, 0.5, n)})
        return run(monkeypatch, trait(**changes), data, [0], n=60).noise_floor

    for changes in ({"statistic": mean_of("face_toy")}, {}, {"kind": "location", "direction": "reference"}):
        assert 2 < floor(100, **changes) / floor(1600, **changes) < 8  # 4, told by the tail of 60 splits each


def test_a_reference_too_small_to_halve_has_no_noise_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    assert math.isnan(run(monkeypatch, trait(n_min=21), tables({0: np.arange(40.0)}), [0]).noise_floor)


def selected(monkeypatch: pytest.MonkeyPatch, made: Trait, share_left: float) -> float:
    base = np.random.default_rng(2).normal(2, 1, 400)
    states = [OK] * round(400 * share_left) + ["pose"] * (400 - round(400 * share_left))
    series = run(monkeypatch, made, tables({0: base, 1: base}, {1: states}), [0, 1], n=20)
    assert series.if_selected is not None
    assert series.if_selected[0] == 1
    return float(series.if_selected[1])


def test_what_selection_alone_can_feign(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a normal population: the mean of its lower half, the spread of its middle, the shift of its upper half."""
    cut = norm.pdf(0) / 0.5
    assert selected(monkeypatch, trait(statistic=mean_of("face_toy")), 0.5) == pytest.approx((2 - cut) / 2, abs=0.06)
    quartile = norm.ppf(0.75)
    middle = math.sqrt(1 - 2 * quartile * norm.pdf(quartile) / 0.5)
    assert selected(monkeypatch, trait(statistic=spread_of("face_toy")), 0.5) == pytest.approx(middle, abs=0.05)
    location = trait(kind="location", direction="reference", statistic=median_of("face_toy"))
    assert selected(monkeypatch, location, 0.5) == pytest.approx(1 - cut, abs=0.08)


@pytest.mark.parametrize(("floor", "kept"), [(0.0, 1 / 0.8), (1.0, 1 / 0.2)])
def test_of_a_share_all_the_unmeasured_may_be_healthy(
    monkeypatch: pytest.MonkeyPatch, floor: float, kept: float
) -> None:
    series = run(monkeypatch, share(floor=floor), tables({0: yes(32), 1: yes(32)}), [0, 1])
    assert series.if_selected is None
    assert traits.traits_to_retentions([series])[0].most_kept == pytest.approx(kept)


def test_an_unchanged_population_that_loses_its_highest_readings_has_not_eroded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = np.sort(np.random.default_rng(9).normal(1, 0.5, 300))
    lost = [OK] * 120 + ["pose"] * 180
    series = run(monkeypatch, trait(statistic=mean_of("face_toy")), tables({0: base, 1: base}, {1: lost}), [0, 1])
    assert series.retention[1] < 0.6
    assert state_of(series, [0, 1]) == "cannot_tell"
    halved = base * 0.5 + np.random.default_rng(10).normal(0, 0.01, 300)
    fallen = run(monkeypatch, trait(statistic=mean_of("face_toy")), tables({0: base, 1: halved}), [0, 1])
    assert state_of(fallen, [0, 1]) == "eroded"


# --------------------------------------------------------------------------- shares of a yes/no reading

ERRORS = ErrorRates(n_positive=500, n_found=460, n_negative=500, n_false=15, source="this test")


def share(errors: ErrorRates | None = None, **changes: object) -> Trait:
    def of_yes(sample: Sample, reference: Sample) -> float:
        return float(sample.numbers("face_toy").mean())

    return trait(unit="share", bounds=(0.0, 1.0), statistic=of_yes, errors=errors, is_share=True, **changes)


def yes(n_yes: int, n: int = N) -> np.ndarray:
    return np.repeat([1.0, 0.0], [n_yes, n - n_yes])


def test_none_of_n_has_an_interval_that_holds_0_and_more(monkeypatch: pytest.MonkeyPatch) -> None:
    series = run(monkeypatch, share(), tables({0: yes(N), 1: yes(0)}), [0, 1], n=1000)
    low, high = erosion.interval(series.draws)
    assert (low[1], high[0]) == (0, 1)
    assert high[1] == pytest.approx(3 / N, rel=0.2)
    assert low[0] == pytest.approx(1 - 3 / N, rel=0.2)
    np.testing.assert_array_equal(series.value, [1, 0])
    assert np.isnan(series.uncorrected).all()


def test_two_subjects_of_one_slot_are_one_witness(monkeypatch: pytest.MonkeyPatch) -> None:
    single = tables({0: yes(30), 1: yes(10)})
    double = replace(single, faces=pd.concat([single.faces, single.faces.assign(face=1)]))
    one, two = (run(monkeypatch, share(), data, [0, 1]) for data in (single, double))
    np.testing.assert_allclose(one.draws, two.draws)


def test_a_share_is_corrected_and_told_uncorrected_too(monkeypatch: pytest.MonkeyPatch) -> None:
    data = tables({0: yes(30), 1: yes(10), 2: yes(0)})
    series = run(monkeypatch, share(ERRORS), data, [0, 1, 2], n=500)
    np.testing.assert_allclose(series.uncorrected, [0.75, 0.25, 0])
    np.testing.assert_allclose(series.value, [0.72 / 0.89, 0.22 / 0.89, 0])
    assert series.reference == series.value[0]
    np.testing.assert_allclose(series.retention, [1, 0.22 / 0.72, 0])
    low, high = erosion.interval(series.draws)
    assert (low <= series.value).all()
    assert (series.value <= high).all()
    assert high[2] > 0
    table = table_of([series], [0, 1, 2])
    np.testing.assert_allclose(table["value_uncorrected"], series.uncorrected)
    assert "460 of 500" in table["limits"][0]


def test_one_draw_of_the_error_rates_serves_all_generations(monkeypatch: pytest.MonkeyPatch) -> None:
    few = ErrorRates(n_positive=20, n_found=18, n_negative=20, n_false=2, source="this test")
    series = run(monkeypatch, share(few), tables({0: yes(600, 1200), 1: yes(600, 1200)}), [0, 1])
    # 1,200 slots leave little but the error of the rates, and that is one and the same in both generations
    assert np.corrcoef(series.draws.T)[0, 1] > 0.8
    assert series.retention_draws[:, 1].std() < 0.3 * series.draws[:, 1].std() / series.value[1]


def test_the_uncertainty_of_the_error_rates_widens_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    few = ErrorRates(n_positive=25, n_found=23, n_negative=25, n_false=1, source="this test")
    data = tables({0: yes(200, 400)})
    widths = [np.ptp(erosion.interval(run(monkeypatch, share(e), data, [0]).draws)) for e in (few, ERRORS, None)]
    assert widths[0] > 1.3 * widths[1] > 1.3 * widths[2]


def test_a_reading_no_better_than_chance_gives_no_corrected_share(monkeypatch: pytest.MonkeyPatch) -> None:
    coin = ErrorRates(n_positive=30, n_found=18, n_negative=30, n_false=14, source="this test")
    series = run(monkeypatch, share(coin), tables({0: yes(30), 1: yes(10)}), [0, 1])
    for nothing in (series.value, series.draws, series.retention, series.retention_draws, [series.reference]):
        assert np.isnan(nothing).all()
    np.testing.assert_allclose(series.uncorrected, [0.75, 0.25])
    assert "Cannot be corrected" in table_of([series], [0, 1])["limits"][0]


def test_too_few_subjects_give_no_corrected_share_either(monkeypatch: pytest.MonkeyPatch) -> None:
    series = run(monkeypatch, share(ERRORS, n_min=20), tables({0: yes(30), 1: yes(10, 19)}), [0, 1])
    assert math.isnan(series.value[1])
    assert math.isnan(series.uncorrected[1])
    assert np.isnan(series.draws[:, 1]).all()
    assert not np.isnan(series.draws[:, 0]).any()


def test_a_reference_that_may_lie_at_the_floor_has_nothing_to_lose(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of 40 read as cases are what the false ones alone may give."""
    series = run(monkeypatch, share(ERRORS), tables({0: yes(2), 1: yes(20)}), [0, 1])
    assert np.isnan(series.retention).all()
    assert np.isnan(series.retention_draws).all()
    assert not np.isnan(series.value).any()
    lower = run(monkeypatch, share(ERRORS, floor=1.0, direction="lower"), tables({0: yes(2), 1: yes(20)}), [0, 1])
    assert lower.retention[0] == 1  # the same share, far from a floor of all
    assert lower.retention[1] < 0.6


def test_generations_of_one_population_do_not_erode(monkeypatch: pytest.MonkeyPatch) -> None:
    eroded = 0
    for seed in range(40):
        rng = np.random.default_rng([seed, 9])
        data = tables({g: (rng.random(20) < 0.5).astype(float) for g in (0, 1)})
        eroded += state_of(run(monkeypatch, share(ERRORS), data, [0, 1], n=100), [0, 1]) == "eroded"
    assert eroded <= 2


def test_error_rates_are_for_shares_only() -> None:
    with pytest.raises(ValueError, match="shares"):
        replace(share(ERRORS), is_share=False)


def test_a_share_is_declared_and_no_spread() -> None:
    spread = {"statistic": spread_of("face_toy")}
    for changes in ({"bounds": (0.0, 2.0)}, {"resampling": "half"}, {"equal_n": True}, spread):
        with pytest.raises(ValueError, match="no spread"):
            replace(share(), **changes)  # type: ignore[arg-type]
    shares = {t.name for family in families() for t in family.traits if t.is_share}
    assert "iris_openness_spread" not in shares  # its unit is a share of the iris
    assert shares == {
        "catchlight_presence", "catchlight_dolls_eye_share", "face_presence", "hand_presence", "finger_right_count",
        "finger_fused", "finger_mitten", "finger_extra", "finger_missing", "finger_legible",
    }  # fmt: skip


# --------------------------------------------------------------------------- a lost hand


def lineage_tables(expects: dict[int, list[frozenset[str] | None]], hands: dict[int, list[int | None]]) -> Tables:
    """Images with so many hands found (None: the file could not be read), slot i in every generation."""
    generations, outcomes = [], {}
    for generation, counts in hands.items():
        images = []
        for slot, (n, said) in enumerate(zip(counts, expects[generation], strict=True)):
            name = f"{generation}/{slot}.png"
            images.append(ImageRecord(Path(name), name, str(slot), expects=said))
            row = {"n_faces": 0, "n_hands": n, "hand_presence_state": OK, "hand_found": float(bool(n))}
            readings = None if n is None else ImageReadings(image=row)
            outcomes[name] = Outcome(name, "unreadable" if n is None else OK, readings)
        generations.append(Generation(generation, Path(str(generation)), tuple(images)))
    return build_tables(Lineage(Path(), tuple(generations)), outcomes)


def presence(monkeypatch: pytest.MonkeyPatch, data: Tables, generations: list[int]) -> traits.TraitSeries:
    monkeypatch.setattr(traits, "families", lambda: (HAND_PRESENCE,))
    return traits.readings_to_traits(data, generations, 200, seed=0)[0]


def test_a_hand_that_was_asked_for_and_is_not_found_is_an_observation(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [frozenset({"hand"})] * 20
    data = lineage_tables({0: asked, 1: asked}, {0: [1] * 20, 1: [1] * 5 + [0] * 15})
    series = presence(monkeypatch, data, [0, 1])
    np.testing.assert_array_equal(series.n_expected, [20, 20])
    np.testing.assert_array_equal(series.n_measured, [20, 20])
    np.testing.assert_allclose(series.uncorrected, [1, 0.25])
    assert series.value[1] < 0.25  # some of those found are no hands
    assert state_of(series, [0, 1]) == "eroded"


def test_an_unreadable_file_is_no_lost_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [frozenset({"hand"})] * 20
    data = lineage_tables({0: asked, 1: asked}, {0: [1] * 20, 1: [1] * 16 + [None] * 4})
    series = presence(monkeypatch, data, [0, 1])
    np.testing.assert_array_equal(series.n_expected, [20, 20])
    np.testing.assert_array_equal(series.n_measured, [20, 16])
    np.testing.assert_allclose(series.uncorrected, [1, 1])


def test_a_later_picture_of_a_slot_of_its_own_is_held_against_the_reference() -> None:
    nobody = [None] * 20
    data = lineage_tables({0: nobody, 1: nobody}, {0: [1] * 20, 1: [1] * 5 + [0] * 15})
    images = data.images.assign(slot=[f"{g}-{i}" for g in (0, 1) for i in range(20)])
    again = tables_module._with_expectations(images.assign(says_face=pd.NA, says_hand=pd.NA))
    assert list(again["expects_hand"]) == [1] * 40


def test_where_nobody_says_the_slot_in_the_reference_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten slots of which nothing is said, eight with a hand; ten that ask for a face, whatever they show."""
    nobody, face = [None] * 10, [frozenset({"face"})] * 10
    shown = [1] * 8 + [0] * 2
    data = lineage_tables({g: [*nobody, *face] for g in (0, 1)}, {0: shown * 2, 1: [1] * 4 + [0] * 6 + [1] * 10})
    assert list(data.images["expects_hand"]) == (shown + [0] * 10) * 2
    series = presence(monkeypatch, data, [0, 1])
    np.testing.assert_array_equal(series.n_measured, [8, 8])
    np.testing.assert_allclose(series.uncorrected, [1, 0.5])


def test_the_catalogue_tells_sensitivity_and_specificity() -> None:
    errors = HAND_PRESENCE.traits[0].errors
    assert errors is not None
    for text in (traits_text(), traits_markdown()):
        assert f"sensitivity {errors.sensitivity:.3f}" in text
        assert f"specificity {errors.specificity:.3f}" in text


def prepared_spread(calls: list[int]) -> PreparedStatistic:
    def prepare(sample: Sample, reference: Sample):
        calls.append(len(sample))
        values = sample.numbers("face_toy")
        return lambda rows, others: float(np.std(values[rows], ddof=1))

    return PreparedStatistic(prepare)


@pytest.mark.parametrize("resampling", ["bootstrap", "half"])
@pytest.mark.parametrize("equal_n", [False, True])
def test_a_prepared_statistic_tells_what_a_plain_one_does(
    monkeypatch: pytest.MonkeyPatch, resampling: str, equal_n: bool
) -> None:
    rng = np.random.default_rng(5)
    lost = [OK] * 25 + ["pose"] * 15
    data = tables({0: rng.normal(0, 1, N), 1: rng.normal(0, 0.5, N)}, {1: lost})
    calls: list[int] = []
    changes = {"resampling": resampling, "equal_n": equal_n}
    plain, prepared = (
        run(monkeypatch, made, data, [0, 1])
        for made in (trait(**changes), trait(**changes, statistic=prepared_spread(calls)))
    )
    np.testing.assert_array_equal(prepared.value, plain.value)
    np.testing.assert_array_equal(prepared.draws, plain.draws)
    assert prepared.noise_floor == plain.noise_floor
    assert max(calls) == N
    assert len(calls) < 10  # never for every draw


def test_of_too_many_subjects_some_stand_for_all_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    data = tables({0: rng.normal(0, 1, 300), 1: rng.normal(0, 0.5, 300)}, {1: [OK] * 90 + ["pose"] * 210})
    calls: list[int] = []
    bounded, whole = (
        run(monkeypatch, trait(statistic=prepared_spread(calls), n_most=most, resampling="half"), data, [0, 1])
        for most in (100, 300)
    )
    assert max(calls[: len(calls) // 2]) == 100
    assert list(bounded.n_measured) == list(whole.n_measured) == [300, 90]
    np.testing.assert_array_equal(bounded.measured, whole.measured)
    assert list(bounded.n_units) == [100, 90]  # a generation of fewer keeps all
    np.testing.assert_allclose(bounded.value, whole.value, rtol=0.2)
    assert bounded.draws[:, 0].std() > 1.4 * whole.draws[:, 0].std()  # and its interval is that of a hundred
    assert "more than 100" in table_of([bounded], [0, 1])["limits"].iloc[0]
    assert "more than" not in table_of([whole], [0, 1])["limits"].iloc[0]


def test_draws_are_multinomial_counts_and_halves_in_few_bytes() -> None:
    draws = traits.Draws(np.arange(1000) // 2, 300, np.random.default_rng(0))
    assert draws.bootstrap.dtype.itemsize + draws.half.dtype.itemsize <= 3
    same = np.random.default_rng(0).multinomial(500, np.full(500, 1 / 500), size=300)
    np.testing.assert_array_equal(draws.bootstrap[:, ::2], same)
    np.testing.assert_array_equal(draws.bootstrap[:, 1::2], same)
    assert (draws.half.sum(axis=1) == 500).all()
