"""aiohttp, loaded without the authorities that this machine trusts.

Loaded as usual it reads their certificates twice, for clients that take no other choice: 50 ms of the start
and 2 MB. Ours ask routers of the LAN, without TLS.

Law: only a program that is ours alone loads it so, for TLS by such a client then fails.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_WHERE: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""What tells OpenSSL where the certificates are."""


def load_aiohttp() -> None:
    """Load it, before any thread could look for certificates; what is loaded already stays as it is."""
    with _no_authorities():
        import aiohttp  # noqa: F401


@contextmanager
def _no_authorities() -> Iterator[None]:
    kept = {name: os.environ[name] for name in _WHERE if name in os.environ}
    os.environ.update(dict.fromkeys(_WHERE, os.devnull))
    try:
        yield
    finally:
        for name in _WHERE:
            del os.environ[name]
        os.environ.update(kept)
