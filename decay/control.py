"""A control arm: what drifts there, by flips, compression or the way from real to generated, is not decay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from decay.erosion import Array
from decay.traits import TraitSeries


def less_control(
    series: Sequence[TraitSeries],
    generations: Sequence[int],
    control: Sequence[TraitSeries],
    control_generations: Sequence[int],
    name: str,
) -> tuple[TraitSeries, ...]:
    """The series with the control's drift taken off: retention + (1 - the control's), draw by draw.

    Draws of both must be of the same slots (see ``arms_to_traits``). A generation that the control lacks has no
    retention; a reference that is the first generation itself keeps its 1. ``name``: of the control.
    """
    by_name = {other.trait.name: other for other in control}
    at = {generation: index for index, generation in enumerate(control_generations)}
    columns = np.array([at.get(generation, -1) for generation in generations], dtype=np.intp)
    return tuple(_less(one, by_name[one.trait.name], columns, name) for one in series)


def _less(one: TraitSeries, control: TraitSeries, columns: NDArray[np.intp], name: str) -> TraitSeries:
    retention = one.retention + 1.0 - _taken(control.retention, columns)
    draws = one.retention_draws + 1.0 - _taken(control.retention_draws, columns)
    if one.is_reference:
        retention[0], draws[:, 0] = one.retention[0], one.retention_draws[:, 0]
    noise_floor = float(np.hypot(one.noise_floor, control.noise_floor))
    return replace(one, retention=retention, retention_draws=draws, noise_floor=noise_floor, control=name)


def _taken(values: Array, columns: NDArray[np.intp]) -> Array:
    """The columns of the last axis; NaN for column -1, which stands for none."""
    return np.where(columns >= 0, values[..., columns], np.nan)
