"""A control arm: what drifts there, by flips, compression or the way from real to generated, is not decay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from decay.erosion import Array, Bounds, bounds_of
from decay.traits import TraitSeries


def less_control(
    series: Sequence[TraitSeries],
    generations: Sequence[int],
    control: Sequence[TraitSeries],
    control_generations: Sequence[int],
    name: str,
) -> tuple[TraitSeries, ...]:
    """The series with the control's drift taken off: retention + (1 - the control's), draw by draw.

    What goes unmeasured in either may hide a drift of either: the bounds of both are combined. Traits that drift have
    no sign: what is left between the two is told where they drift alike, and bounded by where they drift apart (the
    triangle inequality). Draws of both must be of the same slots (see ``arms_to_traits``). A generation that the
    control lacks has no retention; a reference that is the first generation itself keeps its 1. ``name``: of the
    control.
    """
    by_name = {other.trait.name: other for other in control}
    at = {generation: index for index, generation in enumerate(control_generations)}
    columns = np.array([at.get(generation, -1) for generation in generations], dtype=np.intp)
    return tuple(_less(one, by_name[one.trait.name], columns, name) for one in series)


def _less(one: TraitSeries, control: TraitSeries, columns: NDArray[np.intp], name: str) -> TraitSeries:
    drifts = one.trait.kind == "location"
    own, other = _bounds(one), _bounds(control)
    less = (_taken(part, columns) for part in (other.low, other.high, other.low_draws, other.high_draws))
    low, high, low_draws, high_draws = less
    if drifts:
        bounds = Bounds(
            own.low + low - 1.0,
            _nearest(own.low, own.high, low, high),
            own.low_draws + low_draws - 1.0,
            _nearest(own.low_draws, own.high_draws, low_draws, high_draws),
        )
    else:
        bounds = Bounds(
            own.low - high + 1.0,
            own.high - low + 1.0,
            own.low_draws - high_draws + 1.0,
            own.high_draws - low_draws + 1.0,
        )
    apart = one.retention - _taken(control.retention, columns)
    draws = one.retention_draws - _taken(control.retention_draws, columns)
    retention, draws = (1.0 - np.abs(off) if drifts else 1.0 + off for off in (apart, draws))
    n_units = np.where(columns >= 0, np.minimum(one.n_units, control.n_units[columns]), 0)
    if one.is_reference:
        retention[0], draws[:, 0] = one.retention[0], one.retention_draws[:, 0]
    return replace(
        one,
        retention=retention,
        retention_draws=draws,
        bounds=bounds,
        n_slots=min(one.n_slots, control.n_slots),
        n_units=n_units,
        noise_floor=float(np.hypot(one.noise_floor, control.noise_floor)),
        control=name,
    )


def _bounds(one: TraitSeries) -> Bounds:
    falls = one.trait.kind == "level"
    return bounds_of(one.retention, one.retention_draws, one.measured, one.most_kept, one.if_selected, falls)


def _nearest(low: Array, high: Array, other_low: Array, other_high: Array) -> Array:
    """The most that is left where a retention of ``low`` to ``high`` and another come nearest to each other."""
    return np.asarray(1.0 - np.maximum(np.maximum(other_low - high, low - other_high), 0.0))


def _taken(values: Array, columns: NDArray[np.intp]) -> Array:
    """The columns of the last axis; NaN for column -1, which stands for none."""
    return np.where(columns >= 0, values[..., columns], np.nan)
