"""The real pictures of a run: which of them are its slots, and how each is made ready for a generator."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from decay.errors import DecayError
from decay.files import sha256_of
from decay.images import read_image, read_size
from decay.lineage import ImageRecord, read_folder
from decay.loop.folder import picture_name
from decay.loop.protocol import RealSet
from decay.metadata import fill_template, relative_to_root
from decay.prompts import expects_from_prompt
from detectors.trait import Pixels

_SHA256 = re.compile(r"[0-9a-f]{64}")
MIN_SIDE_PX = 8
"""Of a real picture's shorter side: the least that a run makes, too."""


@dataclass(frozen=True)
class RealPicture:
    """``record``: what is known of the file. ``prompt``, ``group``: from the templates over its metadata."""

    record: ImageRecord
    root: Path
    prompt: str
    group: str
    expects: frozenset[str] | None

    @property
    def source(self) -> str:
        """Who made it, as its metadata say; a photograph where they say nothing."""
        return self.record.source or "real"

    @cached_property
    def original(self) -> Mapping[str, str]:
        """The name and the hash of the file that it is prepared from, as metadata have them from then on."""
        known = {name: self.record.columns.get(name, "") for name in ("original", "original_sha256")}
        if all(known.values()):
            return known
        name = relative_to_root(self.record.path.parent, self.record.path)
        return {"original": name, "original_sha256": sha256_of(self.record.path)}

    @property
    def original_sha256(self) -> str:
        """By which it is known for the same under another name, and in a run that has prepared it."""
        return self.original["original_sha256"]

    @cached_property
    def side_px(self) -> int:
        """The shorter side, from the file's header. Raises ImageProblem."""
        return min(read_size(self.record.path, within=self.root))

    def ready(self, size_px: int) -> Pixels:
        """The picture as a generator takes it: see ``square``. Raises ImageProblem."""
        return square(read_image(self.record.path, within=self.root), size_px)


@dataclass(frozen=True)
class RealPictures:
    """``slots``: one picture per slot. ``reserve``: those that no fit has seen yet, by group, in the order in which
    they are used. ``n_used``: fresh pictures that fits of this run have taken already, by group."""

    slots: tuple[RealPicture, ...]
    reserve: Mapping[str, tuple[RealPicture, ...]] = field(default_factory=dict)
    n_used: Mapping[str, int] = field(default_factory=dict)

    @property
    def groups(self) -> tuple[str, ...]:
        """The group of each slot."""
        return tuple(picture.group for picture in self.slots)

    @property
    def n_reserve(self) -> Mapping[str, int]:
        """Fresh pictures that there are for all fits of this run, by group: those taken and those left."""
        groups = sorted({*self.reserve, *self.n_used})
        return {group: len(self.reserve.get(group, ())) + self.n_used.get(group, 0) for group in groups}


def choose_slots(real: RealSet, seed: int) -> tuple[RealPicture, ...]:
    """The pictures of each group that become slots, drawn by ``seed``; slots are ordered by group, then by name.

    Raises LineageError if there are no pictures; DecayError if a column that a template names is missing, a prompt is
    empty, or a group has fewer pictures than ``per_group``.
    """
    by_group = _by_group(real)
    _check_filled(real, by_group)
    return tuple(
        pictures[index]
        for pictures, order in zip(by_group.values(), _orders(by_group, seed), strict=True)
        for index in sorted(order[: real.per_group])
    )


def choose_reserve(real: RealSet, seed: int, seen: Container[str]) -> Mapping[str, tuple[RealPicture, ...]]:
    """The pictures of each group whose originals (sha256) are not in ``seen``, each once, in the order of ``seed``.

    Where slots are chosen from the same pictures it is the order in which they were. Raises as ``choose_slots``.
    """
    by_group = _by_group(real)
    drawn = {
        group: [pictures[index] for index in order]
        for (group, pictures), order in zip(by_group.items(), _orders(by_group, seed), strict=True)
    }
    first_of = {picture.original_sha256: picture for group in reversed(drawn) for picture in reversed(drawn[group])}
    return {
        group: tuple(
            picture
            for picture in pictures
            if picture.original_sha256 not in seen and first_of[picture.original_sha256] is picture
        )
        for group, pictures in drawn.items()
    }


def prepared_in(place: Path) -> tuple[RealPicture, ...]:
    """The real pictures that lie ready in a folder of a run, as the metadata there have them. Raises LineageError."""
    return tuple(_pictures(RealSet(place)))


def check_sides(pictures: Iterable[RealPicture]) -> None:
    """Raises DecayError for a picture of which too little would be left; ImageProblem for one that cannot be read."""
    for picture in pictures:
        if picture.side_px < MIN_SIDE_PX:
            raise DecayError(
                f"{picture.record.path}: expected a real picture of {MIN_SIDE_PX} px or more on its shorter side; "
                f"found {picture.side_px}. Take it out of {picture.root}."
            )


def check_prepared(slots: Sequence[RealPicture], size_px: int) -> None:
    """Raises DecayError if ``slots``, as they lie in ``real/``, are not what a run of ``size_px`` puts there."""
    for slot, picture in enumerate(slots):
        path = picture.record.path
        if path.name != picture_name(slot):
            raise DecayError(
                f"{path.parent}: expected the pictures that a run prepares, {picture_name(0)} and so on, numbered in "
                f"the order of their groups; found {path.name} in the place of {picture_name(slot)}. Move it elsewhere "
                "and give its path as `folder` in [real]."
            )
        if (found := read_size(path, within=picture.root)) != (size_px, size_px):
            raise DecayError(
                f"{path}: expected {size_px} x {size_px} px, the size_px of this run; found {found[0]} x {found[1]}. "
                f"Set size_px to that, or move {path.parent} elsewhere and give its path as `folder` in [real]."
            )


def square(pixels: Pixels, size_px: int) -> Pixels:
    """The largest square about the centre, resampled to (size_px, size_px, 3) (Lanczos, with the filter's support
    widened where it shrinks); unchanged where it has that size already."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    cropped = np.ascontiguousarray(pixels[top : top + side, left : left + side])
    if side == size_px:
        return cropped
    return np.asarray(Image.fromarray(cropped).resize((size_px, size_px), Image.Resampling.LANCZOS))


def _by_group(real: RealSet) -> dict[str, list[RealPicture]]:
    """By group, in the order of the groups' names. Raises DecayError if only some pictures have one."""
    by_group: dict[str, list[RealPicture]] = {}
    for picture in _pictures(real):
        by_group.setdefault(picture.group, []).append(picture)
    if "" in by_group and len(by_group) > 1:
        without = by_group[""]
        raise DecayError(
            f"{real.folder}: expected a group for every picture, or for none; {real.group!r} leaves it empty for "
            f"{len(without)} of {sum(map(len, by_group.values()))}, as {without[0].record.path.name}. Complete their "
            "metadata, or correct `group` in [real]."
        )
    return dict(sorted(by_group.items()))


def _orders(by_group: Mapping[str, Sequence[RealPicture]], seed: int) -> list[list[int]]:
    return [
        np.random.default_rng([seed, number]).permutation(len(pictures)).tolist()
        for number, pictures in enumerate(by_group.values())
    ]


def _pictures(real: RealSet) -> Iterator[RealPicture]:
    generation, _ = read_folder(real.folder)
    for record in generation.images:
        _check_original(record)
        known = {"text": record.prompt, "group": record.group, **record.columns}
        prompt = _filled(real.prompt, known, record, "prompt")
        if not prompt:
            raise DecayError(
                f"{record.path}: expected a prompt from {real.prompt!r}; its metadata leave it empty. Add `text` to "
                "metadata.jsonl, or give `prompt` in [real]."
            )
        said = real.expects if real.expects is None else frozenset(real.expects)
        if said is None:
            said = record.expects if record.expects is not None else expects_from_prompt(prompt)
        yield RealPicture(record, real.folder, prompt, _filled(real.group, known, record, "group"), said)


def _check_original(record: ImageRecord) -> None:
    said = record.columns.get("original_sha256", "")
    if said and not _SHA256.fullmatch(said):
        raise DecayError(
            f"{record.path}: expected 64 digits 0-9 and a-f in original_sha256; its metadata have {said[:80]!r}. "
            "Correct them, or take that column out."
        )


def _filled(template: str, known: Mapping[str, str], record: ImageRecord, purpose: str) -> str:
    try:
        return fill_template(template, known).strip()
    except KeyError as error:
        raise DecayError(
            f"{record.path}: the {purpose} {template!r} wants the column {error.args[0]!r}; the metadata of this "
            f"picture have {', '.join(sorted(known))}. Add it to metadata.csv, or change `{purpose}` in [real]."
        ) from error


def _check_filled(real: RealSet, by_group: Mapping[str, list[RealPicture]]) -> None:
    if real.per_group is None:
        return
    short = {g: len(pictures) for g, pictures in sorted(by_group.items()) if len(pictures) < real.per_group}
    if short:
        named = ", ".join(f"{group or 'the one group'} has {n}" for group, n in list(short.items())[:5])
        more = f" and {len(short) - 5} more groups are short" if len(short) > 5 else ""
        raise DecayError(
            f"{real.folder}: expected {real.per_group} real pictures in each group; {named}{more}. Add pictures, lower "
            "per_group in [real], or leave it out to take all."
        )
