"""Folders that are published whole or not at all, and can be told from damaged ones afterwards.

A folder is filled aside; its manifest, with the sha256 of every other file, is written last; then it is renamed into
place. Whoever reads goes by the manifest: a folder without one was never finished, whatever lies in it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from decay.errors import ModelError
from decay.files import new_folder, output_error, sha256_of, to_json, write_text

MANIFEST = "manifest.json"
FORMAT_VERSION = 1
"""1: ``format_version``, ``files`` ({posix path: {sha256, bytes}}), ``record`` (what the publisher says of it)."""


@dataclass(frozen=True)
class Manifest:
    """``files``: sha256 by posix path, sorted. ``record``: what its publisher wrote of it."""

    files: Mapping[str, str]
    record: Mapping[str, object]

    @property
    def sha256(self) -> str:
        """One hash that stands for all files: of the lines ``<sha256>  <path>``, as sha256sum prints them."""
        lines = "".join(f"{digest}  {path}\n" for path, digest in sorted(self.files.items()))
        return hashlib.sha256(lines.encode("utf-8")).hexdigest()


@contextmanager
def published(folder: Path, record: Mapping[str, object]) -> Iterator[Path]:
    """A folder to fill that becomes ``folder`` at the end, with its manifest, as a whole or not at all.

    Raises OutputError where it cannot be written, or where ``folder`` is more than an empty folder.
    """
    with new_folder(folder) as staged:
        yield staged
        files = sorted(path for path in staged.rglob("*") if path.is_file())
        named = {
            path.relative_to(staged).as_posix(): {"sha256": sha256_of(path), "bytes": path.stat().st_size}
            for path in files
        }
        write_text(staged / MANIFEST, to_json({"format_version": FORMAT_VERSION, "files": named, "record": record}))


def is_published(folder: Path) -> bool:
    """Whether the folder was finished. Its files are not read."""
    return (folder / MANIFEST).is_file()


def read_manifest(folder: Path) -> Manifest:
    """The manifest, with every file that it names found whole. Raises ModelError, naming the first that is not."""
    manifest = stated_manifest(folder)
    for path, expected in manifest.files.items():
        _check(folder, path, expected)
    return manifest


def stated_manifest(folder: Path) -> Manifest:
    """The manifest as it was written; the files themselves are not looked at. Raises ModelError if it is damaged."""
    try:
        said = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = {str(path): str(entry["sha256"]) for path, entry in said["files"].items()}
        return Manifest(files, dict(said["record"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{folder / MANIFEST}: expected the list of what was published here; it cannot be read ({error}). "
            f"Remove {folder} to have it made again."
        ) from error


def _check(folder: Path, path: str, expected: str) -> None:
    place = folder / path
    if ".." in Path(path).parts or place.is_symlink() or not place.is_file():
        found = "nothing there"
    elif (digest := sha256_of(place)) != expected:
        found = f"one with sha256 {digest}"
    else:
        return
    raise ModelError(
        f"{place}: expected the file with sha256 {expected}; found {found}. It was changed or damaged after it was "
        f"published: put it back from a copy, or remove {folder} to have it made again."
    )


def remove(folder: Path) -> None:
    """Unpublish: the manifest goes first, so that what is left of a removal that was cut short counts as unfinished."""
    try:
        (folder / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise output_error(folder, error) from error


def let_go(folder: Path) -> None:
    """Remove the files and keep the manifest: what was there can still be named, though not loaded."""
    try:
        for path in sorted(folder.rglob("*"), reverse=True):
            if path.is_dir():
                path.rmdir()
            elif path != folder / MANIFEST:
                path.unlink()
    except OSError as error:
        raise output_error(folder, error) from error
