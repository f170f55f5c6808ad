"""One image in, one row per image, face, eye and hand out: runs every family over one View."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

import numpy as np

from detectors.embedder import Embedder
from detectors.registry import families
from detectors.trait import OK, Eye, Face, Family, Hand, Measurement, Pixels, Reading, ReadingKind, Value, View
from detectors.vision import Vision

Row = dict[str, Value | int]


@dataclass(frozen=True)
class ImageReadings:
    """Everything read off one image, free of paths: one Row for the image, one per face, eye and hand.

    Rows of faces carry ``face`` (0, 1, ... from the image's left), rows of eyes ``face`` and ``side``,
    rows of hands ``hand``.
    """

    image: Row = field(default_factory=dict)
    faces: tuple[Row, ...] = ()
    eyes: tuple[Row, ...] = ()
    hands: tuple[Row, ...] = ()


class Reader:
    """Reads images one after another. Use as a context manager: the models are freed at the end."""

    def __init__(self, vision: Vision, embedder: Embedder) -> None:
        self._vision = vision
        self._embedder = embedder

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._vision.close()

    def look(self, pixels: Pixels) -> View:
        """Find and embed what there is to read. ``pixels``: sRGB uint8 (h, w, 3)."""
        view = self._vision.look(pixels)
        faces = sorted(view.faces, key=lambda face: (face.box.x0, face.box.y0))
        hands = sorted(view.hands, key=lambda hand: (hand.box.x0, hand.box.y0))
        embedded = tuple(
            replace(
                face,
                embedding=self._embedder.embed(pixels, face),
                embedder=self._embedder.name,
                same_person_cosine=self._embedder.same_person_cosine,
            )
            for face in faces
        )
        return View(pixels, embedded, tuple(hands))

    def read(self, pixels: Pixels) -> ImageReadings:
        """Read one image. ``pixels``: sRGB uint8 (h, w, 3)."""
        return view_to_readings(self.look(pixels), families())


def view_to_readings(view: View, all_families: Sequence[Family]) -> ImageReadings:
    """Run the families over what was found, in the order of their names."""
    height, width = view.pixels.shape[:2]
    image: Row = {"width": width, "height": height, "n_faces": len(view.faces), "n_hands": len(view.hands)}
    faces = [_face_row(index, face) for index, face in enumerate(view.faces)]
    eyes = [_eye_row(index, eye) for index, face in enumerate(view.faces) for eye in face.eyes]
    hands = [_hand_row(index, hand) for index, hand in enumerate(view.hands)]
    for family in all_families:
        if family.subject == "image":
            image |= row_of(family, "image", family.measure(view, None))
        elif family.subject == "hand":
            for row, hand in zip(hands, view.hands, strict=True):
                row.update(row_of(family, "hand", family.measure(view, hand)))
        else:
            for index, face in enumerate(view.faces):
                measurement = family.measure(view, face)
                faces[index] |= row_of(family, "face", measurement)
                if family.reads_eyes:
                    for side in (0, 1):
                        eyes[2 * index + side] |= row_of(family, "eye", _eye_measurement(family, measurement, side))
    return ImageReadings(image, tuple(faces), tuple(eyes), tuple(hands))


def _eye_measurement(family: Family, measurement: Measurement, side: int) -> Measurement:
    if measurement.eyes is None:
        raise ValueError(f"family {family.name} declares readings of eyes and measured none")
    return measurement.eyes[side]


def row_of(family: Family, subject: str, measurement: Measurement) -> Row:
    """Flatten one measurement into columns: its state, and each declared reading or its missing value."""
    if measurement.state not in family.states:
        raise ValueError(f"family {family.name} returned the undeclared state {measurement.state!r}")
    declared = [reading for reading in family.readings if reading.subject == subject]
    if measurement.state == OK:
        check_complete(family.name, declared, measurement.values)
    row: Row = {family.state_column: measurement.state} if declared else {}
    for reading in declared:
        row[reading.name] = measurement.values.get(reading.name, missing_value(reading.kind))
    return row


def missing_value(kind: ReadingKind) -> Value:
    """What stands in a row where nothing was measured: NaN, the empty word, or the empty vector."""
    if kind == "number":
        return math.nan
    return "" if kind == "word" else np.empty(0, np.float32)


def check_complete(family: str, declared: Sequence[Reading], values: Mapping[str, Value]) -> None:
    """Raise ValueError unless ``values`` are the declared readings, each number finite and in its range, or NaN."""
    names = {reading.name for reading in declared}
    if names != set(values):
        raise ValueError(f"family {family} declared {sorted(names)} and returned {sorted(values)}")
    for reading in declared:
        value = values[reading.name]
        if reading.kind != "number":
            continue
        if not isinstance(value, int | float) or math.isinf(value):
            raise ValueError(f"{reading.name} must be a finite number or NaN, got {value!r}")
        if not math.isnan(value) and not reading.low <= value <= reading.high:
            raise ValueError(f"{reading.name} = {value} lies outside {reading.low} .. {reading.high}")


def _face_row(index: int, face: Face) -> Row:
    return {
        "face": index,
        "box": _box_text(face.box.x0, face.box.y0, face.box.x1, face.box.y1),
        "face_state": face.state,
        "face_quality": face.quality,
        "yaw_deg": face.yaw_deg,
        "pitch_deg": face.pitch_deg,
        "roll_deg": face.roll_deg,
        "embedder": face.embedder,
    }


def _eye_row(index: int, eye: Eye) -> Row:
    return {"face": index, "side": eye.side}


def _hand_row(index: int, hand: Hand) -> Row:
    return {
        "hand": index,
        "box": _box_text(hand.box.x0, hand.box.y0, hand.box.x1, hand.box.y1),
        "hand_side": hand.side,
        "hand_score": hand.score,
    }


def _box_text(*edges: float) -> str:
    """``x0,y0,x1,y1`` in pixels, one decimal: a box is one cell in every table format."""
    return ",".join(f"{edge:.1f}" for edge in edges)
