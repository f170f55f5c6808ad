"""Writes a file whole or not at all."""

from __future__ import annotations

from pathlib import Path


def write_whole(path: Path, content: bytes) -> Path:
    """Write ``content`` beside ``path``, then rename: a reader sees the old file or the new one, never half of one."""
    aside = path.with_name(path.name + ".part")
    try:
        aside.write_bytes(content)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return path
