"""Arms side by side, in words: what was decided first, the rest in one line. The figure: ``reports.panels``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from reports.words import capitalised, clean, generation, interval, percent, shorten

MAX_TRAITS = 18
"""Traits drawn, and listed for each arm; all of them are in the table."""
_NAME = 42
CLAIMS = ("stopped", "delayed", "hastened")
_CLAIMED = {"stopped": "stopped", "delayed": "delayed (generations)", "hastened": "earlier (generations)"}
_QUIET = {
    "no_difference": "no difference shown",
    "cannot_tell": "undecided",
    "neither_eroded": "eroded in neither",
    "not_measured": "not measured in both",
}
"""Findings that claim nothing, in words."""


def comparison_text(table: pd.DataFrame, record: Mapping[str, Any]) -> str:
    """Plain text: for each arm what was decided of families and traits, one line each, and the rest as counts.

    ``table``, ``record``: of a comparison (compare.csv and compare.json).
    """
    first, last = record["generations"][0], record["generations"][-1]
    lines = [
        f"Compared with {clean(record['baseline'])}, generations {generation(first)} to {generation(last)}, "
        f"at least {record['n_slots']} slots; "
        f"{percent(record['confidence'])} intervals, all at once.",
    ]
    for arm in _others(record):
        lines += ["", *_arm_lines(table, arm)]
    if table["finding"].isin(CLAIMS).any():
        kept = f"Kept: of the reference, in generation {generation(last)}."
        lines += ["", f"{kept} P: share of the resamples, whatever the unmeasured hold."]
    return "\n".join([*lines, *(clean(note) for note in record.get("notes", ()))])


def headlines(table: pd.DataFrame, record: Mapping[str, Any]) -> list[str]:
    """``mix_25: delayed (generations): eyes 1 (1 to 2), face 2; undecided: hands.``, one line for each arm."""
    families = table[table["kind"] == "family"]
    return [_headline(families[families["arm"] == arm], arm) for arm in _others(record)] or ["Nothing to compare."]


def traits_of_interest(table: pd.DataFrame) -> list[str]:
    """The traits that eroded in any arm or differ between arms; first those that differ most over the generations."""
    traits = table[table["kind"] == "trait"]
    told = (traits["state"] == "eroded") | traits["finding"].isin(CLAIMS)
    effects = traits["mean_difference"].abs().fillna(0.0).groupby(traits["name"]).max()
    return sorted(set(traits.loc[told, "name"]), key=lambda name: (-effects[name], name))


def _others(record: Mapping[str, Any]) -> list[str]:
    return [arm for arm in record["arms"] if arm != record["baseline"]]


# --------------------------------------------------------------------------- one arm, in words


def _headline(families: pd.DataFrame, arm: str) -> str:
    said = []
    for finding, words in _CLAIMED.items():
        rows = families[families["finding"] == finding]
        sizes = ["" if finding == "stopped" else f" {later_by(row)}" for _, row in rows.iterrows()]
        names = [clean(name) + size for name, size in zip(rows["name"], sizes, strict=True)]
        said += [f"{words}: {', '.join(names)}"] if names else []
    quiet = [f"{word}: {', '.join(names)}" for word, names in _quiet(families).items()]
    return f"{clean(arm)}: {'; '.join([*said, *quiet])}."


def _quiet(rows: pd.DataFrame) -> dict[str, list[str]]:
    """By what is said of them, the names of those of which nothing is claimed."""
    found = {word: [clean(n) for n in rows.loc[rows["finding"] == f, "name"]] for f, word in _QUIET.items()}
    return {word: names for word, names in found.items() if names}


def _arm_lines(table: pd.DataFrame, arm: str) -> list[str]:
    own = table[table["arm"] == arm]
    families, traits = (own[own["kind"] == kind] for kind in ("family", "trait"))
    lines = [f"{clean(arm)}:", *(_family_line(row) for _, row in families[families["finding"].isin(CLAIMS)].iterrows())]
    lines += [f"  {word.capitalize()}: {', '.join(names)}." for word, names in _quiet(families).items()]
    lines.append(f"  Of {len(traits)} traits: {_counts(traits)}.")
    told = set(traits.loc[traits["finding"].isin(CLAIMS), "name"])
    names = [name for name in traits_of_interest(table[(table["arm"] == arm) | table["is_baseline"]]) if name in told]
    rows = [_cells(table[table["name"] == name], arm) for name in names[:MAX_TRAITS]]
    if rows:
        lines += _aligned([_HEADER, *rows])
    return lines + ([f"  {len(names) - MAX_TRAITS} more in compare.csv."] if len(names) > MAX_TRAITS else [])


def _family_line(row: pd.Series) -> str:
    most = clean(row["most_eroded"])
    return f"  {clean(row['name']).capitalize()}: {clean(row['sentence'])}." + (
        f" Most eroded: {most}." if most else ""
    )


def _counts(traits: pd.DataFrame) -> str:
    """``3 delayed, 20 undecided; 5 kept more in the end, 1 less``."""
    words = {**dict.fromkeys(CLAIMS, ""), **_QUIET}
    found = [f"{n} {words[f] or f}" for f in words if (n := int((traits["finding"] == f).sum()))]
    more, less = int((traits["difference_low"] > 0).sum()), int((traits["difference_high"] < 0).sum())
    return ", ".join(found) + f"; {more} kept more in the end, {less} less"


_HEADER = ("trait", "finding", "generations", "onset", "baseline's", "kept", "baseline's", "P(later)", "P(earlier)")


def _cells(rows: pd.DataFrame, arm: str) -> tuple[str, ...]:
    row, base = rows[rows["arm"] == arm].iloc[0], rows[rows["is_baseline"]].iloc[0]
    return (
        shorten(capitalised(clean(row["label"])), _NAME),
        row["finding"],
        later_by(row),
        _onset(row),
        _onset(base),
        percent(_kept(row)),
        percent(_kept(base)),
        _share(row["p_later"]),
        _share(row["p_earlier"]),
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    fits = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(c.ljust(w) for c, w in zip(row, fits, strict=True)).rstrip() for row in rows]


def later_by(row: Mapping[str, Any] | pd.Series) -> str:
    """By how many generations a claim says later (or, of ``hastened``, earlier): ``2 (1 to 4)``, ``at least 3``."""
    ends = (row["delay_generations"], row["delay_low"], row["delay_high"])
    value, low, high = (-ends[0], -ends[2], -ends[1]) if row["finding"] == "hastened" else ends
    if math.isinf(value):
        return f"at least {low:g}"
    return f"{value:g}" + _within(low, high).replace("or later", "or more")


def _within(low: float, high: float) -> str:
    span = interval(low, high)
    return f" ({span})" if span and low != high else ""


def _onset(row: Mapping[str, Any] | pd.Series) -> str:
    if row["state"] != "eroded":
        return "undecided" if row["state"] == "cannot_tell" else str(row["state"]).replace("_", " ")
    return generation(row["onset_generation"]) + _within(row["onset_low"], row["onset_high"])


def _kept(row: Mapping[str, Any] | pd.Series) -> float:
    """Of the reference, within nothing and all: how much farther a trait has drifted says nothing of use."""
    return max(0.0, min(1.0 - row["loss"], 1.0)) if math.isfinite(row["loss"]) else math.nan


def _share(share: float) -> str:
    """A share of draws in per cent: 100 % is more than any number of draws can show."""
    return "all" if share >= 1 else percent(math.floor(share * 100 + 1e-9) / 100)
