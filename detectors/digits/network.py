"""A small network's view of the digits: trained on drawn hands only, it maps where each digit's core lies.

The network answers with ten maps of the patch; what is counted are the pieces of the core
map, checked against the map of tips. See ``decay.train.digits`` for how it came about.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detectors.digits import MODEL
from detectors.digits.patch import PATCH_PX, HandPatch
from detectors.digits.sighting import EXTRA, FINGERS, Digit, Sighting
from detectors.trait import OK, Pixels

F32 = NDArray[np.float32]
Mask = NDArray[np.bool_]
Peak = tuple[int, int, float]

MAP_PX = 96
"""Side of what the network sees and of its maps, 2.7 patch pixels each: a finger is 5 wide."""
KINDS = (*FINGERS, EXTRA)
MAPS = ("core", "tip", "hand", "fused", *KINDS)
"""What the network says of each pixel, as probabilities: core of a separate digit; closeness of a tip; hand's skin;
that a core belongs to several fingers; and which digit it is, summing to 1. From ``hand`` on in blocks of 2 x 2."""

LEVEL = 0.5
"""Where the core map is cut."""
MIN_CORE_PX, LARGE_CORE_PX = 8, 25
"""Smallest piece of core that can be a digit, in map pixels, and smallest that must have a tip; a finger's has 40."""
CLEAR = 0.45
"""A fainter tip is none."""
TIP_APART_PX, TIP_REACH_PX = 3, 4
"""How near two tips can be, and how far from its core a tip can lie, in map pixels."""
FUSED_LOW, FUSED_HIGH = 0.35, 0.6
"""Mean of the fused map over a core: below, one finger; above, several; between, not sure."""
MIXED = 0.45
"""A core with more than this share of another finger is not one finger."""
SHARE = 0.1
"""A finger holds at least this share of the core that it has fused into."""


def sight(patch: HandPatch) -> Sighting:
    """The digits in the network's maps; ``ambiguous`` where cores and tips disagree."""
    return read_maps(predict(np.asarray(cv2.resize(patch.pixels, (MAP_PX, MAP_PX), interpolation=cv2.INTER_AREA))))


def predict(pixels: Pixels, model: Path = MODEL) -> F32:
    """The network's maps of a patch at their size, sRGB uint8 (96, 96, 3): float32 (10, 96, 96) in 0..1, in the
    order of ``MAPS``."""
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32) / np.float32(255.0)
    return np.asarray(_session(model).run(None, {"pixels": planes})[0][0], np.float32)


@cache
def _session(model: Path) -> Any:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read once, when onnxruntime is loaded
    import onnxruntime  # noqa: PLC0415  # late, for the line above; and it loads slowly

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # one process per core is faster, and sums in a fixed order
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def read_maps(maps: F32) -> Sighting:
    """Count the pieces of core with a tip in the network's maps, float32 (10, 96, 96).

    ``ambiguous``: a tip without core, a large core without tip, or a core that may or may not be several fingers.
    """
    tips = _peaks(maps[1])
    cores, owned = _pieces(maps[0]), np.zeros(len(tips), bool)
    kept: list[tuple[Mask, tuple[float, float]]] = []
    for core in cores:
        reach = _reach(core)
        own = np.array([reach[row, column] for row, column, _ in tips], bool)
        owned |= own
        if own.any():
            kept.append((core, max((tip for tip, mine in zip(tips, own, strict=True) if mine), key=_heat)[:2]))
        elif float(maps[3][core].mean()) >= FUSED_HIGH:  # several fingers may end in no tip to speak of
            kept.append((core, _hottest(maps[1], reach)))
        elif int(core.sum()) > LARGE_CORE_PX:
            return Sighting("ambiguous")
    names = _names(maps, [core for core, _ in kept])
    if not owned.all() or names is None:
        return Sighting("ambiguous")
    digits = [Digit(name, _to_patch(tip)) for name, (_, tip) in zip(names, kept, strict=True)]
    return Sighting(OK, tuple(sorted(digits, key=_place)))


def _place(digit: Digit) -> tuple[int, float]:
    return (len(FINGERS) if digit.names == (EXTRA,) else FINGERS.index(digit.names[0]), digit.tip[0])


def _pieces(core: F32) -> list[Mask]:
    n, labels, stats, _ = cv2.connectedComponentsWithStats((core > LEVEL).astype(np.uint8), connectivity=4)
    return [labels == i for i in range(1, n) if stats[i, cv2.CC_STAT_AREA] >= MIN_CORE_PX]


def _disc(radius: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), np.uint8)


def _reach(core: Mask) -> Mask:
    return np.asarray(cv2.dilate(core.astype(np.uint8), _disc(TIP_REACH_PX)) > 0, np.bool_)


def _peaks(tip: F32) -> list[Peak]:
    """Row, column and heat of each tip."""
    smooth = np.asarray(cv2.GaussianBlur(tip, (0, 0), 0.8), np.float32)
    highest = cv2.dilate(smooth, _disc(TIP_APART_PX))
    rows, columns = np.nonzero((smooth >= highest) & (smooth > CLEAR))
    return [(int(row), int(column), float(smooth[row, column])) for row, column in zip(rows, columns, strict=True)]


def _hottest(tip: F32, where: Mask) -> tuple[float, float]:
    row, column = np.unravel_index(int(np.argmax(np.where(where, tip, -1.0))), tip.shape)
    return float(row), float(column)


def _heat(peak: Peak) -> float:
    return peak[2]


def _to_patch(place: tuple[float, float]) -> tuple[float, float]:
    """Row and column of a map pixel -> x, y of its centre in the patch."""
    scale = PATCH_PX / MAP_PX
    return ((place[1] + 0.5) * scale - 0.5, (place[0] + 0.5) * scale - 0.5)


def _names(maps: F32, cores: list[Mask]) -> list[tuple[str, ...]] | None:
    """Who is who: each finger at most once, all together as probable as can be; None where fusion is not sure."""
    names: list[tuple[str, ...] | None] = [None] * len(cores)
    kinds = np.array([maps[4:, core].mean(axis=1) for core in cores])
    taken: set[str] = set()
    for i, core in enumerate(cores):
        fused = float(maps[3][core].mean())
        if FUSED_LOW <= fused < FUSED_HIGH:
            return None
        if fused < FUSED_LOW and _is_mixed(maps, core):
            return None
        if fused >= FUSED_HIGH:
            names[i] = _fused_names(kinds[i])
            taken |= set(names[i] or ())
    single = [i for i, name in enumerate(names) if name is None]
    free = [k for k, kind in enumerate(KINDS) if kind not in taken] + [len(KINDS) - 1] * len(single)
    if single:
        from scipy.optimize import linear_sum_assignment  # noqa: PLC0415  # loads slowly; few images need it

        cost = -np.log(kinds[np.ix_(single, free)] + 1e-4)
        for row, column in zip(*linear_sum_assignment(cost), strict=True):
            names[single[row]] = (KINDS[free[column]],)
    return [name for name in names if name is not None]


def _is_mixed(maps: F32, core: Mask) -> bool:
    """One piece that is two fingers, yet is not said to be fused: neighbours whose cores run together."""
    shares = np.bincount(maps[4:, core].argmax(axis=0), minlength=len(KINDS)) / core.sum()
    return bool(np.sort(shares)[-2] > MIXED)


def _fused_names(kinds: NDArray[np.float32]) -> tuple[str, ...]:
    """The run of neighbours that hold a share of the core; at least two."""
    shares = kinds[: len(FINGERS)]
    best = int(np.argmax(shares))
    low, high = best, best
    while low > 0 and shares[low - 1] >= SHARE:
        low -= 1
    while high + 1 < len(FINGERS) and shares[high + 1] >= SHARE:
        high += 1
    if low == high:
        left = shares[low - 1] if low else -1.0
        right = shares[high + 1] if high + 1 < len(FINGERS) else -1.0
        low, high = (low - 1, high) if left > right else (low, high + 1)
    return FINGERS[low : high + 1]
