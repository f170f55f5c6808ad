"""The two controls of Bohacek & Farid, "Nepotistically trained generative image models collapse", section 2.5.

Colour: each generated picture takes the colour histograms of the real picture that has the nearest ones. Quality:
generated pictures that lie further from their own real picture than generation 0 did on average are made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from decay.errors import ModelError
from detectors.distances.gaussian import FeatureStatistics, feature_statistics, frechet_distance
from detectors.trait import Pixels

# --------------------------------------------------------------------------- colour

N_LEVELS = 256
PSEUDO_COUNT = 0.5
"""Added to every bin before a histogram is made a distribution (Jeffreys' prior; Krichevsky & Trofimov 1981,
doi:10.1109/TIT.1981.1056331), so that a level that a real picture lacks costs much, but not everything."""

# ITU-R BT.601 at full range, as JFIF, OpenCV and Pillow have it: (Y, Cb, Cr) with 128 for no chroma -> (R, G, B).
_YCBCR_TO_RGB = np.array([[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]])


class ColourMatch(NamedTuple):
    """``pixels``: the matched picture, sRGB uint8 (h, w, 3). ``real_index``: that of the
    real picture, the first of the nearest.

    ``divergence``: mean over the channels of KL(generated || real), nats, >= 0.
    """

    pixels: Pixels
    real_index: int
    divergence: float


class ColourMatcher:
    """Matches pictures to the nearest of ``real`` in colour; keeps its histograms alone, not its pixels.

    ``real``: sRGB uint8 (h, w, 3), at least one, of any sizes.
    """

    def __init__(self, real: Sequence[Pixels]) -> None:
        if not len(real):
            raise ValueError("colours are matched to at least one real picture, got none")
        self._counts = np.stack([ycbcr_histograms(to_ycbcr(image)) for image in real])
        self._log_real = np.log(_distributions(self._counts))

    def match(self, image: Pixels) -> ColourMatch:
        """``image``, sRGB uint8 (h, w, 3), with the YCbCr histograms of the real picture nearest to it.

        Nearest: least mean, over Y, Cb and Cr, of the Kullback-Leibler divergence KL(generated || real) of the
        256-bin histograms, each with ``PSEUDO_COUNT`` added. Matching is channel by channel, each level to the level at
        the same quantile (Gonzalez & Woods, Digital Image Processing, "Histogram matching"). The change is what is
        carried back to RGB, not the picture: where nothing is to be changed every pixel stays as it was, and none is
        rounded to whole YCbCr levels. Colours that leave the RGB cube are clipped to it.
        """
        ycbcr = to_ycbcr(image)
        counts = ycbcr_histograms(ycbcr)
        own = _distributions(counts)
        divergences = (np.sum(own * np.log(own)) - np.einsum("cb,ncb->n", own, self._log_real)) / len(own)
        index = int(np.argmin(divergences))
        shifts = np.stack([level_shifts(here, there) for here, there in zip(counts, self._counts[index], strict=True)])
        change = np.stack([shifts[channel][ycbcr[..., channel]] for channel in range(3)], axis=-1) @ _YCBCR_TO_RGB.T
        matched = np.clip(np.rint(image + change), 0, 255).astype(np.uint8)
        # A distribution's divergence from itself comes out as some 1e-16 of either sign.
        return ColourMatch(matched, index, max(float(divergences[index]), 0.0))


def to_ycbcr(image: Pixels) -> Pixels:
    """sRGB uint8 (h, w, 3) as Y, Cb, Cr, uint8 (h, w, 3): ITU-R BT.601, full range, rounded to whole levels."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]], dtype=np.uint8)


def ycbcr_histograms(ycbcr: Pixels) -> NDArray[np.int64]:
    """Pixels at each level, (3, 256), of a picture uint8 (h, w, 3)."""
    return np.stack([np.bincount(ycbcr[..., channel].ravel(), minlength=N_LEVELS) for channel in range(3)])


def level_shifts(here: NDArray[np.int64], there: NDArray[np.int64]) -> NDArray[np.float64]:
    """What is added to each level, (256,), so that the histogram ``here`` (256,) comes to be distributed as ``there``.

    Each level goes to the one at its cumulative share, linear between the levels that ``there`` has.
    """
    present = np.flatnonzero(there)
    shares_here, shares_there = np.cumsum(here) / here.sum(), np.cumsum(there[present]) / there.sum()
    return np.interp(shares_here, shares_there, present) - np.arange(N_LEVELS)


def _distributions(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Counts (..., 256) with the pseudo-count, as shares that sum to 1."""
    smooth = counts + PSEUDO_COUNT
    return np.asarray(smooth / smooth.sum(axis=-1, keepdims=True))


# --------------------------------------------------------------------------- quality


class SingleImageFid:
    """Distance of a generated picture from its own real one: the Frechet distance of their feature distributions.

    Rott Shaham, Dekel & Michaeli (2019), "SinGAN", doi:10.1109/ICCV.2019.00467: the deep features at each location of a
    picture, in place of one vector for each of many pictures. ``model_path``: a TorchScript file, as
    ``decay.features.maps`` takes it; of Inception-v3 the features are those before the first pooling layer (64
    channels), which the authors' published code computes; their text says the second. Raises ModelError if the file, or
    torch, is missing or no good.
    """

    def __init__(self, model_path: Path) -> None:
        try:
            module = import_module("decay.features.maps")
        except ModuleNotFoundError as error:
            raise ModelError(
                f"The quality control needs the package {error.name}, which is not installed. "
                "In the folder of this program's source: pip install -c requirements.lock -e '.[loop]'."
            ) from error
        features = module.TorchScriptFeatures(model_path)
        self._features: Callable[[Pixels], NDArray[np.float64]] = features
        self.model_sha256: str = features.sha256

    def statistics(self, image: Pixels) -> FeatureStatistics:
        """What ``distance`` needs of a picture, sRGB uint8 (h, w, 3); keep that of a real one to compare it again."""
        return feature_statistics(self._features(image))

    def distance(self, generated: Pixels, real: Pixels | FeatureStatistics) -> float:
        """SIFID, >= 0, 0 for two pictures alike. ``real``: its own real picture, or that one's ``statistics``."""
        there = real if isinstance(real, FeatureStatistics) else self.statistics(real)
        return frechet_distance(self.statistics(generated), there)


class Replacement(NamedTuple):
    """``pixels``: in place of the picture of ``slot``, from its ``attempt``-th making, 1 or later.

    ``distance``, ``distance_before``: SIFID to its own real picture, of this one and of the one that it replaces.
    """

    slot: int
    attempt: int
    pixels: Pixels
    distance: float
    distance_before: float


class Control(NamedTuple):
    """What the quality control comes to. ``limit``: SIFID, of generation 0 on average. ``made``: by slot.

    ``too_far``: SIFID of the slots beyond the limit that lie beyond it still, by slot.
    """

    limit: float
    made: list[Replacement]
    too_far: dict[int, float]


def replace_far(
    generated: Sequence[Pixels],
    real: Sequence[Pixels],
    first: Sequence[Pixels],
    metric: SingleImageFid,
    n_attempts: int,
    again: Callable[[Sequence[int], int], Iterable[Pixels]],
) -> Control:
    """Nearer pictures for the slots of ``generated`` that lie further from ``real`` than ``first`` does on average.

    ``generated``, ``real``, ``first``: one picture per slot; ``first`` is generation 0, whose mean SIFID is the limit.
    ``again``: makes pictures for some slots anew; told the attempt, 1 to ``n_attempts``. A slot is asked for until one
    lies within the limit; if none does, the nearest is taken, and if none is nearer than what there was, none.
    """
    references = [metric.statistics(picture) for picture in real]
    limit = float(np.mean([metric.distance(picture, there) for picture, there in zip(first, references, strict=True)]))
    before = [metric.distance(picture, there) for picture, there in zip(generated, references, strict=True)]
    best: dict[int, Replacement] = {}
    far = [slot for slot, distance in enumerate(before) if distance > limit]
    for attempt in range(1, n_attempts + 1):
        for slot, pixels in zip(far, again(far, attempt) if far else (), strict=True):
            distance = metric.distance(pixels, references[slot])
            if distance < (best[slot].distance if slot in best else before[slot]):
                best[slot] = Replacement(slot, attempt, pixels, distance, before[slot])
        far = [slot for slot in far if slot not in best or best[slot].distance > limit]
    too_far = {slot: best[slot].distance if slot in best else before[slot] for slot in far}
    return Control(limit, [best[slot] for slot in sorted(best)], too_far)
