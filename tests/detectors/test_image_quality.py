from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
from skimage import data
from skimage.color import rgb2lab

from detectors import image_quality
from detectors.trait import Pixels, View


def read(pixels: Pixels) -> dict[str, float]:
    measured = image_quality.measure(View(pixels), None)
    assert measured.state == "ok"
    return {name: float(value) for name, value in measured.values.items()}  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def photograph() -> Pixels:
    return np.asarray(data.astronaut())


def test_half_black_half_white_in_closed_form() -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, 32:] = 255
    values = read(pixels)
    assert values["image_lightness"] == pytest.approx(50.0, abs=0.01)
    assert values["image_contrast"] == pytest.approx(50.0, abs=0.01)  # the largest there is
    assert values["image_saturation"] == pytest.approx(0.0, abs=0.01)
    assert values["image_colour_cast"] == pytest.approx(0.0, abs=0.01)


def test_lightness_and_chroma_agree_with_another_implementation_of_cielab(photograph: Pixels) -> None:
    lab = rgb2lab(photograph)
    values = read(photograph)
    assert values["image_lightness"] == pytest.approx(lab[..., 0].mean(), abs=0.1)
    assert values["image_contrast"] == pytest.approx(lab[..., 0].std(), abs=0.1)
    assert values["image_saturation"] == pytest.approx(np.hypot(lab[..., 1], lab[..., 2]).mean(), abs=0.2)


def test_growing_blur_lowers_sharpness_at_every_step(photograph: Pixels) -> None:
    values = [read(photograph)["image_sharpness"]]
    values += [read(cv2.GaussianBlur(photograph, (0, 0), sigma))["image_sharpness"] for sigma in (0.5, 1, 2, 4, 8)]
    assert all(before > after for before, after in pairwise(values))


def test_sharpness_does_not_follow_contrast_and_contrast_does(photograph: Pixels) -> None:
    faint = np.rint(64 + photograph * 0.5).astype(np.uint8)
    one, other = read(photograph), read(faint)
    assert other["image_sharpness"] == pytest.approx(one["image_sharpness"], rel=0.05)  # 8-bit rounding
    assert other["image_contrast"] < 0.7 * one["image_contrast"]


def test_greying_lowers_saturation_and_tinting_raises_the_cast(photograph: Pixels) -> None:
    grey = cv2.cvtColor(cv2.cvtColor(photograph, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    values = [
        read(cv2.addWeighted(photograph, 1 - share, grey, share, 0))["image_saturation"] for share in (0, 0.3, 0.6, 1)
    ]
    assert values == sorted(values, reverse=True)
    assert values[-1] == pytest.approx(0.0, abs=0.05)
    casts = [read(np.clip(grey + np.array([tint, 0, 0]), 0, 255).astype(np.uint8)) for tint in (0, 10, 20, 40)]
    assert [v["image_colour_cast"] for v in casts] == sorted(v["image_colour_cast"] for v in casts)


@pytest.mark.parametrize("turn", [lambda p: p[:, ::-1], lambda p: p[::-1], lambda p: p.transpose(1, 0, 2)])
def test_flips_and_turns_change_nothing(photograph: Pixels, turn) -> None:
    assert read(np.ascontiguousarray(turn(photograph))) == pytest.approx(read(photograph), rel=1e-3)


def test_a_large_image_reads_like_its_parts() -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (200, 300, 3)).astype(np.uint8)
    assert read(np.tile(small, (12, 12, 1))) == pytest.approx(read(small), rel=0.02, abs=0.2)


def test_a_flat_image_is_a_measured_zero_and_a_speck_is_too_small() -> None:
    assert read(np.full((32, 32, 3), 77, np.uint8))["image_sharpness"] == 0.0
    assert image_quality.measure(View(np.zeros((1, 1, 3), np.uint8)), None).state == "too_small"


def test_readings_do_not_depend_on_where_the_pixels_lie_in_memory(photograph: Pixels) -> None:
    held = [np.empty(n, np.uint8) for n in (1, 100, 3000)]  # so that the next arrays lie elsewhere
    seen = []
    for n in range(12):
        held.append(np.empty(977 * n + 1, np.uint8))
        seen.append(read(photograph[:333, :251].copy()))
    assert all(values == seen[0] for values in seen)
