"""The one adapter to mediapipe: pixels in, a View with every face and hand found in it out.

Models: those inside the wheel of mediapipe 0.10.21 (BlazeFace short and full range, the attention face
mesh, BlazePalm, the hand landmark model), run as graphs of its legacy solutions. Nothing is
downloaded. The landmark models are given one upright square patch per subject, cut here from native
pixels, so that one subject's result depends on neither its neighbours nor earlier images.

Sources: Bazarevsky et al. 2019 (BlazeFace, arXiv:1907.05047), Grishchenko et al. 2020 (attention
mesh, arXiv:2006.10962), Zhang et al. 2020 (MediaPipe Hands, arXiv:2006.10214).
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from detectors.limbus import refine
from detectors.trait import OK, Box, Eye, Face, Hand, Pixels, Points, Side, View

os.environ.setdefault("GLOG_minloglevel", "2")  # read once, when mediapipe's library is loaded: errors only
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

SMALLEST_SIDE_PX = 16
"""Images with a shorter side hold nothing that can be read; they give a View without subjects."""
SMALLEST_FACE_PX = 32.0
"""A mesh box with a longer side below this is not reported: the landmarks follow the model's prior, not the pixels."""
SMALLEST_HAND_PX = 24.0
"""The same for the longer side of a hand's box."""

MAX_FACES = 16
MAX_HANDS = 8
FACE_SCORE = 0.5
MESH_PRESENCE = 0.5
MIRROR_LIMIT = 0.03
"""Largest disagreement of the mesh with itself on the mirrored face, in face sizes, of a face that is read.

The mesh fits a face to anything. On a face, mirroring the picture mirrors the fit: 0.0064 of the face's
longer side in the median of 24 portraits and 0.009 in the 90th percentile; 0.010 and 0.016 blurred by
1/64 of the picture; 0.04 and more on faces cut into shuffled tiles or warped past recognition.
"""
DOUBTFUL = 0.01
"""From this disagreement on, the face is also fitted the other way up, and the fit that agrees better is taken.

The detectors find heads that hang upside down, take them for upright, and the mesh puts a mouth on the forehead. Of 22
portraits, upright ones disagree by at most 0.0091 and upside down by 0.028 and more; hanging ones, fitted as if
upright, by at least 0.0128.
"""
PALM_SCORE = 0.15
HAND_PRESENCE = 0.3
PALM_PRESENCE = 0.05
"""A palm whose landmarks are rejected counts from this probability of a hand, unless it lies on a face.

On photographs not used to choose it: hands found in 133 of 135 (34 of 34 cropped tightly or edited), a bare
palm in 2 and landmarks in 3 of 92 portraits that show no hand; palms at 0.15 without this rule, in 31 of 92.
"""
READABLE_QUALITY = 0.5
"""Faces below this quality are ``unreadable``; quality is 0.5 at MIRROR_LIMIT."""

# Input sides of the networks.
_SHORT_RANGE_PX, _FULL_RANGE_PX, _PALM_PX = 128, 192, 192
_MESH_PX, _HAND_PX = 192, 224
_SAME_SUBJECT_IOU = 0.3
_TILE_SHARE = 0.6  # of the picture's longer side
_SMALLEST_TILED_PX = 400  # below this, a face that the whole picture does not show is smaller than SMALLEST_FACE_PX
_MOST_SAMPLES = 8  # per patch pixel and direction: a face of 12,000 px

# Lid margins as closed polygons and iris points (centre first) of the mesh: the eye at the image's
# left on an upright face, then the other.
_LIDS = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
)
_IRISES = ((468, 469, 470, 471, 472), (473, 474, 475, 476, 477))
_EYE_CORNERS = ((33, 133), (263, 362))
_OVAL_LEFT_RIGHT = ((33, 263), (133, 362), (61, 291), (234, 454), (127, 356), (172, 397))
_TOP_BOTTOM = (10, 152)
_PITCH_ZERO_DEG = -9.8  # of the forehead-chin line: median over 77 portraits, whose sitters face the camera
# Landmarks of one half of the face and their counterparts: lids, brows, outline, nose, mouth.
_MIRROR_LEFT = (*_LIDS[0], 70, 63, 105, 66, 107, 109, 54, 127, 234, 132, 172, 150, 148, 98, 64, 61, 40, 37, 91, 84, 205)
_MIRROR_RIGHT = (
    *_LIDS[1], 300, 293, 334, 296, 336, 338, 284, 356, 454, 361, 397, 379, 377, 327, 294, 291, 270, 267, 321, 314, 425
)  # fmt: skip


@dataclass(frozen=True)
class _Square:
    """A square of the image: centre, side in pixels, and its rotation, clockwise as seen, in radians."""

    x: float
    y: float
    side: float
    angle: float

    def to_patch(self, size: int) -> NDArray[np.float64]:
        """Affine (2, 3) from image pixels to the pixels of a patch of ``size``; both count from pixel centres."""
        scale = size / self.side
        c, s = math.cos(self.angle) * scale, math.sin(self.angle) * scale
        centre = (size - 1) / 2
        return np.array(
            [[c, s, centre - c * self.x - s * self.y], [-s, c, centre + s * self.x - c * self.y]], dtype=np.float64
        )


@dataclass(frozen=True)
class _Detection:
    """A detector's answer in image pixels: box, key points (k, 2), score 0..1."""

    box: Box
    keys: Points
    score: float


class Vision:
    """Finds faces and hands. Use as a context manager; one instance serves any number of images.

    The result of an image depends on its pixels only. After an exception inside mediapipe the graphs
    are built anew, so that one bad image cannot spoil the next.
    """

    def __init__(self) -> None:
        cv2.setNumThreads(1)  # for the whole process: one process per core is faster than threads within
        self._graphs = _Graphs()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the models. Safe to call twice."""
        self._graphs.close()

    def look(self, pixels: Pixels) -> View:
        """Find everything in one image. ``pixels``: sRGB uint8 (h, w, 3), RGB order.

        Faces and hands come in order of their boxes' left edges. Raises ValueError for any other
        type or shape (an odd array would poison mediapipe for every later image).
        """
        view = View(pixels)
        if min(pixels.shape[:2]) < SMALLEST_SIDE_PX:
            return view
        picture = _Picture(np.ascontiguousarray(pixels))
        try:
            faces = _find_faces(self._graphs, picture)
            hands = _find_hands(self._graphs, picture, [face for face in faces if face.state == OK])
        except Exception:
            self._graphs.close()
            self._graphs = _Graphs()
            raise
        return View(view.pixels, tuple(faces), tuple(hands))


# --------------------------------------------------------------------------- faces


def _find_faces(graphs: _Graphs, picture: _Picture) -> list[Face]:
    """Look at the whole picture; where that shows no readable face, at its quarters; at last from farther away."""
    seen: list[Face] = []
    for look in (_detect_faces, _detect_small_faces, _detect_cut_faces):
        faces: list[Face] = []
        for detection in _distinct(look(graphs, picture))[:MAX_FACES]:
            face = _read_face(graphs, picture.pixels, detection)
            if face is not None and all(_iou(face.box, other.box) < _SAME_SUBJECT_IOU for other in faces):
                faces.append(face)
        if any(face.state == OK for face in faces):
            return sorted(faces, key=lambda face: (face.box.x0, face.box.y0))
        seen = seen or faces  # what cannot be read is reported as the first look that showed it has it
    return sorted(seen, key=lambda face: (face.box.x0, face.box.y0))


def _detect_faces(graphs: _Graphs, picture: _Picture, pad: int = 0) -> list[_Detection]:
    """Both detectors: the short-range one knows faces that fill the picture, the full-range one smaller ones."""
    found = _detect(picture, graphs.short_range, _SHORT_RANGE_PX, pad)
    return found + _detect(picture, graphs.full_range, _FULL_RANGE_PX, pad)


def _detect_small_faces(graphs: _Graphs, picture: _Picture) -> list[_Detection]:
    """The same on four overlapping tiles: reaches down to faces of 0.04 of the picture's side, from 0.08."""
    height, width = picture.pixels.shape[:2]
    if max(height, width) < _SMALLEST_TILED_PX:
        return []
    side = round(_TILE_SHARE * max(height, width))
    found: list[_Detection] = []
    for y in sorted({0, max(0, height - side)}):
        for x in sorted({0, max(0, width - side)}):
            tile = _Picture(picture.pixels[y : y + side, x : x + side])
            found += [_moved(item, np.array([x, y]), np.ones(2)) for item in _detect_faces(graphs, tile)]
    return found


def _detect_cut_faces(graphs: _Graphs, picture: _Picture) -> list[_Detection]:
    """The same within a border: the detectors want the surroundings of a head that the picture cuts tightly."""
    return _detect_faces(graphs, picture, pad=min(picture.pixels.shape[:2]) // 2)


def _read_face(graphs: _Graphs, pixels: Pixels, detection: _Detection) -> Face | None:
    """The face at a detection, the right way up; None where the mesh finds none."""
    square = _detection_to_square(detection)
    fit = _fit_mesh(graphs, pixels, square)
    if fit.disagreement > DOUBTFUL or fit.presence < MESH_PRESENCE:
        turned = _fit_mesh(graphs, pixels, replace(square, angle=square.angle + math.pi))
        fit = min(fit, turned, key=lambda either: (either.presence < MESH_PRESENCE, either.disagreement))
    box = _box_of(fit.landmarks[:468])
    if fit.presence < MESH_PRESENCE or max(box.width, box.height) < SMALLEST_FACE_PX:
        return None
    consistency = 1.0 - (1.0 - READABLE_QUALITY) * fit.disagreement / MIRROR_LIMIT
    quality = min(detection.score, fit.presence, consistency)
    if quality <= 0:
        return None  # twice as far from agreement as any face that is read: nothing is there
    yaw, pitch, roll = _head_pose(fit.landmarks)
    return Face(
        box=box,
        landmarks_px=fit.landmarks,
        yaw_deg=yaw,
        pitch_deg=pitch,
        roll_deg=roll,
        quality=quality,
        eyes=_read_eyes(pixels, fit.landmarks),
        state=OK if quality >= READABLE_QUALITY else "unreadable",
    )


@dataclass(frozen=True)
class _Fit:
    """Landmarks (478, 3) in image pixels, the probability that they lie on a face, and ``_mirror_disagreement``."""

    landmarks: Points
    presence: float
    disagreement: float


def _fit_mesh(graphs: _Graphs, pixels: Pixels, square: _Square) -> _Fit:
    """Fit the mesh in the square, and once more from its own outline, as mediapipe does on video.

    The second fit makes the result all but independent of which detector found the face.
    """
    rough, _ = graphs.mesh(_cut(pixels, square, _MESH_PX))
    square = _landmarks_to_square(_patch_to_image(rough, square))
    patch = _cut(pixels, square, _MESH_PX)
    fitted, presence = graphs.mesh(patch)
    mirrored, _ = graphs.mesh(np.asarray(cv2.flip(patch, 1), dtype=np.uint8))
    return _Fit(_patch_to_image(fitted, square), presence, _mirror_disagreement(fitted, mirrored))


def _mirror_disagreement(fitted: Points, mirrored: Points) -> float:
    """Mean distance between a fit and the fit to the mirrored patch, mirrored back, in face sizes. Both (478, 3)."""
    left, right = list(_MIRROR_LEFT), list(_MIRROR_RIGHT)
    back = mirrored[right + left, :2] * [-1.0, 1.0] + [1.0, 0.0]
    box = _box_of(fitted[:468])
    distance = np.linalg.norm(fitted[left + right, :2] - back, axis=1).mean()
    return float(distance) / max(box.width, box.height)


def _read_eyes(pixels: Pixels, landmarks: Points) -> tuple[Eye, Eye]:
    order = (0, 1) if landmarks[468, 0] <= landmarks[473, 0] else (1, 0)  # sides of the image, also upside down
    sides: tuple[Side, Side] = ("image_left", "image_right")
    first, second = (_read_eye(pixels, landmarks, which, side) for which, side in zip(order, sides, strict=True))
    return first, second


def _read_eye(pixels: Pixels, landmarks: Points, which: int, side: Side) -> Eye:
    iris = landmarks[list(_IRISES[which]), :2]
    lid = landmarks[list(_LIDS[which]), :2]
    limbus, state = refine(pixels, iris, lid)
    return Eye(side=side, lid_px=lid, mesh_iris_px=iris, limbus=limbus, limbus_state=state)


def _head_pose(landmarks: Points) -> tuple[float, float, float]:
    """Yaw, pitch, roll in degrees, signs as in ``trait.Face``.

    Roll is the angle of the line through the eyes. Yaw and pitch are those of the face's normal: the
    cross product of the mean left-right direction of six symmetric landmark pairs and the forehead-chin
    direction, in the mesh's weak-perspective space (x right, y down, z away from the camera).
    """
    left, right = (landmarks[list(corners), :2].mean(axis=0) for corners in _EYE_CORNERS)
    roll = math.degrees(math.atan2(right[1] - left[1], right[0] - left[0]))
    across = np.mean([landmarks[b] - landmarks[a] for a, b in _OVAL_LEFT_RIGHT], axis=0)
    down = landmarks[_TOP_BOTTOM[1]] - landmarks[_TOP_BOTTOM[0]]
    normal = -np.cross(across, down)
    normal /= np.linalg.norm(normal)
    # Undo the roll first, so that a tilted head that faces the camera has neither yaw nor pitch.
    c, s = math.cos(math.radians(roll)), math.sin(math.radians(roll))
    x, y, z = c * normal[0] + s * normal[1], -s * normal[0] + c * normal[1], normal[2]
    pitch = math.degrees(math.asin(float(np.clip(-y, -1.0, 1.0)))) - _PITCH_ZERO_DEG
    return math.degrees(math.atan2(x, -z)), pitch, roll


def _detection_to_square(detection: _Detection) -> _Square:
    """The mesh's input square: 1.5 times the box, turned so that the line of the eyes is level (FaceMesh's graph)."""
    (ax, ay), (bx, by) = detection.keys[0], detection.keys[1]
    return _square_around(detection.box, 1.5, math.atan2(by - ay, bx - ax))


def _landmarks_to_square(landmarks: Points) -> _Square:
    """The same from a fitted mesh."""
    (ax, ay), (bx, by) = landmarks[33, :2], landmarks[263, :2]
    return _square_around(_box_of(landmarks[:468]), 1.5, math.atan2(by - ay, bx - ax))


# --------------------------------------------------------------------------- hands


def _find_hands(graphs: _Graphs, picture: _Picture, faces: Sequence[Face]) -> list[Hand]:
    hands = _detect_hands(graphs, picture, faces, pad=0)
    if not faces and all(hand.landmarks_px is None for hand in hands):
        # A hand may fill a picture that shows nothing else; the palm detector then wants some surroundings.
        hands = _detect_hands(graphs, picture, faces, pad=min(picture.pixels.shape[:2]) // 4) or hands
    return sorted(hands, key=lambda hand: (hand.box.x0, hand.box.y0))


def _detect_hands(graphs: _Graphs, picture: _Picture, faces: Sequence[Face], pad: int) -> list[Hand]:
    palms = _distinct(_detect(picture, graphs.palms, _PALM_PX, pad))[:MAX_HANDS]
    found = [hand for palm in palms if (hand := _read_hand(graphs, picture.pixels, palm, faces)) is not None]
    hands: list[Hand] = []
    for hand in sorted(found, key=lambda hand: (hand.landmarks_px is None, -hand.score)):  # best first
        if not any(_same_hand(hand, better) for better in hands):
            hands.append(hand)
    return hands


def _read_hand(graphs: _Graphs, pixels: Pixels, palm: _Detection, faces: Sequence[Face]) -> Hand | None:
    """Fit the landmarks; where the model rejects the hand without being sure of it, the palm alone is reported."""
    square = _palm_to_square(palm)
    landmarks, presence, side = graphs.hand(_cut(pixels, square, _HAND_PX))
    if presence >= HAND_PRESENCE:
        points = _patch_to_image(landmarks, square)
        hand = Hand(box=_box_of(points), landmarks_px=points, palm_px=palm.keys, score=presence, side=side)
    elif presence >= PALM_PRESENCE and not any(_holds_centre(face.box, palm.box) for face in faces):
        hand = Hand(box=palm.box, landmarks_px=None, palm_px=palm.keys, score=palm.score, side="")
    else:
        return None
    return hand if max(hand.box.width, hand.box.height) >= SMALLEST_HAND_PX else None


def _same_hand(hand: Hand, better: Hand) -> bool:
    """Overlapping boxes, or a palm, or something half as large, in the middle of the better hand."""
    small = hand.box.height + hand.box.width < 0.5 * (better.box.height + better.box.width)
    inside = (small or hand.landmarks_px is None) and _holds_centre(better.box, hand.box)
    return inside or _iou(hand.box, better.box) >= _SAME_SUBJECT_IOU


def _palm_to_square(palm: _Detection) -> _Square:
    """The landmark model's input square (PalmDetectionDetectionToRoi): wrist to middle knuckle points up.

    2.6 times the palm's box, shifted half a box toward the fingers.
    """
    (wx, wy), (kx, ky) = palm.keys[0], palm.keys[2]
    angle = math.atan2(ky - wy, kx - wx) + math.pi / 2
    long_side = max(palm.box.width, palm.box.height)
    plain = _square_around(palm.box, 2.6, angle)
    return _Square(
        plain.x + 0.5 * palm.box.height * math.sin(angle),
        plain.y - 0.5 * palm.box.height * math.cos(angle),
        2.6 * long_side,
        angle,
    )


# --------------------------------------------------------------------------- patches and boxes


def _cut(pixels: Pixels, square: _Square, size: int) -> Pixels:
    """Resample the square to (size, size, 3); edge pixels repeat outside the picture.

    A square larger than that is sampled at a multiple of ``size`` and averaged, where the vendor's
    bilinear sampling would skip pixels: with noise of 40 grey levels the mesh agrees with its mirror
    image to 0.0094 instead of 0.0138 face sizes (90th percentile), without noise it is the same.
    """
    multiple = int(min(max(1.0, square.side // size), _MOST_SAMPLES))
    window, x0, y0 = _window(pixels, square)
    matrix = _Square(square.x - x0, square.y - y0, square.side, square.angle).to_patch(size * multiple)
    fine = cv2.warpAffine(
        window,
        matrix,
        (size * multiple, size * multiple),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    patch = fine if multiple == 1 else cv2.resize(fine, (size, size), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(patch, dtype=np.uint8)


def _window(pixels: Pixels, square: _Square) -> tuple[Pixels, int, int]:
    """The part of the picture that the square needs, and its corner (OpenCV warps nothing beyond 32,767 px)."""
    reach = math.ceil(0.75 * square.side) + 2
    height, width = pixels.shape[:2]
    x0, x1 = (int(np.clip(round(square.x) + d, 0, width)) for d in (-reach, reach + 1))
    y0, y1 = (int(np.clip(round(square.y) + d, 0, height)) for d in (-reach, reach + 1))
    if x0 < x1 and y0 < y1:
        return pixels[y0:y1, x0:x1], x0, y0
    return pixels, 0, 0


def _patch_to_image(landmarks: Points, square: _Square) -> Points:
    """Normalised patch landmarks (n, 3), origin at the patch's corner, to image pixels; z scaled as x."""
    offset = (landmarks[:, :2] - 0.5) * square.side
    c, s = math.cos(square.angle), math.sin(square.angle)
    x = square.x + c * offset[:, 0] - s * offset[:, 1]
    y = square.y + s * offset[:, 0] + c * offset[:, 1]
    return np.column_stack([x, y, landmarks[:, 2] * square.side])


def _square_around(box: Box, scale: float, angle: float) -> _Square:
    return _Square((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2, scale * max(box.width, box.height), angle)


def _box_of(points: Points) -> Box:
    (x0, y0), (x1, y1) = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    return Box(float(x0), float(y0), float(x1), float(y1))


def _iou(a: Box, b: Box) -> float:
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    if width <= 0 or height <= 0:
        return 0.0
    overlap = width * height
    return overlap / (a.width * a.height + b.width * b.height - overlap)


def _holds_centre(box: Box, other: Box) -> bool:
    x, y = (other.x0 + other.x1) / 2, (other.y0 + other.y1) / 2
    return box.x0 < x < box.x1 and box.y0 < y < box.y1


def _distinct(detections: Sequence[_Detection]) -> list[_Detection]:
    """Best first, without those that overlap a better one."""
    kept: list[_Detection] = []
    for detection in sorted(detections, key=lambda d: -d.score):
        if all(_iou(detection.box, other.box) < _SAME_SUBJECT_IOU for other in kept):
            kept.append(detection)
    return kept


# --------------------------------------------------------------------------- detection


_Detector = Callable[[Pixels], list[_Detection]]


class _Picture:
    """The image, and what it is shrunk to for the detectors: two of them want the same size."""

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels
        self._shrunk: dict[tuple[int, int], Pixels] = {}

    def shrunk(self, width: int, height: int) -> Pixels:
        """Averaged down to this size."""
        size = (width, height)
        if size not in self._shrunk:
            self._shrunk[size] = np.asarray(cv2.resize(self.pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
        return self._shrunk[size]


def _detect(picture: _Picture, detector: _Detector, input_px: int, pad: int = 0) -> list[_Detection]:
    """Run a detector on the picture, with ``pad`` pixels of border where given; boxes come back in native pixels.

    The networks sample their input with gaps. A picture larger than twice their input is shrunk to that
    by averaging first: of 24 portraits with noise of 40 grey levels this finds 24, without it 18.
    """
    height, width = picture.pixels.shape[:2]
    factor = min(1.0, 2 * input_px / (max(height, width) + 2 * pad))
    small = picture.pixels
    if factor < 1.0:
        small = picture.shrunk(max(1, round(width * factor)), max(1, round(height * factor)))
    border = round(pad * factor)
    framed = cv2.copyMakeBorder(small, border, border, border, border, cv2.BORDER_REPLICATE) if border else small
    found = detector(np.ascontiguousarray(framed, dtype=np.uint8))
    scale = np.array([width / small.shape[1], height / small.shape[0]])
    # Off with the border, then scale about the picture's corner, which lies half a pixel before the origin.
    return [_moved(item, (0.5 - border) * scale - 0.5, scale) for item in found]


def _moved(found: _Detection, shift: NDArray[np.float64], scale: NDArray[np.float64]) -> _Detection:
    """The detection with every coordinate scaled, then shifted. ``shift``, ``scale``: (2,), x and y."""
    x0, y0 = np.array([found.box.x0, found.box.y0]) * scale + shift
    x1, y1 = np.array([found.box.x1, found.box.y1]) * scale + shift
    return _Detection(Box(float(x0), float(y0), float(x1), float(y1)), found.keys * scale + shift, found.score)


# --------------------------------------------------------------------------- mediapipe's graphs

_FACE_DETECTION = """
num_threads: 1
input_stream: "image"
output_stream: "detections"
node {{ calculator: "{calculator}" input_stream: "IMAGE:image" output_stream: "DETECTIONS:detections" }}
"""
_FACE_MESH = """
num_threads: 1
input_stream: "image"
input_stream: "roi"
input_side_packet: "with_attention"
output_stream: "landmarks"
node {
  calculator: "FaceLandmarkCpu"
  input_stream: "IMAGE:image"
  input_stream: "ROI:roi"
  input_side_packet: "WITH_ATTENTION:with_attention"
  output_stream: "LANDMARKS:landmarks"
}
"""
_PALM_DETECTION = """
num_threads: 1
input_stream: "image"
input_side_packet: "model_complexity"
output_stream: "detections"
node {
  calculator: "PalmDetectionCpu"
  input_stream: "IMAGE:image"
  input_side_packet: "MODEL_COMPLEXITY:model_complexity"
  output_stream: "DETECTIONS:detections"
}
"""
_HAND_LANDMARK = """
num_threads: 1
input_stream: "image"
input_stream: "roi"
input_side_packet: "model_complexity"
output_stream: "landmarks"
output_stream: "handedness"
node {
  calculator: "HandLandmarkCpu"
  input_stream: "IMAGE:image"
  input_stream: "ROI:roi"
  input_side_packet: "MODEL_COMPLEXITY:model_complexity"
  output_stream: "LANDMARKS:landmarks"
  output_stream: "HANDEDNESS:handedness"
}
"""
# One NormalizedLandmark in a NormalizedLandmarkList as protobuf writes it: the list's tag and the length of what
# follows, then each coordinate's tag and its little-endian float.
_LANDMARK_WIRE = np.dtype(
    {"names": ["x", "y", "z"], "formats": ["<f4", "<f4", "<f4"], "offsets": [3, 8, 13], "itemsize": 17}
)
_MESH_SCORE = "facelandmarkcpu__face_presence_score"
_HAND_SCORE = "handlandmarkcpu__hand_presence_score"


class _Graphs:
    """The five graphs, each as a function of one image. Landmark graphs never reject: the caller sees the score."""

    def __init__(self) -> None:
        with _quiet_native_stderr():
            self._short = _detector("FaceDetectionShortRangeCpu", "facedetectionshortrangecpu")
            self._full = _detector("FaceDetectionFullRangeCpu", "facedetectionfullrangecpu")
            self._mesh = _solution(
                _FACE_MESH,
                ["landmarks", _MESH_SCORE],
                {"facelandmarkcpu__ThresholdingCalculator.threshold": -1.0},
                {"with_attention": True},
            )
            self._palm = _solution(
                _PALM_DETECTION,
                ["detections"],
                {"palmdetectioncpu__TensorsToDetectionsCalculator.min_score_thresh": PALM_SCORE},
                {"model_complexity": 1},
            )
            self._hand = _solution(
                _HAND_LANDMARK,
                ["landmarks", "handedness", _HAND_SCORE],
                {"handlandmarkcpu__ThresholdingCalculator.threshold": -1.0},
                {"model_complexity": 1},
            )
            self._warm_up()

    def _warm_up(self) -> None:
        """One blank image through each graph: the native libraries give their notices on the first."""
        blank = np.zeros((64, 64, 3), dtype=np.uint8)
        for run in (self.short_range, self.full_range, self.palms, self.mesh, self.hand):
            run(blank)

    def close(self) -> None:
        for solution in (self._short, self._full, self._mesh, self._palm, self._hand):
            with contextlib.suppress(ValueError):  # already closed
                solution.close()

    def short_range(self, pixels: Pixels) -> list[_Detection]:
        return _to_detections(self._short.process({"image": pixels}).detections, pixels)

    def full_range(self, pixels: Pixels) -> list[_Detection]:
        return _to_detections(self._full.process({"image": pixels}).detections, pixels)

    def palms(self, pixels: Pixels) -> list[_Detection]:
        return _to_detections(self._palm.process({"image": pixels}).detections, pixels)

    def mesh(self, patch: Pixels) -> tuple[Points, float]:
        """Landmarks (478, 3) in units of the patch's side, and the model's probability that it is a face."""
        out = self._mesh.process({"image": patch, "roi": _whole()})
        return _to_points(out.landmarks), float(getattr(out, _MESH_SCORE))

    def hand(self, patch: Pixels) -> tuple[Points, float, str]:
        """Landmarks (21, 3) in units of the patch's side, the probability of a hand, and the hand's own side."""
        out = self._hand.process({"image": patch, "roi": _whole()})
        # The model was trained on mirrored (selfie) pictures: its "Left" is a right hand of ours.
        side = {"Left": "right", "Right": "left"}[out.handedness.classification[0].label]
        return _to_points(out.landmarks), float(getattr(out, _HAND_SCORE)), side


def _detector(calculator: str, prefix: str) -> Any:
    inner = calculator.removesuffix("Cpu").lower()
    threshold = f"{prefix}__{inner}__facedetection__TensorsToDetectionsCalculator.min_score_thresh"
    return _solution(_FACE_DETECTION.format(calculator=calculator), ["detections"], {threshold: FACE_SCORE}, {})


def _solution(text: str, outputs: list[str], parameters: dict[str, float], side_inputs: dict[str, Any]) -> Any:
    # Imported here, not above: mediapipe takes seconds to load, and charts and tables do without it.
    from google.protobuf import text_format  # type: ignore[import-untyped]  # noqa: PLC0415
    from mediapipe.framework import calculator_pb2  # noqa: PLC0415
    from mediapipe.python.solution_base import SolutionBase  # noqa: PLC0415

    config = text_format.Parse(text, calculator_pb2.CalculatorGraphConfig())
    return SolutionBase(
        graph_config=config, calculator_params=parameters or None, side_inputs=side_inputs or None, outputs=outputs
    )


def _whole() -> Any:
    from mediapipe.framework.formats import rect_pb2  # noqa: PLC0415

    return rect_pb2.NormalizedRect(x_center=0.5, y_center=0.5, width=1.0, height=1.0, rotation=0.0)


def _to_detections(found: Any, pixels: Pixels) -> list[_Detection]:
    """Protobuf detections (normalised, origin at the image's corner) to pixels counted from pixel centres."""
    size = np.array([pixels.shape[1], pixels.shape[0]], dtype=np.float64)
    detections = []
    for item in found or ():
        raw = item.location_data.relative_bounding_box
        if raw.width <= 0 or raw.height <= 0:
            continue
        x0, y0 = np.array([raw.xmin, raw.ymin]) * size - 0.5
        box = Box(float(x0), float(y0), float(x0 + raw.width * size[0]), float(y0 + raw.height * size[1]))
        keys = np.array([[key.x, key.y] for key in item.location_data.relative_keypoints]) * size - 0.5
        detections.append(_Detection(box, keys, float(item.score[0])))
    return detections


def _to_points(landmarks: Any) -> Points:
    """x, y and z of a list of landmarks: (n, 3). Taken from its bytes: to ask each landmark takes 10 times as long."""
    wire = np.frombuffer(landmarks.SerializeToString(), dtype=_LANDMARK_WIRE)
    return np.column_stack([wire["x"], wire["y"], wire["z"]]).astype(np.float64)


@contextlib.contextmanager
def _quiet_native_stderr() -> Iterator[None]:
    """Hold back what native code writes to stderr (notices that no setting turns off); show it if the start fails."""
    with tempfile.TemporaryFile() as held:
        sys.stderr.flush()
        saved = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(saved, held.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
