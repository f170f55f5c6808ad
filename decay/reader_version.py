"""The fingerprint of all that decides a reading: readings of another one are not taken for this one's."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path

import detectors
from decay import changes, images
from decay.models import ModelFile

PACKAGES = (
    "decay",
    "mediapipe",
    "insightface",
    "onnxruntime",
    "opencv-python",
    "numpy",
    "scipy",
    "scikit-image",
    "pillow",
)
"""Their versions are part of what a reading is."""


def reader_version(models: Sequence[ModelFile], embedder: str) -> str:
    """Fingerprint of the detectors' code, packages, model files and embedder, 64 hex digits.

    Anything else in it would measure again for nothing; anything missing would keep stale readings.
    """
    digest = hashlib.sha256(_sources())
    for name, version in package_versions().items():
        digest.update(f"{name}={version};".encode())
    for model in models:
        digest.update(f"{model.name}={model.sha256};".encode())
    digest.update(embedder.encode())
    return digest.hexdigest()


@cache
def _sources() -> bytes:
    """Of the code as it is when it is first asked for: a process goes on with what it has loaded, whatever becomes of
    the files."""
    digest = hashlib.sha256()
    folder = Path(detectors.__file__).parent
    others = [Path(images.__file__), Path(changes.__file__), Path(__file__).parent / "workers" / "task.py"]
    for source in [*sorted(folder.rglob("*.py")), *others]:
        digest.update(source.name.encode() + source.read_bytes())
    return digest.digest()


def package_versions() -> dict[str, str]:
    """The installed version of each of ``PACKAGES``."""
    return {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # this one, run from a checkout without installing it
        return "not installed"
