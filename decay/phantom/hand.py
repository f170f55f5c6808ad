"""A drawn hand: a small model of capsules in space, seen from some side in some light, and the truth about its digits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from decay.phantom.backdrop import draw_backdrop
from decay.phantom.canvas import F32, LUMINANCE, Frame, Pixels, linear_to_srgb, over
from decay.phantom.hand_pose import Digit, Posed, pose_hand
from decay.phantom.hand_skin import shade
from decay.phantom.hand_surface import BACKGROUND, DIGIT, HELD, PALM, SLEEVE, Surface, raise_hand
from decay.phantom.parameters import FINGERS, PAIRS, HandParameters

HAND_LINE = 0.56
"""Height of the palm's centre in an unshifted image, in image heights."""
FINE_PX = 400
"""The picture is drawn about this large, or at its own size where that is larger, then averaged down."""


def draw_hand(parameters: HandParameters, size_px: int, rng: np.random.Generator) -> tuple[Pixels, dict[str, Any]]:
    """Draw one hand.

    Returns ``(pixels, truth)``: sRGB uint8 (size_px, size_px, 3), and a JSON-ready dict in image pixels
    (origin: centre of the top-left pixel). ``rng`` makes the sensor noise only. Raises ValueError below 32 px.

    ``n_digits_separate``: extended digits, each group of fused ones counted once; ``digits``: those, each with the
    ``names`` it is made of, its ``tip_px`` and its number in ``label_hand``'s map.
    """
    fine, frame = _scale(parameters, size_px)
    image, posed, surface = _render(parameters, frame, size_px, fine)
    small = cv2.resize(image, (size_px, size_px), interpolation=cv2.INTER_AREA)
    pixels = _expose(np.asarray(small, np.float32), parameters, frame, rng)
    hand = (surface.owner >= DIGIT) | (surface.owner == PALM)
    return pixels, _truth(parameters, posed, frame, hand, fine)


def label_hand(parameters: HandParameters, size_px: int) -> NDArray[np.int8]:
    """Which digit each pixel shows, int8 (size_px, size_px): 0 background, sleeve and held things; 1 palm, arm, folded
    digits and what the palm hides of the others; from 2 on the separate extended digits in the order of the truth's
    ``digits``; those that have fused share a number. Raises ValueError below 32 px."""
    fine, frame = _scale(parameters, size_px)
    x, y = _coordinates(frame, size_px, fine, parameters.mirrored)
    if not parameters.present:
        return np.zeros((size_px, size_px), np.int8)
    posed, surface = pose_hand(parameters), Surface.empty(x)
    raise_hand(surface, posed, x, y)
    labels = _labels(posed, surface, x, y)
    middle = fine // 2
    return np.ascontiguousarray(labels[middle::fine, middle::fine])


def _scale(hand: HandParameters, size_px: int) -> tuple[int, Frame]:
    if size_px < 32:
        raise ValueError(f"a hand needs at least 32 px, got {size_px}")
    frame = Frame(
        centre_x_px=size_px * (0.5 + hand.shift_x) - 0.5,
        centre_y_px=size_px * (HAND_LINE + hand.shift_y) - 0.5,
        px_per_mm=size_px / hand.frame_mm,
        roll_deg=hand.rotation_deg,
    )
    return max(1, round(FINE_PX / size_px)), frame


def _coordinates(frame: Frame, size_px: int, fine: int, mirrored: bool) -> tuple[F32, F32]:
    """Hand coordinates in mm at every fine pixel."""
    span = (-0.5 + (np.arange(size_px * fine) + 0.5) / fine).astype(np.float32)
    x, y = frame.to_mm(*np.meshgrid(span, span))
    return (-x if mirrored else x), y


def _render(hand: HandParameters, frame: Frame, size_px: int, fine: int) -> tuple[F32, Posed, Surface]:
    """Linear light of the scene, fine."""
    x, y = _coordinates(frame, size_px, fine, hand.mirrored)
    fine_per_mm = frame.px_per_mm * fine
    if hand.behind is None:
        level = Frame(frame.centre_x_px, frame.centre_y_px, frame.px_per_mm, 0.0)
        image = draw_backdrop(hand, *_coordinates(level, size_px, fine, False), fine_per_mm)
    else:
        other = replace(hand.behind, backdrop=hand.backdrop, light=hand.light, texture_seed=hand.texture_seed)
        image = _render(other, _scale(other, size_px)[1], size_px, fine)[0]
    posed, surface = pose_hand(hand), Surface.empty(x)
    if not hand.present:
        posed = replace(posed, digits=[], palm=[], arm=[], held=[], fused=[])
    raise_hand(surface, posed, x, y)
    window = _window(surface, round(8.0 * fine_per_mm))
    seen = Surface(surface.height_mm[window], surface.inside_mm[window], surface.owner[window])
    lit = shade(hand, posed, seen, x[window], y[window], fine_per_mm)
    cover = np.clip(0.5 + seen.inside_mm * fine_per_mm, 0.0, 1.0).astype(np.float32)
    image[window] = over(image[window], lit, cover)
    return image, posed, surface


def _window(surface: Surface, margin_px: int) -> tuple[slice, slice]:
    """The rectangle that holds the hand and a margin, of at least one pixel."""
    on = surface.inside_mm > 0
    bounds = []
    for axis in (1, 0):
        places = np.flatnonzero(on.any(axis=axis))
        low, high = (int(places[0]), int(places[-1])) if len(places) else (0, 0)
        bounds.append(slice(max(low - margin_px, 0), high + margin_px + 1))
    return bounds[0], bounds[1]


def _expose(image: F32, hand: HandParameters, frame: Frame, rng: np.random.Generator) -> Pixels:
    camera = hand.camera
    sigma = camera.blur_mm * frame.px_per_mm
    if sigma > 0.05:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)
    grey = (image @ LUMINANCE)[..., None]
    srgb = linear_to_srgb(grey + camera.saturation * (image - grey))
    srgb = 0.5 + camera.contrast * (srgb - 0.5)
    noisy = srgb * 255.0 + camera.noise * rng.standard_normal(srgb.shape, dtype=np.float32)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


# --------------------------------------------------------------------------- truth


def _separate(posed: Posed) -> list[tuple[int, ...]]:
    """The separate extended digits, each as the indices that it is made of."""
    fused = {i: group for group in posed.fused for i in group}
    return [fused.get(i, (i,)) for i, digit in enumerate(posed.digits) if digit.extended and i == fused.get(i, (i,))[0]]


def _labels(posed: Posed, surface: Surface, x: F32, y: F32) -> NDArray[np.int8]:
    labels = np.isin(surface.owner, (BACKGROUND, SLEEVE, HELD), invert=True).astype(np.int8)
    for number, group in enumerate(_separate(posed), start=2):
        for i in group:
            free = _beyond_web(posed.digits[i], x, y)
            labels[(surface.owner == DIGIT + i) & free] = number
    return labels


def _beyond_web(digit: Digit, x: F32, y: F32) -> NDArray[np.bool_]:
    """Where a digit stands clear of the palm: beyond a line across its first phalanx, or the second one's start."""
    marks = digit.marks_mm
    steps = np.linalg.norm(np.diff(marks, axis=0), axis=1)
    first = int(digit.free_mm > steps[0])
    at = digit.free_mm - first * steps[0]
    along = (marks[first + 1] - marks[first]) / steps[first]
    start = marks[first] + at * along
    flat = along[:2]
    return np.asarray((x - start[0]) * flat[0] + (y - start[1]) * flat[1] > 0.0)


def _truth(hand: HandParameters, posed: Posed, frame: Frame, mask: NDArray[np.bool_], fine: int) -> dict[str, Any]:
    if not hand.present or not mask.any():
        return {"kind": "hand", "present": False, "px_per_mm": frame.px_per_mm, "box": None, "n_digits_separate": 0}
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    separate = _separate(posed)
    fused = [name for name, fusion in zip(PAIRS, hand.fused, strict=True) if fusion is not None]
    flip = -1.0 if hand.mirrored else 1.0

    def to_px(point: NDArray[np.float64]) -> list[float]:
        return list(frame.to_px(flip * float(point[0]), float(point[1])))

    return {
        "kind": "hand",
        "present": True,
        "px_per_mm": frame.px_per_mm,
        "box": [
            float(columns[0] / fine - 0.5),
            float(rows[0] / fine - 0.5),
            float((columns[-1] + 1) / fine - 0.5),
            float((rows[-1] + 1) / fine - 0.5),
        ],
        "palm_x_px": frame.centre_x_px,
        "palm_y_px": frame.centre_y_px,
        "rotation_deg": hand.rotation_deg,
        "mirrored": hand.mirrored,
        "view": hand.view,
        "n_digits_separate": len(separate),
        "n_extended": sum(digit.extended for digit in posed.digits),
        "n_fused_pairs": len(fused),
        "fused_pairs": fused,
        "creased_pairs": [name for name, fusion in zip(PAIRS, hand.fused, strict=True) if fusion == "crease"],
        "together_pairs": [name for name, held in zip(PAIRS, hand.together, strict=True) if held],
        "fingers": dict(zip(FINGERS, hand.fingers, strict=True)),
        "missing": [name for name, pose in zip(FINGERS, hand.fingers, strict=True) if pose == "missing"],
        "n_extra": hand.n_extra,
        "hard": [word for word, is_so in (("held", hand.held), ("behind", hand.behind)) if is_so is not None],
        "joints_px": {digit.name: [to_px(mark) for mark in digit.marks_mm] for digit in posed.digits},
        "digits": [
            {
                "names": [posed.digits[i].name for i in group],
                "tip_px": to_px(np.mean([_tip(posed.digits[i]) for i in group], axis=0)),
                "label": number,
            }
            for number, group in enumerate(separate, start=2)
        ],
    }


def _tip(digit: Digit) -> NDArray[np.float64]:
    """The outermost point of a digit as seen: its last joint, and the flesh beyond."""
    before, end = digit.marks_mm[2], digit.marks_mm[3]
    flat = (end - before) * [1.0, 1.0, 0.0]
    length = float(np.linalg.norm(flat))
    return end + (float(digit.chain.radii_mm[-1]) * flat / length if length > 1e-6 else 0.0 * flat)
