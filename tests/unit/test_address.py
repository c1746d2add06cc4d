"""Addresses as people and links write them."""

from __future__ import annotations

import ipaddress
import random

import pytest

from meshcall.address import is_lan, pack_ip, parse_host_port
from meshcall.errors import UsageError


@pytest.mark.parametrize(
    "port", ["00008070000", "1" + "0" * 5000, "00001" + "0" * 5000, "65536", "0", "", "-1", "+1", "\u0661"]
)
def test_a_port_is_one_of_65535(port: str) -> None:
    """Whatever stands there is refused as the user's mistake, and no number beyond goes any further."""
    with pytest.raises(UsageError):
        parse_host_port(f"192.0.2.1:{port}")


def test_addresses_are_read_in_both_families() -> None:
    """With a name, too; zeros in front do no harm."""
    assert parse_host_port("192.0.2.1:04000") == ("192.0.2.1", 4000)
    assert parse_host_port("[2001:db8::1]:65535") == ("2001:db8::1", 65535)
    assert parse_host_port("node.example:1") == ("node.example", 1)


@pytest.mark.parametrize(
    "text",
    [
        "192.0.2.1",
        "192.0.2.1%eth0",
        "2001:db8::1",
        "fe80::1%eth0",
        "::ffff:192.0.2.1",
        "01.2.3.4",
        "256.1.1.1",
        "1.2.3",
        "1.2.3.4.5",
        " 1.2.3.4",
        "+1.2.3.4",
        "1_0.2.3.4",
        "\u0661.2.3.4",
        "1.2.3.4\n",
        "node.example.org.net",
        "...",
        "",
    ],
)
def test_an_ip_address_is_packed_as_ipaddress_does(text: str) -> None:
    """The short way for IPv4 takes no text that :mod:`ipaddress` refuses, and reads the others alike."""
    try:
        expected = ipaddress.ip_address(text.partition("%")[0]).packed
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            pack_ip(text)
        assert not is_lan(text)
    else:
        assert pack_ip(text) == expected


LAN = (
    "0.0.0.0/8 10.0.0.0/8 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/29 192.0.0.170/31 192.0.2.0/24 "
    "192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 "
    "::/127 100::/64 2001::/23 2001:db8::/32 fc00::/7 fe80::/10"
)


def test_a_network_of_this_place_ends_where_it_says() -> None:
    """The first and the last address of each are in a LAN, their neighbours outside; as IPv6, too."""
    networks = [ipaddress.ip_network(text) for text in LAN.split()]
    rng = random.Random(7)
    numbers = [
        (network.version, int(end) + by)
        for network in networks
        for end in (network[0], network[-1])
        for by in (-1, 0, 1)
    ]
    numbers += [(4, rng.getrandbits(32)) for _ in range(2000)] + [
        (6, rng.getrandbits(128)) for _ in range(200)
    ]
    for version, number in numbers:
        if not 0 <= number < 1 << (32 if version == 4 else 128):
            continue
        address = (ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address)(number)
        expected = any(address.version == network.version and address in network for network in networks)
        assert is_lan(str(address)) == expected, address
        if version == 4:
            assert is_lan(f"::ffff:{address}") == expected, address
