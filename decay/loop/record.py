"""What a run writes of itself: its settings before anything else, then each step in the provenance log, once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from decay import provenance
from decay.errors import LineageError
from decay.files import to_json, write_text
from decay.loop.checkpoint import is_published, sha256_of, stated_manifest
from decay.loop.engine import Engine
from decay.loop.folder import RunFolder, picture_name
from decay.loop.positions import Position
from decay.loop.protocol import Protocol
from decay.loop.reading import protocol_from_record, resolved
from decay.loop.real import RealPictures
from decay.loop.regimes import Item, notes_on_shares
from decay.metadata import read_settings
from decay.provenance import Derived, Fit, Image, Log, Member, Real
from decay.provenance.chain import LOG_NAME, Index, Place, open_log, read_links

FORMAT_VERSION = 2
"""Of lineage.json. 2: ``source``, ``protocol`` (as in its TOML file, every default filled in), ``engine`` (every
setting), ``environment``, ``n_slots``, ``groups``, ``notes`` (on shares that come to nothing in some groups);
``run`` of a ``parent`` is relative to the folder. (1 was the demo's own.)"""
SOURCE = "decay run"
_KEPT = (Real.kind, Image.kind, Derived.kind, Fit.kind)


def read_protocol_of(run: Path) -> Protocol:
    """The protocol that made a run, from its lineage.json. Raises LineageError if there is none."""
    said = read_settings(run)
    if said.get("source") != SOURCE or not isinstance(said.get("protocol"), dict):
        raise LineageError(
            f"{run}: expected a run that `decay run` made, with its protocol in lineage.json; found none. "
            "Name the folder of such a run."
        )
    protocol = protocol_from_record(said["protocol"])  # type: ignore[arg-type]  # a dict, as was just seen
    if protocol.parent is None:
        return protocol
    above = os.path.normpath(os.path.join(os.path.realpath(run), protocol.parent.run))  # noqa: PTH118  as it was written
    return replace(protocol, parent=replace(protocol.parent, run=Path(above)))


@contextmanager
def open_record(folder: RunFolder, protocol: Protocol, engine: Engine[Any], pictures: RealPictures) -> Iterator[Record]:
    """The settings written, if they were not, and the log opened. For one process only.

    Raises LineageError if the folder holds another experiment, pictures that no protocol made, or, like a run that
    this one goes on from, files that are not as their log records them.
    """
    said = settings_of(folder, protocol, engine, pictures)
    check_folder(folder, said)
    if not folder.settings.exists():
        write_text(folder.settings, to_json(said))
    for above in _ancestors(folder):
        if (above.root / LOG_NAME).is_file():
            with open_log(above.root) as stream, Index() as index:
                for link in read_links(stream, above.root / LOG_NAME, torn_tail=True):
                    index.add(link.event, link.line, link.offset)
                _refuse_altered(above.root, index.latest(*_KEPT))
    with provenance.log(folder.root) as log:
        _refuse_altered(folder.root, log.latest(*_KEPT))
        yield Record(folder, log)


def check_folder(folder: RunFolder, said: Mapping[str, Any]) -> None:
    """Raises LineageError if the folder holds another experiment than ``settings_of`` has in ``said``, or pictures that
    no protocol made."""
    if folder.settings.exists():
        _refuse_other(folder, said)
    elif folder.root.exists():
        _refuse_foreign(folder)


def settings_of(folder: RunFolder, protocol: Protocol, engine: Engine[Any], pictures: RealPictures) -> dict[str, Any]:
    """The content of lineage.json."""
    groups = pictures.groups
    if protocol.parent is not None:
        above = os.path.relpath(os.path.realpath(protocol.parent.run), os.path.realpath(folder.root))
        protocol = replace(protocol, parent=replace(protocol.parent, run=Path(above)))
    return {
        "format_version": FORMAT_VERSION,
        "source": SOURCE,
        "protocol": resolved(protocol),
        "engine": {"name": engine.name, **engine.settings()},
        "environment": provenance.environment(),
        "n_slots": len(groups),
        "groups": {group: groups.count(group) for group in sorted(set(groups))},
        "notes": list(notes_on_shares(protocol, groups)),
    }


def rows_in(place: Path) -> list[dict[str, Any]]:
    """What a step wrote of its pictures beside them, in metadata.jsonl."""
    text = (place / "metadata.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def _refuse_other(folder: RunFolder, wanted: Mapping[str, Any]) -> None:
    found = _comparable(read_settings(folder.root))
    wanted = _comparable(json.loads(to_json(wanted)))
    for part in ("source", "protocol", "engine", "groups"):
        there, here = found.get(part), wanted[part]
        if there != here:
            raise LineageError(
                f"{folder.root}: holds another experiment: its {_first_difference(part, there, here)}. "
                "Go on with the protocol that began it, or choose another folder."
            )


def _comparable(said: Mapping[str, Any]) -> dict[str, Any]:
    """Without the places of other folders: they may have been moved, and their pictures lie in ``real/``."""
    protocol = said.get("protocol")
    if not isinstance(protocol, dict):
        return dict(said)
    parts = {
        name: {key: value for key, value in part.items() if key not in ("folder", "run")}
        for name, part in protocol.items()
        if name in ("real", "parent") and isinstance(part, dict)
    }
    return {**said, "protocol": {**protocol, **parts}}


def _first_difference(name: str, there: object, here: object) -> str:
    """``protocol.seed is 1, not 2``."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in sorted({*there, *here}):
            if there.get(key) != here.get(key):
                return _first_difference(f"{name}.{key}", there.get(key), here.get(key))
    return f"{name} is {json.dumps(there)[:200]}, not {json.dumps(here)[:200]}"


def _refuse_foreign(folder: RunFolder) -> None:
    """Only ``real/`` may lie there before a run begins: what else there is nobody could account for."""
    found = sorted(path.name for path in folder.root.iterdir() if not path.name.startswith(".") and path != folder.real)
    if found:
        raise LineageError(
            f"{folder.root}: expected a new folder, an empty one, or a run to go on with; found {', '.join(found[:5])} "
            "and no lineage.json. Choose another folder."
        )


def _ancestors(folder: RunFolder) -> Iterator[RunFolder]:
    above = folder.parent
    while above is not None:
        yield above
        above = above.parent


def _refuse_altered(root: Path, places: Iterable[Place]) -> None:
    """What is made from now on would be made of it, and the log would say that it was made of something else."""
    for place in places:
        path = root / place.path
        found = _sha256_of(path) if path.resolve().is_relative_to(root.resolve()) else None
        if found not in (None, place.sha256):
            whole = path if place.kind == Fit.kind else path.parent
            raise LineageError(
                f"{path}: expected the sha256 {place.sha256} that line {place.line} of {root / LOG_NAME} records; "
                f"found {found}. It was altered: put it back from a copy, or remove {whole} to have it made again."
            )


def _sha256_of(path: Path) -> str | None:
    """Of a file, or as its manifest states it of published weights; None where there is neither."""
    if is_published(path):
        return stated_manifest(path).sha256
    return sha256_of(path) if path.is_file() else None


@dataclass(frozen=True)
class Record:
    """The log of a run in progress. Each method adds what is not in it yet, so that a step may be told twice; what was
    made again, and differs, is told again."""

    folder: RunFolder
    log: Log

    def knows(self, place: Path) -> bool:
        """Whether a file or folder of the run is in the log as it is now."""
        recorded = self.log.recorded(self._relative(place))
        return recorded is not None and recorded.sha256 == _sha256_of(place)

    def real(self, place: Path) -> None:
        """The real pictures in a folder of the run, and the files they came from, as its metadata have them."""
        self.log.record_many(
            Real(
                path=self._relative(place / row["file_name"]),
                sha256=sha256_of(place / row["file_name"]),
                original_sha256=row.get("original_sha256"),
                source=row.get("original", row["source"]),
                group=row["group"],
                prompt=row["text"],
            )
            for row in rows_in(place)
            if not self.knows(place / row["file_name"])
        )

    def base(self, generation: int) -> None:
        """Weights that the engine started from; what they were fitted on nobody here knows."""
        self._weights(generation, Fit(path="", sha256="", training_set=(), steps=0, extra={"is_base": True}))

    def fit(
        self,
        generation: int,
        items: Sequence[Item],
        parent: int | None,
        seed: int,
        steps: int,
        extra: Mapping[str, object],
    ) -> None:
        """Weights and what they were fitted on. ``parent``: the generation whose weights they went on from."""
        members = tuple(
            Member(
                sha256_of(self.folder.training_picture(item, generation)),
                "synthetic" if item.is_synthetic else "real",
                item.generation if item.is_synthetic else None,
            )
            for item in items
        )
        went_on_from = None if parent is None else self._weights_sha256(parent)
        self._weights(generation, Fit("", "", members, went_on_from, seed=seed, steps=steps, extra=extra))

    def images(self, place: Path, generation: int, positions: Sequence[Position]) -> None:
        """The pictures of a generation in its folder ``place``, one per position. ``extra`` has ``unchanged`` where one
        is its start picture bit for bit, as where a model that paints parts anew found nothing to paint."""
        weights = self._weights_sha256(generation)
        self.log.record_many(
            self._image(place, generation, position, weights)
            for position in positions
            if not self.knows(place / position.file_name)
        )

    def matched(self, generation: int, real_slots: Sequence[int], groups: Sequence[str]) -> None:
        """Pictures matched in colour, one per slot, and the slots of the real ones that lent their colours."""
        place = self.folder.matched(generation)
        self.log.record_many(
            Derived(
                path=self._relative(place / picture_name(slot)),
                sha256=sha256_of(place / picture_name(slot)),
                parents=(sha256_of(self.folder.unmatched(generation, slot)),),
                method="histogram-matched",
                generation=generation,
                slot=str(slot),
                group=group,
                reference=sha256_of(self.folder.real / picture_name(real)),
            )
            for slot, (real, group) in enumerate(zip(real_slots, groups, strict=True))
            if not self.knows(place / picture_name(slot))
        )

    def let_go(self, generation: int) -> None:
        """Weights of which only the manifest is kept."""
        self.log.note("weights let go", path=self._relative(self.folder.weights(generation)))

    def _image(self, place: Path, generation: int, position: Position, weights: str) -> Image:
        sha256 = sha256_of(place / position.file_name)
        parents = () if position.start is None else (sha256_of(position.start),)
        return Image(
            path=self._relative(place / position.file_name),
            sha256=sha256,
            prompt=position.prompt,
            seed=position.seed,
            slot=str(position.index),
            group=position.group,
            generation=generation,
            weights=weights,
            parents=parents,
            extra={"unchanged": True} if sha256 in parents else {},
        )

    def _weights(self, generation: int, fit: Fit) -> None:
        place = self.folder.weights(generation)
        known = replace(fit, path=self._relative(place), sha256=stated_manifest(place).sha256, generation=generation)
        self.log.record_many([known])

    def _weights_sha256(self, generation: int) -> str:
        return stated_manifest(self.folder.weights(generation)).sha256

    def _relative(self, place: Path) -> str:
        return place.relative_to(self.folder.root).as_posix()
