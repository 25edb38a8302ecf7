"""Certificates for TLS: given as files, or made for one session."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import ssl
import tempfile
from pathlib import Path

from streammatte.errors import ConfigError

__all__ = ["tls_context"]

_DAYS = 30


def tls_context(certificate: str | None, host: str) -> tuple[ssl.SSLContext, str]:
    """A server's TLS context and the SHA-256 fingerprint of its certificate.

    Parameters
    ----------
    certificate : str, optional
        A PEM file with the certificate (and its chain) and the private key; without it one is made for this session,
        which browsers warn of: compare the fingerprint.
    host : str
        Name or address that a made certificate is for.

    Raises
    ------
    ConfigError
        The file cannot be read or holds no certificate with its key; or a certificate has to be made, and
        ``cryptography`` is not installed.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        try:
            context.load_cert_chain(certificate)
            text = Path(certificate).read_text(encoding="ascii")
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise ConfigError(
                f"--certificate {certificate} holds no certificate with its private key, both in PEM "
                f"({getattr(error, 'strerror', None) or error})"
            ) from error
    else:
        text = _made_for(host)
        with tempfile.TemporaryDirectory(prefix="streammatte-tls-") as folder:
            path = Path(folder) / "made.pem"
            path.touch(0o600)
            path.write_text(text, encoding="ascii")
            context.load_cert_chain(path)
    begin = text.index("-----BEGIN CERTIFICATE-----")
    end = text.index("-----END CERTIFICATE-----", begin) + len("-----END CERTIFICATE-----")
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(text[begin:end])).hexdigest().upper()
    return context, ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def _made_for(host: str) -> str:
    """A self-signed certificate with its key, as PEM."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ModuleNotFoundError as error:
        raise ConfigError(
            "a certificate for other machines is made by cryptography, which is not installed; "
            "install streammatte[remote], or give --certificate FILE"
        ) from error

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "streammatte")])
    now = datetime.datetime.now(datetime.UTC)
    try:
        known: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        known = x509.DNSName(host)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName([known]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return (made.public_bytes(serialization.Encoding.PEM) + private).decode("ascii")
