"""Time and memory of the statistics: 2,000 resamples of 30 traits x 10 generations x 1,000 images.

Run: python benchmarks/statistics.py. Held to: under 60 s on two cores and under 2 GB.
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np

from decay.calibrate.lineages import simulate, tell, usual_toys

N_RESAMPLES, N_GENERATIONS, N_IMAGES = 2000, 10, 1000
BYTES_PER_UNIT = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes there, kibibytes elsewhere


def main() -> None:
    """Simulate, tell, print."""
    toys = usual_toys()
    course = {toys[0].name: np.linspace(1.0, 0.4, N_GENERATIONS)}
    tables = simulate(toys, course, N_IMAGES, np.random.default_rng(0))
    started, used = time.perf_counter(), time.process_time()
    told = tell(toys, tables, N_RESAMPLES, seed=0)
    wall_s, cpu_s = time.perf_counter() - started, time.process_time() - used
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES_PER_UNIT / 1e9
    print(f"{len(told.retentions)} traits x {N_GENERATIONS} generations x {N_IMAGES} images x {N_RESAMPLES} resamples:")
    print(f"{wall_s:.1f} s wall, {cpu_s:.1f} s of one processor, {peak_gb:.2f} GB at most")
    print(told.verdict.sentence)


if __name__ == "__main__":
    main()
