"""What a node tells others about itself: frozen values that hold no secret.

Law 1: a view is a snapshot; nothing in it changes and nothing in it is a live object.
Law 2: the Python API, the local API and ``--json`` show the same fields under the same names.
Law 3: a field may be added; one that was there keeps its name and meaning (``"schema": 1`` in the API).
Times that end in ``_ms`` are unix milliseconds; ``timeline`` holds milliseconds since the call's start.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

SCHEMA: Final = 1
"""The version of every JSON document made from these views."""

PathKind = Literal["", "lan", "direct", "relay"]
"""How the media travels; empty until a candidate pair is selected."""

LayerKind = Literal["camera", "screen"]
"""Which of a peer's pictures."""

CallDirection = Literal["out", "in"]

CallState = Literal[
    "calling", "ringing", "incoming", "connecting", "connected", "degraded", "reconnecting", "ended"
]

Presence = Literal["lan", "dht", "offline", "unknown"]

EndReason = Literal[
    "hangup", "cancelled", "declined", "busy", "no-answer", "offline", "no-path", "peer-gone",
    "confirm-failed", "clock", "unsupported", "media-failed", "failed", "answered-elsewhere", "shutdown",
]  # fmt: skip
"""Why a call ended. A client must accept words it does not know."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all views."""

    def to_dict(self) -> dict[str, Any]:
        """The view as plain JSON values."""
        value: dict[str, Any] = msgspec.to_builtins(self)
        return value


class ErrorView(View, frozen=True, kw_only=True):
    """A :class:`meshcall.errors.MeshcallError` as data."""

    code: str
    message: str
    hint: str | None = None
    exit_code: int = 1
    cause: str = ""
    """Of ``no-path``: ``no-address``, ``no-family``, ``not-chosen``, ``one-way``, ``udp-blocked`` (here),
    ``udp-blocked-there``, ``udp-blocked-both`` or ``nat``."""


# --- settings -------------------------------------------------------------------------------------

SettingOrigin = Literal["option", "stored", "default"]
"""Where a value comes from: the daemon's command line, which goes first; what was set; or nowhere."""


class SettingsView(View, frozen=True, kw_only=True):
    """What people set while the daemon runs."""

    name: str = ""
    """What others are shown as our name, unverified."""
    visible: bool = False
    """People on the LAN who do not know our ID see it, with the name."""
    auto_answer: Literal["off", "contacts", "anyone"] = "off"
    """Which incoming calls are answered without asking."""
    accept_strangers: bool = True
    """Who is no contact may call (and is shown apart)."""
    notifications: bool = True
    """Calls are shown on the desktop while no call page is open."""
    welcomed: bool = False
    """The page's first run is done."""
    origins: dict[str, SettingOrigin] = {}
    """Of each of them, by its name. What comes from an option can't be set while the daemon runs."""


# --- the node -------------------------------------------------------------------------------------


class LanStatus(View, frozen=True, kw_only=True):
    """Discovery on the LAN."""

    enabled: bool
    peers: int = 0
    """meshcall daemons seen now, known or not."""


DhtRole = Literal["router", "ephemeral"]
"""Whether others put the node into their tables."""


class RungView(View, frozen=True, kw_only=True):
    """One way into the DHT, and what it brought since the start."""

    rung: str
    """`saved`, `lan`, `invite`, `hosts` or `mainline`."""
    tries: int = 0
    asked: int = 0
    """Addresses that were asked."""
    answered: int = 0
    """Of these, nodes that proved their id."""


class DhtStatusView(View, frozen=True, kw_only=True):
    """Our DHT node."""

    enabled: bool
    nodes: int = 0
    """Contacts in the routing tables."""
    stored: int = 0
    """Records kept for others."""
    watches: int = 0
    """Leases that we hold at other nodes."""
    role: DhtRole = "ephemeral"
    bootstrap: list[RungView] = []
    """The ways in that were tried."""
    announced: bool = False
    """Whether Mainline tells others that a meshcall router is here."""
    tunnel: str = ""
    """The gateway (`tls:HOST:PORT`) that carries what leaves the LAN, as UDP is blocked; or empty."""


class RelayStatusView(View, frozen=True, kw_only=True):
    """The relay that we lend."""

    enabled: bool
    port: int = 0
    """UDP; TCP and TLS as well, where that could be opened."""
    allocations: int = 0
    """Relayed addresses lent now."""
    streams: int = 0
    """TCP and TLS connections now."""
    to_peers: int = 0
    to_clients: int = 0
    """Octets of data relayed since the start, each way."""


class RelayView(View, frozen=True, kw_only=True):
    """A relay of others that calls of this node may use."""

    address: str
    """Of its node, or the configured server as it was written."""
    transports: list[str]
    """``udp``, ``tcp``, ``tls``."""
    rtt_ms: float | None = None
    """None: it was not measured, or did not answer."""
    of_contact: bool = False
    """A contact lends it."""
    configured: bool = False
    """By ``--ice-server``; otherwise it was found."""


class RelayCredentialsView(View, frozen=True, kw_only=True):
    """What `meshcall relay` shows: what a TURN client is to be told."""

    urls: list[str]
    """``turn:`` and ``turns:`` (RFC 7065)."""
    username: str
    password: str
    expires_ms: int


class PortMappingView(View, frozen=True, kw_only=True):
    """Whether a router lets others in to our UDP port."""

    state: str
    """`mapped`; or why others can't use it: `off`, `needless` (this machine has a public address),
    `no-gateway`, `asking`, `silent`, `refused`, `double-nat` (the router has no public one), `released`."""
    reason: str = ""
    """The same as a sentence; empty if it is mapped."""
    protocol: str = ""
    """`pcp`, `nat-pmp` or `upnp`."""
    external: str = ""
    """HOST:PORT, the router's."""
    gateway: str = ""
    """The router's address on our network."""
    lifetime: int = 0
    """Seconds for which the router granted it; it is renewed before. 0: for ever, or there is none."""
    took_ms: float | None = None
    """From the question to the mapping."""


class RelayCoturnView(View, frozen=True, kw_only=True):
    """What `meshcall relay --coturn` shows."""

    config: str
    """A ``turnserver.conf``. It holds the secret that credentials are made with."""
    lent: bool
    """This daemon grants credentials for it (``--coturn``)."""


class DhtStoredView(View, frozen=True, kw_only=True):
    """What our DHT node keeps for others."""

    records: int
    octets: int
    keys: int
    sources: int
    """Hosts that they came from."""


class DhtWatchView(View, frozen=True, kw_only=True):
    """A key that we watch."""

    key: str
    holders: list[str]
    """The nodes that push to us now, HOST:PORT."""


class DhtLimiterView(View, frozen=True, kw_only=True):
    """How much more our DHT node would answer this moment."""

    senders: int
    """Senders that are counted now, of ``senders_max``."""
    senders_max: int
    reads_left: int
    """Requests without a token."""
    writes_left: int
    """Requests with one."""


class DhtStateView(View, frozen=True, kw_only=True):
    """What `meshcall dht status` shows."""

    enabled: bool
    """False: this node is for its LAN alone; what is below is its node all the same."""
    node_id: str
    """40 hexadecimal digits."""
    role: DhtRole
    why: str
    proofs: int
    """Networks that have reached us."""
    proofs_needed: int
    addresses: list[str]
    """Ours, as most nodes see them."""
    nodes: int
    nodes4: int
    nodes6: int
    buckets: int
    stored: DhtStoredView
    own_watches: list[DhtWatchView]
    watches_held: int
    """Watches that others keep here."""
    operations: int
    open_requests: int
    limiter: DhtLimiterView
    bootstrap: list[str]
    """The configured hosts."""
    restored: int
    """Nodes that the saved table had when the daemon started."""
    saved_ms: int | None
    """When the table was saved last, by this daemon."""
    counters: dict[str, int]


class DhtNodeView(View, frozen=True, kw_only=True):
    """A node that was asked."""

    node_id: str
    """40 hexadecimal digits; empty: it said none."""
    address: str
    answered: bool
    rtt_ms: float | None
    hop: int
    """1: our node knew it; n + 1: named by one of hop n."""
    closest: bool
    """One of the closest to the key that answered."""
    silent: bool
    """Its time ran out; neither this nor `answered`: the search did not wait for it."""
    values: int
    """Records of the key that it has, as it says."""


class DhtValueView(View, frozen=True, kw_only=True):
    """A record that was found."""

    type: str
    """`presence`, `inbox` or `mailbox`."""
    octets: int
    seq: int
    ttl_s: int
    age_s: int
    """Of these, what has passed, as the node says that had it."""
    at_ms: float
    """When it came, from the start."""
    source: str
    """Who had it; empty: our own node."""
    problem: str
    """Why the peer's presence is not believed; empty: it is, or was not to be read."""


class DhtLookupView(View, frozen=True, kw_only=True):
    """What `meshcall dht lookup` shows."""

    key: str
    """40 hexadecimal digits."""
    peer_id: str
    """Whose presence was looked for; empty: a bare key."""
    asked: list[DhtNodeView]
    """Closest to the key first."""
    requests: int
    hops: int
    first_ms: float | None
    """Until the first value; None: there was none."""
    total_ms: float
    values: list[DhtValueView]
    holders: list[str]
    """If the key is one that we watch: the nodes that hold our watch."""
    watchers_here: int
    """Watches of the key that others keep at our node."""


class DhtPingView(View, frozen=True, kw_only=True):
    """What `meshcall dht ping` shows."""

    address: str
    node_id: str
    rtt_ms: float
    proven: bool
    """It signed our challenge with the key that its id comes from."""
    proof: str
    """`proven`, or why it is not."""
    role: DhtRole
    """As it says."""
    observed: str
    """Our address as it sees it."""
    tries: int


class NodeStatus(View, frozen=True, kw_only=True):
    """What `meshcall status` shows."""

    peer_id: str
    name: str
    port: int
    addresses: list[str]
    lan: LanStatus
    dht: DhtStatusView
    relay: RelayStatusView = RelayStatusView(enabled=False)
    port_mapping: PortMappingView = PortMappingView(state="off")
    relays: int = 0
    """Relays of others that are ready for a call."""
    calls: int
    """Calls that have not ended."""
    rooms: int = 0
    """Rooms that we are in."""
    missed: int = 0
    """Missed calls that nobody has looked at."""
    uptime_s: float
    version: str
    counters: dict[str, int]
    """What was refused, dropped and answered, by reason."""
    warnings: list[str] = []
    """What does not work and what to do about it, one sentence each."""


class PeerView(View, frozen=True, kw_only=True):
    """A contact or a peer on the LAN."""

    peer_id: str
    short: str
    """First 7 characters of the ID: for display, never an address."""
    name: str = ""
    """The name that we gave (contacts only)."""
    self_name: str = ""
    """The name that the peer gives itself, unverified."""
    contact: bool = False
    verified: bool = False
    """Its words were compared, and were the same."""
    blocked: bool = False
    presence: Presence = "unknown"
    addresses: list[str] = []
    last_seen_ms: int | None = None


class ContactView(View, frozen=True, kw_only=True):
    """An entry of the contact book."""

    peer_id: str
    short: str
    name: str
    verified: bool = False
    blocked: bool = False
    added_ms: int = 0


# --- calls ----------------------------------------------------------------------------------------


class MediaTotals(View, frozen=True, kw_only=True):
    """Media that went one way: decoded, or given to the encoder."""

    video_frames: int = 0
    screen_frames: int = 0
    """Of a shared screen."""
    audio_seconds: float = 0.0


class PathStep(View, frozen=True, kw_only=True):
    """The media of a call took another way, or its quality changed."""

    at: float
    """Milliseconds since the call's start."""
    path: PathKind = ""
    """Empty: no path answered."""
    why: str = ""
    """``first``, ``better``, ``nominated``, ``failover``, ``named``, ``revived``: why that one;
    ``lost``: none answers; ``silent``, ``loss``, ``slow``, ``narrow``, ``cpu``: it is degraded; ``well``: it
    is no more.
    """
    local: str = ""
    """Kind of our candidate, ``host``, ``srflx``, ``prflx`` or ``relay``; empty: the quality changed."""
    remote: str = ""
    """Kind of the peer's."""
    ipv6: bool = False


class CallView(View, frozen=True, kw_only=True):
    """A call as `meshcall calls` lists it."""

    id: str
    """32 hexadecimal digits; any unambiguous prefix of 4 or more names the call on the command line."""
    peer_id: str
    name: str = ""
    direction: CallDirection
    state: CallState
    since_ms: int
    path: PathKind = ""
    timeline: dict[str, float] = {}
    reason: str = ""
    """Why it ended; empty while it lives."""
    stranger: bool = False
    """The caller is no contact of ours."""
    paths: list[PathStep] = []
    """Each way that its media took, and why."""
    explanation: str = ""
    """How the media travels, and why that way: a sentence."""
    better: list[str] = []
    """What would make the path a better one."""


class HistoryView(View, frozen=True, kw_only=True):
    """A call of the past, or one that goes on, as `meshcall history` lists it."""

    id: str
    """32 hexadecimal digits. A caller chooses it: with ``peer_id`` it names one call."""
    peer_id: str
    name: str = ""
    direction: CallDirection
    started_ms: int
    connected_ms: int | None = None
    ended_ms: int | None = None
    """None: it has not ended."""
    reason: str = ""
    """Why it ended; of a missed call ``offline`` if this node could not be reached then."""
    path: str = ""
    missed: bool = False
    """It was for us, and nobody took it."""
    seen: bool = False
    """A missed call that somebody has looked at."""
    stranger: bool = False


class CallEventBase(View, frozen=True, kw_only=True, tag_field="event"):
    """Something that happened in a call. ``isinstance`` tells which; in JSON the field ``event`` does."""

    call: str
    """The call's ID."""
    at_ms: int
    """When, unix milliseconds."""


class LookingUp(CallEventBase, frozen=True, kw_only=True, tag="looking-up"):
    """The peer's presence is being looked for."""

    peer_id: str = ""
    name: str = ""


class Calling(CallEventBase, frozen=True, kw_only=True, tag="calling"):
    """The offer is on its way."""

    via: str = ""
    """`lan` or `dht`."""
    by: str = ""
    """What led to the peer: `contact`, the secret that it gave us, or `inbox`, its ID."""
    reached: bool = False
    """A node says that the offer is on the peer's machine; only ``ringing`` is the peer's own word."""


class Ringing(CallEventBase, frozen=True, kw_only=True, tag="ringing"):
    """The peer's machine said that it rings."""


class Incoming(CallEventBase, frozen=True, kw_only=True, tag="incoming"):
    """Somebody calls us."""

    peer_id: str
    name: str = ""
    """Our name for a contact."""
    self_name: str = ""
    """What the caller calls itself, unverified."""
    stranger: bool = False


class Connecting(CallEventBase, frozen=True, kw_only=True, tag="connecting"):
    """Answered; a path is being made."""


class Connected(CallEventBase, frozen=True, kw_only=True, tag="connected"):
    """Both sides have proved who they are; media may flow."""

    path: PathKind = ""
    setup_ms: float | None = None
    timeline: dict[str, float] = {}


class Chat(CallEventBase, frozen=True, kw_only=True, tag="chat"):
    """A line of chat."""

    text: str
    sender: Literal["peer", "me"] = "peer"


class Media(CallEventBase, frozen=True, kw_only=True, tag="media"):
    """The first media of a kind arrived."""

    kind: Literal["audio", "video"]


class PeerMedia(CallEventBase, frozen=True, kw_only=True, tag="peer-media"):
    """What the peer lets be heard and seen now, as it says."""

    audio: bool
    video: bool
    screen: bool


class SourceEnded(CallEventBase, frozen=True, kw_only=True, tag="source-ended"):
    """What we send has come to its end; the call goes on."""

    kind: str = ""


class RecordFailed(CallEventBase, frozen=True, kw_only=True, tag="record-failed"):
    """The recording can't be written any more; the call goes on."""

    message: str = ""


class PathChanged(CallEventBase, frozen=True, kw_only=True, tag="path"):
    """The media takes another path; empty: it takes none now, and all are tried again."""

    path: PathKind
    why: str = ""
    """See :class:`PathStep`."""


class Degraded(CallEventBase, frozen=True, kw_only=True, tag="degraded"):
    """The path is a poor one; or, with an empty ``why``, a good one again."""

    why: Literal["", "silent", "loss", "slow", "narrow", "cpu"] = ""
    """No answer for a second; a tenth of the packets lost; a long round trip; no room for full pictures."""


class Ended(CallEventBase, frozen=True, kw_only=True, tag="ended"):
    """The call is over. Always the last event of a call, and its summary."""

    peer_id: str = ""
    name: str = ""
    direction: CallDirection = "out"
    reason: str
    path: PathKind = ""
    setup_ms: float | None = None
    """From `call` (or from the answer, on the callee's side) to connected; None: it never was."""
    timeline: dict[str, float] = {}
    received: MediaTotals = MediaTotals()
    sent: MediaTotals = MediaTotals()
    codecs: dict[str, str] = {}
    """Kind of media to the codec that was received, such as ``{"audio": "opus", "video": "VP8"}``."""
    record: str | None = None
    """The file that was recorded to."""
    paths: list[PathStep] = []
    """Each way that the media took, and why."""
    explanation: str = ""
    """How the media travelled last, and why that way: a sentence."""
    better: list[str] = []
    """What would have made the path a better one."""
    error: ErrorView | None = None
    """Set when the call did not end as somebody wanted it to."""


# --- rooms ----------------------------------------------------------------------------------------

RoomState = Literal["known", "joining", "waiting", "joined"]
"""known: we were in it and left. waiting: we have knocked, and its members are being asked."""

MemberState = Literal["here", "connecting", "lost"]
"""connecting: here, and there is no link to it yet. lost: it was here, and gives no sign of life now."""


class ReceivedView(View, frozen=True, kw_only=True):
    """What came of a member's media."""

    video_frames: int = 0
    screen_frames: int = 0
    audio_seconds: float = 0.0
    height: int = 0
    """Of the last picture; 0: it is not known."""
    lag_ms: int = 0
    """How long sound waits here before it is played."""
    concealed_ms: int = 0
    """Sound that was made up in the place of what was missing."""
    freezes: int = 0
    """Times that pictures stood still for more than 0.2 s for want of packets."""
    sync_ms: int | None = None
    """How much later sound comes out than the picture of the same moment; None: it is not known."""


class MemberView(View, frozen=True, kw_only=True):
    """Somebody in a room, ourselves too."""

    peer_id: str
    short: str
    name: str
    """As all members are shown it: two that share one are told apart by a number."""
    contact: str = ""
    """The name that we gave it, if it is a contact."""
    me: bool = False
    state: MemberState = "here"
    audio: bool = False
    video: bool = False
    screen: bool = False
    hand: bool = False
    speaking: bool = False
    path: PathKind = ""
    call: str = ""
    """ID of the link with it; empty: there is none."""
    layer: int = -1
    """Height that it is asked for; 0: no picture, -1: not asked (ourselves; all, before a page asks)."""
    received: ReceivedView = ReceivedView()
    verified: bool = False


class BlockedView(View, frozen=True, kw_only=True):
    """Somebody whom we blocked in a room."""

    peer_id: str
    short: str
    name: str = ""
    """What it calls itself, unverified; empty: it was not heard of since we came."""
    contact: str = ""
    """The name that we gave it, if it is a contact."""


class KnockView(View, frozen=True, kw_only=True):
    """Somebody who wants to be let in."""

    peer_id: str
    name: str = ""
    """What it calls itself, unverified."""


class RoomView(View, frozen=True, kw_only=True):
    """A room that we are in, come into or were in."""

    id: str
    """32 hexadecimal digits; of a room that we are not in yet, a number for the waiting."""
    name: str
    state: RoomState
    secret: bool = False
    """Its name is not shown on the LAN."""
    locked: bool = False
    creator: str = ""
    """ID of who made it; empty: not known yet."""
    mine: bool = False
    members: list[MemberView] = []
    knocks: list[KnockView] = []
    blocked: list[BlockedView] = []
    code: str = ""
    """A code of ours that works now."""
    code_ms: int = 0
    """Until when, unix milliseconds."""
    sharing: str = ""
    """The source that this machine shows beside its camera; empty: none."""
    strained: bool = False
    """This machine does not keep up, and asks for smaller pictures, or none, that the others be heard."""
    trouble: str = ""
    """What does not work in it now."""


class LanRoomView(View, frozen=True, kw_only=True):
    """A room on this LAN."""

    tag: str
    """Today's, 16 hexadecimal digits."""
    name: str
    """Empty: it is secret."""
    members: int
    locked: bool = False
    secret: bool = False
    joined: bool = False
    code: bool = False
    """Somebody in it has a code that works now."""


class RoomsView(View, frozen=True, kw_only=True):
    """What `meshcall room list` shows."""

    rooms: list[RoomView]
    """Those that we are in first, then those that we know."""
    here: list[LanRoomView]


class RoomInviteView(View, frozen=True, kw_only=True):
    """A link that leads into a room. Whoever has it gets in: it holds the room's secret."""

    uri: str


class RoomCodeView(View, frozen=True, kw_only=True):
    """A short code to be spoken."""

    code: str
    expires_s: float


class RoomChanged(View, frozen=True, kw_only=True, tag_field="event", tag="room"):
    """A room, its members or their states are others now; at most ten times a second."""

    at_ms: int
    room: RoomView


class RoomChat(View, frozen=True, kw_only=True, tag_field="event", tag="room-chat"):
    """A line of chat in a room."""

    at_ms: int
    """When it was said. A line that was missed at first comes after those that were said later."""
    room: str
    """Its ID."""
    peer_id: str
    name: str
    text: str
    sender: Literal["peer", "me"] = "peer"


class LanRoomsChanged(View, frozen=True, kw_only=True, tag_field="event", tag="lan-rooms"):
    """Other rooms are on this LAN now; at most ten times a second."""

    at_ms: int
    here: list[LanRoomView]


class RoomEnded(View, frozen=True, kw_only=True, tag_field="event", tag="room-ended"):
    """We are not in a room any more, or did not get in."""

    at_ms: int
    room: str
    """Its ID, or the number of the waiting."""
    reason: str
    """``left`` or ``removed``; of the way in: ``admitted`` (the room has an ID of its own now),
    ``no-answer``, ``declined``, ``full``, ``removed``, ``code``, ``busy``, ``gone``, ``not-found``,
    ``given-up``."""


class FindingView(View, frozen=True, kw_only=True):
    """One check of `meshcall doctor`."""

    check: str
    status: str
    """`OK`, `WARN`, `FAIL` or `SKIP`."""
    found: str
    fix: str


class DoctorView(View, frozen=True, kw_only=True):
    """What `meshcall doctor` finds."""

    failed: int
    findings: list[FindingView]


class EmojiView(View, frozen=True, kw_only=True):
    """One of the pictures that two people compare."""

    symbol: str
    word: str
    """In English; the list is that of the Matrix specification."""


class VerificationView(View, frozen=True, kw_only=True):
    """What both people see if nobody is between them."""

    emoji: list[EmojiView]
    """Seven."""
    digits: str
    """The same in another form: three numbers of four digits."""


CallEvent = (
    LookingUp
    | Calling
    | Ringing
    | Incoming
    | Connecting
    | Connected
    | Chat
    | Media
    | PeerMedia
    | SourceEnded
    | RecordFailed
    | PathChanged
    | Degraded
    | Ended
)
"""What ``Call.events()`` yields."""

CallSummary = Ended
"""What ``Call.wait_ended()`` returns."""


class PresenceChanged(View, frozen=True, kw_only=True, tag_field="event", tag="presence"):
    """A peer appeared on the LAN or left it."""

    at_ms: int
    peer: PeerView


class MissedCall(View, frozen=True, kw_only=True, tag_field="event", tag="missed"):
    """A call was missed, now or while this node was off."""

    at_ms: int
    missed: HistoryView


class ContactsChanged(View, frozen=True, kw_only=True, tag_field="event", tag="contacts"):
    """The contact book was changed."""

    at_ms: int


class ContactRequested(View, frozen=True, kw_only=True, tag_field="event", tag="contact-request"):
    """Somebody who was invited became a contact."""

    at_ms: int
    contact: ContactView


class Warned(View, frozen=True, kw_only=True, tag_field="event", tag="warning"):
    """Something works less well than it should."""

    at_ms: int
    message: str


class SettingsChanged(View, frozen=True, kw_only=True, tag_field="event", tag="settings"):
    """Something was set."""

    at_ms: int
    settings: SettingsView


class Lagged(View, frozen=True, kw_only=True, tag_field="event", tag="lagged"):
    """This listener read too slowly and was dropped; ask for the state and listen again."""

    at_ms: int
    dropped: int


NodeEvent = (
    CallEvent
    | MissedCall
    | PresenceChanged
    | ContactsChanged
    | ContactRequested
    | SettingsChanged
    | RoomChanged
    | RoomChat
    | LanRoomsChanged
    | RoomEnded
    | Warned
    | Lagged
)
"""What ``Node.events()`` yields: events of all calls, and of the node itself."""
