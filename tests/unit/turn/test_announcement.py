"""Announcements of relays: what is read, what is refused, and that many share the keys of an epoch."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from meshcall.dht.contact import node_id_of
from meshcall.dht.statistics import DhtStatistics
from meshcall.errors import Rejected
from meshcall.identity.keys import SigningKey
from meshcall.limits import RELAY_EPOCH, RELAY_SHARD_COPIES, RELAY_SHARDS
from meshcall.record.codec import RecordType, sign_record
from meshcall.record.validation import check_record_untrusted
from meshcall.relay_role import lends_by_itself
from meshcall.turn.announcement import (
    _shard_key,
    announce,
    epoch_of,
    read_announcement_untrusted,
    shard_storage_key,
    shards_of,
)
from meshcall.turn.credentials import Credentials
from meshcall.turn.grant import _encode, _proof, contact_key, decode_grant_untrusted
from tests.unit.dht.universe import Universe

VECTORS = Path(__file__).parents[2] / "vectors" / "relay.json"
NODE_KEY = SigningKey.from_seed(b"\x07" * 32)
ADDRESSES = (("46.1.1.1", 4000), ("2a05:d000:1::1", 4000))


def record(**changes: object):  # type: ignore[no-untyped-def]
    """The announcement of this file."""
    given = {"epoch": 500_000, "shard": 1, "seq": 1_800_000_000_000} | changes
    return announce(NODE_KEY, ADDRESSES, ("udp", "tls"), **given)  # type: ignore[arg-type]


def test_an_announcement_is_read_as_it_was_made() -> None:
    """233 octets; valid under its storage key; the node's id, its addresses and transports."""
    made = record()
    octets = made.encode()
    assert len(octets) == 233
    checked = check_record_untrusted(octets, shard_storage_key(500_000, 1))
    announced = read_announcement_untrusted(checked)
    assert announced.node_id == node_id_of(NODE_KEY.public)
    assert announced.addresses == ADDRESSES
    assert announced.transports == {"udp", "tls"}


def test_it_is_good_for_one_key_alone() -> None:
    """The outer keys are no secret: signed anew for another shard or epoch, or changed, it is refused."""
    made = record()
    for epoch, shard in ((500_000, 2), (500_001, 1)):
        moved = sign_record(_shard_key(epoch, shard), RecordType.RELAY, 1, 600, made.value)
        with pytest.raises(Rejected, match="signature"):
            read_announcement_untrusted(moved)
    for at in (0, 32, 33, 40, 60, 120):
        value = made.value[:at] + bytes([made.value[at] ^ 1]) + made.value[at + 1 :]
        with pytest.raises(Rejected):
            read_announcement_untrusted(replace(made, value=value))


@pytest.mark.parametrize(
    "addresses", [(("0.0.0.0", 0),), (("224.0.0.1", 4000),), (("255.255.255.255", 1),)]
)  # fmt: skip
def test_nobody_is_announced_where_nobody_can_be(addresses: tuple[tuple[str, int], ...]) -> None:
    """Impossible addresses are refused, and none at all."""
    try:
        made = announce(NODE_KEY, addresses, ("udp",), epoch=1, shard=0, seq=1)
    except ValueError:
        return
    with pytest.raises(Rejected):
        read_announcement_untrusted(made)


def test_the_keys_are_shared_out() -> None:
    """Each relay is under two keys of four; of many each key has about half; an epoch has its own keys."""
    shares: Counter[int] = Counter()
    for number in range(256):
        shards = shards_of(bytes([number]) * 20)
        assert len(set(shards)) == RELAY_SHARD_COPIES
        shares.update(shards)
    assert set(shares) == set(range(RELAY_SHARDS))
    assert max(shares.values()) == min(shares.values())
    keys = {shard_storage_key(epoch, shard) for epoch in (1, 2) for shard in range(RELAY_SHARDS)}
    assert len(keys) == 2 * RELAY_SHARDS
    assert epoch_of(RELAY_EPOCH * 1000 * 7 + 5) == 7


def state(**changes: object) -> DhtStatistics:
    """Of a node."""
    universe = Universe(1, public=True)
    return replace(universe.at(universe.place(0)).statistics(), **changes)  # type: ignore[arg-type]


def test_a_node_lends_by_itself_only_when_it_is_proven_reachable_without_a_nat() -> None:
    """Routing by proofs, at a public address that is its own; not by its operator's word, nor on a LAN."""
    here = ("46.1.1.1", 4000)
    proven = state(decides=True, routes=True, observed4=here)
    assert lends_by_itself(proven, False, {"46.1.1.1", "10.0.0.1"})
    assert not lends_by_itself(proven, False, {"10.0.0.1"}), "behind a NAT"
    assert not lends_by_itself(proven, True, {"46.1.1.1"}), "a LAN"
    assert not lends_by_itself(replace(proven, routes=False), False, {"46.1.1.1"})
    assert not lends_by_itself(replace(proven, decides=False), False, {"46.1.1.1"})
    private = replace(proven, observed4=("192.168.1.2", 4000))
    assert not lends_by_itself(private, False, {"192.168.1.2"})


def test_golden_octets() -> None:
    """Announcement, proof and grant are written exactly so, and read back as the same."""
    golden = json.loads(VECTORS.read_text(encoding="ascii"))
    told = golden["announcement"]
    node_key = SigningKey.from_seed(bytes.fromhex(told["node_seed"]))
    addresses = tuple((host, port) for host, port in told["addresses"])
    made = announce(
        node_key, addresses, told["transports"], epoch=told["epoch"], shard=told["shard"], seq=told["seq"]
    )
    assert made.encode().hex() == told["record"]
    assert made.storage_key.hex() == told["storage_key"]
    assert shards_of(bytes.fromhex(told["node_id"])) == told["shards"]
    announced = read_announcement_untrusted(check_record_untrusted(bytes.fromhex(told["record"])))
    assert announced.node_id.hex() == told["node_id"]
    assert announced.addresses == addresses
    assert sorted(announced.transports) == told["transports"]

    told = golden["proof"]
    key, node_id = bytes.fromhex(told["key"]), bytes.fromhex(told["node_id"])
    contact = contact_key(bytes.fromhex(told["secret"]))
    assert _proof(contact, key, node_id).hex() == told["proof"]

    told = golden["grant"]
    plain = bytes.fromhex(told["plain"])
    grant = decode_grant_untrusted(plain)
    assert _encode(grant) == plain
    assert grant.credentials == Credentials(told["username"], told["password"])
    assert (grant.life, grant.of_contact) == (told["life"], told["of_contact"])
    assert [list(place) for place in grant.places] == told["places"]
