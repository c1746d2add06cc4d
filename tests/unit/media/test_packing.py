"""How much sound goes into one packet."""

from __future__ import annotations

from meshcall.media.packing import frames_for, packets_of


def test_more_peers_get_fewer_packets() -> None:
    """Twenty milliseconds among few, sixty at most."""
    assert [frames_for(peers, 0.0) for peers in (0, 1, 3, 4, 5, 6, 15)] == [1, 1, 1, 2, 2, 3, 3]


def test_who_loses_packets_gets_short_ones() -> None:
    """From the loss on at which each is sent twice."""
    assert [frames_for(15, loss) for loss in (0.0, 0.009, 0.01, 1.0)] == [3, 3, 1, 1]


def test_frames_that_follow_each_other_are_one_packet() -> None:
    """In order; after a hole, or with another configuration, another one begins."""
    follows = lambda one, other: other == one + 1  # noqa: E731
    assert packets_of([1, 2, 3], follows) == [[1, 2, 3]]
    assert packets_of([1, 3, 4, 7], follows) == [[1], [3, 4], [7]]
    assert packets_of([], follows) == []
