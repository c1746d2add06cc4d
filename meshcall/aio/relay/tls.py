"""TLS for TURN (RFC 8656 section 3.1): a way through networks that let nothing else out.

Law: TLS proves nobody here. A client knows its relay by MESSAGE-INTEGRITY, and what is relayed is DTLS and
SRTP between the peers; so any certificate does.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from pathlib import Path

from meshcall.errors import InvalidConfig
from meshcall.identity.certificate import make_certificate
from meshcall.identity.keys import Random


def server_context(certificate: Path | None, *, random: Random, now_ms: int) -> ssl.SSLContext:
    """For a listener: the PEM file ``certificate`` with key and chain, or one made for this occasion.

    Touches the disk. Raises :class:`InvalidConfig` for a file that can't be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        try:
            context.load_cert_chain(certificate)
        except (OSError, ssl.SSLError) as error:
            raise InvalidConfig(
                f"the relay's certificate {certificate} can't be used: {error.strerror or error}",
                hint="it is a PEM file with the private key, unlocked, and the certificates",
            ) from error
        return context
    # OpenSSL takes files only
    handle, path = tempfile.mkstemp(suffix=".pem")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(make_certificate(random, now_ms))
        context.load_cert_chain(path)
    finally:
        Path(path).unlink()
    return context


def client_context() -> ssl.SSLContext:
    """For a client: it takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
