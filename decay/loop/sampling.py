"""The steps of a run that make pictures: a generation, the held-out prompts, replacements for what lies too far off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from decay.errors import ImageProblem
from decay.files import make_folder, publish_folder
from decay.images import encode_png, read_image
from decay.loop.bench import Bench
from decay.loop.engine import derive_seed
from decay.loop.folder import PictureFiles, picture_name
from decay.loop.positions import Position
from decay.metadata import json_lines
from detectors.trait import Pixels

HELD_OUT = 2**31 - 2
"""In place of a slot in the seed of the held-out pictures."""


def sample(bench: Bench, generation: int) -> None:
    """``gen_00/`` and so on: one picture per slot."""
    seeds = [derive_seed(bench.protocol.seed, generation, slot) for slot in range(len(bench.pictures.slots))]
    place = bench.folder.generation(generation)
    _make(bench, place, generation, slot_positions(bench, generation, seeds), f"generation {generation}")


def hold_out(bench: Bench, generation: int) -> None:
    """``held_out/``: pictures of prompts that are never trained on, from noise."""
    held_out = bench.protocol.held_out
    prompts = [prompt for prompt in held_out.prompts for _ in range(held_out.per_prompt)]
    seed = derive_seed(bench.protocol.seed, 0, HELD_OUT)
    positions = [Position(i, prompt, prompt, derive_seed(seed, generation, i)) for i, prompt in enumerate(prompts)]
    if positions:
        _make(bench, bench.folder.held_out(generation), generation, positions, f"held-out {generation}")


def slot_positions(bench: Bench, generation: int, seeds: Sequence[int]) -> list[Position]:
    """One per slot, each with its seed and with what it starts from."""
    begin = bench.protocol.first_from if generation == 0 else bench.protocol.later_from
    return [
        Position(
            index=slot,
            prompt=picture.prompt,
            group=picture.group,
            seed=seed,
            expects=picture.expects,
            start=None if begin == "noise" else _start(bench, generation, slot, is_real=begin == "real"),
        )
        for slot, (picture, seed) in enumerate(zip(bench.pictures.slots, seeds, strict=True))
    ]


def _start(bench: Bench, generation: int, slot: int, *, is_real: bool) -> Path:
    """The slot's real picture, or that of the generation before: of one that was refused, its replacement."""
    if is_real or generation == 0:
        return bench.folder.real / picture_name(slot)
    return bench.folder.unmatched(generation - 1, slot)


def pictures_of(bench: Bench, generation: int, positions: Sequence[Position]) -> Iterator[Pixels]:
    """What the weights of a generation make for some positions, in order."""
    starts = [position.start for position in positions if position.start is not None]
    yield from bench.engine.sample(
        bench.shelf.take(generation),
        [position.prompt for position in positions],
        [position.seed for position in positions],
        PictureFiles(starts) if starts else None,
    )


def _make(bench: Bench, place: Path, generation: int, positions: Sequence[Position], what: str) -> None:
    """One picture per position into ``place``, each process its share. What an interruption left is kept."""
    if not bench.is_there(place):
        work = bench.folder.work("-".join(place.relative_to(bench.folder.root).parts))
        make_folder(work)
        missing = [position for position in positions if not _is_whole(work / position.file_name)]
        bench.engine.processes.wait()  # all have looked before any writes
        _write_share(bench, work, generation, missing, len(positions), what)
        bench.engine.processes.wait()
        if bench.record is not None:
            rows = [position.metadata_row(bench.engine.name) for position in positions]
            (work / "metadata.jsonl").write_text(json_lines(rows), encoding="utf-8")
            publish_folder(work, place)
        bench.engine.processes.wait()
    if bench.record is not None:
        bench.record.images(place, generation, positions)


def _write_share(bench: Bench, work: Path, generation: int, missing: Sequence[Position], n_all: int, what: str) -> None:
    """This process's share of the missing pictures, each under its name only when it is whole."""
    processes = bench.engine.processes
    share = missing[processes.index :: processes.count]
    n_before = n_all - len(missing)
    bench.progress(what, n_before, n_all)
    if not share:
        return
    made = pictures_of(bench, generation, share)
    for done, (position, pixels) in enumerate(zip(share, made, strict=True), start=1):
        # Not forced to the disk one by one, which would cost more than small pictures do: all are at the end.
        aside = work / f"{position.file_name}.part"
        aside.write_bytes(encode_png(pixels))
        aside.replace(work / position.file_name)
        bench.progress(what, min(n_before + done * processes.count, n_all), n_all)


def _is_whole(path: Path) -> bool:
    """Whether a picture was finished; after a power cut one may be there by name alone."""
    try:
        read_image(path, within=path.parent)
    except ImageProblem:
        return False
    return True
