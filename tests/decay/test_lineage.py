from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from decay.errors import LineageError
from decay.images import write_png
from decay.lineage import REFERENCE_INDEX, Lineage, load_lineage, with_reference

IS_ROOT = os.geteuid() == 0


def fill(folder: Path, *names: str) -> Path:
    """Images by name only: loading a lineage opens none."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def run_of(root: Path, *folders: str) -> Lineage:
    for folder in folders:
        fill(root / folder, "a.png", "b.png")
    return load_lineage(root)


def error_of(root: Path) -> str:
    with pytest.raises(LineageError) as caught:
        load_lineage(root)
    message = str(caught.value)
    assert "expected" in message
    assert "\n" not in message
    return message


# ------------------------------------------------------------------ which folders are generations


@pytest.mark.parametrize(
    ("folders", "indices"),
    [
        (["gen_00", "gen_01", "gen_02"], [0, 1, 2]),
        (["generation-2", "generation-10", "generation-1"], [1, 2, 10]),
        (["iter9", "iter10", "iter11"], [9, 10, 11]),
        (["2", "1", "0"], [0, 1, 2]),
        (["step_000100", "step_000200", "step_001000"], [100, 200, 1000]),
        (["Gen 0", "Gen 1"], [0, 1]),
        (["gen_0_512px", "gen_1_512px"], [0, 1]),
        (["sd14_gen3_v2", "sd14_gen4_v2"], [3, 4]),
        (["lora_v1", "lora_v2"], [1, 2]),
        (["gen_1", "gen-2"], [1, 2]),
        (["epoch=1-loss", "epoch=2-loss"], [1, 2]),
        (["gen_5"], [5]),
    ],
)
def test_folders_of_any_naming_sort_into_generations(tmp_path: Path, folders: list[str], indices: list[int]) -> None:
    lineage = run_of(tmp_path, *folders)
    assert [generation.index for generation in lineage.generations] == indices
    assert all(len(generation.images) == 2 for generation in lineage.generations)
    assert not any("ignored" in note for note in lineage.notes)


def test_other_folders_are_passed_over_and_named(tmp_path: Path) -> None:
    fill(tmp_path / "checkpoints", "model.safetensors")
    fill(tmp_path / "checkpoint-500", "weights.bin")
    fill(tmp_path / "checkpoint-1000", "weights.bin")
    fill(tmp_path / "charts", "a.png")
    fill(tmp_path / "measures", "charts/a.png")
    fill(tmp_path / ".git", "a.png")
    fill(tmp_path, "loose.png")
    lineage = run_of(tmp_path, "gen_00", "gen_01")
    assert [generation.index for generation in lineage.generations] == [0, 1]
    assert lineage.notes == (
        "Folders that are no generation, ignored: charts, checkpoint-500, checkpoint-1000, checkpoints.",
        "1 loose image beside the generations, ignored.",
    )


def test_of_two_series_the_one_with_images_that_says_what_it_is_wins(tmp_path: Path) -> None:
    for number in range(5):
        fill(tmp_path / f"step_{number}", "optimizer.pt")
        fill(tmp_path / f"grid_{number}", "a.png")
    lineage = run_of(tmp_path, "gen_0", "gen_1")
    assert [generation.folder.name for generation in lineage.generations] == ["gen_0", "gen_1"]
    assert any("grid_0" in note and "step_0" in note for note in lineage.notes)


def test_a_copy_of_a_generation_is_none(tmp_path: Path) -> None:
    lineage = run_of(tmp_path, "gen_0", "gen_1", "gen_0_backup", "gen_1_backup")
    assert [generation.folder.name for generation in lineage.generations] == ["gen_0", "gen_1"]


def test_missing_generations_are_said(tmp_path: Path) -> None:
    lineage = run_of(tmp_path, "gen_0", "gen_1", "gen_4", "gen_5")
    assert [generation.index for generation in lineage.generations] == [0, 1, 4, 5]
    assert lineage.notes == ("The numbering of the generations leaves gaps, between 1 and 4.",)


@pytest.mark.parametrize("folders", [["gen_1", "gen_01", "gen_2"], ["gen_1", "gen_99999999999999999999"]])
def test_numbers_that_cannot_be_indices_give_way_to_the_order(tmp_path: Path, folders: list[str]) -> None:
    lineage = run_of(tmp_path, *folders)
    assert [generation.index for generation in lineage.generations] == list(range(len(folders)))
    assert any("count from 0" in note for note in lineage.notes)


def test_the_reference_is_real(tmp_path: Path) -> None:
    fill(tmp_path / "real", "people/r1.jpg", "r2.webp")
    lineage = run_of(tmp_path, "gen_0", "gen_1")
    assert lineage.reference is not None
    assert lineage.reference.index == REFERENCE_INDEX
    assert [image.relative for image in lineage.reference.images] == ["real/people/r1.jpg", "real/r2.webp"]
    assert [generation.index for generation in lineage.generations] == [0, 1]


def test_a_reference_without_images_is_none(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    lineage = run_of(tmp_path, "gen_0", "gen_1")
    assert lineage.reference is None
    assert "real: holds no image." in lineage.notes


# ------------------------------------------------------------------ what is no lineage


def test_a_missing_folder(tmp_path: Path) -> None:
    assert "there is nothing here" in error_of(tmp_path / "none")
    assert "there is nothing here" in error_of(tmp_path / ("n" * 300))


def test_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "x.png").touch()
    assert "found a file" in error_of(tmp_path / "x.png")


def test_loose_images(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "b.jpg", "c.webp", "notes.txt")
    wanted = f"{tmp_path}: expected gen_00/, gen_01/, ...; found 3 loose images. Move them into gen_00/."
    assert error_of(tmp_path) == wanted


def test_an_empty_folder(tmp_path: Path) -> None:
    assert "found an empty folder" in error_of(tmp_path)


def test_folders_without_numbers_are_not_guessed_at(tmp_path: Path) -> None:
    fill(tmp_path / "base", "a.png")
    fill(tmp_path / "portraits_1024", "a.png")
    assert "(base, portraits_1024)" in error_of(tmp_path)


def test_a_folder_of_lineages_names_one_of_them(tmp_path: Path) -> None:
    fill(tmp_path / "lineage_a" / "gen_00", "a.png")
    fill(tmp_path / "lineage_b" / "gen_00", "a.png")
    assert f"`decay measure {tmp_path / 'lineage_a'}`" in error_of(tmp_path)


def test_numbered_lineages_are_no_generations(tmp_path: Path) -> None:
    fill(tmp_path / "run1" / "gen_00", "a.png")
    fill(tmp_path / "run2" / "gen_00", "a.png")
    assert f"`decay measure {tmp_path / 'run1'}`" in error_of(tmp_path)


def test_generations_without_any_image(tmp_path: Path) -> None:
    fill(tmp_path / "gen_0", "notes.txt")
    fill(tmp_path / "gen_1", "a.gif")
    assert "found none in 2 folders" in error_of(tmp_path)


def test_one_empty_generation_stays_and_is_said(tmp_path: Path) -> None:
    (tmp_path / "gen_1").mkdir()
    lineage = run_of(tmp_path, "gen_0", "gen_2")
    assert [len(generation.images) for generation in lineage.generations] == [2, 0, 2]
    assert lineage.notes == ("gen_1: holds no image.",)


def test_many_empty_generations_are_counted_and_countless_ones_refused(tmp_path: Path) -> None:
    for index in range(1001):
        (tmp_path / f"gen_{index:04d}").mkdir()
    with pytest.raises(LineageError, match="at most 1,000 generations; found 1,001"):
        load_lineage(tmp_path)
    (tmp_path / "gen_1000").rmdir()
    fill(tmp_path / "gen_0000", "a.png")
    notes = load_lineage(tmp_path).notes
    assert "989 more generations hold no image." in notes
    assert sum("holds no image" in note for note in notes) == 10


def test_one_generation_only_is_read_and_said(tmp_path: Path) -> None:
    lineage = run_of(tmp_path, "gen_0")
    assert len(lineage.generations) == 1
    assert any("nothing can be seen to erode" in note for note in lineage.notes)


@pytest.mark.skipif(IS_ROOT, reason="root may read everything")
@pytest.mark.parametrize("closed", [".", "gen_1", "gen_1/deep"])
def test_a_folder_without_permission(tmp_path: Path, closed: str) -> None:
    run = tmp_path / "run"
    fill(run / "gen_0", "a.png")
    fill(run / "gen_1", "a.png", "deep/b.png")
    (run / closed).chmod(0)
    try:
        assert "chmod" in error_of(run)
    finally:
        (run / closed).chmod(0o700)


# ------------------------------------------------------------------ images


def test_images_of_all_formats_at_any_depth_in_the_order_of_their_names(tmp_path: Path) -> None:
    fill(tmp_path / "gen_0", "x10.PNG", "x9.jpeg", "b/1.tif", "b/c/d/1.bmp", "X2.webp", "y.gif", "note.txt", ".hid.png")
    fill(tmp_path / "gen_0" / ".cache", "a.png")
    lineage = load_lineage(tmp_path)
    names = ["b/1.tif", "b/c/d/1.bmp", "X2.webp", "x9.jpeg", "x10.PNG"]
    assert [image.relative for image in lineage.generations[0].images] == [f"gen_0/{name}" for name in names]
    assert [image.slot for image in lineage.generations[0].images] == ["b/1", "b/c/d/1", "X2", "x9", "x10"]
    assert all(image.path.is_absolute() and image.path.exists() for image in lineage.generations[0].images)
    assert "gen_0: files of other kinds ignored: 1 .gif." in lineage.notes


def test_the_order_does_not_depend_on_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{stem}{number}.png" for stem in "aBc" for number in range(12)]
    for root, order in (("one", names), ("two", names[::-1])):
        for generation in ("gen_10", "gen_9") if root == "one" else ("gen_9", "gen_10"):
            fill(tmp_path / root / generation, *order)
    monkeypatch.chdir(tmp_path)
    one, two = load_lineage(Path("one")), load_lineage(Path("two"))
    assert [g.index for g in one.generations] == [g.index for g in two.generations] == [9, 10]
    for a, b in zip(one.generations, two.generations, strict=True):
        assert [image.relative for image in a.images] == [image.relative for image in b.images]


def test_the_same_name_is_the_same_slot_in_every_generation(tmp_path: Path) -> None:
    fill(tmp_path / "gen_0", "p/1.png", "p/2.png")
    fill(tmp_path / "gen_1", "p/1.jpg", "p/2.jpg")
    lineage = load_lineage(tmp_path)
    slots = [[image.slot for image in generation.images] for generation in lineage.generations]
    assert slots == [["p/1", "p/2"], ["p/1", "p/2"]]
    assert lineage.notes == ()


def test_names_that_never_match_are_said(tmp_path: Path) -> None:
    fill(tmp_path / "gen_0", "0001.png")
    fill(tmp_path / "gen_1", "0002.png")
    assert any("No slot occurs in two generations" in note for note in load_lineage(tmp_path).notes)


def test_images_that_differ_in_their_suffix_only_have_slots_of_their_own(tmp_path: Path) -> None:
    fill(tmp_path / "gen_0", "a.png", "a.jpg", "b.png")
    lineage = load_lineage(tmp_path)
    assert [image.slot for image in lineage.generations[0].images] == ["a.jpg", "a.png", "b"]
    assert any("suffix" in note for note in lineage.notes)


def test_odd_names_are_names(tmp_path: Path) -> None:
    names = ["né ü 手 🙂.png", "n" * 246 + ".png", "line\nbreak.png", "quote'\".png", "=1+1.png", "a.b.c.png"]
    fill(tmp_path / "gen_0", *names)
    images = load_lineage(tmp_path).generations[0].images
    assert {image.relative for image in images} == {f"gen_0/{name}" for name in names}
    assert {image.slot for image in images} == {name.removesuffix(".png") for name in names}


def test_a_name_that_is_no_unicode_becomes_one_that_tables_can_hold(tmp_path: Path) -> None:
    folder = fill(tmp_path / "gen_0", "a.png")
    try:
        Path(os.fsdecode(os.fsencode(folder) + b"/b\xff.png")).touch()
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    image = load_lineage(tmp_path).generations[0].images[1]
    assert image.relative.encode("utf-8") == rb"gen_0/b\xff.png"
    assert image.path.exists()
    (tmp_path / os.fsdecode(b"portraits\xdb")).mkdir()
    assert any("portraits\\xdb" in note for note in load_lineage(tmp_path).notes)


def test_a_name_composed_otherwise_is_the_same_slot(tmp_path: Path) -> None:
    fill(tmp_path / "gen_0", "caf\u00e9.png")
    fill(tmp_path / "gen_1", "cafe\u0301.png")
    lineage = load_lineage(tmp_path)
    assert [generation.images[0].slot for generation in lineage.generations] == ["caf\u00e9", "caf\u00e9"]


# ------------------------------------------------------------------ links


def test_links_inside_are_followed_and_those_that_lead_out_are_not(tmp_path: Path) -> None:
    run, other = tmp_path / "run", fill(tmp_path / "other", "secret.png")
    fill(run / "gen_0", "a.png")
    (run / "gen_1").symlink_to("gen_0")
    (run / "gen_2").symlink_to(other)
    (run / "gen_0" / "out").symlink_to(other)
    (run / "gen_0" / "secret.png").symlink_to(other / "secret.png")
    lineage = load_lineage(run)
    assert [generation.index for generation in lineage.generations] == [0, 1]
    # A link to one file stays as a row: the reader refuses it with the state `outside`.
    assert [image.relative for image in lineage.generations[0].images] == ["gen_0/a.png", "gen_0/secret.png"]
    assert [image.relative for image in lineage.generations[1].images] == ["gen_1/a.png", "gen_1/secret.png"]
    assert "gen_2: a link that leads out of the lineage; ignored. Put a copy there." in lineage.notes
    assert "gen_0/out: a link that leads out of the lineage; ignored. Put a copy there." in lineage.notes


def test_links_in_circles_end(tmp_path: Path) -> None:
    fill(tmp_path / "gen_0", "a.png", "deep/b.png")
    (tmp_path / "gen_0" / "deep" / "up").symlink_to("..")
    (tmp_path / "gen_0" / "loop").symlink_to("loop")
    assert [image.slot for image in load_lineage(tmp_path).generations[0].images] == ["a", "deep/b"]


# ------------------------------------------------------------------ settings, metadata


def test_settings_are_read_and_malformed_ones_are_the_inputs_fault(tmp_path: Path) -> None:
    assert run_of(tmp_path, "gen_0").settings == {}
    (tmp_path / "lineage.json").write_text('{"engine": "linear", "seed": 3}')
    assert load_lineage(tmp_path).settings == {"engine": "linear", "seed": 3}
    for wrong in ("[1, 2]", "{", "", "[" * 100_000, "\x00"):
        (tmp_path / "lineage.json").write_text(wrong)
        assert "lineage.json: expected a JSON object" in error_of(tmp_path)


def test_metadata_gives_slot_prompt_and_expectation(tmp_path: Path) -> None:
    fill(tmp_path / "gen_0", "1.png", "2.png", "3.png")
    (tmp_path / "gen_0" / "metadata.jsonl").write_text(
        '{"file_name": "1.png", "text": "a portrait of a woman", "seed": 7, "slot": "s", "group": "g", "source": "x"}\n'
        '{"file_name": "2.png", "text": "a portrait of a woman", "expects": ["hand"]}\n'
    )
    one, two, three = load_lineage(tmp_path).generations[0].images
    assert (one.slot, one.prompt, one.group, one.seed, one.source) == ("s", "a portrait of a woman", "g", 7, "x")
    assert one.expects == frozenset({"face"})  # from the prompt
    assert two.expects == frozenset({"hand"})  # said outright
    assert (three.slot, three.prompt, three.seed, three.expects) == ("3", "", None, None)


def test_a_slot_that_the_metadata_shares_on_purpose_is_kept(tmp_path: Path) -> None:
    fill(tmp_path / "gen_0", "1.png", "2.png")
    (tmp_path / "gen_0" / "metadata.csv").write_text("file_name,slot\n1.png,s\n2.png,s\n")
    assert [image.slot for image in load_lineage(tmp_path).generations[0].images] == ["s", "s"]


def test_a_lineage_can_be_sent_to_a_worker(tmp_path: Path) -> None:
    write_png(fill(tmp_path / "gen_0") / "a.png", np.zeros((2, 2, 3), np.uint8))
    lineage = load_lineage(tmp_path)
    assert pickle.loads(pickle.dumps(lineage)) == lineage


@pytest.mark.validation
@pytest.mark.parametrize(
    ("name", "n_generations", "n_images"), [("sd14_retrained", 6, 6), ("autoencoder_cycles", 9, 28)]
)
def test_lineages_made_by_others_just_work(validation_data: Path, name: str, n_generations: int, n_images: int) -> None:
    lineage = load_lineage(validation_data / "lineages" / name)
    assert [generation.index for generation in lineage.generations] == list(range(n_generations))
    assert {len(generation.images) for generation in lineage.generations} == {n_images}
    assert len({frozenset(image.slot for image in generation.images) for generation in lineage.generations}) == 1
    assert lineage.notes == ()


# ------------------------------------------------------------------ a reference that lies elsewhere


def test_any_folder_of_images_can_be_the_reference(tmp_path: Path) -> None:
    fill(tmp_path / "run" / "real", "a.png")
    lineage = run_of(tmp_path / "run", "gen_00", "gen_01")
    museum = fill(tmp_path / "museum", "a.png", "scans/b.jpg", "notes.txt")
    (museum / "metadata.jsonl").write_text('{"file_name": "a.png", "slot": "first"}\n')
    given = with_reference(lineage, museum)
    assert given.reference is not None
    assert [image.relative for image in given.reference.images] == ["reference:a.png", "reference:scans/b.jpg"]
    assert [image.slot for image in given.reference.images] == ["first", "scans/b"]
    assert given.reference.index == REFERENCE_INDEX
    assert given.root_of(REFERENCE_INDEX) == museum
    assert given.root_of(0) == lineage.root == lineage.root_of(REFERENCE_INDEX)
    assert (lineage.reference_name, given.reference_name) == ("real/", "museum/")
    assert run_of(tmp_path / "plain", "gen_3", "gen_4").reference_name == "generation 3"
    assert any("real/ is not used" in note for note in given.notes)


def test_a_reference_without_images_is_refused(tmp_path: Path) -> None:
    lineage = run_of(tmp_path / "run", "gen_00", "gen_01")
    for folder in (fill(tmp_path / "empty"), tmp_path / "missing"):
        with pytest.raises(LineageError, match="expected"):
            with_reference(lineage, folder)
