"""What a worker is told: which image to read, and with what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """One image to read. ``path`` may not lead out of ``root``; ``name`` is for messages.

    ``change``: one of ``CHANGES``, done to the pixels first. ``prompt``: what it was made from, where whoever reads it
    reads that too. ``sha256``: of the file as the driver saw it, "" where it did not look.
    """

    path: Path
    root: Path
    name: str
    change: str = ""
    prompt: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class ReaderSpec:
    """Enough to make the same reader in another process. ``version``: what ``reader_version`` must give there."""

    pack: str | None = None
    root: Path | None = None
    version: str = ""


@dataclass(frozen=True)
class FeatureSpec:
    """Enough to open the same network (``decay.features``) in another process. ``root``: what its weights lie below.
    ``version``: what ``network_version`` must give there."""

    network: str
    root: Path | None = None
    version: str = ""


Spec = ReaderSpec | FeatureSpec
"""With what images are read: the detectors, or one network that makes a vector of the whole picture."""
