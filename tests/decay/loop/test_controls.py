"""The controls: colours that are matched to the nearest real ones, distances between the features of two pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.linalg import sqrtm
from skimage.exposure import match_histograms

from decay.errors import DecayError, ModelError
from decay.files import sha256_of
from decay.images import write_png
from decay.loop.controls import (
    PSEUDO_COUNT,
    ColourMatcher,
    SingleImageFid,
    feature_statistics,
    frechet_distance,
    level_shifts,
    replace_far,
    to_ycbcr,
    ycbcr_histograms,
)
from decay.loop.protocol import Controls, Protocol, RealSet
from decay.loop.run import run
from detectors.trait import Pixels


def scene(seed: int, size: int = 64) -> Pixels:
    """A smooth picture with colours of its own that stay clear of the ends of the scale."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(60, 190, (8, 8, 3)) + rng.uniform(-20, 20, 3)
    smooth = cv2.resize(coarse.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(np.rint(smooth + rng.normal(0, 3, smooth.shape)), 0, 255).astype(np.uint8)


def kullback_leibler(generated: Pixels, real: Pixels) -> float:
    """Mean over the channels, summed bin by bin as it is defined."""
    total = 0.0
    for channel in range(3):
        p, q = (np.histogram(to_ycbcr(im)[..., channel], 256, (0, 256))[0] + PSEUDO_COUNT for im in (generated, real))
        p, q = p / p.sum(), q / q.sum()
        total += sum(a * np.log(a / b) for a, b in zip(p, q, strict=True))
    return total / 3


# --------------------------------------------------------------------------- colour


def test_ycbcr_is_that_of_opencv_and_pillow() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    pillow = np.asarray(Image.fromarray(image).convert("YCbCr")).astype(int)
    assert np.abs(to_ycbcr(image) - pillow).max() <= 1  # Pillow rounds its tables, not the sum
    assert (to_ycbcr(np.full((1, 1, 3), 90, np.uint8)) == (90, 128, 128)).all()


def test_a_picture_that_is_among_the_real_ones_stays_as_it_is() -> None:
    real = [scene(seed) for seed in range(5)]
    matched, index, divergence = ColourMatcher(real).match(real[3])
    assert index == 3
    assert divergence == pytest.approx(0, abs=1e-12)
    assert np.array_equal(matched, real[3])


def test_a_colour_cast_is_taken_off() -> None:
    original = scene(1)
    cast = np.clip(original * [1.1, 0.97, 0.9] + [8, 0, -6], 0, 255).astype(np.uint8)
    matched = ColourMatcher([original]).match(cast).pixels
    before, after = (np.abs(image - original.astype(float)).mean() for image in (cast, matched))
    assert before > 8
    assert after < before / 4


def test_the_matched_picture_has_the_histograms_of_the_real_one() -> None:
    image, real = scene(2, 128), scene(3, 128)
    wanted, got = to_ycbcr(real), to_ycbcr(ColourMatcher([real]).match(image).pixels)
    for channel in range(3):
        quantiles = np.linspace(0.02, 0.98, 49)
        apart = np.abs(np.quantile(wanted[..., channel], quantiles) - np.quantile(got[..., channel], quantiles))
        assert apart.mean() < 1.5  # whole levels, and what leaves the RGB cube


@pytest.mark.parametrize("size", [64, 48])
def test_levels_move_as_scikit_image_moves_them(size: int) -> None:
    here, there = to_ycbcr(scene(4)), to_ycbcr(scene(5, size))
    expected = match_histograms(here, there, channel_axis=-1)
    shifts = [level_shifts(a, b) for a, b in zip(ycbcr_histograms(here), ycbcr_histograms(there), strict=True)]
    moved = np.stack([here[..., c] + shifts[c][here[..., c]] for c in range(3)], axis=-1)
    assert np.array_equal(np.floor(moved + 1e-9), expected)  # scikit-image cuts the fraction off


def test_the_nearest_is_that_of_the_definition() -> None:
    real, generated = [scene(seed) for seed in range(12)], [scene(seed) for seed in range(100, 108)]
    matcher = ColourMatcher(real)
    chosen = set()
    for image in generated:
        by_hand = [kullback_leibler(image, other) for other in real]
        _, index, divergence = matcher.match(image)
        assert index == int(np.argmin(by_hand))
        assert divergence == pytest.approx(min(by_hand), rel=1e-9)
        chosen.add(index)
    assert len(chosen) > 1


def test_the_divergence_is_that_of_generated_from_real() -> None:
    narrow, wide = np.full((32, 32, 3), 128, np.uint8), scene(6, 32)
    there = ColourMatcher([wide]).match(narrow).divergence
    back = ColourMatcher([narrow]).match(wide).divergence
    assert there == pytest.approx(kullback_leibler(narrow, wide), rel=1e-9)
    assert abs(there - back) > 0.1


def test_pictures_that_share_no_colour_are_still_matched() -> None:
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)
    matched, index, divergence = ColourMatcher([white]).match(black)
    assert (matched == 255).all()
    assert index == 0
    assert np.isfinite(divergence)


def test_no_real_picture_is_no_matcher() -> None:
    with pytest.raises(ValueError, match="at least one"):
        ColourMatcher([])


# --------------------------------------------------------------------------- the distance


def features(seed: int, n: int = 400, channels: int = 6, shift: float = 0.0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, channels)) @ rng.normal(size=(channels, channels)) + shift


def textbook(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """With a matrix square root, where the covariances have full rank."""
    s, t = np.cov(a.T), np.cov(b.T)
    apart = a.mean(0) - b.mean(0)
    return float(apart @ apart + np.trace(s + t - 2 * np.real(sqrtm(s @ t))))


def distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return frechet_distance(feature_statistics(a), feature_statistics(b))


def test_it_is_what_a_matrix_square_root_gives() -> None:
    a, b = features(0), features(1, shift=0.7)
    assert distance(a, b) == pytest.approx(textbook(a, b), rel=1e-9)
    assert distance(a, b) == pytest.approx(distance(b, a), rel=1e-12)
    assert distance(a, a) == pytest.approx(0, abs=1e-9)


def test_closed_form_for_gaussians_along_the_axes() -> None:
    # Eight corners with known spread: sample variances are (8/7) s^2, without chance.
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float64)
    s, t, shift = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 0.5]), np.array([0.3, -0.4, 1.2])
    expected = (shift**2).sum() + (8 / 7) * ((s - t) ** 2).sum()
    assert distance(corners * s, corners * t + shift) == pytest.approx(expected, rel=1e-12)


def test_without_full_rank_it_is_that_of_the_directions_there_are() -> None:
    flat = np.pad(features(2, channels=3), ((0, 0), (0, 5)))
    other = np.pad(features(3, channels=3, shift=1), ((0, 0), (0, 5)))
    assert distance(flat, other) == pytest.approx(textbook(flat[:, :3], other[:, :3]), rel=1e-6)


def test_too_few_locations_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="4 locations for 6 channels"):
        feature_statistics(features(0, n=4))
    with pytest.raises(ValueError, match="at least 2"):
        feature_statistics(features(0, n=1))


def test_a_missing_model_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"(?s)none\.pt.*nvlabs.*f58cb9b6.*non-commercial"):
        SingleImageFid(tmp_path / "none.pt")


# --------------------------------------------------------------------------- with a network

torch = pytest.importorskip("torch")


class Map(torch.nn.Module):
    """A feature map of its own: 4 channels at half the size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.conv(x))


class Layers(torch.nn.Module):
    """Named as the layers of NVIDIA's file are, a few channels wide."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, stride=2)
        self.conv_1 = torch.nn.Conv2d(4, 4, 3)
        self.conv_2 = torch.nn.Conv2d(4, 6, 3, padding=1)
        self.pool0 = torch.nn.MaxPool2d(3, 2)
        self.conv_3 = torch.nn.Conv2d(6, 7, 1)
        self.conv_4 = torch.nn.Conv2d(7, 8, 3)
        self.pool1 = torch.nn.MaxPool2d(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool0(self.conv_2(self.conv_1(self.conv(x))))
        return self.pool1(self.conv_4(self.conv_3(x))).mean(dim=[2, 3])


class Whole(torch.nn.Module):
    """What NVIDIA's file is: layers in a module that returns one vector."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = Layers()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def saved(module: torch.nn.Module, path: Path) -> Path:
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    torch.jit.script(module).save(str(path))
    return path


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(Map(), tmp_path_factory.mktemp("own") / "map.pt")


@pytest.fixture(scope="module")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(Whole(), tmp_path_factory.mktemp("inception") / "inception.pt")


def test_pictures_alike_are_at_no_distance_and_worse_ones_further(own: Path) -> None:
    fid, image = SingleImageFid(own), scene(7)
    near = cv2.GaussianBlur(image, (0, 0), 0.8).astype(np.uint8)
    far = cv2.GaussianBlur(image, (0, 0), 6).astype(np.uint8)
    assert fid.distance(image, image) == pytest.approx(0, abs=1e-9)
    assert 0 < fid.distance(near, image) < fid.distance(far, image)
    assert fid.distance(near, image) == pytest.approx(fid.distance(image, near), rel=1e-9)
    assert fid.distance(near, fid.statistics(image)) == fid.distance(near, image)


def test_the_same_number_again_and_in_another_order(own: Path) -> None:
    pairs = [(scene(seed), scene(seed + 1)) for seed in range(6)]
    first = SingleImageFid(own)
    forwards = [first.distance(*pair) for pair in pairs]
    assert [SingleImageFid(own).distance(*pair) for pair in pairs[::-1]] == forwards[::-1]


def test_the_network_sees_rgb_from_minus_one_to_one(tmp_path: Path) -> None:
    from decay.features.maps import TorchScriptFeatures

    class Same(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    path = tmp_path / "same.pt"
    torch.jit.script(Same()).save(str(path))
    image = np.array([[[0, 255, 51], [255, 0, 102]]], np.uint8)
    assert TorchScriptFeatures(path)(image) == pytest.approx(np.array([[-1, 1, -0.6], [1, -1, -0.2]]), abs=1e-6)


def test_of_inception_the_layers_before_the_first_pool_are_used(inception: Path) -> None:
    from decay.features.maps import TorchScriptFeatures

    image = scene(8)
    got = TorchScriptFeatures(inception)(image)
    assert got.shape == (29 * 29, 6)
    layers = torch.jit.load(str(inception)).layers
    x = torch.from_numpy(image.transpose(2, 0, 1)[None] / 127.5 - 1.0).float()
    x = layers.conv_2(layers.conv_1(layers.conv(x)))
    assert got == pytest.approx(x[0].flatten(1).T.detach().numpy(), abs=1e-5)


def blurred(image: Pixels, sigma: float) -> Pixels:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


def test_what_is_too_far_is_made_again_until_it_is_near_enough(own: Path) -> None:
    real = [scene(seed) for seed in range(4)]
    first = [blurred(image, 1.0) for image in real]
    generated = [blurred(real[0], 6), blurred(real[1], 0.4), blurred(real[2], 6), blurred(real[3], 6)]
    # By slot, what each attempt makes: near at once; never asked for; nearer, but never near enough; never nearer.
    sigmas = {0: [0.4, 0.3, 0.2], 2: [5, 3, 4], 3: [20, 20, 20]}
    asked: list[tuple[list[int], int]] = []

    def again(slots: Sequence[int], attempt: int) -> Iterator[Pixels]:
        asked.append((list(slots), attempt))
        return (blurred(real[slot], sigmas[slot][attempt - 1]) for slot in slots)

    fid = SingleImageFid(own)
    limit, made, too_far = replace_far(generated, real, first, fid, 3, again)
    assert asked == [([0, 2, 3], 1), ([2, 3], 2), ([2, 3], 3)]
    assert [(each.slot, each.attempt) for each in made] == [(0, 1), (2, 2)]
    for each in made:
        assert each.distance < each.distance_before
        assert np.array_equal(each.pixels, blurred(real[each.slot], sigmas[each.slot][each.attempt - 1]))
    assert limit == pytest.approx(np.mean([fid.distance(*pair) for pair in zip(first, real, strict=True)]))
    assert too_far == {2: made[1].distance, 3: fid.distance(generated[3], real[3])}
    assert min(too_far.values()) > limit > made[0].distance


def test_where_all_are_alike_nothing_is_made_again(own: Path) -> None:
    real = [scene(seed) for seed in range(2)]

    def again(slots: Sequence[int], attempt: int) -> Iterator[Pixels]:
        raise AssertionError("asked for nothing")

    assert replace_far(real, real, [blurred(image, 1.0) for image in real], SingleImageFid(own), 3, again)[1:] == (
        [],
        {},
    )


def test_the_hash_of_the_model_is_known(own: Path) -> None:
    from decay.files import sha256_of

    assert SingleImageFid(own).model_sha256 == sha256_of(own)


def test_a_file_that_is_no_torchscript_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("hello")
    torch.save({"weights": torch.zeros(3)}, tmp_path / "pickle.pt")
    for name in ("text.pt", "pickle.pt"):
        with pytest.raises(ModelError, match=rf"{name}: expected a TorchScript file"):
            SingleImageFid(tmp_path / name)


def test_a_network_that_returns_one_vector_is_refused(tmp_path: Path) -> None:
    class Mean(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean(dim=[2, 3])

    torch.jit.script(Mean()).save(str(tmp_path / "mean.pt"))
    with pytest.raises(ModelError, match=r"feature map .* got \(1, 3\)"):
        SingleImageFid(tmp_path / "mean.pt").statistics(scene(0))


def test_a_picture_that_is_too_small_is_refused(inception: Path) -> None:
    with pytest.raises(DecayError, match="2 x 2 px"):
        SingleImageFid(inception).statistics(scene(0, 2))


def test_the_next_generation_starts_from_what_replaced_a_picture(own: Path, tmp_path: Path) -> None:
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for number in range(6):
        write_png(photographs / f"{number}.png", scene(number, 16))
    controls = Controls(quality=True, quality_model=own, quality_attempts=2)
    protocol = Protocol(
        "t", RealSet(photographs, "a scene"), "linear", {"strength": 0.5}, iterations=1, size_px=16,
        later_from="previous", controls=controls,
    )  # fmt: skip
    out = run(protocol, tmp_path / "run")
    replaced = {path.name for path in (out / "replaced" / "gen_00").glob("*.png")}
    assert 0 < len(replaced) < 6
    log = map(json.loads, (out / "provenance.jsonl").read_text().splitlines())
    made = [event for event in log if event["kind"] == "image" and event["generation"] == 1]
    assert {event["path"].split("/")[0] for event in made} >= {"gen_01"}
    for event in made:
        name = Path(event["path"]).name
        before = out / ("replaced/gen_00" if name in replaced else "gen_00") / name
        assert event["parents"] == [sha256_of(before)]
