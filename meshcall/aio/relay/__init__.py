"""A TURN relay on this machine: sockets around :class:`meshcall.turn.server.TurnServer`."""

from __future__ import annotations

from meshcall.aio.relay.server import Relay, RelayStatistics
from meshcall.aio.relay.tls import client_context, server_context

__all__ = ["Relay", "RelayStatistics", "client_context", "server_context"]
