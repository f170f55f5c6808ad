"""The durable store: exact round trips, one row per content and reader, nothing lost to kill -9."""

from __future__ import annotations

import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from decay.errors import DecayError
from decay.journal import Journal, json_to_readings, readings_to_json
from detectors.reader import ImageReadings

READINGS = ImageReadings(
    image={"n_faces": 1, "n_hands": 0, "image_contrast": 0.1 + 0.2},
    faces=({"face": 0, "box": "1,2,3,4", "face_embedding": np.array([0.5, -1e-7], np.float32), "yaw_deg": math.nan},),
    eyes=({"face": 0, "side": "image_left", "catchlight_state": "no_highlight"},),
)


def test_readings_survive_the_journal_bit_for_bit(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.put("reader", "hash", READINGS)
    with Journal(tmp_path / "journal.sqlite") as journal:
        back = journal.get("reader", "hash")
    assert back is not None
    assert back.image == READINGS.image
    assert back.eyes == READINGS.eyes
    assert math.isnan(back.faces[0]["yaw_deg"])  # type: ignore[arg-type]
    np.testing.assert_array_equal(back.faces[0]["face_embedding"], READINGS.faces[0]["face_embedding"])


def test_text_is_data() -> None:
    hostile = ImageReadings(image={"word": "'); DROP TABLE readings; -- \n \x00 ü"})
    assert json_to_readings(readings_to_json(hostile)) == hostile


def test_another_reader_version_finds_nothing(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.put("reader", "hash", READINGS)
        assert journal.get("newer reader", "hash") is None


def test_a_row_that_was_put_survives_kill_9(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from decay.journal import Journal\nfrom detectors.reader import ImageReadings\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for index in range(500):\n"
        "    journal.put('reader', str(index), ImageReadings(image={'n_faces': index}))\n"
        "    print(index, flush=True)\n"
        "    if index == 320: os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "journal.sqlite"
    ended = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False, env=os.environ
    )
    assert ended.returncode == -signal.SIGKILL
    reported = [int(line) for line in ended.stdout.split()]
    with Journal(path) as journal:
        assert all(journal.get("reader", str(index)) for index in reported)
    assert reported[-1] == 320


def test_a_file_that_is_no_journal_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"this is not a database, it is a text of more than a hundred bytes " * 4)
    with pytest.raises(DecayError, match=r"journal\.sqlite.*Move it away"):
        Journal(path)


def test_a_table_that_is_not_ours_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE readings (something)")
    with Journal(path) as journal, pytest.raises(DecayError, match="Move it away"):
        journal.get("reader", "hash")


def body_with(**parts: object) -> str:
    return json.dumps({"image": {}, "faces": [], "eyes": [], "hands": []} | parts)


@pytest.mark.parametrize(
    "body",
    [
        *["", "{", "[]", '{"image": 3}', '{"image": {"a": {"f4": "?"}}}', None, "[" * 100_000],
        body_with(faces=[{"box": "1,2,3,4"}]),
        body_with(eyes=[{"face": "0", "side": "image_left"}]),
        body_with(hands=[{"hand": 0, "hand_score": "="}]),
        body_with(image={"width": [64]}),
        body_with(image={"width": 2**63}),
        body_with(image={"image_contrast": 10**400}),
        body_with(image={"file_notes": "\ud800"}),
        body_with(image={"image": "../../etc/passwd"}),
        body_with(faces=[{"face": 0, "unheard_of": {}}, None]),
    ],
)
def test_a_damaged_row_is_read_again(body: str | None, tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        with closing(sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None)) as other:
            other.execute("INSERT INTO readings VALUES ('hash', 'reader', ?)", (body,))
        assert journal.get("reader", "hash") is None
        journal.put("reader", "hash", READINGS)
        assert journal.get("reader", "hash") is not None
