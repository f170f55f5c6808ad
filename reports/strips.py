"""X-ray strips: the same slots down the generations, with what was measured drawn on the pictures.

Plain data only: whoever opens the pictures cuts them into ``Crop`` and gives the marks in hundredths of a crop's side,
so that a mark lies where it belongs at whatever size the crop is shown. ``templates/strips.html.j2`` draws them.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]


@dataclass(frozen=True)
class Crop:
    """A square part of a picture, small. ``jpeg``: its bytes; ``side_px``: their side."""

    jpeg: bytes
    side_px: int

    @property
    def uri(self) -> str:
        """The picture as an address that holds it: the page loads nothing."""
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode("ascii")


@dataclass(frozen=True)
class IrisMark:
    """An iris and its clock face, in hundredths of the crop's side; ``roll_deg``: the head's, clockwise.

    ``glint``: u, v and radius of the main catchlight in iris radii, roll taken out; None where none was read.
    """

    x: float
    y: float
    radius: float
    roll_deg: float
    glint: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class FusedMark:
    """A digit that was read as several fingers in one. ``names``: of these fingers; ``tip``: in hundredths."""

    names: str
    tip: Point


@dataclass(frozen=True)
class View:
    """One crop with its marks, what was read of it in words (may be empty), and the text for those who cannot see it.

    ``state``: ``ok``, or the word that says what else; ``is_read``: it was told, be it that there is nothing.
    ``tips``: of the digits counted, in their order.
    """

    kind: str
    crop: Crop | None
    words: str
    alternative: str
    state: str = "ok"
    is_read: bool = True
    irises: Sequence[IrisMark] = ()
    tips: Sequence[Point] = ()
    fused: Sequence[FusedMark] = ()


@dataclass(frozen=True)
class Cell:
    """One slot in one generation: a face with both its eyes, or its hands; a generation of -1 is the reference."""

    generation: int
    views: Sequence[View]


@dataclass(frozen=True)
class Row:
    """One slot down the generations. ``place``: where it stands in the rule, e.g. ``middle``; ``reading``: by what."""

    slot: str
    place: str
    reading: str
    cells: Sequence[Cell]


@dataclass(frozen=True)
class Strip:
    """The slots that one trait chose. ``rule``: how, in whole sentences, printed with it.

    ``meanings``: of the words below the crops, each with its explanation.
    """

    name: str
    title: str
    rule: str
    columns: Sequence[str]
    rows: Sequence[Row]
    meanings: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class StripsSection:
    """What ``templates/strips.html.j2`` shows as ``strips``. ``notes``: whole sentences on what could not be shown."""

    strips: Sequence[Strip]
    notes: Sequence[str] = ()
