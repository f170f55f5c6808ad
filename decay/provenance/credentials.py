"""Content credentials (C2PA 2): copies of a run's pictures, signed as made by a trained algorithm.

The run's own pictures are never touched, because their hashes are in its log. Signing needs no network: no time
stamp is asked for, so that a credential is worth what its certificate is. Needs the extra ``c2pa``.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decay.errors import DecayError, LineageError
from decay.files import make_folder, new_folder, read_regular, write_bytes
from decay.images import MAX_FILE_BYTES
from decay.metadata import relative_to_root
from decay.provenance.chain import LOG_NAME, Index, Place, open_log, read_links
from decay.provenance.crate import check_whole
from decay.provenance.verify import walk
from decay.storage import lies_within

if TYPE_CHECKING:
    from types import ModuleType

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
FORMATS = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".tif": "image/tiff",
}
MAX_KEY_BYTES = 2**20


def sign(run: Path, key: Path, certificates: Path, out: Path, *, algorithm: str = "es256") -> int:
    """Write signed copies of the generated pictures of a run into the new folder ``out``; returns how many.

    ``key``: private, PEM (PKCS 8). ``certificates``: PEM, the signer's first, then those that vouch for it.
    ``algorithm``: of the key, as C2PA names it (es256, es384, es512, ps256, ed25519). The run is verified first. Raises
    LineageError, naming the first thing that is not as recorded; DecayError if a picture cannot be signed; OutputError.
    """
    c2pa = _c2pa()
    if lies_within(out.parent, run):
        raise LineageError(f"{out}: expected a place outside of {run}, which is to stay as it is. Choose another.")
    check_whole(run)
    with open_log(run) as stream, Index() as index:
        head = ""
        for link in read_links(stream, run / LOG_NAME):
            index.add(link.event, link.line, link.offset)
            head = link.hash
        pictures = {place.path: place for place in index.latest("image", "derived")}
    signer = _signer(c2pa, key, certificates, algorithm)
    with new_folder(out) as folder:
        for path in walk(run):
            name = relative_to_root(run, path)
            if name in pictures:
                make_folder((folder / name).parent)
                write_bytes(folder / name, _signed(c2pa, signer, path, pictures[name], head))
    return len(pictures)


def manifest(place: Place, head: str) -> dict[str, Any]:
    """What is claimed of a picture: made by a trained algorithm; its place in the log, under names of ours."""
    said = {"sha256": place.sha256, "generation": place.generation, "weights": place.weights, "line": place.line}
    parameters = {f"decay.{name}": value for name, value in {**said, "head": head}.items() if value is not None}
    actions = [{"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE, "parameters": parameters}]
    if place.kind == "derived":
        actions.append({"action": "c2pa.edited"})
    return {
        "claim_generator_info": [{"name": "decay"}],
        "title": place.path,
        "assertions": [{"label": "c2pa.actions", "data": {"actions": actions}}],
    }


def _c2pa() -> ModuleType:
    try:
        import c2pa  # noqa: PLC0415  an extra
    except ImportError as error:
        raise DecayError("Signing needs the package c2pa-python: pip install 'decay[c2pa]'.") from error
    module: ModuleType = c2pa
    return module


def _signer(c2pa: ModuleType, key: Path, certificates: Path, algorithm: str) -> Any:
    key_pem, certificates_pem = (
        read_regular(path, within=None, max_bytes=MAX_KEY_BYTES) for path in (key, certificates)
    )
    try:
        # No address of a time-stamping service: nothing is sent anywhere.
        return c2pa.Signer.from_info(c2pa.C2paSignerInfo(algorithm.encode(), certificates_pem, key_pem, None))
    except c2pa.C2paError as error:
        raise DecayError(
            f"{key}, {certificates}: expected a private key and its certificates (PEM) for {algorithm}; they cannot be "
            f"used ({error}). Give others, or say which algorithm they are for."
        ) from error


def _signed(c2pa: ModuleType, signer: Any, path: Path, place: Place, head: str) -> bytes:
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        raise DecayError(
            f"{path}: expected one of {', '.join(FORMATS)} to sign; this format cannot be. Save it as PNG."
        )
    signed = io.BytesIO()
    try:
        builder = c2pa.Builder(json.dumps(manifest(place, head)))
        builder.sign(signer, form, io.BytesIO(read_regular(path, within=None, max_bytes=MAX_FILE_BYTES)), signed)
    except c2pa.C2paError as error:
        raise DecayError(
            f"{path}: could not be signed ({error}). Check that the key fits the certificate, and that the certificate "
            "is one for signing (extended key usage emailProtection or documentSigning)."
        ) from error
    return signed.getvalue()
