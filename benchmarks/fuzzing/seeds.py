"""What the fuzzer starts from: drawn pictures in every format and mode, and small files of every other kind."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from decay import provenance
from decay.journal import readings_to_json
from decay.loop.reading import preset_names
from decay.provenance.chain import LOG_NAME
from detectors.reader import ImageReadings

WIDTH, HEIGHT = 24, 16


def image_seeds() -> list[bytes]:
    """A small drawn picture in every format, mode and coding that Pillow writes."""
    return list(_images())


def _drawing() -> Image.Image:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return Image.fromarray(np.stack([x * 10, y * 15, (x * y) % 256], axis=-1).astype(np.uint8))


def _saved(image: Image.Image, image_format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, image_format, **options)
    return out.getvalue()


def _images() -> Iterator[bytes]:
    drawing = _drawing()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    alpha = drawing.copy()
    alpha.putalpha(drawing.convert("L"))
    deep = Image.fromarray(np.asarray(drawing.convert("L")).astype(np.uint16) * 257)
    floating = Image.fromarray(np.asarray(drawing.convert("L")).astype(np.float32) / 255)
    plain = [drawing.convert(mode) for mode in ("1", "L", "P", "RGB")]
    for image in [*plain, alpha, alpha.convert("LA"), deep]:
        yield _saved(image, "PNG", icc_profile=profile, exif=exif)
        yield _saved(image, "TIFF")
    yield _saved(drawing, "PNG", save_all=True, append_images=[drawing.rotate(90)])
    for compression in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg", "tiff_adobe_deflate"):
        yield _saved(drawing, "TIFF", compression=compression, icc_profile=profile)
    yield _saved(drawing.convert("1"), "TIFF", compression="group4")
    yield _saved(floating, "TIFF")
    yield _saved(drawing, "TIFF", save_all=True, append_images=[drawing])
    for mode in ("L", "RGB", "CMYK", "YCbCr"):
        yield _saved(drawing.convert(mode), "JPEG", exif=exif, icc_profile=profile)
        yield _saved(drawing.convert(mode), "JPEG", progressive=True)
    yield _saved(drawing.convert("CMYK"), "TIFF")
    yield _saved(drawing, "MPO", save_all=True, append_images=[drawing])
    for options in ({"lossless": True}, {"quality": 50}, {"save_all": True, "append_images": [drawing.rotate(180)]}):
        yield _saved(alpha, "WEBP", exif=exif, icc_profile=profile, **options)
        yield _saved(drawing, "WEBP", **options)
    yield from (_saved(image, "BMP") for image in (*plain, alpha))


def protocol_seeds() -> list[bytes]:
    """The presets, as they lie in the package."""
    folder = files("decay.loop") / "presets"
    return [(folder / f"{name}.toml").read_bytes() for name in preset_names()]


def plan_seeds() -> list[bytes]:
    """A plan that says everything."""
    return [
        b'name = "eyes_only"\ndescription = "what for"\nfrac_hands = 0.2\nsame_people = true\n'
        b"[decay.catchlight_eccentricity]\nonset = 2\nhalf_life = 1.0\nfloor = 0.0\n"
        b"[decay.finger_fusion]\nonset = 4\nhalf_life = 0.5\n",
        b"[decay.image_contrast]\nonset = 1\n",
    ]


def log_seeds() -> list[bytes]:
    """The log of a small run: photographs, a fit, pictures."""
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch)
        for name in ("real/0.png", "gen_00/0.png", "gen_00/1.png", "weights/model.bin"):
            (run / name).parent.mkdir(exist_ok=True)
            (run / name).write_bytes(name.encode())
        with provenance.log(run) as log:
            real = log.record_real(run / "real/0.png", group="a", prompt="a face")
            for slot in range(2):
                log.record(run / f"gen_00/{slot}.png", prompt="p", seed=slot, slot=slot, generation=0, parents=[real])
            log.note("a note")
        return [(run / LOG_NAME).read_bytes()]


def row_seeds() -> list[bytes]:
    """A row of the journal that holds one of everything."""
    readings = ImageReadings(
        image={"width": 64, "height": 64, "n_faces": 1, "n_hands": 1, "image_contrast": 0.3},
        faces=({"face": 0, "box": "1,2,3,4", "face_embedding": np.array([0.5, -1e-7], np.float32), "yaw_deg": 1.0},),
        eyes=({"face": 0, "side": "image_left", "catchlight_state": "no_highlight"},),
        hands=({"hand": 0, "box": "1,2,3,4", "hand_score": float("nan")},),
    )
    return [readings_to_json(readings).encode(), b'{"image":{},"faces":[],"eyes":[],"hands":[]}']
