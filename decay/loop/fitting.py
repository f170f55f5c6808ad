"""The steps of a run before a generation: the real pictures made ready, the training set, the weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from decay.errors import LineageError
from decay.images import encode_png
from decay.loop import checkpoint
from decay.loop.bench import Bench
from decay.loop.engine import Dataset, Fit, Masking, Weights, derive_seed
from decay.loop.folder import RunFolder, fresh_name, picture_name
from decay.loop.parents import check_controls, check_inherited
from decay.loop.protocol import Protocol
from decay.loop.real import RealPicture, RealPictures
from decay.loop.record import Record, rows_in
from decay.loop.regimes import FRESH, REAL, Item, compose, notes_on_shares, pool_of
from decay.loop.scores import find_score, score_images
from decay.metadata import json_lines, metadata_row
from detectors.trait import OK

FIT = 2**31 - 1
"""In place of a slot in the seeds of fits."""


def prepare_real(bench: Bench) -> None:
    """``real/``: the slots' pictures at the run's size. What lies there already is taken as it is."""
    slots = bench.pictures.slots
    _prepare(
        bench, bench.folder.real, [picture_name(slot) for slot in range(len(slots))], lambda: slots, "real pictures"
    )


def fit(bench: Bench, generation: int) -> None:
    """``weights/``: those that the engine starts from, for generation 0, if it has any; else newly fitted ones."""
    place = bench.folder.weights(generation)
    if not bench.is_there(place):
        base = bench.engine.base() if generation == 0 else None
        items = training_set(bench, generation) if base is None else ()
        weights = bench.shelf.put(generation, _fitted(bench, items, generation) if base is None else base)
        if bench.record is not None:
            told = {} if base is not None else _told(bench, bench.record, items, generation)
            said = {"engine": bench.engine.name, "is_base": base is not None, **told}
            with checkpoint.published(place, said) as staged:
                weights.save(staged)
        bench.engine.processes.wait()
    if bench.record is not None and not bench.record.knows(place):
        bench.record.weights(generation)
    if bench.record is not None:
        checkpoint.remove(_scratch(bench, generation))


def check_training_sets(
    protocol: Protocol, folder: RunFolder, pictures: RealPictures, *, parent_is_there: bool = True
) -> None:
    """Raises DecayError if a retraining wants more real pictures than there are, a score that there is none of, a share
    that comes to nothing, or pictures of a parent that are not there (``parent_is_there``) or went through other
    controls."""
    notes_on_shares(protocol, pictures.groups)
    for regime in protocol.regimes:
        if regime.kind == "curated":
            find_score(regime.score)
    inherited: set[Item] = set()
    for generation in range(max(protocol.first_generation, 1), protocol.last_generation + 1):
        items = _compose(protocol, pictures, generation, None)
        inherited.update(item for item in items if 0 <= item.generation < protocol.first_generation)
    check_controls(protocol, folder, {item.generation for item in inherited})
    if parent_is_there:
        check_inherited(protocol, folder, sorted(inherited), len(pictures.slots))


def training_set(bench: Bench, generation: int) -> tuple[Item, ...]:
    """What the fit before ``generation`` is made on; before generation 0 the real pictures."""
    if generation == 0:
        return tuple(bench.every_slot(REAL))
    regime = bench.protocol.regime_at(bench.protocol.iteration_of(generation))
    if regime.kind != "curated":
        return _compose(bench.protocol, bench.pictures, generation, None)
    before = bench.training_pictures(bench.every_slot(generation - 1), generation)
    scores = [float(score) for score in score_images(before, regime.score)]
    return _compose(bench.protocol, bench.pictures, generation, scores)


def _compose(
    protocol: Protocol, pictures: RealPictures, generation: int, scores: Sequence[float] | None
) -> tuple[Item, ...]:
    pool = pool_of(protocol, pictures.groups, generation, pictures.n_reserve, scores)
    return compose(protocol.regime_at(pool.iteration), pool, protocol.seed)


def _fitted(bench: Bench, items: Sequence[Item], generation: int) -> Weights:
    fresh = _prepare_fresh(bench, items, generation)
    captions = [
        fresh[fresh_name(item)] if item.generation == FRESH else bench.pictures.slots[item.slot].prompt
        for item in items
    ]
    dataset = Dataset(bench.training_pictures(items, generation), tuple(captions))
    what = f"fit {generation}"
    circumstances = Fit(
        _seed(bench, generation), _scratch(bench, generation), lambda done, total: bench.progress(what, done, total)
    )
    start = None
    if generation > 0:
        before = _parent(bench, generation)
        start = None if before is None else bench.shelf.take(before)
    weights: Weights = bench.engine.fit(dataset, start, circumstances)
    return weights


def _told(bench: Bench, record: Record, items: Sequence[Item], generation: int) -> dict[str, object]:
    """All that the log will say of a fit, for the manifest of its weights."""
    kept, extra = _worked_on(bench, items, generation)
    before = _parent(bench, generation)
    return {
        "training_set": record.members(kept, generation),
        "parent": None if before is None else record.weights_sha256(before),
        "seed": _seed(bench, generation),
        "steps": bench.engine.fit_steps(len(kept), first=before is None),
        "extra": extra,
    }


def _parent(bench: Bench, generation: int) -> int | None:
    """The generation whose weights a fit goes on from; None for a fit from nothing. Base weights are those of
    generation 0 as they were published, so that they cannot become others on the way."""
    if generation > 0 and bench.protocol.init == "chain":
        return generation - 1
    return 0 if generation > 0 and bench.engine.has_base else None


def _worked_on(bench: Bench, items: Sequence[Item], generation: int) -> tuple[Sequence[Item], dict[str, object]]:
    """The pictures of a training set that the engine was fitted on, and in which states how many of all were."""
    if not isinstance(bench.engine, Masking):
        return items, {}
    states = bench.engine.mask_states(bench.training_pictures(items, generation))
    kept = [item for item, state in zip(items, states, strict=True) if state == OK]
    return kept, {"mask_states": dict(sorted(Counter(states).items()))}


def _seed(bench: Bench, generation: int) -> int:
    return derive_seed(bench.protocol.seed, generation, FIT)


def _scratch(bench: Bench, generation: int) -> Path:
    return bench.folder.work(f"fit_{generation:02d}")


def _prepare_fresh(bench: Bench, items: Sequence[Item], generation: int) -> dict[str, str]:
    """``fresh/``: the pictures of the reserve that a fit needs, at the run's size; returns their prompts by name.

    Once it is there it says what they are, whatever has become of the folder that they came from.
    """
    fresh = [item for item in items if item.generation == FRESH]
    if not fresh:
        return {}
    place = bench.folder.fresh(generation)
    names = [fresh_name(item) for item in fresh]
    _prepare(bench, place, names, lambda: _unseen(bench, fresh), f"fresh pictures {generation}")
    return {row["file_name"]: row["text"] for row in rows_in(place)}


def _unseen(bench: Bench, items: Sequence[Item]) -> list[RealPicture]:
    """The next of the reserve for each of ``items`` that no fit of the run has seen, by content."""
    seen = {row["original_sha256"] for place in bench.folder.fresh_folders() for row in rows_in(place)}
    left = {
        group: iter([picture for picture in pictures if picture.original_sha256 not in seen])
        for group, pictures in bench.pictures.reserve.items()
    }
    return [next(left[item.group]) for item in items]


def _prepare(
    bench: Bench, place: Path, names: Sequence[str], pictures: Callable[[], Iterable[RealPicture]], what: str
) -> None:
    """The folder ``place`` with ``pictures`` under ``names``; they are asked for only if it is not there yet."""

    def fill(staged: Path) -> None:
        rows = []
        for slot, (name, each) in enumerate(zip(names, pictures(), strict=True)):
            (staged / name).write_bytes(encode_png(each.ready(bench.protocol.size_px)))
            known = metadata_row(name, each.prompt, slot, None, each.group, each.source, each.expects)
            rows.append({**known, **each.original})
            bench.progress(what, slot + 1, len(names))
        (staged / "metadata.jsonl").write_text(json_lines(rows), encoding="utf-8")

    bench.once(place, fill)
    absent = [name for name in names if not (place / name).is_file()]
    if absent:
        raise LineageError(
            f"{place}: expected the pictures that a run prepares, {absent[0]} and so on; it holds others. "
            "Move it elsewhere and give its path as `folder` in [real]."
        )
    if bench.record is not None:
        bench.record.real(place)
