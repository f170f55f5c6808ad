"""A run as an RO-Crate 1.1 (https://w3id.org/ro/crate/1.1): its pictures, its log, and what made what.

Soiland-Reyes et al. (2022), "Packaging research artefacts with RO-Crate", Data Science 5(2), doi:10.3233/DS-210053.
Every fit, every generation and every working-over is a ``CreateAction`` with ``instrument``, ``object`` and ``result``.
"""

from __future__ import annotations

import mimetypes
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from decay.errors import LineageError, OutputError
from decay.files import (
    check_is_free,
    check_is_new,
    make_folder,
    new_folder,
    to_json,
    write_aside,
    write_text,
)
from decay.metadata import relative_to_root
from decay.provenance.chain import LOG_NAME, Index, Link, open_log, read_links
from decay.provenance.events import Begin, Derived, Fit, Image, Resume
from decay.provenance.log import SETTINGS_NAME
from decay.provenance.verify import PICTURES, verify, walk
from decay.provenance.words import counted, plain
from decay.storage import lies_within

METADATA_NAME = "ro-crate-metadata.json"
CONTEXT = ["https://w3id.org/ro/crate/1.1/context", {"sha256": "https://schema.org/sha256"}]
"""1.1 is what most tools read; its context is older than schema.org's ``sha256``."""
NO_LICENSE = "Not stated. The rights are those of the photographs and of the model that the pictures were made from."

Entity = dict[str, object]


def export(run: Path, out: Path, *, license_name: str | None = None) -> int:
    """Write a run as an RO-Crate, a new ``.zip`` or a new folder: pictures, log, settings. Weights are only described.

    Returns the number of pictures. The run is verified first. Raises LineageError, naming the first thing that is
    not as recorded; OutputError, also where ``out`` holds something already.
    """
    if lies_within(out.parent, run):
        raise OutputError(f"{out}: expected a place outside of {run}, which is to stay as it is. Choose another.")
    is_zip = out.suffix.lower() == ".zip"
    check_target = check_is_new if is_zip else check_is_free
    check_target(out)  # before every file is hashed, not after
    check_whole(run)
    with open_log(run) as stream, Index() as index:
        for link in read_links(stream, run / LOG_NAME):
            index.add(link.event, link.line, link.offset)
        pictures = {place.path: place.sha256 for place in index.latest(*PICTURES)}
    files = {name: path for path in walk(run) if (name := relative_to_root(run, path)) in pictures}
    files |= {name: run / name for name in (LOG_NAME, SETTINGS_NAME) if (run / name).is_file()}
    metadata = to_json(
        {"@context": CONTEXT, "@graph": _graph(run, pictures, sorted(files), license_name or NO_LICENSE)}
    )
    if is_zip:
        _write_zip(out, files, metadata)
    else:
        with new_folder(out) as folder:
            for name, path in files.items():
                make_folder((folder / name).parent)
                shutil.copyfile(path, folder / name)
            write_text(folder / METADATA_NAME, metadata)
    return len(pictures)


def check_whole(run: Path) -> None:
    """Raises LineageError, naming the first thing in a run that is not as its log says."""
    found = verify(run)
    if not found.ok:
        raise LineageError(
            f"{run}: expected a run that is as its log says; found {counted(found.n_problems, 'problem')}, first: "
            f"{found.problems[0]} See decay provenance verify."
        )


def _write_zip(out: Path, files: Mapping[str, Path], metadata: str) -> None:
    make_folder(out.parent)
    # Pictures are compressed as they are.
    with write_aside(out) as aside, zipfile.ZipFile(aside, "w", strict_timestamps=False) as packed:
        packed.writestr(METADATA_NAME, metadata)
        for name, path in files.items():
            packed.write(path, name)


@dataclass
class _Action:
    """A CreateAction that grows as the log is read."""

    id: str
    name: str
    instruments: Sequence[str]
    end: str = ""
    description: str = ""
    objects: dict[str, None] = field(default_factory=dict)
    results: dict[str, None] = field(default_factory=dict)

    def entity(self) -> Entity:
        """The finished action."""
        said: Entity = {"description": self.description} if self.description else {}
        return said | {
            "@id": self.id,
            "@type": "CreateAction",
            "name": self.name,
            "instrument": _refs(self.instruments),
            "object": _refs(self.objects),
            "result": _refs(self.results),
            "endTime": self.end,
        }


class _Graph:
    """Collects what the log speaks of. Whatever is referred to is described, also if it is no longer in the run."""

    def __init__(self, pictures: Mapping[str, str]) -> None:
        self._by_hash = {sha256: quote(path) for path, sha256 in pictures.items()}
        self.described: dict[str, Entity] = {}
        self.actions: dict[str, _Action] = {}
        self.software: dict[str, Entity] = {}
        self._now = ""

    def add(self, link: Link) -> None:
        event = link.event
        if isinstance(event, Begin | Resume):
            self._now = self._software(event.environment)
        elif isinstance(event, Fit) and not event.training_set:
            self._weights(event.sha256, f"{event.path}, made elsewhere")
        elif isinstance(event, Fit):
            kinds = Counter(member.origin for member in event.training_set)
            action = self._action(f"#fit-{link.line}", f"Fit of {event.path}", [self._now])
            action.description = ", ".join(f"{count} {origin}" for origin, count in sorted(kinds.items()))
            action.end = link.at
            action.objects |= dict.fromkeys(self._picture(member.sha256) for member in event.training_set)
            if event.parent is not None:
                action.objects[self._weights(event.parent)] = None
            action.results[self._weights(event.sha256, event.path)] = None
        elif isinstance(event, Image):
            made_by = [] if event.weights is None else [self._weights(event.weights)]
            key = f"#generation-{event.generation}-{(event.weights or 'unknown')[:16]}"
            self._pictures(self._action(key, f"Generation {event.generation}", [self._now, *made_by]), event, link.at)
        elif isinstance(event, Derived):
            key = f"#worked-over-{event.generation}-{quote(event.method, safe='')}"
            name = f"Generation {event.generation}: {event.method}"
            self._pictures(self._action(key, name, [self._now]), event, link.at)

    def _pictures(self, action: _Action, event: Image | Derived, at: str) -> None:
        action.objects |= dict.fromkeys(self._picture(parent) for parent in event.parents)
        action.results[self._picture(event.sha256)] = None
        action.end = at

    def _action(self, key: str, name: str, instruments: Sequence[str]) -> _Action:
        return self.actions.setdefault(key, _Action(key, name, instruments))

    def _picture(self, sha256: str) -> str:
        if sha256 in self._by_hash:
            return self._by_hash[sha256]
        return self._describe(f"#picture-{sha256}", "a picture that is no longer in the run, or never was", sha256)

    def _weights(self, sha256: str, name: str = "weights made elsewhere") -> str:
        return self._describe(f"#weights-{sha256}", name, sha256)

    def _describe(self, key: str, name: str, sha256: str) -> str:
        self.described.setdefault(key, {"@id": key, "@type": "CreativeWork", "name": name, "sha256": sha256})
        return key

    def _software(self, environment: Mapping[str, object]) -> str:
        version, commit = str(environment.get("decay")), str(environment.get("commit"))
        key = f"#decay-{quote(version, safe='')}-{quote(commit[:12], safe='')}"
        packages = environment.get("packages")
        named = ", ".join(f"{name} {number}" for name, number in packages.items()) if isinstance(packages, dict) else ""
        self.software[key] = {
            "@id": key,
            "@type": "SoftwareApplication",
            "name": "decay",
            "softwareVersion": version,
            "identifier": commit,
            "softwareRequirements": named,
        }
        return key


def _graph(run: Path, pictures: Mapping[str, str], files: Sequence[str], license_name: str) -> list[Entity]:
    graph, head, at = _Graph(pictures), "", ""
    with open_log(run) as stream:
        for link in read_links(stream, run / LOG_NAME):
            graph.add(link)
            head, at = link.hash, link.at
    actions = [action.entity() for action in graph.actions.values()]
    return [
        {
            "@id": METADATA_NAME,
            "@type": "CreativeWork",
            "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
            "about": {"@id": "./"},
        },
        {
            "@id": "./",
            "@type": "Dataset",
            "name": plain(run.resolve().name, 200),
            "description": f"Generations of pictures, with a log of what made each. Head of the log: {head}",
            "datePublished": at,
            "license": license_name,
            "hasPart": _refs(map(quote, files)),
            "mentions": _refs(str(action["@id"]) for action in actions),
        },
        *(_file(name, pictures.get(name)) for name in files),
        *graph.software.values(),
        *graph.described.values(),
        *actions,
    ]


def _file(name: str, sha256: str | None) -> Entity:
    kind = "application/jsonl" if name == LOG_NAME else mimetypes.guess_type(name)[0] or "application/octet-stream"
    known = {} if sha256 is None else {"sha256": sha256}
    return {"@id": quote(name), "@type": "File", "name": name, "encodingFormat": kind, **known}


def _refs(ids: Iterable[str]) -> list[Entity]:
    return [{"@id": each} for each in ids]
