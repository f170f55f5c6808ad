"""What others wrote about their images: metadata.jsonl or metadata.csv, and lineage.json.

The form is that of Hugging Face's imagefolder: ``file_name`` (from the metadata's own folder) and ``text``,
and ours: ``seed``, ``slot``, ``group``, ``source``, ``expects``. Nothing in it is trusted: sizes are bounded,
a ``file_name`` can only name an image that was found anyway, texts stay plain texts, columns of
other names are kept as texts for whoever asks, and what cannot be read is an error that names the line.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from string import Formatter
from typing import Literal

from decay import storage
from decay.errors import FileProblem, LineageError
from decay.files import read_regular

EXPECTABLE: tuple[Literal["face", "hand"], ...] = ("face", "hand")
MAX_METADATA_BYTES = 64 * 2**20
MAX_SETTINGS_BYTES = 2**20

METADATA_NAMES = ("metadata.jsonl", "metadata.csv")
_OURS = ("file_name", "text", "slot", "group", "seed", "source", "expects")
_DRIVE = re.compile(r"^[A-Za-z]:$")
_WHOLE_NUMBER = re.compile(r"^\s*(-?\d{1,20})(?:\.0*)?\s*$")


@dataclass(frozen=True)
class Known:
    """What a metadata row says of one image. ``columns``: the texts and numbers in columns of other names, as text."""

    prompt: str = ""
    slot: str = ""
    group: str = ""
    seed: int | None = None
    source: str = ""
    expects: frozenset[str] | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


def read_metadata(root: Path, folders: Iterable[Path], images: Iterable[str], notes: list[str]) -> dict[str, Known]:
    """What the metadata files in ``folders`` say of ``images`` (paths from the root), by image.

    A deeper file overrides what a higher one says. Raises LineageError, naming file and line.
    """
    # Names typed on another system may be composed otherwise (macOS) though they look the same.
    spelled = {_composed(image): image for image in images}
    known: dict[str, Known] = {}
    said_in: dict[str, Path] = {}
    counts: Counter[str] = Counter()
    for folder, relative, name, row in _rows_of(root, folders, notes):
        target = _target(relative, name)
        image = spelled.get(_composed(target)) if target is not None else None
        if image is None:
            counts["lead out of their folder" if target is None else "name no image of a generation"] += 1
        elif said_in.get(image) == folder:
            counts["name an image a second time (the first counts)"] += 1
        else:
            known[image] = _merge(known[image], row) if image in known else row
            said_in[image] = folder
    notes.extend(f"Metadata rows that {what}, ignored: {count}." for what, count in sorted(counts.items()))
    return known


def read_table(path: Path) -> Iterator[tuple[str, str | None, dict[str, str]]]:
    """(where, file, texts) of each row of a table of images that the user names, CSV or, ending in .jsonl, JSON lines.

    ``where``: table and line, for messages. ``file``: what its ``file_name`` means, a posix path in NFC, or None if
    that leads out of the folder. ``texts``: every text and number by column, as text. Raises LineageError.
    """
    text = _read_text(path, path.resolve().parent, MAX_METADATA_BYTES)
    for where, row in _jsonl_rows(path, text) if path.suffix.lower() == ".jsonl" else _csv_rows(path, text):
        texts = {column: _text(where, row, column) for column, value in row.items() if _is_text(value)}
        if not texts.get("file_name"):
            raise LineageError(f"{where}: expected a file_name, the image's path in its folder; found none. Add it.")
        target = _target(".", texts["file_name"])
        yield where, None if target is None else _composed(target), texts


def _rows_of(root: Path, folders: Iterable[Path], notes: list[str]) -> Iterator[tuple[Path, str, str, Known]]:
    """(folder, its path from the root, file_name, row) of every metadata file, those of deeper folders last."""
    for folder in sorted(set(folders), key=lambda f: (len(f.parts), natural_key(str(f)))):
        present = [folder / name for name in METADATA_NAMES if storage.is_entry(folder / name)]
        if len(present) > 1:
            notes.append(f"{relative_to_root(root, present[1])}: ignored, metadata.jsonl beside it is read.")
        for path in present[:1]:
            text = _read_text(path, root, MAX_METADATA_BYTES)
            rows = _jsonl_rows(path, text) if path.suffix == ".jsonl" else _csv_rows(path, text)
            relative = relative_to_root(root, folder)
            for where, row in rows:
                yield folder, relative, *_parse_row(where, row)


def _read_text(path: Path, root: Path, max_bytes: int) -> str:
    try:
        return read_regular(path, within=root, max_bytes=max_bytes).decode("utf-8-sig")
    except FileProblem as problem:
        raise LineageError(str(problem)) from problem
    except UnicodeDecodeError as error:
        raise LineageError(
            f"{path}: expected UTF-8 text; found other bytes at {error.start}. Save it as UTF-8."
        ) from error


def _jsonl_rows(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    # Not splitlines(): JSON may hold U+2028 and the like unescaped inside a string.
    file = str(path)
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            where = f"{file}, line {number}"
            yield where, _json_object(where, line)


def _json_object(where: str, text: str) -> dict[str, object]:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LineageError(f"{where}: expected a JSON object; found what is no JSON ({error}). Correct it.") from error
    if not isinstance(row, dict):
        raise LineageError(f"{where}: expected a JSON object; found a {type(row).__name__}. Write it as {{...}}.")
    return row


def _csv_rows(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    file, last_good = str(path), 0
    try:
        if "file_name" not in (reader.fieldnames or ()):
            raise LineageError(f"{path}, line 1: expected a column file_name; found none. Add it to the first line.")
        for row in reader:
            last_good = reader.line_num
            where = f"{file}, line {last_good}"
            if None in row:
                raise LineageError(f"{where}: expected as many cells as columns; found more. Quote texts with commas.")
            yield where, {key: cell for key, cell in row.items() if cell not in (None, "")}
    except csv.Error as error:
        raise LineageError(f"{path}, after line {last_good}: expected CSV; found: {error}. Correct it.") from error


def _parse_row(where: str, row: Mapping[str, object]) -> tuple[str, Known]:
    name = row.get("file_name")
    if not isinstance(name, str) or not name:
        raise LineageError(f"{where}: expected a file_name, the image's path from this folder; found none. Add it.")
    known = Known(
        prompt=_text(where, row, "text"),
        slot=_composed(_text(where, row, "slot")),
        group=_text(where, row, "group"),
        seed=_seed(where, row.get("seed")),
        source=_text(where, row, "source"),
        expects=_expects(where, row.get("expects")),
        columns={
            column: _text(where, row, column)
            for column, value in row.items()
            if column not in _OURS and _is_text(value)
        },
    )
    return name, known


def _text(where: str, row: Mapping[str, object], column: str) -> str:
    value = row.get(column)
    if value is None:
        return ""
    if isinstance(value, str) and value.isascii():  # nearly all of a million rows; what follows would change nothing
        return value
    if not _is_text(value):
        raise LineageError(f"{where}: expected text in {column}; found a {type(value).__name__}. Write it as a string.")
    # A lone surrogate (JSON can spell one) is no Unicode text, and no table could hold it.
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


def _composed(text: str) -> str:
    """In NFC, which plain ASCII is already."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _is_text(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _seed(where: str, value: object) -> int | None:
    if value is None or value == "":
        return None
    # "7.0" is what pandas makes of a column of whole numbers with gaps.
    if not isinstance(value, bool) and (number := _WHOLE_NUMBER.match(str(value))) is not None:
        return int(number.group(1))
    raise LineageError(f"{where}: expected a whole number in seed; found {str(value)[:40]!r}. Correct it.")


def _expects(where: str, value: object) -> frozenset[str] | None:
    if value is None or value == "":
        return None
    words = re.split(r"[\s,;|]+", value.strip("[]")) if isinstance(value, str) else value
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        said = _subjects(tuple(words))
        if said is not None:
            return said
    wanted = ", ".join(EXPECTABLE)
    raise LineageError(f"{where}: expected words out of {wanted} in expects; found {str(value)[:40]!r}. Correct it.")


@lru_cache(maxsize=64)
def _subjects(words: tuple[str, ...]) -> frozenset[str] | None:
    """The subjects that are named, None where one of the words names none."""
    said = {word.strip("\"' ").casefold() for word in words} - {"", "none"}
    return frozenset(said) if said <= set(EXPECTABLE) else None


def _target(folder: str, name: str) -> str | None:
    """Where ``file_name`` points, from the root; None if that is outside of the metadata's own ``folder`` ("." for the
    root)."""
    name = name.replace("\\", "/")
    # As pathlib would split it, which for a million names takes longer than all the rest.
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or not parts or name.startswith("/") or _DRIVE.match(parts[0]):
        return None
    return "/".join(parts if folder == "." else (folder, *parts))


def _merge(above: Known, below: Known) -> Known:
    said = {name: value for name, value in vars(below).items() if value not in ("", None)}
    return replace(above, **said | {"columns": {**above.columns, **below.columns}})


def metadata_row(
    file_name: str, text: str, slot: int, seed: int | None, group: str, source: str, expects: Iterable[str] | None
) -> dict[str, object]:
    """The line of metadata.jsonl for an image that we made; ``expects``: the subjects it should show, if known."""
    row = {"file_name": file_name, "text": text, "slot": slot, "seed": seed, "group": group, "source": source}
    return row if expects is None else {**row, "expects": sorted(expects)}


def fill_template(template: str, columns: Mapping[str, str]) -> str:
    """``a photo of a {age} {gender}`` with the columns' texts in its places. Raises KeyError for one that is absent.

    Only plain names: no attribute or index of a text can be reached.
    """
    return "".join(text + ("" if name is None else columns[name]) for text, name, _, _ in Formatter().parse(template))


def json_lines(rows: Iterable[Mapping[str, object]]) -> str:
    """One JSON object a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def read_settings(root: Path) -> Mapping[str, object]:
    """The object in ``lineage.json``; empty where there is none. Raises LineageError."""
    path = root / "lineage.json"
    if not storage.is_entry(path):
        return {}
    return _json_object(str(path), _read_text(path, root, MAX_SETTINGS_BYTES))


def natural_key(name: str) -> tuple[object, ...]:
    """Sorts ``iter2`` before ``iter10``; ties (``1``, ``01``) and case by code point, so that the order is total."""
    parts = re.split(r"(\d+)", name.casefold())
    return (*((int(part), "") if i % 2 else (-1, part) for i, part in enumerate(parts)), (-2, name))


def relative_to_root(root: Path, path: Path) -> str:
    """Posix path from the root. Bytes that are no UTF-8 (Linux allows them) become ``\\xff``: tables hold Unicode."""
    return as_unicode(path.relative_to(root).as_posix())


def as_unicode(text: str) -> str:
    """Text that may hold names of files: bytes in them that are no UTF-8 become ``\\xff``."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")
