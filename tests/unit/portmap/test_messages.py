"""NAT-PMP, PCP and SSDP messages: as the RFCs draw them, and what is refused."""

from __future__ import annotations

import pytest

from meshcall.errors import Rejected
from meshcall.portmap import natpmp, pcp
from meshcall.portmap.epoch import Epoch
from meshcall.portmap.ssdp import check_location_untrusted, decode_location_untrusted, encode_searches
from tests.unit.portmap.gateway import SSDP_ANSWER

NONCE = bytes(range(12))


def test_nat_pmp_requests_as_drawn() -> None:
    """RFC 6886 sections 3.2 and 3.3, octet by octet; removing has port and life 0 (section 3.4)."""
    assert natpmp.encode_address_request().hex() == "0000"
    mapping = natpmp.encode_map_request("udp", 4242, 4243, 7200)
    assert mapping.hex() == "00010000" + "1092" + "1093" + "00001c20"
    assert natpmp.encode_map_request("tcp", 4242, 0, 0).hex() == "00020000" + "1092" + "0000" + "00000000"


def test_nat_pmp_answers_as_drawn() -> None:
    """RFC 6886 sections 3.2, 3.3 and 3.5."""
    assert natpmp.decode_answer_untrusted(
        bytes.fromhex("00800000" + "00000102" + "05090102")
    ) == natpmp.ExternalAddress(258, "5.9.1.2")
    assert natpmp.decode_answer_untrusted(
        bytes.fromhex("00810000" + "00000102" + "1092" + "1093" + "00001c20")
    ) == natpmp.Mapped(258, "udp", 4242, 4243, 7200)
    for octets in ("00820002" + "00000102", "00820002" + "00000102" + "00" * 8):
        assert natpmp.decode_answer_untrusted(bytes.fromhex(octets)) == natpmp.Failure(
            2, natpmp.Result.NOT_AUTHORIZED, 258
        )


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        ("", "size"),
        ("0080000000000102", "size"),  # a success without an address
        ("008000000000010205090102" + "00" * 8, "size"),
        ("028000000000010205090102", "version"),
        ("000000000000010205090102", "opcode"),  # a request
        ("008300000000010205090102", "opcode"),
        ("00810000" + "00000102" + "1092" + "0000" + "00001c20", "port"),
    ],
)
def test_malformed_nat_pmp_is_refused(octets: str, reason: str) -> None:
    """Whatever is not drawn in the RFC."""
    with pytest.raises(Rejected, match=reason):
        natpmp.decode_answer_untrusted(bytes.fromhex(octets))


def test_pcp_requests_as_drawn() -> None:
    """RFC 6887 figures 2, 9 and section 14.1.1: 60 octets for MAP, 24 for ANNOUNCE; IPv4 as mapped IPv6."""
    client = "00000000000000000000ffffc0a80107"
    assert pcp.encode_announce_request("192.168.1.7").hex() == "02000000" + "00000000" + client
    asked = pcp.encode_map_request("192.168.1.7", NONCE, "udp", 4242, lifetime=7200)
    assert asked.hex() == (
        "02010000" + "00001c20" + client + NONCE.hex() + "11000000" + "1092" + "1092"
        "00000000000000000000ffff00000000"
    )  # fmt: skip
    again = pcp.encode_map_request(
        "192.168.1.7", NONCE, "tcp", 4242, lifetime=7200, external=("5.9.1.2", 5000)
    )
    assert again[36:].hex() == "06000000" + "1092" + "1388" + "00000000000000000000ffff05090102"
    removed = pcp.encode_map_request("192.168.1.7", NONCE, "udp", 4242, lifetime=0)
    assert removed[4:8] == bytes(4)
    assert removed[42:].hex() == "0000" + "00000000000000000000ffff00000000"
    pinhole = pcp.encode_map_request("2a05:d002::7", NONCE, "udp", 4242, lifetime=60)
    assert pinhole[8:24].hex() == "2a05d002000000000000000000000007"
    assert pinhole[44:] == bytes(16)


def test_pcp_answers_as_drawn() -> None:
    """RFC 6887 figures 3 and 10; options are skipped."""
    body = NONCE.hex() + "11000000" + "1092" + "1388" + "00000000000000000000ffff05090102"
    head = "02810000" + "00000e10" + "00000102" + "00" * 12
    mapped = pcp.Mapped(0, 3600, 258, NONCE, "udp", 4242, 5000, "5.9.1.2")
    assert pcp.decode_answer_untrusted(bytes.fromhex(head + body)) == mapped
    assert pcp.decode_answer_untrusted(bytes.fromhex(head + body + "03000004" + "00" * 4)) == mapped
    six = body.replace("00000000000000000000ffff05090102", "2a05d002000000000000000000000007")
    answer = pcp.decode_answer_untrusted(bytes.fromhex(head + six))
    assert isinstance(answer, pcp.Mapped)
    assert answer.address == "2a05:d002::7"
    announced = "02800000" + "00000000" + "00000102" + "00" * 12
    assert pcp.decode_answer_untrusted(bytes.fromhex(announced)) == pcp.Announcement(258)
    refused = head.replace("02810000", "02810002")
    assert pcp.decode_answer_untrusted(bytes.fromhex(refused)) == pcp.Failure(
        pcp.Opcode.MAP, pcp.Result.NOT_AUTHORIZED, 3600, 258
    )


def test_who_speaks_another_version_is_understood() -> None:
    """RFC 6886 section 3.5 and RFC 6887 section 9: version 0 or 2, result 1."""
    assert pcp.decode_answer_untrusted(bytes.fromhex("0081000100000102")) == pcp.Unsupported(0)
    assert pcp.decode_answer_untrusted(bytes.fromhex("02800001" + "00" * 20)) == pcp.Unsupported(2)


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        ("", "size"),
        ("028100", "size"),
        ("02810000" + "00" * 16, "size"),
        ("02810000" + "00" * 21, "size"),  # no multiple of 4
        ("02810000" + "00" * 20, "size"),  # a success without its body
        ("02010000" + "00" * 56, "opcode"),  # a request
        ("02820000" + "00" * 56, "opcode"),  # PEER, which we never ask
        ("01810000" + "00" * 56, "version"),
        ("02810000" + "00000e10" + "00" * 28 + "99000000" + "1092" + "1388" + "00" * 16, "protocol"),
        ("02810000" + "00000e10" + "00" * 28 + "11000000" + "1092" + "0000" + "00" * 16, "port"),
        ("02800000" + "00" * 1200, "size"),
    ],
)
def test_malformed_pcp_is_refused(octets: str, reason: str) -> None:
    """Whatever is not drawn in the RFC."""
    with pytest.raises(Rejected, match=reason):
        pcp.decode_answer_untrusted(bytes.fromhex(octets))


def test_searches_as_the_architecture_says() -> None:
    """UPnP 1.1 section 1.3.2: the multicast one asks for an answer within a second, the other at once."""
    to_all, to_one = encode_searches(None), encode_searches("192.168.1.1")
    assert len(to_all) == len(to_one) == 2
    assert all(one.startswith(b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n") for one in to_all)
    assert all(b"\r\nMX: 1\r\n" in one and one.endswith(b"\r\n\r\n") for one in to_all)
    assert all(b"HOST: 192.168.1.1:1900\r\n" in one and b"MX" not in one for one in to_one)


def test_the_description_of_the_gateway_itself_is_taken() -> None:
    """Any case of the names, with or without a port and a path."""
    assert decode_location_untrusted(SSDP_ANSWER, "192.168.1.1") == "http://192.168.1.1:5000/rootDesc.xml"
    answer = SSDP_ANSWER.replace(
        b"LOCATION: http://192.168.1.1:5000/rootDesc.xml", b"location:http://192.168.1.1"
    )
    assert decode_location_untrusted(answer, "192.168.1.1") == "http://192.168.1.1"


@pytest.mark.parametrize(
    "url",
    [
        "http://192.168.1.2:5000/x",
        "http://127.0.0.1:5000/x",
        "http://169.254.169.254/latest/meta-data/",
        "https://192.168.1.1/x",
        "http://user@192.168.1.1/x",
        "http://192.168.1.1@127.0.0.1/x",
        "http://192.168.1.1.example.com/x",
        "http://router/x",
        "http://192.168.1.1:99999/x",
        "http://192.168.1.1:0/x",
        "http://192.168.1.1:80/x y",
        "http://192.168.1.1/\u00e9",
        "http://[::1]/x",
        "http://3232235777/x",
        "file:///etc/passwd",
        "",
        "http://192.168.1.1/" + "x" * 300,
    ],
)
def test_no_other_page_is_ever_fetched(url: str) -> None:
    """Other hosts, other schemes, names, users: all refused before anything is opened."""
    with pytest.raises(Rejected):
        check_location_untrusted(url, "192.168.1.1")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 100,
        SSDP_ANSWER.replace(b"200 OK", b"404 Not Found"),
        SSDP_ANSWER.replace(b"InternetGatewayDevice", b"MediaRenderer"),
        SSDP_ANSWER.replace(b"LOCATION", b"ELSEWHERE"),
        SSDP_ANSWER.replace(b"HTTP/1.1 200 OK", b"NOTIFY * HTTP/1.1"),
        SSDP_ANSWER + b"x" * 3000,
    ],
)
def test_what_answers_no_search_is_refused(data: bytes) -> None:
    """Other devices, other messages, too much."""
    with pytest.raises(Rejected):
        decode_location_untrusted(data, "192.168.1.1")


def test_a_reboot_is_seen_in_the_epoch() -> None:
    """RFC 6887 section 8.5: counts that go on are fine, also if clocks run unlike; jumps are not."""
    for later, passed, lost in (
        (100, 0.0, False),
        (160, 60.0, False),
        (158, 60.0, False),
        (3500, 3300.0, False),
        (99, 0.5, False),
        (98, 0.5, True),
        (0, 60.0, True),
        (103, 60.0, True),
        (400, 60.0, True),
    ):
        epoch = Epoch()
        assert not epoch.is_lost(100, 1000.0)
        assert epoch.is_lost(later, 1000.0 + passed) is lost, (later, passed)
