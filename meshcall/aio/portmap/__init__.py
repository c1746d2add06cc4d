"""Port mapping: sockets, timers and HTTP for :mod:`meshcall.portmap`."""

from meshcall.aio.portmap.mapper import PortMapper

__all__ = ["PortMapper"]
