"""Which addresses are announced, and which sockets mDNS gets."""

from __future__ import annotations

import subprocess
import sys
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import ifaddr
import pytest

from meshcall import limits
from meshcall.aio import network
from meshcall.aio.interfaces import InterfaceAddress, best_addresses, interface_addresses
from meshcall.aio.mdns import _sockets
from meshcall.testing.clock import FakeClock

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


def test_a_network_is_written_with_the_length_of_its_prefix() -> None:
    """As people write it."""
    assert ETH4.network == "192.168.1.7/24"


def test_nothing_but_mdns_loads_zeroconf() -> None:
    """A node without mDNS does not pay for it."""
    code = (
        "import sys, meshcall.discovery.lan, meshcall.discovery.directory, meshcall.aio.interfaces; "
        "sys.exit('zeroconf' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_interfaces_may_be_called_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux takes any octets but blanks, colons and slashes; a VPN with an umlaut stops no node."""
    four, six = tmp_path / "route", tmp_path / "ipv6_route"
    for name, shown in (("büro".encode(), "büro"), ("a\u2003b".encode(), "a\u2003b"), (b"\xff", "\ufffd")):
        four.write_bytes(
            b"Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
            + name
            + b"\t00000000\t"
            + IPv4Address("192.168.1.1").packed[:: -1 if sys.byteorder == "little" else 1].hex().encode()
            + b"\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
        )
        gateway = IPv6Address("fe80::1").packed.hex().encode()
        zeros = b"0" * 32
        six.write_bytes(
            b" ".join([zeros, b"00", zeros, b"00", gateway, *[b"00000000"] * 3, b"00000003", name]) + b"\n"
        )
        monkeypatch.setattr(network, "_ROUTES4", str(four))
        monkeypatch.setattr(network, "_ROUTES6", str(six))
        assert network.default_gateways() == [(shown, "192.168.1.1"), (shown, "fe80::1")]


async def test_interfaces_that_can_not_be_read_stop_no_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that ifaddr can't decode, a line in another form: nobody can tell now, and that is all."""

    def undecodable() -> None:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    watcher = network.NetworkWatcher(lambda: None, clock=FakeClock())
    with monkeypatch.context() as patch:
        patch.setattr(ifaddr, "get_adapters", undecodable)
        with pytest.raises(OSError, match="not UTF-8"):
            interface_addresses()
        assert await watcher._snapshot() is None
    odd = tmp_path / "route"
    odd.write_text("Iface\nnothing more\n")
    monkeypatch.setattr(network, "_ROUTES4", str(odd))
    assert await watcher._snapshot() is None
