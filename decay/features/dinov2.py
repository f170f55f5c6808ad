"""DINOv2, by transformers: the class token of a picture. By default Meta's ViT-L/14, as for FD-DINOv2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import Dinov2Model  # after pretrained, which quietens it

from decay.features.pretrained import open_model
from decay.features.resize import resized
from detectors.trait import Pixels, Vector

SIDE_PX = 224
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's channels, 0..1."""


class DinoV2:
    """``weights``: the file of weights in a folder that transformers wrote (Oquab et al. 2023, arXiv:2304.07193).

    Pictures are brought to 224 x 224 whatever their proportions, bicubic on whole levels, as Stein et al. 2023
    (arXiv:2306.04675) published it. Raises ModelError.
    """

    def __init__(self, weights: Path) -> None:
        self._model = open_model(Dinov2Model, weights.parent, "a DINOv2")

    def of_picture(self, pixels: Pixels) -> Vector:
        """float32 (d,), the class token after the last normalisation, of a picture, sRGB uint8 (h, w, 3)."""
        levels = (resized(pixels, SIDE_PX) / 255.0 - MEAN) / DEVIATION
        with torch.inference_mode():
            found = self._model(
                pixel_values=torch.from_numpy(levels.astype(np.float32).transpose(2, 0, 1).copy())[None]
            )
        return np.asarray(found.pooler_output[0].numpy(), dtype=np.float32)
