"""What somebody made to do harm is refused in a sentence, and never loaded as code."""

from __future__ import annotations

import os
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from decay import provenance
from decay.errors import DecayError, LineageError, OutputError
from decay.files import run_lock
from decay.images import ImageProblem, read_image
from decay.journal import Journal
from decay.lineage import load_lineage
from decay.measure import measure
from decay.tables import load_tables
from decay.verdict import read_finding


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.canary),)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for generation in range(2):
        folder = tmp_path / "run" / f"gen_{generation:02d}"
        folder.mkdir(parents=True)
        Image.fromarray(np.full((8, 8), generation, np.uint8)).save(folder / "a.png")
    return tmp_path / "run"


@pytest.fixture
def pickled(tmp_path: Path) -> Iterator[bytes]:
    """A pickle that must not be loaded; it works, as the end of the fixture shows."""
    canary = tmp_path / "canary"
    content = pickle.dumps(Bomb(canary))
    yield content
    assert not canary.exists()
    pickle.loads(content)
    assert canary.exists()


def test_a_pickle_under_any_name_is_never_loaded(run: Path, pickled: bytes) -> None:
    (run / "gen_00" / "b.png").write_bytes(pickled)
    with pytest.raises(ImageProblem) as problem:
        read_image(run / "gen_00" / "b.png")
    assert problem.value.state == "not_an_image"
    for name in ("gen_00/metadata.jsonl", "gen_00/metadata.csv", "lineage.json"):
        (run / name).write_bytes(pickled)
        with pytest.raises(LineageError, match="expected UTF-8 text"):
            load_lineage(run)
        (run / name).unlink()
    measures = run / "measures"
    measures.mkdir()
    for name in ("journal.sqlite", "images.parquet", "traits.csv", "verdict.json"):
        (measures / name).write_bytes(pickled)
    with pytest.raises(DecayError, match="Move it away"), Journal(measures / "journal.sqlite"):
        pass
    with pytest.raises((OSError, ValueError)):
        load_tables(measures)
    with pytest.raises(DecayError):
        read_finding(run)


def test_archives_and_claims_of_gigapixels_are_refused_on_their_first_bytes(tmp_path: Path) -> None:
    archive = tmp_path / "zip.png"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a", b"\0" * 2**22)
    side = 16383
    webp = tmp_path / "claim.webp"
    Image.new("RGB", (8, 8)).save(webp)
    header = b"VP8X" + struct.pack("<I", 10) + b"\0" * 4 + 2 * (side - 1).to_bytes(3, "little")
    body = b"WEBP" + header + webp.read_bytes()[12:]
    webp.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    tiff = tmp_path / "claim.tif"
    Image.new("1", (64, 64)).save(tiff, compression="group4")
    data = bytearray(tiff.read_bytes())
    first = struct.unpack_from("<I", data, 4)[0]
    for entry in range(first + 2, first + 2 + 24, 12):  # ImageWidth and ImageLength stand first
        struct.pack_into("<HII", data, entry + 2, 4, 1, 60_000)
    tiff.write_bytes(data)
    for path, state in ((archive, "not_an_image"), (webp, "too_large"), (tiff, "too_large")):
        with pytest.raises(ImageProblem) as problem:
            read_image(path)
        assert problem.value.state == state


@pytest.mark.parametrize("name", ["lineage.json", "metadata.jsonl"])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_json_nested_without_end_is_one_sentence(name: str, opening: str, run: Path) -> None:
    (run / name).write_text(opening * 200_000)
    with pytest.raises(LineageError, match="expected a JSON object"):
        load_lineage(run)


def test_a_run_that_is_being_measured_is_not_measured_by_another(run: Path) -> None:
    with run_lock(run / "measures"), pytest.raises(OutputError, match=f"process {os.getpid()} .* is at work"):
        measure(run)


def test_a_clock_that_goes_backwards_breaks_no_chain(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = sys.modules["decay.provenance.log"]  # the package has a function of that name
    for hour in (12, 3):
        monkeypatch.setattr(writer, "now", lambda hour=hour: f"2001-01-01T{hour:02d}:00:00.000000Z")
        with provenance.log(run) as log:
            log.record(run / f"gen_0{hour // 12}" / "a.png", generation=hour // 12)
    found = provenance.verify(run)
    assert found.ok, found.problems
    assert found.n_pictures == 2
