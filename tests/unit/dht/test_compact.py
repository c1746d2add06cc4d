"""Addresses and nodes on the wire."""

from __future__ import annotations

import pytest

from meshcall.address import Address
from meshcall.dht.compact import (
    is_martian,
    pack_address,
    pack_nodes,
    unpack_address_untrusted,
    unpack_nodes_untrusted,
)
from meshcall.errors import Rejected

ID = b"\x09" * 20


@pytest.mark.parametrize(
    ("address", "octets"),
    [
        (("192.0.2.1", 4096), "c00002011000"),
        (("2001:db8::1", 1), "20010db8000000000000000000000001" + "0001"),
        (("fe80::1%eth0", 65535), "fe800000000000000000000000000001" + "ffff"),
    ],
)
def test_addresses(address: Address, octets: str) -> None:
    """An address has 6 or 18 octets; a scope does not travel."""
    assert pack_address(address).hex() == octets
    host, port = unpack_address_untrusted(bytes.fromhex(octets))
    assert (host, port) == (address[0].partition("%")[0], address[1])


@pytest.mark.parametrize("size", [0, 1, 5, 7, 17, 19, 100])
def test_other_lengths_are_rejected(size: int) -> None:
    """There is no third kind of address."""
    with pytest.raises(Rejected):
        unpack_address_untrusted(bytes(size))


def test_nodes_of_both_families() -> None:
    """Nodes go into one list per family and come back in order."""
    nodes: list[tuple[bytes, Address]] = [
        (ID, ("192.0.2.1", 1)),
        (ID, ("2001:db8::2", 2)),
        (ID, ("192.0.2.3", 3)),
    ]
    four, six = pack_nodes(nodes)
    assert (len(four), len(six)) == (52, 38)
    assert sorted(unpack_nodes_untrusted(four, six)) == sorted(nodes)
    with pytest.raises(Rejected):
        unpack_nodes_untrusted(four[:-1], six)


@pytest.mark.parametrize(
    ("address", "teller", "martian"),
    [
        (("8.8.8.8", 53), "9.9.9.9", False),
        (("8.8.8.8", 0), "9.9.9.9", True),
        (("0.0.0.0", 1), "10.0.0.1", True),
        (("0.1.2.3", 1), "10.0.0.1", True),
        (("255.255.255.255", 1), "10.0.0.1", True),
        (("240.0.0.1", 1), "10.0.0.1", True),
        (("224.0.0.251", 5353), "10.0.0.1", True),
        (("ff02::fb", 5353), "fe80::1%eth0", True),
        (("::", 1), "fd00::1", True),
        (("::ffff:10.0.0.1", 1), "10.0.0.2", True),
        (("fe80::1", 1), "fe80::2%eth0", True),
        (("10.0.0.1", 1), "9.9.9.9", True),
        (("10.0.0.1", 1), "192.168.1.1", False),
        (("10.0.0.1", 1), "127.0.0.1", False),
        (("169.254.169.254", 80), "9.9.9.9", True),
        (("127.0.0.1", 1), "10.0.0.1", True),
        (("127.0.0.1", 1), "127.0.0.1", False),
        (("::1", 1), "9.9.9.9", True),
        (("::1", 1), "::1", False),
        (("fd00::1", 1), "2600::1", True),
        (("2600::1", 1), "2600::2", False),
        (("localhost", 1), "127.0.0.1", True),
        (("100.64.0.9", 1), "9.9.9.9", True),
        (("100.64.0.9", 1), "100.64.0.7", False),
        (("9.9.9.9", 1), "localhost", True),
    ],
)
def test_martians(address: Address, teller: str, martian: bool) -> None:
    """Nobody can make us send into our own LAN, to ourselves, to a group or to a name."""
    assert is_martian(address, (teller, 4000)) is martian
