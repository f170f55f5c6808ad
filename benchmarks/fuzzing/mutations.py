"""Mutations that know the containers, so that the fuzzer's changes reach the decoders behind the parsers.

A byte changed at random in a PNG breaks a checksum and is refused at the door; here the chunk is changed, packed
again where it was packed, and its length and checksum set right. The same for JPEG segments, RIFF chunks, TIFF tags,
BMP headers, for TOML, for the journal's JSON, and for the lines of a provenance log, whose hashes are taken anew.
"""

from __future__ import annotations

import hashlib
import json
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

from decay.provenance.events import GENESIS

Anyhow = Callable[[bytes, int], bytes]
"""(data, most bytes) -> data changed without knowledge of its form, as libFuzzer does it."""

NUMBERS = (
    0,
    1,
    2,
    3,
    7,
    8,
    16,
    127,
    128,
    255,
    256,
    4096,
    32767,
    32768,
    65535,
    65536,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
)
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PACKED = {b"IDAT": 0, b"fdAT": 4}
"""PNG chunks that hold a zlib stream, and where it begins; in iCCP and zTXt it follows the name and a method byte."""
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 2**31, 2**63, 10**400, 0.5, 1e308, float("nan"), float("inf"), ""),
    *("\ud800", "../../etc/passwd", "/", "a\0b", "\x1b[31m", "=1+1", "0" * 64, "x" * 300),
    *([], {}, [[]], [None], {"f4": ""}, {"f4": "AAAAAA=="}),
)  # fmt: skip
LINE_PREFIX = b'{"hash":"'


def mutate_image(data: bytes, most: int, seed: int, anyhow: Anyhow) -> bytes:
    """An image file changed at one place or three of its container, or anyhow."""
    rng = random.Random(seed)
    if rng.random() < 0.2:
        return anyhow(data, most)
    for _ in range(rng.choice((1, 1, 1, 3))):
        data = _container(data)(data, rng)
    return data[:most]


def _container(data: bytes) -> Callable[[bytes, random.Random], bytes]:
    if data.startswith(PNG_SIGNATURE):
        return _png
    if data.startswith(b"\xff\xd8"):
        return _jpeg
    if data.startswith(b"RIFF"):
        return _riff
    if data[:2] in {b"II", b"MM"}:
        return _tiff
    if data.startswith(b"BM"):
        return _bmp
    return _havoc


def _havoc(body: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, a number set, a piece taken out or doubled."""
    if not body:
        return bytes(rng.randrange(256) for _ in range(rng.choice((1, 4, 12))))
    changed = bytearray(body)
    where = rng.randrange(len(changed))
    match rng.randrange(5):
        case 0:
            changed[where] ^= 1 << rng.randrange(8)
        case 1:
            changed[where] = rng.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF))
        case 2:
            size, order = rng.choice((1, 2, 4)), rng.choice(("little", "big"))
            number = rng.choice(NUMBERS) % 256**size
            changed[where : where + size] = number.to_bytes(size, "big" if order == "big" else "little")
        case 3:
            del changed[where : where + rng.choice((1, 4, 64))]
        case _:
            piece = bytes(changed[where : where + rng.choice((1, 4, 64))])
            changed[where:where] = piece * rng.choice((1, 2, 50))
    return bytes(changed)


def _reorder(parts: list[tuple[bytes, bytes]], rng: random.Random, extra: tuple[bytes, bytes]) -> None:
    """Take a part out, double one, swap two, or put ``extra`` in."""
    where = rng.randrange(len(parts))
    match rng.randrange(4):
        case 0:
            del parts[where]
        case 1:
            parts[where:where] = [parts[where]] * rng.choice((1, 2, 120))
        case 2:
            other = rng.randrange(len(parts))
            parts[where], parts[other] = parts[other], parts[where]
        case _:
            parts.insert(where, extra)


# --------------------------------------------------------------------------- PNG


def _png(data: bytes, rng: random.Random) -> bytes:
    chunks = png_chunks(data)
    if not chunks:
        return _havoc(data, rng)
    where = rng.randrange(len(chunks))
    kind, body = chunks[where]
    if rng.random() < 0.3:
        new = rng.choice(
            (b"tRNS", b"PLTE", b"eXIf", b"acTL", b"fcTL", b"gAMA", b"iCCP", b"zTXt", b"iTXt", b"sRGB", b"bKGD")
        )
        size = rng.choice((0, 1, 4, 13, 26, 768))
        _reorder(chunks, rng, (new, bytes(rng.randrange(256) for _ in range(size))))
    elif kind == b"IHDR" and len(body) == 13:
        header = list(struct.unpack(">IIBBBBB", body))
        field = rng.randrange(7)
        header[field] = rng.choice(NUMBERS) % 2**32 if field < 2 else rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
        chunks[where] = (kind, struct.pack(">IIBBBBB", *header))
    else:
        chunks[where] = (kind, _in_packed(kind, body, rng))
    return png_bytes(chunks, right_sums=rng.random() > 0.05)


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """(kind, body) of each chunk, whatever its checksum says."""
    chunks, at = [], len(PNG_SIGNATURE)
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += size + 12
    return chunks


def png_bytes(chunks: list[tuple[bytes, bytes]], *, right_sums: bool = True) -> bytes:
    """A PNG of these chunks."""
    out = [PNG_SIGNATURE]
    for kind, body in chunks:
        checksum = zlib.crc32(kind + body) ^ (0 if right_sums else 1)
        out.append(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum))
    return b"".join(out)


def _in_packed(kind: bytes, body: bytes, rng: random.Random) -> bytes:
    """The body changed: what it packs, if it packs something, else itself."""
    start = PACKED.get(kind)
    if kind in {b"iCCP", b"zTXt"}:
        start = body.find(b"\0") + 2
    if start is None or rng.random() < 0.2:
        return _havoc(body, rng)
    try:
        # Bounded: what is unpacked here must not be the bomb that the decoder has to survive.
        inside = zlib.decompressobj().decompress(body[start:], 2**20)
    except zlib.error:
        return _havoc(body, rng)
    return body[:start] + zlib.compress(_havoc(inside, rng), rng.choice((0, 1, 9)))


# --------------------------------------------------------------------------- JPEG, RIFF, TIFF, BMP


def _jpeg(data: bytes, rng: random.Random) -> bytes:
    segments, coded = _jpeg_segments(data)
    if not segments or rng.random() < 0.25:
        return data[: len(data) - len(coded)] + _havoc(coded, rng)
    where = rng.randrange(len(segments))
    kind, body = segments[where]
    if rng.random() < 0.3:
        marker = bytes([0xFF, rng.choice((0xC0, 0xC1, 0xC2, 0xC4, 0xDB, 0xDD, 0xE0, 0xE1, 0xE2, 0xEE, 0xFE))])
        start = rng.choice(
            (b"", b"Exif\0\0MM\0*\0\0\0\x08", b"ICC_PROFILE\0\x01\x01", b"Adobe\0d\0\0\0\0", b"MPF\0II*\0")
        )
        _reorder(segments, rng, (marker, start + bytes(rng.randrange(256) for _ in range(rng.choice((0, 8, 40))))))
    elif kind in {b"\xff\xc0", b"\xff\xc2"} and len(body) >= 6:
        at = rng.randrange(len(body))
        segments[where] = (kind, body[:at] + bytes([rng.choice((0, 1, 2, 3, 4, 8, 0x11, 0x22, 255))]) + body[at + 1 :])
    else:
        segments[where] = (kind, _havoc(body, rng))
    return b"\xff\xd8" + b"".join(k + struct.pack(">H", min(len(b) + 2, 65535)) + b for k, b in segments) + coded


def _jpeg_segments(data: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The segments before the first scan's codes, and all that follows."""
    segments, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] not in {0xD9, 0xFF}:
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        segments.append((data[at : at + 2], data[at + 4 : at + 2 + size]))
        at += 2 + size
        if segments[-1][0] == b"\xff\xda":
            break
    return segments, data[at:]


def _riff(data: bytes, rng: random.Random) -> bytes:
    chunks, at = [], 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        chunks.append((data[at : at + 4], data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    if not chunks:
        return _havoc(data, rng)
    if rng.random() < 0.3:
        new = rng.choice((b"VP8X", b"ALPH", b"ICCP", b"EXIF", b"ANIM", b"ANMF"))
        _reorder(chunks, rng, (new, bytes(rng.randrange(256) for _ in range(rng.choice((0, 6, 10, 24))))))
    else:
        where = rng.randrange(len(chunks))
        chunks[where] = (chunks[where][0], _havoc(chunks[where][1], rng))
    body = b"".join(k + struct.pack("<I", len(b)) + b + b"\0" * (len(b) % 2) for k, b in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + data[8:12] + body


def _tiff(data: bytes, rng: random.Random) -> bytes:
    order = "<" if data[:2] == b"II" else ">"
    try:
        first = struct.unpack_from(f"{order}I", data, 4)[0]
        n_tags = struct.unpack_from(f"{order}H", data, first)[0]
        entry = first + 2 + 12 * rng.randrange(max(1, n_tags))
        tag, kind, count, value = struct.unpack_from(f"{order}HHII", data, entry)
    except struct.error:
        return _havoc(data, rng)
    changed = bytearray(data)
    match rng.randrange(5):
        case 0:
            value = rng.choice((*NUMBERS, first, entry))
        case 1:
            count = rng.choice(NUMBERS)
        case 2:
            kind = rng.randrange(20)
        case 3:
            tag = rng.choice(
                (254, 256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 284, 317, 322, 323, 324, 330, 338, 339, 34675)
            )
        case _:
            return _havoc(data, rng)
    struct.pack_into(f"{order}HHII", changed, entry, tag, kind, count, value)
    return bytes(changed)


def _bmp(data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.4 or len(data) < 54:
        return _havoc(data, rng)
    changed = bytearray(data)
    field, size = rng.choice(((2, 4), (10, 4), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2), (30, 4), (34, 4), (46, 4)))
    number = rng.choice((*NUMBERS, 4, 12, 24, 32, 40, 52, 56, 64, 108, 124)) % 256**size
    changed[field : field + size] = number.to_bytes(size, "little")
    return bytes(changed)


# --------------------------------------------------------------------------- provenance logs


def mutate_log(data: bytes, most: int, seed: int, anyhow: Anyhow) -> bytes:
    """Lines of a provenance log changed; mostly with hashes taken anew, so that the chain is whole."""
    rng = random.Random(seed)
    lines = data.splitlines(keepends=True)
    if not lines or rng.random() < 0.1:
        return anyhow(data, most)
    where = rng.randrange(len(lines))
    match rng.randrange(6):
        case 0:
            del lines[where]
        case 1:
            lines.insert(where, rng.choice(lines))
        case 2:
            lines[where] = anyhow(lines[where].rstrip(b"\n"), 4096) + b"\n"
        case _:
            lines[where] = _field_changed(lines[where], rng)
    changed = chained(lines) if rng.random() < 0.9 else b"".join(lines)
    return changed[:most]


def _field_changed(line: bytes, rng: random.Random) -> bytes:
    try:
        event = json.loads(line)
    except ValueError:
        return line
    if not isinstance(event, dict) or not event:
        return line
    other = event[rng.choice(sorted(event))]
    event[rng.choice(sorted(event))] = rng.choice((*ODD_VALUES, other))
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"


def chained(lines: list[bytes]) -> bytes:
    """The lines as a chain: each says the hash of the one before, and its own. What is no event stays as it is."""
    out, previous = [], GENESIS
    for line in lines:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            out.append(line)
            continue
        if not isinstance(event, dict):
            out.append(line)
            continue
        event = {**{key: value for key, value in event.items() if key != "hash"}, "previous": previous}
        body = json.dumps(event, sort_keys=True, separators=(",", ":")).encode() + b"\n"
        previous = hashlib.sha256(body).hexdigest()
        out.append(LINE_PREFIX + previous.encode() + b'",' + body[1:])
    return b"".join(out)


# --------------------------------------------------------------------------- TOML and rows of the journal


def mutate_toml(data: bytes, most: int, seed: int, anyhow: Anyhow) -> bytes:
    """A line of a TOML file taken out, doubled or moved, or given another value; or anyhow."""
    rng = random.Random(seed)
    lines = data.decode("utf-8", "replace").split("\n")
    if rng.random() < 0.2:
        return anyhow(data, most)
    for _ in range(rng.choice((1, 1, 3))):
        where = rng.randrange(len(lines))
        key, mark, value = lines[where].partition("=")
        match rng.randrange(4 if len(lines) > 1 else 2):
            case 0 | 1 if mark:
                values = [line.partition("=")[2] for line in lines if "=" in line]
                odd = [json.dumps(each).replace("NaN", "nan").replace("Infinity", "inf") for each in ODD_VALUES]
                lines[where] = f"{key}= {rng.choice((*values, *odd, '1979-05-27', '{ a.b = 1 }', '[[', value * 2))}"
            case 2:
                del lines[where]
            case _:
                lines.insert(where, rng.choice(lines))
    return "\n".join(lines).encode("utf-8", "replace")[:most]


def mutate_row(data: bytes, most: int, seed: int, anyhow: Anyhow) -> bytes:
    """A value of a row of the journal, at any depth, taken out or changed; or anyhow."""
    rng = random.Random(seed)
    try:
        row = json.loads(data)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or rng.random() < 0.2:
        return anyhow(data, most)
    place: dict[str, Any] | list[Any] = row
    while True:
        keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            break
        key = rng.choice(keys)
        below = place[key]  # type: ignore[call-overload,index]  # of a mapping a text, of a list a number
        if isinstance(below, dict | list) and below and rng.random() < 0.8:
            place = below
            continue
        if rng.random() < 0.2:
            del place[key]  # type: ignore[arg-type]
        else:
            place[key] = rng.choice(ODD_VALUES)  # type: ignore[call-overload,index]
        break
    return json.dumps(row).encode()[:most]
