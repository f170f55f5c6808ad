"""The steps of a run that a control adds: pictures that are trained on in place of those that were made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from decay.images import encode_png
from decay.loop.bench import Bench
from decay.loop.controls import ColourMatcher, replace_far
from decay.loop.engine import derive_seed
from decay.loop.folder import PictureFiles, picture_name
from decay.loop.positions import Position
from decay.loop.record import rows_in
from decay.loop.regimes import REAL
from decay.loop.sampling import pictures_of, slot_positions
from decay.metadata import json_lines
from detectors.trait import Pixels

AGAIN = 2**31 - 3
"""In place of a slot in the seeds of replacements."""


def replace_distant(bench: Bench, generation: int) -> None:
    """``replaced/``: other pictures for the slots whose own lie further from their real ones than generation 0 did."""
    metric = bench.metric
    if metric is None:
        return
    place = bench.folder.replaced(generation)

    def fill(staged: Path) -> None:
        def again(slots: Sequence[int], attempt: int) -> Iterator[Pixels]:
            positions = _positions_again(bench, generation, attempt)
            return pictures_of(bench, generation, [positions[slot] for slot in slots])

        rows = []
        found = replace_far(
            _generated(bench, generation), _real(bench), _generated(bench, 0), metric,
            bench.protocol.controls.quality_attempts, again,
        )  # fmt: skip
        for each in found.made:
            position = _positions_again(bench, generation, each.attempt)[each.slot]
            (staged / position.file_name).write_bytes(encode_png(each.pixels))
            said = {"attempt": each.attempt, "sifid": each.distance, "sifid_before": each.distance_before}
            rows.append({**position.metadata_row(bench.engine.name), **said, "sifid_limit": found.limit})
        (staged / "metadata.jsonl").write_text(json_lines(rows), encoding="utf-8")
        if bench.record is not None:
            bench.record.quality(place, found.limit, found.too_far)

    bench.once(place, fill)
    if bench.record is not None:
        rows = rows_in(place)
        made = [_positions_again(bench, generation, row["attempt"])[row["slot"]] for row in rows]
        told = [{name: row[name] for name in ("attempt", "sifid", "sifid_before", "sifid_limit")} for row in rows]
        bench.record.images(place, generation, made, told)


def match_colours(bench: Bench, generation: int) -> None:
    """``matched/``: every picture with the colour histograms of the real picture nearest to it."""
    if not bench.protocol.controls.colour:
        return

    def fill(staged: Path) -> None:
        matcher = ColourMatcher(_real(bench))
        rows = []
        sources = [bench.folder.unmatched(generation, slot) for slot in range(len(bench.pictures.slots))]
        for slot, pixels in enumerate(PictureFiles(sources)):
            match = matcher.match(pixels)
            (staged / picture_name(slot)).write_bytes(encode_png(match.pixels))
            said = {"real_slot": match.real_index, "divergence": match.divergence}
            rows.append({"file_name": picture_name(slot), "slot": slot, "source": "histogram-matched", **said})
        (staged / "metadata.jsonl").write_text(json_lines(rows), encoding="utf-8")

    place = bench.folder.matched(generation)
    bench.once(place, fill)
    if bench.record is not None:
        bench.record.matched(generation, [row["real_slot"] for row in rows_in(place)], bench.pictures.groups)


def _positions_again(bench: Bench, generation: int, attempt: int) -> list[Position]:
    """Every slot with the seed of its ``attempt``-th replacement, 1 or later."""
    seed = derive_seed(bench.protocol.seed, generation, AGAIN)
    seeds = [derive_seed(seed, attempt, slot) for slot in range(len(bench.pictures.slots))]
    return slot_positions(bench, generation, seeds)


def _generated(bench: Bench, generation: int) -> PictureFiles:
    folder = bench.folder.generation(generation)
    return PictureFiles([folder / picture_name(slot) for slot in range(len(bench.pictures.slots))])


def _real(bench: Bench) -> PictureFiles:
    return bench.training_pictures(bench.every_slot(REAL), 0)
