"""A TURN relay on this machine: sockets around :class:`meshcall.turn.server.TurnServer`."""

from __future__ import annotations

from meshcall.aio.relay.server import Answer, Relay, RelayStatistics
from meshcall.aio.relay.tls import client_context, server_context

__all__ = ["Answer", "Relay", "RelayStatistics", "client_context", "server_context"]
