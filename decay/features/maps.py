"""Feature maps of pictures from a network in a TorchScript file: the features at each location, not of the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from decay.errors import DecayError, ModelError
from decay.features import INCEPTION_LICENCE, INCEPTION_SHA256, INCEPTION_URL
from decay.features.torchscript import load
from decay.files import sha256_of
from detectors.distances.gaussian import packed
from detectors.trait import Pixels, Vector

# The layers by their names in that file, as public users of it address them.
_BEFORE_FIRST_POOL = ("conv", "conv_1", "conv_2")
_KNOWN_BY = (*_BEFORE_FIRST_POOL, "pool0", "conv_3", "conv_4")


class TorchScriptFeatures:
    """The features of a picture at each location of a network's feature map.

    ``path``: a TorchScript file, one of two kinds. NVIDIA's Inception-v3, known by its ``layers.conv``,
    ``layers.pool0`` and so on: features are those before its first pooling layer, at the picture's own size.
    Any other module: called with float32 (1, 3, h, w), RGB, -1..1, it returns a feature map (1, c, h', w').
    ``sha256``: of the file. Raises ModelError.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise ModelError(
                f"{path}: expected a TorchScript file with the features for single-image FID; found none, and nothing "
                f"is downloaded. Get Inception-v3 from {INCEPTION_URL} (sha256 {INCEPTION_SHA256}; "
                f"{INCEPTION_LICENCE}), or give a module of your own that returns a feature map."
            )
        self.sha256 = sha256_of(path)
        self._path = path
        model = load(path)
        layers = getattr(model, "layers", None)
        self._stages = [getattr(layers, name) for name in _BEFORE_FIRST_POOL] if _is_inception(layers) else [model]

    def __call__(self, image: Pixels) -> NDArray[np.float64]:
        """float64 (locations, channels), row by row, of a picture sRGB uint8 (h, w, 3).

        Raises DecayError if the network cannot take it, as one that is too small; ModelError if it returns no map.
        """
        levels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).to(torch.float32)
        values = levels[None] / 127.5 - 1.0
        try:
            with torch.inference_mode():
                for stage in self._stages:
                    values = stage(values)
        except RuntimeError as error:
            said = str(error).strip().splitlines()
            raise DecayError(
                f"{self._path}: the network could not take a picture of {image.shape[1]} x {image.shape[0]} px "
                f"({said[-1] if said else 'no reason given'}). Use larger pictures, or another network."
            ) from error
        if not isinstance(values, torch.Tensor) or values.ndim != 4 or values.shape[0] != 1:
            shape = tuple(values.shape) if isinstance(values, torch.Tensor) else type(values).__name__
            raise ModelError(
                f"{self._path}: expected a network that returns a feature map (1, channels, height, width); "
                f"got {shape}. Export one that ends before its pooling."
            )
        return values[0].flatten(1).T.to(torch.float64).numpy()


def _is_inception(layers: object) -> bool:
    return all(hasattr(layers, name) for name in _KNOWN_BY)


class SingleImage:
    """Mean and covariance of the features at each location of a picture, as one vector: what single-image FID needs.

    ``weights``: see ``TorchScriptFeatures``. Raises ModelError.
    """

    def __init__(self, weights: Path) -> None:
        self._features = TorchScriptFeatures(weights)

    def of_picture(self, pixels: Pixels) -> Vector:
        """float32 (c + c (c + 1) / 2,): the mean, then the covariance's upper triangle, row by row."""
        return packed(self._features(pixels))
