"""Everything about a measurement that a person can choose."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from decay.erosion import Rule


@dataclass(frozen=True)
class MeasureSettings:
    """``embedder_pack``: an insightface pack's name, None for the weights-free descriptor. ``embedder_root``: the
    folder whose ``models/`` holds the pack. ``n_resamples``: draws behind every interval. ``seed``: of those draws.
    ``rule``: what is called erosion. ``reference``: a folder of pictures to compare with, in place of ``real/`` or
    generation 0. ``control``: a run whose drift is taken off (the arm that was trained on no generated picture).
    """

    embedder_pack: str | None = None
    embedder_root: Path | None = None
    n_resamples: int = 2000
    seed: int = 0
    rule: Rule = field(default_factory=Rule)
    reference: Path | None = None
    control: Path | None = None
