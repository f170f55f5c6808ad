"""Charts by several processes: the same bytes as by one, and all of them where the processes die."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from decay.drawing import drawing
from decay.verdict import Finding, read_finding
from reports.charts import write_charts
from reports.course import Course, courses


@pytest.fixture(scope="module")
def found(arms: Mapping[str, Path]) -> Finding:
    whole = read_finding(arms["fed"])
    names = list(whole.erosion["trait"][:9])
    some = (table[table["trait"].isin(names)] for table in (whole.traits, whole.erosion))
    return replace(whole, **dict(zip(("traits", "erosion"), some, strict=True)))


def test_one_process_is_this_one() -> None:
    with drawing(1) as draw_all:
        assert draw_all is None


def test_whoever_draws_the_bytes_are_the_same(found: Finding, tmp_path: Path) -> None:
    here = write_charts(found.traits, found.erosion, found.verdict, tmp_path / "here")
    with drawing(2) as draw_all:
        there = write_charts(found.traits, found.erosion, found.verdict, tmp_path / "there", draw_all=draw_all)
    assert [path.name for path in there] == [path.name for path in here]
    assert [path.read_bytes() for path in there] == [path.read_bytes() for path in here]


def _dies_but_here(course: Course) -> list[Path]:
    if multiprocessing.parent_process() is not None:
        os._exit(9)
    return [Path(course.trait)]


def test_what_dying_processes_leave_is_drawn_here(found: Finding) -> None:
    every = courses(found.traits, found.erosion)
    with drawing(2) as draw_all:
        assert draw_all is not None
        assert list(draw_all(_dies_but_here, every)) == [[Path(course.trait)] for course in every]
