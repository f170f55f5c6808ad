"""Writes docs/performance.md from what the benchmarks printed.

Run: python -m benchmarks.performance scale.json report.md drawn.json photographs.json --out docs/performance.md
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmarks.speed import N_QUICK
from decay.workers.cluster import N_PER_TASK

mpl.use("agg")
from matplotlib import pyplot as plt

DRIVER_GB = 64
WANTED = 0.85
"""Of the floor."""
READING = (
    ("floor, s", lambda r: f"{r['floor_s']:.1f}"),
    ("reading, s, the workers' start and the journal among it", lambda r: f"{r['pool']['read_s']:.1f}"),
    ("**floor / reading**", lambda r: f"**{r['of_floor_reading']:.2f}**"),
    ("one call of each model / reading", lambda r: f"{r['of_floor_once']:.2f} ({r['once_s']:.1f} s)"),
    ("reading on a local dask cluster, s", lambda r: f"{r['cluster']['read_s']:.1f}"),
    ("the whole command, with statistics, charts and page, s", lambda r: f"{r['pool']['wall_s']:.1f}"),
    ("floor / whole command", lambda r: f"{r['of_floor_whole']:.2f}"),
    ("the same reader in a plain script, s, its start among it", lambda r: f"{r['plain_s']['same']:.1f}"),
    ("**times faster than that**", lambda r: f"**{r['times_same']:.2f}**"),
    ("as vendors offer it, in a plain script, s, its start among it", lambda r: f"{r['plain_s']['solutions']:.1f}"),
    ("times faster than that", lambda r: f"{r['times_solutions']:.2f}"),
    ("traits' own arithmetic, of an image's time", lambda r: f"{100 * r['trait_share']:.1f} %"),
    ("largest worker, MB", lambda r: f"{r['pool']['worker_mb']:.0f}"),
    ("driver, MB", lambda r: f"{r['pool']['driver_mb']:.0f}"),
)

LINES = (
    ("time", "wall_s", "all of it", "0.1"),
    ("time", "read_s", "reading", "#2166ac"),
    ("time", "conclude_s", "concluding", "#b2182b"),
    ("memory", "worker_mb", "largest worker", "#2166ac"),
    ("memory", "driver_mb", "driver", "0.1"),
)


def main() -> None:
    """Write the page and its picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scale", type=Path)
    parser.add_argument("report", type=Path)
    parser.add_argument("speed", type=Path, nargs="+", help="of benchmarks.speed, a file for each lineage")
    parser.add_argument("--out", type=Path, default=Path("docs/performance.md"))
    asked = parser.parse_args()
    scale, *speeds = (json.loads(path.read_text(encoding="utf-8")) for path in (asked.scale, *asked.speed))
    speed = speeds[0] | {"lineages": {kind: each for one in speeds for kind, each in one["lineages"].items()}}
    draw(scale["runs"], asked.out.parent / "images" / "scale.png")
    pages = Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, autoescape=False)
    asked.out.write_text(
        pages.get_template("performance.md.j2").render(
            speed=speed,
            scale=scale,
            report=asked.report.read_text(encoding="utf-8").strip(),
            kinds=list(speed["lineages"]),
            reading=[
                {"label": label, "cells": [cell(r) for r in speed["lineages"].values()]} for label, cell in READING
            ],
            where=where(list(speed["lineages"].values())),
            gaps=[gap(kind, each, speed["machine"]) for kind, each in speed["lineages"].items()],
            plan=plan(speed, scale),
            n_quick=N_QUICK,
            n_per_task=N_PER_TASK,
        ),
        encoding="utf-8",
    )


def where(lineages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the table of milliseconds: models, families together, the rest."""
    tables = [each["where"] for each in lineages]
    names = sorted({name for table in tables for name in table["models"]}, key=lambda n: -tables[0]["models"].get(n, 0))
    rows = [
        {"label": name, "cells": [x for t in tables for x in _pair(t["models"].get(name), t["calls"].get(name))]}
        for name in names
    ]
    sums = [
        ("**floor**", "floor"),
        ("one call of each", "once"),
        ("families of traits", "traits"),
        ("all of it", "all"),
    ]
    rows += [{"label": label, "cells": [x for t in tables for x in _pair(t["sums"][key], None)]} for label, key in sums]
    return rows


def gap(kind: str, lineage: dict[str, Any], machine: dict[str, str]) -> dict[str, Any]:
    """What keeps reading from ``WANTED`` of the floor, in ms of an image; ``start_s``: what it took beside images."""
    sums, cores = lineage["where"]["sums"], int(machine["cpu"].split(" ")[0])
    reading_s = sums["all"] * lineage["n_images"] / 1000 / cores
    return {
        "kind": kind,
        "allowed_ms": sums["floor"] * (1 / WANTED - 1),
        "rest_ms": sums["all"] - sums["floor"],
        "traits_ms": sums["traits"],
        "other_ms": sums["all"] - sums["floor"] - sums["traits"],
        "start_s": max(lineage["pool"]["read_s"] - reading_s, 0.0),
    }


def _pair(ms: float | None, calls: float | None) -> tuple[str, str]:
    return ("" if ms is None else f"{ms:.1f}", "" if calls is None else f"{calls:.1f}")


def plan(speed: dict[str, Any], scale: dict[str, Any]) -> dict[str, Any]:
    """What ten million images would take, from the largest run that was measured and from pictures of 512 px."""
    kind = "photographs" if "photographs" in speed["lineages"] else "drawn"
    lineage = speed["lineages"][kind]
    cores = int(speed["machine"]["cpu"].split(" ")[0])
    small, large = scale["runs"][0], scale["runs"][-1]
    n = large["n_images"]
    driver_kb = (large["driver_mb"] - small["driver_mb"]) * 1000 / (n - small["n_images"])
    ms = 1000 * lineage["pool"]["read_s"] * cores / lineage["n_images"]
    picture_kb = lineage["picture_bytes"] / lineage["n_images"] / 1000
    return {
        "ms": ms,
        "from": f"{kind} of 512 px",
        "core_hours": 1e7 * ms / 3.6e6,
        "picture_kb": picture_kb,
        "picture_tb": picture_kb / 100,
        "journal_gb": large["journal_bytes"] / n / 100,
        "tables_gb": large["table_bytes"] / n / 100,
        "driver_kb": driver_kb,
        "driver_gb": driver_kb * 10,
        "most": DRIVER_GB * 1e6 / driver_kb,
    }


def draw(runs: Sequence[dict[str, float]], path: Path) -> None:
    """Seconds and memory against images, with the straight line through the largest run."""
    n = [run["n_images"] for run in runs]
    figure, (time, memory) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    time.plot([0, n[-1]], [0, runs[-1]["wall_s"]], color="0.8", lw=1, label="straight line")
    panels = {"time": time, "memory": memory}
    for panel, key, label, colour in LINES:
        panels[panel].plot(n, [run[key] for run in runs], "o-", color=colour, lw=1.5, ms=4, label=label)
    memory.axhline(700, color="0.8", lw=1)
    for axes, unit in ((time, "seconds"), (memory, "MB, resident")):
        axes.set(xlabel="images", ylabel=unit, xlim=(0, None), ylim=(0, None))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
