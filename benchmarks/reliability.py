"""Faults tried on the real command line, and what happened: python -m benchmarks.reliability [--kills 50] [--seed 0].

Writes docs/reliability.md anew. Every command is a process of its own, on drawn lineages in a scratch folder. As root
it mounts small disks there; else it limits the size of files. The clock is shifted inside Python: under libfaketime
(0.9.10) Python's own sleep fails once the clock went back, as it does under no real clock. Exit code 1 where a fault
did not end as it should.
"""

from __future__ import annotations

import argparse
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

OUT = REPOSITORY / "docs" / "reliability.md"
TEMPLATE = Path(__file__).parent / "faults" / "reliability.md"

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
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-") as scratch:
        bench = prepared(Path(scratch), asked.seed, asked.kills, asked.faketime)
        with ThreadPoolExecutor(len(LINES)) as pool:
            rows = [row for of_line in pool.map(lambda faults: tried(bench, faults), LINES) for row in of_line]
        rows += tested(bench, TESTED)
    took_min = (time.monotonic() - began) / 60
    options = f"--kills {asked.kills} --seed {asked.seed}"
    asked.out.write_text(document(rows, options, took_min))
    failed = [row.fault for row in rows if not row.passed]
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


def document(rows: Sequence[Row], options: str, took_min: float) -> str:
    """The document: the template with the tables in their places."""
    sections = list(dict.fromkeys(row.section for row in rows))
    tables = "\n\n".join(
        f"### {section}\n\n{table([row for row in rows if row.section == section])}" for section in sections
    )
    n_passed = sum(row.passed for row in rows)
    return TEMPLATE.read_text().format(
        options=options, took_min=f"{took_min:.0f}", n_rows=len(rows), n_passed=n_passed, tables=tables
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
