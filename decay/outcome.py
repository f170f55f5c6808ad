"""What became of one image file. Imports no tables: worker processes hand these back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detectors.reader import ImageReadings

DIED = frozenset({"crashed", "timed_out"})
"""States of images whose worker died: it could not say what it had read, and another try may read it."""


@dataclass(frozen=True)
class Outcome:
    """What became of one image file: its hash, and its readings or the state that says why there are none.

    ``fresh``: read now, not taken from the journal.
    """

    sha256: str
    state: str
    readings: ImageReadings | None
    reason: str = ""
    fresh: bool = False
