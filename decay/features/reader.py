"""One picture in, a network's vectors of it out: what a worker runs in place of the detectors."""

from __future__ import annotations

from importlib import import_module
from types import TracebackType
from typing import Any, Self

import numpy as np

from decay.features import Extractor, ReadsText
from detectors.reader import ImageReadings
from detectors.trait import Pixels

OF_TEXT = "_text"
"""After a network's name: its vector of the prompt."""


class FeatureReader:
    """Reads pictures with one network. Until it is left, torch uses one thread: the vectors are then the same
    wherever they are made, and workers share the cores among them."""

    def __init__(self, name: str, extractor: Extractor) -> None:
        self._torch: Any = import_module("torch")  # whoever has an extractor has loaded it already
        self._name = name
        self._extractor = extractor
        self._n_threads = self._torch.get_num_threads()
        self._torch.set_num_threads(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._torch.set_num_threads(self._n_threads)

    def read(self, pixels: Pixels, prompt: str) -> ImageReadings:
        """The vectors by name: of the picture (sRGB uint8 (h, w, 3)), and of its prompt where that is one and the
        network reads text. Raises ValueError where one is not of finite numbers: the network, or its weights, failed.
        """
        vectors = {self._name: self._extractor.of_picture(pixels)}
        if prompt and isinstance(self._extractor, ReadsText):
            vectors[self._name + OF_TEXT] = self._extractor.of_text(prompt)
        if not all(np.isfinite(vector).all() for vector in vectors.values()):
            raise ValueError(f"{self._name} made a vector that holds numbers which are not finite")
        return ImageReadings(image=dict(vectors))
