"""Writing so that nothing is ever half-written, and reading files that somebody else made.

A result is written aside, forced to the disk, then renamed over the old one: a reader sees the old file
or the new one, whatever happens in between (full disk, kill -9, power cut).
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import math
import os
import re
import secrets
import shutil
import socket
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decay import storage
from decay.errors import FileProblem, OutputError

if TYPE_CHECKING:
    import pandas as pd

ASIDE_PREFIX = ".aside-"
LOCK_NAME = ".lock"

_REASONS = {
    errno.ENOSPC: "the disk is full. Free some space",
    errno.EDQUOT: "your disk quota is used up. Free some space",
    errno.EFBIG: "the file would be larger than this system allows. Raise the limit (ulimit -f) or write elsewhere",
    errno.EROFS: "the file system is read-only. Write to another folder",
    errno.EACCES: "there is no permission to write there. Change the permissions or write to another folder",
    errno.EPERM: "there is no permission to write there. Change the permissions or write to another folder",
    errno.ENOENT: "its folder does not exist. Make it first",
    errno.ENOTDIR: "a part of this path is a file, not a folder. Choose another path",
    errno.EISDIR: "a folder of this name is in the way. Move it away",
    errno.ENAMETOOLONG: "the name is too long for this file system. Choose a shorter one",
}
_NO_LOCKS_HERE = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}

# OWASP, "CSV Injection": cells that a spreadsheet would run, their full-width forms included. A lone sign
# (a unit of "-") is no formula and stays as it is.
_FORMULA = re.compile(r"^[=+\-@\t\n＝＋－＠].", re.DOTALL)  # noqa: RUF001


# --------------------------------------------------------------------------- writing


@contextmanager
def write_aside(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on leaving, it takes the place of ``path`` in one step.

    The temporary has the suffix of ``path``. If anything fails, it is removed and an older ``path`` stays as
    it was. Raises OutputError, in one sentence, for every failure of the file system; other exceptions of
    the body pass unchanged.
    """
    aside = path.with_name(f"{ASIDE_PREFIX}{secrets.token_hex(6)}{path.suffix[:16]}")
    try:
        # Not tempfile: its files are 0600, ours take the umask like any other.
        os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        yield aside
        _force_to_disk(aside)
        aside.replace(path)
        _force_to_disk(path.parent)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        _remove_quietly(aside)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data`` in one step. Raises OutputError."""
    with write_aside(path) as aside:
        aside.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` (UTF-8, newlines as given) in one step. Raises OutputError."""
    write_bytes(path, text.encode("utf-8"))


@contextmanager
def scratch_folder(parent: Path, goal: Path) -> Iterator[Path]:
    """A new folder in ``parent``, which is made too, for what will become ``goal``; removed at the end.

    Raises OutputError, naming ``goal``, for every failure of the file system.
    """
    make_folder(parent)
    scratch = parent / f"{ASIDE_PREFIX}{secrets.token_hex(6)}"
    try:
        scratch.mkdir()
        yield scratch
    except OSError as error:
        raise output_error(goal, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill that becomes ``path`` at the end, once every file in it is on the disk: whole, or not at all.

    Raises OutputError where it cannot be written, or where ``path`` is more than an empty folder.
    """
    path = path.absolute()  # `.` has no name and no parent
    with scratch_folder(path.parent, path) as scratch:
        check_is_free(path)
        yield scratch
        publish_folder(scratch, path)


def check_is_free(path: Path) -> None:
    """Raises OutputError where ``path`` is more than an empty folder."""
    if not _is_free(path):
        raise OutputError(
            f"{path}: expected a new or an empty folder; it already holds something. "
            "Choose another folder, or remove that one first."
        )


def check_is_new(path: Path) -> None:
    """Raises OutputError where anything has that name already."""
    if os.path.lexists(path):
        raise OutputError(
            f"{path}: expected the name of a new file; there is something of that name already. "
            "Choose another name, or remove that one first."
        )


def _is_free(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return True
    return stat.S_ISDIR(mode) and not any(path.iterdir())


def check_folder(path: Path) -> None:
    """Make a folder if there is none, and try to write into it: before hours of work, not after. Raises OutputError."""
    with scratch_folder(path, path):
        pass


def move_files(source: Path, target: Path) -> None:
    """Move all files below ``source`` to the same places below ``target``, once all of them are on the disk.

    Raises OutputError. Other files in ``target`` stay.
    """
    files = sorted(path for path in source.rglob("*") if path.is_file())
    for path in files:
        _force_to_disk(path)
    for path in files:
        place = target / path.relative_to(source)
        make_folder(place.parent)
        try:
            path.replace(place)
        except OSError as error:
            raise output_error(place, error) from error
    _force_to_disk(target)


def publish_folder(source: Path, target: Path) -> None:
    """Give the folder ``source`` its final name, once every file in it is on the disk. Raises OutputError."""
    make_folder(target.parent)
    try:
        for path in source.rglob("*"):
            _force_to_disk(path)
        source.rename(target)
        _force_to_disk(target.parent)
    except OSError as error:
        raise output_error(target, error) from error


def make_folder(path: Path) -> None:
    """Make a folder and its parents; one that exists is fine. Raises OutputError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"{path}: expected a folder to write to; found a file. Move it away.") from error
    except OSError as error:
        raise output_error(path, error) from error


def csv_text(frame: pd.DataFrame) -> str:
    """The table as CSV, without its index, safe to open in a spreadsheet."""
    return safe_csv(frame).to_csv(index=False, lineterminator="\n")


def safe_csv(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy whose texts cannot act as spreadsheet formulas: ``=1+1`` becomes ``'=1+1``. Numbers stay numbers."""
    from pandas.api.types import is_numeric_dtype  # noqa: PLC0415  # 70 MB that workers, which write no table, spare

    safe = frame.copy()
    for column in safe.columns:
        if not is_numeric_dtype(safe[column]):
            safe[column] = safe[column].map(_defuse)
    return safe


def to_json(record: Mapping[str, Any]) -> str:
    """Indented JSON; numbers that are NaN or infinite become null, paths become text."""
    return json.dumps(_json_ready(record), indent=2, ensure_ascii=False, default=str, allow_nan=False) + "\n"


def _json_ready(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_ready(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def output_error(path: Path, error: OSError) -> OutputError:
    """The OutputError that says in one sentence why ``path`` could not be written."""
    reason = _REASONS.get(error.errno or 0, f"{error.strerror or error}. Check the disk, or write to another folder")
    return OutputError(f"{path}: could not be written: {reason}, then run the same command again.")


def _defuse(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    # csv writers do not quote a lone carriage return: what follows it would begin a row of its own.
    text = cell.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{text}" if _FORMULA.match(text) else text


def _force_to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems cannot sync a folder; the rename itself is done.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(handle)


def _remove_quietly(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # the reason why is already on its way up


# --------------------------------------------------------------------------- one writer at a time


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Make ``folder``, hold it for one writer, and clear away what a killed one left half-written.

    The lock is the kernel's (flock): it ends with the process, so that a kill -9 leaves nothing to clean up.
    On file systems without locks it does nothing. Raises OutputError if another process holds the folder, or
    if it holds what is neither file nor folder: a run made elsewhere must not lead what we write out of it.
    """
    make_folder(folder)
    _refuse_links(folder)
    path = folder / LOCK_NAME
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise output_error(path, error) from error
    try:
        if _lock(handle, folder):
            clear_leftovers(folder)
        yield
    finally:
        os.close(handle)


def clear_leftovers(folder: Path) -> None:
    """Remove half-written files and folders of a killed process. Only for the holder of the lock."""
    for leftover in list(folder.rglob(f"{ASIDE_PREFIX}*")):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            _remove_quietly(leftover)


def _refuse_links(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise OutputError(
                f"{path}: expected a plain file or folder to write to; found a link, device or pipe. "
                "Remove it, then run the same command again."
            )


def _lock(handle: int, folder: Path) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.truncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
    except BlockingIOError as error:
        holder = os.pread(handle, 200, 0).decode("utf-8", "replace") or "another process"
        raise OutputError(
            f"{folder}: expected to be the only one writing here; {holder} is at work in it. "
            "Wait until it has finished, or end it, then run the same command again."
        ) from error
    except OSError as error:
        if error.errno in _NO_LOCKS_HERE:
            return False
        raise output_error(folder / LOCK_NAME, error) from error
    return True


# --------------------------------------------------------------------------- reading what others made


def read_regular(path: Path, *, within: Path | None, max_bytes: int) -> bytes:
    """The bytes of a regular file. Devices, pipes and sockets are refused without touching them.

    ``within``: a folder that the file, links followed, must lie in. Raises FileProblem with state
    ``outside``, ``missing``, ``not_a_file``, ``no_permission``, ``too_large`` or ``unreadable``.
    """
    with _opened(path, within, max_bytes) as (stream, n_bytes):
        return stream.read(n_bytes)


def hash_regular(path: Path, *, within: Path | None, max_bytes: int) -> str:
    """The sha256 of a regular file, 64 hex digits, without holding it in memory. Raises what ``read_regular`` does."""
    with _opened(path, within, max_bytes) as (stream, _):
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_of(path: Path) -> str:
    """The sha256 of a file of our own or of a model, as 64 hex digits. Raises OSError."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def _opened(path: Path, within: Path | None, max_bytes: int) -> Iterator[tuple[io.BufferedReader | io.BytesIO, int]]:
    """The stream of a file that may be read, and how many bytes it had when it was opened."""
    try:
        if within is not None and not storage.lies_within(path, within):
            raise FileProblem(
                "outside",
                f"{path}: expected a file inside {within}; this is a link that leads out of it. "
                "Put a copy of the file in its place.",
            )
        if storage.is_remote(path):
            _check_length(path, storage.size_in_storage(path), max_bytes)
            data = storage.fetch(path)
            yield io.BytesIO(data), len(data)
        else:
            with _open_checked(path, max_bytes) as stream:
                yield stream, os.fstat(stream.fileno()).st_size
    except FileNotFoundError as error:
        raise FileProblem(
            "missing", f"{path}: expected a file; found nothing, or a link to nothing. Put it back."
        ) from error
    except PermissionError as error:
        raise FileProblem(
            "no_permission", f"{path}: there is no permission to read it. Run chmod u+r on it, or ask its owner."
        ) from error
    except OSError as error:
        raise FileProblem(
            "unreadable", f"{path}: could not be read: {error.strerror or error}. Check the disk, or copy it anew."
        ) from error


def _open_checked(path: Path, max_bytes: int) -> io.BufferedReader:
    _check_kind(path, path.stat())  # before opening: opening a device can act on it
    # O_NONBLOCK: if a pipe took the file's place in between, do not wait for its writer.
    stream = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    try:
        _check_kind(path, os.fstat(stream.fileno()))
        _check_length(path, os.fstat(stream.fileno()).st_size, max_bytes)
    except BaseException:
        stream.close()
        raise
    return stream


def _check_length(path: Path, n_bytes: int, max_bytes: int) -> None:
    if n_bytes > max_bytes:
        raise FileProblem(
            "too_large",
            f"{path}: expected at most {max_bytes / 1e6:,.0f} MB; found {n_bytes / 1e6:,.0f} MB. "
            "Save it smaller or remove it.",
        )


def _check_kind(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise FileProblem("not_a_file", f"{path}: expected a file; found a folder, device or pipe. Remove it.")
