"""Vectors that large networks make of whole pictures: one file for each network, torch imported only in those.

Here is what is known of them without loading any: where their weights are looked for, their licences, and the
fingerprint of all that decides a vector. Nothing in this room downloads; ``decay.models`` does, on request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module, metadata
from pathlib import Path
from typing import Protocol, runtime_checkable

from decay import images
from decay.errors import ModelError
from decay.files import sha256_of
from detectors.trait import Pixels, Vector

DEFAULT_ROOT = Path("~/.cache/decay")
"""The folder that holds the weights, where no other is named."""

INCEPTION_URL = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt"
INCEPTION_SHA256 = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"
"""As k-diffusion and other public projects have it, independently of one another."""
INCEPTION_LICENCE = (
    "published with NVIDIA's stylegan2-ada-pytorch, non-commercial; the weights are TensorFlow's of 2015, Apache-2.0"
)
HUB_URL = "https://huggingface.co/{repository}/resolve/main/{file}"
PACKAGES = ("torch", "transformers", "pillow", "numpy")
"""Their versions are part of what a vector is."""

WEIGHTS = "model.safetensors"


class Extractor(Protocol):
    """A network with its weights."""

    def of_picture(self, pixels: Pixels) -> Vector:
        """float32 (d,) of a picture, sRGB uint8 (h, w, 3)."""
        ...


@runtime_checkable
class ReadsText(Protocol):
    """A network that also makes vectors of prompts."""

    def of_text(self, text: str) -> Vector:
        """float32 (d,) of a prompt."""
        ...


@dataclass(frozen=True)
class Network:
    """One network that can be used. ``module``, ``maker``: its file in this room and what opens it there, given the
    weights. ``files``: below the root, the weights first. ``urls``: where each comes from. ``sha256``: of the weights,
    "" where none is publicly pinned. ``reads_text``: it makes vectors of prompts too."""

    name: str
    module: str
    maker: str
    purpose: str
    licence: str
    files: tuple[str, ...]
    urls: tuple[str, ...]
    sha256: str = ""
    reads_text: bool = False

    def weights(self, root: Path | None) -> Path:
        """Where the weights are looked for."""
        return (root or DEFAULT_ROOT).expanduser() / self.files[0]


def _from_hub(name: str, maker: str, repository: str, files: tuple[str, ...], purpose: str, licence: str) -> Network:
    paths = tuple(f"{name}/{file}" for file in files)
    urls = tuple(HUB_URL.format(repository=repository, file=file) for file in files)
    return Network(name, name, maker, purpose, licence, paths, urls, reads_text=name == "clip")


NETWORKS: Mapping[str, Network] = {
    network.name: network
    for network in (
        Network(
            "inception",
            "inception",
            "Inception",
            "FID, KID, precision, recall, density, coverage",
            INCEPTION_LICENCE,
            ("inception-2015-12-05.pt",),
            (INCEPTION_URL,),
            INCEPTION_SHA256,
        ),
        Network(
            "sifid",
            "maps",
            "SingleImage",
            "single-image FID",
            INCEPTION_LICENCE,
            ("inception-2015-12-05.pt",),
            (INCEPTION_URL,),
            INCEPTION_SHA256,
        ),
        _from_hub(
            "clip",
            "Clip",
            "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
            (WEIGHTS, "config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"),
            "CLIP score",
            "MIT (LAION's ViT-H/14; another CLIP in its place has its own)",
        ),
        _from_hub(
            "dinov2",
            "DinoV2",
            "facebook/dinov2-large",
            (WEIGHTS, "config.json"),
            "Frechet distance of DINOv2 features",
            "Apache-2.0 (Meta's ViT-L/14; another DINOv2 in its place has its own)",
        ),
    )
}


def open_network(name: str, root: Path | None) -> Extractor:
    """Load the network's weights from below ``root``. Raises ModelError where they, or torch, are no good."""
    network = NETWORKS[name]
    try:
        module = import_module(f"decay.features.{network.module}")
    except ModuleNotFoundError as error:
        raise ModelError(
            f"{network.purpose} needs the package {error.name}, which is not installed. "
            "In the folder of this program's source: pip install -c requirements.lock -e '.[yardsticks]'."
        ) from error
    extractor: Extractor = getattr(module, network.maker)(network.weights(root))
    return extractor


def network_version(name: str, root: Path | None) -> str:
    """Fingerprint of all that decides a vector, 64 hex digits: this room's code, how pictures are decoded, packages,
    and every file of the network."""
    digest = hashlib.sha256(name.encode())
    for source in [*sorted(Path(__file__).parent.glob("*.py")), Path(images.__file__)]:
        digest.update(source.name.encode() + source.read_bytes())
    for package in PACKAGES:
        digest.update(f"{package}={_installed(package)};".encode())
    weights = NETWORKS[name].weights(root)
    if not weights.is_file():
        raise ModelError(
            f"{weights}: expected the weights of {name}; found none. Fetch them: decay models fetch {name}."
        )
    for path in [weights, *_beside(weights, NETWORKS[name])]:
        digest.update(f"{path.name}={weights_sha256(path)};".encode())
    return digest.hexdigest()


def weights_sha256(path: Path) -> str:
    """The sha256 of a file of weights, 64 hex digits; read once by a process that finds it unchanged."""
    status = path.stat()
    return _sha256_of_state(path, status.st_size, status.st_mtime_ns)


def versions_at_hand(root: Path | None) -> dict[str, str]:
    """The fingerprint of each network whose weights are there, by name. Raises ModelError where ``root`` is none."""
    if root is not None and not root.expanduser().is_dir():
        raise ModelError(
            f"{root}: expected the folder of the networks' weights; found {'a file' if root.exists() else 'nothing'}. "
            "`decay models --features-root DIR` lists what it looks for."
        )
    return {name: network_version(name, root) for name, each in NETWORKS.items() if each.weights(root).is_file()}


@lru_cache
def _sha256_of_state(path: Path, _n_bytes: int, _changed_ns: int) -> str:
    return sha256_of(path)


def _beside(weights: Path, network: Network) -> list[Path]:
    """The network's small files that are there."""
    paths = (weights.parent / Path(file).name for file in network.files[1:])
    return [path for path in paths if path.is_file()]


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
