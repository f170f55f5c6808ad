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
    HandParameters,
    Lighting,
    Skin,
)
from decay.phantom.population import Population, Spread

__all__ = [
    "Camera",
    "Expression",
    "EyeParameters",
    "FaceParameters",
    "FaceShape",
    "Framing",
    "Glint",
    "Hair",
    "HandParameters",
    "Lighting",
    "Population",
    "Skin",
    "Spread",
    "draw_face",
]
