"""Time and memory of `decay measure` against the number of images.

Run: python -m benchmarks.scale [--images 1000 5000 20000] > scale.json

Lineages of drawn pictures of 256 px, all files different, each measured from nothing with one worker per core. Prints
JSON for `benchmarks.performance`: seconds of reading, concluding, drawing and of a second run; memory of the driver and
of the largest worker; bytes that the journal and the tables take.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.pictures import make_lineage
from benchmarks.speed import machine, measured

SIDE_PX = 256


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 2000, 5000, 10_000, 20_000])
    sizes: list[int] = parser.parse_args().images
    runs = []
    for n_images in sizes:
        runs.append(grown(n_images))
        print(json.dumps(runs[-1]), file=sys.stderr, flush=True)  # the next may take an hour
    print(json.dumps({"machine": machine(), "side_px": SIDE_PX, "runs": runs}, indent=2))


def grown(n_images: int) -> dict[str, float]:
    """One lineage, measured twice."""
    with tempfile.TemporaryDirectory() as scratch:
        run = make_lineage(Path(scratch) / "run", n_images, SIDE_PX, None)
        out = Path(scratch) / "out"
        first = measured(run, out, "--workers", os.cpu_count())
        again = measured(run, out, "--workers", os.cpu_count())
        folder = out / "measures"
        tables = sum(path.stat().st_size for path in folder.glob("*.parquet"))
        journal = sum(path.stat().st_size for path in folder.glob("journal.sqlite*"))
        pictures = sum(path.stat().st_size for path in run.rglob("*.png"))
    return {
        "n_images": n_images,
        **first,
        "again_s": again["wall_s"],
        "table_bytes": tables,
        "journal_bytes": journal,
        "picture_bytes": pictures,
    }


if __name__ == "__main__":
    main()
