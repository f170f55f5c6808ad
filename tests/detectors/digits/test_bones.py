"""What the landmarks claim, and what the pixels make of it."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from decay.phantom import HandParameters, draw_hand
from detectors.digits.bones import Bone, between, claimed, sight
from detectors.digits.patch import PALM_LANDMARKS, HandPatch, cut_patch
from detectors.digits.sighting import FINGERS
from detectors.trait import Box, Hand, Pixels, Points

SIZE_PX = 320
FOUR = ("index", "middle", "ring", "little")
SKIN, GROUND = (205, 160, 130), (70, 90, 120)
E_, F_ = "extended", "folded"


# --------------------------------------------------------------------------- hands of stripes


def striped_landmarks(spacing_px: float = 22.0) -> Points:
    """An open hand in patch pixels: four upright parallel fingers, the thumb stretched out to the left."""
    joints = np.zeros((21, 2))
    joints[0] = (128.0, 205.0)
    joints[1:5] = [(110.0, 190.0), (92.0, 172.0), (74.0, 160.0), (58.0, 150.0)]
    for i in range(4):
        x = 128.0 + spacing_px * (i - 1.5)
        joints[5 + 4 * i : 9 + 4 * i, 0] = x
        joints[5 + 4 * i : 9 + 4 * i, 1] = (127.0, 95.0, 75.0, 57.0)
    return joints


def striped_patch(
    joints: Points, drawn: tuple[str, ...] = FINGERS, width_px: int = 13, filled: tuple[str, ...] = ()
) -> HandPatch:
    """A patch with a palm and the ``drawn`` fingers; ``filled`` pairs have skin between them. Slightly noisy."""
    pixels = np.full((256, 256, 3), GROUND, np.uint8)
    palm = np.concatenate([joints[[0]] + [[-30, 10], [30, 10]], joints[[5, 17]] + [[-10, -12], [10, -12]]])
    cv2.fillConvexPoly(pixels, cv2.convexHull(palm.astype(np.int32)), SKIN)
    cv2.line(pixels, (128, 200), (128, 255), SKIN, 44)
    for name in drawn:
        first = 1 + 4 * FINGERS.index(name)
        chain = joints[first : first + 4]
        end = chain[-1] + 5.0 * (chain[-1] - chain[-2]) / np.linalg.norm(chain[-1] - chain[-2])
        outline = np.round(np.concatenate([chain, end[None]])).astype(np.int32)
        cv2.polylines(pixels, [outline], False, SKIN, width_px)
    for pair in filled:
        near, far = (joints[1 + 4 * FINGERS.index(name) :][:4] for name in pair.split("-"))
        cv2.fillConvexPoly(pixels, np.round(np.concatenate([near, far[::-1]])).astype(np.int32), SKIN)
    return as_patch(pixels, joints)


def as_patch(pixels: Pixels, joints: Points, noise: float = 2.0) -> HandPatch:
    noisy = pixels + np.random.default_rng(0).normal(0.0, noise, pixels.shape)
    blurred = cv2.GaussianBlur(np.clip(noisy, 0, 255).astype(np.uint8), (0, 0), 0.8)
    palm = joints[list(PALM_LANDMARKS)]
    return HandPatch(np.asarray(blurred, np.uint8), np.ones((256, 256), bool), np.eye(2, 3), palm, joints, 1.0)


def with_line(patch: HandPatch, pair: str, darker: float, width_px: float = 2.0) -> HandPatch:
    """A dark line down the middle between two fingers."""
    assert patch.landmarks is not None
    near, far = (patch.landmarks[1 + 4 * FINGERS.index(name) :][:4] for name in pair.split("-"))
    middle = (near + far) / 2.0
    x = np.arange(256)[None, :, None] - middle[:, 0].mean()
    y = np.arange(256)[:, None, None]
    line = np.exp(-0.5 * np.square(x / width_px)) * (y > middle[:, 1].min() - 6) * (y < middle[:, 1].max())
    dark = np.clip(patch.pixels * (1.0 - darker * line), 0, 255).astype(np.uint8)
    return dataclasses.replace(patch, pixels=dark)


def without(joints: Points, *names: str) -> Points:
    """The same landmarks with these fingers folded onto the palm."""
    folded = joints.copy()
    for name in names:
        first = 1 + 4 * FINGERS.index(name)
        root = joints[first] if name != "thumb" else joints[2]
        folded[first + 1 : first + 4] = root + np.array([(2.0, -14.0), (3.0, 2.0), (3.0, 14.0)])
    return folded


def test_an_open_hand_of_stripes_is_five_digits() -> None:
    joints = striped_landmarks()
    assert claimed(joints) == FINGERS
    seen = sight(striped_patch(joints))
    assert seen.state == "ok"
    assert [digit.names for digit in seen.digits] == [(name,) for name in FINGERS]
    assert seen.digits[2].tip == pytest.approx(tuple(joints[12]), abs=1.0)


@pytest.mark.parametrize("folded", [("thumb",), ("ring", "little"), FOUR, FINGERS])
def test_folded_fingers_are_neither_claimed_nor_counted(folded: tuple[str, ...]) -> None:
    joints = without(striped_landmarks(), *folded)
    extended = tuple(name for name in FINGERS if name not in folded)
    assert claimed(joints) == extended
    seen = sight(striped_patch(joints, extended))
    assert (seen.state, seen.count) == ("ok", len(extended))


@pytest.mark.parametrize("name", FOUR)
def test_a_claim_without_pixels_is_no_digit(name: str) -> None:
    joints = striped_landmarks(24.0)
    seen = sight(striped_patch(joints, tuple(other for other in FINGERS if other != name)))
    assert seen.state == "ok"
    assert [digit.names[0] for digit in seen.digits] == [other for other in FINGERS if other != name]


@pytest.mark.parametrize("name", FOUR)
def test_a_digit_that_nothing_claims_is_counted_as_an_extra_one(name: str) -> None:
    joints = striped_landmarks(24.0)
    assert sight(striped_patch(without(joints, name), tuple(n for n in FINGERS if n != name))).count == 4
    unclaimed = dataclasses.replace(striped_patch(joints), landmarks=without(joints, name))
    seen = sight(unclaimed)
    assert (seen.state, seen.count) == ("ok", 5)
    assert ("extra",) in [digit.names for digit in seen.digits]


@pytest.mark.parametrize("pair", ["index-middle", "middle-ring", "ring-little"])
def test_skin_without_a_line_is_fused_and_a_dark_line_parts(pair: str) -> None:
    joints = striped_landmarks(19.0)
    fused = striped_patch(joints, filled=(pair,))
    seen = sight(fused)
    assert (seen.state, seen.count, seen.fused_pairs) == ("ok", 4, (pair,))
    creased = sight(with_line(fused, pair, 0.45))
    assert (creased.state, creased.count, creased.fused_pairs) == ("ok", 5, ())


def test_a_line_that_grows_deeper_goes_from_fused_through_doubt_to_parted() -> None:
    fused = striped_patch(striped_landmarks(19.0), filled=("middle-ring",))
    seen = [sight(with_line(fused, "middle-ring", darker)) for darker in (0.0, 0.02, 0.08, 0.14, 0.20, 0.3, 0.5)]
    order = {("ok", 4): 0, ("ambiguous", 0): 1, ("ok", 5): 2}
    ranks = [order[(one.state, one.count)] for one in seen]
    assert ranks == sorted(ranks)
    assert set(ranks) == {0, 1, 2}


def test_a_mitten_is_one_digit_and_a_thumb() -> None:
    mitten = striped_patch(striped_landmarks(18.0), filled=("index-middle", "middle-ring", "ring-little"))
    seen = sight(mitten)
    assert [digit.names for digit in seen.digits] == [("thumb",), FOUR]


def test_low_contrast_to_the_background_is_never_a_confident_wrong_count() -> None:
    patch = striped_patch(striped_landmarks())
    flat = np.asarray(patch.pixels, np.float64).mean(axis=(0, 1))
    for contrast in (1.0, 0.5, 0.25, 0.12, 0.06, 0.0):
        pixels = np.clip(flat + contrast * (patch.pixels - flat), 0, 255).astype(np.uint8)
        seen = sight(dataclasses.replace(patch, pixels=pixels))
        assert seen.state == "ambiguous" or seen.count == 5, contrast
        assert seen.state == "ok" or contrast < 0.5, contrast


def test_landmarks_a_few_pixels_off_change_nothing() -> None:
    joints = striped_landmarks(24.0)
    patch = striped_patch(joints)
    for dx in (-4.0, 4.0):
        assert sight(dataclasses.replace(patch, landmarks=joints + np.array([dx, 0.0]))).count == 5
    moved = joints.copy()
    moved[17:21, 0] += 9.0  # beside the finger, on the background
    assert sight(dataclasses.replace(patch, landmarks=moved)).count == 5


def test_what_cannot_be_judged_has_a_word() -> None:
    patch = striped_patch(striped_landmarks())
    assert sight(dataclasses.replace(patch, landmarks=None)).state == "no_landmarks"
    assert sight(striped_patch(striped_landmarks(6.0))).state == "side_view"
    bent = striped_landmarks()
    bent[7] += (14.0, 3.0)
    bent[8] += (26.0, 8.0)
    assert sight(dataclasses.replace(patch, landmarks=bent)).state == "ambiguous"


def test_a_gap_and_a_crease_are_measured_where_they_are() -> None:
    joints = striped_landmarks(19.0)
    bones = Bone("middle", joints[9:13]), Bone("ring", joints[13:17])
    plain = between(striped_patch(joints, filled=("middle-ring",)).pixels, [bones])[0]
    lined = between(with_line(striped_patch(joints, filled=("middle-ring",)), "middle-ring", 0.4).pixels, [bones])[0]
    assert plain.chord_px == pytest.approx(19.0, abs=0.1)
    assert np.median(plain.crease) < 2.0
    assert np.median(lined.crease) > 10.0
    assert np.median(lined.apart) > 3.0 * np.median(plain.apart)
    wide = striped_landmarks(30.0)
    apart = between(striped_patch(wide).pixels, [(Bone("middle", wide[9:13]), Bone("ring", wide[13:17]))])[0].apart
    colours = np.array([[SKIN, GROUND]], np.float32) / 255.0
    skin, ground = cv2.cvtColor(colours, cv2.COLOR_RGB2LAB)[0]
    assert np.median(apart) == pytest.approx(np.linalg.norm(skin - ground), rel=0.1)


# --------------------------------------------------------------------------- the thumb


@pytest.mark.parametrize(
    ("chain", "extended"),
    [
        ([(110, 190), (92, 172), (74, 160), (58, 150)], True),  # stretched out
        ([(110, 190), (96, 168), (84, 142), (78, 118)], None),  # held to the index finger
        ([(110, 190), (92, 172), (106, 158), (128, 156)], False),  # across the palm
        ([(110, 190), (96, 168), (96, 144), (104, 128)], False),  # beside the folded fingers
    ],
)
def test_a_thumb_is_extended_when_it_stands_off_the_hand(chain: list[tuple[int, int]], extended: bool | None) -> None:
    joints = striped_landmarks()
    joints[1:5] = chain
    assert ("thumb" in claimed(joints)) is (extended is True)
    if extended is None:
        fist = without(joints, *FOUR)
        fist[1:5] = chain
        assert sight(dataclasses.replace(striped_patch(fist, ()), landmarks=fist)).state == "ambiguous"


# --------------------------------------------------------------------------- drawn hands


@cache
def drawn_patch(hand: HandParameters, jitter_px: float = 1.0) -> tuple[HandPatch, dict[str, Any]]:
    """A drawn hand with landmarks made of its true joints, a little off, and the wrist below the palm."""
    rng = np.random.default_rng(hand.texture_seed)
    pixels, truth = draw_hand(hand, SIZE_PX, rng)
    joints = np.zeros((21, 3))
    for i, name in enumerate(FINGERS):
        marks: NDArray[np.float64] = np.asarray(truth["joints_px"][name], np.float64)
        joints[1 + 4 * i : 5 + 4 * i, :2] = marks + rng.normal(0.0, jitter_px, 2)
    turn = np.radians(hand.rotation_deg)
    wrist = 62.0 * truth["px_per_mm"] * np.array([-np.sin(turn), np.cos(turn)])
    joints[0, :2] = np.array([truth["palm_x_px"], truth["palm_y_px"]]) + wrist
    patch = cut_patch(pixels, Hand(Box(*truth["box"]), joints, None, 0.9, ""))
    assert patch is not None
    return patch, truth


POSES = [(E_,) * 5, (F_, E_, E_, E_, E_), (F_, E_, E_, F_, F_), (F_, E_, F_, F_, F_), (F_,) * 5, (E_, E_, F_, F_, E_)]


@pytest.mark.parametrize("fingers", POSES)
def test_drawn_hands_are_counted(fingers: tuple[Any, ...]) -> None:
    for seed, mirrored, rotation in ((1, False, 0.0), (3, True, 25.0)):
        hand = HandParameters(fingers=fingers, mirrored=mirrored, rotation_deg=rotation, texture_seed=seed)
        patch, truth = drawn_patch(hand)
        seen = sight(patch)
        assert (seen.state, seen.count, seen.fused_pairs) == ("ok", truth["n_digits_separate"], ())


@pytest.mark.parametrize("pair", [1, 2, 3])
def test_drawn_fusions_are_named(pair: int) -> None:
    fused = tuple("plain" if i == pair else None for i in range(4))
    patch, truth = drawn_patch(HandParameters(fused=fused, texture_seed=5))  # type: ignore[arg-type]
    seen = sight(patch)
    assert (seen.state, seen.count, list(seen.fused_pairs)) == ("ok", 4, truth["fused_pairs"])


def test_a_drawn_mitten_is_two_digits() -> None:
    patch, _ = drawn_patch(HandParameters(fused=(None, "plain", "plain", "plain"), texture_seed=7))
    assert [digit.names for digit in sight(patch).digits] == [("thumb",), FOUR]


@pytest.mark.parametrize("pair", [1, 2, 3])
def test_drawn_fingers_held_together_are_not_fused(pair: int) -> None:
    together = tuple(i == pair for i in range(4))
    patch, _ = drawn_patch(HandParameters(together=together, texture_seed=9))
    seen = sight(patch)
    assert seen.fused_pairs == ()
    assert seen.state == "ambiguous" or seen.count == 5
