from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from decay.demo import make_demo
from decay.errors import DecayError, OutputError
from decay.images import read_image
from decay.lineage import load_lineage
from decay.loop.engine import derive_seed

TINY: dict[str, Any] = {"n_faces": 3, "n_hands": 2, "size_px": 64, "n_generations": 3}


def files(folder: Path) -> dict[str, bytes]:
    """What a demo makes; its log and its settings carry the time and the folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (".lock", "provenance.jsonl", "lineage.json")
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo(tmp_path_factory.mktemp("demo") / "new" / "run", seed=5, **TINY)


def test_it_is_a_lineage_whose_slots_run_through_all_generations(made: Path) -> None:
    lineage = load_lineage(made)
    assert lineage.notes == ()
    assert [generation.index for generation in lineage.generations] == [0, 1, 2]
    assert lineage.reference is not None
    for generation in (lineage.reference, *lineage.generations):
        assert [image.slot for image in generation.images] == ["0", "1", "2", "3", "4"]
        assert [image.group for image in generation.images] == ["face"] * 3 + ["hand"] * 2
        assert [image.expects for image in generation.images] == [
            frozenset({image.group}) for image in generation.images
        ]
        assert {image.source for image in generation.images} == {"phantom" if generation.index < 0 else "linear"}
        assert all(read_image(image.path).shape == (64, 64, 3) for image in generation.images)


def test_every_picture_has_a_seed_of_its_own_that_is_written_beside_it(made: Path) -> None:
    lineage = load_lineage(made)
    seeds = [[image.seed for image in generation.images] for generation in lineage.generations]
    assert seeds == [[derive_seed(5, generation, slot) for slot in range(5)] for generation in range(3)]
    assert lineage.reference is not None
    assert len({*(image.seed for image in lineage.reference.images), *(seed for row in seeds for seed in row)}) == 20


def test_the_settings_are_written_down(made: Path) -> None:
    settings = json.loads((made / "lineage.json").read_text(encoding="utf-8"))
    assert settings["groups"] == {"face": 3, "hand": 2}
    said = settings["protocol"]
    assert (said["seed"], said["size_px"], said["iterations"], said["later_from"]) == (5, 64, 2, "previous")
    assert settings["engine"] == {"name": "linear", "n_components": None, "strength": 0.5, "noise": False}


def test_a_generation_knows_nothing_but_the_pictures_before_it(made: Path) -> None:
    """Two hands span one line of pictures, and a hand of generation 0 lies on the line through those two."""
    line = [read_image(made / "real" / f"slot_000{slot}.png").astype(float).ravel() for slot in (3, 4)]
    mean, axis = (line[0] + line[1]) / 2, (line[1] - line[0]) / np.linalg.norm(line[1] - line[0])
    first = read_image(made / "gen_00" / "slot_0003.png").astype(float).ravel() - mean
    inside = (first > -mean) & (first < 255 - mean)  # clipped pixels leave the line
    residual = (first - (first @ axis) * axis)[inside]
    assert np.abs(first).max() > 5
    assert np.sqrt(np.mean(residual**2)) < 0.35 * np.sqrt(np.mean(first[inside] ** 2))


def test_same_seed_same_files_other_seed_others(made: Path, tmp_path: Path) -> None:
    assert files(make_demo(tmp_path / "again", seed=5, **TINY)) == files(made)
    other = files(make_demo(tmp_path / "other", seed=6, n_faces=2, n_hands=0, size_px=64, n_generations=1))
    assert other["real/slot_0000.png"] != files(made)["real/slot_0000.png"]


def test_progress_names_each_generation_and_ends_full(tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    out = tmp_path / "run"
    out.mkdir()  # an empty folder is as good as none
    make_demo(out, n_faces=2, n_hands=0, size_px=64, n_generations=2, progress=lambda *step: steps.append(step))
    assert dict.fromkeys(what for what, _, _ in steps) == dict.fromkeys(
        ["drawings", "fit 0", "generation 0", "fit 1", "generation 1"]
    )
    last = {what: (done, total) for what, done, total in steps}
    assert all(done == total for done, total in last.values())


@pytest.mark.parametrize("held", ["a file", "a folder"])
def test_what_is_there_is_never_touched(tmp_path: Path, held: str) -> None:
    out = tmp_path / "run"
    kept = out if held == "a file" else out / "mine.txt"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("mine")
    with pytest.raises(DecayError, match="Choose another folder"):
        make_demo(out, **TINY)
    assert files(tmp_path) == {kept.relative_to(tmp_path).as_posix(): b"mine"}


@pytest.mark.parametrize(
    "wrong", [{"n_faces": 1}, {"n_hands": 1}, {"n_hands": -1}, {"size_px": 8}, {"n_generations": 0}, {"seed": -1}]
)
def test_numbers_that_make_no_sense_are_named(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(DecayError, match="must be"):
        make_demo(tmp_path / "run", **{**TINY, **wrong})
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OutputError, match="disk is full"):
        make_demo(tmp_path / "run", n_faces=2, n_hands=0, size_px=64, n_generations=1)
    assert list((tmp_path / "run").iterdir()) == []
