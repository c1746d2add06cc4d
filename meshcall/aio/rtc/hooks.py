"""Everything that reaches into aiortc or aioice where they have no public door.

Law 1: no other module touches a private attribute or a global of theirs.
Law 2: each function says why it is needed; tests/aio/test_rtc_hooks.py fails when a library changes under it.
Law 3: a peer's octets end in a counter: nothing here lets an exception out for them.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import secrets
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from fractions import Fraction
from typing import Any, Final

import aioice.ice
import aioice.stun
import aiortc
import aiortc.rtcsctptransport
import av
from aiortc import RTCPeerConnection, RTCRtpReceiver, RTCRtpSender, RTCRtpTransceiver
from aiortc.codecs import get_encoder
from aiortc.rtcdtlstransport import RTCDtlsTransport, certificate_digest
from aiortc.rtcsctptransport import RTCSctpTransport
from OpenSSL import SSL

from meshcall import limits
from meshcall.aio.rtc.addresses import HostPolicy, select_addresses
from meshcall.aio.rtc.reorder import FrameBatch, Packet, ReorderBuffer
from meshcall.media.endpoint import SelectedCandidate

AIORTC: Final = "1.16."
AIOICE: Final = "0.13."
"""The versions that the contract tests passed on."""

_BINARY = (aiortc.rtcsctptransport.WEBRTC_BINARY, aiortc.rtcsctptransport.WEBRTC_BINARY_EMPTY)
_RWND = 1024 * 1024
"""aiortc's receive window at the start."""

_host_policy: ContextVar[HostPolicy | None] = ContextVar("host_policy", default=None)
_original_host_addresses = aioice.ice.get_host_addresses
_original_parse_message = aioice.stun.parse_message

Counters = Counter[str]


# --- globals --------------------------------------------------------------------------------------


def install() -> None:
    """Replace what is wrong for every user of the libraries in this process; may be called again."""
    for library, tested in ((aiortc, AIORTC), (aioice, AIOICE)):
        if not library.__version__.startswith(tested):
            raise ImportError(f"{library.__name__} {library.__version__} was not tested; {tested}x is needed")
    aiortc.rtcsctptransport.decode_params = decode_params
    aioice.stun.parse_message = parse_message
    # A lost check costs 0.1 s instead of 0.5 s; aioice has no setting for it.
    aioice.stun.RETRY_RTO = limits.ICE_RTO
    aioice.ice.get_host_addresses = host_addresses
    # One warning for each frame of a peer that does not decode would flood the log.
    logging.getLogger("aiortc").setLevel(logging.ERROR)


def decode_params(body: bytes) -> list[tuple[int, bytes]]:
    """SCTP parameters; raises ValueError.

    aiortc's own never ends at a parameter of length 0: one 20-octet packet froze the process for ever.
    """
    params = []
    position = 0
    while position <= len(body) - 4:
        kind, length = struct.unpack_from("!HH", body, position)
        if length < 4:
            raise ValueError("SCTP parameter is shorter than its header")
        params.append((kind, body[position + 4 : position + length]))
        position += length + -length % 4
    return params


def parse_message(data: bytes) -> aioice.stun.Message:
    """A STUN message; raises ValueError.

    aioice's own lets struct.error out, which its caller does not catch.
    """
    try:
        return _original_parse_message(data)
    except struct.error as error:
        raise ValueError("STUN attribute has the wrong size") from error


def host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    """Addresses by the policy of the endpoint that gathers.

    aioice takes every interface, and never loopback.
    """
    policy = _host_policy.get()
    if policy is None:
        return _original_host_addresses(use_ipv4, use_ipv6)
    found = []
    for adapter in aioice.ice.ifaddr.get_adapters():  # type: ignore[attr-defined]
        for ip in adapter.ips:
            if ip.is_IPv4 and use_ipv4:
                found.append((adapter.nice_name, ip.ip))
            elif ip.is_IPv6 and use_ipv6 and ip.ip[2] == 0:
                found.append((adapter.nice_name, ip.ip[0]))
    return select_addresses(found, policy)


@contextmanager
def gathering(policy: HostPolicy) -> Iterator[None]:
    """What gathers inside uses ``policy``."""
    token = _host_policy.set(policy)
    try:
        yield
    finally:
        _host_policy.reset(token)


# --- ICE ------------------------------------------------------------------------------------------


def ice_connection(pc: RTCPeerConnection) -> aioice.ice.Connection:
    """The ICE agent of the bundled transport, which the control channel shares with all media."""
    return _sctp(pc).transport.transport._connection


def limit_gathering(connection: aioice.ice.Connection) -> None:
    """A STUN or TURN server that does not answer costs ``ICE_SERVER_PATIENCE`` seconds instead of 5."""
    gather = connection.get_component_candidates

    async def limited(component: int, addresses: list[str]) -> list[aioice.Candidate]:
        return await gather(component, addresses, timeout=limits.ICE_SERVER_PATIENCE)  # type: ignore[arg-type]

    connection.get_component_candidates = limited  # type: ignore[method-assign, assignment]


def guard_ice(connection: aioice.ice.Connection, counters: Counters) -> None:
    """Drop what would break the agent or fill memory.

    An empty datagram from anybody raises IndexError in aiortc's DTLS and ends the call; the queue to DTLS has
    no bound; a check without PRIORITY raises KeyError; peer-reflexive candidates have no bound, and each gets
    checks from us.
    """
    data_received, request_received = connection.data_received, connection.request_received

    def received(data: bytes, component: int) -> None:
        if not data:
            counters["ice-empty"] += 1
        elif connection._queue.qsize() >= limits.ICE_QUEUE_MAX:
            counters["ice-flood"] += 1
        else:
            data_received(data, component)

    def request(message: aioice.stun.Message, addr: tuple[str, int], protocol: Any) -> None:
        known = any((c._network_host, c.port) == addr for c in connection._remote_candidates)
        if "PRIORITY" not in message.attributes:
            counters["ice-malformed"] += 1
        elif not known and len(connection._remote_candidates) >= limits.ICE_REMOTE_CANDIDATES_MAX:
            counters["ice-candidates"] += 1
        else:
            request_received(message, addr, protocol)

    connection.data_received = received  # type: ignore[method-assign]
    connection.request_received = request  # type: ignore[method-assign]


def pace_ice(connection: aioice.ice.Connection) -> None:
    """Return from connect() the moment a pair is nominated; aioice's own sleeps up to 20 ms more.

    The body is aioice's, but for the wait.
    """

    async def connect() -> None:
        c = connection
        if not c._local_candidates_end or c.remote_username is None or c.remote_password is None:
            raise ConnectionError("ICE can't start: no local candidates or no remote password")
        for candidate in c._remote_candidates:
            c._pair_remote_candidate(candidate)
        c.sort_check_list()
        c._unfreeze_initial()
        for early in c._early_checks:
            c.check_incoming(*early)
        c._early_checks.clear()
        c._early_checks_done = True
        result = None
        while result is None:
            more = c._check_periodic()
            try:
                async with asyncio.timeout(limits.ICE_TICK if more else None):
                    result = await c._check_list_state.get()
            except TimeoutError:
                continue
        for pair in c._check_list:
            if pair.task:
                pair.task.cancel()
        if result != aioice.ice.ICE_COMPLETED:
            raise ConnectionError("ICE negotiation failed")
        c._query_consent_task = asyncio.create_task(c.query_consent())

    connection.connect = connect  # type: ignore[method-assign]


def watch_consent(
    connection: aioice.ice.Connection, on_rtt: Callable[[float], None], on_lost: Callable[[], None]
) -> None:
    """Notice a dead path in 3 to 5 s; aioice's own takes 30, and would take a slow answer for none.

    ``on_rtt``: seconds of each answered check. ``on_lost`` is called before the connection closes itself.
    """

    async def query_consent() -> None:
        unanswered = 0
        checks: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()

        async def check(pair: aioice.ice.CandidatePair) -> None:
            nonlocal unanswered
            begin = loop.time()
            if await _consent_check(connection, pair):
                unanswered = 0
                on_rtt(loop.time() - begin)

        try:
            while True:
                interval = limits.CONSENT_RETRY if unanswered else limits.CONSENT_INTERVAL
                await asyncio.sleep(interval * (0.8 + secrets.randbelow(401) / 1000))
                if unanswered >= limits.CONSENT_FAILURES:
                    break
                for pair in connection._nominated.values():
                    unanswered += 1
                    task = asyncio.create_task(check(pair))
                    checks.add(task)
                    task.add_done_callback(checks.discard)
        finally:
            for task in tuple(checks):
                task.cancel()
        on_lost()
        connection._query_consent_task = None
        await connection.close()

    connection.query_consent = query_consent  # type: ignore[method-assign]


async def _consent_check(connection: aioice.ice.Connection, pair: aioice.ice.CandidatePair) -> bool:
    """One Binding request that is not retransmitted (RFC 7675 section 5.1); whether it was answered."""
    key = (connection.remote_password or "").encode()
    request = connection.build_request(pair, nominate=False)
    request.add_message_integrity(key)
    transaction = aioice.stun.Transaction(
        request, pair.remote_addr, pair.protocol, retransmissions=0, integrity_key=key
    )
    transaction._Transaction__timeout_delay = limits.CONSENT_WAIT  # type: ignore[attr-defined]
    pair.protocol.transactions[request.transaction_id] = transaction
    try:
        await transaction.run()
    except aioice.stun.TransactionError:
        return False
    finally:
        del pair.protocol.transactions[request.transaction_id]
    return True


def selected_pair(
    connection: aioice.ice.Connection,
) -> tuple[SelectedCandidate, SelectedCandidate] | None:
    """The selected pair (local, remote); aiortc does not tell."""
    pair = connection._nominated.get(1)
    if pair is None:
        return None
    local, remote = pair.local_candidate, pair.remote_candidate
    return (
        SelectedCandidate(local.type, local.host, local.port),
        SelectedCandidate(remote.type, pair.remote_addr[0], remote.port),
    )


# --- DTLS and SCTP --------------------------------------------------------------------------------


def dtls_transport(pc: RTCPeerConnection) -> RTCDtlsTransport:
    """The DTLS transport that everything shares."""
    return _sctp(pc).transport


def fingerprints(dtls: RTCDtlsTransport) -> tuple[bytes, bytes]:
    """SHA-256 of the two certificates that DTLS used: ours and the peer's, not those of the SDP."""
    connection = dtls._ssl
    assert connection is not None, "only called after the handshake"
    local = connection.get_certificate(as_cryptography=True)
    remote = connection.get_peer_certificate(as_cryptography=True)
    assert local is not None, "we always have a certificate"
    assert remote is not None, "DTLS asks for the peer's certificate and fails without it"
    return _sha256(local), _sha256(remote)


def _sha256(certificate: Any) -> bytes:
    return bytes.fromhex(certificate_digest(certificate, "sha-256").replace(":", ""))


def guard_dtls(dtls: RTCDtlsTransport, counters: Counters) -> None:
    """Keep a packet that does not parse from ending the call with a traceback.

    A short REMB raises struct.error. What SCTP sends after DTLS was shut down raises SSL.Error or
    ConnectionError in a task that nobody looks at; the call is over then, and its end is told elsewhere.
    """
    handle_rtcp, handle_rtp, send = dtls._handle_rtcp_data, dtls._handle_rtp_data, dtls._send_data

    async def rtcp(data: bytes) -> None:
        try:
            await handle_rtcp(data)
        except ConnectionError:
            raise
        except Exception:  # noqa: BLE001 - whatever aiortc's parsers raise
            counters["rtcp-malformed"] += 1

    async def rtp(data: bytes, arrival_time_ms: int) -> None:
        try:
            await handle_rtp(data, arrival_time_ms=arrival_time_ms)
        except ConnectionError:
            raise
        except Exception:  # noqa: BLE001 - whatever aiortc's parsers raise
            counters["rtp-malformed"] += 1

    async def send_data(data: bytes) -> None:
        try:
            await send(data)
        except (SSL.Error, ConnectionError):
            counters["data-unsent"] += 1

    dtls._handle_rtcp_data = rtcp  # type: ignore[method-assign]
    dtls._handle_rtp_data = rtp  # type: ignore[method-assign]
    dtls._send_data = send_data  # type: ignore[method-assign]


def guard_sctp(pc: RTCPeerConnection, counters: Counters) -> None:
    """Let nothing through but binary messages on stream 0, and bound what the peer can make us hold.

    Text that is not UTF-8 and short chunks raise in aiortc and end the call; fragments without an end and
    channels that nobody wants fill memory. A lost INIT is repeated after 0.5 s, not 3 s.
    """
    sctp = _sctp(pc)
    handle, receive = sctp._handle_data, sctp._data_channel_receive
    sctp._rto = limits.SCTP_RTO_FIRST

    async def handle_data(data: bytes) -> None:
        held = _RWND - sctp._advertised_rwnd
        if held > limits.CONTROL_REASSEMBLY_MAX or len(sctp._sack_misordered) > limits.CONTROL_GAPS_MAX:
            counters["sctp-flood"] += 1
            raise ConnectionError("the peer sends fragments without end")
        try:
            await handle(data)
        except ConnectionError:
            raise
        except Exception:  # noqa: BLE001 - whatever aiortc's parsers raise
            counters["sctp-malformed"] += 1

    async def channel_receive(stream_id: int, pp_id: int, data: bytes) -> None:
        if stream_id != 0 or pp_id not in _BINARY:
            counters["control-channel"] += 1
        else:
            await receive(stream_id, pp_id, data)

    sctp._handle_data = handle_data  # type: ignore[method-assign]
    sctp._data_channel_receive = channel_receive  # type: ignore[method-assign]


def control_idle(pc: RTCPeerConnection) -> bool:
    """Whether everything sent on the control channel was acknowledged; bufferedAmount does not tell."""
    sctp = pc.sctp
    return sctp is None or not (sctp._data_channel_queue or sctp._outbound_queue or sctp._sent_queue)


def close_sockets(pc: RTCPeerConnection) -> None:
    """The hard way, for a peer connection whose close() hangs."""
    if pc.sctp is not None:
        for protocol in pc.sctp.transport.transport._connection._protocols:
            protocol.transport.abort()


def _sctp(pc: RTCPeerConnection) -> RTCSctpTransport:
    assert pc.sctp is not None, "the control channel was made first"
    return pc.sctp


# --- media ----------------------------------------------------------------------------------------


class DecoderQueue:
    """What stands between a receiver and its decoder thread, in place of aiortc's unbounded queue.

    Before the gate is open everything is dropped: a stranger's frames never meet a decoder.
    """

    def __init__(self, kind: str, counters: Counters) -> None:
        self._queue: queue.SimpleQueue[tuple[Any, FrameBatch] | None] = queue.SimpleQueue()
        self._kind = kind
        self._counters = counters
        self._closed = False
        self.open = False
        self.dropped = 0

    def get(self) -> tuple[Any, FrameBatch] | None:
        """For the decoder thread."""
        return self._queue.get()

    def put(self, item: tuple[Any, FrameBatch] | None) -> None:
        """For the receiver; None ends the thread at once, whatever was waiting."""
        if item is None:
            self._closed = True
            with suppress(queue.Empty):  # the thread takes from it at the same time
                while True:
                    self._queue.get_nowait()
            self._queue.put(None)
            return
        codec, first = item
        frames = [first, *first.following]
        for frame in first.following:
            frame.timestamp = first.timestamp + ((frame.rtp_timestamp - first.rtp_timestamp) & 0xFFFFFFFF)
        if self._closed:
            return
        if not self.open:
            self.dropped += len(frames)
            self._counters[f"{self._kind}-before-gate"] += len(frames)
        elif self._queue.qsize() >= limits.DECODE_QUEUE_MAX:
            self._counters[f"{self._kind}-decoder-behind"] += len(frames)
        else:
            for frame in frames:
                self._queue.put((codec, frame))


def prepare_receiver(receiver: RTCRtpReceiver, kind: str, counters: Counters) -> DecoderQueue:
    """Give a receiver our reorder buffer and our queue to the decoder, before it starts."""
    video = kind == "video"
    capacity = limits.VIDEO_REORDER_MAX if video else limits.AUDIO_REORDER_MAX
    decoder_queue = DecoderQueue(kind, counters)
    _set(receiver, "_RTCRtpReceiver__jitter_buffer", ReorderBuffer(capacity, video=video, payload=_payload))
    _set(receiver, "_RTCRtpReceiver__decoder_queue", decoder_queue)
    return decoder_queue


def _payload(packet: Packet) -> bytes:
    """What the receiver's depayloader left of a packet."""
    data: bytes = packet._data  # type: ignore[attr-defined]
    return data


def request_keyframe(receiver: RTCRtpReceiver) -> None:
    """Ask for a keyframe with the next packet: what came before the gate is missing."""
    _get(receiver, "_RTCRtpReceiver__decoder_error").set()


def stop_decoder(receiver: RTCRtpReceiver) -> threading.Thread | None:
    """End the decoder thread without waiting for it; aiortc's stop() joins it on the event loop."""
    thread: threading.Thread | None = _get(receiver, "_RTCRtpReceiver__decoder_thread")
    if thread is not None:
        _get(receiver, "_RTCRtpReceiver__decoder_queue").put(None)
    return thread


def set_encoder_pool(sender: RTCRtpSender, pool: Executor) -> None:
    """Encode in ``pool``; aiortc encodes in the loop's default executor, where name look-ups wait too."""
    _set(sender, "_RTCRtpSender__loop", _PoolLoop(_get(sender, "_RTCRtpSender__loop"), pool))


class _PoolLoop:
    """The one method of the loop that a sender calls."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pool: Executor) -> None:
        self._loop = loop
        self._pool = pool

    def run_in_executor(self, _: None, function: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        return self._loop.run_in_executor(self._pool, function, *args)


def make_encoder(transceiver: RTCRtpTransceiver, frame: av.AudioFrame | av.VideoFrame) -> Any:
    """An encoder for the codec that is sent, opened by encoding ``frame``; blocking.

    Opening libvpx takes 20 ms and libopus 10 ms; aiortc does it between the gate and the first packet.
    """
    encoder = get_encoder(transceiver._codecs[0])
    # Just before the first frame, which has time 0.
    frame.pts = -frame.samples if isinstance(frame, av.AudioFrame) else -3000
    frame.time_base = Fraction(1, 48_000 if isinstance(frame, av.AudioFrame) else 90_000)
    encoder.encode(frame)
    return encoder


def set_encoder(sender: RTCRtpSender, encoder: Any) -> None:
    """Use ``encoder``, if the sender has none of its own yet; it begins with a keyframe."""
    if _get(sender, "_RTCRtpSender__encoder") is None:
        _set(sender, "_RTCRtpSender__encoder", encoder)
        sender._send_keyframe()


def drop_encoder(sender: RTCRtpSender) -> None:
    """Forget an encoder that was set: the peer chose another codec."""
    _set(sender, "_RTCRtpSender__encoder", None)


def pool_threads(pool: ThreadPoolExecutor) -> list[threading.Thread]:
    """The threads of a pool; ``shutdown(wait=True)`` would hold up the loop."""
    return list(pool._threads)


def packets_lost(receiver: RTCRtpReceiver) -> int:
    """RTP packets that did not arrive; getStats() mixes them up with those of the retransmission stream."""
    repairs = _get(receiver, "_RTCRtpReceiver__rtx_ssrc")
    streams = _get(receiver, "_RTCRtpReceiver__remote_streams")
    return sum(max(0, stream.packets_lost) for ssrc, stream in streams.items() if ssrc not in repairs)


def codec_name(transceiver: RTCRtpTransceiver) -> str:
    """The codec that is sent: the first one negotiated."""
    codecs = transceiver._codecs
    return codecs[0].mimeType.partition("/")[2] if codecs else ""


def _get(owner: object, name: str) -> Any:
    return getattr(owner, name)


def _set(owner: object, name: str, value: object) -> None:
    if not hasattr(owner, name):
        raise AttributeError(f"{type(owner).__name__} has no {name} any more")
    setattr(owner, name, value)
