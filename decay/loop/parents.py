"""What a run takes from the run that it goes on from: its places, its weights, its real pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from decay.errors import DecayError, LineageError, ModelError, shown
from decay.loop.checkpoint import stated_manifest
from decay.loop.folder import RunFolder, picture_name
from decay.loop.protocol import Parent, Protocol
from decay.loop.record import read_protocol_of
from decay.loop.regimes import Item

NONE_PLANNED: Mapping[Path, Protocol] = {}


def run_folder(protocol: Protocol, out: Path, planned: Mapping[Path, Protocol] = NONE_PLANNED) -> RunFolder:
    """The places of a run, with those of the runs that it goes on from.

    ``planned``: runs that will have been made before this one, by their folders; what is not in them yet is not missed.
    Raises DecayError if a parent is no run, or lacks the generation or the weights that this run goes on from.
    """
    folder = _places(protocol, out, planned, ())
    if protocol.parent is not None and protocol.parent.run not in planned:
        _check_has(protocol, protocol.parent, folder)
    return folder


def inherited(protocol: Protocol, planned: Mapping[Path, Protocol] = NONE_PLANNED) -> Protocol:
    """The protocol with the real pictures of its parent, which are its slots; its own where it asks for fresh ones.

    Raises DecayError if it says otherwise, or has another engine or size than its parent.
    """
    if protocol.parent is None:
        return protocol
    run = protocol.parent.run
    above = _protocol_of(run, planned)
    for name in ("engine", "size_px"):
        here, there = getattr(protocol, name), getattr(above, name)
        if here != there:
            raise DecayError(
                f"{run}: expected a run to go on from with the same {name} as this one, {here}; it has {there}, and "
                f"neither its weights nor its pictures would fit. Set {name} to that, or begin a run of its own."
            )
    if protocol.needs_reserve:
        return protocol
    for name in ("folder", "prompt", "group", "per_group", "expects"):
        here, there = getattr(protocol.real, name), getattr(above.real, name)
        if here != there and (name != "folder" or _are_two_folders(here, there)):
            raise DecayError(
                f"{run}: a run that goes on from it has its real pictures, with {name} = {shown(_said(there))} in "
                f"[real]; found {shown(_said(here))}, which would do nothing. Say the same, or begin a run of its own."
            )
    return replace(protocol, real=above.real)


def check_controls(protocol: Protocol, folder: RunFolder, generations: Iterable[int]) -> None:
    """Raises DecayError unless ``generations`` of runs above, which are trained on, went through the same controls.

    A control is for every picture that is trained on, at every iteration: a first fit without it would be another
    experiment.
    """
    for generation in sorted(generations):
        above = folder.owner(generation)
        for name in ("colour", "quality"):
            here, there = getattr(protocol.controls, name), getattr(above.controls, name)
            if here != there:
                raise DecayError(
                    f"{above.root}: expected pictures made with {name} = {_word(here)} in [controls], as this run has "
                    f"it, since generation {generation} is trained on; that run has {_word(there)}. Set {name} to "
                    "that, or train on real pictures and on this run's own only."
                )


def check_inherited(protocol: Protocol, folder: RunFolder, items: Sequence[Item], n_slots: int) -> None:
    """Raises LineageError unless what is trained on of the runs above is there, as their controls left it."""
    wanted = [folder.training_picture(item, protocol.first_generation) for item in items]
    if protocol.parent is not None and protocol.controls.quality:
        wanted += [folder.generation(0) / picture_name(slot) for slot in range(n_slots)]  # its distances are the limit
        wanted += [folder.replaced(item.generation) for item in items]
    for path in wanted:
        if not path.exists():
            raise LineageError(
                f"{path}: expected it in the run that this one goes on from, since it is needed for training; it is "
                "missing. Put it back from a copy, or run the command of that run again."
            )


def _word(value: bool) -> str:
    return "true" if value else "false"


def _said(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def _are_two_folders(one: Path, other: Path) -> bool:
    """A folder that was moved, or written down from another working directory, cannot be told."""
    return one.is_dir() and other.is_dir() and not one.samefile(other)


def _protocol_of(run: Path, planned: Mapping[Path, Protocol]) -> Protocol:
    is_begun = RunFolder(run).settings.exists()
    return planned[run] if run in planned and not is_begun else read_protocol_of(run)


def _places(protocol: Protocol, out: Path, planned: Mapping[Path, Protocol], below: tuple[str, ...]) -> RunFolder:
    if protocol.parent is None:
        return RunFolder(out, controls=protocol.controls)
    run = protocol.parent.run
    below = (*below, os.path.realpath(out))
    if os.path.realpath(run) in below:
        raise LineageError(
            f"{run}: expected a run that began before the one that goes on from it; found that it goes on from itself. "
            "Name another run, or correct `parent` in its lineage.json."
        )
    above = _places(_protocol_of(run, planned), run, planned, below)
    return RunFolder(out, protocol.parent.generation + 1, above, protocol.controls)


def _check_has(protocol: Protocol, parent: Parent, folder: RunFolder) -> None:
    if not folder.generation(parent.generation).is_dir():
        raise DecayError(
            f"{parent.run}: expected generation {parent.generation} to go on from; it has none. "
            "Finish that run first, or name a generation that it has."
        )
    if protocol.init != "chain" or _has_weights(folder, parent.generation):
        return
    last = _protocol_of(parent.run, NONE_PLANNED).last_generation
    kept = next((each for each in range(last, -1, -1) if _has_weights(folder.parent or folder, each)), None)
    advice = "none has any left" if kept is None else f"the last generation that has any is {kept}: name that one"
    raise ModelError(
        f"{parent.run}: expected the weights of generation {parent.generation} to go on from; they were let go "
        f"(see keep_weights), and {advice}."
    )


def _has_weights(folder: RunFolder, generation: int) -> bool:
    """Whether all that was published of them is there; what is in it is checked when it is read."""
    place = folder.weights(generation)
    return place.is_dir() and all((place / name).is_file() for name in stated_manifest(place).files)
