"""The whole loop, with the linear engine: what is trained on, what is written, what an interruption costs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from decay import provenance
from decay.arms import plan_of
from decay.errors import DecayError, LineageError, ModelError, OutputError
from decay.files import sha256_of, to_json
from decay.images import read_image, write_png
from decay.lineage import load_lineage
from decay.loop.engine import Dataset, Fit, derive_seed
from decay.loop.engines.linear import LinearEngine
from decay.loop.folder import PictureFiles, RunFolder
from decay.loop.protocol import Controls, HeldOut, Parent, Protocol, RealSet, Regime
from decay.loop.reading import resolved
from decay.loop.record import check_folder, read_protocol_of, settings_of
from decay.loop.run import plan, run, slots_of
from decay.loop.scores import score_images
from detectors.trait import Pixels

N_PER_GROUP = 12
SIZE_PX = 12


def make_real(folder: Path, n_per_group: int = N_PER_GROUP, groups: Sequence[str] = ("face",), seed: int = 0) -> Path:
    """Pictures around mid-grey whose pixels vary independently, far from 0 and 255."""
    rng = np.random.default_rng(seed)
    rows = []
    folder.mkdir(parents=True)
    for index in range(n_per_group * len(groups)):
        pixels = np.clip(rng.normal(128, 25, (SIZE_PX, SIZE_PX, 3)), 0, 255).astype(np.uint8)
        write_png(folder / f"{index}.png", pixels)
        rows.append({"file_name": f"{index}.png", "kind": groups[index % len(groups)]})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture
def real(tmp_path: Path) -> Path:
    return make_real(tmp_path / "photographs", groups=("face", "hand"))


def protocol(folder: Path, **changes: object) -> Protocol:
    said: dict[str, object] = {
        "name": "test",
        "real": RealSet(folder, prompt="a picture of a {kind}", group="{kind}"),
        "engine": "linear",
        "iterations": 2,
        "size_px": SIZE_PX,
        "later_from": "noise",
        "first_from": "noise",
    }
    return Protocol(**said | changes)  # type: ignore[arg-type]


def hashes(folder: Path, *, besides: Sequence[str] = ()) -> dict[str, str]:
    """sha256 of every file that a run makes; the log's lines carry the time."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("provenance.jsonl", ".lock", *besides)
    }


def events(folder: Path, kind: str = "") -> list[dict[str, object]]:
    lines = (folder / "provenance.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if kind in ("", event["kind"])]


def spectrum_width(images: Sequence[Pixels]) -> float:
    """exp of the entropy of the covariance spectrum (Roy & Vetterli 2007)."""
    data = np.stack(images).reshape(len(images), -1).astype(float)
    values = np.linalg.svd(data - data.mean(axis=0), compute_uv=False) ** 2
    shares = values[values > 0] / values.sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))


def pictures(run_folder: Path, name: str) -> list[Pixels]:
    return [read_image(path) for path in sorted((run_folder / name).glob("*.png"))]


# --------------------------------------------------------------------------- what is made


def test_a_run_is_a_lineage_with_slots_seeds_prompts_and_groups(real: Path, tmp_path: Path) -> None:
    out = run(protocol(real, seed=5), tmp_path / "run")
    lineage = load_lineage(out)
    assert lineage.notes == ()
    assert [generation.index for generation in lineage.generations] == [0, 1, 2]
    assert lineage.reference is not None
    for generation in (lineage.reference, *lineage.generations):
        assert [image.slot for image in generation.images] == [str(slot) for slot in range(24)]
        assert [image.group for image in generation.images] == ["face"] * 12 + ["hand"] * 12
        assert {image.prompt for image in generation.images} == {"a picture of a face", "a picture of a hand"}
    for generation in lineage.generations:
        assert [image.seed for image in generation.images] == [derive_seed(5, generation.index, s) for s in range(24)]
        assert {image.source for image in generation.images} == {"linear"}


def test_every_fit_sees_what_the_regime_says_and_the_log_has_it_by_hash(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Dataset] = []
    fit = LinearEngine.fit

    def watched(self, dataset, start, circumstances):  # type: ignore[no-untyped-def]
        seen.append(dataset)
        return fit(self, dataset, start, circumstances)

    monkeypatch.setattr(LinearEngine, "fit", watched)
    out = run(protocol(real, regimes=(Regime(kind="mix", synthetic=0.25),)), tmp_path / "run")
    assert len(seen) == 3
    np.testing.assert_array_equal(np.stack(list(seen[0].images)), np.stack(pictures(out, "real")))
    made = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in out.rglob("*.png")}
    for dataset, event in zip(seen, events(out, "fit"), strict=True):
        members = event["training_set"]
        assert isinstance(members, list)
        for member, pixels in zip(members, dataset.images, strict=True):
            path = made[member["sha256"]]
            np.testing.assert_array_equal(read_image(path), pixels)
            assert member["origin"] == ("real" if path.parent.name == "real" else "synthetic")
    for generation in (1, 2):
        members = events(out, "fit")[generation]["training_set"]
        assert isinstance(members, list)
        assert sorted(str(member["generation"]) for member in members) == [str(generation - 1)] * 6 + ["None"] * 18


def test_curated_pictures_are_scored_once_for_each_fit(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[list[Path]] = []

    def watched(images: PictureFiles, score: str) -> NDArray[np.float64]:
        scored.append(list(images.paths))
        return score_images(images, score)

    monkeypatch.setattr("decay.loop.fitting.score_images", watched)
    curated = Regime(kind="curated", keep=0.25, score="image_contrast")
    out = run(protocol(real, regimes=(curated,)), tmp_path / "run")
    assert [paths[0].parent.name for paths in scored] == ["gen_00", "gen_01"]
    for generation in (1, 2):
        scores = score_images(pictures(out, f"gen_{generation - 1:02d}"), curated.score)
        best = [slot for first in (0, 12) for slot in first + np.argsort(-scores[first : first + 12])[:3]]
        wanted = {hashes(out / f"gen_{generation - 1:02d}")[f"slot_{slot:04d}.png"] for slot in best}
        members = events(out, "fit")[generation]["training_set"]
        assert {member["sha256"] for member in members} == wanted  # type: ignore[attr-defined]


def test_collapse_emerges_from_refitting_on_own_samples_and_not_if_all_is_kept(tmp_path: Path) -> None:
    """Nothing in the loop asks for loss; replace narrows the spectrum, accumulate hardly does."""
    width = {}
    for kind in ("replace", "accumulate"):
        widths = []
        for seed in range(3):
            folder = tmp_path / kind / str(seed)
            source = make_real(folder / "real_set", n_per_group=24, seed=seed)
            regimes = (Regime(kind=kind),)  # type: ignore[arg-type]
            out = run(protocol(source, seed=seed, iterations=6, regimes=regimes), folder / "run")
            widths.append([spectrum_width(pictures(out, name)) for name in ("real", "gen_00", "gen_03", "gen_06")])
        width[kind] = np.mean(widths, axis=0)
    assert (np.diff(width["replace"]) < 0).all()
    assert width["replace"][-1] < 0.6 * width["replace"][0]
    assert width["accumulate"][-1] > 0.8 * width["accumulate"][1]


def test_pictures_start_from_noise_from_the_real_ones_or_from_those_before(real: Path, tmp_path: Path) -> None:
    """At strength 0 a picture is drawn close about the one that it starts from."""
    settings = {"strength": 0.0}
    for later, source in (("previous", "gen_00"), ("real", "real")):
        made = protocol(real, engine_settings=settings, iterations=1, first_from="real", later_from=later)
        out = run(made, tmp_path / later)
        far = np.abs(np.stack(pictures(out, "gen_01")).astype(float) - np.stack(pictures(out, source))).mean()
        assert far < 1
        parents = {parent for event in events(out, "image") for parent in event["parents"]}  # type: ignore[attr-defined]
        assert hashlib.sha256((out / source / "slot_0003.png").read_bytes()).hexdigest() in parents
    noise = run(protocol(real, iterations=1), tmp_path / "noise")
    assert all(event["parents"] == [] for event in events(noise, "image"))


def test_same_protocol_same_files_other_seed_others(real: Path, tmp_path: Path) -> None:
    one, again = (run(protocol(real), tmp_path / name) for name in ("one", "again"))
    assert hashes(one, besides=["lineage.json"]) == hashes(again, besides=["lineage.json"])
    other = run(protocol(real, seed=1), tmp_path / "other")
    assert hashes(other)["gen_00/slot_0000.png"] != hashes(one)["gen_00/slot_0000.png"]


def test_the_record_is_complete_and_written_first(real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("decay.loop.run.prepare_real", stop)
    with pytest.raises(KeyboardInterrupt):
        run(protocol(real), tmp_path / "run")
    record = json.loads((tmp_path / "run" / "lineage.json").read_text())
    from_there = replace(protocol(real), init="base", real=replace(protocol(real).real, folder=Path("../photographs")))
    assert record["protocol"] == json.loads(json.dumps(resolved(from_there)))
    assert record["engine"] == {"name": "linear", "n_components": None, "strength": 1.0, "noise": False}
    assert record["groups"] == {"face": 12, "hand": 12}
    assert record["environment"]["packages"]["numpy"] == np.__version__


def test_an_intervention_is_one_more_regime(real: Path, tmp_path: Path) -> None:
    regimes = (Regime(), Regime(since=2, kind="mix", synthetic=0.0))
    out = run(protocol(real, iterations=3, regimes=regimes), tmp_path / "run")
    origins = [{m["origin"] for m in event["training_set"]} for event in events(out, "fit")]  # type: ignore[attr-defined]
    assert origins == [{"real"}, {"synthetic"}, {"real"}, {"real"}]


def test_weights_may_be_let_go_but_not_their_names(real: Path, tmp_path: Path) -> None:
    kept = run(protocol(real), tmp_path / "kept")
    last = run(protocol(real, keep_weights="last"), tmp_path / "last")
    again = run(protocol(real, keep_weights="last"), tmp_path / "last")
    assert [path.name for path in sorted((last / "weights").rglob("weights.npz"))] == ["weights.npz"]
    assert (again / "weights" / "fit_02" / "weights.npz").exists()
    for event in events(last, "fit"):
        assert event["sha256"] in {other["sha256"] for other in events(kept, "fit")}


# --------------------------------------------------------------------------- controls, healing


def test_matched_pictures_are_trained_on_in_place_of_those_made(real: Path, tmp_path: Path) -> None:
    out = run(protocol(real, iterations=1, controls=Controls(colour=True)), tmp_path / "run")
    matched = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (out / "matched" / "gen_00").glob("*.png")}
    members = events(out, "fit")[1]["training_set"]
    assert isinstance(members, list)
    assert {member["sha256"] for member in members} == matched
    derived = events(out, "derived")
    assert len(derived) == 2 * 24
    made = {event["sha256"] for event in events(out, "image")}
    assert all(event["parents"][0] in made for event in derived)  # type: ignore[index]


def test_healing_goes_on_from_the_parents_pictures_and_numbers(real: Path, tmp_path: Path) -> None:
    sick = run(protocol(real, iterations=2), tmp_path / "sick")
    parent = Parent(sick, 2)
    healed = run(protocol(real, iterations=2).healed_from(parent), tmp_path / "healed")
    lineage = load_lineage(healed)
    assert [generation.index for generation in lineage.generations] == [3, 4]
    assert hashes(healed / "real")["slot_0003.png"] == hashes(sick / "real")["slot_0003.png"]
    (fit, _) = events(healed, "fit")
    assert {member["origin"] for member in fit["training_set"]} == {"real"}  # type: ignore[attr-defined]
    mixed = protocol(real, iterations=1, parent=parent, regimes=(Regime(),))
    onward = run(mixed, tmp_path / "onward")
    longer = run(protocol(real, iterations=3), tmp_path / "longer")
    assert hashes(onward / "gen_03") == hashes(longer / "gen_03"), "going on is the same as not having stopped"


# --------------------------------------------------------------------------- interruptions


def killed_after(seconds: float, wanted: Protocol, out: Path) -> bool:
    """Whether a process that runs ``wanted`` was still at it when it was killed."""
    child = os.fork()
    if child == 0:
        run(wanted, out)
        os._exit(0)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if os.waitpid(child, os.WNOHANG) != (0, 0):
            return False
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def test_a_run_killed_at_many_moments_ends_in_the_same_files(real: Path, tmp_path: Path) -> None:
    wanted = protocol(
        real, iterations=3, later_from="previous", controls=Controls(colour=True), keep_weights="last",
        regimes=(Regime(kind="budget"),),
    )  # fmt: skip
    began = time.monotonic()
    whole = run(wanted, tmp_path / "whole")
    n_whole_s = time.monotonic() - began
    out = tmp_path / "killed"
    rng = np.random.default_rng(0)
    n_killed = sum(killed_after(float(rng.uniform(0.0, 0.3)) * n_whole_s, wanted, out) for _ in range(15))
    assert n_killed >= 3
    run(wanted, out)
    assert hashes(out, besides=["lineage.json"]) == hashes(whole, besides=["lineage.json"])
    recorded = [event["path"] for event in events(out) if "path" in event and event["kind"] != "note"]
    assert len(recorded) == len(set(recorded)), "each thing is recorded once"
    assert set(recorded) == {event["path"] for event in events(whole) if "path" in event}


def test_a_picture_that_was_cut_short_is_made_again(real: Path, tmp_path: Path) -> None:
    whole = run(protocol(real, iterations=1), tmp_path / "whole")
    out = run(protocol(real, iterations=1), tmp_path / "run")
    work = out / ".work" / "gen_01"
    work.parent.mkdir()
    (out / "gen_01").rename(work)
    (work / "slot_0003.png").write_bytes((work / "slot_0003.png").read_bytes()[:40])
    (work / "slot_0004.png").unlink()
    run(protocol(real, iterations=1), out)
    assert hashes(out / "gen_01") == hashes(whole / "gen_01")


def test_a_full_disk_is_one_sentence_and_nothing_finished_is_lost(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(protocol(real), tmp_path / "whole")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    out = run(protocol(real, iterations=1), tmp_path / "part")
    (out / "lineage.json").unlink()
    (out / "provenance.jsonl").unlink()
    with pytest.raises(LineageError, match=r"no lineage\.json"):
        run(protocol(real), out)
    out = tmp_path / "out"
    with monkeypatch.context() as disk:
        disk.setattr(np, "savez", full)
        with pytest.raises(OutputError, match="disk is full"):
            run(protocol(real), out)
    assert (out / "real" / "slot_0000.png").exists()
    assert not (out / "weights" / "fit_00").exists()
    run(protocol(real), out)
    assert hashes(out, besides=["lineage.json"]) == hashes(whole, besides=["lineage.json"])


# --------------------------------------------------------------------------- what is refused


def test_another_experiment_in_the_folder_is_named_by_its_first_difference(real: Path, tmp_path: Path) -> None:
    out = run(protocol(real), tmp_path / "run")
    with pytest.raises(LineageError, match=r"protocol\.seed is 0, not 1"):
        run(protocol(real, seed=1), out)
    with pytest.raises(LineageError, match=r"protocol\.iterations is 2, not 3"):
        run(protocol(real, iterations=3), out)


def test_what_lies_elsewhere_is_found_again_from_any_folder(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(protocol(Path(real.name), iterations=1), Path("run"))
    monkeypatch.chdir(real)
    assert read_protocol_of(tmp_path / "run").real.folder.samefile(real)
    (tmp_path / "archive").mkdir()
    for name in ("run", real.name):
        (tmp_path / name).rename(tmp_path / "archive" / name)
    moved = tmp_path / "archive" / "run"
    assert read_protocol_of(moved).real.folder.samefile(tmp_path / "archive" / real.name)
    before = hashes(moved)
    run(protocol(Path("wherever"), iterations=1), moved)
    assert hashes(moved) == before
    said = json.loads((moved / "lineage.json").read_text())
    said["format_version"], said["protocol"]["real"]["folder"] = 2, "as/typed"
    (moved / "lineage.json").write_text(json.dumps(said))
    assert read_protocol_of(moved).real.folder == Path("as/typed"), "of older runs nobody knows from where"


def test_a_model_of_the_quality_control_is_known_by_its_content(real: Path, tmp_path: Path) -> None:
    folder, models = RunFolder(tmp_path / "run"), [tmp_path / name for name in ("a.pt", "b.pt", "c.pt")]
    for path, content in zip(models, ("one", "one", "two"), strict=True):
        path.write_text(content)
    records = []
    for model in models:
        wanted = protocol(real, controls=Controls(quality=True, quality_model=model))
        records.append(settings_of(folder, wanted, LinearEngine(), slots_of(wanted, folder), sha256_of(model)))
    folder.root.mkdir()
    folder.settings.write_text(to_json(records[0]))
    for record in records[:2]:
        check_folder(folder, record)
    with pytest.raises(LineageError, match="its quality_model_sha256 is"):
        check_folder(folder, records[2])
    plans = [plan_of(json.loads(to_json(record))) for record in records]
    assert plans[0] == plans[1] != plans[2]


def test_real_pictures_may_be_gone_once_they_are_prepared(real: Path, tmp_path: Path) -> None:
    out = run(protocol(real), tmp_path / "run")
    before = hashes(out)
    for path in real.iterdir():
        path.unlink()
    run(protocol(real), out)
    assert hashes(out) == before


def test_what_others_put_there_is_not_written_over(real: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(LineageError, match=r"found thesis.txt"):
        run(protocol(real), out)
    assert {path.name for path in out.iterdir()} <= {"thesis.txt", ".lock"}


def test_damaged_weights_are_named(real: Path, tmp_path: Path) -> None:
    out = run(protocol(real, iterations=1), tmp_path / "run")
    (out / "gen_01").rename(tmp_path / "elsewhere")
    path = out / "weights" / "fit_01" / "weights.npz"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"weights.npz: expected the file with sha256"):
        run(protocol(real, iterations=1), out)


def test_too_few_in_a_group_a_missing_column_and_an_empty_prompt_are_named(tmp_path: Path) -> None:
    folder = make_real(tmp_path / "set", groups=("face", "hand"))
    short = RealSet(folder, "{kind}", "{kind}", per_group=13)
    with pytest.raises(DecayError, match="expected 13 real pictures in each group; face has 12, hand has 12"):
        run(protocol(folder, real=short), tmp_path / "a")
    with pytest.raises(DecayError, match="wants the column 'age'"):
        run(protocol(folder, real=RealSet(folder, "a {age} person")), tmp_path / "b")
    with pytest.raises(DecayError, match="expected a prompt"):
        run(protocol(folder, real=RealSet(folder)), tmp_path / "c")
    assert not any((tmp_path / name).exists() for name in "abc")


def test_a_reserve_that_would_run_out_is_said_before_anything_is_made(real: Path, tmp_path: Path) -> None:
    few = RealSet(real, "a {kind}", "{kind}", per_group=8)
    with pytest.raises(DecayError, match="by iteration 2; there are 4"):
        run(protocol(real, real=few, regimes=(Regime(kind="fresh", synthetic=0.5),)), tmp_path / "run")
    assert not (tmp_path / "run").exists(), "else it would be the wrong protocol's"
    enough = protocol(real, real=few, iterations=1, regimes=(Regime(kind="fresh", synthetic=0.5),))
    out = run(enough, tmp_path / "enough")
    originals = [event for event in events(out, "real") if str(event["path"]).startswith("fresh/")]
    slots = [event for event in events(out, "real") if str(event["path"]).startswith("real/")]
    assert len(originals) == 8
    assert not {e["original_sha256"] for e in originals} & {e["original_sha256"] for e in slots}


def test_the_linear_engine_cannot_chain(real: Path, tmp_path: Path) -> None:
    with pytest.raises(DecayError, match='set init = "base"'):
        run(protocol(real, init="chain"), tmp_path / "run")


def test_two_at_once_are_refused(real: Path, tmp_path: Path) -> None:
    from decay.files import run_lock

    out = run(protocol(real, iterations=1), tmp_path / "run")
    with run_lock(out), pytest.raises(OutputError, match="expected to be the only one"):
        run(protocol(real, iterations=1), out)


def test_seeds_are_distinct_repeatable_and_exact_as_doubles() -> None:
    cells = [(a, b, c) for a in range(3) for b in range(7) for c in range(200)]
    seeds = [derive_seed(*cell) for cell in cells]
    assert len(set(seeds)) == len(seeds)
    assert seeds == [derive_seed(*cell) for cell in cells]
    assert all(int(float(seed)) == seed for seed in seeds)


def test_a_dataset_needs_one_caption_per_image() -> None:
    with pytest.raises(ValueError, match="one caption per image"):
        Dataset([np.zeros((2, 2, 3), np.uint8)], ())


def test_an_engine_that_paints_into_pictures_is_not_asked_to_paint_from_noise(real: Path, tmp_path: Path) -> None:
    pytest.importorskip("diffusers", reason="the loop's packages are not installed")
    from decay.loop.engines.flux_fill import FluxFillEngine
    from decay.loop.run import fitted_to

    wanted = protocol(real, engine="flux-fill", first_from="real", later_from="noise")
    with pytest.raises(DecayError, match="later_from"):
        fitted_to(FluxFillEngine(model=str(tmp_path), size_px=64), wanted)


def test_a_score_that_nobody_reads_is_refused_by_the_plan_too(real: Path, tmp_path: Path) -> None:
    wanted = protocol(real, regimes=(Regime(kind="curated", score="beauty"),))
    for begin in (plan, run):
        with pytest.raises(DecayError, match=r"Expected a score .* got 'beauty'"):
            begin(wanted, tmp_path / "run")
    assert not (tmp_path / "run").exists(), "else it would be the wrong protocol's"


def test_what_could_have_no_effect_is_refused(real: Path, tmp_path: Path) -> None:
    shares = Regime(kind="schedule", shares=(0.0, 0.5, 1.0))
    with pytest.raises(DecayError, match=r"at most 2 shares, .* found 3"):
        run(protocol(real, regimes=(shares,)), tmp_path / "many")
    with pytest.raises(DecayError, match=r"at most 1 shares, .* found 3"):
        run(protocol(real, iterations=5, regimes=(shares, Regime(since=2))), tmp_path / "cut")
    run(protocol(real, iterations=3, regimes=(shares,)), tmp_path / "all")
    with pytest.raises(DecayError, match="since = 3"):
        run(protocol(real, regimes=(Regime(), Regime(since=3, kind="accumulate"))), tmp_path / "late")
    with pytest.raises(DecayError, match="cannot answer held-out prompts"):
        run(protocol(real, held_out=HeldOut(("a cow",))), tmp_path / "mute")


# --------------------------------------------------------------------------- what the log says afterwards


def test_the_ancestry_of_a_healed_run_goes_on_in_the_log_of_the_sick_one(real: Path, tmp_path: Path) -> None:
    sick = run(protocol(real, iterations=1), tmp_path / "sick")
    onward = run(protocol(real, iterations=1, parent=Parent(sick, 1)), tmp_path / "onward")
    longer = run(protocol(real, iterations=2), tmp_path / "longer")
    found, expected = (provenance.trace(each / "gen_02" / "slot_0000.png") for each in (onward, longer))
    assert found.depth == expected.depth == (3, 3)
    assert (found.is_bound, found.missing) == (False, None)
    assert "sick/gen_01/slot_0000.png" in provenance.ancestry_text(found)
    sick.rename(tmp_path / "away")
    alone = provenance.trace(onward / "gen_02" / "slot_0000.png")
    assert alone.is_bound
    text = provenance.ancestry_text(alone)
    assert "Lower bounds" in text
    assert "whose log is not there" in text


def test_a_step_that_was_made_again_otherwise_is_recorded_again(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = run(protocol(real, iterations=1), tmp_path / "run")
    shutil.rmtree(out / "gen_01")
    sample = LinearEngine.sample

    def otherwise(self, *rest):  # type: ignore[no-untyped-def]
        return (255 - pixels for pixels in sample(self, *rest))

    monkeypatch.setattr(LinearEngine, "sample", otherwise)
    run(protocol(real, iterations=1), out)
    assert provenance.verify(out).ok
    assert [event["path"] for event in events(out, "image")].count("gen_01/slot_0003.png") == 2
    n_events = len(events(out, "image"))
    run(protocol(real, iterations=1), out)
    assert len(events(out, "image")) == n_events


@pytest.mark.parametrize("of_parent", [False, True])
def test_an_altered_picture_is_not_trained_on(of_parent: bool, real: Path, tmp_path: Path) -> None:
    out = run(protocol(real, iterations=1), tmp_path / "run")
    write_png(out / "gen_00" / "slot_0003.png", np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8))
    for name in ("gen_01", "weights/fit_01"):
        shutil.rmtree(out / name) if not of_parent else None
    wanted = protocol(real, iterations=1, parent=Parent(out, 1)) if of_parent else protocol(real, iterations=1)
    with pytest.raises(LineageError, match=r"slot_0003\.png: expected the sha256 .* It was altered"):
        run(wanted, tmp_path / "onward" if of_parent else out)


def test_a_picture_left_as_it_was_has_the_ancestry_of_its_start(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by an engine that paints parts of pictures anew and finds none in the first."""
    sample = LinearEngine.sample

    def left(self, weights, prompts, seeds, images):  # type: ignore[no-untyped-def]
        made = sample(self, weights, prompts, seeds, images)
        return (images[0] if number == 0 else pixels for number, pixels in enumerate(made))

    def states(self, images):  # type: ignore[no-untyped-def]
        return ("no_face", *["ok"] * (len(images) - 1))

    monkeypatch.setattr(LinearEngine, "sample", left)
    monkeypatch.setattr(LinearEngine, "mask_states", states, raising=False)
    out = run(protocol(real, iterations=1, first_from="real", later_from="previous"), tmp_path / "run")
    unchanged = {event["path"] for event in events(out, "image") if event["extra"] == {"unchanged": True}}
    assert unchanged == {"gen_00/slot_0000.png", "gen_01/slot_0000.png"}
    assert provenance.trace(out / "gen_01" / "slot_0000.png").depth == (0, 0)
    for event in events(out, "fit"):
        assert len(event["training_set"]) == 23  # type: ignore[arg-type]
        assert event["extra"] == {"mask_states": {"no_face": 1, "ok": 23}}


def test_fits_from_base_weights_go_on_from_those_of_generation_0(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def base(self):  # type: ignore[no-untyped-def]
        pixels = [np.full((SIZE_PX, SIZE_PX, 3), value, np.uint8) for value in (90, 110, 140)] * 2
        captions = ["a picture of a face"] * 3 + ["a picture of a hand"] * 3
        return fit(self, Dataset(pixels, tuple(captions)), None, Fit(0, tmp_path))

    starts: list[object] = []
    fit = LinearEngine.fit

    def watched(self, dataset, start, circumstances):  # type: ignore[no-untyped-def]
        starts.append(start)
        return fit(self, dataset, None, circumstances)

    monkeypatch.setattr(LinearEngine, "fit", watched)
    monkeypatch.setattr(LinearEngine, "base", base)
    monkeypatch.setattr(LinearEngine, "has_base", True)
    out = run(protocol(real, keep_weights="last"), tmp_path / "run")
    first, *later = events(out, "fit")
    assert [event["parent"] for event in later] == [first["sha256"]] * 2
    assert len(starts) == 2
    assert None not in starts
    assert (out / "weights" / "fit_00" / "weights.npz").exists()
    assert not (out / "weights" / "fit_01" / "weights.npz").exists()
