"""A reader for octets from a stranger.

Law: it never reads past the end; what is missing raises :class:`~meshcall.errors.Rejected` ("truncated").
"""

from __future__ import annotations

from meshcall.errors import Rejected


class Octets:
    """Reads big-endian fields one after the other."""

    __slots__ = ("_data", "_offset")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._offset = 0

    @property
    def left(self) -> int:
        """Octets not read yet."""
        return len(self._data) - self._offset

    def take(self, count: int) -> bytes:
        """The next ``count`` octets; raises ``Rejected("truncated")``."""
        if count > self.left:
            raise Rejected("truncated")
        start = self._offset
        self._offset = start + count
        return self._data[start : self._offset]

    def u8(self) -> int:
        return self.take(1)[0]

    def peek(self) -> int:
        """The next octet, which stays."""
        if not self.left:
            raise Rejected("truncated")
        return self._data[self._offset]

    def u16(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "big")
