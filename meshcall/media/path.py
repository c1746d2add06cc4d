"""How media travels over a pair of candidates."""

from __future__ import annotations

from meshcall.address import is_lan
from meshcall.media.endpoint import PathKind, SelectedCandidate


def path_of(local: SelectedCandidate, remote: SelectedCandidate) -> PathKind:
    """``relay`` if either end is one, ``lan`` if both addresses are a LAN's, else ``direct``.

    An address that a browser keeps to itself (empty, or a ``.local`` name) is this machine's or its LAN's.
    """
    if "relay" in (local.kind, remote.kind):
        return "relay"
    return "lan" if _is_near(local.address) and _is_near(remote.address) else "direct"


def _is_near(address: str) -> bool:
    return not address or address.endswith(".local") or is_lan(address)
