"""The RO-Crate: everything that is referred to is there, every file is the one that the log names."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from decay import provenance
from decay.errors import DecayError, LineageError, OutputError
from decay.provenance.crate import METADATA_NAME, export

Entities = dict[str, dict[str, Any]]


def entities(folder: Path) -> Entities:
    metadata = json.loads((folder / METADATA_NAME).read_text(encoding="utf-8"))
    assert metadata["@context"][0] == "https://w3id.org/ro/crate/1.1/context"
    graph = metadata["@graph"]
    assert len({each["@id"] for each in graph}) == len(graph)
    return {each["@id"]: each for each in graph}


def references(value: object) -> set[str]:
    """Every ``{"@id": ...}`` below an entity."""
    if isinstance(value, list):
        return {each for item in value for each in references(item)}
    return {str(value["@id"])} if isinstance(value, dict) else set()


def ids(value: list[dict[str, str]]) -> list[str]:
    return [each["@id"] for each in value]


def test_the_crate_has_the_form_of_the_specification(run: Path, tmp_path: Path) -> None:
    assert export(run, tmp_path / "crate") == 9
    graph = entities(tmp_path / "crate")
    assert graph[METADATA_NAME]["about"] == {"@id": "./"}
    assert graph[METADATA_NAME]["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    root = graph["./"]
    assert all(root[key] for key in ("name", "description", "datePublished", "license"))
    for entity in graph.values():
        for name, value in entity.items():
            if name not in ("@id", "conformsTo"):
                assert references(value) <= graph.keys(), name
    files = {each for each, entity in graph.items() if entity["@type"] == "File"}
    assert set(ids(root["hasPart"])) == files
    on_disk = {
        path.relative_to(tmp_path / "crate").as_posix() for path in (tmp_path / "crate").rglob("*.*") if path.is_file()
    }
    assert {unquote(each) for each in files} | {METADATA_NAME} == on_disk


def test_pictures_are_copied_bit_for_bit_and_named_by_their_hash(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "crate")
    with_hash = [each for each in entities(tmp_path / "crate").values() if each["@type"] == "File" and "sha256" in each]
    assert len(with_hash) == 9
    for each in with_hash:
        data = (tmp_path / "crate" / unquote(each["@id"])).read_bytes()
        assert hashlib.sha256(data).hexdigest() == each["sha256"]


def test_fits_and_generations_are_actions(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "crate")
    graph = entities(tmp_path / "crate")
    actions = {each["name"]: each for each in graph.values() if each["@type"] == "CreateAction"}
    assert sorted(actions) == ["Fit of weights/fit_00", "Fit of weights/fit_01", "Generation 0", "Generation 1"]
    fit, made = actions["Fit of weights/fit_01"], actions["Generation 1"]
    assert fit["description"] == "3 synthetic"
    assert ids(fit["object"]) == [f"gen_00/slot_{slot:04d}.png" for slot in range(3)]
    assert ids(fit["result"]) == ids(made["instrument"])[1:]
    assert ids(made["result"]) == [f"gen_01/slot_{slot:04d}.png" for slot in range(3)]
    assert ids(actions["Generation 0"]["object"]) == ["real/0.png", "real/1.png", "real/2.png"]
    software = graph[ids(fit["instrument"])[0]]
    assert (software["@type"], software["softwareVersion"]) == (
        "SoftwareApplication",
        provenance.environment()["decay"],
    )


def test_what_is_no_longer_there_is_described(run: Path, tmp_path: Path) -> None:
    path = run / "gen_01" / "slot_0000.png"
    first = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(b"matched")
    with provenance.log(run) as p:
        p.record_derived(path, provenance.Image("gen_01/slot_0000.png", first, generation=1), "histogram-matched")
    export(run, tmp_path / "crate")
    graph = entities(tmp_path / "crate")
    (action,) = (each for each in graph.values() if each.get("name") == "Generation 1: histogram-matched")
    assert ids(action["object"]) == [f"#picture-{first}"]
    assert graph[f"#picture-{first}"]["sha256"] == first


def test_hostile_names_are_escaped(run: Path, tmp_path: Path) -> None:
    path = run / "gen_01" / os.fsdecode(b'a b#"<x>\xff\n.png')
    path.write_bytes(b"x")
    with provenance.log(run) as p:
        p.record(path, generation=1)
    export(run, tmp_path / "crate.zip")
    with zipfile.ZipFile(tmp_path / "crate.zip") as packed:
        graph = json.loads(packed.read(METADATA_NAME))["@graph"]
        (found,) = (each for each in graph if "a%20b" in each["@id"])
        assert packed.read(unquote(found["@id"])) == b"x"
        assert packed.testzip() is None


def test_a_run_that_was_altered_is_not_exported(run: Path, tmp_path: Path) -> None:
    (run / "gen_01" / "slot_0000.png").write_bytes(b"other")
    with pytest.raises(LineageError, match=r"1 problem, first: gen_01/slot_0000\.png"):
        export(run, tmp_path / "crate")
    assert not (tmp_path / "crate").exists()


def test_the_run_itself_and_what_is_there_already_stay(run: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="outside of"):
        export(run, run / "crate")
    (tmp_path / "crate").mkdir()
    (tmp_path / "crate" / "mine").write_text("mine")
    with pytest.raises(DecayError, match="already holds something"):
        export(run, tmp_path / "crate")
    (tmp_path / "crate.zip").write_text("mine")
    with pytest.raises(OutputError, match=r"crate\.zip: expected the name of a new file; there is something"):
        export(run, tmp_path / "crate.zip")
    assert (tmp_path / "crate.zip").read_text() == "mine"
    assert provenance.verify(run).ok


def test_the_reference_library_reads_it(run: Path, tmp_path: Path) -> None:
    rocrate = pytest.importorskip("rocrate.rocrate")
    for out in (tmp_path / "crate", tmp_path / "crate.zip"):
        export(run, out)
        crate = rocrate.ROCrate(out)
        assert len([each for each in crate.data_entities if each.type == "File"]) == 9 + 2
        fit = next(each for each in crate.get_by_type("CreateAction") if each["name"] == "Fit of weights/fit_01")
        assert [each.id for each in fit["object"]] == [f"gen_00/slot_{slot:04d}.png" for slot in range(3)]
        crate.write(tmp_path / f"again-{out.name}")
