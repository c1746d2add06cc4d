"""One end of a pair of sockets between a node and a worker that keeps where a message begins and ends.

Law 1: nothing here waits: what the other side does not take yet is held up to a cap, then refused.
Law 2: a wake-up takes ``WORKER_BATCH`` messages, and a second ``rate`` of them: who floods is read later.
Law 3: that the other side is gone is told once.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from meshcall import limits

_SLICE: Final = 0.05
"""Seconds for which a share of the rate is given."""


def make_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends: SOCK_SEQPACKET, since Linux holds only ten unread datagrams in a SOCK_DGRAM."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in pair:
        end.setblocking(False)
        with suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.WORKER_BUFFER)
    return pair


class Channel:
    """See the laws."""

    def __init__(
        self,
        end: socket.socket,
        *,
        on_message: Callable[[bytes], None],
        on_closed: Callable[[], None],
        waiting: int,
        size: int,
        rate: float = float("inf"),
    ) -> None:
        """``waiting``: messages held for the other side; ``size``: octets of a longest one, longer are cut.

        ``rate``: messages a second that are read.
        """
        self._end = end
        self._on_message = on_message
        self._on_closed = on_closed
        self._waiting_max = waiting
        self._size = size
        self._share = rate * _SLICE
        self._left = self._share
        self._loop = asyncio.get_running_loop()
        self._slice_end = self._loop.time() + _SLICE
        self._resume: asyncio.TimerHandle | None = None
        self._waiting: deque[bytes] = deque()
        self.closed = False
        self._loop.add_reader(end, self._read)

    def send(self, data: bytes) -> bool:
        """Send a message, which has an octet at least; whether it will arrive if the other side reads on."""
        if self.closed:
            return False
        if not self._waiting:
            try:
                self._end.send(data)
            except BlockingIOError:
                self._loop.add_writer(self._end, self._write)
            except OSError:
                return False  # gone: the reader is told
            else:
                return True
        if len(self._waiting) >= self._waiting_max:
            return False
        self._waiting.append(data)
        return True

    def _write(self) -> None:
        try:
            while self._waiting:
                self._end.send(self._waiting[0])
                self._waiting.popleft()
        except BlockingIOError:
            return
        except OSError:
            self._waiting.clear()
        self._loop.remove_writer(self._end)

    def _read(self) -> None:
        now = self._loop.time()
        if now >= self._slice_end:
            self._slice_end, self._left = now + _SLICE, self._share
        for _ in range(limits.WORKER_BATCH):
            if self._left < 1:
                self._loop.remove_reader(self._end)
                self._resume = self._loop.call_at(self._slice_end, self._read_on)
                return
            try:
                data = self._end.recv(self._size)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                data = b""
            if not data:
                self.close()
                self._on_closed()
                return
            self._left -= 1
            self._on_message(data)
            if self.closed:
                return

    def _read_on(self) -> None:
        self._loop.add_reader(self._end, self._read)

    def close(self) -> None:
        """Close this end; ``on_closed`` is not called any more. Idempotent."""
        if self.closed:
            return
        self.closed = True
        if self._resume is not None:
            self._resume.cancel()
        self._loop.remove_reader(self._end)
        self._loop.remove_writer(self._end)
        self._waiting.clear()
        self._end.close()
