"""Whether a run is still what its log says: the chain, then every picture, what its metadata say of it, and every
published weights folder.

Only files found by walking the run folder are ever opened, under the names they have there: a path in a log, which
somebody else may have written, is compared and never followed.
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from decay.errors import LineageError, ModelError
from decay.files import sha256_of
from decay.images import SUFFIXES
from decay.loop.checkpoint import MANIFEST, read_manifest, stated_manifest
from decay.metadata import METADATA_NAMES, natural_key, read_table, relative_to_root
from decay.provenance.chain import LOG_NAME, Index, Link, open_log, read_links
from decay.provenance.events import Begin, Derived, Event, Fit, Image, Real, Resume, parse_line
from decay.provenance.log import SETTINGS_NAME, settings_sha256
from decay.provenance.words import counted, plain

PICTURES = ("real", "image", "derived")
MAX_NAMED = 20
_NOT_THE_RUN = frozenset({"measures"})
"""Folders that hold pictures made of the run, not by it."""


@dataclass(frozen=True)
class Verification:
    """What was checked. ``problems``: the first ``MAX_NAMED``, one sentence each; ``n_problems``: all of them.

    ``n_absent_weights``: fits whose weights are no longer in the run. ``n_unrecorded``: members of training sets that
    no line before records. ``files``: whether the files were compared at all.
    """

    head: str
    n_events: int
    n_pictures: int
    n_fits: int
    n_absent_weights: int
    n_unrecorded: int
    files: bool
    problems: tuple[str, ...]
    n_problems: int

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return self.n_problems == 0


class _Problems:
    """The first few in full, the others counted, so that memory stays flat."""

    def __init__(self) -> None:
        self.named: list[str] = []
        self.count = 0

    def add(self, sentence: str) -> None:
        self.count += 1
        if len(self.named) < MAX_NAMED:
            self.named.append(sentence)


def verify(run: Path, *, head: str | None = None, files: bool = True) -> Verification:
    """Check the log of a run and, with ``files``, every picture, its metadata and published weights folder against it.

    ``head``: the hash that the last line had when somebody wrote it down; lines after it are fine, its absence means
    that the end was cut off or everything written anew. Raises LineageError where the chain is broken, naming the
    first line that is, where the head is not found, or where another process is writing.
    """
    problems, counts = _Problems(), Counter[str]()
    head_seen, last, settings = head is None, "", None
    with open_log(run) as stream, Index() as index:
        _refuse_writers(stream, run)
        for link in read_links(stream, run / LOG_NAME):
            counts["events"] += 1
            counts[link.event.kind if link.event else "unknown"] += 1
            head_seen, last = head_seen or link.hash == head, link.hash
            settings = link.event.settings_sha256 if isinstance(link.event, Begin | Resume) else settings
            counts["unrecorded"] += _check_members(link, index, problems)
            index.add(link.event, link.line, link.offset)
        if not counts["events"]:
            raise LineageError(f"{run / LOG_NAME}: expected a provenance log; found an empty file. Restore it.")
        if not head_seen:
            raise LineageError(
                f"{run / LOG_NAME}: expected a line with the hash {head}; none of its {counts['events']} lines has it. "
                "Lines were cut off its end, or it was written anew: put it back from a copy."
            )
        n_absent = _check_files(run, stream, index, settings, problems) if files else 0
    return Verification(
        head=last,
        n_events=counts["events"],
        n_pictures=sum(counts[kind] for kind in PICTURES),
        n_fits=counts["fit"],
        n_absent_weights=n_absent,
        n_unrecorded=counts["unrecorded"],
        files=files,
        problems=tuple(problems.named),
        n_problems=problems.count,
    )


def runs_in(folder: Path) -> tuple[Path, ...]:
    """The runs right below a folder that is none itself, such as that of a sweep, in natural order; else it alone.

    A run has a log or, at least, settings: one whose log was taken away is not to be passed over.
    """
    if _is_run(folder) or not folder.is_dir():
        return (folder,)
    below = [each for each in folder.iterdir() if not each.name.startswith(".") and not each.is_symlink()]
    return tuple(sorted(filter(_is_run, below), key=lambda each: natural_key(each.name))) or (folder,)


def _is_run(folder: Path) -> bool:
    return any(os.path.lexists(folder / name) for name in (LOG_NAME, SETTINGS_NAME))


def synthetic_hashes(run: Path) -> set[str]:
    """Hashes of all content that the log of a run knows to be synthetic; what is recorded as real, too, is not.

    May be asked while the log is open for writing. Raises LineageError where the chain is broken.
    """
    synthetic, real = set[str](), set[str]()
    with open_log(run) as stream:
        for link in read_links(stream, run / LOG_NAME, torn_tail=True):
            if isinstance(link.event, Image | Derived):
                synthetic.add(link.event.sha256)
            elif isinstance(link.event, Real):
                real.add(link.event.sha256)
    return synthetic - real


def verification_text(found: Verification) -> str:
    """What was checked and what was found, for a terminal."""
    lines = [plain(problem) for problem in found.problems]
    if found.n_problems > len(found.problems):
        lines.append(f"... and {found.n_problems - len(found.problems)} more.")
    if lines:
        lines.append("")
    checked = "chain whole" + (", files compared with it" if found.files else "; files not compared")
    lines.append(
        f"Checked: {counted(found.n_events, 'event')} ({checked}), {counted(found.n_pictures, 'picture')}, "
        f"{counted(found.n_fits, 'fit')}; {'nothing' if found.ok else counted(found.n_problems, 'problem')} found."
    )
    if found.n_absent_weights:
        lines.append(f"Weights no longer in the run, so not compared: {found.n_absent_weights}.")
    if found.n_unrecorded:
        lines.append(f"Pictures in training sets that no line before records: {found.n_unrecorded}.")
    lines.append(f"Head: {found.head}")
    lines.append("Lines cut off the end show only against a head kept elsewhere: verify --head HASH.")
    return "\n".join(lines)


def _refuse_writers(stream: BinaryIO, run: Path) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise LineageError(
            f"{run / LOG_NAME}: another process is writing to this log. Wait until it has finished, then verify."
        ) from error
    except OSError:
        return  # no locks on this file system


def _check_members(link: Link, index: Index, problems: _Problems) -> int:
    """Compare a fit's training set with what is recorded; returns how many of it are not recorded at all."""
    if not isinstance(link.event, Fit):
        return 0
    n_unrecorded = 0
    for member in link.event.training_set:
        is_real = member.origin == "real"
        kinds, generation = (("real",), None) if is_real else (("image", "derived"), member.generation)
        if index.by_hash(member.sha256, kinds=kinds, generation=generation) is not None:
            continue
        n_unrecorded += 1
        other = index.by_hash(member.sha256, kinds=PICTURES)
        if other is not None:
            said = _said_of(member.origin, member.generation)
            problems.add(
                f"line {link.line}: its training set holds {member.sha256} as {said}; "
                f"line {other.line} records it as {_said_of(other.kind, other.generation)}."
            )
    return n_unrecorded


def _said_of(kind: str, generation: int | None) -> str:
    return "real" if kind == "real" else f"synthetic of generation {generation}"


def _check_files(run: Path, stream: BinaryIO, index: Index, settings: str | None, problems: _Problems) -> int:
    """Compare the files with the log; returns how many fits' weights are not there to compare."""
    if settings is not None and settings_sha256(run) != settings:
        problems.add(f"{SETTINGS_NAME}: expected the sha256 {settings}, as last recorded; it was altered or removed.")
    pictures_in = {Path(place.path).parent for place in index.latest(*PICTURES)}
    weights_in = {Path(place.path).parent for place in index.latest("fit")}
    n_let_go = 0
    for path in walk(run):
        name = relative_to_root(run, path)
        if path.name == MANIFEST:
            n_let_go += _is_let_go(path.parent)
            folder = relative_to_root(run, path.parent)
            _check(path.parent, folder, index, problems, extra=Path(folder).parent in weights_in, what="weights")
        elif path.suffix.lower() in SUFFIXES:
            extra = path.parent != run or Path(name).parent in pictures_in
            _check(path, name, index, problems, extra=extra, what="picture")
        else:
            _check(path, name, index, problems, extra=False, what="weights")
            if path.name in METADATA_NAMES:
                for problem in metadata_problems(run, path, stream, index):
                    problems.add(problem)
    for place in index.unseen(*PICTURES):
        problems.add(f"{place.path}: expected the picture that line {place.line} records; it is missing.")
    return sum(1 for _ in index.unseen("fit")) + n_let_go


def _check(path: Path, name: str, index: Index, problems: _Problems, *, extra: bool, what: str) -> None:
    """Compare a file, or a folder of weights. ``extra``: one that is not recorded is a problem."""
    place = index.by_path(name)
    if place is None:
        if extra:
            problems.add(f"{name}: expected only what the log records; it knows no {what} of this name.")
        return
    index.see(name)
    found = _hash_of(path)
    if found != place.sha256:
        problems.add(f"{name}: expected the sha256 {place.sha256} that line {place.line} records; found {found}.")


def metadata_problems(run: Path, path: Path, stream: BinaryIO, index: Index) -> Iterator[str]:
    """What a table says of pictures that is not what is recorded of them: prompt, group, slot, seed, original.

    ``stream``: of the log that ``index`` is of. One sentence each.
    """
    name, folder = relative_to_root(run, path), path.parent.relative_to(run).as_posix()
    if path.is_symlink():
        yield f"{name}: expected the table of the pictures here; found a link, which is not followed."
        return
    try:
        for _, target, texts in read_table(path):
            place = None if target is None else index.by_path(f"{folder}/{target}".removeprefix("./"))
            if place is None or place.kind not in PICTURES:
                continue
            stream.seek(place.offset)
            recorded = _told_of(parse_line(stream.readline(), f"line {place.line}")[0])
            for column, value in recorded.items():
                found = texts.get(column, value)
                if found != value:
                    yield (
                        f"{name}: says of {target} that its {column} is {found[:80]!r}; line {place.line} records "
                        f"{value[:80]!r}."
                    )
    except LineageError as error:
        yield str(error)


def _told_of(event: Event | None) -> dict[str, str]:
    """What the log says of a picture, by the column that says the same; without what it does not say."""
    told: dict[str, object] = {}
    if isinstance(event, Real | Image):
        told["text"] = event.prompt
    if isinstance(event, Real | Image | Derived):
        told["group"] = event.group
    if isinstance(event, Real):
        told["original_sha256"] = event.original_sha256 or ""
    if isinstance(event, Image | Derived):
        told["slot"] = event.slot
    if isinstance(event, Image):
        told["seed"] = "" if event.seed is None else event.seed
    return {column: str(value) for column, value in told.items() if value != ""}


def _hash_of(path: Path) -> str:
    """The hash of a file or of a folder of weights; or, in its place, why it has none."""
    try:
        if path.is_symlink():
            return "a link, which is not followed"
        if path.is_dir():
            return (stated_manifest(path) if _is_let_go(path) else read_manifest(path)).sha256
        return sha256_of(path)
    except ModelError as error:
        return f"a damaged folder ({error})"
    except OSError as error:
        return f"a file that cannot be read ({error.strerror})"


def _is_let_go(folder: Path) -> bool:
    """Whether of published weights only the manifest is kept."""
    return all(path.name == MANIFEST for path in folder.iterdir())


def walk(run: Path) -> Iterator[Path]:
    """Every file below the run folder, in order; links to folders are not followed, hidden names passed over."""
    for folder, folders, names in os.walk(run):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _NOT_THE_RUN)
        yield from (
            path
            for path in (Path(folder, name) for name in sorted(names) if not name.startswith("."))
            if path.is_symlink() or path.is_file()
        )
