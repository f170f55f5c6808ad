"""Whether a measurement would only repeat what stands there: then nothing is read, concluded or drawn again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import detectors
import reports
from decay.errors import DecayError
from decay.files import hash_regular, to_json
from decay.lineage import ImageRecord, Lineage
from decay.settings import MeasureSettings

if TYPE_CHECKING:
    from decay.read import Hashed

RUN_RECORD = "run.json"
_MAX_BYTES = 2**40  # of a table of millions of images
_PROGRAM = ("*.py", "*.html", "*.css", "*.j2", "*.svg")


def inputs_digest(
    lineage: Lineage, images: Sequence[Hashed], settings: MeasureSettings, version: str, pictures: str | None = None
) -> str:
    """Fingerprint (sha256, 64 hex digits) of all that the results follow from: the bytes of every image and what is
    known of it, the settings, the control's results, the reader (``version``), this program, and where the pictures lie
    (``pictures``) if not beside the results."""
    digest = hashlib.sha256()
    for part in (
        version,
        _program_digest(),
        {**asdict(settings), "workers": None, "cluster": None},
        _folder_digest(settings.control / "measures") if settings.control else "",
        [pictures, lineage.reference_name, list(lineage.notes), lineage.settings],
    ):
        digest.update(_canonical(part))
    for image in images:
        problem = [image.problem.state, image.problem.reason] if image.problem else []
        digest.update(_canonical([image.generation, image.sha256, problem, _about(image.record)]))
    return digest.hexdigest()


def is_unchanged(folder: Path, inputs: str) -> bool:
    """Whether ``folder`` holds the results that follow from ``inputs``, every file as it was written."""
    try:
        record = json.loads((folder / RUN_RECORD).read_text(encoding="utf-8"))
        files = record["files"]
        is_same = record["inputs"] == inputs and record.pop("record") == record_digest(record)
        return is_same and all(_sha256(folder / name, folder) == files[name] for name in files)
    except (DecayError, OSError, ValueError, LookupError, TypeError, AttributeError):
        return False  # not measured, by an older program, or damaged: measure anew


def record_digest(record: Mapping[str, Any]) -> str:
    """Fingerprint of run.json without itself, by which an edited one is known."""
    return hashlib.sha256(to_json(record).encode("utf-8", "backslashreplace")).hexdigest()


def files_digests(folder: Path) -> dict[str, str]:
    """The sha256 of every file below a folder, by its posix path in there."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _sha256(path, folder) for path in paths}


def _about(record: ImageRecord) -> list[Any]:
    return [
        *(record.relative, record.slot, record.prompt, record.group, record.seed, record.source),
        None if record.expects is None else sorted(record.expects),
        dict(record.columns),
    ]


def _program_digest() -> str:
    digest = hashlib.sha256()
    packages = (Path(__file__).parent, Path(detectors.__file__).parent, Path(reports.__file__).parent)
    for package in packages:
        for path in sorted(path for pattern in _PROGRAM for path in package.rglob(pattern)):
            digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def _folder_digest(folder: Path) -> Mapping[str, str]:
    """Of the tables and records of a measured run; the journal and the charts do not count."""
    if not folder.is_dir():
        return {}  # whoever loads it will say so
    wanted = {".csv", ".json", ".parquet"}
    return {path.name: _sha256(path, folder) for path in sorted(folder.iterdir()) if path.suffix in wanted}


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, default=str).encode("utf-8", "surrogatepass") + b"\n"


def _sha256(path: Path, folder: Path) -> str:
    return hash_regular(path, within=folder, max_bytes=_MAX_BYTES)
