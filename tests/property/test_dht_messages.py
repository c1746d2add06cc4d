"""Properties of the DHT's frames: they come back, and no octets break the reader."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcall.address import Address
from meshcall.dht import DhtEngine
from meshcall.dht import messages as m
from meshcall.dht.compact import (
    is_martian,
    pack_address,
    pack_nodes,
    unpack_address_untrusted,
    unpack_nodes_untrusted,
)
from meshcall.dht.saved import decode_table_untrusted
from meshcall.errors import Rejected
from meshcall.identity.keys import SigningKey
from meshcall.limits import DATAGRAM_MAX
from meshcall.testing import seeded_random


def exactly(size: int) -> st.SearchStrategy[bytes]:
    """Octets of one size."""
    return st.binary(min_size=size, max_size=size)


ID, TID, FLAGS = exactly(20), exactly(8), st.integers(0, 255)
TOKEN = st.binary(max_size=16)
RECORD = st.binary(min_size=1, max_size=400)
SEEN = exactly(6) | exactly(18)
NODES4 = st.integers(0, 20).flatmap(lambda n: exactly(26 * n))
NODES6 = st.integers(0, 5).flatmap(lambda n: exactly(38 * n))
DIGESTS = st.integers(0, 16).flatmap(lambda n: exactly(8 * n))
BIT = st.integers(0, 1)
AGE = st.integers(0, 7200)

FRAMES: st.SearchStrategy[m.Frame] = st.one_of(
    st.builds(m.Ping, TID, ID, FLAGS, exactly(0) | exactly(16), st.binary(max_size=100)),
    st.builds(m.FindNode, TID, ID, FLAGS, ID, st.binary(max_size=400)),
    st.builds(m.FindValue, TID, ID, FLAGS, ID, st.binary(max_size=8), DIGESTS, st.binary(max_size=400)),
    st.builds(m.Store, TID, ID, FLAGS, TOKEN, RECORD, AGE),
    st.builds(m.Deliver, TID, ID, FLAGS, TOKEN, RECORD, exactly(0) | ID, TOKEN),
    st.builds(m.Watch, TID, ID, FLAGS, TOKEN, ID, st.integers(0, 3600), BIT),
    st.builds(m.Notify, TID, ID, FLAGS, ID, RECORD, TOKEN, AGE),
    st.builds(m.Pong, TID, ID, FLAGS, SEEN, TOKEN, exactly(32), exactly(64)),
    st.builds(m.Nodes, TID, ID, FLAGS, SEEN, TOKEN, NODES4, NODES6),
    st.builds(
        m.Values,
        TID,
        ID,
        FLAGS,
        SEEN,
        TOKEN,
        exactly(26),
        exactly(38),
        DIGESTS,
        st.tuples(RECORD, RECORD).map(list),
        exactly(4),
    ),
    st.builds(m.Stored, TID, ID, FLAGS, SEEN, BIT),
    st.builds(m.Delivered, TID, ID, FLAGS, SEEN, BIT, st.integers(0, 65535), st.integers(0, 65535)),
    st.builds(m.DialBack, TID, ID, FLAGS, TOKEN, exactly(8)),
    st.builds(m.Dial, TID, ID, FLAGS, TOKEN, exactly(8), SEEN),
    st.builds(m.RelayAsk, TID, ID, FLAGS, TOKEN, exactly(32), exactly(240)),
    st.builds(m.RelayGrant, TID, ID, FLAGS, SEEN, FLAGS, st.binary(max_size=512)),
    st.builds(m.Dialling, TID, ID, FLAGS, SEEN, BIT),
    st.builds(m.Vouch, TID, ID, FLAGS, TOKEN, SEEN),
    st.builds(m.Vouched, TID, ID, FLAGS, SEEN, BIT),
    st.builds(m.Dialled, TID, ID, FLAGS, exactly(8)),
    st.builds(m.Acked, TID, ID, FLAGS, st.integers(0, 65535)),
    st.builds(m.Watching, TID, ID, FLAGS, SEEN, st.integers(0, 3600)),
    st.builds(m.Noted, TID, ID, FLAGS, SEEN, BIT),
    st.builds(m.Refused, TID, ID, FLAGS, SEEN, FLAGS, TOKEN),
)
ADDRESSES = st.tuples(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str), st.integers(0, 65535))
ENGINE = DhtEngine(SigningKey.from_seed(bytes(32)), random=seeded_random(1), now=0.0, router=True)


@given(FRAMES)
def test_every_frame_comes_back(frame: m.Frame) -> None:
    """What is written is read as the same, if it fits a datagram."""
    data = m.encode_frame(frame)
    if len(data) <= DATAGRAM_MAX:
        assert m.decode_frame_untrusted(data) == frame


@given(FRAMES, st.data())
def test_one_wrong_octet_gives_a_frame_or_a_rejection(frame: m.Frame, data: st.DataObject) -> None:
    """Nothing else is raised; and what is read writes back as what was sent."""
    octets = bytearray(m.encode_frame(frame))
    octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = m.decode_frame_untrusted(bytes(octets))
    except Rejected as rejected:
        reason = rejected.reason
    else:
        assert m.decode_frame_untrusted(m.encode_frame(read)) == read
        return
    assert reason in ("size", "version", "frame")


@given(st.binary(max_size=1300).map(lambda tail: b"\x04" + tail), ADDRESSES)
def test_no_octets_raise_in_the_engine(data: bytes, address: Address) -> None:
    """Whatever comes from wherever, ``receive`` returns, and somebody counts it."""
    before = sum(ENGINE.statistics().counters.values())
    ENGINE.receive(data, address, 1.0)
    assert sum(ENGINE.statistics().counters.values()) > before
    ENGINE.transmits()


@given(FRAMES, ADDRESSES)
def test_no_frame_raises_in_the_engine(frame: m.Frame, address: Address) -> None:
    """Well-formed frames with any content, from any address."""
    ENGINE.receive(m.encode_frame(frame), address, 1.0)
    assert all(len(data) <= DATAGRAM_MAX for data, _ in ENGINE.transmits())
    assert ENGINE.contacts() == []


@given(ADDRESSES)
def test_addresses_come_back(address: Address) -> None:
    """6 or 18 octets, and the same address again."""
    packed = pack_address(address)
    assert len(packed) in (6, 18)
    assert unpack_address_untrusted(packed) == address


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_no_octets_break_the_readers(four: bytes, six: bytes) -> None:
    """Rejected, or nodes that write back as they were."""
    for data in (four, six):
        with pytest.raises(Rejected, match="state"):
            decode_table_untrusted(data)
    try:
        nodes = unpack_nodes_untrusted(four, six)
    except Rejected:
        assert len(four) % 26 or len(six) % 38
    else:
        assert pack_nodes(nodes) == (four, six)


@given(ADDRESSES, ADDRESSES)
def test_whoever_is_public_names_only_public_addresses(address: Address, teller: Address) -> None:
    """A verdict for every pair, and never a way into a LAN from outside."""
    verdict = is_martian(address, teller)
    assert verdict in (True, False)
    assert is_martian(("10.0.0.1", 1), ("8.8.8.8", 1))
