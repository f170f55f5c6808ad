"""Readings of single images -> the tables of the contract, one row per image, face, eye and hand.

``generation`` is -1 in rows of the reference folder ``real/``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from decay.errors import DecayError
from decay.lineage import REFERENCE_INDEX, ImageRecord, Lineage, records
from decay.metadata import EXPECTABLE
from decay.outcome import Outcome
from decay.vectors import lengths_of, read_vectors, usual_lengths, write_vectors
from detectors.reader import ImageReadings, Row
from detectors.registry import families
from detectors.trait import OK, Subject

EMBEDDING = "face_embedding"
FEATURES = "features"
"""Folder of the vectors of whole pictures."""


@dataclass(frozen=True)
class Tables:
    """The tables under ``measures/``; columns as in the contract, then one per declared reading and state."""

    images: pd.DataFrame
    faces: pd.DataFrame
    eyes: pd.DataFrame
    hands: pd.DataFrame

    def of(self, subject: Subject) -> pd.DataFrame:
        """The table whose rows are these subjects."""
        return {"image": self.images, "face": self.faces, "eye": self.eyes, "hand": self.hands}[subject]

    def named(self) -> dict[str, pd.DataFrame]:
        """File stem -> table as written; vectors stand in files of their own, not among the images and faces."""
        return {
            "images": self.images.drop(columns=list(vector_columns())),
            "faces": self.faces.drop(columns=[EMBEDDING, "embedder"]),
            "eyes": self.eyes,
            "hands": self.hands,
            "embeddings": _embeddings(self.faces),
        }


def build_tables(lineage: Lineage, outcomes: Mapping[str, Outcome]) -> Tables:
    """``outcomes``: by the image's path relative to the lineage root.

    Raises DecayError where vectors of one column differ in length: readings of a foreign or edited journal.
    """
    _check_lengths(outcomes.values())
    rows: dict[str, list[dict[str, Any]]] = {"image": [], "face": [], "eye": [], "hand": []}
    for generation, record in records(lineage):
        outcome = outcomes[record.relative]
        where = {"generation": generation, "image": record.relative}
        rows["image"].append(where | _image_columns(record, outcome))
        if outcome.readings:
            rows["face"] += [where | row for row in outcome.readings.faces]
            rows["eye"] += [where | row for row in outcome.readings.eyes]
            rows["hand"] += [where | row for row in outcome.readings.hands]
    images = _with_expectations(_frame(rows["image"], "image"))
    return Tables(
        images=images,
        faces=_frame(rows["face"], "face"),
        eyes=_frame(rows["eye"], "eye"),
        hands=_frame(rows["hand"], "hand"),
    )


def _check_lengths(outcomes: Iterable[Outcome]) -> None:
    lengths = [lengths_of(outcome.readings) for outcome in outcomes if outcome.readings]
    usual = usual_lengths(lengths)
    for name, n in {length for of_image in lengths for length in of_image}:
        if n != usual[name]:
            raise DecayError(
                f"{name}: expected vectors of one length; found some of {usual[name]} numbers and some of {n}. The "
                "journal is not this program's, or was edited: move measures/journal.sqlite away, and the same command "
                "measures anew."
            )


@cache
def vector_columns() -> tuple[str, ...]:
    """The columns of images that hold vectors."""
    readings = (reading for family in families() for reading in family.readings_of("image"))
    return tuple(reading.name for reading in readings if reading.kind == "vector")


def write_image_vectors(images: pd.DataFrame, folder: Path) -> None:
    """One NumPy file for each column of vectors that holds any, a row for each image. Raises OSError."""
    for name in vector_columns():
        if any(len(vector) for vector in images[name]):
            folder.mkdir(exist_ok=True)
            write_vectors(folder / f"{name}.npy", list(images[name]))


def load_tables(folder: Path) -> Tables:
    """The tables as ``measure`` wrote them to ``folder``, the embeddings joined back to their faces.

    Raises OSError where a file cannot be read, ValueError or KeyError where it is not one of ours.
    """
    frames = {stem: pd.read_parquet(folder / f"{stem}.parquet") for stem in (*_STEMS.values(), "embeddings")}
    keys = ["generation", "image", "face"]
    embeddings = frames["embeddings"].rename(columns={"embedding": EMBEDDING})
    frames["faces"] = frames["faces"].merge(embeddings, on=keys, how="left", validate="one_to_one")
    frames["faces"] = frames["faces"].assign(
        embedder=frames["faces"]["embedder"].fillna(""), **{EMBEDDING: frames["faces"][EMBEDDING].map(_vector)}
    )
    images = frames["images"]
    for name, vectors in _image_vectors(images, folder / FEATURES).items():
        images = images.assign(**{name: pd.Series(vectors, index=images.index, dtype=object)})
    return Tables(
        images=images.astype(_declared_columns("image") | {f"expects_{what}": "int64" for what in EXPECTABLE}),
        **{stem: _frame_of(frames[stem], subject) for subject, stem in _STEMS.items() if subject != "image"},
    )


def _image_vectors(images: pd.DataFrame, folder: Path) -> dict[str, list[NDArray[np.float32]]]:
    """Of each column of vectors; empty ones where nothing was measured, whatever older files lie there."""
    found = {}
    for family in families():
        is_there = bool((images[family.state_column] == OK).any()) if family.features else False
        for reading in family.readings_of("image"):
            if reading.kind == "vector":
                none = [np.empty(0, np.float32)] * len(images)
                found[reading.name] = read_vectors(folder / f"{reading.name}.npy", len(images)) if is_there else none
    return found


_STEMS: Mapping[Subject, str] = {"image": "images", "face": "faces", "eye": "eyes", "hand": "hands"}


def _frame_of(frame: pd.DataFrame, subject: Subject) -> pd.DataFrame:
    return frame.astype({name: kind for name, kind in _declared_columns(subject).items() if kind != "object"})


def _vector(cell: Any) -> NDArray[np.float32]:
    return np.empty(0, np.float32) if cell is None or np.ndim(cell) == 0 else np.asarray(cell, dtype=np.float32)


def _image_columns(record: ImageRecord, outcome: Outcome) -> dict[str, Any]:
    columns = {
        "sha256": outcome.sha256,
        "width": pd.NA,
        "height": pd.NA,
        "slot": record.slot,
        "prompt": record.prompt,
        "group": record.group,
        "state": outcome.state,
        "reason": outcome.reason,
        "file_notes": "",
        "n_faces": pd.NA,
        "n_hands": pd.NA,
    }
    columns |= {f"says_{what}": _declared(record, what) for what in EXPECTABLE}
    columns |= dict.fromkeys(vector_columns(), np.empty(0, np.float32))
    if outcome.readings:
        columns |= outcome.readings.image
    return columns


def _declared(record: ImageRecord, what: str) -> object:
    return pd.NA if record.expects is None else int(what in record.expects)


def _with_expectations(images: pd.DataFrame) -> pd.DataFrame:
    """Add ``expects_face`` and ``expects_hand``: how many an image should show.

    What its metadata or prompt says; else as many as the same slot shows in what it is compared with (the reference
    folder, or a generation 0); else, for a slot that is not there, as many as most images there show. What a later
    image shows itself says nothing of what it has lost.
    """
    images = images.copy()
    for what in EXPECTABLE:
        found = pd.to_numeric(images[f"n_{what}s"])
        before = [found[images["generation"] == first] for first in _references(images)]
        said = pd.to_numeric(images[f"says_{what}"])
        for shown in before:
            said = said.fillna(images["slot"].map(shown.groupby(images["slot"]).first()))
        usual = before[0].median() if before else 0.0
        images[f"expects_{what}"] = said.fillna(usual).fillna(0).round().astype("int64")
    return images.drop(columns=[f"says_{what}" for what in EXPECTABLE])


def _references(images: pd.DataFrame) -> list[int]:
    """What slots are compared with: the reference folder, and the first generation."""
    numbers = sorted(set(images["generation"]))
    return numbers[: 2 if numbers[:1] == [REFERENCE_INDEX] else 1]


def fit_the_tables(readings: ImageReadings) -> bool:
    """Whether every value is of its column's type and every face and hand numbered. A journal may be foreign."""
    rows: tuple[tuple[Subject, Sequence[Row]], ...] = (
        ("image", (readings.image,)), ("face", readings.faces), ("eye", readings.eyes), ("hand", readings.hands)
    )  # fmt: skip
    return all(_fits(row, subject) for subject, of_subject in rows for row in of_subject)


def _fits(row: Row, subject: Subject) -> bool:
    needed, types, never = _types_of(subject)
    if not needed <= row.keys() or not never.isdisjoint(row):
        return False
    return all(isinstance(value, types.get(name, _ANY)) and _can_be_kept(value) for name, value in row.items())


def _can_be_kept(value: object) -> bool:
    """Whether a column can hold it: no number beyond 64 bits, no text with lone surrogates, no vector with gaps."""
    if isinstance(value, str):
        return _SURROGATE.search(value) is None
    if isinstance(value, np.ndarray):
        return bool(np.isfinite(value).all())
    return not isinstance(value, int) or -(2**63) <= value < 2**63


@cache
def _types_of(subject: Subject) -> tuple[frozenset[str], Mapping[str, tuple[type, ...]], frozenset[str]]:
    """Which columns a row of readings must have, what each may hold, and which are not a reading's to say."""
    kinds = _declared_columns(subject)
    needed = frozenset(name for name, kind in kinds.items() if kind == "int64" and name not in _WHERE)
    return needed, {name: _TYPES[kind] for name, kind in kinds.items()}, _NOT_READ


def _frame(rows: Sequence[Mapping[str, Any]], subject: Subject) -> pd.DataFrame:
    """A table that has its declared columns even when it has no rows, with the types that Parquet needs."""
    frame = pd.DataFrame.from_records([dict(row) for row in rows])
    kinds = _declared_columns(subject)
    missing = [name for name in kinds if name not in frame]
    frame = frame.reindex(columns=[*frame.columns, *missing])
    return frame.astype(kinds)


def _declared_columns(subject: Subject) -> dict[str, str]:
    columns = dict(_FIXED_COLUMNS[subject])
    for family in families():
        readings = family.readings_of(subject)
        if readings:
            columns[family.state_column] = "str"
        columns |= {reading.name: _DTYPES[reading.kind] for reading in readings}
    return columns


_DTYPES = {"number": "float64", "word": "str", "vector": "object"}
_WHERE = {"generation": "int64", "image": "str"}
_NOT_READ = frozenset({*_WHERE, "sha256", "slot", "prompt", "group", "state", "reason"})
_TYPES: Mapping[str, tuple[type, ...]] = {
    "int64": (int,), "Int64": (int,), "float64": (int, float), "str": (str,), "object": (np.ndarray,)
}  # fmt: skip
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_ANY = (int, float, str, np.ndarray)
_FIXED_COLUMNS: Mapping[Subject, Mapping[str, str]] = {
    "image": _WHERE
    | {"sha256": "str", "width": "Int64", "height": "Int64", "slot": "str", "prompt": "str", "group": "str"}
    | {"state": "str", "reason": "str", "file_notes": "str", "n_faces": "Int64", "n_hands": "Int64"},
    "face": _WHERE
    | {"face": "int64", "box": "str", "face_state": "str", "face_quality": "float64", "yaw_deg": "float64"}
    | {"pitch_deg": "float64", "roll_deg": "float64", "embedder": "str"},
    "eye": _WHERE | {"face": "int64", "side": "str"},
    "hand": _WHERE | {"hand": "int64", "box": "str", "hand_side": "str", "hand_score": "float64"},
}


def _embeddings(faces: pd.DataFrame) -> pd.DataFrame:
    table = faces[["generation", "image", "face", "embedder", EMBEDDING]]
    table = table[table[EMBEDDING].map(len) > 0] if len(table) else table
    return table.rename(columns={EMBEDDING: "embedding"}).reset_index(drop=True)
