"""Embedders: the weights-free descriptor anywhere, an insightface pack where the validation data has one."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from detectors.embedder import DescriptorEmbedder, Embedder, _crop_around, open_embedder
from detectors.packs import DESCRIPTOR_NAME
from detectors.trait import Box, Face, Pixels, Vector, View
from detectors.vision import Vision


@pytest.fixture(scope="module")
def vision() -> Iterator[Vision]:
    with Vision() as opened:
        yield opened


@pytest.fixture(scope="module")
def pack(validation_data: Path) -> Embedder:
    return open_embedder("small", validation_data / "models" / "insightface")


def embed(embedder: Embedder, view: View) -> Vector:
    vector = embedder.embed(view.pixels, view.faces[0])
    assert vector is not None
    return vector


def load(path: Path) -> Pixels:
    return np.ascontiguousarray(cv2.imread(str(path))[:, :, ::-1])


def test_the_descriptor_is_a_unit_vector_and_says_that_it_is_not_identity(portraits: tuple[View, View]) -> None:
    embedder = open_embedder(None, None)
    vector = embed(embedder, portraits[0])
    assert vector.dtype == np.float32
    assert vector.shape == (240,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    assert embedder.name == DESCRIPTOR_NAME
    assert "not identity" in embedder.name
    assert math.isnan(embedder.same_person_cosine)


@pytest.mark.parametrize("corner", [(10.2, 8.7), (-6.0, 21.0), (40.0, -9.5), (60.0, 50.0), (-90.0, -70.0)])
def test_the_crop_repeats_the_pixels_of_the_edge_outside_the_picture(corner: tuple[float, float]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    x0, y0 = corner
    crop, box = _crop_around(pixels, Box(x0, y0, x0 + 9.4, y0 + 12.1))
    left, top = round(x0 - box[0]), round(y0 - box[1])
    columns = np.clip(np.arange(left, left + crop.shape[1]), 0, 49)
    rows = np.clip(np.arange(top, top + crop.shape[0]), 0, 39)
    assert crop.shape == (25, 25, 3)  # twice the longer side
    assert np.array_equal(crop, pixels[np.ix_(rows, columns)])


@pytest.mark.parametrize("turn_deg", [-20.0, 20.0])
@pytest.mark.parametrize("scale", [0.7, 2.0])
def test_the_descriptor_keeps_to_the_face_when_the_picture_is_turned_and_scaled(
    turn_deg: float, scale: float, portraits: tuple[View, View], vision: Vision
) -> None:
    pixels = portraits[0].pixels
    matrix = cv2.getRotationMatrix2D((223.0, 120.0), turn_deg, scale)
    size = round(512 * max(scale, 1))
    turned = np.asarray(cv2.warpAffine(pixels, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE), np.uint8)
    descriptor = DescriptorEmbedder()
    here = embed(descriptor, portraits[0])
    there = embed(descriptor, vision.look(turned))
    mirrored = embed(descriptor, portraits[1])
    assert here @ there > 0.8
    assert here @ there > here @ mirrored  # another picture, though of the same face


def test_the_descriptor_answers_for_a_face_that_leaves_the_picture(portraits: tuple[View, View]) -> None:
    view = portraits[0]
    face = view.faces[0]
    moved = face.landmarks_px - [face.box.x0 + 30, 0, 0]
    box = replace(face.box, x0=-30.0, x1=face.box.width - 30)
    outside: Face = replace(face, box=box, landmarks_px=moved)
    vector = DescriptorEmbedder().embed(view.pixels, outside)
    assert vector is not None
    assert np.isfinite(vector).all()


def test_a_missing_pack_is_an_error_that_names_the_next_step_and_downloads_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="decay models"):
        open_embedder("buffalo_l", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.validation
def test_a_pack_tells_persons_apart(pack: Embedder, validation_data: Path, vision: Vision) -> None:
    folder = validation_data / "faces" / "identities"
    with (folder / "master.csv").open(newline="") as file:
        pairs = list(csv.DictReader(file))
    pairs = [pair for pair in pairs if all((folder / pair[key]).is_file() for key in ("file_x", "file_y"))]
    same = [pair for pair in pairs if pair["Decision"] == "Yes"][:12]
    different = [pair for pair in pairs if pair["Decision"] == "No"][:12]
    known: dict[str, Vector] = {}

    def similarity(pair: dict[str, str]) -> float:
        for name in (pair["file_x"], pair["file_y"]):
            if name not in known:
                known[name] = embed(pack, vision.look(load(folder / name)))
        return float(known[pair["file_x"]] @ known[pair["file_y"]])

    alike, unlike = ([similarity(pair) for pair in some] for some in (same, different))
    assert min(len(alike), len(unlike)) >= 10
    assert min(alike) > max(unlike)  # area under the curve 1.000 over all 276 pairs


@pytest.mark.validation
def test_a_pack_finds_tight_portraits_and_small_faces(
    pack: Embedder, portraits: tuple[View, View], vision: Vision
) -> None:
    """At a fixed detector size it misses one or the other; both must give the same person."""
    face = portraits[0].faces[0]
    pixels = portraits[0].pixels
    tight = pixels[round(face.box.y0) : round(face.box.y1), round(face.box.x0) : round(face.box.x1)]
    tight_large = np.asarray(cv2.resize(tight, None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC), np.uint8)
    small = np.asarray(cv2.resize(pixels, (300, 300), interpolation=cv2.INTER_AREA), np.uint8)
    here = embed(pack, portraits[0])
    for other in (np.ascontiguousarray(tight), tight_large, small):
        assert here @ embed(pack, vision.look(other)) > 0.6


@pytest.mark.validation
def test_a_pack_answers_for_the_face_that_is_asked_for(pack: Embedder, validation_data: Path, vision: Vision) -> None:
    files = sorted((validation_data / "faces" / "generated_512").glob("*.*g"))[:2]
    first, second = (vision.look(load(file)) for file in files)
    both = vision.look(np.hstack([first.pixels, second.pixels]))
    assert len(both.faces) == 2
    vectors = [pack.embed(both.pixels, face) for face in both.faces]
    for vector, alone in zip(vectors, (first, second), strict=True):
        assert vector is not None
        assert vector @ embed(pack, alone) > 0.9
    other_place = replace(both.faces[0], box=replace(both.faces[0].box, x0=0.0, y0=0.0, x1=60.0, y1=60.0))
    assert pack.embed(both.pixels, other_place) is None
