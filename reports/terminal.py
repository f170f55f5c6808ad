"""What the terminal says after measuring: the verdict and a short table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from reports.course import Course, Floats, courses, embedder_text, kept_text, measured_text, onset_text
from reports.words import NOTHING, clean, shorten

BLOCKS = "▁▂▃▄▅▆▇█"
NOT_MEASURED = "·"
_N_GENERATIONS = 16
_N_COLUMNS = 95
_STATES = {"cannot_tell": "undecided"}
"""What differs from the table's own word."""


def summary(
    traits: pd.DataFrame,
    erosion: pd.DataFrame,
    verdict: Mapping[str, Any],
    n_traits: int = 15,
) -> str:
    """Plain text of at most 95 columns: the verdict, then ``n_traits`` rows, what eroded first on top.

    Says how many traits are left out and how many could not be measured.
    """
    found = courses(traits, erosion)
    shown = found[:n_traits]
    lines = [clean(verdict.get("sentence")) or "No verdict.", ""]
    if shown:
        lines += _table(shown)
    left_out = len(found) - len(shown)
    unmeasured = sum(not c.is_measured for c in found)
    notes = [f"{left_out} more traits are in the report" if left_out else ""]
    notes += [f"{unmeasured} of {len(found)} traits could not be measured" if unmeasured else ""]
    notes += [embedder_text(found)]
    lines += ["", *(note[0].upper() + note[1:] + "." for note in notes if note)]
    reference = clean(verdict.get("reference")) or "the reference"
    lines += [
        f"Retention: {BLOCKS[-1]} as in {reference}, {BLOCKS[0]} next to nothing left, {NOT_MEASURED} not measured.",
        "An arrow: a trait that drifts, up or down; nothing left is one reference spread away.",
    ]
    if tails := verdict.get("tails"):
        lines.append(f"Tails: {clean(tails.get('sentence'))}")
    if copies := verdict.get("copies"):
        lines.append(f"Copies: {clean(copies)}")
    if flat := verdict.get("flat_rule"):
        lines.append(clean(flat.get("sentence")))
    return "\n".join(lines)


def sparkline(retention: Floats) -> str:
    """One block for each generation: the full block only where nothing is lost, a dot where nothing was measured."""
    return "".join(_block(float(kept)) for kept in retention)


def _block(kept: float) -> str:
    if not math.isfinite(kept):
        return NOT_MEASURED
    if kept >= 1:
        return BLOCKS[-1]
    return BLOCKS[max(0, math.floor(kept * (len(BLOCKS) - 1)))]


def _table(shown: Sequence[Course]) -> list[str]:
    rows = [("trait", "state", "retention", "at the end", "measured")]
    rows += [
        (
            c.title,
            _state(c),
            sparkline(_thinned(c.retention)),
            kept_text(c.last_retention) + c.drift,
            measured_text(c),
        )
        for c in shown
    ]
    fits = [max(map(len, column)) for column in zip(*rows, strict=True)]
    fits[0] = min(fits[0], _N_COLUMNS - sum(fits[1:]) - 2 * len(fits[1:]))
    return [
        "  ".join(shorten(cell, fit).ljust(fit) for cell, fit in zip(row, fits, strict=True)).rstrip() for row in rows
    ]


def _state(c: Course) -> str:
    """``eroded from 3 (2 to 4)``, ``held``, ``undecided``, ``not rankable``, ``not measured``."""
    if math.isfinite(c.onset):
        return f"eroded from {onset_text(c)}"
    return _STATES.get(c.verdict, c.verdict.replace("_", " ")) or NOTHING


def _thinned(retention: Floats) -> Floats:
    """At most ``_N_GENERATIONS`` of the values, evenly spaced, the first and the last among them."""
    if len(retention) <= _N_GENERATIONS:
        return retention
    kept = np.linspace(0, len(retention) - 1, _N_GENERATIONS).round().astype(np.intp)
    return np.asarray(retention[kept], dtype=np.float64)
