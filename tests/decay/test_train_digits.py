"""The drawn hands that the network of digits learns from, and its training."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from decay.train.hands import MAP_PX, draw_example
from detectors.digits.network import MAPS, predict


def test_an_example_depends_on_its_seed_alone() -> None:
    first, again, other = draw_example(11), draw_example(11), draw_example(13)
    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(first.kind, again.kind)
    assert not np.array_equal(first.pixels, other.pixels)


def test_each_separate_digit_is_one_piece_of_core_with_one_tip() -> None:
    for seed in range(1, 25, 2):
        example = draw_example(seed)
        pieces, labels = cv2.connectedComponents((example.kind > 0).astype(np.uint8), connectivity=8)
        assert pieces - 1 == example.n_digits
        fused = [i for i in range(1, pieces) if example.fused[labels == i].any()]
        kinds = [len(np.unique(example.kind[labels == i])) for i in fused]
        assert sum(kinds) - len(kinds) <= example.n_fused  # a kind can be hidden, none is invented
        assert bool(fused) == (example.n_fused > 0)


def test_a_quick_training_learns_and_exports(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from decay.train import digits

    examples = digits.draw_examples(range(0, 24, 2), workers=1)
    held_out = digits.draw_examples(range(1, 9, 2), workers=1)
    network, rows = digits.train(examples, held_out, digits.QUICK)
    assert rows[-1]["loss"] < rows[0]["loss"]
    again, _ = digits.train(examples, held_out, digits.QUICK)
    for ours, theirs in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    digits.export(network, tmp_path / "tiny.onnx")
    pixels = np.ascontiguousarray(held_out[0, :, :, :3])
    maps = predict(pixels, tmp_path / "tiny.onnx")
    assert maps.shape == (len(MAPS), MAP_PX, MAP_PX)
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255.0
    with torch.no_grad():
        assert np.allclose(maps, network(planes)[0].numpy(), atol=1e-3)  # two runtimes, single precision
