"""The loop: fit on real pictures, sample, fit on what the regime makes of it, sample again, and so on.

A run is a chain of steps, each of which leaves one finished folder and its events in the provenance log::

    real/ -> weights/fit_00 -> gen_00 -> held_out/gen_00 -> replaced/gen_00 -> matched/gen_00 -> weights/fit_01 -> ...

What is finished is there under its own name; what is not lies in ``.work/``. So the same command, given again after an
interruption at any moment, finds out by looking what is left to do, and does it to the same result: all chance hangs
on the run's seed, the generation and the slot.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from decay.errors import DecayError
from decay.files import run_lock
from decay.loop import checkpoint
from decay.loop.bench import Bench, RunProgress, Shelf
from decay.loop.controlled import match_colours, replace_distant
from decay.loop.engine import Engine
from decay.loop.engines import open_engine
from decay.loop.fitting import check_training_sets, fit, prepare_real
from decay.loop.folder import RunFolder
from decay.loop.plan import Plan, make_plan
from decay.loop.protocol import Protocol, RealSet
from decay.loop.real import RealPictures, choose
from decay.loop.record import open_record, read_protocol_of
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
    protocol = fitted_to(engine, protocol)
    folder = run_folder(protocol, out)
    pictures = slots_of(protocol, folder)
    with ExitStack() as held:
        record = None
        if engine.processes.index == 0:
            held.enter_context(run_lock(out))
            record = held.enter_context(open_record(folder, protocol, engine, pictures))
        engine.processes.wait()
        told = progress if record is not None else _quiet
        _go(Bench(protocol, engine, folder, pictures, Shelf(engine, folder), record, told))
        if record is not None:
            checkpoint.remove(folder.work(""))
    return out


def plan(protocol: Protocol) -> Plan:
    """What ``run`` would do, to the last picture; nothing is written. Raises DecayError where it could not be done."""
    engine = open_engine(protocol.engine, protocol.engine_settings, protocol.size_px)
    pictures = choose(_parents_real(protocol) or protocol.real, protocol.seed)
    protocol.held_out.refuse_trained(picture.prompt for picture in pictures.slots)
    n_reserve = {group: len(reserve) for group, reserve in pictures.reserve.items()}
    return make_plan(fitted_to(engine, protocol), engine, pictures.groups, n_reserve, not engine.has_base)


def _parents_real(protocol: Protocol) -> RealSet | None:
    """The slots of the run that this one goes on from, if that one has begun."""
    if protocol.parent is None or not (real := RunFolder(protocol.parent.run).real).is_dir():
        return None
    return RealSet(real)


def _go(bench: Bench) -> None:
    """Every step that is not done yet, in order; all processes keep together."""
    check_training_sets(bench)
    prepare_real(bench)
    for generation in range(bench.protocol.first_generation, bench.protocol.last_generation + 1):
        fit(bench, generation)
        sample(bench, generation)
        hold_out(bench, generation)
        replace_distant(bench, generation)
        match_colours(bench, generation)
        _let_go(bench, generation - 1)


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
    if engine.needs_pictures and ("noise" in (protocol.first_from, protocol.later_from) or protocol.held_out.prompts):
        raise DecayError(
            f"The engine {engine.name} paints into pictures and makes none from a prompt alone: set first_from to "
            '"real", later_from to "previous" or "real", and leave [held_out] out.'
        )
    return replace(protocol, init=protocol.init or ("chain" if engine.chains else "base"))


def run_folder(protocol: Protocol, out: Path) -> RunFolder:
    """The places of a run, with those of the runs that it goes on from. Raises DecayError if one of those is no run."""
    if protocol.parent is None:
        return RunFolder(out)
    above = run_folder(read_protocol_of(protocol.parent.run), protocol.parent.run)
    if not above.generation(protocol.parent.generation).is_dir():
        raise DecayError(
            f"{protocol.parent.run}: expected generation {protocol.parent.generation} to go on from; it has none. "
            "Finish that run first, or name a generation that it has."
        )
    return RunFolder(out, protocol.parent.generation + 1, above)


def slots_of(protocol: Protocol, folder: RunFolder) -> RealPictures:
    """The real pictures of a run: once ``real/`` is there, or its parent's, they are the slots; see ``choose``.

    So slots stay what they were, whatever happens to the folder they came from. The reserve is not copied.
    """
    source = next(
        (each for each in (folder.real, folder.parent and folder.parent.real) if each and each.is_dir()), None
    )
    if source is None:
        pictures = choose(protocol.real, protocol.seed)
    else:
        reserve = choose(protocol.real, protocol.seed).reserve if protocol.needs_reserve else {}
        pictures = RealPictures(choose(RealSet(source), protocol.seed).slots, reserve)
    protocol.held_out.refuse_trained(picture.prompt for picture in pictures.slots)
    return pictures
