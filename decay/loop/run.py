"""The loop: fit on real pictures, sample, fit on what the regime makes of it, sample again, and so on.

A run is a chain of steps, each of which leaves one finished folder and its events in the provenance log::

    real/ -> weights/fit_00 -> gen_00 -> held_out/gen_00 -> replaced/gen_00 -> matched/gen_00 -> weights/fit_01 -> ...

What is finished is there under its own name; what is not lies in ``.work/``. So the same command, given again after an
interruption at any moment, finds out by looking what is left to do, and does it to the same result: all chance hangs
on the run's seed, the generation and the slot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from decay.errors import DecayError, ModelError
from decay.files import run_lock
from decay.loop import checkpoint
from decay.loop.bench import Bench, RunProgress, Shelf
from decay.loop.controlled import match_colours, replace_distant
from decay.loop.controls import SingleImageFid
from decay.loop.engine import Engine
from decay.loop.engines import open_engine
from decay.loop.fitting import check_training_sets, fit, prepare_real
from decay.loop.folder import RunFolder
from decay.loop.parents import NONE_PLANNED, inherited, run_folder
from decay.loop.plan import Plan, make_plan
from decay.loop.protocol import Protocol, RealSet
from decay.loop.real import (
    RealPicture,
    RealPictures,
    check_prepared,
    check_sides,
    choose_reserve,
    choose_slots,
    prepared_in,
)
from decay.loop.record import check_folder, open_record, rows_in, settings_of
from decay.loop.sampling import hold_out, sample


def _quiet(what: str, done: int, total: int) -> None:
    pass


def run(protocol: Protocol, out: Path, progress: RunProgress = _quiet) -> Path:
    """Do what ``protocol`` says in the folder ``out``, or go on where it was interrupted; returns ``out``.

    Same protocol, same pictures, bit for bit on a CPU. With several processes (``accelerate launch``) all call this.
    Raises DecayError where the protocol cannot be followed, the folder holds another experiment, or the machine fails;
    what was finished stays.
    """
    engine = open_engine(protocol.engine, protocol.engine_settings, protocol.size_px)
    engine.check()
    protocol = inherited(fitted_to(engine, protocol))
    folder = run_folder(protocol, out)
    pictures = slots_of(protocol, folder)
    metric = _metric(protocol)
    check_training_sets(protocol, folder, pictures)
    with ExitStack() as held:
        record = None
        if engine.processes.index == 0:
            held.enter_context(run_lock(out))
            model = None if metric is None else metric.model_sha256
            said = settings_of(folder, protocol, engine, pictures, model)
            record = held.enter_context(open_record(folder, said))
        engine.processes.wait()
        told = progress if record is not None else _quiet
        _go(Bench(protocol, engine, folder, pictures, Shelf(engine, folder), record, told, metric))
        if record is not None:
            checkpoint.remove(folder.work(""))
    return out


def plan(protocol: Protocol, out: Path, planned: Mapping[Path, Protocol] = NONE_PLANNED) -> Plan:
    """What ``run`` would do in the folder ``out``, to the last picture; nothing is written.

    ``planned``: runs that will have been made before, by their folders, such as the arms of a sweep. Raises DecayError
    where it could not be done.
    """
    engine = open_engine(protocol.engine, protocol.engine_settings, protocol.size_px)
    protocol = inherited(fitted_to(engine, protocol), planned)
    folder = run_folder(protocol, out, planned)
    pictures = slots_of(protocol, folder)
    missing = ""
    try:
        metric = _metric(protocol)
        model = None if metric is None else metric.model_sha256
        check_folder(folder, settings_of(folder, protocol, engine, pictures, model))
    except ModelError as error:
        missing = str(error)
    parent_is_there = protocol.parent is None or protocol.parent.run not in planned
    check_training_sets(protocol, folder, pictures, parent_is_there=parent_is_there)
    made = make_plan(protocol, engine, pictures.groups, pictures.n_reserve, not engine.has_base)
    n_enlarged = sum(picture.side_px < protocol.size_px for picture in pictures.slots)
    return replace(made, n_enlarged=n_enlarged, missing=made.missing or missing)


def _go(bench: Bench) -> None:
    """Every step that is not done yet, in order; all processes keep together."""
    prepare_real(bench)
    for generation in range(bench.protocol.first_generation, bench.protocol.last_generation + 1):
        fit(bench, generation)
        sample(bench, generation)
        hold_out(bench, generation)
        replace_distant(bench, generation)
        match_colours(bench, generation)
        _let_go(bench, generation - 1)


def _metric(protocol: Protocol) -> SingleImageFid | None:
    """Of the quality control, None without one. Raises ModelError if its network is missing or no good."""
    controls = protocol.controls
    return SingleImageFid(controls.quality_model) if controls.quality and controls.quality_model is not None else None


def _let_go(bench: Bench, generation: int) -> None:
    """Of weights that nothing needs any more only the manifest is kept, where the protocol says so."""
    is_base = generation == 0 and bench.engine.has_base and bench.protocol.init == "base"
    is_over = bench.protocol.keep_weights == "last" and generation >= bench.protocol.first_generation and not is_base
    if is_over and bench.record is not None:
        place = bench.folder.weights(generation)
        if len(list(place.iterdir())) > 1:
            bench.record.let_go(generation)
            checkpoint.let_go(place)


def fitted_to(engine: Engine[Any], protocol: Protocol) -> Protocol:
    """The protocol with ``init`` decided. Raises DecayError where the engine cannot do what it says."""
    if protocol.init == "chain" and not engine.chains:
        raise DecayError(
            f"The engine {engine.name} is fitted in closed form and cannot go on from earlier weights: "
            'set init = "base", or leave it out.'
        )
    late = [regime.since for regime in protocol.regimes if regime.since > max(protocol.iterations, 1)]
    if late:
        raise DecayError(
            f"Expected regimes that begin within {protocol.iterations} iterations; found one with since = {late[0]}. "
            "It would never be used: correct it, or raise iterations."
        )
    ends = [*(regime.since for regime in protocol.regimes[1:]), max(protocol.iterations, 1) + 1]
    for regime, end in zip(protocol.regimes, ends, strict=True):
        if len(regime.shares) > end - regime.since:
            raise DecayError(
                f"Expected at most {end - regime.since} shares, one for each iteration of the regime schedule; found "
                f"{len(regime.shares)}. The last would never be used: take them out, or raise iterations."
            )
    if engine.needs_pictures and ("noise" in (protocol.first_from, protocol.later_from) or protocol.held_out.prompts):
        raise DecayError(
            f"The engine {engine.name} paints into pictures and makes none from a prompt alone: set first_from to "
            '"real", later_from to "previous" or "real", and leave [held_out] out.'
        )
    if protocol.held_out.prompts and not engine.reads_text:
        raise DecayError(
            f"The engine {engine.name} knows the captions it was fitted on and cannot answer held-out prompts: leave "
            "[held_out] out, or use an engine that reads text."
        )
    return replace(protocol, init=protocol.init or ("chain" if engine.chains else "base"))


def slots_of(protocol: Protocol, folder: RunFolder) -> RealPictures:
    """The real pictures of a run: once ``real/`` is there, or its parent's, they are the slots; see ``choose_slots``.

    So slots stay what they were, whatever happens to the folder they came from. The reserve is not copied: it is what
    that folder holds besides the slots and what earlier fits, of this run and of its parents, had of it.
    """
    source = next(
        (each for each in (folder.real, folder.parent and folder.parent.real) if each and each.is_dir()), None
    )
    slots = choose_slots(protocol.real if source is None else RealSet(source), protocol.seed)
    if source == folder.real:
        check_prepared(slots, protocol.size_px)
    pictures = _with_reserve(slots, protocol, folder) if protocol.needs_reserve else RealPictures(slots)
    every = [*pictures.slots, *chain.from_iterable(pictures.reserve.values())]
    check_sides(every)
    protocol.held_out.refuse_trained(chain((picture.prompt for picture in every), _prompts_before(folder)))
    return pictures


def _prompts_before(folder: RunFolder) -> Iterator[str]:
    """The prompts of real pictures that fits before this moment, of the run and of its parents, may have seen."""
    above = folder.parent
    while above is not None:
        if above.real.is_dir():
            yield from (picture.prompt for picture in prepared_in(above.real))
        above = above.parent
    for place in folder.fresh_folders():
        yield from (picture.prompt for picture in prepared_in(place))


def _with_reserve(slots: tuple[RealPicture, ...], protocol: Protocol, folder: RunFolder) -> RealPictures:
    taken = [(place, row) for place in folder.fresh_folders() for row in rows_in(place)]
    seen = {picture.original_sha256 for picture in slots} | {row["original_sha256"] for _, row in taken}
    n_used = Counter(row["group"] for place, row in taken if place.is_relative_to(folder.root))
    return RealPictures(slots, choose_reserve(protocol.real, protocol.seed, seen), n_used)
