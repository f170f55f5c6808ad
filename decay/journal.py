"""The one durable store of readings: SQLite in WAL mode, one row per image content and reader version.

A committed row survives kill -9 and a full disk; the tables are rebuilt from it. Keyed by content,
so that moving or renaming images loses nothing, and an image that stands in two places is read once.
"""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from decay.errors import DecayError
from decay.tables import fit_the_tables
from detectors.reader import ImageReadings, Row

FORMAT_VERSION = 1
"""1: table ``readings(sha256, reader, body)``, body JSON with vectors as base64 float32."""

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH}
"""Primary result codes that blame the file's content: SQLITE_ERROR is raised for a table that lacks our columns."""


class Journal:
    """Readings by (sha256 of the file, reader fingerprint). Use as a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._create()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def put(self, reader: str, sha256: str, readings: ImageReadings) -> None:
        """Store one image's readings; committed when this returns."""
        body = readings_to_json(readings)
        with self._explained():
            self._db.execute("INSERT OR REPLACE INTO readings VALUES (?, ?, ?)", (sha256, reader, body))

    def get(self, reader: str, sha256: str) -> ImageReadings | None:
        """The stored readings of an image; None where there are none that can be read."""
        with self._explained():
            found = self._db.execute(
                "SELECT body FROM readings WHERE sha256 = ? AND reader = ?", (sha256, reader)
            ).fetchone()
        try:
            readings = json_to_readings(found[0]) if found else None
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return None  # damaged: the image is read again and the row replaced
        return readings if readings and fit_the_tables(readings) else None

    def _create(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, FORMAT_VERSION):
            raise DecayError(
                f"{self.path} was written by another version of decay (format {version}; this one reads "
                f"{FORMAT_VERSION}). Delete the file to measure anew."
            )
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS readings (sha256 TEXT, reader TEXT, body TEXT, PRIMARY KEY (sha256, reader))"
            " WITHOUT ROWID"
        )
        self._db.execute(f"PRAGMA user_version = {FORMAT_VERSION}")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF in _DAMAGED:
                raise DecayError(
                    f"{self.path}: expected the readings that decay keeps there; found something else, or a damaged "
                    f"file ({error}). Move it away, and the same command measures anew."
                ) from error
            raise DecayError(
                f"{self.path}: could not keep the readings ({error}). Make room or grant write access there and run "
                "the same command again; what was read so far is kept."
            ) from error


def readings_to_json(readings: ImageReadings) -> str:
    """Exact text form: floats round-trip, NaN is null, float32 vectors are base64."""
    return json.dumps(
        {
            "image": _plain(readings.image),
            "faces": [_plain(row) for row in readings.faces],
            "eyes": [_plain(row) for row in readings.eyes],
            "hands": [_plain(row) for row in readings.hands],
        },
        allow_nan=False,
    )


def json_to_readings(text: str) -> ImageReadings:
    """Inverse of ``readings_to_json``."""
    data = json.loads(text)
    return ImageReadings(
        image=_rich(data["image"]),
        faces=tuple(_rich(row) for row in data["faces"]),
        eyes=tuple(_rich(row) for row in data["eyes"]),
        hands=tuple(_rich(row) for row in data["hands"]),
    )


def _plain(row: Row) -> dict[str, Any]:
    return {name: _plain_value(value) for name, value in row.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"f4": base64.b64encode(value.astype("<f4").tobytes()).decode("ascii")}
    if isinstance(value, int | str):
        return value
    number = float(value)
    return None if np.isnan(number) else number


def _rich(row: Mapping[str, Any]) -> Row:
    return {name: _rich_value(value) for name, value in row.items()}


def _rich_value(value: Any) -> Any:
    if value is None:
        return float("nan")
    if isinstance(value, dict):
        return np.frombuffer(base64.b64decode(value["f4"]), dtype="<f4").astype(np.float32)
    return value
