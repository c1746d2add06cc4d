"""NAT kinds as values: what is impossible is refused, presets are what their names say."""

from __future__ import annotations

import pytest

from netsim.nat import NAT, PRESETS, Filtering, Impossible, Mapping, Outbound, Ports, Unsolicited, nat


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"mapping": Mapping.APDM}, "can't preserve"),
        ({"mapping": Mapping.ADM}, "can't preserve"),
        ({"mapping": Mapping.NONE, "filtering": Filtering.ADF}, "stateful firewall"),
        ({"mapping": Mapping.NONE, "ports": Ports.RANDOM}, "leaves ports"),
        ({"mapping": Mapping.NONE, "hairpin": True}, "nothing to hairpin"),
        ({"ipv6": Filtering.ADF}, "no table of addresses"),
        ({"ipv4": False}, "nothing to do"),
        ({"ipv4": False, "ipv6": Filtering.EIF}, "not translated"),
        ({"timeout": 0}, "lasts 1 to 86400"),
        ({"port_range": (80, 90)}, "between 1024"),
        ({"port_range": (5000, 4000)}, "between 1024"),
        ({"carrier": NAT(carrier=NAT())}, "another carrier"),
        ({"carrier": NAT(), "mapping": Mapping.NONE}, "own router must translate"),
        ({"carrier": PRESETS["open"]}, "carrier's NAT translates"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_reason(changes: dict[str, object], reason: str) -> None:
    """A value that exists can be built."""
    with pytest.raises(Impossible, match=reason):
        NAT(**changes)  # type: ignore[arg-type]


def test_presets_have_the_words_of_rfc_4787() -> None:
    """Names are glosses; the words are the kind."""
    assert nat("full_cone") == NAT(filtering=Filtering.EIF)
    assert nat("port_restricted") == NAT(mapping=Mapping.EIM, filtering=Filtering.APDF, ports=Ports.PRESERVE)
    assert nat("symmetric_random") == NAT(mapping=Mapping.APDM, ports=Ports.RANDOM)
    assert nat("cgnat").carrier == nat("port_restricted")
    assert nat("udp_blocked").outbound is Outbound.WEB
    assert not nat("open").translates
    assert not nat("ipv6_firewall").ipv4
    assert set(PRESETS) == {
        *("open", "full_cone", "address_restricted", "port_restricted", "symmetric_random"),
        *("symmetric_sequential", "cgnat", "udp_blocked", "ipv6_firewall", "short_timeout", "lan"),
    }
    value = NAT(hairpin=True)
    assert nat(value) is value
    with pytest.raises(Impossible, match="there are address_restricted, cgnat"):
        nat("cone")


def test_ipv6_is_behind_a_firewall_unless_the_kind_is_open() -> None:
    """RFC 6092 for homes; a kind that has IPv6 keeps what it has."""
    assert nat("port_restricted").with_ipv6().ipv6 is Filtering.APDF
    assert nat("open").with_ipv6().ipv6 is Filtering.EIF
    assert nat("ipv6_firewall").with_ipv6() is nat("ipv6_firewall")


def test_a_kind_says_what_it_is() -> None:
    """In a few words, for tables; what is usual is left out."""
    assert str(nat("port_restricted")) == "EIM+APDF"
    assert str(nat("open").with_ipv6()) == "open, IPv6 open"
    assert str(nat("cgnat").but(hairpin=True)) == "EIM+APDF, hairpin, behind EIM+APDF"
    assert (
        str(NAT(ports=Ports.RANGE, timeout=30, unsolicited=Unsolicited.ACCEPT, outbound=Outbound.WEB))
        == "EIM+APDF, range, 30 s, unsolicited accepted, out: web"
    )
    assert str(nat("ipv6_firewall")) == "firewall, IPv6 firewall, no IPv4"
