"""Faults tried on the real command line, and what happened: python -m benchmarks.reliability [--kills 50] [--seed 0]
[--fuzz fuzz.json].

Writes docs/reliability.md anew. Every command is a process of its own, on drawn lineages in a scratch folder. As root
it mounts small disks there; else it limits the size of files. The clock is shifted inside Python: under libfaketime
(0.9.10) Python's own sleep fails once the clock went back, as it does under no real clock. What the fuzzer found
is taken from the file that ``python -m benchmarks.fuzz --out`` wrote; without one it runs for a short time, where it is
installed. Exit code 1 where a fault did not end as it should, or the fuzzer found one.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.faults import hostile, interrupted, machine
from benchmarks.faults.common import REPOSITORY, Bench, Row, copied, decay, draw, environment, results
from benchmarks.faults.tested import TESTED, Tested
from benchmarks.fuzz import Fuzzed, from_json
from benchmarks.fuzz import table as fuzz_table

OUT = REPOSITORY / "docs" / "reliability.md"
TEMPLATE = Path(__file__).parent / "faults" / "reliability.md"

N_FUZZ = 2_000
"""Inputs of the fuzzer where no file of a longer run is given: half a minute."""
FUZZ_COMMAND = "python -m benchmarks.fuzz --runs 100000 --seed 0 --out fuzz.json"

Fault = Callable[[Bench], Row | list[Row]]
# Two lines of work for two cores; each fault has folders of its own, but those of a line may build on one another.
LINES: tuple[tuple[Fault, ...], ...] = (
    (interrupted.killed_measures,),
    (
        hostile.bad_pictures,
        hostile.hostile_folders,
        hostile.hostile_texts,
        hostile.sizes,
        machine.two_measures,
        machine.full_disks,
        interrupted.killed_runs,
        interrupted.killed_workers,
        machine.clocks,
    ),
)


def main() -> int:
    """Try all faults and write the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="of `decay measure`, and of `decay run`")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faketime", type=Path, help="libfaketime, in place of a sitecustomize that shifts time.time")
    parser.add_argument("--fuzz", type=Path, help="what `python -m benchmarks.fuzz --out` wrote")
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    fuzzed = from_json(asked.fuzz.read_text()) if asked.fuzz else None  # a wrong file is told before an hour of work
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-") as scratch:
        bench = prepared(Path(scratch), asked.seed, asked.kills, asked.faketime)
        with ThreadPoolExecutor(len(LINES)) as pool:
            rows = [row for of_line in pool.map(lambda faults: tried(bench, faults), LINES) for row in of_line]
        rows += tested(bench, TESTED)
        fuzzed = fuzzed or fuzzed_briefly(asked.seed, Path(scratch) / "fuzz.json")
    took_min = (time.monotonic() - began) / 60
    options = f"--kills {asked.kills} --seed {asked.seed}"
    asked.out.write_text(document(rows, options, took_min, fuzzed))
    failed = [row.fault for row in rows if not row.passed] + (["fuzzer"] if fuzzed and fuzzed.n_findings else [])
    print(f"{len(rows)} faults, {len(failed)} not as expected: {', '.join(failed) or 'none'}; {took_min:.1f} min")
    return int(bool(failed))


def prepared(work: Path, seed: int, n_kills: int, faketime: Path | None) -> Bench:
    """A drawn lineage and its results, measured without any fault."""
    lineage = draw(work, seed)
    whole = copied(lineage, work / "whole")
    decay("measure", whole)  # the first run of a checkout also writes byte code
    copied(lineage, work / "whole")
    began = time.monotonic()
    done = decay("measure", whole)
    if done.returncode != 0:
        raise SystemExit(f"decay measure does not run here: {done.stderr[-2000:]}")
    return Bench(work, seed, n_kills, lineage, results(whole), time.monotonic() - began, faketime)


def tried(bench: Bench, faults: Sequence[Fault]) -> list[Row]:
    """The rows of some faults, one after another. A fault whose trial breaks is a row that did not pass."""
    rows: list[Row] = []
    for fault in faults:
        try:
            found = fault(bench)
        except Exception as error:  # one broken trial must not lose the others'
            found = Row("Broken trials", fault.__name__, "", "", f"{type(error).__name__}: {error}"[:200], False)
        new = [found] if isinstance(found, Row) else found
        rows += new
        print(f"{fault.__name__}: {sum(row.passed for row in new)} of {len(new)}", file=sys.stderr, flush=True)
    return rows


def tested(bench: Bench, faults: Sequence[Tested]) -> list[Row]:
    """The rows of the faults whose check is a test: each test is run."""
    report = bench.work / "tests.xml"
    names = sorted({fault.test for fault in faults})
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *names],
        cwd=REPOSITORY, env=environment(), stdout=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    return [_tested(fault, _outcomes(report, fault.test)) for fault in faults]


def _outcomes(report: Path, test: str) -> list[str]:
    """How each case of a test ended: passed, skipped or failed."""
    file, _, name = test.partition("::")
    module = file.removesuffix(".py").replace("/", ".")
    cases = [
        case
        for case in ElementTree.parse(report).iter("testcase")
        if case.get("classname") == module and (case.get("name") or "").partition("[")[0] == name
    ]
    return [case[0].tag if len(case) and case[0].tag in {"failure", "error", "skipped"} else "passed" for case in cases]


def _tested(fault: Tested, outcomes: Sequence[str]) -> Row:
    counts = ", ".join(f"{len(list(same))} {word}" for word, same in groupby(sorted(outcomes)))
    passed = "passed" in outcomes and not {"failure", "error"} & set(outcomes)
    return Row(fault.section, fault.fault, fault.how, fault.expected, counts or "not run", passed, fault.test)


def fuzzed_briefly(seed: int, file: Path) -> Fuzzed | None:
    """A short run of the fuzzer; None where it is not installed."""
    if importlib.util.find_spec("atheris") is None:
        return None
    command = [sys.executable, "-m", "benchmarks.fuzz", "--runs", str(N_FUZZ), "--seed", str(seed), "--out", str(file)]
    subprocess.run(command, cwd=REPOSITORY, env=environment(), stdout=subprocess.DEVNULL, check=False)
    return from_json(file.read_text())


def fuzz_section(fuzzed: Fuzzed | None) -> str:
    """What the fuzzer did, in words and a table."""
    if fuzzed is None:
        return (
            f"Not run here: atheris is not installed. `{FUZZ_COMMAND}`, and then "
            "`python -m benchmarks.reliability --fuzz fuzz.json`, puts its figures here."
        )
    return (
        f"{fuzzed.n_runs:,} inputs, seed {fuzzed.seed}, took {fuzzed.seconds / 60:.1f} minutes; findings: "
        f"{fuzzed.n_findings}.\n\n{fuzz_table(fuzzed.tallies)}"
    )


def document(rows: Sequence[Row], options: str, took_min: float, fuzzed: Fuzzed | None) -> str:
    """The document: the template with the tables in their places."""
    sections = list(dict.fromkeys(row.section for row in rows))
    tables = "\n\n".join(
        f"### {section}\n\n{table([row for row in rows if row.section == section])}" for section in sections
    )
    n_passed = sum(row.passed for row in rows)
    return TEMPLATE.read_text().format(
        options=options,
        took_min=f"{took_min:.0f}",
        n_rows=len(rows),
        n_passed=n_passed,
        tables=tables,
        fuzz_command=FUZZ_COMMAND,
        fuzz=fuzz_section(fuzzed),
    )


def table(rows: Sequence[Row]) -> str:
    """One section's faults as a Markdown table."""
    lines = ["| fault | how it was made | expected | what happened | passed |", "|---|---|---|---|---|"]
    for row in rows:
        happened = f"`{row.test}`: {row.happened}" if row.test else row.happened
        cells = (row.fault, row.how, row.expected, happened, "yes" if row.passed else "**no**")
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
