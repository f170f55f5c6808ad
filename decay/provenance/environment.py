"""What a picture was made with: code, packages, machine. Nothing that names a person, a host or a folder."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

_PACKAGES = (
    "accelerate",
    "diffusers",
    "mediapipe",
    "numpy",
    "peft",
    "pillow",
    "safetensors",
    "tokenizers",
    "torch",
    "transformers",
)
_CODE = Path(__file__).parents[2]
"""The folder that holds the package ``decay``; the repository's root, where it is run from there."""


def environment() -> dict[str, object]:
    """Versions of the code and of the packages installed (none is imported), and the hardware."""
    commit, modified = _commit()
    return {
        "decay": _version("decay"),
        "commit": commit,
        "modified": modified,
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name)) is not None},
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpu": _first_value(Path("/proc/cpuinfo"), "model name"),
        "n_cpus": os.cpu_count(),
        "gpus": [
            model
            for folder in sorted(Path("/proc/driver/nvidia/gpus").glob("*"))
            if (model := _first_value(folder / "information", "Model"))
        ],
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> tuple[str | None, bool | None]:
    """(the commit that this code is of, whether it was changed since); None where it runs from no repository."""
    found = _git("rev-parse", "--show-toplevel", "HEAD").split("\n")
    # An installed package may lie inside of somebody else's repository.
    if len(found) != 2 or Path(found[0]) != _CODE.resolve():
        return None, None
    return found[1], bool(_git("status", "--porcelain", "--untracked-files=no"))


def _git(*arguments: str) -> str:
    try:
        ended = subprocess.run(
            ["git", "-C", str(_CODE), *arguments], capture_output=True, text=True, check=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return ended.stdout.strip()


def _first_value(path: Path, key: str) -> str | None:
    """The first value of ``key`` in a file of lines ``key : value``."""
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                name, _, value = line.partition(":")
                if name.strip() == key:
                    return value.strip()
    except OSError:
        return None
    return None
