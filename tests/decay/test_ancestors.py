"""A run that goes on from another has that one's generations before its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from decay.ancestors import ancestors_of, place_of, with_ancestors
from decay.images import read_bytes_and_hash
from decay.lineage import load_lineage


def a_run(root: Path, generations: range, parent: Path | None = None, last: int = 0) -> Path:
    """Two pictures a generation, as `decay run` leaves them."""
    for generation in generations:
        folder = root / f"gen_{generation:02d}"
        folder.mkdir(parents=True)
        for slot in range(2):
            grey = np.full((8, 8), 16 * generation + slot, np.uint8)
            Image.fromarray(grey).save(folder / f"slot_{slot:04d}.png")
    above = {} if parent is None else {"parent": {"run": f"../{parent.name}", "generation": last}}
    (root / "lineage.json").write_text(json.dumps({"source": "decay run", "protocol": above}))
    return root


@pytest.fixture
def healed(tmp_path: Path) -> Path:
    """Generations 0 to 3; 3 and 4 after 2 of those; 5 after 4 of these."""
    sick = a_run(tmp_path / "sick", range(4))
    child = a_run(tmp_path / "child", range(3, 5), sick, 2)
    return a_run(tmp_path / "grandchild", range(5, 6), child, 4)


def test_the_course_is_whole_and_each_generation_is_that_which_was_gone_on_from(healed: Path) -> None:
    lineage = with_ancestors(load_lineage(healed))
    assert [g.index for g in lineage.generations] == [0, 1, 2, 3, 4, 5]
    assert [g.folder.parent.name for g in lineage.generations] == ["sick"] * 3 + ["child"] * 2 + ["grandchild"]
    names = [g.images[0].relative for g in lineage.generations]
    assert names[2:] == ["sick:gen_02/slot_0000.png", "child:gen_03/slot_0000.png", "child:gen_04/slot_0000.png",
                         "gen_05/slot_0000.png"]  # fmt: skip
    for generation in lineage.generations:
        assert generation.images[0].path.is_relative_to(lineage.root_of(generation.index))


def test_held_out_prompts_have_the_same_course(healed: Path) -> None:
    for name in ("sick", "child", "grandchild"):
        (healed.parent / name / "held_out").mkdir()
        for folder in (healed.parent / name).glob("gen_*"):
            shutil.copytree(folder, healed.parent / name / "held_out" / folder.name)
    lineage = with_ancestors(load_lineage(healed / "held_out"))
    assert [g.index for g in lineage.generations] == [0, 1, 2, 3, 4, 5]
    assert [g.folder.parent.parent.name for g in lineage.generations] == ["sick"] * 3 + ["child"] * 2 + ["grandchild"]
    for generation in lineage.generations:
        for record in generation.images:
            root, inside = place_of(healed / "held_out", record.relative)
            assert (root / inside).samefile(record.path)
    shutil.rmtree(healed.parent / "child" / "held_out")
    assert [g.index for g in with_ancestors(load_lineage(healed / "held_out")).generations] == [0, 1, 2, 5]


def test_a_picture_is_found_again_by_its_name_in_the_tables(healed: Path) -> None:
    for generation in with_ancestors(load_lineage(healed)).generations:
        for record in generation.images:
            root, inside = place_of(healed, record.relative)
            assert (root / inside).samefile(record.path)
            read_bytes_and_hash(root / inside, within=root)
    assert place_of(healed, "sick:../secret.png") == (healed, "sick:../secret.png")
    assert place_of(healed, "nobody:gen_00/slot_0000.png")[0] == healed


def test_a_run_that_goes_on_from_nothing_is_as_it_was(tmp_path: Path) -> None:
    lineage = load_lineage(a_run(tmp_path / "sick", range(2)))
    assert with_ancestors(lineage) == lineage


def test_parents_that_are_gone_or_go_round_end_the_search(healed: Path) -> None:
    (healed.parent / "sick" / "lineage.json").unlink()
    assert [place.name for place, _ in ancestors_of(healed)] == ["child"]
    round_about = {"protocol": {"parent": {"run": "../grandchild", "generation": 5}}}
    (healed.parent / "child" / "lineage.json").write_text(json.dumps(round_about))
    assert [place.name for place, _ in ancestors_of(healed)] == ["child"]
    (healed / "lineage.json").write_text(json.dumps({"protocol": {"parent": {"run": 3, "generation": "x"}}}))
    assert ancestors_of(healed) == []


@pytest.mark.parametrize("named", ["a\0b", "\ud800", "x" * 5000, "", "."])
def test_a_parent_that_no_folder_can_be_named_is_none(named: str, tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", range(2))
    (run / "lineage.json").write_text(json.dumps({"protocol": {"parent": {"run": named, "generation": 0}}}))
    assert ancestors_of(run) == []
