"""Whether anything that enters from outside can break the program: python -m benchmarks.fuzz [--runs 100000]
[--out fuzz.json].

Coverage-guided (atheris, the libFuzzer of Python; extra ``fuzz``): images, run folders with their metadata, protocols,
plans, provenance logs, rows of the journal. Held to, for every input: nothing but a DecayError escapes, at most 2 s of
processor time, at most 512 MB more than before, nothing written outside of the run folder, no program or connection
started, no pickle loaded, and a result as its function promises it. Exit code 1 where something was found; the inputs
that found it stay in ``--keep``, the figures in ``--out``, for ``benchmarks.reliability``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

SHARES = {"images": 0.50, "folders": 0.25, "protocols": 0.08, "plans": 0.07, "logs": 0.05, "rows": 0.05}
"""Of all inputs, by target of ``benchmarks.fuzzing.targets``."""


@dataclass
class Tally:
    """What became of one target's inputs."""

    n: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    peak_mb: float = 0.0
    coverage: int = 0
    findings: list[str] = field(default_factory=list)
    wall_s: float = 0.0


def main() -> int:
    """Fuzz, print the table, exit with 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000, help="inputs in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--targets", nargs="+", choices=SHARES, default=list(SHARES))
    parser.add_argument("--keep", type=Path, help="folder for what is found, and the corpus; else thrown away")
    parser.add_argument("--out", type=Path, help="a JSON file of what became of the inputs")
    said = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        raise SystemExit("atheris is not installed: pip install -c requirements.lock -e '.[fuzz]'")
    share = sum(SHARES[name] for name in said.targets)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as scratch:
        folder = (said.keep or Path(scratch)).absolute()
        tallies = {
            name: fuzz(name, round(said.runs * SHARES[name] / share), said.seed, folder / name) for name in said.targets
        }
    if said.out:
        said.out.write_text(to_json(tallies, said.runs, said.seed))
    print(table(tallies))
    return int(any(tally.findings for tally in tallies.values()))


def fuzz(name: str, n_runs: int, seed: int, folder: Path) -> Tally:
    """Try ``n_runs`` inputs on one target, starting anew behind every input that ends the process."""
    tally, began = Tally(), time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    while tally.n < n_runs:
        _one_process(name, n_runs - tally.n, seed + len(tally.findings) * 1000, folder, tally)
        print(f"{name}: {tally.n} of {n_runs}, {len(tally.findings)} findings", file=sys.stderr)
    tally.wall_s = time.monotonic() - began
    return tally


def _one_process(name: str, n_runs: int, seed: int, folder: Path, tally: Tally) -> None:
    for stale in ("counts.json", "findings.jsonl"):
        (folder / stale).unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.fuzzing.worker", name, str(n_runs), str(seed), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, errors="replace",
                          env=environment, check=False)  # fmt: skip
    counts = folder / "counts.json"
    if not counts.exists():
        raise SystemExit(f"{name}: the fuzzer did not start:\n{done.stderr[-3000:]}")
    counted = json.loads(counts.read_text())
    tally.n += counted["n"]
    tally.ended.update(counted["ended"])
    tally.slowest_s = max(tally.slowest_s, counted["slowest_s"])
    tally.peak_mb = max(tally.peak_mb, counted["peak_mb"])
    tally.coverage = max([tally.coverage, *map(int, re.findall(r"cov: (\d+)", done.stderr))])
    if (folder / "findings.jsonl").exists():
        tally.findings += (folder / "findings.jsonl").read_text().splitlines()
    if done.returncode != 0:
        tally.findings.append(f"the process ended with {done.returncode}: {done.stderr[-1500:]}")


def to_json(tallies: dict[str, Tally], n_runs: int, seed: int) -> str:
    """What became of all inputs, as ``Fuzzed`` takes it back."""
    targets = {name: vars(tally) for name, tally in tallies.items()}
    seconds = sum(tally.wall_s for tally in tallies.values())
    return json.dumps({"runs": n_runs, "seed": seed, "seconds": seconds, "targets": targets}, indent=2)


@dataclass(frozen=True)
class Fuzzed:
    """A run of the fuzzer: ``n_runs`` inputs asked for, in ``seconds``; what became of them, by target."""

    n_runs: int
    seed: int
    seconds: float
    tallies: dict[str, Tally]

    @property
    def n_findings(self) -> int:
        """Of all targets."""
        return sum(len(tally.findings) for tally in self.tallies.values())


def from_json(text: str) -> Fuzzed:
    """What ``to_json`` wrote. Raises ValueError, KeyError or TypeError for anything else."""
    said = json.loads(text)
    tallies = {name: Tally(**each | {"ended": Counter(each["ended"])}) for name, each in said["targets"].items()}
    return Fuzzed(said["runs"], said["seed"], said["seconds"], tallies)


def table(tallies: dict[str, Tally]) -> str:
    """The counts as a Markdown table, then what was found."""
    lines = [
        "| what | inputs | how they ended | branches seen | slowest (CPU s) | most memory (MB) | took (s) | findings |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, t in tallies.items():
        ended = ", ".join(f"{word} {count:,}" for word, count in t.ended.most_common())
        lines.append(
            f"| {name} | {t.n:,} | {ended} | {t.coverage:,} | {t.slowest_s:.2f} | {t.peak_mb:.0f} | {t.wall_s:.0f} "
            f"| {len(t.findings)} |"
        )
    lines.append(f"\nIn all: {sum(t.n for t in tallies.values()):,} inputs.")
    lines += [f"\n{name}: {finding}" for name, t in tallies.items() for finding in t.findings]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
