"""How much sound goes into one packet."""

from __future__ import annotations

from meshcall.media.packing import Packing, frames_for


def test_more_peers_get_fewer_packets() -> None:
    """Twenty milliseconds among few, sixty at most."""
    assert [frames_for(peers, 0.0) for peers in (0, 1, 3, 4, 5, 6, 15)] == [1, 1, 1, 2, 2, 3, 3]


def test_who_loses_packets_gets_short_ones() -> None:
    """From the loss on at which each is sent twice."""
    assert [frames_for(15, loss) for loss in (0.0, 0.009, 0.01, 1.0)] == [3, 3, 1, 1]


def test_a_full_packet_leaves() -> None:
    """In order, whatever the size is meanwhile."""
    packing: Packing[int] = Packing(lambda one, other: other == one + 1)
    assert packing.add([1], 1) == [[1]]
    assert packing.add([2], 3) == []
    assert packing.add([3], 3) == []
    assert packing.add([4], 3) == [[2, 3, 4]]
    assert packing.add([5], 3) == []
    assert packing.add([6], 1) == [[5, 6]]


def test_what_does_not_follow_is_in_another_packet() -> None:
    """After a hole, or with another configuration."""
    packing: Packing[int] = Packing(lambda one, other: other == one + 1)
    assert packing.add([1, 3, 4, 7], 3) == [[1], [3, 4]]
    assert packing.flush() == [[7]]
    assert packing.flush() == []
