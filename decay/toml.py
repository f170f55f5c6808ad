"""Reading a TOML file that somebody else wrote: bounded in size and depth, every fault one sentence with its place."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from decay.errors import DecayError, FileProblem, shown
from decay.files import read_regular

MAX_BYTES = 2**18
MAX_KEY_PARTS = 8

# tomllib's work grows with the square of a dotted key's parts: 100,000 of them would take hours.
_KEY_PART = r"""(?>[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
_DEEP_KEY = re.compile(rf"(?<![A-Za-z0-9_-])(?:{_KEY_PART}[ \t]*+\.[ \t]*+){{{MAX_KEY_PARTS}}}{_KEY_PART}")


def read_toml_text(path: Path) -> str:
    """The text of a TOML file. Raises DecayError where it is no file, too large or not UTF-8."""
    try:
        return read_regular(path, within=None, max_bytes=MAX_BYTES).decode("utf-8-sig")
    except FileProblem as problem:
        raise DecayError(str(problem)) from problem
    except UnicodeDecodeError as error:
        raise DecayError(
            f"{path}: expected UTF-8 text; found other bytes at {error.start}. Save it as UTF-8."
        ) from error


def parse_toml(where: str, text: str) -> Mapping[str, object]:
    """The tables in ``text``. Raises DecayError, saying ``where``."""
    if deep := _DEEP_KEY.search(text):
        line = text.count("\n", 0, deep.start()) + 1
        raise DecayError(
            f"{where}, line {line}: expected keys of at most {MAX_KEY_PARTS} parts; found {shown(deep.group())}. "
            "Write it shorter; if it is a text, put a space behind one of its full stops."
        )
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Not only TOMLDecodeError: a whole number of 5,000 digits, or the 30th of February, is a plain ValueError.
        reason = (
            "found tables or lists nested too deep"
            if isinstance(error, RecursionError)
            else f"found none ({shown(str(error), 150)})"
        )
        raise DecayError(f"{where}: expected TOML; {reason}. Correct it there.") from error
