"""One trait over the generations: the tables' rows of one trait, checked and typed for those who draw them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.words import NOTHING, clean, count, generation, interval, number, percent

Floats = NDArray[np.float64]
GROUPS = ("eyes", "hands", "face", "light", "image")
"""The order in which groups are shown; any other group follows by name."""


NEED_WEIGHTS = {
    **dict.fromkeys(
        ("image_fid", "image_kid", "image_precision", "image_recall", "image_density", "image_coverage", "image_sifid"),
        "inception",
    ),
    "image_clip_score": "clip",
    "image_fd_dinov2": "dinov2",
}
"""Traits that cannot be told without a network that sees whole pictures, and which."""
NEED_IDENTITY = ("face_distinct_share",)
"""Traits that the weights-free descriptor, which cannot tell people apart, never gives a value."""
_DRIFTED = 0.75
"""An arrow is shown once a quarter of a reference spread is lost: less may be chance."""


@dataclass(frozen=True)
class Course:
    """One trait's course. Arrays are float64 (n_generations,), ascending by generation; NaN where not measured.

    ``reference`` is the value at retention 1, ``floor`` the value at retention 0 (NaN for location
    traits, which have none). ``rank``: the trait's place in the verdict's order, NaN where it
    did not erode. ``onset`` and its interval are generations, NaN where no onset was found.
    ``margin``: the loss of retention beyond which a trait counts as eroded.
    ``embedder``: who made the face embeddings that the trait rests on, empty for other traits.
    """

    trait: str
    label: str
    unit: str
    direction: str
    group: str
    kind: str
    source: str
    limits: str
    embedder: str
    family: str
    verdict: str
    floor: float
    reference: float
    generations: Floats
    value: Floats
    ci_low: Floats
    ci_high: Floats
    retention: Floats
    retention_low: Floats
    retention_high: Floats
    n_expected: Floats
    n_measured: Floats
    frac_measured: Floats
    rank: float
    onset: float
    onset_low: float
    onset_high: float
    half_life: float
    p_first: float
    smallest_detectable: float
    margin: float

    @property
    def is_measured(self) -> bool:
        """Whether any generation has a value."""
        return bool(np.isfinite(self.value).any())

    @property
    def last_retention(self) -> float:
        """Retention in the last generation that has one; NaN where none has."""
        known = self.retention[np.isfinite(self.retention)]
        return float(known[-1]) if known.size else math.nan

    @property
    def drift(self) -> str:
        """An arrow for a trait that can only drift and has: where its value went from the reference; else nothing."""
        known = self.value[np.isfinite(self.value)]
        if self.kind != "location" or not known.size or not self.last_retention < _DRIFTED:
            return ""
        return " \N{UPWARDS ARROW}" if known[-1] > self.reference else " \N{DOWNWARDS ARROW}"

    @property
    def missing(self) -> Floats:
        """The generations without a value."""
        return self.generations[~np.isfinite(self.value)]

    @property
    def title(self) -> str:
        """The label with a capital, or the name where there is no label."""
        return self.label[:1].upper() + self.label[1:] or self.trait


def course(rows: pd.DataFrame, erosion_row: Mapping[str, Any] | pd.Series | None) -> Course:
    """The course of one trait from its rows of the traits table and its row of the erosion table.

    Raises ValueError unless ``rows`` holds exactly one trait with one row per generation.
    """
    names = sorted({str(name) for name in rows["trait"]})
    if len(names) != 1:
        raise ValueError(f"a course needs the rows of one trait, got {names}")
    if rows["generation"].duplicated().any():
        raise ValueError(f"{names[0]}: a course needs one row per generation, got several for one")
    if not rows["generation"].is_monotonic_increasing:
        rows = rows.sort_values("generation")
    eroded: Mapping[str, Any] = {} if erosion_row is None else dict(erosion_row)
    first = rows.iloc[0]
    floor = math.nan if clean(first["kind"]) == "location" else _float(first["floor"])

    def word(name: str) -> str:
        return clean(first[name])

    def floats(name: str) -> Floats:
        return np.asarray(pd.to_numeric(rows[name]), dtype=np.float64)

    return Course(
        trait=clean(names[0]),
        label=word("label"),
        unit=word("unit"),
        direction=word("direction"),
        group=word("group"),
        kind=word("kind"),
        source=word("source"),
        limits=word("limits"),
        embedder=word("embedder") if "embedder" in rows else "",
        family=clean(eroded.get("family")),
        verdict=clean(eroded.get("verdict")),
        floor=floor,
        reference=_reference(rows, floats("value"), floats("retention"), floor),
        generations=floats("generation"),
        value=floats("value"),
        ci_low=floats("ci_low"),
        ci_high=floats("ci_high"),
        retention=floats("retention"),
        retention_low=floats("retention_low"),
        retention_high=floats("retention_high"),
        n_expected=floats("n_expected"),
        n_measured=floats("n_measured"),
        frac_measured=floats("frac_measured"),
        rank=_float(eroded.get("rank")),
        onset=_float(eroded.get("onset_generation")),
        onset_low=_float(eroded.get("onset_low")),
        onset_high=_float(eroded.get("onset_high")),
        half_life=_float(eroded.get("half_life_generations")),
        p_first=_float(eroded.get("p_first")),
        smallest_detectable=_float(eroded.get("smallest_detectable")),
        margin=_float(eroded.get("margin")),
    )


def courses(traits: pd.DataFrame, erosion: pd.DataFrame) -> list[Course]:
    """Every trait of the table, the earliest onset on top, in the verdict's order; then by what is left, then by name.

    The verdict's order is ``rank`` of the erosion table; where it has none, it is that of the onsets.
    """
    eroded = {str(row["trait"]): row for _, row in erosion.iterrows()}
    found = [course(rows, eroded.get(str(name))) for name, rows in traits.groupby("trait", sort=True)]
    return sorted(
        found, key=lambda c: (_last(c.rank), _last(c.onset), not c.is_measured, _last(c.last_retention), c.trait)
    )


def grouped(found: Sequence[Course]) -> list[tuple[str, list[Course]]]:
    """(group, its courses in the order given), groups in the order of ``GROUPS``; empty groups are left out."""
    names = sorted({c.group for c in found}, key=lambda name: (name not in GROUPS, [*GROUPS, name].index(name), name))
    return [(name, [c for c in found if c.group == name]) for name in names]


# --------------------------------------------------------------------------- in words


def finding(c: Course) -> str:
    """What became of the trait, in one short line."""
    if not c.is_measured:
        return "not measured"
    drifts = c.kind == "location"
    if math.isfinite(c.onset):
        span = interval(c.onset_low, c.onset_high)
        return f"{_beyond(c)} from generation {generation(c.onset)} on" + (f" (interval {span})" if span else "")
    if np.isfinite(c.value).sum() < 2:
        return "one measured generation: no course to judge"
    if c.verdict == "cannot_tell":
        would = f"; a loss of {percent(c.smallest_detectable)} would show"
        return f"cannot tell if {_beyond(c)}" + ("" if drifts else would)
    if c.verdict == "not_rankable":
        return f"too few, or too unlike, to show even a full {'drift' if drifts else 'loss'}"
    return f"held: never {_beyond(c)}"


def _beyond(c: Course) -> str:
    """What it takes to count as eroded."""
    if c.kind == "location":
        return f"more than {number(c.margin)} of a spread away"
    return f"more than {percent(c.margin)} lost"


def gap_reason(c: Course) -> str:
    """Why a trait, or some of its generations, has no value: in counts, the only reason that the tables carry."""
    gaps = ~np.isfinite(c.value)
    if not gaps.any():
        return ""
    n_measured, n_expected = np.nansum(c.n_measured[gaps]), np.nansum(c.n_expected[gaps])
    if n_expected == 0:
        return "no subject of this kind was found or expected"
    if n_measured == 0 and c.trait in NEED_IDENTITY and "not identity" in c.embedder:
        return "it takes an identity model to tell people apart (`decay measure --embedder-pack NAME`); none was given"
    if n_measured == 0 and c.trait in NEED_WEIGHTS:
        network = NEED_WEIGHTS[c.trait]
        return f"it takes the network {network}, or its weights gave nothing (`decay models fetch {network}`)"
    if n_measured == 0:
        return f"none of {count(n_expected)} expected subjects could be measured"
    return f"too few to give a value in {count(gaps.sum())} generations ({count(n_measured)} measured in all)"


def alternative(c: Course, reference_label: str) -> str:
    """The decay chart of this trait for those who cannot see it."""
    first, last = generation(c.generations[0]), generation(c.generations[-1])
    unit = f" ({c.unit})" if c.unit else ""
    parts = [f"{c.title}{unit}, generations {first} to {last}: {finding(c)}."]
    if c.is_measured:
        known = np.flatnonzero(np.isfinite(c.value))
        ends = " and ".join(
            f"{number(c.value[i])} in generation {generation(c.generations[i])}"
            for i in sorted({int(known[0]), int(known[-1])})
        )
        reference = (
            f" Reference ({clean(reference_label)}) {number(c.reference)}." if math.isfinite(c.reference) else ""
        )
        parts.append(f"Value {ends}; retention at the end {kept_text(c.last_retention)}.{reference}")
        if c.missing.size:
            parts.append(f"No value in generation {', '.join(generation(g) for g in c.missing)}.")
    shares = c.frac_measured[np.isfinite(c.frac_measured)]
    if shares.size:
        parts.append(f"Measured share between {percent(shares.min())} and {percent(shares.max())}.")
    return " ".join(parts)


def embedder_text(found: Sequence[Course]) -> str:
    """Who described the faces that any of these traits rest on; nothing where none of them rests on embeddings."""
    names = sorted({c.embedder for c in found} - {""})
    return f"faces described by {', '.join(names)}" if names else ""


def onset_text(c: Course) -> str:
    """``3 (2 to 4)``, or a dash."""
    span = interval(c.onset_low, c.onset_high)
    return generation(c.onset) + (f" ({span})" if span else "") if math.isfinite(c.onset) else NOTHING


def kept_text(retention: float) -> str:
    """A retention in whole per cent; how far below 0 or above 1 it lies says nothing of use, that it does is said."""
    if math.isfinite(retention) and percent(retention) != percent(min(max(retention, 0.0), 1.0)):
        return "below 0 %" if retention < 0 else "above 100 %"
    return percent(retention)


def measured_text(c: Course) -> str:
    """The measured share over the generations: ``98 %``, or ``98 % to 61 %`` from the first to the last."""
    first, last = percent(c.frac_measured[0]), percent(c.frac_measured[-1])
    return first if first == last else f"{first} to {last}"


# --------------------------------------------------------------------------- the numbers' small print


def _reference(rows: pd.DataFrame, value: Floats, retention: Floats, floor: float) -> float:
    """The value at retention 1: the table's column ``reference_value`` if it has one, else found from the rows."""
    if "reference_value" in rows:
        return _float(rows["reference_value"].iloc[0])
    known = np.isfinite(value) & np.isfinite(retention)
    same = np.flatnonzero(known & (np.abs(retention - 1) < 1e-9))
    if same.size:
        return float(value[same[0]])
    usable = np.flatnonzero(known & (np.abs(retention) > 1e-6))
    if not usable.size or not math.isfinite(floor):
        return math.nan
    # retention = (value - floor) / (reference - floor), solved where it is best conditioned
    best = usable[np.argmax(np.abs(retention[usable]))]
    return float(floor + (value[best] - floor) / retention[best])


def _float(value: object) -> float:
    return math.nan if value is None or pd.isna(value) else float(value)  # type: ignore[call-overload, arg-type]


def _last(value: float) -> float:
    return value if math.isfinite(value) else math.inf
