"""Scores by which the regime ``curated`` ranks pictures: any number that the detectors read off a picture or a face."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from decay.errors import DecayError
from detectors.embedder import open_embedder
from detectors.reader import ImageReadings, Reader, view_to_readings
from detectors.registry import families
from detectors.trait import Family, Pixels, Reading
from detectors.vision import Vision

LOWER = "-"
"""Before a name: less is better."""

Progress = Callable[[int], None]
"""(pictures done)."""


@dataclass(frozen=True)
class Score:
    """``reading``: its column. ``family``: who reads it. ``sign``: 1 where more is better, -1 where less is."""

    reading: str
    subject: Literal["image", "face"]
    family: Family
    sign: int

    def of(self, readings: ImageReadings) -> float:
        """Higher is better; the mean over the faces of a picture; NaN where nothing was measured."""
        rows = (readings.image,) if self.subject == "image" else readings.faces
        values = np.array([row[self.reading] for row in rows], dtype=np.float64)
        measured = values[~np.isnan(values)]
        return self.sign * float(measured.mean()) if len(measured) else float("nan")


def find_score(name: str) -> Score:
    """The score of that name: a reading of pictures or faces, as ``image_sharpness`` or ``face_asymmetry``.

    More is better, unless the trait that rests on this reading alone says otherwise, or the name has a ``-`` before it.
    Raises DecayError if there is no such reading.
    """
    known = _readings()
    column = name.removeprefix(LOWER)
    if column not in known:
        some = ", ".join([*sorted(c for c, (r, _) in known.items() if r.subject == "image"), "skin_texture"])
        raise DecayError(
            f"Expected a score that the detectors read off pictures or faces, as {some}; got {name!r}. Correct `score` "
            "in [[regime]]; a - before the name ranks the least first."
        )
    reading, family = known[column]
    lower = name.startswith(LOWER) or any(
        trait.readings == (column,) and trait.direction == "lower" for trait in family.traits
    )
    return Score(column, "image" if reading.subject == "image" else "face", family, -1 if lower else 1)


def score_images(images: Iterable[Pixels], score: str, progress: Progress = lambda done: None) -> NDArray[np.float64]:
    """The score of each picture, float64 (n,), higher is better; NaN where it could not be measured, to be ranked last.

    ``images``: sRGB uint8 (h, w, 3), one after another. ``score``: see ``find_score``. Raises DecayError as it does.
    """
    found = find_score(score)
    values = []
    with Reader(Vision(), open_embedder(None, None)) as reader:
        for done, pixels in enumerate(images, start=1):
            values.append(found.of(view_to_readings(reader.look(pixels), (found.family,))))
            progress(done)
    return np.array(values, dtype=np.float64)


def _readings() -> Mapping[str, tuple[Reading, Family]]:
    """Every number that is read off pictures or faces, by column."""
    return {
        reading.name: (reading, family)
        for family in families()
        for reading in family.readings
        if reading.kind == "number" and reading.subject in {"image", "face"}
    }
