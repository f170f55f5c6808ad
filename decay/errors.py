"""What the program says when the input or the machine is at fault.

Every message says what was wanted, what came, and what to do about it, in plain sentences. The command
line prints it and exits with 1; anything that is not a ``DecayError`` is a fault of ours.
"""

from __future__ import annotations


class DecayError(Exception):
    """The input or the machine is at fault. The message is complete: print it, add nothing."""


class LineageError(DecayError):
    """The run folder, or a metadata file in it, is not what was expected."""


class OutputError(DecayError):
    """A result could not be written: disk full, read-only, no permission. What was there before is untouched."""


class ModelError(DecayError):
    """A model file is missing, damaged or not the one that was asked for."""


class FileProblem(DecayError):  # noqa: N818  a finding about the input, kept in tables, not a failure
    """One input file cannot be read. ``state``: the reason in one word, for tables."""

    def __init__(self, state: str, message: str) -> None:
        super().__init__(message)
        self.state = state

    def __reduce__(self) -> tuple[type[FileProblem], tuple[str, str]]:
        # The default rebuilds from `args` alone and would fail when a worker process hands the problem back.
        return type(self), (self.state, str(self))


class ImageProblem(FileProblem):
    """One image cannot be read: it becomes a row with this ``state`` (a word of ``decay.images.STATES``)."""


def shown(value: object, limit: int = 60) -> str:
    """What was found, short enough for a message; ``repr`` spells out what cannot be printed."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
