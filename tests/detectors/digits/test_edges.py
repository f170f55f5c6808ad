"""Flanks, crossings and bars: what edges make of the fingers that the landmarks claim."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from decay.phantom import HandParameters, draw_hand
from detectors.digits.bones import bone_of
from detectors.digits.edges import bars, crossings, flanks, sight
from detectors.digits.patch import PALM_LANDMARKS, HandPatch, cut_patch
from detectors.digits.sighting import FINGERS
from detectors.trait import Box, Hand, Points

SKIN, GROUND = (205, 160, 130), (70, 90, 120)
FOUR = FINGERS[1:]
E_, F_ = "extended", "folded"


# --------------------------------------------------------------------------- hands of stripes


def striped_landmarks(spacing_px: float = 24.0) -> Points:
    """An open hand in patch pixels: four upright parallel fingers, the thumb stretched out to the left."""
    joints = np.zeros((21, 2))
    joints[0] = (128.0, 205.0)
    joints[1:5] = [(110.0, 190.0), (92.0, 172.0), (74.0, 160.0), (58.0, 150.0)]
    for i in range(4):
        joints[5 + 4 * i : 9 + 4 * i, 0] = 128.0 + spacing_px * (i - 1.5)
        joints[5 + 4 * i : 9 + 4 * i, 1] = (127.0, 95.0, 75.0, 57.0)
    return joints


def chain_of(joints: Points, name: str) -> Points:
    first = 1 + 4 * FINGERS.index(name)
    return joints[first : first + 4]


def striped_patch(
    joints: Points,
    drawn: tuple[str, ...] = FINGERS,
    filled: tuple[str, ...] = (),
    width_px: int = 13,
    skin: tuple[int, int, int] = SKIN,
    ground: tuple[int, int, int] = GROUND,
) -> HandPatch:
    """A palm and the ``drawn`` fingers, skin between the ``filled`` pairs. Slightly noisy and blurred."""
    pixels = np.full((256, 256, 3), ground, np.uint8)
    palm = np.concatenate([joints[[0]] + [[-30, 10], [30, 10]], joints[[5, 17]] + [[-10, -12], [10, -12]]])
    cv2.fillConvexPoly(pixels, cv2.convexHull(palm.astype(np.int32)), skin)
    cv2.line(pixels, (128, 200), (128, 255), skin, 44)
    for name in drawn:
        chain = chain_of(joints, name)
        end = chain[-1] + 5.0 * (chain[-1] - chain[-2]) / np.linalg.norm(chain[-1] - chain[-2])
        cv2.polylines(pixels, [np.round(np.vstack([chain, end])).astype(np.int32)], False, skin, width_px)
    for pair in filled:
        near, far = (chain_of(joints, name) for name in pair.split("-"))
        cv2.fillConvexPoly(pixels, np.round(np.concatenate([near, far[::-1]])).astype(np.int32), skin)
    noisy = pixels + np.random.default_rng(0).normal(0.0, 2.0, pixels.shape)
    blurred = cv2.GaussianBlur(np.clip(noisy, 0, 255).astype(np.uint8), (0, 0), 0.8)
    whole = np.ones((256, 256), bool)
    return HandPatch(np.asarray(blurred, np.uint8), whole, np.eye(2, 3), joints[list(PALM_LANDMARKS)], joints, 1.0)


def with_line(patch: HandPatch, pair: str, darker: float) -> HandPatch:
    """A dark line down the middle between two fingers."""
    assert patch.landmarks is not None
    near, far = (chain_of(patch.landmarks, name) for name in pair.split("-"))
    middle = (near + far) / 2.0
    x = np.arange(256)[None, :, None] - middle[:, 0].mean()
    y = np.arange(256)[:, None, None]
    line = np.exp(-0.5 * np.square(x / 1.5)) * (y > middle[:, 1].min() - 6) * (y < middle[:, 1].max())
    return dataclasses.replace(patch, pixels=np.clip(patch.pixels * (1.0 - darker * line), 0, 255).astype(np.uint8))


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
    seen = sight(striped_patch(joints))
    assert seen.state == "ok"
    assert [digit.names for digit in seen.digits] == [(name,) for name in FINGERS]
    assert seen.digits[2].tip == pytest.approx(tuple(joints[12]), abs=1.0)


@pytest.mark.parametrize("folded", [("thumb",), ("ring", "little"), FOUR])
def test_folded_fingers_are_not_counted(folded: tuple[str, ...]) -> None:
    extended = tuple(name for name in FINGERS if name not in folded)
    seen = sight(striped_patch(without(striped_landmarks(), *folded), extended))
    assert (seen.state, seen.count) == ("ok", len(extended))


def test_only_edges_matter_and_not_which_colour_lies_on_which_side() -> None:
    joints = striped_landmarks()
    for skin, ground in (
        (SKIN, GROUND),
        (GROUND, SKIN),
        ((60, 40, 30), (220, 220, 220)),
        ((90, 160, 90), (160, 90, 90)),
    ):
        assert sight(striped_patch(joints, skin=skin, ground=ground)).count == 5


def test_flanks_lie_half_a_finger_away_and_grow_with_the_contrast() -> None:
    joints = striped_landmarks()
    bones = [bone_of(joints, name) for name in FOUR]
    found = flanks(striped_patch(joints, width_px=13).pixels, bones)
    assert found.away_px == pytest.approx(np.full((4, 2), 7.0), abs=1.0)
    assert found.strong > 5.0
    assert np.all(found.inward[..., 0] > 0.0), "skin is lighter than the ground here"
    faint = flanks(striped_patch(joints, ground=(180, 140, 120)).pixels, bones)
    assert np.all(faint.strength < found.strength)
    moved = flanks(
        striped_patch(joints).pixels, [dataclasses.replace(b, joints=b.joints + np.array([3.0, 0.0])) for b in bones]
    )
    assert moved.away_px[:, 0] - moved.away_px[:, 1] == pytest.approx(np.full(4, 6.0), abs=1.5)


@pytest.mark.parametrize("name", FOUR)
def test_a_claim_without_flanks_is_never_confirmed(name: str) -> None:
    seen = sight(striped_patch(striped_landmarks(), tuple(other for other in FINGERS if other != name)))
    assert seen.state == "ambiguous" or seen.count == 4


@pytest.mark.parametrize("pair", ["index-middle", "middle-ring", "ring-little"])
def test_nothing_crossed_is_fused_and_a_dark_line_parts(pair: str) -> None:
    fused = striped_patch(striped_landmarks(19.0), filled=(pair,))
    seen = sight(fused)
    assert (seen.state, seen.count, seen.fused_pairs) == ("ok", 4, (pair,))
    creased = sight(with_line(fused, pair, 0.4))
    assert (creased.state, creased.count, creased.fused_pairs) == ("ok", 5, ())


def test_a_line_that_grows_deeper_goes_from_fused_through_doubt_to_parted() -> None:
    fused = striped_patch(striped_landmarks(19.0), filled=("middle-ring",))
    seen = [sight(with_line(fused, "middle-ring", darker)) for darker in (0.0, 0.02, 0.05, 0.08, 0.12, 0.16, 0.3, 0.5)]
    order = {("ok", 4): 0, ("ambiguous", 0): 1, ("ok", 5): 2}
    ranks = [order[(one.state, one.count)] for one in seen]
    assert ranks == sorted(ranks)
    assert set(ranks) == {0, 1, 2}


def test_a_gap_is_two_opposite_edges_and_a_single_step_is_not() -> None:
    joints = striped_landmarks()
    pair = [(bone_of(joints, "middle"), bone_of(joints, "ring"))]
    gap = crossings(striped_patch(joints).pixels, pair, 10.0)[0]
    assert gap.n_peaks == 2.0
    assert gap.chord_px == pytest.approx(24.0, abs=0.1)
    assert gap.both > 0.8 * gap.strongest
    step = crossings(striped_patch(joints, ("thumb", "index", "middle")).pixels, pair, 10.0)[0]
    assert step.n_peaks == 1.0
    assert step.both < 0.2 * step.strongest


def test_a_mitten_is_one_digit_and_a_thumb() -> None:
    seen = sight(striped_patch(striped_landmarks(18.0), filled=("index-middle", "middle-ring", "ring-little")))
    assert [digit.names for digit in seen.digits] == [("thumb",), FOUR]


def test_low_contrast_to_the_background_is_never_a_confident_wrong_count() -> None:
    patch = striped_patch(striped_landmarks())
    flat = np.asarray(patch.pixels, np.float64).mean(axis=(0, 1))
    states = []
    for contrast in (1.0, 0.5, 0.25, 0.12, 0.06, 0.0):
        seen = sight(
            dataclasses.replace(patch, pixels=np.clip(flat + contrast * (patch.pixels - flat), 0, 255).astype("u1"))
        )
        assert seen.state == "ambiguous" or seen.count == 5, contrast
        states.append(seen.state)
    assert (states[0], states[1], states[-1]) == ("ok", "ok", "ambiguous")


def test_what_cannot_be_judged_has_a_word() -> None:
    patch = striped_patch(striped_landmarks())
    assert sight(dataclasses.replace(patch, landmarks=None)).state == "no_landmarks"
    assert sight(striped_patch(striped_landmarks(6.0))).state == "side_view"
    bent = striped_landmarks()
    bent[7] += (14.0, 3.0)
    bent[8] += (26.0, 8.0)
    assert sight(dataclasses.replace(patch, landmarks=bent)).state == "ambiguous"


# --------------------------------------------------------------------------- what nobody claimed


def extra_at(patch: HandPatch, start: tuple[int, int], end: tuple[int, int]) -> HandPatch:
    pixels = patch.pixels.copy()
    cv2.line(pixels, start, end, SKIN, 12, cv2.LINE_AA)
    return dataclasses.replace(patch, pixels=pixels)


def test_a_bar_that_goes_on_into_the_palm_is_an_extra_digit() -> None:
    seen = sight(extra_at(striped_patch(striped_landmarks()), (160, 180), (222, 150)))
    assert (seen.state, seen.count) == ("ok", 6)
    assert seen.digits[-1].names == ("extra",)
    assert seen.digits[-1].tip == pytest.approx((222.0, 150.0), abs=12.0)


def test_a_bar_apart_from_the_hand_or_of_the_opposite_sign_is_none() -> None:
    joints = striped_landmarks()
    patch = striped_patch(joints)
    afar = sight(extra_at(patch, (205, 158), (240, 140)))
    assert (afar.state, afar.count) in {("ambiguous", 0), ("ok", 5)}
    axes = [bone_of(joints, name) for name in FINGERS]
    found = flanks(patch.pixels, axes)
    extra = extra_at(patch, (160, 180), (222, 150))
    inward = found.inward.mean(axis=(0, 1))
    assert len(bars(extra, axes, found.strong, inward)) == 1
    against = bars(extra, axes, found.strong, -inward)  # the other way round, only gaps between fingers are bars
    assert all(bar.end[0] < 180.0 for bar in against)
    assert bars(patch, axes, found.strong, inward) == []


def test_a_fist_with_a_finger_that_the_landmarks_fold_is_not_a_fist() -> None:
    joints = striped_landmarks()
    fist = without(joints, *FINGERS)
    assert (sight(striped_patch(fist, ())).state, sight(striped_patch(fist, ())).count) == ("ok", 0)
    assert sight(dataclasses.replace(striped_patch(joints, ("index",)), landmarks=fist)).state == "ambiguous"


# --------------------------------------------------------------------------- drawn hands


@cache
def drawn_patch(hand: HandParameters) -> tuple[HandPatch, dict[str, Any]]:
    """A drawn hand with landmarks made of its true joints, about a pixel off, and the wrist below the palm."""
    rng = np.random.default_rng(hand.texture_seed)
    pixels, truth = draw_hand(hand, 320, rng)
    joints = np.zeros((21, 3))
    for i, name in enumerate(FINGERS):
        marks: NDArray[np.float64] = np.asarray(truth["joints_px"][name], np.float64)
        joints[1 + 4 * i : 5 + 4 * i, :2] = marks + rng.normal(0.0, 1.0, 2)
    turn = np.radians(hand.rotation_deg)
    wrist = 62.0 * truth["px_per_mm"] * np.array([-np.sin(turn), np.cos(turn)])
    joints[0, :2] = np.array([truth["palm_x_px"], truth["palm_y_px"]]) + wrist
    patch = cut_patch(pixels, Hand(Box(*truth["box"]), joints, None, 0.9, ""))
    assert patch is not None
    return patch, truth


@pytest.mark.parametrize("fingers", [(E_,) * 5, (F_, E_, E_, E_, E_), (F_, E_, E_, F_, F_), (F_, E_, F_, F_, F_)])
def test_drawn_hands_are_counted(fingers: tuple[Any, ...]) -> None:
    for seed, mirrored, rotation in ((1, False, 0.0), (3, True, 25.0)):
        hand = HandParameters(fingers=fingers, mirrored=mirrored, rotation_deg=rotation, texture_seed=seed)
        patch, truth = drawn_patch(hand)
        seen = sight(patch)
        assert (seen.state, seen.count, seen.fused_pairs) == ("ok", truth["n_digits_separate"], ())


@pytest.mark.parametrize("pair", [1, 2, 3])
def test_drawn_fusions_are_named_and_fingers_held_together_are_not_fused(pair: int) -> None:
    fused = tuple("plain" if i == pair else None for i in range(4))
    patch, truth = drawn_patch(HandParameters(fused=fused, texture_seed=5))  # type: ignore[arg-type]
    seen = sight(patch)
    assert (seen.state, seen.count, list(seen.fused_pairs)) == ("ok", 4, truth["fused_pairs"])
    together, _ = drawn_patch(HandParameters(together=tuple(i == pair for i in range(4)), texture_seed=9))
    apart = sight(together)
    assert apart.fused_pairs == ()
    assert apart.state == "ambiguous" or apart.count == 5


def test_a_drawn_extra_digit_is_never_overlooked_for_certain() -> None:
    for seed in (2, 4, 6):
        patch, truth = drawn_patch(HandParameters(n_extra=1, texture_seed=seed))
        seen = sight(patch)
        assert seen.state == "ambiguous" or seen.count == truth["n_digits_separate"] == 6
