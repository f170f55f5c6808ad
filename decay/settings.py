"""Everything about a measurement that a person can choose. Imports nothing heavy: the command line reads it first."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

FORMAT_VERSION = 1
"""Of the contract's files, 1: the first. The same number stands in ``verdict.json`` and ``run.json``."""


class ReportForm(StrEnum):
    """What a report is written as."""

    HTML = "html"
    MD = "md"
    PDF = "pdf"


@dataclass(frozen=True)
class Rule:
    """What is called erosion. ``margin``: the loss of retention (0 to 1) that an onset goes beyond. ``coverage``: of
    the simultaneous intervals. ``p_first``: a first trait or family is named at or above this share of the draws."""

    margin: float = 0.2
    coverage: float = 0.95
    p_first: float = 0.8

    def __post_init__(self) -> None:
        if not (0.0 < self.margin < 1.0 and 0.5 < self.coverage < 1.0 and 0.5 < self.p_first <= 1.0):
            raise ValueError(f"margin in 0..1, coverage and p_first in 0.5..1 are wanted, got {self}")


@dataclass(frozen=True)
class MeasureSettings:
    """``embedder_pack``: an insightface pack's name, None for the weights-free descriptor. ``embedder_root``: the
    folder whose ``models/`` holds the pack. ``n_resamples``: draws behind every interval. ``seed``: of those draws.
    ``rule``: what is called erosion. ``reference``: a folder of pictures to compare with, in place of ``real/`` or
    generation 0. ``control``: a run whose drift is taken off (the arm that was trained on no generated picture).
    ``extrapolate``: also say when nothing will be left, beyond the generations that there are.
    ``flat_drop``: also say where public trackers' flat rule falls, the first value below (1 - drop) x generation 0.
    ``repeat``: how many pictures of the reference are read again after changes that should cost nothing; 0 for none.
    ``workers``: processes that read; 0 for this one, which leaves a script without ``if __name__ == "__main__"`` alone.
    ``cluster``: the address of a dask scheduler that reads in their place, or ``local``.
    ``features_root``: the folder that holds the weights of FID, CLIP and their like; None for ``~/.cache/decay``.
    """

    embedder_pack: str | None = None
    embedder_root: Path | None = None
    n_resamples: int = 2000
    seed: int = 0
    rule: Rule = field(default_factory=Rule)
    reference: Path | None = None
    control: Path | None = None
    flat_drop: float | None = None
    extrapolate: bool = False
    repeat: int = 0
    workers: int = 0
    cluster: str | None = None
    features_root: Path | None = None
