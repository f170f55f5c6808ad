"""Inception-v3 as FID knows it: TensorFlow's weights of 2015, in the TorchScript file of NVIDIA's StyleGAN2-ADA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from decay.errors import ModelError
from decay.features.resize import resized_exactly
from decay.features.torchscript import load
from detectors.trait import Pixels, Vector

SIDE_PX = 299


class Inception:
    """The pooled features of a picture, float32 (2048,), as clean-fid's "clean" mode has them.

    ``weights``: the TorchScript file; or any other whose ``layers``, called with float32 (1, 3, 299, 299), RGB, -1 to
    below 1, give (1, d) or (1, d, 1, 1). torch-fidelity differs: it has the network resize, bilinear as TensorFlow 1.
    Raises ModelError.
    """

    def __init__(self, weights: Path) -> None:
        self._weights = weights
        model = load(weights)
        if not hasattr(model, "layers"):
            raise ModelError(
                f"{weights}: expected the Inception-v3 that NVIDIA published, whose part `layers` gives its features; "
                "this file has none. Fetch it: decay models fetch inception."
            )
        self._layers: Any = model.layers

    def of_picture(self, pixels: Pixels) -> Vector:
        """float32 (2048,) of a picture, sRGB uint8 (h, w, 3)."""
        values = (resized_exactly(pixels, SIDE_PX) - 128.0) / 128.0
        with torch.inference_mode():
            found = self._layers(torch.from_numpy(values.transpose(2, 0, 1).copy())[None])
        if not isinstance(found, torch.Tensor) or found.shape[0] != 1 or found.numel() != found.shape[1]:
            raise ModelError(
                f"{self._weights}: expected features of the whole picture, (1, d); its `layers` give something else. "
                "Fetch the published file: decay models fetch inception."
            )
        return np.asarray(found.flatten().numpy(), dtype=np.float32)
