"""Why a call takes its path, in a sentence, and what would make it a better one."""

from __future__ import annotations

import pytest

from meshcall.call.explanation import explain
from meshcall.call.timeline import PathStep
from meshcall.ice.nat import Mapping, NatView, Ports
from meshcall.ice.network import Network

RANDOM = Network(
    udp=True,
    nat=NatView(mapping=Mapping.APDM, ports=Ports.RANDOM),
    ipv6=False,
    port_mapped=False,
    relays=1,
)
RELAYED = PathStep(10.0, "relay", "first", "relay", "srflx")


def test_a_relayed_call_names_all_that_stands_in_the_way() -> None:
    """And what to do about it."""
    explanation = explain([RELAYED], RANDOM)
    assert explanation.path == (
        "relayed by our relay: your router draws random ports for each destination; UPnP is off;"
        " IPv6 is missing"
    )
    assert explanation.better == ("turn on UPnP, NAT-PMP or PCP in your router", "have IPv6 at both ends")


def test_nothing_is_said_that_is_not_known() -> None:
    """A node that knows nothing of its network blames nobody."""
    explanation = explain([RELAYED], Network())
    assert explanation.path == "relayed by our relay"
    assert explanation.better == ()


def test_a_host_without_udp_is_told_so() -> None:
    """Whatever else could be better."""
    explanation = explain([RELAYED], Network(udp=False))
    assert "UDP is blocked here" in explanation.path
    assert explanation.better == ("allow UDP to the internet in the firewall",)


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        (PathStep(1.0, "lan", "first", "host", "host"),
         "direct over IPv4: both ends are in one local network"),
        (PathStep(1.0, "direct", "first", "srflx", "prflx"),
         "direct over IPv4 through this and the peer's routers"),
        (PathStep(1.0, "direct", "first", "host", "srflx"), "direct over IPv4 through the peer's router"),
        (PathStep(1.0, "direct", "first", "host", "host", ipv6=True),
         "direct over IPv6, no router between translates addresses"),
        (PathStep(1.0, "relay", "first", "host", "relay"), "relayed by the peer's relay"),
        (PathStep(1.0, "relay", "first", "relay", "relay"), "relayed at both ends"),
    ],
)  # fmt: skip
def test_the_path_is_told_in_a_sentence(step: PathStep, sentence: str) -> None:
    """Lan, direct, relayed; who translates, whose relay."""
    assert explain([RELAYED, step], Network()).path == sentence


def test_the_last_path_is_told_of_a_call_that_lost_it() -> None:
    """And nothing of one that never had any."""
    lost = PathStep(20.0, "", "lost")
    assert explain([RELAYED, lost], Network()).path == "relayed by our relay"
    assert explain([lost], RANDOM).path == explain([], RANDOM).path == ""
