"""Time and memory of the statistics: 2,000 resamples of 10 generations x 1,000 images.

Run: python benchmarks/resampling.py. Thirty simulated traits (held to: under 60 s on two cores and under 2 GB), then
every trait of the catalogue, on columns as the detectors fill them: drawn pictures are read, their slots are drawn with
replacement until there are a thousand, and every number and embedding is moved a little, so that no two are alike.
``python benchmarks/resampling.py thirty`` or ``... catalogue``: one of them, so that the peak of memory is its own.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from decay.calibrate.lineages import simulate, tell, usual_toys
from decay.erosion import judge, rank
from decay.journal import Journal
from decay.lineage import load_lineage
from decay.phantom import load_plan, make_lineage
from decay.read import hash_lineage, read_lineage
from decay.settings import Rule
from decay.tables import EMBEDDING, Tables, build_tables
from decay.traits import Draws, TraitSeries, clusters, readings_to_traits, traits_to_retentions
from decay.workers.here import Here
from decay.workers.job import ReaderSpec
from decay.workers.task import start_reader
from detectors.registry import families
from detectors.trait import Vector

N_RESAMPLES, N_GENERATIONS, N_IMAGES = 2000, 10, 1000
N_READ, SIDE_PX = 40, 320
"""Drawn pictures behind the catalogue's columns."""
JITTER = 0.05
BYTES_PER_UNIT = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes there, kibibytes elsewhere


def thirty() -> None:
    """Thirty simulated traits."""
    toys = usual_toys()
    course = {toys[0].name: np.linspace(1.0, 0.4, N_GENERATIONS)}
    tables = simulate(toys, course, N_IMAGES, np.random.default_rng(0))
    started, used = time.perf_counter(), time.process_time()
    told = tell(toys, tables, N_RESAMPLES, seed=0)
    report(len(told.retentions), started, used)
    print(told.verdict.sentence)


def catalogue() -> None:
    """Every trait that there is; the costliest families by name."""
    tables = grown(read_some(), np.random.default_rng(0))
    generations = range(N_GENERATIONS)
    spent: dict[str, float] = defaultdict(float)
    series: list[TraitSeries] = []
    started, used = time.perf_counter(), time.process_time()
    draws = Draws(clusters(tables.images), N_RESAMPLES, np.random.default_rng([0, 0]))
    for family in families():
        begun = time.perf_counter()
        series += readings_to_traits(tables, generations, N_RESAMPLES, 0, [family], draws)
        spent[family.name] += time.perf_counter() - begun
    begun = time.perf_counter()
    retentions = traits_to_retentions(series)
    verdict = judge(retentions, rank(retentions, generations, Rule()), generations)
    spent["order and verdict"] = time.perf_counter() - begun
    report(len(retentions), started, used)
    costly = sorted(spent, key=lambda name: -spent[name])[:6]
    print("Of that: " + ", ".join(f"{name} {spent[name]:.1f} s" for name in costly) + ".")
    print(verdict.sentence)


def report(n_traits: int, started: float, used: float) -> None:
    """Print what it took since then."""
    wall_s, cpu_s = time.perf_counter() - started, time.process_time() - used
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES_PER_UNIT / 1e9
    print(f"{n_traits} traits x {N_GENERATIONS} generations x {N_IMAGES} images x {N_RESAMPLES} resamples:")
    print(f"{wall_s:.1f} s wall, {cpu_s:.1f} s of one processor, {peak_gb:.2f} GB at most")


def read_some() -> Tables:
    """Readings of one drawn generation."""
    with tempfile.TemporaryDirectory() as folder:
        make_lineage(Path(folder) / "run", load_plan("healthy"), 0, N_READ, 1, SIDE_PX)
        lineage = load_lineage(Path(folder) / "run")
        with Journal(Path(folder) / "journal.sqlite") as journal, Here(lambda: start_reader(ReaderSpec())) as workers:
            return build_tables(lineage, read_lineage(hash_lineage(lineage), journal, "benchmark", workers))


def grown(tables: Tables, rng: np.random.Generator) -> Tables:
    """A lineage of ``N_GENERATIONS`` x ``N_IMAGES`` made of these pictures: each slot one of them, never the same."""
    chosen = rng.integers(len(tables.images), size=N_IMAGES)
    sources = tables.images["image"].to_numpy()[chosen]
    copies = pd.DataFrame(
        [(g, slot, source) for g in range(N_GENERATIONS) for slot, source in enumerate(sources)],
        columns=["to_generation", "to_slot", "image"],
    )
    return Tables(*(_copied(tables.of(subject), copies, rng) for subject in ("image", "face", "eye", "hand")))


def _copied(frame: pd.DataFrame, copies: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    made = copies.merge(frame, on="image", how="inner")
    slots = made.pop("to_slot").map("{:05d}".format)
    made["generation"] = made.pop("to_generation")
    made["image"] = [f"{generation}/{slot}" for generation, slot in zip(made["generation"], slots, strict=True)]
    if "slot" in made:
        made["slot"], made["group"] = slots, ""
    for name in made.select_dtypes("float64").columns:
        made[name] = _moved(made[name].to_numpy(), rng)
    if EMBEDDING in made:
        made[EMBEDDING] = pd.Series(_turned(made[EMBEDDING].to_list(), rng), index=made.index)
    return made


def _moved(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Measures are moved, counts and yes or no are not: there equal values are what a detector gives."""
    known = values[np.isfinite(values)]
    if not known.size or (known == np.round(known)).all():
        return values
    return values + rng.normal(0.0, JITTER * known.std(), len(values))


def _turned(vectors: Sequence[Vector], rng: np.random.Generator) -> list[Vector]:
    return [_unit(v + rng.normal(0.0, JITTER / len(v) ** 0.5, len(v))) if len(v) else v for v in vectors]


def _unit(vector: Vector | NDArray[np.float64]) -> Vector:
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["thirty", "catalogue"]
    if len(wanted) > 1:
        for part in wanted:
            subprocess.run([sys.executable, __file__, part], check=True)
    else:
        {"thirty": thirty, "catalogue": catalogue}[wanted[0]]()
