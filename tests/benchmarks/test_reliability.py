"""The document says what the fuzzer said, or that it was not run."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.faults.common import Row
from benchmarks.fuzz import Tally, from_json, to_json
from benchmarks.reliability import document, fuzzed_briefly

ROW = Row("Disk", "full", "how", "one sentence", "one sentence", True)
TALLIES = {
    "images": Tally(4_321, Counter(ok=321, unreadable=4_000), 0.25, 196.0, 438, [], 61.0),
    "rows": Tally(5_000, Counter(none=5_000), 0.07, 233.0, 71, ["IndexError: {braces} in it"], 59.0),
}


def test_the_figures_are_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "fuzz.json").write_text(to_json(TALLIES, 9_321, 7))
    fuzzed = from_json((tmp_path / "fuzz.json").read_text())
    assert (fuzzed.tallies, fuzzed.n_findings, fuzzed.seconds) == (TALLIES, 1, 120.0)
    page = document([ROW], "--kills 1", 1.0, fuzzed)
    assert "9,321 inputs, seed 7, took 2.0 minutes; findings: 1." in page
    assert "| images | 4,321 | unreadable 4,000, ok 321 | 438 | 0.25 | 196 | 61 | 0 |" in page
    assert "rows: IndexError: {braces} in it" in page
    assert "Not run here" not in page


def test_without_the_fuzzer_no_figures_are_shown() -> None:
    page = document([ROW], "--kills 1", 1.0, None)
    section = page[page.index("## The fuzzer") :]
    assert "Not run here" in section
    assert "| images |" not in section
    assert "python -m benchmarks.fuzz --runs" in section


@pytest.mark.skipif(importlib.util.find_spec("atheris") is not None, reason="atheris is installed")
def test_where_it_is_not_installed_nothing_is_run(tmp_path: Path) -> None:
    assert fuzzed_briefly(0, tmp_path / "fuzz.json") is None


@pytest.mark.parametrize("text", ["[]", "{}", '{"runs": 1, "seed": 0, "seconds": 1, "targets": {"images": {}}}'])
def test_a_file_that_is_not_the_fuzzers_is_refused(text: str) -> None:
    with pytest.raises((KeyError, TypeError)):
        from_json(text)
