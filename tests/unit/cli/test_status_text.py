"""What `meshcall status` says of port mapping."""

from __future__ import annotations

import pytest

from meshcall.cli.status import _port_mapping_fields
from meshcall.views import PortMappingView

MAPPED = PortMappingView(state="mapped", protocol="pcp", external="5.9.1.2:4242", gateway="192.168.1.1")
SILENT = PortMappingView(state="silent", reason="the router answers nothing")


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (MAPPED, [("port mapping", "5.9.1.2:4242 by pcp at 192.168.1.1")]),
        (SILENT, [("port mapping", "the router answers nothing")]),
        (PortMappingView(state="off"), []),
        (PortMappingView(state="needless"), []),
    ],
)
def test_port_mapping_is_one_line(view: PortMappingView, said: list[tuple[str, str]]) -> None:
    """Where others reach us and by what; or why not; nothing where there is nothing to tell."""
    assert _port_mapping_fields(view.to_dict()) == said


def test_an_older_daemon_says_nothing_of_it() -> None:
    """Its status has no such field."""
    assert _port_mapping_fields(None) == []
