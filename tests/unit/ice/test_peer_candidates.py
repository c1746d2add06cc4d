"""A peer's candidates have one allowance, however many messages bring them."""

from __future__ import annotations

from collections import Counter

from meshcall import limits
from meshcall.ice.candidate import Candidate, encode_candidates
from meshcall.ice.peer_candidates import PeerCandidates


def host(address: str, port: int = 4242, transport: str = "udp") -> Candidate:
    """A host candidate."""
    return Candidate("host", transport, address, port, 1, tcptype="passive" if transport == "tcp" else "")


def test_all_messages_share_one_allowance() -> None:
    """Later messages bring no new one, neither of addresses nor of ports."""
    counters: Counter[str] = Counter()
    peer = PeerCandidates(counters)
    ports = [peer.more(encode_candidates([host("192.0.2.1", 2000 + n)])) for n in range(10)]
    assert sum(map(len, ports)) == limits.CANDIDATES_PER_ADDRESS_MAX
    kept = [peer.more(encode_candidates([host(f"192.0.2.{n}")])) for n in range(2, 102)]
    assert sum(map(len, kept)) == limits.ICE_REMOTE_CANDIDATES_MAX - limits.CANDIDATES_PER_ADDRESS_MAX
    assert counters["candidate-port-scan"] == 10 - limits.CANDIDATES_PER_ADDRESS_MAX
    assert counters["candidate-too-many"] == 100 - sum(map(len, kept))


def test_what_can_not_be_checked_is_refused() -> None:
    """Loopback, multicast, TCP and octets that are no candidates; loopback is let in where all is alone."""
    counters: Counter[str] = Counter()
    peer = PeerCandidates(counters)
    bad = [host("127.0.0.1"), host("224.0.0.1"), host("192.0.2.1", 53), host("192.0.2.1", 4242, "tcp")]
    assert peer.more(encode_candidates(bad)) == []
    assert peer.more(b"\xff") == []
    assert counters["candidate-malformed"] == 1
    peer.alone([host("192.0.2.9"), host("127.0.0.1")])
    assert peer.more(encode_candidates([host("127.0.0.1")])) == []
    peer.alone([host("127.0.0.1"), host("::1")])
    assert peer.more(encode_candidates([host("127.0.0.1")])) == [host("127.0.0.1")]
