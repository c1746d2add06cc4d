"""Networks of the lab: what reaches what, how fast they are there, and that nothing gets out."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import sys
import time

import pytest

from netsim.errors import LabError, NeverHappened
from netsim.lab import Lab
from netsim.nat import Impossible, nat
from netsim.puncher import Puncher
from netsim.pytest_plugin import LabFactory
from netsim.site import Site
from netsim.tools import require_tools
from tests.netns.reach import connects, meet, meet_not

PCP_MAP = """
import os, socket, struct, sys
mine, gateway, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
mapped = lambda address: b"\\0" * 10 + b"\\xff\\xff" + socket.inet_aton(address)
request = struct.pack("!BBHI", 2, 1, 0, 60) + mapped(mine) + os.urandom(12)
request += struct.pack("!B3xHH", 17, port, port) + mapped("0.0.0.0")
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.settimeout(2)
    sock.sendto(request, (gateway, 5351))
    sys.stdout.write(sock.recv(1100).hex())
"""
TLS_CLIENT = """
import socket, ssl, sys
with socket.create_connection((sys.argv[1], 443), 5) as plain:
    with ssl.create_default_context().wrap_socket(plain, server_hostname=sys.argv[1]) as secure:
        print(secure.version())
"""
TCP_LISTENER = """
import socket
server = socket.create_server(("", 443))
print("ready", flush=True)
while True:
    server.accept()[0].close()
"""


async def build(lab: Lab) -> float:
    """The usual lab: a server and two sites. Returns how long it took from nothing."""
    started = time.monotonic()
    async with lab:
        await lab.server()
        await lab.site("alice", "port_restricted")
        await lab.site("bob", "symmetric_random", ipv6=True)
        return time.monotonic() - started


async def test_two_sites_and_a_server_start_quickly(tmp_path: object) -> None:
    """From nothing to coturn answering, the best of three: less than 1.5 seconds."""
    seconds = [await build(Lab()) for _ in range(3)]
    print(f"start of a server and two sites: {sorted(f'{each:.2f}' for each in seconds)} s")
    assert min(seconds) < 1.5


async def test_four_labs_with_the_same_names_run_side_by_side(make_lab: LabFactory) -> None:
    """Each has its own internet: the same addresses in all of them, and each pair meets in its own."""

    async def use() -> bool:
        lab = await make_lab()
        server = await lab.server()
        alice = await lab.site("alice", "full_cone")
        bob = await lab.site("bob", "port_restricted")
        received = await meet(alice.host, bob.host, server)
        return [source[0] for got in received for source in got] == [bob.wan4, alice.wan4]

    assert await asyncio.gather(*(use() for _ in range(4))) == [True] * 4


@pytest.mark.parametrize(
    ("one", "other", "direct"),
    [
        ("port_restricted", "port_restricted", True),
        ("port_restricted", "symmetric_random", False),
        ("address_restricted", "symmetric_random", True),
        ("cgnat", "full_cone", True),
        ("open", "udp_blocked", False),
        ("ipv6_firewall", "ipv6_firewall", True),
    ],
)
async def test_hole_punching_is_as_the_kinds_allow(lab: Lab, one: str, other: str, direct: bool) -> None:
    """Two sites that send to each other's mapped address meet, or don't."""
    server = await lab.server()
    alice, bob = await lab.site("alice", one), await lab.site("bob", other)
    received = await meet(alice.host, bob.host, server, seconds=3 if direct else 1)
    assert all(received) == direct


async def test_nothing_leaves_and_private_addresses_vanish(lab: Lab) -> None:
    """An address that is not of the lab is unreachable; another site's private one is silently nowhere."""
    await lab.server()
    alice, bob = await lab.site("alice"), await lab.site("bob")
    assert not await connects(alice.host, "9.9.9.9", 443)
    assert not await connects(alice.host, bob.host.ipv4, 443)
    routes = (await lab.sandbox.run(["ip", "route"])).check().stdout
    assert routes == ""


async def test_homes_behind_one_carrier_meet_if_it_hairpins(lab: Lab) -> None:
    """Two homes of one carrier have one public address; they meet through it only if it hairpins."""
    server = await lab.server()
    met = []
    for name, kind in (("plain", nat("full_cone")), ("hairpin", nat("full_cone").but(hairpin=True))):
        carrier = await lab.carrier(name, kind)
        one = await lab.site(f"{name}-one", behind=carrier)
        other = await lab.site(f"{name}-other", behind=carrier)
        assert one.public_ipv4 == other.public_ipv4 == carrier.wan4
        assert one.wan4.startswith("100.64.")
        met.append(all(await meet(one.host, other.host, server)))
    assert met == [False, True]


async def test_udp_may_be_blocked_where_the_web_is_not(lab: Lab) -> None:
    """TCP to port 443 passes, so TURN over TLS does; other ports and UDP do not."""
    server = await lab.server()
    site = await lab.site("office", "udp_blocked")
    assert await connects(site.host, server.addresses[0], 443)
    assert not await connects(site.host, server.addresses[0], 3478)
    async with Puncher(site.host, server.addresses[0]) as puncher:
        assert puncher.mapped is None


async def test_a_firewall_for_ipv6_lets_nothing_new_in(lab: Lab) -> None:
    """Dual stack behind a NAT: global IPv6 addresses that answer to those only whom the host has called."""
    server = await lab.server()
    site = await lab.site("home", "port_restricted", ipv6=True)
    open_site = await lab.site("rack", "open", ipv6=True)
    for host in (site.host, open_site.host):
        listener = await host.python(
            "-I", "-S", "-c", TCP_LISTENER.replace('("", 443)', '("::", 443), family=10')
        )
        await listener.wait_for_line("ready")
    assert await connects(server.host, open_site.host.ipv6, 443)
    assert not await connects(server.host, site.host.ipv6, 443)
    assert await connects(site.host, open_site.host.ipv6, 443)
    assert await connects(site.host, open_site.host.ipv4, 443) is False  # its listener is for IPv6 alone


async def test_homes_behind_a_carrier_have_ipv6(lab: Lab) -> None:
    """Where IPv4 is translated twice, IPv6 is not translated at all."""
    server = await lab.server()
    alice = await lab.site("alice", "cgnat", ipv6=True)
    bob = await lab.site("bob", "port_restricted", ipv6=True)
    alice.host.ipv4 = bob.host.ipv4 = ""  # look at IPv6 alone
    received = await meet(alice.host, bob.host, server)
    assert [source[0] for got in received for source in got] == [bob.host.ipv6, alice.host.ipv6]


async def test_a_host_with_two_uplinks_uses_each_by_its_address(lab: Lab) -> None:
    """What is sent from an interface's address leaves by it and is seen with its site's address."""
    server = await lab.server()
    home = await lab.site("home", hosts=["phone", "laptop"])
    mobile = await lab.site("mobile", "symmetric_random", hosts=[])
    phone = home["phone"]
    await mobile.join(phone)
    seen = []
    for attachment in phone.attachments:
        async with Puncher(phone, server.addresses[0], local=attachment.ipv4) as puncher:
            assert puncher.mapped is not None
            seen.append(puncher.mapped[0])
    assert seen == [home.wan4, mobile.wan4]
    with pytest.raises(LabError, match="already"):
        await mobile.join(phone)


async def test_two_sites_may_have_the_same_private_network(lab: Lab) -> None:
    """As most homes do."""
    server = await lab.server()
    alice = await lab.site("alice", lan="192.168.1.0/24")
    bob = await lab.site("bob", lan="192.168.1.0/24")
    assert alice.host.ipv4 == bob.host.ipv4
    assert all(await meet(alice.host, bob.host, server))


async def test_a_segment_without_uplink_is_a_network_of_its_own(lab: Lab) -> None:
    """The kind ``lan``: its hosts meet, nobody else is there."""
    site = await lab.site("hut", "lan", hosts=["alice", "bob"])
    other = await lab.site("city", hosts=["carol"])
    assert all(await meet(site["alice"], site["bob"], None))
    assert await meet_not(site["alice"], other["carol"], None)


async def test_a_router_gives_ports_to_those_who_ask(lab: Lab) -> None:
    """UPnP, NAT-PMP and PCP: a mapped port lets strangers in, also through a symmetric NAT."""
    require_tools("miniupnpd", "upnpc", "natpmpc")
    server = await lab.server()
    site = await lab.site("home", "symmetric_random", upnp=True)
    host, gateway = site.host, str(site.lan[1])
    asked = await asyncio.gather(
        host.run(["upnpc", "-a", host.ipv4, "5001", "5001", "UDP"]),
        host.run(["natpmpc", "-g", gateway, "-a", "5002", "5002", "udp", "60"]),
        host.run([sys.executable, "-I", "-S", "-c", PCP_MAP, host.ipv4, gateway, "5003"]),
    )
    answer = bytes.fromhex(asked[2].check().stdout)
    assert struct.unpack_from("!BBxB", answer) == (2, 0x81, 0)  # version, MAP response, SUCCESS
    assert struct.unpack_from("!H", answer, 42)[0] == 5003
    assert answer[56:60] == socket.inet_aton(site.wan4)
    for done, port in zip(asked, (5001, 5002, 5003), strict=True):
        done.check()
        async with Puncher(host, None, port=port) as inside, Puncher(server.host, None) as stranger:
            received = await asyncio.gather(inside.exchange([]), stranger.exchange([(site.wan4, port)]))
            assert received[0] == [stranger.local], port


async def test_what_cannot_be_is_refused_with_the_reason(lab: Lab) -> None:
    """Names that are taken, networks that contradict each other, kinds that do not exist."""
    await lab.site("alice")
    carrier = await lab.carrier("isp")
    with pytest.raises(LabError, match="taken"):
        await lab.site("alice")
    with pytest.raises(LabError, match="taken"):
        await lab.site("bob", hosts=["alice"])
    with pytest.raises(LabError, match="must translate"):
        await lab.site("bob", "open", behind=carrier)
    with pytest.raises(LabError, match="carrier of its own"):
        await lab.site("carol", "cgnat", behind=carrier)
    for kind in ("open", "cgnat"):
        with pytest.raises(LabError, match="a carrier's NAT translates"):
            await lab.carrier("other", kind)
    with pytest.raises(LabError, match="private network"):
        await lab.site("dave", "open", lan="192.168.1.0/24")
    with pytest.raises(LabError, match="no ports to map"):
        await lab.site("erin", "open", upnp=True)
    with pytest.raises(Impossible, match="is called 'cone'"):
        await lab.site("frank", "cone")


async def test_a_turn_server_relays(lab: Lab) -> None:
    """coturn's own client gets messages back through two allocations, also where UDP is blocked."""
    server = await lab.server()
    home, office = await lab.site("home", "symmetric_random"), await lab.site("office", "udp_blocked")
    login = ["-u", server.user, "-w", server.password]

    async def is_relayed(site: Site, *flags: str, timeout: float = 20) -> bool:
        client = ["turnutils_uclient", *login, *flags, "-y", "-c", "-m", "1", "-n", "5", server.addresses[0]]
        process = await site.host.popen(client)
        try:
            await process.wait_for_line("tot_recv_msgs=[1-9]", timeout=timeout)
        except NeverHappened:
            return False
        return True

    relayed = await asyncio.gather(
        is_relayed(home, "-p", "3478"),
        is_relayed(home, "-t", "-p", "3478"),
        is_relayed(office, "-p", "3478", timeout=2),
        is_relayed(office, "-t", "-p", "443"),
        is_relayed(office, "-t", "-S", "-p", "443"),
    )
    assert list(relayed) == [True, True, False, True, True]


async def test_a_server_s_certificate_is_for_its_addresses(lab: Lab) -> None:
    """A client that trusts the lab's file accepts it at every address, and one that does not refuses it."""
    server = await lab.server()
    site = await lab.site("alice", ipv6=True)
    for address in (*server.addresses, server.addresses6[0]):
        trusting = [sys.executable, "-c", TLS_CLIENT, address]
        done = await site.host.run(trusting, env={"SSL_CERT_FILE": str(server.ca_file)})
        assert done.check().stdout.startswith("TLSv1.")
        assert "CERTIFICATE_VERIFY_FAILED" in (await site.host.run(trusting)).stderr


async def test_a_server_can_be_stopped_and_started(lab: Lab) -> None:
    """While coturn is stopped nobody answers; afterwards it does."""
    server = await lab.server()
    site = await lab.site("alice")
    answers = []
    for step in (None, server.stop, server.start, server.restart):
        if step is not None:
            await step()
        async with Puncher(site.host, server.addresses[0]) as puncher:
            answers.append(puncher.mapped is not None)
    assert answers == [True, False, True, True]
    assert server.process is not None
    os.kill(lab.sandbox.pid, signal.SIGKILL)
    assert (await server.process.wait(10)).returncode == -signal.SIGKILL
