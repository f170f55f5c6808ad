"""Who describes faces, by name, and where a pack's files belong; loads nothing."""

from __future__ import annotations

from pathlib import Path

DEFAULT_ROOT = Path("~/.insightface")
"""Where insightface keeps its packs: ``<root>/models/<pack>/*.onnx``."""

DESCRIPTOR_NAME = "descriptor (landmarks + HOG, not identity)"


def embedder_name(pack: str | None) -> str:
    """What ``detectors.embedder.open_embedder`` would call itself, without opening it."""
    return DESCRIPTOR_NAME if pack is None else pack


def pack_folder(pack: str, root: Path | None) -> Path:
    """Where the pack's files belong."""
    return (root or DEFAULT_ROOT).expanduser() / "models" / pack
