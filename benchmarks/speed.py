"""How fast `decay measure` is beside the models that it runs, and beside what a person would write instead.

Run: python -m benchmarks.speed [--photographs DIR] [--pack NAME --root DIR] [--images 1000] > drawn.json

Everything is timed in one go on one machine, so that the ratios hold where the seconds do not. The lineage is made for
the purpose, of drawn pictures or of a folder of portraits, its files all different. Prints JSON for
`benchmarks.performance`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks.pictures import make_lineage

SIDE_PX = 512
LOOK_AT_EVERY = 7
"""Of the pictures whose floor is told, with no factor in common with ``pictures.N_DRAWN``, where every fifth is a hand;
the sequential scripts read all of them."""
N_QUICK = 5
"""Runs of the quick commands; the least counts."""


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--photographs", type=Path, help="a folder of portraits, in place of drawn pictures")
    parser.add_argument("--pack")
    parser.add_argument("--root", type=Path)
    asked = parser.parse_args()
    pack = ["--pack", asked.pack, "--root", str(asked.root)] if asked.pack else []
    kind = "photographs" if asked.photographs else "drawn"
    with tempfile.TemporaryDirectory() as scratch:
        folder = make_lineage(Path(scratch) / kind, asked.images, SIDE_PX, asked.photographs)
        found = against_the_floor(folder, asked.images, pack)
        quick = quick_commands(folder)
    print(json.dumps({"machine": machine(), "pack": asked.pack, "lineages": {kind: found}, "quick": quick}, indent=2))


def against_the_floor(folder: Path, n_images: int, pack: Sequence[str]) -> dict[str, Any]:
    """One lineage: its floor, two sequential scripts, and the command with workers, on a cluster, and once more.

    The floor is the mean of one before the command and one after it: rented machines change their pace.
    """
    options = [text.replace("--pack", "--embedder-pack").replace("--root", "--embedder-root") for text in pack]
    cores, out = os.cpu_count() or 1, folder.with_name(f"{folder.name} pool")
    before = json.loads(_run("benchmarks.floor", folder, *pack, "--every", LOOK_AT_EVERY).stdout)
    pooled = measured(folder, out, *options, "--workers", cores)
    after = json.loads(_run("benchmarks.floor", folder, *pack, "--every", LOOK_AT_EVERY).stdout)
    floor = _mean(before, after)
    plain = {which: float(_run("benchmarks.plain", which, folder, *pack).stdout.split()[-1])
             for which in ("same", "solutions")}  # fmt: skip
    again_s = median(measured(folder, out, *options, "--workers", cores)["wall_s"] for _ in range(3))
    cluster = measured(folder, folder.with_name(f"{folder.name} cluster"), *options, "--cluster", "local")
    ideal_s, once_s = (floor["sums"][which] * n_images / 1000 / cores for which in ("floor", "once"))
    return {
        "n_images": n_images,
        "picture_bytes": sum(path.stat().st_size for path in folder.rglob("*.png")),
        "where": floor,
        "floor_s": ideal_s,
        "once_s": once_s,
        "plain_s": plain,
        "pool": pooled,
        "cluster": cluster,
        "again_s": again_s,
        "of_floor_reading": ideal_s / pooled["read_s"],
        "of_floor_once": once_s / pooled["read_s"],
        "of_floor_whole": ideal_s / pooled["wall_s"],
        "of_floor_cluster": ideal_s / cluster["read_s"],
        "times_same": plain["same"] / pooled["read_s"],
        "times_solutions": plain["solutions"] / pooled["read_s"],
        "times_again": pooled["wall_s"] / again_s,
        "trait_share": floor["sums"]["traits"] / floor["sums"]["all"],
    }


def _mean(one: dict[str, dict[str, float]], other: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Of two tables of the same form."""
    return {part: {name: (ms + other[part][name]) / 2 for name, ms in table.items()} for part, table in one.items()}


def measured(run: Path, out: Path, *options: object) -> dict[str, float]:
    """``decay measure``: seconds of the whole command, of reading, and the most memory that any process took, in MB."""
    watch = Watch()
    started = time.perf_counter()
    _decay("measure", run, "--out", out, *options, watch=watch)
    wall_s = time.perf_counter() - started
    timings = json.loads((out / "measures" / "run.json").read_text(encoding="utf-8"))["timings"]
    return {"wall_s": wall_s, **timings, **watch.peaks_mb}


def quick_commands(folder: Path) -> dict[str, float]:
    """The least seconds of the commands that ought to answer at once."""
    done = folder.with_name(f"{folder.name} pool")
    return {"decay --help": _least("--help"), "decay verdict": _least("verdict", done)}


@dataclass
class Watch:
    """Looks at a process and its children while they run. ``peaks_mb``: the most memory (resident) of the ``driver``
    and of any ``worker``."""

    peaks_mb: dict[str, float] = field(default_factory=lambda: {"driver_mb": 0.0, "worker_mb": 0.0})

    def look(self, process: subprocess.Popen[str]) -> None:
        """Until it has ended."""
        while process.poll() is None:
            try:
                own = psutil.Process(process.pid)
                self._note("driver_mb", own)
                for child in own.children(recursive=True):
                    self._note("worker_mb", child)
            except psutil.Error:
                pass  # it ended meanwhile
            time.sleep(0.2)

    def _note(self, who: str, process: psutil.Process) -> None:
        self.peaks_mb[who] = max(self.peaks_mb[who], process.memory_info().rss / 1e6)


def machine() -> dict[str, str]:
    """What it was measured on."""
    names = [line.partition(":")[2].strip() for line in _cpu_info() if line.startswith("model name")]
    return {
        "cpu": f"{os.cpu_count()} x {names[0] if names else platform.processor()}",
        "python": platform.python_version(),
    }


def _cpu_info() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def _least(*arguments: object) -> float:
    seconds = []
    for _ in range(N_QUICK):
        started = time.perf_counter()
        _decay(*arguments)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _run(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)], check=True, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def _decay(*arguments: object, watch: Watch | None = None) -> None:
    command = [str(Path(sys.executable).with_name("decay")), *map(str, arguments)]
    with subprocess.Popen(command, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        looking = threading.Thread(target=watch.look, args=(process,)) if watch else None
        if looking:
            looking.start()
        _, said = process.communicate()
        if looking:
            looking.join()
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {said}")


if __name__ == "__main__":
    main()
