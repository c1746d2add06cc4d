"""Properties of NAT-PMP and PCP: what is written is read as it was meant, and no octets break a reader."""

from __future__ import annotations

import contextlib
import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcall.errors import Rejected
from meshcall.portmap import natpmp, pcp
from meshcall.portmap.mapping import Transport
from meshcall.portmap.ssdp import check_location_untrusted, decode_location_untrusted
from tests.unit.portmap.gateway import SSDP_ANSWER, FakeGateway, packed

PORT, WORD, EPOCH = st.integers(1, 65535), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)
TRANSPORT: st.SearchStrategy[Transport] = st.sampled_from(["udp", "tcp"])
NONCE = st.binary(min_size=12, max_size=12)
ADDRESS = st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).filter(
    lambda ip: isinstance(ip, IPv6Address) and ip.ipv4_mapped is None
).map(str)


@given(
    NONCE, TRANSPORT, PORT, PORT, WORD.filter(bool), EPOCH, ADDRESS, st.integers(0, 255), st.integers(0, 3)
)
def test_answers_of_pcp_are_read_as_they_are_written(
    nonce: bytes, transport: Transport, inside: int, outside: int, life: int, epoch: int, host: str,
    result: int, options: int,
) -> None:  # fmt: skip
    """Every field, both families, any result, with options behind."""
    number = {"udp": 17, "tcp": 6}[transport]
    data = struct.pack("!BBxBII12x", 2, 129, result, life, epoch)
    data += struct.pack("!12sB3xHH16s", nonce, number, inside, outside, packed(host)) + bytes(4 * options)
    answer = pcp.decode_answer_untrusted(data)
    if result == pcp.Result.UNSUPP_VERSION:
        assert answer == pcp.Unsupported(2)
    else:
        assert answer == pcp.Mapped(result, life, epoch, nonce, transport, inside, outside, host)


@given(TRANSPORT, PORT, PORT, WORD.filter(bool), EPOCH, st.ip_addresses(v=4))
def test_answers_of_nat_pmp_are_read_as_they_are_written(
    transport: Transport, inside: int, outside: int, life: int, epoch: int, host: IPv4Address
) -> None:
    """Both kinds."""
    opcode = {"udp": 129, "tcp": 130}[transport]
    mapped = struct.pack("!BBHIHHI", 0, opcode, 0, epoch, inside, outside, life)
    assert natpmp.decode_answer_untrusted(mapped) == natpmp.Mapped(epoch, transport, inside, outside, life)
    address = struct.pack("!BBHI", 0, 128, 0, epoch) + host.packed
    assert natpmp.decode_answer_untrusted(address) == natpmp.ExternalAddress(epoch, str(host))


@given(TRANSPORT, PORT, PORT, st.integers(1, 2**31))
def test_a_gateway_understands_what_we_ask(
    transport: Transport, inside: int, outside: int, life: int
) -> None:
    """One that was written from the RFCs alone; it grants what was asked for."""
    gateway = FakeGateway("pcp", "nat-pmp")
    asked = pcp.encode_map_request(
        "192.168.1.7", bytes(12), transport, inside, lifetime=life, external=("5.9.1.2", outside)
    )
    answer = pcp.decode_answer_untrusted(gateway.answer(asked, 0.0)[0])
    assert answer == pcp.Mapped(0, life, 1000, bytes(12), transport, inside, outside, "5.9.1.2")
    asked = natpmp.encode_map_request(transport, inside, outside, life)
    told = natpmp.decode_answer_untrusted(gateway.answer(asked, 0.0)[0])
    assert told == natpmp.Mapped(1000, transport, inside, outside, life)


@given(st.binary(max_size=120) | st.binary(max_size=60).map(lambda data: b"\2\x81" + data))
def test_any_octets_are_an_answer_or_rejected(data: bytes) -> None:
    """By all three readers."""
    for read in (
        pcp.decode_answer_untrusted,
        natpmp.decode_answer_untrusted,
        lambda octets: decode_location_untrusted(octets, "192.168.1.1"),
        lambda octets: decode_location_untrusted(
            SSDP_ANSWER.replace(b"/rootDesc.xml", octets), "192.168.1.1"
        ),
    ):
        with contextlib.suppress(Rejected):
            read(data)


@given(
    st.text(max_size=300), st.sampled_from(["", "http://", "http://192.168.1.1", "http://192.168.1.1:80/"])
)
def test_a_page_that_is_fetched_is_the_gateways(text: str, head: str) -> None:
    """As the library that fetches it reads the URL."""
    from yarl import URL

    try:
        url = check_location_untrusted(head + text, "192.168.1.1")
    except Rejected:
        return
    assert URL(url).host == "192.168.1.1"
    assert URL(url).scheme == "http"
    assert URL(url).user is None


def test_the_readers_accept_something() -> None:
    """They are not deaf."""
    assert decode_location_untrusted(SSDP_ANSWER, "192.168.1.1")
    with pytest.raises(Rejected):
        decode_location_untrusted(SSDP_ANSWER, "192.168.1.2")
