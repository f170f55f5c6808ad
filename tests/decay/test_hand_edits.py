"""Edited hands: the labels follow from what was done, and what was done shows on the pixels."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from decay.calibrate.hand_edits import FINGERS, PAIRS, Edited, edits, make_edits
from decay.calibrate.photographs import half_of
from decay.phantom import Backdrop, HandParameters, draw_hand
from detectors.trait import Box, Hand, Pixels, Points

BACKGROUND = "#3f6f9a"
WRIST_MM = 58.0


def drawn_hand(size_px: int = 240) -> tuple[Pixels, Hand]:
    pixels, truth = draw_hand(HandParameters(backdrop=Backdrop(colour=BACKGROUND)), size_px, np.random.default_rng(0))
    wrist = [truth["palm_x_px"], truth["palm_y_px"] + WRIST_MM * truth["px_per_mm"]]
    marks = np.array([wrist, *(joint for name in FINGERS for joint in truth["joints_px"][name])])
    landmarks = np.column_stack([marks, np.zeros(21)])
    return pixels, Hand(Box(*truth["box"]), landmarks, None, 1.0, "right")


@pytest.fixture(scope="module")
def drawn() -> tuple[Pixels, Hand, list[Edited]]:
    pixels, hand = drawn_hand()
    return pixels, hand, edits(pixels, hand, np.random.default_rng(3))


def variants(made: list[Edited], variant: str) -> list[Edited]:
    return [edit for edit in made if edit.variant == variant]


def n_strips_of_skin(pixels: Pixels, hand: Hand) -> int:
    """Runs of skin on an arc round the wrist that crosses the four fingers between their middle joints and tips."""
    assert hand.landmarks_px is not None
    marks = hand.landmarks_px[:, :2]
    radius = float(np.linalg.norm(marks[[7, 19]] - marks[0], axis=1).mean())
    angles = np.radians(np.arange(-140.0, -40.0, 0.2))
    arc = np.round(marks[0] + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)).astype(int)
    red_over_blue = pixels[..., 0].astype(float) - pixels[..., 2].astype(float)
    skin = red_over_blue[arc[:, 1], arc[:, 0]] > 0
    return int((np.diff(skin.astype(int)) == 1).sum())


def test_every_kind_of_edit_comes_out_on_a_drawn_hand(drawn: tuple[Pixels, Hand, list[Edited]]) -> None:
    kinds = Counter(edit.variant for edit in drawn[2])
    assert kinds["fused1"] >= 2
    assert kinds["touching1"] >= 2
    assert kinds["missing1"] >= 1
    assert kinds["extra1"] >= 1
    assert all(kinds[name] == 1 for name in ("mitten", "touching_all", "blur", "dim", "jpeg", "small"))


def test_labels_follow_from_what_was_done(drawn: tuple[Pixels, Hand, list[Edited]]) -> None:
    change = {"missing1": -1, "extra1": 1}
    for edit in drawn[2]:
        assert edit.n_digits_separate == 5 - len(edit.fused_pairs) + change.get(edit.variant, 0)
        assert set(edit.fused_pairs) | set(edit.touching_pairs) <= set(PAIRS)
        assert not set(edit.fused_pairs) & set(edit.touching_pairs)
    assert variants(drawn[2], "mitten")[0].fused_pairs == PAIRS[1:]
    assert variants(drawn[2], "touching_all")[0].touching_pairs == PAIRS[1:]


def test_a_folded_thumb_is_not_counted() -> None:
    pixels, hand = drawn_hand(200)
    made = edits(pixels, hand, np.random.default_rng(0), n_digits=4)
    assert {edit.n_digits_separate for edit in variants(made, "blur")} == {4}
    assert all(edit.n_digits_separate == 3 for edit in variants(made, "fused1"))


def test_fused_fingers_are_fewer_strips_of_skin(drawn: tuple[Pixels, Hand, list[Edited]]) -> None:
    pixels, hand, made = drawn
    assert n_strips_of_skin(pixels, hand) == 4
    for edit in variants(made, "fused1"):
        assert n_strips_of_skin(edit.pixels, hand) == 3
    assert n_strips_of_skin(variants(made, "mitten")[0].pixels, hand) == 1
    for edit in variants(made, "missing1"):
        assert n_strips_of_skin(edit.pixels, hand) == 3


def test_touching_fingers_keep_a_dark_line_that_fused_ones_lack(drawn: tuple[Pixels, Hand, list[Edited]]) -> None:
    made, hand = drawn[2], drawn[1]
    for pair in {edit.fused_pairs for edit in variants(made, "fused1")}:
        fused = next(edit for edit in made if edit.variant == "fused1" and edit.fused_pairs == pair)
        touching = [edit for edit in variants(made, "touching1") if edit.touching_pairs == pair]
        for edit in touching:
            assert darkest_between(edit.pixels, hand, pair[0]) < 0.85 * darkest_between(fused.pixels, hand, pair[0])


def darkest_between(pixels: Pixels, hand: Hand, pair: str) -> float:
    """The darkest of a walk between two fingers' middle phalanges, in the median over seven walks."""
    assert hand.landmarks_px is not None
    near = PAIRS.index(pair)
    ends = [joints(hand, near), joints(hand, near + 1)]
    light = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    darkest = []
    for share in np.linspace(0.0, 1.0, 7):
        a, b = (end[0] + share * (end[1] - end[0]) for end in ends)
        walk = np.round(a + np.linspace(0.3, 0.7, 30)[:, None] * (b - a)).astype(int)
        darkest.append(float(light[walk[:, 1], walk[:, 0]].min()))
    return float(np.median(darkest))


def joints(hand: Hand, finger: int) -> Points:
    assert hand.landmarks_px is not None
    return hand.landmarks_px[1 + 4 * finger + 1 : 1 + 4 * finger + 3, :2]


def test_the_same_seed_makes_the_same_pictures(drawn: tuple[Pixels, Hand, list[Edited]]) -> None:
    pixels, hand, first = drawn
    cv2.setRNGSeed(12345)  # what others drew before does not matter
    again = edits(pixels, hand, np.random.default_rng(3))
    assert [edit.detail for edit in first] == [edit.detail for edit in again]
    for a, b in zip(first, again, strict=True):
        off = np.abs(a.pixels.astype(int) - b.pixels.astype(int)).max(axis=2) > 2
        assert off.mean() < 0.005  # sums round by where arrays lie in memory; a pixel at a seam may fall either way


def test_an_edit_leaves_the_rest_of_the_picture_alone(drawn: tuple[Pixels, Hand, list[Edited]]) -> None:
    pixels, hand, made = drawn
    assert hand.landmarks_px is not None
    below = int(hand.landmarks_px[0, 1])  # the wrist
    for edit in made:
        if edit.variant not in ("blur", "dim", "jpeg", "small"):
            assert edit.pixels.shape == pixels.shape
            assert np.array_equal(edit.pixels[below:], pixels[below:])


def test_a_hand_that_cannot_be_told_from_its_background_is_only_degraded() -> None:
    _, hand = drawn_hand(200)
    grey = np.full((200, 200, 3), 128, np.uint8)
    made = edits(grey, hand, np.random.default_rng(0))
    assert {edit.variant for edit in made} <= {"blur", "dim", "jpeg", "small"}


def test_only_open_hands_with_landmarks_are_edited() -> None:
    pixels, hand = drawn_hand(200)
    with pytest.raises(ValueError, match="4 or 5"):
        edits(pixels, hand, np.random.default_rng(0), n_digits=3)
    palm = Hand(hand.box, None, np.zeros((7, 2)), 1.0, "")
    with pytest.raises(ValueError, match="landmarks"):
        edits(pixels, palm, np.random.default_rng(0))


@pytest.mark.validation
def test_photographs_of_one_half_are_edited(validation_data: Path) -> None:
    made = list(islice(make_edits(validation_data, "tuning", seed=0), 8))
    assert {half_of(Path(name).name) for name, _ in made} == {"tuning"}
    assert {edit.variant for _, edit in made} - {"blur", "dim", "jpeg", "small"}
