"""How media travels over a pair of candidates."""

from __future__ import annotations

from meshcall.address import is_lan
from meshcall.media.endpoint import PathKind, SelectedCandidate


def path_of(local: SelectedCandidate, remote: SelectedCandidate) -> PathKind:
    """``relay`` if either end is one, ``lan`` if both addresses are a LAN's, else ``direct``."""
    if "relay" in (local.kind, remote.kind):
        return "relay"
    return "lan" if is_lan(local.address) and is_lan(remote.address) else "direct"
