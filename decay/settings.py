"""Everything about a measurement that a person can choose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MeasureSettings:
    """``embedder_pack``: an insightface pack's name, None for the weights-free descriptor. ``embedder_root``: the
    folder whose ``models/`` holds the pack. ``n_resamples``: draws behind every interval. ``seed``: of those draws.
    """

    embedder_pack: str | None = None
    embedder_root: Path | None = None
    n_resamples: int = 200
    seed: int = 0
