"""What every fault needs: the real command line in a process of its own, drawn lineages, and results that compare."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

RESAMPLES = 50
"""Draws behind the intervals: few, so that a run of `decay measure` takes seconds; the files are the same."""
LIMIT_S = 300
REPOSITORY = Path(__file__).resolve().parents[2]
_ANEW = frozenset({"run.json", "report.html", "journal.sqlite", ".lock"})
"""Files under measures/ that hold timings, which report.html shows too, or the order of readings."""


@dataclass(frozen=True)
class Row:
    """One fault of the table. ``how``: it was made. ``test``: the test that is the check, where it is one."""

    section: str
    fault: str
    how: str
    expected: str
    happened: str
    passed: bool
    test: str = ""


@dataclass(frozen=True)
class Bench:
    """Where the faults are tried. ``lineage``: drawn, never written to. ``wanted``: its results, uninterrupted."""

    work: Path
    seed: int
    n_kills: int
    lineage: Path
    wanted: Mapping[str, str]
    whole_s: float
    faketime: Path | None


def command(*arguments: str | Path) -> list[str]:
    """The command line of `decay` with these arguments."""
    extra = ["--resamples", str(RESAMPLES)] if arguments[0] == "measure" else []
    return [sys.executable, "-m", "decay.cli", *map(str, arguments), *extra]


def environment(**more: str) -> dict[str, str]:
    """That of the processes: one native thread each, this checkout's packages."""
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, "PYTHONHASHSEED": "0", **more}


def decay(*arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the real command to its end."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, errors="backslashreplace", timeout=LIMIT_S, check=False,
        env=environment(**more), cwd="/",
    )  # fmt: skip


def one_message(done: subprocess.CompletedProcess[str], *words: str) -> bool:
    """Whether it ended with exit code 1 and one sentence of ours that has these words: no traceback."""
    said = [line for line in done.stderr.splitlines() if line.startswith("decay: ")]
    return (
        done.returncode == 1 and len(said) == 1 and "Traceback" not in done.stderr and all(w in said[0] for w in words)
    )


def said(done: subprocess.CompletedProcess[str], limit: int = 150) -> str:
    """The exit code and the message, short enough for the table."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("decay: ") or "Error" in line]
    words = lines[-1].removeprefix("decay: ") if lines else ""
    return f"exit {done.returncode}" + (f": {shortened(words, limit)}" if words else "")


def shortened(text: str, limit: int) -> str:
    """The text without the scratch folders' names, at most ``limit`` characters."""
    words = " ".join(
        word.rpartition("/faults-")[2].partition("/")[2] if "/faults-" in word else word for word in text.split()
    )
    return words if len(words) <= limit else f"{words[: limit - 3]}..."


def draw(work: Path, seed: int, name: str = "drawn", per_generation: int = 14, size_px: int = 192) -> Path:
    """A drawn lineage of three generations."""
    out = work / name
    done = decay("phantom", out, "--generations", "3", "--per-generation", str(per_generation), "--size", str(size_px),
                 "--seed", str(seed))  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(f"the lineage could not be drawn: {done.stderr}")
    return out


def copied(lineage: Path, to: Path) -> Path:
    """A copy of a lineage without its measures."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(lineage, to, ignore=shutil.ignore_patterns("measures"))
    return to


def results(run: Path) -> dict[str, str]:
    """The sha256 of every published file of a measured run, by name; of run.json without its timings."""
    folder = run / "measures"
    found = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not _is_anew(path.relative_to(folder).parts)
    }
    if (folder / "run.json").exists():
        record = json.loads((folder / "run.json").read_text())
        record.pop("timings")
        record.pop("record", None)
        record["files"].pop("report.html", None)
        found["run.json"] = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    return found


def _is_anew(parts: Sequence[str]) -> bool:
    return parts[-1] in _ANEW or parts[-1].startswith("journal.sqlite") or parts[0].startswith(".aside-")


def differing(found: Mapping[str, str], wanted: Mapping[str, str], *, absent_is_fine: bool = False) -> list[str]:
    """Names of files that are not as wanted."""
    names = [name for name in found if found[name] != wanted.get(name)]
    return names if absent_is_fine else names + [name for name in wanted if name not in found]


def leftovers(folder: Path) -> list[str]:
    """What a killed process left half-written."""
    return [path.name for path in folder.rglob(".aside-*")]


def hashes(folder: Path, besides: Sequence[str] = ()) -> dict[str, str]:
    """The sha256 of every file of a folder, hidden ones left out."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and path.name not in besides
    }
