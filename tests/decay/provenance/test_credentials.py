"""Content credentials: signed copies that the reference library accepts; the run is not touched; no network."""

from __future__ import annotations

import io
import json
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decay import provenance
from decay.errors import DecayError, LineageError
from decay.images import read_image, write_png
from decay.provenance.credentials import SOURCE_TYPE, sign

c2pa = pytest.importorskip("c2pa")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def signer(tmp_path: Path) -> tuple[Path, Path]:
    """A key and a certificate that nobody vouches for."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "t"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "t")])
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign",
         "encipher_only", "decipher_only"), False
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, **usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (tmp_path / "certificate.pem").write_bytes(certificate.public_bytes(pem))
    return tmp_path / "key.pem", tmp_path / "certificate.pem"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A run of one photograph and two generated pictures, real PNGs."""
    run = tmp_path / "run"
    rng = np.random.default_rng(0)
    for name in ("real/0.png", "gen_00/0.png", "gen_00/1.png"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        write_png(run / name, rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    with provenance.log(run) as p:
        p.record_real(run / "real/0.png")
        made = p.record(run / "gen_00/0.png", prompt="a face", generation=0)
        p.record_derived(run / "gen_00/1.png", made, "histogram-matched")
    return run


def claims(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(c2pa.Reader("image/png", io.BytesIO(path.read_bytes())).json())
    return found


def test_copies_are_signed_and_the_pixels_the_same(pictures: Path, signer: tuple[Path, Path], tmp_path: Path) -> None:
    assert sign(pictures, *signer, tmp_path / "signed") == 2
    assert not (tmp_path / "signed" / "real").exists()  # nobody generated the photograph
    for name in ("gen_00/0.png", "gen_00/1.png"):
        said = claims(tmp_path / "signed" / name)
        assert said["validation_state"] == "Valid"
        assert {each["code"] for each in said["validation_status"]} == {"signingCredential.untrusted"}
        (actions,) = (
            each["data"]["actions"]
            for each in said["manifests"][said["active_manifest"]]["assertions"]
            if each["label"].startswith("c2pa.actions")
        )
        assert actions[0]["digitalSourceType"] == SOURCE_TYPE
        assert actions[0]["parameters"]["decay.head"] == provenance.verify(pictures).head
        assert len(actions) == (2 if name.endswith("1.png") else 1)
        np.testing.assert_array_equal(read_image(tmp_path / "signed" / name), read_image(pictures / name))
    assert provenance.verify(pictures).ok


def test_a_signed_copy_that_was_altered_does_not_validate(
    pictures: Path, signer: tuple[Path, Path], tmp_path: Path
) -> None:
    sign(pictures, *signer, tmp_path / "signed")
    path = tmp_path / "signed" / "gen_00" / "0.png"
    data = bytearray(path.read_bytes())
    data[data.rindex(b"IDAT") + 40] ^= 1
    path.write_bytes(bytes(data))
    assert "assertion.dataHash.mismatch" in {each["code"] for each in claims(path)["validation_status"]}


def test_what_cannot_be_used_is_named(pictures: Path, signer: tuple[Path, Path], tmp_path: Path) -> None:
    key, certificate = signer
    with pytest.raises(DecayError, match="expected a private key"):
        sign(pictures, certificate, key, tmp_path / "signed")
    (pictures / "gen_00" / "0.png").write_bytes(b"other")
    with pytest.raises(LineageError, match=r"first: gen_00/0\.png"):
        sign(pictures, key, certificate, tmp_path / "signed")
    assert not (tmp_path / "signed").exists()
