"""What a worker is told: which image to read, and with what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """One image to read. ``path`` may not lead out of ``root``; ``name`` is for messages; ``change``: one of
    ``CHANGES``, done to the pixels first."""

    path: Path
    root: Path
    name: str
    change: str = ""


@dataclass(frozen=True)
class ReaderSpec:
    """Enough to make the same reader in another process. ``version``: what ``reader_version`` must give there."""

    pack: str | None = None
    root: Path | None = None
    version: str = ""
