"""Labelled faults made on photographs of intact hands: fused, missing and extra fingers, and fingers that only touch.

A hand is taken apart into its background, its palm and its fingers, the fingers are turned about their knuckles,
joined, taken away or copied, and the picture is put together again. Every edit is judged on its own pixels
before it is given out: an edit that did not come out as its label says is dropped, never relabelled.

The masks here are not those of the counting cues: labels must not depend on what they are to judge.

Sources: Rother, Kolmogorov & Blake 2004 (GrabCut, doi:10.1145/1015706.1015720) for the hand's mask; Gortler et al.
1996 (the pull-push filling of the Lumigraph, doi:10.1145/237170.237200) for the background behind a finger.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from decay.calibrate.photographs import half_of
from decay.images import read_image
from detectors.trait import Hand, Pixels, Points
from detectors.vision import Vision

F32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

FINGERS = ("thumb", "index", "middle", "ring", "little")
PAIRS = ("thumb-index", "index-middle", "middle-ring", "ring-little")
SOURCES = ("epsrc", "subhih")
_CHAINS = ((1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20))
_PALM = (0, 1, 2, 5, 9, 13, 17)
_FINE_PX = 20.0
"""Hands are edited at a scale at which a finger is at least about this wide, and averaged down again."""
_FINGER_OF_PALM = 0.18
_MOST_SWING_DEG = 40.0
_CREASE = 0.17
"""Lightness (L* of CIELAB) that a crease lacks, as a share of its banks'. Chosen by looking at what it let through."""


@dataclass(frozen=True)
class Edited:
    """One edited photograph.

    ``pixels``: sRGB uint8 (h, w, 3). ``n_digits_separate``: extended digits, thumb included, fused ones once.
    ``fused_pairs``, ``touching_pairs``: names of ``PAIRS``. ``detail``: in words, what was done.
    """

    pixels: Pixels
    variant: str
    n_digits_separate: int
    fused_pairs: tuple[str, ...] = ()
    touching_pairs: tuple[str, ...] = ()
    detail: str = ""


@dataclass(frozen=True)
class _Scene:
    """A hand taken apart. ``image``: sRGB float32 (h, w, 3) of 0..1, the working window around the hand.

    ``marks``: (21, 2) in window pixels. ``width``: of a finger, px. ``hand``: bool (h, w). ``fingers``: five masks,
    thumb first. ``webs``: where the gap of each pair begins, None where two fingers are not apart, thumb first.
    ``plate``: the window without the hand. ``colour``: the hand's skin, continued beyond its outline.
    """

    image: F32
    marks: Points
    width: float
    hand: Mask
    fingers: tuple[Mask, ...]
    webs: tuple[NDArray[np.float64] | None, ...]
    plate: F32
    colour: F32

    def knuckle(self, finger: int) -> NDArray[np.float64]:
        """Where a finger is hinged, (2,)."""
        return np.asarray(self.marks[_CHAINS[finger][0 if finger else 1]])

    def tip(self, finger: int) -> NDArray[np.float64]:
        """The landmark of a finger's tip, (2,)."""
        return np.asarray(self.marks[_CHAINS[finger][3]])

    def root_px(self, finger: int) -> float:
        """Distance from a finger's knuckle to the webs beside it."""
        beside = [self.webs[pair] for pair in (finger - 1, finger) if 1 <= pair < len(PAIRS)]
        found = [float(np.linalg.norm(web - self.knuckle(finger))) for web in beside if web is not None]
        chain = _CHAINS[finger]
        return float(np.mean(found)) if found else 0.5 * _distance(self.marks[chain[0]], self.marks[chain[1]])

    @property
    def grid(self) -> F32:
        """(h, w, 2): x and y of each pixel."""
        height, width = self.hand.shape
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        return np.asarray(np.stack([x, y], axis=-1), np.float32)


# --------------------------------------------------------------------------- what is given out


def make_edits(root: Path, half: str, seed: int) -> Iterator[tuple[str, Edited]]:
    """Edit every open hand of one half of the photographs under ``root``: (name of the photograph, edit).

    ``half``: ``tuning`` or ``reporting``. The same seed gives the same pictures. Photographs whose hand is not
    found, and edits that fail, give nothing.
    """
    with Vision() as vision:
        for source in SOURCES:
            for n_digits in (4, 5):
                for path in sorted((root / "hands" / source / str(n_digits)).iterdir()):
                    if half_of(path.name) != half:
                        continue
                    pixels = read_image(path)
                    found = [hand for hand in vision.look(pixels).hands if hand.landmarks_px is not None]
                    if not found:
                        continue
                    hand = max(found, key=lambda one: one.box.width * one.box.height)
                    number = int(hashlib.sha256(path.name.encode()).hexdigest()[:8], 16)
                    for edit in edits(pixels, hand, np.random.default_rng([seed, number]), n_digits):
                        yield f"{source}/{n_digits}/{path.name}", edit


def edits(pixels: Pixels, hand: Hand, rng: np.random.Generator, n_digits: int = 5) -> list[Edited]:
    """Every edit of one intact open hand that came out as labelled.

    ``pixels``: sRGB uint8 (h, w, 3). ``n_digits``: what the photograph shows, 5, or 4 where the thumb is folded.
    Raises ValueError for any other number, and for a hand without landmarks.
    """
    if n_digits not in (4, 5):
        raise ValueError(f"only hands with 4 or 5 extended digits are edited, got {n_digits}")
    if hand.landmarks_px is None:
        raise ValueError("only hands with landmarks are edited")
    made = _degraded(pixels, hand, rng, n_digits)
    window = _Window.around(pixels, hand.landmarks_px[:, :2])
    scene = _take_apart(window, rng)
    if scene is None:
        return made
    for edit in _edit_scene(scene, rng, n_digits):
        made.append(replace(edit, pixels=window.paste(pixels, edit.pixels)))
    return made


def _edit_scene(scene: _Scene, rng: np.random.Generator, n_digits: int) -> Iterator[Edited]:
    """Edits whose ``pixels`` are those of the working window."""
    pairs = [p for p in (1, 2, 3) if scene.webs[p] is not None and _is_slim(scene, p) and _is_slim(scene, p + 1)]
    for pair in pairs:
        for variant in ("fused1", "touching1"):
            yield from _joined(scene, (pair,), variant, rng, n_digits)
    if len(pairs) == 3:
        for variant in ("mitten", "touching_all"):
            yield from _joined(scene, (1, 2, 3), variant, rng, n_digits)
    for finger in rng.permutation([1, 2, 3, 4])[:2]:
        apart = all(scene.webs[pair] is not None for pair in (finger - 1, finger) if 1 <= pair < len(PAIRS))
        if apart and _is_slim(scene, int(finger)):
            yield from _missing(scene, int(finger), rng, n_digits)
    yield from _extra(scene, "outer", rng, n_digits)
    if n_digits == 5:
        yield from _extra(scene, "thumbside", rng, n_digits)


def _is_slim(scene: _Scene, finger: int) -> bool:
    """Whether a finger's mask is as wide as a finger: it may have taken in a background of its colour."""
    root = scene.root_px(finger)
    length = _distance(scene.tip(finger), scene.knuckle(finger)) - root + 0.4 * scene.width
    return float(_beyond(scene, finger, root).sum()) < 1.3 * scene.width * length


def _degraded(pixels: Pixels, hand: Hand, rng: np.random.Generator, n_digits: int) -> list[Edited]:
    """The intact hand blurred, dimmed, compressed and made small."""
    size = max(hand.box.width, hand.box.height)
    sigma = size * float(rng.uniform(0.006, 0.012))
    gain = float(rng.uniform(0.3, 0.5))
    quality = int(rng.integers(8, 20))
    share = float(rng.uniform(96.0, 120.0)) / size
    blurred = np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.uint8)
    dim = (pixels * gain + rng.normal(0.0, 2.0, pixels.shape)).round().clip(0, 255).astype(np.uint8)
    coded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = np.ascontiguousarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1]).astype(np.uint8)
    made = [
        Edited(blurred, "blur", n_digits, detail=f"sigma {sigma:.1f} px"),
        Edited(dim, "dim", n_digits, detail=f"gain {gain:.2f}"),
        Edited(decoded, "jpeg", n_digits, detail=f"quality {quality}"),
    ]
    if share < 0.9:
        small = np.asarray(cv2.resize(pixels, None, fx=share, fy=share, interpolation=cv2.INTER_AREA), np.uint8)
        made.append(Edited(small, "small", n_digits, detail=f"hand of {share * size:.0f} px"))
    return made


# --------------------------------------------------------------------------- taking apart


@dataclass(frozen=True)
class _Window:
    """The part of the image that is edited, ``fine`` times enlarged. ``x``, ``y``: its corner in image pixels."""

    image: F32
    marks: Points
    x: int
    y: int
    fine: int

    @staticmethod
    def around(pixels: Pixels, marks: Points) -> _Window:
        palm_px = _distance(marks[0], marks[[5, 9, 13, 17]].mean(axis=0))
        reach = 0.7 * palm_px
        x0, y0 = np.maximum(np.floor(marks.min(axis=0) - reach), 0).astype(int)
        x1, y1 = np.minimum(np.ceil(marks.max(axis=0) + reach) + 1, [pixels.shape[1], pixels.shape[0]]).astype(int)
        fine = max(1, math.ceil(_FINE_PX / max(_FINGER_OF_PALM * palm_px, 1.0)))
        part = pixels[y0:y1, x0:x1].astype(np.float32) / 255.0
        large = cv2.resize(part, None, fx=fine, fy=fine, interpolation=cv2.INTER_LINEAR)
        # Pixel centres are integers: a pixel's centre lies (fine - 1) / 2 fine pixels beyond its first fine pixel's.
        moved = (marks - [x0, y0]) * fine + (fine - 1) / 2.0
        return _Window(np.asarray(large, np.float32), moved, int(x0), int(y0), fine)

    def paste(self, pixels: Pixels, edited: Pixels) -> Pixels:
        """Put an edited window back; pixels that the edit did not touch stay as they are."""
        height, width = edited.shape[0] // self.fine, edited.shape[1] // self.fine
        before = cv2.resize(_to_uint8(self.image), (width, height), interpolation=cv2.INTER_AREA)
        after = cv2.resize(edited, (width, height), interpolation=cv2.INTER_AREA)
        changed = np.any(before != after, axis=-1)
        out = pixels.copy()
        out[self.y : self.y + height, self.x : self.x + width][changed] = after[changed]
        return out


def _take_apart(window: _Window, rng: np.random.Generator) -> _Scene | None:
    """None where the hand cannot be told from its background, or is cut off by the picture."""
    marks = window.marks
    width = _FINGER_OF_PALM * _distance(marks[0], marks[[5, 9, 13, 17]].mean(axis=0))
    height_px, width_px = window.image.shape[:2]
    inside = (marks > 0.3 * width) & (marks < np.array([width_px, height_px]) - 1 - 0.3 * width)
    if width < 5.0 or not inside[[mark for chain in _CHAINS for mark in chain]].all():
        return None
    hand = _hand_mask(window.image, marks, width)
    width = _finger_width(hand, marks)
    fingers = _finger_masks(hand, marks, width)
    if not _bones_covered(fingers, marks):
        return None
    webs = (None, *(_web(hand, marks, pair, width) for pair in (1, 2, 3)))
    bones = _lines(hand.shape, [marks[list(chain)] for chain in _CHAINS])
    around = _grown(hand, 0.22 * width + 1.0) | _grown(bones, 0.8 * width)
    plate = _plate(window.image, ~around, rng)
    core = _shrunk(hand, 0.06 * width + 1.0)
    colour = _fill(window.image, core.astype(np.float32))
    return _Scene(window.image, marks, width, hand, fingers, webs, plate, colour)


def _hand_mask(image: F32, marks: Points, width: float) -> Mask:
    """GrabCut, seeded along the bones."""
    shape = image.shape[:2]
    bones = _lines(shape, [marks[list(chain)] for chain in _CHAINS])
    palm = _polygon(shape, marks[list(_PALM)])
    forearm = _lines(shape, [np.stack([marks[0], marks[0] + 1.5 * (marks[0] - marks[9])])])
    near = _outside_px(bones | palm)
    labels = np.full(shape, cv2.GC_BGD, np.uint8)
    labels[near < 1.1 * width] = cv2.GC_PR_BGD
    labels[_outside_px(forearm) < 2.2 * width] = cv2.GC_PR_FGD
    labels[near < 0.5 * width] = cv2.GC_PR_FGD
    tips = _lines(
        shape, [np.stack([marks[c[3]], marks[c[3]] + 0.25 * width * _unit(marks[c[3]] - marks[c[2]])]) for c in _CHAINS]
    )
    labels[_outside_px(tips) < 0.6 * width] = cv2.GC_PR_FGD
    labels[(_outside_px(bones | tips) < 0.27 * width) | _shrunk(palm, 0.2 * width)] = cv2.GC_FGD
    cv2.setRNGSeed(0)  # GrabCut draws its first clusters from OpenCV's own generator
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)  # its colour models start from clusters drawn by a generator of the whole process
    cv2.grabCut(_to_uint8(image), labels, (0, 0, 1, 1), models[0], models[1], 4, cv2.GC_INIT_WITH_MASK)
    mask = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, _disc(0.12 * width))
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, _disc(0.08 * width))
    parts = cv2.connectedComponents(mask)[1]
    x, y = np.round(marks[9]).astype(int)
    return _without_holes(np.asarray(parts == parts[y, x]))


def _without_holes(mask: Mask) -> Mask:
    edges = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    filled = np.zeros(mask.shape, np.uint8)
    cv2.drawContours(filled, edges, -1, (1.0,), -1)
    return filled.astype(bool)


def _finger_width(hand: Mask, marks: Points) -> float:
    """Twice the depth at the middle phalanges of the four fingers, in the median."""
    depth = _inside_px(hand)
    points = [0.5 * (marks[chain[1]] + marks[chain[2]]) for chain in _CHAINS[1:]]
    return float(np.median([2.0 * max(_at(depth, point), 2.0) for point in points]))


def _finger_masks(hand: Mask, marks: Points, width: float) -> tuple[Mask, ...]:
    """Each finger from its knuckle on: the skin that is nearer to its bones than to any other finger's."""
    shape = hand.shape
    away = np.stack([_outside_px(_lines(shape, [marks[list(chain)]])) for chain in _CHAINS])
    nearest = away.argmin(axis=0)
    masks = []
    for finger, chain in enumerate(_CHAINS):
        base = marks[chain[1 if finger == 0 else 0]]
        ahead = marks[chain[2 if finger == 0 else 1]] - base
        y, x = np.mgrid[: shape[0], : shape[1]]
        beyond = (x - base[0]) * ahead[0] + (y - base[1]) * ahead[1] > 0
        mask = hand & (nearest == finger) & beyond & (away[finger] < 0.95 * width)
        parts = cv2.connectedComponents(mask.astype(np.uint8))[1]
        tip_x, tip_y = np.round(marks[chain[2]]).astype(int)
        masks.append(np.asarray(mask & (parts == parts[tip_y, tip_x])))
    return tuple(masks)


def _bones_covered(fingers: tuple[Mask, ...], marks: Points) -> bool:
    """Whether the masks hold the four fingers' bones and end near their tips."""
    for finger, chain in enumerate(_CHAINS[1:], start=1):
        line = _polyline(marks[list(chain[1:])], 24)
        held = np.mean([_at(fingers[finger].astype(np.float32), point) for point in line])
        if held < 0.9:
            return False
    return True


def _web(hand: Mask, marks: Points, pair: int, width: float) -> NDArray[np.float64] | None:
    """Where the background begins between two fingers, going from the knuckles to the tips."""
    line = _between(marks, pair)
    open_px = _outside_px(hand)
    values = np.array([_at(open_px, point) for point in line])
    free = np.flatnonzero(values[len(line) // 8 :] > 0.5) + len(line) // 8
    if not len(free) or free[0] > 0.62 * len(line) or (values[free[0] : int(0.9 * len(line))] > 0.5).mean() < 0.9:
        return None
    if values[free[0] :].max() < 0.08 * width:
        return None
    return np.asarray(line[free[0]])


def _between(marks: Points, pair: int) -> Points:
    """(120, 2): the line midway between two fingers, knuckles to tips."""
    near, far = _CHAINS[pair], _CHAINS[pair + 1]
    return _polyline(0.5 * (marks[list(near)] + marks[list(far)]), 120)


def _plate(image: F32, background: Mask, rng: np.random.Generator) -> F32:
    """The window without its hand: the background continued, with its grain."""
    smooth = _fill(image, background.astype(np.float32))
    smooth = np.where(background[..., None], image, cv2.GaussianBlur(smooth, (0, 0), 3.0))
    grain = image - cv2.GaussianBlur(image, (0, 0), 2.0)
    spread = np.median(np.abs(grain[background])) * 1.48 if background.any() else 0.0
    noise = cv2.GaussianBlur(rng.normal(size=image.shape[:2]).astype(np.float32), (0, 0), 0.7)
    noise = noise * (spread / max(float(noise.std()), 1e-6))
    return np.asarray(smooth + np.where(background, 0.0, noise)[..., None], np.float32)


# --------------------------------------------------------------------------- joining


def _joined(
    scene: _Scene, pairs: tuple[int, ...], variant: str, rng: np.random.Generator, n_digits: int
) -> Iterator[Edited]:
    """Swing fingers together and fuse them, or only let them touch."""
    fuse = variant in ("fused1", "mitten")
    overlap = float(rng.uniform(0.03, 0.10)) if fuse else float(rng.uniform(0.02, 0.05))
    turns = _closing_turns(scene, pairs, overlap)
    if turns is None:
        return
    moved = {
        finger: _Moved.turned(scene, finger, turns.get(finger, 0.0)) for pair in pairs for finger in (pair, pair + 1)
    }
    picture = _assemble(scene, moved)
    if picture is None:
        return
    gaps = {pair: _gap(scene, moved[pair], moved[pair + 1], fuse) for pair in pairs}
    for pair in pairs:
        picture = _join(scene, picture, moved[pair], moved[pair + 1], gaps[pair], pair, fuse, rng)
    if not all(_came_out(scene, picture, moved[pair], moved[pair + 1], gaps[pair], pair, fuse) for pair in pairs):
        return
    names = tuple(PAIRS[pair] for pair in pairs)
    swings = ", ".join(f"{FINGERS[finger]} {turn:+.0f} deg" for finger, turn in sorted(turns.items()))
    yield Edited(
        _to_uint8(picture),
        variant,
        n_digits - len(pairs) if fuse else n_digits,
        names if fuse else (),
        () if fuse else names,
        f"{', '.join(names)} {'fused' if fuse else 'touching, with a crease'}; turned {swings}",
    )


@dataclass(frozen=True)
class _Moved:
    """A finger in its new place: ``alpha`` (h, w) and ``colour`` (h, w, 3) of 0..1, ``mask``, ``marks`` (4, 2)."""

    alpha: F32
    colour: F32
    mask: Mask
    marks: Points

    @staticmethod
    def turned(scene: _Scene, finger: int, degrees: float) -> _Moved:
        """Turn a finger about its knuckle, clockwise as seen. The turn grows with the distance from the knuckle."""
        root = scene.root_px(finger)
        source = _turn(scene, finger, scene.grid, -degrees)
        mask = scene.fingers[finger]
        radius = np.linalg.norm(scene.grid - scene.knuckle(finger), axis=-1)
        alpha = _warp(_soft(mask), source) * _ramp(radius, 0.15 * root, 0.35 * root)
        marks = _turn(scene, finger, scene.marks[list(_CHAINS[finger])].astype(np.float32), degrees)
        return _Moved(
            alpha,
            _warp(scene.colour, source),
            _warp(mask.astype(np.float32), source) > 0.5,
            np.asarray(marks, np.float64),
        )


def _turn(scene: _Scene, finger: int, points: F32, degrees: float) -> F32:
    """A turn about the knuckle by an angle that depends on the distance from it: it cannot fold over."""
    root, centre = scene.root_px(finger), scene.knuckle(finger)
    away = points - centre
    angle = math.radians(degrees) * _ramp(np.linalg.norm(away, axis=-1), 0.15 * root, 1.1 * root)
    c, s = np.cos(angle), np.sin(angle)
    turned = np.stack([c * away[..., 0] - s * away[..., 1], s * away[..., 0] + c * away[..., 1]], axis=-1)
    return np.asarray(turned + centre, np.float32)


def _closing_turns(scene: _Scene, pairs: tuple[int, ...], overlap: float) -> dict[int, float] | None:
    """By how many degrees each finger turns until neighbours overlap by ``overlap`` of a finger's area."""
    if len(pairs) == 1:
        closing = _closing(scene, pairs[0], overlap, 0.0, 0.5)
        return None if closing is None else {pairs[0]: closing / 2, pairs[0] + 1: -closing / 2}
    turns = {2: 0.0}  # the middle finger stays; the others come to it
    for pair in pairs:
        near_moves = pair + 1 in turns
        held = turns[pair + 1 if near_moves else pair]
        closing = _closing(scene, pair, overlap, held, 1.0 if near_moves else 0.0)
        if closing is None:
            return None
        turns[pair if near_moves else pair + 1] = held + closing if near_moves else held - closing
    return turns


def _closing(scene: _Scene, pair: int, overlap: float, held_deg: float, near_share: float) -> float | None:
    """The angle at which two fingers have closed, found by halving; None where it would be more than a hand does.

    Both stand turned by ``held_deg``; the near one takes ``near_share`` of the way, the far one the rest.
    """
    side = _side(scene, pair)
    step = max(1, round(scene.width / 14.0))  # every so many pixels: a finger stays about 14 wide
    grid = scene.grid[::step, ::step]
    wanted = overlap * scene.width * _distance(scene.knuckle(pair), scene.tip(pair)) / step**2
    free = {
        finger: _beyond(scene, finger, 1.15 * scene.root_px(finger)).astype(np.float32) for finger in (pair, pair + 1)
    }

    def closed(turn: float) -> bool:
        turned = {pair: held_deg + near_share * turn, pair + 1: held_deg - (1.0 - near_share) * turn}
        near, far = (_warp(free[finger], _turn(scene, finger, grid, -degrees)) for finger, degrees in turned.items())
        return float(((near > 0.5) & (far > 0.5)).sum()) >= wanted

    low, high = 0.0, _MOST_SWING_DEG * side
    if not closed(high):
        return None
    for _ in range(8):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if closed(middle) else (middle, high)
    return high


def _side(scene: _Scene, pair: int) -> float:
    """+1 where the far finger lies clockwise of the near one."""
    along = scene.tip(pair) - scene.knuckle(pair)
    across = scene.knuckle(pair + 1) - scene.knuckle(pair)
    return math.copysign(1.0, along[0] * across[1] - along[1] * across[0])


def _assemble(scene: _Scene, moved: Mapping[int, _Moved]) -> F32 | None:
    """The picture with fingers in their new places; None where one of them leaves it."""
    height, width = scene.hand.shape
    for finger in moved.values():
        edge = np.concatenate([finger.mask[0], finger.mask[-1], finger.mask[:, 0], finger.mask[:, -1]])
        outside = (finger.marks < 0.2 * scene.width) | (
            finger.marks > np.array([width, height]) - 1 - 0.2 * scene.width
        )
        if edge.any() or outside.any():
            return None
    left = np.any([_beyond(scene, finger, 0.6 * scene.root_px(finger)) for finger in moved], axis=0)
    left &= ~_trunk(scene)
    picture = _blend(scene.image, scene.plate, _clearing(scene, left, list(moved)))
    for finger in moved.values():
        picture = _blend(picture, finger.colour, finger.alpha)
    body = (scene.hand & ~left) | np.any([finger.mask for finger in moved.values()], axis=0)
    near_roots = np.any([_near_root(scene, finger) for finger in moved], axis=0)
    nicks = _closed(body, 0.35 * scene.width) & ~body & near_roots  # where an outline bends at a turned finger's root
    return _blend(picture, scene.colour, _soft(_grown(nicks, 1.0)))


def _near_root(scene: _Scene, finger: int) -> Mask:
    return np.asarray(np.linalg.norm(scene.grid - scene.knuckle(finger), axis=-1) < 1.15 * scene.root_px(finger))


def _trunk(scene: _Scene) -> Mask:
    """The palm up to the webs: skin that stays where it is when a finger moves."""
    webs = [web for web in scene.webs if web is not None]
    outline = np.array([scene.marks[0], scene.marks[5], *webs, scene.marks[17]])
    return scene.hand & _polygon(scene.hand.shape, outline)


def _beyond(scene: _Scene, finger: int, px: float) -> Mask:
    """A finger farther than ``px`` from its knuckle."""
    radius = np.linalg.norm(scene.grid - scene.knuckle(finger), axis=-1)
    return np.asarray(scene.fingers[finger] & (radius > px))


def _clearing(scene: _Scene, cleared: Mask, fingers: list[int]) -> F32:
    """Where the background shows: the cleared skin with its rim, but not the rim of what stays.

    The rim is wide around the outer bones, where the mask may have missed pale or reddened skin.
    """
    kept = scene.hand & ~cleared
    outer = _lines(kept.shape, [scene.marks[list(_CHAINS[finger][1:])] for finger in fingers])
    from_cleared, from_kept = _outside_px(cleared), _outside_px(kept)
    rim = (from_cleared < 0.2 * scene.width) & (from_kept > from_cleared)
    rim |= (_outside_px(outer) < 0.85 * scene.width) & (from_kept > 0.25 * scene.width)
    rim &= ~kept
    return np.asarray(
        cv2.GaussianBlur((cleared | rim).astype(np.float32), (0, 0), 0.8) * ~_shrunk(kept, 1.5), np.float32
    )


def _gap(scene: _Scene, near: _Moved, far: _Moved, fuse: bool) -> Mask:
    """What is to be filled between two fingers: more where they fuse, so that the notch between the tips is rounded."""
    body = near.mask | far.mask | _trunk(scene)
    beside = (_outside_px(near.mask) < scene.width) & (_outside_px(far.mask) < scene.width)
    return _closed(body, (0.9 if fuse else 0.45) * scene.width) & ~body & beside


def _join(
    scene: _Scene,
    picture: F32,
    near: _Moved,
    far: _Moved,
    filler: Mask,
    pair: int,
    fuse: bool,
    rng: np.random.Generator,
) -> F32:
    """Close what is left of the gap; then smooth the seam away, or draw the crease of two fingers that touch."""
    width = scene.width
    # 0 on the seam, negative on the near finger's side; smoothed, as a crease does not follow each pixel of a mask
    across = 0.5 * (_signed_px(near.mask) - _signed_px(far.mask))
    across = np.asarray(cv2.GaussianBlur(across, (0, 0), 0.12 * width), np.float32)
    from_web = _beyond_web(scene, pair)
    if not fuse:
        weight = (0.5 + across / (0.06 * width)).clip(0.0, 1.0)[..., None]
        picture = _blend(picture, near.colour * (1.0 - weight) + far.colour * weight, _soft(_grown(filler, 1.5)))
        solid = _soft(near.mask | far.mask | filler)
        return np.asarray(picture * _crease(across, from_web, width, rng, solid), np.float32)
    strip = (
        (np.abs(across) < float(rng.uniform(0.34, 0.45)) * width)
        & (near.mask | far.mask | filler)
        & (from_web > -0.35 * width)
    )
    strip |= filler
    known = (near.mask | far.mask | (scene.hand & (from_web < -0.1 * width))) & ~strip
    known &= _shrunk(near.mask | far.mask | filler | scene.hand, 0.12 * width)
    smooth = cv2.GaussianBlur(_fill(picture, known.astype(np.float32)), (0, 0), 0.15 * width)
    skin = smooth + _texture(near, far, across, width)
    alpha = cv2.GaussianBlur(_shrunk(strip, 0.06 * width).astype(np.float32), (0, 0), 0.06 * width)
    outline = _soft(near.mask | far.mask | filler | scene.hand)
    return _blend(picture, skin, np.maximum(alpha, _soft(_grown(filler, 1.5))) * outline)


def _beyond_web(scene: _Scene, pair: int) -> F32:
    """(h, w): px beyond a pair's web, along the line from the knuckles to the tips."""
    line = _between(scene.marks, pair)
    web = scene.webs[pair]
    assert web is not None  # pairs without a gap are not joined
    along = (line[-1] - line[0]) / max(_distance(line[-1], line[0]), 1e-6)
    return np.asarray((scene.grid - web) @ along, np.float32)


def _crease(across: F32, from_web: F32, width: float, rng: np.random.Generator, solid: F32) -> F32:
    """What the seam of two touching fingers does to the light, (h, w, 3): a dark line within a soft shade, reddish."""
    depth, shade = float(rng.uniform(0.12, 0.42)), float(rng.uniform(0.05, 0.22))
    line_px, shade_px = max(float(rng.uniform(0.035, 0.06)) * width, 0.8), 0.16 * width
    dark = depth * np.exp(-0.5 * (across / line_px) ** 2) + shade * np.exp(-0.5 * (across / shade_px) ** 2)
    dark = dark.clip(0.0, 0.8) * _ramp(from_web, -0.25 * width, 0.15 * width) * solid
    return np.asarray((1.0 - dark)[..., None] ** np.array([0.8, 1.1, 1.15], np.float32), np.float32)


def _texture(near: _Moved, far: _Moved, across: F32, width: float) -> F32:
    """Fine structure for a seam, taken from the middle of the finger on either side."""
    shift = near.marks[2] - far.marks[2]
    shift = 0.45 * width * shift / max(float(np.linalg.norm(shift)), 1e-6)
    sides = []
    for finger, sign in ((near, -1.0), (far, 1.0)):
        fine = finger.colour - cv2.GaussianBlur(finger.colour, (0, 0), 0.12 * width)
        fine *= _ramp(_inside_px(finger.mask), 0.1 * width, 0.3 * width)[..., None]  # not the shading of its rim
        move = np.array([[1.0, 0.0, -sign * shift[0]], [0.0, 1.0, -sign * shift[1]]])
        sides.append(cv2.warpAffine(fine, move, fine.shape[1::-1]).clip(-0.06, 0.06))
    weight = (0.5 + across / (0.3 * width)).clip(0.0, 1.0)[..., None]
    return np.asarray(sides[0] * (1.0 - weight) + sides[1] * weight, np.float32)


def _came_out(scene: _Scene, picture: F32, near: _Moved, far: _Moved, filler: Mask, pair: int, fuse: bool) -> bool:
    """Judge a joint by its pixels, on walks from bone to bone: skin all the way, and a narrow dark line or none."""
    colours = _lab(picture)
    if fuse:  # wrinkles over a joint are no creases
        colours = np.asarray(cv2.GaussianBlur(colours, (0, 0), 0.06 * scene.width), np.float32)
    solid = near.mask | far.mask | filler
    start = _share_of_web(scene, pair)
    near_line, far_line = _polyline(near.marks, 100), _polyline(far.marks, 100)
    rungs = np.linspace(min(start + 0.06, 0.7), 0.82, 25)
    good = 0
    for rung in rungs:
        a, b = near_line[int(rung * 99)], far_line[int(rung * 99)]
        walk = np.round(a + np.linspace(0.0, 1.0, 41)[:, None] * (b - a)).astype(int)
        seen = colours[walk[:, 1], walk[:, 0]]
        ends = 0.5 * (seen[:6].mean(axis=0) + seen[-6:].mean(axis=0))
        strange = float(np.linalg.norm((seen - ends)[8:33, 1:], axis=1).max())
        line = _narrow_dip(seen[:, 0])
        plain = strange < 16.0 and line < _CREASE
        good += bool(solid[walk[:, 1], walk[:, 0]].all()) and (plain if fuse else line > _CREASE)
    return good >= 0.85 * len(rungs)


def _narrow_dip(light: F32) -> float:
    """The deepest dark line of a walk over two half fingers: how far below its banks, as a share of them."""
    banks = np.asarray(cv2.morphologyEx(light[None], cv2.MORPH_CLOSE, np.ones((1, 15), np.uint8))[0], np.float32)
    return float(((banks - light) / np.maximum(banks, 1.0))[6:35].max())


def _share_of_web(scene: _Scene, pair: int) -> float:
    web = scene.webs[pair]
    assert web is not None
    line = _between(scene.marks, pair)
    return float(np.linalg.norm(line - web, axis=1).argmin()) / (len(line) - 1)


# --------------------------------------------------------------------------- taking away and adding


def _missing(scene: _Scene, finger: int, rng: np.random.Generator, n_digits: int) -> Iterator[Edited]:
    """Take a finger away and leave a rounded stump at the height of its webs."""
    gone = _beyond(scene, finger, scene.root_px(finger) + float(rng.uniform(0.0, 0.15)) * scene.width)
    left = scene.hand & ~gone
    corners = left & ~_opened(left, 0.4 * scene.width) & (_outside_px(gone) < 0.6 * scene.width)
    gone, left = gone | corners, left & ~corners
    picture = _blend(scene.image, scene.plate, _clearing(scene, gone, [finger]))
    edge = np.exp(-_inside_px(left) / (0.12 * scene.width)) * (_outside_px(gone) < 0.4 * scene.width) * left
    picture = np.asarray(picture * (1.0 - 0.25 * edge)[..., None], np.float32)
    if _is_gone(scene, picture, finger):
        yield Edited(_to_uint8(picture), "missing1", n_digits - 1, detail=f"{FINGERS[finger]} removed")


def _is_gone(scene: _Scene, picture: F32, finger: int) -> bool:
    """Whether what lies where the finger was differs from its skin as the surroundings do."""
    before, after = _lab(scene.image), _lab(picture)
    line = _polyline(scene.marks[list(_CHAINS[finger])], 60)[25:]
    change = [np.linalg.norm([_at(after[..., c], p) - _at(before[..., c], p) for c in range(3)]) for p in line]
    return float(np.median(change)) > 12.0


def _extra(scene: _Scene, where: str, rng: np.random.Generator, n_digits: int) -> Iterator[Edited]:
    """Copy a finger to beside the little finger or between thumb and index finger."""
    for _ in range(6):  # places drawn until one is free
        place = _outer_place(scene, rng) if where == "outer" else _thumbside_place(scene, rng)
        finger = int(rng.choice([1, 3, 4]))
        copied = _copied(scene, finger, *place, float(rng.uniform(0.75, 1.0)))
        if _stands_alone(scene, copied):
            break
    else:
        return
    picture = _blend(scene.image, copied.colour, copied.alpha)
    words = "outside the little finger" if where == "outer" else "between thumb and index"
    detail = f"copy of the {FINGERS[finger]} finger {words}"
    yield Edited(_to_uint8(picture), "extra1", n_digits + 1, detail=detail)


def _outer_place(scene: _Scene, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Base and direction of a finger outside the little one."""
    along = _unit(scene.tip(4) - scene.knuckle(4))
    down = _unit(scene.marks[0] - scene.knuckle(4))
    base = scene.knuckle(4) + float(rng.uniform(0.7, 1.1)) * scene.width * down
    return base, _rotated(along, _side(scene, 3) * float(rng.uniform(28.0, 55.0)))


def _thumbside_place(scene: _Scene, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Base and direction of a finger between thumb and index finger."""
    thumb, index = _unit(scene.tip(0) - scene.marks[2]), _unit(scene.tip(1) - scene.knuckle(1))
    share = float(rng.uniform(0.45, 0.6))
    base = scene.knuckle(1) + float(rng.uniform(0.3, 0.45)) * (scene.marks[2] - scene.knuckle(1))
    return base, _unit(share * index + (1.0 - share) * thumb)


def _copied(scene: _Scene, finger: int, base: NDArray[np.float64], along: NDArray[np.float64], scale: float) -> _Moved:
    """A finger laid from ``base`` in the direction ``along``; it grows out of the skin it lies on."""
    knuckle, root = scene.knuckle(finger), scene.root_px(finger)
    own = _unit(scene.tip(finger) - knuckle)
    turn = scale * np.array(
        [[own @ along, -(own[0] * along[1] - own[1] * along[0])], [own[0] * along[1] - own[1] * along[0], own @ along]]
    )
    source = ((scene.grid - base) @ np.linalg.inv(turn).T + knuckle).astype(np.float32)
    mask = scene.fingers[finger]
    radius = np.linalg.norm(scene.grid - base, axis=-1) / scale
    alpha = _warp(_soft(mask), source) * (1.0 - _ramp(_inside_px(scene.hand), 0.1 * scene.width, 0.7 * scene.width))
    colour = _warp(scene.colour, source)
    ring = scene.hand & (radius < root)
    offset = (
        (scene.colour[ring].mean(axis=0) - colour[ring].mean(axis=0)).clip(-0.08, 0.08) if ring.any() else np.zeros(3)
    )
    colour = colour + (1.0 - _ramp(radius, 0.6 * root, 2.5 * root))[..., None] * offset.astype(np.float32)
    marks = (scene.marks[list(_CHAINS[finger])] - knuckle) @ turn.T + base
    placed = (_warp(mask.astype(np.float32), source) > 0.5) & (radius > 0.3 * root)
    return _Moved(alpha, np.asarray(colour, np.float32), placed, marks)


def _stands_alone(scene: _Scene, copied: _Moved) -> bool:
    """Whether a copied finger lies inside the picture, is rooted in the hand, and leaves its neighbours free."""
    height, width = scene.hand.shape
    room = 0.35 * scene.width
    if (copied.marks < room).any() or (copied.marks > np.array([width, height]) - 1 - room).any():
        return False
    line = _polyline(copied.marks, 40)
    away = _outside_px(scene.hand)
    rooted = _at(away, line[2]) < 0.5
    free = (copied.mask & ~_grown(scene.hand, 0.3 * scene.width)).sum() / max(int(copied.mask.sum()), 1)
    return bool(rooted and free > 0.5 and min(_at(away, point) for point in line[20:]) > 0.7 * scene.width)


# --------------------------------------------------------------------------- small tools


def _distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(np.asarray(a) - np.asarray(b)))


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9))


def _rotated(vector: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([c * vector[0] - s * vector[1], s * vector[0] + c * vector[1]])


def _polyline(points: Points, n: int) -> Points:
    """(n, 2), equally spaced along a chain of points."""
    run = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    at = np.linspace(0.0, run[-1], n)
    return np.stack([np.interp(at, run, points[:, 0]), np.interp(at, run, points[:, 1])], axis=1)


def _lines(shape: tuple[int, ...], chains: list[Points]) -> Mask:
    drawn = np.zeros(shape[:2], np.uint8)
    cv2.polylines(drawn, [np.round(chain).astype(np.int32) for chain in chains], False, (1.0,), 1)
    return drawn.astype(bool)


def _polygon(shape: tuple[int, ...], points: Points) -> Mask:
    hull = cv2.convexHull(np.round(points).astype(np.int32))
    drawn = np.zeros(shape[:2], np.uint8)
    cv2.fillConvexPoly(drawn, hull, (1.0,))
    return drawn.astype(bool)


def _disc(radius: float) -> NDArray[np.uint8]:
    side = 2 * max(1, round(radius)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def _closed(mask: Mask, radius: float) -> Mask:
    """Gaps narrower than a disc filled, rims of the picture left as they are."""
    pad = math.ceil(radius) + 2
    wide = cv2.morphologyEx(np.pad(mask, pad).astype(np.uint8), cv2.MORPH_CLOSE, _disc(radius))
    return np.asarray(wide[pad:-pad, pad:-pad] > 0)


def _opened(mask: Mask, radius: float) -> Mask:
    """What a disc inside the mask can reach: corners rounded."""
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, _disc(radius)) > 0)


def _outside_px(mask: Mask) -> F32:
    """Distance to the mask, 0 within it."""
    return np.asarray(cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)


def _inside_px(mask: Mask) -> F32:
    """Depth within the mask, 0 outside."""
    return _outside_px(~mask)


def _signed_px(mask: Mask) -> F32:
    return np.asarray(_outside_px(mask) - _inside_px(mask), np.float32)


def _grown(mask: Mask, px: float) -> Mask:
    return np.asarray(_outside_px(mask) <= px)


def _shrunk(mask: Mask, px: float) -> Mask:
    return np.asarray(_inside_px(mask) > px)


def _soft(mask: Mask) -> F32:
    """A mask with a rim as soft as a lens makes it."""
    return np.asarray(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.9), np.float32)


def _ramp(x: NDArray[np.floating], low: float, high: float) -> F32:  # type: ignore[type-arg]
    t = ((x - low) / (high - low)).clip(0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), np.float32)


def _warp(image: F32, source: F32) -> F32:
    return np.asarray(
        cv2.remap(image, source[..., 0], source[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32
    )


def _blend(below: F32, above: F32, alpha: F32) -> F32:
    return np.asarray(below + (above - below) * alpha[..., None], np.float32)


def _at(values: F32, point: NDArray[np.float64]) -> float:
    """The value at the pixel nearest to a point; the edge's value beyond the edge."""
    x = min(max(round(float(point[0])), 0), values.shape[1] - 1)
    y = min(max(round(float(point[1])), 0), values.shape[0] - 1)
    return float(values[y, x])


def _fill(image: F32, weight: F32) -> F32:
    """Continue what is known (weight 1) smoothly into what is not (weight 0), coarse scales first."""
    height, width = weight.shape
    known = image * weight[..., None]
    if min(height, width) < 2:
        mean = known.sum(axis=(0, 1)) / max(float(weight.sum()), 1e-6)
        return np.asarray(known + mean * (1.0 - weight[..., None]), np.float32)
    size = (width // 2, height // 2)
    share = np.asarray(cv2.resize(weight, size, interpolation=cv2.INTER_AREA), np.float32)
    small = cv2.resize(known, size, interpolation=cv2.INTER_AREA) / np.maximum(share, 1e-6)[..., None]
    coarse = _fill(np.asarray(small, np.float32), np.asarray((4.0 * share).clip(0.0, 1.0), np.float32))
    above = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(known + above * (1.0 - weight[..., None]), np.float32)


def _lab(image: F32) -> F32:
    return np.asarray(cv2.cvtColor(image.clip(0.0, 1.0), cv2.COLOR_RGB2LAB), np.float32)


def _to_uint8(image: F32) -> Pixels:
    return np.asarray((image * 255.0).round().clip(0, 255), np.uint8)
