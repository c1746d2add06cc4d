"""A node without a network: what happens to a call is told by the name of the contact that is called."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

import msgspec

from meshcall.aio.files.home import HomeLock, open_home
from meshcall.config import Config
from meshcall.errors import (
    DuplicateContact,
    LocalProtocolError,
    MeshcallError,
    NodeSilent,
    NoSuchCall,
    NotVerifiable,
    OwnId,
    PeerOffline,
    RelayOff,
    UnknownContact,
)
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.identity.uri import PeerUri, is_uri, parse_peer
from meshcall.media.page import ToPage
from meshcall.netcheck_views import (
    FallbackCheck,
    FamilyCheck,
    LanCheck,
    NetcheckView,
)
from meshcall.paths import HomePaths
from meshcall.ping_views import PingEnded, PingEvent, PingReply, PingSilent, PingStep
from meshcall.settings import SettingsBook
from meshcall.views import (
    CallEvent,
    Calling,
    CallState,
    CallView,
    Chat,
    Connected,
    Connecting,
    ContactView,
    DhtLimiterView,
    DhtLookupView,
    DhtNodeView,
    DhtPingView,
    DhtStateView,
    DhtStatusView,
    DhtStoredView,
    DhtValueView,
    DhtWatchView,
    EmojiView,
    Ended,
    ErrorView,
    HistoryView,
    Incoming,
    LanStatus,
    LookingUp,
    Media,
    MediaTotals,
    NodeEvent,
    NodeStatus,
    PathStep,
    PeerMedia,
    PeerView,
    PortMappingView,
    RelayCoturnView,
    RelayCredentialsView,
    RelayStatusView,
    RelayView,
    Ringing,
    VerificationView,
)

from .fake_rooms import FakeRooms

E = TypeVar("E")

EVENTS_OF_CHATTY = 3000
"""More than a listener's queue holds."""


def peer_id_of(number: int) -> PeerId:
    """A valid ID, the same for each number."""
    return PeerId.from_key(SigningKey.from_seed(number.to_bytes(32, "big")).public)


OWN_ID = peer_id_of(1)
ALICE_ID = peer_id_of(2)


def now_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


def error_view(error: MeshcallError) -> ErrorView:
    """An error as an ended call tells it."""
    return ErrorView(code=error.code, message=str(error), hint=error.hint, exit_code=error.exit_code)


class Subscription(Generic[E]):
    """Events for one listener, from when it is made until it is closed."""

    def __init__(
        self, queues: list[asyncio.Queue[E]], history: Iterable[E] = (), last: type | None = None
    ) -> None:
        self.queues = queues
        self.last = last
        self.queue: asyncio.Queue[E] = asyncio.Queue()
        for event in history:
            self.queue.put_nowait(event)
        queues.append(self.queue)
        self.over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> E:
        if self.over:
            raise StopAsyncIteration
        event = await self.queue.get()
        self.over = self.last is not None and isinstance(event, self.last)
        return event

    async def aclose(self) -> None:
        self.over = True
        if self.queue in self.queues:
            self.queues.remove(self.queue)


class FakeContacts:
    """A contact book in memory."""

    def __init__(self) -> None:
        self.views: dict[str, ContactView] = {}
        for number, name in enumerate(
            ("alice", "offline", "decliner", "ringer", "bug", "chatty", "callme"), start=2
        ):
            self.add(peer_id_of(number).text, name)

    def add(self, text: str, name: str) -> ContactView:
        uri = parse_peer(text)
        name = name or uri.name
        if uri.peer_id == OWN_ID:
            raise OwnId
        if name in self.views:
            raise DuplicateContact
        view = ContactView(peer_id=uri.peer_id.text, short=uri.peer_id.short, name=name, added_ms=now_ms())
        self.views[name] = view
        return view

    def list(self) -> list[ContactView]:
        return list(self.views.values())

    def find(self, name: str) -> ContactView:
        if name not in self.views:
            raise UnknownContact(f"no contact is called {name!r}")
        return self.views[name]

    def verify(self, peer_id: PeerId) -> ContactView:
        for name, view in self.views.items():
            if view.peer_id == peer_id.text:
                self.views[name] = msgspec.structs.replace(view, verified=True)
                return self.views[name]
        raise UnknownContact

    def rename(self, name: str, new: str) -> ContactView:
        old = self.find(name)
        del self.views[name]
        return self.add(old.peer_id, new)

    def remove(self, name: str) -> None:
        del self.views[self.find(name).name]

    def block(self, name: str) -> ContactView:
        return self._set_blocked(name, True)

    def unblock(self, name: str) -> ContactView:
        return self._set_blocked(name, False)

    def _set_blocked(self, name: str, blocked: bool) -> ContactView:
        old = self.find(name)
        view = ContactView(peer_id=old.peer_id, short=old.short, name=old.name, blocked=blocked)
        self.views[name] = view
        return view


class FakeDht:
    """A DHT of two nodes, one of which is silent."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        """Set when a lookup of the key that never ends was given up."""
        self.waiting = asyncio.Event()

    def state(self) -> DhtStateView:
        return DhtStateView(
            enabled=True,
            node_id="ab" * 20,
            role="ephemeral",
            why="1 of 3 networks have reached us",
            proofs=1,
            proofs_needed=3,
            addresses=["203.0.113.5:4242"],
            nodes=20,
            nodes4=18,
            nodes6=2,
            buckets=5,
            stored=DhtStoredView(records=3, octets=2799, keys=2, sources=2),
            own_watches=[
                DhtWatchView(key="cd" * 20, holders=["203.0.113.9:4600"]),
                DhtWatchView(key="ef" * 20, holders=[]),
            ],
            watches_held=7,
            operations=2,
            open_requests=0,
            limiter=DhtLimiterView(senders=9, senders_max=4096, reads_left=5000, writes_left=1500),
            bootstrap=["router.example:4600"],
            restored=12,
            saved_ms=now_ms() - 90_000,
            counters={"limited-sender": 4, "received-ping": 99},
        )

    async def lookup(self, text: str) -> DhtLookupView:
        if text == "00" * 20:
            self.waiting.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()
        near = DhtNodeView(
            node_id="11" * 20,
            address="203.0.113.9:4600",
            answered=True,
            rtt_ms=12.5,
            hop=2,
            closest=True,
            silent=False,
            values=1,
        )
        silent = DhtNodeView(
            node_id="",
            address="203.0.113.8:4600",
            answered=False,
            rtt_ms=None,
            hop=1,
            closest=False,
            silent=True,
            values=0,
        )
        value = DhtValueView(
            type="presence", octets=308, seq=5, ttl_s=7200, age_s=60, at_ms=13.0,
            source="203.0.113.9:4600", problem="",
        )  # fmt: skip
        return DhtLookupView(
            key="ab" * 20,
            peer_id="",
            asked=[near, silent],
            requests=2,
            hops=2,
            first_ms=13.0,
            total_ms=25.5,
            values=[value] if text == "ab" * 20 else [],
            holders=["203.0.113.9:4600"],
            watchers_here=1,
        )

    async def ping(self, text: str) -> DhtPingView:
        if text == "203.0.113.8:4600":
            raise NodeSilent(f"no DHT node answers at {text} within 3 s")
        return DhtPingView(
            address="203.0.113.9:4600",
            node_id="11" * 20,
            rtt_ms=12.5,
            proven=text.startswith("203."),
            proof="proven" if text.startswith("203.") else "relayed",
            role="router",
            observed="203.0.113.5:4242",
            tries=1,
        )


class FakePages:
    """Pages that are open; nothing they say has an effect."""

    def __init__(self) -> None:
        self.sends: dict[str, Callable[[ToPage], None]] = {}
        self.received: list[tuple[str, str]] = []

    def __len__(self) -> int:
        return len(self.sends)

    def open(self, send: Callable[[ToPage], None]) -> str:
        name = f"page{len(self.sends)}"
        self.sends[name] = send
        return name

    def receive(self, page: str, data: str) -> None:
        self.received.append((page, data))

    def close(self, page: str) -> None:
        self.sends.pop(page, None)


class FakeCall:
    """A call that follows its script."""

    def __init__(self, node: FakeNode, name: str, peer_id: str, direction: str) -> None:
        self.node = node
        self.id = secrets.token_hex(16)
        self.name = name
        self.peer_id = PeerId.parse(peer_id)
        self.incoming = direction == "in"
        self.state: CallState = "incoming" if self.incoming else "calling"
        self.reason = ""
        self.since_ms = now_ms()
        self.history: list[CallEvent] = []
        self.queues: list[asyncio.Queue[CallEvent]] = []
        self.record: Path | None = None

    def tell(self, event: CallEvent) -> None:
        self.history.append(event)
        for queue in self.queues:
            queue.put_nowait(event)
        for listener in self.node.queues:
            listener.put_nowait(event)

    def tell_media(self, *, audio: bool, video: bool, screen: bool) -> None:
        self.tell(PeerMedia(call=self.id, at_ms=now_ms(), audio=audio, video=video, screen=screen))

    def verification(self) -> VerificationView:
        if self.state != "connected":
            raise NotVerifiable
        return VerificationView(emoji=[EmojiView(symbol="🐶", word="Dog")] * 7, digits="1000 2000 3000")

    def view(self) -> CallView:
        return CallView(
            id=self.id,
            peer_id=self.peer_id.text,
            name=self.name,
            direction="in" if self.incoming else "out",
            state=self.state,
            since_ms=self.since_ms,
            path="lan" if self.state == "connected" else "",
            reason=self.reason,
            timeline={"dial": 0.0, "confirmed": 12.5},
            paths=[PathStep(at=11.0, path="lan", why="first", local="host", remote="host")],
            explanation="direct over IPv4: both ends are in one local network",
            better=["nothing"],
        )

    def begin(self) -> None:
        """Follow the script as far as it goes without the other side."""
        call, at = self.id, now_ms()
        if self.incoming:
            self.tell(Incoming(call=call, at_ms=at, peer_id=self.peer_id.text, name=self.name))
            return
        self.tell(LookingUp(call=call, at_ms=at, peer_id=self.peer_id.text, name=self.name))
        if self.name == "offline":
            self.end("offline", error_view(PeerOffline(f"{self.name} is offline")))
            return
        self.tell(Calling(call=call, at_ms=at, via="lan"))
        if self.name == "decliner":
            view = ErrorView(code="declined", message="decliner declined the call.", exit_code=5)
            self.end("declined", view)
            return
        self.state = "ringing"
        self.tell(Ringing(call=call, at_ms=at))
        if self.name != "ringer":
            self.connect()
        if self.name == "chatty":
            for number in range(EVENTS_OF_CHATTY):
                self.tell(Chat(call=call, at_ms=at, text=f"line {number}"))

    def connect(self) -> None:
        call, at = self.id, now_ms()
        self.state = "connecting"
        self.tell(Connecting(call=call, at_ms=at))
        self.state = "connected"
        self.tell(Connected(call=call, at_ms=at, path="lan", setup_ms=12.5, timeline={"lookup": 3.0}))
        self.tell(Media(call=call, at_ms=at, kind="audio"))

    def end(self, reason: str, error: ErrorView | None = None) -> None:
        if self.state == "ended":
            return
        connected = self.state == "connected"
        self.state = "ended"
        self.reason = reason
        self.tell(
            Ended(
                call=self.id,
                at_ms=now_ms(),
                peer_id=self.peer_id.text,
                name=self.name,
                reason=reason,
                path="lan" if connected else "",
                setup_ms=12.5 if connected else None,
                timeline={"lookup": 3.0, "connected": 12.5},
                received=MediaTotals(video_frames=30, audio_seconds=1.5),
                record=None if self.record is None else str(self.record),
                error=error,
            )
        )

    async def answer(
        self,
        *,
        source: str | None = None,
        record: Path | None = None,
        page: str = "",
        video: bool = True,
    ) -> None:
        if self.state != "incoming":
            raise LocalProtocolError
        self.record = record
        self.connect()

    async def decline(self, words: str = "") -> None:
        self.said = words
        self.end("declined")

    async def hangup(self) -> None:
        await asyncio.sleep(0)
        self.end("hangup" if self.state == "connected" else "cancelled")

    async def chat(self, text: str) -> None:
        if self.state != "connected":
            raise LocalProtocolError
        self.tell(Chat(call=self.id, at_ms=now_ms(), text=text, sender="me"))
        self.tell(Chat(call=self.id, at_ms=now_ms(), text=text.upper()))

    def events(self) -> Subscription[CallEvent]:
        return Subscription(self.queues, self.history, last=Ended)


class FakePing:
    """A ping that follows its script: by a relay, silent, then direct."""

    def __init__(self, name: str, *, until_direct: bool) -> None:
        self.stopped = asyncio.Event()
        relay, host = "relay 203.0.113.9:50000", "host 192.0.2.1:4242"
        error = None
        reason, found = ("direct" if until_direct else "done"), name != "offline"
        if not found:
            reason, error = "offline", error_view(PeerOffline(f"{name} is offline"))
        self.script: list[PingEvent] = [PingStep(after_ms=0, step="looking-up")]
        if found:
            self.script += [
                PingStep(after_ms=3.0, step="calling", via="dht"),
                PingStep(after_ms=9.0, step="answered"),
                PingReply(after_ms=50.0, seq=1, rtt_ms=34.125, path="relay", local=relay, remote=host),
                PingSilent(after_ms=2050.0, seq=2),
                PingReply(
                    after_ms=2100.0, seq=3, rtt_ms=12.0, path="direct", before="relay",
                    local="srflx 198.51.100.7:4242", remote=host,
                ),
            ]  # fmt: skip
        self.script.append(
            PingEnded(
                after_ms=2100.0, peer_id=ALICE_ID.text, name=name, reason=reason, error=error, better=[],
                **({"sent": 3, "received": 2, "rtt_min_ms": 12.0, "rtt_mean_ms": 23.06,
                    "rtt_max_ms": 34.125, "path": "direct", "first_reply_ms": 50.0, "direct_ms": 2100.0}
                   if found else {"sent": 0, "received": 0}),
            )
        )  # fmt: skip

    async def stop(self) -> None:
        self.stopped.set()

    def events(self) -> Subscription[PingEvent]:
        return Subscription([], self.script, last=PingEnded)


class FakeNode:
    """What the local API needs of a node, and nothing else."""

    def __init__(self, config: Config, passphrase: str | None = None) -> None:
        self.config = config
        self.passphrase = passphrase
        self.pages = FakePages()
        self.contacts = FakeContacts()
        self.settings = SettingsBook(HomePaths(config.home).settings, config)
        self.dht = FakeDht()
        self.rooms = FakeRooms()
        self.made: dict[str, FakeCall] = {}
        self.queues: list[asyncio.Queue[NodeEvent]] = []
        friend, stranger = peer_id_of(7).text, peer_id_of(99).text
        self.past = [
            HistoryView(id="c" * 32, peer_id=friend, name="ann", direction="in", started_ms=now_ms(),
                        ended_ms=now_ms(), reason="cancelled", missed=True),
            HistoryView(id="d" * 32, peer_id=stranger, direction="in", started_ms=1_700_000_000_000,
                        ended_ms=1_700_000_000_000, reason="offline", missed=True, stranger=True),
            HistoryView(id="e" * 32, peer_id=friend, name="ann", direction="out", path="lan",
                        started_ms=1_700_000_000_000, connected_ms=1_700_000_001_000,
                        ended_ms=1_700_000_062_000, reason="hangup"),
        ]  # fmt: skip
        self.lock = HomeLock(open_home(config.home))
        self.started = time.monotonic()

    async def __aenter__(self) -> Self:
        self.lock.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for call in self.made.values():
            call.end("shutdown")
        self.lock.release()

    def id_text(self) -> str:
        return OWN_ID.text

    def uri_text(self) -> str:
        return PeerUri(OWN_ID, self.settings.now.name).format()

    def status(self) -> NodeStatus:
        return NodeStatus(
            peer_id=OWN_ID.text,
            name=self.settings.now.name,
            port=self.config.port or 4242,
            addresses=["127.0.0.1:4242"],
            lan=LanStatus(enabled=self.config.mdns, peers=2),
            dht=DhtStatusView(enabled=not self.config.lan_only, nodes=20, stored=3, watches=8),
            relay=RelayStatusView(
                enabled=bool(self.config.relay), port=3478, allocations=1, to_peers=500_000
            ),
            calls=sum(1 for call in self.made.values() if call.state != "ended"),
            missed=sum(row.missed and not row.seen for row in self.past),
            uptime_s=time.monotonic() - self.started,
            version="0.0.0-fake",
            counters={"rejected signature": 3},
            warnings=["the clock is wrong by 3 s"],
        )

    async def netcheck(self) -> NetcheckView:
        return NetcheckView(
            port=4242,
            ipv4=FamilyCheck(
                udp="yes", local=["192.168.1.7"], public="203.0.113.5:61000",
                asked=6, answered=5, rtt_ms=12.5,
                mapping="address-and-port-dependent", filtering="address-and-port-dependent",
                ports="sequential", hairpin="no",
            ),
            ipv6=FamilyCheck(udp="none", local=[]),
            dht_nodes=20,
            port_mapping=PortMappingView(state="no-gateway", reason="no router answers"),
            lan=LanCheck(enabled=True, heard_itself=True, peers=2),
            relays=[
                RelayView(address="203.0.113.9:3478", of_contact=True, rtt_ms=31.0, transports=["udp"])
            ],
            fallback=FallbackCheck(state="unused"),
            clock_skew_s=0.2,
            took_ms=812.0,
        )  # fmt: skip

    def relay_coturn(self) -> RelayCoturnView:
        return RelayCoturnView(
            config="use-auth-secret\nstatic-auth-secret=s\n", lent=bool(self.config.coturn)
        )

    def relay_credentials(self, seconds: int) -> RelayCredentialsView:
        if not self.config.relay:
            raise RelayOff
        return RelayCredentialsView(
            urls=["turn:127.0.0.1:3478?transport=udp"], username=f"{seconds}:x", password="p", expires_ms=1
        )

    def peers(self) -> list[PeerView]:
        stranger = peer_id_of(99)
        views = [
            PeerView(peer_id=view.peer_id, short=view.short, name=view.name, contact=True, presence="lan")
            for view in self.contacts.list()
        ]
        hostile = "Eve\x1b[31m\nroot"
        views.append(
            PeerView(peer_id=stranger.text, short=stranger.short, self_name=hostile, last_seen_ms=now_ms())
        )
        return views

    async def call(
        self,
        peer: str,
        *,
        source: str | None = None,
        record: Path | None = None,
        timeout: float = 60,
        wait: float = 0,
        page: str = "",
        video: bool = True,
    ) -> FakeCall:
        if is_uri(peer) or len(peer) > 40:
            peer_id = parse_peer(peer).peer_id
            if peer_id == OWN_ID:
                raise OwnId
            name = next((view.name for view in self.contacts.list() if view.peer_id == peer_id.text), "")
        else:
            peer_id, name = PeerId.parse(self.contacts.find(peer).peer_id), peer
        if name == "bug":
            raise RuntimeError("a planted bug")
        await asyncio.sleep(0)
        call = FakeCall(self, name, peer_id.text, "in" if name == "callme" else "out")
        call.record = record
        self.made[call.id] = call
        call.begin()
        return call

    async def ping(self, peer: str, *, count: int, interval: float, until_direct: bool) -> FakePing:
        self.contacts.find(peer)
        return FakePing(peer, until_direct=until_direct)

    def calls(self) -> list[CallView]:
        return [call.view() for call in self.made.values()]

    def get_call(self, call_id: str | None) -> FakeCall:
        if call_id not in self.made:
            raise NoSuchCall
        return self.made[call_id]

    async def history(self, *, limit: int = 100, missed: bool = False) -> list[HistoryView]:
        rows = [row for row in self.past if row.missed or not missed]
        return rows[:limit]

    async def see_missed(self, call_ids: Sequence[str]) -> None:
        self.past = [msgspec.structs.replace(row, seen=row.seen or row.id in call_ids) for row in self.past]

    def create_invite(self, *, once: bool, expires: float) -> str:
        return f"meshcall:{OWN_ID.text}#{'a' * 26}"

    async def accept_invite(self, text: str) -> ContactView:
        return self.contacts.add(text, "inviter")

    def events(self) -> Subscription[NodeEvent]:
        return Subscription(self.queues)
