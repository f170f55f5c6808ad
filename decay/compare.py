"""Arms side by side: did an intervention delay or stop the erosion, by how many generations, how sure.

Every arm is compared with one of them, the baseline, in the generations that all arms have. Draws are paired by slot.
Intervals hold for all traits, arms and generations at once; those of families for all families and arms at once.
Subjects go unmeasured because they decay, and not in every arm alike: every claim stands whatever they hold.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

from decay.arms import Arm, arms_to_traits, check_comparable, common_generations, left_aside
from decay.erosion import (
    CONTENDERS,
    FEWEST_SLOTS,
    NEVER,
    Array,
    Bounds,
    Onset,
    Ranking,
    Retention,
    band,
    critical_value,
    family_draws,
    onsets,
    rank,
)
from decay.errors import DecayError
from decay.settings import Rule
from decay.traits import traits_to_retentions

FORMAT_VERSION = 1
"""1: the first. It stands in ``compare.json``."""
FINDINGS = ("stopped", "delayed", "hastened", "no_difference", "neither_eroded", "cannot_tell", "not_measured")
"""What can be said of an arm beside the baseline."""


@dataclass(frozen=True)
class Comparison:
    """``table``: compare.csv, one row per arm and family or trait. ``courses``: one row per line and generation of the
    figure. ``record``: arms, baseline, generations, the rule, and what was found in sentences."""

    table: pd.DataFrame
    courses: pd.DataFrame
    record: Mapping[str, Any]


@dataclass(frozen=True)
class _Course:
    """One trait or family in one arm: as measured, and at the least and the most that it may have kept whatever the
    unmeasured subjects hold (NaN in ``most``: nothing bounds it)."""

    measured: Retention
    least: Retention
    most: Retention


@dataclass(frozen=True)
class _OnsetDraws:
    """When a course fell in each draw, (B,): as measured, and the earliest and the latest that it may have."""

    measured: Array
    earliest: Array
    latest: Array


@dataclass(frozen=True)
class Delay:
    """By how many generations an arm falls later than the baseline: the estimate, its interval, the shares of draws in
    which it falls later and earlier, and the smallest delay that would have been shown. ``inf``: not within the
    generations. All but the estimate hold whatever the unmeasured subjects do: ``low`` and ``p_later`` with those of
    the arm as if they had lost all and those of the baseline as if they had kept all, ``high`` and ``p_earlier`` the
    other way round."""

    value: float
    low: float
    high: float
    p_later: float
    p_earlier: float
    smallest: float


def compare(arms: Sequence[Arm], baseline: str | None = None) -> Comparison:
    """Measured runs against the one named ``baseline`` (None: the first), by its rule, draws and seed.

    Raises DecayError where they cannot be compared.
    """
    if len(arms) < 2:
        raise DecayError("Expected at least two runs to compare; got one. Give the others too.")
    names = [arm.name for arm in arms]
    if baseline is not None and baseline not in names:
        raise DecayError(f"Expected the baseline to be one of {', '.join(names)}; got {baseline}.")
    check_comparable(arms)
    generations = common_generations(arms)
    base = arms[names.index(baseline) if baseline else 0]
    series = arms_to_traits(arms, base.n_resamples, base.seed)
    retentions = {
        arm.name: [_within(r, arm.generations, generations) for r in traits_to_retentions(own)]
        for arm, own in zip(arms, series, strict=True)
    }
    comparison = compare_retentions(retentions, generations, base.name, base.rule)
    extra = {
        "reference": {arm.name: arm.reference for arm in arms},
        "notes": [*_notes(arms, generations), *comparison.record["notes"]],
    }
    return replace(comparison, record=dict(comparison.record) | extra)


def compare_retentions(
    arms: Mapping[str, Sequence[Retention]], generations: Sequence[int], baseline: str, rule: Rule
) -> Comparison:
    """The comparison itself. ``arms``: the same traits of every arm over ``generations``, draws paired."""
    everything = [r for own in arms.values() for r in own if not np.isnan(r.value[r.n_reference :]).all()]
    critical = critical_value(everything, rule.coverage)
    rankings = {name: rank(own, generations, rule, critical) for name, own in arms.items()}
    traits = {name: {r.name: _course_of(r) for r in own} for name, own in arms.items()}
    members = {name: _members(own, _in_question(arms, rankings)) for name, own in traits.items()}
    families = {name: {group: _family(own) for group, own in groups.items()} for name, groups in members.items()}
    trait_rows = _rows("trait", traits, _trait_onsets(rankings), generations, baseline, rule, critical)
    family_rows = _rows("family", families, _family_onsets(arms, rankings), generations, baseline, rule, critical)
    for row in family_rows:
        row["most_eroded"] = _most_eroded(members[row["arm"]][row["name"]])
    table = pd.DataFrame.from_records([*family_rows, *trait_rows])
    lines = [
        line
        for kind, lines_of in (("family", families), ("trait", traits))
        for arm, own in lines_of.items()
        for course in own.values()
        for line in _lines(kind, arm, course.measured, generations, critical)
    ]
    said = table[(table["kind"] == "family") & ~table["is_baseline"]]
    record = {
        "format_version": FORMAT_VERSION,
        "arms": list(arms),
        "baseline": baseline,
        "generations": list(generations),
        "margin": rule.margin,
        "confidence": rule.coverage,
        "n_slots": min((r.n_slots for r in everything), default=0),
        "sentences": [
            {"family": row["name"], "arm": row["arm"], "sentence": row["sentence"]} for _, row in said.iterrows()
        ],
        "notes": [*(_too_few(arms) or _too_few_of_some(everything)), *_left_out(everything, table)],
    }
    return Comparison(table, pd.DataFrame.from_records(lines), record)


# --------------------------------------------------------------------------- families


def _in_question(arms: Mapping[str, Sequence[Retention]], rankings: Mapping[str, Ranking]) -> dict[str, list[str]]:
    """By family, the traits that stand for it in every arm, of those that every arm has.

    The ones that eroded in any arm; where none did, those that may have; where none may have, all. A trait that is
    undecided everywhere is left out where others eroded: its noise would hide every delay of theirs.
    """
    states: dict[str, list[str]] = {}
    groups: dict[str, list[str]] = {r.group: [] for own in arms.values() for r in own}
    for r in next(iter(arms.values())):
        states[r.name] = [ranking.onsets[r.name].state for ranking in rankings.values()]
        if "not_measured" not in states[r.name]:
            groups[r.group].append(r.name)
    chosen = {}
    for group, names in groups.items():
        eroded = [name for name in names if "eroded" in states[name]]
        open_ = [name for name in names if set(states[name]) & set(CONTENDERS)]
        chosen[group] = eroded or open_ or names
    return {group: names for group, names in chosen.items() if names}


def _members(own: Mapping[str, _Course], chosen: Mapping[str, Sequence[str]]) -> dict[str, list[_Course]]:
    return {group: [own[name] for name in names] for group, names in chosen.items()}


def _most_eroded(members: Sequence[_Course]) -> str:
    """The label of the one of which least is left in the last generation that it has; empty where none has any."""
    traits = [course.measured for course in members]
    left = {r.label: float(r.value[~np.isnan(r.value)][-1]) for r in traits if not np.isnan(r.value).all()}
    return min(left, key=lambda label: left[label], default="")


def _family(members: Sequence[_Course]) -> _Course:
    return _Course(*(_of_most_eroded([getattr(c, name) for c in members]) for name in ("measured", "least", "most")))


def _of_most_eroded(members: Sequence[Retention]) -> Retention:
    draws = family_draws(members)
    known = ~np.isnan(draws).all(axis=0)
    value = np.full(draws.shape[1], np.nan)
    value[known] = np.nanmedian(draws[:, known], axis=0)
    return Retention(
        name=members[0].group,
        label=members[0].group,
        group=members[0].group,
        value=value,
        draws=draws,
        measured=np.min([r.measured for r in members], axis=0),
        n_slots=min(r.n_slots for r in members),
        n_units=np.min([r.units for r in members], axis=0),
        n_reference=members[0].n_reference,
    )


@dataclass(frozen=True)
class _Fall:
    """When a trait or a family fell in one arm: as in erosion.csv."""

    state: str
    value: float
    low: float
    high: float


def _trait_onsets(rankings: Mapping[str, Ranking]) -> dict[str, dict[str, _Fall]]:
    return {
        arm: {name: _Fall(o.state, o.value, o.low, o.high) for name, o in ranking.onsets.items()}
        for arm, ranking in rankings.items()
    }


def _family_onsets(
    arms: Mapping[str, Sequence[Retention]], rankings: Mapping[str, Ranking]
) -> dict[str, dict[str, _Fall]]:
    """A family falls with the first of its traits."""
    return {
        arm: {
            group: _earliest([rankings[arm].onsets[r.name] for r in own if r.group == group])
            for group in dict.fromkeys(r.group for r in own)
        }
        for arm, own in arms.items()
    }


def _earliest(members: Sequence[Onset]) -> _Fall:
    measured = [onset for onset in members if onset.state != "not_measured"]
    eroded = [onset for onset in measured if onset.state == "eroded"]
    if eroded:
        return _Fall("eroded", *(min(getattr(onset, name) for onset in eroded) for name in ("value", "low", "high")))
    if not measured:
        return _Fall("not_measured", math.nan, math.nan, math.nan)
    low = min(onset.low for onset in measured)
    state = "held" if all(onset.state == "held" for onset in measured) else "cannot_tell"
    return _Fall(state, math.nan, low, NEVER)


# --------------------------------------------------------------------------- whatever the unmeasured hold


def _course_of(r: Retention) -> _Course:
    """A trait with its bounds, of the estimate and of every draw: see ``bounds_of``.

    A generation of too few slots counts as unmeasured: so few say little of the others.
    """
    worst = r.worst
    low, low_draws = (np.where(r.decided, part, np.minimum(part, 0.0)) for part in (worst.low, worst.low_draws))
    high, high_draws = (
        np.where(r.decided & np.isfinite(part), part, np.nan) for part in (worst.high, worst.high_draws)
    )
    return _Course(r, replace(r, value=low, draws=low_draws), replace(r, value=high, draws=high_draws))


def _onset_draws(course: _Course, generations: Sequence[int], threshold: float) -> _OnsetDraws:
    """The latest is the first generation in which the fall stands whatever the unmeasured hold, and from which what is
    measured stays below, as in ``shown_onset``."""
    measured = onsets(np.where(course.measured.decided, course.measured.draws, np.nan), generations, threshold)
    earliest = np.minimum(onsets(course.least.draws, generations, threshold), measured)
    when = np.asarray(generations, dtype=np.float64)
    shown = (course.most.draws < threshold) & (when >= measured[:, None])
    return _OnsetDraws(measured, earliest, np.where(shown.any(axis=1), when[shown.argmax(axis=1)], NEVER))


# --------------------------------------------------------------------------- beside the baseline


def _rows(
    kind: str,
    arms: Mapping[str, Mapping[str, _Course]],
    falls: Mapping[str, Mapping[str, _Fall]],
    generations: Sequence[int],
    baseline: str,
    rule: Rule,
    critical: float,
) -> list[dict[str, Any]]:
    base = arms[baseline]
    differences = {
        (arm, name): _difference(course.measured, base[name].measured)
        for arm, own in arms.items()
        if arm != baseline
        for name, course in own.items()
    }
    known = [d for d in differences.values() if not np.isnan(d.value).all()]
    apart = critical_value(known, rule.coverage)
    tail = float(ndtr(-apart)) if math.isfinite(apart) else (1.0 - rule.coverage) / 2
    onset_draws = {
        (arm, name): _onset_draws(course, generations, 1.0 - rule.margin)
        for arm, own in arms.items()
        for name, course in own.items()
    }
    rows = []
    for name in base:
        for arm, own in arms.items():
            course, fall = own[name], falls[arm][name]
            row = _own_columns(kind, arm, course.measured, fall, generations, critical)
            row |= {"is_baseline": arm == baseline, "most_eroded": "", "finding": "", "sentence": ""}
            if arm != baseline:
                before = falls[baseline][name]
                drawn = onset_draws[arm, name], onset_draws[baseline, name]
                delay = _delay(fall, before, *drawn, tail, generations[-1] + 1.0)
                row |= _difference_columns(differences[arm, name], course, base[name], apart)
                row |= _delay_columns(delay)
                row["finding"] = _finding(fall, before, delay)
                row["sentence"] = _sentence(row["finding"], arm, baseline, fall, before, delay, generations)
            rows.append(row)
    return rows


def _difference(r: Retention, base: Retention) -> Retention:
    """What is left in an arm less what is left in the baseline, in the last generation."""
    return Retention(
        name=r.name,
        label=r.label,
        group=r.group,
        value=r.value[-1:] - base.value[-1:],
        draws=r.draws[:, -1:] - base.draws[:, -1:],
        measured=np.minimum(r.measured, base.measured)[-1:],
        n_slots=min(r.n_slots, base.n_slots),
        n_reference=0,
        n_units=np.minimum(r.units, base.units)[-1:],
    )


def _mean_difference(r: Retention, base: Retention) -> float:
    """Over the generations that both have, of retention within nothing and all; NaN where they have none."""
    apart = np.clip(r.value, 0.0, 1.0) - np.clip(base.value, 0.0, 1.0)
    known = apart[r.n_reference :][~np.isnan(apart[r.n_reference :])]
    return float(known.mean()) if known.size else math.nan


def _own_columns(
    kind: str, arm: str, r: Retention, fall: _Fall, generations: Sequence[int], critical: float
) -> dict[str, Any]:
    wide = band(r.value, r.reach, critical, r.n_independent)
    return {
        "kind": kind,
        "name": r.name,
        "label": r.label,
        "group": r.group,
        "arm": arm,
        "state": fall.state,
        "onset_generation": fall.value,
        "onset_low": fall.low,
        "onset_high": fall.high,
        "generation": generations[-1],
        "loss": 1.0 - r.value[-1],
        "loss_low": 1.0 - wide.high[-1],
        "loss_high": 1.0 - wide.low[-1],
        "frac_still_measured": r.measured[-1],
    }


def _difference_columns(difference: Retention, course: _Course, base: _Course, critical: float) -> dict[str, Any]:
    """The interval reaches from the least that the arm may have kept less the most that the baseline may have, to the
    reverse; ``inf`` where nothing bounds it."""
    lowest, highest = _difference(course.least, base.most), _difference(course.most, base.least)
    low = band(lowest.value, lowest.reach, critical, lowest.n_independent).low[0]
    high = band(highest.value, highest.reach, critical, highest.n_independent).high[0]
    known = not math.isnan(difference.value[0])
    return {
        "difference": difference.value[0],
        "difference_low": -math.inf if known and math.isnan(low) else low,
        "difference_high": math.inf if known and math.isnan(high) else high,
        "mean_difference": _mean_difference(course.measured, base.measured),
    }


def _delay_columns(delay: Delay) -> dict[str, Any]:
    return {
        "delay_generations": delay.value,
        "delay_low": delay.low,
        "delay_high": delay.high,
        "p_later": delay.p_later,
        "p_earlier": delay.p_earlier,
        "smallest_delay": delay.smallest,
    }


def _delay(fall: _Fall, before: _Fall, arm: _OnsetDraws, base: _OnsetDraws, tail: float, after: float) -> Delay:
    """``arm``, ``base``: onsets, inf for never. ``tail``: share of the draws left out at each end. ``after``: the first
    generation after the run.

    An interval's ends are draws themselves: generations are whole numbers. What never fell within the run fell after it
    at the earliest: that bounds a delay of which no draw saw the end, counted from the generation by which the other
    side must have fallen.
    """
    least, most = _later(arm.earliest, base.latest), _later(arm.latest, base.earliest)
    low, high = _ends(least, tail)[0], _ends(most, tail)[2]
    middle = _ends(_later(arm.measured, base.measured), tail)[1]
    if low == NEVER:
        seen = np.minimum(arm.earliest, after) - np.minimum(base.latest, after)
        low = float(np.fmin(_ends(seen, tail)[0], after - before.high))
    if high == -NEVER:
        seen = np.minimum(arm.latest, after) - np.minimum(base.earliest, after)
        high = float(np.fmax(_ends(seen, tail)[2], fall.high - after))
    value = fall.value - before.value if fall.state == before.state == "eroded" else middle
    reach = middle - low if math.isfinite(middle) else math.nan
    return Delay(
        value=min(max(value, low), high),
        low=low,
        high=high,
        p_later=float((least > 0).mean()),
        p_earlier=float((most < 0).mean()),
        smallest=reach + 1.0 if math.isfinite(reach) else NEVER,
    )


def _later(onset: Array, base: Array) -> Array:
    """By how many generations, (B,). Where neither falls, neither is later."""
    never = np.isinf(onset) & np.isinf(base)
    return np.subtract(onset, base, out=np.zeros_like(onset), where=~never)


def _ends(values: Array, tail: float) -> tuple[float, float, float]:
    """(low, middle, high): order statistics, because quantiles between two draws are undefined at infinity."""
    ordered = np.sort(values)
    last = len(ordered) - 1
    return (
        float(ordered[math.floor(tail * last)]),
        float(ordered[last // 2]),
        float(ordered[math.ceil((1.0 - tail) * last)]),
    )


def _finding(fall: _Fall, before: _Fall, delay: Delay) -> str:
    """One of ``FINDINGS``. A claim needs a shown erosion on one side, and an interval that leaves out no delay."""
    if "not_measured" in (fall.state, before.state):
        return "not_measured"
    if before.state == "eroded" and delay.low > 0:
        return "stopped" if fall.state == "held" else "delayed"
    if fall.state == "eroded" and delay.high < 0:
        return "hastened"
    if "eroded" in (fall.state, before.state):
        return "no_difference"
    return "neither_eroded" if fall.state == before.state == "held" else "cannot_tell"


def _sentence(
    finding: str, arm: str, baseline: str, fall: _Fall, before: _Fall, delay: Delay, generations: Sequence[int]
) -> str:
    n_steps = generations[-1] - generations[0]
    within = f"within {_generations(n_steps)}"
    sure = f"later in {_share(delay.p_later)}, earlier in {_share(delay.p_earlier)} of resamples"
    would = f"a delay of {delay.smallest:.0f}" if delay.smallest <= n_steps else f"none {within}"
    said = {
        "stopped": f"stopped in {arm}: not eroded {within}, in {baseline} from generation {before.value:.0f} on; "
        f"{sure}",
        "delayed": f"delayed by {_span(delay.value, delay.low, delay.high)} in {arm}; {sure}",
        "hastened": f"earlier by {_span(-delay.value, -delay.high, -delay.low)} in {arm}, from generation "
        f"{fall.value:.0f} on; {sure}",
        "no_difference": f"no difference could be shown in {arm} ({would} would have)",
        "neither_eroded": f"eroded neither in {arm} nor in {baseline}",
        "not_measured": f"not measured in both {arm} and {baseline}",
        "cannot_tell": f"cannot tell whether eroded in {arm} or {baseline}",
    }
    return said[finding]


def _generations(n: float) -> str:
    return f"{n:.0f} generation" + ("" if abs(n) == 1 else "s")


def _span(value: float, low: float, high: float) -> str:
    """``2 generations (1 to 4)``; where the end was not seen, only what it is at least."""
    if math.isinf(value):
        return f"at least {_generations(low)}"
    if low == high:
        return _generations(value)
    return f"{_generations(value)} ({low:.0f} {'or more' if math.isinf(high) else f'to {high:.0f}'})"


def _share(share: float) -> str:
    """Rounded down; no number of draws makes anything wholly sure, so that all of them are not 100 %."""
    return f"{math.floor(share * 100 + 1e-9)} %" if share < 1 else "all"


# --------------------------------------------------------------------------- small print


def _lines(kind: str, arm: str, r: Retention, generations: Sequence[int], critical: float) -> Iterable[dict[str, Any]]:
    wide = band(r.value, r.reach, critical, r.n_independent)
    for index, generation in enumerate(generations):
        yield {
            "kind": kind,
            "name": r.name,
            "label": r.label,
            "group": r.group,
            "arm": arm,
            "generation": generation,
            "retention": r.value[index],
            "retention_low": wide.low[index],
            "retention_high": wide.high[index],
        }


def _within(r: Retention, own: Sequence[int], wanted: Sequence[int]) -> Retention:
    """The same retention in some of its generations only."""
    columns: NDArray[np.intp] = np.array([list(own).index(g) for g in wanted], dtype=np.intp)
    return replace(
        r,
        value=r.value[columns],
        draws=r.draws[:, columns],
        measured=r.measured[columns],
        n_reference=r.n_reference if own[0] == wanted[0] else 0,
        if_selected=None if r.if_selected is None else r.if_selected[columns],
        n_units=r.units[columns],
        bounds=None if r.bounds is None else _bounds_within(r.bounds, columns),
    )


def _too_few_of_some(everything: Sequence[Retention]) -> list[str]:
    if min((r.n_slots for r in everything), default=FEWEST_SLOTS) >= FEWEST_SLOTS:
        return []
    return [f"Of traits with fewer than {FEWEST_SLOTS} slots measured nothing is decided."]


def _too_few(arms: Mapping[str, Sequence[Retention]]) -> list[str]:
    """A sentence for each arm in which too few slots were measured to claim anything."""
    n_slots = {arm: max((int(r.units.max()) for r in own), default=0) for arm, own in arms.items()}
    return [
        f"{arm}: only {n} slots were measured; nothing is claimed of it, which takes {FEWEST_SLOTS}."
        for arm, n in n_slots.items()
        if n < FEWEST_SLOTS
    ]


def _left_out(measured: Sequence[Retention], table: pd.DataFrame) -> list[str]:
    """A sentence for each family of which something was measured in some run, and no trait in all of them."""
    compared = set(table.loc[table["kind"] == "family", "name"])
    return [
        f"{group.capitalize()}: not compared, for no trait of this family was measured in every run."
        for group in dict.fromkeys(r.group for r in measured)
        if group not in compared
    ]


def _notes(arms: Sequence[Arm], generations: Sequence[int]) -> list[str]:
    first = arms[0]
    notes = []
    longer = [arm.name for arm in arms if len(arm.generations) > len(generations)]
    if longer:
        notes.append(
            f"Compared in the {len(generations)} generations that all have; {', '.join(longer)} has more."
            if len(longer) == 1
            else f"Compared in the {len(generations)} generations that all have; {', '.join(longer)} have more."
        )
    shared = set.intersection(*(set(arm.tables.images["slot"]) for arm in arms))
    if not shared:
        notes.append("The runs share no slot: they are compared as independent samples, which is less sharp.")
    if any(arm.rule != first.rule for arm in arms):
        notes.append("The runs were measured by different rules; all are judged here by the baseline's.")
    return [*notes, *left_aside(arms)]


def _bounds_within(bounds: Bounds, columns: NDArray[np.intp]) -> Bounds:
    return Bounds(
        bounds.low[columns], bounds.high[columns], bounds.low_draws[:, columns], bounds.high_draws[:, columns]
    )
