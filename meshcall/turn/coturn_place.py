"""Where a coturn is that a node lends, as it is written after ``--coturn``. Cheap to import."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from meshcall.errors import InvalidConfig

PORT: Final = 3478
_PLACE: Final = re.compile(
    r"(?:(?P<host>\[[0-9A-Fa-f:.]+\]|[0-9.]+):)?(?P<port>\d{1,5})(?:,(?P<tls>\d{1,5}))?"
)


@dataclass(frozen=True, slots=True)
class Coturn:
    """Where a coturn listens."""

    host: str = ""
    """Its IP address; empty: that of the node."""
    port: int = PORT
    """UDP and TCP."""
    tls_port: int = 0
    """TLS; 0: none."""


def parse_coturn(text: str) -> Coturn:
    """``[IP:]PORT[,TLS-PORT]``; raises :class:`InvalidConfig`."""
    match = _PLACE.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        host = match["host"] or ""
        if host:
            host = str(ipaddress.ip_address(host.strip("[]")))
        coturn = Coturn(host, int(match["port"]), int(match["tls"] or 0))
        if not 0 < coturn.port < 65536 or coturn.tls_port > 65535:
            raise ValueError
    except ValueError:
        raise InvalidConfig(f"--coturn: {text!r} is not [IP:]PORT[,TLS-PORT]") from None
    return coturn
