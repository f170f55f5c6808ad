"""What a run that goes on relies on of what is there already: nothing that is not as its log has it."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from decay import provenance
from decay.cli import app
from decay.errors import DecayError, LineageError, ModelError
from decay.images import write_png
from decay.loop.folder import PictureFiles
from decay.loop.protocol import Controls, Parent, Protocol, RealSet, Regime
from decay.loop.record import Record
from decay.loop.run import plan, run
from decay.loop.scores import score_images

FRESH = Regime(kind="fresh", synthetic=0.0)
COLOUR = Controls(colour=True)
SIZE_PX = 8


@pytest.fixture
def real(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    rows = []
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
        write_png(folder / f"{number:02d}.png", pixels)
        rows.append({"file_name": f"{number:02d}.png", "text": "a face"})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def protocol(folder: Path, **changes: object) -> Protocol:
    said: dict[str, object] = {"name": "t", "engine": "linear", "iterations": 2, "size_px": SIZE_PX}
    return Protocol(**said | {"real": RealSet(folder, per_group=4)} | changes)  # type: ignore[arg-type]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def events(folder: Path, kind: str) -> list[dict[str, object]]:
    lines = (folder / "provenance.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["kind"] == kind]


def trained_on(folder: Path, generation: int) -> set[str]:
    (event,) = (each for each in events(folder, "fit") if each["generation"] == generation)
    return {member["sha256"] for member in event["training_set"]}  # type: ignore[attr-defined]


def remove(out: Path, *names: str) -> None:
    for name in names:
        shutil.rmtree(out / name)


# --------------------------------------------------------------------------- its own steps


def test_the_log_has_what_a_fit_saw_also_if_it_would_be_chosen_otherwise_by_now(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = protocol(real, iterations=1, regimes=(Regime(kind="curated", keep=0.5, score="image_contrast"),))
    whole = run(wanted, tmp_path / "whole")

    def stop(self: Record, generation: int) -> None:
        if generation == 1:
            raise KeyboardInterrupt

    def otherwise(images: PictureFiles, score: str) -> NDArray[np.float64]:
        return -score_images(images, score)

    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(Record, "weights", stop)
        with pytest.raises(KeyboardInterrupt):
            run(wanted, out)
    monkeypatch.setattr("decay.loop.fitting.score_images", otherwise)
    run(wanted, out)
    assert len(trained_on(out, 1)) == 2
    assert trained_on(out, 1) == trained_on(whole, 1)


@pytest.mark.parametrize("place", ["fresh/fit_01", "matched/gen_01", "gen_01", "real"])
def test_metadata_that_were_cut_short_or_altered_are_not_gone_by(place: str, real: Path, tmp_path: Path) -> None:
    wanted = protocol(real, regimes=(FRESH,), controls=COLOUR)
    out = run(wanted, tmp_path / "run")
    remove(out, "gen_02", "weights/fit_02", "fresh/fit_02", "matched/gen_02")
    table = out / place / "metadata.jsonl"
    whole = table.read_text()
    lines = whole.splitlines(keepends=True)
    for damaged in ("".join(lines[:2]), whole[:-30], "", whole.replace('"slot": 1', '"slot": 2'), "[1]\n"):
        table.write_text(damaged.replace("a face", "a hand") if place in ("real", "fresh/fit_01") else damaged)
        with pytest.raises(DecayError, match="metadata"):
            run(wanted, out)
    table.unlink()
    with pytest.raises(DecayError, match="metadata"):
        run(wanted, out)
    table.write_text(whole)
    run(wanted, out)
    fresh = [{event["original_sha256"] for event in events(out, "real") if name in str(event["path"])}
             for name in ("real/", "fit_01", "fit_02")]  # fmt: skip
    assert len(set.union(*fresh)) == 12, "fresh pictures are fresh"
    assert provenance.verify(out).ok


@pytest.mark.parametrize("place", ["matched/gen_00", "gen_00"])
def test_a_picture_that_is_missing_is_named_and_nothing_taken_in_its_place(
    place: str, real: Path, tmp_path: Path
) -> None:
    wanted = protocol(real, controls=COLOUR)
    out = run(wanted, tmp_path / "run")
    before = {name: sha256(out / name) for name in ("gen_01/slot_0000.png", "gen_02/slot_0003.png")}
    remove(out, "gen_01", "weights/fit_01", "matched/gen_01")
    (out / place / "slot_0002.png").unlink()
    with pytest.raises(LineageError, match=rf"{place}.slot_0002\.png"):
        run(wanted, out)
    remove(out, place)
    run(wanted, out)
    assert {name: sha256(out / name) for name in before} == before, "made again, it is the same"


def test_fresh_pictures_of_a_fit_that_stays_must_stay(real: Path, tmp_path: Path) -> None:
    wanted = protocol(real, regimes=(FRESH,))
    out = run(wanted, tmp_path / "run")
    before = sha256(out / "gen_02" / "slot_0000.png")
    remove(out, "gen_02", "weights/fit_02", "fresh/fit_02", "fresh/fit_01")
    with pytest.raises(LineageError, match=r"fresh.fit_01: expected the real pictures"):
        run(wanted, out)
    remove(out, "weights/fit_01", "gen_01")
    run(wanted, out)
    assert sha256(out / "gen_02" / "slot_0000.png") == before


@pytest.mark.parametrize("empty", [False, True])
def test_a_log_that_is_gone_is_not_begun_anew_over_what_is_there(empty: bool, real: Path, tmp_path: Path) -> None:
    wanted = protocol(real)
    out = run(wanted, tmp_path / "run")
    log = out / "provenance.jsonl"
    kept = log.read_bytes()
    log.write_bytes(b"") if empty else log.unlink()
    with pytest.raises(LineageError, match=r"provenance\.jsonl: expected the log of what is there"):
        run(wanted, out)
    log.write_bytes(kept)
    run(wanted, out)


# --------------------------------------------------------------------------- the run that it goes on from


def test_another_run_in_the_place_of_the_parent_is_refused_the_same_elsewhere_is_not(
    real: Path, tmp_path: Path
) -> None:
    one = run(protocol(real), tmp_path / "one")
    other = run(protocol(real, regimes=(Regime(kind="mix", synthetic=0.5),)), tmp_path / "other")
    wanted = protocol(real, iterations=1, parent=Parent(one, 2), regimes=(Regime(kind="mix", synthetic=0.0),))
    out = run(wanted, tmp_path / "healed")
    with pytest.raises(LineageError, match=r"parent\.settings_sha256"):
        run(replace(wanted, parent=Parent(other, 2)), out)
    with pytest.raises(LineageError, match=r"parent\.settings_sha256"):
        plan(replace(wanted, parent=Parent(other, 2)), out)
    moved = tmp_path / "moved"
    one.rename(moved)
    run(replace(wanted, parent=Parent(moved, 2)), out)
    manifest = moved / "weights" / "fit_02" / "manifest.json"
    said = json.loads(manifest.read_text())
    said["files"]["weights.npz"]["sha256"] = "0" * 64
    manifest.write_text(json.dumps(said))
    with pytest.raises(LineageError, match=r"parent\.weights_sha256"):
        run(replace(wanted, parent=Parent(moved, 2)), out)


def test_a_run_goes_on_under_the_controls_of_the_pictures_that_it_is_trained_on(real: Path, tmp_path: Path) -> None:
    plain = run(protocol(real), tmp_path / "plain")
    matched = run(protocol(real, controls=COLOUR), tmp_path / "matched")
    onward = protocol(real, iterations=1, parent=Parent(plain, 2), controls=COLOUR)
    for wanted in (onward, replace(onward, parent=Parent(matched, 2), controls=Controls())):
        for do in (plan, run):
            with pytest.raises(DecayError, match="colour = "):
                do(wanted, tmp_path / "onward")
    assert not (tmp_path / "onward" / "lineage.json").exists()
    healed = run(onward.healed_from(Parent(plain, 2)), tmp_path / "healed")
    assert (healed / "matched" / "gen_03").is_dir(), "nothing of the run before is trained on"
    longer = run(protocol(real, iterations=3, controls=COLOUR), tmp_path / "longer")
    going_on = replace(onward, parent=Parent(matched, 2))
    assert trained_on(run(going_on, tmp_path / "going_on"), 3) == trained_on(longer, 3)
    remove(matched, "matched/gen_02")
    with pytest.raises(LineageError, match=r"matched.gen_02.slot_0000\.png: expected it in the run"):
        run(going_on, tmp_path / "later")
    assert not (tmp_path / "later" / "lineage.json").exists()


# --------------------------------------------------------------------------- the quality control


@pytest.fixture
def network(tmp_path: Path) -> Path:
    torch = pytest.importorskip("torch", reason="the loop's packages are not installed")
    path = tmp_path / "same.pt"
    torch.jit.script(torch.nn.Identity()).save(str(path))
    return path


def test_the_quality_control_is_recorded_and_its_network_known_by_content(
    real: Path, network: Path, tmp_path: Path
) -> None:
    controls = Controls(quality=True, quality_model=network, quality_attempts=1)
    wanted = protocol(real, controls=controls, later_from="real", engine_settings={"strength": 0.5})
    out = run(wanted, tmp_path / "run")
    assert json.loads((out / "lineage.json").read_text())["quality_model_sha256"] == sha256(network)
    notes = [event["data"] for event in events(out, "note") if event["text"] == "quality control"]
    assert [note["path"] for note in notes] == [f"replaced/gen_{g:02d}" for g in range(3)]  # type: ignore[index]
    again = [event["extra"] for event in events(out, "image") if str(event["path"]).startswith("replaced/")]
    assert again
    for extra in again:
        assert set(extra) == {"attempt", "sifid", "sifid_before", "sifid_limit"}  # type: ignore[call-overload]
        assert extra["sifid"] < extra["sifid_before"]  # type: ignore[index]
    limits = {note["sifid_limit"] for note in notes} | {extra["sifid_limit"] for extra in again}  # type: ignore[index]
    assert len(limits) == 1
    assert all(min(note["too_far"].values(), default=np.inf) > min(limits) for note in notes)  # type: ignore[index]
    moved = network.rename(tmp_path / "moved.pt")
    run(replace(wanted, controls=replace(controls, quality_model=moved)), out)
    with moved.open("ab") as stream:
        stream.write(b" ")
    with pytest.raises(LineageError, match="quality_model_sha256"):
        run(replace(wanted, controls=replace(controls, quality_model=moved)), out)


# --------------------------------------------------------------------------- what can fail, fails first


def test_what_is_refused_leaves_nothing_that_would_block_its_correction(real: Path, tmp_path: Path) -> None:
    few = protocol(real, iterations=3, regimes=(FRESH,))
    nameless = protocol(real, regimes=(Regime(kind="curated", score="nope"),))
    lost = protocol(real, controls=Controls(quality=True, quality_model=tmp_path / "none.pt"))
    out = tmp_path / "run"
    for wanted, error, words in ((few, DecayError, "there are 8"), (nameless, DecayError, "'nope'")):
        for do in (plan, run):
            with pytest.raises(error, match=words):
                do(wanted, out)
    pytest.importorskip("torch", reason="the loop's packages are not installed")
    with pytest.raises(ModelError, match=r"none\.pt"):
        run(lost, out)
    assert "none.pt" in plan(lost, out).missing
    assert not (out / "lineage.json").exists()
    run(protocol(real), out)


def test_every_arm_is_looked_at_before_the_first_is_begun(real: Path, tmp_path: Path) -> None:
    arms = '[[arm]]\nname = "a"\n[[arm]]\nname = "b"\nregime = [{kind = "curated", score = "nope"}]\n'
    text = f'name = "t"\niterations = 1\nsize_px = {SIZE_PX}\n[real]\nfolder = "{real.name}"\n'
    (tmp_path / "sweep.toml").write_text(text + '[engine]\nname = "linear"\n' + arms)
    done = CliRunner().invoke(app, ["run", str(tmp_path / "sweep.toml"), "--sweep", "--out", str(tmp_path / "runs")])
    assert done.exit_code == 1
    assert "'nope'" in done.output
    assert not (tmp_path / "runs").exists()
