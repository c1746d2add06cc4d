"""The frames of the DHT: typed, one datagram each, strict.

Law 1: a frame is decoded whole or Rejected; nothing else is ever raised, whatever the octets.
Law 2: every field has a fixed size or a bound; the only nesting is the list of records in ``Values``.
Law 3: a changed layout is a new kind or a new first octet, never a longer frame of an old kind.

    +0  u8   0x04   version 1; RFC 7983 and RFC 9443 leave 0x04-0x0F free, so the DHT shares its socket
    +1  ..   one MessagePack array: [kind, tid, sender, flags, fields of the kind ...]

``docs/protocol/dht.md`` has the table of kinds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from meshcall.dht.compact import ADDRESS4_SIZE, ADDRESS6_SIZE, NODE4_SIZE, NODE6_SIZE
from meshcall.errors import Rejected
from meshcall.limits import (
    DATAGRAM_MAX,
    DHT_K,
    DHT_VALUES_PER_KEY,
    NODE_ID_SIZE,
    PRESENCE_TTL_MAX,
    RELAY_PROOFS,
)

FIRST_OCTETS: Final = range(0x04, 0x10)
"""The first octets that belong to the DHT."""

VERSION_1: Final = 0x04

TID_SIZE: Final = 8
TOKEN_SIZE: Final = 8
CHALLENGE_SIZE: Final = 16
DIGEST_SIZE: Final = 8
RELAY_KEY_SIZE: Final = 32
RELAY_PROOF_SIZE: Final = 8
RELAY_PROOFS_SIZE: Final = RELAY_PROOFS * RELAY_PROOF_SIZE
SEALED_GRANT_MAX: Final = 512

EPHEMERAL: Final = 0x01
"""Flag: the sender uses the DHT but is not to be put into a table (it may not be reachable)."""

LENDS: Final = 0x02
"""Flag: the sender lends a relay (relay_ask)."""

TransactionId = Annotated[bytes, Meta(min_length=TID_SIZE, max_length=TID_SIZE)]
NodeId = Annotated[bytes, Meta(min_length=NODE_ID_SIZE, max_length=NODE_ID_SIZE)]
Key = NodeId
OptionalKey = Annotated[bytes, Meta(max_length=NODE_ID_SIZE)]
Octet = Annotated[int, Meta(ge=0, le=255)]
Token = Annotated[bytes, Meta(max_length=16)]
PackedAddress = Annotated[bytes, Meta(min_length=ADDRESS4_SIZE, max_length=ADDRESS6_SIZE)]
Nodes4 = Annotated[bytes, Meta(max_length=DHT_K * NODE4_SIZE)]
Nodes6 = Annotated[bytes, Meta(max_length=DHT_K * NODE6_SIZE)]
Digests = Annotated[bytes, Meta(max_length=DHT_VALUES_PER_KEY * DIGEST_SIZE)]
Nonce = Annotated[bytes, Meta(min_length=8, max_length=8)]
Age = Annotated[int, Meta(ge=0, le=PRESENCE_TTL_MAX)]
AGE_SIZE: Final = 2
Ages = Annotated[bytes, Meta(max_length=DHT_VALUES_PER_KEY * AGE_SIZE)]
RecordBytes = Annotated[bytes, Meta(min_length=1, max_length=1024)]
Padding = Annotated[bytes, Meta(max_length=DATAGRAM_MAX)]
Seconds = Annotated[int, Meta(ge=0, le=3600)]
Count = Annotated[int, Meta(ge=0, le=65535)]


class Message(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """What every frame starts with."""

    tid: TransactionId
    sender: NodeId
    flags: Octet


# --- requests -------------------------------------------------------------------------------------


class Request(Message, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """Asks for one reply with the same ``tid``."""


class Ping(Request, tag=1, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """Are you there; with a challenge (16 octets): and is your node id yours."""

    challenge: Annotated[bytes, Meta(max_length=CHALLENGE_SIZE)]
    pad: Padding


class FindNode(Request, tag=2, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """Which nodes do you know that are closest to ``target``."""

    target: Key
    pad: Padding


class FindValue(Request, tag=3, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """The same, and the records under ``target`` of these ``types`` (none: all) that are not in ``have``."""

    target: Key
    types: Annotated[bytes, Meta(max_length=8)]
    have: Digests
    pad: Padding


class Store(Request, tag=4, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """Keep this record until its ttl ends; of that ``age`` seconds have passed (0: it is its owner's)."""

    token: Token
    record: RecordBytes
    age: Age


class Deliver(Request, tag=5, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """Keep this record and push it to whoever watches its key.

    ``reply_watch`` (empty or a key) is watched for the sender from now on; ``reply_token`` lets the receiver
    write to the sender, if it is the sender that watches.
    """

    token: Token
    record: RecordBytes
    reply_watch: OptionalKey
    reply_token: Token


class Watch(Request, tag=6, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """Push me what is delivered under ``key`` for ``lease`` seconds (0: no more).

    ``fresh`` is 1 when the sender has nothing under this key yet and wants what is stored.
    """

    token: Token
    key: Key
    lease: Seconds
    fresh: Annotated[int, Meta(ge=0, le=1)]


class Notify(Request, tag=7, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """A record under a key that you watch here; ``token`` lets you write to me.

    ``age``: seconds since I took the record; 0: it came just now.
    """

    key: Key
    record: RecordBytes
    token: Token
    age: Age


class DialBack(Request, tag=8, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """Have a node of another network say ``nonce`` to the address that this comes from."""

    token: Token
    nonce: Nonce


class Dial(Request, tag=9, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """Say ``nonce`` to ``address``, which asked me for it."""

    token: Token
    nonce: Nonce
    address: PackedAddress


class RelayAsk(Request, tag=10, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """Lend me a relay: credentials sealed to ``key`` (X25519), which is made for this ask alone.

    ``proofs``: that we are a contact of whoever runs the relay, one for each owner that it may be, and random
    octets in the other places (:mod:`meshcall.turn.grant`).
    """

    token: Token
    key: Annotated[bytes, Meta(min_length=RELAY_KEY_SIZE, max_length=RELAY_KEY_SIZE)]
    proofs: Annotated[bytes, Meta(min_length=RELAY_PROOFS_SIZE, max_length=RELAY_PROOFS_SIZE)]


class Vouch(Request, tag=11, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """Did you give ``given``, a token, to whoever is at ``address``: lately, and nobody else."""

    given: Token
    address: PackedAddress


# --- responses ------------------------------------------------------------------------------------


class Response(Message, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """Answers a request; ``observed`` is the address that the request came from."""

    observed: PackedAddress


class Pong(Response, tag=17, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """To ping. Without a challenge, ``node_key`` and ``signature`` are empty."""

    token: Token
    node_key: Annotated[bytes, Meta(max_length=32)]
    signature: Annotated[bytes, Meta(max_length=64)]


class Nodes(Response, tag=18, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """To find_node: a write token and the closest nodes."""

    token: Token
    nodes4: Nodes4
    nodes6: Nodes6


class Values(Response, tag=19, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """To find_value: ``held`` has the digests of all records here, ``values`` those that fit and are new.

    ``ages``: for each value u16, the seconds that have passed of its ttl.
    """

    token: Token
    nodes4: Nodes4
    nodes6: Nodes6
    held: Digests
    values: Annotated[list[RecordBytes], Meta(max_length=DHT_VALUES_PER_KEY)]
    ages: Ages


class Stored(Response, tag=20, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """To store: 1 when the record is kept here now, 0 when it is not wanted."""

    stored: Annotated[int, Meta(ge=0, le=1)]


class Delivered(Response, tag=21, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """To deliver: whether it is kept, how many watchers it was pushed to, how many have it already."""

    stored: Annotated[int, Meta(ge=0, le=1)]
    watchers: Count
    acked: Count


class Watching(Response, tag=22, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """To watch: the lease that was given; 0 when there is no room."""

    lease: Seconds


class Noted(Response, tag=23, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """To notify: 1 when the sender watches that key, 0 to be left alone."""

    watching: Annotated[int, Meta(ge=0, le=1)]


class Dialling(Response, tag=24, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """To dial_back and dial: 1 when it is done or passed on, 0 when it can't be now."""

    dialling: Annotated[int, Meta(ge=0, le=1)]


class RelayGrant(Response, tag=25, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """To relay_ask: credentials and transports, sealed; or empty, and why (``RELAY_...``)."""

    reason: Octet
    sealed: Annotated[bytes, Meta(max_length=SEALED_GRANT_MAX)]


class Vouched(Response, tag=26, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """To vouch: 1 yes, 0 no."""

    vouched: Annotated[int, Meta(ge=0, le=1)]


class Refused(Response, tag=31, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """To any request: not carried out. ``token`` is fresh; after reason 1 (token) it may be repeated."""

    reason: Octet
    token: Token


# --- notices --------------------------------------------------------------------------------------


class Notice(Message, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """Has no answer."""


class Acked(Notice, tag=40, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """So many watchers have acknowledged the record of the deliver with the same ``tid``."""

    acked: Count


class Dialled(Notice, tag=41, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """You can be reached from here: ``nonce`` is what you asked to be told."""

    nonce: Nonce


REFUSED_TOKEN: Final = 1
"""The token was missing, too old or of another address."""

REFUSED_RECORD: Final = 2
"""The record is not valid."""

RELAY_GRANTED: Final = 0
RELAY_OFF: Final = 1
"""This node lends no relay."""
RELAY_BUSY: Final = 2
"""It lends one, but has granted too much lately."""
RELAY_CONTACTS: Final = 3
"""It is more than half full: only its owner's contacts get what is left."""
RELAY_FULL: Final = 4

Frame = (
    Ping
    | FindNode
    | FindValue
    | Store
    | Deliver
    | Watch
    | Notify
    | DialBack
    | Dial
    | RelayAsk
    | Vouch
    | Pong
    | Nodes
    | Values
    | Stored
    | Delivered
    | Watching
    | Noted
    | Dialling
    | RelayGrant
    | Vouched
    | Refused
    | Acked
    | Dialled
)

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)


def encode_frame(message: Message) -> bytes:
    """The datagram that carries ``message``."""
    return b"\x04" + _encoder.encode(message)


_ANSWERS: Final = frozenset({17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 31, 40})
"""Kinds of responses, and of notices that carry the transaction id of a request."""


def response_tid(data: bytes) -> bytes | None:
    """The transaction id of what looks like a response or a notice, read without decoding it: for floods."""
    if len(data) < 3 + 2 + TID_SIZE or data[0] != VERSION_1 or data[2] not in _ANSWERS:
        return None
    return data[5 : 5 + TID_SIZE] if data[3:5] == b"\xc4\x08" else None


def is_push(data: bytes) -> bool:
    """Whether it looks like a notify, read without decoding it: for floods."""
    return len(data) > 2 and data[0] == VERSION_1 and data[2] == 7


def decode_frame_untrusted(data: bytes) -> Frame:
    """The message in a datagram; raises only :class:`Rejected`: size, version or frame."""
    if not 2 <= len(data) <= DATAGRAM_MAX:
        raise Rejected("size")
    if data[0] != VERSION_1:
        raise Rejected("version")
    try:
        message = _decoder.decode(data[1:])
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise Rejected("frame") from error
    is_exact = _EXACT.get(type(message))
    if is_exact is not None and not is_exact(message):
        raise Rejected("frame")
    return message


_ADDRESS_SIZES: Final = (ADDRESS4_SIZE, ADDRESS6_SIZE)


def _names_address(message: Dial | Vouch) -> bool:
    return len(message.address) in _ADDRESS_SIZES


def _is_exact_response(message: Response) -> bool:
    return len(message.observed) in _ADDRESS_SIZES


def _is_exact_pong(message: Pong) -> bool:
    proof = len(message.node_key), len(message.signature)
    return _is_exact_response(message) and proof in ((0, 0), (32, 64))


def _is_exact_nodes(message: Nodes | Values) -> bool:
    return (
        _is_exact_response(message)
        and len(message.nodes4) % NODE4_SIZE == 0
        and len(message.nodes6) % NODE6_SIZE == 0
    )


def _is_exact_values(message: Values) -> bool:
    return (
        _is_exact_nodes(message)
        and len(message.held) % DIGEST_SIZE == 0
        and len(message.ages) == AGE_SIZE * len(message.values)
    )


_EXACT: Final[dict[type[Message], Callable[[Any], bool]]] = {
    **dict.fromkeys(Response.__subclasses__(), _is_exact_response),
    Pong: _is_exact_pong,
    Nodes: _is_exact_nodes,
    Values: _is_exact_values,
    Ping: lambda message: len(message.challenge) in (0, CHALLENGE_SIZE),
    FindValue: lambda message: len(message.have) % DIGEST_SIZE == 0,
    Deliver: lambda message: len(message.reply_watch) in (0, NODE_ID_SIZE),
    Dial: _names_address,
    Vouch: _names_address,
}
"""By kind: whether the sizes hold that are one of two or go together, and so can't stand in the schema."""


def padding(message: Request, size: int) -> bytes:
    """What goes into the empty ``pad`` of ``message`` so that its frame has ``size`` octets."""
    missing = size - len(encode_frame(message))
    return bytes(max(0, missing - 1 if missing > 255 else missing))


def summary(message: Message) -> str:
    """One phrase for logs: the kind and the sender's short id."""
    return f"{type(message).__name__.lower()} from {message.sender[:4].hex()}"
