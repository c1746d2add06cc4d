"""A certificate that says nothing: for TLS listeners that exist to get through networks without UDP.

Law: nobody is to trust it. Who is at the other end is proven inside, by other keys.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from meshcall.identity.keys import Random

_LIFE: Final = timedelta(days=365)
_SKEW: Final = timedelta(days=1)
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256, which every TLS client knows (RFC 8446 section 9.1)."""


def make_certificate(random: Random, now_ms: int) -> bytes:
    """A fresh private key and its self-signed certificate, good for a year, as one PEM file. Secret."""
    key = ec.derive_private_key(int.from_bytes(random(48), "big") % (_ORDER - 1) + 1, ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, random(8).hex())])
    now = datetime.fromtimestamp(now_ms // 1000, UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(b"\x01" + random(15), "big"))
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _LIFE)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + certificate.public_bytes(Encoding.PEM)
