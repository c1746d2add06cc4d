"""ICE candidates: octets, SDP lines, and which of a peer's candidates may get packets."""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import replace

import pytest

from meshcall.errors import Rejected
from meshcall.ice.candidate import (
    Candidate,
    CandidatePolicy,
    candidate_line,
    decode_candidates_untrusted,
    encode_candidate,
    encode_candidates,
    filter_untrusted,
    flaw,
    parse_candidate_line,
    refusal,
    select_candidates,
)
from meshcall.limits import CANDIDATES_MAX, CANDIDATES_PER_ADDRESS_MAX

HOST = Candidate("host", "udp", "192.168.1.7", 50000, 2130706431)
MDNS = "c70d5ff6-6d3a-4bd5-9d0e-1f0a3ef0d8a1.local"


def at(address: str, port: int = 50000, kind: str = "host") -> Candidate:
    return Candidate(kind, "udp", address, port, 2130706431)


GOLDEN = [
    ("IPv4 host", HOST, "00 c0a80107 c350 7effffff"),
    ("IPv4 reflexive", Candidate("srflx", "udp", "203.0.113.9", 1024, 1), "40 cb007109 0400 00000001"),
    (
        "IPv6 relay",
        Candidate("relay", "udp", "2001:db8::2", 443, 16777215),
        "c4 20010db8000000000000000000000002 01bb 00ffffff",
    ),
    (
        "mDNS host",
        at(MDNS),
        "08 c70d5ff66d3a4bd59d0e1f0a3ef0d8a1 c350 7effffff",
    ),
    (
        "TCP passive",
        Candidate("host", "tcp", "10.0.0.1", 9999, 5, tcptype="passive"),
        "20 0a000001 270f 00000005",
    ),
]


@pytest.mark.parametrize(("candidate", "octets"), [row[1:] for row in GOLDEN], ids=[row[0] for row in GOLDEN])
def test_golden_octets(candidate: Candidate, octets: str) -> None:
    """Every kind of candidate has exactly these octets, and comes back from them unchanged."""
    assert encode_candidate(candidate) == bytes.fromhex(octets)
    assert decode_candidates_untrusted(bytes.fromhex(octets)) == (candidate,)


def test_a_scope_does_not_travel() -> None:
    """A link-local scope names an interface of one machine only."""
    (decoded,) = decode_candidates_untrusted(encode_candidate(at("fe80::1%eth0")))
    assert decoded.address == "fe80::1"


@pytest.mark.parametrize(
    "octets",
    [
        "00 c0a80107 0000 7effffff",  # port 0
        "00 c0a80107 c350 00000000",  # priority 0
        "00 c0a80107 c350 80000000",  # priority 2**31
        "01 c0a80107 c350 7effffff",  # reserved bit
        "0c c0a80107 c350 7effffff",  # unknown family
        "00 c0a80107 c350 7effff",  # one octet short
        "00 c0a80107 c350 7effffff 00",  # one octet more
        "08 c70d5ff6",  # short UUID
    ],
)
def test_bad_octets_are_rejected(octets: str) -> None:
    """Zero ports and priorities, reserved bits, unknown families and truncation are refused."""
    with pytest.raises(Rejected):
        decode_candidates_untrusted(bytes.fromhex(octets))


def test_at_most_twelve_are_kept() -> None:
    """A peer's longer list is read to its end, and the first twelve stay."""
    many = [at(f"10.0.0.{index}") for index in range(1, 30)]
    assert decode_candidates_untrusted(encode_candidates(many)) == tuple(many[:CANDIDATES_MAX])


def test_a_message_larger_than_a_body_is_rejected() -> None:
    """Size is checked before anything else."""
    with pytest.raises(Rejected, match="size"):
        decode_candidates_untrusted(encode_candidate(HOST) * 60)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "a=candidate:1 1 UDP 2130706431 192.168.1.7 50000 typ host generation 0 network-id 1",
            HOST,
        ),
        (
            "candidate:2 1 udp 1 203.0.113.9 1024 typ srflx raddr 192.168.1.7 rport 50000",
            Candidate("srflx", "udp", "203.0.113.9", 1024, 1),
        ),
        ("3 1 udp 2130706431 2001:DB8:0::2 50000 typ host", at("2001:db8::2")),
        (f"4 1 udp 2130706431 {MDNS} 50000 typ host", at(MDNS)),
        (
            "5 1 tcp 1518214911 192.0.2.2 9 typ host tcptype active",
            Candidate("host", "tcp", "192.0.2.2", 9, 1518214911, tcptype="active"),
        ),
    ],
)
def test_lines_of_our_own_stacks_are_read(line: str, expected: Candidate) -> None:
    """aiortc's and Chromium's lines give the candidate, its foundation and its base."""
    candidate = parse_candidate_line(line)
    assert candidate == expected
    assert candidate.foundation == line.removeprefix("a=").removeprefix("candidate:")[0]


def test_the_base_is_kept_locally() -> None:
    """The related address is known to its owner though it never travels."""
    candidate = parse_candidate_line("2 1 udp 1 203.0.113.9 1024 typ srflx raddr 192.168.1.7 rport 50000")
    assert candidate.related == ("192.168.1.7", 50000)
    (decoded,) = decode_candidates_untrusted(encode_candidate(candidate))
    assert decoded.related is None


@pytest.mark.parametrize("row", [row[1] for row in GOLDEN], ids=[row[0] for row in GOLDEN])
def test_a_line_comes_back(row: Candidate) -> None:
    """What is written as a line is read back as the same candidate."""
    assert parse_candidate_line(candidate_line(row)) == row


def test_a_hidden_base_is_written_as_zeros() -> None:
    """RFC 8839 wants raddr and rport for all but host candidates."""
    assert candidate_line(at("203.0.113.9", kind="srflx")).endswith("typ srflx raddr 0.0.0.0 rport 0")
    assert candidate_line(at("2001:db8::2", kind="relay")).endswith("typ relay raddr :: rport 0")


def test_foundations_are_equal_for_equal_bases_only() -> None:
    """Same kind, transport and address: same foundation; else another."""
    assert at("10.0.0.1", 1).any_foundation == at("10.0.0.1", 2).any_foundation
    assert at("10.0.0.1").any_foundation != at("10.0.0.2").any_foundation
    assert at("10.0.0.1").any_foundation != at("10.0.0.1", kind="srflx").any_foundation


@pytest.mark.parametrize(
    "change",
    [
        {"address": "10.0.0.1\r\na=setup:passive"},
        {"address": "10.0.0.1 50000 typ host"},
        {"address": "example.org"},
        {"address": "evil.local"},
        {"address": "010.0.0.1"},
        {"address": "fe80::1%eth0 x"},
        {"address": "2001:db8::1%eth0"},
        {"address": ""},
        {"foundation": "1\r\na=x"},
        {"foundation": "1" * 33},
        {"kind": "host\r\n"},
        {"transport": "sctp"},
        {"tcptype": "active"},
        {"port": 0},
        {"port": 65536},
        {"priority": 0},
        {"priority": 2**31},
        {"component": 2},
    ],
)
def test_a_flawed_candidate_becomes_neither_line_nor_octets(change: dict[str, object]) -> None:
    """Nothing that could add a line, name a host or leave its range gets through."""
    bad = replace(HOST, **change)  # type: ignore[arg-type]  # wrong values are the point
    assert flaw(bad)
    with pytest.raises(ValueError):
        candidate_line(bad)
    with pytest.raises(ValueError):
        encode_candidate(bad)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "candidate:",
        "1 1 udp 5 10.0.0.1 5",
        "1 1 udp x 10.0.0.1 5 typ host",
        "1 2 udp 5 10.0.0.1 5 typ host",
    ],
)
def test_lines_that_are_not_candidates(line: str) -> None:
    """Short, non-numeric and RTCP lines raise ValueError."""
    with pytest.raises(ValueError):
        parse_candidate_line(line)


NEVER = [
    "0.0.0.0",
    "0.1.2.3",
    "224.0.0.251",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "64:ff9b:1::7f00:1",
    "64:ff9b:1:7f00:0:100::",
    "::",
    "ff02::fb",
    "::ffff:10.0.0.1",
    "::ffff:203.0.113.9",
    "::10.0.0.1",
    "fec0::1",
    "fd00:ec2::254",
    "64:ff9b::a00:1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "fe90::1",
]
EVERYTHING = CandidatePolicy(
    allow_loopback=True, allow_lan=True, allow_mdns=True, link_local_scope="eth0", min_port=1
)


@pytest.mark.parametrize("address", NEVER)
def test_addresses_that_no_policy_allows(address: str) -> None:
    """Unspecified, multicast, broadcast, reserved, mapped, and cloud metadata addresses get no packet."""
    candidate = at(str(ipaddress.ip_address(address)))
    assert refusal(candidate, EVERYTHING) is not None
    assert filter_untrusted([candidate], EVERYTHING) == []


@pytest.mark.parametrize(
    ("address", "policy", "reason"),
    [
        ("127.0.0.1", CandidatePolicy(), "loopback"),
        ("127.8.8.8", CandidatePolicy(allow_loopback=True), None),
        ("::1", CandidatePolicy(), "loopback"),
        ("::1", CandidatePolicy(allow_loopback=True), None),
        ("192.168.1.7", CandidatePolicy(), None),
        ("192.168.1.7", CandidatePolicy(allow_lan=False), "lan"),
        ("100.64.0.9", CandidatePolicy(allow_lan=False), "lan"),
        ("169.254.1.1", CandidatePolicy(), None),
        ("169.254.1.1", CandidatePolicy(allow_lan=False), "lan"),
        ("fd00::1", CandidatePolicy(), None),
        ("fd00::1", CandidatePolicy(allow_lan=False), "lan"),
        ("fe80::1", CandidatePolicy(), "scope"),
        ("fe80::1", CandidatePolicy(link_local_scope="eth0"), None),
        ("fe80::1", CandidatePolicy(link_local_scope="eth0", allow_lan=False), "lan"),
        ("8.8.4.4", CandidatePolicy(allow_lan=False), None),
        ("2606:4700::1111", CandidatePolicy(allow_lan=False), None),
        ("64:ff9b::808:404", CandidatePolicy(allow_lan=False), None),
        (MDNS, CandidatePolicy(), "name"),
        (MDNS, CandidatePolicy(allow_mdns=True), None),
    ],
)
def test_ranges_that_depend_on_the_policy(address: str, policy: CandidatePolicy, reason: str | None) -> None:
    """Loopback, LAN, link-local and names are allowed only where the policy says so."""
    assert refusal(at(address), policy) == reason


def test_a_link_local_candidate_gets_the_scope_of_the_interface() -> None:
    """Without it the address can't be sent to."""
    (kept,) = filter_untrusted([at("fe80::1")], CandidatePolicy(link_local_scope="eth0"))
    assert kept.address == "fe80::1%eth0"


def test_the_filter_drops_duplicates_port_scans_low_ports_and_the_thirteenth() -> None:
    """Each refusal is counted by its reason, and the rest keeps its order."""
    counters: Counter[str] = Counter()
    scan = [at("8.8.4.4", port) for port in range(2000, 2000 + CANDIDATES_PER_ADDRESS_MAX + 3)]
    others = [at(f"10.0.0.{index}") for index in range(1, 20)]
    low = at("8.8.8.8", 1023)
    active = Candidate("host", "tcp", "10.9.9.9", 9, 5, tcptype="active")
    kept = filter_untrusted([scan[0], low, active, *scan, *others], CandidatePolicy(), counters)
    assert len(kept) == CANDIDATES_MAX
    assert kept[:5] == [*scan[:CANDIDATES_PER_ADDRESS_MAX], others[0]]
    assert counters == {
        "port": 1,
        "transport": 1,
        "duplicate": 1,
        "port-scan": 3,
        "too-many": 19 - (CANDIDATES_MAX - CANDIDATES_PER_ADDRESS_MAX),
    }


def test_choosing_keeps_one_of_every_kind_and_family() -> None:
    """Ten virtual interfaces don't push out the relay or IPv6; the best of each comes first."""
    hosts = [Candidate("host", "udp", f"10.0.{index}.1", 5000, 2130706431 - index) for index in range(20)]
    srflx = Candidate("srflx", "udp", "203.0.113.9", 5000, 1694498815)
    relay = Candidate("relay", "udp", "203.0.113.1", 5000, 16777215)
    v6 = Candidate("host", "udp", "2001:db8::1", 5000, 2130706000)
    chosen = select_candidates([*hosts, *hosts, srflx, relay, v6])
    assert len(chosen) == CANDIDATES_MAX
    assert {srflx, relay, v6, hosts[0]} <= set(chosen)
    assert list(chosen) == sorted(chosen, key=lambda item: -item.priority)
