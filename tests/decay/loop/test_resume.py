"""What a run that goes on relies on of what is there already: nothing that is not as its log has it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from decay import provenance
from decay.errors import DecayError, LineageError
from decay.images import write_png
from decay.loop.folder import PictureFiles
from decay.loop.protocol import Controls, Protocol, RealSet, Regime
from decay.loop.record import Record
from decay.loop.run import run
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
