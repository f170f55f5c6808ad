"""Vectors of many pictures in files instead of memory: of a run of 20,000 they would take 160 MB for each network."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from decay.files import output_error
from detectors.trait import Vector

if TYPE_CHECKING:
    from detectors.reader import ImageReadings

PART_BYTES = 2**26
"""Room that is taken at a time."""


Lengths = frozenset[tuple[str, int]]
"""Column and how many numbers its vectors have."""


def lengths_of(readings: ImageReadings) -> Lengths:
    """Those of all vectors of one image; empty vectors, which stand for none, are left out."""
    rows = (readings.image, *readings.faces, *readings.eyes, *readings.hands)
    vectors = ((name, value) for row in rows for name, value in row.items() if isinstance(value, np.ndarray))
    return frozenset((name, len(value)) for name, value in vectors if len(value))


def usual_lengths(many: Iterable[Lengths]) -> dict[str, int]:
    """By column, the length that most images have."""
    counts = Counter(length for lengths in many for length in lengths)
    return {name: n for (name, n), _ in reversed(counts.most_common())}


def are_usual(lengths: Lengths, usual: Mapping[str, int]) -> bool:
    """Whether none is of another length."""
    return all(usual.get(name, n) == n for name, n in lengths)


class VectorStore:
    """Vectors in a file without a name in ``folder``, mapped into memory: the system may take their pages away.

    The file is gone when the last vector of it is. Raises OutputError where there is no room.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._part: NDArray[np.float32] = np.empty(0, np.float32)
        self._used = 0

    def put(self, vector: Vector) -> Vector:
        """The same numbers, in the file."""
        if self._used + len(vector) > len(self._part):
            self._part = _mapped(self._folder, max(PART_BYTES // 4, len(vector)))
            self._used = 0
        here = self._part[self._used : self._used + len(vector)]
        here[:] = vector
        self._used += len(vector)
        return here


def stacked(vectors: Sequence[Vector]) -> NDArray[np.float32]:
    """Vectors of one length as float32 (n, d); in memory where they are few, else in a file without a name.

    Raises ValueError if their lengths differ, OutputError where there is no room.
    """
    n, d = len(vectors), len(vectors[0]) if len(vectors) else 0
    if any(len(vector) != d for vector in vectors):
        raise ValueError("vectors of one length are wanted")
    if n * d * 4 <= PART_BYTES:
        return np.array(vectors, dtype=np.float32).reshape(n, d)
    whole = _mapped(Path(tempfile.gettempdir()), n * d).reshape(n, d)
    for row, vector in zip(whole, vectors, strict=True):
        row[:] = vector
    return whole


def write_vectors(path: Path, vectors: Sequence[Vector]) -> None:
    """A NumPy file, float32 (n, d), with a row of NaN in place of each empty vector. Raises OSError."""
    d = max((len(vector) for vector in vectors), default=0)
    missing = np.full(d, np.nan, np.float32)
    header = {"descr": "<f4", "fortran_order": False, "shape": (len(vectors), d)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)  # type: ignore[no-untyped-call]
        for vector in vectors:
            file.write((vector if len(vector) else missing).astype("<f4").tobytes())


def read_vectors(path: Path, n: int) -> list[Vector]:
    """The vectors that ``write_vectors`` wrote, ``n`` of them; their numbers stay in the file.

    Raises OSError where it cannot be read, ValueError where it is not one of ours.
    """
    found = np.load(path, mmap_mode="r", allow_pickle=False)
    if found.ndim != 2 or len(found) != n or found.dtype != np.float32:
        raise ValueError(f"{path}: expected {n} vectors of float32, got {found.dtype} {found.shape}")
    plain = found.view(np.ndarray)
    empty = np.empty(0, np.float32)
    return [empty if row.size == 0 or np.isnan(row[0]) else row for row in plain]


def _mapped(folder: Path, n_numbers: int) -> NDArray[np.float32]:
    """Room for so many numbers in a file without a name; reserved, for a full disk met later would end the process."""
    with _room_in(folder), tempfile.TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, n_numbers * 4)
        return np.memmap(file, dtype=np.float32, mode="r+", shape=(n_numbers,)).view(np.ndarray)


@contextmanager
def _room_in(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise output_error(folder, error) from error
