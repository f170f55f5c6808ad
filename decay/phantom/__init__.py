"""Drawn faces and hands whose truth is known, and lineages of them in which chosen traits decay on a plan."""

from decay.phantom.degrade import degrade
from decay.phantom.face import draw_face
from decay.phantom.hand import draw_hand, label_hand
from decay.phantom.lineage import make_lineage
from decay.phantom.parameters import (
    FINGERS,
    PAIRS,
    Backdrop,
    Camera,
    Expression,
    EyeParameters,
    FaceParameters,
    FaceShape,
    Framing,
    Glint,
    Hair,
    HandLight,
    HandParameters,
    Lighting,
    Skin,
)
from decay.phantom.plan import CHANNELS, PRESETS, Channel, Decay, Plan, load_plan
from decay.phantom.population import Population, Spread

__all__ = [
    "CHANNELS",
    "FINGERS",
    "PAIRS",
    "PRESETS",
    "Backdrop",
    "Camera",
    "Channel",
    "Decay",
    "Expression",
    "EyeParameters",
    "FaceParameters",
    "FaceShape",
    "Framing",
    "Glint",
    "Hair",
    "HandLight",
    "HandParameters",
    "Lighting",
    "Plan",
    "Population",
    "Skin",
    "Spread",
    "degrade",
    "draw_face",
    "draw_hand",
    "label_hand",
    "load_plan",
    "make_lineage",
]
