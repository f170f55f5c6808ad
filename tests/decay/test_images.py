from __future__ import annotations

import io
import os
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms
from skimage.color import lab2xyz

from decay.errors import ImageProblem, OutputError
from decay.images import (
    BACKGROUND,
    NOTES,
    STATES,
    SUFFIXES,
    Picture,
    Pixels,
    decode,
    read_bytes_and_hash,
    read_image,
    write_png,
)

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def encode(image: Image.Image, image_format: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=image_format, **options)
    return stream.getvalue()


def noise(height: int = 48, width: int = 64, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def read(data: bytes) -> Picture:
    picture = decode(data, "x.png")
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.ndim == 3
    assert picture.pixels.shape[2] == 3
    assert picture.pixels.flags.c_contiguous
    assert set(picture.notes) <= set(NOTES)
    return picture


def problem_of(data: bytes, **options: Any) -> ImageProblem:
    with pytest.raises(ImageProblem) as caught:
        decode(data, "gen_0/x.png", **options)
    problem = caught.value
    assert problem.state in STATES
    assert str(problem).startswith("gen_0/x.png: ")
    assert "\n" not in str(problem)
    return problem


def png_header(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


# ------------------------------------------------------------------ what goes in comes out

LOSSLESS = [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True})]


@pytest.mark.parametrize(("image_format", "options"), LOSSLESS)
def test_lossless_formats_come_back_exactly_in_rgb_order(image_format: str, options: dict[str, Any]) -> None:
    pixels = noise()
    assert np.array_equal(read(encode(Image.fromarray(pixels), image_format, **options)).pixels, pixels)


def test_jpeg_equals_another_decoder() -> None:
    smooth = cv2.resize(noise(6, 8), (64, 48), interpolation=cv2.INTER_CUBIC)
    data = encode(Image.fromarray(smooth), "JPEG", quality=95, subsampling=0)
    other = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    difference = np.abs(read(data).pixels.astype(int) - other)
    assert difference.max() <= 3  # another build of libjpeg rounds its inverse DCT and colours otherwise


@pytest.mark.parametrize("shape", [(1, 1), (1, 20_000), (20_000, 1), (20_000, 30), (3, 5)])
def test_any_shape_is_read(shape: tuple[int, int]) -> None:
    pixels = noise(*shape)
    assert np.array_equal(read(encode(Image.fromarray(pixels), compress_level=1)).pixels, pixels)


def test_an_image_of_many_strips_is_read_without_seams() -> None:
    row = np.arange(3000) % 251
    pixels = np.stack(np.broadcast_arrays(row[:, None], row[None, :], 7), axis=-1).astype(np.uint8)
    alpha = np.full((3000, 3000, 1), 255, np.uint8)
    assert np.array_equal(read(encode(Image.fromarray(np.dstack([pixels, alpha])), compress_level=1)).pixels, pixels)


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_palette_and_grey_become_rgb(mode: str) -> None:
    image = Image.fromarray(noise()).convert(mode)
    assert np.array_equal(read(encode(image)).pixels, np.asarray(image.convert("RGB")))


def test_the_content_decides_not_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "picture.bmp"
    path.write_bytes(encode(Image.fromarray(noise())))
    assert np.array_equal(read_image(path), noise())


# ------------------------------------------------------------------ deep pixels


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("spread", [257, 256])
@pytest.mark.parametrize("n_channels", [1, 3, 4])
def test_16_bit_comes_back_as_the_8_bit_levels_it_was_spread_from(suffix: str, spread: int, n_channels: int) -> None:
    levels = noise()
    deep = levels.astype(np.uint16) * spread
    bgr = deep[..., ::-1]
    opaque = np.full((*deep.shape[:2], 1), 65535, np.uint16)
    stored = {1: deep[..., 0], 3: bgr, 4: np.dstack([bgr, opaque])}[n_channels]
    ok, data = cv2.imencode(suffix, np.ascontiguousarray(stored))
    assert ok
    expected = np.repeat(levels[..., :1], 3, axis=2) if n_channels == 1 else levels
    assert np.array_equal(read(data.tobytes()).pixels, expected)


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_floating_point_grey_is_scaled_from_one_or_from_255(scale: float) -> None:
    levels = np.arange(256, dtype=np.float32).reshape(16, 16)
    picture = read(encode(Image.fromarray(levels / 255 * np.float32(scale)), "TIFF"))
    assert np.array_equal(picture.pixels[..., 1], levels)
    assert picture.notes == ("reduced_to_8_bit",)


def test_floating_point_a_little_outside_of_0_to_1_is_clipped() -> None:
    picture = read(encode(Image.fromarray(np.array([[-0.02, 0.5, 1.03]], np.float32)), "TIFF"))
    assert picture.pixels[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6, -500.0])
def test_floating_point_without_an_agreed_meaning_is_refused(value: float) -> None:
    assert problem_of(encode(Image.fromarray(np.array([[0.5, value]], np.float32)), "TIFF")).state == "unsupported"


def test_32_bit_integers_are_refused() -> None:
    assert problem_of(encode(Image.fromarray(np.full((2, 2), 70_000, np.int32)), "TIFF")).state == "unsupported"


# ------------------------------------------------------------------ alpha


@pytest.mark.parametrize(
    ("image_format", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})]
)
def test_alpha_is_laid_on_mid_grey(image_format: str, options: dict[str, Any]) -> None:
    rgba = np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [255, 1, 0, 128]]], np.uint8)
    picture = read(encode(Image.fromarray(rgba), image_format, **options))
    half = [round((c * 128 + BACKGROUND * 127) / 255) for c in (255, 1, 0)]
    assert picture.pixels[0].tolist() == [[255, 0, 0], [BACKGROUND] * 3, half]
    assert picture.notes == ("transparent",)


def test_opaque_alpha_changes_nothing() -> None:
    rgba = np.dstack([noise(), np.full((48, 64), 255, np.uint8)])
    picture = read(encode(Image.fromarray(rgba)))
    assert np.array_equal(picture.pixels, noise())
    assert picture.notes == ()


def test_transparent_palette_entries_and_grey_with_alpha_show_the_background() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((1, 0), 1)
    assert read(encode(palette, transparency=0)).pixels[0].tolist() == [[BACKGROUND] * 3, [200, 100, 50]]
    grey = Image.fromarray(np.array([[[200, 255], [200, 0]]], np.uint8), "LA")
    assert read(encode(grey)).pixels[0].tolist() == [[200] * 3, [BACKGROUND] * 3]


# ------------------------------------------------------------------ frames and orientation


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "TIFF", "MPO"])
def test_of_several_frames_the_first_is_read_and_that_is_said(image_format: str) -> None:
    first, *others = (Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE))
    picture = read(encode(first, image_format, save_all=True, append_images=others))
    assert np.abs(picture.pixels.astype(int) - RED).max() <= 2  # lossy in WebP and MPO
    assert picture.notes == ("first_frame",)


def upside(pixels: Pixels, orientation: int) -> Pixels:
    """Store upright pixels as a camera held in this way does: the inverse, by OpenCV, of what a reader must do."""
    flips = {1: None, 2: 1, 3: -1, 4: 0}
    if orientation in flips:
        code = flips[orientation]
        return pixels if code is None else np.asarray(cv2.flip(pixels, code), np.uint8)
    if orientation == 5:
        return np.asarray(cv2.transpose(pixels), np.uint8)
    if orientation == 7:
        return np.asarray(cv2.flip(cv2.transpose(pixels), -1), np.uint8)
    turn = cv2.ROTATE_90_COUNTERCLOCKWISE if orientation == 6 else cv2.ROTATE_90_CLOCKWISE
    return np.asarray(cv2.rotate(pixels, turn), np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_every_exif_orientation_comes_out_upright(image_format: str, orientation: int) -> None:
    upright = np.kron(noise(2, 3), np.ones((16, 16, 1), np.uint8))  # whole JPEG blocks: nothing bleeds
    exif = Image.Exif()
    exif[0x0112] = orientation
    nearly_lossless: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95, "subsampling": 0}}
    options = nearly_lossless.get(image_format, {})
    picture = read(encode(Image.fromarray(upside(upright, orientation)), image_format, exif=exif, **options))
    assert picture.pixels.shape == upright.shape
    assert np.abs(picture.pixels.astype(int) - upright).max() <= 4
    assert picture.notes == (("rotated",) if orientation > 1 else ())


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_damaged_exif_does_not_lose_the_image(exif: bytes) -> None:
    assert np.array_equal(read(encode(Image.fromarray(noise()), exif=exif)).pixels, noise())


# ------------------------------------------------------------------ colour


def icc_profile(colour_space: bytes, device_class: bytes, tags: list[tuple[bytes, bytes]]) -> bytes:
    """An ICC version 2 profile from its tags (ICC.1:2001-04, clause 6)."""
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags:
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content + b"\0" * (-len(content) % 4)
    space = b"Lab " if device_class == b"prtr" else b"XYZ "
    head = struct.pack(
        ">I4sI4s4s4s12s4s", start + len(body), b"", 0x02400000, device_class, colour_space, space, b"", b"acsp"
    )
    white = struct.pack(">3i", *(round(v * 65536) for v in (0.9642, 1.0, 0.8249)))
    return (head + b"\0" * 28 + white).ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def xyz_tag(x: float, y: float, z: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in (x, y, z)))


TEXTS = [
    (b"desc", b"desc\0\0\0\0" + struct.pack(">I", 2) + b"t\0" + b"\0" * 78),
    (b"cprt", b"text\0\0\0\0none\0"),
    (b"wtpt", xyz_tag(0.9642, 1.0, 0.8249)),
]
PRIMARIES = [(0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)]
"""X, Y, Z of sRGB's red, green and blue, adapted to D50 as profiles hold them."""
CYAN_LAB = (60.0, -40.0, 20.0)


def print_profile() -> bytes:
    """A CMYK profile for an odd press: white paper, cyan prints ``CYAN_LAB``, black hides all, the rest is grey."""
    ramp = bytes(range(256))
    nodes = b""
    for node in range(16):
        cyan, magenta, yellow, black = (node >> shift & 1 for shift in (3, 2, 1, 0))
        lab = (0.0, 0.0, 0.0) if black else CYAN_LAB if (cyan, magenta, yellow) == (1, 0, 0) else (50.0, 0.0, 0.0)
        lightness, a, b = (100.0, 0.0, 0.0) if node == 0 else lab
        nodes += bytes([round(lightness * 2.55), round(a + 128), round(b + 128)])
    identity = struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + ramp * 4 + nodes + ramp * 3
    return icc_profile(b"CMYK", b"prtr", [*TEXTS, (b"A2B0", lut)])


def linear_profile(colour_space: bytes = b"RGB ") -> bytes:
    """sRGB's primaries, or grey, with a linear tone curve: what a renderer's linear output is tagged with."""
    curve = b"curv\0\0\0\0\0\0\0\0"
    if colour_space == b"GRAY":
        return icc_profile(b"GRAY", b"mntr", [*TEXTS, (b"kTRC", curve)])
    tags = [(name, xyz_tag(*xyz)) for name, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), PRIMARIES, strict=True)]
    return icc_profile(b"RGB ", b"mntr", [*TEXTS, *tags, *((name, curve) for name in (b"rTRC", b"gTRC", b"bTRC"))])


def srgb_encoded(linear: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """IEC 61966-2-1, as 8-bit levels."""
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize(
    ("mode", "space"), [("RGB", b"RGB "), ("L", b"GRAY"), ("RGBA", b"RGB "), ("LA", b"GRAY"), ("P", b"RGB ")]
)
def test_a_profile_is_converted_to_srgb(mode: str, space: bytes) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(levels).convert("RGB" if mode == "P" else mode)
    image = image.quantize(256) if mode == "P" else image
    picture = read(encode(image, icc_profile=linear_profile(space)))
    stored = np.asarray(image.convert("RGB")).astype(float)
    assert picture.notes == ("profile_converted",)
    assert np.abs(picture.pixels - srgb_encoded(stored / 255)).max() <= 1.5  # primaries are given to 4 digits


def test_an_srgb_profile_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = read(encode(Image.fromarray(noise()), icc_profile=profile))
    assert np.array_equal(picture.pixels, noise())
    assert picture.notes == ()


@pytest.mark.parametrize(
    "profile", [b"nonsense" * 30, linear_profile(b"GRAY"), linear_profile()[:300], print_profile()]
)
def test_a_profile_that_is_damaged_or_for_other_pixels_is_ignored_and_that_is_said(profile: bytes) -> None:
    picture = read(encode(Image.fromarray(noise()), icc_profile=profile))
    assert np.array_equal(picture.pixels, noise())
    assert picture.notes == ("profile_ignored",)


INKS = [
    ((0, 0, 0, 0), (255, 255, 255)),
    ((255, 0, 0, 0), (0, 255, 255)),
    ((0, 0, 0, 255), (0, 0, 0)),
    ((0, 255, 255, 0), RED),
]


@pytest.mark.parametrize("image_format", ["JPEG", "TIFF"])
@pytest.mark.parametrize(("ink", "colour"), INKS)
def test_cmyk_without_a_profile_is_right_way_round(
    image_format: str, ink: tuple[int, ...], colour: tuple[int, ...]
) -> None:
    picture = read(encode(Image.new("CMYK", (16, 16), ink), image_format))
    assert np.abs(picture.pixels.astype(int) - colour).max() <= 2  # JPEG
    assert picture.notes == ("cmyk_without_profile",)


@pytest.mark.parametrize("image_format", ["JPEG", "TIFF"])
def test_cmyk_with_a_profile_shows_what_its_press_prints(image_format: str) -> None:
    for ink, lab in [((255, 0, 0, 0), CYAN_LAB), ((0, 0, 0, 0), (100.0, 0.0, 0.0)), ((0, 0, 0, 255), (0.0, 0.0, 0.0))]:
        picture = read(encode(Image.new("CMYK", (16, 16), ink), image_format, icc_profile=print_profile()))
        linear = np.linalg.solve(np.transpose(PRIMARIES), lab2xyz(np.array(lab), illuminant="D50"))
        expected = srgb_encoded(linear.clip(0, 1))
        assert picture.notes == ("profile_converted",)
        assert np.abs(picture.pixels[8, 8] - expected).max() <= 3  # the profile holds 8-bit Lab


def ycck(data: bytes) -> bytes:
    """Mark a CMYK JPEG's colours as YCCK (Adobe segment, transform 2)."""
    adobe = data.index(b"Adobe")
    return data[: adobe + 11] + b"\x02" + data[adobe + 12 :]


def test_ycck_is_told_from_cmyk() -> None:
    # Stored inverted (Adobe), the inks are 0, 128, 128, 255. Read as Y, Cb, Cr, K that is Y = 0, no colour: the
    # inverse of red, green and blue is C = M = Y = 255 stored, which is no ink: white paper.
    data = encode(Image.new("CMYK", (16, 16), (255, 127, 127, 0)), "JPEG")
    assert np.abs(read(data).pixels.astype(int) - (0, 128, 128)).max() <= 2
    assert np.abs(read(ycck(data)).pixels.astype(int) - 255).max() <= 2


# ------------------------------------------------------------------ what cannot be read


WHOLE = [
    ("PNG", {}),
    ("JPEG", {"quality": 90}),
    ("JPEG", {"quality": 90, "progressive": True}),
    ("WEBP", {}),
    ("WEBP", {"lossless": True}),
    ("BMP", {}),
    ("TIFF", {}),
]


@pytest.mark.parametrize(("image_format", "options"), WHOLE)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_image_is_never_mended(image_format: str, options: dict[str, Any], share: float) -> None:
    data = encode(Image.fromarray(noise()), image_format, **options)
    assert problem_of(data[: int(len(data) * share)]).state == "truncated"


def test_a_png_whose_checksum_is_wrong_is_refused_though_it_would_decode() -> None:
    data = bytearray(encode(Image.fromarray(noise())))
    data[len(data) // 2] ^= 0xFF
    assert problem_of(bytes(data)).state == "unreadable"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"this is a text",
        b"<svg/>",
        b"GIF89a" + b"\0" * 50,
        b"\0\0\0\x18ftypheic" + b"\0" * 50,
        b"%PDF-1.7\n",
        b"%!PS-Adobe\n",
    ],
)
def test_what_is_no_image_of_ours_is_said_in_one_sentence(data: bytes) -> None:
    problem = problem_of(data)
    assert problem.state == "not_an_image"
    assert "expected a PNG, JPEG, WebP, BMP or TIFF" in str(problem)


def test_a_header_without_an_image_is_unreadable() -> None:
    assert problem_of(b"\x89PNG\r\n\x1a\n" + b"\0" * 40).state == "unreadable"
    assert problem_of(png_header(0, 5)).state == "unreadable"


@pytest.mark.parametrize("size", [(60_000, 60_000), (20_000, 20_000), (1, 64_000_001)])
def test_a_decompression_bomb_is_refused_on_its_header(size: tuple[int, int]) -> None:
    assert problem_of(png_header(*size, zlib.compress(b"\0" * 1000))).state == "too_large"


def test_the_limit_on_pixels_is_the_caller_s_and_says_what_came() -> None:
    data = encode(Image.new("RGB", (2000, 1000)))
    assert decode(data, "x", max_pixels=2_000_000).pixels.shape == (1000, 2000, 3)
    problem = problem_of(data, max_pixels=1_999_999)
    assert problem.state == "too_large"
    assert "2000 x 1000" in str(problem)


def test_a_jpeg_of_countless_scans_is_refused() -> None:
    data = encode(Image.fromarray(noise()), "JPEG", progressive=True)
    last_scan = data.rindex(b"\xff\xda")
    repeated = data[:last_scan] + data[last_scan:-2] * 200 + data[-2:]
    assert problem_of(repeated).state == "too_large"


def test_a_text_chunk_that_unpacks_to_gigabytes_is_no_way_in() -> None:
    bomb = zlib.compress(b"\0" * 100_000_000, 9)
    body = b"Comment\0\0" + bomb
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    data = encode(Image.fromarray(noise()))
    assert problem_of(data[:33] + chunk + data[33:]).state == "unreadable"


def outcome(data: bytes) -> str:
    try:
        return f"pixels {decode(data, 'x', max_pixels=1_000_000).pixels.ndim}"
    except ImageProblem as problem:
        return problem.state


@pytest.mark.parametrize(("image_format", "options"), WHOLE)
def test_hostile_bytes_end_in_pixels_or_in_a_problem(image_format: str, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(7)
    whole = encode(Image.fromarray(noise(24, 24)), image_format, **options)
    seen = set()
    for _ in range(60):
        data = bytearray(whole)
        for place in rng.integers(0, min(len(data), 400), 3):
            data[place] = rng.integers(0, 256)
        seen.add(outcome(bytes(data)))
    assert seen <= {"pixels 3", *STATES}


# ------------------------------------------------------------------ files


def state_of(path: Path, within: Path | None = None) -> str:
    with pytest.raises(ImageProblem) as caught:
        read_image(path, within=within)
    return caught.value.state


def test_a_text_file_named_png_and_a_png_named_txt(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "image.txt").write_bytes(encode(Image.fromarray(noise())))
    assert state_of(tmp_path / "text.png") == "not_an_image"
    assert state_of(tmp_path / "image.txt") == "not_an_image"


def test_files_that_are_none_have_a_state(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    os.mkfifo(run / "pipe.png")
    (run / "folder.png").mkdir()
    (run / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "secret.png").write_bytes(encode(Image.fromarray(noise())))
    (run / "out.png").symlink_to(tmp_path / "secret.png")
    assert state_of(run / "pipe.png") == "not_a_file"
    assert state_of(run / "folder.png") == "not_a_file"
    assert state_of(run / "zero.png") == "not_a_file"
    assert state_of(run / "out.png", within=run) == "outside"
    assert state_of(run / "none.png", within=run) == "missing"
    assert np.array_equal(read_image(run / "out.png"), noise())  # no folder given, none to leave


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission_has_a_state(tmp_path: Path) -> None:
    write_png(tmp_path / "x.png", noise())
    (tmp_path / "x.png").chmod(0)
    assert state_of(tmp_path / "x.png") == "no_permission"


@pytest.mark.parametrize("name", ["né ü 手 🙂.png", "n" * 246 + ".png", "a\nb'\"=1.PNG", "-rf.JPEG"])
def test_odd_names_are_names(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(encode(Image.fromarray(noise())))
    assert np.array_equal(read_image(tmp_path / name), noise())


def test_bytes_and_hash_are_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert read_bytes_and_hash(tmp_path / "x.png") == (b"abc", digest)


def test_a_problem_survives_the_way_back_from_a_worker() -> None:
    back = pickle.loads(pickle.dumps(problem_of(b"")))
    assert (type(back), back.state) == (ImageProblem, "not_an_image")
    assert str(back).startswith("gen_0/x.png")


# ------------------------------------------------------------------ writing


def test_png_comes_back_exactly(tmp_path: Path) -> None:
    write_png(tmp_path / "x.png", noise())
    assert np.array_equal(read_image(tmp_path / "x.png"), noise())
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


def test_only_pixels_are_written_and_only_where_there_is_a_folder(tmp_path: Path) -> None:
    for wrong in (noise().astype(float), noise()[..., 0], noise()[:0]):
        with pytest.raises(ValueError, match="uint8"):
            write_png(tmp_path / "x.png", wrong)
    with pytest.raises(OutputError, match="folder does not exist"):
        write_png(tmp_path / "none" / "x.png", noise())


def test_every_state_and_suffix_is_well_formed() -> None:
    assert all(state == state.lower() and " " not in state for state in STATES)
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in SUFFIXES)


@pytest.mark.validation
def test_a_real_portrait_is_read(validation_data: Path) -> None:
    path = min((validation_data / "faces" / "celebahq_1024").glob("*.jpg"))
    pixels = read_image(path, within=validation_data)
    assert pixels.shape == (1024, 1024, 3)
    assert pixels[..., 0].mean() > pixels[..., 2].mean()  # skin and studio light are red before they are blue
