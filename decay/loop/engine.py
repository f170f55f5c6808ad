"""What a generator must do to take part in the loop: be fitted on captioned pictures, make pictures for prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np

from detectors.trait import Pixels

Setting = str | int | float | bool | None

Progress = Callable[[int, int], None]
"""(done, in all) of the steps of one fit."""


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


@dataclass(frozen=True)
class Fit:
    """The circumstances of one fit.

    ``seed``: of everything random in it (order, noise, flips). ``scratch``: a folder of this fit alone, which outlives
    a kill: an engine that works long keeps its half-way states there (``decay.loop.checkpoint``), and goes on from
    the last one when called again with the same arguments, to the very same weights. ``progress``: told the steps.
    """

    seed: int
    scratch: Path
    progress: Progress = lambda done, total: None


class Processes(Protocol):
    """The processes that run one loop together; each runs the same code."""

    @property
    def index(self) -> int:
        """Which this one is, 0 to ``count`` - 1; 0 does all writing that is done once."""
        ...

    @property
    def count(self) -> int:
        """How many there are."""
        ...

    def wait(self) -> None:
        """Return when all have come here."""
        ...


@dataclass(frozen=True)
class Alone:
    """One process."""

    index: int = 0
    count: int = 1

    def wait(self) -> None:
        """Nobody to wait for."""


class Engine(Protocol[W]):
    """A generator. Its choices are fixed when it is made; it keeps no state between calls."""

    @property
    def name(self) -> str:
        """The word that stands for this generator in settings and metadata."""
        ...

    @property
    def chains(self) -> bool:
        """Whether a fit can go on from earlier weights; False where it is a closed form."""
        ...

    @property
    def has_base(self) -> bool:
        """Whether there are weights that it starts from; else the first fit is on real pictures, from nothing."""
        ...

    @property
    def reads_text(self) -> bool:
        """Whether it makes pictures for prompts that it was not fitted on."""
        ...

    @property
    def needs_pictures(self) -> bool:
        """Whether every picture must start from another: ``sample`` without ``images`` is refused."""
        ...

    @property
    def processes(self) -> Processes:
        """The processes that this engine works in."""
        ...

    def settings(self) -> Mapping[str, Setting]:
        """Every choice that decides its output, for the record."""
        ...

    def check(self) -> None:
        """Raises ModelError if weights that it needs are absent: exactly which, and how to get them."""
        ...

    def fit_steps(self, n_images: int, *, first: bool = False) -> int:
        """Steps that one fit on so many pictures takes; ``first``: one that starts from nothing."""
        ...

    def base(self) -> W | None:
        """The weights that it starts from; None if it has no base. Raises ModelError as ``check`` does."""
        ...

    def fit(self, dataset: Dataset, start: W | None, circumstances: Fit) -> W:
        """Weights fitted on ``dataset``, going on from ``start``, or from nothing if it is None.

        ``start`` itself is not changed. Raises DecayError if it cannot be fitted.
        """
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


@runtime_checkable
class Masking(Protocol):
    """An engine that may find nothing to do in a picture: it is neither fitted on it nor paints into it."""

    def mask_states(self, images: Sequence[Pixels]) -> tuple[str, ...]:
        """``ok`` for each picture that it works on; else, in a word, why it does not."""
        ...


def derive_seed(run_seed: int, generation: int, slot: int) -> int:
    """A seed of its own for every picture, 0 <= seed < 2**53; equal arguments, equal seed, on any machine.

    Seeds that differ by a little would do for NumPy, but are correlated in other generators. 53 bits: readers of
    JSON that hold every number as a double keep them exactly.
    """
    word = np.random.SeedSequence([run_seed, generation, slot]).generate_state(1, np.uint64)[0]
    return int(word) >> 11
