"""Vault over TLS: a token is shown only to a server whose certificate we were told to trust."""

import datetime as dt
import ipaddress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core.crypto.vault import open_vault
from core.errors import ConfigurationError
from tests.vault_double import VaultDouble


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1, which signs itself, and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vault")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption_algorithm=plain)
    )
    return paths


def test_only_a_certificate_that_we_trust_gets_the_token(certificate, tmp_path, monkeypatch):
    def source(**trust):
        options = {"address": double.address, "key": "ostraka", "file": str(tmp_path / "vault")} | trust
        return open_vault("store_a", options, {"VAULT_TOKEN": double.token})

    double = VaultDouble(certificate)
    try:
        with pytest.raises(ConfigurationError, match="ca_file"):
            source().prepare_next()
        assert double.requests == []
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))  # what others trust is not for us
        with pytest.raises(ConfigurationError, match="ca_file"):
            source().prepare_next()
        made = source(ca_file=str(certificate[0])).prepare_next()
        assert len(made.secret) == 32
    finally:
        double.close()
