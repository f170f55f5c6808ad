"""Files that somebody made to do harm, or that went bad by themselves: pictures, metadata, names, texts, pickles."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import pickle
import shutil
import struct
import subprocess
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.faults.common import Bench, Row, command, copied, decay, environment, one_message, said
from benchmarks.fuzzing.mutations import png_bytes

PICTURES = "Bad pictures between good ones"
FOLDERS = "Hostile folders and metadata"
TEXTS = "Hostile texts"
SIZES = "Size and depth"
TABLES = ("images", "faces", "eyes", "hands", "embeddings")
SECRET = "a secret from outside of the run"
CANARY = "xsscanary"
MARKUP = f"\"><{CANARY} onload=alert(1)><script>{CANARY}()</script>'><img src=x onerror={CANARY}()>"
FORMULA = "=cmd|' /C calc'!A0"
ESCAPE = "\x1b]0;taken\x07\x1b[31mred"
N_LINES = 1_000_000


# --------------------------------------------------------------------------- pictures


class Bomb:
    """Unpickled, it makes a file: the sign that a pickle was loaded."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self._canary,)


def _saved(image: Image.Image, image_format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, image_format, **options)
    return out.getvalue()


def _header(width: int, height: int) -> bytes:
    packed = zlib.compress(b"\0" * 1000)
    return png_bytes(
        [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", packed), (b"IEND", b"")]
    )


def _tiff_claiming(width: int, height: int) -> bytes:
    data = bytearray(_saved(Image.new("1", (600, 600)), "TIFF", compression="group4"))
    first = struct.unpack_from("<I", data, 4)[0]
    for entry in range(first + 2, first + 2 + 12 * struct.unpack_from("<H", data, first)[0], 12):
        tag = struct.unpack_from("<H", data, entry)[0]
        if tag in {256, 257}:  # ImageWidth, ImageLength
            struct.pack_into("<HII", data, entry + 2, 4, 1, width if tag == 256 else height)
    return bytes(data)


def _text_bomb(good: bytes) -> bytes:
    chunk = b"zTXt"
    body = b"a\0\0" + zlib.compress(b"\0" * 2**28, 9)
    return (
        good[:33]
        + struct.pack(">I", len(body))
        + chunk
        + body
        + struct.pack(">I", zlib.crc32(chunk + body))
        + good[33:]
    )


def _zip_bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"\0" * 2**26)
    return out.getvalue()


def _scans(good: Image.Image) -> bytes:
    data = _saved(good, "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * 5000 + data[-2:]


def bad_files(good_path: Path, canary: Path) -> Mapping[str, tuple[bytes, str, str]]:
    """By file name: content, the state that is right, and what it is in words."""
    with Image.open(good_path) as opened:
        good = opened.convert("RGB")
    data = good_path.read_bytes()
    grey = np.asarray(good.convert("L"))
    tiff = _tiff_claiming(60_000, 60_000)
    return {
        "0x0.png": (_header(0, 0), "unreadable", "a header of 0 x 0"),
        "1x1.png": (_saved(Image.new("RGB", (1, 1)), "PNG"), "ok", "1 x 1 px"),
        "1x9000.png": (_saved(Image.new("RGB", (1, 9000)), "PNG"), "ok", "1 x 9000 px"),
        "grey.png": (_saved(good.convert("L"), "PNG"), "ok", "grey"),
        "deep.png": (_saved(Image.fromarray(grey.astype(np.uint16) * 257), "PNG"), "ok", "16-bit grey"),
        "float.tif": (
            _saved(Image.fromarray(np.full((64, 64), np.nan, np.float32)), "TIFF"),
            "unsupported",
            "floating point, all NaN",
        ),
        "cmyk.jpg": (_saved(good.convert("CMYK"), "JPEG"), "ok", "CMYK"),
        "clear.webp": (_saved(Image.new("RGBA", (64, 64)), "WEBP"), "ok", "WebP, all transparent"),
        "cut.png": (data[: len(data) // 2], "truncated", "PNG cut in half"),
        "cut.jpg": (_saved(good, "JPEG")[:-200], "truncated", "JPEG cut at its end"),
        "flipped.png": (data[:-40] + bytes([data[-40] ^ 255]) + data[-39:], "unreadable", "PNG with a flipped bit"),
        "huge.png": (_header(2**31 - 1, 2**31 - 1), "too_large", "a PNG whose header claims 2^62 px"),
        "bomb.tif": (tiff, "too_large", "a TIFF whose header claims 3,600 megapixels"),
        "bomb.webp": (_webp_header(16383, 16383), "too_large", "a WebP whose header claims 268 megapixels"),
        "text.png": (_text_bomb(data), "unreadable", "a PNG whose text chunk unpacks to 268 MB"),
        "scans.jpg": (_scans(good), "too_large", "a progressive JPEG of 5,000 scans"),
        "zip.png": (_zip_bomb(), "not_an_image", "a zip bomb named .png"),
        "pickle.png": (pickle.dumps(Bomb(canary)), "not_an_image", "a pickle named .png"),
        "page.jpg": (b"<svg onload=alert(1)></svg>", "not_an_image", "SVG with a script, named .jpg"),
        "empty.png": (b"", "not_an_image", "an empty file"),
    }


def _webp_header(width: int, height: int) -> bytes:
    frame = (
        b"VP8X"
        + struct.pack("<I", 10)
        + b"\0" * 4
        + struct.pack("<I", width - 1)[:3]
        + struct.pack("<I", height - 1)[:3]
    )
    small = _saved(Image.new("RGB", (8, 8)), "WEBP")[12:]
    return b"RIFF" + struct.pack("<I", 4 + len(frame) + len(small)) + b"WEBP" + frame + small


def bad_pictures(bench: Bench) -> list[Row]:
    """All kinds of bad pictures at once, each beside good ones, in a run whose good ones are compared bit by bit."""
    canary = bench.work / "canary-picture"
    outside = bench.work / "outside"
    outside.mkdir(exist_ok=True)
    good_path = sorted((bench.lineage / "gen_01").glob("*.png"))[0]
    shutil.copy(good_path, outside / "secret.png")
    run = copied(bench.lineage, bench.work / "bad-pictures")
    files = bad_files(good_path, canary)
    for name, (content, _, _) in files.items():
        (run / "gen_01" / f"slot_0003_{name}").write_bytes(content)
    special = _special_files(run / "gen_01", outside)
    done = decay("measure", run)
    good = copied(bench.lineage, bench.work / "good-pictures")
    decay("measure", good)
    if done.returncode != 0:
        return [Row(PICTURES, "all of them", "in one run", "exit 0", said(done), False)]
    states = pd.read_parquet(run / "measures" / "images.parquet").set_index("image")["state"]
    rows = [
        _state_row(words, states.get(f"gen_01/slot_0003_{name}", "no row"), state)
        for name, (_, state, words) in files.items()
    ]
    rows += [
        _state_row(words, states.get(f"gen_01/{name}", "no row"), state) for name, (state, words) in special.items()
    ]
    return [*rows, _unspoilt(run, good, len(files) + len(special)), _never_loaded(canary, "a picture")]


def _special_files(folder: Path, outside: Path) -> dict[str, tuple[str, str]]:
    os.mkfifo(folder / "slot_0004_pipe.png")
    (folder / "slot_0004_device.png").symlink_to("/dev/zero")
    (folder / "slot_0004_out.png").symlink_to(outside / "secret.png")
    (folder / "slot_0004_gone.png").symlink_to("nothing.png")
    return {
        "slot_0004_pipe.png": ("not_a_file", "a pipe that nobody writes to"),
        "slot_0004_device.png": ("outside", "a link to /dev/zero"),
        "slot_0004_out.png": ("outside", "a link to a picture outside of the run"),
        "slot_0004_gone.png": ("missing", "a link to nothing"),
    }


def _state_row(words: str, state: str, wanted: str) -> Row:
    return Row(
        PICTURES, words, "a file between good pictures of a generation", f"a row with the state `{wanted}`",
        f"`{state}`", state == wanted,
    )  # fmt: skip


def _unspoilt(run: Path, good: Path, n_bad: int) -> Row:
    names = set(pd.read_parquet(good / "measures" / "images.parquet")["image"])
    wrong = []
    for table in TABLES:
        found, wanted = (pd.read_parquet(each / "measures" / f"{table}.parquet") for each in (run, good))
        if not found[found["image"].isin(names)].reset_index(drop=True).equals(wanted):
            wrong.append(table)
    return Row(
        PICTURES,
        f"the good pictures among those {n_bad}",
        "their rows in every table, against a run without the bad ones",
        "bitwise the same readings",
        f"different tables: {', '.join(wrong) or 'none'}",
        not wrong,
    )


def _never_loaded(canary: Path, what: str) -> Row:
    return Row(
        FOLDERS if what != "a picture" else PICTURES,
        f"a pickle in the place of {what}",
        "unpickled it would make a file",
        "never loaded",
        "loaded" if canary.exists() else "not loaded",
        not canary.exists(),
    )


# --------------------------------------------------------------------------- metadata and folders


def hostile_folders(bench: Bench) -> list[Row]:
    """Paths that lead out, folders in circles, pickles and archives under the names of tables and settings."""
    outside = bench.work / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "metadata.jsonl").write_text(json.dumps({"file_name": "a.png", "text": SECRET}))
    return [_paths(bench), _circles(bench, outside), *_foreign_tables(bench), *_pickled_results(bench)]


def _paths(bench: Bench) -> Row:
    run = copied(bench.lineage, bench.work / "paths")
    names = (
        "../../etc/passwd",
        "/etc/passwd",
        "..\\..\\secret.png",
        "C:\\secret.png",
        "a\0b.png",
        "gen_00/../../x.png",
        "",
    )
    rows = [{"file_name": name, "text": "x"} for name in names[:-1]]
    (run / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = decay("measure", run)
    said_of = [line for line in done.stdout.splitlines() if line.startswith("Note: Metadata rows")]
    return Row(
        FOLDERS,
        "paths in metadata that lead out",
        "`../../etc/passwd`, absolute, with a drive, with backslashes, with a NUL",
        "exit 0; passed over, and counted in a note",
        f"exit {done.returncode}: {' '.join(said_of) or 'no note'}",
        done.returncode == 0 and "lead out of their folder" in " ".join(said_of),
    )


def _circles(bench: Bench, outside: Path) -> Row:
    run = copied(bench.lineage, bench.work / "circles")
    (run / "gen_00" / "again").symlink_to(run)
    (run / "gen_01" / "up").symlink_to("..")
    (run / "gen_03").symlink_to(outside)
    (run / "gen_04").symlink_to("/")
    began = time.monotonic()
    done = decay("measure", run)
    took = time.monotonic() - began
    published = "".join(path.read_text(errors="replace") for path in (run / "measures").glob("*.*") if path.is_file())
    return Row(
        FOLDERS,
        "folders that lead in circles and out",
        "links to the run itself, to its parent, to another folder, to /",
        "exit 0; each picture once, nothing from outside in any file",
        f"exit {done.returncode} after {took:.0f} s; {'something' if SECRET in published else 'nothing'} from outside",
        done.returncode == 0 and SECRET not in published and "leads out of the lineage" in done.stdout,
    )


def _foreign_tables(bench: Bench) -> list[Row]:
    canary = bench.work / "canary-table"
    archive = io.BytesIO()
    with gzip.GzipFile(fileobj=archive, mode="wb") as packed:
        packed.write(b"\0" * 2**26)
    contents = {
        "a pickle": pickle.dumps(Bomb(canary)),
        "a gzip bomb": archive.getvalue(),
        "a zip bomb": _zip_bomb(),
    }
    rows = []
    for name in ("metadata.jsonl", "metadata.csv", "lineage.json"):
        for what, content in contents.items():
            run = copied(bench.lineage, bench.work / "foreign")
            (run / "gen_00" / "metadata.jsonl").unlink(missing_ok=True)
            (run / ("lineage.json" if name == "lineage.json" else f"gen_00/{name}")).write_bytes(content)
            done = decay("measure", run)
            rows.append(Row(
                FOLDERS, f"{what} named {name}", "in a generation, or beside them", "exit 1, one sentence",
                said(done), one_message(done) and not canary.exists(),
            ))  # fmt: skip
    return [*rows, _never_loaded(canary, "metadata or settings")]


def _pickled_results(bench: Bench) -> list[Row]:
    """Somebody else's measures: what `decay verdict` and `decay report` read back."""
    canary = bench.work / "canary-results"
    measured = bench.work / "whole"
    rows = []
    for name in ("images.parquet", "traits.csv", "verdict.json", "journal.sqlite"):
        run = bench.work / "foreign-results"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(measured, run)
        (run / "measures" / name).write_bytes(pickle.dumps(Bomb(canary)))
        # Another seed: where nothing has changed the journal is not even opened.
        done = decay("measure", run, "--seed", "1") if name == "journal.sqlite" else decay("report", run)
        rows.append(Row(
            FOLDERS, f"a pickle named measures/{name}", "in a measured run, which is then reported or measured again",
            "exit 1, one sentence", said(done), one_message(done) and not canary.exists(),
        ))  # fmt: skip
    return [*rows, _never_loaded(canary, "measured results")]


# --------------------------------------------------------------------------- texts


class _Seen(HTMLParser):
    """Looks for elements and attributes that the canary made."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = [name for name, _ in attrs]
        if CANARY in tag or any(CANARY in name or name in {"onerror", "onload"} for name in named):
            self.found.append(f"<{tag} {' '.join(named)}>"[:80])

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script" and f"{CANARY}()" in data and "<script>" not in data:
            self.found.append("a script")


def hostile_texts(bench: Bench) -> list[Row]:
    """Markup, formulas and terminal codes in prompts, groups, slots, file names and the names of folders."""
    run = bench.work / f"texts{MARKUP.replace('/', '_')}{ESCAPE}"[:200]
    copied(bench.lineage, run)
    for folder in sorted(run.glob("gen_*")):
        _rename_with_texts(folder)
    (run / f"{ESCAPE}{CANARY}").mkdir()
    done = decay("measure", run)
    verdict, shown = decay("verdict", run), decay("report", run)
    markdown = bench.work / "texts.md"
    decay("report", run, "--format", "md", "--out", markdown)
    both, table = bench.work / "texts-both.html", bench.work / "texts-compare"
    several = [
        decay("report", run, bench.work / "whole", "--out", both),
        decay("compare", run, bench.work / "whole", "--out", table),
    ]
    pages = [run / "measures" / "report.html", both]
    spoken = [each.stdout + each.stderr for each in (done, verdict, shown, *several)]
    codes = [each.returncode for each in (done, verdict, shown, *several)]
    return [
        _page_row(pages, codes),
        _csv_row([*run.glob("measures/*.csv"), *table.glob("*.csv")]),
        _terminal_row(spoken),
    ]


def _rename_with_texts(folder: Path) -> None:
    texts = (MARKUP, FORMULA, ESCAPE, f"@SUM(1){MARKUP}", "+1+1", "-2+3", "\t=1", "\r=1")
    rows = []
    for number, path in enumerate(sorted(folder.glob("*.png"))):
        text = texts[number % len(texts)]
        name = f"{text.replace('/', '_')[:120]}{number}.png"
        path.rename(folder / name)
        rows.append(
            {"file_name": name, "text": f"a face {text}", "group": text, "slot": f"{text} {number}", "source": text}
        )
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))


def _page_row(pages: list[Path], codes: list[int]) -> Row:
    found = []
    for page in pages:
        seen = _Seen()
        seen.feed(page.read_text() if page.exists() else "")
        found += seen.found
    return Row(
        TEXTS,
        "HTML in prompts, groups, slots, names of files and of the run",
        "`decay measure`, `report` of one run and of two, `compare`; the pages parsed",
        "exit 0; no element, attribute or script comes from a text",
        f"exit {', '.join(map(str, codes))}; found: {', '.join(found[:3]) or 'none'}",
        not found and set(codes) == {0} and all(page.exists() for page in pages),
    )


def _csv_row(tables: list[Path]) -> Row:
    live = [
        f"{path.name}: {cell[:20]!r}"
        for path in tables
        for line in csv.reader(io.StringIO(path.read_text(), newline=""))
        for cell in line
        if len(cell) > 1 and cell[0] in "=+-@\t\r" and not _is_number(cell)
    ]
    return Row(
        TEXTS,
        "spreadsheet formulas in the same places",
        f"every cell of {len(tables)} CSV files",
        "no cell begins as a formula",
        f"live cells: {', '.join(live[:3]) or 'none'}",
        not live and bool(tables),
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _terminal_row(spoken: list[str]) -> Row:
    leaks = [text for text in spoken if "\x1b]" in text or "\x07" in text or "\x1b[31mred" in text]
    return Row(
        TEXTS,
        "terminal escape sequences in names of files, folders and the run",
        "all that five commands printed",
        "spelled out, never sent",
        f"commands that sent one: {len(leaks)}",
        not leaks,
    )


# --------------------------------------------------------------------------- sizes


def sizes(bench: Bench) -> list[Row]:
    """Too many lines, too deep, too many folders."""
    return [_many_lines(bench), _too_many_bytes(bench), *_deep(bench), _many_generations(bench)]


def _many_lines(bench: Bench) -> Row:
    run = copied(bench.lineage, bench.work / "lines")
    line = json.dumps({"file_name": "gen_00/gone.png", "text": "a face"}) + "\n"
    (run / "metadata.jsonl").write_text(line * N_LINES)
    began = time.monotonic()
    process = subprocess.Popen(command("measure", run), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                               env=environment())  # fmt: skip
    assert process.stdout is not None  # a pipe was asked for
    printed = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    peak_mb = used.ru_maxrss / 1024
    return Row(
        SIZES,
        "a metadata file of a million lines",
        f"{len(line) * N_LINES / 1e6:.0f} MB, every line about an image that is not there",
        "exit 0 with a note; at most 1 GB of memory, as without it, and minutes",
        f"exit {process.returncode} after {time.monotonic() - began:.0f} s, {peak_mb:.0f} MB",
        process.returncode == 0 and peak_mb < 1024 and "1000000" in printed,
    )


def _too_many_bytes(bench: Bench) -> Row:
    run = copied(bench.lineage, bench.work / "lines")
    with (run / "metadata.jsonl").open("wb") as stream:
        stream.truncate(2**33)
    began = time.monotonic()
    done = decay("measure", run)
    return Row(
        SIZES, "a metadata file of 8 GB", "a sparse file", "exit 1, one sentence, before it is read",
        f"{said(done)} ({time.monotonic() - began:.0f} s)", one_message(done, "MB"),
    )  # fmt: skip


def _deep(bench: Bench) -> list[Row]:
    rows = []
    for name in ("lineage.json", "metadata.jsonl"):
        run = copied(bench.lineage, bench.work / "deep")
        (run / name).write_text('{"a":' * 200_000)
        done = decay("measure", run)
        rows.append(
            Row(
                SIZES,
                f"{name} nested 200,000 deep",
                "an object in an object in ...",
                "exit 1, one sentence",
                said(done),
                one_message(done),
            )
        )
    return rows


def _many_generations(bench: Bench) -> Row:
    run = copied(bench.lineage, bench.work / "many")
    for index in range(3, 10_000):
        (run / f"gen_{index:02d}").mkdir()
    began = time.monotonic()
    done = decay("measure", run)
    took = time.monotonic() - began
    return Row(
        SIZES, "10,000 generations, all but three empty", "folders", "exit 1, one sentence, at once",
        f"{said(done)} ({took:.0f} s)", one_message(done, "1,000") and took < 20,
    )  # fmt: skip
