"""Fingers: two cues must agree, what is not sure is not said, and what is said is told against the landmarks' claim."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import cv2
import numpy as np
import pytest

from decay.phantom import HandParameters, draw_hand
from detectors.digits.patch import HandPatch
from detectors.digits.sighting import Digit, Sighting
from detectors.fingers import FAMILY, SMALLEST_PX, Cue, agreement, measure, stubs
from detectors.trait import OK, Box, Hand, Measurement, Points, View
from detectors.vision import Vision

PATCH = HandPatch(
    np.zeros((256, 256, 3), np.uint8), np.ones((256, 256), bool), np.eye(2, 3), np.zeros((7, 2)), None, 1.0
)
FIVE = Sighting(OK, tuple(Digit((name,), (0.0, 0.0)) for name in ("thumb", "index", "middle", "ring", "little")))
FOUR = Sighting(OK, FIVE.digits[1:])
FUSED = Sighting(OK, (*FIVE.digits[:2], Digit(("middle", "ring"), (1.0, 1.0)), FIVE.digits[4]))
OTHERWISE_FUSED = Sighting(OK, (*FIVE.digits[:3], Digit(("ring", "little"), (1.0, 1.0))))
UNSURE = Sighting("ambiguous")


def cues(*sightings: Sighting) -> dict[str, Cue]:
    names = ("edges", "silhouette", "network")
    return {name: lambda _, seen=seen: seen for name, seen in zip(names, sightings, strict=False)}


@pytest.mark.parametrize(
    ("sightings", "agreed"),
    [
        ((FIVE, FIVE, FOUR), FIVE),
        ((FIVE, FOUR, FIVE), FIVE),
        ((FOUR, FIVE, FIVE), FIVE),
        ((FIVE, FOUR, FUSED), None),  # four digits, but not the same four
        ((FUSED, OTHERWISE_FUSED, UNSURE), FUSED),  # as many pairs; the first knows the names best
        ((FIVE, UNSURE, UNSURE), None),
        ((UNSURE, UNSURE, UNSURE), None),
        ((Sighting(OK), Sighting(OK), UNSURE), Sighting(OK)),  # a fist
    ],
)
def test_two_cues_must_agree(sightings: tuple[Sighting, ...], agreed: Sighting | None) -> None:
    assert agreement(cues(*sightings), PATCH) == agreed


def test_no_cue_is_asked_once_two_have_agreed() -> None:
    def never(patch: HandPatch) -> Sighting:
        raise AssertionError("asked all the same")

    assert agreement({**cues(FIVE, FIVE), "bones": never}, PATCH) == FIVE


def test_bones_and_edges_do_not_outvote_a_network_that_sees_otherwise() -> None:
    four, five, unsure = (lambda _: FOUR), (lambda _: FIVE), (lambda _: UNSURE)
    assert agreement({"edges": four, "network": unsure, "bones": four}, PATCH) == FOUR
    assert agreement({"edges": four, "network": five, "bones": four}, PATCH) is None
    assert agreement({"edges": four, "network": five, "bones": four, "silhouette": five}, PATCH) == FIVE


def test_bones_and_edges_alone_see_no_fist() -> None:
    fist, unsure = (lambda _: Sighting(OK)), (lambda _: UNSURE)
    assert agreement({"edges": fist, "network": unsure, "bones": fist}, PATCH) is None
    assert agreement({"edges": fist, "network": fist, "bones": unsure}, PATCH) == Sighting(OK)


def test_the_last_cue_is_not_asked_where_no_other_has_spoken() -> None:
    def never(patch: HandPatch) -> Sighting:
        raise AssertionError("asked all the same")

    assert agreement({**cues(UNSURE, UNSURE), "silhouette": never}, PATCH) is None


def test_cues_that_are_blind_to_the_same_things_do_not_confirm_one_another() -> None:
    five, unsure = (lambda _: FIVE), (lambda _: UNSURE)
    assert agreement({"bones": five, "edges": unsure, "network": five}, PATCH) is None
    assert agreement({"bones": unsure, "edges": five, "network": five}, PATCH) == FIVE


@pytest.fixture(scope="module")
def vision() -> Any:
    with Vision() as found:
        yield found


def read(vision: Vision, hand: HandParameters, seed: int = 1, size_px: int = 320) -> Measurement:
    view = vision.look(draw_hand(hand, size_px, np.random.default_rng(seed))[0])
    assert len(view.hands) == 1
    return measure(view, view.hands[0])


def test_an_open_hand_shows_five_digits_and_nothing_wrong(vision: Vision) -> None:
    seen = read(vision, HandParameters(spread_deg=11.0))
    assert seen.state == OK
    assert (seen.values["finger_count"], seen.values["finger_claimed"], seen.values["finger_right"]) == (5.0, 5.0, 1.0)
    assert (seen.values["finger_fused_pairs"], seen.values["fused_pairs"], seen.values["finger_mitten"]) == (0, "", 0)


@pytest.mark.parametrize("pair", [1, 2, 3])
def test_a_fused_pair_is_counted_once_and_named(vision: Vision, pair: int) -> None:
    fused: list[Any] = [None] * 4
    fused[pair] = "plain"
    seen = read(vision, HandParameters(spread_deg=12.0, fused=tuple(fused)))
    assert seen.state == OK
    assert seen.values["finger_count"] == 4.0
    assert seen.values["fused_pairs"] == ("index-middle", "middle-ring", "ring-little")[pair - 1]
    assert seen.values["finger_right"] == 0.0


def test_folded_fingers_are_not_missing(vision: Vision) -> None:
    seen = read(vision, HandParameters(fingers=("folded", "extended", "extended", "folded", "folded")))
    assert seen.state == OK
    assert (seen.values["finger_count"], seen.values["finger_missing"], seen.values["finger_right"]) == (2.0, 0.0, 1.0)


def test_the_tips_lie_on_the_fingers(vision: Vision) -> None:
    hand = HandParameters(spread_deg=11.0)
    pixels, truth = draw_hand(hand, 320, np.random.default_rng(2))
    view = vision.look(pixels)
    tips = [
        tuple(map(float, tip.split(","))) for tip in str(measure(view, view.hands[0]).values["finger_tips"]).split(";")
    ]
    true = [digit["tip_px"] for digit in truth["digits"]]
    for tip in tips:
        nearest = min(math.dist(tip, other) for other in true)
        assert nearest < 6.0 * truth["px_per_mm"] * 2  # the end phalanx is 24 mm long


def test_a_small_hand_is_not_read() -> None:
    landmarks = np.random.default_rng(0).uniform(10, 40, (21, 3))
    hand = Hand(Box(10, 10, 10 + SMALLEST_PX - 1, 40), landmarks, None, 1.0, "left")
    assert measure(View(np.zeros((64, 64, 3), np.uint8), hands=(hand,)), hand).state == "too_small"


def test_a_palm_without_landmarks_claims_nothing_and_misses_nothing(vision: Vision) -> None:
    """Network and silhouette need the palm only."""
    pixels, _ = draw_hand(HandParameters(spread_deg=12.0), 320, np.random.default_rng(3))
    found = vision.look(pixels).hands[0]
    assert found.landmarks_px is not None
    palm = dataclasses.replace(found, landmarks_px=None, palm_px=found.landmarks_px[[0, 5, 9, 13, 17, 1, 2], :2])
    seen = measure(View(pixels, hands=(palm,)), palm)
    assert (seen.state, seen.values["finger_count"]) == (OK, 5.0)
    assert math.isnan(float(seen.values["finger_claimed"]))
    assert math.isnan(float(seen.values["finger_right"]))


def test_a_hand_at_the_edge_of_the_picture_is_not_counted(vision: Vision) -> None:
    pixels, _ = draw_hand(HandParameters(spread_deg=11.0), 320, np.random.default_rng(4))
    whole = vision.look(pixels).hands[0]
    assert whole.landmarks_px is not None
    cut = round(float(whole.landmarks_px[12, 1])) + 5  # through the end of the middle finger
    moved = whole.landmarks_px - np.array([0.0, cut, 0.0])
    hand = dataclasses.replace(whole, landmarks_px=moved, palm_px=None)
    assert measure(View(pixels), whole).state == OK
    assert measure(View(np.ascontiguousarray(pixels[cut:])), hand).state == "cut_off"


def test_a_pen_in_the_hand_is_no_finger(vision: Vision) -> None:
    pixels, truth = draw_hand(HandParameters(spread_deg=11.0), 320, np.random.default_rng(5))
    hand = vision.look(pixels).hands[0]
    tips = np.array([digit["tip_px"] for digit in truth["digits"]])
    middle = np.array([truth["palm_x_px"], truth["palm_y_px"]])
    end = middle + 1.1 * ((tips[0] + tips[1]) / 2 - middle)
    cv2.line(pixels, tuple(int(v) for v in middle), tuple(int(v) for v in end), (10, 10, 10), 9)
    assert measure(View(pixels), hand).values.get("finger_count", 5.0) == 5.0


def straight_hand() -> Points:
    """Four extended fingers, 100 px of palm; the thumb plays no part."""
    landmarks = np.zeros((21, 3))
    lengths = {5: 92.0, 9: 100.0, 13: 94.0, 17: 75.0}
    for x, (base, length) in enumerate(lengths.items()):
        landmarks[base : base + 4, 0] = 20.0 * x
        landmarks[base : base + 4, 1] = -100.0 - length * np.array([0.0, 0.5, 0.8, 1.0])
    return landmarks


def test_a_stub_at_its_own_knuckle_is_a_missing_finger_and_a_folded_finger_is_none() -> None:
    stub, folded = straight_hand(), straight_hand()
    stub[13:17, 1] = stub[13, 1] - 10.0 * np.array([0.0, 0.5, 0.8, 1.0])
    folded[13:17, 1] = folded[13, 1] + np.array([0.0, -47.0, 0.0, 20.0])
    others = ("index", "middle", "little")
    assert stubs(stub, others) == ("ring",)
    assert stubs(folded, others) == ()
    assert stubs(straight_hand(), (*others, "ring")) == ()
    assert stubs(stub, ("index", "middle")) == ()  # beside a folded finger it may be folded too
    assert stubs(stub, ("index",)) == ()  # one finger says too little of how long the others should be


def test_every_share_of_faults_is_better_when_lower() -> None:
    shares = [trait for trait in FAMILY.traits if trait.unit == "share" and trait.direction == "lower"]
    assert {trait.name for trait in shares} == {"finger_fused", "finger_mitten", "finger_extra", "finger_missing"}
    assert all(trait.floor == 1.0 for trait in shares)
