"""Folders on this machine, and in object storage through fsspec (``s3://``, ``gs://``, ...), looked at in one way.

Places in storage are ``UPath``s, which have pathlib's methods without being ``Path``s; storage has no links, so that
nothing leads out of a folder but a name that says so.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from decay.errors import LineageError

_SCHEME = re.compile(r"^([a-z][a-z0-9+.-]+)://")
_THIS_MACHINE = frozenset({"file", "local"})
_SECRET = re.compile(r"://[^/]*:[^/]*@")


def place(text: str) -> Path:
    """What a person means by ``text``: a path, or an address such as ``s3://bucket/run``.

    Raises LineageError where what it takes to read there is not installed.
    """
    found = _SCHEME.match(text)
    if found is None:
        return Path(text)
    if found[1] in _THIS_MACHINE:  # links, pipes and devices are looked at there, which storage has not
        return Path(text.removeprefix(found[0]))
    if _SECRET.search(text):
        raise LineageError(
            f"{text.partition('://')[0]}://...: expected an address without a password; what is given here is written "
            "into the results. Put it where the storage's own library looks for it (environment, settings file)."
        )
    try:
        from upath import UPath  # noqa: PLC0415  # the extra `storage`

        address = UPath(text.rstrip("/"))
        _ = address.fs  # what this kind of storage takes is imported here, not before
        return cast("Path", address)
    except (ImportError, ValueError) as error:
        raise LineageError(
            f"{text}: what reads there is not installed ({error}). In decay's own folder run pip install -e "
            "'.[storage]', and install fsspec's driver (s3fs for s3://); or give a folder."
        ) from error


def is_remote(path: Path) -> bool:
    """Whether it lies in storage."""
    return not isinstance(path, Path)


def exists(path: Path) -> bool:
    """Whether there is anything, links followed. Never raises for what may not be entered."""
    return _ask(path).exists() if is_remote(path) else os.path.exists(path)  # noqa: PTH110


def is_entry(path: Path) -> bool:
    """Whether there is anything, a link to nothing included."""
    return _ask(path).exists() if is_remote(path) else os.path.lexists(path)


def is_folder(path: Path) -> bool:
    """Whether it is a folder, links followed. Never raises for what may not be entered."""
    return _ask(path).is_dir() if is_remote(path) else os.path.isdir(path)  # noqa: PTH112


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, in no order. Raises OSError."""
    if not is_remote(folder):
        return list(folder.iterdir())
    with _as_os_error(folder):
        return [entry for entry in folder.iterdir() if entry.name]


def file_names(folder: Path) -> Iterator[str]:
    """The names of all files at any depth."""
    if not is_remote(folder):
        yield from (name for _, _, names in os.walk(folder) for name in names)
        return
    with _as_os_error(folder):
        yield from (str(name).rpartition("/")[2] for name in _ask(folder).fs.find(_ask(folder).path))


def absolute(path: Path) -> Path:
    """The same place from the root, links as they are."""
    return path if is_remote(path) else Path(os.path.abspath(path))  # noqa: PTH100


def real_name(path: Path) -> str:
    """A name that two ways to one place share."""
    return str(path) if is_remote(path) else os.path.realpath(path)


def lies_within(path: Path, folder: Path) -> bool:
    """Whether ``path`` lies in ``folder`` once every link is followed. Raises OSError (a loop of links)."""
    if is_remote(path) or is_remote(folder):
        return type(path) is type(folder) and ".." not in path.parts and path.is_relative_to(folder)
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def size_in_storage(path: Path) -> int:
    """Bytes of a file in storage. Raises OSError."""
    with _as_os_error(path):
        return int(_ask(path).stat().st_size)


def fetch(path: Path) -> bytes:
    """All of a file in storage, in one request. Raises OSError."""
    with _as_os_error(path):
        data: bytes = _ask(path).fs.cat_file(_ask(path).path)
    return data


def _ask(path: Path) -> Any:
    """The same, for what a ``UPath`` has and a ``Path`` has not."""
    return path


@contextmanager
def _as_os_error(path: Path) -> Iterator[None]:
    """Each kind of storage raises exceptions of its own."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(None, f"{type(error).__name__}: {error}", str(path)) from error
