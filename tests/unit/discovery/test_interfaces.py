"""Which addresses are announced, and which sockets mDNS gets."""

from __future__ import annotations

import subprocess
import sys

from meshcall import limits
from meshcall.aio.interfaces import InterfaceAddress, best_addresses
from meshcall.aio.mdns import _sockets

ETH4 = InterfaceAddress("eth0", 2, "192.168.1.7", 24)
ETH6 = InterfaceAddress("eth0", 2, "fd00:1::7", 64)
ETH_LOCAL = InterfaceAddress("eth0", 2, "fe80::7", 64)
WLAN4 = InterfaceAddress("wlan0", 3, "192.168.2.7", 24)
WLAN_LOCAL = InterfaceAddress("wlan0", 3, "fe80::8", 64)


def test_every_interface_has_its_say_before_anybody_s_second() -> None:
    """A machine with many addresses on one interface still announces the other."""
    many = [InterfaceAddress("eth0", 2, f"192.168.1.{n}", 24) for n in range(10, 40)]
    found = best_addresses([*many, ETH6, ETH_LOCAL, WLAN4, WLAN_LOCAL])
    assert len(found) == limits.LAN_ADDRESSES_MAX
    assert set(found[:4]) == {"192.168.1.10", "192.168.2.7", "fd00:1::7", "fe80::8"}


def test_ipv6_sockets_are_bound_to_the_link_local_address() -> None:
    """Only packets from it tell receivers the scope; one socket per interface."""
    assert _sockets([ETH4, ETH6, ETH_LOCAL, WLAN4, WLAN_LOCAL]) == [
        "192.168.1.7",
        "192.168.2.7",
        "fe80::7",
        "fe80::8",
    ]


def test_interfaces_that_share_a_link_local_address_are_bound_by_index() -> None:
    """The address alone would name the first of them twice."""
    twin = InterfaceAddress("br0", 9, "fe80::7", 64)
    assert _sockets([ETH_LOCAL, twin]) == [2, 9]


def test_scope_and_network_are_written_as_sockets_take_them() -> None:
    """Only link-local IPv6 has a scope."""
    assert (ETH_LOCAL.scoped, ETH6.scoped, ETH4.scoped) == ("fe80::7%eth0", "fd00:1::7", "192.168.1.7")
    assert ETH4.network == "192.168.1.7/24"


def test_nothing_but_mdns_loads_zeroconf() -> None:
    """A node without mDNS does not pay for it."""
    code = (
        "import sys, meshcall.discovery.lan, meshcall.discovery.directory, meshcall.aio.interfaces; "
        "sys.exit('zeroconf' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
