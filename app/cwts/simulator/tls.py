"""A certificate for one run, in the names of this machine and of the real hosts. Nobody trusts it who was not told
to."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cwts.errors import InputError
from cwts.simulator.server import HOSTS


def certificate() -> tuple[bytes, bytes]:
    """(certificate, private key) as PEM; the certificate is its own authority and lasts a month."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CWTS simulator")])
    now = dt.datetime.now(dt.UTC)
    names: list[x509.GeneralName] = [x509.DNSName(host) for host in ("localhost", *HOSTS)]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM), secret


def context(ca_file: str | Path | None = None) -> ssl.SSLContext:
    """A server's TLS context; `ca_file` gets the certificate that clients must trust. Raises InputError."""
    public, secret = certificate()
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "both.pem"
        path.touch(mode=0o600)
        path.write_bytes(public + secret)
        made.load_cert_chain(path)
    if ca_file:
        try:
            Path(ca_file).write_bytes(public)
        except OSError as error:
            raise InputError(f"{ca_file}: {error.strerror or error}") from error
    return made
