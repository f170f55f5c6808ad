"""What a measured run says, read back from ``<run>/measures/``. No model, no image, nothing slow to import."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from decay.errors import DecayError


@dataclass(frozen=True)
class Finding:
    """``traits``: traits.csv; ``erosion``: erosion.csv; ``verdict``: verdict.json; ``run``: run.json; ``tails``:
    tails.csv, None where an older program measured."""

    traits: pd.DataFrame
    erosion: pd.DataFrame
    verdict: Mapping[str, Any]
    run: Mapping[str, Any]
    tails: pd.DataFrame | None = None


def read_finding(run: Path) -> Finding:
    """What was found in a run. Raises DecayError where it was not measured, or its files are damaged."""
    folder = run / "measures"
    if not (folder / "verdict.json").is_file():
        raise DecayError(f"{run}: expected a measured run; {_what_instead(run)}")
    tails = folder / "tails.csv"
    try:
        return Finding(
            traits=_table(folder / "traits.csv", ("trait", "generation", "value", "retention")),
            erosion=_table(folder / "erosion.csv", ("trait", "onset_generation", "verdict")),
            verdict=_record(folder / "verdict.json"),
            run=_record(folder / "run.json"),
            tails=_table(tails, ("kind", "part", "generation", "share")) if tails.is_file() else None,
        )
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors, as are json's and Unicode's
        raise damaged(run, error) from error


def _what_instead(run: Path) -> str:
    if run.is_dir():
        return f"found no measures/verdict.json. Run: decay measure {run}"
    if run.exists():
        return "found a file. Give the folder that holds gen_00/, gen_01/, ..."
    return "there is no such folder. Check the path."


def damaged(run: Path, error: Exception) -> DecayError:
    """The DecayError for files under ``measures/`` that cannot be read back."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DecayError(f"{run}/measures: could not be read ({reason}). Run again: decay measure {run}")


def names_of(runs: Sequence[Path]) -> tuple[str, ...]:
    """A name for each run: its folder's, with as many of its parents' as it takes to tell them apart.

    Raises DecayError where one folder is named twice.
    """
    parts = [run.resolve().parts for run in runs]
    if len(set(parts)) < len(parts):
        raise DecayError("Expected different runs; one folder was given twice. Name each run once.")
    depth = 1
    while len({part[-depth:] for part in parts}) < len(parts):
        depth += 1
    return tuple("/".join(part[-depth:]) for part in parts)


def _table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    frame = pd.read_csv(path, float_precision="round_trip")  # what was written, to the last bit
    if missing := set(columns).difference(frame.columns):
        raise ValueError(f"{path.name} has no column {', '.join(sorted(missing))}")
    return frame


def _record(path: Path) -> dict[str, Any]:
    record = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(record, dict):
        raise ValueError(f"{path.name} is no record")  # noqa: TRY004  one kind of error for all damage
    return record
