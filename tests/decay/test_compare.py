"""Arms side by side: planted delays are found with their size, and nothing is claimed of arms that are alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from decay.arms import Arm, arms_to_traits, check_comparable, common_generations, left_aside, load_arms, paired_draws
from decay.compare import FINDINGS, Comparison, compare, compare_retentions
from decay.control import less_control
from decay.erosion import Retention
from decay.errors import DecayError
from decay.replicates import judge_replicates
from decay.results import publish_comparison
from decay.settings import Rule
from decay.tables import load_tables
from decay.traits import TraitSeries, traits_to_retentions
from decay.verdict import read_finding

GENERATIONS = [0, 1, 2, 3, 4, 5]
FALL, LATER, HOLD = [1, 0.95, 0.6, 0.3, 0.2, 0.2], [1, 1, 1, 0.95, 0.6, 0.3], [1.0] * 6
CLAIMS = ("stopped", "delayed", "hastened")


def arm(
    course: Sequence[float], rng: np.random.Generator, sd: float = 0.04, n_traits: int = 3, n_slots: int = 60
) -> list[Retention]:
    """Traits of two families with this true course: read with an error, and resampled with the same."""
    made = []
    for group in ("eyes", "hands"):
        for nth in range(n_traits):
            value = np.array(course) + rng.normal(0, sd, 6) * (np.arange(6) > 0)
            draws = value + rng.normal(0, sd, (300, 6))
            draws[:, 0] = 1.0
            made.append(Retention(f"{group}_{nth}", f"{group} {nth}", group, value, draws, np.ones(6), n_slots))
    return made


def compared(courses: Mapping[str, Sequence[float]], seed: int, sd: float = 0.04, n_slots: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    arms = {name: arm(course, rng, sd, n_slots=n_slots) for name, course in courses.items()}
    return compare_retentions(arms, GENERATIONS, next(iter(arms)), Rule()).table


def family(table: pd.DataFrame, name: str, arm_name: str) -> pd.Series:
    rows = table[(table["kind"] == "family") & (table["name"] == name) & (table["arm"] == arm_name)]
    return rows.iloc[0]


def test_a_planted_delay_is_found_with_its_size() -> None:
    row = family(compared({"fed": FALL, "mixed": LATER}, 1), "eyes", "mixed")
    assert row["finding"] == "delayed"
    assert row["delay_generations"] == 2
    assert row["delay_low"] <= 2 <= row["delay_high"]
    assert row["p_later"] > 0.95
    assert row["sentence"].startswith("delayed by 2 generations")
    assert "later in all, earlier in 0 % of resamples" in row["sentence"]


def test_the_other_way_round_it_is_earlier() -> None:
    row = family(compared({"mixed": LATER, "fed": FALL}, 1), "eyes", "fed")
    assert row["finding"] == "hastened"
    assert row["delay_generations"] == -2
    assert "earlier by 2 generations" in row["sentence"]


def test_an_arm_that_holds_has_stopped_it() -> None:
    row = family(compared({"fed": FALL, "real_data": HOLD}, 2, sd=0.02), "hands", "real_data")
    assert row["finding"] == "stopped"
    assert math.isinf(row["delay_generations"])
    assert "not eroded within 5 generations" in row["sentence"]
    assert row["delay_low"] == 6 - 2  # it fell at 2, and would have had to at 6, the first generation after the run


def test_an_end_that_nobody_saw_is_said_in_words() -> None:
    table = compared({"real_data": HOLD, "fed": FALL}, 2, sd=0.02)
    row = family(table, "hands", "fed")
    assert row["delay_high"] == 2 - 6
    assert row["sentence"].startswith("earlier by at least 4 generations in fed, from generation 2 on")
    assert not table["sentence"].str.contains("inf").any()


def test_a_family_names_the_trait_of_which_least_is_left() -> None:
    rng = np.random.default_rng(3)
    arms = {"fed": arm(FALL, rng, sd=0.01), "mixed": arm(LATER, rng, sd=0.01)}
    least = arms["mixed"][1]
    arms["mixed"][1] = replace(least, value=least.value - 0.2 * (np.arange(6) > 3))
    table = compare_retentions(arms, GENERATIONS, "fed", Rule()).table
    assert family(table, "eyes", "mixed")["most_eroded"] == "eyes 1"


def test_the_mean_difference_is_that_of_the_courses() -> None:
    table = compared({"fed": FALL, "mixed": LATER}, 4, sd=0.001)
    beside = table[(table["kind"] == "trait") & (table["arm"] == "mixed")]
    assert beside["mean_difference"].to_numpy() == pytest.approx(np.mean(np.subtract(LATER, FALL)[1:]), abs=0.005)


def test_an_arm_that_may_have_eroded_has_not_stopped_it() -> None:
    row = family(compared({"fed": FALL, "real_data": HOLD}, 2, sd=0.08), "hands", "real_data")
    assert row["state"] == "cannot_tell"
    assert row["finding"] == "delayed"
    assert "by at least" in row["sentence"]


def test_arms_that_are_alike_differ_in_nothing() -> None:
    claims = 0
    for seed in range(12):
        table = compared({"a": FALL, "b": FALL, "c": FALL}, seed, sd=0.1)
        claims += int(table["finding"].isin(CLAIMS).any())
    assert claims <= 1


def test_what_could_have_been_shown_is_said() -> None:
    row = family(compared({"a": FALL, "b": FALL}, 3, sd=0.03), "eyes", "b")
    assert row["finding"] == "no_difference"
    assert row["smallest_delay"] == 2 if row["delay_low"] < 0 else 1
    assert f"a delay of {row['smallest_delay']:.0f} would have" in row["sentence"]


def test_a_baseline_that_holds_leaves_nothing_to_delay() -> None:
    row = family(compared({"a": HOLD, "b": HOLD}, 4, sd=0.02), "eyes", "b")
    assert row["finding"] == "neither_eroded"


def test_too_few_slots_claim_nothing() -> None:
    table = compared({"fed": FALL, "real_data": HOLD}, 5, sd=0.02, n_slots=8)
    assert not table["finding"].isin(CLAIMS).any()


def test_an_arm_of_too_few_slots_is_claimed_nothing_of() -> None:
    for baseline in ("fed", "real_data"):
        rng = np.random.default_rng(5)
        arms = {"fed": arm(FALL, rng, sd=0.02), "real_data": arm(HOLD, rng, sd=0.02, n_slots=6)}
        comparison = compare_retentions(arms, GENERATIONS, baseline, Rule())
        assert not comparison.table["finding"].isin(CLAIMS).any()
        (note,) = comparison.record["notes"]
        assert note == "real_data: only 6 slots were measured; nothing is claimed of it, which takes 12."


# --------------------------------------------------------------------------- whatever the unmeasured hold


def survivors(frac_left: Sequence[float], rng: np.random.Generator) -> list[Retention]:
    """An arm that seems to hold: so large a share is still measured, and that shows no fall."""
    return [replace(r, measured=np.array(frac_left)) for r in arm(HOLD, rng, sd=0.02)]


def test_survivors_delay_nothing() -> None:
    rng = np.random.default_rng(6)
    arms = {"fed": arm(FALL, rng, sd=0.02), "same": survivors([1, 0.9, 0.7, 0.5, 0.4, 0.3], rng)}
    table = compare_retentions(arms, GENERATIONS, "fed", Rule()).table
    beside = table[table["arm"] == "same"]
    assert not beside["finding"].isin(CLAIMS).any()
    assert (beside["p_later"] < 0.1).all()  # with the unmeasured lost it falls at 2, as the baseline does
    assert (beside["delay_high"] > 0).all()
    assert (beside["difference_low"] < 0.2).all()
    assert (beside["difference_high"] > 0.7).all()


def test_survivors_of_the_baseline_hasten_nothing() -> None:
    rng = np.random.default_rng(6)
    arms = {"same": survivors([1, 0.9, 0.7, 0.5, 0.4, 0.3], rng), "fed": arm(FALL, rng, sd=0.02)}
    table = compare_retentions(arms, GENERATIONS, "same", Rule()).table
    beside = table[table["arm"] == "fed"]
    assert not beside["finding"].isin(CLAIMS).any()
    assert (beside["p_earlier"] < 0.1).all()
    assert (beside["difference_high"] > -0.2).all()


def test_a_fall_is_counted_from_where_it_is_shown() -> None:
    rng = np.random.default_rng(6)
    fallen = [replace(r, measured=np.array([1, 0.5, 0.5, 0.5, 0.5, 0.5])) for r in arm(FALL, rng, sd=0.02)]
    table = compare_retentions({"fed": fallen, "mixed": arm(LATER, rng, sd=0.02)}, GENERATIONS, "fed", Rule()).table
    row = family(table, "eyes", "mixed")
    assert row["finding"] == "delayed"
    assert row["delay_low"] == 1  # at 2 half of 0.6 and half of 1 would be left, which is no loss beyond the margin


def test_few_unmeasured_hide_no_delay() -> None:
    rng = np.random.default_rng(6)
    most = [replace(r, measured=np.full(6, 0.96)) for r in arm(LATER, rng, sd=0.02)]
    table = compare_retentions({"fed": arm(FALL, rng, sd=0.02), "mixed": most}, GENERATIONS, "fed", Rule()).table
    row = family(table, "eyes", "mixed")
    assert row["finding"] == "delayed"
    assert row["delay_low"] <= row["delay_generations"] == 2


def test_difference_and_loss_have_intervals_around_them() -> None:
    table = compared({"fed": FALL, "mixed": LATER}, 6)
    traits = table[table["kind"] == "trait"]
    assert ((traits["loss_low"] < traits["loss"]) & (traits["loss"] < traits["loss_high"])).all()
    beside = traits[~traits["is_baseline"]]
    assert (
        (beside["difference_low"] < beside["difference"]) & (beside["difference"] < beside["difference_high"])
    ).all()
    assert beside["difference"].mean() == pytest.approx(0.1, abs=0.1)
    assert set(beside["finding"]) <= set(FINDINGS)


def test_more_arms_make_wider_intervals() -> None:
    two = compared({"a": FALL, "b": LATER}, 7)
    many = compared({"a": FALL, "b": LATER, **{f"c{i}": HOLD for i in range(6)}}, 7)
    widths = [
        float((t["difference_high"] - t["difference_low"])[(t["arm"] == "b") & (t["kind"] == "trait")].mean())
        for t in (two, many)
    ]
    assert widths[0] < widths[1]


def test_a_trait_that_one_arm_lacks_is_not_measured() -> None:
    rng = np.random.default_rng(8)
    arms = {"a": arm(FALL, rng), "b": arm(LATER, rng)}
    gone = arms["b"][0]
    empty = Retention(**{**_fields(gone), "value": np.array([1.0, *[np.nan] * 5]), "draws": gone.draws * np.nan})
    arms["b"][0] = empty
    table = compare_retentions(arms, GENERATIONS, "a", Rule()).table
    row = table[(table["name"] == "eyes_0") & (table["arm"] == "b")].iloc[0]
    assert row["finding"] == "not_measured"
    assert family(table, "eyes", "b")["finding"] == "delayed"  # the family's other traits tell


def test_a_family_that_one_arm_lacks_is_named() -> None:
    rng = np.random.default_rng(5)
    whole, handless = arm(FALL, rng), arm(LATER, rng)
    gone = np.full(6, np.nan)
    handless = [replace(r, value=gone, draws=np.full((300, 6), np.nan)) if r.group == "hands" else r for r in handless]
    record = compare_retentions({"fed": whole, "mixed": handless}, GENERATIONS, "fed", Rule()).record
    assert {said["family"] for said in record["sentences"]} == {"eyes"}
    assert record["notes"] == ["Hands: not compared, for no trait of this family was measured in every run."]


def _fields(r: Retention) -> dict[str, object]:
    return {name: getattr(r, name) for name in r.__dataclass_fields__}


# --------------------------------------------------------------------------- draws shared between runs


def frame(*slots: str) -> pd.DataFrame:
    return pd.DataFrame({"slot": slots, "group": [""] * len(slots)})


def test_runs_of_the_same_slots_share_their_draws() -> None:
    slots = [f"{i:02d}" for i in range(20)]
    one, other = paired_draws([frame(*slots), frame(*reversed(slots))], 30, seed=1)
    np.testing.assert_array_equal(one.bootstrap, other.bootstrap)
    np.testing.assert_array_equal(one.half, other.half)


def test_every_run_keeps_its_size_and_shares_what_it_can() -> None:
    first, second = [f"{i:02d}" for i in range(40)], [f"{i:02d}" for i in range(20, 70)]
    one, other = paired_draws([frame(*first), frame(*second)], 50, seed=1)
    assert (one.bootstrap.sum(axis=1) == 40).all()
    assert (other.bootstrap.sum(axis=1) == 50).all()
    np.testing.assert_array_equal(one.bootstrap[:, 20:], other.bootstrap[:, :20])
    assert abs(np.corrcoef(one.bootstrap[:, 0], other.bootstrap[:, 49])[0, 1]) < 0.5


def test_strata_of_few_slots_vary_as_they_should() -> None:
    rng = np.random.default_rng(7)
    slots = np.array([f"{i:03d}" for i in range(100)])
    runs = [np.sort(rng.choice(slots, 50, replace=False)) for _ in range(6)]
    for run, drawn in zip(runs, paired_draws([frame(*run) for run in runs], 800, seed=1), strict=True):
        readings = rng.normal(size=len(run))
        means = drawn.bootstrap @ readings / drawn.bootstrap.sum(axis=1)
        assert means.std() == pytest.approx(readings.std() / np.sqrt(50), rel=0.15)
        assert abs(float(drawn.half.sum(axis=1).mean()) - 25) < 1


def test_a_few_slots_more_join_the_others() -> None:
    first, more = [f"{i:02d}" for i in range(30)], [f"{i:02d}" for i in range(33)]
    one, other = paired_draws([frame(*first), frame(*more)], 400, seed=1)
    np.testing.assert_array_equal(one.bootstrap, other.bootstrap[:, :30])
    assert (other.bootstrap.sum(axis=1) == 33).all()
    assert other.bootstrap[:, 30].std() == pytest.approx(np.sqrt(1 - 1 / 33), rel=0.15)  # alone: multinomial of three


# --------------------------------------------------------------------------- measured runs


def test_tables_come_back_as_they_were_written(arms: Mapping[str, Path]) -> None:
    (arm_read,) = load_arms([arms["fed"]])
    (series,) = arms_to_traits([arm_read], arm_read.n_resamples, arm_read.seed)
    written = pd.read_csv(arms["fed"] / "measures" / "traits.csv").set_index(["trait", "generation"])["retention"]
    for retention in traits_to_retentions(series):
        np.testing.assert_allclose(retention.value, written[retention.name], rtol=1e-9)


def test_the_matrix_of_pairs_is_whole_and_adds_up(arms: Mapping[str, Path]) -> None:
    found = read_finding(arms["fed"])
    order = pd.read_csv(arms["fed"] / "measures" / "order.csv")
    ranked = {"family": set(found.verdict["p_families"]), "trait": set(found.verdict["order"])}
    assert min(len(names) for names in ranked.values()) > 1
    for level, names in ranked.items():
        own = order[order["level"] == level].set_index(["earlier", "later"])
        before, same = own["p_before"].to_dict(), own["p_same"].to_dict()
        assert set(before) == {(a, b) for a in names for b in names if a != b}
        for a, b in before:
            assert same[a, b] == same[b, a]
            assert before[a, b] + before[b, a] + same[a, b] == pytest.approx(1)


def test_faces_without_an_embedding_are_read_back(arms: Mapping[str, Path], tmp_path: Path) -> None:
    for source in (arms["fed"] / "measures").glob("*.parquet"):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    kept = pd.read_parquet(tmp_path / "embeddings.parquet").iloc[1:]
    kept.to_parquet(tmp_path / "embeddings.parquet", index=False)
    faces = load_tables(tmp_path).faces
    assert [len(vector) > 0 for vector in faces["face_embedding"]] == [False] + [True] * (len(faces) - 1)
    assert faces["embedder"].iloc[0] == ""


def test_what_was_planted_is_found_in_pictures(arms: Mapping[str, Path]) -> None:
    comparison = compare(load_arms([arms["real_data"], arms["fed"], arms["mixed"]]), baseline="fed")
    assert comparison.record["baseline"] == "fed"
    traits = comparison.table[comparison.table["name"] == "face_pairwise_distance"].set_index("arm")
    assert traits.loc["mixed", "finding"] == "delayed"
    assert traits.loc["mixed", "delay_generations"] == 1
    assert traits.loc["real_data", "finding"] == "stopped"
    assert family(comparison.table, "image", "mixed")["finding"] == "delayed"
    assert family(comparison.table, "image", "real_data")["finding"] == "stopped"


def test_the_files_are_one_set(arms: Mapping[str, Path], tmp_path: Path) -> None:
    comparison = _of_eyes(compare(load_arms([arms["fed"], arms["real_data"]])))
    names = publish_comparison(comparison, tmp_path / "out")
    assert set(names) == {path.name for path in (tmp_path / "out").iterdir()}
    assert set(names) == {"compare.csv", "compare_courses.csv", "compare.json", "compare.svg", "compare.png"}
    table = pd.read_csv(tmp_path / "out" / "compare.csv")
    assert list(table["arm"].unique()) == ["fed", "real_data"]
    (tmp_path / "out" / "compare.svg").unlink()
    (tmp_path / "out" / "compare.svg").mkdir()
    before = (tmp_path / "out" / "compare.json").read_bytes()
    with pytest.raises(DecayError, match=r"compare\.svg"):
        publish_comparison(comparison, tmp_path / "out")
    assert (tmp_path / "out" / "compare.json").read_bytes() == before
    assert not list((tmp_path / "out").glob(".aside-*"))


def _of_eyes(comparison: Comparison) -> Comparison:
    """One family's rows and lines only: fewer panels to draw."""
    table, courses = (frame[frame["name"] == "eyes"] for frame in (comparison.table, comparison.courses))
    return replace(comparison, table=table, courses=courses)


def test_runs_that_cannot_be_compared_are_refused(arms: Mapping[str, Path], tmp_path: Path) -> None:
    fed, mixed = load_arms([arms["fed"], arms["mixed"]])
    with pytest.raises(DecayError, match="different versions of the detectors"):
        compare([fed, type(mixed)(**{**vars(mixed), "reader": "another"})])
    with pytest.raises(DecayError, match="same pictures"):
        compare([fed, type(mixed)(**{**vars(mixed), "compared_with_pictures": True})])
    with pytest.raises(DecayError, match="one of fed, mixed; got nobody"):
        compare([fed, mixed], baseline="nobody")
    with pytest.raises(DecayError, match="given twice"):
        load_arms([arms["fed"], arms["fed"]])
    with pytest.raises(DecayError, match="at least two runs"):
        compare([fed])
    with pytest.raises(DecayError, match="decay measure"):
        load_arms([tmp_path])
    with pytest.raises(DecayError, match="at least two generations"):
        common_generations([fed, type(mixed)(**{**vars(mixed), "generations": (0, 7)})])


def with_pictures(run: Arm, *sha256: str) -> Arm:
    """The run as if it had been compared with these pictures."""
    images = run.tables.images
    pictures = images.head(len(sha256)).assign(generation=-1, slot=[f"reference:{s}" for s in sha256], sha256=sha256)
    tables = replace(run.tables, images=pd.concat([pictures, images], ignore_index=True))
    return replace(run, tables=tables, compared_with_pictures=True, reference="ref/")


def test_runs_compared_with_different_pictures_are_refused(arms: Mapping[str, Path]) -> None:
    fed, mixed = load_arms([arms["fed"], arms["mixed"]])
    one = with_pictures(fed, "a", "b")
    check_comparable([one, with_pictures(mixed, "b", "a")])
    check_comparable([fed, mixed])  # each with its own first generation
    other = with_pictures(mixed, "a", "c", "d")
    with pytest.raises(DecayError, match=r"mixed .* 3 pictures of ref/, fed with 2 pictures of ref/.* not the same"):
        compare([one, other])
    with pytest.raises(DecayError, match="not the same pictures"):
        judge_replicates([one, other])
    with pytest.raises(DecayError, match="not the same pictures"):
        arms_to_traits([one, other], 10, 0)


def test_what_is_not_used_is_said_in_one_line(arms: Mapping[str, Path]) -> None:
    fed, mixed = load_arms([arms["fed"], arms["mixed"]])
    assert left_aside([fed, mixed]) == []
    (said,) = left_aside([replace(fed, control="c"), replace(mixed, n_repeated=60)])
    assert "--control and --repeat" in said
    assert said in compare([fed, replace(mixed, control="c", n_repeated=60)]).record["notes"]


# --------------------------------------------------------------------------- a control arm


def series_of(runs: Sequence[Path]) -> tuple[tuple[TraitSeries, ...], ...]:
    return arms_to_traits(load_arms(runs), 40, 0)


def test_a_control_that_drifts_alike_leaves_nothing(arms: Mapping[str, Path]) -> None:
    own, control = series_of([arms["fed"], arms["mixed"]])
    adjusted = {s.trait.name: s for s in less_control(own, [0, 1, 2], control, [0, 1, 2], "mixed")}
    distance = adjusted["face_pairwise_distance"]
    np.testing.assert_allclose(distance.retention, [1, 0, 1], atol=0.02)  # at 2 both have collapsed
    assert np.median(distance.retention_draws[:, 2]) == pytest.approx(1, abs=0.1)  # but for a slot that nobody saw
    assert distance.control == "mixed"


def test_a_control_that_holds_changes_nothing(arms: Mapping[str, Path]) -> None:
    own, control = series_of([arms["fed"], arms["real_data"]])
    for before, after in zip(own, less_control(own, [0, 1, 2], control, [0, 1, 2], "c"), strict=True):
        np.testing.assert_allclose(after.retention, before.retention, atol=1e-9)


def test_generations_that_the_control_lacks_are_not_measured(arms: Mapping[str, Path]) -> None:
    own, control = series_of([arms["fed"], arms["real_data"]])
    for after in less_control(own, [0, 1, 7], control, [0, 1, 2], "c"):
        assert np.isnan(after.retention[2])
        assert np.isnan(after.retention_draws[:, 2]).all()
