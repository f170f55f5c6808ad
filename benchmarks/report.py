"""Time and memory of concluding and of writing the page, for runs of 7 generations: docs/performance.md.

Run: python -m benchmarks.report [RUN]. ``RUN``: a measured run whose readings are grown; without it a drawn lineage
that decays is read first (a minute or two). Of every generation pictures are drawn with replacement until there are as
many as are wanted, and every number and embedding is moved a little, so that no two are alike; the pictures themselves
are linked. Each size is concluded in a process of its own, so that its peak of memory is its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from decay.calibrate.cells import markdown
from decay.conclude import conclude
from decay.drawing import drawing
from decay.journal import Journal
from decay.lineage import Generation, ImageRecord, Lineage
from decay.measure import measure
from decay.outcome import Outcome
from decay.phantom import load_plan, make_lineage
from decay.results import publish
from decay.settings import MeasureSettings
from detectors.reader import ImageReadings, Row
from detectors.trait import OK

N_GENERATIONS = 7
SIZES = (120, 900, 2857)
"""Images a generation; the last makes 20,000 in all."""
N_READ, SIDE_PX = 40, 320
"""Drawn pictures a generation, where no run is given."""
PLAN = "essay"
JITTER = 0.02
"""Of a number's own size: it is moved by a normal draw of this standard deviation."""
BYTES_PER_UNIT = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes there, kibibytes elsewhere


@dataclass(frozen=True)
class Cost:
    """What one run cost: seconds of wall time and (``cpu``) of processors, those that draw among the report; bytes."""

    n_images: int
    conclude_s: float
    conclude_cpu_s: float
    report_s: float
    report_cpu_s: float
    peak_bytes: int
    page_bytes: int


def read_run(run: Path) -> dict[int, list[tuple[Path, Outcome]]]:
    """The pictures of a measured run with their readings, by generation."""
    record = json.loads((run / "measures" / "run.json").read_text(encoding="utf-8"))
    images = pd.read_parquet(run / "measures" / "images.parquet", columns=["generation", "image", "sha256"])
    found: dict[int, list[tuple[Path, Outcome]]] = {}
    with Journal(run / "measures" / "journal.sqlite") as journal:
        for row in images.itertuples():
            outcome = Outcome(str(row.sha256), OK, journal.get(record["reader"], str(row.sha256)))
            if outcome.readings:
                found.setdefault(int(str(row.generation)), []).append((run / str(row.image), outcome))
    return {generation: pictures for generation, pictures in sorted(found.items()) if generation >= 0}


def grown(
    found: Mapping[int, Sequence[tuple[Path, Outcome]]], n_images: int, root: Path
) -> tuple[Lineage, dict[str, Outcome]]:
    """A lineage of ``N_GENERATIONS`` x ``n_images`` below ``root``, and what was read of it."""
    rng = np.random.default_rng(0)
    generations, outcomes = [], {}
    for index, pictures in list(found.items())[:N_GENERATIONS]:
        folder = root / f"gen_{index:02d}"
        folder.mkdir(parents=True)
        records = []
        for slot, chosen in enumerate(rng.integers(len(pictures), size=n_images)):
            source, outcome = pictures[chosen]
            path = folder / f"slot_{slot:05d}{source.suffix}"
            os.link(source, path)
            record = ImageRecord(path, path.relative_to(root).as_posix(), f"{slot:05d}")
            outcomes[record.relative] = replace(outcome, readings=_moved(outcome.readings or ImageReadings(), rng))
            records.append(record)
        generations.append(Generation(index, folder, tuple(records)))
    return Lineage(root, tuple(generations)), outcomes


def _moved(readings: ImageReadings, rng: np.random.Generator) -> ImageReadings:
    return ImageReadings(
        readings.image,
        *(tuple(_moved_row(row, rng) for row in rows) for rows in (readings.faces, readings.eyes, readings.hands)),
    )


def _moved_row(row: Row, rng: np.random.Generator) -> Row:
    """Measures and vectors are moved; counts, words, and what is yes or no are not."""
    moved: Row = dict(row)
    for name, value in row.items():
        if isinstance(value, np.ndarray) and len(value):
            turned = value + rng.normal(0.0, JITTER / len(value) ** 0.5, len(value))
            moved[name] = (turned / np.linalg.norm(turned)).astype(np.float32)
        elif isinstance(value, float) and np.isfinite(value) and value != round(value):
            moved[name] = value * (1.0 + rng.normal(0.0, JITTER))
    return moved


def cost(run: Path, n_images: int) -> Cost:
    """Conclude and write the page of a lineage grown from ``run``."""
    with tempfile.TemporaryDirectory(dir=run) as folder:  # links do not lead to another disk
        lineage, outcomes = grown(read_run(run), n_images, Path(folder) / "grown")
        started, used = time.perf_counter(), _processors_s()
        with drawing(os.cpu_count() or 1) as draw_all:
            results = replace(conclude(lineage, outcomes, MeasureSettings()), run={"settings": {"seed": 0}})
            concluded, used_then = time.perf_counter(), _processors_s()
            publish(results, lineage.root, draw_all)
        ended, used_now = time.perf_counter(), _processors_s()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES_PER_UNIT
        page = (lineage.root / "measures" / "report.html").stat().st_size
    return Cost(
        n_images=len(outcomes),
        conclude_s=concluded - started,
        conclude_cpu_s=used_then - used,
        report_s=ended - concluded,
        report_cpu_s=used_now - used_then,
        peak_bytes=peak,
        page_bytes=page,
    )


def _processors_s() -> float:
    """Seconds of processors so far: of this process, and of those that worked for it and have ended."""
    return sum(os.times()[:4])


def table(costs: Sequence[Cost]) -> str:
    """The costs as a Markdown table."""
    names = [
        "images", "concluding, s", "of processors, s", "tables, charts and page, s", "of processors, s",
        "peak memory, MB", "page, MB",
    ]  # fmt: skip
    rows = [
        [
            f"{N_GENERATIONS} x {c.n_images // N_GENERATIONS}",
            *(f"{s:.1f}" for s in (c.conclude_s, c.conclude_cpu_s, c.report_s, c.report_cpu_s)),
            f"{c.peak_bytes / 1e6:.0f}",
            f"{c.page_bytes / 1e6:.1f}",
        ]
        for c in costs
    ]
    return markdown(names, rows)


def drawn_run(folder: Path) -> Path:
    """A drawn lineage that decays, read."""
    make_lineage(folder / "run", load_plan(PLAN), 0, N_READ, N_GENERATIONS, SIDE_PX)
    measure(folder / "run")
    return folder / "run"


def _cost_elsewhere(run: Path, n_images: int) -> Cost:
    command = [sys.executable, "-m", "benchmarks.report", str(run), "--images", str(n_images)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return Cost(**json.loads(told))


def main() -> None:
    """Print the table, or the cost of one size as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--images", type=int, help="images a generation: only this size, in this process")
    asked = parser.parse_args()
    if asked.run and asked.images:
        print(json.dumps(vars(cost(asked.run, asked.images))))
        return
    with tempfile.TemporaryDirectory() as folder:
        run = asked.run or drawn_run(Path(folder))
        print(table([_cost_elsewhere(run, n) for n in ([asked.images] if asked.images else SIZES)]))


if __name__ == "__main__":
    main()
