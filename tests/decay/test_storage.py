"""A run in object storage (fsspec's own, in memory and as a zip): the same results, and nothing written there."""

from __future__ import annotations

import importlib.util
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import decay
from decay.errors import DecayError, LineageError
from decay.files import read_regular
from decay.images import write_png
from decay.lineage import load_lineage
from decay.measure import measure
from decay.phantom import Population, draw_face
from decay.read import hash_lineage
from decay.report import write_report
from decay.settings import MeasureSettings, ReportForm
from decay.storage import exists, is_remote, lies_within, place

fsspec = pytest.importorskip("fsspec", reason="needs the extra `storage`")
pytest.importorskip("upath", reason="needs the extra `storage`")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("local") / "run"
    for generation in range(2):
        for slot in range(3):
            path = root / f"gen_{generation:02d}" / f"{slot}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            person = Population().sample_face(np.random.default_rng([5, slot]))
            write_png(path, draw_face(person, 128, np.random.default_rng([slot, generation]))[0])
    (root / "gen_01" / "metadata.jsonl").write_text('{"file_name": "0.png", "text": "a face", "group": "a"}\n')
    (root / "gen_01" / "broken.png").write_text("no picture")
    return root


@pytest.fixture
def address(run: Path) -> Iterator[str]:
    files = fsspec.filesystem("memory")
    files.put(str(run), "/bucket/run", recursive=True)
    yield "memory://bucket/run"
    files.rm("/bucket", recursive=True)


def test_a_lineage_in_storage_is_the_same_lineage(address: str, run: Path) -> None:
    here, there = load_lineage(run), load_lineage(place(address))
    known = [(g.index, replace(r, path=Path())) for g in there.generations for r in g.images]
    assert known == [(g.index, replace(r, path=Path())) for g in here.generations for r in g.images]
    assert there.notes == here.notes
    assert [i.sha256 for i in hash_lineage(there)] == [i.sha256 for i in hash_lineage(here)]


def test_it_is_measured_and_reported_from_there(address: str, run: Path, tmp_path: Path) -> None:
    settings = MeasureSettings(n_resamples=20)
    before = set(fsspec.filesystem("memory").find("/bucket"))
    measured = measure(place(address), settings, out=tmp_path / "results")
    assert (measured.n_read, measured.n_bad) == (6, 1)
    assert set(fsspec.filesystem("memory").find("/bucket")) == before
    shutil.copytree(run, tmp_path / "copy")
    measure(tmp_path / "copy", settings)
    for table in ("images", "faces", "eyes"):
        there, here = (getattr(decay.load(tmp_path / name), table) for name in ("results", "copy"))
        pd.testing.assert_frame_equal(
            there.drop(columns="reason", errors="ignore"), here.drop(columns="reason", errors="ignore")
        )
    page = write_report([tmp_path / "results"], ReportForm.HTML, tmp_path / "page.html").read_text()
    assert "data:image/" in page[page.index('class="strips"') :] if 'class="strips"' in page else True
    assert measure(place(address), settings, out=tmp_path / "results").n_read == 0


def test_without_a_place_for_results_it_is_one_message(address: str) -> None:
    with pytest.raises(DecayError, match="--out DIR"):
        measure(place(address))


def test_results_go_beside_a_run_that_may_not_be_written(run: Path, tmp_path: Path) -> None:
    measured = measure(run, MeasureSettings(n_resamples=20), out=tmp_path / "results")
    assert measured.folder == tmp_path / "results" / "measures"
    assert not (run / "measures").exists()
    assert measured.finding.run["pictures"] == str(run)


@pytest.mark.parametrize("scheme", ["nonsense", "s3"])
def test_a_kind_of_storage_that_is_not_installed_is_one_message(scheme: str) -> None:
    if scheme == "s3" and importlib.util.find_spec("s3fs"):
        pytest.skip("s3fs is installed")
    with pytest.raises(LineageError, match="pip install -e"):
        load_lineage(place(f"{scheme}://bucket/run"))


def test_a_run_in_an_archive_is_the_same_lineage(run: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "runs"), "zip", root_dir=run.parent, base_dir=run.name)
    here, there = load_lineage(run), load_lineage(place(f"zip://run::{archive}"))
    assert [i.sha256 for i in hash_lineage(there)] == [i.sha256 for i in hash_lineage(here)]
    assert there.notes == here.notes


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("zip:///x.zip!/run", r"can be opened.*Write zip://FOLDER::ARCHIVE"),
        ("zip://run::/nowhere/x.zip", r"can be opened.*No such file"),
        ("tar://run", r"can be opened.*Write tar://FOLDER::ARCHIVE"),
        ("reference://run", "can be opened"),
        ("generic://run", "can be opened"),
        ("dir://run", "can be opened"),
        ("blockcache://memory", "can be opened"),
        ("async_wrapper://memory", "path of this machine"),
        ("data://run", "folders that can be listed"),
        ("memory://", "found no name behind memory://"),
        ("s3:///", "found no name behind s3://"),
        ("nonsense::memory://run", "not installed"),
    ],
)
def test_storage_that_cannot_be_walked_is_one_message(address: str, said: str) -> None:
    with pytest.raises(LineageError, match=said) as refused:
        load_lineage(place(address))
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(address)


def test_storage_that_does_not_answer_is_one_message() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # taken, and nobody listens there
        address = f"ftp://127.0.0.1:{nobody.getsockname()[1]}/run"
        with pytest.raises(LineageError, match=r"can be opened.*refused"):
            load_lineage(place(address))


def test_storage_that_stops_answering_is_not_taken_for_empty(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = place(address)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the line is\n dead.")

    monkeypatch.setattr(fsspec.filesystem("memory"), "info", broken)
    with pytest.raises(LineageError, match=r"found RuntimeError: the line is dead\. Check"):
        exists(root)
    with pytest.raises(LineageError, match="expected storage that answers"):
        load_lineage(root)


def test_addresses_of_this_machine_are_paths(run: Path) -> None:
    assert place(f"file://{run}") == run
    assert not is_remote(place(f"local://{run}"))


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(LineageError, match="without a password") as refused:
        place("memory://somebody:hunter2@bucket/run")
    assert "hunter2" not in str(refused.value)


def test_what_is_not_there_is_one_message(address: str) -> None:
    with pytest.raises(LineageError, match="there is nothing here"):
        load_lineage(place("memory://bucket/nowhere"))


def test_a_name_that_leads_out_of_the_run_is_refused(address: str) -> None:
    root = place(address)
    assert is_remote(root)
    assert lies_within(root / "gen_00" / "0.png", root)
    assert not lies_within(root / ".." / "secret.png", root)
    assert not lies_within(Path("/etc/passwd"), root)


def test_what_is_too_large_is_refused_before_it_is_fetched(address: str) -> None:
    with pytest.raises(DecayError, match="at most"):
        read_regular(place(address) / "gen_00" / "0.png", within=place(address), max_bytes=10)
