"""Programs that parts of the lab need, and the Debian packages that hold them."""

from __future__ import annotations

from netsim.errors import LabUnavailable
from netsim.namespaces import TOOLS, find_tool

PACKAGES = TOOLS | {
    "nft": "nftables",
    "turnserver": "coturn",
    "turnutils_natdiscovery": "coturn",
    "stun": "stun-client",
    "miniupnpd": "miniupnpd-nftables",
    "upnpc": "miniupnpc",
    "natpmpc": "natpmpc",
    "openssl": "openssl",
    "faketime": "faketime",
    "capinfos": "wireshark-common",
}


def require_tools(*names: str) -> None:
    """Raises LabUnavailable with the command that installs those of them that are missing."""
    missing = sorted({PACKAGES[name] for name in names if find_tool(name) is None})
    if missing:
        raise LabUnavailable(f"this needs: sudo apt-get install --no-install-recommends {' '.join(missing)}")
