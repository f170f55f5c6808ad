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
from scipy.optimize import linear_sum_assignment

from detectors.digits.patch import PATCH_PX, HandPatch
from detectors.digits.sighting import EXTRA, FINGERS, Digit, Sighting
from detectors.trait import OK, Pixels

F32 = NDArray[np.float32]

MODEL = Path(__file__).with_name("digits.onnx")
MAP_PX = 96
"""Side of what the network sees and of its maps, 2.7 patch pixels each: a finger is 5 wide."""
KINDS = (*FINGERS, EXTRA)
MAPS = ("core", "tip", "hand", "fused", *KINDS)
"""What the network says of each pixel, as probabilities: core of a separate digit; closeness of a tip; hand's skin;
that a core belongs to several fingers; and which digit it is, summing to 1. From ``hand`` on in blocks of 2 x 2."""

LEVELS = (0.3, 0.5, 0.7)
"""A count must not depend on where between these the core map is cut."""
MIN_CORE_PX = 7
"""Smallest piece of core that counts, in map pixels; a finger's has about 40."""
CLEAR = 0.3
"""A tip fainter than this is none."""
TIP_REACH_PX = 4
"""How far from its core a tip can lie, in map pixels."""
FUSED_LOW, FUSED_HIGH = 0.35, 0.6
"""Mean of the fused map over a core: below, one finger; above, several; between, not sure."""
SHARE = 0.14
"""A finger holds at least this share of the core that it has fused into."""


def sight(patch: HandPatch) -> Sighting:
    """The digits in the network's maps; ``ambiguous`` where cores come and go with the level, or tips disagree."""
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
    """Count the pieces of core in the network's maps, float32 (10, 96, 96)."""
    pieces = [_pieces(maps[0], level) for level in LEVELS]
    if len({len(found) for found in pieces}) > 1:
        return Sighting("ambiguous")
    cores = pieces[1]
    if not _tips_agree(maps[1], cores):
        return Sighting("ambiguous")
    names = _names(maps, cores)
    if names is None:
        return Sighting("ambiguous")
    digits = [Digit(name, _tip(maps[1], core)) for name, core in zip(names, cores, strict=True)]
    return Sighting(OK, tuple(sorted(digits, key=_place)))


def _place(digit: Digit) -> tuple[int, float]:
    return (len(FINGERS) if digit.names == (EXTRA,) else FINGERS.index(digit.names[0]), digit.tip[0])


def _pieces(core: F32, level: float) -> list[NDArray[np.bool_]]:
    n, labels, stats, _ = cv2.connectedComponentsWithStats((core > level).astype(np.uint8), connectivity=4)
    return [labels == i for i in range(1, n) if stats[i, cv2.CC_STAT_AREA] >= MIN_CORE_PX]


def _reach(core: NDArray[np.bool_]) -> NDArray[np.bool_]:
    size = 2 * TIP_REACH_PX + 1
    near = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return np.asarray(cv2.dilate(core.astype(np.uint8), near), bool)


def _tips_agree(tip: F32, cores: list[NDArray[np.bool_]]) -> bool:
    """Each core ends in a tip, and no tip is without a core."""
    claimed = np.zeros(tip.shape, bool)
    for core in cores:
        reach = _reach(core)
        if float(tip[reach].max()) < CLEAR:
            return False
        claimed |= reach
    return bool(tip[~claimed].max(initial=0.0) < CLEAR)


def _tip(tip: F32, core: NDArray[np.bool_]) -> tuple[float, float]:
    """In patch pixels."""
    row, column = np.unravel_index(int(np.argmax(np.where(_reach(core), tip, -1.0))), tip.shape)
    scale = PATCH_PX / MAP_PX
    return ((float(column) + 0.5) * scale - 0.5, (float(row) + 0.5) * scale - 0.5)


def _names(maps: F32, cores: list[NDArray[np.bool_]]) -> list[tuple[str, ...]] | None:
    """Who is who: each finger at most once, all together as probable as can be; None where fusion is not sure."""
    names: list[tuple[str, ...] | None] = [None] * len(cores)
    kinds = np.array([maps[4:, core].mean(axis=1) for core in cores])
    taken: set[str] = set()
    for i, core in enumerate(cores):
        fused = float(maps[3][core].mean())
        if FUSED_LOW <= fused < FUSED_HIGH:
            return None
        if fused >= FUSED_HIGH:
            names[i] = _fused_names(kinds[i])
            taken |= set(names[i] or ())
    single = [i for i, name in enumerate(names) if name is None]
    free = [k for k, kind in enumerate(KINDS) if kind not in taken] + [len(KINDS) - 1] * len(single)
    if single:
        cost = -np.log(kinds[np.ix_(single, free)] + 1e-4)
        for row, column in zip(*linear_sum_assignment(cost), strict=True):
            names[single[row]] = (KINDS[free[column]],)
    return [name for name in names if name is not None]


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
