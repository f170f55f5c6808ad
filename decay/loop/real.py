"""The real pictures of a run: which of them are its slots, and how each is made ready for a generator."""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from decay.errors import DecayError
from decay.images import read_image
from decay.lineage import ImageRecord, read_folder
from decay.loop.checkpoint import sha256_of
from decay.loop.protocol import RealSet
from decay.metadata import relative_to_root
from decay.prompts import expects_from_prompt
from detectors.trait import Pixels


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

    def original(self) -> dict[str, str]:
        """The name and the hash of the file that it is prepared from, as metadata have them from then on."""
        known = {name: self.record.columns.get(name, "") for name in ("original", "original_sha256")}
        if all(known.values()):
            return known
        name = relative_to_root(self.record.path.parent, self.record.path)
        return {"original": name, "original_sha256": sha256_of(self.record.path)}

    def ready(self, size_px: int) -> Pixels:
        """The picture as a generator takes it: see ``square``. Raises ImageProblem."""
        return square(read_image(self.record.path, within=self.root), size_px)


@dataclass(frozen=True)
class RealPictures:
    """``slots``: one picture per slot. ``reserve``: those beyond, by group, in the order in which they are used."""

    slots: tuple[RealPicture, ...]
    reserve: Mapping[str, tuple[RealPicture, ...]]

    @property
    def groups(self) -> tuple[str, ...]:
        """The group of each slot."""
        return tuple(picture.group for picture in self.slots)


def choose(real: RealSet, seed: int) -> RealPictures:
    """The pictures of each group that become slots, drawn by ``seed``; slots are ordered by group, then by name.

    Raises LineageError if there are no pictures; DecayError if a column that a template names is missing, a prompt is
    empty, or a group has fewer pictures than ``per_group``.
    """
    by_group: dict[str, list[RealPicture]] = {}
    for picture in _pictures(real):
        by_group.setdefault(picture.group, []).append(picture)
    _check_filled(real, by_group)
    slots: list[RealPicture] = []
    reserve = {}
    for number, group in enumerate(sorted(by_group)):
        pictures = by_group[group]
        order = np.random.default_rng([seed, number]).permutation(len(pictures))
        n_slots = len(pictures) if real.per_group is None else real.per_group
        slots.extend(pictures[index] for index in sorted(order[:n_slots]))
        reserve[group] = tuple(pictures[index] for index in order[n_slots:])
    return RealPictures(tuple(slots), reserve)


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


def _pictures(real: RealSet) -> Iterator[RealPicture]:
    generation, _ = read_folder(real.folder)
    for record in generation.images:
        known = {"text": record.prompt, "group": record.group, **record.columns}
        prompt = _filled(real.prompt, known, record, "prompt").strip()
        if not prompt:
            raise DecayError(
                f"{record.path}: expected a prompt from {real.prompt!r}; its metadata leave it empty. Add `text` to "
                "metadata.jsonl, or give `prompt` in [real]."
            )
        said = real.expects if real.expects is None else frozenset(real.expects)
        expects = said if said is not None else record.expects or expects_from_prompt(prompt)
        yield RealPicture(record, real.folder, prompt, _filled(real.group, known, record, "group").strip(), expects)


def _filled(template: str, known: Mapping[str, str], record: ImageRecord, purpose: str) -> str:
    """The template with the metadata's texts in its places. Only plain names: no attribute or index of a text."""
    parts = []
    for text, name, _, _ in string.Formatter().parse(template):
        parts.append(text)
        if name is None:
            continue
        if name not in known:
            raise DecayError(
                f"{record.path}: the {purpose} {template!r} wants the column {name!r}; the metadata of this picture "
                f"have {', '.join(sorted(known))}. Add it to metadata.csv, or change `{purpose}` in [real]."
            )
        parts.append(known[name])
    return "".join(parts)


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
