"""Counting the digits of one hand in pixels: one patch, several cues that each see it in their own way.

``patch`` cuts the hand out upright; ``bones``, ``edges``, ``silhouette`` and ``network`` each return a ``Sighting``
of it. ``detectors.fingers`` compares them and says what was counted.
"""

from __future__ import annotations

from pathlib import Path

MODEL = Path(__file__).with_name("digits.onnx")
"""The weights of ``network``."""
