"""What a node says of its network: only what something has shown."""

from __future__ import annotations

import pytest

from meshcall import surroundings
from meshcall.address import Address
from meshcall.ice.nat import NatView
from meshcall.views import RungView

SILENT = RungView(rung="hosts", tries=2, asked=4, answered=0)
HEARD = RungView(rung="saved", tries=1, asked=4, answered=3)
LAN = RungView(rung="lan", tries=1, asked=2, answered=0)


@pytest.mark.parametrize(
    ("observed", "rungs", "udp"),
    [
        ([("5.2.1.2", 4000)], [SILENT], True),
        ([("192.168.1.2", 4000)], [], None),
        ([], [SILENT], False),
        ([], [SILENT, LAN], False),
        ([], [SILENT, HEARD], None),
        ([], [LAN], None),
        ([], [], None),
    ],
)
def test_udp_is_blocked_when_all_were_asked_and_none_answers(
    observed: list[Address], rungs: list[RungView], udp: bool | None
) -> None:
    """And works when somebody on the internet has seen us; else nothing is said."""
    network = surroundings.look(
        observed=observed, rungs=rungs, nat=NatView(), port_mapping="asking", relays=0
    )
    assert network.udp is udp
    assert network.port_mapped is None


@pytest.mark.parametrize(
    ("state", "mapped"),
    [("mapped", True), ("needless", True), ("refused", False), ("no-gateway", False), ("off", None)],
)
def test_a_port_is_mapped_or_not_or_nobody_knows(state: str, mapped: bool | None) -> None:
    """Who switched it off is not told to switch on his router's."""
    network = surroundings.look(observed=[], rungs=[], nat=NatView(), port_mapping=state, relays=None)
    assert network.port_mapped is mapped
