"""Writing a provenance log: append-only, one writer at a time, on the disk when a call returns."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from decay.errors import LineageError, OutputError
from decay.files import make_folder, output_error, read_regular, sha256_of
from decay.images import MAX_FILE_BYTES
from decay.loop.checkpoint import read_manifest
from decay.metadata import MAX_SETTINGS_BYTES, relative_to_root
from decay.provenance.chain import LOG_NAME, Index, Link, Place, read_links
from decay.provenance.environment import environment
from decay.provenance.events import (
    GENESIS,
    Begin,
    Derived,
    Event,
    Fit,
    Image,
    Member,
    Note,
    Picture,
    Real,
    Resume,
    event_to_line,
    now,
    parse_line,
)
from decay.storage import lies_within

SETTINGS_NAME = "lineage.json"

_NO_LOCKS_HERE = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LINE_START = b'{"hash":"'


@contextmanager
def log(run: Path | str) -> Iterator[Log]:
    """The provenance log of a folder, to write to; made where there is none.

    A last line that a killed writer left torn is cut off, and that is recorded. The whole chain is checked first.
    Raises LineageError where it is broken, naming the line; OutputError where it cannot be written, or another
    process writes to it.
    """
    make_folder(Path(run))
    folder = Path(run).resolve()
    path = folder / LOG_NAME
    handle = _open(path)
    try:
        _hold(handle, path)
        with Index() as index:
            yield Log(folder, handle, index)
    finally:
        os.close(handle)


class Log:
    """An open provenance log; ``decay.provenance.log`` makes it. What a method wrote is on the disk when it returns."""

    def __init__(self, run: Path, handle: int, index: Index) -> None:
        self._run = run
        self._handle = handle
        self._index = index
        self._head, self._n_events, self._size = GENESIS, 0, 0
        for link in self._read():
            self._take(link)
        cut_bytes = self._cut_torn_tail()
        settings = settings_sha256(run)
        n_events = self._n_events
        if n_events == 0:
            self.record_many([Begin(environment(), settings)])
        if n_events > 0 or cut_bytes > 0:
            self.record_many([Resume(environment(), n_events, cut_bytes, settings)])

    @property
    def head(self) -> str:
        """Hash of the last line: whoever keeps it can tell later whether lines were taken off the end."""
        return self._head

    def recorded(self, path: str) -> Place | None:
        """The last record of a file of the run (posix path from its folder), None where there is none."""
        return self._index.by_path(path)

    def latest(self, *kinds: str) -> Iterator[Place]:
        """The last record of every file, where it is of these kinds, sorted by path."""
        return self._index.latest(*kinds)

    def knows(self, path_or_sha256: str, generation: int | None = None) -> bool:
        """Whether a file of the run (posix path), or content, is recorded; as of ``generation``, unless it is None."""
        if _SHA256.fullmatch(path_or_sha256):
            return self._index.by_hash(path_or_sha256, generation=generation) is not None
        place = self._index.by_path(path_or_sha256)
        return place is not None and generation in (None, place.generation)

    def record(
        self,
        image: Path | str,
        *,
        prompt: str = "",
        seed: int | None = None,
        slot: str | int = "",
        group: str = "",
        generation: int | None = None,
        weights: Fit | str | None = None,
        parents: Iterable[Picture | Path | str] = (),
        **extra: object,
    ) -> Image:
        """Record a generated picture of the run; its hash is taken here.

        ``weights``: what ``record_fit`` gave, or a hash. ``parents``: pictures that it started from: what a method
        here gave, a hash, or a file. Raises LineageError if the picture is not a file in the run, OutputError.
        """
        path, sha256 = self._path_and_hash(image)
        made_by = weights.sha256 if isinstance(weights, Fit) else weights
        hashes = tuple(map(_picture_hash, parents))
        event = Image(path, sha256, prompt, seed, str(slot), group, generation, made_by, hashes, extra)
        self.record_many([event])
        return event

    def record_real(
        self, image: Path | str, *, original: Path | None = None, group: str = "", prompt: str = ""
    ) -> Real:
        """Record a photograph of the run, and the file that it was prepared from. Raises as ``record`` does."""
        path, sha256 = self._path_and_hash(image)
        source = relative_to_root(original.parent, original) if original else ""
        event = Real(path, sha256, sha256_of(original) if original else None, source, group, prompt)
        self.record_many([event])
        return event

    def record_fit(
        self,
        weights: Path | str,
        training_set: Iterable[Picture | Member],
        *,
        parent: Fit | str | None = None,
        generation: int | None = None,
        seed: int | None = None,
        steps: int | None = None,
        **extra: object,
    ) -> Fit:
        """Record weights of the run (a file, or a folder of ``decay.loop.checkpoint``) and what they were fitted on.

        Raises LineageError if they are not in the run, ModelError if the folder is not whole, OutputError.
        """
        place = Path(weights).absolute()
        sha256 = read_manifest(place).sha256 if place.is_dir() else sha256_of(place)
        members = tuple(picture if isinstance(picture, Member) else member_of(picture) for picture in training_set)
        went_on_from = parent.sha256 if isinstance(parent, Fit) else parent
        event = Fit(self._relative(place), sha256, members, went_on_from, generation, seed, steps, extra)
        self.record_many([event])
        return event

    def record_derived(
        self, image: Path | str, of: Picture, method: str, *, reference: Picture | None = None, **extra: object
    ) -> Derived:
        """Record a picture worked over from another; generation, slot, group are that one's. Raises as ``record``."""
        path, sha256 = self._path_and_hash(image)
        generation, slot = (None, "") if isinstance(of, Real) else (of.generation, of.slot)
        lender = None if reference is None else reference.sha256
        event = Derived(path, sha256, (of.sha256,), method, generation, slot, of.group, lender, extra)
        self.record_many([event])
        return event

    def note(self, text: str, **data: object) -> None:
        """Record anything else. Raises OutputError."""
        self.record_many([Note(text, data)])

    def record_many(self, events: Iterable[Event]) -> None:
        """Append events, in one write and one sync. Raises OutputError, with nothing written; ValueError, TypeError
        for an event that could not be read again.
        """
        at, head, lines, links = now(), self._head, [], []
        end = self._size
        for number, event in enumerate(events, start=self._n_events + 1):
            line, digest = event_to_line(event, head, at)
            try:
                parse_line(line, f"event {number}")
            except LineageError as error:
                raise ValueError(str(error)) from error
            links.append(Link(event, number, end, end + len(line), digest, at))
            lines.append(line)
            head, end = digest, end + len(line)
        self._append(b"".join(lines))
        for link in links:
            self._take(link)

    def _take(self, link: Link) -> None:
        self._index.add(link.event, link.line, link.offset)
        self._head, self._n_events, self._size = link.hash, link.line, link.end

    def _append(self, data: bytes) -> None:
        try:
            written = 0
            while written < len(data):  # a write is cut short where the disk is nearly full; the next one says so
                written += os.write(self._handle, data[written:])
            os.fsync(self._handle)
        except OSError as error:
            os.ftruncate(self._handle, self._size)
            raise output_error(self._run / LOG_NAME, error) from error

    def _read(self) -> Iterator[Link]:
        os.lseek(self._handle, 0, os.SEEK_SET)
        with os.fdopen(os.dup(self._handle), "rb") as stream:
            yield from read_links(stream, self._run / LOG_NAME, torn_tail=True)

    def _cut_torn_tail(self) -> int:
        """Cut off what follows the last whole line; returns how many bytes that was."""
        n_torn = os.fstat(self._handle).st_size - self._size
        # After a power cut some file systems leave zeros where data had not arrived.
        start = os.pread(self._handle, len(_LINE_START), self._size).rstrip(b"\0")
        if not _LINE_START.startswith(start):
            raise LineageError(
                f"{self._run / LOG_NAME}, line {self._n_events + 1}: expected a line of a provenance log; found "
                f"{start!r}. Put the log back from a copy, or move the file away."
            )
        if n_torn:
            os.ftruncate(self._handle, self._size)
        return n_torn

    def _path_and_hash(self, image: Path | str) -> tuple[str, str]:
        path = Path(image).absolute()
        relative = self._relative(path)
        data = read_regular(path, within=self._run, max_bytes=MAX_FILE_BYTES)
        return relative, hashlib.sha256(data).hexdigest()

    def _relative(self, path: Path) -> str:
        inside = path.parent.resolve() / path.name
        if not (inside.is_relative_to(self._run) and lies_within(path, self._run)):
            raise LineageError(
                f"{path}: expected a file inside {self._run}, whose log this is. Put a copy of it there first."
            )
        return relative_to_root(self._run, inside)


def member_of(picture: Picture) -> Member:
    """A recorded picture as one of a training set."""
    if isinstance(picture, Real):
        return Member(picture.sha256, "real")
    return Member(picture.sha256, "synthetic", picture.generation)


def _picture_hash(picture: Picture | Path | str) -> str:
    if isinstance(picture, Real | Image | Derived):
        return picture.sha256
    if isinstance(picture, str) and _SHA256.fullmatch(picture):
        return picture
    path = Path(picture)
    return hashlib.sha256(read_regular(path, within=None, max_bytes=MAX_FILE_BYTES)).hexdigest()


def settings_sha256(run: Path) -> str | None:
    """Hash of the run's lineage.json, None where there is none. Raises FileProblem where it cannot be read."""
    path = run / SETTINGS_NAME
    if not os.path.lexists(path):
        return None
    return hashlib.sha256(read_regular(path, within=run, max_bytes=MAX_SETTINGS_BYTES)).hexdigest()


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        handle = os.open(path, flags, 0o666)
        if stat.S_ISREG(os.fstat(handle).st_mode):
            folder = os.open(path.parent, os.O_RDONLY)
            os.fsync(folder)  # the new name, too, must outlive a power cut
            os.close(folder)
            return handle
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise output_error(path, error) from error
    raise OutputError(f"{path}: expected a plain file to write to; found a link, device or pipe. Remove it.")


def _hold(handle: int, path: Path) -> None:
    """Hold the log for this process alone. The lock is the kernel's and ends with the process."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(
            f"{path}: expected to be the only one writing to this log; another process is. "
            "Wait until it has finished, or end it, then run the same command again."
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS_HERE:
            raise output_error(path, error) from error
