"""An instrument that shows how an image model forgets."""

from __future__ import annotations

from decay.privacy import seal

seal()

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from decay.notebook import MeasuredRun


def load(run: str | Path) -> MeasuredRun:
    """A measured run for notebooks and scripts: ``.traits``, ``.erosion``, ``.verdict``, ``.plot("face_vendi")``.

    Raises DecayError where it was not measured, or its files are damaged.
    """
    from decay.notebook import load as load_run  # noqa: PLC0415  `import decay` stays light

    return load_run(run)
