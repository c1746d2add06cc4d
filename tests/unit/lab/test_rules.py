"""Rule sets as text: the same for the same value, and of the parts that the kind needs and no others."""

from __future__ import annotations

import itertools
import re

import pytest

from netsim.nat import NAT, PRESETS, Filtering, Impossible, Mapping, Ports, Unsolicited, nat
from netsim.rules import POOL_SIZE, RouterAddresses, forget, render, sysctls

ADDRESSES = RouterAddresses("5.2.1.2", "192.168.1.0/24")


def every_kind() -> list[NAT]:
    """All that can be built from these words."""
    kinds = list(PRESETS.values())
    words = itertools.product(Mapping, Filtering, Ports, (False, True))
    for mapping, filtering, ports, hairpin in words:
        try:
            kinds.append(NAT(mapping=mapping, filtering=filtering, ports=ports, hairpin=hairpin))
        except Impossible:
            continue
    return kinds


@pytest.mark.parametrize("kind", every_kind(), ids=str)
def test_rules_use_what_they_declare(kind: NAT) -> None:
    """Braces match, each table that a rule names exists, and a reboot empties the dynamic ones."""
    text = render(kind, ADDRESSES)
    assert text == render(kind, ADDRESSES)
    assert text.count("{") == text.count("}")
    declared = set(re.findall(r"^  (?:map|set) (\w+)", text, re.M))
    assert set(re.findall(r"@(\w+)", text)) == declared
    dynamic = set(re.findall(r"^  (?:map|set) (\w+) .*flags dynamic", text, re.M))
    if "table ip nat {" in text:
        assert set(re.findall(r"^flush \w+ ip nat (\w+)$", forget(kind), re.M)) == dynamic


def test_a_router_without_translation_or_uplink_has_no_nat_table() -> None:
    """There is nothing to translate."""
    for name in ("open", "ipv6_firewall", "lan"):
        assert "table ip nat {" not in render(nat(name), ADDRESSES)


def test_the_input_is_closed_unless_the_kind_wants_it() -> None:
    """An accepted stray datagram would take the port of a mapping."""
    rule = 'iifname "wan" meta l4proto { udp, tcp } '
    assert rule + "drop" in render(NAT(), ADDRESSES)
    assert rule + "accept" in render(NAT(unsolicited=Unsolicited.ACCEPT), ADDRESSES)


def pool(kind: NAT, seed: int = 0) -> list[int]:
    """The ports that mappings take turns through."""
    listed = re.search(r"map pool .*elements = \{ (.*?) \}", render(kind, ADDRESSES, seed=seed))
    assert listed is not None
    pairs = [pair.split(" : ") for pair in listed[1].split(", ")]
    assert [int(index) for index, _ in pairs] == list(range(len(pairs)))
    return [int(port) for _, port in pairs]


def test_ports_come_in_the_order_that_the_kind_says() -> None:
    """Sequential ones count up; random ones differ, and by the seed; a block is kept to."""
    sequential = pool(NAT(mapping=Mapping.APDM, ports=Ports.SEQUENTIAL))
    assert sequential == list(range(sequential[0], sequential[0] + POOL_SIZE))
    random = pool(NAT(ports=Ports.RANDOM))
    assert len(set(random)) == POOL_SIZE
    assert all(1024 <= port <= 65535 for port in random)
    assert random != pool(NAT(ports=Ports.RANDOM), seed=1)
    block = pool(NAT(ports=Ports.RANGE, port_range=(5000, 5099)))
    assert sorted(block) == list(range(5000, 5100))


def test_the_timeout_is_the_kernel_s_and_the_tables() -> None:
    """Both keep a mapping; the shorter one would end it."""
    kind = NAT(timeout=17, filtering=Filtering.EIF)
    assert sysctls(kind)["net/netfilter/nf_conntrack_udp_timeout"] == "17"
    assert sysctls(kind)["net/netfilter/nf_conntrack_udp_timeout_stream"] == "17"
    assert set(re.findall(r"timeout (\d+)s", render(kind, ADDRESSES))) == {"17"}
