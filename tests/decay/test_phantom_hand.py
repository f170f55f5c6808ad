"""What a drawn hand shows is what its truth says: digits, pairs, sides, sizes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from decay.phantom import FINGERS, Backdrop, Camera, HandParameters, Population, degrade, draw_hand, label_hand
from decay.phantom.hand_surface import capsule
from decay.phantom.parameters import FingerPose
from detectors.geometry import luminance
from detectors.trait import Pixels

CLEAN = Camera(noise=0.0)
E: FingerPose = "extended"
F: FingerPose = "folded"


def draw(hand: HandParameters, size_px: int = 160) -> tuple[Pixels, dict[str, Any]]:
    return draw_hand(hand, size_px, np.random.default_rng(0))


def varied(n: int) -> list[HandParameters]:
    return [Population().sample_varied_hand(np.random.default_rng([3, i])) for i in range(n)]


def test_a_capsule_is_the_highest_of_the_spheres_on_its_axis() -> None:
    rng = np.random.default_rng(1)
    x, y = (axis.astype(np.float32) for axis in np.meshgrid(np.linspace(-30, 30, 61), np.linspace(-30, 30, 61)))
    for _ in range(5):
        start, end = rng.uniform(-15, 15, (2, 3))
        radius_a, radius_b = rng.uniform(4, 9, 2)
        height, inside = capsule(start, end, radius_a, radius_b, x, y)
        best = np.full(x.shape, -np.inf)
        for t in np.linspace(0.0, 1.0, 801):
            centre, radius = start + t * (end - start), radius_a + t * (radius_b - radius_a)
            rise2 = radius**2 - (x - centre[0]) ** 2 - (y - centre[1]) ** 2
            best = np.maximum(best, np.where(rise2 > 0, centre[2] + np.sqrt(np.maximum(rise2, 0)), -np.inf))
        assert np.array_equal(inside > 0.02, np.isfinite(best) & (inside > 0.02))
        seen = inside > 0.5  # at the rim the height is steep
        assert np.abs(height[seen] - best[seen]).max() < 0.05


@pytest.mark.parametrize("view", ["palm", "back"])
def test_the_map_has_one_number_for_each_separate_digit(view: Any) -> None:
    cases = [
        HandParameters(),
        HandParameters(fingers=(F, E, E, F, F)),
        HandParameters(fingers=(E, F, F, F, E)),
        HandParameters(fingers=(F,) * 5),
        HandParameters(fused=(None, None, "plain", None)),
        HandParameters(fused=(None, "plain", "crease", "plain")),
        HandParameters(together=(False, True, True, True)),
        HandParameters(fingers=(E, "missing", E, E, E)),
        HandParameters(n_extra=1),
        HandParameters(n_extra=1, extra_places=("thumbside",)),
        HandParameters(n_extra=1, extra_places=("middle",), yaw_deg=15.0),
    ]
    for hand in cases:
        shown = replace(hand, view=view)
        _, truth = draw(shown, 96)
        labels = label_hand(shown, 96)
        n = truth["n_digits_separate"]
        assert set(np.unique(labels)) == set(range(n + 2)), hand
        assert [digit["label"] for digit in truth["digits"]] == list(range(2, n + 2))


def test_tips_lie_at_the_ends_of_their_digits() -> None:
    hand = HandParameters(rotation_deg=20.0, mirrored=True, n_extra=1, fused=(None, None, "plain", None))
    _, truth = draw(hand, 256)
    labels = label_hand(hand, 256)
    scale = truth["px_per_mm"]
    for digit in truth["digits"]:
        rows, columns = np.nonzero(labels == digit["label"])
        x, y = digit["tip_px"]
        near = np.hypot(columns - x, rows - y)
        assert near.min() < (7.0 if len(digit["names"]) > 1 else 1.5) * scale
        knuckle = truth["joints_px"][digit["names"][0]][0]
        ends = np.hypot(columns - knuckle[0], rows - knuckle[1])
        assert ends.max() == pytest.approx(np.hypot(x - knuckle[0], y - knuckle[1]), abs=6.0 * scale)


def darker_between(hand: HandParameters) -> float:
    """How much darker than the fingers the darkest place is on the way from the middle to the ring finger."""
    pixels, truth = draw(replace(hand, camera=CLEAN), 320)
    middle, ring = (0.5 * np.sum(truth["joints_px"][name][1:3], axis=0) for name in ("middle", "ring"))
    steps = np.linspace(0.0, 1.0, 41)[:, None]
    places = np.round(middle + steps * (ring - middle)).astype(int)
    light = luminance(pixels)[places[:, 1], places[:, 0]]
    return float(1.0 - light[10:31].min() / np.median(light[[2, 3, 4, 36, 37, 38]]))


@pytest.mark.parametrize("view", ["palm", "back"])
def test_touching_is_a_dark_line_and_fusion_is_none(view: Any) -> None:
    touching = darker_between(HandParameters(together=(False, False, True, False), view=view))
    fused = darker_between(HandParameters(fused=(None, None, "plain", None), view=view))
    sheet = darker_between(HandParameters(fused=(None, None, "plain", None), fused_gap=0.8, view=view))
    assert touching > 0.3
    assert max(fused, sheet) < 0.12


def test_fused_fingers_are_about_as_broad_as_both() -> None:
    def breadth(hand: HandParameters) -> int:
        _, truth = draw(hand, 256)
        labels = label_hand(hand, 256)
        row = round(truth["joints_px"]["middle"][2][1])
        return int((labels[row] == 4).sum())  # thumb 2, index 3, middle or middle and ring 4

    one, two = breadth(HandParameters()), breadth(HandParameters(fused=(None, None, "plain", None)))
    assert 1.7 < two / one < 2.3


def test_a_mirrored_hand_is_the_mirror_image() -> None:
    hand = HandParameters(n_extra=1, yaw_deg=20.0)
    other = replace(hand, mirrored=True)
    assert np.array_equal(label_hand(hand, 128), label_hand(other, 128)[:, ::-1])
    (_, a), (_, b) = draw(hand, 128), draw(other, 128)
    for name in FINGERS:
        assert [[127.0 - x, y] for x, y in a["joints_px"][name]] == [pytest.approx(p) for p in b["joints_px"][name]]


def test_folded_fingers_lie_before_the_palm_and_behind_the_back() -> None:
    fist = HandParameters(fingers=(E, F, F, F, F), camera=CLEAN)
    front, truth = draw(fist, 256)
    back, _ = draw(replace(fist, view="back"), 256)
    open_hand, _ = draw(replace(fist, fingers=(E, E, E, E, E)), 256)
    x, y = (round(v) for v in np.mean(truth["joints_px"]["middle"][1:4], axis=0))

    def roughness(pixels: Pixels) -> float:
        return float(luminance(pixels)[y - 6 : y + 7, x - 30 : x + 31].std())

    assert roughness(front) > 2.0 * roughness(back)
    assert roughness(front) > 2.0 * roughness(open_hand)


def nail_edge(view: Any) -> float:
    """The sharpest change of light along the middle of the middle finger's end phalanx, of the light there."""
    skin = replace(HandParameters().skin, texture=0.0)
    pixels, truth = draw(HandParameters(view=view, camera=CLEAN, skin=skin), 512)
    joint, tip = (np.array(truth["joints_px"]["middle"][i]) for i in (2, 3))
    line = np.round(joint + np.linspace(0.3, 1.0, 40)[:, None] * (tip - joint)).astype(int)
    light = luminance(pixels)[line[:, 1], line[:, 0]]
    return float(np.abs(light[3:] - light[:-3]).max() / light.mean())


def test_only_the_back_shows_nails() -> None:
    assert nail_edge("back") > 2.0 * nail_edge("palm")


def test_a_turned_hand_is_narrower_and_a_tipped_one_shorter() -> None:
    def size(hand: HandParameters) -> tuple[float, float]:
        x0, y0, x1, y1 = draw(hand, 128)[1]["box"]
        return x1 - x0, y1 - y0

    flat, turned, tipped = (
        size(HandParameters()),
        size(HandParameters(yaw_deg=60.0)),
        size(HandParameters(pitch_deg=45)),
    )
    assert turned[0] < 0.75 * flat[0]
    assert tipped[1] < 0.85 * flat[1]


def test_a_bare_arm_runs_out_of_the_picture_in_skin() -> None:
    sleeved, bare = (label_hand(HandParameters(sleeve_mm=mm), 96)[-1] for mm in (30.0, None))
    assert sleeved.max() == 0
    assert bare.max() == 1


def test_an_empty_sleeve_has_no_label() -> None:
    hand = HandParameters(present=False)
    pixels, truth = draw(hand, 96)
    assert (truth["present"], truth["n_digits_separate"]) == (False, 0)
    assert label_hand(hand, 96).max() == 0
    assert np.abs(pixels[-1, 48].astype(int) - pixels[0, 48]).max() > 20  # the cloth is there


def test_what_keeps_digits_from_being_counted_is_told() -> None:
    cases: list[tuple[HandParameters, set[str]]] = [
        (HandParameters(), set()),
        (HandParameters(together=(True,) * 4, view="back"), set()),
        (HandParameters(yaw_deg=85.0), {"turned", "hidden"}),
        (HandParameters(frame_mm=180.0), {"cut"}),
        (HandParameters(held="ball"), {"held"}),
        (HandParameters(behind=HandParameters(shift_x=0.2)), {"behind"}),
    ]
    for hand, words in cases:
        assert set(draw(hand, 96)[1]["hard"]) == words, hand


def test_variety_draws_and_its_truth_holds() -> None:
    seen: dict[str, set[Any]] = {"view": set(), "count": set(), "backdrop": set()}
    for hand in varied(36):
        pixels, truth = draw(hand, 64)
        labels = label_hand(hand, 64)
        assert pixels.shape == (64, 64, 3)
        shown = set(np.unique(labels)) - {0, 1}
        assert shown <= {digit["label"] for digit in truth["digits"]}
        if not truth["hard"]:
            assert len(shown) == truth["n_digits_separate"]
        assert truth["n_digits_separate"] == truth["n_extended"] - truth["n_fused_pairs"]
        seen["view"].add(hand.view)
        seen["count"].add(truth["n_digits_separate"])
        seen["backdrop"].add(hand.backdrop.kind)
    assert seen["view"] == {"palm", "back"}
    assert seen["count"] >= {0, 1, 2, 3, 4, 5}
    assert len(seen["backdrop"]) >= 6


def test_the_backdrop_is_only_seen_beside_the_hand() -> None:
    a, b = (draw(HandParameters(camera=CLEAN, backdrop=Backdrop(colour=c)), 128)[0] for c in ("#101010", "#e0e0e0"))
    labels = label_hand(HandParameters(), 128)
    far = np.abs(a.astype(int) - b).max(axis=2)
    inner = np.zeros_like(labels, bool)
    inner[2:-2, 2:-2] = np.min(
        [labels[2 + dy : 126 + dy, 2 + dx : 126 + dx] for dy in (-2, 0, 2) for dx in (-2, 0, 2)], 0
    )
    assert far[inner].max() == 0
    assert np.median(far[:20]) > 100


def test_a_smaller_or_compressed_picture_is_the_callers() -> None:
    pixels, _ = draw(HandParameters(), 160)
    assert degrade(pixels, scale=0.5, jpeg_quality=60).shape == (80, 80, 3)


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="curl"):
        HandParameters(curl=(0.0,))
    with pytest.raises(ValueError, match="32 px"):
        label_hand(HandParameters(), 16)
