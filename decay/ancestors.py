"""The runs that a run goes on from: their generations belong to its course, though they lie elsewhere."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from decay.lineage import Generation, Lineage, load_lineage
from decay.metadata import read_settings
from decay.storage import is_remote

HELD_OUT = "held_out"
"""Folder of a run with the generations of prompts that are never trained on."""
_MARK = ":"
"""Between a run's name and a path in it."""


def ancestors_of(run: Path) -> list[tuple[Path, int]]:
    """The runs that ``run`` goes on from, the nearest first, each with the last of its generations that counts.

    A run's ``held_out/`` goes on from the ``held_out/`` of what the run goes on from.
    ``parent`` of the protocol in lineage.json names them, as ``decay run --heal`` writes it. Ends before a run that is
    not there, and before one that it has been through. Runs in storage are not followed. Raises LineageError where a
    lineage.json is damaged.
    """
    if is_remote(run):
        return []
    place = Path(os.path.realpath(run))
    if place.name == HELD_OUT and (place.parent / "lineage.json").is_file():
        above = ((each / HELD_OUT, last) for each, last in ancestors_of(place.parent))
        return [(each, last) for each, last in above if each.is_dir()]
    found: list[tuple[Path, int]] = []
    seen = {place}
    while (named := _parent_of(place)) is not None:
        place, last = named
        if place in seen:
            break
        seen.add(place)
        found.append((place, min([last, *(each for _, each in found)])))
    return found


def with_ancestors(lineage: Lineage) -> Lineage:
    """The lineage with the generations that it lacks of those that it goes on from, up to the one it began with.

    Their image column is the run's name, a colon and the path in it. Raises LineageError where one cannot be read.
    """
    for place, last in ancestors_of(lineage.root):
        above = load_lineage(place)
        own = {generation.index for generation in lineage.generations}
        before = [_named(place, each) for each in above.generations if each.index <= last and each.index not in own]
        lineage = replace(
            lineage,
            generations=tuple(sorted((*before, *lineage.generations), key=lambda generation: generation.index)),
            roots={**lineage.roots, **{each.index: place for each in before}},
            notes=(*lineage.notes, *(f"{place.name}, which this run goes on from: {note}" for note in above.notes)),
        )
    return lineage


def place_of(run: Path, image: str) -> tuple[Path, str]:
    """The folder that an image of the tables may not lead out of, and its path in there."""
    name, mark, inside = image.partition(_MARK)
    for place, _ in ancestors_of(run) if mark and not (run / image).is_file() else []:
        if place.name == name and (place / inside).is_file():
            return place, inside
    return run, image


def _named(place: Path, generation: Generation) -> Generation:
    images = (replace(image, relative=f"{place.name}{_MARK}{image.relative}") for image in generation.images)
    return replace(generation, images=tuple(images))


def _parent_of(run: Path) -> tuple[Path, int] | None:
    protocol = read_settings(run).get("protocol")
    parent = protocol.get("parent") if isinstance(protocol, Mapping) else None
    if not isinstance(parent, Mapping):
        return None
    above, last = parent.get("run"), parent.get("generation")
    if not isinstance(above, str) or not isinstance(last, int):
        return None
    # Path.is_file raises for a name that no file can have, such as one with a NUL or of 5,000 letters.
    if not os.path.isfile(run / above / "lineage.json"):  # noqa: PTH113
        return None
    return Path(os.path.realpath(run / above)), last
