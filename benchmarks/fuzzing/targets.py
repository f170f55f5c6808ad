"""What is fuzzed: everything that enters from outside, and what must hold whatever comes.

A target reads one input and gives a word for how it ended. ``Refused`` is right: the one sentence that a person gets.
Any other exception, and a result that is not well-formed, is a finding.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from atheris import FuzzedDataProvider

from benchmarks.fuzzing import folders, mutations, seeds
from decay import images
from decay.ancestors import with_ancestors
from decay.errors import DecayError, ImageProblem
from decay.images import NOTES, STATES
from decay.journal import Journal
from decay.lineage import Generation, ImageRecord, Lineage, load_lineage
from decay.loop.reading import protocol_from_record, read_protocol, resolved
from decay.metadata import EXPECTABLE
from decay.outcome import Outcome
from decay.phantom import load_plan
from decay.provenance.chain import LOG_NAME
from decay.provenance.trace import ancestry_text, trace
from decay.provenance.verify import verification_text, verify
from decay.tables import build_tables

MAX_PIXELS = 1_000_000
"""Of the pictures that are fuzzed: time and memory of decoding grow with the pixels, small ones show as much."""


class Mutate(Protocol):
    """What changes a target's input."""

    def __call__(self, data: bytes, most: int, seed: int, anyhow: mutations.Anyhow) -> bytes:
        """``data`` changed, at most ``most`` bytes; ``anyhow``: libFuzzer's own changes."""
        ...


@dataclass(frozen=True)
class Target:
    """``lay``: puts the input into the scratch folder. ``read``: (input, folder) -> how it ended; it is watched.

    ``mutate``: None for libFuzzer's own. ``writes``: whether ``read`` may write, and into the scratch folder alone.
    """

    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes, Path], str]
    lay: Callable[[bytes, Path], None] = lambda data, scratch: None
    mutate: Mutate | None = None
    most_bytes: int = 2**14
    writes: bool = False


def read_image(data: bytes, scratch: Path) -> str:
    """``decay.images.decode``: pixels as promised, or an ImageProblem with a known state."""
    try:
        picture = images.decode(data, "picture", max_pixels=MAX_PIXELS)
    except ImageProblem as problem:
        _is(problem.state in STATES, problem.state)
        _is(len(str(problem)) < 1000 and str(problem).endswith("."), str(problem))
        return problem.state
    pixels = picture.pixels
    _is(pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size > 0, str(pixels.shape))
    _is(pixels.flags.c_contiguous and pixels.size <= 3 * MAX_PIXELS, str(pixels.shape))
    _is(set(picture.notes) <= set(NOTES), str(picture.notes))
    return "ok"


def lay_run(data: bytes, scratch: Path) -> None:
    """A run folder, and beside it a folder with a secret."""
    for name in ("run", "outside"):
        (scratch / name).mkdir()
    (scratch / "outside" / "secret.png").write_bytes(folders.SECRET)
    folders.build_run(scratch / "run", scratch / "outside", FuzzedDataProvider(data))


def read_run(data: bytes, scratch: Path) -> str:
    """``load_lineage`` and what it leads to: records that tables can hold, and no byte from outside of the folder."""
    return _refused(lambda: _look_through(scratch / "run", scratch / "outside"))


def _look_through(run: Path, outside: Path) -> None:
    lineage = with_ancestors(load_lineage(run))
    "".join(lineage.notes).encode("utf-8")
    for generation in (*lineage.generations, *([lineage.reference] if lineage.reference else [])):
        _is(-1 <= generation.index < 2**31, str(generation.index))
        for record in generation.images:
            _check_record(record, lineage, generation, outside)


def _check_record(record: ImageRecord, lineage: Lineage, generation: Generation, outside: Path) -> None:
    texts = (record.relative, record.slot, record.prompt, record.group, record.source, *record.columns.values())
    _is(all(isinstance(text, str) for text in texts), repr(texts))
    "".join(texts).encode("utf-8")
    _is(record.seed is None or isinstance(record.seed, int), repr(record.seed))
    _is(record.expects is None or record.expects <= set(EXPECTABLE), repr(record.expects))
    try:
        content, _ = images.read_bytes_and_hash(record.path, within=lineage.root_of(generation.index))
    except ImageProblem as problem:
        _is(problem.state in STATES, problem.state)
        return
    _is(content != folders.SECRET or lineage.root_of(generation.index) == outside, f"{record.path} led out")


def lay_toml(data: bytes, scratch: Path) -> None:
    """A TOML file."""
    (scratch / "a.toml").write_bytes(data)


def read_toml(data: bytes, scratch: Path) -> str:
    """``read_protocol``: an experiment whose record gives it back, or a DecayError."""

    def read() -> None:
        for arm in read_protocol(scratch / "a.toml").arms.values():
            _is(protocol_from_record(resolved(arm)) == arm, "the record gives another protocol")

    return _refused(read)


def read_plan(data: bytes, scratch: Path) -> str:
    """``load_plan``: a plan whose kept shares are shares in every generation, or a DecayError."""

    def read() -> None:
        plan = load_plan(str(scratch / "a.toml"))
        _is(0 <= plan.frac_hands <= 1, repr(plan.frac_hands))
        for name, decay in plan.decays.items():
            _is(all(0 <= decay.kept(generation) <= 1 for generation in (0, 1, 7, 100)), f"{name}: {decay}")

    return _refused(read)


def lay_log(data: bytes, scratch: Path) -> None:
    """The run that the seeds are of, as far as its first picture goes, with this log."""
    (scratch / "gen_00").mkdir()
    (scratch / "gen_00" / "0.png").write_bytes(b"gen_00/0.png")
    (scratch / LOG_NAME).write_bytes(data)


def read_log(data: bytes, scratch: Path) -> str:
    """``verify`` and ``trace``: a finding in words, or a DecayError."""

    def read() -> None:
        verification_text(verify(scratch)).encode("utf-8")
        ancestry_text(trace(scratch / "gen_00" / "0.png")).encode("utf-8")

    return _refused(read)


def lay_row(data: bytes, scratch: Path) -> None:
    """A journal of one row."""
    path = scratch / "journal.sqlite"
    with Journal(path), closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("INSERT INTO readings VALUES ('hash', 'reader', ?)", (data.decode("utf-8", "replace"),))


def read_row(data: bytes, scratch: Path) -> str:
    """A row of the journal: readings that the tables take, or none."""
    with Journal(scratch / "journal.sqlite") as journal:
        readings = journal.get("reader", "hash")
    if readings is None:
        return "none"
    record = ImageRecord(scratch / "a.png", "gen_00/a.png", "a")
    lineage = Lineage(scratch, (Generation(0, scratch, (record,)),))
    build_tables(lineage, {record.relative: Outcome("hash", "ok", readings)})
    return "ok"


def _refused(read: Callable[[], None]) -> str:
    try:
        read()
    except DecayError as error:
        _is(bool(str(error)), "an empty message")
        return "refused"
    return "ok"


def _is(holds: bool, found: str) -> None:
    if not holds:
        raise AssertionError(f"not well-formed: {found[:200]}")


def empty(folder: Path) -> None:
    """Take everything out of the scratch folder, and nothing that a link in it leads to."""
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            Path(entry.path).unlink()


TARGETS: Mapping[str, Target] = {
    "images": Target(seeds.image_seeds, read_image, mutate=mutations.mutate_image, most_bytes=2**15),
    "folders": Target(lambda: [bytes(range(256)), b"\0" * 64], read_run, lay_run, most_bytes=1024),
    "protocols": Target(seeds.protocol_seeds, read_toml, lay_toml, mutations.mutate_toml),
    "plans": Target(seeds.plan_seeds, read_plan, lay_toml, mutations.mutate_toml, most_bytes=4096),
    "logs": Target(seeds.log_seeds, read_log, lay_log, mutations.mutate_log),
    "rows": Target(seeds.row_seeds, read_row, lay_row, mutations.mutate_row, most_bytes=4096, writes=True),
}
