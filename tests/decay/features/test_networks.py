"""Each network against what its own makers' steps give, written out: resizing, normalising, forward, nothing else."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from decay.errors import ModelError
from decay.features import NETWORKS, network_version, open_network, versions_at_hand
from decay.features.reader import FeatureReader
from decay.features.resize import resized, resized_exactly
from detectors.distances.gaussian import feature_statistics, packed, unpacked
from detectors.trait import Pixels

RNG = np.random.default_rng(0)
PICTURE = np.asarray(
    Image.fromarray(RNG.integers(0, 256, (12, 9, 3), dtype=np.uint8)).resize((70, 90), Image.Resampling.BICUBIC)
)


def floats(pixels: Pixels, side: int) -> np.ndarray:
    """Each channel resized alone in floating point, as clean-fid does."""
    channels = []
    for channel in range(3):
        plane = Image.fromarray(pixels[:, :, channel].astype(np.float32), mode="F")
        channels.append(np.asarray(plane.resize((side, side), resample=Image.BICUBIC)).clip(0, 255))
    return np.stack(channels, axis=2).astype(np.float32)


def test_inception_sees_the_picture_as_clean_fid_resizes_it(tiny_weights: Path) -> None:
    found = open_network("inception", tiny_weights).of_picture(PICTURE)
    layers = torch.jit.load(str(tiny_weights / "inception-2015-12-05.pt")).layers
    values = torch.from_numpy((floats(PICTURE, 299).transpose(2, 0, 1)[None] - 128) / 128)
    with torch.no_grad():
        expected = layers(values).numpy()[0]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_resizing_for_fid_never_rounds_to_whole_levels() -> None:
    found = resized_exactly(PICTURE, 299)
    np.testing.assert_array_equal(found, floats(PICTURE, 299))
    assert np.abs(found - resized(PICTURE, 299)).max() > 0.4


def test_clip_gives_the_cosine_that_transformers_own_model_gives(tiny_weights: Path) -> None:
    from transformers import AutoTokenizer, CLIPModel

    folder = tiny_weights / "clip"
    extractor = open_network("clip", tiny_weights)
    text = "a bright red picture"
    found = float(extractor.of_picture(PICTURE) @ extractor.of_text(text))  # type: ignore[attr-defined]
    side = Image.fromarray(PICTURE).resize((32, 41), Image.BICUBIC).crop((0, 4, 32, 36))
    mean, deviation = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    pixels = ((np.asarray(side) / 255 - mean) / deviation).astype(np.float32).transpose(2, 0, 1)[None]
    model = CLIPModel.from_pretrained(folder).eval()
    tokens = AutoTokenizer.from_pretrained(folder)([text], return_tensors="pt")
    with torch.no_grad():
        logits = model(input_ids=tokens["input_ids"], pixel_values=torch.from_numpy(pixels)).logits_per_image
        expected = float(logits / model.logit_scale.exp())
    assert found == pytest.approx(expected, abs=1e-6)
    assert np.linalg.norm(extractor.of_picture(PICTURE)) == pytest.approx(1.0, abs=1e-6)


def test_dinov2_gives_the_class_token_of_the_whole_picture_at_224_px(tiny_weights: Path) -> None:
    from transformers import Dinov2Model

    found = open_network("dinov2", tiny_weights).of_picture(PICTURE)
    levels = np.asarray(Image.fromarray(PICTURE).resize((224, 224), Image.BICUBIC)) / 255
    values = ((levels - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)).astype(np.float32).transpose(2, 0, 1)[None]
    model = Dinov2Model.from_pretrained(tiny_weights / "dinov2").eval()
    with torch.no_grad():
        expected = model(pixel_values=torch.from_numpy(values)).last_hidden_state[0, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_statistics_of_one_picture_survive_being_packed(tiny_weights: Path) -> None:
    vector = open_network("sifid", tiny_weights).of_picture(PICTURE)
    features = RNG.normal(size=(50, 6))
    again, whole = unpacked(packed(features)), feature_statistics(features)
    assert vector.shape == packed(features).shape
    np.testing.assert_allclose(again.mean, whole.mean, atol=1e-6)  # single precision
    np.testing.assert_allclose(again.root, whole.root, atol=1e-5)
    with pytest.raises(ValueError, match="triangle"):
        unpacked(np.zeros(4, np.float32))


def test_a_reader_gives_the_prompts_vector_only_where_there_is_a_prompt(tiny_weights: Path) -> None:
    threads = torch.get_num_threads()
    with FeatureReader("clip", open_network("clip", tiny_weights)) as reader:
        assert set(reader.read(PICTURE, "a picture").image) == {"clip", "clip_text"}
        assert set(reader.read(PICTURE, "").image) == {"clip"}
    assert torch.get_num_threads() == threads


def test_the_fingerprint_follows_the_weights_and_only_what_is_there_has_one(tiny_weights: Path, tmp_path: Path) -> None:
    assert set(versions_at_hand(tiny_weights)) == set(NETWORKS)
    assert versions_at_hand(tmp_path) == {}
    (tmp_path / "inception-2015-12-05.pt").write_bytes(b"other")
    assert network_version("inception", tmp_path) != network_version("inception", tiny_weights)
    assert set(versions_at_hand(tmp_path)) == {"inception", "sifid"}


@pytest.mark.parametrize("name", ["inception", "clip", "dinov2"])
def test_damaged_weights_are_named(name: str, tmp_path: Path) -> None:
    path = NETWORKS[name].weights(tmp_path)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"no weights")
    with pytest.raises(ModelError, match=r"(?s)expected.*decay models fetch|Copy it anew"):
        open_network(name, tmp_path)


def test_nothing_heavy_is_imported_before_weights_are_opened() -> None:
    code = "import decay.measure, sys; raise SystemExit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_pinned_checksums_are_whole() -> None:
    assert all(len(network.sha256) in (0, len(hashlib.sha256().hexdigest())) for network in NETWORKS.values())


class Broken:
    """A network whose weights overflow."""

    def of_picture(self, pixels: np.ndarray) -> np.ndarray:
        return np.array([1.0, np.inf if pixels.max() > 100 else 2.0], dtype=np.float32)


def test_a_vector_that_is_not_finite_is_a_failure_of_its_picture() -> None:
    with FeatureReader("inception", Broken()) as reader:
        assert len(reader.read(np.zeros((4, 4, 3), np.uint8), "").image["inception"]) == 2
        with pytest.raises(ValueError, match="not finite"):
            reader.read(np.full((4, 4, 3), 200, np.uint8), "")


def test_the_weights_of_another_network_are_refused(tiny_weights: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_weights / "clip", tmp_path / "dinov2")
    with pytest.raises(ModelError, match="another network's"):
        open_network("dinov2", tmp_path)
