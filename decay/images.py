"""The only reader and writer of image files.

Whatever lies in the file (EXIF rotation, ICC profile, CMYK, palette, alpha, 16 bit, floating point, several
frames), what comes out is sRGB, uint8, (h, w, 3), RGB order, upright. What cannot be read is an
``ImageProblem`` with a state: a row in the tables, never a crash. Files are untrusted: only five decoders can
be reached, the size is checked on the header before a pixel is decoded, and damaged files are never mended.
"""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

from decay.errors import FileProblem, ImageProblem
from decay.files import hash_regular, read_regular, write_bytes

Pixels = NDArray[np.uint8]

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
"""Pillow's decoders that may run (JPEG's also opens MPO). The content decides which one does, not the suffix."""

MAX_PIXELS = 64_000_000
"""Larger images are refused on their header (unless the caller says otherwise; Pillow's own guard at 179
million stays on). At this limit decoding takes 0.5 to 0.6 GB at its peak (WebP, whose decoder keeps several
canvases, 1 GB). Camera pictures of 50 megapixels pass; a generator's stay far below."""
MAX_FILE_BYTES = 256 * 2**20

BACKGROUND = 128
"""Transparent pixels show mid grey. White would add highlights that a catchlight detector may take for real and
black would add contrast; grey adds least to either, and no colour."""

STATES = {
    "ok": "read",
    "missing": "nothing at this path, or a link to nothing",
    "outside": "a link that leads out of the lineage",
    "not_a_file": "a folder, device or pipe under an image's name",
    "no_permission": "the file may not be read",
    "too_large": "more pixels or bytes than the stated limit",
    "not_an_image": "the content is none of PNG, JPEG, WebP, BMP, TIFF",
    "unsupported": "an image, in a coding that has no agreed meaning in 8-bit sRGB",
    "truncated": "the file ends before the image does",
    "unreadable": "the content is damaged, or the disk failed",
}

NOTES = {
    "first_frame": "several frames or pages; the first was read",
    "rotated": "turned upright as its EXIF orientation says",
    "transparent": "alpha was laid on mid grey",
    "profile_converted": "converted to sRGB from the ICC profile in the file",
    "profile_ignored": "the ICC profile in the file is damaged or does not fit; pixels taken as sRGB",
    "cmyk_without_profile": "CMYK without an ICC profile, converted by (1 - ink)(1 - black)",
    "reduced_to_8_bit": "grey of 16 bits or in floating point, reduced to 8 bits",
}

_STRIP_PIXELS = 2_000_000
"""Conversions run on strips of this many pixels, so that their copies stay small."""
_UNIT_FLOAT_MAX = 2.0
"""Floating point up to here is read as 0..1 (generators overshoot 1 a little), up to 256 as 0..255."""
_LEVEL_FLOAT_MAX = 256.0
_CONVERTIBLE = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"})
_MAX_SCANS = 100
"""A progressive JPEG has about 10 scans; each goes over all pixels again, and thousands fit into a small file."""
_CUT_OFF = ("truncated", "unexpected end", "broken data stream", "not enough", "premature")
_SIGNATURES = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"RIFF", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True)
class Picture:
    """A decoded image. ``pixels``: sRGB uint8 (h, w, 3), RGB order, C-contiguous. ``notes``: words of ``NOTES``."""

    pixels: Pixels
    notes: tuple[str, ...] = ()


# --------------------------------------------------------------------------- reading


def read_image(path: Path, *, within: Path | None = None, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Read an image file as sRGB uint8 (h, w, 3), RGB order.

    ``within``: the folder that the file must lie in, links followed. Raises ImageProblem.
    """
    data, _ = read_bytes_and_hash(path, within=within)
    return decode(data, str(path), max_pixels=max_pixels).pixels


def read_size(path: Path, *, within: Path | None = None, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(width, height) in px as the header of an image file has them, before any turn that it asks for.

    Nothing is decoded. Raises ImageProblem.
    """
    data, _ = read_bytes_and_hash(path, within=within)
    with _problems_of(str(path), data), Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _check_size(image.size, str(path), max_pixels)
        return image.size


def read_bytes_and_hash(path: Path, *, within: Path | None = None) -> tuple[bytes, str]:
    """The bytes of an image file and their sha256 (64 hex digits), read once. Raises ImageProblem."""
    with _file_of(path):
        data = read_regular(path, within=within, max_bytes=MAX_FILE_BYTES)
    return data, hashlib.sha256(data).hexdigest()


def hash_file(path: Path, *, within: Path | None = None) -> str:
    """The sha256 of an image file (64 hex digits), without holding its bytes. Raises ImageProblem."""
    with _file_of(path):
        return hash_regular(path, within=within, max_bytes=MAX_FILE_BYTES)


@contextmanager
def _file_of(path: Path) -> Iterator[None]:
    """Refuse names of other files, and say of an image what is wrong with its file."""
    if path.suffix.lower() not in SUFFIXES:
        wanted = ", ".join(sorted(SUFFIXES))
        raise ImageProblem("not_an_image", f"{path}: expected a name that ends in {wanted}. Convert or rename it.")
    try:
        yield
    except FileProblem as problem:
        raise ImageProblem(problem.state, str(problem)) from problem


def decode(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode the bytes of an image file. ``name`` is used in messages only. Raises ImageProblem."""
    with _problems_of(name, data), Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _check_size(image.size, name, max_pixels)
        _check_mode(image, name)
        _check_sums(image.format, data)
        _check_scans(image.format, data, name)
        frames = getattr(image, "is_animated", False)
        # Read before decoding: Pillow turns TIFF upright by itself while it decodes, and drops the tag.
        orientation_in_file = _orientation(image)
        image.load()
        notes = ["first_frame"] if frames else []
        pixels = _upright(_to_rgb(image, name, notes), _orientation(image))
        if orientation_in_file != 1:
            notes.append("rotated")
        return Picture(np.ascontiguousarray(pixels), tuple(notes))


# --------------------------------------------------------------------------- from anything to RGB


def _to_rgb(image: Image.Image, name: str, notes: list[str]) -> Pixels:
    to_8_bit = _reduction(image, name, notes)
    mode = "L" if to_8_bit else _plain_mode(image)
    convert = _colour_conversion(image, "L" if to_8_bit else mode.removesuffix("A"), notes)
    transparent = False
    out = np.empty((image.height, image.width, 3), dtype=np.uint8)
    for top, strip in _strips(image):
        plain = to_8_bit(strip) if to_8_bit else _in_mode(strip, mode)
        colours = np.asarray(convert(_without_alpha(plain)))
        alpha = np.asarray(plain.getchannel("A")) if mode.endswith("A") else None
        if alpha is not None and alpha.min() < 255:
            colours = _over_background(colours, alpha)
            transparent = True
        out[top : top + strip.height] = colours
    if transparent:
        notes.append("transparent")
    return out


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    height = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, height):
        whole = height >= image.height
        yield top, image if whole else image.crop((0, top, image.width, min(top + height, image.height)))


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    """The image converted, itself where nothing has to be: Pillow would copy it."""
    return image if image.mode == mode else image.convert(mode)


def _plain_mode(image: Image.Image) -> str:
    """The one of L, LA, RGB, RGBA, CMYK that holds all that the image says."""
    if image.mode == "CMYK":
        return "CMYK"
    grey = image.mode in {"1", "L", "LA", "La"}
    alpha = image.mode.endswith(("A", "a")) or "transparency" in image.info
    return ("L" if grey else "RGB") + ("A" if alpha else "")


def _without_alpha(image: Image.Image) -> Image.Image:
    return image.convert(image.mode.removesuffix("A")) if image.mode.endswith("A") else image


def _over_background(colours: Pixels, alpha: Pixels) -> Pixels:
    """Lay colours (h, w, 3) with alpha (h, w) on the background, in sRGB levels as browsers and editors do."""
    share = alpha[..., np.newaxis].astype(np.uint32)
    return ((colours * share + BACKGROUND * (255 - share) + 127) // 255).astype(np.uint8)


def _reduction(image: Image.Image, name: str, notes: list[str]) -> Callable[[Image.Image], Image.Image] | None:
    """How deep grey becomes 8 bits; None where Pillow has already done it (16-bit colour)."""
    if image.mode == "F":
        scale = _float_scale(image, name)
        notes.append("reduced_to_8_bit")
        return lambda strip: Image.fromarray(_levels(np.asarray(strip) * scale))
    if image.mode.startswith("I;16"):
        notes.append("reduced_to_8_bit")
        # The high byte, as Pillow and libpng take it of 16-bit colour: 8-bit levels come back exactly,
        # whether they were spread by x * 257 or by x << 8.
        return lambda strip: Image.fromarray((np.asarray(strip).astype(np.uint16) >> 8).astype(np.uint8))
    return None


def _levels(values: NDArray[np.float32]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _float_scale(image: Image.Image, name: str) -> float:
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if low >= -1 and high <= _UNIT_FLOAT_MAX:  # false for NaN
        return 255.0
    if low >= -1 and high <= _LEVEL_FLOAT_MAX:
        return 1.0
    raise ImageProblem(
        "unsupported",
        f"{name}: expected floating point from 0 to 1 or 0 to 255; found {low:g} to {high:g}. Save it as 8-bit PNG.",
    )


# --------------------------------------------------------------------------- colour


def _colour_conversion(image: Image.Image, mode: str, notes: list[str]) -> Callable[[Image.Image], Image.Image]:
    """From ``mode`` (L, RGB, CMYK) to sRGB, through the file's ICC profile where it has one that fits."""
    profile = image.info.get("icc_profile")
    if profile:
        try:
            transform = _profile_to_srgb(bytes(profile), mode)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            notes.append("profile_ignored")
        else:
            if transform is None:
                return lambda strip: _in_mode(strip, "RGB")
            notes.append("profile_converted")
            return lambda strip: _apply(transform, strip)
    if mode == "CMYK":
        notes.append("cmyk_without_profile")
    return lambda strip: _in_mode(strip, "RGB")


def _apply(transform: ImageCms.ImageCmsTransform, strip: Image.Image) -> Image.Image:
    converted = ImageCms.applyTransform(strip, transform)
    assert converted is not None  # None is only for inPlace
    return converted


@lru_cache(maxsize=16)
def _profile_to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The transform to sRGB; None where the profile is sRGB in other words (no level moves by more than 1).

    Relative colorimetric with black point compensation, which matrix profiles (Display P3, Adobe RGB) and
    print profiles alike carry. Raises PyCMSError for a profile that is damaged or for another colour space.
    """
    transform = ImageCms.buildTransform(
        io.BytesIO(profile),
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        # Unoptimised costs nothing measurable; optimised, grey profiles are off by up to 10 levels in the shadows.
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.NOOPTIMIZE,
    )
    if mode == "CMYK":
        return transform
    probe = _probe(mode)
    moved = np.asarray(_apply(transform, probe)).astype(int) - np.asarray(probe.convert("RGB"))
    # A profile written by another program rounds differently; one level is its noise, not a colour.
    return None if np.abs(moved).max() <= 1 else transform


def _probe(mode: str) -> Image.Image:
    """A sample of all colours of a mode: all greys, or a 16-step grid of RGB."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[np.newaxis])
    grid = np.stack(np.meshgrid(*3 * [np.arange(0, 256, 17, dtype=np.uint8)]), axis=-1)
    return Image.fromarray(grid.reshape(16, 256, 3))


# --------------------------------------------------------------------------- orientation


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where the tag is absent, out of range or unreadable."""
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # Pillow parses EXIF in Python; a damaged block raises whatever it hits first
        return 1
    return value if value in range(1, 9) else 1


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation (TIFF 6.0, tag 274: where row 0 and column 0 of the stored image belong)."""
    return {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, -1),
        7: pixels[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(pixels, 1),
    }[orientation]


# --------------------------------------------------------------------------- what can be wrong


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageProblem(
            "too_large",
            f"{name}: expected at most {max_pixels / 1e6:,.0f} megapixels; its header says {width} x {height}. "
            "Save it smaller, or remove it.",
        )
    if width < 1 or height < 1:
        raise ImageProblem("unreadable", f"{name}: expected an image; its header says {width} x {height}. Remove it.")


def _check_mode(image: Image.Image, name: str) -> None:
    if image.mode not in _CONVERTIBLE and image.mode != "F" and not image.mode.startswith("I;16"):
        raise ImageProblem(
            "unsupported",
            f"{name}: expected 8 or 16 bits a channel, or floating point grey; found Pillow mode {image.mode}. "
            "Save it as 8-bit PNG.",
        )


def _check_sums(image_format: str | None, data: bytes) -> None:
    """Compare the checksums of a PNG's chunks, which decoding skips. Raises what Pillow raises."""
    if image_format == "PNG":
        with Image.open(io.BytesIO(data), formats=("PNG",)) as copy:
            copy.verify()


def _check_scans(image_format: str | None, data: bytes, name: str) -> None:
    if image_format not in {"JPEG", "MPO"}:
        return
    # Inside coded data the byte 0xff is never followed by 0xda (ITU-T T.81, B.1.1.5): each pair starts a scan.
    n_scans = data.count(b"\xff\xda")
    if n_scans > _MAX_SCANS:
        raise ImageProblem(
            "too_large",
            f"{name}: expected at most {_MAX_SCANS} scans; this JPEG has {n_scans}. Save it anew, or remove it.",
        )


@contextmanager
def _problems_of(name: str, data: bytes) -> Iterator[None]:
    """Turn whatever a decoder raises on hostile or damaged bytes into an ImageProblem."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata; what matters raises
            yield
    except ImageProblem:
        raise
    except UnidentifiedImageError as error:
        raise _unidentified(name, data) from error
    except (Image.DecompressionBombError, MemoryError) as error:
        raise ImageProblem(
            "too_large", f"{name}: its header claims more pixels than can be decoded. Save it smaller, or remove it."
        ) from error
    except Exception as error:  # every failure of a decoder is one bad image, and becomes a row that says so
        words = str(error).lower()
        if _webp_is_short(data) or isinstance(error, EOFError | struct.error) or any(w in words for w in _CUT_OFF):
            state, what = "truncated", "ends too early"
        else:
            state, what = "unreadable", f"is damaged ({error})"
        raise ImageProblem(state, f"{name}: expected a whole image; this one {what}. Save or copy it anew.") from error


def _unidentified(name: str, data: bytes) -> ImageProblem:
    if data.startswith(_SIGNATURES):
        return ImageProblem(
            "unreadable",
            f"{name}: begins as an image, then is damaged or coded in a way that is not read here (floating point "
            "colour, for one). Save it as 8-bit PNG, or copy it anew.",
        )
    found = "an empty file" if not data else "something else"
    return ImageProblem(
        "not_an_image", f"{name}: expected a PNG, JPEG, WebP, BMP or TIFF; found {found}. Convert or remove it."
    )


def _webp_is_short(data: bytes) -> bool:
    """Whether a RIFF file is shorter than it says (libwebp only says that it could not start)."""
    return data.startswith(b"RIFF") and int.from_bytes(data[4:8], "little") + 8 > len(data)


# --------------------------------------------------------------------------- writing


def encode_png(pixels: Pixels) -> bytes:
    """sRGB uint8 (h, w, 3) as the bytes of a PNG, without loss."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise ValueError(f"pixels must be uint8 (h, w, 3) and not empty, got {pixels.dtype} {pixels.shape}")
    encoded = io.BytesIO()
    # The default level 6 takes 5 times as long for files a seventh smaller.
    Image.fromarray(pixels).save(encoded, format="PNG", compress_level=1)
    return encoded.getvalue()


def write_png(path: Path, pixels: Pixels) -> None:
    """Write sRGB uint8 (h, w, 3) as PNG in one step. Raises OutputError."""
    write_bytes(path, encode_png(pixels))
