"""Arms side by side, in words and as a figure: small multiples, one line per arm, named at its end."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reports.words import NOTHING, clean, generation, interval, percent, shorten

MAX_TRAITS = 18
"""Traits drawn and listed; all of them are in the table."""
_NAME, _ARM = 32, 16
_QUIET = ("neither_eroded", "not_measured")


def comparison_text(table: pd.DataFrame, record: Mapping[str, Any]) -> str:
    """Plain text: a sentence for each family and arm, then a table of the traits that eroded anywhere.

    ``table``, ``record``: of a comparison (compare.csv and compare.json).
    """
    baseline = clean(record["baseline"])
    first, last = record["generations"][0], record["generations"][-1]
    lines = [
        f"Compared with {baseline}, generations {generation(first)} to {generation(last)}, "
        f"at least {record['n_slots']} slots; {percent(record['confidence'])} intervals, all at once.",
        "",
    ]
    lines += family_sentences(record)
    rows = [_HEADER, *(_cells(row) for name in traits_of_interest(table)[:MAX_TRAITS] for row in _rows_of(table, name))]
    if len(rows) > 1:
        fits = [max(len(row[i]) for row in rows) for i in range(len(_HEADER))]
        lines += ["", *("  ".join(c.ljust(w) for c, w in zip(row, fits, strict=True)).rstrip() for row in rows)]
        lines += ["", "Lost: of retention, in the last generation. Less lost: than in the baseline."]
    lines += [clean(note) for note in record.get("notes", ())]
    return "\n".join(lines)


def family_sentences(record: Mapping[str, Any]) -> list[str]:
    """``Eyes: delayed by 2 generations (1 to 4) in mix_25, 96 % sure.`` for each family and arm."""
    said = record["sentences"]
    return [f"{clean(one['family']).capitalize()}: {clean(one['sentence'])}." for one in said] or [
        "Nothing to compare."
    ]


def traits_of_interest(table: pd.DataFrame) -> list[str]:
    """The traits that eroded in any arm or differ between arms, the earliest first."""
    traits = table[table["kind"] == "trait"]
    told = (traits["state"] == "eroded") | traits["finding"].isin(["stopped", "delayed", "hastened"])
    onset = traits.assign(onset=traits["onset_generation"].fillna(np.inf)).groupby("name", sort=False)["onset"].min()
    names = list(dict.fromkeys(traits.loc[told, "name"]))
    return sorted(names, key=lambda name: (float(onset[name]), name))


_HEADER = ("trait", "arm", "onset", "lost", "kept more", "later by", "P(later)")


def _rows_of(table: pd.DataFrame, name: str) -> list[Mapping[str, Any]]:
    own = table[(table["kind"] == "trait") & (table["name"] == name)]
    return [dict(row) for _, row in own.sort_values("is_baseline", ascending=False, kind="stable").iterrows()]


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    name = shorten(clean(row["label"]).capitalize(), _NAME) if row["is_baseline"] else ""
    own = (name, shorten(clean(row["arm"]), _ARM), _onset(row), _loss(row))
    return (*own, "", "", "") if row["is_baseline"] else (*own, _less(row), _later(row), _share(row["p_later"]))


def _onset(row: Mapping[str, Any]) -> str:
    if row["state"] != "eroded":
        return str(row["state"]).replace("_", " ")
    span = interval(row["onset_low"], row["onset_high"])
    return generation(row["onset_generation"]) + (f" ({span})" if span else "")


def _loss(row: Mapping[str, Any]) -> str:
    """At most all: how much farther a trait has drifted says nothing of use."""
    loss, low, high = (percent(_within_all(row[name])) for name in ("loss", "loss_low", "loss_high"))
    return f"{loss} ({low} to {high})"


def _less(row: Mapping[str, Any]) -> str:
    more, low, high = (percent(_within_all(row[f"difference{end}"])) for end in ("", "_low", "_high"))
    return f"{more} ({low} to {high})"


def _within_all(share: float) -> float:
    """Kept within -1 and 1: a trait that has drifted farther than all is no more than gone."""
    return max(-1.0, min(share, 1.0))


def _later(row: Mapping[str, Any]) -> str:
    if row["finding"] in _QUIET or math.isnan(row["delay_generations"]):
        return NOTHING
    return f"{_number(row['delay_generations'])} ({_number(row['delay_low'])} to {_number(row['delay_high'])})"


def _number(value: float) -> str:
    """A number of generations; what was never reached is as long as can be."""
    if math.isinf(value):
        return "\N{INFINITY}" if value > 0 else "\N{MINUS SIGN}\N{INFINITY}"
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def _share(share: float) -> str:
    """A share of draws in per cent: 100 % is more than any number of draws can show."""
    return f">{percent(0.99)}" if share >= 1 else percent(math.floor(share * 100 + 1e-9) / 100)


# --------------------------------------------------------------------------- the figure


def write_comparison_chart(courses: pd.DataFrame, table: pd.DataFrame, record: Mapping[str, Any], stem: Path) -> None:
    """Write the figure as ``<stem>.svg`` and ``<stem>.png``. Raises OSError.

    ``courses``: one row per kind (family, trait), name, arm and generation with retention and its interval.
    """
    from reports.panels import Line, Panel, write_panels  # noqa: PLC0415  text alone needs no Matplotlib

    def line(rows: pd.DataFrame, told: pd.DataFrame, arm: str) -> Line:
        own, onset = rows[rows["arm"] == arm], told.loc[told["arm"] == arm, "onset_generation"]
        columns = ("generation", "retention", "retention_low", "retention_high")
        generations, kept, low, high = (own[name].to_numpy(dtype=np.float64) for name in columns)
        return Line(arm, generations, kept, low, high, float(onset.iloc[0]) if len(onset) else math.nan)

    arms = [record["baseline"], *(arm for arm in record["arms"] if arm != record["baseline"])]
    traits = traits_of_interest(table)
    shown = [("family", name) for name in dict.fromkeys(courses.loc[courses["kind"] == "family", "name"])]
    shown += [("trait", name) for name in traits[:MAX_TRAITS]]
    panels = []
    for kind, name in shown:
        rows, told = (frame[(frame["kind"] == kind) & (frame["name"] == name)] for frame in (courses, table))
        title = clean(rows["label"].iloc[0]).capitalize()
        title = f"{title}: most eroded trait" if kind == "family" else title
        panels.append(Panel(title, [line(rows, told, arm) for arm in arms], is_summary=kind == "family"))
    left_out = len(traits) - MAX_TRAITS
    note = f"{left_out} more traits that eroded are in the table. " if left_out > 0 else ""
    note += (
        f"Retention over generation. Bands: {percent(record['confidence'])} intervals, all at once. "
        f"Dashed rule: {percent(record['margin'])} lost. Diamond: onset."
    )
    heading = "\n".join(line for text in family_sentences(record) for line in textwrap.wrap(text, 118)[:2])
    write_panels(panels, heading, note, 1.0 - record["margin"], stem)
