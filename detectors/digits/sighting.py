"""What one cue sees of a hand's digits."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

FINGERS = ("thumb", "index", "middle", "ring", "little")
EXTRA = "extra"
PAIRS = tuple(f"{near}-{far}" for near, far in pairwise(FINGERS))


@dataclass(frozen=True)
class Digit:
    """One separate extended digit. ``names``: the finger it is, or the neighbouring fingers that have fused into it,
    from the thumb's side; ``("extra",)`` where it is none of the five. ``tip``: (x, y) in patch pixels."""

    names: tuple[str, ...]
    tip: tuple[float, float]

    def __post_init__(self) -> None:
        if self.names != (EXTRA,) and (not self.names or any(name not in FINGERS for name in self.names)):
            raise ValueError(f"a digit is named after fingers or '{EXTRA}', got {self.names}")


@dataclass(frozen=True)
class Sighting:
    """The digits that one cue sees, thumb first, or the ``state`` that says why it sees none of them for certain.

    A hand without extended digits, a fist, is ``ok`` with no digits.
    """

    state: str
    digits: tuple[Digit, ...] = ()

    @property
    def count(self) -> int:
        """Separate extended digits; those that have fused count once."""
        return len(self.digits)

    @property
    def fused_pairs(self) -> tuple[str, ...]:
        """Names of the pairs of neighbours that have fused, in the order of ``PAIRS``."""
        found = {f"{a}-{b}" for digit in self.digits for a, b in pairwise(digit.names)}
        return tuple(pair for pair in PAIRS if pair in found)
