"""Run folders out of bytes: each byte of the fuzzer's decides on a name, a link, a metadata row, a file of any kind."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

GENERATIONS = ("gen_00", "gen_01", "gen-2", "iter3", "0", "1", "real", "REAL", "measures", "portraits_1024", ".hidden")
NAMES = (
    *("a.png", "b.PNG", "c.jpg", "a.webp", "d.tif", "e.gif", "f", ".g.png", "x" * 250 + ".png", "\udcff.png"),
    *("9" * 240 + ".png", "=1+1.png", "<img src=x>.png", "\x1b[31m.png", "a\nb.png", "é.png", "e\u0301.png"),
    *("\u202egnp.png", "²③.png", "-rf.png"),
)
PATHS = (
    *("../../etc/passwd", "/etc/passwd", "..\\..\\x.png", "C:\\x.png", "gen_00/../../x.png", "a\0.png", "", "."),
    *("\ud800.png", "a/" * 300 + "b.png", "%2e%2e/x.png", "gen_00/a.png", "a.png", "./a.png", "~/a.png", "//a.png"),
)
TEXTS = (
    *("a face", "=cmd|' /C calc'!A0", "<script>x</script>", "\x1b]0;x\x07", "\ud800", "\u2028", "x" * 5000, ""),
    *("two hands", "face, hand", "['hand']"),
)
OTHERS: tuple[Any, ...] = (0, -1, 7.0, 2**63, 1e308, None, True, [], ["face"], {"a": 1})
COLUMNS = ("file_name", "text", "slot", "group", "seed", "source", "expects", "other", "", "__class__", "=1")
SECRET = b"what lies outside of the run folder"

Choose = Callable[[int], int]
"""(n) -> a number from 0 to n - 1, from the fuzzer's bytes."""


def build_run(root: Path, outside: Path, data: Any) -> None:
    """Fill ``root`` as ``data`` (atheris' FuzzedDataProvider) says. Links may lead to ``outside``; nothing else."""

    def choose(n: int) -> int:
        return int(data.ConsumeIntInRange(0, n - 1))

    for _ in range(1 + choose(24)):
        if data.remaining_bytes() == 0:
            break
        try:
            _STEPS[choose(len(_STEPS))](root, outside, data, choose)
        except (OSError, ValueError):
            continue  # no such name on this file system: the next step


def _folder(root: Path, data: Any, choose: Choose) -> Path:
    """A generation's folder, perhaps with one below it; or the root."""
    kind = choose(8)
    if kind == 0:
        return root
    name = _any_name(data) if kind == 1 else GENERATIONS[choose(len(GENERATIONS))]
    folder = root / name
    if kind == 2:
        folder /= _any_name(data)
    # A link made by an earlier step may lead anywhere: what is built stays in the folder.
    if not os.path.realpath(folder).startswith(f"{os.path.realpath(root)}{os.sep}"):
        return root
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write(path: Path, content: bytes) -> None:
    """A new file; never through a link or into a pipe that an earlier step made there."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as stream:
        stream.write(content)


def _any_name(data: Any) -> str:
    name = data.ConsumeUnicode(8).replace("/", "_").replace("\0", "_")
    return name if name not in {"", ".", ".."} else "_"


def _file_name(data: Any, choose: Choose) -> str:
    kind = choose(len(NAMES) + 2)
    return NAMES[kind] if kind < len(NAMES) else f"{_any_name(data)}.png"


def _image(root: Path, outside: Path, data: Any, choose: Choose) -> None:
    _write(_folder(root, data, choose) / _file_name(data, choose), data.ConsumeBytes(choose(8)))


def _link(root: Path, outside: Path, data: Any, choose: Choose) -> None:
    targets = (outside, outside / "secret.png", root, root / "gen_00", "..", ".", "gone", "/dev/zero", "/")
    place = _folder(root, data, choose) / (_file_name(data, choose) if choose(2) else GENERATIONS[choose(6)])
    place.symlink_to(targets[choose(len(targets))])


def _pipe(root: Path, outside: Path, data: Any, choose: Choose) -> None:
    names = ("a.png", "metadata.jsonl", "lineage.json", "metadata.csv")
    os.mkfifo(_folder(root, data, choose) / names[choose(len(names))])


def _rows(root: Path, outside: Path, data: Any, choose: Choose) -> None:
    rows = [{column: _value(data, choose) for column in _columns(choose)} for _ in range(1 + choose(4))]
    text = "\n".join(json.dumps(row) for row in rows)
    _write(_folder(root, data, choose) / "metadata.jsonl", text.encode())


def _columns(choose: Choose) -> set[str]:
    return {"file_name", *(COLUMNS[choose(len(COLUMNS))] for _ in range(choose(4)))}


def _value(data: Any, choose: Choose) -> object:
    values = (*PATHS, *TEXTS, *NAMES[:5], *OTHERS)
    kind = choose(len(values) + 2)
    return values[kind] if kind < len(values) else data.ConsumeUnicode(12)


def _cells(root: Path, outside: Path, data: Any, choose: Choose) -> None:
    quoted = ('"{}"', "{}", "'{}'")[choose(3)]
    lines = [",".join(_columns(choose))]
    lines += [",".join(quoted.format(_value(data, choose)) for _ in range(1 + choose(4))) for _ in range(choose(4))]
    text = ("\n", "\r\n", "\r")[choose(3)].join(lines)
    _write(_folder(root, data, choose) / "metadata.csv", text.encode())


def _raw(root: Path, outside: Path, data: Any, choose: Choose) -> None:
    names = ("metadata.jsonl", "metadata.csv", "lineage.json", "provenance.jsonl")
    _write(_folder(root, data, choose) / names[choose(len(names))], data.ConsumeBytes(200))


def _settings(root: Path, outside: Path, data: Any, choose: Choose) -> None:
    runs = ("..", ".", "../outside", "/", "a\0b", "\ud800", "x" * 5000, "", "gen_00", 7, None, str(outside))
    generations = (0, -1, 10**30, "1", True, None, 1.5)
    parent = {"run": runs[choose(len(runs))], "generation": generations[choose(len(generations))]}
    said: Any = ({"protocol": {"parent": parent}}, {"protocol": parent}, {"protocol": []}, [], parent)[choose(5)]
    _write(root / "lineage.json", json.dumps(said).encode())


def _deep(root: Path, outside: Path, data: Any, choose: Choose) -> None:
    depth = (10, 900, 100_000)[choose(3)]
    text = ("[" * depth, '{"a":' * depth, '{"file_name":' + "[" * depth)[choose(3)]
    names = ("lineage.json", "metadata.jsonl")
    _write(root / names[choose(2)], text.encode())


_STEPS = (_image, _image, _image, _link, _pipe, _rows, _rows, _cells, _raw, _settings, _deep)
