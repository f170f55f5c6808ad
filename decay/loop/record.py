"""What a run writes of itself: its settings before anything else, then each step in the provenance log, once."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from decay import provenance
from decay.errors import LineageError, ModelError
from decay.files import sha256_of, to_json, write_text
from decay.loop.checkpoint import is_published, stated_manifest
from decay.loop.engine import Engine
from decay.loop.folder import RunFolder, number_of, picture_name
from decay.loop.positions import Position
from decay.loop.protocol import Protocol
from decay.loop.reading import protocol_from_record, resolved
from decay.loop.real import RealPictures, prepared_in
from decay.loop.regimes import Item, notes_on_shares
from decay.metadata import METADATA_NAMES, read_settings, read_table
from decay.provenance import Derived, Fit, Image, Log, Member, Real
from decay.provenance.chain import LOG_NAME, Index, Place, open_log, read_links
from decay.provenance.verify import metadata_problems

FORMAT_VERSION = 3
"""Of lineage.json. 3: ``folder`` of ``real`` and ``quality_model`` are relative to the run's folder, too, wherever the
command was given; also ``parent`` (by which the run that this one goes on from is known), ``quality_model_sha256`` and
``notes`` (on shares that come to nothing in some groups); what a fit was made on stands in the manifest of its weights.
2: ``source``, ``protocol`` (as in its TOML file, every default filled in), ``engine`` (every setting), ``environment``,
``n_slots``, ``groups``; ``run`` of a ``parent`` is relative to the folder. (1 was the demo's own.)"""
SOURCE = "decay run"
_COMPARED = ("source", "protocol", "parent", "engine", "quality_model_sha256", "groups")
"""By which a run is told from another; the same protocol elsewhere, or under another version of a package, is none."""
_PICTURES = (Real.kind, Image.kind, Derived.kind)


def read_protocol_of(run: Path) -> Protocol:
    """The protocol that made a run, from its lineage.json. Raises LineageError if there is none."""
    said = read_settings(run)
    if said.get("source") != SOURCE or not isinstance(said.get("protocol"), dict):
        raise LineageError(
            f"{run}: expected a run that `decay run` made, with its protocol in lineage.json; found none. "
            "Name the folder of such a run."
        )
    protocol = protocol_from_record(said["protocol"])  # type: ignore[arg-type]  # a dict, as was just seen
    root = os.path.realpath(run)
    found = _with_places(protocol, lambda place: os.path.normpath(os.path.join(root, place)))  # noqa: PTH118  as written
    return replace(protocol, parent=found.parent) if said.get("format_version") == 2 else found


@contextmanager
def open_record(folder: RunFolder, said: Mapping[str, Any]) -> Iterator[Record]:
    """The settings ``said`` written, if they were not, and the log opened. For one process only.

    Raises LineageError if the folder holds another experiment, pictures that no protocol made, steps whose log is gone,
    or, like a run that this one goes on from, files that are not as their log records them.
    """
    check_folder(folder, said)
    for each in (*_ancestors(folder), folder):
        if os.path.lexists(each.root / LOG_NAME):
            _refuse_altered(each)
    _refuse_unlogged(folder)
    if not folder.settings.exists():
        write_text(folder.settings, to_json(said))
    with provenance.log(folder.root) as log:
        yield Record(folder, log)


def check_folder(folder: RunFolder, said: Mapping[str, Any]) -> None:
    """Raises LineageError if the folder holds another experiment than ``settings_of`` has in ``said``, or pictures that
    no protocol made."""
    if folder.settings.exists():
        _refuse_other(folder, said)
    elif folder.root.exists():
        _refuse_foreign(folder)


def settings_of(
    folder: RunFolder,
    protocol: Protocol,
    engine: Engine[Any],
    pictures: RealPictures,
    quality_model_sha256: str | None = None,
) -> dict[str, Any]:
    """The content of lineage.json. ``quality_model_sha256``: None where there is none."""
    groups, root = pictures.groups, os.path.realpath(folder.root)
    parent = None if protocol.parent is None else _identity(folder, protocol.parent.generation)
    protocol = _with_places(protocol, lambda place: os.path.relpath(os.path.realpath(place), root))
    return {
        "format_version": FORMAT_VERSION,
        "source": SOURCE,
        "protocol": resolved(protocol),
        "parent": parent,
        "engine": {"name": engine.name, **engine.settings()},
        "quality_model_sha256": quality_model_sha256,
        "environment": provenance.environment(),
        "n_slots": len(groups),
        "groups": {group: groups.count(group) for group in sorted(set(groups))},
        "notes": list(notes_on_shares(protocol, groups)),
    }


def _with_places(protocol: Protocol, place_of: Callable[[Path], str]) -> Protocol:
    """The protocol with the places of everything outside of the run as ``place_of`` has them."""
    real, controls, parent = protocol.real, protocol.controls, protocol.parent
    if controls.quality_model is not None:
        controls = replace(controls, quality_model=Path(place_of(controls.quality_model)))
    if parent is not None:
        parent = replace(parent, run=Path(place_of(parent.run)))
    real = replace(real, folder=Path(place_of(real.folder)))
    return replace(protocol, real=real, controls=controls, parent=parent)


def rows_in(place: Path) -> list[dict[str, Any]]:
    """What a step wrote of its pictures beside them, in metadata.jsonl. Raises LineageError where it is damaged."""
    path = place / "metadata.jsonl"
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    except (OSError, ValueError, RecursionError) as error:
        raise LineageError(
            f"{path}: expected what a run wrote of the pictures beside it; it cannot be read ({error}). Put it back "
            "from a copy."
        ) from error
    if not all(isinstance(row, dict) for row in rows):
        raise LineageError(f"{path}: expected a JSON object in each line; found another. Put it back from a copy.")
    return rows


def _refuse_other(folder: RunFolder, wanted: Mapping[str, Any]) -> None:
    found = _comparable(read_settings(folder.root))
    wanted = _comparable(json.loads(to_json(wanted)))
    if found.get("source") == SOURCE and found.get("format_version") != FORMAT_VERSION:
        raise LineageError(
            f"{folder.settings}: expected a run begun by this version of the program, format {FORMAT_VERSION}; found "
            f"format {found.get('format_version')}. Finish it with the version that began it, or choose another folder."
        )
    for part in _COMPARED:
        there, here = found.get(part), wanted[part]
        if there != here:
            raise LineageError(
                f"{folder.root}: holds another experiment: its {_first_difference(part, there, here)}. "
                "Go on with the protocol that began it, or choose another folder."
            )


def _identity(folder: RunFolder, generation: int) -> dict[str, object]:
    """What a run that this one goes on from is known by, wherever it lies: all that decided it, and the weights of
    ``generation``, with which that began."""
    above, weights = folder.parent, folder.weights(generation)
    said = _comparable(read_settings(above.root)) if above is not None else {}
    compared = to_json({part: said.get(part) for part in _COMPARED})
    return {
        "settings_sha256": hashlib.sha256(compared.encode("utf-8")).hexdigest(),
        "weights_sha256": stated_manifest(weights).sha256 if is_published(weights) else None,
    }


def _comparable(said: Mapping[str, Any]) -> dict[str, Any]:
    """Without the places of other folders and files: they may have been moved, and what they are is told by hashes."""
    protocol = said.get("protocol")
    if not isinstance(protocol, dict):
        return dict(said)
    parts = {
        name: {key: value for key, value in part.items() if key not in ("folder", "run", "quality_model")}
        for name, part in protocol.items()
        if name in ("real", "controls", "parent") and isinstance(part, dict)
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


def _refuse_altered(folder: RunFolder) -> None:
    """What is made from now on would be made of it, and the log would say that it was made of something else."""
    root = folder.root
    with open_log(root) as stream, Index() as index:
        for link in read_links(stream, root / LOG_NAME, torn_tail=True):
            index.add(link.event, link.line, link.offset)
        for place in index.latest(Fit.kind):
            _refuse_changed(root, place)
        recorded: dict[Path, list[Place]] = {}
        for place in index.latest(*_PICTURES):
            _refuse_changed(root, place)
            recorded.setdefault((root / place.path).parent, []).append(place)
        for parent, places in recorded.items():
            if parent.is_dir() and parent.resolve().is_relative_to(root.resolve()):
                for problem in metadata_problems(root, _table_of(parent), stream, index):
                    raise LineageError(f"{root}: {problem} {_remedy(parent)}")
                _refuse_incomplete(parent, places)
            elif parent.parent == root / "fresh" and folder.weights(number_of(parent)).is_dir():
                raise LineageError(
                    f"{parent}: expected the real pictures that {folder.weights(number_of(parent))} were fitted on, "
                    "so that no other fit is given them; found nothing. Put them back from a copy."
                )


def _refuse_changed(root: Path, place: Place) -> None:
    path = root / place.path
    found = _sha256_of(path) if path.resolve().is_relative_to(root.resolve()) else None
    if found not in (None, place.sha256):
        whole = path if place.kind == Fit.kind else path.parent
        raise LineageError(
            f"{path}: expected the sha256 {place.sha256} that line {place.line} of {root / LOG_NAME} records; "
            f"found {found}. It was altered. {_remedy(whole)}"
        )


def _refuse_incomplete(parent: Path, places: Sequence[Place]) -> None:
    """A step is there as a whole or not at all: every picture, and a row for each.

    A quality control that was run again may have replaced other slots than before: what it did not make it does not
    name, and that the log knows of more is no fault.
    """
    named = {target for _, target, _ in read_table(_table_of(parent))}
    is_choice = parent.parent.name == "replaced"
    for place in places:
        name = Path(place.path).name
        is_there = (parent / name).is_file()
        if not is_there and (name in named or not is_choice):
            raise LineageError(
                f"{parent / name}: expected the picture that line {place.line} of the log records; it is missing. "
                f"{_remedy(parent)}"
            )
        if is_there and name not in named:
            raise LineageError(
                f"{_table_of(parent)}: expected a row for {name}, which line {place.line} of the log records; found "
                f"none. {_remedy(parent)}"
            )


def _table_of(parent: Path) -> Path:
    """Where pictures are described. Raises LineageError where they are not."""
    for name in METADATA_NAMES:
        if (parent / name).is_file():
            return parent / name
    raise LineageError(f"{parent}: expected metadata.jsonl beside its pictures; found none. {_remedy(parent)}")


def _remedy(whole: Path) -> str:
    return f"Put it back from a copy, or remove {whole} to have it made again."


def _refuse_unlogged(folder: RunFolder) -> None:
    """A log begun now would know nothing of what is there already."""
    log = folder.root / LOG_NAME
    weights = sorted(folder.root.glob("weights/fit_*"))
    if weights and not (log.is_file() and log.stat().st_size):
        raise LineageError(
            f"{log}: expected the log of what is there, {weights[0].name} and so on; found none. Put it back from a "
            "copy, or choose another folder."
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
        """The real pictures in a folder of the run, and the files they came from, as its metadata have them.

        Somebody else may have put them there: ``real/`` is taken as it is.
        """
        self.log.record_many(
            Real(
                path=self._relative(place / picture.record.path.name),
                sha256=sha256_of(picture.record.path),
                original_sha256=picture.record.columns.get("original_sha256"),
                source=picture.record.columns.get("original", picture.source),
                group=picture.record.group,
                prompt=picture.record.prompt,
            )
            for picture in prepared_in(place)
            if not self.knows(place / picture.record.path.name)
        )

    def members(self, items: Sequence[Item], generation: int) -> list[dict[str, object]]:
        """What the fit before ``generation`` is made on, for the manifest of its weights: so that the log has what the
        fit saw, and not what a later version would have chosen."""
        return [
            {
                "sha256": sha256_of(self.folder.training_picture(item, generation)),
                "origin": "synthetic" if item.is_synthetic else "real",
                "generation": item.generation if item.is_synthetic else None,
            }
            for item in items
        ]

    def weights(self, generation: int) -> None:
        """Weights, and what their manifest says that they were fitted on; what weights that the engine started from
        were fitted on nobody here knows. Raises ModelError if the manifest does not say it."""
        place = self.folder.weights(generation)
        manifest = stated_manifest(place)
        known = Fit(self._relative(place), manifest.sha256, (), generation=generation, steps=0)
        said: Any = manifest.record
        try:
            if said["is_base"]:
                fit = replace(known, extra={"is_base": True})
            else:
                members = tuple(Member(**member) for member in said["training_set"])
                told = {name: said[name] for name in ("parent", "seed", "steps", "extra")}
                fit = replace(known, training_set=members, **told)
            self.log.record_many([fit])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{place}: expected a manifest that says what these weights were fitted on; found another ({error!r}). "
                f"Remove {place} to have them made again."
            ) from error

    def images(
        self,
        place: Path,
        generation: int,
        positions: Sequence[Position],
        told: Sequence[Mapping[str, object]] | None = None,
    ) -> None:
        """The pictures of a generation in its folder ``place``, one per position. ``extra`` has ``unchanged`` where one
        is its start picture bit for bit, as where a model that paints parts anew found nothing to paint. ``told``: what
        else is to be said of each."""
        weights = self.weights_sha256(generation)
        self.log.record_many(
            self._image(place, generation, position, weights, extra)
            for position, extra in zip(positions, told or [{}] * len(positions), strict=True)
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

    def quality(self, place: Path, limit: float, too_far: Mapping[int, float]) -> None:
        """What the quality control found in a generation: the limit, and the slots that stay beyond it (SIFID)."""
        slots = {str(slot): distance for slot, distance in too_far.items()}
        self.log.note("quality control", path=self._relative(place), sifid_limit=limit, too_far=slots)

    def let_go(self, generation: int) -> None:
        """Weights of which only the manifest is kept."""
        self.log.note("weights let go", path=self._relative(self.folder.weights(generation)))

    def _image(
        self, place: Path, generation: int, position: Position, weights: str, extra: Mapping[str, object]
    ) -> Image:
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
            extra={**extra, "unchanged": True} if sha256 in parents else extra,
        )

    def weights_sha256(self, generation: int) -> str:
        """The hash that stands for the weights of a generation."""
        return stated_manifest(self.folder.weights(generation)).sha256

    def _relative(self, place: Path) -> str:
        return place.relative_to(self.folder.root).as_posix()
