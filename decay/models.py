"""The model files: what each detector needs, where it was found, its checksum and licence; fetching a pack on request.

The measuring commands only ever list. ``fetch`` is the one function of this package that downloads.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from decay.errors import ModelError
from decay.features import NETWORKS, Network, weights_sha256
from detectors.digits import MODEL
from detectors.packs import DEFAULT_ROOT, pack_folder

FOUND, MISSING = "found", "missing"

RELEASE_URL = "https://github.com/deepinsight/insightface/releases/download/v0.7/{name}.zip"
KNOWN_SHA256 = {"buffalo_l": "80ffe37d8a5940d59a7384c201a2a38d4741f2f3c51eef46ebb28218a7b0ca2f"}
"""Archives of insightface's release v0.7 whose checksum we could confirm: this one (288,621,354 bytes) is pinned by
many independent public projects, to the same 64 digits. For any other pack the person who asks gives the checksum."""

PACK_LICENCE = "as its publisher states; insightface's own packs (buffalo_*, antelopev2): non-commercial research only"
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")

_WHEEL = (  # file inside the mediapipe wheel, who needs it, what for
    ("face_detection/face_detection_short_range.tflite", "faces", "detects faces that fill the picture"),
    ("face_detection/face_detection_full_range_sparse.tflite", "faces", "detects small faces"),
    ("face_landmark/face_landmark_with_attention.tflite", "faces", "face mesh of 478 points, with irises"),
    ("palm_detection/palm_detection_full.tflite", "hands", "detects palms"),
    ("hand_landmark/hand_landmark_full.tflite", "hands", "21 points of a hand"),
)


@dataclass(frozen=True)
class ModelFile:
    """One file of weights. ``path`` and ``sha256`` are None unless ``state`` is ``found``; else it is ``missing``.

    ``looked_for``: where it would be found, and ``fetch``: the command that brings it, where a person may want them.
    ``published``: the sha256 of the file of this name that everybody uses, where it is known."""

    name: str
    needed_by: str
    licence: str
    purpose: str
    path: str | None
    sha256: str | None
    state: str
    looked_for: str = ""
    fetch: str = ""
    published: str = ""


def list_models(pack: str | None, root: Path | None) -> list[ModelFile]:
    """Every model file that measuring with this pack uses. Looks at the disk only.

    ``pack``: an insightface pack's name, or None for the weights-free descriptor, which needs no file.
    ``root``: the folder whose ``models/`` holds the pack, by default ``~/.insightface``.
    """
    modules = _folder_of("mediapipe") / "modules"
    wheel = [
        _model_file(modules / file, Path(file).name, needed_by, "Apache-2.0", purpose)
        for file, needed_by, purpose in _WHEEL
    ]
    own = _model_file(MODEL, MODEL.name, "hands", "as this project's code", "sees the digits of a hand")
    return [*wheel, own, *(_pack_files(pack, root) if pack else [])]


def list_networks(root: Path | None) -> list[ModelFile]:
    """The weights of the networks that see whole pictures, each file once. Looks at the disk only; none is required."""
    by_file: dict[str, list[Network]] = {}
    for network in NETWORKS.values():
        by_file.setdefault(network.files[0], []).append(network)
    return [_network_file(networks, root) for networks in by_file.values()]


def require_models(models: Sequence[ModelFile]) -> None:
    """Raise ModelError, naming them and the next step, if any of these is missing."""
    missing = [model for model in models if model.state == MISSING]
    if not missing:
        return
    names = ", ".join(model.name for model in missing)
    if any(model.needed_by == "face identity" for model in missing):
        step = (
            "Fetch the pack once with `decay models fetch NAME`, name its folder with --embedder-root, or go without."
        )
    else:
        step = "Install mediapipe 0.10.21 again: later releases carry no models."
    raise ModelError(f"Expected these models, and did not find them: {names}. {step}")


def models_text(models: Sequence[ModelFile]) -> str:
    """The list as text for a terminal, one paragraph per file."""
    return "\n\n".join(
        f"{model.name}  ({model.state})\n"
        f"  for: {model.needed_by}, {model.purpose}\n"
        f"  licence: {model.licence}\n"
        f"  path: {model.path or model.looked_for or '-'}\n"
        f"  sha256: {model.sha256 or '-'}{_if_another(model)}"
        + (f"\n  to have it: {model.fetch}" if model.state == MISSING and model.fetch else "")
        for model in models
    )


def _if_another(model: ModelFile) -> str:
    """A word where another file lies in the place of the published one: that is allowed, and to be known."""
    is_another = model.published and model.sha256 and model.sha256 != model.published
    return f" (not the published file, {model.published})" if is_another else ""


def fetch(name: str, root: Path | None = None, sha256: str | None = None) -> Path:
    """Download a network of ``decay.features``, or else an insightface pack, check its SHA-256; returns where it is.

    ``root``: where it goes, by default ``~/.cache/decay``, or ``~/.insightface`` for a pack. What is there already is
    left alone. ``sha256`` (64 hex digits) is needed where ``KNOWN_SHA256``
    has none. Raises ModelError if the name or the checksum is no good, the download fails, the archive is
    not the expected one, or the disk refuses; nothing half-unpacked is left behind.
    """
    if name in NETWORKS:
        return _fetch_network(NETWORKS[name], root, sha256)
    _check_name(name)
    target = pack_folder(name, root)
    if any(target.glob("*.onnx")):
        return target
    checksum = _checksum(f"the pack {name!r}", sha256 or KNOWN_SHA256.get(name, ""))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            archive = _download(RELEASE_URL.format(name=name), checksum, Path(scratch) / "pack.zip")
            _unpack(archive, Path(scratch) / "unpacked")
            (Path(scratch) / "unpacked").rename(target)
    except OSError as error:
        raise ModelError(
            f"{target}: the pack could not be stored ({error}). Name another folder with --root."
        ) from error
    return target


def measure_options(name: str, root: Path | None) -> str:
    """The options of ``decay measure`` by which it finds what ``fetch`` put there, each with a space before it."""
    if name in NETWORKS:
        return f" --features-root {root}" if root else ""
    return f" --embedder-pack {name}" + (f" --embedder-root {root}" if root else "")


def _fetch_network(network: Network, root: Path | None, sha256: str | None) -> Path:
    """The weights, checked, and the small files of settings beside them. The weights are moved into place last."""
    target = network.weights(root)
    if target.is_file():
        return target
    checksum = _checksum(f"{network.urls[0]}", sha256 or network.sha256)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            names = [Path(file).name for file in network.files]
            for name, url in zip(names, network.urls, strict=True):
                _download(url, checksum if name == target.name else None, Path(scratch) / name)
            for name in reversed(names):
                (Path(scratch) / name).replace(target.parent / name)
    except OSError as error:
        raise ModelError(
            f"{target}: the weights could not be stored ({error}). Name another folder with --root."
        ) from error
    return target


def _checksum(what: str, sha256: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", sha256.lower()):
        raise ModelError(
            f"No checksum is known for {what}, and without one it is not downloaded. "
            "Give its publisher's SHA-256 (64 hexadecimal digits) with --sha256."
        )
    return sha256.lower()


def _folder_of(package: str) -> Path:
    """Where a package lies, without importing it: mediapipe takes seconds."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ModelError(f"Expected the package {package}, and did not find it. Install decay again.")
    return Path(found.origin).parent


def _check_name(name: str) -> None:
    # It becomes a part of a path and of an address: no slash, no dots first.
    if not _NAME.match(name):
        raise ModelError(f"{name!r} is not the name of a model pack. Try buffalo_l.")


def _download(url: str, checksum: str | None, path: Path) -> Path:
    import pooch  # noqa: PLC0415  # only here: nothing else may be able to download
    import requests  # noqa: PLC0415

    try:
        known = f"sha256:{checksum}" if checksum else None
        pooch.get_logger().setLevel("ERROR")  # of files without a checksum it tells theirs
        return Path(pooch.retrieve(url, known_hash=known, fname=path.name, path=path.parent))
    except requests.RequestException as error:
        # The text of a failed connection is a pile of nested Python objects.
        reason = "no connection to its server" if isinstance(error, requests.ConnectionError) else error
        raise ModelError(f"{url} could not be downloaded ({reason}). Check the connection and try again.") from error
    except ValueError as error:  # pooch: the hash differs
        raise ModelError(
            f"{url} is not the file with SHA-256 {checksum}: damaged on the way, or replaced at its source. "
            "It was thrown away. Try again; if it stays so, ask its publisher for the new checksum."
        ) from error


def _unpack(archive: Path, folder: Path) -> None:
    """The archive's .onnx files, whatever folder they lie in there, straight into ``folder``."""
    folder.mkdir()
    try:
        with zipfile.ZipFile(archive) as packed:
            members = [member for member in packed.infolist() if member.filename.endswith(".onnx")]
            for member in members:
                with packed.open(member) as source, (folder / Path(member.filename).name).open("wb") as copy:
                    shutil.copyfileobj(source, copy)
    except zipfile.BadZipFile as error:
        raise ModelError("The downloaded pack is not a zip archive. Ask its publisher.") from error
    if not members:
        raise ModelError("The downloaded pack holds no .onnx file. Ask its publisher.")


def _network_file(networks: Sequence[Network], root: Path | None) -> ModelFile:
    """The weights that these networks share."""
    first = networks[0]
    purposes = ", ".join(network.purpose for network in networks)
    command = f"decay models fetch {first.name}" + (f" --root {root}" if root else "")
    return replace(
        _model_file(first.weights(root), first.files[0], purposes, first.licence, "yardstick"),
        looked_for=str(first.weights(root)),
        published=first.sha256,
        fetch=command if first.sha256 else f"{command} --sha256 (of {first.files[0]}, as its publisher states it)",
    )


def _pack_files(pack: str, root: Path | None) -> list[ModelFile]:
    _check_name(pack)
    folder = pack_folder(pack, root or DEFAULT_ROOT)
    purpose = "face detection and recognition (insightface)"
    files = sorted(folder.glob("*.onnx"))
    if not files:
        return [ModelFile(pack, "face identity", PACK_LICENCE, purpose, None, None, MISSING)]
    return [_model_file(file, f"{pack}/{file.name}", "face identity", PACK_LICENCE, purpose) for file in files]


def _model_file(path: Path, name: str, needed_by: str, licence: str, purpose: str) -> ModelFile:
    if not path.is_file():
        return ModelFile(name, needed_by, licence, purpose, None, None, MISSING)
    return ModelFile(name, needed_by, licence, purpose, str(path), weights_sha256(path), FOUND)
