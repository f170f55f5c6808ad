"""Where everything of a run lies, and its pictures as sequences that are read as they are used."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from decay.images import read_image
from decay.loop.protocol import Controls
from decay.loop.regimes import FRESH, REAL, Item
from detectors.trait import Pixels

MAX_KEPT_BYTES = 2**30
NO_CONTROLS = Controls()


@dataclass(frozen=True)
class RunFolder:
    """The places in a run folder. ``first``: its first generation; earlier ones lie in ``parent``. ``controls``: of
    its protocol: what they say was done to its pictures was done, or something is missing."""

    root: Path
    first: int = 0
    parent: RunFolder | None = None
    controls: Controls = NO_CONTROLS

    @property
    def settings(self) -> Path:
        """Every setting of the run, written before anything else."""
        return self.root / "lineage.json"

    @property
    def real(self) -> Path:
        """The real pictures of the slots, made ready."""
        return self.root / "real"

    def generation(self, generation: int) -> Path:
        """The pictures of a generation, whichever run made them."""
        return self.owner(generation).root / f"gen_{generation:02d}"

    def held_out(self, generation: int) -> Path:
        """The pictures of the held-out prompts."""
        return self.owner(generation).root / "held_out" / f"gen_{generation:02d}"

    def replaced(self, generation: int) -> Path:
        """Pictures in place of those of a generation that the quality control refused."""
        return self.owner(generation).root / "replaced" / f"gen_{generation:02d}"

    def matched(self, generation: int) -> Path:
        """The pictures of a generation as the colour control changed them."""
        return self.owner(generation).root / "matched" / f"gen_{generation:02d}"

    def weights(self, generation: int) -> Path:
        """The weights that made a generation."""
        return self.owner(generation).root / "weights" / f"fit_{generation:02d}"

    def fresh(self, generation: int) -> Path:
        """The pictures of the reserve that the fit before a generation was made on, made ready."""
        return self.owner(generation).root / "fresh" / f"fit_{generation:02d}"

    def fresh_folders(self) -> list[Path]:
        """Those of fits that this run has made ready for, and of the fits in its parents that led to it; in order."""
        own = [place for place in (self.root / "fresh").glob("fit_*") if number_of(place) >= self.first]
        before = self.parent.fresh_folders() if self.parent is not None else []
        return [*(place for place in before if number_of(place) < self.first), *sorted(own, key=number_of)]

    def work(self, name: str) -> Path:
        """Where something unfinished is kept; hidden, so that nobody takes it for a result."""
        return self.root / ".work" / name

    def training_picture(self, item: Item, generation: int) -> Path:
        """The file of one picture of what the fit before ``generation`` is made on."""
        if item.generation == REAL:
            return self.real / picture_name(item.slot)
        if item.generation == FRESH:
            return self.fresh(generation) / fresh_name(item)
        if self.owner(item.generation).controls.colour:
            return self.matched(item.generation) / picture_name(item.slot)
        return self.unmatched(item.generation, item.slot)

    def unmatched(self, generation: int, slot: int) -> Path:
        """A slot's picture before colours are matched: the one that was made, or its replacement."""
        replaced = self.replaced(generation) / picture_name(slot)
        is_replaced = self.owner(generation).controls.quality and replaced.exists()
        return replaced if is_replaced else self.generation(generation) / picture_name(slot)

    def owner(self, generation: int) -> RunFolder:
        """The run that made a generation."""
        return self if self.parent is None or generation >= self.first else self.parent.owner(generation)


def number_of(place: Path) -> int:
    """Of a folder such as ``fit_03``; -1 where there is none."""
    digits = place.name.rpartition("_")[2]
    return int(digits) if digits.isdecimal() else -1


def picture_name(slot: int) -> str:
    """The file name of a slot, the same in every generation."""
    return f"slot_{slot:04d}.png"


def fresh_name(item: Item) -> str:
    """The file name of a picture of the reserve. Its group may be any text: it enters as a part of its hash."""
    return f"fresh_{hashlib.sha256(item.group.encode('utf-8')).hexdigest()[:12]}_{item.slot:06d}.png"


class PictureFiles(Sequence[Pixels]):
    """Image files as a sequence of pictures, sRGB uint8 (h, w, 3), read when asked for.

    What fits into ``MAX_KEPT_BYTES`` altogether is read once and kept. Raises ImageProblem for a file that cannot
    be read.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        self._kept: dict[Path, Pixels] = {}
        self._n_kept_bytes = 0

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Pixels: ...
    @overload
    def __getitem__(self, index: slice) -> PictureFiles: ...
    def __getitem__(self, index: int | slice) -> Pixels | PictureFiles:
        if isinstance(index, slice):
            return PictureFiles(self.paths[index])
        path = self.paths[index]
        if path not in self._kept:
            pixels = read_image(path, within=path.parent)
            if self._n_kept_bytes + pixels.nbytes > MAX_KEPT_BYTES:
                return pixels
            self._kept[path] = pixels
            self._n_kept_bytes += pixels.nbytes
        return self._kept[path]
