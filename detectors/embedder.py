"""The one adapter to insightface: a face in, a unit vector out. Without a model pack, a weights-free descriptor.

The packs are for non-commercial research only. Nothing here downloads: a pack that is not on the disk
is an error that says so before insightface is asked.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.feature import hog

from detectors.packs import DEFAULT_ROOT, DESCRIPTOR_NAME, pack_folder
from detectors.trait import Box, Face, Pixels, Vector

ARCFACE_SAME_PERSON_COSINE = 0.41
"""Above this two faces count as one person: half way between the least similar pair of one person (0.46) and the
most similar pair of two (0.36) among 276 labelled pairs, for a 128-D ArcFace network."""

_DETECT_PX = 320
_MARGIN = 2.0
_SAME_FACE_IOU = 0.3


class Embedder(Protocol):
    """Turns a face into a vector. ``name`` says what made it and stands in every table and chart."""

    @property
    def name(self) -> str:
        """Who makes the vectors."""
        ...

    @property
    def same_person_cosine(self) -> float:
        """The similarity above which two faces count as one person; NaN where the vectors do not tell persons."""
        ...

    def embed(self, pixels: Pixels, face: Face) -> Vector | None:
        """Unit-length float32 (d,), or None where this embedder does not find the face."""
        ...


def open_embedder(pack: str | None, root: Path | None) -> Embedder:
    """The insightface pack of that name under ``root`` (default ``~/.insightface``), or the descriptor for None.

    Raises FileNotFoundError if the pack is not there.
    """
    return DescriptorEmbedder() if pack is None else PackEmbedder(pack, root or DEFAULT_ROOT)


# --------------------------------------------------------------------------- insightface


class PackEmbedder:
    """Detection (SCRFD) and recognition (ArcFace) of an insightface pack (Deng et al. 2019, 10.1109/CVPR.2019.00482).

    SCRFD loses faces that fill its input. So it is shown a native-pixel square of twice the mesh's face
    box, where every face has the same apparent size, and answers for the face that overlaps that box.
    """

    def __init__(self, pack: str, root: Path) -> None:
        self._name = pack
        self._analysis = _load_pack(pack, root, ["detection", "recognition"])

    @property
    def name(self) -> str:
        """The pack's name."""
        return self._name

    @property
    def same_person_cosine(self) -> float:
        """That of ArcFace networks."""
        return ARCFACE_SAME_PERSON_COSINE

    def embed(self, pixels: Pixels, face: Face) -> Vector | None:
        """Unit-length float32 (d,), d as the pack has it (512 for buffalo_l), or None where SCRFD finds no such face.

        ``pixels``: sRGB uint8 (h, w, 3), the image in which ``face`` was found.
        """
        found = _analyse(self._analysis, pixels, face)
        return None if found is None else _unit(np.asarray(found.embedding))


@dataclass(frozen=True)
class Guess:
    """What a network takes a face for. ``age_years``: whole years. ``sex``: as its labels had it."""

    age_years: int
    sex: Literal["man", "woman"]


class PackGuesser:
    """The model of age and sex in an insightface pack, of those that have one (``genderage.onnx`` in buffalo_l).

    Its guesses are a machine's, and err more on some people than on others (Buolamwini & Gebru 2018, "Gender
    Shades"): say so wherever they stand. Raises FileNotFoundError if the pack, or that model in it, is not there.
    """

    def __init__(self, pack: str, root: Path | None) -> None:
        root = root or DEFAULT_ROOT
        self._analysis = _load_pack(pack, root, ["detection", "genderage"])
        if "genderage" not in self._analysis.models:
            files = ", ".join(sorted(path.name for path in pack_folder(pack, root).glob("*.onnx")))
            raise FileNotFoundError(
                f"{pack_folder(pack, root)}: expected a model of age and sex in the insightface pack {pack!r} "
                f"(genderage.onnx, in buffalo_l); found {files}. Use a pack that has one, or give these columns in a "
                "table."
            )

    def guess(self, pixels: Pixels, face: Face) -> Guess | None:
        """Age and sex, or None where SCRFD finds no such face. ``pixels``: the image in which ``face`` was found."""
        found = _analyse(self._analysis, pixels, face)
        return None if found is None else Guess(int(found.age), "man" if int(found.gender) == 1 else "woman")


def _analyse(analysis: Any, pixels: Pixels, face: Face) -> Any:
    """What insightface says of ``face``; None where it does not find it."""
    from insightface.app.common import Face as Found  # noqa: PLC0415  # loads slowly

    crop, box = _crop_around(pixels, face.box)
    picture = cv2.cvtColor(crop, cv2.COLOR_RGB2BGR)
    # FaceAnalysis.get would run every model on every face that SCRFD finds in the crop; one of them is asked for.
    boxes, keys = analysis.det_model.detect(picture)
    overlaps = [_iou(box, other[:4]) for other in boxes]
    if not overlaps or max(overlaps) < _SAME_FACE_IOU:
        return None
    which = int(np.argmax(overlaps))
    found = Found(bbox=boxes[which, :4], kps=keys[which], det_score=boxes[which, 4])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # insightface calls scikit-image by an old name
        for task, model in analysis.models.items():
            if task != "detection":
                model.get(picture, found)
    return found


def _load_pack(pack: str, root: Path, modules: Sequence[str]) -> Any:
    folder = pack_folder(pack, root)
    if not any(folder.glob("*.onnx")):
        raise FileNotFoundError(
            f"{folder}: expected the .onnx files of the insightface pack {pack!r}; found none. "
            "Nothing is downloaded here: fetch the pack once with `decay models fetch`, "
            "name another folder, or go without a pack."
        )
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read once, when onnxruntime is loaded
    import onnxruntime  # noqa: PLC0415  # late, for the line above; and it loads slowly
    from insightface.app import FaceAnalysis  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # one process per core is faster, and sums in a fixed order
    options.inter_op_num_threads = 1
    analysis = FaceAnalysis(
        pack,
        root=str(root.expanduser()),
        allowed_modules=list(modules),
        providers=["CPUExecutionProvider"],
        sess_options=options,
    )
    analysis.prepare(ctx_id=-1, det_size=(_DETECT_PX, _DETECT_PX))
    return analysis


def _crop_around(pixels: Pixels, box: Box) -> tuple[Pixels, NDArray[np.float64]]:
    """A native-pixel square of _MARGIN times the box, edge pixels repeated outside, and the box (4,) within it."""
    side = math.ceil(_MARGIN * max(box.width, box.height))
    x0 = round((box.x0 + box.x1 - side) / 2)
    y0 = round((box.y0 + box.y1 - side) / 2)
    height, width = pixels.shape[:2]
    columns, left, right = _span(x0, side, width)
    rows, top, bottom = _span(y0, side, height)
    crop = cv2.copyMakeBorder(pixels[rows, columns], top, bottom, left, right, cv2.BORDER_REPLICATE)
    inside = np.array([box.x0 - x0, box.y0 - y0, box.x1 - x0, box.y1 - y0])
    return np.asarray(crop, dtype=np.uint8), inside


def _span(first: int, n: int, length: int) -> tuple[slice, int, int]:
    """Which of ``length`` pixels lie in the ``n`` from ``first`` on, at least one; and how many lack on either side."""
    start, stop = min(max(first, 0), length - 1), max(min(first + n, length), 1)
    before = min(max(-first, 0), n - 1)
    return slice(start, stop), before, n - before - (stop - start)


def _iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Intersection over union of two boxes (x0, y0, x1, y1)."""
    extent = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    overlap = float(np.prod(np.maximum(extent, 0.0)))
    return overlap / float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - overlap)


# --------------------------------------------------------------------------- without weights


class DescriptorEmbedder:
    """What a face looks like without learned weights: aligned landmarks and HOG of the aligned face.

    It separates shapes and textures, not persons: read its diversity as variety of appearance. 240
    numbers: 48 landmarks in the frame of the eyes (centred, unit centroid size, eye axis level; Dryden &
    Mardia 2016, ch. 2), and histograms of oriented gradients (Dalal & Triggs 2005,
    10.1109/CVPR.2005.177) of the face at 64 x 64 px in 4 x 4 cells of 9 directions. Each part is taken
    about its mean over real portraits and scaled to equal weight, so that cosine compares what differs.
    """

    @property
    def name(self) -> str:
        """A name that cannot be mistaken for identity."""
        return DESCRIPTOR_NAME

    @property
    def same_person_cosine(self) -> float:
        """NaN: no similarity of appearance makes two faces one person."""
        return math.nan

    def embed(self, pixels: Pixels, face: Face) -> Vector | None:
        """Unit-length float32 (240,). ``pixels``: sRGB uint8 (h, w, 3), the image in which ``face`` was found."""
        shape = _aligned_landmarks(face)
        texture = _aligned_hog(pixels, face)
        return _unit(np.concatenate([(shape - SHAPE_MEAN) / SHAPE_SCALE, (texture - HOG_MEAN) / HOG_SCALE]))


def _eye_frame(face: Face) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """The frame of the eyes: origin (2,) midway between them, rotation (2, 2) that levels them, their distance."""
    landmarks = face.landmarks_px[:, :2]
    left, right = landmarks[[33, 133]].mean(axis=0), landmarks[[263, 362]].mean(axis=0)
    along = right - left
    distance = float(np.hypot(*along))
    c, s = along / distance
    return (left + right) / 2, np.array([[c, s], [-s, c]]), distance


def _aligned_landmarks(face: Face) -> NDArray[np.float64]:
    """(96,): x and y of 48 landmarks, centred, unit centroid size, eye axis level."""
    _, rotation, _ = _eye_frame(face)
    points = face.landmarks_px[LANDMARKS, :2] @ rotation.T
    points = points - points.mean(axis=0)
    return np.asarray(points / np.linalg.norm(points), dtype=np.float64).ravel()


def _aligned_hog(pixels: Pixels, face: Face) -> NDArray[np.float64]:
    """(144,): histograms of oriented gradients of the face, eyes level and 28 px apart in 64 x 64 px."""
    origin, rotation, distance = _eye_frame(face)
    scale = 28.0 / distance
    # Shrink by averaging first: a plain warp would alias a large face and read its noise as texture.
    sigma = max(0.0, 0.4 / scale - 0.4)
    crop, corner = _crop_with_corner(pixels, face.box)
    if sigma > 0:
        crop = np.asarray(cv2.GaussianBlur(crop, (0, 0), sigma), dtype=np.uint8)
    matrix = np.column_stack([scale * rotation, np.array([31.5, 24.0]) - scale * rotation @ (origin - corner)])
    upright = cv2.warpAffine(crop, matrix, (64, 64), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    grey = cv2.cvtColor(upright, cv2.COLOR_RGB2GRAY)
    cells = hog(grey, orientations=9, pixels_per_cell=(16, 16), cells_per_block=(1, 1), block_norm="L2-Hys")
    return np.asarray(cells, dtype=np.float64)


def _crop_with_corner(pixels: Pixels, box: Box) -> tuple[Pixels, NDArray[np.float64]]:
    crop, inside = _crop_around(pixels, box)
    return crop, np.array([box.x0, box.y0]) - inside[:2]


def _unit(vector: NDArray[np.generic]) -> Vector | None:
    """The vector at unit length; None if it has none."""
    values = np.asarray(vector, dtype=np.float64).ravel()
    length = float(np.linalg.norm(values))
    return (values / length).astype(np.float32) if math.isfinite(length) and length > 0 else None


# fmt: off
LANDMARKS = [
    10, 109, 338, 67, 297, 54, 284, 127, 356, 234, 454, 132, 361, 172, 397, 150, 379, 148, 377, 152,  # outline
    70, 105, 107, 300, 334, 336,  # brows
    33, 159, 133, 145, 263, 386, 362, 374,  # lids
    168, 4, 2, 98, 327, 129, 358,  # nose
    61, 291, 0, 17, 13, 14, 205,  # mouth, cheek
]
# Means and root mean square distances from them over 52 portraits (28 CelebA-HQ, 24 StyleGAN) set aside for fitting.
SHAPE_MEAN = np.array([
    -.0012, -.1778, -.0456, -.1762, .0444, -.1773, -.0824, -.1696, .0834, -.1716, -.1361, -.1356, .1440, -.1383,
    -.1545, -.0468, .1711, -.0485, -.1518, -.0132, .1702, -.0145, -.1433, .0579, .1625, .0579, -.1195, .1284, .1358,
    .1290, -.0844, .1735, .0946, .1744, -.0275, .2110, .0308, .2115, .0013, .2144, -.1314, -.0874, -.0978, -.1053,
    -.0366, -.0976, .1361, -.0883, .0973, -.1063, .0327, -.0979, -.1021, -.0530, -.0767, -.0635, -.0385, -.0472,
    -.0723, -.0426, .1059, -.0532, .0789, -.0637, .0396, -.0471, .0744, -.0431, -.0015, -.0595, -.0039, .0322, -.0023,
    .0599, -.0425, .0521, .0410, .0521, -.0503, .0357, .0500, .0356, -.0631, .1026, .0659, .1020, -.0006, .0906,
    -.0000, .1394, -.0001, .1055, -.0001, .1144, -.0938, .0452,
])
SHAPE_SCALE = 0.0993
HOG_MEAN = np.array([
    .451, .386, .291, .291, .376, .252, .116, .170, .318, .371, .299, .277, .257, .391, .412, .317, .198, .181, .351,
    .212, .369, .452, .412, .231, .216, .242, .205, .389, .161, .137, .257, .392, .316, .291, .392, .389, .366, .319,
    .333, .354, .360, .355, .273, .253, .282, .345, .317, .310, .345, .351, .344, .333, .316, .304, .314, .317, .332,
    .351, .345, .343, .307, .325, .334, .271, .228, .281, .375, .388, .383, .344, .290, .318, .392, .191, .152, .173,
    .296, .221, .310, .436, .455, .347, .352, .328, .328, .327, .328, .337, .312, .297, .323, .311, .337, .326, .329,
    .325, .328, .347, .338, .435, .444, .360, .259, .333, .197, .159, .171, .300, .450, .193, .156, .141, .235, .175,
    .321, .459, .461, .288, .175, .237, .386, .409, .409, .379, .323, .202, .297, .306, .389, .419, .419, .389, .231,
    .179, .148, .458, .458, .361, .207, .304, .165, .187, .207, .303,
])
HOG_SCALE = 1.125
# fmt: on
