"""TCP and TLS connections on one port, told apart by the first octet (a TLS handshake begins with 22).

Law 1: connections have caps, in number and in number a second, in all and for each address; what is over them
is closed at once.
Law 2: a connection without an allocation is closed after ``TURN_STREAM_PATIENCE``.
Law 3: what a slow reader leaves beyond ``TURN_STREAM_QUEUE`` is dropped: relayed media is worth nothing late.
Law 4: a connection may ask the node of this machine ``TUNNEL_ASKS_MAX`` things; one more ends it.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from meshcall.address import Address
from meshcall.dht.caches import ExpiringCache
from meshcall.dht.limiter import Bucket
from meshcall.errors import PortTaken, Rejected
from meshcall.limits import (
    TUNNEL_ASKS_MAX,
    TURN_STREAM_PATIENCE,
    TURN_STREAM_QUEUE,
    TURN_STREAM_SENDERS,
    TURN_STREAMS_ADDRESS_INTERVAL,
    TURN_STREAMS_MAX,
    TURN_STREAMS_PER_ADDRESS,
    TURN_STREAMS_PER_SECOND,
)
from meshcall.turn.commands import Client
from meshcall.turn.frames import Frames, bare_data, bare_frame, is_bare
from meshcall.turn.requests import sender_of

_BACKLOG: Final = 128
_TLS_HANDSHAKE: Final = 22
_NO_SUCH_FAMILY: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)


class Stream(asyncio.Protocol):
    """One connection."""

    def __init__(self, listener: Listener, client: Client) -> None:
        self._listener = listener
        self.client = client
        self._frames = Frames()
        self._asks = 0
        self._transport: asyncio.Transport | None = None
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the connection is closed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands, after the handshake if there is one."""
        assert isinstance(transport, asyncio.Transport), "a stream"
        self._transport = transport
        self._listener.made(self)

    def data_received(self, data: bytes) -> None:
        """Octets, cut anywhere."""
        try:
            frames = self._frames.feed_untrusted(data)
        except Rejected:
            self._listener.counters["stream-garbage"] += 1
            self.close()
            return
        for frame in frames:
            if self._transport is None or self._transport.is_closing():
                return
            if is_bare(frame):
                self._ask(bare_data(frame))
            else:
                self._listener.on_frame(frame, self.client)

    def _ask(self, frame: bytes) -> None:
        """A frame for the node of this machine."""
        self._asks += 1
        if self._asks > TUNNEL_ASKS_MAX:
            self._listener.counters["stream-asks"] += 1
            self.close()
            return
        answer = self._listener.answer(frame, self.client[0])
        if answer is None:
            self._listener.counters["stream-ask-unanswered"] += 1
        else:
            self.send(bare_frame(answer))

    def connection_lost(self, exc: Exception | None) -> None:
        """It was closed, by whomever."""
        self.gone.set_result(None)
        self._listener.lost(self)

    def send(self, data: bytes) -> None:
        """Queue whole frames, or drop them."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() > TURN_STREAM_QUEUE:
            self._listener.counters["stream-full"] += 1
        else:
            transport.write(data)

    def close(self) -> None:
        """Close it now; what is queued is lost."""
        if self._transport is not None:
            self._transport.abort()


class Listener:
    """All connections of one relay."""

    def __init__(
        self,
        sockets: list[socket.socket],
        context: ssl.SSLContext,
        *,
        on_frame: Callable[[bytes, Client], None],
        on_lost: Callable[[Client], None],
        is_known: Callable[[Client], bool],
        answer: Callable[[bytes, Address], bytes | None] = lambda frame, asker: None,
    ) -> None:
        """``answer``: what the node of this machine says to a bare frame of the DHT."""
        self.on_frame = on_frame
        self.answer = answer
        self.counters: Counter[str] = Counter()
        """What was refused and dropped, by reason."""
        self._on_lost = on_lost
        self._is_known = is_known
        self._sockets = sockets
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._streams: dict[int, Stream] = {}
        self._senders: Counter[bytes] = Counter()
        self._rate = Bucket(TURN_STREAMS_PER_SECOND, 2 * TURN_STREAMS_PER_SECOND, self._loop.time())
        self._rates: ExpiringCache[bytes, Bucket] = ExpiringCache(
            TURN_STREAM_SENDERS, TURN_STREAMS_ADDRESS_INTERVAL * TURN_STREAMS_PER_ADDRESS
        )
        self._pending: set[asyncio.Task[None]] = set()
        self._next = 1
        for sock in sockets:
            self._loop.add_reader(sock.fileno(), self._accept, sock)

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def ports(self) -> list[int]:
        """Where it listens."""
        return sorted({int(sock.getsockname()[1]) for sock in self._sockets})

    def send(self, data: bytes, client: Client) -> None:
        """Send frames to the stream of ``client``, if it is still there."""
        stream = self._streams.get(client[1])
        if stream is not None:
            stream.send(data)

    async def close(self) -> None:
        """Close all connections, and listen no more. Idempotent."""
        for sock in self._sockets:
            self._loop.remove_reader(sock.fileno())
            sock.close()
        self._sockets = []
        for task in self._pending:
            task.cancel()
        if self._pending:
            await asyncio.wait(self._pending)
        streams = list(self._streams.values())
        for stream in streams:
            stream.close()
        for stream in streams:
            await stream.gone

    # --- inside ---

    def _accept(self, listening: socket.socket) -> None:
        try:
            sock, source = listening.accept()
        except OSError:
            self.counters["accept-failed"] += 1  # it was closed again, or descriptors are short
            return
        address: Address = (source[0], source[1])
        sender = sender_of((address, 0))
        if (
            len(self._streams) + len(self._pending) >= TURN_STREAMS_MAX
            or self._senders[sender] >= TURN_STREAMS_PER_ADDRESS
        ):
            self.counters["stream-over-quota"] += 1
            sock.close()
            return
        if not self._may_connect(sender):
            self.counters["stream-over-rate"] += 1
            sock.close()
            return
        self._senders[sender] += 1
        task = self._loop.create_task(self._admit(sock, (address, self._next), sender))
        self._next += 1
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    def _may_connect(self, sender: bytes) -> bool:
        """Whether an address may make one more connection now; one that may not costs the others nothing."""
        now = self._loop.time()
        bucket = self._rates.get(sender, now)
        if bucket is None:
            bucket = Bucket(1 / TURN_STREAMS_ADDRESS_INTERVAL, TURN_STREAMS_PER_ADDRESS, now)
        self._rates.put(sender, bucket, now)
        return bucket.take(now) and self._rate.take(now)

    async def _admit(self, sock: socket.socket, client: Client, sender: bytes) -> None:
        """See what the connection speaks, and let it."""
        stream: Stream | None = None
        try:
            sock.setblocking(False)
            async with asyncio.timeout(TURN_STREAM_PATIENCE):
                first = await self._peek(sock)
                if first:
                    context = self._context if first[0] == _TLS_HANDSHAKE else None
                    admitted = Stream(self, client)
                    await self._loop.connect_accepted_socket(lambda: admitted, sock, ssl=context)
                    stream = admitted
        except (OSError, ssl.SSLError, TimeoutError):
            self.counters["stream-not-made"] += 1
        finally:
            if stream is None:
                sock.close()
                self._forget(sender)
        if stream is not None:
            self._loop.call_later(TURN_STREAM_PATIENCE, self._look_after, stream)

    async def _peek(self, sock: socket.socket) -> bytes:
        """The first octet; it stays unread. Empty: the connection was closed."""
        ready = asyncio.Event()
        self._loop.add_reader(sock.fileno(), ready.set)
        try:
            await ready.wait()
        finally:
            self._loop.remove_reader(sock.fileno())
        return sock.recv(1, socket.MSG_PEEK)

    def _look_after(self, stream: Stream) -> None:
        if self._streams.get(stream.client[1]) is not stream:
            return
        if not self._is_known(stream.client):
            self.counters["stream-idle"] += 1
            stream.close()
            return
        self._loop.call_later(TURN_STREAM_PATIENCE, self._look_after, stream)

    def made(self, stream: Stream) -> None:
        """A stream can be used."""
        self._streams[stream.client[1]] = stream

    def lost(self, stream: Stream) -> None:
        """A stream is gone."""
        if self._streams.pop(stream.client[1], None) is not None:
            self._forget(sender_of(stream.client))
            self._on_lost(stream.client)

    def _forget(self, sender: bytes) -> None:
        self._senders[sender] -= 1
        if not self._senders[sender]:
            del self._senders[sender]


def open_listening(port: int, hosts: Sequence[str]) -> list[socket.socket]:
    """Listening sockets on ``hosts``; a family that this machine lacks is left out. Raises PortTaken."""
    sockets: list[socket.socket] = []
    try:
        for host in hosts:
            try:
                sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
                sockets.append(sock)
                sock.setblocking(False)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if ":" in host:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind((host, port))
                sock.listen(_BACKLOG)
            except OSError as error:
                if error.errno in _NO_SUCH_FAMILY:
                    with suppress(IndexError):
                        sockets.pop().close()
                    continue
                raise
    except OSError as error:
        for sock in sockets:
            sock.close()
        raise PortTaken(f"TCP port {port} can't be used: {error.strerror}") from error
    return sockets
