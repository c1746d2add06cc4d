"""How large a member without a page asks the others to be."""

from meshcall import limits
from meshcall.media.layers import LADDER, Layer
from meshcall.room.crowd import TILE, WHOLE, shown


def test_a_few_are_shown_whole_and_a_crowd_in_tiles() -> None:
    """The border is the page's: half of the pictures beyond four people."""
    assert [shown(people, whole=False) for people in (1, 2, 4, 5, 16)] == [WHOLE, WHOLE, WHOLE, TILE, TILE]


def test_who_records_each_by_itself_gets_all_there_is() -> None:
    """A recording is looked at later, and larger."""
    assert shown(limits.ROOM_MEMBERS_MAX, whole=True) == WHOLE


def test_both_sizes_are_layers_that_are_sent() -> None:
    """Anything else would cost every sender an encoder of its own, or be rounded down."""
    assert LADDER[0] == Layer(*WHOLE)
    assert Layer(*TILE) in LADDER
