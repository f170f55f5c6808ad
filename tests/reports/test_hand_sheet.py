"""The pictures of counted hands: that they are made, the same each time, and that the marks lie where they belong."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from reports.hand_sheet import CountedHand, Tile, overlay_png, sheet_png

GREY = np.full((120, 160, 3), 200, np.uint8)
HAND = CountedHand((40.0, 20.0, 120.0, 100.0), ((60.0, 30.0),), (((70.0, 60.0), (90.0, 60.0)),), "read 1, true 1")


def picture(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.int16)


def test_an_overlay_marks_the_tip_and_the_fused_pair_where_they_are() -> None:
    drawn = picture(overlay_png(GREY, [HAND]))
    scale = drawn.shape[1] / GREY.shape[1]

    def changed(x: float, y: float) -> float:
        column, row = round((x + 0.5) * scale), round((y + 0.5) * scale)
        return float(np.abs(drawn[row - 2 : row + 3, column - 8 : column + 9] - 200).max())

    assert changed(60.0, 30.0) > 50
    assert changed(80.0, 60.0) > 50
    assert changed(100.0, 80.0) < 10


def test_a_picture_without_hands_says_so_below_itself() -> None:
    bare, marked = picture(overlay_png(GREY, [])), picture(overlay_png(GREY, [HAND, HAND]))
    assert marked.shape[0] > bare.shape[0]
    assert marked.shape[1] == bare.shape[1]


def test_a_sheet_is_the_same_each_time_and_grows_by_rows_of_six() -> None:
    tiles = [Tile(GREY, HAND, "five digits")] * 7
    first = sheet_png(tiles, "title", "rule")
    assert first == sheet_png(tiles, "title", "rule")
    one, two = picture(sheet_png(tiles[:6], "title", "rule")), picture(first)
    assert two.shape[0] > one.shape[0]
    assert two.shape[1] == one.shape[1]
    with pytest.raises(ValueError, match="at least one"):
        sheet_png([], "title", "rule")
