"""What models are listed as needed, and what fetching one refuses."""

from __future__ import annotations

import hashlib
import re
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from decay import models
from decay.errors import ModelError
from decay.features import NETWORKS, versions_at_hand


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder served over HTTP on this machine in place of the real release."""
    folder = tmp_path / "release"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr(models, "RELEASE_URL", f"http://127.0.0.1:{server.server_port}/{{name}}.zip")
    yield folder
    server.shutdown()
    server.server_close()
    thread.join()


N_BUILT_IN = 6
"""Five in mediapipe's wheel and our own."""


def write_pack(path: Path, *names: str) -> str:
    """A zip archive with these members; returns its SHA-256."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"weights")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_models_in_the_wheel_are_found_with_their_checksums() -> None:
    listed = models.list_models(None, None)
    assert len(listed) == N_BUILT_IN
    for model in listed:
        assert model.state == models.FOUND
        assert model.path is not None
        assert model.sha256 == hashlib.sha256(Path(model.path).read_bytes()).hexdigest()
        assert model.licence == ("as this project's code" if model.name == "digits.onnx" else "Apache-2.0")


def test_a_missing_pack_is_listed_as_missing_and_is_an_error_only_when_required(tmp_path: Path) -> None:
    listed = models.list_models("buffalo_l", tmp_path)
    assert [model.state for model in listed[N_BUILT_IN:]] == [models.MISSING]
    assert "non-commercial" in listed[N_BUILT_IN].licence
    models.require_models(listed[:N_BUILT_IN])
    with pytest.raises(ModelError, match=r"buffalo_l.*decay models fetch"):
        models.require_models(listed)


def test_a_pack_on_the_disk_is_listed_file_by_file(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "mine"
    folder.mkdir(parents=True)
    (folder / "a.onnx").write_bytes(b"weights")
    (model,) = models.list_models("mine", tmp_path)[N_BUILT_IN:]
    assert (model.name, model.sha256) == ("mine/a.onnx", hashlib.sha256(b"weights").hexdigest())
    assert "mine/a.onnx" in models.models_text([model])


def test_fetching_checks_and_unpacks_the_models(release: Path, tmp_path: Path) -> None:
    checksum = write_pack(release / "mine.zip", "det.onnx", "inside/rec.onnx", "../outside.onnx", "readme.txt")
    folder = models.fetch("mine", tmp_path / "root", checksum.upper())
    assert sorted(file.name for file in folder.iterdir()) == ["det.onnx", "outside.onnx", "rec.onnx"]
    assert [entry.name for entry in folder.parent.iterdir()] == ["mine"]  # no scratch folder left, nothing outside
    (release / "mine.zip").unlink()
    assert models.fetch("mine", tmp_path / "root") == folder  # there already: nothing is asked for


@pytest.mark.parametrize("content", ["other", "not a zip", "no model", "absent"])
def test_an_archive_that_is_not_the_right_one_leaves_nothing(content: str, release: Path, tmp_path: Path) -> None:
    archive = release / "mine.zip"
    checksum = write_pack(archive, "readme.txt" if content == "no model" else "det.onnx")
    if content == "other":
        write_pack(archive, "det.onnx", "more.onnx")
    elif content == "not a zip":
        archive.write_bytes(b"<html>")
        checksum = hashlib.sha256(b"<html>").hexdigest()
    elif content == "absent":
        archive.unlink()
    with pytest.raises(ModelError):
        models.fetch("mine", tmp_path / "root", checksum)
    assert list((tmp_path / "root" / "models").iterdir()) == []


def test_without_a_checksum_nothing_is_downloaded(release: Path, tmp_path: Path) -> None:
    write_pack(release / "mine.zip", "det.onnx")
    with pytest.raises(ModelError, match="--sha256"):
        models.fetch("mine", tmp_path / "root")
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".hidden"])
def test_a_name_that_is_a_path_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not the name"):
        models.fetch(name, tmp_path, "0" * 64)


def test_a_pack_outside_of_its_folder_cannot_be_named(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.onnx").write_bytes(b"x")
    with pytest.raises(ModelError, match="not the name of a model pack"):
        models.list_models("../elsewhere", tmp_path)


def test_the_pinned_checksums_are_whole() -> None:
    assert all(re.fullmatch(r"[0-9a-f]{64}", checksum) for checksum in models.KNOWN_SHA256.values())


@pytest.fixture
def hub(release: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same server in place of those that the networks' weights come from."""
    address = models.RELEASE_URL.removesuffix("/{name}.zip")
    served = {
        name: replace(network, urls=tuple(f"{address}/{Path(file).name}" for file in network.files))
        for name, network in NETWORKS.items()
    }
    monkeypatch.setattr(models, "NETWORKS", served)
    for network in served.values():
        for file in network.files:
            (release / Path(file).name).write_bytes(file.encode())
    return release


def test_fetching_a_network_checks_its_weights_and_brings_its_settings(hub: Path, tmp_path: Path) -> None:
    checksum = hashlib.sha256((hub / "model.safetensors").read_bytes()).hexdigest()
    path = models.fetch("clip", tmp_path / "root", checksum)
    assert path == tmp_path / "root" / "clip" / "model.safetensors"
    expected = sorted(Path(file).name for file in NETWORKS["clip"].files)
    assert sorted(file.name for file in path.parent.iterdir()) == expected  # no scratch folder left
    (hub / "model.safetensors").unlink()
    assert models.fetch("clip", tmp_path / "root") == path  # there already: nothing is asked for
    (found,) = (
        model for model in models.list_networks(tmp_path / "root") if model.purpose == "yardstick" and model.path
    )
    assert (found.sha256, found.state) == (checksum, models.FOUND)


def test_weights_that_are_not_the_pinned_ones_are_thrown_away(hub: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not the file with SHA-256 f58cb9b6"):
        models.fetch("inception", tmp_path / "root")
    with pytest.raises(ModelError, match="--sha256"):
        models.fetch("dinov2", tmp_path / "root")
    assert not any(path.is_file() for path in (tmp_path / "root").rglob("*"))


def test_another_file_in_place_of_the_published_one_is_told(tmp_path: Path) -> None:
    (tmp_path / "inception-2015-12-05.pt").write_bytes(b"somebody's own")
    text = models.models_text(models.list_networks(tmp_path))
    assert text.count("not the published file, f58cb9b6") == 1


def test_a_root_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="found nothing"):
        versions_at_hand(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="found a file"):
        versions_at_hand(tmp_path / "file")
    assert versions_at_hand(tmp_path) == {}


def test_the_options_that_find_what_was_fetched(tmp_path: Path) -> None:
    assert models.measure_options("inception", None) == ""
    assert models.measure_options("clip", tmp_path) == f" --features-root {tmp_path}"
    assert models.measure_options("buffalo_l", tmp_path) == f" --embedder-pack buffalo_l --embedder-root {tmp_path}"


def test_missing_networks_are_listed_with_the_place_where_they_are_looked_for(tmp_path: Path) -> None:
    listed = models.list_networks(tmp_path)
    assert {model.state for model in listed} == {models.MISSING}
    text = models.models_text(listed)
    for file in ("inception-2015-12-05.pt", "clip/model.safetensors", "dinov2/model.safetensors"):
        assert str(tmp_path / file) in text
    models.require_models(models.list_models(None, None))  # none of the networks is among what is required
