"""Reading a provenance log line by line, every link checked, never more than one line in memory."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from decay.errors import LineageError
from decay.provenance.events import (
    FORMAT_VERSION,
    GENESIS,
    Begin,
    Derived,
    Event,
    Fit,
    Image,
    Real,
    line_hashes,
    parse_line,
)

LOG_NAME = "provenance.jsonl"
MAX_LINE_BYTES = 64 * 2**20
"""A training set of 450,000 pictures. Longer lines are refused before they fill the memory."""


@dataclass(frozen=True)
class Link:
    """One line of the log. ``event``: None if of a kind unknown here. ``line``: its number, from 1. ``offset``: of its
    first byte. ``end``: of the byte after it. ``hash``: its own; the last line's is the head.
    """

    event: Event | None
    line: int
    offset: int
    end: int
    hash: str
    at: str


def open_log(run: Path) -> BinaryIO:
    """The log of a run, to read. Raises LineageError if there is none, or none that is a plain file."""
    path = run / LOG_NAME
    if path.is_symlink() or not path.is_file():
        raise LineageError(
            f"{path}: expected a provenance log; found "
            f"{'something else' if os.path.lexists(path) else 'nothing'}. Name the folder of a run that kept one."
        )
    try:
        return path.open("rb")
    except OSError as error:
        raise LineageError(f"{path}: could not be read: {error.strerror}. Check its permissions.") from error


def read_links(stream: BinaryIO, path: Path, *, torn_tail: bool = False) -> Iterator[Link]:
    """Every line from the start, in order. Raises LineageError at the first that breaks the chain, naming it.

    ``torn_tail``: end quietly before a last line that was cut short, which is what a killed writer leaves.
    """
    previous, offset = GENESIS, 0
    for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE_BYTES + 1), b""), start=1):
        where = f"{path}, line {number}"
        if len(line) > MAX_LINE_BYTES:
            raise LineageError(f"{where}: expected at most {MAX_LINE_BYTES} bytes; found more. {_RESTORE}")
        if not line.endswith(b"\n"):
            if torn_tail:
                return
            raise LineageError(
                f"{where}: expected a whole line; found one that was cut short, as a killed writer leaves it. "
                "Resume the run, or open the log again: it is cut off there, and that is recorded."
            )
        link = _check_line(line, where, number, previous, offset)
        yield link
        previous, offset = link.hash, link.end


_RESTORE = "The log was edited or damaged here: put it back from a copy."


def _check_line(line: bytes, where: str, number: int, previous: str, offset: int) -> Link:
    hashes = line_hashes(line)
    if hashes is None:
        raise LineageError(f"{where}: expected a line of a provenance log; found {line[:40]!r}. {_RESTORE}")
    stated, actual = hashes
    if stated != actual:
        raise LineageError(f"{where}: expected content with the hash {stated}; found {actual}. {_RESTORE}")
    event, said, at = parse_line(line, where)
    if said != previous:
        raise LineageError(
            f"{where}: expected to follow the line with the hash {said}; found it after {previous}. Lines were "
            f"removed, added or moved here, or the one before was rewritten: put the log back from a copy."
        )
    if number == 1 and not (isinstance(event, Begin) and event.format_version == FORMAT_VERSION):
        raise LineageError(
            f"{where}: expected the beginning of a log of format {FORMAT_VERSION}; found none. {_RESTORE}"
        )
    return Link(event, number, offset, offset + len(line), stated, at)


@dataclass(frozen=True)
class Place:
    """Where something is recorded. ``weights``: hash of those that made a picture."""

    line: int
    offset: int
    kind: str
    path: str
    sha256: str
    generation: int | None
    weights: str | None


class Index:
    """Which line speaks of which file. On disk (a temporary SQLite database), so that memory stays flat.

    Use as a context manager.
    """

    def __init__(self) -> None:
        with index_errors():
            self._db = sqlite3.connect("", isolation_level=None)  # "": a file that SQLite removes by itself
            self._db.execute("PRAGMA journal_mode=OFF")
            self._db.execute(
                "CREATE TABLE places (line INTEGER PRIMARY KEY, offset INTEGER, kind TEXT, path TEXT, sha256 TEXT,"
                " generation INTEGER, weights TEXT)"
            )
            self._db.execute("CREATE TABLE seen (path TEXT PRIMARY KEY) WITHOUT ROWID")
            self._db.execute("CREATE INDEX by_path ON places (path)")
            self._db.execute("CREATE INDEX by_hash ON places (sha256, generation)")
            self._db.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def add(self, event: Event | None, line: int, offset: int) -> None:
        """Take up an event, if it speaks of a file."""
        if isinstance(event, Real | Fit | Image | Derived):
            generation = None if isinstance(event, Real) else event.generation
            weights = event.weights if isinstance(event, Image) else None
            row = (line, offset, event.kind, event.path, event.sha256, generation, weights)
            with index_errors():
                self._db.execute("INSERT INTO places VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def by_path(self, path: str) -> Place | None:
        """The last record of a file."""
        return self._one("path = ?", (path,))

    def by_hash(self, sha256: str, *, kinds: tuple[str, ...] = (), generation: int | None = None) -> Place | None:
        """The last record of this content; of one of ``kinds`` and of ``generation``, where these are given."""
        where, values = "sha256 = ?", [sha256]
        if kinds:
            where += f" AND kind IN ({', '.join('?' * len(kinds))})"
            values += kinds
        if generation is not None:
            where += " AND generation = ?"
        return self._one(where, (*values, *([] if generation is None else [generation])))

    def see(self, path: str) -> None:
        """Mark a file as met."""
        with index_errors():
            self._db.execute("INSERT OR IGNORE INTO seen VALUES (?)", (path,))

    def latest(self, *kinds: str) -> Iterator[Place]:
        """The last record of every file, where it is of these kinds, sorted by path."""
        return self._select(kinds, "")

    def unseen(self, *kinds: str) -> Iterator[Place]:
        """``latest``, without the files that were marked as met."""
        return self._select(kinds, "AND path NOT IN (SELECT path FROM seen)")

    def _select(self, kinds: tuple[str, ...], condition: str) -> Iterator[Place]:
        query = (
            "SELECT * FROM places AS a WHERE line = (SELECT MAX(line) FROM places WHERE path = a.path) "
            f"AND kind IN ({', '.join('?' * len(kinds))}) {condition} ORDER BY path"
        )
        with index_errors():
            yield from (Place(*row) for row in self._db.execute(query, kinds))

    def _one(self, where: str, values: tuple[object, ...]) -> Place | None:
        with index_errors():
            row = self._db.execute(
                f"SELECT * FROM places WHERE {where} ORDER BY line DESC LIMIT 1",
                values,
            ).fetchone()
        return None if row is None else Place(*row)


@contextmanager
def index_errors() -> Iterator[None]:
    """Turn what SQLite says of a full or forbidden disk into a LineageError."""
    try:
        yield
    except sqlite3.Error as error:
        raise LineageError(
            f"The provenance log could not be indexed ({error}). Make room in the folder for temporary files, or name "
            "another in the environment variable SQLITE_TMPDIR."
        ) from error
