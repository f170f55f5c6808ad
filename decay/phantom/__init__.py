"""Drawn faces and hands whose truth is known, and lineages of them in which chosen traits decay on a plan."""

from decay.phantom.face import draw_face
from decay.phantom.parameters import (
    Camera,
    Expression,
    EyeParameters,
    FaceParameters,
    FaceShape,
    Framing,
    Glint,
    Hair,
    Lighting,
    Skin,
)

__all__ = [
    "Camera",
    "Expression",
    "EyeParameters",
    "FaceParameters",
    "FaceShape",
    "Framing",
    "Glint",
    "Hair",
    "Lighting",
    "Skin",
    "draw_face",
]
