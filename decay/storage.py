"""Folders on this machine, and in object storage through fsspec (``s3://``, ``gs://``, ...), looked at in one way.

Places in storage are ``UPath``s, which have pathlib's methods without being ``Path``s; storage has no links, so that
nothing leads out of a folder but a name that says so.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any, cast

from decay.errors import LineageError

_SCHEME = re.compile(r"^([A-Za-z][\w+.-]+)(?:::[\w+.:-]+)?://")
"""Of an address, or of a chain of them as fsspec writes it (``zip://run::s3://bucket/runs.zip``)."""
_THIS_MACHINE = frozenset({"file://", "local://"})
_ARCHIVES = frozenset({"zip", "tar", "libarchive"})
_SECRET = re.compile(r"://[^/]*:[^/]*@")


def place(text: str) -> Path:
    """What a person means by ``text``: a path, or an address such as ``s3://bucket/run``.

    Raises LineageError where what it takes to read there is not installed, where it does not open, and where there are
    no folders to walk.
    """
    found = _SCHEME.match(text)
    if found is None:
        return Path(text)
    if found[0] in _THIS_MACHINE:  # links, pipes and devices are looked at there, which storage has not
        return Path(text.removeprefix(found[0]))
    if _SECRET.search(text):
        raise LineageError(
            f"{text.partition('://')[0]}://...: expected an address without a password; what is given here is written "
            "into the results. Put it where the storage's own library looks for it (environment, settings file)."
        )
    if not text[found.end() :].strip("/"):
        raise LineageError(f"{text}: expected an address such as s3://bucket/run; found no name behind {found[0]}.")
    try:
        address = _opened(text.rstrip("/"))
        listed = _has_folders(address)
    except ImportError as error:
        raise LineageError(_not_installed(text, _said(error))) from error
    except Exception as error:  # each kind has its own: no such host, no archive, a setting that it cannot do without
        if not _is_known(found[1]):
            raise LineageError(_not_installed(text, _said(error))) from error
        advice = (
            f"Write {found[1]}://FOLDER::ARCHIVE, as {found[1]}://run::/path/to/archive"
            if found[1] in _ARCHIVES
            else "Check the address and the network, and what its own library reads of settings"
        )
        raise LineageError(
            f"{text}: expected storage that can be opened; found {_said(error)}. {advice}; or copy the run to a "
            "folder, and give that."
        ) from error
    if not listed:
        raise LineageError(
            f"{text}: expected storage with folders that can be listed; {found[1]} has none. Copy the run to a folder, "
            "and give that."
        )
    return address


def is_remote(path: Path) -> bool:
    """Whether it lies in storage."""
    return not isinstance(path, Path)


def exists(path: Path) -> bool:
    """Whether there is anything, links followed. Never raises for what may not be entered on this machine.

    Raises LineageError where storage does not answer.
    """
    return _is_in_storage(path) if is_remote(path) else os.path.exists(path)  # noqa: PTH110


def is_entry(path: Path) -> bool:
    """Whether there is anything, a link to nothing included. Raises LineageError where storage does not answer."""
    return _is_in_storage(path) if is_remote(path) else os.path.lexists(path)


def is_folder(path: Path) -> bool:
    """Whether it is a folder, links followed. Never raises for what may not be entered on this machine.

    Raises LineageError where storage does not answer.
    """
    if not is_remote(path):
        return os.path.isdir(path)  # noqa: PTH112
    with _answering(path):
        return bool(_ask(path).is_dir())


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, in no order. Raises OSError, LineageError where storage does not answer."""
    if not is_remote(folder):
        return list(folder.iterdir())
    with _answering(folder):
        return [entry for entry in folder.iterdir() if entry.name]


def file_names(folder: Path) -> Iterator[str]:
    """The names of all files at any depth. Raises LineageError where storage does not answer."""
    if not is_remote(folder):
        yield from (name for _, _, names in os.walk(folder) for name in names)
        return
    with _answering(folder):
        found = _ask(folder).fs.find(_ask(folder).path)
    yield from (str(name).rpartition("/")[2] for name in found)


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


def _opened(address: str) -> Path:
    from upath import UPath  # noqa: PLC0415  # the extra `storage`

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that upath knows a kind no better than fsspec does
        opened = cast("Path", UPath(address))
    if not is_remote(opened):
        raise ValueError("it is taken for a path of this machine")
    _ = _ask(opened).fs  # what this kind of storage takes is imported here, not before
    return opened


def _has_folders(address: Path) -> bool:
    """Whether this kind of storage can list what it holds: fsspec leaves that to each."""
    from fsspec.asyn import AsyncFileSystem  # noqa: PLC0415  # the extra `storage`
    from fsspec.spec import AbstractFileSystem  # noqa: PLC0415

    kind = type(_ask(address).fs)
    if issubclass(kind, AsyncFileSystem):
        return kind._ls is not AsyncFileSystem._ls
    return kind.ls is not AbstractFileSystem.ls


def _is_known(scheme: str) -> bool:
    from fsspec import available_protocols  # noqa: PLC0415  # the extra `storage`

    return scheme in available_protocols()


def _not_installed(text: str, reason: str) -> str:
    return (
        f"{text}: what reads there is not installed ({reason}). In decay's own folder run pip install -e "
        "'.[storage]', and install fsspec's driver (s3fs for s3://); or give a folder."
    )


def _is_in_storage(path: Path) -> bool:
    """Asks for what is known of it: fsspec's own ``exists`` says no as well where nobody answers."""
    with _answering(path):
        try:
            _ask(path).fs.info(_ask(path).path)
        except (FileNotFoundError, NotADirectoryError):
            return False
    return True


@contextmanager
def _answering(path: Path) -> Iterator[None]:
    """Raises LineageError where storage does not answer, or not with what was asked for."""
    try:
        yield
    except Exception as error:  # each kind of storage raises exceptions of its own
        raise LineageError(
            f"{path}: expected storage that answers; found {_said(error)}. Check the address, the network and your "
            "rights there, then run the same command again."
        ) from error


def _said(error: BaseException) -> str:
    """What an exception says, in one line that is no longer than a sentence may be."""
    return shorten(f"{type(error).__name__}: {error}".rstrip("."), 200, placeholder=" [...]")


@contextmanager
def _as_os_error(path: Path) -> Iterator[None]:
    """Each kind of storage raises exceptions of its own."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(None, f"{type(error).__name__}: {error}", str(path)) from error
