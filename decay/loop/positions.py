"""The pictures that every generation has, before they are made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from decay.loop.folder import picture_name
from decay.metadata import metadata_row


@dataclass(frozen=True)
class Position:
    """One picture that every generation has: a slot, or one of a held-out prompt. ``start``: the file it starts from,
    None for noise."""

    index: int
    prompt: str
    group: str
    seed: int
    expects: frozenset[str] | None = None
    start: Path | None = None

    @property
    def file_name(self) -> str:
        """Of its picture in every generation."""
        return picture_name(self.index)

    def metadata_row(self, source: str) -> dict[str, object]:
        """Its line in metadata.jsonl."""
        return metadata_row(self.file_name, self.prompt, self.index, self.seed, self.group, source, self.expects)
