"""What is chosen for a room survives the disk, whatever the disk says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from meshcall.room_options import RoomOptions


def test_options_come_back() -> None:
    """All but the page, which is another one after a restart."""
    kept = RoomOptions("testsrc", Path("/tmp/tea"), Path("/tmp/all"), video=False, lan_only=True)
    assert RoomOptions.decode(replace(kept, page="page").encode()) == kept
    assert RoomOptions.decode(RoomOptions().encode()) == RoomOptions()


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"source": 1}', b'{"record": 7}'])
def test_damage_is_as_if_nothing_had_been_chosen(data: bytes) -> None:
    """It costs no start."""
    assert RoomOptions.decode(data) == RoomOptions()
