"""Networks from TOML: what is written is what is meant, and what is not understood is refused."""

from __future__ import annotations

import tomllib

import pytest

from netsim.nat import NAT, Filtering, Mapping, Ports, nat
from netsim.topology import BadTopology, CarrierPlan, LanPlan, SitePlan, Topology, parse_nat, parse_topology

EXAMPLE = """
[servers.stun]
[carriers.isp]
nat = { preset = "full_cone", hairpin = true }
[sites.home]
nat = { mapping = "ADM", filtering = "address-dependent", ports = "range", port_range = [5000, 5099] }
hosts = ["phone", "laptop"]
behind = "isp"
ipv6 = true
[sites.mobile]
nat = "symmetric_random"
hosts = []
guests = ["phone"]
[lans.hut]
hosts = ["alice"]
"""


def test_a_topology_is_read_as_it_is_written() -> None:
    """Presets, changed presets and kinds word by word."""
    kind = NAT(mapping=Mapping.ADM, filtering=Filtering.ADF, ports=Ports.RANGE, port_range=(5000, 5099))
    assert parse_topology(tomllib.loads(EXAMPLE)) == Topology(
        ("stun",),
        {"isp": CarrierPlan(nat("full_cone").but(hairpin=True))},
        {
            "home": SitePlan(kind, ("phone", "laptop"), "isp", ipv6=True),
            "mobile": SitePlan(nat("symmetric_random"), (), guests=("phone",)),
        },
        {"hut": LanPlan(("alice",))},
    )
    assert parse_nat({"carrier": "full_cone"}) == NAT(carrier=nat("full_cone"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[site.home]", "topology has no 'site'; it has servers, carriers, sites, lans"),
        ("[sites.home]\nnats = 1", "sites.home has no 'nats'"),
        ("[sites.home]\nnat = { hairpins = true }", "sites.home.nat has no 'hairpins'"),
        ("[sites.home]\nnat = { mapping = 'EDM' }", "sites.home.nat.mapping: 'EDM' is none of NONE, EIM"),
        ("[sites.home]\nbehind = 'isp'", "no carrier is called 'isp'"),
        ("[servers.stun]\nport = 1", "servers.stun has no 'port'; it has no options"),
        ("sites = 3", "sites is a table, not 3"),
        ("[sites]\nhome = 3", "sites.home is a table, not 3"),
    ],
)
def test_what_is_not_understood_is_refused(text: str, reason: str) -> None:
    """With the word and those that would be."""
    with pytest.raises(BadTopology, match=reason):
        parse_topology(tomllib.loads(text))
