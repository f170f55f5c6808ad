"""What a provenance log holds: one frozen dataclass per kind of event, and their only form as text.

A line is one JSON object in canonical form (keys sorted, no spaces, UTF-8, no NaN), with its own hash put in front::

    {"hash":"<sha256>","at":"2026-01-31T12:00:00.000000Z","kind":"image", ... ,"previous":"<hash of the line before>"}

``hash`` is the sha256 of the line's bytes, newline included, without the ``"hash":"...",`` itself, so that ``sed`` and
``sha256sum`` can check it. The first line's ``previous`` is ``GENESIS``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import PurePath
from typing import ClassVar, Literal

from decay.errors import LineageError

FORMAT_VERSION = 1
"""1: the kinds below, ``begin`` to ``note``, chained as described above."""
GENESIS = hashlib.sha256(b"decay provenance 1\n").hexdigest()

Origin = Literal["real", "synthetic"]

_SURROGATE = re.compile("[\ud800-\udfff]")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PREFIX = b'{"hash":"'
_REST = len(_PREFIX) + 64 + len(b'",')


@dataclass(frozen=True)
class Begin:
    """The first line. ``settings_sha256``: of lineage.json, None where there is none yet.

    ``environment``: what ``decay.provenance.environment`` says of code, packages and hardware.
    """

    kind: ClassVar[str] = "begin"
    environment: Mapping[str, object]
    settings_sha256: str | None = None
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True)
class Resume:
    """The log was opened again. ``n_events``: lines before this one. ``cut_bytes``: of a torn last line, cut off."""

    kind: ClassVar[str] = "resume"
    environment: Mapping[str, object]
    n_events: int
    cut_bytes: int = 0
    settings_sha256: str | None = None


@dataclass(frozen=True)
class Real:
    """A photograph. ``path``: posix, from the run folder. ``sha256``: of that file. ``original_sha256``: of the file it
    was prepared from, called ``source``.
    """

    kind: ClassVar[str] = "real"
    path: str
    sha256: str
    original_sha256: str | None = None
    source: str = ""
    group: str = ""
    prompt: str = ""


@dataclass(frozen=True)
class Member:
    """One picture of a training set. ``generation``: that made it, None for a real one."""

    sha256: str
    origin: Origin
    generation: int | None = None


@dataclass(frozen=True)
class Fit:
    """Weights, and what they were fitted on.

    ``path``: their file or folder. ``sha256``: of the file, or the manifest's hash of a published folder.
    ``parent``: hash of the weights it went on from, None for none. ``generation``: that these weights make.
    ``training_set``: in the order of the dataset; empty for weights from elsewhere. ``steps``: of optimisation.
    """

    kind: ClassVar[str] = "fit"
    path: str
    sha256: str
    training_set: tuple[Member, ...]
    parent: str | None = None
    generation: int | None = None
    seed: int | None = None
    steps: int | None = None
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Image:
    """A generated picture. ``weights``: hash of those that made it. ``parents``: of the pictures it started from.

    ``extra``: whatever else is worth keeping (steps, guidance, attempt).
    """

    kind: ClassVar[str] = "image"
    path: str
    sha256: str
    prompt: str = ""
    seed: int | None = None
    slot: str = ""
    group: str = ""
    generation: int | None = None
    weights: str | None = None
    parents: tuple[str, ...] = ()
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Derived:
    """A picture worked over, not generated. ``parents``: hashes of what it was made of; its ancestry is theirs.

    ``method``: in a word, e.g. ``histogram-matched``. ``reference``: hash of a picture that only lent a property
    (colours), which makes it no ancestor.
    """

    kind: ClassVar[str] = "derived"
    path: str
    sha256: str
    parents: tuple[str, ...]
    method: str
    generation: int | None = None
    slot: str = ""
    group: str = ""
    reference: str | None = None
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Note:
    """Anything else, in words and data."""

    kind: ClassVar[str] = "note"
    text: str
    data: Mapping[str, object] = field(default_factory=dict)


Event = Begin | Resume | Real | Fit | Image | Derived | Note
Picture = Real | Image | Derived

_KINDS: Mapping[str, type[Event]] = {each.kind: each for each in (Begin, Resume, Real, Fit, Image, Derived, Note)}


def now() -> str:
    """The time in UTC, ISO 8601, microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def event_to_line(event: Event, previous: str, at: str) -> tuple[bytes, str]:
    """The line of an event, newline included, and its hash. Raises as ``canonical`` does."""
    body = canonical({**vars(event), "kind": event.kind, "previous": previous, "at": at}) + b"\n"
    digest = hashlib.sha256(body).hexdigest()
    return _PREFIX + digest.encode() + b'",' + body[1:], digest


def canonical(record: Mapping[str, object]) -> bytes:
    """JSON with sorted keys and no spaces, UTF-8. Raises ValueError for NaN, TypeError for what is no data."""
    text = json.dumps(
        record, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain
    )
    # A lone surrogate (a byte of a file name that is no UTF-8) is no Unicode text: it is spelled out, \\udcff.
    return _SURROGATE.sub(lambda found: f"\\\\u{ord(found[0]):04x}", text).encode("utf-8")


def _plain(value: object) -> object:
    if isinstance(value, Member):
        return {"sha256": value.sha256, "origin": value.origin, "generation": value.generation}
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "item"):  # a number of NumPy's
        return value.item()
    raise TypeError(f"a provenance log holds texts, numbers, lists and mappings; got a {type(value).__name__}")


def line_hashes(line: bytes) -> tuple[str, str] | None:
    """(the hash that a line states, the hash that it has); None if it is not of our form."""
    stated = line[len(_PREFIX) : len(_PREFIX) + 64]
    if not (line.startswith(_PREFIX) and line[_REST - 2 : _REST] == b'",' and line.endswith(b"\n")):
        return None
    return stated.decode("ascii", "replace"), hashlib.sha256(b"{" + line[_REST:]).hexdigest()


def parse_line(line: bytes, where: str) -> tuple[Event | None, str, str]:
    """(event, or None if of a kind unknown here; ``previous``; ``at``). Raises LineageError, saying ``where``."""
    try:
        said = json.loads(line, parse_constant=_no_number)
        kind = _KINDS.get(_text(said["kind"]))
        event = None if kind is None else _build(kind, said)
        return event, _hash(said["previous"]), _text(said["at"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LineageError(
            f"{where}: expected an event of a provenance log; found something else ({error!r}). "
            "Put the log back from a copy."
        ) from error


def _build(kind: type[Event], said: Mapping[str, object]) -> Event:
    known = {name: read(said[name]) for name, read in _FIELDS[kind].items() if name in said}
    return kind(**known)  # type: ignore[arg-type]  # each value was checked by its reader


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, found {str(value)[:40]!r}")
    value.encode("utf-8")  # JSON can spell lone surrogates, which no table could hold
    return value


def _hash(value: object) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise TypeError(f"expected a sha256, found {str(value)[:40]!r}")
    return value


def _maybe_hash(value: object) -> str | None:
    return None if value is None else _hash(value)


def _hashes(value: object) -> tuple[str, ...]:
    return tuple(_hash(item) for item in _list(value))


def _list(value: object) -> Sequence[object]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, found {str(value)[:40]!r}")
    return value


def _number(value: object) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63):
        raise TypeError(f"expected a whole number of 64 bits, found {str(value)[:40]!r}")
    return value


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no JSON")


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, found {str(value)[:40]!r}")
    return value


def _members(value: object) -> tuple[Member, ...]:
    return tuple(_member(_mapping(item)) for item in _list(value))


def _member(said: Mapping[str, object]) -> Member:
    origin = said["origin"]
    if origin not in ("real", "synthetic"):
        raise TypeError(f"expected real or synthetic, found {str(origin)[:40]!r}")
    return Member(_hash(said["sha256"]), "real" if origin == "real" else "synthetic", _number(said["generation"]))


_READERS: Mapping[str, Callable[[object], object]] = {
    "environment": _mapping,
    "settings_sha256": _maybe_hash,
    "format_version": _number,
    "n_events": _number,
    "cut_bytes": _number,
    "path": _text,
    "sha256": _hash,
    "original_sha256": _maybe_hash,
    "source": _text,
    "group": _text,
    "prompt": _text,
    "training_set": _members,
    "parent": _maybe_hash,
    "generation": _number,
    "seed": _number,
    "steps": _number,
    "extra": _mapping,
    "slot": _text,
    "weights": _maybe_hash,
    "parents": _hashes,
    "method": _text,
    "reference": _maybe_hash,
    "text": _text,
    "data": _mapping,
}
_FIELDS = {kind: {each.name: _READERS[each.name] for each in fields(kind)} for kind in _KINDS.values()}
