"""What every step of a run works with, and how a step is done once by several processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decay.files import new_folder
from decay.loop.checkpoint import read_manifest
from decay.loop.controls import SingleImageFid
from decay.loop.engine import Engine, Weights
from decay.loop.folder import PictureFiles, RunFolder
from decay.loop.protocol import Protocol
from decay.loop.real import RealPictures
from decay.loop.record import Record
from decay.loop.regimes import Item

RunProgress = Callable[[str, int, int], None]
"""(what is being made, done, in all)."""


@dataclass
class Shelf:
    """The weights of one generation at a time, kept until those of another are asked for."""

    engine: Engine[Any]
    folder: RunFolder
    generation: int | None = None
    weights: Weights | None = None

    def put(self, generation: int, weights: Weights) -> Weights:
        """Keep the weights of a generation in place of any others."""
        self.generation, self.weights = generation, weights
        return weights

    def take(self, generation: int) -> Weights:
        """The weights of a generation. Raises ModelError if they are damaged."""
        if self.weights is not None and self.generation == generation:
            return self.weights
        self.weights = None  # let go of the others before these come in
        place = self.folder.weights(generation)
        read_manifest(place)
        return self.put(generation, self.engine.load(place))


@dataclass(frozen=True)
class Bench:
    """``record``: None in every process but the first, which does all writing that is done once. ``metric``: of the
    quality control, None without one."""

    protocol: Protocol
    engine: Engine[Any]
    folder: RunFolder
    pictures: RealPictures
    shelf: Shelf
    record: Record | None
    progress: RunProgress
    metric: SingleImageFid | None = None

    def is_there(self, place: Path) -> bool:
        """Whether a step is done; all processes look before any goes on and does it."""
        is_there = place.exists()
        self.engine.processes.wait()
        return is_there

    def once(self, place: Path, fill: Callable[[Path], None]) -> None:
        """Make the folder ``place`` in the first process, as a whole or not at all, unless it is there."""
        if not self.is_there(place):
            if self.record is not None:
                with new_folder(place) as staged:
                    fill(staged)
            self.engine.processes.wait()

    def every_slot(self, generation: int) -> list[Item]:
        """One item per slot, in order."""
        return [Item(generation, slot, group) for slot, group in enumerate(self.pictures.groups)]

    def training_pictures(self, items: Sequence[Item], generation: int) -> PictureFiles:
        """The pictures of a training set, as the fit before ``generation`` sees them."""
        return PictureFiles([self.folder.training_picture(item, generation) for item in items])
