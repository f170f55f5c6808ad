"""What a generator must do to take part in the loop: be fitted on captioned pictures, make pictures for prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from detectors.trait import Pixels

Setting = str | int | float | bool | None


@dataclass(frozen=True)
class Dataset:
    """Pictures to be fitted, each with the caption it answers to.

    ``images``: n pictures, sRGB uint8 (h, w, 3), all of one size; any sequence, so that a folder may be read
    as it is used. ``captions``: n texts. Raises ValueError if the two differ in length or are empty.
    """

    images: Sequence[Pixels]
    captions: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.images) != len(self.captions) or not self.captions:
            raise ValueError(f"one caption per image, got {len(self.images)} images, {len(self.captions)} captions")

    def __len__(self) -> int:
        return len(self.captions)


class Weights(Protocol):
    """What a fit leaves behind: everything that sampling needs besides the engine's settings."""

    def save(self, folder: Path) -> None:
        """Write the weights into an existing folder, without pickle. Raises OutputError."""
        ...


W = TypeVar("W", bound=Weights)


class Engine(Protocol[W]):
    """A generator. Its choices are fixed when it is made; it keeps no state between calls."""

    @property
    def name(self) -> str:
        """The word that stands for this generator in settings and metadata."""
        ...

    def settings(self) -> Mapping[str, Setting]:
        """Every choice that decides its output, for the record."""
        ...

    def fit(self, dataset: Dataset) -> W:
        """Weights fitted on ``dataset`` and nothing else. Raises DecayError if it cannot be fitted."""
        ...

    def sample(
        self, weights: W, prompts: Sequence[str], seeds: Sequence[int], images: Sequence[Pixels] | None
    ) -> Iterator[Pixels]:
        """One picture, sRGB uint8 (h, w, 3), per prompt, in order.

        ``seeds``: one per picture; a picture depends on its own prompt, seed and start alone, not on what else
        is asked for. ``images``: pictures to start from (image-to-image), or None to start from noise alone.
        Raises DecayError for a prompt that it cannot answer.
        """
        ...

    def load(self, folder: Path) -> W:
        """The weights that ``save`` wrote into ``folder``. Raises ModelError if they are missing or damaged."""
        ...
