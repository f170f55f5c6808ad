"""Readings of faces on photographs kept for reporting: the same face must read the same, and people must differ."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from detectors import expression, face_shape, lighting, skin, skin_texture
from detectors.trait import Pixels, View
from detectors.vision import Vision

FAMILIES = (face_shape, expression, lighting, skin, skin_texture)
SIGNED = {"lighting_ratio_stops"}
N_PORTRAITS = 16


def reporting_portraits(folder: Path) -> list[Path]:
    """Files whose name has an odd hash; the even half was looked at while the readings were designed."""
    paths = sorted(folder.glob("*.jpg"))
    return [path for path in paths if int(hashlib.sha256(path.name.encode()).hexdigest(), 16) % 2][:N_PORTRAITS]


def read(family: ModuleType, view: View) -> dict[str, float]:
    if not view.faces:
        return {}
    measured = family.measure(view, view.faces[0])
    return {name: float(value) for name, value in measured.values.items() if np.ndim(value) == 0}


@pytest.fixture(scope="module")
def views(validation_data: Path) -> list[tuple[View, View]]:
    """Each portrait and its mirror image, landmarks found anew in both."""
    pairs = []
    with Vision() as vision:
        for path in reporting_portraits(validation_data / "faces" / "generated_512"):
            pixels: Pixels = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
            pairs.append((vision.look(pixels), vision.look(np.ascontiguousarray(pixels[:, ::-1]))))
    return pairs


@pytest.mark.validation
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.FAMILY.name)
def test_a_mirrored_portrait_differs_less_than_two_people_do(
    family: ModuleType, views: list[tuple[View, View]]
) -> None:
    read_both = [(read(family, one), read(family, other)) for one, other in views]
    kept = [(one, other) for one, other in read_both if one and other]
    assert len(kept) >= 0.8 * N_PORTRAITS
    for name in kept[0][0]:
        sign = -1.0 if name in SIGNED else 1.0
        values = np.array([(one[name], sign * other[name]) for one, other in kept])
        repeat = np.sqrt(((values[:, 0] - values[:, 1]) ** 2).mean() / 2)
        # Measured over 90 portraits: 0.2 to 0.35 for shapes, 0.1 to 0.2 for expressions, below 0.12 for light and skin.
        # These sixteen face the camera squarely, so what is left of their asymmetry is hardly above the mesh's noise.
        allowed = 1.0 if name == "face_asymmetry" else 0.6
        assert repeat < allowed * values[:, 0].std(ddof=1), name
