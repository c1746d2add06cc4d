"""A peer's candidates and notes have one allowance, however many messages bring them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from meshcall import limits
from meshcall.ice.candidate import Candidate, encode_candidates
from meshcall.ice.nat import Filtering, Mapping, Ports
from meshcall.ice.notes import NatNote, Note
from meshcall.ice.peer_candidates import PeerCandidates


class Taken:
    """Who would check them."""

    def __init__(self) -> None:
        self.candidates: list[Candidate] = []
        self.notes: list[Note] = []

    def add_remote(self, candidates: Iterable[Candidate]) -> None:
        """Note them."""
        self.candidates += candidates

    def add_notes(self, notes: Iterable[Note]) -> None:
        """Note them."""
        self.notes += notes


def host(address: str, port: int = 4242, transport: str = "udp") -> Candidate:
    """A host candidate."""
    return Candidate("host", transport, address, port, 1, tcptype="passive" if transport == "tcp" else "")


def test_all_messages_share_one_allowance() -> None:
    """Later messages bring no new one, neither of addresses nor of ports nor of notes."""
    counters: Counter[str] = Counter()
    peer, taken = PeerCandidates(counters), Taken()
    note = NatNote(Mapping.EIM, Filtering.ADF, Ports.PRESERVING)
    for number in range(10):
        peer.hand_to(taken, encode_candidates([host("192.0.2.1", 2000 + number)]))
    assert len(taken.candidates) == limits.CANDIDATES_PER_ADDRESS_MAX
    for number in range(2, 102):
        peer.hand_to(taken, encode_candidates([host(f"192.0.2.{number}")], [note]))
    assert len(taken.candidates) == limits.ICE_REMOTE_CANDIDATES_MAX
    assert taken.notes == [note] * limits.NOTES_PER_CALL_MAX
    assert counters["candidate-port-scan"] == 10 - limits.CANDIDATES_PER_ADDRESS_MAX
    assert counters["candidate-too-many"] > 0


def test_what_can_not_be_checked_is_refused() -> None:
    """Loopback, multicast, TCP and octets that are no candidates; loopback is let in where all is alone."""
    counters: Counter[str] = Counter()
    peer, taken = PeerCandidates(counters), Taken()
    bad = [host("127.0.0.1"), host("224.0.0.1"), host("192.0.2.1", 53), host("192.0.2.1", 4242, "tcp")]
    peer.hand_to(taken, encode_candidates(bad))
    peer.hand_to(taken, b"\xff")
    assert taken.candidates == []
    assert counters["candidate-malformed"] == 1
    peer.alone([host("192.0.2.9"), host("127.0.0.1")])
    peer.hand_to(taken, encode_candidates([host("127.0.0.1")]))
    assert taken.candidates == []
    peer.alone([host("127.0.0.1"), host("::1")])
    peer.hand_to(taken, encode_candidates([host("127.0.0.1")]))
    assert taken.candidates == [host("127.0.0.1")]
