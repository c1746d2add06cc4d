"""The announcement of a relay: a signed record under keys that everybody can derive.

The keys of an epoch (``RELAY_EPOCH`` seconds, by the wall clock) are ``RELAY_SHARDS`` Ed25519 keys::

    seed = SHA-256("meshcall/1/relay-shard" 0x00 epoch u64 | shard u8)

A relay announces itself under ``RELAY_SHARD_COPIES`` of them, so no storage node has all askers. Since the
keys are no secret, what counts is the inner signature by the key of the relay's DHT node::

     0          32      33               39                57          121
    +----------+-------+----------------+-----------------+-----------+
    | 32       | u8    | 4 + 2          | 16 + 2          | 64        |
    | node key | flags | IPv4, port     | IPv6, port      | signature |
    +----------+-------+----------------+-----------------+-----------+

    flags      which transports: bit 0 UDP, 1 TCP, 2 TLS
    address    where the node is asked (zeros: not by that family)
    signature  Ed25519(node key, "meshcall/1/relay-record" 0x00 outer key | octets 0 to 57)

Law 1: an announcement is good in its epoch alone, under the key that it was made for.
Law 2: it is a claim: a client believes what the node itself answers (:mod:`meshcall.turn.grant`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from meshcall.address import Address
from meshcall.dht.compact import family, is_impossible, pack_address, unpack_address_untrusted
from meshcall.dht.contact import node_id_of
from meshcall.errors import Rejected
from meshcall.identity.keys import SIGNATURE_LENGTH, SigningKey, sha256, verify_untrusted
from meshcall.limits import RELAY_EPOCH, RELAY_RECORD_TTL, RELAY_SHARD_COPIES, RELAY_SHARDS
from meshcall.record.codec import RELAY_VALUE, Record, RecordType, sign_record, storage_key
from meshcall.turn.client import Transport

_SHARD: Final = b"meshcall/1/relay-shard\0"
_DOMAIN: Final = b"meshcall/1/relay-record"
_FLAGS: Final[dict[Transport, int]] = {"udp": 1, "tcp": 2, "tls": 4}
_ADDRESSES: Final = slice(33, 57)
_SIGNED: Final = RELAY_VALUE - SIGNATURE_LENGTH


@dataclass(frozen=True, slots=True)
class Announcement:
    """A relay that somebody announces."""

    node_id: bytes
    addresses: tuple[Address, ...]
    """Where its node can be asked, one of each family at most."""
    transports: frozenset[Transport]


def epoch_of(now_ms: int) -> int:
    """The epoch at a unix time."""
    return now_ms // (RELAY_EPOCH * 1000)


@lru_cache(maxsize=4 * RELAY_SHARDS)
def _shard_key(epoch: int, shard: int) -> SigningKey:
    return SigningKey.from_seed(sha256(_SHARD, epoch.to_bytes(8, "big"), bytes([shard])))


def shard_storage_key(epoch: int, shard: int) -> bytes:
    """Where the announcements of one shard are."""
    return storage_key(RecordType.RELAY, _shard_key(epoch, shard).public)


def shards_of(node_id: bytes) -> list[int]:
    """Under which shards a node announces its relay."""
    first = node_id[0] % RELAY_SHARDS
    step = RELAY_SHARDS // RELAY_SHARD_COPIES
    return [(first + copy * step) % RELAY_SHARDS for copy in range(RELAY_SHARD_COPIES)]


def announce(
    node_key: SigningKey,
    addresses: Iterable[Address],
    transports: Iterable[Transport],
    *,
    epoch: int,
    shard: int,
    seq: int,
) -> Record:
    """The record of our relay for one shard; raises ValueError when no address is given."""
    packed = {4: bytes(6), 6: bytes(18)}
    for address in addresses:
        packed[family(address)] = pack_address(address)
    if not any(any(octets) for octets in packed.values()):
        raise ValueError("a relay is announced at an address")
    outer = _shard_key(epoch, shard)
    flags = sum(_FLAGS[transport] for transport in set(transports))
    body = node_key.public + bytes([flags]) + packed[4] + packed[6]
    value = body + node_key.sign(_DOMAIN, outer.public + body)
    return sign_record(outer, RecordType.RELAY, seq, RELAY_RECORD_TTL, value)


def read_announcement_untrusted(record: Record) -> Announcement:
    """What ``record`` (checked by its outer key) announces; raises :class:`Rejected`.

    Reasons: ``type``, ``relay`` (no address, or one where nobody can be), ``signature``.
    """
    if record.type is not RecordType.RELAY:
        raise Rejected("type")
    value = record.value
    node_key, flags = value[:32], value[32]
    packed = value[_ADDRESSES]
    addresses = [unpack_address_untrusted(one) for one in (packed[:6], packed[6:]) if any(one)]
    transports = frozenset(name for name, bit in _FLAGS.items() if flags & bit)
    if not addresses or any(map(is_impossible, addresses)) or not transports:
        raise Rejected("relay")
    verify_untrusted(node_key, value[_SIGNED:], _DOMAIN, record.key + value[:_SIGNED])
    return Announcement(node_id_of(node_key), tuple(addresses), transports)
