"""A run folder as data: which generations it holds, and what is known of every image.

A *lineage* is a folder whose subfolders sort into generations, with images at any depth below; beside them
may lie ``real/`` (the reference), metadata in the form of Hugging Face's imagefolder, and ``lineage.json``.
Most lineages are made by other programs, so that names are read liberally, what is passed over is said in
``notes``, and nothing in a metadata file is trusted. The order of everything is that of the names, never of
the file system.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import NoReturn

from decay import storage
from decay.errors import LineageError
from decay.images import SUFFIXES
from decay.metadata import Known, as_unicode, natural_key, read_metadata, read_settings, relative_to_root
from decay.prompts import expects_from_prompt

REFERENCE_NAME = "real"
OWN_FOLDERS = frozenset({"measures", "weights", "held_out", "replaced", "matched", "fresh"})
"""What `decay` itself puts beside the generations."""
REFERENCE_INDEX = -1
"""The index of the reference, which is no generation."""
MAX_INDEX = 2**31 - 1
MAX_GENERATIONS = 1000
"""Each is a row of every trait and a column of every chart, also if it is empty: 100 take a minute."""

_GENERATION_WORD = re.compile(r"(?<![a-z])(generation|gen|iteration|iter|cycle|round|epoch|step|g)$")
_NUMBER = re.compile(r"\d+")
_OTHER_IMAGES = frozenset({".gif", ".avif", ".heic", ".heif", ".jxl", ".jp2", ".exr", ".tga", ".ppm", ".npy", ".svg"})


@dataclass(frozen=True)
class ImageRecord:
    """What is known of one image before it is opened.

    ``path``: where it lies. ``relative``: the same from the lineage root, posix, always valid Unicode.
    ``slot``: its prompt-and-seed position, the same in every generation. ``prompt``, ``group``, ``source``:
    plain text from the metadata, "" where it says nothing. ``expects``: the subjects (``face``, ``hand``)
    that were asked for, None where nobody said. ``columns``: other texts that the metadata have of it, by column.
    """

    path: Path
    relative: str
    slot: str
    prompt: str = ""
    group: str = ""
    seed: int | None = None
    source: str = ""
    expects: frozenset[str] | None = None
    columns: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Generation:
    """One generation; ``index`` 0, 1, ... as its folder's name says, or -1 for the reference."""

    index: int
    folder: Path
    images: tuple[ImageRecord, ...]


@dataclass(frozen=True)
class Lineage:
    """A run folder. ``settings``: what ``lineage.json`` holds. ``notes``: whole sentences on what was passed over.

    ``reference_root``: the folder that the reference's images may not lead out of; the root, unless it lies elsewhere.
    ``roots``: the same of generations that lie in a run that this one goes on from.
    """

    root: Path
    generations: tuple[Generation, ...]
    reference: Generation | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    reference_root: Path | None = None
    roots: Mapping[int, Path] = field(default_factory=dict)

    @property
    def reference_name(self) -> str:
        """What the generations are compared with, as a person says it."""
        if self.reference is None:
            return f"generation {self.generations[0].index}"
        return f"{self.reference.folder.name}/"

    def root_of(self, generation: int) -> Path:
        """The folder that this generation's images lie in; -1 is the reference."""
        return (generation == REFERENCE_INDEX and self.reference_root) or self.roots.get(generation, self.root)


def load_lineage(root: Path) -> Lineage:
    """Read a run folder. No image is opened. Raises LineageError."""
    entries = _folders_and_images(root)
    notes: list[str] = []
    folders = _inside(root, entries.folders, notes)
    named = _choose_generations(root, [f for f in folders if f.name.casefold() != REFERENCE_NAME], entries, notes)
    scans = {folder: _scan(root, folder, notes) for folder, _ in named}
    real = [folder for folder in folders if folder.name.casefold() == REFERENCE_NAME]
    scans |= {folder: _scan(root, folder, notes) for folder in real}
    folders_with_root = [root, *(folder for scan in scans.values() for folder in scan.folders)]
    images = [relative_to_root(root, path) for scan in scans.values() for path in scan.images]
    known = read_metadata(root, folders_with_root, images, notes)
    generations = tuple(_generation(root, folder, index, scans[folder], known, notes) for folder, index in named)
    references = [_generation(root, folder, REFERENCE_INDEX, scans[folder], known, notes) for folder in real[:1]]
    _check_filled(root, generations, notes)
    _note_empty([g.folder.name for g in (*generations, *references) if not g.images], notes)
    return Lineage(
        root=root,
        generations=generations,
        reference=next((reference for reference in references if reference.images), None),
        settings=read_settings(root),
        notes=tuple(map(as_unicode, notes)),
    )


def with_reference(lineage: Lineage, folder: Path) -> Lineage:
    """The lineage with the pictures of any folder as its reference, in place of ``real/`` or generation 0.

    Their slots are their paths in that folder, their image column is ``reference:`` and that path. Raises LineageError.
    """
    reference, notes = read_folder(folder)
    named = tuple(replace(record, relative=f"reference:{record.relative}") for record in reference.images)
    instead = (
        [f"{lineage.reference.folder.name}/ is not used: another reference was given."] if lineage.reference else []
    )
    return replace(
        lineage,
        reference=replace(reference, images=named),
        reference_root=reference.folder,
        notes=(*lineage.notes, *instead, *(f"Reference: {note}" for note in notes)),
    )


def read_folder(folder: Path) -> tuple[Generation, list[str]]:
    """The pictures of any folder, at any depth, with what its metadata say; and notes on what was passed over.

    As a generation it has the index of the reference. Raises LineageError.
    """
    if not storage.is_folder(folder):
        raise LineageError(f"{folder}: expected a folder of images; found none. Check the spelling.")
    root = storage.absolute(folder)
    notes: list[str] = []
    scan = _scan(root, root, notes)
    if not scan.images:
        wanted = ", ".join(sorted(SUFFIXES))
        raise LineageError(f"{folder}: expected images ({wanted}); found none. Give the folder they lie in.")
    images = [relative_to_root(root, path) for path in scan.images]
    known = read_metadata(root, scan.folders, images, notes)
    return _generation(root, root, REFERENCE_INDEX, scan, known, notes), [as_unicode(note) for note in notes]


def records(lineage: Lineage) -> Iterator[tuple[int, ImageRecord]]:
    """Every image with its generation number, the reference first, as -1."""
    if lineage.reference:
        yield from ((REFERENCE_INDEX, record) for record in lineage.reference.images)
    for generation in lineage.generations:
        yield from ((generation.index, record) for record in generation.images)


# --------------------------------------------------------------------------- which folders are generations


@dataclass(frozen=True)
class _Entries:
    folders: list[Path]
    images: list[Path]


def _folders_and_images(root: Path) -> _Entries:
    if not storage.exists(root):
        raise LineageError(
            f"{root}: expected a folder of generations; there is nothing here. Check the spelling, or make one with "
            f"`decay demo {root}`."
        )
    if not storage.is_folder(root):
        raise LineageError(f"{root}: expected a folder of generations; found a file. Give the folder it should lie in.")
    paths = _list(root)
    folders = [path for path in paths if storage.is_folder(path)]
    return _Entries(folders, [path for path in set(paths).difference(folders) if _is_image(path)])


def _list(folder: Path) -> list[Path]:
    """What lies in a folder, hidden names left out, in natural order. Raises LineageError."""
    try:
        return sorted(
            (p for p in storage.entries(folder) if not p.name.startswith(".")), key=lambda p: natural_key(p.name)
        )
    except OSError as error:
        raise LineageError(
            f"{folder}: expected a folder that can be read; found: {error.strerror}. Run chmod u+rx on it, or move it "
            "out of the lineage."
        ) from error


def _inside(root: Path, folders: Iterable[Path], notes: list[str]) -> list[Path]:
    kept = []
    for folder in folders:
        if storage.lies_within(folder, root):
            kept.append(folder)
        else:
            notes.append(
                f"{relative_to_root(root, folder)}: a link that leads out of the lineage; ignored. Put a copy there."
            )
    return kept


def _choose_generations(root: Path, folders: list[Path], entries: _Entries, notes: list[str]) -> list[tuple[Path, int]]:
    """The generation folders with their indices, in order. Of several numbered series one is chosen."""
    series: dict[str, list[tuple[Path, int]]] = {}
    for folder in folders:
        if (numbered := _template_and_number(folder.name)) is not None:
            series.setdefault(numbered[0], []).append((folder, numbered[1]))
    # A single name such as `portraits_1024` is no series: its number may mean anything.
    series = {t: named for t, named in series.items() if len(named) > 1 or t == "#" or _says_generation(t)}
    chosen = max(series, key=lambda template: _preference(template, series[template]), default="")
    named = series.get(chosen, [])
    if not _says_generation(chosen):
        _refuse_lineages(root, [folder for folder, _ in named] or folders)
    if not named:
        _refuse(root, entries)
    if len(named) > MAX_GENERATIONS:
        raise LineageError(
            f"{root}: expected at most {MAX_GENERATIONS:,} generations; found {len(named):,}. "
            "Move some of them out, such as all but every tenth."
        )
    ordered = _numbered(named, notes)
    _note_ignored(folders, ordered, entries, notes)
    return ordered


def _preference(template: str, named: list[tuple[Path, int]]) -> tuple[bool, bool, int, int, int, str]:
    """Largest for the series that holds images, says what it is, holds the most, and has the plainest name."""
    n_filled = sum(_holds_image(folder) for folder, _ in named)
    return n_filled > 0, _says_generation(template), n_filled, len(named), -len(template), template


def _template_and_number(name: str) -> tuple[str, int] | None:
    """``gen_03_final`` -> (``gen#final``, 3): the number after a word such as gen or iter, else the last, else None."""
    found = list(_NUMBER.finditer(name))
    if not found:
        return None
    chosen = next((m for m in found if _says_generation(name[: m.start()])), found[-1])
    template = f"{name[: chosen.start()]}#{name[chosen.end() :]}"
    return re.sub(r"[\s_.\-]+", "", template).casefold(), int(chosen.group())


def _says_generation(text: str) -> bool:
    """Whether what stands before the number is one of the words for a generation."""
    return _GENERATION_WORD.search(text.partition("#")[0].casefold().rstrip(" _-.")) is not None


def _holds_image(folder: Path) -> bool:
    return any(_is_image(Path(name)) for name in storage.file_names(folder))


def _numbered(series: list[tuple[Path, int]], notes: list[str]) -> list[tuple[Path, int]]:
    """In the order of the numbers, which are the indices if they are distinct and small; else the position is."""
    ordered = sorted(series, key=lambda item: (item[1], natural_key(item[0].name)))
    numbers = [number for _, number in ordered]
    if len(set(numbers)) < len(numbers) or numbers[-1] > MAX_INDEX:
        notes.append("The numbers in the folder names are not distinct or too large; generations count from 0.")
        return [(folder, index) for index, (folder, _) in enumerate(ordered)]
    _note_gaps(numbers, notes)
    return ordered


def _note_gaps(numbers: list[int], notes: list[str]) -> None:
    usual = min((after - before for before, after in pairwise(numbers)), default=1)
    gaps = [f"{before} and {after}" for before, after in pairwise(numbers) if after - before != usual]
    if gaps:
        notes.append(f"The numbering of the generations leaves gaps, between {'; '.join(gaps)}.")


def _refuse_lineages(root: Path, folders: list[Path]) -> None:
    lineages = [folder for folder in folders if _looks_like_lineage(folder)]
    if lineages:
        names = ", ".join(folder.name for folder in lineages[:3])
        raise LineageError(
            f"{root}: expected gen_00/, gen_01/, ...; found folders that hold generations themselves ({names}). "
            f"Give one of them, `decay measure {lineages[0]}`, or all."
        )


def _refuse(root: Path, entries: _Entries) -> NoReturn:
    if entries.images:
        raise LineageError(f"{root}: expected gen_00/, gen_01/, ...; found {_loose(entries)}. Move them into gen_00/.")
    names = ", ".join(folder.name for folder in entries.folders[:5])
    found = f"folders that do not say which generation they are ({names})" if names else "an empty folder"
    raise LineageError(
        f"{root}: expected gen_00/, gen_01/, ...; found {found}. Put each generation's images into a numbered folder."
    )


def _loose(entries: _Entries) -> str:
    return f"{len(entries.images)} loose image{'s' if len(entries.images) > 1 else ''}"


def _looks_like_lineage(folder: Path) -> bool:
    subfolders = [path.name for path in _list(folder) if storage.is_folder(path)]
    return any(
        (numbered := _template_and_number(name)) is not None and _says_generation(numbered[0]) for name in subfolders
    )


def _note_ignored(folders: list[Path], named: list[tuple[Path, int]], entries: _Entries, notes: list[str]) -> None:
    taken = {folder for folder, _ in named}
    ignored = [folder.name for folder in folders if folder not in taken and folder.name not in OWN_FOLDERS]
    if ignored:
        more = f" and {len(ignored) - 10} more" if len(ignored) > 10 else ""
        notes.append(f"Folders that are no generation, ignored: {', '.join(ignored[:10])}{more}.")
    if entries.images:
        notes.append(f"{_loose(entries)} beside the generations, ignored.")


def _note_empty(names: list[str], notes: list[str]) -> None:
    notes.extend(f"{name}: holds no image." for name in names[:10])
    if len(names) > 10:
        notes.append(f"{len(names) - 10} more generations hold no image.")


def _check_filled(root: Path, generations: tuple[Generation, ...], notes: list[str]) -> None:
    filled = [generation for generation in generations if generation.images]
    if not filled:
        wanted = ", ".join(sorted(SUFFIXES))
        raise LineageError(
            f"{root}: expected images ({wanted}) in the generations; found none in {len(generations)} folders. "
            "Put them there, or convert them."
        )
    if len(filled) == 1:
        notes.append("Only one generation holds images: its traits are measured, but nothing can be seen to erode.")
        return
    counts = Counter(slot for generation in filled for slot in {image.slot for image in generation.images})
    if max(counts.values()) == 1:
        notes.append(
            "No slot occurs in two generations, so that images cannot be compared pairwise. Name the images alike in "
            "every generation, or give `slot` in metadata.jsonl."
        )


# --------------------------------------------------------------------------- what lies in a generation


@dataclass(frozen=True)
class _Scan:
    images: list[Path]
    folders: list[Path]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _scan(root: Path, top: Path, notes: list[str]) -> _Scan:
    """All images below a folder, links to folders followed while they stay inside and do not lead in circles."""
    scan = _Scan([], [])
    others: Counter[str] = Counter()
    seen: set[str] = set()
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        if (real := storage.real_name(folder)) in seen:
            continue
        seen.add(real)
        scan.folders.append(folder)
        paths = _list(folder)
        subfolders = [path for path in paths if storage.is_folder(path) and not path.name.startswith("__")]
        waiting.extend(reversed(_inside(root, subfolders, notes)))
        scan.images.extend(path for path in set(paths).difference(subfolders) if _is_image(path))
        others.update(path.suffix.lower() for path in paths if path.suffix.lower() in _OTHER_IMAGES)
    if others:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
        notes.append(f"{relative_to_root(root, top)}: files of other kinds ignored: {kinds}.")
    scan.images.sort(key=lambda path: natural_key(relative_to_root(root, path)))
    return scan


def _generation(
    root: Path, folder: Path, index: int, scan: _Scan, known: Mapping[str, Known], notes: list[str]
) -> Generation:
    records = []
    for path in scan.images:
        relative = relative_to_root(root, path)
        about = known.get(relative, Known())
        within = PurePosixPath(relative).relative_to(relative_to_root(root, folder))
        records.append(
            ImageRecord(
                path=storage.absolute(path),
                relative=relative,
                slot=about.slot or unicodedata.normalize("NFC", within.with_suffix("").as_posix()),
                prompt=about.prompt,
                group=about.group,
                seed=about.seed,
                source=about.source,
                expects=about.expects if about.expects is not None else expects_from_prompt(about.prompt),
                columns=about.columns,
            )
        )
    return Generation(index, storage.absolute(folder), tuple(_with_own_slots(records, known, folder, notes)))


def _with_own_slots(
    records: list[ImageRecord], known: Mapping[str, Known], folder: Path, notes: list[str]
) -> Iterator[ImageRecord]:
    """Keep ``a.png`` and ``a.jpg`` of one generation apart, unless the metadata gave them one slot on purpose."""
    counts = Counter(record.slot for record in records)
    twins = 0
    for record in records:
        given = record.relative in known and known[record.relative].slot
        if counts[record.slot] > 1 and not given:
            twins += 1
            yield replace(record, slot=record.slot + PurePosixPath(record.relative).suffix)
        else:
            yield record
    if twins:
        notes.append(f"{folder.name}: {twins} images differ in their suffix only; it is kept in their slots.")
