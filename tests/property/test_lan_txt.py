"""TXT records: whatever is written is read back, and whatever is read raises Rejected at most."""

from __future__ import annotations

import contextlib
import unicodedata
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from meshcall import limits
from meshcall.discovery.lan import (
    LanAnnouncement,
    addresses_untrusted,
    decode_txt_untrusted,
    encode_txt,
)
from meshcall.errors import Rejected
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId

peers = st.integers(0, 255).map(lambda n: PeerId.from_key(SigningKey.from_seed(bytes([n]) * 32).public))
announcements = st.builds(
    lambda peer, now_ms, visible, name: LanAnnouncement.of(peer, now_ms, visible=visible, name=name),
    peers, st.integers(0, 2**45), st.booleans(), st.text(max_size=100),
)  # fmt: skip
strings = st.lists(
    st.one_of(
        st.binary(max_size=70),
        st.tuples(st.sampled_from([b"v=", b"h=", b"i=", b"n=", b"="]), st.binary(max_size=70)).map(b"".join),
        st.sampled_from([b"v=1", b"h=0123456789abcdef", b"i=" + b"a" * 56]),
    ),
    max_size=8,
)  # fmt: skip


@given(announcements)
def test_what_is_written_is_read(announcement: LanAnnouncement) -> None:
    """For every peer, day and name."""
    data = encode_txt(announcement)
    assert len(data) <= limits.LAN_TXT_MAX
    assert decode_txt_untrusted(data) == announcement


@given(
    st.one_of(st.binary(max_size=500), strings.map(lambda row: b"".join(bytes([len(s)]) + s for s in row)))
)
def test_any_octets_are_read_or_rejected(data: bytes) -> None:
    """And what is read is within bounds and can be written."""
    with contextlib.suppress(Rejected):
        announcement = decode_txt_untrusted(data)
        assert len(announcement.hint) == 8
        assert len(announcement.name.encode()) <= limits.LAN_NAME_MAX
        assert not announcement.name or announcement.visible is not None
        assert decode_txt_untrusted(encode_txt(announcement)) == announcement


@given(announcements, st.data())
def test_a_changed_record_is_read_or_rejected(announcement: LanAnnouncement, data: st.DataObject) -> None:
    """Every octet of a good one may be any other, and it may end anywhere."""
    octets = bytearray(encode_txt(announcement))
    octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(octets[: data.draw(st.integers(0, len(octets)))])
    for changed in (bytes(octets), cut):
        with contextlib.suppress(Rejected):
            assert len(decode_txt_untrusted(changed).hint) == 8


@given(announcements.filter(lambda one: one.visible is not None), st.text(max_size=40))
def test_a_name_that_is_read_can_be_shown_on_a_terminal(announcement: LanAnnouncement, name: str) -> None:
    """Whatever somebody writes: no control, format or unassigned character gets through, and it fits."""
    with contextlib.suppress(Rejected):
        read = decode_txt_untrusted(encode_txt(replace(announcement, name=name))).name
        assert len(read.encode()) <= limits.LAN_NAME_MAX
        assert not [c for c in read if unicodedata.category(c)[0] == "C"]


@given(
    st.lists(
        st.one_of(
            st.ip_addresses().map(str), st.text(max_size=30), st.sampled_from(["fe80::1%4", "10.0.0.1"])
        ),
        max_size=20,
    ),
    st.integers(-1, 70000),
)
def test_any_addresses_are_filtered_without_fail(ips: list[str], port: int) -> None:
    """Capped, unique, and of real ports."""
    found = addresses_untrusted(ips, port, ["192.168.1.7/24", "fd00::7/64"])
    assert len(found) == len(set(found)) <= limits.LAN_ADDRESSES_MAX
    assert all(0 < one < 65536 for _, one in found)
