"""The network's maps, and what is counted in them."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from numpy.typing import NDArray

from decay.train.hands import draw_example
from detectors.digits import MODEL, network
from detectors.digits.network import KINDS, MAP_PX, MAPS, predict, read_maps, sight
from detectors.digits.sighting import Sighting

F32 = NDArray[np.float32]


def put_tip(maps: F32, row: int, column: int) -> None:
    yy, xx = np.mgrid[:MAP_PX, :MAP_PX]
    maps[1] = np.maximum(maps[1], np.exp(-(np.square(yy - row) + np.square(xx - column)) / 8.0))


def maps_of(bars: dict[tuple[int, int], tuple[str, ...]], strength: float = 0.95) -> F32:
    """Maps of upright cores at (column, width), each with a clear tip."""
    maps = np.zeros((len(MAPS), MAP_PX, MAP_PX), np.float32)
    for (column, width), names in bars.items():
        columns = slice(column, column + width)
        maps[0, 30:60, columns] = strength
        maps[3, 30:60, columns] = float(len(names) > 1)
        put_tip(maps, 30, column + width // 2)
        for i, name in enumerate(names):
            start, end = column + i * width // len(names), column + (i + 1) * width // len(names)
            maps[MAPS.index(name), 30:60, start:end] = 1.0
    return maps


OPEN_HAND = {(20 + 12 * i, 4): (name,) for i, name in enumerate(("thumb", "index", "middle", "ring", "little"))}


def test_cores_are_counted_and_named() -> None:
    found = read_maps(maps_of(OPEN_HAND))
    assert found.state == "ok"
    assert [digit.names for digit in found.digits] == [(name,) for name in KINDS[:5]]
    assert found.fused_pairs == ()


def test_tips_are_in_patch_pixels() -> None:
    maps = maps_of({(40, 4): ("middle",)})
    maps[1] = 0.0
    put_tip(maps, 31, 42)
    assert read_maps(maps).digits[0].tip == pytest.approx((112.83, 83.5), abs=0.01)  # 8/3 patch pixels wide each


def test_fused_fingers_count_once_and_keep_their_names() -> None:
    found = read_maps(maps_of({(20, 4): ("thumb",), (40, 30): ("index", "middle", "ring", "little")}))
    assert found.count == 2
    assert found.fused_pairs == ("index-middle", "middle-ring", "ring-little")


def test_an_extra_digit_comes_last_and_a_name_is_given_once() -> None:
    found = read_maps(maps_of({**OPEN_HAND, (90, 4): ("extra",)}))
    assert found.count == 6
    assert found.digits[-1].names == ("extra",)
    twice = read_maps(maps_of({(30, 4): ("index",), (50, 4): ("index",)}))
    assert len({digit.names for digit in twice.digits}) == 2


def test_no_core_and_no_tip_is_a_fist() -> None:
    assert read_maps(np.zeros((len(MAPS), MAP_PX, MAP_PX), np.float32)) == Sighting("ok")


def test_weak_cores_lonely_tips_and_half_fused_ones_are_ambiguous() -> None:
    assert read_maps(maps_of(OPEN_HAND, strength=0.45)).state == "ambiguous"
    lonely = maps_of(OPEN_HAND)
    put_tip(lonely, 85, 90)
    assert read_maps(lonely).state == "ambiguous"
    blunt = maps_of(OPEN_HAND)
    blunt[1, :, :30] = 0.0
    assert read_maps(blunt).state == "ambiguous"
    half = maps_of(OPEN_HAND)
    half[3] *= 0.0
    half[3, 30:60, 32:36] = 0.5
    assert read_maps(half).state == "ambiguous"


def test_the_maps_are_probabilities() -> None:
    maps = predict(draw_example(1).pixels)
    assert maps.shape == (len(MAPS), MAP_PX, MAP_PX)
    assert maps.min() >= 0.0
    assert maps.max() <= 1.0
    assert np.allclose(maps[4:].sum(axis=0), 1.0, atol=1e-4)  # single precision


def test_one_session_and_always_the_same_maps() -> None:
    pixels = draw_example(3).pixels
    assert np.array_equal(predict(pixels), predict(pixels))
    assert network._session(MODEL) is network._session(MODEL)


def test_brightness_does_not_matter() -> None:
    pixels = np.clip(draw_example(5).pixels, 20, 200).astype(np.uint8)
    darker = np.round(pixels * 0.8).astype(np.uint8)
    assert np.abs(predict(pixels) - predict(darker)).mean() < 0.01  # rounding to codes is all that differs


def test_drawn_hands_are_counted() -> None:
    examples = [draw_example(2 * i + 1) for i in range(60)]  # odd seeds: none of them was trained on
    found = [(example, sight(example.patch)) for example in examples]
    told = [(example, sighting) for example, sighting in found if sighting.state == "ok"]
    right = [sighting.count == example.n_digits for example, sighting in told]
    assert len(told) >= 0.5 * len(examples)
    assert np.mean(right) >= 0.75  # 0.87 of the 125 told among 200: many are dark, blurred or lost in their ground


def test_the_card_describes_this_network() -> None:
    card = json.loads(MODEL.with_suffix(".json").read_text(encoding="utf-8"))
    assert card["sha256"] == hashlib.sha256(MODEL.read_bytes()).hexdigest()
    assert card["maps"] == list(MAPS)
    assert MODEL.stat().st_size < 2**20
