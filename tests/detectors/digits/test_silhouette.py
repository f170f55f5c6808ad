"""The silhouette cue on drawn hands and on plain shapes whose digits are known."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from decay.phantom.hand import draw_hand
from decay.phantom.parameters import FingerPose, HandParameters
from detectors.digits.branches import tree
from detectors.digits.patch import PALM_PX, HandPatch, cut_patch
from detectors.digits.sighting import FINGERS, PAIRS
from detectors.digits.silhouette import sight
from detectors.digits.skin import away_px, hand_odds, outline, palm_core
from detectors.trait import Box, Hand

SIZE_PX = 256
WRIST_MM = 58.0
OPEN: tuple[FingerPose, ...] = ("extended",) * 5


def _hand(parameters: HandParameters) -> Hand:
    """The palm's seven points, from the drawing of the same hand held open (a missing finger has no knuckle)."""
    whole = replace(parameters, fingers=OPEN, fused=(None,) * 4, together=(False,) * 4, n_extra=0)
    _, truth = draw_hand(whole, SIZE_PX, np.random.default_rng(0))
    turn = np.radians(parameters.rotation_deg)
    down = WRIST_MM * truth["px_per_mm"] * np.array([-np.sin(turn), np.cos(turn)])
    wrist = np.array([truth["palm_x_px"], truth["palm_y_px"]]) + down
    joints = truth["joints_px"]
    palm = np.array([wrist, *(joints[name][0] for name in FINGERS[1:]), *joints["thumb"][:2]])
    return Hand(Box(0.0, 0.0, SIZE_PX, SIZE_PX), None, palm, 1.0, "")


@cache
def _patch(parameters: HandParameters) -> HandPatch:
    pixels, _ = draw_hand(parameters, SIZE_PX, np.random.default_rng(1))
    patch = cut_patch(pixels, _hand(parameters))
    assert patch is not None
    return patch


def _mask(patch: HandPatch) -> NDArray[np.bool_]:
    core = palm_core(patch)
    return outline(patch, core, hand_odds(patch, core, away_px(patch)))


def _located(shown: HandParameters, claimed: HandParameters) -> HandPatch:
    """One hand's picture with the landmarks of another, drawn in the same place."""
    _, truth = draw_hand(claimed, SIZE_PX, np.random.default_rng(0))
    palm = _hand(shown).palm_px
    assert palm is not None
    chains = [np.asarray(truth["joints_px"][name]) for name in FINGERS]
    landmarks = np.column_stack([np.vstack([palm[:1], *chains]), np.zeros(21)])
    pixels, _ = draw_hand(shown, SIZE_PX, np.random.default_rng(1))
    patch = cut_patch(pixels, Hand(Box(0.0, 0.0, SIZE_PX, SIZE_PX), landmarks, palm, 1.0, ""))
    assert patch is not None
    return patch


def _raised(*names: str) -> HandParameters:
    return HandParameters(fingers=tuple("extended" if name in names else "folded" for name in FINGERS))


def _names(parameters: HandParameters) -> list[tuple[str, ...]]:
    seen = sight(_patch(parameters))
    assert seen.state == "ok"
    return [digit.names for digit in seen.digits]


@pytest.mark.parametrize(
    "names",
    [(), ("index",), ("index", "middle"), ("thumb", "index", "middle"), FINGERS[1:], FINGERS],
    ids=len,
)
def test_raised_fingers_are_counted_and_named(names: tuple[str, ...]) -> None:
    assert _names(_raised(*names)) == [(name,) for name in names]


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_fused_pair_is_one_digit_with_two_names(nth: int) -> None:
    fused = tuple("plain" if i == nth else None for i in range(4))
    seen = sight(_patch(HandParameters(fused=fused)))
    assert (seen.state, seen.count, seen.fused_pairs) == ("ok", 4, (PAIRS[nth],))


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_fingers_that_touch_along_a_dark_line_are_separate(nth: int) -> None:
    seen = sight(_patch(HandParameters(together=tuple(i == nth for i in range(4)))))
    assert (seen.state, seen.count, seen.fused_pairs) == ("ok", 5, ())


def test_a_mitten_is_one_digit_beside_the_thumb() -> None:
    assert _names(HandParameters(fused=(None, "plain", "plain", "plain"))) == [("thumb",), FINGERS[1:]]


def test_a_sixth_finger_is_extra_and_a_missing_one_leaves_its_name_free() -> None:
    assert _names(HandParameters(n_extra=1)) == [*((name,) for name in FINGERS), ("extra",)]
    fingers: tuple[FingerPose, ...] = ("extended", "extended", "missing", "extended", "extended")
    assert _names(HandParameters(fingers=fingers)) == [("thumb",), ("index",), ("ring",), ("little",)]


def test_mirroring_and_turning_the_picture_change_nothing() -> None:
    for parameters in (_raised("thumb", "index", "middle"), HandParameters(fused=(None, None, "plain", None))):
        turned = replace(parameters, mirrored=True, rotation_deg=30.0)
        assert _names(turned) == _names(parameters)


def test_tips_lie_at_the_ends_of_the_drawn_fingers() -> None:
    parameters = HandParameters()
    patch = _patch(parameters)
    _, truth = draw_hand(parameters, SIZE_PX, np.random.default_rng(1))
    tips = patch.to_image(np.array([digit.tip for digit in sight(patch).digits]))
    last = np.array([truth["joints_px"][name][-1] for name in FINGERS])
    finger_px = 2.0 * parameters.finger_radius_mm * truth["px_per_mm"]
    assert np.linalg.norm(tips - last, axis=1).max() < finger_px


def test_a_wall_of_the_hands_own_colour_is_not_answered() -> None:
    patch = _patch(HandParameters())
    mask = _mask(patch)
    skin = np.median(patch.pixels[mask], axis=0)
    grain = np.random.default_rng(2).normal(0.0, 4.0, patch.pixels.shape)
    wall = np.clip(skin + grain, 0, 255).astype(np.uint8)
    seen = sight(replace(patch, pixels=np.where(mask[..., None], patch.pixels, wall)))
    assert seen.state in ("unsegmented", "ambiguous") or seen.count == 5


def test_what_has_no_hand_in_it_is_not_a_fist() -> None:
    flat = np.full_like(_patch(HandParameters()).pixels, 140)
    assert sight(replace(_patch(HandParameters()), pixels=flat)).state == "unsegmented"


def test_a_palm_seen_from_its_side_is_not_counted() -> None:
    patch = _patch(HandParameters())
    edge_on = patch.palm.copy()
    edge_on[1:5, 0] = edge_on[1:5, 0].mean() + 0.2 * (edge_on[1:5, 0] - edge_on[1:5, 0].mean())
    assert sight(replace(patch, palm=edge_on)).state == "pose"


def test_shading_across_the_hand_leaves_the_outline() -> None:
    patch = _patch(HandParameters())
    fall = np.linspace(1.0, 0.6, patch.pixels.shape[1])[None, :, None]
    shaded = replace(patch, pixels=(patch.pixels * fall).astype(np.uint8))
    before, after = _mask(patch), _mask(shaded)
    assert (before & after).sum() > 0.97 * (before | after).sum()


def test_the_tree_has_a_leaf_for_each_bar_that_stands_out_of_the_palm() -> None:
    palm = np.array(
        [[128.0, 200.0], [100.0, 130.0], [119.0, 126.0], [138.0, 126.0], [156.0, 130.0], [105.0, 190.0], [98.0, 170.0]]
    )
    for n in range(1, 5):
        mask = np.zeros((256, 256), bool)
        mask[126:200, 98:157] = True
        for i in range(n):
            mask[50:130, 98 + 16 * i : 108 + 16 * i] = True
        leaves = [leaf for root in tree(mask, palm) for leaf in root.leaves() if leaf.reach_px > 0.5 * PALM_PX]
        assert len(leaves) == n
        assert all(leaf.width_px == pytest.approx(10.0, abs=1.5) for leaf in leaves)  # slices are three pixels thick


@pytest.mark.parametrize("names", [("index", "middle"), FINGERS], ids=len)
def test_landmarks_that_fold_fingers_take_none_away(names: tuple[str, ...]) -> None:
    seen = sight(_located(_raised(*names), _raised()))
    assert [digit.names for digit in seen.digits] == [(name,) for name in names]


def test_landmarks_that_claim_fingers_add_none() -> None:
    assert sight(_located(_raised("index", "middle"), HandParameters())).count == 2
    mitten = sight(_located(HandParameters(fused=(None, "plain", "plain", "plain")), HandParameters()))
    assert [digit.names for digit in mitten.digits] == [("thumb",), FINGERS[1:]]


def test_an_arm_that_touches_the_hand_from_the_side_leaves_the_count() -> None:
    patch = _located(HandParameters(), HandParameters())
    mask = _mask(patch)
    arm = patch.pixels.copy()
    beside = np.zeros_like(mask)
    beside[178:, 140:] = True
    skin = np.median(patch.pixels[mask], axis=0)
    grain = np.random.default_rng(2).normal(0.0, 4.0, arm.shape)
    arm = np.where((beside & ~mask)[..., None], np.clip(skin + grain, 0, 255).astype(np.uint8), arm)
    assert sight(replace(patch, pixels=arm)).count == 5
