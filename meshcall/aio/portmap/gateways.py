"""The routers that this machine's packets leave by, and our address on their networks."""

from __future__ import annotations

import socket
from collections.abc import Collection

from meshcall.aio.interfaces import all_addresses
from meshcall.aio.network import default_gateways
from meshcall.dht.compact import is_public
from meshcall.portmap.mapping import Gateway
from meshcall.portmap.race import CONTROL_PORT

_ADDRESSES6 = 2
"""Of one interface: temporary and lasting ones (RFC 8981); peers are offered both."""


def find_gateways(names: Collection[str] = ()) -> list[Gateway]:
    """Those of the interfaces called ``names`` (empty: of all), the best first. Raises OSError."""
    found = []
    for name, host in default_gateways():
        if names and name not in names:
            continue
        if ":" in host:
            public = [one.ip for one in all_addresses([name]) if one.version == 6 and is_public((one.ip, 1))]
            scoped = f"{host}%{name}" if host.lower().startswith("fe80:") else host
            found += [Gateway(name, scoped, ip) for ip in public[:_ADDRESSES6]]
        elif (local := _local_address(host)) is not None:
            found.append(Gateway(name, host, local))
    return found


def _local_address(gateway: str) -> str | None:
    """Our address that packets to ``gateway`` come from; None: it can't be reached."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((gateway, CONTROL_PORT))  # sends nothing
        except OSError:
            return None
        return str(probe.getsockname()[0])
